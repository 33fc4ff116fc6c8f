/* Tags of functions; those of event source mappings are in event_source_tags.c. Loop thread. */
#include "service/lambda/event_source_int.h"

/* A function: the model allows other resources that this server has not. */
static int find(struct call *c, const char *resource, struct function **ret, struct err *e)
{
	struct ref ref;
	struct name n;

	if (!name_parse(str_from(resource), &n))
		return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The resource you requested does not exist: %s", resource);
	if (n.qualifier.ptr)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Tags on function aliases and versions are not supported. Please specify a "
		    "function ARN.");
	return function_of(c, resource, NULL, &ref, ret, e);
}

static int commit(struct call *c, struct function *f, json_t *doc)
{
	struct change *ch = change_new(c, f, NULL);

	change_put(ch, RECORD_FUNCTION, "", doc);
	return change_commit(ch);
}

int tags_check(const struct lambda_tags *tags, struct err *e)
{
	for (size_t i = 0; i < tags->count; i++) {
		struct str key = str_from(tags->entries[i].key);
		struct str value = str_from(tags->entries[i].value);

		if (!key.len || utf8_count(key) > 128 || utf8_count(value) > 256)
			return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
			    "A tag's key has 1 to 128 characters, its value at most 256.");
		if (key.len >= 4 && str_eq_nocase((struct str){key.ptr, 4}, STR("aws:")))
			return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
			    "Tag keys that start with 'aws:' are reserved: choose another one.");
	}
	return 0;
}

int lambda_tag_resource(struct call *c, const struct lambda_tag_resource_in *in,
    struct lambda_tag_resource_out *out, struct err *e)
{
	struct function *f;
	json_t *doc, *tags;
	int r;

	(void)out;
	if (esm_is_arn(in->resource)) {
		r = tags_check(in->tags, e);
		return r < 0 ? r : esm_change_tags(c, in->resource, in->tags, NULL, e);
	}
	r = find(c, in->resource, &f, e);
	if (r == 0 && f->busy)
		return change_wait(c, in, f);
	if (r == 0)
		r = tags_check(in->tags, e);
	if (r < 0)
		return r;
	doc = function_doc_copy(f);
	tags = json_object_get(doc, "Tags");
	for (size_t i = 0; i < in->tags->count; i++)
		json_object_set_new(
		    tags, in->tags->entries[i].key, json_string(in->tags->entries[i].value));
	if (json_object_size(tags) > LAMBDA_TAGS_MAX) {
		json_decref(doc);
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Number of tags exceeds resource tag limit.");
	}
	return commit(c, f, doc);
}

int lambda_untag_resource(struct call *c, const struct lambda_untag_resource_in *in,
    struct lambda_untag_resource_out *out, struct err *e)
{
	struct function *f;
	json_t *doc;
	int r;

	(void)out;
	if (esm_is_arn(in->resource))
		return esm_change_tags(c, in->resource, NULL, in->tag_keys, e);
	r = find(c, in->resource, &f, e);
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	doc = function_doc_copy(f);
	for (size_t i = 0; i < in->tag_keys->count; i++)
		json_object_del(json_object_get(doc, "Tags"), in->tag_keys->items[i]);
	return commit(c, f, doc);
}

int lambda_list_tags(struct call *c, const struct lambda_list_tags_in *in,
    struct lambda_list_tags_out *out, struct err *e)
{
	struct function *f;
	int r;

	if (esm_is_arn(in->resource))
		return esm_list_tags(c, in->resource, out, e);
	r = find(c, in->resource, &f, e);
	if (r == 0)
		out->tags = describe_tags(c, f);
	return r;
}
