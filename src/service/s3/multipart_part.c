/* CreateMultipartUpload, UploadPart and AbortMultipartUpload. */
#include <stdio.h>
#include <strings.h>

#include "base/rand.h"
#include "service/s3/multipart_int.h"

/* ---- create ---- */

struct creation {
	struct store_write write;
	struct bucket *bucket;
	struct call *call; /* NULL: the client has gone */
};

static void on_created(struct store_write *w, int result)
{
	struct creation *n = container_of(w, struct creation, write);
	struct call *c = n->call;
	struct err e = ERR_INIT;

	if (c && result < 0)
		result = s3_failed(c, result, NULL, &e);
	if (c)
		call_reply(c, result, &e);
	n->bucket->changes--;
	bucket_unref(n->bucket);
	free(n);
}

static void forget_creation(struct call *c)
{
	((struct creation *)c->user)->call = NULL;
}

/* Which sums the parts and the object shall have. Without a wish the object gets a CRC64NVME. */
static int choose_checksum(struct call *c, struct object *facts, struct err *e)
{
	const char *algorithm = request_field(c, "x-amz-checksum-algorithm");
	const char *type = request_field(c, "x-amz-checksum-type");
	bool linear;

	facts->checksum_kind = algorithm ? checksum_kind(algorithm) : STORE_CRC64NVME;
	if (!facts->checksum_kind)
		return fail(e, S3_INVALID_REQUEST,
		    "Checksum algorithm provided is unsupported. Please try again with any of the "
		    "valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
	if (type && !algorithm)
		return fail(e, S3_INVALID_REQUEST,
		    "The x-amz-checksum-type header can only be used with the "
		    "x-amz-checksum-algorithm header.");
	if (type && strcmp(type, "COMPOSITE") != 0 && strcmp(type, "FULL_OBJECT") != 0)
		return fail(
		    e, S3_INVALID_REQUEST, "Value for x-amz-checksum-type header is invalid.");
	linear = facts->checksum_kind & (STORE_CRC32 | STORE_CRC32C | STORE_CRC64NVME);
	facts->checksum_composite =
	    type ? strcmp(type, "COMPOSITE") == 0 : facts->checksum_kind != STORE_CRC64NVME;
	if ((!linear && !facts->checksum_composite) ||
	    (facts->checksum_kind == STORE_CRC64NVME && facts->checksum_composite))
		return fail(e, S3_INVALID_REQUEST,
		    "The %s checksum type cannot be used with the %s checksum algorithm.", type,
		    checksum_name(facts->checksum_kind));
	/* Absent: the client did not choose, and need not send sums of parts. */
	facts->checksum = algorithm ? "chosen" : NULL;
	return 0;
}

int s3_create_multipart_upload(struct call *c, const struct s3_create_multipart_upload_in *in,
    struct s3_create_multipart_upload_out *out, struct err *e)
{
	struct object facts = {.etag = ""};
	struct buf row = BUF_INIT, value = BUF_INIT;
	char id[UPLOAD_ID_LEN + 1], space[SPACE_SIZE];
	struct creation *n;
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutObject", in->key, &b, e);

	if (r == 0)
		r = request_facts(c, &facts, e);
	if (r == 0 && facts.tag_count)
		r = s3_allowed(c, b, "s3:PutObjectTagging", in->key, e);
	if (r == 0)
		r = choose_checksum(c, &facts, e);
	if (r < 0)
		return r;
	facts.seq = next_seq(s3_of(c), 0);
	facts.modified_ms = s3_now_ms(s3_of(c));
	snprintf(id, sizeof(id), "%016" PRIx64, facts.seq);
	rand_hex(id + 16, UPLOAD_ID_LEN - 16);
	facts.upload = id;
	out->bucket = call_str(c, b->name);
	out->key = call_str(c, in->key);
	out->upload_id = call_str(c, id);
	if (facts.checksum) {
		out->checksum_algorithm = checksum_name(facts.checksum_kind);
		out->checksum_type = facts.checksum_composite ? "COMPOSITE" : "FULL_OBJECT";
	}
	n = xcalloc(1, sizeof(*n));
	n->bucket = bucket_ref(b);
	n->call = c;
	b->changes++;
	c->user = n;
	call_on_stop(c, forget_creation);
	store_write_init(&n->write, on_created);
	bucket_space(b, 'u', space);
	upload_row(&row, in->key, id);
	object_encode(&facts, &value);
	store_put(&n->write, space, buf_str(&row), buf_str(&value), STORE_ANY);
	store_commit(s3_of(c)->options.store, &n->write);
	buf_done(&row);
	buf_done(&value);
	return CALL_PENDING;
}

/* ---- upload a part ---- */

struct part_put {
	struct intake intake;
	struct part_commit commit;
	struct call *call; /* NULL: the client has gone */
	struct bucket *bucket;
	char *key, *id;
	unsigned number;
	unsigned kept; /* kind of sum that the upload keeps */
	enum { LOOKING, STREAMING, ENDING } stage;
};

static void free_put(struct part_put *p)
{
	bucket_unref(p->bucket);
	free(p->key);
	free(p->id);
	free(p);
}

static void reply(struct part_put *p, int result, struct err *e)
{
	struct call *c = p->call;

	if (c && result == -ENOENT && !e->code)
		result = upload_missing(c, p->id, e);
	else if (c && result < 0 && !e->code)
		result = s3_failed(c, result, p->key, e);
	if (c)
		call_reply(c, result, e);
	free_put(p);
}

static void on_committed(struct part_commit *commit, int result)
{
	struct part_put *p = container_of(commit, struct part_put, commit);
	struct err e = ERR_INIT;

	if (result == 0 && p->call) {
		struct s3_upload_part_out *out = p->call->out;

		out->e_tag = call_printf(p->call, "\"%s\"", p->intake.etag);
		checksum_show(out, p->intake.sum.kind, call_str(p->call, p->intake.checksum));
	}
	reply(p, result, &e);
}

static void on_received(struct intake *in, int result)
{
	struct part_put *p = container_of(in, struct part_put, intake);
	char sum[CHECKSUM_SIZE];
	struct object facts = {.version = "null",
	    .etag = in->etag,
	    .size = in->sealed.size,
	    .modified_ms = s3_now_ms(in->s3),
	    .checksum_kind = p->kept,
	    .checksum = sum};
	struct store_extent place;

	if (result < 0) {
		reply(p, result, &in->error);
		return;
	}
	checksum_text(p->kept, &in->sealed.hashes, sum);
	intake_extent(in, &facts, &place);
	p->commit = (struct part_commit){.bucket = p->bucket,
	    .key = p->key,
	    .id = p->id,
	    .number = p->number,
	    .part = object_new(&facts),
	    .done = on_committed};
	part_commit_start(&p->commit);
}

static void on_stop(struct call *c)
{
	struct part_put *p = c->user;

	p->call = NULL;
	if (p->stage == STREAMING) {
		intake_abandon(&p->intake);
		free_put(p);
	}
}

static void give_up(struct part_put *p, int result, struct err *e)
{
	intake_abandon(&p->intake);
	reply(p, result, e);
}

static void on_data(struct call *c, const void *data, size_t len)
{
	struct part_put *p = c->user;
	struct err e = ERR_INIT;
	bool full = intake_data(&p->intake, data, len);

	if (intake_error(&p->intake))
		give_up(p, intake_error(&p->intake), &e);
	else if (full)
		call_body_pause(c);
}

static void on_drain(struct intake *in)
{
	struct part_put *p = container_of(in, struct part_put, intake);
	struct err e = ERR_INIT;

	if (intake_error(in))
		give_up(p, intake_error(in), &e);
	else
		call_body_resume(p->call);
}

static void on_end(struct call *c)
{
	struct part_put *p = c->user;
	struct err e = ERR_INIT;
	int r = checksum_trailer(c, &p->intake.sum, &e);

	if (r < 0) {
		give_up(p, r, &e);
		return;
	}
	p->stage = ENDING;
	intake_seal(&p->intake);
}

static const struct call_body body = {on_data, on_end};

/* A sum of the client's own choice is checked; the one that the upload keeps is taken too. */
static int match_checksum(struct part_put *p, const struct object *upload, struct err *e)
{
	struct checksum_want *w = &p->intake.sum;

	p->kept = upload->checksum_kind;
	if (!w->value[0] && !w->in_trailer)
		w->kind = p->kept;
	if (upload->checksum && w->kind != p->kept)
		return fail(e, S3_INVALID_REQUEST,
		    "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum "
		    "Type: %s",
		    checksum_name(p->kept), checksum_name(w->kind));
	p->intake.also = p->kept;
	return 0;
}

static void on_upload(void *ctx, int result, const struct object *upload)
{
	struct part_put *p = ctx;
	struct err e = ERR_INIT;

	if (!p->call) {
		free_put(p);
		return;
	}
	if (result == 0)
		result = match_checksum(p, upload, &e);
	if (result < 0) {
		reply(p, result, &e);
		return;
	}
	p->stage = STREAMING;
	intake_open(&p->intake);
	call_body_start(p->call, &body);
}

int s3_upload_part(struct call *c, const struct s3_upload_part_in *in,
    struct s3_upload_part_out *out, struct err *e)
{
	struct intake intake = {0};
	struct bucket *b;
	struct part_put *p;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutObject", in->key, &b, e);

	(void)out;
	if (r == 0 && (*in->part_number < 1 || *in->part_number > S3_PARTS_MAX)) {
		call_error_member(c, "ArgumentName", "partNumber");
		r = fail(e, S3_INVALID_ARGUMENT,
		    "Part number must be an integer between 1 and 10000, inclusive");
	}
	if (r == 0)
		r = request_encryption(c, e);
	if (r == 0)
		r = checksum_wanted(c, &intake.sum, e);
	if (r == 0)
		r = request_md5(c, &intake.has_md5, intake.md5, e);
	if (r < 0)
		return r;
	p = xcalloc(1, sizeof(*p));
	p->call = c;
	p->bucket = bucket_ref(b);
	p->key = xstrdup(in->key);
	p->id = xstrdup(in->upload_id);
	p->number = (unsigned)*in->part_number;
	p->intake = intake;
	p->intake.s3 = s3_of(c);
	p->intake.on_drain = on_drain;
	p->intake.done = on_received;
	c->user = p;
	call_on_stop(c, on_stop);
	upload_find(b, p->key, p->id, on_upload, p);
	return CALL_PENDING;
}

/* ---- abort ---- */

struct abortion {
	struct call *call; /* NULL: the client has gone */
	char *id;
};

static void on_aborted(void *ctx, int result)
{
	struct abortion *a = ctx;
	struct call *c = a->call;
	struct err e = ERR_INIT;

	if (c && result == -ENOENT)
		result = upload_missing(c, a->id, &e);
	else if (c && result < 0)
		result = s3_failed(c, result, NULL, &e);
	if (c)
		call_reply(c, result, &e);
	free(a->id);
	free(a);
}

static void forget_abortion(struct call *c)
{
	((struct abortion *)c->user)->call = NULL;
}

int s3_abort_multipart_upload(struct call *c, const struct s3_abort_multipart_upload_in *in,
    struct s3_abort_multipart_upload_out *out, struct err *e)
{
	struct abortion *a;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:AbortMultipartUpload", in->key, &b, e);

	(void)out;
	if (r < 0)
		return r;
	a = xcalloc(1, sizeof(*a));
	a->call = c;
	a->id = xstrdup(in->upload_id);
	c->user = a;
	call_on_stop(c, forget_abortion);
	upload_abort(b, in->key, in->upload_id, on_aborted, a);
	return CALL_PENDING;
}
