/* JSON: getters and setters for documents. */
#include "base/rand.h"
#include "service/lambda/lambda_int.h"

const char *doc_str(const json_t *doc, const char *key)
{
	return json_string_value(json_object_get(doc, key));
}

int64_t doc_int(const json_t *doc, const char *key, int64_t absent)
{
	const json_t *v = json_object_get(doc, key);

	return json_is_integer(v) ? json_integer_value(v) : absent;
}

void doc_set_str(json_t *doc, const char *key, const char *value)
{
	if (value)
		json_object_set_new(doc, key, json_string(value));
	else
		json_object_del(doc, key);
}

void doc_set_int(json_t *doc, const char *key, int64_t value)
{
	json_object_set_new(doc, key, json_integer(value));
}

void doc_new_revision(json_t *doc)
{
	char id[37];

	rand_uuid(id);
	doc_set_str(doc, "RevisionId", id);
}
