/* Filters of ListSecrets and BatchGetSecretValue. Loop thread. */
#include <strings.h>

#include "service/secretsmanager/secretsmanager_int.h"

int secret_filters_check(const struct secretsmanager_filters_list_type *f, struct err *e)
{
	for (size_t i = 0; f && i < f->count; i++)
		if (!f->items[i].key || !f->items[i].values)
			return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
			    "A filter needs a Key and Values.");
	return 0;
}

static bool starts(const char *have, const char *want, bool exact_case)
{
	size_t len = strlen(want);

	if (!have)
		return false;
	return exact_case ? strncmp(have, want, len) == 0 : strncasecmp(have, want, len) == 0;
}

static bool any_tag(const json_t *head, const char *want, bool key, bool exact_case)
{
	const char *name;
	json_t *value;

	json_object_foreach(json_object_get(head, "tags"), name, value)
	{
		if (starts(key ? name : json_string_value(value), want, exact_case))
			return true;
	}
	return false;
}

/* Each word must begin something. */
static bool everywhere(const json_t *head, const char *words)
{
	struct str rest = str_from(words), word;

	do {
		_cleanup_free_ char *w = NULL;

		word = str_cut(&rest, ' ');
		w = xstrndup(word.ptr, word.len);
		if (!strcasestr(docs_str(head, "name"), w) &&
		    !(docs_str(head, "description") &&
			strcasestr(docs_str(head, "description"), w)) &&
		    !any_tag(head, w, true, false) && !any_tag(head, w, false, false))
			return false;
	} while (rest.ptr);
	return true;
}

static bool matches(const json_t *head, const char *key, const char *want)
{
	if (strcmp(key, "name") == 0)
		return starts(docs_str(head, "name"), want, true);
	if (strcmp(key, "description") == 0)
		return starts(docs_str(head, "description"), want, false);
	if (strcmp(key, "tag-key") == 0)
		return any_tag(head, want, true, true);
	if (strcmp(key, "tag-value") == 0)
		return any_tag(head, want, false, true);
	/* Secrets here belong to no service and are replicas of none. */
	return strcmp(key, "all") == 0 && everywhere(head, want);
}

static bool passes(const struct secretsmanager_filter *f, const json_t *head)
{
	for (size_t i = 0; i < f->values->count; i++) {
		const char *want = f->values->items[i];
		bool negated = *want == '!';

		if (matches(head, f->key, want + negated) != negated)
			return true;
	}
	return false;
}

bool secret_filters_pass(const struct secretsmanager_filters_list_type *f, const json_t *head)
{
	for (size_t i = 0; f && i < f->count; i++)
		if (!passes(&f->items[i], head))
			return false;
	return true;
}
