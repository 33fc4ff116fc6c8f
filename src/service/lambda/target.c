/*
 * Functions as targets: an ARN with or without an alias or version, run by an event that is part of
 * the sender's write. And what the configuration of a function wants for its own events. Loop
 * thread.
 */
#include "service/lambda/target.h"

#include <stdio.h>

#include "base/rand.h"
#include "service/lambda/lambda_int.h"

/* The function that the ARN names, and its qualifier, "" for none. */
static int find(struct lambda *l, const char *arn, struct name *ret, const struct function **ret_f,
    struct err *e)
{
	const struct function *f;
	_cleanup_free_ char *qualifier = NULL;

	if (!name_parse(str_from(arn), ret) || !ret->account.ptr || !ret->region.ptr)
		return err_set(e, EINVAL, "This is not the ARN of a function: %.128s", arn);
	f = function_find(l, ret->account, ret->region, ret->name);
	if (!ret->qualifier.ptr)
		ret->qualifier = STR("");
	qualifier = xstrndup(ret->qualifier.ptr, ret->qualifier.len);
	if (!f || !version_by_qualifier(f, qualifier))
		return err_set(e, ENOENT, "Function not found: %.200s", arn);
	*ret_f = f;
	return 0;
}

static int check_target(void *ctx, const struct target_record *r, struct err *e)
{
	const struct function *f;
	struct name n;
	int result = find(ctx, r->arn, &n, &f, e);

	/* What the owner of a function wants needs no permission within the account. */
	if (result < 0 || !r->service)
		return result;
	if (lambda_service_allowed(ctx, n.account, n.region, n.name, n.qualifier, r->service,
		r->source_arn, r->source_account))
		return 0;
	return err_set(e, EACCES,
	    "%.64s is not allowed to invoke %.128s: add a permission for it with AddPermission",
	    r->service, r->arn);
}

static void *stage(void *ctx, const struct target_record *r, struct store_write *w, struct err *e)
{
	struct lambda *l = ctx;
	struct invoke_event ev = {.arn = r->arn, .payload = r->body};
	const struct function *f;
	struct name n;

	if (check_target(ctx, r, e) < 0)
		return NULL;
	if (r->body.len > INVOKE_EVENT_MAX) {
		err_set(e, EMSGSIZE, "Events have at most %d bytes, this one has %zu",
		    INVOKE_EVENT_MAX, r->body.len);
		return NULL;
	}
	if (find(l, r->arn, &n, &f, e) < 0)
		return NULL;
	ev.account = n.account;
	ev.region = n.region;
	ev.name = n.name;
	ev.qualifier = n.qualifier;
	rand_uuid(ev.request_id);
	if (r->trace_id && strlen(r->trace_id) < sizeof(ev.trace_id))
		snprintf(ev.trace_id, sizeof(ev.trace_id), "%s", r->trace_id);
	else
		invoke_trace_id(ev.trace_id);
	return invoke_event_stage(l->o.invoke, &ev, w);
}

static void finish(void *ctx, void *token, int result)
{
	(void)ctx;
	invoke_event_finish(token, result);
}

void lambda_target_add(struct lambda *l, struct targets *t)
{
	static const struct target_ops ops = {
	    .service = "lambda", .check = check_target, .stage = stage, .finish = finish};

	targets_add(t, &ops, l);
}

bool lambda_event_policy(struct lambda *l, struct str account, struct str region, struct str name,
    struct str qualifier, struct invoke_policy *ret)
{
	const struct function *f = function_find(l, account, region, name);
	char q[129];
	const struct version *v;
	const struct item *it;

	snprintf(q, sizeof(q), "%.*s", STR_FMT(qualifier.len ? qualifier : STR(LATEST)));
	v = f ? version_by_qualifier(f, q) : NULL;
	if (!v)
		return false;
	it = item_find(&f->events, q);
	*ret = (struct invoke_policy){.retries = INVOKE_RETRIES_MAX,
	    .age_max_ms = INVOKE_AGE_MAX_MS,
	    .dead_letter_arn = doc_str(v->doc, "DeadLetter")};
	if (!it)
		return true;
	ret->retries = doc_int(it->doc, "Retries", INVOKE_RETRIES_MAX);
	ret->age_max_ms = doc_int(it->doc, "AgeMax", INVOKE_AGE_MAX_MS / 1000) * 1000;
	ret->on_success_arn = doc_str(it->doc, "OnSuccess");
	ret->on_failure_arn = doc_str(it->doc, "OnFailure");
	return true;
}
