/* The server's own pages. See pages.h. Loop thread. */
#include "core/pages.h"

#include <stdio.h>

#include "aws/aws.h"
#include "base/time.h"
#include "box/box.h"
#include "core/image_pages.h"
#include "core/task_page.h"
#include "invoke/invoke.h"
#include "meter/meter.h"
#include "sched/task.h"
#include "service/lambda/lambda.h"

void pages_reply_json(struct http_request *r, unsigned status, struct str body)
{
	const struct http_header type = {STR("content-type"), STR("application/json")};

	http_reply(r, status, &type, 1, body);
}

void pages_reply_error(struct http_request *r, unsigned status, const char *message)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, "{\"message\":");
	buf_json_string(&b, str_from(message));
	buf_putc(&b, '}');
	pages_reply_json(r, status, buf_str(&b));
	buf_done(&b);
}

#define BODY_MAX 4096 /* of pages that are all GET */

/* ---- status ---- */

static void status_page(const struct front_parts *p, struct http_request *r)
{
	struct invoke_counts c;
	struct buf b = BUF_INIT;
	unsigned all, pooled;
	uint64_t bytes;

	invoke_count(p->invoke, &c);
	boxes_count(p->boxes, &all, &pooled, &bytes);
	buf_printf(&b,
	    "{\"version\":\"" MAYFLY_VERSION "\",\"invocations\":%" PRIu64 ",\"errors\":%" PRIu64
	    ",\"throttles\":%" PRIu64 ",\"cold_starts\":%" PRIu64
	    ",\"running\":%u,\"environments\":%u,\"events\":%u,\"boxes\":%u,\"pooled_boxes\":%u,"
	    "\"pool_bytes\":%" PRIu64 ",\"slowest_callback_us\":%" PRId64
	    ",\"slow_callbacks\":%u}\n",
	    c.invocations, c.errors, c.throttles, c.cold_starts, c.running, c.environments,
	    c.events, all, pooled, bytes, loop_slowest_ns(p->loop) / 1000,
	    loop_slow_callbacks(p->loop));
	pages_reply_json(r, 200, buf_str(&b));
	buf_done(&b);
}

/* ---- bill ---- */

struct bill {
	struct http_request *r; /* NULL: the client has gone */
	enum meter_group by;
};

static struct str parameter(const struct http_request *r, const char *name)
{
	struct str rest = r->query;

	while (rest.ptr) {
		struct str value = str_cut(&rest, '&'), key = str_cut(&value, '=');

		if (str_is(key, name))
			return value;
	}
	return STR_NULL;
}

/* Dollars with ten decimals: what a row costs is far below a cent. */
static void add_money(struct buf *b, const char *name, int64_t nano_usd)
{
	buf_printf(b, ",\"%s\":\"%" PRId64 ".%09" PRId64 "0\"", name, nano_usd / 1000000000,
	    nano_usd % 1000000000);
}

static void add_row(struct buf *b, const struct meter_row *row, enum meter_group by)
{
	int64_t functions = row->request_nanousd + row->compute_nanousd + row->tmp_nanousd;
	int64_t tasks = row->cpu_nanousd + row->memory_nanousd + row->disk_nanousd;
	char day[TIME_ISO_SIZE];

	buf_putc(b, '{');
	if (by == METER_BY_FUNCTION || by == METER_BY_FUNCTION_DAY) {
		buf_puts(b, row->is_task ? "\"task\":" : "\"function\":");
		buf_json_string(b, row->function);
		buf_puts(b, ",\"region\":");
		buf_json_string(b, row->region);
		buf_putc(b, ',');
	}
	if (by == METER_BY_DAY || by == METER_BY_FUNCTION_DAY) {
		time_format_iso(row->day_ms, day);
		buf_printf(b, "\"day\":\"%.10s\",", day);
	}
	buf_printf(b,
	    "\"requests\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"cold_starts\":%" PRIu64
	    ",\"duration_ms\":%.3f,\"billed_ms\":%" PRIu64 ",\"gb_seconds\":%.6f",
	    row->requests, row->errors, row->cold_starts, (double)row->duration_us / 1000,
	    row->billed_ms, (double)row->compute_mb_ms / 1024000);
	add_money(b, "request_usd", row->request_nanousd);
	add_money(b, "compute_usd", row->compute_nanousd);
	add_money(b, "tmp_usd", row->tmp_nanousd);
	buf_printf(b,
	    ",\"tasks\":%" PRIu64 ",\"task_seconds\":%" PRIu64
	    ",\"vcpu_seconds\":%.6f,\"task_gb_seconds\":%.6f,\"disk_gb_seconds\":%" PRIu64,
	    row->tasks, row->task_seconds, (double)row->cpu_unit_s / 1024,
	    (double)row->memory_mib_s / 1024, row->disk_gib_s);
	add_money(b, "cpu_usd", row->cpu_nanousd);
	add_money(b, "memory_usd", row->memory_nanousd);
	add_money(b, "disk_usd", row->disk_nanousd);
	add_money(b, "functions_usd", functions);
	add_money(b, "tasks_usd", tasks);
	add_money(b, "total_usd", functions + tasks);
	buf_putc(b, '}');
}

static void add_up(struct meter_row *total, const struct meter_row *row)
{
	total->requests += row->requests;
	total->errors += row->errors;
	total->cold_starts += row->cold_starts;
	total->duration_us += row->duration_us;
	total->billed_ms += row->billed_ms;
	total->compute_mb_ms += row->compute_mb_ms;
	total->tmp_mb_ms += row->tmp_mb_ms;
	total->request_nanousd += row->request_nanousd;
	total->compute_nanousd += row->compute_nanousd;
	total->tmp_nanousd += row->tmp_nanousd;
	total->tasks += row->tasks;
	total->task_seconds += row->task_seconds;
	total->cpu_unit_s += row->cpu_unit_s;
	total->memory_mib_s += row->memory_mib_s;
	total->disk_gib_s += row->disk_gib_s;
	total->cpu_nanousd += row->cpu_nanousd;
	total->memory_nanousd += row->memory_nanousd;
	total->disk_nanousd += row->disk_nanousd;
}

static void on_rows(void *ctx, int result, const struct meter_row *rows, size_t count)
{
	struct bill *bill = ctx;
	struct meter_row total = {0};
	struct buf b = BUF_INIT;

	if (bill->r && result < 0) {
		pages_reply_error(
		    bill->r, 500, "The usage ledger cannot be read: see the server's log.");
	} else if (bill->r) {
		buf_puts(&b, "{\"rows\":[");
		for (size_t i = 0; i < count; i++) {
			buf_puts(&b, i ? "," : "");
			add_row(&b, &rows[i], bill->by);
			add_up(&total, &rows[i]);
		}
		buf_puts(&b, "],\"total\":");
		add_row(&b, &total, METER_BY_TOTAL);
		buf_puts(&b, "}\n");
		pages_reply_json(bill->r, 200, buf_str(&b));
	}
	buf_done(&b);
	free(bill);
}

static bool parse_group(struct str by, enum meter_group *ret)
{
	if (!by.len || str_is(by, "function"))
		*ret = METER_BY_FUNCTION;
	else if (str_is(by, "day"))
		*ret = METER_BY_DAY;
	else if (str_is(by, "total"))
		*ret = METER_BY_TOTAL;
	else
		return false;
	return true;
}

/* A date parameter, percent-decoded; absent leaves *ms as it is. */
static bool parse_date(const struct http_request *r, const char *name, int64_t *ms)
{
	struct str value = parameter(r, name);
	char *out = arena_alloc(r->arena, value.len + 1);
	ssize_t n;

	if (!value.len)
		return true;
	n = url_decode(value, false, out);
	return n > 0 && time_parse_iso((struct str){out, (size_t)n}, ms);
}

const char *pages_parameter(const struct http_request *r, const char *name)
{
	struct str value = parameter(r, name);
	char *out = value.ptr ? arena_alloc(r->arena, value.len + 1) : NULL;
	ssize_t n = out ? url_decode(value, false, out) : -1;

	if (n < 0 || memchr(out, '\0', (size_t)n))
		return NULL;
	out[n] = '\0';
	return out;
}

static void bill_page(const struct front_parts *p, struct http_request *r)
{
	int64_t from = 0, to = INT64_MAX;
	enum meter_group by;
	struct bill *bill;

	if (!parse_group(parameter(r, "by"), &by)) {
		pages_reply_error(r, 400, "by is 'function', 'day' or 'total'.");
		return;
	}
	if (!parse_date(r, "from", &from) || !parse_date(r, "to", &to)) {
		pages_reply_error(
		    r, 400, "from and to are dates such as 2026-11-23 or 2026-11-23T10:00:00Z.");
		return;
	}
	bill = xcalloc(1, sizeof(*bill));
	bill->r = r;
	bill->by = by;
	r->user = bill;
	meter_query(p->meter, from, to, STR_NULL, STR_NULL, by, on_rows, bill);
}

/* ---- routing ---- */

bool pages_signed(const struct front_parts *p, struct http_request *r, const char *service,
    struct aws_principal *ret)
{
	struct err e = ERR_INIT;

	if (aws_authenticate(p->aws, r, service, NULL, ret, &e) >= 0 &&
	    (p->dev || ret->type != AWS_ANONYMOUS))
		return true;
	pages_reply_error(r, 403, e.msg[0] ? e.msg : "Sign this request (SigV4).");
	return false;
}

static bool signed_by_somebody(const struct front_parts *p, struct http_request *r)
{
	struct aws_principal who;

	return pages_signed(p, r, "lambda", &who);
}

void pages_on_request(const struct front_parts *p, struct http_request *r)
{
	if (str_has_prefix(r->path, LAMBDA_CODE_PATH)) {
		lambda_code_request(p->lambda, r);
	} else if (str_has_prefix(r->path, IMAGE_PAGES_PATH)) {
		struct aws_principal who;

		if (image_pages_is_upload(r) || pages_signed(p, r, "ecr", &who))
			image_pages_on_request(p, r);
	} else if (task_page_is(r->path)) {
		task_page_request(p, r);
	} else if (str_has_prefix(r->path, TASKS_METADATA_PATH)) {
		tasks_metadata(p->tasks, r);
	} else if (!str_is(r->method, "GET")) {
		pages_reply_error(r, 405, "Only GET is answered here.");
	} else if (str_is(r->path, "/_mayfly/health")) {
		pages_reply_json(r, 200, STR("{\"status\":\"ready\"}\n"));
	} else if (str_is(r->path, "/_mayfly/status")) {
		if (signed_by_somebody(p, r))
			status_page(p, r);
	} else if (str_is(r->path, "/_mayfly/bill")) {
		if (signed_by_somebody(p, r))
			bill_page(p, r);
	} else {
		pages_reply_error(r, 404, "There is health, status and bill here.");
	}
}

void pages_on_head(const struct front_parts *p, struct http_request *r)
{
	if (str_has_prefix(r->path, IMAGE_PAGES_PATH))
		image_pages_on_head(p, r);
	else
		r->body_limit = task_page_is(r->path) ? TASK_PAGE_BODY_MAX : BODY_MAX;
}

void pages_on_body(
    const struct front_parts *p, struct http_request *r, const void *data, size_t len)
{
	if (image_pages_is_upload(r))
		image_pages_on_body(p, r, data, len);
}

void pages_on_cancel(const struct front_parts *p, struct http_request *r)
{
	if (str_has_prefix(r->path, IMAGE_PAGES_PATH))
		image_pages_on_cancel(p, r);
	else if (task_page_is(r->path))
		task_page_cancel(r);
	else if (str_has_prefix(r->path, TASKS_METADATA_PATH))
		tasks_metadata_cancel(r);
	else if (str_is(r->path, "/_mayfly/bill") && r->user)
		((struct bill *)r->user)->r = NULL;
	else if (str_has_prefix(r->path, LAMBDA_CODE_PATH))
		lambda_code_cancel(r);
}
