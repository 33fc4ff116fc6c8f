/* Pulling and pushing images. See pull.h. */
#include "cli/pull.h"

#include <stdio.h>

#include "cli/term.h"

#define BAR_WIDTH 30
#define LINE_MAX (64 * 1024)

struct pull {
	const char *name;
	struct buf line; /* the beginning of one */
	json_t *last;    /* the last line that was no progress: how it ended */
};

void pull_format(const json_t *progress, char out[PULL_LINE_SIZE])
{
	uint64_t done = (uint64_t)field_number(progress, "bytes_done");
	uint64_t total = (uint64_t)field_number(progress, "bytes_total");
	int filled = total ? (int)(min_size(done, total) * BAR_WIDTH / total) : 0;
	char bar[BAR_WIDTH + 1], have[TERM_SIZE_TEXT], all[TERM_SIZE_TEXT];

	memset(bar, ' ', BAR_WIDTH);
	memset(bar, '=', (size_t)filled);
	if (filled < BAR_WIDTH)
		bar[filled] = '>';
	bar[BAR_WIDTH] = '\0';
	term_format_size(done, have);
	term_format_size(total, all);
	snprintf(out, PULL_LINE_SIZE, "[%s] %s of %s, %" PRId64 " of %" PRId64 " layers", bar, have,
	    all, field_number(progress, "layers_done"), field_number(progress, "layers_total"));
}

static void take_line(struct pull *p, struct str line)
{
	json_t *o = json_loadb(line.ptr, line.len, 0, NULL);
	char text[PULL_LINE_SIZE];
	_cleanup_free_ char *shown = NULL;

	if (!json_object_get(o, "bytes_done")) {
		json_decref(p->last);
		p->last = o;
		return;
	}
	if (field_number(o, "waiting_s")) {
		shown = xasprintf("%s: the registry asks for patience, %" PRId64 " s more", p->name,
		    field_number(o, "waiting_s"));
	} else if (field_number(o, "bytes_total")) {
		pull_format(o, text);
		shown = xasprintf("%s %s", p->name, text);
	} else {
		shown = xasprintf("%s: asking the registry", p->name);
	}
	term_progress(shown);
	json_decref(o);
}

static bool on_data(void *ctx, struct str data)
{
	struct pull *p = ctx;
	struct str rest;

	if (buf_len(&p->line) + data.len > LINE_MAX)
		return false;
	buf_append_str(&p->line, data);
	rest = buf_str(&p->line);
	for (const char *end; rest.len && (end = memchr(rest.ptr, '\n', rest.len));) {
		take_line(p, (struct str){rest.ptr, (size_t)(end - rest.ptr)});
		rest = str_sub(rest, (size_t)(end - rest.ptr) + 1);
	}
	buf_consume(&p->line, buf_len(&p->line) - rest.len);
	return true;
}

static int outcome(const struct pull *p, const char *policy, char **ret_digest)
{
	const char *digest = field_text(p->last, "digest"), *why = field_text(p->last, "message");

	if (*digest) {
		if (ret_digest)
			*ret_digest = xstrdup(digest);
		return CLI_OK;
	}
	if (!*why)
		why = "the server ended the connection; its own log says more";
	return cli_fail(CLI_FAILED,
	    "`mayfly images` lists what is here; `mayfly image load FILE` takes an archive of "
	    "`docker save`",
	    !strcmp(policy, "missing") ? "no image %s here, and it could not be pulled: %s"
				       : "the image %s could not be had: %s",
	    p->name, why);
}

/* Send the request and show what comes. CLI_OK: p->last says how it ended. The caller ends p. */
static int follow(struct client *c, struct pull *p, const char *path, const char *what)
{
	_cleanup_answer_ struct client_answer a = {0};
	struct client_request r = {
	    .service = "ecr", .method = "POST", .path = path, .on_data = on_data, .ctx = p};
	int code = client_send(c, &r, &a);

	term_progress(NULL);
	if (!code && a.status != 200)
		code = client_refused(c, &a, what);
	return code;
}

static void done(struct pull *p)
{
	json_decref(p->last);
	buf_done(&p->line);
}

int pull_image(struct client *c, const char *name, const char *policy, char **ret_digest)
{
	_cleanup_free_ char *begin = xasprintf("/_mayfly/images/pull?policy=%s&name=", policy);
	_cleanup_free_ char *path = client_path(begin, name, "");
	struct pull p = {.name = name};
	int code = follow(c, &p, path, "pulling the image");

	if (!code)
		code = outcome(&p, policy, ret_digest);
	done(&p);
	return code;
}

static int push_outcome(const struct pull *p, char **ret_digest)
{
	const char *digest = field_text(p->last, "digest"), *why = field_text(p->last, "message");

	if (*digest) {
		*ret_digest = xstrdup(digest);
		return CLI_OK;
	}
	if (strcmp(field_text(p->last, "error"), "ImageNotFoundException") == 0)
		return cli_fail(CLI_ABSENT,
		    "`mayfly images` lists what is here; `mayfly pull` and `mayfly image load` get "
		    "more",
		    "pushing %s: %s", p->name, why);
	return cli_fail(CLI_FAILED, NULL, "pushing %s: %s", p->name,
	    *why ? why : "the server ended the connection; its own log says more");
}

int push_image(struct client *c, const char *name, const char *to, char **ret_digest)
{
	_cleanup_free_ char *begin =
	    client_path("/_mayfly/images/push?name=", name, to ? "&to=" : "");
	_cleanup_free_ char *path = client_path(begin, to ? to : "", "");
	struct pull p = {.name = name};
	int code = follow(c, &p, path, "pushing the image");

	if (!code)
		code = push_outcome(&p, ret_digest);
	done(&p);
	return code;
}
