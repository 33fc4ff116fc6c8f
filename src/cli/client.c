/* Signed HTTP over libcurl. See client.h. */
#include <stdio.h>
#include <time.h>

#include "base/time.h"
#include "cli/client_int.h"

#define ANSWER_MAX (64 << 20)
/* The longest a function may run, and some. */
#define TIMEOUT_S 930L

void client_close(struct client *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->curl);
	config_keys_done(&c->keys);
	free(c->endpoint);
	free(c);
	curl_global_cleanup();
}

void client_closep(struct client **c)
{
	client_close(*c);
}

const char *client_endpoint(const struct client *c)
{
	return c->endpoint;
}

static bool split_endpoint(struct client *c)
{
	struct str s = str_from(c->endpoint);
	size_t scheme = str_has_prefix(s, "http://") ? 7 : str_has_prefix(s, "https://") ? 8 : 0;
	const char *slash;

	while (s.len > scheme && c->endpoint[s.len - 1] == '/')
		c->endpoint[--s.len] = '\0';
	if (!scheme || s.len == scheme || strpbrk(c->endpoint, "?#@ "))
		return false;
	c->host = str_sub(s, scheme);
	slash = memchr(c->host.ptr, '/', c->host.len);
	c->base = slash ? str_from(slash) : STR("");
	c->host.len -= c->base.len;
	return true;
}

/* Proxies are for other machines. */
static bool is_local(struct str host)
{
	return str_has_prefix(host, "127.") || str_has_prefix(host, "localhost") ||
	       str_has_prefix(host, "[::1]");
}

int client_open(struct client **ret)
{
	struct client *c = xcalloc(1, sizeof(*c));

	curl_global_init(CURL_GLOBAL_DEFAULT);
	c->endpoint = xstrdup(config_endpoint());
	if (!split_endpoint(c)) {
		cli_fail(CLI_USAGE, "it must look like " CONFIG_ENDPOINT,
		    "AWS_ENDPOINT_URL is no address of a server: %s", c->endpoint);
		client_close(c);
		return CLI_USAGE;
	}
	config_keys_find(&c->keys);
	c->region = config_region();
	c->curl = curl_easy_init();
	check(c->curl);
	*ret = c;
	return CLI_OK;
}

void client_answer_done(struct client_answer *a)
{
	buf_done(&a->body);
	buf_done(&a->headers);
}

struct str client_answer_header(const struct client_answer *a, const char *name)
{
	struct str text = buf_str(&a->headers);

	while (text.ptr) {
		struct str value = str_cut(&text, '\n'), key = str_cut(&value, ':');

		if (!value.ptr || !str_eq_nocase(key, str_from(name)))
			continue;
		if (value.len && value.ptr[value.len - 1] == '\r')
			value.len--;
		return str_trim(value);
	}
	return STR_NULL;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct buf *b = ctx;

	if (buf_len(b) + size * count > ANSWER_MAX)
		return 0;
	buf_append(b, data, size * count);
	return size * count;
}

struct receiver {
	struct client *client;
	const struct client_request *request;
	struct client_answer *answer;
};

static size_t on_piece(char *data, size_t size, size_t count, void *ctx)
{
	const struct receiver *v = ctx;
	long status = 0;

	curl_easy_getinfo(v->client->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status > 299)
		return on_body(data, size, count, &v->answer->body);
	return v->request->on_data(v->request->ctx, (struct str){data, size * count}) ? size * count
										      : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct buf *b = ctx;

	if (size * count > 5 && !memcmp(data, "HTTP/", 5))
		buf_clear(b); /* of an answer before, such as 100 Continue */
	return on_body(data, size, count, ctx);
}

/* S3 wants one with every configuration that is put; it is the hash that is signed, in base64. */
static char *checksum_of(struct arena *a, const char *hash_hex)
{
	uint8_t raw[32];
	char *out = arena_alloc(a, BASE64_ENCODED_SIZE(sizeof(raw)));

	check(hex_decode(str_from(hash_hex), raw, sizeof(raw)));
	base64_encode(raw, sizeof(raw), out);
	return out;
}

size_t client_sign(struct client *c, const struct client_request *r, struct arena *a,
    struct http_header h[CLIENT_HEADERS_MAX])
{
	char *path = arena_printf(a, "%.*s%s", STR_FMT(c->base), r->path), hash[SIGV4_HEX];
	char *query = strchr(path, '?');
	struct sigv4_keys keys = {c->keys.id, c->keys.secret, c->keys.token};
	struct sigv4_request s = {.method = str_from(r->method), .headers = h};
	size_t n = 0;

	if (query)
		*query++ = '\0';
	s.path = str_from(path);
	s.query = query ? str_from(query) : STR("");
	check(r->header_count + 4 + SIGV4_SIGN_HEADERS <= CLIENT_HEADERS_MAX);
	h[n++] = (struct http_header){STR("Host"), c->host};
	if (r->body.len)
		h[n++] = (struct http_header){
		    STR("Content-Type"), str_from(r->type ? r->type : "application/json")};
	for (size_t i = 0; i < r->header_count; i++)
		h[n++] = (struct http_header){
		    str_from(r->headers[i].name), str_from(r->headers[i].value)};
	sigv4_sha256_hex(r->body, hash);
	if (!strcmp(r->service, "s3")) {
		h[n++] = (struct http_header){
		    STR("X-Amz-Content-Sha256"), str_from(arena_printf(a, "%s", hash))};
		h[n++] = (struct http_header){
		    STR("X-Amz-Checksum-Sha256"), str_from(checksum_of(a, hash))};
	}
	s.header_count = n;
	return n + sigv4_sign(a, &s, &keys, c->region, r->service, time_wall_ms(), hash, h + n);
}

static struct curl_slist *curl_headers(struct arena *a, const struct http_header *h, size_t count)
{
	/* curl would ask before sending a large body, and wait. */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	for (size_t i = 0; i < count; i++)
		list = curl_slist_append(
		    list, arena_printf(a, "%.*s: %.*s", STR_FMT(h[i].name), STR_FMT(h[i].value)));
	return list;
}

void client_configure(struct client *c, const char *url)
{
	const char *bundle = getenv("AWS_CA_BUNDLE");

	curl_easy_reset(c->curl);
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c->curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT, 5L);
	curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
	if (is_local(c->host))
		curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
	if (bundle && *bundle)
		curl_easy_setopt(c->curl, CURLOPT_CAINFO, bundle);
}

static void configure(struct client *c, const struct client_request *r, const char *url,
    struct curl_slist *headers, struct client_answer *answer)
{
	client_configure(c, url);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "mayfly/" MAYFLY_VERSION);
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, r->method);
	curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &answer->body);
	curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, &answer->headers);
	if (!strcmp(r->method, "HEAD"))
		curl_easy_setopt(c->curl, CURLOPT_NOBODY, 1L);
	if (r->body.len || !strcmp(r->method, "POST") || !strcmp(r->method, "PUT")) {
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, r->body.len ? r->body.ptr : "");
	}
}

int client_no_answer(const struct client *c, CURLcode code)
{
	if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
		return cli_fail(CLI_ABSENT,
		    "start one with `mayfly serve`, or set AWS_ENDPOINT_URL to where it listens",
		    "no server answers at %s", c->endpoint);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return cli_fail(CLI_ABSENT, "see what the server's own log says",
		    "the server at %s did not answer in time", c->endpoint);
	return cli_fail(CLI_FAILED, "is AWS_ENDPOINT_URL the address of a mayfly server?",
	    "talking to %s: %s", c->endpoint, curl_easy_strerror(code));
}

int client_send(struct client *c, const struct client_request *r, struct client_answer *ret)
{
	struct arena a;
	struct http_header h[CLIENT_HEADERS_MAX];
	struct receiver receiver = {c, r, ret};
	struct curl_slist *headers;
	CURLcode code;

	arena_init(&a);
	headers = curl_headers(&a, h, client_sign(c, r, &a, h));
	configure(c, r, arena_printf(&a, "%s%s", c->endpoint, r->path), headers, ret);
	if (r->on_data) {
		curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_piece);
		curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &receiver);
		curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, 0L);
		curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, 60L);
	}
	code = curl_easy_perform(c->curl);
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &ret->status);
	curl_slist_free_all(headers);
	arena_done(&a);
	return code == CURLE_OK ? CLI_OK : client_no_answer(c, code);
}

/* The text inside the first <tag>…</tag>: enough for IAM's errors, which are the only XML here. */
static char *xml_text(struct str s, const char *open, const char *close)
{
	const char *from = memmem(s.ptr, s.len, open, strlen(open)), *to;

	if (!from)
		return NULL;
	from += strlen(open);
	to = memmem(from, (size_t)(s.ptr + s.len - from), close, strlen(close));
	return to ? xstrndup(from, (size_t)(to - from)) : NULL;
}

char *client_answer_error(const struct client_answer *a, char **ret_message)
{
	struct str body = buf_str(&a->body), header = client_answer_header(a, "x-amzn-errortype");
	json_t *o = json_loadb(body.ptr, body.len, 0, NULL);
	struct str type = header.ptr ? header : str_from(field_text(o, "__type"));
	const char *message = field_text(o, *field_text(o, "message") ? "message" : "Message");
	char *name, *hash;

	type = str_cut(&type, ':');
	name = type.len ? xstrndup(type.ptr, type.len) : xml_text(body, "<Code>", "</Code>");
	*ret_message = *message ? xstrdup(message) : xml_text(body, "<Message>", "</Message>");
	json_decref(o);
	name = name ? name : xstrdup("");
	*ret_message = *ret_message ? *ret_message : xstrdup("");
	hash = strchr(name, '#'); /* "com.amazon.coral#Name" */
	if (hash)
		memmove(name, hash + 1, strlen(hash));
	return name;
}

static const char *advice(const char *error, long status)
{
	if (!strcmp(error, "UnrecognizedClientException") ||
	    !strcmp(error, "InvalidSignatureException") || !strcmp(error, "InvalidClientTokenId") ||
	    !strcmp(error, "MissingAuthenticationTokenException"))
		return "take the server's own keys: eval \"$(sudo mayfly env)\"";
	if (!strcmp(error, "ExpiredTokenException"))
		return "these keys were temporary: ask for new ones";
	if (!strncmp(error, "AccessDenied", 12))
		return "these keys may not do that: use others, or have their policy changed";
	if (status == 404)
		return "`mayfly ls` lists the functions that are there";
	if (status == 429)
		return "try again in a moment, or raise the limit";
	return status >= 500 ? "the server's own log says more" : NULL;
}

int client_refused(const struct client *c _unused_, const struct client_answer *a, const char *what)
{
	_cleanup_free_ char *message = NULL;
	_cleanup_free_ char *error = client_answer_error(a, &message);
	int code = a->status == 404 ? CLI_ABSENT : CLI_FAILED;

	if (!*error)
		return cli_fail(code, advice("", a->status), "%s: the server answered %ld %s", what,
		    a->status, message);
	return cli_fail(code, advice(error, a->status), "%s: %s (%s)", what, message, error);
}

static bool is_unknown(const struct client_answer *a)
{
	_cleanup_free_ char *message = NULL, *error = client_answer_error(a, &message);

	return !strcmp(error, "UnknownOperationException");
}

static int send_json(
    struct client *c, struct client_request *r, json_t *in, int but, const char *what, json_t **ret)
{
	_cleanup_answer_ struct client_answer a = {0};
	_cleanup_free_ char *text = in ? json_dumps(in, JSON_COMPACT) : NULL;
	int code;

	r->body = text ? str_from(text) : STR("");
	code = client_send(c, r, &a);
	if (code)
		return code;
	if (a.status == but || (but == CLIENT_UNKNOWN && a.status >= 400 && is_unknown(&a)))
		return CLIENT_NOTED;
	if (a.status < 200 || a.status > 299)
		return client_refused(c, &a, what);
	if (!ret)
		return CLI_OK;
	*ret = json_loadb(buf_str(&a.body).ptr, buf_len(&a.body), 0, NULL);
	if (json_is_object(*ret))
		return CLI_OK;
	json_decref(*ret);
	*ret = NULL;
	return cli_fail(CLI_FAILED, "is AWS_ENDPOINT_URL the address of a mayfly server?",
	    "%s: the answer of %s is no JSON object", what, c->endpoint);
}

int client_json(struct client *c, const char *service, const char *method, const char *path,
    json_t *in, int but, const char *what, json_t **ret)
{
	struct client_request r = {.service = service, .method = method, .path = path};

	return send_json(c, &r, in, but, what, ret);
}

/* JSON 1.0 and 1.1: the operation is in a header. */
static int send_target(struct client *c, const char *service, const char *target, const char *type,
    json_t *in, int but, const char *what, json_t **ret)
{
	struct client_header h = {"X-Amz-Target", target};
	struct client_request r = {
	    .service = service,
	    .method = "POST",
	    .path = "/",
	    .type = type,
	    .headers = &h,
	    .header_count = 1,
	};

	return send_json(c, &r, in, but, what, ret);
}

int client_logs(
    struct client *c, const char *action, json_t *in, int but, const char *what, json_t **ret)
{
	_cleanup_free_ char *target = xasprintf("Logs_20140328.%s", action);

	return send_target(c, "logs", target, "application/x-amz-json-1.1", in, but, what, ret);
}

int client_ecs(
    struct client *c, const char *action, json_t *in, int but, const char *what, json_t **ret)
{
	_cleanup_free_ char *target = xasprintf("AmazonEC2ContainerServiceV20141113.%s", action);

	return send_target(c, "ecs", target, "application/x-amz-json-1.1", in, but, what, ret);
}

int client_sqs(
    struct client *c, const char *action, json_t *in, int but, const char *what, json_t **ret)
{
	_cleanup_free_ char *target = xasprintf("AmazonSQS.%s", action);

	return send_target(c, "sqs", target, "application/x-amz-json-1.0", in, but, what, ret);
}

char *client_path(const char *prefix, const char *name, const char *suffix)
{
	_cleanup_free_ char *encoded = xmalloc(3 * strlen(name) + 1);
	size_t n = url_encode(str_from(name), false, encoded);

	return xasprintf("%s%.*s%s", prefix, (int)n, encoded, suffix);
}

const char *field_text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

int64_t field_number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

void client_pause(unsigned *ms)
{
	*ms = *ms ? *ms * 2 : 2;
	if (*ms > 100)
		*ms = 100;
	nanosleep(&(struct timespec){.tv_nsec = *ms * 1000000L}, NULL);
}
