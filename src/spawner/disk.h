/*
 * The /tmp of a box: an ext4 file system without journal on a loop device over an unnamed file, so
 * that nothing is left behind whatever dies. All but disk_tmpfs() takes milliseconds and belongs
 * in a child. images: directory for the files.
 */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "spawn/wire.h"

/* Make the template of the smallest size. Fails where loop devices or mke2fs are missing. */
int disk_prepare(int images, struct err *e);
/* A detached mount of a new disk, root directory mode 1777; or -errno. */
int disk_make(int images, uint32_t mb, struct err *e);
/* The same for the containers of a task: bytes 0 is 20 GiB. Root's directory, mode 0755. */
int disk_task(int images, uint64_t bytes, struct err *e);
/* The same as tmpfs, for hosts without loop devices: it counts as the function's memory. */
int disk_tmpfs(uint32_t mb);
