/* See blob.h. */
#include "image/blob.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/rand.h"

#define TEMPORARY ".new-"

struct blob_writer {
	int blobs, fd;
	uint64_t size;
	EVP_MD_CTX *hash;
	char temporary[32];
};

static const char *name_of(const char *digest)
{
	check(image_digest_ok(str_from(digest)));
	return digest + 7;
}

static void clear(int blobs)
{
	int copy = openat(blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (strncmp(entry->d_name, TEMPORARY, sizeof(TEMPORARY) - 1) == 0)
			unlinkat(blobs, entry->d_name, 0);
	if (d)
		closedir(d);
}

int blobs_open(const char *data, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/images", data);
	int fd;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "creating %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "opening %s", path);
	clear(fd);
	return fd;
}

int64_t blob_size(int blobs, const char *digest)
{
	struct stat st;

	if (fstatat(blobs, name_of(digest), &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return st.st_size;
}

int blob_open(int blobs, const char *digest)
{
	int fd = openat(blobs, name_of(digest), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int blob_read(int blobs, const char *digest, size_t most, struct buf *ret)
{
	return fd_read_file(blobs, name_of(digest), most, ret);
}

int blob_delete(int blobs, const char *digest)
{
	return unlinkat(blobs, name_of(digest), 0) < 0 && errno != ENOENT ? -errno : 0;
}

int blob_put(int blobs, struct str data, const char *digest)
{
	if (blob_size(blobs, digest) == (int64_t)data.len)
		return 0;
	return fd_write_file(blobs, name_of(digest), data.ptr, data.len, 0600);
}

/* ---- large ones ---- */

struct blob_writer *blob_begin(int blobs, int *ret_error)
{
	struct blob_writer *w = xcalloc(1, sizeof(*w));

	memcpy(w->temporary, TEMPORARY, sizeof(TEMPORARY));
	rand_hex(w->temporary + sizeof(TEMPORARY) - 1, 16);
	w->blobs = blobs;
	w->fd =
	    openat(blobs, w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		*ret_error = -errno;
		free(w);
		return NULL;
	}
	w->hash = EVP_MD_CTX_new();
	check(w->hash && EVP_DigestInit_ex(w->hash, EVP_sha256(), NULL) == 1);
	return w;
}

int blob_add(struct blob_writer *w, const void *data, size_t len)
{
	check(EVP_DigestUpdate(w->hash, data, len) == 1);
	w->size += len;
	return fd_write_full(w->fd, data, len);
}

static void free_writer(struct blob_writer *w)
{
	close(w->fd);
	EVP_MD_CTX_free(w->hash);
	free(w);
}

void blob_abandon(struct blob_writer *w)
{
	if (!w)
		return;
	unlinkat(w->blobs, w->temporary, 0);
	free_writer(w);
}

static void finish_hash(struct blob_writer *w, char out[IMAGE_DIGEST_SIZE])
{
	uint8_t hash[WIRE_HASH_SIZE];

	check(EVP_DigestFinal_ex(w->hash, hash, NULL) == 1);
	memcpy(out, "sha256:", 7);
	hex_encode(hash, sizeof(hash), out + 7);
}

int blob_end(struct blob_writer *w, const char *digest)
{
	char got[IMAGE_DIGEST_SIZE];
	int r = 0;

	finish_hash(w, got);
	if (strcmp(got, digest) != 0)
		r = -EBADMSG;
	else if (renameat(w->blobs, w->temporary, w->blobs, name_of(digest)) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(w->blobs, w->temporary, 0);
	free_writer(w);
	return r;
}

int blob_end_any(struct blob_writer *w, char ret_digest[IMAGE_DIGEST_SIZE], uint64_t *ret_size)
{
	int r = 0;

	finish_hash(w, ret_digest);
	*ret_size = w->size;
	if (fdatasync(w->fd) < 0 ||
	    renameat(w->blobs, w->temporary, w->blobs, name_of(ret_digest)) < 0 ||
	    fsync(w->blobs) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(w->blobs, w->temporary, 0);
	free_writer(w);
	return r;
}
