/*
 * A form → the input of an operation of the query protocol, and from there to JSON and XML. The
 * first byte chooses the service, the second the operation. Properties: nothing read out of bounds;
 * decoding costs what the form holds; all that comes out is UTF-8.
 */
#include "fuzz.h"

#include "aws/aws_int.h"
#include "gen/iam.h"
#include "gen/sts.h"

static void encode_all(const struct aws_service *s, const struct aws_op *op, const void *value)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct aws_op echo = *op;

	echo.out = op->in;
	aws_encode_json(&b, op->in, value);
	check(utf8_valid(buf_str(&b)));
	buf_clear(&b);
	aws_encode_xml(&b, s, &echo, value, "id");
	check(utf8_valid(buf_str(&b)));
	for (size_t i = 0; i < buf_len(&b); i++)
		check((unsigned char)buf_data(&b)[i] >= ' ' || strchr("\t\n", buf_data(&b)[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct aws_service *s;
	const struct aws_op *op;
	struct aws_params p;
	const char *text;
	struct arena a;
	struct err e = ERR_INIT;
	void *value;

	if (size < 2)
		return 0;
	s = data[0] % 2 ? &iam_service : &sts_service;
	op = &s->ops[data[1] % s->op_count];
	if (!op->in)
		return 0;
	arena_init(&a);
	value = arena_alloc(&a, max_size(op->in->size, 1));
	if (aws_params_parse(
		&a, STR_NULL, (struct str){(const char *)data + 2, size - 2}, &p, &e) == 0 &&
	    aws_decode_query(&a, op->in, &p, value, &e) == 0) {
		if (aws_validate(&a, op->in, value, &text) > 0)
			check(utf8_valid(str_from(text)));
		encode_all(s, op, value);
	} else {
		check(e.code == AWS_SERIALIZATION);
	}
	arena_done(&a);
	return 0;
}
