/* Layers by the calls that docker does not use: uploads in parts, availability, downloads. */
#include <stdio.h>

#include "service/ecr/ecr_int.h"

#define PART_BYTES 20971520

int ecr_initiate_layer_upload(struct call *c, const struct ecr_initiate_layer_upload_in *in,
    struct ecr_initiate_layer_upload_out *out, struct err *e)
{
	struct image_reference name;
	struct image_upload *u;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	ecr_reference(c, in->repository_name, &name);
	u = image_upload_start(ecr_of(c)->images, &name);
	if (!u)
		return fail(e, ECR_LIMIT_EXCEEDED_EXCEPTION, "Too many uploads are under way.");
	out->upload_id = call_str(c, image_upload_id(u));
	out->part_size = call_int(c, PART_BYTES);
	return 0;
}

static int find_upload(struct call *c, const char *repository, const char *id,
    struct image_upload **ret, struct err *e)
{
	struct image_reference name;

	ecr_reference(c, repository, &name);
	*ret = image_upload_find(ecr_of(c)->images, &name, str_from(id));
	if (*ret && !image_upload_busy(*ret))
		return 0;
	return call_fail(c, e, ECR_UPLOAD_NOT_FOUND_EXCEPTION,
	    "The upload with id '%s' does not exist in the repository with name '%s'", id,
	    repository);
}

int ecr_upload_layer_part(struct call *c, const struct ecr_upload_layer_part_in *in,
    struct ecr_upload_layer_part_out *out, struct err *e)
{
	uint64_t len = in->layer_part_blob->len;
	struct image_upload *u;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r == 0)
		r = find_upload(c, in->repository_name, in->upload_id, &u, e);
	if (r < 0)
		return r;
	if (!len || *in->part_first_byte < 0 ||
	    (uint64_t)*in->part_first_byte != image_upload_size(u) ||
	    (uint64_t)*in->part_last_byte + 1 != (uint64_t)*in->part_first_byte + len)
		return call_fail(c, e, ECR_INVALID_LAYER_PART_EXCEPTION,
		    "The layer part's bytes do not follow the %" PRIu64 " that are there",
		    image_upload_size(u));
	image_upload_write(u, in->layer_part_blob->ptr, len);
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	out->upload_id = in->upload_id;
	out->last_byte_received = call_int(c, *in->part_last_byte);
	return 0;
}

struct completing {
	struct call *call; /* NULL: the client has gone */
};

static void on_complete(void *ctx, int result, const char *digest, uint64_t size)
{
	struct completing *w = ctx;
	struct call *c = w->call;
	struct err e = ERR_INIT;

	(void)size;
	free(w);
	if (!c)
		return;
	if (result == 0) {
		struct ecr_complete_layer_upload_out *out = c->out;

		out->layer_digest = call_str(c, digest);
		call_reply(c, 0, NULL);
	} else if (result == -EBADMSG) {
		call_reply(c,
		    fail(&e, ECR_INVALID_LAYER_EXCEPTION,
			"The layer digest does not match what was uploaded: %s", digest),
		    &e);
	} else {
		call_reply(c, fail(&e, ECR_SERVER_EXCEPTION, "%s", strerror(-result)), &e);
	}
}

static void on_stop(struct call *c)
{
	((struct completing *)c->user)->call = NULL;
}

int ecr_complete_layer_upload(struct call *c, const struct ecr_complete_layer_upload_in *in,
    struct ecr_complete_layer_upload_out *out, struct err *e)
{
	const char *digest = in->layer_digests->count ? in->layer_digests->items[0] : "";
	struct completing *w;
	struct image_upload *u;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r == 0)
		r = find_upload(c, in->repository_name, in->upload_id, &u, e);
	if (r < 0)
		return r;
	if (!image_upload_size(u))
		return fail(e, ECR_EMPTY_UPLOAD_EXCEPTION, "The upload has no parts.");
	if (!image_digest_ok(str_from(digest)))
		return fail(
		    e, ECR_INVALID_PARAMETER_EXCEPTION, "Invalid parameter at 'layerDigests'");
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	out->upload_id = in->upload_id;
	w = xcalloc(1, sizeof(*w));
	w->call = c;
	c->user = w;
	call_on_stop(c, on_stop);
	image_upload_end(u, digest, on_complete, w);
	return CALL_PENDING;
}

int ecr_batch_check_layer_availability(struct call *c,
    const struct ecr_batch_check_layer_availability_in *in,
    struct ecr_batch_check_layer_availability_out *out, struct err *e)
{
	struct ecr_layer_failure_list *failures = call_new(c, struct ecr_layer_failure_list);
	struct ecr_layer_list *list = call_new(c, struct ecr_layer_list);
	size_t n = in->layer_digests->count;
	struct ecr_layer *items = call_array(c, n + 1, struct ecr_layer);
	struct ecr_layer_failure *failed = call_array(c, n + 1, struct ecr_layer_failure);
	struct image_reference name;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	ecr_reference(c, in->repository_name, &name);
	for (size_t i = 0; i < n; i++) {
		const char *digest = in->layer_digests->items[i];
		struct ecr_layer *l = &items[list->count];
		int64_t size;

		if (!image_digest_ok(str_from(digest))) {
			failed[failures->count].layer_digest = digest;
			failed[failures->count].failure_code = "InvalidLayerDigest";
			failed[failures->count++].failure_reason =
			    "Invalid layer digest: a SHA-256 is wanted";
			continue;
		}
		size = image_blob_in(ecr_of(c)->images, &name, digest);
		l->layer_digest = digest;
		l->layer_availability = size < 0 ? "UNAVAILABLE" : "AVAILABLE";
		l->layer_size = size < 0 ? NULL : call_int(c, size);
		list->count++;
	}
	list->items = items;
	failures->items = failed;
	out->layers = list;
	out->failures = failures;
	return 0;
}

/* The distribution API's address, with a token in it: a client needs nothing else. */
int ecr_get_download_url_for_layer(struct call *c,
    const struct ecr_get_download_url_for_layer_in *in,
    struct ecr_get_download_url_for_layer_out *out, struct err *e)
{
	struct image_reference name;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	ecr_reference(c, in->repository_name, &name);
	if (image_blob_in(ecr_of(c)->images, &name, in->layer_digest) < 0)
		return call_fail(c, e, ECR_LAYERS_NOT_FOUND_EXCEPTION,
		    "The layer with digest '%s' does not exist in the repository with name '%s'",
		    in->layer_digest, in->repository_name);
	out->layer_digest = in->layer_digest;
	out->download_url = call_printf(c, "%s/v2/%s/blobs/%s?token=%s", ecr_of(c)->url,
	    in->repository_name, in->layer_digest, ecr_token(c));
	return 0;
}
