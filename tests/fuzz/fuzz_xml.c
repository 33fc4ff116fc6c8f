/*
 * An XML document → the input of an operation of rest-xml, and from there to XML again. The first
 * byte chooses the operation. Properties: nothing read out of bounds; violations are worded in
 * UTF-8; what was decoded, encoded and decoded again encodes to the same bytes.
 */
#include "fuzz.h"

#include "aws/aws_int.h"
#include "gen/s3.h"

/* The document that says what value says, or nothing. */
static void encode(struct buf *b, const struct aws_shape *in, const void *value)
{
	struct aws_op echo = {.name = "Echo", .root = "Echo", .out = in};

	aws_encode_rest_xml(b, &s3_service, &echo, value);
	check(utf8_valid(buf_str(b)));
}

/* Not for texts with characters that XML cannot hold. */
static void check_round_trip(struct arena *a, const struct aws_shape *in, const void *value)
{
	_cleanup_buf_ struct buf first = BUF_INIT, second = BUF_INIT;
	void *again = arena_alloc(a, max_size(in->size, 1));
	struct err e;

	encode(&first, in, value);
	if (!buf_len(&first))
		return;
	check(aws_decode_xml(a, in, buf_str(&first), again, &e) == 0);
	encode(&second, in, again);
	check(str_eq(buf_str(&first), buf_str(&second)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct aws_shape *in;
	const struct aws_field *payload;
	const char *text;
	struct arena a;
	struct err e = ERR_INIT;
	void *value;

	if (size < 1)
		return 0;
	in = s3_service.ops[data[0] % s3_service.op_count].in;
	arena_init(&a);
	value = arena_alloc(&a, max_size(in->size, 1));
	payload = aws_payload(in);
	if (aws_decode_xml(&a, in, (struct str){(const char *)data + 1, size - 1}, value, &e) < 0) {
		check(e.code == AWS_SERIALIZATION || e.code == AWS_VALIDATION);
	} else {
		if (aws_validate(&a, in, value, &text) > 0)
			check(utf8_valid(str_from(text)));
		if (payload && payload->shape->type == AWS_STRUCTURE)
			check_round_trip(&a, in, value);
	}
	arena_done(&a);
	return 0;
}
