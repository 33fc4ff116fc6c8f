/* The inside of a box from clone3() to box-init: runs in the new process, never returns. */
#pragma once

#include "base/base.h"
#include "spawner/cgroup.h"
#include "spawner/egress.h"

#define BOX_PIDS_MAX 1024 /* processes and threads, box-init among them */

/* Namespaces of a box but the last: the user namespace comes when all mounts are made. */
#define BLANK_NAMESPACES (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET)

/*
 * Over `control` this sends one byte with the two listening sockets once the user namespace is
 * there; the spawner maps the ids and answers with one byte; then box-init runs with `control` as
 * descriptor 3.
 */
struct blank {
	struct cgroups *groups;
	uint32_t slot;
	int control, init_exe;
	const struct egress *egress;
	uint32_t seat; /* 0: loopback only */
	int host;      /* with a seat: for egress_enter() */
};
_noreturn_ void blank_run(const struct blank *b);
