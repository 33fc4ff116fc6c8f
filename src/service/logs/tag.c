/* Tags of log groups, by the old operations (name) and the new ones (ARN). Loop thread. */
#include "service/logs/service_int.h"

#define TAGS_MAX 50

static bool reserved(struct str key)
{
	return str_has_prefix(key, RESERVED_TAG);
}

static size_t index_of(const struct log_tag *tags, size_t count, struct str key)
{
	size_t i = 0;

	while (i < count && !str_eq(tags[i].key, key))
		i++;
	return i;
}

/* Tags of the group with `more` merged in, in the call's arena. */
static int merge(struct call *c, const struct log_group_info *info, const struct logs_tags *more,
    const struct log_tag **ret, size_t *ret_count, struct err *e)
{
	struct log_tag *tags = call_array(c, info->tag_count + more->count, struct log_tag);
	size_t count = info->tag_count, visible = 0;

	for (size_t i = 0; i < count; i++)
		tags[i] = info->tags[i];
	for (size_t i = 0; i < more->count; i++) {
		struct log_tag t = {
		    str_from(more->entries[i].key), str_from(more->entries[i].value)};
		size_t at = index_of(tags, count, t.key);

		if (reserved(t.key))
			return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
			    "Tag keys that start with aws: are reserved.");
		tags[at] = t;
		count = max_size(count, at + 1);
	}
	for (size_t i = 0; i < count; i++)
		visible += !reserved(tags[i].key);
	if (visible > TAGS_MAX)
		return fail(e, LOGS_TOO_MANY_TAGS_EXCEPTION, "A resource can have at most %d tags.",
		    TAGS_MAX);
	*ret = tags;
	*ret_count = count;
	return 0;
}

static int add(struct call *c, struct log_group_id id, const struct logs_tags *more, struct err *e)
{
	struct log_group_info info;
	const struct log_tag *tags = NULL;
	size_t count = 0;
	int r = group_to_change(c, id, &info, e);

	if (r == 0)
		r = merge(c, &info, more, &tags, &count, e);
	if (r < 0)
		return r;
	logs_group_tags(logs_of(c), id, tags, count, done_waiting, wait_start(c, id, false));
	return CALL_PENDING;
}

static int take(struct call *c, struct log_group_id id, const char *const *keys, size_t key_count,
    struct err *e)
{
	struct log_group_info info;
	struct log_tag *tags;
	size_t count = 0;
	int r = group_to_change(c, id, &info, e);

	if (r < 0)
		return r;
	tags = call_array(c, info.tag_count + 1, struct log_tag);
	for (size_t i = 0; i < info.tag_count; i++) {
		bool drop = false;

		for (size_t k = 0; k < key_count && !drop; k++)
			drop = str_is(info.tags[i].key, keys[k]) && !reserved(info.tags[i].key);
		if (!drop)
			tags[count++] = info.tags[i];
	}
	logs_group_tags(logs_of(c), id, tags, count, done_waiting, wait_start(c, id, false));
	return CALL_PENDING;
}

static int list(struct call *c, struct log_group_id id, const struct logs_tags **ret, struct err *e)
{
	struct log_group_info info;
	struct logs_tags_entry *entries;
	struct logs_tags *tags;
	int r = group_must_exist(c, id, &info, e);

	if (r < 0)
		return r;
	tags = call_new(c, struct logs_tags);
	entries = call_array(c, info.tag_count + 1, struct logs_tags_entry);
	for (size_t i = 0; i < info.tag_count; i++)
		if (!reserved(info.tags[i].key))
			entries[tags->count++] = (struct logs_tags_entry){
			    call_strn(c, info.tags[i].key), call_strn(c, info.tags[i].value)};
	tags->entries = entries;
	*ret = tags;
	return 0;
}

int logs_tag_log_group(struct call *c, const struct logs_tag_log_group_in *in,
    _unused_ struct logs_tag_log_group_out *out, struct err *e)
{
	return add(c, group_id(c, in->log_group_name), in->tags, e);
}

int logs_untag_log_group(struct call *c, const struct logs_untag_log_group_in *in,
    _unused_ struct logs_untag_log_group_out *out, struct err *e)
{
	return take(c, group_id(c, in->log_group_name), in->tags->items, in->tags->count, e);
}

int logs_list_tags_log_group(struct call *c, const struct logs_list_tags_log_group_in *in,
    struct logs_list_tags_log_group_out *out, struct err *e)
{
	return list(c, group_id(c, in->log_group_name), &out->tags, e);
}

int logs_tag_resource(struct call *c, const struct logs_tag_resource_in *in,
    _unused_ struct logs_tag_resource_out *out, struct err *e)
{
	struct log_group_id id;
	int r = group_identified(c, in->resource_arn, &id, e);

	return r < 0 ? r : add(c, id, in->tags, e);
}

int logs_untag_resource(struct call *c, const struct logs_untag_resource_in *in,
    _unused_ struct logs_untag_resource_out *out, struct err *e)
{
	struct log_group_id id;
	int r = group_identified(c, in->resource_arn, &id, e);

	return r < 0 ? r : take(c, id, in->tag_keys->items, in->tag_keys->count, e);
}

int logs_list_tags_for_resource(struct call *c, const struct logs_list_tags_for_resource_in *in,
    struct logs_list_tags_for_resource_out *out, struct err *e)
{
	struct log_group_id id;
	int r = group_identified(c, in->resource_arn, &id, e);

	return r < 0 ? r : list(c, id, &out->tags, e);
}
