/*
 * Code.Location: links to zips that work for ten minutes, signed with a key that is new at each
 * start, and their answers: read piece by piece on a worker, no faster than the client takes them.
 */
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "service/lambda/lambda_int.h"

#define LINK_LIFE_S 600
#define PIECE (256 * 1024)

static void sign(const struct lambda *l, const char *hex, int64_t expires, char out[65])
{
	_cleanup_free_ char *text = xasprintf("%s %" PRId64, hex, expires);
	uint8_t mac[32];
	unsigned len = sizeof(mac);

	check(HMAC(EVP_sha256(), l->secret, sizeof(l->secret), (const uint8_t *)text, strlen(text),
		  mac, &len) != NULL);
	hex_encode(mac, sizeof(mac), out);
}

const char *code_location(struct call *c, struct lambda *l, const char *hex)
{
	int64_t expires = time_wall_ms() / 1000 + LINK_LIFE_S;
	char signature[65];

	sign(l, hex, expires, signature);
	return call_printf(c, "%s" LAMBDA_CODE_PATH "%s?expires=%" PRId64 "&sig=%s", l->o.url, hex,
	    expires, signature);
}

/* ---- the answer ---- */

struct download {
	struct loop_work work;
	struct loop *loop;
	struct http_request *r; /* NULL: the client has gone */
	int fd;
	int64_t left;
	bool reading, full;
	ssize_t got;
	char piece[PIECE];
};

static void download_free(struct download *d)
{
	close(d->fd);
	free(d);
}

static void read_piece(struct loop_work *w)
{
	struct download *d = container_of(w, struct download, work);

	d->got = read(d->fd, d->piece, sizeof(d->piece));
}

static void read_more(struct download *d)
{
	d->reading = true;
	loop_work_start(d->loop, &d->work);
}

static void on_drain(struct http_request *r)
{
	struct download *d = r->user;

	if (d->full && !d->reading) {
		d->full = false;
		read_more(d);
	}
}

static void on_piece(struct loop_work *w)
{
	struct download *d = container_of(w, struct download, work);

	d->reading = false;
	if (!d->r) {
		download_free(d);
		return;
	}
	if (d->got <= 0) {
		http_reply_abort(d->r);
		download_free(d);
		return;
	}
	d->left -= d->got;
	if (http_reply_data(d->r, (struct str){d->piece, (size_t)d->got}) >= 64 * 1024)
		d->full = true;
	if (d->left <= 0) {
		http_reply_end(d->r);
		download_free(d);
	} else if (!d->full) {
		read_more(d);
	}
}

static void start(struct lambda *l, struct http_request *r, int fd, int64_t size)
{
	static const struct http_header headers[] = {
	    {STR("Content-Type"), STR("application/zip")},
	};
	struct download *d = xcalloc(1, sizeof(*d));

	d->loop = l->o.loop;
	d->r = r;
	d->fd = fd;
	d->left = size;
	d->work.run = read_piece;
	d->work.done = on_piece;
	r->user = d;
	http_reply_start(r, 200, headers, ARRAY_SIZE(headers), size, on_drain);
	read_more(d);
}

static struct str parameter(struct str query, const char *name)
{
	while (query.ptr) {
		struct str value = str_cut(&query, '&'), key = str_cut(&value, '=');

		if (str_is(key, name))
			return value;
	}
	return STR_NULL;
}

static void refuse(struct http_request *r, unsigned status, const char *text)
{
	struct http_header h = {STR("Content-Type"), STR("text/plain")};

	r->user = NULL;
	http_reply(r, status, &h, 1, str_from(text));
}

static bool is_signed(struct lambda *l, struct http_request *r, char hex[65])
{
	struct str name = str_sub(r->path, strlen(LAMBDA_CODE_PATH));
	struct str signature = parameter(r->query, "sig");
	char want[65];
	int64_t expires;

	if (name.len != 64 || signature.len != 64)
		return false;
	memcpy(hex, name.ptr, 64);
	hex[64] = 0;
	if (strspn(hex, "0123456789abcdef") != 64)
		return false;
	if (!str_to_int64(parameter(r->query, "expires"), 0, INT64_MAX, &expires))
		return false;
	sign(l, hex, expires, want);
	return CRYPTO_memcmp(signature.ptr, want, 64) == 0 && expires >= time_wall_ms() / 1000;
}

void lambda_code_request(struct lambda *l, struct http_request *r)
{
	char hex[65];
	struct stat st;
	int fd;

	if (!str_is(r->method, "GET") && !str_is(r->method, "HEAD")) {
		refuse(r, 405, "Only GET works here.\n");
		return;
	}
	if (!is_signed(l, r, hex)) {
		refuse(r, 403,
		    "This link is not valid, or no more: call GetFunction for a new one.\n");
		return;
	}
	fd = store_blob_open(l->o.store, hex);
	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			close(fd);
		refuse(r, 404, "This code has been deleted.\n");
		return;
	}
	start(l, r, fd, st.st_size);
}

void lambda_code_cancel(struct http_request *r)
{
	struct download *d = r->user;

	if (!d)
		return;
	d->r = NULL;
	if (!d->reading)
		download_free(d);
}
