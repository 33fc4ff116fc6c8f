/*
 * The compiler of event patterns: from JSON to a tree of fields and alternatives. Matching is in
 * event_match.c. Whoever may configure a mapping or a rule writes patterns: size and depth are
 * bounded here. Any thread.
 */
#include "source/event_pattern.h"

#include <arpa/inet.h>
#include <math.h>

#include "source/event_pattern_int.h"

#define DEPTH_MAX 32

/* ---- memory ---- */

static void test_done(struct event_test *t)
{
	for (size_t i = 0; i < t->text_count; i++)
		free(t->texts[i].text);
	free(t->texts);
	free(t->numbers);
}

static void group_done(struct event_group *g)
{
	for (size_t i = 0; i < g->field_count; i++) {
		struct event_field *f = &g->fields[i];

		free(f->name);
		for (size_t k = 0; k < f->test_count; k++)
			test_done(&f->tests[k]);
		free(f->tests);
		for (size_t k = 0; k < f->group_count; k++)
			group_done(&f->groups[k]);
		free(f->groups);
	}
	free(g->fields);
}

void event_pattern_free(struct event_pattern *p)
{
	if (!p)
		return;
	group_done(&p->root);
	free(p);
}

/* ---- operators ---- */

static void add_text(struct event_test *t, enum event_text_kind kind, const json_t *value)
{
	struct event_text *x;

	t->texts = xrealloc(t->texts, (t->text_count + 1) * sizeof(*t->texts));
	x = &t->texts[t->text_count++];
	x->kind = kind;
	x->len = json_string_length(value);
	x->text = xmalloc(x->len + 1);
	memcpy(x->text, json_string_value(value), x->len + 1);
}

static int wrong(struct err *e, const char *what, const char *want)
{
	return err_set(e, EINVAL, "%.64s takes %s", what, want);
}

/* '*' stands for anything, "\*" and "\\" for themselves. */
static int check_wildcard(const json_t *value, struct err *e)
{
	const char *s = json_string_value(value);

	for (size_t i = 0; i < json_string_length(value); i++) {
		if (s[i] == '*' && s[i + 1] == '*')
			return err_set(e, EINVAL, "Consecutive wildcard characters at pos %zu", i);
		if (s[i] == '\\') {
			i++;
			if (s[i] != '*' && s[i] != '\\')
				return err_set(
				    e, EINVAL, "Invalid escape character at pos %zu", i - 1);
		}
	}
	return 0;
}

static int check_text(enum event_text_kind kind, const json_t *value, struct err *e)
{
	size_t len = json_string_length(value);

	if (!json_is_string(value))
		return wrong(e, event_text_name(kind), "a string");
	if (kind == TEXT_WILDCARD)
		return check_wildcard(value, e);
	if (len != strlen(json_string_value(value)))
		return wrong(e, event_text_name(kind), "a string without NUL");
	if (!len && (kind == TEXT_PREFIX || kind == TEXT_SUFFIX))
		return wrong(e, event_text_name(kind), "a string that is not empty");
	return 0;
}

/* {"prefix":"x"} or {"prefix":{"equals-ignore-case":"x"}} */
static int compile_text(
    struct event_test *t, enum event_text_kind kind, const json_t *value, struct err *e)
{
	const json_t *inner = json_object_get(value, "equals-ignore-case");

	if (inner && json_object_size(value) == 1 && (kind == TEXT_PREFIX || kind == TEXT_SUFFIX)) {
		kind = kind == TEXT_PREFIX ? TEXT_PREFIX_NOCASE : TEXT_SUFFIX_NOCASE;
		value = inner;
	}
	if (check_text(kind, value, e) < 0)
		return -EINVAL;
	t->op = EVENT_TEXTS;
	add_text(t, kind, value);
	return 0;
}

static int compile_cidr(struct event_test *t, const json_t *value, struct err *e)
{
	struct str rest = str_from(json_is_string(value) ? json_string_value(value) : "");
	struct str address = str_cut(&rest, '/');
	char text[INET6_ADDRSTRLEN];
	int64_t bits;

	t->op = EVENT_CIDR;
	if (address.len >= sizeof(text))
		return wrong(e, "cidr", "an address and a length: \"10.0.0.0/24\"");
	memcpy(text, address.ptr, address.len);
	text[address.len] = 0;
	t->family = memchr(text, ':', address.len) ? AF_INET6 : AF_INET;
	bits = t->family == AF_INET6 ? 128 : 32;
	if (inet_pton(t->family, text, t->address) != 1)
		return wrong(e, "cidr", "an address and a length: \"10.0.0.0/24\"");
	if (rest.ptr && !str_to_int64(rest, 0, bits, &bits))
		return wrong(e, "cidr", "a length of at most 32 bits (IPv4) or 128 (IPv6)");
	t->bits = (unsigned)bits;
	return 0;
}

static int compile_bound(struct event_test *t, const char *op, const json_t *n, struct err *e)
{
	bool lower = op[0] == '>', upper = op[0] == '<', open = !op[1];

	if (!json_is_number(n))
		return err_set(e, EINVAL, "Value of %.2s must be numeric", op);
	if (lower) {
		t->low = json_number_value(n);
		t->low_open = open;
	} else if (upper) {
		t->high = json_number_value(n);
		t->high_open = open;
	} else {
		t->low = t->high = json_number_value(n);
	}
	return 0;
}

static bool is_bound(const char *op)
{
	return strcmp(op, "<") == 0 || strcmp(op, "<=") == 0 || strcmp(op, ">") == 0 ||
	       strcmp(op, ">=") == 0;
}

/* ["=",5], [">",0], [">",0,"<=",5] */
static int compile_numeric(struct event_test *t, const json_t *list, struct err *e)
{
	const char *first = json_string_value(json_array_get(list, 0));
	const char *second = json_string_value(json_array_get(list, 2));
	size_t n = json_array_size(list);

	t->op = EVENT_NUMERIC;
	t->low = -INFINITY;
	t->high = INFINITY;
	if (!first || (strcmp(first, "=") != 0 && !is_bound(first)))
		return wrong(e, "numeric", "a list such as [\">\",0,\"<=\",5]");
	if (n != 2 &&
	    (n != 4 || first[0] != '>' || !second || second[0] != '<' || !is_bound(second)))
		return wrong(e, "numeric", "one comparison, or one with > and then one with <");
	if (compile_bound(t, first, json_array_get(list, 1), e) < 0)
		return -EINVAL;
	if (n == 4 && compile_bound(t, second, json_array_get(list, 3), e) < 0)
		return -EINVAL;
	if (t->low > t->high || (t->low == t->high && (t->low_open || t->high_open)))
		return err_set(e, EINVAL, "Bottom must be less than top");
	return 0;
}

static int compile_exists(struct event_test *t, const json_t *value, struct err *e)
{
	t->op = EVENT_EXISTS;
	t->exists = json_is_true(value);
	return json_is_boolean(value) ? 0 : wrong(e, "exists", "true or false");
}

/* ---- anything-but ---- */

static void add_number(struct event_test *t, const json_t *n)
{
	t->numbers = xrealloc(t->numbers, (t->number_count + 1) * sizeof(*t->numbers));
	t->numbers[t->number_count++] = event_number(n);
}

static int except_value(struct event_test *t, const json_t *v, struct err *e)
{
	if (json_is_string(v))
		add_text(t, TEXT_EXACT, v);
	else if (json_is_number(v))
		add_number(t, v);
	else
		return wrong(e, "anything-but", "strings or numbers");
	return 0;
}

static int except_texts(
    struct event_test *t, enum event_text_kind kind, const json_t *value, struct err *e)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(value)) {
		if (check_text(kind, value, e) < 0)
			return -EINVAL;
		add_text(t, kind, value);
		return 0;
	}
	if (!json_array_size(value))
		return err_set(e, EINVAL, "Empty arrays are not allowed");
	json_array_foreach(value, i, v)
	{
		if (check_text(kind, v, e) < 0)
			return -EINVAL;
		add_text(t, kind, v);
	}
	return 0;
}

static bool find_text_kind(const char *name, enum event_text_kind *ret)
{
	static const enum event_text_kind kinds[] = {
	    TEXT_PREFIX, TEXT_SUFFIX, TEXT_NOCASE, TEXT_WILDCARD};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(event_text_name(kinds[i]), name) == 0) {
			*ret = kinds[i];
			return true;
		}
	}
	return false;
}

static int compile_except(struct event_test *t, const json_t *value, struct err *e)
{
	void *it = json_object_iter((json_t *)(uintptr_t)value);
	enum event_text_kind kind;
	const json_t *v;
	size_t i;

	t->op = EVENT_EXCEPT;
	if (it) {
		const char *name = json_object_iter_key(it);

		if (json_object_size(value) != 1 || !find_text_kind(name, &kind))
			return err_set(e, EINVAL, "Unsupported anything-but pattern: %.64s", name);
		return except_texts(t, kind, json_object_iter_value(it), e);
	}
	if (!json_is_array(value))
		return except_value(t, value, e);
	if (!json_array_size(value))
		return err_set(e, EINVAL, "Empty arrays are not allowed");
	json_array_foreach(value, i, v)
	{
		if (except_value(t, v, e) < 0)
			return -EINVAL;
	}
	return 0;
}

/* ---- alternatives and fields ---- */

static int compile_operator(struct event_test *t, const json_t *object, struct err *e)
{
	void *it = json_object_iter((json_t *)(uintptr_t)object);
	enum event_text_kind kind;
	const json_t *value;
	const char *name;

	if (!it || json_object_size(object) != 1)
		return err_set(e, EINVAL, "Only one key allowed in match expression");
	name = json_object_iter_key(it);
	value = json_object_iter_value(it);
	if (find_text_kind(name, &kind))
		return compile_text(t, kind, value, e);
	if (strcmp(name, "anything-but") == 0)
		return compile_except(t, value, e);
	if (strcmp(name, "exists") == 0)
		return compile_exists(t, value, e);
	if (strcmp(name, "numeric") == 0)
		return compile_numeric(t, value, e);
	if (strcmp(name, "cidr") == 0)
		return compile_cidr(t, value, e);
	return err_set(e, EINVAL, "Unrecognized match type %.64s", name);
}

static int compile_test(struct event_test *t, const json_t *v, struct err *e)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT: return compile_operator(t, v, e);
	case JSON_STRING:
		t->op = EVENT_TEXTS;
		add_text(t, TEXT_EXACT, v);
		return 0;
	case JSON_INTEGER:
	case JSON_REAL:
		t->op = EVENT_NUMBER;
		add_number(t, v);
		return 0;
	case JSON_TRUE: t->op = EVENT_TRUE; return 0;
	case JSON_FALSE: t->op = EVENT_FALSE; return 0;
	case JSON_NULL: t->op = EVENT_NULL; return 0;
	case JSON_ARRAY: break;
	}
	return err_set(e, EINVAL, "Match value must be String, number, true, false, or null");
}

static int compile_group(struct event_group *g, const json_t *doc, unsigned depth, struct err *e);

static int compile_tests(struct event_field *f, const json_t *list, struct err *e)
{
	const json_t *v;
	size_t i;

	if (!json_array_size(list))
		return err_set(e, EINVAL, "Empty arrays are not allowed");
	f->tests = xcalloc(json_array_size(list), sizeof(*f->tests));
	json_array_foreach(list, i, v)
	{
		f->test_count++;
		if (compile_test(&f->tests[i], v, e) < 0)
			return -EINVAL;
	}
	return 0;
}

static int compile_groups(struct event_field *f, const json_t *list, unsigned depth, struct err *e)
{
	const json_t *v;
	size_t i;

	f->groups = xcalloc(json_array_size(list), sizeof(*f->groups));
	json_array_foreach(list, i, v)
	{
		f->group_count++;
		if (compile_group(&f->groups[i], v, depth, e) < 0)
			return -EINVAL;
	}
	return 0;
}

/* "$or" is an operator where it holds two or more objects, else a member called so. */
static bool is_or(const char *name, const json_t *value)
{
	const json_t *v;
	size_t i;

	if (strcmp(name, "$or") != 0 || json_array_size(value) < 2)
		return false;
	json_array_foreach(value, i, v)
	{
		if (!json_is_object(v))
			return false;
	}
	return true;
}

static int compile_field(
    struct event_field *f, const char *name, const json_t *value, unsigned depth, struct err *e)
{
	if (is_or(name, value)) {
		f->either = true;
		return compile_groups(f, value, depth, e);
	}
	f->name = xstrdup(name);
	if (json_is_array(value))
		return compile_tests(f, value, e);
	if (!json_is_object(value))
		return err_set(e, EINVAL, "\"%.64s\" must be an object or an array", name);
	f->groups = xcalloc(1, sizeof(*f->groups));
	f->group_count = 1;
	return compile_group(&f->groups[0], value, depth, e);
}

static int compile_group(struct event_group *g, const json_t *doc, unsigned depth, struct err *e)
{
	const char *name;
	json_t *value;

	if (depth >= DEPTH_MAX)
		return err_set(e, EINVAL, "The pattern is nested more than %d deep", DEPTH_MAX);
	if (!json_object_size(doc))
		return err_set(e, EINVAL, "Empty objects are not allowed");
	g->fields = xcalloc(json_object_size(doc), sizeof(*g->fields));
	json_object_foreach((json_t *)(uintptr_t)doc, name, value)
	{
		if (compile_field(&g->fields[g->field_count++], name, value, depth + 1, e) < 0)
			return -EINVAL;
	}
	return 0;
}

struct event_pattern *event_pattern_new(const json_t *doc, struct err *e)
{
	struct event_pattern *p = xcalloc(1, sizeof(*p));
	int r = 0;

	if (!json_is_object(doc))
		r = err_set(e, EINVAL, "The pattern is not a JSON object");
	else if (json_object_size(doc)) /* {} wants everything */
		r = compile_group(&p->root, doc, 0, e);
	if (r == 0)
		return p;
	event_pattern_free(p);
	return NULL;
}
