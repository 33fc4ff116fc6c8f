/*
 * Blobs: manifests, configurations and compressed layers, as files named by their SHA-256 in
 * DATA/images. A name is there only when the contents have that hash. Any thread; blocking, for
 * threads of their own unless said otherwise.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "image/image.h"

#define BLOB_NAME_SIZE 65

/* The directory, made if missing, cleared of what was not finished. A descriptor, or -errno and e.
 */
int blobs_open(const char *data, struct err *e);

/* Size, or -errno (-ENOENT). Does not block for long. */
int64_t blob_size(int blobs, const char *digest);
/* For reading; the caller's, or -errno. Does not block for long. */
int blob_open(int blobs, const char *digest);
/* Append a blob of at most `most` bytes to ret. */
int blob_read(int blobs, const char *digest, size_t most, struct buf *ret);
/* 0, also when there is none, or -errno. */
int blob_delete(int blobs, const char *digest);

/* Write a small one at once; durable. digest: of data, as the caller has found out. */
int blob_put(int blobs, struct str data, const char *digest);

struct blob_writer;
/* NULL and -errno in *ret_error. */
struct blob_writer *blob_begin(int blobs, int *ret_error);
int blob_add(struct blob_writer *w, const void *data, size_t len);
/* Name it if it is what `digest` says, else -EBADMSG. Not synced: a syncfs(2) comes, or a crash may
 * take it. Frees w in any case. */
int blob_end(struct blob_writer *w, const char *digest);
/* The same, durable, under whatever name it has got. */
int blob_end_any(struct blob_writer *w, char ret_digest[IMAGE_DIGEST_SIZE], uint64_t *ret_size);
void blob_abandon(struct blob_writer *w); /* NULL is fine */
