/* Trees of unpacked code in DATA/code. See tree.h. */
#include "spawner/tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "spawner/ids.h"
#include "spawner/remove.h"
#include "spawner/root.h"
#include "spawner/unpack.h"

#define TREE_FLAGS (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

void tree_name(const uint8_t hash[WIRE_HASH_SIZE], char out[65])
{
	hex_encode(hash, WIRE_HASH_SIZE, out);
}

static int open_beneath(int dir, const char *name, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* ---- removing ---- */

int tree_delete(int code, const uint8_t hash[WIRE_HASH_SIZE])
{
	char name[65], away[80];

	tree_name(hash, name);
	snprintf(away, sizeof(away), ".gone-%d-%.32s", (int)getpid(), name);
	/* Gone at once for new boxes, however long removing takes. */
	if (renameat(code, name, code, away) < 0)
		return errno == ENOENT ? 0 : -errno;
	return remove_tree(code, away);
}

/* ---- unpacking ---- */

static int open_blob(int blobs, const char *name)
{
	struct stat st;
	int fd = open_beneath(blobs, name, O_RDONLY | O_NONBLOCK);

	if (fd < 0)
		return fd;
	/* Core owns this directory: do not be talked into reading somebody else's file. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != ID_CORE) {
		close(fd);
		return -EACCES;
	}
	return fd;
}

void tree_unpack(int code, int blobs, int unpack_exe, const uint8_t hash[WIRE_HASH_SIZE],
    uint64_t limit_bytes, struct wire_outcome *ret)
{
	char name[65], temporary[32];
	_cleanup_close_ int blob = -1, target = -1;
	int r;

	tree_name(hash, name);
	snprintf(temporary, sizeof(temporary), ".new-%d", (int)getpid());
	remove_tree(code, temporary);
	blob = open_blob(blobs, name);
	r = blob < 0 ? blob : mkdirat(code, temporary, 0700) < 0 ? -errno : 0;
	if (r == 0) {
		target = open_beneath(code, temporary, O_RDONLY | O_DIRECTORY);
		r = target < 0 || fchown(target, ID_UNPACK, ID_UNPACK) < 0 ? -errno : 0;
	}
	if (r == 0)
		r = unpack_into(target,
		    &(struct unpack_task){
			.input = blob, .exe = unpack_exe, .limit_bytes = limit_bytes},
		    ret);
	/* From here on the tree is nobody's to change. */
	if (r == 0 && ret->result == 0 && fchown(target, 0, 0) < 0)
		r = -errno;
	if (r == 0 && ret->result == 0)
		r = unpack_publish(code, temporary, name, target, true);
	if (r < 0) {
		ret->result = r;
		snprintf(ret->text, sizeof(ret->text), "Unpacking failed: %s", strerror(-r));
	}
	if (ret->result < 0)
		remove_tree(code, temporary);
}

/* ---- mounting ---- */

int tree_mount(int code, const uint8_t hash[WIRE_HASH_SIZE])
{
	struct mount_attr attr = {.attr_set = TREE_FLAGS};
	_cleanup_close_ int dir = -1, tree = -1;
	char name[65];

	tree_name(hash, name);
	dir = open_beneath(code, name, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return dir;
	tree = open_tree(dir, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	return take_fd(&tree);
}

int tree_mount_layers(const uint8_t hashes[][WIRE_HASH_SIZE], unsigned count)
{
	char options[WIRE_LAYERS_MAX * (sizeof(ROOT_DATA "/code/") + 65) + 16] = "lowerdir=";
	size_t used = strlen(options);
	char name[65];
	int tree, r;

	for (unsigned i = count; i-- > 0;) { /* overlay wants the highest first */
		tree_name(hashes[i], name);
		used += (size_t)snprintf(options + used, sizeof(options) - used,
		    ROOT_DATA "/code/%s%s", name, i ? ":" : "");
	}
	/* By mount(2), because fsconfig(2) takes no value this long: mount, take a copy, unmount.
	 */
	if (mount("layers", ROOT_LAYERS, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options) < 0)
		return -errno;
	tree = open_tree(AT_FDCWD, ROOT_LAYERS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	r = tree < 0 ? -errno : tree;
	umount2(ROOT_LAYERS, MNT_DETACH);
	return r;
}
