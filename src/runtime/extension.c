/*
 * The Extensions API of Lambda: companions of the runtime inside a box that register during init,
 * are told of each event, and of the end. Loop thread; called by api.c.
 *
 * Lambda tells extensions of the platform's folder (external) from those inside the runtime
 * (internal); from here both look alike, so SHUTDOWN is open to both.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/rand.h"
#include "runtime/api_int.h"

static void refuse(struct http_request *r, const char *type, const char *message)
{
	api_reply_error(r, 403, type, message);
}

static struct extension *find(struct api_box *b, struct str id)
{
	for (size_t i = 0; i < b->extension_count; i++)
		if (str_is(id, b->extensions[i].id))
			return &b->extensions[i];
	return NULL;
}

static bool is_uuid(struct str s)
{
	if (s.len != 36)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		bool hex =
		    (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

		if (dash ? c != '-' : !hex)
			return false;
	}
	return true;
}

/* Who asks; NULL after a refusal. */
static struct extension *identify(struct api_box *b, struct http_request *r)
{
	struct str id = http_header(r, "Lambda-Extension-Identifier");
	struct extension *x;

	if (!id.len) {
		refuse(r, "Extension.MissingExtensionIdentifier",
		    "Missing Lambda-Extension-Identifier header");
		return NULL;
	}
	if (!is_uuid(id)) {
		refuse(r, "Extension.InvalidExtensionIdentifier",
		    "Invalid Lambda-Extension-Identifier");
		return NULL;
	}
	x = find(b, id);
	if (!x)
		refuse(r, "Extension.UnknownExtensionIdentifier",
		    "Unknown Lambda-Extension-Identifier");
	return x;
}

/* --- register --------------------------------------------------------------------------------- */

static bool name_taken(const struct api_box *b, struct str name)
{
	for (size_t i = 0; i < b->extension_count; i++)
		if (str_is(name, b->extensions[i].name))
			return true;
	return false;
}

/* May an extension of that name come in now? */
static bool check_name(struct api_box *b, struct http_request *r, struct str name)
{
	if (!name.len || name.len > EXTENSION_NAME_MAX)
		refuse(r, "Extension.InvalidExtensionName",
		    name.len ? "Extension name is too long, the limit is 128 bytes"
			     : "Empty extension name");
	else if (b->state != API_INIT)
		refuse(r, "Extension.RegistrationClosed", "Extension registration closed already");
	else if (name_taken(b, name))
		refuse(r, "Extension.InvalidExtensionState", "Extension is registered already");
	else if (b->extension_count == EXTENSIONS_MAX)
		refuse(r, "Extension.TooManyExtensions", "Extension limit (10) reached");
	else
		return true;
	return false;
}

static bool read_events(struct http_request *r, struct extension *x)
{
	struct str body = buf_str(&r->body);
	json_t *root = json_loadb(body.ptr, body.len, 0, NULL), *list, *event;
	const char *unknown = NULL;
	size_t i;

	list = json_object_get(root, "events");
	if (!json_is_object(root) || (list && !json_is_array(list))) {
		json_decref(root);
		refuse(r, "InvalidRequestFormat",
		    "The body is a JSON object such as {\"events\":[\"INVOKE\",\"SHUTDOWN\"]}");
		return false;
	}
	json_array_foreach(list, i, event)
	{
		const char *s = json_is_string(event) ? json_string_value(event) : "";

		if (strcmp(s, "INVOKE") == 0)
			x->on_invoke = true;
		else if (strcmp(s, "SHUTDOWN") == 0)
			x->on_shutdown = true;
		else
			unknown = arena_printf(r->arena, "%.64s: no such event type", s);
	}
	json_decref(root);
	if (unknown)
		refuse(r, "Extension.InvalidEventType", unknown);
	return !unknown;
}

static void add_member(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "%c\"%s\":", buf_len(b) ? ',' : '{', name);
	buf_json_string(b, str_from(value));
}

static void reply_registered(struct api_box *b, struct http_request *r, const struct extension *x)
{
	_cleanup_buf_ struct buf body = BUF_INIT;
	struct http_header headers[] = {
	    {STR("Content-Type"), STR("application/json")},
	    {STR("Lambda-Extension-Identifier"), str_from(x->id)},
	};
	struct str feature = http_header(r, "Lambda-Extension-Accept-Feature");
	bool with_account = feature.len && memmem(feature.ptr, feature.len, "accountId", 9);

	add_member(&body, "functionName", b->function);
	add_member(&body, "functionVersion", b->version);
	add_member(&body, "handler", b->function_handler);
	if (with_account)
		add_member(&body, "accountId", b->account);
	buf_putc(&body, '}');
	http_reply(r, 200, headers, ARRAY_SIZE(headers), buf_str(&body));
}

static void enroll(struct api_box *b, struct http_request *r)
{
	struct str name = http_header(r, "Lambda-Extension-Name");
	struct extension x = {0};

	if (!check_name(b, r, name) || !read_events(r, &x))
		return;
	memcpy(x.name, name.ptr, name.len);
	rand_uuid(x.id);
	b->extensions[b->extension_count++] = x;
	reply_registered(b, r, &x);
	if (b->base.handler->on_extensions)
		b->base.handler->on_extensions(b->base.ctx);
}

/* --- events ----------------------------------------------------------------------------------- */

bool extension_all_arrived(const struct api_box *b)
{
	for (size_t i = 0; i < b->extension_count; i++)
		if (!b->extensions[i].arrived)
			return false;
	return true;
}

static void give(struct extension *x, struct str json)
{
	char id[37];
	struct http_header headers[] = {
	    {STR("Content-Type"), STR("application/json")},
	    {STR("Lambda-Extension-Event-Identifier"), STR_NULL},
	};
	struct http_request *r = take_ptr(x->next);

	rand_uuid(id);
	headers[1].value = str_from(id);
	x->arrived = false;
	http_reply(r, 200, headers, ARRAY_SIZE(headers), json);
}

static void build_invoke(const struct api_event *ev, struct buf *out)
{
	buf_printf(out, "{\"eventType\":\"INVOKE\",\"deadlineMs\":%" PRId64 ",\"requestId\":\"%s\"",
	    ev->deadline_ms, ev->request_id);
	buf_puts(out, ",\"invokedFunctionArn\":");
	buf_json_string(out, buf_str(&ev->arn));
	buf_puts(out, ",\"tracing\":{\"type\":\"X-Amzn-Trace-Id\",\"value\":");
	buf_json_string(out, str_from(ev->trace_id));
	buf_puts(out, "}}");
}

void extension_tell_invoke(struct api_box *b)
{
	_cleanup_buf_ struct buf json = BUF_INIT;

	if (!b->extension_count)
		return;
	build_invoke(&b->event, &json);
	/* One whose client has gone is left out rather than waited for. */
	for (size_t i = 0; i < b->extension_count; i++)
		if (b->extensions[i].on_invoke && b->extensions[i].next)
			give(&b->extensions[i], buf_str(&json));
}

bool runtime_api_minds_end(const struct runtime *r)
{
	const struct api_box *b = container_of(r, const struct api_box, base);

	for (size_t i = 0; i < b->extension_count; i++)
		if (b->extensions[i].on_shutdown)
			return true;
	return false;
}

void runtime_api_shutdown(struct runtime *r, const char *reason, int64_t deadline_ms)
{
	struct api_box *b = container_of(r, struct api_box, base);

	buf_clear(&b->shutdown);
	buf_printf(&b->shutdown,
	    "{\"eventType\":\"SHUTDOWN\",\"deadlineMs\":%" PRId64 ",\"shutdownReason\":\"%s\"}",
	    deadline_ms, reason);
	for (size_t i = 0; i < b->extension_count; i++)
		if (b->extensions[i].on_shutdown && b->extensions[i].next)
			give(&b->extensions[i], buf_str(&b->shutdown));
}

void runtime_api_tell(struct runtime *r, const struct runtime_event *ev)
{
	struct api_box *b = container_of(r, struct api_box, base);
	struct api_event *to = &b->event;

	check(b->beside);
	snprintf(to->request_id, sizeof(to->request_id), "%s", ev->request_id);
	snprintf(to->trace_id, sizeof(to->trace_id), "%s", ev->trace_id);
	to->deadline_ms = ev->deadline_ms;
	buf_clear(&to->arn);
	buf_puts(&to->arn, ev->arn ? ev->arn : "");
	extension_tell_invoke(b);
}

size_t runtime_api_extensions(const struct runtime *r)
{
	return container_of(r, const struct api_box, base)->extension_count;
}

const char *runtime_api_extension(const struct runtime *r, size_t i, const char **ret_events)
{
	static const char *const events[] = {"", "INVOKE", "SHUTDOWN", "INVOKE,SHUTDOWN"};
	const struct api_box *b = container_of(r, const struct api_box, base);
	const struct extension *x = &b->extensions[i];

	*ret_events = events[x->on_invoke + 2 * x->on_shutdown];
	return x->name;
}

bool runtime_api_settled(const struct runtime *r)
{
	return extension_all_arrived(container_of(r, const struct api_box, base));
}

static void ask_next(struct api_box *b, struct http_request *r)
{
	struct extension *x = identify(b, r);
	/* When this makes the box ready it may be gone. */
	bool tell = b->base.handler->on_extensions && (b->ready_told || b->state != API_IDLE);

	if (!x)
		return;
	if (x->next)
		refuse(take_ptr(x->next), "Extension.InvalidExtensionState",
		    "A newer request for the next event has come");
	x->next = r;
	x->arrived = true;
	if (buf_len(&b->shutdown)) {
		if (x->on_shutdown)
			give(x, buf_str(&b->shutdown));
		return;
	}
	api_advance(b);
	if (tell)
		b->base.handler->on_extensions(b->base.ctx);
}

bool extension_cancel(struct api_box *b, const struct http_request *r)
{
	for (size_t i = 0; i < b->extension_count; i++) {
		if (b->extensions[i].next == r) {
			b->extensions[i].next = NULL;
			return true;
		}
	}
	return false;
}

/* --- errors ----------------------------------------------------------------------------------- */

static void fail(struct api_box *b, struct http_request *r, bool during_init)
{
	struct str type = http_header(r, "Lambda-Extension-Function-Error-Type");
	_cleanup_buf_ struct buf body = BUF_INIT;
	struct extension *x = identify(b, r);
	char why[256];

	if (!x)
		return;
	if (!type.len) {
		refuse(r, "Extension.MissingHeader",
		    "Missing Lambda-Extension-Function-Error-Type header");
		return;
	}
	snprintf(why, sizeof(why), "extension %.100s: %.*s", x->name, (int)min_size(type.len, 100),
	    type.ptr);
	api_reply(r, 202, STR("{\"status\":\"OK\"}\n"));
	if (!during_init || b->state != API_INIT) {
		b->base.handler->on_broken(b->base.ctx, why);
		return;
	}
	b->state = API_FAILED;
	runtime_error_json(&body, STR("Extension.InitError"), str_from(why));
	b->base.handler->on_init_error(b->base.ctx, STR("Extension.InitError"), buf_str(&body));
}

void extension_request(struct api_box *b, struct http_request *r, struct str path)
{
	bool post = str_is(r->method, "POST");

	if (post && str_is(path, "register"))
		enroll(b, r);
	else if (str_is(r->method, "GET") && str_is(path, "event/next"))
		ask_next(b, r);
	else if (post && str_is(path, "init/error"))
		fail(b, r, true);
	else if (post && str_is(path, "exit/error"))
		fail(b, r, false);
	else
		http_reply(r, 404, NULL, 0, STR("404 page not found\n"));
}
