/* Children by descriptor. */
#pragma once

#include "base/base.h"

/* 0, or -errno (-ESRCH: has exited). */
int pidfd_send(int pidfd, int signal);
/* Wait until the child is gone; its status as of waitpid(2), or -errno. */
int pidfd_reap(int pidfd);
int dup_cloexec(int fd);
