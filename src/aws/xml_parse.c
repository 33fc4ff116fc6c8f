/*
 * XML bodies into a tree of elements, by expat. Pure; worker threads may call it. Every byte is
 * hostile: a document type is refused, so there are no entities but the five of XML itself; depth
 * and number of elements are bounded while parsing. Namespaces are ignored, as S3 does: a prefix
 * is cut off.
 */
#include <expat.h>

#include "aws/xml_int.h"

struct parser {
	XML_Parser expat;
	struct arena *arena;
	struct xml_node *root;
	struct xml_node *open[AWS_DEPTH_MAX];
	struct xml_node **last[AWS_DEPTH_MAX]; /* where the next child of open[i] is hooked in */
	unsigned depth;
	size_t count;
	struct buf text; /* of the innermost element, until it ends or has a child */
	const char *why; /* stopped by us */
};

static void stop(struct parser *p, const char *why)
{
	p->why = why;
	XML_StopParser(p->expat, XML_FALSE);
}

static const char *local_name(const char *name)
{
	const char *colon = strchr(name, ':');

	return colon ? colon + 1 : name;
}

static void add_attributes(struct parser *p, struct xml_node *n, const char **attributes)
{
	struct xml_attribute **last = &n->attributes;

	for (; attributes[0]; attributes += 2) {
		struct xml_attribute *a;

		if (p->count++ == AWS_TOKENS_MAX) {
			stop(p, "too many elements");
			return;
		}
		a = arena_new(p->arena, struct xml_attribute);
		a->name = arena_strdup(p->arena, local_name(attributes[0]));
		a->value = arena_strdup(p->arena, attributes[1]);
		*last = a;
		last = &a->next;
	}
}

static void on_start(void *ctx, const char *name, const char **attributes)
{
	struct parser *p = ctx;
	struct xml_node *n;

	if (p->why)
		return;
	if (p->depth == AWS_DEPTH_MAX || p->count++ == AWS_TOKENS_MAX) {
		stop(p, p->depth == AWS_DEPTH_MAX ? "nested too deep" : "too many elements");
		return;
	}
	n = arena_new(p->arena, struct xml_node);
	n->name = arena_strdup(p->arena, local_name(name));
	n->text = "";
	add_attributes(p, n, attributes);
	if (p->depth == 0) {
		p->root = n;
	} else {
		*p->last[p->depth - 1] = n;
		p->last[p->depth - 1] = &n->next;
	}
	p->open[p->depth] = n;
	p->last[p->depth++] = &n->children;
	buf_clear(&p->text);
}

static void on_end(void *ctx, const char *name)
{
	struct parser *p = ctx;
	struct xml_node *n;

	(void)name;
	if (p->why)
		return;
	n = p->open[--p->depth];
	if (!n->children && buf_len(&p->text))
		n->text = arena_strndup(p->arena, buf_data(&p->text), buf_len(&p->text));
	buf_clear(&p->text);
}

static void on_text(void *ctx, const char *text, int len)
{
	struct parser *p = ctx;

	if (!p->why)
		buf_append(&p->text, text, (size_t)len);
}

static void on_doctype(
    void *ctx, const char *name, const char *system, const char *public, int has_internal_subset)
{
	(void)name, (void)system, (void)public, (void)has_internal_subset;
	stop(ctx, "a document type is not allowed");
}

int xml_parse(struct arena *a, struct str body, struct xml_node **ret, struct err *e)
{
	struct parser p = {.arena = a, .text = BUF_INIT};
	enum XML_Status status = XML_STATUS_ERROR;

	p.expat = XML_ParserCreate(NULL);
	check(p.expat);
	XML_SetUserData(p.expat, &p);
	XML_SetElementHandler(p.expat, on_start, on_end);
	XML_SetCharacterDataHandler(p.expat, on_text);
	XML_SetStartDoctypeDeclHandler(p.expat, on_doctype);
	if (body.len <= INT32_MAX)
		status = XML_Parse(p.expat, body.ptr, (int)body.len, XML_TRUE);
	if (status == XML_STATUS_OK)
		*ret = p.root;
	else
		fail(e, AWS_SERIALIZATION,
		    "The XML you provided was not well-formed or did not validate against our "
		    "published schema: %s (line %lu, column %lu)",
		    p.why ? p.why : XML_ErrorString(XML_GetErrorCode(p.expat)),
		    XML_GetCurrentLineNumber(p.expat), XML_GetCurrentColumnNumber(p.expat));
	XML_ParserFree(p.expat);
	buf_done(&p.text);
	return status == XML_STATUS_OK ? 0 : -EINVAL;
}
