/*
 * Functions from container images: an image is a `struct code` like a zip, named by the digest of
 * its manifest; the image room pulls, keeps and unpacks it. Loop thread.
 */
#include "base/log.h"
#include "service/lambda/code_int.h"

bool code_is_image(const struct code *k)
{
	return k->image_uri != NULL;
}

const char *code_image_uri(const struct code *k)
{
	return k->image_uri;
}

void code_image_forget(struct code *k)
{
	if (k->pull)
		image_pull_cancel(k->pull);
	image_unref(k->image); /* NULL is fine */
	free(k->image_uri);
}

/* ---- what is asked for ---- */

int code_check_image(const struct lambda *l, const struct code_source *s, struct err *e)
{
	struct image_reference reference;
	struct err why = ERR_INIT;

	if (s->zip || s->bucket || s->key || s->version)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Please do not provide other FunctionCode parameters when providing an "
		    "ImageUri.");
	if (!l->o.images)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "There are no images on this server: give the code as ZipFile.");
	if (image_reference_parse(str_from(s->image), l->o.registries, &reference, &why) < 0)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Source image %.100s is not valid: %.120s. Provide a valid source image.",
		    s->image, why.msg);
	return 0;
}

int config_check_package(const struct wanted *w, bool image, struct err *e)
{
	const struct lambda_image_config *ic = w->image_config;

	if (image && (w->runtime || w->handler || (w->layers && w->layers->count)))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Please don't provide Handler or Runtime or Layer when the intended function "
		    "PackageType is Image.");
	if (!image && ic)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Please don't provide ImageConfig when the intended function PackageType is "
		    "Zip.");
	if (ic && ic->working_directory && *ic->working_directory && *ic->working_directory != '/')
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "WorkingDirectory has to be an absolute path.");
	return 0;
}

static void merge_list(json_t *into, const char *name, const struct lambda_string_list *list)
{
	json_t *copy = json_array();

	for (size_t i = 0; list && i < list->count; i++)
		json_array_append_new(copy, json_string(list->items[i]));
	if (json_array_size(copy))
		json_object_set(into, name, copy);
	json_decref(copy);
}

/* What is given replaces all that was, as on AWS: an empty ImageConfig takes it away. */
void config_merge_image(json_t *doc, const struct lambda_image_config *ic)
{
	json_t *all;

	if (!ic)
		return;
	all = json_object();
	merge_list(all, "EntryPoint", ic->entry_point);
	merge_list(all, "Command", ic->command);
	if (ic->working_directory && *ic->working_directory)
		doc_set_str(all, "WorkingDirectory", ic->working_directory);
	if (json_object_size(all))
		json_object_set(doc, "ImageConfig", all);
	else
		json_object_del(doc, "ImageConfig");
	json_decref(all);
}

/* ---- getting it ---- */

/* One reference for the caller of code_pull() until done returns. */
struct pulling {
	struct lambda *lambda;
	struct image_reference reference;
	code_pulled *done;
	void *ctx;
};

/* The image is taken. */
static struct code *settled(struct pulling *p, struct image *image)
{
	char uri[IMAGE_REFERENCE_MAX];
	struct code *k;

	snprintf(p->reference.digest, sizeof(p->reference.digest), "%s", image_digest(image));
	p->reference.tag[0] = '\0';
	image_reference_format(&p->reference, uri);
	k = code_get(p->lambda, strchr(p->reference.digest, ':') + 1);
	if (k->state == CODE_READY) {
		image_unref(image);
		return k;
	}
	image_unref(k->image);
	k->image = image;
	if (!k->image_uri)
		k->image_uri = xstrdup(uri);
	k->zip_size = 0; /* as AWS says of images */
	k->state = CODE_READY;
	code_settle(k);
	return k;
}

static void on_pulled(void *ctx, struct image *image, const char *code, const char *why)
{
	struct pulling *p = ctx;
	struct code *k = image ? settled(p, image) : NULL;

	p->done(p->ctx, k, code, why);
	code_unref(k);
	free(p);
}

void code_pull(struct lambda *l, const char *uri, code_pulled *done, void *ctx)
{
	struct pulling *p = xcalloc(1, sizeof(*p));
	struct err e = ERR_INIT;

	*p = (struct pulling){.lambda = l, .done = done, .ctx = ctx};
	check(image_reference_parse(str_from(uri), l->o.registries, &p->reference, &e) == 0);
	image_pull_start(l->o.images, &p->reference, IMAGE_PULL_ALWAYS, NULL, on_pulled, p);
}

static void on_loaded(void *ctx, struct image *image, const char *code, const char *why)
{
	struct code *k = ctx;

	k->pull = NULL;
	if (image) {
		k->image = image;
		k->state = CODE_READY;
		code_settle(k);
	} else {
		log_warn("image %s is not to be had: %s: %s", k->image_uri, code, why);
		code_fail(k, -ENOENT, why);
	}
	code_unref(k);
}

struct code *code_load_image(struct lambda *l, const char *hex, const char *uri)
{
	struct image_reference reference;
	struct err e = ERR_INIT;
	struct code *k = code_get(l, hex);

	if (k->state != CODE_NEW)
		return k;
	k->image_uri = xstrdup(uri);
	k->state = CODE_BUSY;
	if (!l->o.images ||
	    image_reference_parse(str_from(uri), l->o.registries, &reference, &e) < 0)
		code_fail(k, -ENOENT, "The image's name is not valid.");
	else
		k->pull = image_pull_start(
		    l->o.images, &reference, IMAGE_PULL_MISSING, NULL, on_loaded, code_ref(k));
	return k;
}

/* ---- running it ---- */

static size_t length(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

/* The function's own list, or else the image's. */
static size_t append(const char **to, size_t n, const json_t *own, const char *const *images)
{
	for (size_t i = 0; i < json_array_size(own); i++)
		to[n++] = json_string_value(json_array_get(own, i));
	for (size_t i = 0; !json_array_size(own) && images && images[i]; i++)
		to[n++] = images[i];
	return n;
}

void code_image_config(
    const struct code *k, const json_t *doc, struct arena *a, struct invoke_image *ret)
{
	const struct image_config *c = image_config(k->image);
	const json_t *own = json_object_get(doc, "ImageConfig");
	const json_t *entry = json_object_get(own, "EntryPoint"),
		     *command = json_object_get(own, "Command");
	size_t most = length(c->entrypoint) + length(c->cmd) + json_array_size(entry) +
		      json_array_size(command) + 2;
	const char **argv = arena_array(a, most, const char *);
	const char *cwd = doc_str(own, "WorkingDirectory");
	size_t n = append(argv, append(argv, 0, entry, c->entrypoint), command, c->cmd);

	if (!n) /* nothing says what to run: let it fail as any program that is not there */
		argv[n++] = "/bootstrap";
	ret->layer_count = image_layers(k->image, &ret->layers);
	ret->argv = argv;
	ret->env = c->env;
	ret->cwd = cwd ? cwd : c->working_dir;
}
