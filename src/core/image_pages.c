/* See image_pages.h. Loop thread. */
#include "core/image_pages.h"

#include <jansson.h>
#include <stdio.h>

#include "base/rand.h"
#include "core/pages.h"
#include "image/image.h"

#define UPLOAD_PATH IMAGE_PAGES_PATH "/load/"
#define TICKET_DIGITS 32
#define TICKETS_MAX 32
#define TICKET_NS (60 * INT64_C(1000000000))
#define PROGRESS_NS (200 * INT64_C(1000000))
#define CREDENTIALS_MAX 4096

/* What a request is about, in r->user; freed when both sides have ended. */
struct work {
	struct http_request *r; /* NULL: the client has gone */
	const struct front_parts *parts;
	struct image_pull *pull;
	struct image_push *push;
	struct image_load *load;
	struct loop_timer timer; /* progress */
	bool ended;              /* the body is there whole */
};

static struct {
	char text[TICKET_DIGITS + 1];
	int64_t until_ns;
} tickets[TICKETS_MAX];

/* ---- answers ---- */

static void reply_object(struct http_request *r, unsigned status, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	pages_reply_json(r, status, str_from(text));
	free(text);
	json_decref(o);
}

static bool name_of(struct http_request *r, const struct front_parts *p, const char *parameter,
    struct image_reference *ret)
{
	const char *text = pages_parameter(r, parameter);
	struct err e = ERR_INIT;

	if (text && image_reference_parse(str_from(text), p->own_hosts, ret, &e) == 0)
		return true;
	pages_reply_error(r, 400, text ? e.msg : "Say the image's name: ?name=...");
	return false;
}

/* ---- pulling and pushing ---- */

static struct work *work_new(const struct front_parts *p, struct http_request *r)
{
	struct work *w = xcalloc(1, sizeof(*w));

	w->r = r;
	w->parts = p;
	r->user = w;
	return w;
}

static void send_line(struct work *w, json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);

	http_reply_data(w->r, str_from(text));
	http_reply_data(w->r, STR("\n"));
	free(text);
	json_decref(line);
}

static void on_progress(struct loop_timer *t)
{
	struct work *w = container_of(t, struct work, timer);
	struct image_progress g;

	if (w->pull)
		image_pull_progress(w->pull, &g);
	else
		image_push_progress(w->push, &g);
	send_line(
	    w, json_pack("{s:I,s:I,s:i,s:i,s:i}", "bytes_done", (json_int_t)g.bytes_done,
		   "bytes_total", (json_int_t)g.bytes_total, "layers_done", (int)g.layers_done,
		   "layers_total", (int)g.layers_total, "waiting_s", (int)g.waiting_s));
	loop_timer_set(w->parts->loop, t, PROGRESS_NS);
}

static void on_pulled(void *ctx, struct image *image, const char *code, const char *why)
{
	struct work *w = ctx;

	loop_timer_stop(w->parts->loop, &w->timer);
	if (image)
		send_line(w, json_pack("{s:s,s:I}", "digest", image_digest(image), "size",
				 (json_int_t)image_bytes(image)));
	else
		send_line(w, json_pack("{s:s,s:s}", "error", code, "message", why));
	image_unref(image);
	http_reply_end(w->r);
	free(w);
}

static bool policy_of(const char *text, enum image_pull_policy *ret)
{
	static const char *const words[] = {"missing", "always", "never"};

	*ret = IMAGE_PULL_ALWAYS;
	for (size_t i = 0; text && i < ARRAY_SIZE(words); i++)
		if (strcmp(text, words[i]) == 0) {
			*ret = (enum image_pull_policy)i;
			return true;
		}
	return !text;
}

/* An answer that is told as it goes. */
static struct work *begin_story(const struct front_parts *p, struct http_request *r)
{
	const struct http_header type = {STR("content-type"), STR("application/x-ndjson")};
	struct work *w = work_new(p, r);

	http_reply_start(r, 200, &type, 1, -1, NULL);
	w->timer.on_due = on_progress;
	loop_timer_set(p->loop, &w->timer, PROGRESS_NS);
	return w;
}

/* The body, if there is one: who we are at the registry. Strings are its own. */
static json_t *credentials_of(struct http_request *r, struct image_auth *ret)
{
	json_t *body = json_loadb(buf_str(&r->body).ptr, buf_len(&r->body), 0, NULL);

	ret->username = json_string_value(json_object_get(body, "username"));
	ret->password = json_string_value(json_object_get(body, "password"));
	return body;
}

static void pull(const struct front_parts *p, struct http_request *r)
{
	struct image_auth auth;
	json_t *body = credentials_of(r, &auth);
	enum image_pull_policy policy;
	struct image_reference name;
	struct work *w;

	if (!policy_of(pages_parameter(r, "policy"), &policy)) {
		pages_reply_error(r, 400, "policy is 'missing', 'always' or 'never'.");
	} else if (name_of(r, p, "name", &name)) {
		w = begin_story(p, r);
		w->pull = image_pull_start(
		    p->images, &name, policy, auth.username ? &auth : NULL, on_pulled, w);
	}
	json_decref(body);
}

static void on_pushed(void *ctx, const char *digest, const char *code, const char *why)
{
	struct work *w = ctx;

	loop_timer_stop(w->parts->loop, &w->timer);
	if (digest)
		send_line(w, json_pack("{s:s}", "digest", digest));
	else
		send_line(w, json_pack("{s:s,s:s}", "error", code, "message", why));
	http_reply_end(w->r);
	free(w);
}

/* name: of an image, or nothing but its digest. */
static bool source_of(
    struct http_request *r, const struct front_parts *p, struct image_reference *ret)
{
	const char *text = pages_parameter(r, "name");

	if (!text || !image_digest_ok(str_from(text)))
		return name_of(r, p, "name", ret);
	*ret = (struct image_reference){0};
	snprintf(ret->digest, sizeof(ret->digest), "%s", text);
	if (pages_parameter(r, "to"))
		return true;
	pages_reply_error(
	    r, 400, "A digest alone does not say where to push to: give a destination.");
	return false;
}

static void push(const struct front_parts *p, struct http_request *r)
{
	struct image_auth auth;
	json_t *body = credentials_of(r, &auth);
	struct image_reference from, to;
	struct work *w;

	if (source_of(r, p, &from) &&
	    name_of(r, p, pages_parameter(r, "to") ? "to" : "name", &to)) {
		w = begin_story(p, r);
		w->push = image_push_start(
		    p->images, &from, &to, auth.username ? &auth : NULL, on_pushed, w);
	}
	json_decref(body);
}

/* ---- removing and naming ---- */

static void on_changed(void *ctx, int result)
{
	struct work *w = ctx;

	if (w->r && result == 0)
		pages_reply_json(w->r, 200, STR("{}\n"));
	else if (w->r)
		pages_reply_error(w->r, result == -ENOENT ? 404 : 500,
		    result == -ENOENT ? "There is no image of this name." : strerror(-result));
	free(w);
}

static void change(const struct front_parts *p, struct http_request *r, bool tag)
{
	struct image_reference name, to;

	if (!name_of(r, p, "name", &name) || (tag && !name_of(r, p, "to", &to)))
		return;
	if (tag)
		images_tag(p->images, &name, &to, on_changed, work_new(p, r));
	else
		images_remove(p->images, &name, on_changed, work_new(p, r));
}

/* ---- loading ---- */

static void give_ticket(const struct front_parts *p, struct http_request *r)
{
	int64_t now = loop_now_ns(p->loop);

	for (size_t i = 0; i < TICKETS_MAX; i++) {
		if (tickets[i].until_ns > now)
			continue;
		rand_hex(tickets[i].text, TICKET_DIGITS);
		tickets[i].until_ns = now + TICKET_NS;
		reply_object(r, 200, json_pack("{s:s}", "ticket", tickets[i].text));
		return;
	}
	pages_reply_error(r, 503, "Too many archives wait to be sent; try again in a minute.");
}

static bool take_ticket(const struct front_parts *p, struct str text)
{
	for (size_t i = 0; i < TICKETS_MAX; i++)
		if (tickets[i].until_ns > loop_now_ns(p->loop) && str_is(text, tickets[i].text)) {
			tickets[i].until_ns = 0;
			return true;
		}
	return false;
}

static void on_drain(void *ctx)
{
	struct work *w = ctx;

	if (w->r && !w->ended)
		http_request_resume(w->r);
}

static void on_loaded(void *ctx, json_t *loaded, const char *why)
{
	struct work *w = ctx;

	w->load = NULL;
	w->r->user = NULL;
	if (loaded)
		reply_object(w->r, 200, json_pack("{s:o}", "images", loaded));
	else
		pages_reply_error(w->r, 400, why);
	free(w);
}

bool image_pages_is_upload(const struct http_request *r)
{
	return str_has_prefix(r->path, UPLOAD_PATH) && str_is(r->method, "PUT");
}

void image_pages_on_head(const struct front_parts *p, struct http_request *r)
{
	struct work *w;

	if (!image_pages_is_upload(r)) {
		r->body_limit = CREDENTIALS_MAX;
		return;
	}
	if (!take_ticket(p, str_sub(r->path, sizeof(UPLOAD_PATH) - 1))) {
		pages_reply_error(r, 403, "This ticket is unknown or has been used.");
		return;
	}
	r->stream = true;
	r->known = true;
	r->body_limit = UINT64_C(64) << 30;
	w = work_new(p, r);
	w->load = image_load_start(p->images, on_drain, on_loaded, w);
}

void image_pages_on_body(
    const struct front_parts *p, struct http_request *r, const void *data, size_t len)
{
	struct work *w = r->user;

	(void)p;
	if (w && w->load && image_load_write(w->load, data, len) >= IMAGE_LOAD_QUEUE)
		http_request_pause(r);
}

/* ---- routing ---- */

void image_pages_on_request(const struct front_parts *p, struct http_request *r)
{
	bool post = str_is(r->method, "POST");
	struct work *w = r->user;

	if (image_pages_is_upload(r)) {
		w->ended = true;
		image_load_end(w->load);
	} else if (str_is(r->path, IMAGE_PAGES_PATH) && str_is(r->method, "GET")) {
		reply_object(r, 200, json_pack("{s:o}", "images", images_list(p->images)));
	} else if (str_is(r->path, IMAGE_PAGES_PATH) && str_is(r->method, "DELETE")) {
		change(p, r, false);
	} else if (str_is(r->path, IMAGE_PAGES_PATH "/pull") && post) {
		pull(p, r);
	} else if (str_is(r->path, IMAGE_PAGES_PATH "/push") && post) {
		push(p, r);
	} else if (str_is(r->path, IMAGE_PAGES_PATH "/tag") && post) {
		change(p, r, true);
	} else if (str_is(r->path, IMAGE_PAGES_PATH "/load") && post) {
		give_ticket(p, r);
	} else {
		pages_reply_error(r, 404, "There is no such page, or not by this method.");
	}
}

void image_pages_on_cancel(const struct front_parts *p, struct http_request *r)
{
	struct work *w = r->user;

	if (!w)
		return;
	w->r = NULL;
	loop_timer_stop(p->loop, &w->timer);
	if (w->pull)
		image_pull_cancel(w->pull);
	else if (w->push)
		image_push_cancel(w->push);
	else if (w->load)
		image_load_cancel(w->load);
	else
		return; /* its callback comes yet */
	free(w);
}
