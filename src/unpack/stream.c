/* Decompression by libarchive's filters, under its format for "one file without a name". See
 * stream.h. */
#include "unpack/stream.h"

#include <archive_entry.h>
#include <openssl/evp.h>
#include <unistd.h>

#define BLOCK (256 * 1024)

struct stream {
	struct archive *in;
	EVP_MD_CTX *hash;
	int fd, error;
	bool begun, ended;
	uint64_t limit, bytes;
	char block[BLOCK];
};

static la_ssize_t fill(struct archive *a, void *ctx, const void **ret)
{
	struct stream *s = ctx;
	ssize_t n;

	do
		n = read(s->fd, s->block, sizeof(s->block));
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		s->error = -EIO;
		archive_set_error(a, errno, "reading failed");
	}
	*ret = s->block;
	return n;
}

struct stream *stream_new(int fd, uint64_t limit_bytes)
{
	struct stream *s = xcalloc(1, sizeof(*s));

	s->fd = fd;
	s->limit = limit_bytes;
	s->in = archive_read_new();
	s->hash = EVP_MD_CTX_new();
	check(s->in && s->hash && EVP_DigestInit_ex(s->hash, EVP_sha256(), NULL) == 1);
	archive_read_support_filter_gzip(s->in);
	archive_read_support_filter_zstd(s->in);
	archive_read_support_format_raw(s->in);
	archive_read_support_format_empty(s->in);
	return s;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	archive_read_free(s->in);
	EVP_MD_CTX_free(s->hash);
	free(s);
}

static int fail(struct stream *s, int error)
{
	if (!s->error)
		s->error = error;
	s->ended = true;
	return s->error;
}

static int begin(struct stream *s)
{
	struct archive_entry *entry;
	int r;

	s->begun = true;
	if (archive_read_open(s->in, s, NULL, fill, NULL) < ARCHIVE_WARN)
		return fail(s, -EINVAL);
	r = archive_read_next_header(s->in, &entry);
	if (r == ARCHIVE_EOF)
		s->ended = true;
	else if (r < ARCHIVE_WARN)
		return fail(s, -EINVAL);
	return 0;
}

ssize_t stream_read(struct stream *s, const void **ret)
{
	la_int64_t at;
	size_t n = 0;
	int r = s->begun ? 0 : begin(s);

	while (r == 0 && n == 0 && !s->ended) {
		r = archive_read_data_block(s->in, ret, &n, &at);
		if (r == ARCHIVE_EOF) {
			s->ended = true;
			return 0;
		}
		r = r < ARCHIVE_WARN ? fail(s, -EINVAL) : 0;
	}
	if (r < 0 || s->ended)
		return s->error;
	if (n > s->limit - s->bytes)
		return fail(s, -EFBIG);
	s->bytes += n;
	check(EVP_DigestUpdate(s->hash, *ret, n) == 1);
	return (ssize_t)n;
}

int stream_error(const struct stream *s)
{
	return s->error;
}

uint64_t stream_bytes(const struct stream *s)
{
	return s->bytes;
}

int stream_finish(struct stream *s, uint8_t ret_hash[WIRE_HASH_SIZE])
{
	const void *data;
	ssize_t n;

	do
		n = stream_read(s, &data);
	while (n > 0);
	/* Padding behind the compressed data is read too: who writes the pipe must not see it
	 * closed. */
	while (n == 0 && fill(s->in, s, &data) > 0)
		;
	if (n == 0 && s->error)
		n = s->error;
	if (n == 0)
		check(EVP_DigestFinal_ex(s->hash, ret_hash, NULL) == 1);
	return (int)n;
}
