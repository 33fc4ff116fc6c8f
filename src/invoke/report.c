/*
 * What the platform writes into a function's log, in AWS's words, and how the program's own output
 * becomes events. On the warm path: no allocation, no system call. Loop thread.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "invoke/invoke_int.h"

#define LINE_MAX_BYTES (256 * 1024) /* longer lines are cut into several events */

static void append(struct environment *en, struct invocation *n, const char *text, size_t len)
{
	int r = logs_append(en->stream, time_wall_ms(), text, len);

	if (r == -ENOSPC)
		log_error("logs cannot be written: is the disk full?");
	if (!n || !n->tail)
		return;
	buf_append(n->tail, text, len);
	if (buf_len(n->tail) > INVOKE_TAIL_MAX)
		buf_consume(n->tail, buf_len(n->tail) - INVOKE_TAIL_MAX);
}

void report_line(struct environment *en, struct invocation *n, struct str line)
{
	append(en, n, line.ptr, line.len);
}

/* One JSON event of the platform; `record` is the inside of the record object. */
static void append_json(
    struct environment *en, struct invocation *n, const char *type, const char *record)
{
	char line[1024], when[TIME_ISO_SIZE];
	int len;

	time_format_iso_ms(time_wall_ms(), when);
	len = snprintf(line, sizeof(line), "{\"time\":\"%s\",\"type\":\"%s\",\"record\":{%s}}\n",
	    when, type, record);
	append(en, n, line, min_size((size_t)len, sizeof(line) - 1));
}

void report_init_start(struct environment *en)
{
	const struct invoke_config *c = &en->version->c;
	char line[512];
	int len;

	if (en->version->image) /* it brings its runtime, and nobody knows which */
		return;
	if (c->log_json) {
		snprintf(line, sizeof(line),
		    "\"initializationType\":\"on-demand\",\"phase\":\"init\",\"runtimeVersion\":\"%"
		    "s\","
		    "\"runtimeVersionArn\":\"%s\",\"functionName\":\"%s\",\"functionVersion\":\"%"
		    "s\"",
		    c->runtime_version, c->runtime_arn, en->version->function->name, c->version);
		append_json(en, NULL, "platform.initStart", line);
		return;
	}
	len = snprintf(line, sizeof(line),
	    "INIT_START Runtime Version: %s\tRuntime Version ARN: %s\n", c->runtime_version,
	    c->runtime_arn);
	append(en, NULL, line, min_size((size_t)len, sizeof(line) - 1));
}

void report_extensions(struct environment *en)
{
	char line[512];
	const char *events, *name;
	int len;

	for (size_t i = 0; i < box_extension_count(en->box); i++) {
		_cleanup_buf_ struct buf quoted = BUF_INIT;

		name = box_extension(en->box, i, &events);
		if (!en->version->c.log_json) {
			len = snprintf(line, sizeof(line),
			    "EXTENSION\tName: %s\tState: Ready\tEvents: [%s]\n", name, events);
			append(en, NULL, line, min_size((size_t)len, sizeof(line) - 1));
			continue;
		}
		buf_json_string(&quoted, str_from(name));
		snprintf(line, sizeof(line),
		    "\"name\":%.*s,\"state\":\"Ready\",\"events\":[%s%s%s]",
		    STR_FMT(buf_str(&quoted)), strstr(events, "INVOKE") ? "\"INVOKE\"" : "",
		    strchr(events, ',') ? "," : "", strstr(events, "SHUT") ? "\"SHUTDOWN\"" : "");
		append_json(en, NULL, "platform.extension", line);
	}
}

void report_init_failed(struct environment *en, int64_t init_ns, bool in_invoke, const char *status,
    const char *error_type)
{
	const char *phase = in_invoke ? "invoke" : "init";
	char line[512];
	int len;

	if (en->version->c.log_json) {
		snprintf(line, sizeof(line),
		    "\"initializationType\":\"on-demand\",\"phase\":\"%s\",\"status\":\"%s\","
		    "\"errorType\":\"%s\",\"metrics\":{\"durationMs\":%.2f}",
		    phase, status, error_type ? error_type : "", (double)init_ns / 1e6);
		append_json(en, NULL, "platform.initReport", line);
		return;
	}
	len = snprintf(line, sizeof(line),
	    "INIT_REPORT Init Duration: %.2f ms\tPhase: %s\tStatus: %s%s%s\n",
	    (double)init_ns / 1e6, phase, status, error_type ? "\tError Type: " : "",
	    error_type ? error_type : "");
	append(en, NULL, line, min_size((size_t)len, sizeof(line) - 1));
}

/* Copy text to the end of a line under construction. */
static char *add(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}
#define ADD(at, literal) add(at, literal, sizeof(literal) - 1)

/* "12.34" out of nanoseconds; printf of doubles costs more than the rest of the line. */
static char *add_ms(char *at, int64_t ns)
{
	uint64_t hundredths = (uint64_t)(ns + 5000) / 10000;
	char digits[24];
	size_t i = sizeof(digits);

	for (size_t k = 0; k < 3 || hundredths; k++) {
		if (k == 2)
			digits[--i] = '.';
		digits[--i] = (char)('0' + hundredths % 10);
		hundredths /= 10;
	}
	return add(at, digits + i, sizeof(digits) - i);
}

static char *add_number(char *at, uint64_t v)
{
	char digits[24];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + v % 10);
	while (v /= 10);
	return add(at, digits + i, sizeof(digits) - i);
}

void report_start(struct environment *en, struct invocation *n)
{
	const struct invoke_version *v = en->version;
	char line[256], *at = line;

	if (v->c.log_json) {
		snprintf(line, sizeof(line), "\"requestId\":\"%s\",\"version\":\"%s\"",
		    n->request_id, v->c.version);
		append_json(en, n, "platform.start", line);
		return;
	}
	at = ADD(at, "START RequestId: ");
	at = add(at, n->request_id, 36);
	at = add(at, v->start_suffix, strlen(v->start_suffix));
	append(en, n, line, (size_t)(at - line));
}

static const char *status_of(enum invoke_outcome o)
{
	switch (o) {
	case INVOKE_TIMEOUT: return "timeout";
	case INVOKE_CRASH:
	case INVOKE_OOM:
	case INVOKE_INIT_ERROR: return "error";
	case INVOKE_OK:
	case INVOKE_ERROR:
	case INVOKE_NO_BOX: break;
	}
	return NULL;
}

static void end_json(struct environment *en, struct invocation *n, const struct report *r)
{
	const char *status = status_of(r->outcome);
	char line[768];
	int len;

	len = snprintf(line, sizeof(line),
	    "\"requestId\":\"%s\",\"status\":\"%s\",\"metrics\":{\"durationMs\":%.3f,"
	    "\"billedDurationMs\":%" PRId64 ",\"memorySizeMB\":%u,\"maxMemoryUsedMB\":%" PRIu64,
	    n->request_id,
	    status                    ? status
	    : r->outcome == INVOKE_OK ? "success"
				      : "error",
	    (double)r->duration_ns / 1e6, (r->duration_ns + r->init_ns + 999999) / 1000000,
	    en->version->c.memory_mb, (r->peak_bytes + 1048575) / 1048576);
	if (r->init_ns)
		len += snprintf(line + len, sizeof(line) - (size_t)len, ",\"initDurationMs\":%.3f",
		    (double)r->init_ns / 1e6);
	snprintf(line + len, sizeof(line) - (size_t)len, "}");
	append_json(en, n, "platform.report", line);
}

void report_end(struct environment *en, struct invocation *n, const struct report *r)
{
	const char *status = status_of(r->outcome);
	char line[640], *at = line;

	if (en->version->c.log_json) {
		end_json(en, n, r);
		return;
	}
	at = ADD(at, "END RequestId: ");
	at = add(at, n->request_id, 36);
	*at++ = '\n';
	append(en, n, line, (size_t)(at - line));

	at = ADD(line, "REPORT RequestId: ");
	at = add(at, n->request_id, 36);
	at = ADD(at, "\tDuration: ");
	at = add_ms(at, r->duration_ns);
	at = ADD(at, " ms\tBilled Duration: ");
	at = add_number(at, (uint64_t)(r->duration_ns + r->init_ns + 999999) / 1000000);
	at = ADD(at, " ms\tMemory Size: ");
	at = add_number(at, en->version->c.memory_mb);
	at = ADD(at, " MB\tMax Memory Used: ");
	at = add_number(at, (r->peak_bytes + 1048575) / 1048576);
	at = ADD(at, " MB\t");
	if (r->init_ns) {
		at = ADD(at, "Init Duration: ");
		at = add_ms(at, r->init_ns);
		at = ADD(at, " ms\t");
	}
	if (status) {
		at = ADD(at, "Status: ");
		at = add(at, status, strlen(status));
		if (r->outcome != INVOKE_TIMEOUT && r->error_type) {
			at = ADD(at, "\tError Type: ");
			at = add(at, r->error_type, min_size(strlen(r->error_type), 127));
		}
	}
	*at++ = '\n';
	append(en, n, line, (size_t)(at - line));
}

/* ---- the program's own output ---- */

static struct invocation *current(struct environment *en)
{
	return list_first(&en->running, struct invocation, node);
}

static void emit(struct environment *en, const char *text, size_t len)
{
	if (buf_len(&en->partial)) {
		buf_append(&en->partial, text, len);
		append(en, current(en), buf_data(&en->partial), buf_len(&en->partial));
		buf_clear(&en->partial);
	} else {
		append(en, current(en), text, len);
	}
}

void report_output(struct environment *en, struct str bytes)
{
	en->quiet = 0;
	while (bytes.len) {
		const char *newline = memchr(bytes.ptr, '\n', bytes.len);
		size_t len = newline ? (size_t)(newline - bytes.ptr) + 1 : bytes.len;
		size_t room = LINE_MAX_BYTES - buf_len(&en->partial);

		if (len > room) {
			len = room;
			newline = bytes.ptr;
		}
		if (newline)
			emit(en, bytes.ptr, len);
		else
			buf_append(&en->partial, bytes.ptr, len);
		bytes = str_sub(bytes, len);
	}
}

void report_flush(struct environment *en, struct invocation *n)
{
	if (!buf_len(&en->partial))
		return;
	append(en, n, buf_data(&en->partial), buf_len(&en->partial));
	buf_clear(&en->partial);
}
