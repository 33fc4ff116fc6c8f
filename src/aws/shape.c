/* Storage of one shape as text and back, for services that keep documents as they were given. See
 * aws.h. */
#include "aws/aws_int.h"

const struct aws_shape *aws_shape_find(const struct aws_service *s, const char *name)
{
	for (size_t i = 0; i < s->shape_count; i++) {
		if (!strcmp(s->shapes[i].name, name))
			return &s->shapes[i];
	}
	return NULL;
}

void aws_shape_encode(const struct aws_shape *s, const void *storage, struct buf *out)
{
	aws_encode_json(out, s, storage);
}

void *aws_shape_decode(const struct aws_shape *s, struct str text, struct arena *a, struct err *e)
{
	void *storage = arena_alloc(a, max_size(s->size, 1));

	memset(storage, 0, s->size);
	return aws_decode_json(a, s, text, storage, e) == 0 ? storage : NULL;
}
