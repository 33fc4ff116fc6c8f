/* ListSecrets and BatchGetSecretValue. Loop thread. */
#include "service/secretsmanager/secretsmanager_int.h"

#define LIST_PAGE 100
#define BATCH_PAGE 20

/* ---- ListSecrets: sorted, so all that pass are gathered first ---- */

struct entry {
	const char *key;
	const json_t *head;
	int64_t rank; /* 0 when sorted by name alone */
};

struct gathered {
	const struct secretsmanager_list_secrets_in *in;
	struct entry *entries;
	size_t count, capacity;
};

static int64_t rank_of(const json_t *head, const char *by)
{
	if (by && strcmp(by, "name") == 0)
		return 0;
	if (by && strcmp(by, "last-accessed-date") == 0)
		return docs_int(head, "accessed");
	if (by && strcmp(by, "last-changed-date") == 0)
		return docs_int(head, "changed");
	return docs_int(head, "created");
}

static bool gather(void *ctx, const char *key, const json_t *head)
{
	struct gathered *g = ctx;
	bool gone = g->in->include_planned_deletion && *g->in->include_planned_deletion;

	if ((docs_int(head, "ends") && !gone) || !secret_filters_pass(g->in->filters, head))
		return true;
	if (g->count == g->capacity) {
		g->capacity = max_size(64, g->capacity * 2);
		g->entries = xrealloc(g->entries, g->capacity * sizeof(*g->entries));
	}
	g->entries[g->count++] = (struct entry){key, head, rank_of(head, g->in->sort_by)};
	return true;
}

static int ascending(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return strcmp(x->key, y->key);
}

static int descending(const void *a, const void *b)
{
	return ascending(b, a);
}

static struct secretsmanager_secret_list_entry show(struct call *c, const struct entry *en)
{
	struct secret s = secret_of(c, en->key, en->head);
	int64_t accessed = docs_int(s.head, "accessed"), ends = docs_int(s.head, "ends");

	return (struct secretsmanager_secret_list_entry){
	    .arn = s.arn,
	    .created_date = call_int(c, docs_int(s.head, "created")),
	    .deleted_date = ends ? call_int(c, ends) : NULL,
	    .description = call_str(c, docs_str(s.head, "description")),
	    .kms_key_id = call_str(c, docs_str(s.head, "kms_key_id")),
	    .last_accessed_date = accessed ? call_int(c, accessed) : NULL,
	    .last_changed_date = call_int(c, docs_int(s.head, "changed")),
	    .name = s.name,
	    .secret_versions_to_stages = secret_stages_map(c, s.head),
	    .tags = secret_tags_shown(c, s.head),
	    .type = call_str(c, docs_str(s.head, "type")),
	};
}

/* "rank key" of the first of the next page. */
static bool open_token(struct call *c, const char *token, struct entry *ret)
{
	const char *text;
	struct str rest;

	*ret = (struct entry){.key = ""};
	if (!token)
		return true;
	if (!docs_token_open(c, token, &text))
		return false;
	rest = str_from(text);
	if (!str_to_int64(str_cut(&rest, ' '), 0, INT64_MAX, &ret->rank) || !rest.ptr)
		return false;
	ret->key = rest.ptr;
	return true;
}

static void show_page(struct call *c, struct gathered *g, const struct entry *from,
    struct secretsmanager_list_secrets_out *out)
{
	int (*order)(const void *, const void *) =
	    g->in->sort_order && strcmp(g->in->sort_order, "asc") == 0 ? ascending : descending;
	size_t max = g->in->max_results ? (size_t)*g->in->max_results : LIST_PAGE;
	struct secretsmanager_secret_list_type *list =
	    call_new(c, struct secretsmanager_secret_list_type);
	struct secretsmanager_secret_list_entry *items =
	    call_array(c, max, struct secretsmanager_secret_list_entry);

	if (g->count)
		qsort(g->entries, g->count, sizeof(*g->entries), order);
	for (size_t i = 0; i < g->count; i++) {
		const struct entry *en = &g->entries[i];

		if (*from->key && order(en, from) < 0)
			continue;
		if (list->count == max) {
			out->next_token =
			    docs_token(c, call_printf(c, "%" PRId64 " %s", en->rank, en->key));
			break;
		}
		items[list->count++] = show(c, en);
	}
	list->items = items;
	out->secret_list = list;
}

int secretsmanager_list_secrets(struct call *c, const struct secretsmanager_list_secrets_in *in,
    struct secretsmanager_list_secrets_out *out, struct err *e)
{
	struct gathered g = {.in = in};
	struct entry from;
	int r = secret_filters_check(in->filters, e);

	if (r == 0 && !open_token(c, in->next_token, &from))
		r = fail(e, SECRETSMANAGER_INVALID_NEXT_TOKEN_EXCEPTION,
		    "The NextToken value is invalid: use the one of the page before.");
	if (r < 0)
		return r;
	docs_walk(
	    manager_of(c)->heads, call_printf(c, "%s/%s/", c->account, c->region), "", gather, &g);
	show_page(c, &g, &from, out);
	free(g.entries);
	return 0;
}

/* ---- BatchGetSecretValue ---- */

struct batch {
	struct call *c;
	const struct secretsmanager_filters_list_type *filters;
	size_t count, max, error_count;
	struct secretsmanager_secret_value_entry *values;
	struct secretsmanager_api_error_type *errors;
	const char *next;
	int result;
	struct err *e;
};

/* The current value; what is wrong with one secret is told beside the others. */
static void add_value(struct batch *b, const char *id, const struct secret *s, int r)
{
	struct secretsmanager_get_secret_value_out one = {0};
	struct call *c = b->c;
	const char *version;

	if (r == 0)
		r = secret_version_find(c, s->head, NULL, NULL, &version, b->e);
	if (r == 0)
		r = secret_value_show(c, s, version, &one, b->e);
	if (r < 0 && !b->e->code)
		b->result = r;
	else if (r < 0)
		b->errors[b->error_count++] = (struct secretsmanager_api_error_type){
		    .error_code = b->e->code == SECRETSMANAGER_RESOURCE_NOT_FOUND_EXCEPTION
				      ? "ResourceNotFoundException"
				      : "InvalidRequestException",
		    .message = call_str(c, b->e->msg),
		    .secret_id = call_str(c, id)};
	else
		b->values[b->count++] =
		    (struct secretsmanager_secret_value_entry){one.arn, one.created_date, one.name,
			one.secret_binary, one.secret_string, one.version_id, one.version_stages};
}

static bool gather_value(void *ctx, const char *key, const json_t *head)
{
	struct batch *b = ctx;
	struct secret s;

	/* Without a value there is nothing to list. */
	if (docs_int(head, "ends") || !stage_holder(head, CURRENT) ||
	    !secret_filters_pass(b->filters, head))
		return true;
	if (b->count == b->max) {
		b->next = docs_token(b->c, key);
		return false;
	}
	s = secret_of(b->c, key, head);
	add_value(b, s.arn, &s, 0);
	return b->result == 0;
}

static int check_batch(const struct secretsmanager_batch_get_secret_value_in *in, struct err *e)
{
	if (!in->secret_id_list == !in->filters)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "You must include Filters or SecretIdList, but not both.");
	if (in->secret_id_list && (in->max_results || in->next_token))
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "MaxResults and NextToken go with Filters, not with SecretIdList.");
	return secret_filters_check(in->filters, e);
}

int secretsmanager_batch_get_secret_value(struct call *c,
    const struct secretsmanager_batch_get_secret_value_in *in,
    struct secretsmanager_batch_get_secret_value_out *out, struct err *e)
{
	struct batch b = {.c = c,
	    .filters = in->filters,
	    .max = in->max_results ? (size_t)*in->max_results : BATCH_PAGE,
	    .values = call_array(c, BATCH_PAGE, struct secretsmanager_secret_value_entry),
	    .errors = call_array(c, BATCH_PAGE, struct secretsmanager_api_error_type),
	    .e = e};
	struct secretsmanager_secret_values_type *values =
	    call_new(c, struct secretsmanager_secret_values_type);
	struct secretsmanager_api_error_list_type *errors =
	    call_new(c, struct secretsmanager_api_error_list_type);
	const char *from = "";
	int r = check_batch(in, e);

	if (r == 0 && !docs_token_open(c, in->next_token, &from))
		r = fail(e, SECRETSMANAGER_INVALID_NEXT_TOKEN_EXCEPTION,
		    "The NextToken value is invalid: use the one of the page before.");
	if (r < 0)
		return r;
	for (size_t i = 0; in->secret_id_list && i < in->secret_id_list->count; i++) {
		const char *id = in->secret_id_list->items[i];
		struct secret s;

		add_value(&b, id, &s, secret_find(c, id, SEEN, &s, e));
	}
	if (in->filters)
		docs_walk(manager_of(c)->heads, call_printf(c, "%s/%s/", c->account, c->region),
		    from, gather_value, &b);
	*values = (struct secretsmanager_secret_values_type){b.count, b.values};
	*errors = (struct secretsmanager_api_error_list_type){b.error_count, b.errors};
	out->secret_values = values;
	out->errors = errors;
	out->next_token = b.next;
	return b.result;
}
