/* GetParametersByPath and DescribeParameters. Loop thread. */
#include "service/ssm/ssm_int.h"

#define PATH_PAGE 10
#define DESCRIBE_PAGE 50

/* One page being gathered. */
struct page {
	struct call *c;
	const struct ssm_parameter_string_filter_list *filters;
	const char *path; /* NULL: any */
	bool recursive, decrypt;
	size_t count, max;
	struct ssm_parameter *values;           /* either */
	struct ssm_parameter_metadata *entries; /* or */
	const char *next;
	int result;
	struct err *e;
};

static void describe(
    struct call *c, const json_t *head, const json_t *v, struct ssm_parameter_metadata *ret)
{
	*ret = (struct ssm_parameter_metadata){
	    .arn = parameter_arn(c, head),
	    .allowed_pattern = call_str(c, docs_str(v, "pattern")),
	    .data_type = call_str(c, docs_str(v, "data_type")),
	    .description = call_str(c, docs_str(v, "description")),
	    .key_id = call_str(c, docs_str(v, "key_id")),
	    .last_modified_date = call_int(c, docs_int(v, "modified")),
	    .last_modified_user = call_str(c, docs_str(v, "user")),
	    .name = call_str(c, docs_str(head, "name")),
	    .policies = call_new(c, struct ssm_parameter_policy_list),
	    .tier = call_str(c, docs_str(v, "tier")),
	    .type = call_str(c, docs_str(head, "type")),
	    .version = call_int(c, docs_int(v, "version")),
	};
}

static bool gather(void *ctx, const char *key, const json_t *head)
{
	struct page *p = ctx;
	const json_t *v = parameter_version_last(head);

	if (p->path && !path_holds(docs_str(head, "name"), p->path, !p->recursive))
		return true;
	if (!parameter_filters_pass(p->filters, head, &v))
		return true;
	if (p->count == p->max) {
		p->next = docs_token(p->c, key);
		return false;
	}
	if (p->entries)
		describe(p->c, head, v, &p->entries[p->count]);
	else
		p->result =
		    parameter_fill(p->c, key, head, v, "", p->decrypt, &p->values[p->count], p->e);
	p->count++;
	return p->result == 0;
}

static int walk(struct page *p, const char *token)
{
	struct call *c = p->c;
	const char *from;

	if (!docs_token_open(c, token, &from))
		return fail(p->e, SSM_INVALID_NEXT_TOKEN, "The specified token is not valid.");
	docs_walk(
	    ssm_of(c)->heads, call_printf(c, "%s/%s/", c->account, c->region), from, gather, p);
	return p->result;
}

int ssm_get_parameters_by_path(struct call *c, const struct ssm_get_parameters_by_path_in *in,
    struct ssm_get_parameters_by_path_out *out, struct err *e)
{
	struct ssm_parameter_list *list = call_new(c, struct ssm_parameter_list);
	struct page p = {.c = c,
	    .filters = in->parameter_filters,
	    .path = in->path,
	    .recursive = in->recursive && *in->recursive,
	    .decrypt = in->with_decryption && *in->with_decryption,
	    .max = in->max_results ? (size_t)*in->max_results : PATH_PAGE,
	    .e = e};
	int r = parameter_filters_check(in->parameter_filters, true, e);

	if (r == 0 && *in->path != '/')
		r = call_fail(c, e, AWS_VALIDATION,
		    "The parameter doesn't meet the parameter name requirements. The parameter "
		    "name must begin with a forward slash \"/\". It can't be prefixed with \"aws\" "
		    "or \"ssm\" (case-insensitive). It must use only letters, numbers, or the "
		    "following symbols: . (period), - (hyphen), _ (underscore). Special characters "
		    "are not allowed. All sub-paths, if specified, must use the forward slash "
		    "symbol \"/\". Valid example: /get/parameters2-/by1./path0_.");
	p.values = call_array(c, p.max, struct ssm_parameter);
	if (r == 0)
		r = walk(&p, in->next_token);
	*list = (struct ssm_parameter_list){p.count, p.values};
	out->parameters = list;
	out->next_token = p.next;
	return r;
}

/* The filters of old: a name is what it begins with. */
static const struct ssm_parameter_string_filter_list *modernize(
    struct call *c, const struct ssm_parameters_filter_list *old)
{
	struct ssm_parameter_string_filter_list *list =
	    call_new(c, struct ssm_parameter_string_filter_list);
	struct ssm_parameter_string_filter *items =
	    call_array(c, old->count + 1, struct ssm_parameter_string_filter);

	for (; list->count < old->count; list->count++) {
		const struct ssm_parameters_filter *f = &old->items[list->count];
		struct ssm_parameter_string_filter_value_list *values =
		    call_new(c, struct ssm_parameter_string_filter_value_list);

		*values = (struct ssm_parameter_string_filter_value_list){
		    f->values->count, f->values->items};
		items[list->count] = (struct ssm_parameter_string_filter){
		    f->key, strcmp(f->key, "Name") == 0 ? "BeginsWith" : "Equals", values};
	}
	list->items = items;
	return list;
}

int ssm_describe_parameters(struct call *c, const struct ssm_describe_parameters_in *in,
    struct ssm_describe_parameters_out *out, struct err *e)
{
	struct ssm_parameter_metadata_list *list = call_new(c, struct ssm_parameter_metadata_list);
	struct page p = {.c = c,
	    .filters = in->filters && in->filters->count ? modernize(c, in->filters)
							 : in->parameter_filters,
	    .max = in->max_results ? (size_t)*in->max_results : DESCRIBE_PAGE,
	    .e = e};
	int r = parameter_filters_check(p.filters, false, e);

	if (r == 0 && in->filters && in->filters->count && in->parameter_filters &&
	    in->parameter_filters->count)
		r = fail(e, SSM_INVALID_FILTER_KEY,
		    "You can use either Filters or ParameterFilters in a single request.");
	if (r == 0 && p.max > DESCRIBE_PAGE)
		r = fail(e, AWS_VALIDATION, "MaxResults must not be above %d.", DESCRIBE_PAGE);
	if (r < 0)
		return r;
	p.entries = call_array(c, p.max, struct ssm_parameter_metadata);
	/* Nobody shares parameters with this account. */
	if (!in->shared || !*in->shared)
		r = walk(&p, in->next_token);
	*list = (struct ssm_parameter_metadata_list){p.count, p.entries};
	out->parameters = list;
	out->next_token = p.next;
	return r;
}
