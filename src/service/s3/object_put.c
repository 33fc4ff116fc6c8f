/*
 * PutObject: the body streams into a file while the client sends it; when it is all there, durable
 * and what the client said it would be, the object changes in one write and the client hears of it.
 */
#include "service/s3/request_int.h"

struct put {
	struct intake intake;
	struct change change;
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	char *key;
	struct object *draft; /* without extents and sums */
	struct write_conditions conditions;
	char *if_match;
	bool streaming;
};

static void free_put(struct put *p)
{
	bucket_unref(p->bucket);
	object_unref(p->draft);
	free(p->key);
	free(p->if_match);
	free(p);
}

static void reply(struct put *p, int result, struct err *e)
{
	struct call *c = p->call;

	if (c && result < 0 && !e->code)
		result = s3_failed(c, result, p->key, e);
	if (c)
		call_reply(c, result, e);
	free_put(p);
}

/* ---- the change ---- */

static void show(struct call *c, const struct change *ch)
{
	struct s3_put_object_out *out = c->out;
	const struct object *o = ch->record;

	out->e_tag = call_printf(c, "\"%s\"", o->etag);
	checksum_show(out, o->checksum_kind, call_str(c, o->checksum));
	out->checksum_type = "FULL_OBJECT";
	out->expiration = lifecycle_expiration(c, ch->bucket, ch->key, o);
	if (strcmp(o->version, "null") != 0)
		out->version_id = call_str(c, o->version);
}

static void on_changed(struct change *ch, int result)
{
	struct put *p = container_of(ch, struct put, change);

	if (result == 0 && p->call)
		show(p->call, ch);
	reply(p, result, &ch->error);
}

static int on_check(struct change *ch, const struct object *current)
{
	struct put *p = container_of(ch, struct put, change);

	return conditions_check(&p->conditions, current, &ch->error);
}

static void on_received(struct intake *in, int result)
{
	struct put *p = container_of(in, struct put, intake);
	struct object facts = *p->draft;
	struct store_extent place;

	if (result < 0) {
		reply(p, result, &in->error);
		return;
	}
	facts.etag = in->etag;
	facts.size = in->sealed.size;
	facts.checksum_kind = in->sum.kind;
	facts.checksum = in->checksum;
	intake_extent(in, &facts, &place);
	p->change = (struct change){.bucket = p->bucket,
	    .key = p->key,
	    .kind = CHANGE_PUT,
	    .call = p->call,
	    .event = "ObjectCreated:Put",
	    .object = object_new(&facts),
	    .approve = on_check,
	    .done = on_changed};
	change_start(&p->change);
}

/* ---- the body ---- */

static void on_stop(struct call *c)
{
	struct put *p = c->user;

	if (p->streaming) {
		intake_abandon(&p->intake);
		free_put(p);
		return;
	}
	p->call = p->change.call = NULL;
}

static void give_up(struct put *p)
{
	struct err e = ERR_INIT;
	int r = intake_error(&p->intake);

	intake_abandon(&p->intake);
	reply(p, r, &e);
}

static void on_data(struct call *c, const void *data, size_t len)
{
	struct put *p = c->user;
	bool full = intake_data(&p->intake, data, len);

	if (intake_error(&p->intake))
		give_up(p);
	else if (full)
		call_body_pause(c);
}

static void on_drain(struct intake *in)
{
	struct put *p = container_of(in, struct put, intake);

	if (intake_error(in))
		give_up(p);
	else
		call_body_resume(p->call);
}

static void on_end(struct call *c)
{
	struct put *p = c->user;
	struct err e = ERR_INIT;
	int r = checksum_trailer(c, &p->intake.sum, &e);

	if (r < 0) {
		intake_abandon(&p->intake);
		reply(p, r, &e);
		return;
	}
	p->streaming = false;
	intake_seal(&p->intake);
}

static const struct call_body body = {on_data, on_end};

int s3_put_object(
    struct call *c, const struct s3_put_object_in *in, struct s3_put_object_out *out, struct err *e)
{
	struct object facts = {.etag = ""};
	struct write_conditions conditions = {0};
	struct intake intake = {0};
	struct bucket *b;
	struct put *p;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutObject", in->key, &b, e);

	(void)out;
	if (r == 0)
		r = request_facts(c, &facts, e);
	if (r == 0)
		r = conditions_parse(c, &conditions, e);
	if (r == 0)
		r = checksum_wanted(c, &intake.sum, e);
	if (r == 0)
		r = request_md5(c, &intake.has_md5, intake.md5, e);
	if (r == 0 && facts.tag_count)
		r = s3_allowed(c, b, "s3:PutObjectTagging", in->key, e);
	if (r == 0 && in->write_offset_bytes)
		r = fail(e, S3_NOT_IMPLEMENTED, "Appending to objects is not implemented.");
	if (r < 0)
		return r;
	p = xcalloc(1, sizeof(*p));
	p->call = c;
	p->bucket = bucket_ref(b);
	p->key = xstrdup(in->key);
	p->draft = object_new(&facts);
	p->if_match = conditions.if_match ? xstrdup(conditions.if_match) : NULL;
	p->conditions =
	    (struct write_conditions){p->if_match, conditions.if_none_match ? "*" : NULL};
	p->intake = intake;
	p->intake.s3 = s3_of(c);
	p->intake.on_drain = on_drain;
	p->intake.done = on_received;
	p->streaming = true;
	c->user = p;
	intake_open(&p->intake);
	call_on_stop(c, on_stop);
	call_body_start(c, &body);
	return CALL_PENDING;
}
