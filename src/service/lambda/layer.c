/*
 * Layers: publishing, reading, listing and deleting their versions. A version never changes, but
 * for its policy (layer_policy.c); functions that use it keep its files when it is deleted
 * (layer_use.c). Loop thread.
 */
#include "base/time.h"
#include "service/lambda/layer_int.h"

/* ---- names ---- */

const char *layer_arn(struct call *c, const struct layer *y)
{
	return call_printf(c, "arn:aws:lambda:%s:%s:layer:%s", y->region, y->account, y->name);
}

const char *layer_version_arn(struct call *c, const struct layer_version *v)
{
	return call_printf(c, "%s:%" PRId64, layer_arn(c, v->layer), v->number);
}

/* NAME or arn:aws:lambda:REGION:ACCOUNT:layer:NAME[:NUMBER]; the model has checked the rest. */
bool layer_parse(struct call *c, const char *text, struct layer_ref *ret)
{
	struct str rest = str_from(text), part[8] = {{NULL, 0}};
	struct layer_ref r = {c->region, c->account, text, 0};
	size_t n = 0;

	while (rest.ptr && n < ARRAY_SIZE(part))
		part[n++] = str_cut(&rest, ':');
	if (n != 1) {
		if (n < 7 || rest.ptr || !str_is(part[0], "arn") || !str_is(part[2], "lambda") ||
		    !str_is(part[5], "layer") || !part[6].len)
			return false;
		if (n == 8 && !str_to_int64(part[7], 1, INT64_MAX, &r.number))
			return false;
		r.region = call_strn(c, part[3]);
		r.account = call_strn(c, part[4]);
		r.name = call_strn(c, part[6]);
	}
	*ret = r;
	return true;
}

struct layer *layer_by_ref(struct call *c, const struct layer_ref *r)
{
	return layer_find(c->ctx, str_from(r->account), str_from(r->region), str_from(r->name));
}

static int not_there(struct err *e)
{
	return fail(
	    e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION, "The resource you requested does not exist.");
}

/* A name in a path, of the caller's region. */
static int ref_of(struct call *c, const char *name, struct layer_ref *ret, struct err *e)
{
	if (!layer_parse(c, name, ret))
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "'%s' is no layer name: give a name or the ARN of a layer.", name);
	if (strcmp(ret->region, c->region) != 0)
		return call_fail(c, e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Layers from '%s' are not reachable from '%s'", ret->region, c->region);
	return 0;
}

/* ---- answers ---- */

static size_t strings(struct call *c, const json_t *list, const char *const **ret)
{
	size_t n = json_array_size(list);
	const char **items = call_array(c, n + 1, const char *);

	for (size_t i = 0; i < n; i++)
		items[i] = call_str(c, json_string_value(json_array_get(list, i)));
	*ret = items;
	return n;
}

static const struct lambda_compatible_runtimes *runtimes(struct call *c, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "CompatibleRuntimes");
	struct lambda_compatible_runtimes *out = call_new(c, struct lambda_compatible_runtimes);

	out->count = strings(c, list, &out->items);
	return list ? out : NULL;
}

static const struct lambda_compatible_architectures *architectures(
    struct call *c, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "CompatibleArchitectures");
	struct lambda_compatible_architectures *out =
	    call_new(c, struct lambda_compatible_architectures);

	out->count = strings(c, list, &out->items);
	return list ? out : NULL;
}

static const struct lambda_layer_version_content_output *content(
    struct call *c, const struct layer_version *v)
{
	struct lambda_layer_version_content_output *out =
	    call_new(c, struct lambda_layer_version_content_output);

	out->code_sha256 = code_sha256_base64(c, v->doc);
	out->code_size = call_int(c, doc_int(v->doc, "CodeSize", 0));
	out->location = code_location(c, c->ctx, doc_str(v->doc, "CodeHash"));
	return out;
}

static void describe(
    struct call *c, const struct layer_version *v, struct lambda_get_layer_version_response *out)
{
	*out = (struct lambda_get_layer_version_response){
	    .compatible_architectures = architectures(c, v->doc),
	    .compatible_runtimes = runtimes(c, v->doc),
	    .content = content(c, v),
	    .created_date = call_str(c, doc_str(v->doc, "CreatedDate")),
	    .description = call_str(c, doc_str(v->doc, "Description")),
	    .layer_arn = layer_arn(c, v->layer),
	    .layer_version_arn = layer_version_arn(c, v),
	    .license_info = call_str(c, doc_str(v->doc, "LicenseInfo")),
	    .version = call_int(c, v->number),
	};
}

static void describe_item(
    struct call *c, const struct layer_version *v, struct lambda_layer_versions_list_item *out)
{
	*out = (struct lambda_layer_versions_list_item){
	    .compatible_architectures = architectures(c, v->doc),
	    .compatible_runtimes = runtimes(c, v->doc),
	    .created_date = call_str(c, doc_str(v->doc, "CreatedDate")),
	    .description = call_str(c, doc_str(v->doc, "Description")),
	    .layer_version_arn = layer_version_arn(c, v),
	    .license_info = call_str(c, doc_str(v->doc, "LicenseInfo")),
	    .version = call_int(c, v->number),
	};
}

/* ---- PublishLayerVersion ---- */

static void put_list(json_t *doc, const char *key, const char *const *items, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(items[i]));
	json_object_set_new(doc, key, list);
}

static json_t *new_doc(const struct lambda_publish_layer_version_in *in, const struct code *k)
{
	json_t *doc = json_object();
	char when[TIME_ISO_SIZE];

	time_format_lambda(time_wall_ms(), when);
	doc_set_int(doc, "v", 1);
	doc_set_str(doc, "CodeHash", code_hex(k));
	doc_set_int(doc, "CodeSize", code_size(k));
	doc_set_int(doc, "UnzippedSize", code_unzipped(k));
	doc_set_str(doc, "CreatedDate", when);
	doc_set_str(doc, "Description", in->description ? in->description : "");
	doc_set_str(doc, "LicenseInfo", in->license_info);
	if (in->compatible_runtimes)
		put_list(doc, "CompatibleRuntimes", in->compatible_runtimes->items,
		    in->compatible_runtimes->count);
	if (in->compatible_architectures)
		put_list(doc, "CompatibleArchitectures", in->compatible_architectures->items,
		    in->compatible_architectures->count);
	return doc;
}

static void finish_publish(struct call *c, struct layer *y, int64_t number)
{
	struct lambda_publish_layer_version_out *out = c->out;
	struct lambda_get_layer_version_response r;
	const struct layer_version *v = layer_version_find(y, number);

	if (!v)
		return; /* deleted by somebody who guessed its number */
	describe(c, v, &r);
	*out = (struct lambda_publish_layer_version_out){
	    .compatible_architectures = r.compatible_architectures,
	    .compatible_runtimes = r.compatible_runtimes,
	    .content = r.content,
	    .created_date = r.created_date,
	    .description = r.description,
	    .layer_arn = r.layer_arn,
	    .layer_version_arn = r.layer_version_arn,
	    .license_info = r.license_info,
	    .version = r.version,
	};
}

static int publish_with_code(
    struct call *c, const void *in_, struct function *f, struct code *k, struct err *e)
{
	const struct lambda_publish_layer_version_in *in = in_;
	struct layer_ref ref;
	struct layer *y;

	(void)f;
	if (ref_of(c, in->layer_name, &ref, e) < 0)
		return -EINVAL;
	y = layer_slot(c->ctx, str_from(ref.account), str_from(ref.region), str_from(ref.name));
	y->last_number++;
	return layer_commit(c, y, y->last_number, new_doc(in, k), y->last_number, finish_publish);
}

int lambda_publish_layer_version(struct call *c, const struct lambda_publish_layer_version_in *in,
    struct lambda_publish_layer_version_out *out, struct err *e)
{
	const struct code_source source = {.zip = in->content->zip_file,
	    .bucket = in->content->s3_bucket,
	    .key = in->content->s3_key,
	    .version = in->content->s3_object_version};
	struct layer_ref ref;
	int r = ref_of(c, in->layer_name, &ref, e);

	(void)out;
	if (r == 0 && strcmp(ref.account, c->account) != 0)
		r = fail(e, AWS_ACCESS_DENIED,
		    "Layers of account %s cannot be published with keys of account %s.",
		    ref.account, c->account);
	if (r == 0)
		r = code_check_source(c->ctx, &source, e);
	return r < 0 ? r : code_upload(c, in, NULL, &source, publish_with_code);
}

/* ---- GetLayerVersion, GetLayerVersionByArn, DeleteLayerVersion ---- */

static int get(struct call *c, const struct layer_ref *ref,
    struct lambda_get_layer_version_response *out, struct err *e)
{
	const struct layer *y = layer_by_ref(c, ref);
	const struct layer_version *v = y ? layer_version_find(y, ref->number) : NULL;

	if (!v)
		return not_there(e);
	if (!layer_visible(c, v))
		return call_fail(c, e, AWS_ACCESS_DENIED,
		    "User: %s is not authorized to perform: lambda:GetLayerVersion on resource: %s "
		    "because no resource-based policy allows the lambda:GetLayerVersion action",
		    c->principal.arn, layer_version_arn(c, v));
	describe(c, v, out);
	return 0;
}

static int check_number(int64_t number, struct err *e)
{
	if (number > 0)
		return 0;
	return fail(
	    e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "Layer Version Cannot be less than 1.");
}

int lambda_get_layer_version(struct call *c, const struct lambda_get_layer_version_in *in,
    struct lambda_get_layer_version_out *out, struct err *e)
{
	struct layer_ref ref;
	int r = ref_of(c, in->layer_name, &ref, e);

	if (r == 0)
		r = check_number(*in->version_number, e);
	if (r < 0)
		return r;
	ref.number = *in->version_number;
	return get(c, &ref, out, e);
}

int lambda_get_layer_version_by_arn(struct call *c,
    const struct lambda_get_layer_version_by_arn_in *in,
    struct lambda_get_layer_version_by_arn_out *out, struct err *e)
{
	struct layer_ref ref;
	int r = ref_of(c, in->arn, &ref, e);

	return r < 0 ? r : get(c, &ref, out, e);
}

int lambda_delete_layer_version(struct call *c, const struct lambda_delete_layer_version_in *in,
    struct lambda_delete_layer_version_out *out, struct err *e)
{
	const struct layer_version *v;
	struct layer_ref ref;
	struct layer *y;
	int r = ref_of(c, in->layer_name, &ref, e);

	(void)out;
	if (r == 0)
		r = check_number(*in->version_number, e);
	if (r < 0)
		return r;
	y = layer_by_ref(c, &ref);
	v = y ? layer_version_find(y, *in->version_number) : NULL;
	if (!v)
		return 0; /* as wanted */
	if (strcmp(y->account, c->account) != 0)
		return fail(e, AWS_ACCESS_DENIED,
		    "Layers of account %s cannot be deleted with keys of account %s.", y->account,
		    c->account);
	return layer_commit(c, y, v->number, NULL, 0, NULL);
}

/* ---- ListLayers, ListLayerVersions ---- */

static bool has(const json_t *doc, const char *key, const char *wanted)
{
	const json_t *list = json_object_get(doc, key), *v;
	size_t i;

	if (!wanted)
		return true;
	json_array_foreach(list, i, v)
	{
		if (strcmp(json_string_value(v), wanted) == 0)
			return true;
	}
	return false;
}

static bool fits(const struct layer_version *v, const char *runtime, const char *architecture)
{
	return has(v->doc, "CompatibleRuntimes", runtime) &&
	       has(v->doc, "CompatibleArchitectures", architecture);
}

static int by_name(const void *a, const void *b)
{
	const struct layer *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static struct layer **sorted(struct call *c, const struct lambda *l, size_t *ret_count)
{
	struct layer **all = call_array(c, l->layers.count + 1, struct layer *);

	*ret_count = 0;
	map_for_each (&l->layers, entry) {
		struct layer *y = entry->value;

		if (strcmp(y->account, c->account) == 0 && strcmp(y->region, c->region) == 0)
			all[(*ret_count)++] = y;
	}
	qsort(all, *ret_count, sizeof(struct layer *), by_name);
	return all;
}

static const struct layer_version *latest_fitting(
    const struct layer *y, const char *runtime, const char *architecture)
{
	for (size_t i = y->count; i; i--)
		if (fits(y->versions[i - 1], runtime, architecture))
			return y->versions[i - 1];
	return NULL;
}

static size_t page_size(const int64_t *max_items)
{
	return max_items ? min_size((size_t)*max_items, LAMBDA_PAGE_MAX) : LAMBDA_PAGE_MAX;
}

int lambda_list_layers(struct call *c, const struct lambda_list_layers_in *in,
    struct lambda_list_layers_out *out, struct err *e)
{
	struct lambda_layers_list *list = call_new(c, struct lambda_layers_list);
	size_t count, max = page_size(in->max_items);
	struct layer **all = sorted(c, c->ctx, &count);
	struct lambda_layers_list_item *items = call_array(c, max, struct lambda_layers_list_item);

	(void)e;
	for (size_t i = 0; i < count; i++) {
		const struct layer_version *v =
		    latest_fitting(all[i], in->compatible_runtime, in->compatible_architecture);
		struct lambda_layer_versions_list_item *item;

		if (!v || (in->marker && strcmp(all[i]->name, in->marker) <= 0))
			continue;
		if (list->count == max) {
			out->next_marker = items[max - 1].layer_name;
			break;
		}
		item = call_new(c, struct lambda_layer_versions_list_item);
		describe_item(c, v, item);
		items[list->count++] = (struct lambda_layers_list_item){
		    item, layer_arn(c, all[i]), call_str(c, all[i]->name)};
	}
	list->items = items;
	out->layers = list;
	return 0;
}

int lambda_list_layer_versions(struct call *c, const struct lambda_list_layer_versions_in *in,
    struct lambda_list_layer_versions_out *out, struct err *e)
{
	struct lambda_layer_versions_list *list = call_new(c, struct lambda_layer_versions_list);
	struct lambda_layer_versions_list_item *items;
	size_t max = page_size(in->max_items);
	int64_t below = INT64_MAX;
	const struct layer *y;
	struct layer_ref ref;

	if (ref_of(c, in->layer_name, &ref, e) < 0)
		return -EINVAL;
	if (in->marker && in->marker[0] &&
	    !str_to_int64(str_from(in->marker), 1, INT64_MAX, &below))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Invalid Marker: give the NextMarker of the page before.");
	y = layer_by_ref(c, &ref);
	items = call_array(c, max, struct lambda_layer_versions_list_item);
	for (size_t i = y ? y->count : 0; i; i--) {
		const struct layer_version *v = y->versions[i - 1];

		if (v->number >= below || !layer_visible(c, v) ||
		    !fits(v, in->compatible_runtime, in->compatible_architecture))
			continue;
		if (list->count == max) {
			out->next_marker = call_printf(c, "%" PRId64, *items[max - 1].version);
			break;
		}
		describe_item(c, v, &items[list->count++]);
	}
	list->items = items;
	out->layer_versions = list;
	return 0;
}
