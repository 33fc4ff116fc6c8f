/*
 * Which operation of a rest-xml service is it? Dozens share "PUT /{Bucket}/{Key+}"; what tells
 * them apart is in the query string and in headers. Those words of the query that select an
 * operation ("acl", "list-type=2") must be exactly the operation's: a mistyped DELETE ?policy must
 * never be taken for DeleteBucket. Among what is left, the operation wins of whose required
 * parameters and headers most are there ("uploadId", "x-amz-copy-source").
 */
#include "aws/aws_int.h"

#define LITERALS_MAX 4

struct request {
	const struct http_request *http;
	unsigned labels;
	struct str literals[LITERALS_MAX];
	unsigned literal_count;
};

/* "acl" and "acl=" are the same word; "list-type=2" is one as a whole. */
static const char *find_literal(const char *const *all, struct str parameter)
{
	struct str value = parameter, name = str_cut(&value, '=');

	for (; all && *all; all++)
		if (str_is(parameter, *all) || (value.ptr && !value.len && str_is(name, *all)))
			return *all;
	return NULL;
}

/* False: more of them than any operation has. */
static bool collect_literals(const struct aws_service *s, struct request *q)
{
	struct str rest = q->http->query;

	while (rest.len) {
		const char *literal = find_literal(s->literals, str_cut(&rest, '&'));

		if (!literal)
			continue;
		if (q->literal_count == LITERALS_MAX)
			return false;
		q->literals[q->literal_count++] = str_from(literal);
	}
	return true;
}

static bool same_literals(const struct aws_op *op, const struct request *q)
{
	unsigned count = 0;

	for (; op->literals && op->literals[count]; count++) {
		bool found = false;

		for (unsigned i = 0; i < q->literal_count; i++)
			found |= str_is(q->literals[i], op->literals[count]);
		if (!found)
			return false;
	}
	return count == q->literal_count;
}

static bool has_parameter(struct str query, const char *name)
{
	while (query.len) {
		struct str value = str_cut(&query, '&');

		if (str_is(str_cut(&value, '='), name))
			return true;
	}
	return false;
}

static bool has_need(const struct request *q, const char *need)
{
	return need[0] == ':' ? http_header(q->http, need + 1).ptr != NULL
			      : has_parameter(q->http->query, need);
}

/* Higher fits better: what is there counts first, then what is not missing. */
static int score(const struct aws_op *op, const struct request *q)
{
	int present = 0, missing = 0;

	for (const char *const *need = op->needs; need && *need; need++) {
		if (has_need(q, *need))
			present++;
		else
			missing++;
	}
	return present * 256 - missing * 16 + (op->handler ? 2 : 0) + (op->deprecated ? 0 : 1);
}

static bool same_path(const struct aws_op *op, struct str path)
{
	struct str rest = str_from(op->uri);

	return op->labels || str_eq(str_cut(&rest, '?'), path);
}

/* "/bucket/key": a key may begin with a slash, and end with one; a bucket's slash means nothing. */
static void cut_path(struct aws_route *ret, struct request *q)
{
	struct str key = str_sub(ret->path, 1), bucket = str_cut(&key, '/');

	ret->label_count = 0;
	if (!bucket.len)
		return;
	ret->labels[ret->label_count++] = (struct aws_label){STR("Bucket"), bucket};
	if (key.len)
		ret->labels[ret->label_count++] = (struct aws_label){STR("Key"), key};
	q->labels = (unsigned)ret->label_count;
}

void aws_route_rest_xml(
    const struct aws_service *s, const struct http_request *r, struct aws_route *ret)
{
	struct request q = {.http = r};
	int best = INT32_MIN;

	cut_path(ret, &q);
	if (!collect_literals(s, &q))
		return;
	for (unsigned i = 0; i < s->op_count; i++) {
		const struct aws_op *op = &s->ops[i];
		int points;

		if ((op->labels != q.labels && !(q.labels == 1 && !op->labels)) || !r->method.len ||
		    r->method.ptr[0] != op->method[0] || !same_literals(op, &q) ||
		    !str_is(r->method, op->method) || !same_path(op, ret->path))
			continue;
		points = score(op, &q);
		if (points <= best)
			continue;
		best = points;
		ret->op = op;
	}
}
