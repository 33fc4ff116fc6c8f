/* Children by descriptor. */
#pragma once

#include "base/base.h"

/* 0, or -errno (-ESRCH: has exited). */
int pidfd_send(int pidfd, int signal);
/* Wait until the child is gone; its status as of waitpid(2), or -errno. */
int pidfd_reap(int pidfd);
int dup_cloexec(int fd);

/* Close what core chose, or a socket whose queue may hold such, without being the last to do so:
 * close(2) of a socket with SO_LINGER waits as long as its maker wanted. The last is a process that
 * ends, for which the kernel does not wait. */
void drop_fds(int *fds, size_t count);
