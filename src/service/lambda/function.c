/* Functions: create, get, list, delete. Loop thread. */
#include <stdio.h>

#include "service/lambda/lambda_int.h"

#define NAME_MAX_LEN 64

int function_of(struct call *c, const char *function_name, const char *qualifier, struct ref *ret,
    struct function **ret_f, struct err *e)
{
	int r = ref_resolve(c, function_name, qualifier, ret, e);

	if (r < 0)
		return r;
	if (strcmp(ret->account, c->account) != 0)
		return call_fail(c, e, AWS_ACCESS_DENIED,
		    "User: %s is not authorized to perform: lambda:%s on resource: %s because no "
		    "resource-based policy allows the lambda:%s action",
		    c->principal.arn, c->op->name, ref_arn(c, ret), c->op->name);
	*ret_f = function_find(
	    c->ctx, str_from(ret->account), str_from(ret->region), str_from(ret->name));
	return *ret_f ? 0 : ref_not_found(c, ret, e);
}

json_t *function_doc_copy(const struct function *f)
{
	return json_deep_copy(f->doc);
}

/* ---- CreateFunction ---- */

/* It becomes part of ARNs and of keys in the store. */
static bool is_region(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return n > 0 && !s[n];
}

static int check_name(struct call *c, const struct ref *r, struct err *e)
{
	if (!is_region(r->region))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "The region that the request is signed for is none: use a name such as "
		    "us-east-1.");
	if (r->qualifier)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "A new function's name has no qualifier: leave ':%.128s' out.", r->qualifier);
	if (strcmp(r->account, c->account) != 0)
		return fail(e, AWS_ACCESS_DENIED,
		    "Functions of account %s cannot be made with keys of account %s.", r->account,
		    c->account);
	if (strlen(r->name) <= NAME_MAX_LEN)
		return 0;
	return call_fail(c, e, AWS_VALIDATION,
	    "1 validation error detected: Value '%s' at 'functionName' failed to satisfy "
	    "constraint: Member must have length less than or equal to %d",
	    r->name, NAME_MAX_LEN);
}

static int check_package(const struct lambda_create_function_in *in, struct err *e)
{
	bool image = in->package_type && strcmp(in->package_type, "Image") == 0;

	if (image != (in->code->image_uri != NULL))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    image ? "Please provide ImageUri when creating a function with packageType "
			    "Image."
			  : "Please don't provide ImageUri when creating a function with "
			    "packageType Zip.");
	if (in->code_signing_config_arn)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Code signing is not supported by this server: leave CodeSigningConfigArn "
		    "out.");
	if (in->publish_to || in->tenancy_config)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "%s is not supported by this server: leave it out.",
		    in->publish_to ? "PublishTo" : "TenancyConfig");
	if (!image && (!in->runtime || !in->handler))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Runtime and Handler are mandatory parameters for functions created with "
		    "deployment packages.");
	if (in->tags && in->tags->count > LAMBDA_TAGS_MAX)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Number of tags exceeds function tag limit.");
	return 0;
}

static struct code_source source_of(const struct lambda_function_code *code)
{
	return (struct code_source){.zip = code->zip_file,
	    .bucket = code->s3_bucket,
	    .key = code->s3_key,
	    .version = code->s3_object_version,
	    .image = code->image_uri};
}

static int check_create(
    struct call *c, const struct lambda_create_function_in *in, struct ref *ret, struct err *e)
{
	const struct wanted w = WANTED(in);
	const struct code_source source = source_of(in->code);
	int r = ref_resolve(c, in->function_name, NULL, ret, e);

	if (r == 0)
		r = check_name(c, ret, e);
	if (r == 0)
		r = check_package(in, e);
	if (r == 0)
		r = config_check_architectures(in->architectures, e);
	if (r == 0)
		r = config_check_package(&w, in->code->image_uri != NULL, e);
	if (r == 0)
		r = config_check(c, &w, e);
	if (r == 0)
		r = code_check_source(c->ctx, &source, e);
	return r;
}

static void finish_create(struct change *ch)
{
	const struct version *v = version_find(ch->function, ch->number);
	char name[24];

	describe_version(ch->call, v, ch->number ? version_name(v, name) : NULL, DESCRIBE_CREATED,
	    ch->call->out);
}

static json_t *new_function_doc(const struct lambda_create_function_in *in)
{
	json_t *doc = json_object(), *tags = json_object();

	for (size_t i = 0; in->tags && i < in->tags->count; i++)
		json_object_set_new(
		    tags, in->tags->entries[i].key, json_string(in->tags->entries[i].value));
	json_object_set_new(doc, "Tags", tags);
	doc_set_int(doc, "LastNumber", 0);
	return doc;
}

static int create_with_code(
    struct call *c, const void *in_, struct function *f, struct code *k, struct err *e)
{
	const struct lambda_create_function_in *in = in_;
	const struct wanted w = WANTED(in);
	json_t *doc = config_new(f->name);
	struct change *ch;

	config_merge(doc, &w);
	code_into_doc(doc, k, in->code->image_uri);
	if (layers_merge(c, doc, in->layers, e) < 0) {
		json_decref(doc);
		return -EINVAL;
	}
	config_touch(doc, NULL);
	ch = change_new(c, f, finish_create);
	ch->code = code_ref(k);
	change_put(ch, RECORD_FUNCTION, "", new_function_doc(in));
	change_put(ch, RECORD_VERSION, "0", doc);
	if (in->publish && *in->publish)
		version_publish(ch, doc, NULL);
	return change_commit(ch);
}

int lambda_create_function(struct call *c, const struct lambda_create_function_in *in,
    struct lambda_create_function_out *out, struct err *e)
{
	const struct code_source source = source_of(in->code);
	struct function *f;
	struct ref ref;
	int r = check_create(c, in, &ref, e);

	(void)out;
	if (r < 0)
		return r;
	f = function_slot(c->ctx, str_from(ref.account), str_from(ref.region), str_from(ref.name));
	if (f->busy)
		return change_wait(c, in, f);
	if (f->doc)
		return call_fail(c, e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "Function already exist: %s", ref.name);
	return code_upload(c, in, f, &source, create_with_code);
}

/* ---- GetFunction, GetFunctionConfiguration ---- */

static int find_version(struct call *c, const char *function_name, const char *qualifier,
    struct ref *ret, const struct version **ret_v, struct err *e)
{
	struct function *f;
	int r = function_of(c, function_name, qualifier, ret, &f, e);

	if (r < 0)
		return r;
	*ret_v = version_by_qualifier(f, ret->qualifier);
	return *ret_v ? 0 : ref_not_found(c, ret, e);
}

int lambda_get_function(struct call *c, const struct lambda_get_function_in *in,
    struct lambda_get_function_out *out, struct err *e)
{
	struct lambda_function_configuration *configuration =
	    call_new(c, struct lambda_function_configuration);
	struct lambda_function_code_location *code =
	    call_new(c, struct lambda_function_code_location);
	const struct version *v;
	struct ref ref;
	int64_t reserved;
	int r = find_version(c, in->function_name, in->qualifier, &ref, &v, e);

	if (r < 0)
		return r;
	describe_version(c, v, ref.qualifier, DESCRIBE_NOW, configuration);
	out->configuration = configuration;
	code->repository_type = code_is_image(v->code) ? "ECR" : "S3";
	if (code_is_image(v->code)) {
		code->image_uri = call_str(c, doc_str(v->doc, "ImageUri"));
		code->resolved_image_uri = call_str(c, doc_str(v->doc, "ResolvedUri"));
	} else {
		code->location = code_location(c, c->ctx, code_hex(v->code));
	}
	out->code = code;
	if (json_object_size(json_object_get(v->function->doc, "Tags")))
		out->tags = describe_tags(c, v->function);
	reserved = doc_int(v->function->doc, "Reserved", -1);
	if (reserved >= 0) {
		struct lambda_concurrency *concurrency = call_new(c, struct lambda_concurrency);

		concurrency->reserved_concurrent_executions = call_int(c, reserved);
		out->concurrency = concurrency;
	}
	return 0;
}

int lambda_get_function_configuration(struct call *c,
    const struct lambda_get_function_configuration_in *in,
    struct lambda_get_function_configuration_out *out, struct err *e)
{
	const struct version *v;
	struct ref ref;
	int r = find_version(c, in->function_name, in->qualifier, &ref, &v, e);

	if (r == 0)
		describe_version(c, v, ref.qualifier, DESCRIBE_NOW, out);
	return r;
}

/* ---- ListFunctions: pages in the order of names; the marker is the last one seen ---- */

static bool after(const struct version *v, const char *name, int64_t number)
{
	int order = strcmp(v->function->name, name);

	return order > 0 || (order == 0 && v->number > number);
}

struct page {
	struct call *c;
	struct lambda_function_configuration *items;
	size_t count, max;
	const char *marker_name; /* NULL: from the beginning */
	int64_t marker_number;
	const struct version *last;
	bool more;
};

static void page_add(struct page *p, const struct version *v, const char *qualifier)
{
	if (p->marker_name && !after(v, p->marker_name, p->marker_number))
		return;
	if (p->count == p->max) {
		p->more = true;
		return;
	}
	describe_version(p->c, v, qualifier, DESCRIBE_LISTED, &p->items[p->count++]);
	p->last = v;
}

static int parse_marker(struct page *p, const char *marker, struct err *e)
{
	struct str rest = str_from(marker), name = str_cut(&rest, ':');

	if (!marker || !marker[0])
		return 0;
	if (!rest.ptr || !str_to_int64(rest, 0, INT64_MAX, &p->marker_number))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Invalid Marker: give the NextMarker of the page before.");
	p->marker_name = call_strn(p->c, name);
	return 0;
}

int lambda_list_functions(struct call *c, const struct lambda_list_functions_in *in,
    struct lambda_list_functions_out *out, struct err *e)
{
	struct lambda_function_list *list = call_new(c, struct lambda_function_list);
	struct page p = {.c = c, .max = LAMBDA_PAGE_MAX};
	struct function **all;
	char number[24];
	size_t count;

	if (parse_marker(&p, in->marker, e) < 0)
		return -EINVAL;
	if (in->max_items && *in->max_items < LAMBDA_PAGE_MAX)
		p.max = (size_t)*in->max_items;
	p.items = call_array(c, p.max, struct lambda_function_configuration);
	all = describe_sorted(c, &count);
	for (size_t i = 0; i < count && !p.more; i++) {
		page_add(&p, all[i]->latest, in->function_version ? LATEST : NULL);
		for (size_t k = 0; in->function_version && k < all[i]->published_count; k++)
			page_add(
			    &p, all[i]->published[k], version_name(all[i]->published[k], number));
	}
	list->count = p.count;
	list->items = p.items;
	out->functions = list;
	if (p.more)
		out->next_marker =
		    call_printf(c, "%s:%" PRId64, p.last->function->name, p.last->number);
	return 0;
}

/* ---- DeleteFunction ---- */

static void finish_delete(struct change *ch)
{
	struct lambda_delete_function_out *out = ch->call->out;

	out->status_code = call_int(ch->call, 204);
}

static void delete_items(struct change *ch, enum record_kind kind)
{
	list_for_each (n, item_list(ch->function, kind))
		change_delete(ch, kind, list_entry(n, struct item, node)->name);
}

static int delete_all(struct call *c, struct function *f)
{
	struct change *ch = change_new(c, f, finish_delete);
	char name[24];

	delete_items(ch, RECORD_ALIAS);
	delete_items(ch, RECORD_POLICY);
	delete_items(ch, RECORD_URL);
	delete_items(ch, RECORD_EVENTS);
	for (size_t i = 0; i < f->published_count; i++)
		change_delete(ch, RECORD_VERSION, version_name(f->published[i], name));
	change_delete(ch, RECORD_VERSION, "0");
	change_delete(ch, RECORD_FUNCTION, "");
	return change_commit(ch);
}

static int check_unreferenced(
    struct call *c, const struct function *f, const char *number, struct err *e)
{
	struct buf b = BUF_INIT;
	int r = 0;

	list_for_each (n, &f->aliases) {
		const struct item *it = list_entry(n, struct item, node);
		const char *target = doc_str(it->doc, "FunctionVersion");

		if (strcmp(target ? target : "", number) != 0 &&
		    !json_object_get(json_object_get(it->doc, "Weights"), number))
			continue;
		buf_puts(&b, buf_len(&b) ? ", " : "");
		buf_puts(&b, it->name);
	}
	if (buf_len(&b))
		r = call_fail(c, e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "Unable to delete version because the following aliases reference it: [%.*s]",
		    STR_FMT(buf_str(&b)));
	buf_done(&b);
	return r;
}

static int delete_version(struct call *c, struct function *f, const struct ref *ref, struct err *e)
{
	struct change *ch;
	int64_t number;
	int r;

	if (strcmp(ref->qualifier, LATEST) == 0)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "$LATEST version cannot be deleted without deleting the function.");
	if (!str_to_int64(str_from(ref->qualifier), 1, INT64_MAX, &number))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Deletion of aliases is not currently supported.");
	if (!version_find(f, number))
		return ref_not_found(c, ref, e);
	r = check_unreferenced(c, f, ref->qualifier, e);
	if (r < 0)
		return r;
	ch = change_new(c, f, finish_delete);
	change_delete(ch, RECORD_VERSION, ref->qualifier);
	if (item_find(&f->policies, ref->qualifier))
		change_delete(ch, RECORD_POLICY, ref->qualifier);
	if (item_find(&f->events, ref->qualifier))
		change_delete(ch, RECORD_EVENTS, ref->qualifier);
	return change_commit(ch);
}

int lambda_delete_function(struct call *c, const struct lambda_delete_function_in *in,
    struct lambda_delete_function_out *out, struct err *e)
{
	struct function *f;
	struct ref ref;
	int r = function_of(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	return ref.qualifier ? delete_version(c, f, &ref, e) : delete_all(c, f);
}
