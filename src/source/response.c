/*
 * What a function answers to a batch when it reports failures of single records, by AWS's rules:
 * nothing or an empty list is success of all; anything that cannot be understood, or names a record
 * that is not in the batch, is failure of all. Loop thread.
 */
#include "source/source_int.h"

/* Ten thousand message ids are 600 kB. */
#define RESPONSE_MAX 2000000

static bool is_empty(const json_t *v)
{
	return json_is_null(v) || (json_is_string(v) && !json_string_length(v)) ||
	       (json_is_array(v) && !json_array_size(v)) ||
	       (json_is_object(v) && !json_object_size(v));
}

static void index_records(struct source_batch *b, struct map *m)
{
	for (size_t i = 0; i < b->count; i++)
		map_put(m, str_from(b->records[i].id), &b->records[i]);
}

/* {"itemIdentifier":"…"}; of Kafka {"itemIdentifier":{"topic-partition":"t-0","offset":5}}, which
 * has the id "t-0@5" here. */
static struct source_record *find(const struct map *m, const json_t *item)
{
	const json_t *id = json_object_get(item, "itemIdentifier");
	const char *partition = json_string_value(json_object_get(id, "topic-partition"));
	const json_t *offset = json_object_get(id, "offset");
	_cleanup_free_ char *text = NULL;

	if (json_is_string(id))
		return map_get(m, str_from(json_string_value(id)));
	if (!partition || !json_is_integer(offset))
		return NULL;
	text = xasprintf("%s@%" JSON_INTEGER_FORMAT, partition, json_integer_value(offset));
	return map_get(m, str_from(text));
}

static bool mark(struct source_batch *b, const json_t *list)
{
	struct map m = MAP_INIT;
	bool known = true;
	const json_t *item;
	size_t i;

	index_records(b, &m);
	json_array_foreach(list, i, item)
	{
		struct source_record *rec = find(&m, item);

		if (!rec) {
			known = false;
			break;
		}
		rec->failed = true;
	}
	map_done(&m);
	return known;
}

bool source_response_apply(struct source_batch *b, struct str payload)
{
	const json_t *list;
	json_t *doc;
	bool ok;

	for (size_t i = 0; i < b->count; i++)
		b->records[i].failed = false;
	if (!payload.len)
		return true;
	if (payload.len > RESPONSE_MAX)
		return false;
	doc = json_loadb(payload.ptr, payload.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	list = json_object_get(doc, "batchItemFailures");
	if (!doc)
		ok = false;
	else if (is_empty(doc) || (json_is_object(doc) && (!list || is_empty(list))))
		ok = true;
	else
		ok = json_is_array(list) && mark(b, list);
	json_decref(doc);
	return ok;
}
