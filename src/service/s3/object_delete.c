/* DeleteObject and DeleteObjects: up to a thousand changes at once, which share their commits. */
#include "service/s3/read_int.h"
#include "service/s3/request_int.h"

/* ---- one ---- */

struct deletion {
	struct change change;
	struct call *call; /* NULL: the client has gone */
	const struct s3_delete_object_in *in;
	char *if_match;
};

static int on_check(struct change *ch, const struct object *current)
{
	struct deletion *d = container_of(ch, struct deletion, change);

	if (!d->if_match)
		return 0;
	if (!current)
		return fail(&ch->error, S3_NO_SUCH_KEY, "The specified key does not exist.");
	if (current->marker || !etag_matches(d->if_match, current->etag))
		return fail(&ch->error, S3_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	return 0;
}

static void on_deleted(struct change *ch, int result)
{
	struct deletion *d = container_of(ch, struct deletion, change);
	struct call *c = d->call;
	struct s3_delete_object_out *out = c ? c->out : NULL;

	if (result == -ENOENT)
		result = 0; /* what is not there is deleted */
	if (c && result == 0 && ch->version)
		out->version_id = call_str(c, ch->version);
	if (c && result == 0 && ch->marker) {
		out->delete_marker = call_bool(c, true);
		out->version_id = call_str(c, ch->marker->version);
	} else if (c && result == 0 && ch->record && ch->record->marker) {
		out->delete_marker = call_bool(c, true);
	}
	if (c && result < 0 && !ch->error.code)
		result = s3_failed(c, result, ch->key, &ch->error);
	if (c)
		call_reply(c, result, &ch->error);
	free(d->if_match);
	free(d);
}

static void on_stop(struct call *c)
{
	struct deletion *d = c->user;

	d->call = d->change.call = NULL;
}

int s3_delete_object(struct call *c, const struct s3_delete_object_in *in,
    struct s3_delete_object_out *out, struct err *e)
{
	struct deletion *d;
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner,
	    in->version_id ? "s3:DeleteObjectVersion" : "s3:DeleteObject", in->key, &b, e);

	(void)out;
	if (r == 0)
		r = version_check(in->version_id, e);
	if (r == 0 && (in->if_match_last_modified_time || in->if_match_size))
		r = fail(e, S3_NOT_IMPLEMENTED,
		    "A header you provided implies functionality that is not implemented");
	if (r < 0)
		return r;
	d = xcalloc(1, sizeof(*d));
	d->call = c;
	d->if_match = in->if_match ? xstrdup(in->if_match) : NULL;
	d->change = (struct change){.bucket = b,
	    .key = in->key,
	    .kind = CHANGE_DELETE,
	    .call = c,
	    .version = in->version_id,
	    .approve = on_check,
	    .done = on_deleted};
	c->user = d;
	call_on_stop(c, on_stop);
	change_start(&d->change);
	return CALL_PENDING;
}

/* ---- many ---- */

struct many;

struct one {
	struct change change;
	struct many *all;
	char *if_match;
	struct s3_deleted_object deleted; /* key NULL: it was an error */
	struct s3_error_ error;
};

struct many {
	struct call *call; /* NULL: the client has gone */
	size_t count, left;
	bool quiet;
	struct one *items;
};

static void reply_many(struct many *m)
{
	struct call *c = m->call;
	struct s3_delete_objects_out *out = c->out;
	struct s3_deleted_objects *deleted = call_new(c, struct s3_deleted_objects);
	struct s3_errors *errors = call_new(c, struct s3_errors);
	struct s3_deleted_object *gone = call_array(c, m->count, struct s3_deleted_object);
	struct s3_error_ *failed = call_array(c, m->count, struct s3_error_);

	for (size_t i = 0; i < m->count; i++) {
		if (m->items[i].error.key)
			failed[errors->count++] = m->items[i].error;
		else if (!m->quiet)
			gone[deleted->count++] = m->items[i].deleted;
	}
	deleted->items = gone;
	errors->items = failed;
	out->deleted = deleted;
	out->errors = errors;
	call_reply(c, 0, NULL);
}

static void one_done(struct many *m)
{
	if (--m->left)
		return;
	if (m->call)
		reply_many(m);
	for (size_t i = 0; i < m->count; i++)
		free(m->items[i].if_match);
	free(m->items);
	free(m);
}

static void refuse_one(
    struct one *o, const char *code, const char *message, const char *key, const char *version)
{
	struct call *c = o->all->call;

	o->error = (struct s3_error_){.key = call_str(c, key),
	    .code = code,
	    .message = call_str(c, message),
	    .version_id = call_str(c, version)};
}

static const char *code_name(const struct call *c, int code)
{
	for (size_t i = 0; i < c->service->error_count; i++)
		if (c->service->errors[i].code == code)
			return c->service->errors[i].wire;
	return "InternalError";
}

static int on_check_one(struct change *ch, const struct object *current)
{
	struct one *o = container_of(ch, struct one, change);

	if (o->if_match &&
	    (!current || current->marker || !etag_matches(o->if_match, current->etag)))
		return fail(&ch->error, S3_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	return 0;
}

static void on_one_deleted(struct change *ch, int result)
{
	struct one *o = container_of(ch, struct one, change);
	struct call *c = o->all->call;

	if (c && result < 0 && result != -ENOENT) {
		if (!ch->error.code)
			s3_failed(c, result, NULL, &ch->error);
		refuse_one(o, code_name(c, ch->error.code), ch->error.msg, ch->key, ch->version);
	} else if (c) {
		o->deleted.key = call_str(c, ch->key);
		o->deleted.version_id = call_str(c, ch->version);
		if (ch->marker) {
			o->deleted.delete_marker = call_bool(c, true);
			o->deleted.delete_marker_version_id = call_str(c, ch->marker->version);
		} else if (ch->record && ch->record->marker) {
			o->deleted.delete_marker = call_bool(c, true);
			o->deleted.delete_marker_version_id = call_str(c, ch->record->version);
		}
	}
	one_done(o->all);
}

static void forget_many(struct call *c)
{
	struct many *m = c->user;

	m->call = NULL;
	for (size_t i = 0; i < m->count; i++)
		m->items[i].change.call = NULL;
}

static void start_one(
    struct many *m, struct one *o, struct bucket *b, const struct s3_object_identifier *id)
{
	struct call *c = m->call;
	struct err e = ERR_INIT;
	int r = s3_allowed(
	    c, b, id->version_id ? "s3:DeleteObjectVersion" : "s3:DeleteObject", id->key, &e);

	o->all = m;
	if (r == 0 && (strlen(id->key) > S3_KEY_MAX || !*id->key))
		r = fail(&e, S3_KEY_TOO_LONG_ERROR, "Your key is too long");
	if (r == 0 && id->version_id && !version_valid(id->version_id))
		r = fail(&e, S3_NO_SUCH_VERSION, "The specified version does not exist.");
	if (r < 0) {
		refuse_one(o, code_name(c, e.code), e.msg, id->key, id->version_id);
		one_done(m);
		return;
	}
	o->if_match = id->e_tag ? xstrdup(id->e_tag) : NULL;
	o->change = (struct change){.bucket = b,
	    .key = id->key,
	    .kind = CHANGE_DELETE,
	    .call = c,
	    .version = id->version_id,
	    .approve = on_check_one,
	    .done = on_one_deleted};
	change_start(&o->change);
}

int s3_delete_objects(struct call *c, const struct s3_delete_objects_in *in,
    struct s3_delete_objects_out *out, struct err *e)
{
	const struct s3_object_identifier_list *list = in->delete->objects;
	struct many *m;
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner, NULL, NULL, &b, e);

	(void)out;
	if (r == 0)
		r = checksum_document(c, e);
	if (r < 0)
		return r;
	if (list->count == 0 || list->count > S3_LIST_MAX)
		return fail(e, S3_MALFORMED_XML,
		    "The XML you provided was not well-formed or did not validate against our "
		    "published schema");
	m = xcalloc(1, sizeof(*m));
	m->call = c;
	m->count = list->count;
	m->left = list->count + 1; /* one for this function */
	m->quiet = in->delete->quiet && *in->delete->quiet;
	m->items = xcalloc(list->count, sizeof(*m->items));
	c->user = m;
	call_on_stop(c, forget_many);
	for (size_t i = 0; i < list->count; i++)
		start_one(m, &m->items[i], b, &list->items[i]);
	one_done(m);
	return CALL_PENDING;
}
