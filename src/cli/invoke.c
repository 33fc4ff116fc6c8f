/* `mayfly invoke NAME [PAYLOAD]`: run a function and print what it answers. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/term.h"

#define PAYLOAD_MAX (6 << 20)

struct options {
	bool tail, event;
	const char *qualifier;
};

/* Standard input may be anything, a socket among them, which /dev/stdin would not open. */
static int read_stdin(struct buf *ret)
{
	for (;;) {
		ssize_t n = read(STDIN_FILENO, buf_reserve(ret, 65536), 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		buf_commit(ret, (size_t)n);
		if (buf_len(ret) > PAYLOAD_MAX)
			return -EFBIG;
	}
}

/* The payload as the command line names it: text, @file, or - for standard input. */
static int read_payload(const char *arg, struct buf *ret)
{
	bool is_stdin = !strcmp(arg, "-");
	int r;

	if (!is_stdin && arg[0] != '@') {
		buf_puts(ret, arg);
		return CLI_OK;
	}
	r = is_stdin ? read_stdin(ret) : fd_read_file(AT_FDCWD, arg + 1, PAYLOAD_MAX, ret);
	if (r == -EFBIG)
		return cli_fail(CLI_FAILED, "put it where the function can fetch it",
		    "a payload has at most 6 MB");
	if (r < 0)
		return cli_fail(CLI_FAILED, NULL, "reading %s: %s",
		    is_stdin ? "standard input" : arg + 1, strerror(-r));
	return CLI_OK;
}

/* Refuse here what the server would refuse, with the place where it is wrong. */
static int check_payload(struct str payload)
{
	json_error_t why;
	json_t *o = json_loadb(payload.ptr, payload.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);

	if (!o && payload.len)
		return cli_fail(CLI_USAGE, "quote it for the shell: mayfly invoke NAME '{\"a\":1}'",
		    "the payload is not JSON: line %d, column %d: %s", why.line, why.column,
		    why.text);
	json_decref(o);
	return CLI_OK;
}

static void print_tail(const struct client_answer *a)
{
	struct str text = client_answer_header(a, "x-amz-log-result");
	_cleanup_free_ char *out = xmalloc(text.len + 1);
	ssize_t n = text.ptr ? base64_decode(text, out) : 0;

	if (n > 0) {
		fputs(term_paint(stderr, TERM_DIM), stderr);
		term_write_safe(stderr, (struct str){out, (size_t)n});
		fputs(term_paint(stderr, TERM_PLAIN), stderr);
		if (out[n - 1] != '\n')
			fputc('\n', stderr);
	}
}

static void print_trace(const json_t *o)
{
	const json_t *lines = json_object_get(o, "stackTrace");
	const char *text;
	size_t i;
	json_t *line;

	if (!json_is_array(lines))
		lines = json_object_get(o, "trace");
	json_array_foreach(lines, i, line)
	{
		text = json_string_value(line);
		/* Node.js begins with the message, which has been said. */
		if (!text || (i == 0 && strstr(text, field_text(o, "errorMessage"))))
			continue;
		fputs("        ", stderr);
		term_write_safe(stderr, str_trim(str_from(text)));
		if (!str_has_suffix(str_from(text), "\n"))
			fputc('\n', stderr);
	}
}

static int function_failed(const struct client_answer *a, const char *name)
{
	struct str body = buf_str(&a->body);
	json_t *o = json_loadb(body.ptr, body.len, 0, NULL);
	const char *type = field_text(o, "errorType"), *message = field_text(o, "errorMessage");

	fprintf(stderr, "%smayfly:%s %s failed: ", term_paint(stderr, TERM_RED),
	    term_paint(stderr, TERM_PLAIN), name);
	if (*type || *message) {
		term_write_safe(stderr, str_from(type));
		fputs(*type && *message ? ": " : "", stderr);
		term_write_safe(stderr, str_from(message));
	} else {
		term_write_safe(stderr, body);
	}
	fputc('\n', stderr);
	print_trace(o);
	fprintf(stderr, "        `mayfly logs %s` has what it printed\n", name);
	json_decref(o);
	return CLI_FUNCTION;
}

static int send(struct client *c, const struct options *o, const char *name, struct str payload,
    struct client_answer *a)
{
	struct client_header headers[] = {
	    {"X-Amz-Invocation-Type", o->event ? "Event" : "RequestResponse"},
	    {"X-Amz-Log-Type", o->tail ? "Tail" : "None"},
	};
	_cleanup_free_ char *query =
	    o->qualifier ? client_path("/invocations?Qualifier=", o->qualifier, "") : NULL;
	_cleanup_free_ char *path =
	    client_path("/2015-03-31/functions/", name, query ? query : "/invocations");
	struct client_request r = {
	    .service = "lambda",
	    .method = "POST",
	    .path = path,
	    .headers = headers,
	    .header_count = ARRAY_SIZE(headers),
	    .body = payload,
	};

	return client_send(c, &r, a);
}

static int print_answer(const struct client_answer *a, const struct options *o, const char *name)
{
	struct str failed = client_answer_header(a, "x-amz-function-error");

	print_tail(a);
	if (failed.ptr)
		return function_failed(a, name);
	if (o->event) {
		if (isatty(STDERR_FILENO))
			fputs("queued\n", stderr);
		return CLI_OK;
	}
	term_write_safe(stdout, buf_str(&a->body));
	if (isatty(STDOUT_FILENO))
		putchar('\n');
	return CLI_OK;
}

static int run(const void *options, char **args, int count)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	_cleanup_answer_ struct client_answer a = {0};
	_cleanup_buf_ struct buf payload = BUF_INIT;
	_cleanup_free_ char *what = xasprintf("invoking %s", args[0]);
	int code = read_payload(count > 1 ? args[1] : "{}", &payload);

	if (!code)
		code = check_payload(buf_str(&payload));
	if (!code)
		code = client_open(&c);
	if (!code)
		code = send(c, o, args[0], buf_str(&payload), &a);
	if (code)
		return code;
	if (a.status < 200 || a.status > 299)
		return client_refused(c, &a, what);
	return print_answer(&a, o, args[0]);
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"tail", 't', CLI_FLAG, NULL, "also print the last 4 KB of its log, to stderr", AT(tail), 0, 0},
    {"event", 'e', CLI_FLAG, NULL, "queue it and do not wait", AT(event), 0, 0},
    {"qualifier", 'q', CLI_TEXT, "NAME", "a version or an alias", AT(qualifier), 0, 0},
};

const struct cli_verb cli_invoke = {
    .name = "invoke",
    .args = "NAME [JSON|@FILE|-]",
    .summary = "run a function and print its answer",
    .help = "Sends JSON ({} if none is given; @FILE reads a file, - standard input) and writes\n"
	    "the answer to stdout as it came. If the function fails, nothing goes to stdout, the\n"
	    "error and its stack go to stderr and the exit code is 3.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = 2,
    .run = run,
};
