/* Start and end of the S3 service: buckets are read into memory, virtual hosts become paths. */
#include <openssl/sha.h>
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "service/s3/bucket_int.h"
#include "service/s3/s3_int.h"

#define CACHE_BYTES (64u << 20)

static int on_stored(void *ctx, struct str key, struct str value, int64_t version)
{
	struct s3 *s = ctx;
	struct err e = ERR_INIT;

	(void)version;
	if (bucket_load(s, value, &e) < 0)
		log_error("s3: bucket %.*s cannot be read: %s", STR_FMT(key), e.msg);
	return 0;
}

struct s3 *s3_open(const struct s3_options *o, struct err *e)
{
	struct s3 *s = xcalloc(1, sizeof(*s));

	s->options = *o;
	s->cache = cache_new(CACHE_BYTES);
	if (store_scan(o->store, "s3buckets", STR(""), on_stored, s, e) < 0) {
		err_wrap(e, "reading buckets");
		s3_close(s);
		return NULL;
	}
	return s;
}

void s3_resume(struct s3 *s)
{
	store_files_sweep(s->options.store);
	lifecycle_start(s);
}

void s3_close(struct s3 *s)
{
	if (!s)
		return;
	lifecycle_stop(s);
	buckets_free(s);
	cache_free(s->cache);
	free(s);
}

int64_t s3_now_ms(const struct s3 *s)
{
	return s->options.now_ms ? s->options.now_ms() : time_wall_ms();
}

const char *s3_arn(struct call *c, const struct bucket *b, const char *key)
{
	return key ? call_printf(c, "arn:aws:s3:::%s/%s", b->name, key)
		   : call_printf(c, "arn:aws:s3:::%s", b->name);
}

void s3_canonical_id(const char *account, char out[65])
{
	char text[64];
	unsigned char sum[SHA256_DIGEST_LENGTH];
	int n = snprintf(text, sizeof(text), "canonical user %s", account);

	SHA256((const unsigned char *)text, (size_t)n, sum);
	hex_encode(sum, sizeof(sum), out);
}

const struct s3_owner *s3_owner_of(struct call *c, const char *account)
{
	struct s3_owner *o = call_new(c, struct s3_owner);
	char id[65];

	s3_canonical_id(account, id);
	o->id = call_str(c, id);
	return o;
}

int s3_failed(struct call *c, int result, const char *key, struct err *e)
{
	switch (-result) {
	case ENOENT:
		call_error_member(c, "Key", key);
		return fail(e, S3_NO_SUCH_KEY, "The specified key does not exist.");
	case ENODEV: return fail(e, S3_NO_SUCH_BUCKET, "The specified bucket does not exist");
	case ESTALE:
		return fail(e, S3_OPERATION_ABORTED,
		    "A conflicting conditional operation is currently in progress against this "
		    "resource. Please try again.");
	case ENOSPC:
	case EDQUOT:
		log_error("s3: the disk is full: free space in the data directory");
		return fail(e, S3_INTERNAL_ERROR,
		    "There is no space left on the server's disk. Free some and try again.");
	default:
		return fail(
		    e, S3_INTERNAL_ERROR, "We encountered an internal error. Please try again.");
	}
}

/* ---- virtual hosts ---- */

/* Without the port, in small letters: names of hosts know no others. */
static struct str host_name(const struct http_request *r, struct arena *arena)
{
	struct str host = http_header(r, "host");
	const char *colon = host.len ? memrchr(host.ptr, ':', host.len) : NULL;
	char *name;

	if (!host.len)
		return STR_NULL;
	host.len = colon ? (size_t)(colon - host.ptr) : host.len;
	name = arena_printf(arena, "%.*s", STR_FMT(host));
	for (char *p = name; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	return str_from(name);
}

static bool is_region(struct str s)
{
	if (!s.len || s.len > 32)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!(s.ptr[i] >= 'a' && s.ptr[i] <= 'z') &&
		    !(s.ptr[i] >= '0' && s.ptr[i] <= '9') && s.ptr[i] != '-')
			return false;
	return true;
}

/* "bucket.s3", "bucket.s3.region", or the bucket alone: of one label, as "sqs.us-east-1" is another
 * service's address, unless a bucket of such a name is there. */
static struct str bucket_of(const struct s3 *s, struct str name)
{
	char text[64];

	if (str_is(name, "s3") || str_has_prefix(name, "s3."))
		return STR_NULL;
	if (str_has_suffix(name, ".s3"))
		return (struct str){name.ptr, name.len - 3};
	for (size_t i = name.len; i > 4; i--) {
		struct str tail = {name.ptr + i - 4, 4};

		if (str_is(tail, ".s3.") && is_region(str_sub(name, i)))
			return (struct str){name.ptr, i - 4};
	}
	if (!memchr(name.ptr, '.', name.len))
		return name;
	if (name.len >= sizeof(text))
		return STR_NULL;
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	return map_get(&s->buckets, str_from(text)) ? name : STR_NULL;
}

static struct str host_path(void *ctx, const struct http_request *r, struct arena *arena)
{
	const struct s3 *s = ctx;
	struct str host = host_name(r, arena), bucket = STR_NULL;
	char *path;

	for (size_t i = 0; i < s->options.host_count && !bucket.ptr; i++) {
		_cleanup_free_ char *suffix = xasprintf(".%s", s->options.hosts[i]);
		size_t n = strlen(suffix);

		if (host.len > n && str_has_suffix(host, suffix))
			bucket = bucket_of(s, (struct str){host.ptr, host.len - n});
	}
	if (!bucket.ptr || !bucket_name_valid(bucket))
		return STR_NULL;
	path = arena_printf(arena, "/%.*s%.*s", STR_FMT(bucket), STR_FMT(r->path));
	return str_from(path);
}

const struct aws_hooks s3_hooks = {.path = host_path, .other = s3_other, .answering = s3_answering};
