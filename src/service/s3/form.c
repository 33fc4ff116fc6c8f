/*
 * POST forms: a browser, or a phone, uploads straight to a bucket with fields that the owner signed
 * beforehand. The file streams to disk as with PutObject.
 */
#include "service/s3/form_int.h"

struct form {
	struct form_parser parser;
	struct intake intake;
	struct change change;
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	char *key;
	struct object *draft;
	struct form_range range;
	uint64_t size;
	bool opened; /* the intake takes bytes */
	bool streaming;
	unsigned status;
	char *redirect;
};

static void free_form(struct form *f)
{
	form_done(&f->parser);
	bucket_unref(f->bucket);
	object_unref(f->draft);
	free(f->redirect);
	free(f->key);
	free(f);
}

/* ---- the end ---- */

static void put_element(struct buf *b, const char *name, const char *text)
{
	buf_printf(b, "<%s>", name);
	for (; *text; text++) {
		if (*text == '&')
			buf_puts(b, "&amp;");
		else if (*text == '<')
			buf_puts(b, "&lt;");
		else if ((unsigned char)*text < 0x20)
			buf_printf(b, "&#x%X;", *text);
		else
			buf_putc(b, *text);
	}
	buf_printf(b, "</%s>", name);
}

static const char *encoded(struct call *c, const char *text, bool keep_slash)
{
	char *out = arena_alloc(c->arena, 3 * strlen(text) + 1);

	out[url_encode(str_from(text), keep_slash, out)] = '\0';
	return out;
}

static void answer(struct form *f, const struct object *o)
{
	struct call *c = f->call;
	const char *etag = call_printf(c, "\"%s\"", o->etag);
	const char *location = call_printf(c, "/%s/%s", f->bucket->name, encoded(c, f->key, true));
	_cleanup_buf_ struct buf b = BUF_INIT;

	call_header(c, "ETag", etag);
	call_header(c, "Location", location);
	if (strcmp(o->version, "null") != 0)
		call_header(c, "x-amz-version-id", o->version);
	if (f->redirect) {
		call_header(c, "Location",
		    call_printf(c, "%s%sbucket=%s&key=%s&etag=%s", f->redirect,
			strchr(f->redirect, '?') ? "&" : "?", encoded(c, f->bucket->name, false),
			encoded(c, f->key, false), encoded(c, etag, false)));
		call_reply_text(c, 303, "text/plain", STR(""));
		return;
	}
	if (f->status == 201) {
		buf_puts(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse>");
		put_element(&b, "Location", location);
		put_element(&b, "Bucket", f->bucket->name);
		put_element(&b, "Key", f->key);
		put_element(&b, "ETag", etag);
		buf_puts(&b, "</PostResponse>");
	}
	call_reply_text(c, f->status, "application/xml", buf_str(&b));
}

static void end(struct form *f, int result, struct err *e)
{
	struct call *c = f->call;

	if (c && result < 0 && !e->code)
		result = s3_failed(c, result, f->key, e);
	if (c && result < 0)
		call_reply(c, result, e);
	free_form(f);
}

static void on_changed(struct change *ch, int result)
{
	struct form *f = container_of(ch, struct form, change);

	if (result == 0 && f->call)
		answer(f, ch->record);
	end(f, result, &ch->error);
}

static void on_received(struct intake *in, int result)
{
	struct form *f = container_of(in, struct form, intake);
	struct object facts;
	struct store_extent place;

	if (result < 0) {
		end(f, result, &in->error);
		return;
	}
	facts = *f->draft;
	facts.etag = in->etag;
	facts.size = in->sealed.size;
	facts.checksum_kind = in->sum.kind;
	facts.checksum = in->checksum;
	intake_extent(in, &facts, &place);
	f->change = (struct change){.bucket = f->bucket,
	    .key = f->key,
	    .kind = CHANGE_PUT,
	    .call = f->call,
	    .event = "ObjectCreated:Post",
	    .object = object_new(&facts),
	    .done = on_changed};
	change_start(&f->change);
}

/* ---- the fields ---- */

/* ${filename} becomes the name that the browser told. */
static char *fill_key(const char *pattern, const char *file)
{
	const char *at = strstr(pattern, "${filename}");

	if (!at)
		return xstrdup(pattern);
	return xasprintf("%.*s%s%s", (int)(at - pattern), pattern, file, at + 11);
}

static int authenticate(struct form *f, struct err *e)
{
	const struct form_parser *p = &f->parser;
	const char *policy = form_value(p, "policy"), *algorithm = form_value(p, "x-amz-algorithm");
	const char *credential = form_value(p, "x-amz-credential");
	const char *signature = form_value(p, "x-amz-signature");

	if (!policy)
		return 0; /* anonymous: the bucket's policy decides */
	if (form_value(p, "awsaccesskeyid"))
		return fail(e, S3_INVALID_REQUEST,
		    "The authorization mechanism you have provided is not supported. Please use "
		    "AWS4-HMAC-SHA256.");
	if (!algorithm || strcmp(algorithm, "AWS4-HMAC-SHA256") != 0 || !credential || !signature)
		return fail(e, S3_INVALID_ARGUMENT,
		    "Bucket POST must contain the fields x-amz-algorithm (AWS4-HMAC-SHA256), "
		    "x-amz-credential and x-amz-signature with the policy.");
	return call_authenticate_text(f->call, str_from(credential),
	    str_from(form_value(p, "x-amz-security-token")), str_from(policy), str_from(signature),
	    e);
}

static int read_metadata(struct form *f, struct object *facts, struct err *e)
{
	const struct form_parser *p = &f->parser;
	struct pair *pairs = call_array(f->call, p->field_count + 1, struct pair);
	size_t n = 0, bytes = 0;

	for (size_t i = 0; i < p->field_count; i++) {
		const char *name = p->fields[i].name;

		if (strncmp(name, "x-amz-meta-", 11) != 0)
			continue;
		pairs[n++] = (struct pair){name + 11, p->fields[i].value};
		bytes += strlen(name + 11) + strlen(p->fields[i].value);
	}
	if (bytes > S3_METADATA_MAX)
		return fail(e, S3_METADATA_TOO_LARGE,
		    "Your metadata headers exceed the maximum allowed metadata size");
	facts->metadata = pairs;
	facts->metadata_count = n;
	return 0;
}

/* What is not understood is refused: who sends it counts on it. */
static int read_field(
    struct form *f, const char *name, const char *value, struct object *facts, struct err *e)
{
	static const char *const known[] = {"x-amz-algorithm", "x-amz-credential", "x-amz-date",
	    "x-amz-signature", "x-amz-security-token", "x-amz-checksum-algorithm"};
	int r;

	if (!strcmp(name, "x-amz-storage-class"))
		return request_class(value, facts, e);
	if (!strcmp(name, "x-amz-website-redirect-location")) {
		facts->redirect = value;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(name, known[i]))
			return 0;
	if (!strcmp(name, "tagging"))
		return request_not_there(f->call, name, e);
	if (strncmp(name, "x-amz-", 6) != 0 || !strncmp(name, "x-amz-meta-", 11))
		return 0;
	r = checksum_field(name, value, &f->intake.sum, e);
	return r == -ENOENT ? request_not_there(f->call, name, e) : r;
}

static int read_facts(struct form *f, struct err *e)
{
	const struct form_parser *p = &f->parser;
	const char *type = form_value(p, "content-type"), *acl = form_value(p, "acl");
	struct object facts = {.etag = "", .version = "null"};
	int r = read_metadata(f, &facts, e);

	if (r == 0 && acl && strcmp(acl, "private") != 0 &&
	    strcmp(acl, "bucket-owner-full-control") != 0)
		r = fail(e, S3_ACCESS_CONTROL_LIST_NOT_SUPPORTED, "The bucket does not allow ACLs");
	for (size_t i = 0; r == 0 && i < p->field_count; i++)
		r = read_field(f, p->fields[i].name, p->fields[i].value, &facts, e);
	if (r < 0)
		return r;
	facts.content_type = type && *type ? type : "binary/octet-stream";
	facts.cache_control = form_value(p, "cache-control");
	facts.content_disposition = form_value(p, "content-disposition");
	facts.content_encoding = form_value(p, "content-encoding");
	facts.expires = form_value(p, "expires");
	f->draft = object_new(&facts);
	return 0;
}

static void read_success(struct form *f)
{
	const struct form_parser *p = &f->parser;
	const char *status = form_value(p, "success_action_status");
	const char *redirect = form_value(p, "success_action_redirect");

	f->status = status && !strcmp(status, "200")   ? 200
		    : status && !strcmp(status, "201") ? 201
						       : 204;
	redirect = redirect ? redirect : form_value(p, "redirect");
	if (redirect && (!strncmp(redirect, "http://", 7) || !strncmp(redirect, "https://", 8)))
		f->redirect = xstrdup(redirect);
}

static int check_key(struct form *f, struct err *e)
{
	const char *pattern = form_value(&f->parser, "key");

	if (!pattern)
		return fail(e, S3_INVALID_ARGUMENT,
		    "Bucket POST must contain a field named 'key'.  If it is specified, please "
		    "check the order of the fields.");
	f->key = fill_key(pattern, f->parser.file_name);
	if (!*f->key || strlen(f->key) > S3_KEY_MAX)
		return fail(e, S3_KEY_TOO_LONG_ERROR, "Your key is too long, or empty");
	if (!utf8_valid(str_from(f->key))) /* the file's name is the browser's */
		return fail(e, S3_INVALID_ARGUMENT, "The key is not UTF-8.");
	return 0;
}

static int on_fields(struct form_parser *p, struct err *e)
{
	struct form *f = container_of(p, struct form, parser);
	int r = check_key(f, e);

	if (r == 0)
		r = authenticate(f, e);
	f->range = (struct form_range){0, S3_PUT_MAX};
	if (r == 0 && form_value(p, "policy"))
		r = form_policy_check(
		    p, f->bucket->name, f->key, s3_now_ms(f->bucket->s3), &f->range, e);
	if (r == 0)
		r = s3_allowed(f->call, f->bucket, "s3:PutObject", f->key, e);
	if (r == 0)
		r = read_facts(f, e);
	if (r < 0)
		return r;
	read_success(f);
	intake_open(&f->intake);
	f->opened = true;
	return 0;
}

/* ---- the file ---- */

static int on_file(struct form_parser *p, const char *data, size_t len, struct err *e)
{
	struct form *f = container_of(p, struct form, parser);

	f->size += len;
	if (f->size > (uint64_t)f->range.max)
		return fail(e, S3_ENTITY_TOO_LARGE,
		    "Your proposed upload exceeds the maximum allowed size");
	if (intake_data(&f->intake, data, len) && !intake_error(&f->intake))
		call_body_pause(f->call);
	return intake_error(&f->intake);
}

static void give_up(struct form *f, int result, struct err *e)
{
	if (f->opened)
		intake_abandon(&f->intake);
	end(f, result, e);
}

static void on_data(struct call *c, const void *data, size_t len)
{
	struct form *f = c->user;
	struct err e = ERR_INIT;
	int r = form_feed(&f->parser, data, len, &e);

	if (r < 0)
		give_up(f, r, &e);
}

static void on_drain(struct intake *in)
{
	struct form *f = container_of(in, struct form, intake);
	struct err e = ERR_INIT;

	if (intake_error(in))
		give_up(f, intake_error(in), &e);
	else
		call_body_resume(f->call);
}

static void on_end(struct call *c)
{
	struct form *f = c->user;
	struct err e = ERR_INIT;

	if (!f->parser.complete)
		give_up(f,
		    fail(&e, S3_MALFORMED_POST_REQUEST,
			"The body of your POST request is not well-formed multipart/form-data."),
		    &e);
	else if (f->size < (uint64_t)f->range.min)
		give_up(f,
		    fail(&e, S3_ENTITY_TOO_SMALL,
			"Your proposed upload is smaller than the minimum allowed size"),
		    &e);
	else {
		f->streaming = false;
		intake_seal(&f->intake);
	}
}

static void on_stop(struct call *c)
{
	struct form *f = c->user;

	if (f->streaming) {
		if (f->opened)
			intake_abandon(&f->intake);
		free_form(f);
		return;
	}
	f->call = f->change.call = NULL;
}

static const struct call_body body = {on_data, on_end};

int form_post(struct call *c, struct str content_type, struct err *e)
{
	struct str path = str_sub(call_path(c), 1);
	const char *name = path.ptr ? call_strn(c, str_cut(&path, '/')) : "";
	struct bucket *b = bucket_find(s3_of(c), name);
	struct form *f;

	if (path.ptr && path.len)
		return AWS_NOT_MINE;
	if (!b)
		return fail(e, S3_NO_SUCH_BUCKET, "The specified bucket does not exist");
	f = xcalloc(1, sizeof(*f));
	f->parser.call = c;
	f->parser.on_fields = on_fields;
	f->parser.on_file = on_file;
	if (!form_open(&f->parser, content_type)) {
		free(f);
		return fail(e, S3_MALFORMED_POST_REQUEST,
		    "The Content-Type of your POST request has no usable boundary.");
	}
	f->call = c;
	f->bucket = bucket_ref(b);
	f->intake.s3 = s3_of(c);
	f->intake.sum.kind = STORE_CRC64NVME;
	f->intake.on_drain = on_drain;
	f->intake.done = on_received;
	f->streaming = true;
	c->user = f;
	call_on_stop(c, on_stop);
	call_body_start(c, &body);
	return CALL_PENDING;
}

int s3_other(struct call *c, struct err *e)
{
	struct str type = http_header(c->http, "content-type");

	if (str_is(c->http->method, "OPTIONS"))
		return cors_preflight(c, e);
	if (str_is(c->http->method, "POST") && type.ptr &&
	    str_has_prefix(type, "multipart/form-data"))
		return form_post(c, type, e);
	return AWS_NOT_MINE;
}
