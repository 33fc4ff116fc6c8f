/* Reserved concurrency, and the limits and use of the account. Loop thread. */
#include "service/lambda/lambda_int.h"

static int commit(
    struct call *c, struct function *f, int64_t reserved, void (*finish)(struct change *ch))
{
	struct change *ch = change_new(c, f, finish);
	json_t *doc = function_doc_copy(f);

	if (reserved >= 0)
		doc_set_int(doc, "Reserved", reserved);
	else
		json_object_del(doc, "Reserved");
	change_put(ch, RECORD_FUNCTION, "", doc);
	return change_commit(ch);
}

static void finish_put(struct change *ch)
{
	struct lambda_put_function_concurrency_out *out = ch->call->out;

	out->reserved_concurrent_executions =
	    call_int(ch->call, doc_int(ch->function->doc, "Reserved", 0));
}

/* Reservations that are being written count already: two at once must not take the same room. */
static int64_t reserved_elsewhere(const struct lambda *l, const struct function *but)
{
	int64_t sum = 0;

	map_for_each (&l->functions, entry) {
		const struct function *f = entry->value;

		int64_t reserved = f->doc ? doc_int(f->doc, "Reserved", 0) : 0;

		if (f != but)
			sum += f->reserving > reserved ? f->reserving : reserved;
	}
	return sum;
}

int lambda_put_function_concurrency(struct call *c,
    const struct lambda_put_function_concurrency_in *in,
    struct lambda_put_function_concurrency_out *out, struct err *e)
{
	struct lambda *l = c->ctx;
	int64_t all = invoke_concurrency(l->o.invoke), want = *in->reserved_concurrent_executions;
	struct function *f;
	struct ref ref;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (ref.qualifier)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "This operation is permitted on Lambda functions only. Aliases and versions "
		    "do not support this operation. Please specify either a function name or an "
		    "unqualified function ARN.");
	if (want > all || all - want - reserved_elsewhere(l, f) < LAMBDA_UNRESERVED_MIN)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Specified ReservedConcurrentExecutions for function decreases account's "
		    "UnreservedConcurrentExecution below its minimum value of [%d].",
		    LAMBDA_UNRESERVED_MIN);
	f->reserving = want;
	return commit(c, f, want, finish_put);
}

int lambda_get_function_concurrency(struct call *c,
    const struct lambda_get_function_concurrency_in *in,
    struct lambda_get_function_concurrency_out *out, struct err *e)
{
	struct function *f;
	struct ref ref;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);
	int64_t reserved;

	if (r < 0)
		return r;
	reserved = doc_int(f->doc, "Reserved", -1);
	if (reserved >= 0)
		out->reserved_concurrent_executions = call_int(c, reserved);
	return 0;
}

int lambda_delete_function_concurrency(struct call *c,
    const struct lambda_delete_function_concurrency_in *in,
    struct lambda_delete_function_concurrency_out *out, struct err *e)
{
	struct function *f;
	struct ref ref;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (doc_int(f->doc, "Reserved", -1) < 0)
		return 0;
	return commit(c, f, -1, NULL);
}

int lambda_get_account_settings(struct call *c, const struct lambda_get_account_settings_in *in,
    struct lambda_get_account_settings_out *out, struct err *e)
{
	struct lambda *l = c->ctx;
	struct lambda_account_limit *limit = call_new(c, struct lambda_account_limit);
	struct lambda_account_usage *usage = call_new(c, struct lambda_account_usage);
	int64_t all = invoke_concurrency(l->o.invoke);
	size_t count;

	(void)in;
	(void)e;
	describe_sorted(c, &count);
	limit->total_code_size = call_int(c, LAMBDA_CODE_TOTAL_MAX);
	limit->code_size_unzipped = call_int(c, LAMBDA_UNZIPPED_MAX);
	limit->code_size_zipped = call_int(c, LAMBDA_ZIP_MAX);
	limit->concurrent_executions = call_int(c, all);
	limit->unreserved_concurrent_executions =
	    call_int(c, all - invoke_reserved_sum(l->o.invoke));
	usage->function_count = call_int(c, (int64_t)count);
	usage->total_code_size = call_int(c, code_total(l));
	out->account_limit = limit;
	out->account_usage = usage;
	return 0;
}
