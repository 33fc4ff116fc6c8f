/* GetParameter, GetParameters, GetParameterHistory. Loop thread. */
#include "service/ssm/ssm_int.h"

#define HISTORY_PAGE 50

const char *parameter_arn(struct call *c, const json_t *head)
{
	const char *name = docs_str(head, "name");

	return call_printf(c, "arn:aws:ssm:%s:%s:parameter%s%s", c->region, c->account,
	    *name == '/' ? "" : "/", name);
}

/* A copy for the answer; nothing of it stays behind. */
static int read_value(
    struct call *c, const char *key, int64_t version, bool decrypt, const char **ret, struct err *e)
{
	struct buf value = BUF_INIT;
	int r = parameter_value_read(ssm_of(c), key, version, decrypt, &value, e);

	if (r == 0)
		*ret = call_strn(c, buf_str(&value));
	if (value.mem)
		explicit_bzero(value.mem, value.capacity);
	buf_done(&value);
	return r;
}

int parameter_fill(struct call *c, const char *key, const json_t *head, const json_t *version,
    const char *selector, bool decrypt, struct ssm_parameter *ret, struct err *e)
{
	int64_t number = docs_int(version, "version");

	*ret = (struct ssm_parameter){
	    .arn = parameter_arn(c, head),
	    .data_type = call_str(c, docs_str(version, "data_type")),
	    .last_modified_date = call_int(c, docs_int(version, "modified")),
	    .name = call_str(c, docs_str(head, "name")),
	    .selector = *selector ? call_str(c, selector) : NULL,
	    .type = call_str(c, docs_str(head, "type")),
	    .version = call_int(c, number),
	};
	return read_value(c, key, number, decrypt, &ret->value, e);
}

/* A parameter, at the version that is asked for. */
static int get_one(
    struct call *c, const char *name, bool decrypt, struct ssm_parameter *ret, struct err *e)
{
	struct ref *r = call_new(c, struct ref);
	const char *key = NULL;
	const json_t *head = parameter_find_named(c, name, false, r, &key), *v;

	if (!head)
		return call_fail(c, e, SSM_PARAMETER_NOT_FOUND, "Parameter %s not found.", name);
	v = parameter_version_pick(head, r->selector);
	if (v)
		return parameter_fill(c, key, head, v, r->selector, decrypt, ret, e);
	return call_fail(c, e, SSM_PARAMETER_VERSION_NOT_FOUND,
	    "Systems Manager could not find %s %s of %s. Verify it and try again.",
	    strspn(r->selector + 1, "0123456789") == strlen(r->selector + 1) ? "version" : "label",
	    r->selector + 1, docs_str(head, "name"));
}

int ssm_get_parameter(struct call *c, const struct ssm_get_parameter_in *in,
    struct ssm_get_parameter_out *out, struct err *e)
{
	struct ssm_parameter *p = call_new(c, struct ssm_parameter);

	out->parameter = p;
	return get_one(c, in->name, in->with_decryption && *in->with_decryption, p, e);
}

int ssm_get_parameters(struct call *c, const struct ssm_get_parameters_in *in,
    struct ssm_get_parameters_out *out, struct err *e)
{
	struct ssm_parameter_list *list = call_new(c, struct ssm_parameter_list);
	struct ssm_parameter_name_list *bad = call_new(c, struct ssm_parameter_name_list);
	struct ssm_parameter *items = call_array(c, in->names->count, struct ssm_parameter);
	const char **names = call_array(c, in->names->count, const char *);
	bool decrypt = in->with_decryption && *in->with_decryption;

	list->items = items;
	bad->items = names;
	out->parameters = list;
	out->invalid_parameters = bad;
	for (size_t i = 0; i < in->names->count; i++) {
		const char *name = in->names->items[i];
		int r = get_one(c, name, decrypt, &items[list->count], e);

		if (r < 0 && e->code != SSM_PARAMETER_NOT_FOUND &&
		    e->code != SSM_PARAMETER_VERSION_NOT_FOUND)
			return r;
		if (r < 0)
			names[bad->count++] = name;
		else
			list->count++;
	}
	return 0;
}

/* ---- history ---- */

const struct ssm_parameter_label_list *parameter_labels(struct call *c, const json_t *version)
{
	const json_t *labels = json_object_get(version, "labels");
	struct ssm_parameter_label_list *list = call_new(c, struct ssm_parameter_label_list);
	const char **items = call_array(c, json_array_size(labels) + 1, const char *);

	for (; list->count < json_array_size(labels); list->count++)
		items[list->count] =
		    call_str(c, json_string_value(json_array_get(labels, list->count)));
	list->items = items;
	return list;
}

static int fill_history(struct call *c, const char *key, const json_t *head, const json_t *v,
    bool decrypt, struct ssm_parameter_history *ret, struct err *e)
{
	int64_t number = docs_int(v, "version");

	*ret = (struct ssm_parameter_history){
	    .allowed_pattern = call_str(c, docs_str(v, "pattern")),
	    .data_type = call_str(c, docs_str(v, "data_type")),
	    .description = call_str(c, docs_str(v, "description")),
	    .key_id = call_str(c, docs_str(v, "key_id")),
	    .labels = parameter_labels(c, v),
	    .last_modified_date = call_int(c, docs_int(v, "modified")),
	    .last_modified_user = call_str(c, docs_str(v, "user")),
	    .name = call_str(c, docs_str(head, "name")),
	    .policies = call_new(c, struct ssm_parameter_policy_list),
	    .tier = call_str(c, docs_str(v, "tier")),
	    .type = call_str(c, docs_str(head, "type")),
	    .version = call_int(c, number),
	};
	return read_value(c, key, number, decrypt, &ret->value, e);
}

int ssm_get_parameter_history(struct call *c, const struct ssm_get_parameter_history_in *in,
    struct ssm_get_parameter_history_out *out, struct err *e)
{
	struct ssm_parameter_history_list *list = call_new(c, struct ssm_parameter_history_list);
	size_t max = in->max_results ? (size_t)*in->max_results : HISTORY_PAGE;
	struct ssm_parameter_history *items = call_array(c, max, struct ssm_parameter_history);
	const json_t *head, *versions;
	const char *key, *token;
	int64_t from = 0;
	int r = parameter_find(c, in->name, false, &head, &key, e);

	if (r < 0)
		return r;
	if (!docs_token_open(c, in->next_token, &token) ||
	    (*token && !str_to_int64(str_from(token), 1, INT64_MAX, &from)))
		return fail(e, SSM_INVALID_NEXT_TOKEN, "The specified token is not valid.");
	versions = json_object_get(head, "versions");
	for (size_t i = 0; r == 0 && i < json_array_size(versions); i++) {
		const json_t *v = json_array_get(versions, i);

		if (docs_int(v, "version") < from)
			continue;
		if (list->count == max) {
			out->next_token =
			    docs_token(c, call_printf(c, "%" PRId64, docs_int(v, "version")));
			break;
		}
		r = fill_history(c, key, head, v, in->with_decryption && *in->with_decryption,
		    &items[list->count++], e);
	}
	list->items = items;
	out->parameters = list;
	return r;
}
