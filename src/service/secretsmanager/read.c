/* GetSecretValue, DescribeSecret, ListSecretVersionIds. Loop thread. */
#include "base/time.h"
#include "service/secretsmanager/secretsmanager_int.h"

#define VERSIONS_PAGE 100

int secret_version_find(struct call *c, const json_t *head, const char *version, const char *stage,
    const char **ret, struct err *e)
{
	const char *holder = stage_holder(head, stage ? stage : CURRENT);

	if (version && !json_object_get(json_object_get(head, "versions"), version))
		return fail(e, SECRETSMANAGER_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Secrets Manager can't find the specified secret value for VersionId: %s",
		    version);
	if (!version && !holder)
		return call_fail(c, e, SECRETSMANAGER_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Secrets Manager can't find the specified secret value for staging label: %s",
		    stage ? stage : CURRENT);
	if (version && stage && (!holder || strcmp(holder, version) != 0))
		return fail(e, SECRETSMANAGER_INVALID_REQUEST_EXCEPTION,
		    "You provided a VersionStage that is not associated to the provided "
		    "VersionId.");
	*ret = version ? version : holder;
	return 0;
}

int secret_value_show(struct call *c, const struct secret *s, const char *version,
    struct secretsmanager_get_secret_value_out *out, struct err *e)
{
	const json_t *v = json_object_get(json_object_get(s->head, "versions"), version);
	_cleanup_value_ struct value value = {.text = BUF_INIT};
	int r = secret_value_read(manager_of(c), s->key, version, false, &value, e);

	if (r < 0)
		return r;
	if (value.binary)
		out->secret_binary = call_blob(c, arena_str(c->arena, buf_str(&value.text)));
	else
		out->secret_string = call_strn(c, buf_str(&value.text));
	out->arn = s->arn;
	out->name = s->name;
	out->created_date = call_int(c, docs_int(v, "created"));
	out->version_id = call_str(c, version);
	out->version_stages = secret_stages_shown(c, v);
	return 0;
}

/* By days, as AWS tells it: a write a day, not one a read. Nobody waits for it. */
static void note_access(struct secretsmanager *m, const char *key)
{
	const json_t *old = docs_latest(m->heads, key);
	int64_t today = time_wall_ms() / DAY_MS * DAY_MS;
	struct docs_change *g;
	json_t *head;

	if (!old || docs_int(old, "accessed") == today)
		return;
	head = json_deep_copy(old);
	docs_set_int(head, "accessed", today);
	g = docs_change_new(m->store);
	docs_put(g, m->heads, key, head);
	docs_commit(g, NULL, NULL);
}

int secretsmanager_get_secret_value(struct call *c,
    const struct secretsmanager_get_secret_value_in *in,
    struct secretsmanager_get_secret_value_out *out, struct err *e)
{
	struct secret s;
	const char *version;
	int r = secret_find(c, in->secret_id, SEEN, &s, e);

	if (r == 0)
		r = secret_version_find(c, s.head, in->version_id, in->version_stage, &version, e);
	if (r == 0)
		r = secret_value_show(c, &s, version, out, e);
	if (r == 0)
		note_access(manager_of(c), s.key);
	return r;
}

static const int64_t *date(struct call *c, const json_t *head, const char *name)
{
	return json_object_get(head, name) ? call_int(c, docs_int(head, name)) : NULL;
}

int secretsmanager_describe_secret(struct call *c,
    const struct secretsmanager_describe_secret_in *in,
    struct secretsmanager_describe_secret_out *out, struct err *e)
{
	struct secret s;
	int r = secret_find(c, in->secret_id, EVEN_GONE, &s, e);

	if (r < 0)
		return r;
	*out = (struct secretsmanager_describe_secret_out){
	    .arn = s.arn,
	    .created_date = date(c, s.head, "created"),
	    .deleted_date = date(c, s.head, "ends"),
	    .description = call_str(c, docs_str(s.head, "description")),
	    .kms_key_id = call_str(c, docs_str(s.head, "kms_key_id")),
	    .last_accessed_date = date(c, s.head, "accessed"),
	    .last_changed_date = date(c, s.head, "changed"),
	    .name = s.name,
	    .tags = secret_tags_shown(c, s.head),
	    .type = call_str(c, docs_str(s.head, "type")),
	    .version_ids_to_stages = secret_stages_map(c, s.head),
	};
	return 0;
}

int secretsmanager_list_secret_version_ids(struct call *c,
    const struct secretsmanager_list_secret_version_ids_in *in,
    struct secretsmanager_list_secret_version_ids_out *out, struct err *e)
{
	struct secretsmanager_secret_versions_list_type *list =
	    call_new(c, struct secretsmanager_secret_versions_list_type);
	size_t max = in->max_results ? (size_t)*in->max_results : VERSIONS_PAGE;
	struct secretsmanager_secret_versions_list_entry *items =
	    call_array(c, max, struct secretsmanager_secret_versions_list_entry);
	bool all = in->include_deprecated && *in->include_deprecated;
	const char *from, *id;
	struct secret s;
	json_t *v;
	int r = secret_find(c, in->secret_id, EVEN_GONE, &s, e);

	if (r < 0)
		return r;
	if (!docs_token_open(c, in->next_token, &from))
		return fail(e, SECRETSMANAGER_INVALID_NEXT_TOKEN_EXCEPTION,
		    "The NextToken value is invalid: use the one of the page before.");
	json_object_foreach(json_object_get(s.head, "versions"), id, v)
	{
		/* Members keep their order, that of their making; a token names the next. */
		if (*from && strcmp(from, id) != 0)
			continue;
		from = "";
		if (!all && !json_array_size(json_object_get(v, "stages")))
			continue;
		if (list->count == max) {
			out->next_token = docs_token(c, id);
			break;
		}
		items[list->count++] = (struct secretsmanager_secret_versions_list_entry){
		    .created_date = call_int(c, docs_int(v, "created")),
		    .version_id = call_str(c, id),
		    .version_stages = secret_stages_shown(c, v)};
	}
	list->items = items;
	out->versions = list;
	out->arn = s.arn;
	out->name = s.name;
	return 0;
}
