/*
 * Bytes of a client → the HTTP codec. Properties: nothing read out of bounds; the outcome (each
 * request, each byte of body, the final status) is the same however the bytes are sliced; what is
 * accepted holds no control characters and no ambiguous framing. The first two bytes choose the
 * cuts.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "http/codec.h"

struct run {
	struct http_head head;
	struct http_chunked chunked;
	uint64_t left;
	char *in; /* exactly as large as what it holds */
	size_t len, used;
	enum { HEAD, LENGTH, CHUNKED, FAILED } phase;
	struct buf log, trailers;
};

static void note(struct run *r, const char *what, struct str s)
{
	buf_puts(&r->log, what);
	buf_append_str(&r->log, s);
	buf_putc(&r->log, '\n');
}

static void clean(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		check((unsigned char)s.ptr[i] >= 0x20 || s.ptr[i] == '\t');
	check(!s.len || (s.ptr[0] != ' ' && s.ptr[s.len - 1] != ' '));
}

static void check_head(struct run *r, const char *data, size_t len)
{
	const struct http_head *h = &r->head;
	unsigned lengths = 0, codings = 0;

	check(len <= r->len - r->used && len <= HTTP_HEAD_MAX && data[len - 1] == '\n');
	check(h->method.len && h->target.len && h->header_count <= HTTP_HEADERS_MAX);
	note(r, "method ", http_span_str(data, h->method));
	note(r, "target ", http_span_str(data, h->target));
	note(r, "path ", http_span_str(data, h->path));
	note(r, h->has_query ? "query " : "no query",
	    h->has_query ? http_span_str(data, h->query) : STR_NULL);
	for (unsigned i = 0; i < h->header_count; i++) {
		struct str name = http_span_str(data, h->names[i]);
		struct str value = http_span_str(data, h->values[i]);

		clean(value);
		check(http_header_sendable(name, value));
		lengths += str_eq_nocase(name, STR("content-length"));
		codings += str_eq_nocase(name, STR("transfer-encoding"));
		note(r, "name ", name);
		note(r, "value ", value);
	}
	check(lengths + codings <= 1);
	check(lengths == (h->content_length >= 0) && codings == h->chunked);
}

static void step_head(struct run *r)
{
	const char *data = r->in + r->used;
	ssize_t n = http_head_parse(&r->head, data, r->len - r->used);

	if (n < 0) {
		check(r->head.why && -n >= 400 && -n < 600);
		note(r, r->head.why, STR_NULL);
		buf_printf(&r->log, "status %zd\n", -n);
		r->phase = FAILED;
	}
	if (n <= 0)
		return;
	check_head(r, data, (size_t)n);
	r->used += (size_t)n;
	r->left = r->head.content_length > 0 ? (uint64_t)r->head.content_length : 0;
	r->chunked = (struct http_chunked){0};
	r->phase = r->head.chunked ? CHUNKED : LENGTH;
}

static void step_length(struct run *r)
{
	size_t n = min_size(r->len - r->used, r->left);

	buf_append(&r->log, r->in + r->used, n);
	r->used += n;
	r->left -= n;
	if (!r->left) {
		r->phase = HEAD;
		http_head_reset(&r->head);
	}
}

static bool note_trailers(struct run *r)
{
	struct http_header fields[HTTP_TRAILER_FIELDS_MAX];
	int n = http_trailers_parse(buf_str(&r->trailers), fields);

	check(buf_len(&r->trailers) <= HTTP_TRAILERS_MAX && n <= HTTP_TRAILER_FIELDS_MAX);
	for (int i = 0; i < n; i++) {
		clean(fields[i].value);
		check(http_header_sendable(fields[i].name, fields[i].value));
		check(!str_eq_nocase(fields[i].name, STR("content-length")));
		note(r, "trailer ", fields[i].name);
		note(r, "value ", fields[i].value);
	}
	buf_clear(&r->trailers);
	if (n < 0) {
		buf_printf(&r->log, "status %d\n", -n);
		r->phase = FAILED;
	}
	return n >= 0;
}

static void step_chunked(struct run *r)
{
	struct str in = {r->in + r->used, r->len - r->used}, piece = STR_NULL;
	int k = http_chunked_next(&r->chunked, &in, &piece);

	if (k < 0) {
		buf_printf(&r->log, "status %d\n", -k);
		r->phase = FAILED;
		return;
	}
	check(in.len <= r->len - r->used);
	r->used = r->len - in.len;
	if (k == HTTP_CHUNK_DATA)
		buf_append_str(&r->log, piece);
	if (k == HTTP_CHUNK_TRAILER)
		buf_append_str(&r->trailers, piece);
	if (k != HTTP_CHUNK_END)
		return;
	if (!note_trailers(r))
		return;
	r->phase = HEAD;
	http_head_reset(&r->head);
}

static void feed(struct run *r, const uint8_t *data, size_t len)
{
	size_t kept = r->len - r->used, before;
	char *in = xmalloc(kept + len + 1);
	unsigned phase;

	if (kept)
		memcpy(in, r->in + r->used, kept);
	if (len)
		memcpy(in + kept, data, len);
	free(r->in);
	r->in = xmalloc(kept + len + !(kept + len));
	memcpy(r->in, in, kept + len);
	free(in);
	r->len = kept + len;
	r->used = 0;
	do {
		before = r->used;
		phase = r->phase;
		if (r->phase == HEAD)
			step_head(r);
		else if (r->phase == LENGTH)
			step_length(r);
		else if (r->phase == CHUNKED)
			step_chunked(r);
	} while (r->used != before || r->phase != phase);
}

static void begin(struct run *r)
{
	memset(r, 0, sizeof(*r));
	http_head_reset(&r->head);
}

static void done(struct run *r)
{
	free(r->in);
	buf_done(&r->log);
	buf_done(&r->trailers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run whole, cut;
	size_t a, b;

	if (size < 2)
		return 0;
	size -= 2;
	a = size * data[0] / 255;
	b = a + (size - a) * data[1] / 255;
	data += 2;
	begin(&whole);
	feed(&whole, data, size);
	begin(&cut);
	feed(&cut, data, a);
	feed(&cut, data + a, b - a);
	feed(&cut, data + b, size - b);
	check(str_eq(buf_str(&whole.log), buf_str(&cut.log)));
	check(whole.phase == cut.phase);
	done(&whole);
	done(&cut);
	return 0;
}
