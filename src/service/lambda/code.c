/*
 * Code: zips kept as blobs by their SHA-256, and the trees that the spawner unpacks of them. What
 * several functions or versions share exists once. A tree goes a while after the last reference
 * to it, because invocations that have begun still read from it. Loop thread.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/time.h"
#include "service/lambda/code_int.h"

/* No invocation lasts longer than 15 minutes. */
#define LINGER_NS (16 * 60 * (int64_t)1000000000)

const char *code_hex(const struct code *k)
{
	return k->hex;
}

const uint8_t *code_hash(const struct code *k)
{
	return k->hash;
}

int64_t code_size(const struct code *k)
{
	return k->zip_size;
}

int64_t code_unzipped(const struct code *k)
{
	return k->tree_size;
}

void code_remember(struct code *k, const json_t *doc)
{
	k->zip_size = k->zip_size ? k->zip_size : doc_int(doc, "CodeSize", 0);
	k->tree_size = k->tree_size ? k->tree_size : doc_int(doc, "UnzippedSize", 0);
}

void code_into_doc(json_t *doc, const struct code *k, const char *image_uri)
{
	doc_set_str(doc, "CodeHash", code_hex(k));
	doc_set_int(doc, "CodeSize", code_size(k));
	doc_set_int(doc, "UnzippedSize", code_unzipped(k));
	doc_set_str(doc, "ImageUri", image_uri);
	doc_set_str(doc, "ResolvedUri", code_image_uri(k));
}

bool code_ready(const struct code *k)
{
	return k->state == CODE_READY;
}

const char *code_why(const struct code *k)
{
	return k->state == CODE_FAILED ? k->why : NULL;
}

struct code *code_ref(struct code *k)
{
	if (k->refs++ == 0)
		list_remove(&k->node);
	return k;
}

static void forget(struct code *k)
{
	struct lambda *l = k->lambda;

	list_remove(&k->node);
	map_remove(&l->codes, str_from(k->hex));
	if (k->image_uri) {
		code_image_forget(k);
	} else {
		store_blob_delete(l->o.store, k->hex);
		if (l->spawn)
			spawn_code_delete(l->spawn, k->hash);
	}
	free(k);
}

static void on_dying(struct loop_timer *t)
{
	struct lambda *l = container_of(t, struct lambda, dying_timer);
	int64_t now = loop_now_ns(l->o.loop);
	struct code *k;

	while ((k = list_first(&l->dying, struct code, node)) && k->due_ns <= now)
		forget(k);
	if (k)
		loop_timer_set(l->o.loop, t, k->due_ns - now);
}

void code_unref(struct code *k)
{
	struct lambda *l;

	if (!k || --k->refs)
		return;
	if (k->state == CODE_FAILED) {
		forget(k);
		return;
	}
	l = k->lambda;
	k->due_ns = loop_now_ns(l->o.loop) + LINGER_NS;
	list_push_back(&l->dying, &k->node);
	l->dying_timer.on_due = on_dying;
	if (!l->dying_timer.slot)
		loop_timer_set(l->o.loop, &l->dying_timer, LINGER_NS);
}

struct code *code_get(struct lambda *l, const char *hex)
{
	struct code *k = map_get(&l->codes, str_from(hex));

	if (k)
		return code_ref(k);
	k = xcalloc(1, sizeof(*k));
	k->lambda = l;
	memcpy(k->hex, hex, 64);
	/* The store holds nothing but what code_upload() hashed, but a file can be edited. */
	if (!hex_decode(str_from(k->hex), k->hash, sizeof(k->hash)))
		memset(k->hash, 0, sizeof(k->hash));
	list_init(&k->node);
	list_init(&k->uploads);
	k->refs = 1;
	map_put(&l->codes, str_from(k->hex), k);
	return k;
}

static bool uses(const struct version *v, const struct code *k)
{
	return v->code == k || layers_use(v, k);
}

/* Versions that waited for this code can run now. */
static void start_versions(struct code *k)
{
	map_for_each (&k->lambda->functions, entry) {
		struct function *f = entry->value;

		if (f->latest && uses(f->latest, k))
			version_start(f->latest);
		for (size_t i = 0; i < f->published_count; i++) {
			if (uses(f->published[i], k))
				version_start(f->published[i]);
		}
	}
}

void code_settle(struct code *k)
{
	/* The last waiting upload may drop it. */
	code_ref(k);
	if (k->state == CODE_READY)
		start_versions(k);
	code_settled(k);
	code_unref(k);
}

void code_fail(struct code *k, int result, const char *why)
{
	k->state = CODE_FAILED;
	k->result = result;
	memccpy(k->why, why, 0, sizeof(k->why) - 1);
	code_settle(k);
}

static void on_unpacked(void *ctx, int result, const char *why, uint64_t size_bytes)
{
	struct code *k = ctx;

	if (result < 0) {
		log_info("code %.12s could not be unpacked: %s", k->hex,
		    why[0] ? why : strerror(-result));
		code_fail(k, result, why);
	} else {
		k->state = CODE_READY;
		k->tree_size = (int64_t)size_bytes;
		code_settle(k);
	}
	code_unref(k); /* code_unpack()'s */
}

void code_unpack(struct code *k)
{
	k->state = CODE_BUSY;
	code_ref(k);
	if (k->lambda->spawn)
		spawn_unpack(k->lambda->spawn, k->hash, LAMBDA_UNZIPPED_MAX, on_unpacked, k);
	else
		on_unpacked(k, 0, "", 0);
}

static bool has_tree(const struct lambda *l, const char *hex)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (!l->o.code_dir)
		return true;
	path = xasprintf("%s/%s", l->o.code_dir, hex);
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

struct code *code_load(struct lambda *l, const char *hex)
{
	struct code *k = code_get(l, hex);

	if (k->state != CODE_NEW)
		return k;
	if (has_tree(l, hex))
		k->state = CODE_READY;
	else
		code_unpack(k);
	return k;
}

/* ---- tidying: what a former life left behind ---- */

static void tidy_blob(void *ctx, const char *hex)
{
	struct lambda *l = ctx;

	/* Blobs are code only, for now: a second user of blobs needs a reference list here. */
	if (!map_get(&l->codes, str_from(hex)))
		store_blob_delete(l->o.store, hex);
}

static void tidy_trees(struct lambda *l)
{
	DIR *dir = opendir(l->o.code_dir);
	uint8_t hash[WIRE_HASH_SIZE];
	struct dirent *d;

	if (!dir)
		return; /* nothing was unpacked yet */
	while ((d = readdir(dir))) {
		struct str name = str_from(d->d_name);

		if (hex_decode(name, hash, sizeof(hash)) && !map_get(&l->codes, name))
			spawn_code_delete(l->spawn, hash);
	}
	closedir(dir);
}

void code_tidy(struct lambda *l)
{
	store_blob_each(l->o.store, tidy_blob, l);
	if (l->spawn && l->o.code_dir)
		tidy_trees(l);
}

void code_close(struct lambda *l)
{
	loop_timer_stop(l->o.loop, &l->dying_timer);
	/* Blobs and trees stay for the next start, which tidies. */
	map_for_each (&l->codes, entry) {
		code_image_forget(entry->value);
		free(entry->value);
	}
	map_done(&l->codes);
}

/* ---- what may be uploaded ---- */

int64_t code_total(const struct lambda *l)
{
	int64_t total = layer_total(l);

	map_for_each (&l->functions, entry) {
		const struct function *f = entry->value;

		if (f->latest)
			total += doc_int(f->latest->doc, "CodeSize", 0);
		for (size_t i = 0; i < f->published_count; i++)
			total += doc_int(f->published[i]->doc, "CodeSize", 0);
	}
	return total;
}

int code_check_zip(const struct lambda *l, struct str zip, struct err *e)
{
	if (!zip.len)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Uploaded file must be a non-empty zip");
	/* The signature of a local file header, or of an empty archive: tells at once what is no
	 * zip at all. */
	if (zip.len < 22 || memcmp(zip.ptr, "PK", 2) != 0)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Could not unzip uploaded file. Please check your file, then try to upload "
		    "again.");
	if (code_total(l) + (int64_t)zip.len > LAMBDA_CODE_TOTAL_MAX)
		return fail(
		    e, LAMBDA_CODE_STORAGE_EXCEEDED_EXCEPTION, "Code storage limit exceeded.");
	return 0;
}

static int check_object(const struct lambda *l, const struct code_source *s, struct err *e)
{
	if (!s->bucket || !s->key)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Please provide both S3Bucket and S3Key for the code's source.");
	if (!l->o.load_object)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "There is no S3 on this server: give the code as ZipFile.");
	return 0;
}

int code_check_source(const struct lambda *l, const struct code_source *s, struct err *e)
{
	if (s->image)
		return code_check_image(l, s, e);
	if (s->zip && (s->bucket || s->key || s->version))
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Please do not provide other FunctionCode parameters when providing a "
		    "ZipFile.");
	if (s->bucket || s->key || s->version)
		return check_object(l, s, e);
	if (!s->zip)
		return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
		    "Please provide a source for function code.");
	if (s->zip->len > LAMBDA_ZIP_MAX)
		return fail(
		    e, AWS_TOO_LARGE, "Zipped size must be smaller than %d bytes", LAMBDA_ZIP_MAX);
	return code_check_zip(l, *s->zip, e);
}
