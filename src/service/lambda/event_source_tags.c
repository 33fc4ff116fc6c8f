/* Tags of event source mappings, for the operations in tags.c. Loop thread. */
#include "service/lambda/event_source_int.h"

struct pending {
	struct call *call; /* NULL: the client has gone */
};

static void on_stop(struct call *c)
{
	struct pending *p = c->user;

	p->call = NULL;
}

static void on_tagged(void *ctx, int result, struct source_mapping *m)
{
	struct pending *p = ctx;
	struct err e = ERR_INIT;

	(void)m;
	if (result < 0)
		fail(&e, LAMBDA_SERVICE_EXCEPTION,
		    "The tags could not be written: %s. Nothing was changed: see the server's log.",
		    strerror(-result));
	if (p->call)
		call_reply(p->call, result, &e);
	free(p);
}

bool esm_is_arn(const char *resource)
{
	return strstr(resource, ":event-source-mapping:") != NULL;
}

static struct source_mapping *find(struct call *c, const char *arn, struct err *e)
{
	const struct lambda *l = c->ctx;
	const char *prefix =
	    call_printf(c, "arn:aws:lambda:%s:%s:event-source-mapping:", c->region, c->account);
	struct source_mapping *m = NULL;

	if (strncmp(arn, prefix, strlen(prefix)) == 0)
		m = source_find(l->sources, str_from(c->account), str_from(c->region),
		    str_from(arn + strlen(prefix)));
	if (!m)
		call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The resource you requested does not exist: %s", arn);
	return m;
}

int esm_list_tags(struct call *c, const char *arn, struct lambda_list_tags_out *out, struct err *e)
{
	const struct source_mapping *m = find(c, arn, e);

	if (!m)
		return -ENOENT;
	out->tags = describe_tag_map(c, json_object_get(source_doc(m), "Tags"));
	return 0;
}

int esm_change_tags(struct call *c, const char *arn, const struct lambda_tags *add,
    const struct lambda_tag_key_list *remove, struct err *e)
{
	struct source_mapping *m = find(c, arn, e);
	struct pending *p;
	json_t *doc, *tags;

	if (!m)
		return -ENOENT;
	if (!source_is_steady(m))
		return fail(e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "The event source mapping is being changed: try again.");
	doc = json_deep_copy(source_doc(m));
	tags = json_object_get(doc, "Tags");
	for (size_t i = 0; add && i < add->count; i++)
		doc_set_str(tags, add->entries[i].key, add->entries[i].value);
	for (size_t i = 0; remove && i < remove->count; i++)
		json_object_del(tags, remove->items[i]);
	if (json_object_size(tags) > LAMBDA_TAGS_MAX) {
		json_decref(doc);
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Number of tags exceeds resource tag limit.");
	}
	p = xcalloc(1, sizeof(*p));
	p->call = c;
	c->user = p;
	call_on_stop(c, on_stop);
	source_tag(m, doc, on_tagged, p);
	return CALL_PENDING;
}
