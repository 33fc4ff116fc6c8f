/*
 * See place.h. The directory of the last entry stays open, because archives list directories file
 * by file; times of directories are set at the end.
 */
#include "unpack/place.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"

#define OPAQUE "user.overlay.opaque"

struct place {
	int root;
	int dir;    /* of dir_path; -1: none */
	bool stale; /* something was replaced: dir_path may mean another directory by now */
	char dir_path[PLACE_PATH_MAX];
	bool inherits;    /* a set-group-id directory gives its group to what is made in it */
	struct buf times; /* struct timespec, path, NUL; again and again */
};

struct place *place_new(int root)
{
	struct place *p = xcalloc(1, sizeof(*p));

	p->root = root;
	p->dir = -1;
	return p;
}

static void forget_dir(struct place *p)
{
	if (p->dir >= 0)
		close(p->dir);
	p->dir = -1;
}

void place_free(struct place *p)
{
	if (!p)
		return;
	forget_dir(p);
	buf_done(&p->times);
	free(p);
}

/* ---- paths ---- */

int place_clean(const char *path, char out[PLACE_PATH_MAX])
{
	size_t used = 0;
	unsigned depth = 0;

	while (*path) {
		size_t n = strcspn(path, "/");
		bool dot = n == 1 && path[0] == '.';

		if (n == 2 && path[0] == '.' && path[1] == '.')
			return -EINVAL;
		if (n > NAME_MAX || used + n + 2 > PLACE_PATH_MAX)
			return -ENAMETOOLONG;
		if (n && !dot) {
			if (++depth > PLACE_DEPTH_MAX)
				return -ELOOP;
			if (used)
				out[used++] = '/';
			memcpy(out + used, path, n);
			used += n;
		}
		path += n + (path[n] == '/');
	}
	out[used] = '\0';
	return 0;
}

static int open_inside(const struct place *p, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
	    .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, p->root, path[0] ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* Open a directory, and make it first where the archive left it out: root's, 0755. path is changed
 * on the way and as before at the end. */
static int ensure_dir(const struct place *p, char *path)
{
	int fd = open_inside(p, path), above;
	char *slash = strrchr(path, '/');
	int r = 0;

	if (fd != -ENOENT || !path[0])
		return fd;
	if (slash)
		*slash = '\0';
	above = ensure_dir(p, slash ? path : path + strlen(path));
	if (above < 0 || mkdirat(above, slash ? slash + 1 : path, 0755) < 0)
		r = above < 0 ? above : -errno;
	if (above >= 0)
		close(above);
	if (slash)
		*slash = '/';
	return r < 0 ? r : open_inside(p, path);
}

/* The directory in which path lies, as p->dir; *ret: the name in it. */
static int reach(struct place *p, const char *path, const char **ret)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	char dir[PLACE_PATH_MAX];

	*ret = slash ? slash + 1 : path;
	if (!path[0])
		return -EISDIR;
	memcpy(dir, path, n);
	dir[n] = '\0';
	if (p->dir >= 0 && !p->stale && strcmp(dir, p->dir_path) == 0)
		return 0;
	forget_dir(p);
	p->stale = false;
	p->dir = ensure_dir(p, dir);
	memcpy(p->dir_path, dir, n + 1);
	return p->dir < 0 ? p->dir : 0;
}

/* Something of this name is in the layer already: the later entry wins. */
static int clear_way(struct place *p, const char *name)
{
	p->stale = true;
	if (unlinkat(p->dir, name, 0) == 0)
		return 0;
	if (errno != EISDIR)
		return -errno;
	return unlinkat(p->dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* ---- what objects are like ---- */

static int apply(const struct place *p, int fd, const struct place_facts *f, bool set_mode)
{
	const struct timespec times[2] = {f->mtime, f->mtime};
	int r;

	if ((f->uid || f->gid || p->inherits) && fchown(fd, f->uid, f->gid) < 0)
		return -errno;
	/* Changing the owner takes capabilities of files and set-id bits away. */
	r = f->on_made ? f->on_made(f->ctx, fd) : 0;
	if (r == 0 && (set_mode || (f->mode & 07000)) && fchmod(fd, f->mode) < 0)
		r = -errno;
	if (r == 0 && futimens(fd, times) < 0)
		r = -errno;
	return r;
}

/* The same for what cannot be opened. */
static int apply_at(const struct place *p, const char *name, const struct place_facts *f)
{
	const struct timespec times[2] = {f->mtime, f->mtime};

	if ((f->uid || f->gid || p->inherits) &&
	    fchownat(p->dir, name, f->uid, f->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return utimensat(p->dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* ---- objects ---- */

int place_file(struct place *p, const char *path, const struct place_facts *f)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	const char *name;
	int r = reach(p, path, &name), fd;

	if (r < 0)
		return r;
	fd = openat(p->dir, name, flags, f->mode & 0777);
	if (fd < 0 && errno == EEXIST) {
		r = clear_way(p, name);
		if (r < 0)
			return r;
		fd = openat(p->dir, name, flags, f->mode & 0777);
	}
	return fd < 0 ? -errno : fd;
}

int place_file_end(struct place *p, int fd, const struct place_facts *f)
{
	int r = apply(p, fd, f, false);

	close(fd);
	return r;
}

/* Make or take over a directory. *ret_fresh: its mode is that of f already. *ret_hides: an entry
 * before it said that lower layers' directory of this name is gone. */
static int make_dir(
    struct place *p, const char *name, mode_t mode, bool *ret_fresh, bool *ret_hides)
{
	struct stat st;
	int r;

	*ret_fresh = mkdirat(p->dir, name, mode & 0777) == 0;
	*ret_hides = false;
	if (*ret_fresh)
		return 0;
	if (errno != EEXIST || fstatat(p->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return 0;
	*ret_hides = S_ISCHR(st.st_mode);
	r = clear_way(p, name);
	if (r < 0)
		return r;
	*ret_fresh = mkdirat(p->dir, name, mode & 0777) == 0;
	return *ret_fresh ? 0 : -errno;
}

static int hide_lower(int fd)
{
	return fsetxattr(fd, OPAQUE, "y", 1, 0) < 0 ? -errno : 0;
}

static int open_dir(const struct place *p, const char *name)
{
	int fd = openat(p->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int place_directory(struct place *p, const char *path, const struct place_facts *f)
{
	_cleanup_close_ int fd = -1;
	bool fresh = false, hides = false;
	const char *name;
	int r = reach(p, path, &name);

	if (r == 0)
		r = make_dir(p, name, f->mode, &fresh, &hides);
	if (r < 0)
		return r;
	fd = open_dir(p, name);
	if (fd < 0)
		return fd;
	r = apply(p, fd, f, !fresh);
	if (r == 0 && hides)
		r = hide_lower(fd);
	if (f->mode & S_ISGID)
		p->inherits = true;
	buf_append(&p->times, &f->mtime, sizeof(f->mtime));
	buf_append(&p->times, path, strlen(path) + 1);
	return r;
}

int place_link(struct place *p, const char *path, const char *target, const struct place_facts *f)
{
	const char *name;
	int r = reach(p, path, &name);

	if (r < 0)
		return r;
	r = symlinkat(target, p->dir, name) < 0 ? -errno : 0;
	if (r == -EEXIST) {
		r = clear_way(p, name);
		if (r == 0 && symlinkat(target, p->dir, name) < 0)
			r = -errno;
	}
	return r < 0 ? r : apply_at(p, name, f);
}

int place_hard_link(struct place *p, const char *path, const char *target)
{
	char dir[PLACE_PATH_MAX];
	const char *name, *last = strrchr(target, '/');
	size_t n = last ? (size_t)(last - target) : 0;
	_cleanup_close_ int from = -1;
	int r = reach(p, path, &name);

	if (r < 0 || strcmp(path, target) == 0)
		return r;
	memcpy(dir, target, n);
	dir[n] = '\0';
	last = last ? last + 1 : target;
	from = open_inside(p, dir);
	if (from < 0)
		return from;
	r = linkat(from, last, p->dir, name, 0) < 0 ? -errno : 0;
	if (r != -EEXIST)
		return r;
	r = clear_way(p, name);
	return r < 0 ? r : linkat(from, last, p->dir, name, 0) < 0 ? -errno : 0;
}

int place_fifo(struct place *p, const char *path, const struct place_facts *f)
{
	const char *name;
	int r = reach(p, path, &name);

	if (r < 0)
		return r;
	r = mknodat(p->dir, name, S_IFIFO | (f->mode & 0777), 0) < 0 ? -errno : 0;
	if (r == -EEXIST) {
		r = clear_way(p, name);
		if (r == 0 && mknodat(p->dir, name, S_IFIFO | (f->mode & 0777), 0) < 0)
			r = -errno;
	}
	return r < 0 ? r : apply_at(p, name, f);
}

/* ---- whiteouts ---- */

/* What the layer itself has of this name stays; a directory then shows none of what is below. */
int place_whiteout(struct place *p, const char *path)
{
	_cleanup_close_ int fd = -1;
	const char *name;
	int r = reach(p, path, &name);

	if (r < 0)
		return r;
	if (mknodat(p->dir, name, S_IFCHR, 0) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	fd = open_dir(p, name);
	return fd >= 0 ? hide_lower(fd) : fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
}

int place_opaque(struct place *p, const char *directory)
{
	char path[PLACE_PATH_MAX];
	_cleanup_close_ int fd = -1;

	memcpy(path, directory, strlen(directory) + 1);
	fd = ensure_dir(p, path);
	return fd < 0 ? fd : hide_lower(fd);
}

/* ---- end ---- */

int place_finish(struct place *p)
{
	forget_dir(p);
	while (buf_len(&p->times)) {
		struct timespec t[2];
		const char *path;
		int fd;

		memcpy(&t[0], buf_data(&p->times), sizeof(t[0]));
		t[1] = t[0];
		path = buf_data(&p->times) + sizeof(t[0]);
		fd = open_inside(p, path);
		/* A later entry may have put something else there. */
		if (fd >= 0) {
			(void)futimens(fd, t);
			close(fd);
		} else if (fd != -ENOENT && fd != -ENOTDIR) {
			return fd;
		}
		buf_consume(&p->times, sizeof(t[0]) + strlen(path) + 1);
	}
	return 0;
}
