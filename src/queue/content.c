/*
 * What a message is as bytes, in the store and in memory: a fixed head, the short texts, the
 * attributes, the body. Read back with the same distrust as anything from outside, since a file can
 * be damaged. Also the MD5s as clients compute them, ids and receipt handles. Any thread but for
 * content_new().
 */
#include <stdio.h>

#include <openssl/evp.h>

#include "base/buf.h"
#include "base/rand.h"
#include "queue/queue_int.h"

#define FORMAT 1
#define HANDLE_LEN 31

/* ---- numbers, big-endian ---- */

static void put(struct buf *b, uint64_t v, unsigned bytes)
{
	for (unsigned i = bytes; i-- > 0;)
		buf_putc(b, (char)(v >> (8 * i)));
}

static uint64_t take(struct str *s, unsigned bytes)
{
	uint64_t v = 0;

	if (s->len < bytes) {
		*s = STR_NULL;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | (unsigned char)s->ptr[i];
	s->ptr += bytes;
	s->len -= bytes;
	return v;
}

static void put_text(struct buf *b, struct str s, unsigned bytes)
{
	put(b, s.len, bytes);
	buf_append_str(b, s);
}

static struct str take_bytes(struct str *s, size_t len)
{
	struct str out = {s->ptr, len};

	if (!s->ptr || s->len < len) {
		*s = STR_NULL;
		return STR_NULL;
	}
	s->ptr += len;
	s->len -= len;
	return out;
}

static struct str take_text(struct str *s, unsigned bytes)
{
	return take_bytes(s, take(s, bytes));
}

/* ---- MD5 ---- */

static EVP_MD_CTX *md5_start(void)
{
	static EVP_MD *md5; /* looking it up by name costs more than hashing a short message */
	static EVP_MD_CTX *ctx;

	if (!ctx) {
		md5 = EVP_MD_fetch(NULL, "MD5", NULL);
		ctx = EVP_MD_CTX_new();
		check(md5 && ctx);
	}
	check(EVP_DigestInit_ex(ctx, md5, NULL) == 1);
	return ctx;
}

static void md5_text(struct str s, char out[33])
{
	EVP_MD_CTX *ctx = md5_start();
	unsigned char sum[16];

	EVP_DigestUpdate(ctx, s.ptr, s.len);
	EVP_DigestFinal_ex(ctx, sum, NULL);
	hex_encode(sum, sizeof(sum), out);
}

static void md5_piece(EVP_MD_CTX *ctx, struct str s)
{
	const unsigned char len[4] = {(unsigned char)(s.len >> 24), (unsigned char)(s.len >> 16),
	    (unsigned char)(s.len >> 8), (unsigned char)s.len};

	EVP_DigestUpdate(ctx, len, sizeof(len));
	EVP_DigestUpdate(ctx, s.ptr, s.len);
}

static int by_name(const void *a, const void *b)
{
	const struct queue_attribute *x = *(const struct queue_attribute *const *)a;
	const struct queue_attribute *y = *(const struct queue_attribute *const *)b;
	int r = memcmp(x->name.ptr, y->name.ptr, min_size(x->name.len, y->name.len));

	return r ? r : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

void queue_attributes_md5(const struct queue_attribute *a, size_t count, char out[33])
{
	const struct queue_attribute *sorted[QUEUE_ATTRIBUTES_MAX];
	EVP_MD_CTX *ctx = md5_start();
	unsigned char sum[16];

	out[0] = '\0';
	if (!count || count > QUEUE_ATTRIBUTES_MAX)
		return;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &a[i];
	qsort(sorted, count, sizeof(sorted[0]), by_name);
	for (size_t i = 0; i < count; i++) {
		md5_piece(ctx, sorted[i]->name);
		md5_piece(ctx, sorted[i]->type);
		EVP_DigestUpdate(ctx, str_has_prefix(sorted[i]->type, "Binary") ? "\2" : "\1", 1);
		md5_piece(ctx, sorted[i]->value);
	}
	EVP_DigestFinal_ex(ctx, sum, NULL);
	hex_encode(sum, sizeof(sum), out);
}

static void md5_trace(struct str trace, char out[33])
{
	const struct queue_attribute a = {STR("AWSTraceHeader"), STR("String"), trace};

	queue_attributes_md5(&a, trace.len ? 1 : 0, out);
}

/* ---- encoding ---- */

static void encode_head(struct buf *b, const char *id, const char *md5, const char *attributes_md5,
    int64_t sent_ms, struct str source)
{
	put(b, FORMAT, 1);
	buf_append(b, id, 36);
	buf_append(b, md5, 32);
	put_text(b, str_from(attributes_md5), 1);
	put(b, (uint64_t)sent_ms, 8);
	put_text(b, source, 2);
}

static struct content *seal(struct buf *b)
{
	struct content *c = content_copy(buf_str(b));

	buf_done(b);
	return c;
}

struct content *content_new(const struct queue_message *m, const char *id, int64_t sent_ms,
    const char *source_arn, struct queue_sent *ret)
{
	struct buf b = BUF_INIT;
	struct queue_sent sums;

	md5_text(m->body, sums.md5);
	queue_attributes_md5(m->attributes, m->attribute_count, sums.attributes_md5);
	md5_trace(m->trace, sums.trace_md5);
	if (ret) {
		memcpy(ret->md5, sums.md5, sizeof(ret->md5));
		memcpy(ret->attributes_md5, sums.attributes_md5, sizeof(ret->attributes_md5));
		memcpy(ret->trace_md5, sums.trace_md5, sizeof(ret->trace_md5));
	}
	buf_reserve(&b, m->body.len + 512);
	encode_head(&b, id, sums.md5, sums.attributes_md5, sent_ms, str_from(source_arn));
	put_text(&b, m->trace, 2);
	put_text(&b, m->group_id, 1);
	put_text(&b, m->dedup_id, 1);
	put_text(&b, str_from(m->sender), 1);
	put(&b, m->attribute_count, 1);
	for (size_t i = 0; i < m->attribute_count; i++) {
		put_text(&b, m->attributes[i].name, 2);
		put_text(&b, m->attributes[i].type, 2);
		put_text(&b, m->attributes[i].value, 4);
	}
	buf_append_str(&b, m->body);
	return seal(&b);
}

struct content *content_copy(struct str raw)
{
	struct content *c = xmalloc(sizeof(*c) + raw.len + 1);

	c->len = (uint32_t)raw.len;
	memcpy(c->data, raw.ptr, raw.len);
	return c;
}

struct content *content_moved(const struct content *c, const char *source_arn, int64_t sent_ms)
{
	struct buf b = BUF_INIT;
	struct content_view v;
	struct str rest;

	if (!content_view((struct str){c->data, c->len}, &v))
		return content_copy((struct str){c->data, c->len});
	rest.ptr = v.trace.ptr - 2; /* what follows the head stays as it is */
	rest.len = (size_t)(c->data + c->len - rest.ptr);
	encode_head(&b, v.id, v.md5, v.attributes_md5, sent_ms, str_from(source_arn));
	buf_append_str(&b, rest);
	return seal(&b);
}

/* ---- decoding ---- */

static bool take_attribute(struct str *s, struct queue_attribute *ret)
{
	ret->name = take_text(s, 2);
	ret->type = take_text(s, 2);
	ret->value = take_text(s, 4);
	return s->ptr != NULL;
}

static void take_hex(struct str *s, size_t len, char *out)
{
	struct str t = take_bytes(s, len);

	if (t.ptr)
		memcpy(out, t.ptr, len);
	out[t.ptr ? len : 0] = '\0';
}

bool content_view(struct str raw, struct content_view *ret)
{
	struct queue_attribute a;
	struct str s = raw;
	size_t sum_len;

	if (take(&s, 1) != FORMAT)
		return false;
	take_hex(&s, 36, ret->id);
	take_hex(&s, 32, ret->md5);
	sum_len = take(&s, 1);
	if (sum_len != 0 && sum_len != 32)
		return false;
	take_hex(&s, sum_len, ret->attributes_md5);
	ret->sent_ms = (int64_t)take(&s, 8);
	ret->source_arn = take_text(&s, 2);
	ret->trace = take_text(&s, 2);
	ret->group_id = take_text(&s, 1);
	ret->dedup_id = take_text(&s, 1);
	ret->sender = take_text(&s, 1);
	ret->attribute_count = (unsigned)take(&s, 1);
	if (!s.ptr || ret->attribute_count > QUEUE_ATTRIBUTES_MAX)
		return false;
	ret->attributes = s;
	for (unsigned i = 0; i < ret->attribute_count; i++)
		if (!take_attribute(&s, &a))
			return false;
	ret->attributes.len -= s.len;
	ret->body = s;
	return true;
}

void content_attributes(
    const struct content_view *v, struct queue_attribute ret[QUEUE_ATTRIBUTES_MAX])
{
	struct str s = v->attributes;

	for (unsigned i = 0; i < v->attribute_count; i++)
		if (!take_attribute(&s, &ret[i]))
			ret[i] = (struct queue_attribute){STR_NULL, STR_NULL, STR_NULL};
}

uint32_t content_size(const struct content_view *v)
{
	/* The lengths before name, type and value are not the client's. */
	return (uint32_t)(v->body.len + v->attributes.len - (size_t)v->attribute_count * 8);
}

/* ---- ids and handles ---- */

void id_encode(uint64_t order, uint64_t seq, char out[ID_LEN])
{
	for (unsigned i = 0; i < 8; i++) {
		out[i] = (char)(order >> (56 - 8 * i));
		out[8 + i] = (char)(seq >> (56 - 8 * i));
	}
}

bool id_decode(struct str id, uint64_t *ret_order, uint64_t *ret_seq)
{
	if (id.len != ID_LEN)
		return false;
	*ret_order = take(&id, 8);
	*ret_seq = take(&id, 8);
	return true;
}

/* Not against forgery, which gains nothing: against handles that are cut or mistyped. */
static uint32_t sum(const char *data, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)data[i]) * 16777619u;
	return h;
}

void sequence_format(uint64_t seq, char out[SEQUENCE_SIZE])
{
	snprintf(out, SEQUENCE_SIZE, "1%019" PRIu64, seq % 10000000000000000000u);
}

void handle_encode(const struct message *m, char out[HANDLE_SIZE])
{
	struct buf b = BUF_INIT;
	char raw[6];

	check(hex_decode(str_from(m->queue->id), raw, sizeof(raw)));
	put(&b, FORMAT, 1);
	buf_append(&b, raw, sizeof(raw));
	put(&b, m->order, 8);
	put(&b, m->seq, 8);
	put(&b, m->receives, 4);
	put(&b, sum(buf_data(&b), buf_len(&b)), 4);
	check(buf_len(&b) == HANDLE_LEN);
	base64_encode(buf_data(&b), HANDLE_LEN, out);
	buf_done(&b);
}

bool handle_decode(const struct queue *q, struct str handle, uint64_t *ret_order, uint64_t *ret_seq,
    unsigned *ret_receives)
{
	char raw[HANDLE_SIZE], id[13];
	struct str s = {raw, HANDLE_LEN};

	if (handle.len != BASE64_ENCODED_SIZE(HANDLE_LEN) - 1 ||
	    base64_decode(handle, raw) != HANDLE_LEN || take(&s, 1) != FORMAT)
		return false;
	hex_encode(take_bytes(&s, 6).ptr, 6, id);
	*ret_order = take(&s, 8);
	*ret_seq = take(&s, 8);
	*ret_receives = (unsigned)take(&s, 4);
	return take(&s, 4) == sum(raw, HANDLE_LEN - 4) && strcmp(id, q->id) == 0;
}
