/* Start and end of the IAM service, and what other services ask about roles. */
#include "service/iam/iam_int.h"

static int on_stored(void *ctx, struct str key, struct str value, int64_t version)
{
	struct iam *m = ctx;
	struct str noun = str_cut(&key, '/'), account = str_cut(&key, '/');
	_cleanup_free_ char *owner = xstrndup(account.ptr ? account.ptr : "", account.len);
	json_t *doc = json_loadb(value.ptr, value.len, 0, NULL);

	for (size_t t = 0; t < ENTITY_TYPES; t++) {
		if (!doc || !iam_doc_str(doc, "name") || !str_is(noun, entity_nouns[t]))
			continue;
		change_loaded(m, table_add(m, (enum entity_type)t, owner, iam_doc_str(doc, "name")),
		    doc, version);
		return 0;
	}
	json_decref(doc);
	return -EINVAL;
}

struct iam *iam_open(struct store *s, struct auth *a, struct err *e)
{
	struct iam *m = xcalloc(1, sizeof(*m));
	int r;

	m->store = s;
	m->auth = a;
	managed_load(m);
	r = store_scan(s, "iam", STR(""), on_stored, m, e);
	if (r < 0) {
		if (r == -EINVAL)
			err_set(e, EINVAL, "an entry is not what this version wrote");
		err_wrap(e, "reading users and roles");
		iam_close(m);
		return NULL;
	}
	return m;
}

void iam_close(struct iam *m)
{
	if (!m)
		return;
	table_done(m);
	map_for_each (&m->uses, use)
		free(use->value);
	map_done(&m->uses);
	map_done(&m->owners);
	free(m);
}

int iam_role_find(struct iam *m, const char *account, const char *arn, struct iam_role_facts *ret)
{
	const struct entity *role = table_by_arn(m, ENTITY_ROLE, account, arn);

	if (!role || !role->doc)
		return -ENOENT;
	*ret = (struct iam_role_facts){
	    .name = iam_doc_str(role->doc, "name"),
	    .id = iam_doc_str(role->doc, "id"),
	    .trust = iam_doc_str(role->doc, "trust"),
	    .max_session_s = iam_doc_int(role->doc, "max_session"),
	};
	return 0;
}
