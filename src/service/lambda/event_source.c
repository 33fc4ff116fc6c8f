/*
 * The five operations of event source mappings. Mappings themselves are src/source: here requests
 * become documents, are checked, and documents become answers. A mapping outlives its function, as
 * on AWS. Loop thread.
 */
#include "base/rand.h"
#include "service/lambda/event_source_int.h"

#define ESM_PAGE_MAX 100

/* ---- answering once it is on disk ---- */

struct pending {
	struct call *call; /* NULL: the client has gone */
};

static void on_stop(struct call *c)
{
	struct pending *p = c->user;

	p->call = NULL;
}

static struct pending *wait_for(struct call *c)
{
	struct pending *p = xcalloc(1, sizeof(*p));

	p->call = c;
	c->user = p;
	call_on_stop(c, on_stop);
	return p;
}

static void on_changed(void *ctx, int result, struct source_mapping *m)
{
	struct pending *p = ctx;
	struct err e = ERR_INIT;

	if (p->call && result < 0) {
		fail(&e, LAMBDA_SERVICE_EXCEPTION,
		    "The change could not be written: %s. Nothing was changed: see the server's "
		    "log, then try again.",
		    strerror(-result));
		call_reply(p->call, result, &e);
	} else if (p->call) {
		esm_describe(p->call, m, p->call->out);
		call_reply(p->call, 0, NULL);
	}
	free(p);
}

/* ---- what is asked for ---- */

/* The function of a mapping; its time-out too. */
static int find_function(
    struct call *c, const char *name, const char **ret_arn, int64_t *ret_timeout_ms, struct err *e)
{
	const struct version *v;
	struct function *f;
	struct ref ref;
	int r = ref_resolve(c, name, NULL, &ref, e);

	if (r < 0)
		return r;
	f = strcmp(ref.account, c->account) == 0 ? function_find(c->ctx, str_from(ref.account),
						       str_from(ref.region), str_from(ref.name))
						 : NULL;
	v = f ? version_by_qualifier(f, ref.qualifier) : NULL;
	if (!v)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Function does not exist: create it before its event source mapping.");
	*ret_arn = ref_arn(c, &ref);
	*ret_timeout_ms = doc_int(v->doc, "Timeout", 3) * 1000;
	return 0;
}

static int check_place(struct call *c, const char *arn, struct err *e)
{
	struct str rest = str_from(arn), part = STR_NULL;

	if (!arn)
		return 0;
	for (int i = 0; i < 4; i++)
		part = str_cut(&rest, ':');
	if (!str_is(part, c->region))
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "The event source must be in the region of the function, %s: %s", c->region,
		    arn);
	part = str_cut(&rest, ':');
	if (!str_is(part, c->account))
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Event sources of other accounts are not supported by this server: %s", arn);
	return 0;
}

static json_t *strings_of(const char *const *items, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(items[i]));
	return list;
}

static json_t *tags_of(const struct lambda_tags *tags)
{
	json_t *doc = json_object();

	for (size_t i = 0; tags && i < tags->count; i++)
		doc_set_str(doc, tags->entries[i].key, tags->entries[i].value);
	return doc;
}

static void put_endpoints(json_t *doc, const struct lambda_self_managed_event_source *s)
{
	json_t *endpoints = json_object();

	for (size_t i = 0; s->endpoints && i < s->endpoints->count; i++) {
		const struct lambda_endpoints_entry *entry = &s->endpoints->entries[i];

		json_object_set_new(
		    endpoints, entry->key, strings_of(entry->value.items, entry->value.count));
	}
	json_object_set_new(
	    doc, "SelfManagedEventSource", json_pack("{s:o}", "Endpoints", endpoints));
}

/* What only a creation says. */
static json_t *new_doc(const struct lambda_create_event_source_mapping_in *in, const char *arn)
{
	json_t *doc = json_object();
	char uuid[37];

	rand_uuid(uuid);
	doc_set_int(doc, "v", 1);
	doc_set_str(doc, "UUID", uuid);
	doc_set_str(doc, "FunctionArn", arn);
	doc_set_str(doc, "EventSourceArn", in->event_source_arn);
	doc_set_str(doc, "StartingPosition", in->starting_position);
	if (in->starting_position_timestamp)
		doc_set_int(doc, "StartingPositionTimestamp", *in->starting_position_timestamp);
	if (in->self_managed_event_source)
		put_endpoints(doc, in->self_managed_event_source);
	if (in->topics)
		json_object_set_new(
		    doc, "Topics", strings_of(in->topics->items, in->topics->count));
	if (in->queues)
		json_object_set_new(
		    doc, "Queues", strings_of(in->queues->items, in->queues->count));
	json_object_set_new(doc, "Tags", tags_of(in->tags));
	return doc;
}

static void put_defaults(json_t *doc, const char *kind)
{
	if (!json_object_get(doc, "Enabled"))
		json_object_set_new(doc, "Enabled", json_true());
	if (!json_object_get(doc, "BatchSize"))
		doc_set_int(doc, "BatchSize", strcmp(kind, "sqs") == 0 ? 10 : 100);
	if (!json_object_get(doc, "MaximumBatchingWindowInSeconds") && strcmp(kind, "sqs") == 0)
		doc_set_int(doc, "MaximumBatchingWindowInSeconds", 0);
	if (strcmp(kind, "kafka") == 0 &&
	    !json_object_get(doc, "SelfManagedKafkaEventSourceConfig"))
		json_object_set_new(doc, "SelfManagedKafkaEventSourceConfig",
		    json_pack("{s:s}", "ConsumerGroupId", doc_str(doc, "UUID")));
}

/* ---- CreateEventSourceMapping ---- */

static int check_duplicate(struct call *c, const struct lambda *l, const json_t *doc, struct err *e)
{
	const char *uuid =
	    source_duplicate(l->sources, str_from(c->account), str_from(c->region), doc);
	const char *source = doc_str(doc, "EventSourceArn");

	if (!uuid)
		return 0;
	return call_fail(c, e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
	    "The event source arn (\" %s \") and function (\" %s \") provided mapping already "
	    "exists. Please update or delete the existing mapping with UUID %s",
	    source ? source : "", strrchr(doc_str(doc, "FunctionArn"), ':') + 1, uuid);
}

static int check_source(
    struct call *c, const struct lambda *l, const json_t *doc, int64_t timeout_ms, struct err *e)
{
	struct err why = ERR_INIT;

	if (source_check(l->sources, doc, timeout_ms, &why) == 0)
		return 0;
	return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s", why.msg);
}

static int check_new(struct call *c, const struct lambda_create_event_source_mapping_in *in,
    json_t *doc, int64_t timeout_ms, struct err *e)
{
	const struct esm_wanted w = ESM_WANTED(in);
	struct err why = ERR_INIT;
	const char *kind = source_kind(doc, &why);
	int r;

	if (!kind)
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s", why.msg);
	r = check_place(c, in->event_source_arn, e);
	if (r == 0 && in->tags)
		r = tags_check(in->tags, e);
	if (r == 0)
		r = esm_check_wanted(kind, &w, e);
	if (r < 0)
		return r;
	esm_merge(doc, &w);
	put_defaults(doc, kind);
	r = esm_check(c, kind, doc, e);
	if (r == 0)
		r = check_source(c, c->ctx, doc, timeout_ms, e);
	return r == 0 ? check_duplicate(c, c->ctx, doc, e) : r;
}

int lambda_create_event_source_mapping(struct call *c,
    const struct lambda_create_event_source_mapping_in *in,
    struct lambda_create_event_source_mapping_out *out, struct err *e)
{
	const struct lambda *l = c->ctx;
	int64_t timeout_ms;
	const char *arn;
	json_t *doc;
	int r = find_function(c, in->function_name, &arn, &timeout_ms, e);

	(void)out;
	if (r < 0)
		return r;
	doc = new_doc(in, arn);
	r = check_new(c, in, doc, timeout_ms, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	source_create(
	    l->sources, str_from(c->account), str_from(c->region), doc, on_changed, wait_for(c));
	return CALL_PENDING;
}

/* ---- Get, Update, Delete ---- */

static struct source_mapping *find(struct call *c, const char *uuid, struct err *e)
{
	const struct lambda *l = c->ctx;
	struct source_mapping *m =
	    source_find(l->sources, str_from(c->account), str_from(c->region), str_from(uuid));

	if (!m)
		fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The resource you requested does not exist.");
	return m;
}

int lambda_get_event_source_mapping(struct call *c,
    const struct lambda_get_event_source_mapping_in *in,
    struct lambda_get_event_source_mapping_out *out, struct err *e)
{
	const struct source_mapping *m = find(c, in->uuid, e);

	if (!m)
		return -ENOENT;
	esm_describe(c, m, out);
	return 0;
}

static int check_steady(const struct source_mapping *m, const char *what, struct err *e)
{
	if (source_is_steady(m))
		return 0;
	return fail(e, LAMBDA_RESOURCE_IN_USE_EXCEPTION,
	    "Cannot %s the event source mapping because it is in use.", what);
}

static int change_doc(struct call *c, const struct lambda_update_event_source_mapping_in *in,
    json_t *doc, struct err *e)
{
	const struct esm_wanted w = ESM_WANTED(in);
	struct err why = ERR_INIT;
	const char *arn, *kind = source_kind(doc, &why);
	int64_t timeout_ms = -1;
	int r;

	if (!kind)
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s", why.msg);
	if (in->function_name) {
		r = find_function(c, in->function_name, &arn, &timeout_ms, e);
		if (r < 0)
			return r;
		doc_set_str(doc, "FunctionArn", arn);
	}
	r = esm_check_wanted(kind, &w, e);
	if (r < 0)
		return r;
	esm_merge(doc, &w);
	r = esm_check(c, kind, doc, e);
	/* The source may be gone for now, but for a new function it has to fit. */
	return r == 0 && timeout_ms >= 0 ? check_source(c, c->ctx, doc, timeout_ms, e) : r;
}

int lambda_update_event_source_mapping(struct call *c,
    const struct lambda_update_event_source_mapping_in *in,
    struct lambda_update_event_source_mapping_out *out, struct err *e)
{
	struct source_mapping *m = find(c, in->uuid, e);
	json_t *doc;
	int r;

	(void)out;
	if (!m)
		return -ENOENT;
	r = check_steady(m, "update", e);
	if (r < 0)
		return r;
	doc = json_deep_copy(source_doc(m));
	r = change_doc(c, in, doc, e);
	if (r < 0) {
		json_decref(doc);
		return r;
	}
	source_update(m, doc, on_changed, wait_for(c));
	return CALL_PENDING;
}

int lambda_delete_event_source_mapping(struct call *c,
    const struct lambda_delete_event_source_mapping_in *in,
    struct lambda_delete_event_source_mapping_out *out, struct err *e)
{
	struct source_mapping *m = find(c, in->uuid, e);
	int r;

	(void)out;
	if (!m)
		return -ENOENT;
	r = check_steady(m, "delete", e);
	if (r < 0)
		return r;
	source_delete(m, on_changed, wait_for(c));
	return CALL_PENDING;
}

/* ---- ListEventSourceMappings: pages in the order of UUIDs; the marker is the last one ---- */

static bool is_wanted(
    const struct lambda_list_event_source_mappings_in *in, const char *name, const json_t *doc)
{
	const char *source = doc_str(doc, "EventSourceArn");
	struct name n;

	if (in->event_source_arn && (!source || strcmp(source, in->event_source_arn) != 0))
		return false;
	if (in->marker && in->marker[0] && strcmp(doc_str(doc, "UUID"), in->marker) <= 0)
		return false;
	return !name ||
	       (name_parse(str_from(doc_str(doc, "FunctionArn")), &n) && str_is(n.name, name));
}

int lambda_list_event_source_mappings(struct call *c,
    const struct lambda_list_event_source_mappings_in *in,
    struct lambda_list_event_source_mappings_out *out, struct err *e)
{
	const struct lambda *l = c->ctx;
	struct lambda_event_source_mappings_list *list =
	    call_new(c, struct lambda_event_source_mappings_list);
	struct lambda_event_source_mapping_configuration *items;
	_cleanup_free_ struct source_mapping **all = NULL;
	size_t max = in->max_items ? min_size((size_t)*in->max_items, ESM_PAGE_MAX) : ESM_PAGE_MAX;
	struct ref ref = {0};

	if (in->function_name && ref_resolve(c, in->function_name, NULL, &ref, e) < 0)
		return -EINVAL;
	items = call_array(c, max, struct lambda_event_source_mapping_configuration);
	all = source_list(l->sources, str_from(c->account), str_from(c->region));
	for (size_t i = 0; all[i]; i++) {
		if (!is_wanted(in, ref.name, source_doc(all[i])))
			continue;
		if (list->count == max) {
			out->next_marker = items[max - 1].uuid;
			break;
		}
		esm_describe(c, all[i], &items[list->count++]);
	}
	list->items = items;
	out->event_source_mappings = list;
	return 0;
}
