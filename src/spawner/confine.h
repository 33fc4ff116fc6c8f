/*
 * Giving up power for good, in a child of the spawner, and then running a program from an open
 * descriptor. Used for core, unpack and mke2fs; boxes have their own sequence (blank.c).
 */
#pragma once

#include <linux/filter.h>

#include "base/base.h"

/* One word of the environment: looking for leaks takes clone(2) and ptrace(2), which the filters
 * refuse. */
#ifdef MAYFLY_SANITIZED
#define CONFINE_SANITIZER                     \
	(char[])                              \
	{                                     \
		"ASAN_OPTIONS=detect_leaks=0" \
	}
#else
#define CONFINE_SANITIZER NULL
#endif

/* Default signal handling and an empty mask: a child starts as if the spawner had done nothing. */
void confine_signals(void);

/* Empty bounding set. -errno when the kernel refuses. */
int confine_bounding_set(void);

/* uid and gid to id, no supplementary groups, no capability whatever, no_new_privs, and SIGKILL
 * when the parent dies. */
int confine_to(uint32_t id);

/* Install `filter` and execute exe. The filter may refuse execveat(2): this one call is let
 * through by a random number in its unused sixth argument. Returns -errno only. */
int confine_exec(int exe, char *const argv[], char *const envp[], const struct sock_filter *filter,
    size_t filter_len);
