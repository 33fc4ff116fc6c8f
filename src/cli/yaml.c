/* libyaml's events into jansson. See yaml.h. */
#include "cli/yaml.h"

#include <yaml.h>

#define DEPTH_MAX 64

struct parse {
	yaml_parser_t parser;
	int depth;
	struct err *e;
};

static json_t *refuse(struct parse *p, const yaml_mark_t *at, const char *why)
{
	err_set(p->e, EINVAL, "line %zu: %s", at->line + 1, why);
	return NULL;
}

static bool next(struct parse *p, yaml_event_t *ret)
{
	const yaml_parser_t *y = &p->parser;

	if (yaml_parser_parse(&p->parser, ret))
		return true;
	refuse(p, &y->problem_mark, y->problem ? y->problem : "this is no YAML");
	return false;
}

/* ---- scalars: the core schema, but for octal and sexagesimal numbers ---- */

static json_t *number(const char *text)
{
	char *end;
	long long whole;
	double real;

	if (!strchr("+-.0123456789", *text))
		return NULL;
	errno = 0;
	whole = strtoll(text, &end, 10);
	if (!*end && !errno && end != text)
		return json_integer(whole);
	if (strspn(text, "+-.0123456789eE") != strlen(text))
		return NULL;
	real = strtod(text, &end);
	return !*end && end != text ? json_real(real) : NULL;
}

static json_t *plain(const char *text)
{
	static const char *const yes[] = {"true", "True", "TRUE"};
	static const char *const no[] = {"false", "False", "FALSE"};
	static const char *const none[] = {"", "~", "null", "Null", "NULL"};
	json_t *v;

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcmp(text, yes[i]))
			return json_true();
		if (!strcmp(text, no[i]))
			return json_false();
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		if (!strcmp(text, none[i]))
			return json_null();
	}
	v = number(text);
	return v ? v : json_string(text);
}

/* Dates like 2012-10-17 begin as numbers do and end as strings. */
static json_t *scalar(struct parse *p, const yaml_event_t *ev)
{
	const char *text = (const char *)ev->data.scalar.value;
	json_t *v;

	if (strlen(text) != ev->data.scalar.length)
		return refuse(p, &ev->start_mark, "a NUL character in a string");
	v = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !ev->data.scalar.tag
		? plain(text)
		: json_string(text);
	return v ? v : refuse(p, &ev->start_mark, "this text is not UTF-8");
}

/* ---- intrinsic functions ---- */

static json_t *get_att(const json_t *v)
{
	const char *text = json_string_value(v), *dot = text ? strchr(text, '.') : NULL;

	if (!dot)
		return NULL;
	return json_pack("[s%s]", text, (size_t)(dot - text), dot + 1);
}

/* v is taken. */
static json_t *tagged(struct parse *p, const char *tag, json_t *v, const yaml_mark_t *at)
{
	_cleanup_free_ char *name = NULL;
	json_t *out, *parts;

	if (!v || !tag || tag[0] != '!')
		return v;
	if (!strcmp(tag, "!Ref"))
		return json_pack("{s:o}", "Ref", v);
	if (!strcmp(tag, "!Condition"))
		return json_pack("{s:o}", "Condition", v);
	if (!strcmp(tag, "!GetAtt") && json_is_string(v)) {
		parts = get_att(v);
		json_decref(v);
		return parts ? json_pack("{s:o}", "Fn::GetAtt", parts)
			     : refuse(p, at, "!GetAtt needs Resource.Attribute");
	}
	name = xasprintf("Fn::%s", tag + 1);
	out = json_object();
	json_object_set_new(out, name, v);
	return out;
}

/* ---- collections ---- */

static json_t *value(struct parse *p, yaml_event_t *ev);

static json_t *sequence(struct parse *p)
{
	json_t *list = json_array();

	for (;;) {
		yaml_event_t ev;
		json_t *item;
		bool end;

		if (!next(p, &ev))
			break;
		end = ev.type == YAML_SEQUENCE_END_EVENT;
		item = end ? NULL : value(p, &ev);
		yaml_event_delete(&ev);
		if (end)
			return list;
		if (!item)
			break;
		json_array_append_new(list, item);
	}
	json_decref(list);
	return NULL;
}

/* One pair whose key is `ev`; the event is the caller's. */
static bool pair(struct parse *p, json_t *map, const yaml_event_t *ev)
{
	const char *key = (const char *)ev->data.scalar.value;
	yaml_event_t v;
	json_t *item;

	if (ev->type != YAML_SCALAR_EVENT)
		return refuse(p, &ev->start_mark, "a key must be a string");
	if (json_object_get(map, key))
		return refuse(p, &ev->start_mark, "this key is there twice");
	if (!next(p, &v))
		return false;
	item = value(p, &v);
	yaml_event_delete(&v);
	return item && json_object_set_new(map, key, item) == 0;
}

static json_t *mapping(struct parse *p)
{
	json_t *map = json_object();

	for (;;) {
		yaml_event_t ev;
		bool end, good;

		if (!next(p, &ev))
			break;
		end = ev.type == YAML_MAPPING_END_EVENT;
		good = end || pair(p, map, &ev);
		yaml_event_delete(&ev);
		if (end)
			return map;
		if (!good)
			break;
	}
	json_decref(map);
	return NULL;
}

static json_t *collection(struct parse *p, const yaml_event_t *ev)
{
	const char *tag;
	json_t *v;

	if (p->depth == DEPTH_MAX)
		return refuse(p, &ev->start_mark, "nested too deeply");
	p->depth++;
	if (ev->type == YAML_SEQUENCE_START_EVENT) {
		tag = (const char *)ev->data.sequence_start.tag;
		v = sequence(p);
	} else {
		tag = (const char *)ev->data.mapping_start.tag;
		v = mapping(p);
	}
	p->depth--;
	return tagged(p, tag, v, &ev->start_mark);
}

static json_t *value(struct parse *p, yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return tagged(p, (const char *)ev->data.scalar.tag, scalar(p, ev), &ev->start_mark);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT: return collection(p, ev);
	case YAML_ALIAS_EVENT:
		return refuse(p, &ev->start_mark, "aliases (*name) are not understood here");
	default: return refuse(p, &ev->start_mark, "a value is missing");
	}
}

/* Stream start, document start, the value, and nothing behind it. */
static json_t *document(struct parse *p)
{
	yaml_event_t ev;
	json_t *v = NULL;
	bool more;

	for (int i = 0; i < 3; i++) {
		if (!next(p, &ev))
			return NULL;
		if (i == 2)
			v = value(p, &ev);
		yaml_event_delete(&ev);
	}
	for (int i = 0; v && i < 2; i++) {
		if (!next(p, &ev)) {
			json_decref(v);
			return NULL;
		}
		more = i == 1 && ev.type != YAML_STREAM_END_EVENT;
		if (more)
			refuse(p, &ev.start_mark, "a second document");
		yaml_event_delete(&ev);
		if (more) {
			json_decref(v);
			return NULL;
		}
	}
	return v;
}

json_t *yaml_parse(struct str text, struct err *e)
{
	struct parse p = {.e = e};
	json_t *v;

	check(yaml_parser_initialize(&p.parser));
	yaml_parser_set_input_string(&p.parser, (const unsigned char *)text.ptr, text.len);
	v = document(&p);
	yaml_parser_delete(&p.parser);
	return v;
}
