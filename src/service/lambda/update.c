/* UpdateFunctionCode and UpdateFunctionConfiguration: a new $LATEST in place of the old. */
#include "service/lambda/lambda_int.h"

static void finish(struct change *ch)
{
	const struct version *v = version_find(ch->function, ch->number);
	char name[24];

	describe_version(ch->call, v, ch->number ? version_name(v, name) : NULL, DESCRIBE_UPDATED,
	    ch->call->out);
}

/* ---- code ---- */

static int check_kind(const struct function *f, const char *image_uri, struct err *e)
{
	bool image = code_is_image(f->latest->code);

	if (image == (image_uri != NULL))
		return 0;
	return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
	    image ? "Please provide ImageUri when updating a function with packageType Image."
		  : "Please don't provide ImageUri when updating a function with packageType Zip.");
}

/* What the answer would be: nothing is kept of it. */
static int answer_dry_run(struct call *c, const struct function *f, json_t *doc)
{
	struct version would = *f->latest;

	would.doc = doc;
	describe_version(c, &would, NULL, DESCRIBE_NOW, c->out);
	json_decref(doc);
	return 0;
}

static int update_with_code(
    struct call *c, const void *in_, struct function *f, struct code *k, struct err *e)
{
	const struct lambda_update_function_code_in *in = in_;
	json_t *doc = json_deep_copy(f->latest->doc);
	struct change *ch;

	code_into_doc(doc, k, in->image_uri);
	if (layers_merge(c, doc, NULL, e) < 0) {
		json_decref(doc);
		return -EINVAL;
	}
	if (in->dry_run && *in->dry_run)
		return answer_dry_run(c, f, doc);
	config_touch(doc, f->latest->doc);
	ch = change_new(c, f, finish);
	ch->code = code_ref(k);
	change_put(ch, RECORD_VERSION, "0", doc);
	if (in->publish && *in->publish)
		version_publish(ch, doc, NULL);
	return change_commit(ch);
}

int lambda_update_function_code(struct call *c, const struct lambda_update_function_code_in *in,
    struct lambda_update_function_code_out *out, struct err *e)
{
	const struct code_source source = {.zip = in->zip_file,
	    .bucket = in->s3_bucket,
	    .key = in->s3_key,
	    .version = in->s3_object_version,
	    .image = in->image_uri};
	struct function *f;
	struct ref ref;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	if (in->publish_to)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "PublishTo is not supported by this server: leave it out.");
	r = check_kind(f, in->image_uri, e);
	if (r == 0)
		r = config_check_architectures(in->architectures, e);
	if (r == 0)
		r = code_check_source(c->ctx, &source, e);
	if (r == 0)
		r = config_check_revision(f->latest->doc, in->revision_id, e);
	return r < 0 ? r : code_upload(c, in, f, &source, update_with_code);
}

/* ---- configuration ---- */

int lambda_update_function_configuration(struct call *c,
    const struct lambda_update_function_configuration_in *in,
    struct lambda_update_function_configuration_out *out, struct err *e)
{
	const struct wanted w = WANTED(in);
	struct function *f;
	struct change *ch;
	struct ref ref;
	json_t *doc;
	int r = function_of(c, in->function_name, NULL, &ref, &f, e);

	(void)out;
	if (r < 0)
		return r;
	if (f->busy)
		return change_wait(c, in, f);
	r = config_check_package(&w, code_is_image(f->latest->code), e);
	if (r == 0)
		r = config_check(c, &w, e);
	if (r == 0)
		r = config_check_revision(f->latest->doc, in->revision_id, e);
	if (r < 0)
		return r;
	doc = json_deep_copy(f->latest->doc);
	config_merge(doc, &w);
	if (layers_merge(c, doc, in->layers, e) < 0) {
		json_decref(doc);
		return -EINVAL;
	}
	config_touch(doc, f->latest->doc);
	ch = change_new(c, f, finish);
	change_put(ch, RECORD_VERSION, "0", doc);
	return change_commit(ch);
}
