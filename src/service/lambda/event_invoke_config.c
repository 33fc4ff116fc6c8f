/*
 * What becomes of asynchronous invocations: retries, age, destinations; by function, version and
 * alias. The dead-letter target of a function's configuration is checked here, too. Loop thread.
 */
#include "base/time.h"
#include "service/lambda/lambda_int.h"

#define RETRIES "Retries"
#define AGE_MAX "AgeMax" /* seconds */
#define ON_SUCCESS "OnSuccess"
#define ON_FAILURE "OnFailure"
#define CHANGED "LastModified" /* milliseconds since 1970 */

/* ---- where to ---- */

static int refuse(struct call *c, const char *what, const char *arn, const char *why, struct err *e)
{
	return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
	    "The %s %s cannot be used: %s", what, arn, why);
}

/* Is there somebody who takes it? */
static int check_there(struct call *c, const char *what, const char *arn, struct err *e)
{
	struct lambda *l = c->ctx;
	const struct target_record r = {.arn = arn};
	struct err why = ERR_INIT;

	if (!l->o.targets || target_check(l->o.targets, &r, &why) == 0)
		return 0;
	return refuse(c, what, arn, why.msg, e);
}

/* Account and region of an ARN; false when it has none that differ from the function's. */
static bool is_elsewhere(const struct call *c, const char *arn)
{
	struct str rest = str_from(arn), part = STR_NULL;

	for (int i = 0; i < 5; i++)
		part = str_cut(&rest, ':');
	return part.len && !str_is(part, c->account);
}

static int check_destination(
    struct call *c, const struct function *f, const char *arn, bool failure, struct err *e)
{
	struct str service = target_service(arn);
	struct name n;

	if (!arn || !arn[0])
		return 0;
	if (str_is(service, "s3") && !failure)
		return refuse(c, "destination", arn,
		    "buckets take only what failed: give it as OnFailure.", e);
	if (str_is(service, "sqs") && str_has_suffix(str_from(arn), ".fifo"))
		return refuse(c, "destination", arn, "FIFO queues are no destinations.", e);
	if (is_elsewhere(c, arn))
		return refuse(c, "destination", arn, "it is not of the function's account.", e);
	if (str_is(service, "lambda") && name_parse(str_from(arn), &n) && str_is(n.name, f->name) &&
	    n.region.ptr && str_is(n.region, f->region))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "You can't specify the function as a destination for itself.");
	return check_there(c, "destination", arn, e);
}

static int check_destinations(struct call *c, const struct function *f,
    const struct lambda_destination_config *d, struct err *e)
{
	int r = 0;

	if (d && d->on_success)
		r = check_destination(c, f, d->on_success->destination, false, e);
	if (r == 0 && d && d->on_failure)
		r = check_destination(c, f, d->on_failure->destination, true, e);
	return r;
}

int config_check_dead_letter(struct call *c, const char *arn, struct err *e)
{
	struct str service = target_service(arn);

	if (!arn || !arn[0])
		return 0;
	if (!str_is(service, "sqs") && !str_is(service, "sns"))
		return refuse(c, "dead-letter target", arn,
		    "only queues and topics take dead letters; other destinations are set with "
		    "PutFunctionEventInvokeConfig.",
		    e);
	if (str_has_suffix(str_from(arn), ".fifo"))
		return refuse(c, "dead-letter target", arn, "FIFO queues take none.", e);
	if (is_elsewhere(c, arn))
		return refuse(
		    c, "dead-letter target", arn, "it is not of the function's account.", e);
	return check_there(c, "dead-letter target", arn, e);
}

/* ---- documents ---- */

static void set_destination(json_t *doc, const char *key, const char *arn)
{
	doc_set_str(doc, key, arn && arn[0] ? arn : NULL);
}

/* A member that is there replaces; an empty destination removes. */
static void merge(json_t *doc, const struct lambda_destination_config *d, const int64_t *retries,
    const int64_t *age)
{
	if (retries)
		doc_set_int(doc, RETRIES, *retries);
	if (age)
		doc_set_int(doc, AGE_MAX, *age);
	if (d && d->on_success)
		set_destination(doc, ON_SUCCESS, d->on_success->destination);
	if (d && d->on_failure)
		set_destination(doc, ON_FAILURE, d->on_failure->destination);
	doc_set_int(doc, CHANGED, time_wall_ms());
}

static const int64_t *number(struct call *c, const json_t *doc, const char *key)
{
	int64_t value = doc_int(doc, key, -1);

	return value < 0 ? NULL : call_int(c, value);
}

static void describe(
    struct call *c, const struct item *it, struct lambda_function_event_invoke_config *out)
{
	struct lambda_destination_config *d = call_new(c, struct lambda_destination_config);
	struct lambda_on_success *success = call_new(c, struct lambda_on_success);
	struct lambda_on_failure *failure = call_new(c, struct lambda_on_failure);

	success->destination = call_str(c, doc_str(it->doc, ON_SUCCESS));
	failure->destination = call_str(c, doc_str(it->doc, ON_FAILURE));
	d->on_success = success;
	d->on_failure = failure;
	*out = (struct lambda_function_event_invoke_config){
	    .destination_config = d,
	    .function_arn = function_arn(c, it->function, it->name),
	    .last_modified = number(c, it->doc, CHANGED),
	    .maximum_event_age_in_seconds = number(c, it->doc, AGE_MAX),
	    .maximum_retry_attempts = number(c, it->doc, RETRIES),
	};
}

static void finish(struct change *ch)
{
	describe(ch->call, item_find(&ch->function->events, ch->name), ch->call->out);
}

static int commit(struct call *c, struct function *f, const char *name, json_t *doc)
{
	struct change *ch = change_new(c, f, finish);

	ch->name = name;
	change_put(ch, RECORD_EVENTS, name, doc);
	return change_commit(ch);
}

/* ---- operations ---- */

static int no_function(struct call *c, const struct ref *ref, struct err *e)
{
	return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
	    "The function %s doesn't exist.", ref_arn(c, ref));
}

/* The function, and that the qualifier means something; ref's is never NULL then. */
static int find(struct call *c, const char *function_name, const char *qualifier, struct ref *ref,
    struct function **ret, struct err *e)
{
	int r = function_of(c, function_name, qualifier, ref, ret, e);

	if (r < 0)
		return e->code == LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION && ref->name
			   ? no_function(c, ref, e)
			   : r;
	if (!ref->qualifier)
		ref->qualifier = LATEST;
	return version_by_qualifier(*ret, ref->qualifier) ? 0 : no_function(c, ref, e);
}

static int no_config(struct call *c, const struct ref *ref, struct err *e)
{
	return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
	    "The function %s doesn't have an EventInvokeConfig", ref_arn(c, ref));
}

int lambda_put_function_event_invoke_config(struct call *c,
    const struct lambda_put_function_event_invoke_config_in *in,
    struct lambda_put_function_event_invoke_config_out *out, struct err *e)
{
	struct function *f;
	struct ref ref = {0};
	json_t *doc;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (!in->maximum_event_age_in_seconds && !in->maximum_retry_attempts &&
	    !in->destination_config)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "You must specify at least one of error handling or destination setting.");
	r = check_destinations(c, f, in->destination_config, e);
	if (r < 0)
		return r;
	doc = json_object();
	merge(doc, in->destination_config, in->maximum_retry_attempts,
	    in->maximum_event_age_in_seconds);
	return commit(c, f, ref.qualifier, doc);
}

int lambda_update_function_event_invoke_config(struct call *c,
    const struct lambda_update_function_event_invoke_config_in *in,
    struct lambda_update_function_event_invoke_config_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct ref ref = {0};
	json_t *doc;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	it = item_find(&f->events, ref.qualifier);
	if (!it)
		return no_config(c, &ref, e);
	r = check_destinations(c, f, in->destination_config, e);
	if (r < 0)
		return r;
	doc = json_deep_copy(it->doc);
	merge(doc, in->destination_config, in->maximum_retry_attempts,
	    in->maximum_event_age_in_seconds);
	return commit(c, f, ref.qualifier, doc);
}

int lambda_get_function_event_invoke_config(struct call *c,
    const struct lambda_get_function_event_invoke_config_in *in,
    struct lambda_get_function_event_invoke_config_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct ref ref = {0};
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	if (r < 0)
		return r;
	it = item_find(&f->events, ref.qualifier);
	if (!it)
		return no_config(c, &ref, e);
	describe(c, it, out);
	return 0;
}

int lambda_delete_function_event_invoke_config(struct call *c,
    const struct lambda_delete_function_event_invoke_config_in *in,
    struct lambda_delete_function_event_invoke_config_out *out, struct err *e)
{
	struct function *f;
	struct change *ch;
	struct ref ref = {0};
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (!item_find(&f->events, ref.qualifier))
		return no_config(c, &ref, e);
	ch = change_new(c, f, NULL);
	change_delete(ch, RECORD_EVENTS, ref.qualifier);
	return change_commit(ch);
}

/* In the order of qualifiers; the marker is the last one seen. */
int lambda_list_function_event_invoke_configs(struct call *c,
    const struct lambda_list_function_event_invoke_configs_in *in,
    struct lambda_list_function_event_invoke_configs_out *out, struct err *e)
{
	struct lambda_function_event_invoke_config_list *list =
	    call_new(c, struct lambda_function_event_invoke_config_list);
	size_t max =
	    in->max_items ? min_size((size_t)*in->max_items, LAMBDA_PAGE_MAX) : LAMBDA_PAGE_MAX;
	struct lambda_function_event_invoke_config *items =
	    call_array(c, max, struct lambda_function_event_invoke_config);
	const char *last = NULL;
	struct function *f;
	struct ref ref = {0};
	int r = find(c, in->function_name, NULL, &ref, &f, e);

	if (r < 0)
		return r;
	list->items = items;
	out->function_event_invoke_configs = list;
	list_for_each (n, &f->events) {
		const struct item *it = list_entry(n, struct item, node);

		if (in->marker && strcmp(it->name, in->marker) <= 0)
			continue;
		if (list->count == max) {
			out->next_marker = call_str(c, last);
			break;
		}
		describe(c, it, &items[list->count++]);
		last = it->name;
	}
	return 0;
}
