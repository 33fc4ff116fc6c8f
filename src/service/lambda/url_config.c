/*
 * Configurations of function URLs: the five operations, and what the front end (url.c) asks for
 * each request. Loop thread.
 */
#include <stdio.h>

#include "base/rand.h"
#include "base/time.h"
#include "service/lambda/lambda_int.h"

#define ID_SIZE 33

/* ---- in memory ---- */

static void cors_free(struct url_cors *cors)
{
	if (!cors)
		return;
	free((void *)(uintptr_t)cors->origins);
	free((void *)(uintptr_t)cors->methods);
	free((void *)(uintptr_t)cors->headers);
	free((void *)(uintptr_t)cors->expose);
	free(cors);
}

/* Strings stay the document's. */
static const char *const *strings(const json_t *doc, const char *key, size_t *ret_count)
{
	json_t *list = json_object_get(doc, key), *item;
	const char **out = xcalloc(json_array_size(list) + 1, sizeof(*out));
	size_t i;

	*ret_count = 0;
	json_array_foreach(list, i, item) out[(*ret_count)++] = json_string_value(item);
	return out;
}

static struct url_cors *cors_new(const json_t *doc)
{
	struct url_cors *out;

	if (!doc)
		return NULL;
	out = xcalloc(1, sizeof(*out));
	out->credentials = json_is_true(json_object_get(doc, "AllowCredentials"));
	out->max_age_s = doc_int(doc, "MaxAge", -1);
	out->origins = strings(doc, "AllowOrigins", &out->origin_count);
	out->methods = strings(doc, "AllowMethods", &out->method_count);
	out->headers = strings(doc, "AllowHeaders", &out->header_count);
	out->expose = strings(doc, "ExposeHeaders", &out->expose_count);
	return out;
}

void url_item_changed(struct lambda *l, struct item *it, bool there)
{
	const char *id = doc_str(it->doc, "UrlId"), *auth = doc_str(it->doc, "AuthType");
	const char *mode = doc_str(it->doc, "InvokeMode");

	if (!id) { /* an alias or a policy */
		l->policy_serial++;
		return;
	}
	cors_free(it->cors);
	free(it->arn);
	it->cors = NULL;
	it->arn = NULL;
	it->judged = 0;
	if (!there) {
		map_remove(&l->urls, str_from(id));
		return;
	}
	it->cors = cors_new(json_object_get(it->doc, "Cors"));
	it->iam = !auth || strcmp(auth, "NONE") != 0;
	it->stream = mode && strcmp(mode, "RESPONSE_STREAM") == 0;
	it->arn = xasprintf("arn:aws:lambda:%s:%s:function:%s%s%s", it->function->region,
	    it->function->account, it->function->name, it->name[0] ? ":" : "", it->name);
	map_put(&l->urls, str_from(id), it);
}

/* ---- for the front end ---- */

int url_config_route(struct lambda *l, struct str id, struct url_route *ret)
{
	const struct item *it = map_get(&l->urls, id);
	const struct version *v;

	if (!it)
		return -ENOENT;
	v = version_to_run(it->function, it->name, rand_u64());
	if (!v || !v->run)
		return -EBUSY;
	ret->id = doc_str(it->doc, "UrlId");
	ret->version = v->run;
	ret->arn = it->arn;
	ret->region = it->function->region;
	ret->iam = it->iam;
	ret->stream = it->stream;
	ret->cors = it->cors;
	return 0;
}

static bool policy_says(const struct item *it, struct caller *who)
{
	who->via_url = true;
	who->url_auth_type = doc_str(it->doc, "AuthType");
	who->action = "lambda:InvokeFunctionUrl";
	if (!function_allows(it->function, it->name, who))
		return false;
	who->action = "lambda:InvokeFunction";
	return function_allows(it->function, it->name, who);
}

/* The same for everybody who says not who he is, so it is asked once for each change of a policy.
 */
static bool open_to_all(struct lambda *l, struct item *it)
{
	struct caller nobody = {0};

	if (it->judged != l->policy_serial + 1) {
		it->open = policy_says(it, &nobody);
		it->judged = l->policy_serial + 1;
	}
	return it->open;
}

bool url_config_allows(struct lambda *l, struct str id, const struct aws_principal *who)
{
	struct item *it = map_get(&l->urls, id);
	struct caller caller = {.principal = who};

	if (!it)
		return false;
	if (!who || who->type == AWS_ANONYMOUS)
		return open_to_all(l, it);
	/* Callers of the function's own account: their own policies decide. */
	if (strcmp(who->account, it->function->account) == 0)
		return true;
	return policy_says(it, &caller);
}

struct aws *url_config_engine(struct lambda *l)
{
	return l->aws;
}

struct invoke *url_config_invoke(struct lambda *l)
{
	return l->o.invoke;
}

/* ---- documents ---- */

static void put_strings(json_t *doc, const char *key, size_t count, const char *const *items)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(items[i]));
	json_object_set_new(doc, key, list);
}

static json_t *cors_doc(const struct lambda_cors *in)
{
	json_t *doc = json_object();

	if (in->allow_credentials)
		json_object_set_new(doc, "AllowCredentials", json_boolean(*in->allow_credentials));
	if (in->max_age)
		doc_set_int(doc, "MaxAge", *in->max_age);
	if (in->allow_headers)
		put_strings(
		    doc, "AllowHeaders", in->allow_headers->count, in->allow_headers->items);
	if (in->allow_methods)
		put_strings(
		    doc, "AllowMethods", in->allow_methods->count, in->allow_methods->items);
	if (in->allow_origins)
		put_strings(
		    doc, "AllowOrigins", in->allow_origins->count, in->allow_origins->items);
	if (in->expose_headers)
		put_strings(
		    doc, "ExposeHeaders", in->expose_headers->count, in->expose_headers->items);
	if (json_object_size(doc))
		return doc;
	json_decref(doc);
	return NULL;
}

/* Lists of strings all have the same shape; three structs are generated for them. */
struct list_of {
	size_t count;
	const char *const *items;
};

static struct list_of get_strings(struct call *c, const json_t *doc, const char *key)
{
	json_t *list = json_object_get(doc, key), *item;
	const char **items = call_array(c, json_array_size(list) + 1, const char *);
	size_t i;

	json_array_foreach(list, i, item) items[i] = call_str(c, json_string_value(item));
	return (struct list_of){json_array_size(list), items};
}

static const struct lambda_headers_list *get_headers(
    struct call *c, const json_t *doc, const char *key)
{
	struct lambda_headers_list *out = call_new(c, struct lambda_headers_list);
	struct list_of list = get_strings(c, doc, key);

	out->count = list.count;
	out->items = list.items;
	return json_object_get(doc, key) ? out : NULL;
}

static const struct lambda_cors *describe_cors(struct call *c, const json_t *doc)
{
	struct lambda_cors *out = call_new(c, struct lambda_cors);
	struct lambda_allow_methods_list *methods = call_new(c, struct lambda_allow_methods_list);
	struct lambda_allow_origins_list *origins = call_new(c, struct lambda_allow_origins_list);
	struct list_of list;

	if (!doc)
		return NULL;
	if (json_object_get(doc, "AllowCredentials"))
		out->allow_credentials =
		    call_bool(c, json_is_true(json_object_get(doc, "AllowCredentials")));
	if (json_object_get(doc, "MaxAge"))
		out->max_age = call_int(c, doc_int(doc, "MaxAge", 0));
	out->allow_headers = get_headers(c, doc, "AllowHeaders");
	out->expose_headers = get_headers(c, doc, "ExposeHeaders");
	list = get_strings(c, doc, "AllowMethods");
	methods->count = list.count;
	methods->items = list.items;
	out->allow_methods = json_object_get(doc, "AllowMethods") ? methods : NULL;
	list = get_strings(c, doc, "AllowOrigins");
	origins->count = list.count;
	origins->items = list.items;
	out->allow_origins = json_object_get(doc, "AllowOrigins") ? origins : NULL;
	return out;
}

static void describe(struct call *c, const struct item *it, struct lambda_function_url_config *out)
{
	const struct function *f = it->function;

	out->function_arn = function_arn(c, f, it->name[0] ? it->name : NULL);
	out->function_url = call_printf(c, "http://%s.lambda-url.%s.localhost:%s/",
	    doc_str(it->doc, "UrlId"), f->region, f->lambda->port);
	out->auth_type = call_str(c, doc_str(it->doc, "AuthType"));
	out->invoke_mode = call_str(c, doc_str(it->doc, "InvokeMode"));
	out->creation_time = call_str(c, doc_str(it->doc, "CreationTime"));
	out->last_modified_time = call_str(c, doc_str(it->doc, "LastModifiedTime"));
	out->cors = describe_cors(c, json_object_get(it->doc, "Cors"));
}

/* ---- operations ---- */

static int not_there(struct err *e)
{
	return fail(
	    e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION, "The resource you requested does not exist.");
}

static int find(struct call *c, const char *function_name, const char *qualifier, struct ref *ref,
    struct function **ret, struct err *e)
{
	int r = function_of(c, function_name, qualifier, ref, ret, e);

	if (r < 0)
		return r;
	if (ref->qualifier && (is_number(ref->qualifier) || strcmp(ref->qualifier, LATEST) == 0))
		return call_fail(c, e, AWS_VALIDATION,
		    "1 validation error detected: Value '%s' at 'qualifier' failed to satisfy "
		    "constraint: Member must satisfy regular expression pattern: "
		    "((?!^\\d+$)^[0-9a-zA-Z-_]+$)",
		    ref->qualifier);
	if (ref->qualifier && !item_find(&(*ret)->aliases, ref->qualifier))
		return fail(e, LAMBDA_RESOURCE_NOT_FOUND_EXCEPTION, "Function does not exist");
	if (!ref->qualifier)
		ref->qualifier = "";
	return 0;
}

static void make_id(char out[ID_SIZE])
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t bytes[ID_SIZE - 1];

	rand_bytes(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		out[i] = alphabet[bytes[i] % 32];
	out[ID_SIZE - 1] = 0;
}

static void set_cors(json_t *doc, const struct lambda_cors *cors)
{
	json_t *new = cors ? cors_doc(cors) : NULL;

	if (new)
		json_object_set_new(doc, "Cors", new);
	else if (cors)
		json_object_del(doc, "Cors");
}

static int commit(struct call *c, struct function *f, const char *qualifier, json_t *doc,
    void (*finish)(struct change *ch))
{
	struct change *ch = change_new(c, f, finish);
	char when[TIME_ISO_SIZE];

	time_format_iso_ms(time_wall_ms(), when);
	doc_set_str(doc, "LastModifiedTime", when);
	if (!doc_str(doc, "CreationTime"))
		doc_set_str(doc, "CreationTime", when);
	ch->name = call_str(c, qualifier);
	change_put(ch, RECORD_URL, qualifier, doc);
	return change_commit(ch);
}

static void finish_create(struct change *ch)
{
	struct lambda_create_function_url_config_out *out = ch->call->out;
	struct lambda_function_url_config d = {0};

	describe(ch->call, item_find(&ch->function->urls, ch->name), &d);
	out->function_arn = d.function_arn;
	out->function_url = d.function_url;
	out->auth_type = d.auth_type;
	out->invoke_mode = d.invoke_mode;
	out->creation_time = d.creation_time;
	out->cors = d.cors;
}

int lambda_create_function_url_config(struct call *c,
    const struct lambda_create_function_url_config_in *in,
    struct lambda_create_function_url_config_out *out, struct err *e)
{
	struct function *f;
	struct ref ref;
	char id[ID_SIZE];
	json_t *doc;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (item_find(&f->urls, ref.qualifier))
		return call_fail(c, e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "Failed to create function url config for [functionArn = %s]. Error message:  "
		    "FunctionUrlConfig exists for this Lambda function",
		    function_arn(c, f, ref.qualifier[0] ? ref.qualifier : NULL));
	make_id(id);
	doc = json_object();
	doc_set_str(doc, "UrlId", id);
	doc_set_str(doc, "AuthType", in->auth_type);
	doc_set_str(doc, "InvokeMode", in->invoke_mode);
	set_cors(doc, in->cors);
	return commit(c, f, ref.qualifier, doc, finish_create);
}

static void copy_out(
    const struct lambda_function_url_config *d, struct lambda_get_function_url_config_out *out)
{
	out->function_arn = d->function_arn;
	out->function_url = d->function_url;
	out->auth_type = d->auth_type;
	out->invoke_mode = d->invoke_mode;
	out->creation_time = d->creation_time;
	out->last_modified_time = d->last_modified_time;
	out->cors = d->cors;
}

int lambda_get_function_url_config(struct call *c,
    const struct lambda_get_function_url_config_in *in,
    struct lambda_get_function_url_config_out *out, struct err *e)
{
	struct lambda_function_url_config d = {0};
	const struct item *it;
	struct function *f;
	struct ref ref;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	if (r < 0)
		return r;
	it = item_find(&f->urls, ref.qualifier);
	if (!it)
		return not_there(e);
	describe(c, it, &d);
	copy_out(&d, out);
	return 0;
}

static void finish_update(struct change *ch)
{
	struct lambda_update_function_url_config_out *out = ch->call->out;
	struct lambda_function_url_config d = {0};

	describe(ch->call, item_find(&ch->function->urls, ch->name), &d);
	out->function_arn = d.function_arn;
	out->function_url = d.function_url;
	out->auth_type = d.auth_type;
	out->invoke_mode = d.invoke_mode;
	out->creation_time = d.creation_time;
	out->last_modified_time = d.last_modified_time;
	out->cors = d.cors;
}

int lambda_update_function_url_config(struct call *c,
    const struct lambda_update_function_url_config_in *in,
    struct lambda_update_function_url_config_out *out, struct err *e)
{
	const struct item *it;
	struct function *f;
	struct ref ref;
	json_t *doc;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	it = item_find(&f->urls, ref.qualifier);
	if (!it)
		return not_there(e);
	doc = json_deep_copy(it->doc);
	if (in->auth_type)
		doc_set_str(doc, "AuthType", in->auth_type);
	if (in->invoke_mode)
		doc_set_str(doc, "InvokeMode", in->invoke_mode);
	set_cors(doc, in->cors);
	return commit(c, f, ref.qualifier, doc, finish_update);
}

int lambda_delete_function_url_config(struct call *c,
    const struct lambda_delete_function_url_config_in *in,
    struct lambda_delete_function_url_config_out *out, struct err *e)
{
	struct change *ch;
	struct function *f;
	struct ref ref;
	int r = find(c, in->function_name, in->qualifier, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (!item_find(&f->urls, ref.qualifier))
		return not_there(e);
	ch = change_new(c, f, NULL);
	change_delete(ch, RECORD_URL, ref.qualifier);
	return change_commit(ch);
}

int lambda_list_function_url_configs(struct call *c,
    const struct lambda_list_function_url_configs_in *in,
    struct lambda_list_function_url_configs_out *out, struct err *e)
{
	struct lambda_function_url_config_list *list =
	    call_new(c, struct lambda_function_url_config_list);
	size_t max =
	    in->max_items ? min_size((size_t)*in->max_items, LAMBDA_PAGE_MAX) : LAMBDA_PAGE_MAX;
	struct lambda_function_url_config *items =
	    call_array(c, max, struct lambda_function_url_config);
	struct function *f;
	struct ref ref;
	const char *last = NULL;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	if (r < 0)
		return r;
	list->items = items;
	out->function_url_configs = list;
	list_for_each (n, &f->urls) {
		const struct item *it = list_entry(n, struct item, node);

		/* The marker is '$' and the last qualifier, which may be empty. */
		if (in->marker && in->marker[0] == '$' && strcmp(it->name, in->marker + 1) <= 0)
			continue;
		if (list->count == max) {
			out->next_marker = call_printf(c, "$%s", last);
			break;
		}
		last = it->name;
		describe(c, it, &items[list->count++]);
	}
	return 0;
}
