/* Access keys of users. They are part of the user's document; src/auth is told of them when it is
 * on disk. Loop thread. */
#include "service/iam/iam_int.h"

#include "base/time.h"

#define KEYS_MAX 2

static int missing(const char *id, struct err *e)
{
	return fail(
	    e, IAM_NO_SUCH_ENTITY_EXCEPTION, "The Access Key with id %s cannot be found.", id);
}

/* Index of a key in the document, -1 when it is not there. */
static ssize_t index_of(const json_t *doc, const char *id)
{
	const json_t *keys = json_object_get(doc, "keys");

	for (size_t i = 0; i < json_array_size(keys); i++)
		if (strcmp(iam_doc_str(json_array_get(keys, i), "id"), id) == 0)
			return (ssize_t)i;
	return -1;
}

static int get_user(struct call *c, const char *name, struct entity **ret, struct err *e)
{
	int r = user_or_caller(c, name, &name, e);

	return r < 0 ? r : entity_get(c, ENTITY_USER, name, ret, e);
}

/* The user of a key: the one named, else whoever has it. */
static int get_owner(
    struct call *c, const char *name, const char *id, struct entity **ret, struct err *e)
{
	const struct iam *m = c->ctx;
	struct entity *owner = map_get(&m->owners, str_from(id));
	int r = name ? get_user(c, name, &owner, e) : 0;

	if (r < 0)
		return r;
	if (!owner || strcmp(owner->account, c->account) != 0 || index_of(owner->latest, id) < 0)
		return missing(id, e);
	*ret = owner;
	return 0;
}

/* A new key in the document; returns it. */
static const json_t *add_key(json_t *doc)
{
	json_t *key = json_object(), *keys = json_object_get(doc, "keys");
	char id[AUTH_ID_SIZE], secret[AUTH_SECRET_SIZE];

	if (!keys) {
		keys = json_array();
		json_object_set_new(doc, "keys", keys);
	}
	auth_id_new("AKIA", id);
	auth_secret_new(secret);
	doc_set(key, "id", id);
	doc_set(key, "secret", secret);
	doc_set(key, "status", "Active");
	iam_doc_set_int(key, "created", time_wall_ms());
	json_array_append_new(keys, key);
	return key;
}

int iam_create_access_key(struct call *c, const struct iam_create_access_key_in *in,
    struct iam_create_access_key_out *out, struct err *e)
{
	struct iam_access_key *shown = call_new(c, struct iam_access_key);
	const json_t *key;
	struct entity *o;
	json_t *doc;
	int r = get_user(c, in->user_name, &o, e);

	if (r < 0)
		return r;
	if (json_array_size(json_object_get(o->latest, "keys")) >= KEYS_MAX)
		return fail(e, IAM_LIMIT_EXCEEDED_EXCEPTION,
		    "Cannot exceed quota for AccessKeysPerUser: %d", KEYS_MAX);
	doc = entity_edit(o);
	key = add_key(doc);
	*shown = (struct iam_access_key){
	    .access_key_id = call_str(c, iam_doc_str(key, "id")),
	    .create_date = call_int(c, iam_doc_int(key, "created")),
	    .secret_access_key = call_str(c, iam_doc_str(key, "secret")),
	    .status = "Active",
	    .user_name = call_str(c, iam_doc_str(doc, "name")),
	};
	out->access_key = shown;
	return iam_change_commit(c, o, doc);
}

static void show(
    struct call *c, const json_t *user, const json_t *key, struct iam_access_key_metadata *ret)
{
	*ret = (struct iam_access_key_metadata){
	    .access_key_id = call_str(c, iam_doc_str(key, "id")),
	    .create_date = call_int(c, iam_doc_int(key, "created")),
	    .status = call_str(c, iam_doc_str(key, "status")),
	    .user_name = call_str(c, iam_doc_str(user, "name")),
	};
}

int iam_list_access_keys(struct call *c, const struct iam_list_access_keys_in *in,
    struct iam_list_access_keys_out *out, struct err *e)
{
	struct iam_access_key_metadata_list_type *list =
	    call_new(c, struct iam_access_key_metadata_list_type);
	struct iam_access_key_metadata *items;
	struct page page = {0};
	const json_t *doc, *keys;
	const char *name;
	int r = user_or_caller(c, in->user_name, &name, e);

	if (r == 0)
		r = entity_read(c, ENTITY_USER, name, &doc, e);
	if (r < 0)
		return r;
	keys = json_object_get(doc, "keys");
	r = list_slice(c, in->marker, in->max_items, json_array_size(keys), &page, e);
	items = call_array(c, page.count + 1, struct iam_access_key_metadata);
	for (size_t i = 0; i < page.count; i++)
		show(c, doc, json_array_get(keys, page.from + i), &items[i]);
	*list = (struct iam_access_key_metadata_list_type){page.count, items};
	out->access_key_metadata = list;
	out->is_truncated = page.is_truncated;
	out->marker = page.marker;
	return r;
}

int iam_update_access_key(struct call *c, const struct iam_update_access_key_in *in,
    _unused_ struct iam_update_access_key_out *out, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = get_owner(c, in->user_name, in->access_key_id, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	doc_set(
	    json_array_get(json_object_get(doc, "keys"), (size_t)index_of(doc, in->access_key_id)),
	    "status", in->status);
	return iam_change_commit(c, o, doc);
}

int iam_delete_access_key(struct call *c, const struct iam_delete_access_key_in *in,
    _unused_ struct iam_delete_access_key_out *out, struct err *e)
{
	struct entity *o;
	json_t *doc;
	int r = get_owner(c, in->user_name, in->access_key_id, &o, e);

	if (r < 0)
		return r;
	doc = entity_edit(o);
	json_array_remove(json_object_get(doc, "keys"), (size_t)index_of(doc, in->access_key_id));
	return iam_change_commit(c, o, doc);
}

/* When a key was used last is not recorded: the answer is that of a key never used. */
int iam_get_access_key_last_used(struct call *c, const struct iam_get_access_key_last_used_in *in,
    struct iam_get_access_key_last_used_out *out, struct err *e)
{
	struct iam_access_key_last_used *used = call_new(c, struct iam_access_key_last_used);
	struct entity *o;
	int r = get_owner(c, NULL, in->access_key_id, &o, e);

	if (r < 0)
		return r;
	*used = (struct iam_access_key_last_used){.region = "N/A", .service_name = "N/A"};
	out->access_key_last_used = used;
	out->user_name = call_str(c, iam_doc_str(o->doc, "name"));
	return 0;
}
