/*
 * Statements: parsed into what evaluation needs, which then allocates nothing but for variables.
 * See policy.h.
 */
#include "auth/policy_int.h"

/* Strings that an element holds; absent: no list at all. */
struct element {
	struct policy_strings strings;
	bool there, negated; /* NotAction and the like */
};

/* Whom a statement names. */
struct principals {
	bool there, negated, everybody;
	struct policy_strings aws, services;
};

struct statement {
	bool deny;
	struct principals principals;
	struct element actions, resources;
	struct policy_condition *conditions;
	size_t condition_count;
};

struct policy {
	json_t *root; /* the strings are in there */
	bool variables;
	struct statement *statements;
	size_t count;
};

/* ---- parsing ---- */

/* Of a string or an array of them. Numbers and booleans were made strings before. */
static struct policy_strings strings_of(const json_t *v)
{
	struct policy_strings s = {0};
	size_t count = json_is_array(v) ? json_array_size(v) : 1;

	if (!v)
		return s;
	s.list = xcalloc(count ? count : 1, sizeof(*s.list));
	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;

		if (json_is_string(one))
			s.list[s.count++] = json_string_value(one);
	}
	return s;
}

static struct element element_of(const json_t *statement, const char *yes, const char *no)
{
	const json_t *is = json_object_get(statement, yes), *not = json_object_get(statement, no);

	return (struct element){
	    .strings = strings_of(is ? is : not ), .there = is || not, .negated = not != NULL};
}

static bool names_all(const struct policy_strings *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->list[i], "*") == 0)
			return true;
	return false;
}

static struct principals principals_of(const json_t *statement)
{
	const json_t *is = json_object_get(statement, "Principal"),
		     *not = json_object_get(statement, "NotPrincipal"), *v = is ? is : not ;
	struct principals p = {.there = v != NULL, .negated = not != NULL};

	if (json_is_object(v)) {
		p.aws = strings_of(json_object_get(v, "AWS"));
		p.services = strings_of(json_object_get(v, "Service"));
	}
	p.everybody = json_is_string(v) || names_all(&p.aws);
	return p;
}

static json_t *scalar_text(const json_t *v)
{
	if (json_is_boolean(v))
		return json_string(json_is_true(v) ? "true" : "false");
	if (json_is_number(v)) {
		_cleanup_free_ char *text = json_dumps(v, JSON_ENCODE_ANY);

		return json_string(text);
	}
	return NULL;
}

/* Values of conditions may be true and 5; "true" and "5" are what they are compared as. */
static void make_text(json_t *keys, const char *key, json_t *v)
{
	json_t *text = scalar_text(v);

	if (text) {
		json_object_set_new(keys, key, text);
		return;
	}
	for (size_t i = 0; i < json_array_size(v); i++) {
		text = scalar_text(json_array_get(v, i));
		if (text)
			json_array_set_new(v, i, text);
	}
}

static void add_condition(struct statement *s, const char *operator, json_t * keys, const char *key)
{
	struct policy_condition *c;

	make_text(keys, key, json_object_get(keys, key));
	s->conditions = xrealloc(s->conditions, (s->condition_count + 1) * sizeof(*s->conditions));
	c = &s->conditions[s->condition_count++];
	check(policy_operator_find(operator, & c->op)); /* policy_load() has seen to it */
	c->key = key;
	c->values = strings_of(json_object_get(keys, key));
}

static struct statement statement_of(const json_t *v)
{
	const char *effect = json_string_value(json_object_get(v, "Effect"));
	struct statement s = {
	    .deny = effect && strcmp(effect, "Deny") == 0,
	    .principals = principals_of(v),
	    .actions = element_of(v, "Action", "NotAction"),
	    .resources = element_of(v, "Resource", "NotResource"),
	};
	json_t *conditions = json_object_get(v, "Condition");

	for (void *i = json_object_iter(conditions); i; i = json_object_iter_next(conditions, i)) {
		json_t *keys = json_object_iter_value(i);

		for (void *k = json_object_iter(keys); k; k = json_object_iter_next(keys, k))
			add_condition(&s, json_object_iter_key(i), keys, json_object_iter_key(k));
	}
	return s;
}

struct policy *policy_parse(struct str json, bool resource, struct err *e)
{
	json_t *root = NULL, *statements;
	const char *version;
	struct policy *p;

	if (json.len > POLICY_DOCUMENT_MAX)
		err_set(e, EINVAL, "The policy has %zu bytes, the limit is %d.", json.len,
		    POLICY_DOCUMENT_MAX);
	else
		root = policy_load(json, resource ? POLICY_RESOURCE : POLICY_IDENTITY, e);
	if (!root)
		return NULL;
	p = xcalloc(1, sizeof(*p));
	p->root = root;
	version = json_string_value(json_object_get(root, "Version"));
	p->variables = version && strcmp(version, "2012-10-17") == 0;
	statements = json_object_get(root, "Statement");
	p->count = json_is_array(statements) ? json_array_size(statements) : 1;
	p->statements = xcalloc(p->count, sizeof(*p->statements));
	for (size_t i = 0; i < p->count; i++)
		p->statements[i] = statement_of(
		    json_is_array(statements) ? json_array_get(statements, i) : statements);
	return p;
}

static void statement_done(struct statement *s)
{
	for (size_t i = 0; i < s->condition_count; i++)
		free(s->conditions[i].values.list);
	free(s->conditions);
	free(s->principals.aws.list);
	free(s->principals.services.list);
	free(s->actions.strings.list);
	free(s->resources.strings.list);
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->count; i++)
		statement_done(&p->statements[i]);
	free(p->statements);
	json_decref(p->root);
	free(p);
}

/* ---- evaluating ---- */

/* name is an account, its root, or the ARN of the principal or of the role it has assumed. */
static bool is_principal(const char *name, const struct aws_principal *p)
{
	struct str s = str_from(name), role = str_from(p->arn), want = s;

	if (s.len == 12)
		return strcmp(name, p->account) == 0;
	if (strcmp(name, p->arn) == 0)
		return true;
	if (!str_has_prefix(s, "arn:aws:iam::") || s.len < 26 || name[25] != ':' ||
	    strncmp(name + 13, p->account, 12) != 0)
		return false;
	if (strcmp(name + 26, "root") == 0)
		return true;
	if (p->type != AWS_ASSUMED_ROLE || !str_has_prefix(str_sub(s, 26), "role/"))
		return false;
	/* "…:assumed-role/NAME/SESSION", without the path that "role/PATH/NAME" has: names of roles
	 * are unique without it. */
	(void)str_cut(&role, '/');
	role = str_cut(&role, '/');
	while (want.ptr)
		s = str_cut(&want, '/');
	return str_eq(s, role);
}

static bool is_named(const struct principals *p, const struct policy_request *r)
{
	if (p->everybody)
		return true;
	for (size_t i = 0; i < p->services.count && r->service; i++)
		if (strcmp(p->services.list[i], r->service) == 0)
			return true;
	if (!r->principal || r->principal->type == AWS_ANONYMOUS)
		return false;
	for (size_t i = 0; i < p->aws.count; i++)
		if (is_principal(p->aws.list[i], r->principal))
			return true;
	return false;
}

static bool actions_match(const struct element *el, const struct policy_request *r)
{
	bool found = false;

	for (size_t i = 0; i < el->strings.count && !found; i++)
		found = policy_matches(str_from(el->strings.list[i]), str_from(r->action), true);
	return found != el->negated;
}

static bool resources_match(
    const struct element *el, const struct policy_request *r, bool variables)
{
	bool found = false;

	if (!el->there || !r->resource)
		return true;
	for (size_t i = 0; i < el->strings.count && !found; i++)
		found = policy_matches_expanded(el->strings.list[i], r->resource, r, variables);
	return found != el->negated;
}

static bool applies(const struct statement *s, const struct policy_request *r, bool variables)
{
	if (!actions_match(&s->actions, r) || !resources_match(&s->resources, r, variables))
		return false;
	if (s->principals.there && is_named(&s->principals, r) == s->principals.negated)
		return false;
	for (size_t i = 0; i < s->condition_count; i++)
		if (!policy_condition_holds(&s->conditions[i], r, variables))
			return false;
	return true;
}

enum policy_decision policy_evaluate(const struct policy *p, const struct policy_request *r)
{
	enum policy_decision decision = POLICY_SILENT;

	for (size_t i = 0; p && i < p->count; i++) {
		const struct statement *s = &p->statements[i];

		if ((decision == POLICY_ALLOW && !s->deny) || !applies(s, r, p->variables))
			continue;
		if (s->deny)
			return POLICY_DENY;
		decision = POLICY_ALLOW;
	}
	return decision;
}

static bool lets_everybody_in(const struct statement *s)
{
	/* Everybody but those few is everybody. */
	if (s->deny || !(s->principals.everybody || s->principals.negated))
		return false;
	for (size_t i = 0; i < s->condition_count; i++)
		if (policy_condition_narrows(&s->conditions[i]))
			return false;
	return true;
}

bool policy_is_public(const struct policy *p)
{
	for (size_t i = 0; p && i < p->count; i++)
		if (lets_everybody_in(&p->statements[i]))
			return true;
	return false;
}
