/*
 * A mapping being polled: its settings, taken from the document once, and the instance of its
 * source. Made when polling begins, gone when nothing is under way any more. Loop thread.
 */
#include <stdarg.h>
#include <stdio.h>

#include "source/source_int.h"

static int64_t number_of(const json_t *doc, const char *key, int64_t absent)
{
	const json_t *v = json_object_get(doc, key);

	return json_is_integer(v) ? json_integer_value(v) : absent;
}

static const char *text_of(const json_t *doc, const char *key)
{
	const char *s = json_string_value(json_object_get(doc, key));

	return s ? s : "";
}

/* arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER] */
static void set_function(struct source_run *r)
{
	struct str rest = str_from(r->function_arn), name;

	for (int i = 0; i < 6; i++)
		(void)str_cut(&rest, ':');
	name = str_cut(&rest, ':');
	r->name = xstrndup(name.ptr ? name.ptr : "", name.len);
	r->qualifier = xstrndup(rest.ptr ? rest.ptr : "", rest.len);
}

static bool reports_failures(const json_t *doc)
{
	const json_t *list = json_object_get(doc, "FunctionResponseTypes"), *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (strcmp(json_string_value(v), "ReportBatchItemFailures") == 0)
			return true;
	}
	return false;
}

/* A provisioned poller is good for ten batches at a time. */
static void set_scaling(struct source_run *r)
{
	const json_t *scaling = json_object_get(r->doc, "ScalingConfig");
	const json_t *pollers = json_object_get(r->doc, "ProvisionedPollerConfig");

	r->concurrency_max = (unsigned)number_of(scaling, "MaximumConcurrency", 0);
	if (pollers) {
		r->concurrency_min = 10 * (unsigned)number_of(pollers, "MinimumPollers", 2);
		r->concurrency_max = 10 * (unsigned)number_of(pollers, "MaximumPollers", 200);
	}
}

struct source_run *source_run_new(struct source_mapping *m)
{
	struct source_run *r = xcalloc(1, sizeof(*r));
	const json_t *criteria = json_object_get(m->doc, "FilterCriteria");
	struct err e = ERR_INIT;

	r->sources = m->sources;
	r->mapping = m;
	r->doc = json_incref(m->doc);
	r->ops = source_kind_find(m->doc);
	r->account = m->account;
	r->region = m->region;
	r->arn = text_of(m->doc, "EventSourceArn");
	r->function_arn = text_of(m->doc, "FunctionArn");
	set_function(r);
	r->batch_size = (unsigned)number_of(m->doc, "BatchSize", 10);
	r->window_ns = number_of(m->doc, "MaximumBatchingWindowInSeconds", 0) * 1000000000;
	r->concurrency_max =
	    (unsigned)number_of(json_object_get(m->doc, "ScalingConfig"), "MaximumConcurrency", 0);
	set_scaling(r);
	r->partial = reports_failures(m->doc);
	list_init(&r->batches);
	r->filter = filter_new(json_object_get(criteria, "Filters"), &r->ops->data, &e);
	r->instance = r->ops->start(r);
	return r;
}

void source_run_stop(struct source_run *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	source_batch_drop_waiting(r);
	r->ops->stop(r->instance);
}

void source_run_free(struct source_run *r)
{
	if (!r)
		return;
	r->ops->free(r->instance);
	list_for_each_safe (n, &r->batches)
		source_batch_free(list_entry(n, struct source_batch, node));
	filter_free(r->filter);
	json_decref((json_t *)(uintptr_t)r->doc);
	free(r->name);
	free(r->qualifier);
	free(r);
}

void source_run_idle(struct source_run *r)
{
	source_mapping_idle(r->mapping);
}

struct invoke_version *source_run_function(const struct source_run *r)
{
	const struct source_options *o = &r->sources->o;

	return o->resolve(o->ctx, str_from(r->account), str_from(r->region), str_from(r->name),
	    str_from(r->qualifier));
}

void source_run_result(struct source_run *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->mapping->last_result, sizeof(r->mapping->last_result), fmt, ap);
	va_end(ap);
}
