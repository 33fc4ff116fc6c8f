/* Operations on buckets: create, look, list, delete, where they are. */
#include <stdio.h>

#include "base/rand.h"
#include "service/s3/bucket_int.h"
#include "service/s3/config_int.h"
#include "service/s3/multipart_int.h"

#define BUCKETS_MAX 10000
#define DEFAULT_REGION "us-east-1"

/* ---- names ---- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_address(struct str s)
{
	unsigned dots = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] != '.' && !(s.ptr[i] >= '0' && s.ptr[i] <= '9'))
			return false;
		dots += s.ptr[i] == '.';
	}
	return dots == 3;
}

bool bucket_name_valid(struct str name)
{
	if (name.len < 3 || name.len > 63 || !is_alnum(name.ptr[0]) ||
	    !is_alnum(name.ptr[name.len - 1]))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!is_alnum(name.ptr[i]) && name.ptr[i] != '-' &&
		    !(name.ptr[i] == '.' && name.ptr[i + 1] != '.'))
			return false;
	return !is_address(name) && !str_has_prefix(name, "xn--") &&
	       !str_has_prefix(name, "sthree-") && !str_has_suffix(name, "-s3alias") &&
	       !str_has_suffix(name, "--ol-s3");
}

int bucket_get(struct call *c, const char *name, const char *expected_owner, const char *action,
    const char *key, struct bucket **ret, struct err *e)
{
	struct bucket *b = bucket_find(s3_of(c), name);
	int r;

	if (!b && !bucket_name_valid(str_from(name))) {
		call_error_member(c, "BucketName", call_str(c, name));
		return fail(e, S3_INVALID_BUCKET_NAME, "The specified bucket is not valid.");
	}
	if (!b) {
		call_error_member(c, "BucketName", call_str(c, name));
		return fail(e, S3_NO_SUCH_BUCKET, "The specified bucket does not exist");
	}
	if (expected_owner && strcmp(expected_owner, b->account) != 0)
		return fail(e, S3_ACCESS_DENIED, "Access Denied");
	if (key && strlen(key) > S3_KEY_MAX) {
		call_error_member(c, "MaxSizeAllowed", "1024");
		return fail(e, S3_KEY_TOO_LONG_ERROR, "Your key is too long");
	}
	r = action ? s3_allowed(c, b, action, key, e) : 0;
	if (r == 0)
		*ret = b;
	return r;
}

/* ---- CreateBucket ---- */

struct creation {
	struct store_write write;
	struct bucket *bucket;
	struct call *call;
};

static void on_created(struct store_write *w, int result)
{
	struct creation *n = container_of(w, struct creation, write);
	struct call *c = n->call;
	struct err e = ERR_INIT;

	n->bucket->making = false;
	if (result < 0)
		bucket_remove(n->bucket);
	if (c && result < 0)
		result = s3_failed(c, result, NULL, &e);
	if (c)
		call_reply(c, result, &e);
	free(n);
}

static void forget_creation(struct call *c)
{
	((struct creation *)c->user)->call = NULL;
}

static int find_region(
    struct call *c, const struct s3_create_bucket_in *in, const char **ret, struct err *e)
{
	const char *wanted = in->create_bucket_configuration
				 ? in->create_bucket_configuration->location_constraint
				 : NULL;

	if (wanted && !*wanted)
		wanted = NULL;
	if (wanted && strcmp(wanted, "EU") == 0)
		wanted = "eu-west-1";
	if (!wanted && strcmp(c->region, DEFAULT_REGION) != 0)
		return fail(e, S3_ILLEGAL_LOCATION_CONSTRAINT_EXCEPTION,
		    "The unspecified location constraint is incompatible for the region specific "
		    "endpoint this request was sent to.");
	if (wanted && strcmp(wanted, DEFAULT_REGION) == 0)
		return fail(e, S3_INVALID_LOCATION_CONSTRAINT,
		    "The specified location-constraint is not valid");
	if (wanted && strcmp(wanted, c->region) != 0 && strcmp(c->region, DEFAULT_REGION) != 0)
		return fail(e, S3_ILLEGAL_LOCATION_CONSTRAINT_EXCEPTION,
		    "The %s location constraint is incompatible for the region specific endpoint "
		    "this request was sent to.",
		    wanted);
	if (wanted &&
	    (strlen(wanted) > 32 ||
		strspn(wanted, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(wanted)))
		return fail(e, S3_INVALID_LOCATION_CONSTRAINT,
		    "The specified location-constraint is not valid");
	*ret = wanted ? wanted : DEFAULT_REGION;
	return 0;
}

static int check_new(struct call *c, const struct s3_create_bucket_in *in, struct err *e)
{
	const struct bucket *b = map_get(&s3_of(c)->buckets, str_from(in->bucket));

	if (c->principal.type == AWS_ANONYMOUS)
		return fail(e, S3_ACCESS_DENIED, "Anonymous users cannot create buckets.");
	if (!bucket_name_valid(str_from(in->bucket)))
		return fail(e, S3_INVALID_BUCKET_NAME, "The specified bucket is not valid.");
	if (in->object_lock_enabled_for_bucket && *in->object_lock_enabled_for_bucket)
		return fail(e, S3_NOT_IMPLEMENTED, "Object lock is not implemented.");
	if (in->object_ownership && strcmp(in->object_ownership, "BucketOwnerEnforced") != 0)
		return fail(e, S3_NOT_IMPLEMENTED,
		    "ACLs are not implemented: BucketOwnerEnforced is the only ownership. Use "
		    "bucket policies.");
	if (b && (b->making || b->deleting))
		return fail(e, S3_OPERATION_ABORTED,
		    "A conflicting conditional operation is currently in progress against this "
		    "resource. Please try again.");
	if (b && strcmp(b->account, c->account) == 0)
		return fail(e, S3_BUCKET_ALREADY_OWNED_BY_YOU,
		    "Your previous request to create the named bucket succeeded and you already "
		    "own it.");
	if (b)
		return fail(e, S3_BUCKET_ALREADY_EXISTS,
		    "The requested bucket name is not available. The bucket namespace is shared by "
		    "all users of the system. Please select a different name and try again.");
	if (s3_of(c)->bucket_count >= BUCKETS_MAX)
		return fail(e, S3_TOO_MANY_BUCKETS,
		    "You have attempted to create more buckets than allowed");
	return 0;
}

/* Who asks in us-east-1 for a bucket that is his already gets it again. */
static bool is_again(struct call *c, const struct s3_create_bucket_in *in, const char *region)
{
	const struct bucket *b = bucket_find(s3_of(c), in->bucket);

	return b && c->principal.type != AWS_ANONYMOUS && strcmp(b->account, c->account) == 0 &&
	       strcmp(region, DEFAULT_REGION) == 0 && strcmp(b->region, DEFAULT_REGION) == 0;
}

static void set_ownership(struct bucket *b, const struct s3_create_bucket_in *in, struct err *e)
{
	struct config *g = &b->configs[CONFIG_OWNERSHIP];

	if (!in->object_ownership)
		return;
	g->text = config_ownership_text(in->object_ownership);
	g->parsed = config_ops[CONFIG_OWNERSHIP].parse(CONFIG_OWNERSHIP, g->text, e);
}

int s3_create_bucket(struct call *c, const struct s3_create_bucket_in *in,
    struct s3_create_bucket_out *out, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const char *region = NULL;
	struct creation *n;
	struct bucket *b;
	int r = find_region(c, in, &region, e);

	if (r < 0)
		return r;
	out->location = call_printf(c, "/%s", in->bucket);
	if (is_again(c, in, region))
		return 0;
	r = check_new(c, in, e);
	if (r == 0 && in->acl && strcmp(in->acl, "private") != 0)
		r = fail(e, S3_INVALID_BUCKET_ACL_WITH_OBJECT_OWNERSHIP,
		    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced "
		    "setting");
	if (r < 0)
		return r;
	b = bucket_add(s3_of(c), in->bucket);
	b->making = true;
	snprintf(b->account, sizeof(b->account), "%s", c->account);
	snprintf(b->region, sizeof(b->region), "%s", region);
	rand_hex(b->id, 16);
	b->created_ms = s3_now_ms(s3_of(c)) / 1000 * 1000;
	set_ownership(b, in, e);
	n = xcalloc(1, sizeof(*n));
	n->bucket = b;
	n->call = c;
	c->user = n;
	call_on_stop(c, forget_creation);
	text = bucket_text(b);
	store_write_init(&n->write, on_created);
	store_put(&n->write, "s3buckets", str_from(b->name), str_from(text), STORE_ABSENT);
	store_commit(s3_of(c)->options.store, &n->write);
	return CALL_PENDING;
}

/* ---- looking ---- */

int s3_head_bucket(struct call *c, const struct s3_head_bucket_in *in,
    struct s3_head_bucket_out *out, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:ListBucket", NULL, &b, e);

	if (r < 0)
		return r;
	out->bucket_region = call_str(c, b->region);
	out->bucket_arn = s3_arn(c, b, NULL);
	out->access_point_alias = call_bool(c, false);
	return 0;
}

int s3_get_bucket_location(struct call *c, const struct s3_get_bucket_location_in *in,
    struct s3_get_bucket_location_out *out, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketLocation", NULL, &b, e);

	if (r < 0)
		return r;
	out->location_constraint =
	    strcmp(b->region, DEFAULT_REGION) == 0 ? NULL : call_str(c, b->region);
	return 0;
}

static bool is_listed(struct call *c, const struct bucket *b, const struct s3_list_buckets_in *in)
{
	return !b->making && !b->deleting && strcmp(b->account, c->account) == 0 &&
	       (!in->prefix || strncmp(b->name, in->prefix, strlen(in->prefix)) == 0) &&
	       (!in->bucket_region || strcmp(b->region, in->bucket_region) == 0);
}

int s3_list_buckets(struct call *c, const struct s3_list_buckets_in *in,
    struct s3_list_buckets_out *out, struct err *e)
{
	struct s3 *s = s3_of(c);
	struct s3_buckets *all = call_new(c, struct s3_buckets);
	struct s3_bucket *items = call_array(c, s->bucket_count, struct s3_bucket);
	size_t max = in->max_buckets ? (size_t)*in->max_buckets : BUCKETS_MAX;

	if (c->principal.type == AWS_ANONYMOUS)
		return fail(e, S3_ACCESS_DENIED, "Access Denied");
	for (size_t i = 0; i < s->bucket_count; i++) {
		const struct bucket *b = s->sorted[i];

		if (!is_listed(c, b, in) ||
		    (in->continuation_token && strcmp(b->name, in->continuation_token) < 0))
			continue;
		if (all->count == max) {
			out->continuation_token = call_str(c, b->name);
			break;
		}
		items[all->count++] = (struct s3_bucket){.name = call_str(c, b->name),
		    .bucket_region =
			in->max_buckets || in->bucket_region ? call_str(c, b->region) : NULL,
		    .creation_date = call_int(c, b->created_ms)};
	}
	all->items = items;
	out->buckets = all;
	out->owner = s3_owner_of(c, c->account);
	out->prefix = call_str(c, in->prefix);
	return 0;
}

/* ---- DeleteBucket: nothing may be in it but unfinished uploads, which go with it ---- */

struct deletion {
	struct store_write write;
	struct bucket *bucket;
	struct call *call;
	bool used;
};

static void end_deletion(struct deletion *d, int result)
{
	struct call *c = d->call;
	struct err e = ERR_INIT;

	if (result < 0)
		d->bucket->deleting = false;
	if (c && result == -ENOTEMPTY)
		result = fail(&e, S3_BUCKET_NOT_EMPTY,
		    d->bucket->versioning == VERSIONING_NEVER
			? "The bucket you tried to delete is not empty"
			: "The bucket you tried to delete is not empty. You must delete all "
			  "versions in the bucket.");
	else if (c && result < 0)
		result = s3_failed(c, result, NULL, &e);
	if (c)
		call_reply(c, result, &e);
	bucket_unref(d->bucket);
	free(d);
}

static void on_deleted(struct store_write *w, int result)
{
	struct deletion *d = container_of(w, struct deletion, write);

	if (result == 0)
		bucket_remove(d->bucket);
	end_deletion(d, result);
}

static void on_uploads_gone(void *ctx, int result)
{
	struct deletion *d = ctx;

	if (result < 0) {
		end_deletion(d, result);
		return;
	}
	store_write_init(&d->write, on_deleted);
	store_delete(&d->write, "s3buckets", str_from(d->bucket->name), STORE_ANY);
	store_commit(d->bucket->s3->options.store, &d->write);
}

static enum store_step on_row(
    void *ctx, struct str row, struct str value, int64_t version, struct buf *seek)
{
	(void)row;
	(void)value;
	(void)version;
	(void)seek;
	((struct deletion *)ctx)->used = true;
	return STORE_STOP;
}

static void on_looked(void *ctx, int result)
{
	struct deletion *d = ctx;

	if (result == 0 && d->used)
		result = -ENOTEMPTY;
	if (result < 0)
		end_deletion(d, result);
	else
		uploads_abort_all(d->bucket, on_uploads_gone, d);
}

static void forget_deletion(struct call *c)
{
	((struct deletion *)c->user)->call = NULL;
}

int s3_delete_bucket(struct call *c, const struct s3_delete_bucket_in *in,
    struct s3_delete_bucket_out *out, struct err *e)
{
	struct deletion *d;
	struct bucket *b;
	char space[SPACE_SIZE];
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:DeleteBucket", NULL, &b, e);

	(void)out;
	if (r < 0)
		return r;
	if (b->changes || !list_empty(&b->edits))
		return s3_failed(c, -ESTALE, NULL, e);
	d = xcalloc(1, sizeof(*d));
	d->bucket = bucket_ref(b);
	d->call = c;
	c->user = d;
	call_on_stop(c, forget_deletion);
	b->deleting = true;
	bucket_space(b, 'o', space);
	store_walk(s3_of(c)->options.store, space, STR(""), on_row, on_looked, d);
	return CALL_PENDING;
}

/* ---- versioning ---- */

int s3_get_bucket_versioning(struct call *c, const struct s3_get_bucket_versioning_in *in,
    struct s3_get_bucket_versioning_out *out, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketVersioning", NULL, &b, e);

	if (r < 0)
		return r;
	if (b->versioning != VERSIONING_NEVER)
		out->status = b->versioning == VERSIONING_ENABLED ? "Enabled" : "Suspended";
	return 0;
}

int s3_put_bucket_versioning(struct call *c, const struct s3_put_bucket_versioning_in *in,
    struct s3_put_bucket_versioning_out *out, struct err *e)
{
	const struct s3_versioning_configuration *v = in->versioning_configuration;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketVersioning", NULL, &b, e);

	(void)out;
	if (r < 0)
		return r;
	if (v->mfa_delete && strcmp(v->mfa_delete, "Enabled") == 0)
		return fail(e, S3_NOT_IMPLEMENTED, "MFA delete is not implemented.");
	if (!v->status)
		return fail(e, S3_ILLEGAL_VERSIONING_CONFIGURATION_EXCEPTION,
		    "The Versioning element must be specified");
	return bucket_set_versioning(
	    c, b, strcmp(v->status, "Enabled") == 0 ? VERSIONING_ENABLED : VERSIONING_SUSPENDED);
}
