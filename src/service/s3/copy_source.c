/* The source of a copy: parsing, permission, look-up, conditions, its pieces. See copy_int.h. */
#include "service/s3/copy_int.h"

static int invalid(struct call *c, struct err *e)
{
	call_error_member(c, "ArgumentName", "x-amz-copy-source");
	return fail(e, S3_INVALID_ARGUMENT,
	    "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
}

static char *decoded(struct call *c, struct str s)
{
	char *out = arena_alloc(c->arena, s.len + 1);
	ssize_t n = url_decode(s, false, out);

	if (n < 0 || memchr(out, '\0', (size_t)n))
		return NULL;
	out[n] = '\0';
	return out;
}

int copy_source_parse(struct call *c, const char *text, const char *expected_owner,
    const struct read_conditions *conditions, struct copy_source *ret, struct err *e)
{
	struct str rest = str_from(text), path = str_cut(&rest, '?');
	const char *version = NULL, *bucket;
	char *name;
	int r;

	if (rest.ptr && str_has_prefix(rest, "versionId="))
		version = decoded(c, str_sub(rest, strlen("versionId=")));
	else if (rest.ptr)
		path = str_from(text); /* a '?' of the key that somebody did not encode */
	name = decoded(c, path);
	if (!name)
		return invalid(c, e);
	name += *name == '/';
	bucket = name;
	name = strchr(name, '/');
	if (!name || name == bucket || !name[1])
		return invalid(c, e);
	*name = '\0';
	r = version_check(version, e);
	if (r == 0)
		r = bucket_get(c, bucket, expected_owner,
		    version ? "s3:GetObjectVersion" : "s3:GetObject", name + 1, &ret->bucket, e);
	if (r < 0)
		return r;
	ret->call = c;
	ret->key = name + 1;
	ret->version = version;
	ret->conditions = *conditions;
	return 0;
}

static int check_found(struct copy_source *s, int result, const struct object *o, struct err *e)
{
	if (result == 0 && o->marker && s->version)
		return fail(e, S3_INVALID_REQUEST,
		    "The source of a copy request may not specifically refer to a delete marker by "
		    "version id.");
	result = read_refused(s->call, s->bucket, s->key, s->version, result, o, e);
	if (result == 0)
		result = read_conditions_check(s->call, &s->conditions, o, e);
	if (result < 0 && e->code == S3_NOT_MODIFIED)
		return fail(e, S3_PRECONDITION_FAILED,
		    "At least one of the pre-conditions you specified did not hold");
	return result;
}

static void on_found(void *ctx, int result, const struct object *o)
{
	struct copy_source *s = ctx;
	struct err e = ERR_INIT;

	if (s->call)
		result = check_found(s, result, o, &e);
	else
		result = -ECANCELED;
	s->done(s, result, result == 0 ? o : NULL, &e);
}

void copy_source_find(struct copy_source *s)
{
	object_find(s->bucket, s->key, s->version, on_found, s);
}

struct store_extent *copy_extents(
    const struct object *o, uint64_t from, uint64_t length, size_t *ret_count)
{
	struct store_extent *out = xcalloc(o->extent_count + 1, sizeof(*out));
	size_t n = 0;

	for (size_t i = 0; i < o->extent_count && length; i++) {
		const struct store_extent *x = &o->extents[i];
		uint64_t take;

		if (from >= x->length) {
			from -= x->length;
			continue;
		}
		take = x->length - from < length ? x->length - from : length;
		out[n++] = (struct store_extent){x->file, x->offset + from, take};
		length -= take;
		from = 0;
	}
	*ret_count = n;
	return out;
}
