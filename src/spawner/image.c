/* See image.h. */
#include "spawner/image.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spawner/overlay.h"
#include "spawner/root.h"

#define IMAGE_AT "/opt" /* of the template: where the image is on its way */

int image_mount(int layers, const uint8_t (*hashes)[WIRE_HASH_SIZE], size_t count)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID};
	_cleanup_close_ int tree = -1, places = open(ROOT_PLACES, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (places < 0)
		return -errno;
	tree = overlay_mount(layers, hashes, count, places, -1, -1, ROOT_LAYERS);
	if (tree < 0)
		return tree;
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	return take_fd(&tree);
}

static int put(int image, int mount, const char *at)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	_cleanup_close_ int target = (int)syscall(SYS_openat2, image, at, &how, sizeof(how));

	if (target < 0)
		return errno == ELOOP ? -ENOTDIR : -errno;
	return move_mount(
		   mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		   ? -errno
		   : 0;
}

/* What the box has at /<at>, in the image as well. */
static int carry_over(int image, const char *at)
{
	char from[32] = "/";
	_cleanup_close_ int tree = -1;

	strcat(from, at);
	tree = open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return tree < 0 ? -errno : put(image, tree, at);
}

/* pivot_root(2) moves the root of every process in the namespace that has the old one: box-init
 * finds itself in the image. */
int image_become_root(int image, int tmp)
{
	static const char *const needed[] = {"proc", "dev"};
	static const char *const files[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf"};
	_cleanup_close_ int root = -1;
	int r;

	if (move_mount(image, "", AT_FDCWD, IMAGE_AT, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	root = open(IMAGE_AT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = root < 0 ? -errno : put(root, tmp, "tmp");
	for (size_t i = 0; i < ARRAY_SIZE(needed) && r == 0; i++)
		r = carry_over(root, needed[i]);
	/* An image that has links or directories in their place has its reasons. */
	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		(void)carry_over(root, files[i]);
	return r < 0 ? r : root_enter(IMAGE_AT);
}
