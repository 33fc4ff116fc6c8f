/* Filter patterns on JSON events: { $.path = value && ... }. See pattern_int.h. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>

#include "logs/pattern_int.h"

static bool plain(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '@' || c == ':' ||
	       c == '/' || c == '#' || (unsigned char)c >= 0x80;
}

static bool add_step(struct parser *p, struct condition *c, char *name, size_t index)
{
	if (c->step_count == PATTERN_STEPS) {
		free(name);
		return pattern_fail(p, "the path is too deep");
	}
	if (!c->steps)
		c->steps = xcalloc(PATTERN_STEPS, sizeof(*c->steps));
	c->steps[c->step_count++] = (struct path_step){name, index};
	return true;
}

/* [7], ["name"] or ['name'] */
static bool parse_bracket(struct parser *p, struct condition *c)
{
	const char *from = ++p->at;
	char quote = p->at < p->end ? *p->at : '\0';
	int64_t index = 0;

	if (quote == '"' || quote == '\'') {
		const char *end = memchr(from + 1, quote, (size_t)(p->end - from) - 1);

		if (!end)
			return pattern_fail(p, "the name in brackets does not end");
		p->at = end + 1;
		if (!add_step(p, c, xstrndup(from + 1, (size_t)(end - from) - 1), 0))
			return false;
	} else {
		while (p->at < p->end && isdigit((unsigned char)*p->at))
			p->at++;
		if (!str_to_int64((struct str){from, (size_t)(p->at - from)}, 0, 1000000, &index))
			return pattern_fail(p, "a number or a quoted name expected in brackets");
		if (!add_step(p, c, NULL, (size_t)index))
			return false;
	}
	if (p->at >= p->end || *p->at != ']')
		return pattern_fail(p, "\"]\" expected");
	p->at++;
	return true;
}

bool json_parse_path(struct parser *p, struct condition *c)
{
	pattern_skip(p);
	if (p->at >= p->end || *p->at != '$')
		return pattern_fail(p, "a property beginning with \"$.\" expected");
	p->at++;
	while (p->at < p->end && (*p->at == '.' || *p->at == '[')) {
		const char *from;

		if (*p->at == '[') {
			if (!parse_bracket(p, c))
				return false;
			continue;
		}
		from = ++p->at;
		if (p->at < p->end && *p->at == '[')
			continue;
		while (p->at < p->end && plain(*p->at))
			p->at++;
		if (p->at == from)
			return pattern_fail(p, "the name of a property expected");
		if (!add_step(p, c, xstrndup(from, (size_t)(p->at - from)), 0))
			return false;
	}
	return c->step_count > 0 || pattern_fail(p, "a property is missing behind \"$\"");
}

/* NULL: there is no such property. */
static const json_t *find(const json_t *v, const struct condition *c)
{
	for (size_t i = 0; i < c->step_count && v; i++)
		v = c->steps[i].name ? json_object_get(v, c->steps[i].name)
				     : json_array_get(v, c->steps[i].index);
	return v;
}

static bool compare_value(const struct condition *c, const json_t *v)
{
	char number[64];

	if (json_is_string(v))
		return matcher_compare(&c->value, c->compare,
		    (struct str){json_string_value(v), json_string_length(v)});
	if (json_is_boolean(v))
		return matcher_compare(
		    &c->value, c->compare, json_is_true(v) ? STR("true") : STR("false"));
	if (json_is_integer(v))
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		snprintf(number, sizeof(number), "%.17g", json_real_value(v));
	else
		return c->compare == CMP_NE && v && !json_is_null(v);
	return matcher_compare(&c->value, c->compare, str_from(number));
}

static bool holds(const struct condition *c, const json_t *root)
{
	const json_t *v;

	if (c->compare == CMP_AND)
		return holds(c->left, root) && holds(c->right, root);
	if (c->compare == CMP_OR)
		return holds(c->left, root) || holds(c->right, root);
	v = find(root, c);
	switch (c->compare) {
	case CMP_NULL: return json_is_null(v);
	case CMP_TRUE: return json_is_true(v);
	case CMP_FALSE: return json_is_false(v);
	case CMP_EXISTS: return v != NULL;
	case CMP_NOT_EXISTS: return v == NULL;
	default: return v && compare_value(c, v);
	}
}

bool json_match(const struct condition *root, struct str message)
{
	struct str s = message;
	json_t *v;
	bool ok;

	while (s.len && isspace((unsigned char)*s.ptr))
		s = str_sub(s, 1);
	if (!s.len || (*s.ptr != '{' && *s.ptr != '['))
		return false;
	v = json_loadb(s.ptr, s.len, JSON_ALLOW_NUL, NULL);
	if (!v)
		return false;
	ok = holds(root, v);
	json_decref(v);
	return ok;
}
