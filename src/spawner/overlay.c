/* See overlay.h. */
#include "spawner/overlay.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spawner/tree.h"

/* Paths of descriptors, because nothing else is short enough for every kernel. */
#define FD_DIRECTORY "/proc/self/fd"
#define PATH_SIZE sizeof(FD_DIRECTORY "/2147483647")
#define OPTIONS_MAX 4096 /* a page, for mount(2) */

static int set(int fs, const char *key, int fd)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), FD_DIRECTORY "/%d", fd);
	return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, path, 0) < 0 ? -errno : 0;
}

/* dirs: highest first, as overlayfs counts them. */
static int configure(int fs, const int *dirs, size_t count, int upper, int work)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = set(fs, "lowerdir+", dirs[i]);
	if (r == 0 && upper >= 0)
		r = set(fs, "upperdir", upper);
	if (r == 0 && upper >= 0)
		r = set(fs, "workdir", work);
	if (r == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0)
		r = -errno;
	if (r == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		r = -errno;
	return r;
}

static int mount_each(const int *dirs, size_t count, int upper, int work)
{
	const unsigned attributes = MOUNT_ATTR_NODEV | (upper < 0 ? MOUNT_ATTR_RDONLY : 0);
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	int tree, r = fs < 0 ? -errno : configure(fs, dirs, count, upper, work);

	if (r < 0)
		return r;
	tree = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	return tree < 0 ? -errno : tree;
}

/* Names relative to FD_DIRECTORY. */
static int write_options(const int *dirs, size_t count, int upper, int work, char out[OPTIONS_MAX])
{
	size_t used = (size_t)snprintf(out, OPTIONS_MAX, "userxattr,lowerdir=");

	for (size_t i = 0; i < count && used < OPTIONS_MAX; i++)
		used +=
		    (size_t)snprintf(out + used, OPTIONS_MAX - used, "%s%d", i ? ":" : "", dirs[i]);
	if (upper >= 0 && used < OPTIONS_MAX)
		used += (size_t)snprintf(
		    out + used, OPTIONS_MAX - used, ",upperdir=%d,workdir=%d", upper, work);
	return used < OPTIONS_MAX ? 0 : -E2BIG;
}

int overlay_mount_joined(const int *dirs, size_t count, int upper, int work, const char *at)
{
	const unsigned long flags = MS_NODEV | (upper < 0 ? MS_RDONLY : 0);
	_cleanup_close_ int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char options[OPTIONS_MAX];
	int tree, r = write_options(dirs, count, upper, work, options);

	if (r < 0)
		return r;
	if (back < 0 || chdir(FD_DIRECTORY) < 0)
		return -errno;
	r = mount("overlay", at, "overlay", flags, options) < 0 ? -errno : 0;
	check(fchdir(back) == 0);
	if (r < 0)
		return r;
	tree = open_tree(AT_FDCWD, at, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	r = tree < 0 ? -errno : tree;
	check(umount2(at, MNT_DETACH) == 0);
	return r;
}

/* Kernels that do not know an option say so only when all is put together, and do not say which. */
static int mount_dirs(const int *dirs, size_t count, int upper, int work, const char *at)
{
	int r = mount_each(dirs, count, upper, work);

	return r == -EINVAL ? overlay_mount_joined(dirs, count, upper, work, at) : r;
}

/* Highest first; a layer that is there several times is needed once, at its highest place. */
static int open_layers(
    int layers, const uint8_t (*hashes)[WIRE_HASH_SIZE], size_t count, int *dirs, size_t *ret_count)
{
	char name[65];

	for (size_t i = count; i-- > 0;) {
		bool again = false;

		for (size_t k = i + 1; k < count; k++)
			again |= memcmp(hashes[i], hashes[k], WIRE_HASH_SIZE) == 0;
		if (again)
			continue;
		tree_name(hashes[i], name);
		dirs[*ret_count] =
		    openat(layers, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dirs[*ret_count] < 0)
			return -errno;
		++*ret_count;
	}
	return 0;
}

int overlay_mount(int layers, const uint8_t (*hashes)[WIRE_HASH_SIZE], size_t count, int bottom,
    int upper, int work, const char *at)
{
	int dirs[OVERLAY_LAYERS_MAX + 1] = {-1}, r;
	size_t opened = 0, all;

	if (count > OVERLAY_LAYERS_MAX)
		return -E2BIG;
	r = open_layers(layers, hashes, count, dirs, &opened);
	all = opened;
	if (r == 0 && bottom >= 0)
		dirs[all++] = bottom;
	if (r == 0)
		r = mount_dirs(dirs, all, upper, work, at);
	while (opened)
		close(dirs[--opened]);
	return r;
}
