/*
 * How events end: the record for a destination, the dead letter, and the one write that sends them
 * and removes the event. What cannot be written yet is tried again and not run again. Loop thread.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "invoke/async_int.h"

#define ERROR_MAX 1024       /* of the message in a dead letter */
#define LOOKED_AT_MAX 262144 /* larger answers are not searched for their message */
#define REWRITE_NS (1000 * (int64_t)1000000)
#define ARN_MAX 512

struct ending {
	bool success, ran;
	const char *condition;
	char version[24]; /* that ran */
	char error[ERROR_MAX + 1];
	struct buf response;
	struct target_staged *staged[2];
	size_t staged_count;
};

void ending_free(struct ending *en)
{
	if (!en)
		return;
	buf_done(&en->response);
	free(en);
}

/* ---- what is told ---- */

/* As much of a record as its destination takes. */
enum extent { WHOLE, NO_RESPONSE, NO_PAYLOADS, EXTENTS };

static void put_json(struct buf *out, struct str text)
{
	size_t at;

	if (!text.len)
		buf_puts(out, "null");
	else if (json_check(text, &at))
		buf_append_str(out, text);
	else
		buf_json_string(out, text); /* custom runtimes may answer anything */
}

static void put_response(struct buf *out, const struct ending *en, enum extent extent)
{
	buf_puts(out, ",\"responseContext\":{\"statusCode\":200,\"executedVersion\":");
	buf_json_string(out, str_from(en->version));
	buf_puts(out, en->success ? "}" : ",\"functionError\":\"Unhandled\"}");
	if (extent != WHOLE)
		return;
	buf_puts(out, ",\"responsePayload\":");
	put_json(out, buf_str(&en->response));
}

static void put_record(
    struct buf *out, const struct event *ev, const struct event_fields *f, enum extent extent)
{
	const struct ending *en = ev->ending;
	char when[TIME_ISO_SIZE];

	time_format_iso_ms(time_wall_ms(), when);
	buf_printf(out,
	    "{\"version\":\"1.0\",\"timestamp\":\"%s\",\"requestContext\":{\"requestId\":\"%.*s\","
	    "\"functionArn\":\"arn:aws:lambda:%.*s:%.*s:function:%.*s:%.*s\",\"condition\":\"%s\","
	    "\"approximateInvokeCount\":%d}",
	    when, STR_FMT(f->id), STR_FMT(f->region), STR_FMT(f->account), STR_FMT(f->name),
	    STR_FMT(f->qualifier.len ? f->qualifier : STR("$LATEST")), en->condition, ev->attempts);
	if (extent != NO_PAYLOADS) {
		buf_puts(out, ",\"requestPayload\":");
		put_json(out, f->payload);
	}
	if (en->ran)
		put_response(out, en, extent);
	buf_putc(out, '}');
}

/* "aws/lambda/async/NAME/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-UUID" */
static void object_key(char *out, size_t size, const struct event_fields *f)
{
	char when[TIME_ISO_SIZE], id[37];

	time_format_iso(time_wall_ms(), when);
	rand_uuid(id);
	snprintf(out, size, "aws/lambda/async/%.*s/%.4s/%.2s/%.2s/%.13s.%.2s.%.2s-%s",
	    STR_FMT(f->name), when, when + 5, when + 8, when, when + 14, when + 17, id);
}

/* ---- handing it on ---- */

static struct target_staged *stage(
    struct event *ev, const struct event_fields *f, struct target_record *r, struct err *e)
{
	char account[16], region[64], name[80], hash[9], trace[INVOKE_TRACE_SIZE], last[160];

	snprintf(account, sizeof(account), "%.*s", STR_FMT(f->account));
	snprintf(region, sizeof(region), "%.*s", STR_FMT(f->region));
	snprintf(name, sizeof(name), "%.*s", STR_FMT(f->name));
	snprintf(last, sizeof(last), "%.*s", STR_FMT(f->trace_id));
	lineage_hash(account, region, name, hash);
	(void)lineage_next(last, hash, trace);
	r->trace_id = trace;
	return target_stage(ev->async->iv->o.targets, r, &ev->write, e);
}

static void staged(struct event *ev, struct target_staged *s, const char *arn, const struct err *e)
{
	struct ending *en = ev->ending;

	if (s)
		en->staged[en->staged_count++] = s;
	else
		log_warn("what became of event %s cannot be sent to %s: %s", ev->id, arn, e->msg);
}

static void stage_record(struct event *ev, const struct event_fields *f, const char *arn)
{
	char key[256];
	struct target_record r = {.arn = arn, .object_key = key};
	struct target_staged *s = NULL;
	struct err e = ERR_INIT;

	object_key(key, sizeof(key), f);
	for (enum extent extent = WHOLE; extent < EXTENTS && !s; extent++) {
		_cleanup_buf_ struct buf body = BUF_INIT;

		put_record(&body, ev, f, extent);
		r.body = buf_str(&body);
		e = ERR_INIT;
		s = stage(ev, f, &r, &e);
		if (e.errnum != EMSGSIZE)
			break;
	}
	staged(ev, s, arn, &e);
}

static void stage_dead_letter(struct event *ev, const struct event_fields *f, const char *arn)
{
	char id[37];
	const struct target_attribute attributes[] = {
	    {"RequestID", "String", id},
	    {"ErrorCode", "Number", ev->ending->ran ? "200" : "429"},
	    {"ErrorMessage", "String", ev->ending->error},
	};
	struct target_record r = {.arn = arn,
	    .body = f->payload,
	    .attributes = attributes,
	    .attribute_count = ARRAY_SIZE(attributes) - !*ev->ending->error};
	struct err e = ERR_INIT;
	struct target_staged *s;

	snprintf(id, sizeof(id), "%.*s", STR_FMT(f->id));
	s = stage(ev, f, &r, &e);
	/* Together with its attributes it may be too large; without them it was accepted. */
	if (!s && e.errnum == EMSGSIZE) {
		r.attribute_count = 0;
		e = ERR_INIT;
		s = stage(ev, f, &r, &e);
	}
	staged(ev, s, arn, &e);
}

static void stage_all(struct event *ev)
{
	const struct ending *en = ev->ending;
	char dead_letter[ARN_MAX], destination[ARN_MAX];
	const char *arn;
	struct event_fields f;
	struct invoke_policy p;

	if (!ev->async->iv->o.targets || !event_parse(ev, &f) || !event_policy(ev, &f, &p))
		return;
	/* Copied: staging for a function asks for policies, too. */
	arn = en->success ? NULL : p.dead_letter_arn;
	snprintf(dead_letter, sizeof(dead_letter), "%s", arn ? arn : "");
	arn = en->success ? p.on_success_arn : p.on_failure_arn;
	snprintf(destination, sizeof(destination), "%s", arn ? arn : "");
	if (*dead_letter)
		stage_dead_letter(ev, &f, dead_letter);
	if (*destination)
		stage_record(ev, &f, destination);
}

static void on_ended(struct store_write *w, int result)
{
	struct event *ev = container_of(w, struct event, write);
	struct async *a = ev->async;
	struct ending *en = ev->ending;

	for (size_t i = 0; i < en->staged_count; i++)
		target_finish(en->staged[i], result);
	en->staged_count = 0;
	if (result >= 0 || a->stopping) {
		event_over(ev);
		return;
	}
	log_error("the end of event %s cannot be written: %s", ev->id, strerror(-result));
	list_push_back(&a->unwritten, &ev->node);
	if (!a->rewrite.slot)
		loop_timer_set(a->iv->o.loop, &a->rewrite, REWRITE_NS);
}

static void write_end(struct event *ev)
{
	store_write_init(&ev->write, on_ended);
	stage_all(ev);
	store_remove(&ev->write, EVENTS_QUEUE, str_from(ev->id));
	store_commit(ev->async->iv->o.store, &ev->write);
}

void ending_rewrite(struct async *a)
{
	struct list *node;

	for (size_t i = 0; i < 64 && !list_empty(&a->unwritten); i++) {
		node = a->unwritten.next;
		list_remove(node);
		write_end(list_entry(node, struct event, node));
	}
	if (!list_empty(&a->unwritten))
		loop_timer_set(a->iv->o.loop, &a->rewrite, REWRITE_NS);
}

/* ---- what is to be told ---- */

/* Not in the middle of a character. */
static void cut(char *out, size_t size, const char *text)
{
	size_t n = strlen(text);

	if (n >= size)
		for (n = size - 1; n && (text[n] & 0xc0) == 0x80; n--)
			;
	memcpy(out, text, n);
	out[n] = 0;
}

static void take_message(struct ending *en)
{
	struct str text = buf_str(&en->response);
	json_t *doc = text.len <= LOOKED_AT_MAX ? json_loadb(text.ptr, text.len, 0, NULL) : NULL;
	const char *message = json_string_value(json_object_get(doc, "errorMessage"));

	if (message)
		cut(en->error, sizeof(en->error), message);
	json_decref(doc);
}

static void take_result(struct ending *en, struct invoke_result *r)
{
	en->ran = true;
	snprintf(en->version, sizeof(en->version), "%s", r->version);
	if (r->payload)
		buf_append_str(&en->response, buf_str(r->payload));
}

void ending_success(struct event *ev, struct invoke_result *r)
{
	struct invoke_policy p;
	struct event_fields f;

	ev->ending = xcalloc(1, sizeof(*ev->ending));
	ev->ending->success = true;
	ev->ending->condition = "Success";
	/* Mostly nobody is to be told. */
	if (event_parse(ev, &f) && event_policy(ev, &f, &p) && p.on_success_arn &&
	    *p.on_success_arn)
		take_result(ev->ending, r);
	write_end(ev);
}

void ending_failure(
    struct event *ev, const char *condition, const char *why, struct invoke_result *r)
{
	ev->ending = xcalloc(1, sizeof(*ev->ending));
	ev->ending->condition = condition;
	if (r) {
		take_result(ev->ending, r);
		take_message(ev->ending);
	} else {
		cut(ev->ending->error, sizeof(ev->ending->error), why);
	}
	write_end(ev);
}
