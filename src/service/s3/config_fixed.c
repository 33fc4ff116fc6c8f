/*
 * What a bucket does not have here (ACLs, websites, replication, locks, logging, inventories…):
 * reading answers as AWS does for a bucket without it, so that tools which look at everything go
 * on; asking for it is refused with NotImplemented, so that nobody relies on what is not there.
 */
#include "service/s3/config_int.h"

/* One bucket, one action, one answer. */
static int refuse(struct call *c, const char *bucket, const char *owner, const char *action,
    int code, const char *text, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(c, bucket, owner, action, NULL, &b, e);

	return r < 0 ? r : fail(e, code, "%s", text);
}

static int accept(
    struct call *c, const char *bucket, const char *owner, const char *action, struct err *e)
{
	struct bucket *b;

	return bucket_get(c, bucket, owner, action, NULL, &b, e);
}

/* ---- ACLs: the owner may everything ---- */

static const struct s3_grants *grants_of(struct call *c, const struct s3_owner *owner)
{
	struct s3_grants *list = call_new(c, struct s3_grants);
	struct s3_grant *grant = call_new(c, struct s3_grant);
	struct s3_grantee *grantee = call_new(c, struct s3_grantee);

	*grantee = (struct s3_grantee){
	    .id = owner->id, .display_name = owner->display_name, .type = "CanonicalUser"};
	*grant = (struct s3_grant){.grantee = grantee, .permission = "FULL_CONTROL"};
	*list = (struct s3_grants){1, grant};
	return list;
}

int s3_get_bucket_acl(struct call *c, const struct s3_get_bucket_acl_in *in,
    struct s3_get_bucket_acl_out *out, struct err *e)
{
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:GetBucketAcl", NULL, &b, e);

	if (r < 0)
		return r;
	out->owner = s3_owner_of(c, b->account);
	out->grants = grants_of(c, out->owner);
	return 0;
}

static int only_private(const char *acl, struct err *e)
{
	if (acl && (!strcmp(acl, "private") || !strcmp(acl, "bucket-owner-full-control")))
		return 0;
	return fail(e, S3_ACCESS_CONTROL_LIST_NOT_SUPPORTED, "The bucket does not allow ACLs");
}

int s3_put_bucket_acl(struct call *c, const struct s3_put_bucket_acl_in *in,
    struct s3_put_bucket_acl_out *out _unused_, struct err *e)
{
	int r = accept(c, in->bucket, in->expected_bucket_owner, "s3:PutBucketAcl", e);

	return r < 0 ? r : only_private(in->acl, e);
}

struct acl_wait {
	struct call *call; /* NULL: gone */
	bool show;
};

static void forget(struct call *c)
{
	((struct acl_wait *)c->user)->call = NULL;
}

static void on_object(void *ctx, int result, const struct object *o)
{
	struct acl_wait *w = ctx;
	struct call *c = w->call;
	struct err e = ERR_INIT;
	int r = 0;

	if (!c) {
		free(w);
		return;
	}
	if (result == -ENOENT || (o && o->marker))
		r = fail(&e, S3_NO_SUCH_KEY, "The specified key does not exist.");
	else if (result < 0)
		r = s3_failed(c, result, NULL, &e);
	else if (w->show) {
		struct s3_get_object_acl_out *out = c->out;

		out->owner = s3_owner_of(c, c->account);
		out->grants = grants_of(c, out->owner);
	}
	free(w);
	call_reply(c, r, &e);
}

static int find(struct call *c, struct bucket *b, const char *key, const char *version, bool show)
{
	struct acl_wait *w = xcalloc(1, sizeof(*w));

	*w = (struct acl_wait){c, show};
	c->user = w;
	call_on_stop(c, forget);
	object_find(b, key, version, on_object, w);
	return CALL_PENDING;
}

int s3_get_object_acl(struct call *c, const struct s3_get_object_acl_in *in,
    struct s3_get_object_acl_out *out, struct err *e)
{
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:GetObjectAcl", in->key, &b, e);

	(void)out;
	return r < 0 ? r : find(c, b, in->key, in->version_id, true);
}

int s3_put_object_acl(struct call *c, const struct s3_put_object_acl_in *in,
    struct s3_put_object_acl_out *out, struct err *e)
{
	struct bucket *b;
	int r =
	    bucket_get(c, in->bucket, in->expected_bucket_owner, "s3:PutObjectAcl", in->key, &b, e);

	(void)out;
	if (r == 0)
		r = only_private(in->acl, e);
	return r < 0 ? r : find(c, b, in->key, in->version_id, false);
}

/* ---- reading what is not there ---- */

#define READ_FIXED(function, action, code, text)                                            \
	int s3_get_##function(struct call *c, const struct s3_get_##function##_in *in,      \
	    struct s3_get_##function##_out *out, struct err *e)                             \
	{                                                                                   \
		(void)out;                                                                  \
		return refuse(                                                              \
		    c, in->bucket, in->expected_bucket_owner, "s3:" action, code, text, e); \
	}
#define READ_EMPTY(function, action)                                                      \
	int s3_get_##function(struct call *c, const struct s3_get_##function##_in *in,    \
	    struct s3_get_##function##_out *out, struct err *e)                           \
	{                                                                                 \
		(void)out;                                                                \
		return accept(c, in->bucket, in->expected_bucket_owner, "s3:" action, e); \
	}

READ_FIXED(bucket_website, "GetBucketWebsite", S3_NO_SUCH_WEBSITE_CONFIGURATION,
    "The specified bucket does not have a website configuration")
READ_FIXED(bucket_replication, "GetReplicationConfiguration",
    S3_REPLICATION_CONFIGURATION_NOT_FOUND_ERROR, "The replication configuration was not found")
READ_FIXED(bucket_encryption, "GetEncryptionConfiguration",
    S3_SERVER_SIDE_ENCRYPTION_CONFIGURATION_NOT_FOUND_ERROR,
    "The server side encryption configuration was not found")
READ_FIXED(object_lock_configuration, "GetBucketObjectLockConfiguration",
    S3_OBJECT_LOCK_CONFIGURATION_NOT_FOUND_ERROR,
    "Object Lock configuration does not exist for this bucket")
READ_FIXED(object_retention, "GetObjectRetention", S3_INVALID_REQUEST,
    "Bucket is missing Object Lock Configuration")
READ_FIXED(object_legal_hold, "GetObjectLegalHold", S3_INVALID_REQUEST,
    "Bucket is missing Object Lock Configuration")
READ_FIXED(bucket_analytics_configuration, "GetAnalyticsConfiguration", S3_NO_SUCH_CONFIGURATION,
    "The specified configuration does not exist.")
READ_FIXED(bucket_inventory_configuration, "GetInventoryConfiguration", S3_NO_SUCH_CONFIGURATION,
    "The specified configuration does not exist.")
READ_FIXED(bucket_metrics_configuration, "GetMetricsConfiguration", S3_NO_SUCH_CONFIGURATION,
    "The specified configuration does not exist.")
READ_FIXED(bucket_intelligent_tiering_configuration, "GetIntelligentTieringConfiguration",
    S3_NO_SUCH_CONFIGURATION, "The specified configuration does not exist.")
READ_EMPTY(bucket_accelerate_configuration, "GetAccelerateConfiguration")
READ_EMPTY(bucket_logging, "GetBucketLogging")

#define LIST_EMPTY(function, action)                                                      \
	int s3_list_##function(struct call *c, const struct s3_list_##function##_in *in,  \
	    struct s3_list_##function##_out *out, struct err *e)                          \
	{                                                                                 \
		out->is_truncated = call_bool(c, false);                                  \
		return accept(c, in->bucket, in->expected_bucket_owner, "s3:" action, e); \
	}

LIST_EMPTY(bucket_analytics_configurations, "GetAnalyticsConfiguration")
LIST_EMPTY(bucket_inventory_configurations, "GetInventoryConfiguration")
LIST_EMPTY(bucket_metrics_configurations, "GetMetricsConfiguration")
LIST_EMPTY(bucket_intelligent_tiering_configurations, "GetIntelligentTieringConfiguration")

/* ---- asking for it ---- */

#define PUT_REFUSED(function, action, text)                                            \
	int s3_put_##function(struct call *c, const struct s3_put_##function##_in *in, \
	    struct s3_put_##function##_out *out _unused_, struct err *e)               \
	{                                                                              \
		return refuse(c, in->bucket, in->expected_bucket_owner, "s3:" action,  \
		    S3_NOT_IMPLEMENTED, text, e);                                      \
	}

PUT_REFUSED(bucket_website, "PutBucketWebsite",
    "Website hosting is not implemented: serve the objects by a function URL.")
PUT_REFUSED(bucket_replication, "PutReplicationConfiguration", "Replication is not implemented.")
PUT_REFUSED(bucket_encryption, "PutEncryptionConfiguration",
    "Objects are not encrypted by the server: encrypt the disk that holds them.")
PUT_REFUSED(bucket_accelerate_configuration, "PutAccelerateConfiguration",
    "Transfer acceleration is not implemented.")
PUT_REFUSED(
    bucket_analytics_configuration, "PutAnalyticsConfiguration", "Analytics is not implemented.")
PUT_REFUSED(
    bucket_inventory_configuration, "PutInventoryConfiguration", "Inventories are not implemented.")
PUT_REFUSED(
    bucket_metrics_configuration, "PutMetricsConfiguration", "Request metrics are not implemented.")
PUT_REFUSED(bucket_intelligent_tiering_configuration, "PutIntelligentTieringConfiguration",
    "Tiering is not implemented.")

/* An empty status switches logging off, which it is. */
int s3_put_bucket_logging(struct call *c, const struct s3_put_bucket_logging_in *in,
    struct s3_put_bucket_logging_out *out _unused_, struct err *e)
{
	int r = accept(c, in->bucket, in->expected_bucket_owner, "s3:PutBucketLogging", e);

	if (r == 0 && in->bucket_logging_status->logging_enabled)
		r = fail(e, S3_NOT_IMPLEMENTED, "Server access logging is not implemented.");
	return r;
}

#define DELETE_NOTHING(function, action)                                                     \
	int s3_delete_##function(struct call *c, const struct s3_delete_##function##_in *in, \
	    struct s3_delete_##function##_out *out _unused_, struct err *e)                  \
	{                                                                                    \
		return accept(c, in->bucket, in->expected_bucket_owner, "s3:" action, e);    \
	}
#define DELETE_MISSING(function, action)                                                         \
	int s3_delete_##function(struct call *c, const struct s3_delete_##function##_in *in,     \
	    struct s3_delete_##function##_out *out _unused_, struct err *e)                      \
	{                                                                                        \
		return refuse(c, in->bucket, in->expected_bucket_owner, "s3:" action,            \
		    S3_NO_SUCH_CONFIGURATION, "The specified configuration does not exist.", e); \
	}

DELETE_NOTHING(bucket_website, "DeleteBucketWebsite")
DELETE_NOTHING(bucket_replication, "PutReplicationConfiguration")
DELETE_NOTHING(bucket_encryption, "PutEncryptionConfiguration")
DELETE_MISSING(bucket_analytics_configuration, "PutAnalyticsConfiguration")
DELETE_MISSING(bucket_inventory_configuration, "PutInventoryConfiguration")
DELETE_MISSING(bucket_metrics_configuration, "PutMetricsConfiguration")
DELETE_MISSING(bucket_intelligent_tiering_configuration, "PutIntelligentTieringConfiguration")
