/*
 * The spawner's own small root, made once at start in a private mount namespace: nothing of it is
 * seen by the host and all of it goes with the spawner. Core and jobs start from a copy of this
 * namespace, boxes from one that has their template alone.
 *
 *   /data   the data directory              /box    what a box sees: read-only template
 *   /proc   of the host                     /core   what core sees
 *   /dev    of the host (loop devices)
 */
#pragma once

#include "base/base.h"
#include "base/err.h"

#define ROOT_DATA "/data"
#define ROOT_BOX "/box"
#define ROOT_CORE "/core"
#define ROOT_LAYERS "/layers" /* empty: a place to put layers together */
#define ROOT_PLACES                                                                   \
	"/places" /* empty directories and files to mount on, for images without them \
		   */

/* A mount namespace of our own: before any directory is opened that is to be mounted later. */
int root_begin(struct err *e);

/* data: the locked data directory. runtimes: path of the bootstraps, or NULL. resolver: the
 * resolv.conf of boxes, NULL: the host's. After this the host
 * is out of reach but for descriptors that are open. */
int root_make(int data, const char *runtimes, const char *resolver, struct err *e);

/* A namespace with nothing but ROOT_BOX, as its root: boxes are cloned from here, because copying
 * few mounts and changing no root is cheap. own: the namespace to come home to. A descriptor. */
int root_box_mounts(int own, struct err *e);

/* In a child with its own mount namespace: make `root` the only one. */
int root_enter(const char *root);
