/*
 * A body in aws-chunked coding. The first byte chooses its kind and whether signatures are checked,
 * the second how large the pieces are in which it arrives. Property: piece by piece gives what
 * decoding it at once gives, byte for byte and verdict for verdict.
 */
#include "fuzz.h"

#include "aws/sigv4.h"

static const uint8_t key[32] = {1, 2, 3};

static int decode_pieces(const struct sigv4_auth *auth, enum sigv4_payload kind, bool checked,
    struct str in, size_t step, struct buf *out)
{
	struct sigv4_chunks *c = sigv4_chunks_new(kind, auth, checked ? key : NULL);
	struct err e;
	int r = 0;

	while (in.len && r == 0) {
		struct str part = {in.ptr, min_size(in.len, step)}, piece;

		in = (struct str){in.ptr + part.len, in.len - part.len};
		while ((r = sigv4_chunks_next(c, &part, &piece, &e)) > 0)
			buf_append_str(out, piece);
	}
	if (r == 0)
		r = sigv4_chunks_end(c, &e);
	if (r == 0)
		sigv4_chunks_trailer(c, "x-amz-checksum-crc32");
	sigv4_chunks_free(c);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char signature[] =
	    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
	static const enum sigv4_payload kinds[] = {SIGV4_PAYLOAD_CHUNKED,
	    SIGV4_PAYLOAD_CHUNKED_TRAILER, SIGV4_PAYLOAD_CHUNKED_UNSIGNED_TRAILER};
	struct sigv4_auth auth = {.date = STR("20130524"),
	    .region = STR("us-east-1"),
	    .service = STR("s3"),
	    .time = STR("20130524T000000Z"),
	    .signature = {signature, 64}};
	_cleanup_buf_ struct buf whole = BUF_INIT, pieces = BUF_INIT;
	enum sigv4_payload kind;
	struct str in;
	struct err e;
	bool checked;
	int r, again;

	if (size < 2)
		return 0;
	in = (struct str){(const char *)data + 2, size - 2};
	kind = kinds[data[0] % 3];
	checked = data[0] & 0x80;
	buf_append_str(&whole, in);
	r = sigv4_chunks_decode(&whole, kind, &auth, checked ? key : NULL, &e);
	again = decode_pieces(&auth, kind, checked, in, data[1] % 64 + 1, &pieces);
	check((r == 0) == (again == 0));
	if (r == 0)
		check(str_eq(buf_str(&whole), buf_str(&pieces)));
	return 0;
}
