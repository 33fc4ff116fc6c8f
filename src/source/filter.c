/* Filter criteria: see filter.h. Patterns themselves are event_pattern.c. Loop thread. */
#include "source/filter.h"

#include "source/event_pattern.h"

#define KEYS_MAX 2

/* What a pattern expects of a data member. */
enum wanted { WANTS_NOTHING, WANTS_TEXT, WANTS_JSON };

struct part {
	struct event_pattern *pattern;
	enum wanted wants[KEYS_MAX];
};

struct filter {
	const struct filter_data *data;
	size_t count;
	struct part parts[FILTER_MAX];
};

static enum wanted wanted_of(const json_t *pattern, const char *key)
{
	const json_t *v = json_object_get(pattern, key);

	if (!v)
		return WANTS_NOTHING;
	return json_is_array(v) ? WANTS_TEXT : WANTS_JSON;
}

static int compile(struct filter *f, const json_t *filter, struct err *e)
{
	const json_t *text = json_object_get(filter, "Pattern");
	struct part *p = &f->parts[f->count];
	struct err why = ERR_INIT;
	json_error_t at;
	json_t *doc;

	if (!text)
		return 0;
	doc = json_loadb(json_string_value(text), json_string_length(text), 0, &at);
	if (!doc)
		return err_set(e, EINVAL,
		    "Invalid filter pattern definition. It is not JSON: %.100s", at.text);
	p->pattern = event_pattern_new(doc, &why);
	for (size_t i = 0; f->data->keys[i]; i++)
		p->wants[i] = wanted_of(doc, f->data->keys[i]);
	json_decref(doc);
	if (!p->pattern)
		return err_set(e, EINVAL, "Invalid filter pattern definition. %s.", why.msg);
	f->count++;
	return 0;
}

struct filter *filter_new(const json_t *filters, const struct filter_data *d, struct err *e)
{
	struct filter *f;
	const json_t *one;
	size_t i;

	if (json_array_size(filters) > FILTER_MAX) {
		err_set(e, EINVAL, "Filters exceed the maximum allowed limit of %d.", FILTER_MAX);
		return NULL;
	}
	f = xcalloc(1, sizeof(*f));
	f->data = d;
	json_array_foreach(filters, i, one)
	{
		if (compile(f, one, e) < 0) {
			filter_free(f);
			return NULL;
		}
	}
	if (f->count)
		return f;
	filter_free(f);
	return NULL;
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->count; i++)
		event_pattern_free(f->parts[i].pattern);
	free(f);
}

/* Data as patterns see it: JSON when it is an object or a list, else text. NULL: as it is. */
static json_t *open_data(const json_t *v, bool base64)
{
	struct str s = {json_string_value(v), json_string_length(v)};
	_cleanup_free_ char *raw = NULL;
	json_t *out;

	if (!json_is_string(v))
		return NULL;
	if (base64) {
		ssize_t n;

		raw = xmalloc(s.len / 4 * 3 + 1);
		n = base64_decode(s, raw);
		if (n < 0)
			return NULL;
		s = (struct str){raw, (size_t)n};
	}
	out = json_loadb(s.ptr, s.len, JSON_ALLOW_NUL, NULL);
	if (out || !base64)
		return out;
	return json_stringn(s.ptr, s.len);
}

static bool fits(enum wanted wants, const json_t *v)
{
	bool json = json_is_object(v) || json_is_array(v);

	return wants == WANTS_NOTHING || json == (wants == WANTS_JSON);
}

static bool part_matches(const struct filter *f, const struct part *p, const json_t *doc)
{
	for (size_t i = 0; f->data->keys[i]; i++)
		if (!fits(p->wants[i], json_object_get(doc, f->data->keys[i])))
			return false;
	return event_pattern_matches(p->pattern, doc);
}

bool filter_matches(const struct filter *f, struct str record)
{
	json_t *doc = json_loadb(record.ptr, record.len, JSON_ALLOW_NUL, NULL);
	bool found = false;

	for (size_t i = 0; doc && f->data->keys[i]; i++) {
		const char *key = f->data->keys[i];
		json_t *data = open_data(json_object_get(doc, key), f->data->base64);

		if (data)
			json_object_set_new(doc, key, data);
	}
	for (size_t i = 0; doc && i < f->count && !found; i++)
		found = part_matches(f, &f->parts[i], doc);
	json_decref(doc);
	return found;
}
