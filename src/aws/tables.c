/* Is what the generator wrote sound? Run by the unit tests over every service. */
#include "aws/aws_tables.h"

#include "aws/aws_int.h"
#include "base/log.h"

static int complain(const struct aws_service *s, const char *what, const char *where)
{
	log_error("%s: %s: %s", s->name, where, what);
	return -EINVAL;
}

static int check_shape(const struct aws_service *s, const struct aws_shape *shape)
{
	if (shape->pattern && !aws_pattern_compiles(shape->pattern))
		return complain(s, "pattern does not compile", shape->name);
	if ((shape->type == AWS_LIST || shape->type == AWS_MAP) &&
	    (!shape->value || !shape->stride))
		return complain(s, "no element", shape->name);
	for (unsigned i = 0; i < shape->field_count; i++)
		if (shape->fields[i].offset + sizeof(void *) > shape->size)
			return complain(s, "member outside its structure", shape->name);
	return 0;
}

static bool has_member(const struct aws_shape *in, struct str label)
{
	for (unsigned i = 0; in && i < in->field_count; i++)
		if (in->fields[i].location == AWS_IN_URI && str_is(label, in->fields[i].wire))
			return true;
	return false;
}

static int check_uri(const struct aws_service *s, const struct aws_op *op)
{
	struct str rest = str_from(op->uri);

	str_cut(&rest, '{');
	while (rest.ptr) {
		struct str label = str_cut(&rest, '}');

		if (str_has_suffix(label, "+"))
			label.len--;
		if (!has_member(op->in, label))
			return complain(s, "label without a member", op->name);
		str_cut(&rest, '{');
	}
	return 0;
}

int aws_tables_check(const struct aws_service *s)
{
	int r = 0;

	for (size_t i = 0; i < s->shape_count && r == 0; i++)
		r = check_shape(s, &s->shapes[i]);
	for (unsigned i = 0; i < s->op_count && r == 0; i++) {
		r = check_uri(s, &s->ops[i]);
		if (i && strcmp(s->ops[i - 1].name, s->ops[i].name) >= 0)
			r = complain(s, "operations are not sorted", s->ops[i].name);
	}
	for (unsigned i = 0; i < s->error_count && r == 0; i++)
		if (s->errors[i].code != s->errors[0].code + (int)i)
			r = complain(s, "error codes have gaps", s->errors[i].name);
	return r;
}
