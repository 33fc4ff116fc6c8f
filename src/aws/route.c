/*
 * Which operation is it? The signature's scope names the service; without one, X-Amz-Target or the
 * path does. rest-json by method and URI template, json by target, query by Action and Version;
 * rest-xml in route_xml.c.
 */
#include "aws/aws_int.h"

/* One segment of the template against one of the path. */
static bool match_segment(struct aws_route *route, struct str want, struct str got)
{
	if (want.len < 2 || want.ptr[0] != '{')
		return str_eq(want, got);
	if (got.len == 0 || route->label_count == AWS_LABELS_MAX)
		return false;
	route->labels[route->label_count++] = (struct aws_label){{want.ptr + 1, want.len - 2}, got};
	return true;
}

static bool greedy(struct str segment)
{
	return segment.len > 3 && segment.ptr[0] == '{' && segment.ptr[segment.len - 2] == '+';
}

static struct str without_last_slash(struct str path)
{
	if (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	return path;
}

/* How well the path fits: 0 not at all, else 1 + number of literal segments. */
static unsigned match_path(struct aws_route *route, struct str template, struct str path)
{
	unsigned score = 1;

	template = without_last_slash(template);
	path = without_last_slash(path);
	while (template.ptr && path.ptr) {
		struct str want = str_cut(&template, '/'), got;

		if (greedy(want)) {
			want.len--; /* "{Key+}" is stored as "Key" */
			return match_segment(route, want, path) ? score : 0;
		}
		got = str_cut(&path, '/');
		if (!match_segment(route, want, got))
			return 0;
		score += want.len && want.ptr[0] != '{';
	}
	return template.ptr || path.ptr ? 0 : score;
}

static bool has_parameter(struct str query, struct str wanted)
{
	while (query.ptr)
		if (str_eq(str_cut(&query, '&'), wanted))
			return true;
	return false;
}

/* Cheap, and true of few operations: method, and the path up to the first label. */
static bool worth_matching(const struct aws_op *op, const struct http_request *r)
{
	if (!str_is(r->method, op->method))
		return false;
	for (size_t i = 0; op->uri[i] && op->uri[i] != '{' && op->uri[i] != '?'; i++)
		if (i < r->path.len && op->uri[i] != r->path.ptr[i])
			return false;
	return true;
}

static unsigned match_op(
    struct aws_route *route, const struct aws_op *op, const struct http_request *r)
{
	struct str query = str_from(op->uri), path = str_cut(&query, '?');
	unsigned score;

	route->label_count = 0;
	score = match_path(route, path, r->path);
	while (score && query.ptr) {
		if (!has_parameter(r->query, str_cut(&query, '&')))
			return 0;
		score++;
	}
	return score;
}

/* The best fit wins: "?List=ALL" before the same path without. */
static bool route_rest(
    const struct aws_registered *g, const struct http_request *r, struct aws_route *ret)
{
	unsigned best = 0;

	for (unsigned i = 0; i < g->service->op_count; i++) {
		const struct aws_op *op = &g->service->ops[i];
		struct aws_route route;
		unsigned score;

		if (!worth_matching(op, r))
			continue;
		route = *ret;
		score = match_op(&route, op, r);
		if (score <= best)
			continue;
		best = score;
		*ret = route;
		ret->op = op;
	}
	return best > 0;
}

static const struct aws_op *find_op(const struct aws_service *s, struct str name)
{
	size_t lo = 0, hi = s->op_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct str have = str_from(s->ops[mid].name);
		int r = memcmp(name.ptr, have.ptr, min_size(name.len, have.len));

		if (r == 0)
			r = (name.len > have.len) - (name.len < have.len);
		if (r == 0)
			return &s->ops[mid];
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

static void choose(struct aws_route *route, const struct aws_registered *g)
{
	route->registered = g;
	route->service = g->service;
	route->protocol = g->service->protocol;
}

static const struct aws_registered *by_scope(struct aws *a, struct str scope_service)
{
	for (size_t i = 0; i < a->service_count; i++)
		if (str_is(scope_service, a->services[i].service->signing_name))
			return &a->services[i];
	return NULL;
}

static const struct aws_registered *by_target(struct aws *a, struct str prefix)
{
	for (size_t i = 0; i < a->service_count; i++)
		if (a->services[i].service->target &&
		    str_is(prefix, a->services[i].service->target))
			return &a->services[i];
	return NULL;
}

static bool by_path(struct aws *a, const struct http_request *r, struct aws_route *ret)
{
	for (size_t i = 0; i < a->service_count; i++) {
		if (a->services[i].service->protocol != AWS_REST_JSON ||
		    !route_rest(&a->services[i], r, ret))
			continue;
		choose(ret, &a->services[i]);
		return true;
	}
	return false;
}

static void route_target(const struct aws_registered *g, struct str target, struct aws_route *ret)
{
	struct str prefix = str_cut(&target, '.');

	if (g->service->target && str_is(prefix, g->service->target) && target.len)
		ret->op = find_op(g->service, target);
}

static struct str hooked_path(
    const struct aws_registered *g, const struct http_request *r, struct arena *arena)
{
	return g->hooks && g->hooks->path ? g->hooks->path(g->ctx, r, arena) : STR_NULL;
}

static void route_in(struct aws_route *ret, const struct aws_registered *g, struct arena *arena,
    const struct http_request *r, struct str target)
{
	choose(ret, g);
	switch (ret->protocol) {
	case AWS_REST_JSON: route_rest(g, r, ret); break;
	case AWS_REST_XML:
		if (!ret->path.ptr)
			ret->path = hooked_path(g, r, arena);
		if (!ret->path.ptr)
			ret->path = r->path;
		aws_route_rest_xml(g->service, r, ret);
		break;
	case AWS_JSON:
		if (target.ptr)
			route_target(g, target, ret);
		else if (g->service->query_compatible)
			ret->protocol = AWS_QUERY;
		break;
	default: break;
	}
}

/* The service that takes what nobody else claims. */
static const struct aws_registered *unclaimed(struct aws *a)
{
	for (size_t i = 0; i < a->service_count; i++)
		if (a->services[i].service->unclaimed)
			return &a->services[i];
	return NULL;
}

static bool is_form(const struct http_request *r)
{
	struct str query = r->query;

	if (str_is(r->method, "POST"))
		return str_has_prefix(
		    http_header(r, "Content-Type"), "application/x-www-form-urlencoded");
	while (query.len)
		if (str_has_prefix(str_cut(&query, '&'), "Action="))
			return true;
	return false;
}

/* Unsigned, without a target: a bucket's host tells, or the path, or the form in the body. */
static void route_unsigned(
    struct aws *a, struct arena *arena, const struct http_request *r, struct aws_route *ret)
{
	const struct aws_registered *g = unclaimed(a);

	if (g)
		ret->path = hooked_path(g, r, arena);
	if (!ret->path.ptr) {
		if (by_path(a, r, ret))
			return;
		if (is_form(r) || (!g && str_is(r->path, "/"))) {
			ret->protocol = AWS_QUERY;
			return;
		}
	}
	if (g)
		route_in(ret, g, arena, r, STR_NULL);
}

void aws_route_head(struct aws *a, struct arena *arena, const struct http_request *r,
    struct str scope_service, struct aws_route *ret)
{
	struct str target = http_header(r, "X-Amz-Target"), rest = target;
	const struct aws_registered *g = NULL;

	*ret = (struct aws_route){0};
	if (scope_service.ptr)
		g = by_scope(a, scope_service);
	else if (target.ptr)
		g = by_target(a, str_cut(&rest, '.'));
	ret->protocol = target.ptr ? AWS_JSON : AWS_REST_JSON;
	if (g)
		route_in(ret, g, arena, r, target);
	else if (!scope_service.ptr && !target.ptr)
		route_unsigned(a, arena, r, ret);
}

void aws_route_form(struct aws *a, const struct aws_params *p, struct aws_route *route)
{
	const char *action = aws_params_get(p, "Action"), *version = aws_params_get(p, "Version");

	for (size_t i = 0; i < a->service_count && !route->service; i++) {
		const struct aws_service *s = a->services[i].service;

		if ((s->protocol == AWS_QUERY || s->query_compatible) && version &&
		    strcmp(s->version, version) == 0)
			choose(route, &a->services[i]);
	}
	route->protocol = AWS_QUERY;
	if (route->service && action && version && strcmp(route->service->version, version) == 0)
		route->op = find_op(route->service, str_from(action));
}

int aws_unknown_op(
    const struct aws_route *route, const char *name, const char *version, struct err *e)
{
	if (route->protocol == AWS_QUERY)
		return fail(e, AWS_UNKNOWN_OP, "Could not find operation %.100s for version %.40s",
		    name ? name : "(no Action given)", version ? version : "NO_VERSION_SPECIFIED");
	if (route->protocol == AWS_REST_XML && !route->op)
		return fail(e, AWS_WRONG_METHOD,
		    "The specified method is not allowed against this resource.");
	if (!route->service)
		return fail(e, AWS_UNKNOWN_OP,
		    "This server does not have the service that the request is for.");
	if (route->op)
		return fail(e, AWS_UNKNOWN_OP, "This server does not implement %s of %s.",
		    route->op->name, route->service->name);
	return fail(e, AWS_UNKNOWN_OP, "There is no such operation in %s.", route->service->name);
}
