/* CreateSecret, PutSecretValue, UpdateSecret. Loop thread. */
#include <ctype.h>

#include "base/rand.h"
#include "base/time.h"
#include "service/secretsmanager/secretsmanager_int.h"

#define SECRETS_MAX 10000
#define VALUE_MAX 65536

/* ---- a value that is to be a version ---- */

struct given {
	const char *id; /* of the version */
	struct str text;
	bool binary, any;
};

static int take_value(struct call *c, const char *token, const char *string,
    const struct str *binary, struct given *ret, struct err *e)
{
	char id[37];

	if (string && binary)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "You can't specify both a binary secret value and a string secret value in the "
		    "same secret.");
	rand_uuid(id);
	*ret = (struct given){.id = token ? token : call_str(c, id),
	    .text = binary ? *binary : str_from(string),
	    .binary = binary != NULL,
	    .any = string || binary};
	if (ret->text.len > VALUE_MAX)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "The secret value can be at most %d bytes long.", VALUE_MAX);
	for (const char *p = ret->id; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_", *p))
			return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
			    "The ClientRequestToken can only have letters, digits, - and _: use a "
			    "UUID.");
	return 0;
}

/* The same token again: 1 when it brought the same value, 0 when the token is new. */
static int is_repeated(struct call *c, const struct secret *s, const struct given *v, struct err *e)
{
	_cleanup_value_ struct value old = {.text = BUF_INIT};
	int r;

	if (!json_object_get(json_object_get(s->head, "versions"), v->id))
		return 0;
	r = secret_value_read(manager_of(c), s->key, v->id, true, &old, e);
	if (r < 0)
		return r;
	if (old.binary == v->binary && str_eq(buf_str(&old.text), v->text))
		return 1;
	return fail(e, SECRETSMANAGER_RESOURCE_EXISTS_EXCEPTION,
	    "You can't use ClientRequestToken %s because that value is already in use for a "
	    "version of this secret.",
	    v->id);
}

/* The oldest version without a stage, or NULL. */
static const char *oldest_spare(const json_t *head)
{
	const char *id, *found = NULL;
	int64_t since = INT64_MAX;
	json_t *v;

	json_object_foreach(json_object_get(head, "versions"), id, v)
	{
		if (json_array_size(json_object_get(v, "stages")) ||
		    docs_int(v, "created") >= since)
			continue;
		found = id;
		since = docs_int(v, "created");
	}
	return found;
}

static int check_room(const json_t *head, struct err *e)
{
	if (json_object_size(json_object_get(head, "versions")) < VERSIONS_MAX ||
	    oldest_spare(head))
		return 0;
	return fail(e, SECRETSMANAGER_LIMIT_EXCEEDED_EXCEPTION,
	    "A secret can have at most %d versions: take staging labels off some.", VERSIONS_MAX);
}

/* Make a version in head (a copy of ours) and put its value. Without stages it becomes current; the
 * first always does. */
static void add_version(struct call *c, struct docs_change *g, const char *key, json_t *head,
    const struct given *v, const struct secretsmanager_secret_version_stages_type *stages)
{
	json_t *versions = json_object_get(head, "versions");
	const char *spare = oldest_spare(head);

	if (json_object_size(versions) >= VERSIONS_MAX && spare) {
		secret_value_delete(manager_of(c), g, key, spare);
		json_object_del(versions, call_str(c, spare));
	}
	json_object_set_new(
	    versions, v->id, json_pack("{s:I, s:[]}", "created", time_wall_ms(), "stages"));
	for (size_t i = 0; stages && i < stages->count; i++)
		stage_move(head, stages->items[i], v->id);
	if (!stages || json_object_size(versions) == 1)
		stage_move(head, CURRENT, v->id);
	docs_set_int(head, "changed", time_wall_ms());
	secret_value_put(manager_of(c), g, key, v->id, v->text, v->binary);
}

/* ---- CreateSecret ---- */

static int check_name(const char *name, struct err *e)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("/_+=.@-!", *p))
			return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
			    "Invalid name. Must be a valid name containing alphanumeric "
			    "characters, or any of the following: -/_+=.@!");
	return 0;
}

static int check_create(
    struct call *c, const struct secretsmanager_create_secret_in *in, struct err *e)
{
	const char *prefix = call_printf(c, "%s/%s/", c->account, c->region);

	if (in->add_replica_regions && in->add_replica_regions->count)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "Replication to other regions is not supported here: leave out "
		    "AddReplicaRegions.");
	if (docs_count(manager_of(c)->heads, prefix) >= SECRETS_MAX)
		return fail(e, SECRETSMANAGER_LIMIT_EXCEEDED_EXCEPTION,
		    "There are %d secrets in this region, which is the limit: delete some.",
		    SECRETS_MAX);
	return check_name(in->name, e);
}

/* The name is taken: an answer only for the same request sent again. */
static int create_again(struct call *c, const char *key, const json_t *head, const struct given *v,
    struct secretsmanager_create_secret_out *out, struct err *e)
{
	struct secret s = secret_of(c, key, head);
	int r;

	if (docs_int(head, "ends"))
		return fail(e, SECRETSMANAGER_INVALID_REQUEST_EXCEPTION,
		    "You can't create this secret because a secret with this name is already "
		    "scheduled for deletion.");
	r = v->any ? is_repeated(c, &s, v, e) : 0;
	if (r < 0)
		return r;
	if (r == 0)
		return call_fail(c, e, SECRETSMANAGER_RESOURCE_EXISTS_EXCEPTION,
		    "The operation failed because the secret %s already exists.", s.name);
	out->arn = s.arn;
	out->name = s.name;
	out->version_id = v->id;
	return 0;
}

static void make_suffix(char out[SUFFIX_SIZE])
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

	for (size_t i = 0; i + 1 < SUFFIX_SIZE; i++)
		out[i] = letters[rand_u64() % (sizeof(letters) - 1)];
	out[SUFFIX_SIZE - 1] = '\0';
}

static json_t *new_head(const struct secretsmanager_create_secret_in *in)
{
	char suffix[SUFFIX_SIZE];
	int64_t now_ms = time_wall_ms();
	json_t *head = json_pack("{s:s, s:I, s:I, s:{}, s:{}}", "name", in->name, "created", now_ms,
	    "changed", now_ms, "tags", "versions");

	make_suffix(suffix);
	docs_set(head, "suffix", suffix);
	docs_set(head, "description", in->description);
	docs_set(head, "kms_key_id", in->kms_key_id);
	docs_set(head, "type", in->type);
	return head;
}

int secretsmanager_create_secret(struct call *c, const struct secretsmanager_create_secret_in *in,
    struct secretsmanager_create_secret_out *out, struct err *e)
{
	const char *key = call_printf(c, "%s/%s/%s", c->account, c->region, in->name);
	const json_t *old = docs_latest(manager_of(c)->heads, key);
	struct docs_change *g;
	struct given v;
	struct secret s;
	json_t *head;
	int r = check_create(c, in, e);

	if (r == 0)
		r = take_value(
		    c, in->client_request_token, in->secret_string, in->secret_binary, &v, e);
	if (r == 0 && old)
		return create_again(c, key, old, &v, out, e);
	if (r < 0)
		return r;
	head = new_head(in);
	r = secret_tags_merge(head, in->tags, e);
	if (r < 0) {
		json_decref(head);
		return r;
	}
	s = secret_of(c, key, head);
	g = docs_change_new(manager_of(c)->store);
	if (v.any) {
		add_version(c, g, key, head, &v, NULL);
		out->version_id = v.id;
	}
	docs_put(g, manager_of(c)->heads, key, head);
	out->arn = s.arn;
	out->name = s.name;
	return docs_commit_call(c, g);
}

/* ---- new versions ---- */

int secretsmanager_put_secret_value(struct call *c,
    const struct secretsmanager_put_secret_value_in *in,
    struct secretsmanager_put_secret_value_out *out, struct err *e)
{
	struct docs_change *g;
	struct secret s;
	struct given v;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE, &s, e);

	if (r == 0)
		r = take_value(
		    c, in->client_request_token, in->secret_string, in->secret_binary, &v, e);
	if (r == 0 && !v.any)
		r = fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "You must provide either SecretString or SecretBinary.");
	if (r == 0)
		r = is_repeated(c, &s, &v, e);
	if (r == 0)
		r = check_room(s.head, e);
	if (r < 0)
		return r;
	out->arn = s.arn;
	out->name = s.name;
	out->version_id = v.id;
	if (r == 1) {
		out->version_stages = secret_stages_shown(
		    c, json_object_get(json_object_get(s.head, "versions"), v.id));
		return 0;
	}
	head = json_deep_copy(s.head);
	g = docs_change_new(manager_of(c)->store);
	add_version(c, g, s.key, head, &v, in->version_stages);
	out->version_stages =
	    secret_stages_shown(c, json_object_get(json_object_get(head, "versions"), v.id));
	docs_put(g, manager_of(c)->heads, s.key, head);
	return docs_commit_call(c, g);
}

int secretsmanager_update_secret(struct call *c, const struct secretsmanager_update_secret_in *in,
    struct secretsmanager_update_secret_out *out, struct err *e)
{
	struct docs_change *g;
	struct secret s;
	struct given v;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE, &s, e), again = 0;

	if (r == 0)
		r = take_value(
		    c, in->client_request_token, in->secret_string, in->secret_binary, &v, e);
	if (r == 0 && v.any)
		r = again = is_repeated(c, &s, &v, e);
	if (r == 0 && v.any)
		r = check_room(s.head, e);
	if (r < 0)
		return r;
	head = json_deep_copy(s.head);
	docs_set(head, "description", in->description);
	docs_set(head, "kms_key_id", in->kms_key_id);
	docs_set(head, "type", in->type);
	docs_set_int(head, "changed", time_wall_ms());
	g = docs_change_new(manager_of(c)->store);
	if (v.any && !again)
		add_version(c, g, s.key, head, &v, NULL);
	docs_put(g, manager_of(c)->heads, s.key, head);
	out->arn = s.arn;
	out->name = s.name;
	out->version_id = v.any ? v.id : NULL;
	return docs_commit_call(c, g);
}
