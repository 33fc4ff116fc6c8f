/*
 * The spawner's own small root, made once at start in a private mount namespace: nothing of it is
 * seen by the host and all of it goes with the spawner. Core and jobs start from a copy of this
 * namespace, boxes from one that has their template alone.
 *
 *   /data   the data directory              /box    what a box sees: read-only template
 *   /proc   of the host                     /core   what core sees
 *   /dev    of the host (loop devices)      /host   what container runtimes see
 */
#pragma once

#include "base/base.h"
#include "base/err.h"

struct cgroups;

#define ROOT_DATA "/data"
#define ROOT_BOX "/box"
#define ROOT_CORE "/core"
#define ROOT_HOST "/host"

/* In ROOT_HOST. The first three are empty: places to mount on, in the namespace of one container.
 */
#define ROOT_HOST_ROOTFS "/rootfs"
#define ROOT_HOST_DISK "/disk"
#define ROOT_HOST_MOUNTS "/m"
#define ROOT_HOST_UNIFIED "/unified"    /* our group in a v2 tree beside v1 trees */
#define ROOT_HOST_ALL_GROUPS "/cgroups" /* as /sys/fs/cgroup, with more trees */
#define ROOT_HOST_BINDS "/binds"        /* /0, /1 ...: those of --bind-root */
#define ROOT_HOST_RUNTIMES "/runtimes"  /* programs of --container-runtime, by name */
#define ROOT_HOST_PAUSE "/pause"        /* mayfly-pause */
#define ROOT_BINDS_MAX 16
#define ROOT_RUNTIMES_MAX 8
#define ROOT_LAYERS "/layers" /* empty: a place to put layers together */
#define ROOT_PLACES                                                                   \
	"/places" /* empty directories and files to mount on, for images without them \
		   */

/* A mount namespace of our own: before any directory is opened that is to be mounted later. */
int root_begin(struct err *e);

struct root_options {
	int data;             /* the locked data directory */
	const char *runtimes; /* path of the bootstraps, or NULL */
	const char *resolver; /* the resolv.conf of boxes; NULL: the host's */
	int pause;            /* mayfly-pause */
	const struct cgroups *cgroups;
	const char *binds[ROOT_BINDS_MAX];
	unsigned bind_count;
	const char *container_runtimes[ROOT_RUNTIMES_MAX]; /* NAME=PATH */
	unsigned container_runtime_count;
};

/* After this the host is out of reach but for descriptors that are open. */
int root_make(const struct root_options *o, struct err *e);

/* A namespace with nothing but ROOT_BOX, as its root: boxes are cloned from here, because copying
 * few mounts and changing no root is cheap. own: the namespace to come home to. A descriptor. */
int root_box_mounts(int own, struct err *e);
/* The same with ROOT_HOST: what is done for containers starts from a copy of this. */
int root_host_mounts(int own, struct err *e);

/* In a child with its own mount namespace: make `root` the only one. */
int root_enter(const char *root);
