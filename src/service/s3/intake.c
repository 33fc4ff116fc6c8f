/* Receiving the bytes of a new object: into a file of the store, hashed on the way, compared with
 * what the client announced once they are all there. */
#include "service/s3/request_int.h"

static void on_drain(void *ctx)
{
	struct intake *in = ctx;

	in->on_drain(in);
}

void intake_open(struct intake *in)
{
	in->error = ERR_INIT;
	in->file = store_file_new(in->s3->options.store, STORE_MD5 | in->sum.kind | in->also,
	    in->on_drain ? on_drain : NULL, in);
}

bool intake_data(struct intake *in, const void *data, size_t len)
{
	return store_file_write(in->file, data, len) >= STORE_FILE_QUEUE;
}

int intake_error(const struct intake *in)
{
	return store_file_error(in->file);
}

void intake_abandon(struct intake *in)
{
	store_file_abandon(take_ptr(in->file));
}

static int compare(struct intake *in)
{
	const struct store_hashes *h = &in->sealed.hashes;

	if (in->has_md5 && memcmp(in->md5, h->md5, sizeof(in->md5)) != 0)
		return fail(&in->error, S3_BAD_DIGEST,
		    "The Content-MD5 you specified did not match what we received.");
	if (in->sum.value[0] && strcmp(in->sum.value, in->checksum) != 0)
		return fail(&in->error, S3_BAD_DIGEST,
		    "The %s you specified did not match the calculated checksum.",
		    checksum_name(in->sum.kind));
	return 0;
}

static void on_sealed(void *ctx, int result, const struct store_sealed *sealed)
{
	struct intake *in = ctx;

	if (result == 0) {
		in->sealed = *sealed;
		hex_encode(sealed->hashes.md5, sizeof(sealed->hashes.md5), in->etag);
		checksum_text(in->sum.kind, &sealed->hashes, in->checksum);
		result = compare(in);
		if (result < 0)
			store_file_forget(in->s3->options.store, sealed->id);
	}
	in->done(in, result);
}

void intake_seal(struct intake *in)
{
	store_file_seal(take_ptr(in->file), on_sealed, in);
}

void intake_extent(const struct intake *in, struct object *o, struct store_extent *place)
{
	*place = (struct store_extent){in->sealed.id, 0, in->sealed.size};
	o->extents = place;
	o->extent_count = in->sealed.id ? 1 : 0;
}
