/* Where mounts of a container really go: links of the image, and of volumes, are followed as the
 * runtime will, inside the root. What is the kernel's own there must not be covered. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "spawner/containers_int.h"
#include "spawner/root.h"

#define LINKS_MAX 40
#define PATH_SIZE 4096

struct targets {
	int root;
	const struct container_spec *spec;
	size_t count; /* of mounts that have been looked at */
	char at[CONTAINER_MOUNTS_MAX][PATH_SIZE];
};

/* The directory that a clean path is in: of the root, or of what is mounted over a part of it. */
static int open_tree_of(const struct targets *t, const char **path)
{
	char at[32];

	for (size_t i = t->count; i-- > 0;) {
		if (!path_is_below(*path, t->at[i]))
			continue;
		snprintf(at, sizeof(at), ROOT_HOST_MOUNTS "/%zu", i);
		*path += strlen(t->at[i]);
		return open(at, O_PATH | O_DIRECTORY | O_CLOEXEC); /* none: a tmpfs, a file */
	}
	return fcntl(t->root, F_DUPFD_CLOEXEC, 0);
}

/* What the link at a path says, whose other parts are none; below 0: there is no link. */
static ssize_t read_link(const struct targets *t, const char *path, char out[PATH_SIZE])
{
	struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	_cleanup_close_ int tree = open_tree_of(t, &path), link = -1;
	ssize_t n = -1;

	if (tree >= 0 && path[0] == '/')
		link = (int)syscall(SYS_openat2, tree, path + 1, &how, sizeof(how));
	if (link >= 0)
		n = readlinkat(link, "", out, PATH_SIZE - 1);
	if (n >= 0)
		out[n] = '\0';
	return n;
}

static int resolve(const struct targets *t, const char *path, char out[PATH_SIZE])
{
	static char rest[2 * PATH_SIZE], link[PATH_SIZE], joined[3 * PATH_SIZE];
	unsigned links = 0;

	snprintf(rest, sizeof(rest), "%s", path);
	snprintf(out, PATH_SIZE, "/");
	for (char *next = rest; *next;) {
		size_t len = strcspn(next, "/");
		char *after = next + len + (next[len] == '/');

		snprintf(joined, sizeof(joined), "%s/%.*s", out, (int)len, next);
		if (!path_clean(joined, out, PATH_SIZE))
			return -ENAMETOOLONG;
		next = after;
		if (len == 0 || read_link(t, out, link) < 0)
			continue;
		if (++links > LINKS_MAX)
			return -ELOOP;
		/* From where the link is, or from the top. */
		if (link[0] == '/')
			snprintf(out, PATH_SIZE, "/");
		else
			*strrchr(out, '/') = '\0';
		if (strlen(link) + strlen(next) + 2 > sizeof(rest))
			return -ENAMETOOLONG;
		snprintf(joined, sizeof(joined), "%s/%s", link, next);
		memcpy(rest, joined, strlen(joined) + 1);
		next = rest;
	}
	return 0;
}

static int check_one(
    const struct targets *t, const char *target, char out[PATH_SIZE], struct err *e)
{
	int r = resolve(t, target, out);

	if (r < 0)
		return err_sys(e, -r, "following links to %s in the image", target);
	if (container_target_refused(out))
		return err_set(e, EINVAL, "%s leads to %s in the image: %s", target, out,
		    container_target_refused(out));
	return 0;
}

int targets_check(const struct container_spec *spec, struct err *e)
{
	static struct targets t;
	static char at[PATH_SIZE];
	_cleanup_close_ int root = open(ROOT_HOST_ROOTFS, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? err_sys(e, errno, "opening the root") : 0;

	t.root = root;
	t.count = 0;
	while (r == 0 && t.count < spec->mount_count) {
		r = check_one(&t, spec->mounts[t.count].target, at, e);
		memcpy(t.at[t.count++], at, sizeof(at));
	}
	for (size_t i = 0; r == 0 && i < spec->device_count; i++)
		r = check_one(&t, spec->devices[i].inside, at, e);
	return r;
}
