/* DeleteSecret with its recovery window, RestoreSecret. Loop thread. */
#include "base/time.h"
#include "service/secretsmanager/secretsmanager_int.h"

#define WINDOW_MIN 7
#define WINDOW_MAX 30

static int check_request(
    const struct secretsmanager_delete_secret_in *in, bool force, struct err *e)
{
	const int64_t *days = in->recovery_window_in_days;

	if (force && days)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "You can't use ForceDeleteWithoutRecovery in conjunction with "
		    "RecoveryWindowInDays.");
	if (days && (*days < WINDOW_MIN || *days > WINDOW_MAX))
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "The RecoveryWindowInDays value must be between %d and %d days (inclusive).",
		    WINDOW_MIN, WINDOW_MAX);
	return 0;
}

/* Tools delete by force without looking first, so what is not there is no failure. */
static int nothing_to_force(struct call *c, const struct secretsmanager_delete_secret_in *in,
    struct secretsmanager_delete_secret_out *out)
{
	bool arn = str_has_prefix(str_from(in->secret_id), "arn:");

	out->name = in->secret_id;
	out->arn = arn ? in->secret_id
		       : call_printf(c, "arn:aws:secretsmanager:%s:%s:secret:%s", c->region,
			     c->account, in->secret_id);
	out->deletion_date = call_int(c, time_wall_ms());
	return 0;
}

int secretsmanager_delete_secret(struct call *c, const struct secretsmanager_delete_secret_in *in,
    struct secretsmanager_delete_secret_out *out, struct err *e)
{
	bool force = in->force_delete_without_recovery && *in->force_delete_without_recovery;
	int64_t days = in->recovery_window_in_days ? *in->recovery_window_in_days : WINDOW_MAX;
	int64_t now_ms = time_wall_ms();
	struct secretsmanager *m = manager_of(c);
	struct docs_change *g;
	struct secret s;
	json_t *head;
	int r = check_request(in, force, e);

	if (r == 0)
		r = secret_find(c, in->secret_id, force ? CHANGE | EVEN_GONE : CHANGE, &s, e);
	if (r < 0 && force && e->code == SECRETSMANAGER_RESOURCE_NOT_FOUND_EXCEPTION)
		return nothing_to_force(c, in, out);
	if (r < 0)
		return r;
	out->arn = s.arn;
	out->name = s.name;
	out->deletion_date = call_int(c, force ? now_ms : now_ms + days * DAY_MS);
	g = docs_change_new(m->store);
	if (force) {
		secret_delete(m, g, s.key, s.head);
		return docs_commit_call(c, g);
	}
	head = json_deep_copy(s.head);
	docs_set_int(head, "ends", now_ms + days * DAY_MS);
	docs_put(g, m->heads, s.key, head);
	return docs_commit_call(c, g);
}

int secretsmanager_restore_secret(struct call *c, const struct secretsmanager_restore_secret_in *in,
    struct secretsmanager_restore_secret_out *out, struct err *e)
{
	struct secretsmanager *m = manager_of(c);
	struct secret s;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE | EVEN_GONE, &s, e);

	if (r < 0)
		return r;
	out->arn = s.arn;
	out->name = s.name;
	head = json_deep_copy(s.head);
	json_object_del(head, "ends");
	return docs_put_call(c, m->store, m->heads, s.key, head);
}
