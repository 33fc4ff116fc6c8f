/*
 * XML bodies of rest-xml into typed structures, by table. Pure; worker threads may call it.
 * Unknown elements and attributes are ignored, whatever their order; an element that may stand
 * once stands once.
 */
#include "aws/xml_int.h"

struct decoder {
	struct arena *arena;
	struct err *e;
};

static int value(
    struct decoder *d, const struct aws_shape *s, const struct xml_node *n, void *storage);

static int malformed(struct decoder *d, const char *what, const char *name)
{
	return fail(d->e, AWS_SERIALIZATION,
	    "The XML you provided was not well-formed or did not validate against our published "
	    "schema: %s %.100s",
	    what, name);
}

/* Spaces around a number mean nothing, those of a string are part of it. */
static int scalar(
    struct decoder *d, const struct aws_shape *s, const struct xml_node *n, void *storage)
{
	const char *text = n->text;
	struct str tidy;

	if (n->children)
		return malformed(d, "unexpected elements in", n->name);
	if (s->type != AWS_STRING) {
		size_t start = strspn(text, " \t\r\n");

		tidy = str_from(text + start);
		while (tidy.len && strchr(" \t\r\n", tidy.ptr[tidy.len - 1]))
			tidy.len--;
		text = arena_strndup(d->arena, tidy.ptr, tidy.len);
	}
	if (aws_scalar(d->arena, s, text, storage, d->e) < 0)
		return malformed(d, "unexpected value in", n->name);
	return 0;
}

static bool is_item(const struct xml_node *n, const char *name)
{
	return !name || strcmp(n->name, name) == 0;
}

/* Siblings from first on that bear the name (NULL: all). */
static int items(struct decoder *d, const struct aws_shape *s, const struct xml_node *first,
    const char *name, struct aws_list *l)
{
	size_t count = 0;
	char *memory;

	for (const struct xml_node *n = first; n; n = n->next)
		count += is_item(n, name);
	memory = arena_alloc(d->arena, max_size(count * s->stride, 1));
	*l = (struct aws_list){count, memory};
	for (const struct xml_node *n = first; n; n = n->next) {
		int r;

		if (!is_item(n, name))
			continue;
		r = value(d, s->value, n, memory);
		if (r < 0)
			return r;
		memory += s->stride;
	}
	return 0;
}

static int attribute(
    struct decoder *d, const struct aws_field *f, const struct xml_node *n, void *storage)
{
	const char *colon = strchr(f->xml, ':'), *name = colon ? colon + 1 : f->xml;

	for (const struct xml_attribute *a = n->attributes; a; a = a->next)
		if (strcmp(a->name, name) == 0)
			return aws_scalar(d->arena, f->shape, a->value,
			    aws_make_member(d->arena, f, storage), d->e);
	return 0;
}

static int element(
    struct decoder *d, const struct aws_field *f, const struct xml_node *parent, void *storage)
{
	const struct xml_node *found = NULL;

	for (const struct xml_node *n = parent->children; n; n = n->next) {
		if (strcmp(n->name, f->xml))
			continue;
		if (f->flags & AWS_FIELD_FLATTENED)
			return items(d, f->shape, n, f->xml, aws_make_member(d->arena, f, storage));
		if (found)
			return malformed(d, "more than one", f->xml);
		found = n;
	}
	if (!found)
		return 0;
	return value(d, f->shape, found, aws_make_member(d->arena, f, storage));
}

static int structure(
    struct decoder *d, const struct aws_shape *s, const struct xml_node *n, void *storage)
{
	for (unsigned i = 0; i < s->field_count; i++) {
		const struct aws_field *f = &s->fields[i];
		int r;

		if (f->location != AWS_IN_BODY)
			continue;
		r = f->flags & AWS_FIELD_ATTRIBUTE ? attribute(d, f, n, storage)
						   : element(d, f, n, storage);
		if (r < 0)
			return r;
	}
	return 0;
}

static int value(
    struct decoder *d, const struct aws_shape *s, const struct xml_node *n, void *storage)
{
	switch (s->type) {
	case AWS_STRUCTURE: return structure(d, s, n, storage);
	case AWS_LIST: return items(d, s, n->children, NULL, storage);
	case AWS_MAP: return malformed(d, "unexpected", n->name); /* no such model */
	default: return scalar(d, s, n, storage);
	}
}

static int payload(struct decoder *d, const struct aws_field *f, struct str body, void *storage)
{
	struct xml_node *root;
	int r;

	if (body.len == 0)
		return 0;
	if (f->shape->type == AWS_BLOB) {
		*(struct str *)aws_make_member(d->arena, f, storage) = body;
		return 0;
	}
	if (f->shape->type == AWS_STRING) {
		if (!utf8_valid(body) || memchr(body.ptr, '\0', body.len))
			return fail(d->e, AWS_VALIDATION, "The body is not UTF-8 text");
		*(const char **)aws_make_member(d->arena, f, storage) =
		    arena_strndup(d->arena, body.ptr, body.len);
		return 0;
	}
	r = xml_parse(d->arena, body, &root, d->e);
	if (r < 0)
		return r;
	if (strcmp(root->name, f->xml))
		return malformed(d, "unexpected root", root->name);
	return value(d, f->shape, root, aws_make_member(d->arena, f, storage));
}

int aws_decode_xml(
    struct arena *a, const struct aws_shape *in, struct str body, void *storage, struct err *e)
{
	const struct aws_field *f = aws_payload(in);
	struct decoder d = {a, e};
	struct xml_node *root;
	bool plain = false;
	int r;

	if (f)
		return f->flags & AWS_FIELD_STREAMING ? 0 : payload(&d, f, body, storage);
	for (unsigned i = 0; i < in->field_count; i++)
		plain |= in->fields[i].location == AWS_IN_BODY;
	if (!plain || str_trim(body).len == 0)
		return 0;
	r = xml_parse(a, body, &root, e);
	return r < 0 ? r : structure(&d, in, root, storage);
}
