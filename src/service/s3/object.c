/*
 * Records of objects: how a version lies in memory and in the store. The stored form is a byte of
 * format, a byte of flags, then numbers of seven bits a byte and strings with their length (plus
 * one, 0: absent) and a NUL, so that a decoded record points into its own copy of the bytes.
 */
#include <stdio.h>

#include "base/rand.h"
#include "service/s3/s3_int.h"

#define FORMAT 1
#define FLAG_MARKER 1
#define FLAG_COMPOSITE 2

const struct object *object_ref(const struct object *o)
{
	if (o)
		((struct object *)(uintptr_t)o)->refs++;
	return o;
}

void object_unref(const struct object *shared)
{
	struct object *o = (struct object *)(uintptr_t)shared;

	if (!o || --o->refs)
		return;
	free((void *)(uintptr_t)o->metadata);
	free((void *)(uintptr_t)o->tags);
	free((void *)(uintptr_t)o->parts);
	free((void *)(uintptr_t)o->extents);
	free(o->bytes);
	free(o);
}

/* ---- writing ---- */

static void put_number(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_putc(b, (char)(v | 0x80));
	buf_putc(b, (char)v);
}

static void put_string(struct buf *b, const char *s)
{
	size_t len = s ? strlen(s) : 0;

	put_number(b, s ? len + 1 : 0);
	if (s)
		buf_append(b, s, len + 1);
}

static void put_pairs(struct buf *b, const struct pair *p, size_t count)
{
	put_number(b, count);
	for (size_t i = 0; i < count; i++) {
		put_string(b, p[i].name);
		put_string(b, p[i].value);
	}
}

/* In the order of the format. */
#define STRINGS(o)                                                                             \
	{                                                                                      \
		&(o)->version, &(o)->etag, &(o)->content_type, &(o)->cache_control,            \
		    &(o)->content_disposition, &(o)->content_encoding, &(o)->content_language, \
		    &(o)->expires, &(o)->redirect, &(o)->storage_class, &(o)->checksum,        \
		    &(o)->upload                                                               \
	}

void object_encode(const struct object *o, struct buf *b)
{
	const char *const *strings[] = STRINGS(o);

	buf_putc(b, FORMAT);
	buf_putc(b,
	    (char)((o->marker ? FLAG_MARKER : 0) | (o->checksum_composite ? FLAG_COMPOSITE : 0)));
	put_number(b, (uint64_t)o->modified_ms);
	put_number(b, o->seq);
	put_number(b, o->size);
	put_number(b, o->checksum_kind);
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		put_string(b, *strings[i]);
	put_pairs(b, o->metadata, o->metadata_count);
	put_pairs(b, o->tags, o->tag_count);
	put_number(b, o->part_count);
	for (size_t i = 0; i < o->part_count; i++) {
		put_number(b, o->parts[i].size);
		put_string(b, o->parts[i].checksum);
	}
	put_number(b, o->extent_count);
	for (size_t i = 0; i < o->extent_count; i++) {
		put_number(b, o->extents[i].file);
		put_number(b, o->extents[i].offset);
		put_number(b, o->extents[i].length);
	}
}

struct object *object_new(const struct object *o)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct object *copy;

	object_encode(o, &b);
	copy = object_decode(buf_str(&b));
	check(copy);
	return copy;
}

/* ---- reading ---- */

struct reader {
	const char *at, *end;
	bool bad;
};

static uint64_t get_number(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; r->at < r->end && shift < 64; shift += 7) {
		unsigned char c = (unsigned char)*r->at++;

		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static const char *get_string(struct reader *r)
{
	uint64_t len = get_number(r);
	const char *s = r->at;

	if (r->bad || len == 0)
		return NULL;
	if (len > (uint64_t)(r->end - r->at) || memchr(s, '\0', (size_t)len) != s + len - 1) {
		r->bad = true;
		return NULL;
	}
	r->at += len;
	return s;
}

/* A count of things that take at least `each` bytes. */
static size_t get_count(struct reader *r, size_t each)
{
	uint64_t n = get_number(r);

	if (n > (uint64_t)(r->end - r->at) / each)
		r->bad = true;
	return r->bad ? 0 : (size_t)n;
}

static const struct pair *get_pairs(struct reader *r, size_t *ret_count)
{
	size_t n = get_count(r, 2);
	struct pair *p = n ? xcalloc(n, sizeof(*p)) : NULL;

	for (size_t i = 0; i < n; i++) {
		p[i].name = get_string(r);
		p[i].value = get_string(r);
		r->bad |= !p[i].name || !p[i].value;
	}
	*ret_count = n;
	return p;
}

static void get_head(struct reader *r, struct object *o)
{
	const char **strings[] = STRINGS(o);
	unsigned char flags;

	if (r->end - r->at < 2 || *r->at++ != FORMAT) {
		r->bad = true;
		return;
	}
	flags = (unsigned char)*r->at++;
	o->marker = flags & FLAG_MARKER;
	o->checksum_composite = flags & FLAG_COMPOSITE;
	o->modified_ms = (int64_t)get_number(r);
	o->seq = get_number(r);
	o->size = get_number(r);
	o->checksum_kind = (unsigned)get_number(r);
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		*strings[i] = get_string(r);
}

static void get_rest(struct reader *r, struct object *o)
{
	struct object_part *parts;
	struct store_extent *extents;

	o->metadata = get_pairs(r, &o->metadata_count);
	o->tags = get_pairs(r, &o->tag_count);
	o->part_count = get_count(r, 2);
	o->parts = parts = o->part_count ? xcalloc(o->part_count, sizeof(*parts)) : NULL;
	for (size_t i = 0; i < o->part_count; i++) {
		parts[i].size = get_number(r);
		parts[i].checksum = get_string(r);
	}
	o->extent_count = get_count(r, 3);
	o->extents = extents = o->extent_count ? xcalloc(o->extent_count, sizeof(*extents)) : NULL;
	for (size_t i = 0; i < o->extent_count; i++) {
		extents[i].file = get_number(r);
		extents[i].offset = get_number(r);
		extents[i].length = get_number(r);
	}
	r->bad |= r->at != r->end;
}

static struct object *decode(struct str bytes, bool whole)
{
	struct object *o = xcalloc(1, sizeof(*o));
	struct reader r;

	o->refs = 1;
	o->bytes = xmalloc(bytes.len + 1);
	if (bytes.len)
		memcpy(o->bytes, bytes.ptr, bytes.len);
	o->length = bytes.len;
	r = (struct reader){o->bytes, o->bytes + bytes.len, false};
	get_head(&r, o);
	if (whole && !r.bad)
		get_rest(&r, o);
	if (!r.bad && o->version && (o->marker || o->etag))
		return o;
	object_unref(o);
	return NULL;
}

struct object *object_decode(struct str bytes)
{
	return decode(bytes, true);
}

struct object *object_decode_head(struct str bytes)
{
	return decode(bytes, false);
}

/* ---- keys of rows ---- */

void bucket_space(const struct bucket *b, char which, char out[SPACE_SIZE])
{
	int n = snprintf(out, SPACE_SIZE, "s3%c/%s", which, b->id);

	check(n > 0 && n < SPACE_SIZE);
}

void row_current(struct buf *b, const char *key)
{
	buf_append(b, key, strlen(key) + 1);
}

void row_older(struct buf *b, const char *key, uint64_t seq)
{
	row_current(b, key);
	buf_printf(b, "%016" PRIx64, ~seq);
}

bool row_split(struct str row, struct str *ret_key, bool *ret_old)
{
	const char *nul = row.len ? memchr(row.ptr, '\0', row.len) : NULL;

	if (!nul)
		return false;
	*ret_key = (struct str){row.ptr, (size_t)(nul - row.ptr)};
	*ret_old = ret_key->len + 1 < row.len;
	return true;
}

void row_behind(struct buf *b, struct str key)
{
	buf_append_str(b, key);
	buf_append(b, "\0\xff", 2);
}

bool version_is(const struct object *o, const char *version)
{
	return o && strcmp(o->version, version) == 0;
}

/* Versions are ordered by microseconds, and never go back. */
uint64_t next_seq(struct s3 *s, uint64_t above)
{
	uint64_t now = (uint64_t)s3_now_ms(s) * 1000;

	if (now <= s->last_seq)
		now = s->last_seq + 1;
	if (now <= above)
		now = above + 1;
	s->last_seq = now;
	return now;
}

void version_id(uint64_t seq, char out[VERSION_ID_SIZE])
{
	snprintf(out, VERSION_ID_SIZE, "%016" PRIx64, seq);
	rand_hex(out + 16, 16);
}
