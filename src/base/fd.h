/* Descriptors: whole reads and writes, passing over sockets, small files. Return -errno. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

#define FD_PASS_MAX 16

int fd_nonblock(int fd);
/* Exactly len bytes or an error; a short read is -EPIPE. For blocking descriptors. */
int fd_read_full(int fd, void *data, size_t len);
int fd_write_full(int fd, const void *data, size_t len);

/* Read a whole file of at most `limit` bytes (-EFBIG beyond) and append it to b. dirfd may be
 * AT_FDCWD. */
int fd_read_file(int dirfd, const char *path, size_t limit, struct buf *b);

/* Write a new file so that it is there whole or not at all, durable on return: temporary name,
 * fsync, rename, fsync of the directory. mode as for open(2). */
int fd_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode);

/* Let the other end of this Unix socket send no descriptors (EPERM there). Dropping one that came
 * unasked closes it in our name, and that may block. Kernels before 6.16 cannot: no error then. */
void fd_refuse_fds(int sock);

/* One datagram with up to FD_PASS_MAX descriptors. Sent ones stay the caller's. */
int fd_send_fds(int sock, const void *data, size_t len, const int *fds, size_t count, int flags);
/* Returns the datagram's length (0: peer closed). Received descriptors are close-on-exec and the
 * caller's; *count is their number on return. A truncated datagram or descriptor list is
 * -EMSGSIZE, with nothing left open. */
ssize_t fd_recv_fds(
    int sock, void *data, size_t size, int fds[FD_PASS_MAX], size_t *count, int flags);
