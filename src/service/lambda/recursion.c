/* Whether loops through a function are stopped. What finds them is src/invoke/lineage.c. */
#include "service/lambda/lambda_int.h"

static const char *loop_of(const struct function *f)
{
	const char *loop = doc_str(f->doc, "RecursiveLoop");

	return loop ? loop : "Terminate";
}

static void finish(struct change *ch)
{
	struct lambda_put_function_recursion_config_out *out = ch->call->out;

	out->recursive_loop = call_str(ch->call, loop_of(ch->function));
}

/* The model admits only unqualified names, but an ARN may smuggle a qualifier in. */
static int find(struct call *c, const char *function_name, struct function **ret, struct err *e)
{
	struct ref ref;
	int r = function_of(c, function_name, NULL, &ref, ret, e);

	if (r == 0 && ref.qualifier)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "RecursionConfig is the function's as a whole: leave the version or alias "
		    "out.");
	return r;
}

int lambda_put_function_recursion_config(struct call *c,
    const struct lambda_put_function_recursion_config_in *in,
    struct lambda_put_function_recursion_config_out *out, struct err *e)
{
	struct function *f;
	struct change *ch;
	json_t *doc;
	int r = find(c, in->function_name, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	doc = function_doc_copy(f);
	doc_set_str(doc, "RecursiveLoop", in->recursive_loop);
	ch = change_new(c, f, finish);
	change_put(ch, RECORD_FUNCTION, "", doc);
	return change_commit(ch);
}

int lambda_get_function_recursion_config(struct call *c,
    const struct lambda_get_function_recursion_config_in *in,
    struct lambda_get_function_recursion_config_out *out, struct err *e)
{
	struct function *f;
	int r = find(c, in->function_name, &f, e);

	if (r == 0)
		out->recursive_loop = call_str(c, loop_of(f));
	return r;
}
