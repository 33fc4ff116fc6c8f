/* See overlay.h. */
#include "spawner/overlay.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spawner/tree.h"

/* Paths of descriptors, because nothing else is short enough for every kernel: fsconfig(2) takes
 * values of 255 bytes, and one option a layer only from Linux 6.8 on. Before that, all layers share
 * the one value; by names relative to this directory it holds some sixty of them. */
#define FD_DIRECTORY "/proc/self/fd"
#define PATH_SIZE sizeof(FD_DIRECTORY "/2147483647")

static int set(int fs, const char *key, const char *value)
{
	return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? -errno : 0;
}

static int set_fd(int fs, const char *key, int fd)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), FD_DIRECTORY "/%d", fd);
	return set(fs, key, path);
}

/* dirs: highest first, as overlayfs counts them. */
static int set_lower(int fs, const int *dirs, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = set_fd(fs, "lowerdir+", dirs[i]);
	return r;
}

/* To be looked up in FD_DIRECTORY. */
static int set_lower_joined(int fs, const int *dirs, size_t count)
{
	char all[256], *at = all;

	for (size_t i = 0; i < count; i++) {
		size_t left = sizeof(all) - (size_t)(at - all);
		int n = snprintf(at, left, "%s%d", i ? ":" : "", dirs[i]);

		if ((size_t)n >= left)
			return -E2BIG;
		at += n;
	}
	return set(fs, "lowerdir", all);
}

static int configure(int fs, const int *dirs, size_t count, int upper, int work, bool joined)
{
	int r = joined ? set_lower_joined(fs, dirs, count) : set_lower(fs, dirs, count);

	if (r == 0 && upper >= 0)
		r = set_fd(fs, "upperdir", upper);
	if (r == 0 && upper >= 0)
		r = set_fd(fs, "workdir", work);
	if (r == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0)
		r = -errno;
	if (r == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		r = -errno;
	return r;
}

static int try_mount(const int *dirs, size_t count, int upper, int work, bool joined)
{
	const unsigned attributes = MOUNT_ATTR_NODEV | (upper < 0 ? MOUNT_ATTR_RDONLY : 0);
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	int tree, r = fs < 0 ? -errno : configure(fs, dirs, count, upper, work, joined);

	if (r < 0)
		return r;
	tree = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	return tree < 0 ? -errno : tree;
}

static int try_joined(const int *dirs, size_t count, int upper, int work)
{
	_cleanup_close_ int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (back < 0 || chdir(FD_DIRECTORY) < 0)
		return -errno;
	r = try_mount(dirs, count, upper, work, true);
	check(fchdir(back) == 0);
	return r;
}

/* Kernels that do not know an option say so only when all is put together, and do not say which. */
static int mount_dirs(const int *dirs, size_t count, int upper, int work)
{
	int r = try_mount(dirs, count, upper, work, false);

	return r == -EINVAL ? try_joined(dirs, count, upper, work) : r;
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
    int upper, int work)
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
		r = mount_dirs(dirs, all, upper, work);
	while (opened)
		close(dirs[--opened]);
	return r;
}
