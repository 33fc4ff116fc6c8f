/* Tags of queues. Loop thread. */
#include "service/sqs/sqs_int.h"

#define TAGS_MAX 50
#define KEY_MAX 128
#define VALUE_MAX 256

static json_t *tags_in(json_t *doc)
{
	json_t *tags = json_object_get(doc, "tags");

	if (!tags) {
		tags = json_object();
		json_object_set_new(doc, "tags", tags);
	}
	return tags;
}

int merge_tags(json_t *doc, const struct sqs_tag_map *given, struct err *e)
{
	json_t *tags = tags_in(doc);

	for (size_t i = 0; i < given->count; i++) {
		const char *key = given->entries[i].key, *value = given->entries[i].value;
		size_t n = utf8_count(str_from(key));

		if (n < 1 || n > KEY_MAX || utf8_count(str_from(value)) > VALUE_MAX ||
		    str_has_prefix(str_from(key), "aws:"))
			return fail(e, SQS_INVALID_PARAMETER_VALUE,
			    "Tag keys must be between 1 and 128 characters in length and must not "
			    "start with aws:, values must not exceed 256 characters.");
		json_object_set_new(tags, key, json_string(value));
	}
	if (json_object_size(tags) > TAGS_MAX)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Too many tags added for queue: at most %d are allowed.", TAGS_MAX);
	return 0;
}

int sqs_tag_queue(
    struct call *c, const struct sqs_tag_queue_in *in, struct sqs_tag_queue_out *out, struct err *e)
{
	struct queue_settings s;
	struct queue *q;
	json_t *doc;
	int r = open_queue(c, in->queue_url, "sqs:TagQueue", &q, e);

	(void)out;
	if (r < 0)
		return r;
	doc = draft_of(q, &s);
	r = merge_tags(doc, in->tags, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	return change_queue(c, q, &s, doc);
}

int sqs_untag_queue(struct call *c, const struct sqs_untag_queue_in *in,
    struct sqs_untag_queue_out *out, struct err *e)
{
	struct queue_settings s;
	struct queue *q;
	json_t *doc;
	int r = open_queue(c, in->queue_url, "sqs:UntagQueue", &q, e);

	(void)out;
	if (r < 0)
		return r;
	doc = draft_of(q, &s);
	for (size_t i = 0; i < in->tag_keys->count; i++)
		json_object_del(tags_in(doc), in->tag_keys->items[i]);
	return change_queue(c, q, &s, doc);
}

int sqs_list_queue_tags(struct call *c, const struct sqs_list_queue_tags_in *in,
    struct sqs_list_queue_tags_out *out, struct err *e)
{
	struct sqs_tag_map *map = call_new(c, struct sqs_tag_map);
	struct sqs_tag_map_entry *entries;
	const char *key;
	struct queue *q;
	json_t *tags, *value;
	int r = open_queue(c, in->queue_url, "sqs:ListQueueTags", &q, e);

	if (r < 0)
		return r;
	tags = json_object_get(facts_of(q)->doc, "tags");
	entries = call_array(c, json_object_size(tags) + 1, struct sqs_tag_map_entry);
	json_object_foreach(tags, key, value) entries[map->count++] =
	    (struct sqs_tag_map_entry){call_str(c, key), call_str(c, json_string_value(value))};
	map->entries = entries;
	if (map->count)
		out->tags = map;
	return 0;
}
