/*
 * A JSON body → the input of an operation of rest-json or json. The first byte chooses the service,
 * the second the operation. Properties: nothing read out of bounds; violations are worded in
 * UTF-8; what was decoded, encoded and decoded again encodes to the same bytes.
 */
#include "fuzz.h"

#include "aws/aws_int.h"
#include "gen/lambda.h"
#include "gen/logs.h"

static void check_violations(struct arena *a, const struct aws_shape *in, const void *value)
{
	const char *text = NULL;

	if (aws_validate(a, in, value, &text) > 0)
		check(utf8_valid(str_from(text)));
}

static void check_round_trip(struct arena *a, const struct aws_shape *in, const void *value)
{
	_cleanup_buf_ struct buf first = BUF_INIT, second = BUF_INIT;
	void *again = arena_alloc(a, max_size(in->size, 1));
	struct err e;

	aws_encode_json(&first, in, value);
	check(utf8_valid(buf_str(&first)));
	check(aws_decode_json(a, in, buf_str(&first), again, &e) == 0);
	aws_encode_json(&second, in, again);
	check(str_eq(buf_str(&first), buf_str(&second)));
}

static bool has_payload(const struct aws_shape *in)
{
	for (unsigned i = 0; i < in->field_count; i++)
		if (in->fields[i].location == AWS_IN_PAYLOAD)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct aws_service *s;
	const struct aws_shape *in;
	struct arena a;
	struct err e = ERR_INIT;
	void *value;

	if (size < 2)
		return 0;
	s = data[0] % 2 ? &logs_service : &lambda_service;
	in = s->ops[data[1] % s->op_count].in;
	if (!in)
		return 0;
	arena_init(&a);
	value = arena_alloc(&a, max_size(in->size, 1));
	if (aws_decode_json(&a, in, (struct str){(const char *)data + 2, size - 2}, value, &e) <
	    0) {
		check(e.code == AWS_SERIALIZATION);
	} else {
		check_violations(&a, in, value);
		if (!has_payload(in))
			check_round_trip(&a, in, value);
	}
	arena_done(&a);
	return 0;
}
