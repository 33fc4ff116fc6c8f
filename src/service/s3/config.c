/*
 * Configuration documents of buckets: kept as the JSON of their shape (the policy as it was sent),
 * and decoded into an arena, so that the rest of the service reads typed structures. Here is what
 * all kinds share and the simple ones; cors.c, lifecycle.c, notify.c and policy.c have their own
 * rules.
 */
#include "service/s3/config_int.h"

#include "auth/policy.h"

/* ---- the kinds ---- */

struct document {
	struct arena arena;
	void *value;
};

static const char *const shapes[CONFIG_KINDS] = {
    [CONFIG_PUBLIC_ACCESS] = "PublicAccessBlockConfiguration",
    [CONFIG_CORS] = "CORSConfiguration",
    [CONFIG_LIFECYCLE] = "BucketLifecycleConfiguration",
    [CONFIG_NOTIFICATION] = "NotificationConfiguration",
    [CONFIG_TAGGING] = "Tagging",
    [CONFIG_OWNERSHIP] = "OwnershipControls",
    [CONFIG_REQUEST_PAYMENT] = "RequestPaymentConfiguration",
};

static const struct aws_shape *shape_of(enum config_kind kind)
{
	static const struct aws_shape *found[CONFIG_KINDS];

	if (!found[kind])
		found[kind] = aws_shape_find(&s3_service, shapes[kind]);
	check(found[kind]);
	return found[kind];
}

static void drop_document(void *parsed)
{
	struct document *d = parsed;

	arena_done(&d->arena);
	free(d);
}

static void *parse_document(enum config_kind kind, const char *text, struct err *e)
{
	struct document *d = xcalloc(1, sizeof(*d));

	d->value = aws_shape_decode(shape_of(kind), str_from(text), &d->arena, e);
	if (d->value)
		return d;
	drop_document(d);
	return NULL;
}

static void *parse_policy(enum config_kind kind, const char *text, struct err *e)
{
	(void)kind;
	return policy_parse(str_from(text), true, e);
}

static void drop_policy(void *parsed)
{
	policy_free(parsed);
}

const struct config_ops config_ops[CONFIG_KINDS] = {
    [CONFIG_POLICY] = {"policy", parse_policy, drop_policy},
    [CONFIG_PUBLIC_ACCESS] = {"public-access", parse_document, drop_document},
    [CONFIG_CORS] = {"cors", parse_document, drop_document},
    [CONFIG_LIFECYCLE] = {"lifecycle", parse_document, drop_document},
    [CONFIG_NOTIFICATION] = {"notification", parse_document, drop_document},
    [CONFIG_TAGGING] = {"tagging", parse_document, drop_document},
    [CONFIG_OWNERSHIP] = {"ownership", parse_document, drop_document},
    [CONFIG_REQUEST_PAYMENT] = {"request-payment", parse_document, drop_document},
};

const void *config_value(const struct bucket *b, enum config_kind kind)
{
	const struct document *d = b->configs[kind].parsed;

	return d ? d->value : NULL;
}

char *config_text(enum config_kind kind, const void *value)
{
	struct buf out = BUF_INIT;
	char *text;

	aws_shape_encode(shape_of(kind), value, &out);
	text = xstrndup(buf_data(&out), buf_len(&out));
	buf_done(&out);
	return text;
}

int config_put(
    struct call *c, struct bucket *b, enum config_kind kind, const void *value, struct err *e)
{
	_cleanup_free_ char *text = config_text(kind, value);
	void *parsed = config_ops[kind].parse(kind, text, e);

	/* What came in by the same tables goes out by them. */
	check(parsed);
	return bucket_configure(c, b, kind, take_ptr(text), parsed);
}

int config_delete(struct call *c, struct bucket *b, enum config_kind kind)
{
	return bucket_configure(c, b, kind, NULL, NULL);
}

/* ---- tags ---- */

#define BUCKET_TAGS_MAX 50

int s3_put_bucket_tagging(struct call *c, const struct s3_put_bucket_tagging_in *in,
    struct s3_put_bucket_tagging_out *out _unused_, struct err *e)
{
	const struct s3_tag_set *set = in->tagging->tag_set;
	struct pair *pairs = call_array(c, set->count + 1, struct pair);
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketTagging", NULL, &b, e);

	for (size_t i = 0; i < set->count; i++)
		pairs[i] = (struct pair){set->items[i].key, set->items[i].value};
	if (r == 0)
		r = object_tags_check(pairs, set->count, BUCKET_TAGS_MAX, e);
	return r < 0 ? r : config_put(c, b, CONFIG_TAGGING, in->tagging, e);
}

int s3_get_bucket_tagging(struct call *c, const struct s3_get_bucket_tagging_in *in,
    struct s3_get_bucket_tagging_out *out, struct err *e)
{
	const struct s3_tagging *tagging;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketTagging", NULL, &b, e);

	if (r < 0)
		return r;
	tagging = config_value(b, CONFIG_TAGGING);
	if (!tagging)
		return fail(e, S3_NO_SUCH_TAG_SET, "The TagSet does not exist");
	out->tag_set = tagging->tag_set;
	return 0;
}

int s3_delete_bucket_tagging(struct call *c, const struct s3_delete_bucket_tagging_in *in,
    struct s3_delete_bucket_tagging_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketTagging", NULL, &b, e);

	return r < 0 ? r : config_delete(c, b, CONFIG_TAGGING);
}

/* ---- public-access block ---- */

/* As on AWS since April 2023, a bucket that says nothing blocks everything; removing the block is
 * said by one that blocks nothing. */
static const bool yes = true;
static const struct s3_public_access_block_configuration all_blocked = {
    .block_public_acls = &yes,
    .block_public_policy = &yes,
    .ignore_public_acls = &yes,
    .restrict_public_buckets = &yes,
};

const struct s3_public_access_block_configuration *config_public_access(const struct bucket *b)
{
	const void *value = config_value(b, CONFIG_PUBLIC_ACCESS);

	return value ? value : &all_blocked;
}

int s3_put_public_access_block(struct call *c, const struct s3_put_public_access_block_in *in,
    struct s3_put_public_access_block_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketPublicAccessBlock", NULL, &b, e);

	return r < 0 ? r
		     : config_put(
			   c, b, CONFIG_PUBLIC_ACCESS, in->public_access_block_configuration, e);
}

int s3_get_public_access_block(struct call *c, const struct s3_get_public_access_block_in *in,
    struct s3_get_public_access_block_out *out, struct err *e)
{
	const struct s3_public_access_block_configuration *p;
	struct s3_public_access_block_configuration *shown;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketPublicAccessBlock", NULL, &b, e);

	if (r < 0)
		return r;
	p = config_public_access(b);
	if (!p->block_public_acls && !p->block_public_policy && !p->ignore_public_acls &&
	    !p->restrict_public_buckets)
		return fail(e, S3_NO_SUCH_PUBLIC_ACCESS_BLOCK_CONFIGURATION,
		    "The public access block configuration was not found");
	shown = call_new(c, struct s3_public_access_block_configuration);
	shown->block_public_acls = call_bool(c, p->block_public_acls && *p->block_public_acls);
	shown->block_public_policy =
	    call_bool(c, p->block_public_policy && *p->block_public_policy);
	shown->ignore_public_acls = call_bool(c, p->ignore_public_acls && *p->ignore_public_acls);
	shown->restrict_public_buckets =
	    call_bool(c, p->restrict_public_buckets && *p->restrict_public_buckets);
	out->public_access_block_configuration = shown;
	return 0;
}

int s3_delete_public_access_block(struct call *c, const struct s3_delete_public_access_block_in *in,
    struct s3_delete_public_access_block_out *out _unused_, struct err *e)
{
	static const struct s3_public_access_block_configuration none;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketPublicAccessBlock", NULL, &b, e);

	return r < 0 ? r : config_put(c, b, CONFIG_PUBLIC_ACCESS, &none, e);
}

/* ---- ownership: there are no ACLs, so the owner of the bucket owns what is in it ---- */

char *config_ownership_text(const char *ownership)
{
	const struct s3_ownership_controls_rule rule = {.object_ownership = ownership};
	const struct s3_ownership_controls_rules rules = {1, &rule};
	const struct s3_ownership_controls value = {.rules = &rules};

	return config_text(CONFIG_OWNERSHIP, &value);
}

int s3_put_bucket_ownership_controls(struct call *c,
    const struct s3_put_bucket_ownership_controls_in *in,
    struct s3_put_bucket_ownership_controls_out *out _unused_, struct err *e)
{
	const struct s3_ownership_controls_rules *rules = in->ownership_controls->rules;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketOwnershipControls", NULL, &b, e);

	if (r < 0)
		return r;
	if (rules->count != 1)
		return fail(e, S3_MALFORMED_XML,
		    "The XML you provided was not well-formed or did not validate against our "
		    "published schema");
	if (strcmp(rules->items[0].object_ownership, "BucketOwnerEnforced") != 0)
		return fail(e, S3_NOT_IMPLEMENTED,
		    "ACLs are not implemented: BucketOwnerEnforced is the only ownership. Use "
		    "bucket policies.");
	return config_put(c, b, CONFIG_OWNERSHIP, in->ownership_controls, e);
}

int s3_get_bucket_ownership_controls(struct call *c,
    const struct s3_get_bucket_ownership_controls_in *in,
    struct s3_get_bucket_ownership_controls_out *out, struct err *e)
{
	static const struct s3_ownership_controls_rule rule = {
	    .object_ownership = "BucketOwnerEnforced"};
	static const struct s3_ownership_controls_rules rules = {1, &rule};
	static const struct s3_ownership_controls enforced = {.rules = &rules};
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketOwnershipControls", NULL, &b, e);

	if (r == 0)
		out->ownership_controls = &enforced;
	return r;
}

int s3_delete_bucket_ownership_controls(struct call *c,
    const struct s3_delete_bucket_ownership_controls_in *in,
    struct s3_delete_bucket_ownership_controls_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketOwnershipControls", NULL, &b, e);

	return r < 0 ? r : config_delete(c, b, CONFIG_OWNERSHIP);
}

/* ---- who pays: the owner ---- */

int s3_put_bucket_request_payment(struct call *c, const struct s3_put_bucket_request_payment_in *in,
    struct s3_put_bucket_request_payment_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketRequestPayment", NULL, &b, e);

	if (r < 0)
		return r;
	if (strcmp(in->request_payment_configuration->payer, "BucketOwner") != 0)
		return fail(e, S3_NOT_IMPLEMENTED, "Requester pays is not implemented.");
	return config_put(c, b, CONFIG_REQUEST_PAYMENT, in->request_payment_configuration, e);
}

int s3_get_bucket_request_payment(struct call *c, const struct s3_get_bucket_request_payment_in *in,
    struct s3_get_bucket_request_payment_out *out, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketRequestPayment", NULL, &b, e);

	if (r == 0)
		out->payer = "BucketOwner";
	return r;
}
