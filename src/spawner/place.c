/* Directories, small files and remembered processes of sandboxes and containers. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/containers_int.h"
#include "spawner/ids.h"

#define END_MS 5000

static int open_dir(int at, const char *name, bool make)
{
	int fd;

	if (make && mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Whoever had the lock may have removed what we opened. */
static int lock(int tasks, const char *name, bool make)
{
	for (;;) {
		struct stat mine, there;
		int fd = open_dir(tasks, name, make);

		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX) == 0 && fstat(fd, &mine) == 0 &&
		    fstatat(tasks, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    mine.st_ino == there.st_ino)
			return fd;
		close(fd);
		if (!make && faccessat(tasks, name, F_OK, 0) < 0)
			return -ENOENT;
	}
}

int place_open(struct place *p, bool make, struct err *e)
{
	_cleanup_close_ int tasks = open(TASKS_AT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (tasks < 0)
		return err_sys(e, errno, "opening " TASKS_AT);
	p->dir = lock(tasks, p->sandbox, make && !p->id[0]);
	if (p->dir < 0)
		return err_sys(e, -p->dir, "opening the task's directory");
	if (!p->id[0])
		return 0;
	p->bundle = open_dir(p->dir, p->id, make);
	return p->bundle < 0 ? err_sys(e, -p->bundle, "opening the container's directory") : 0;
}

void place_close(struct place *p)
{
	base_closep(&p->bundle);
	base_closep(&p->dir);
	p->bundle = p->dir = -1;
}

void place_path(const struct place *p, const char *file, char out[160])
{
	snprintf(out, 160, TASKS_AT "/%s/%s%s%s", p->sandbox, p->id, file[0] ? "/" : "", file);
}

int place_write(int dir, const char *name, const void *data, size_t len)
{
	_cleanup_close_ int fd =
	    openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd_write_full(fd, data, len);
}

ssize_t place_read(int dir, const char *name, void *data, size_t size)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, data, size);

	return n < 0 ? -errno : n;
}

static void name_note(const char *name, char out[48])
{
	snprintf(out, 48, "trusted.mayfly.%s", name);
}

int place_note(int dir, const char *name, const void *data, size_t len)
{
	char full[48];

	name_note(name, full);
	return fsetxattr(dir, full, data, len, 0) < 0 ? -errno : 0;
}

ssize_t place_noted(int dir, const char *name, void *data, size_t size)
{
	char full[48];
	ssize_t n;

	name_note(name, full);
	n = fgetxattr(dir, full, data, size);
	return n < 0 ? -errno : n;
}

int place_read_sandbox(const struct place *p, struct sandbox_spec *ret)
{
	char data[256];
	const char *why;
	ssize_t n = place_read(p->dir, "record", data, sizeof(data));

	return n < 0 ? (int)n : record_sandbox(data, (size_t)n, ret, &why);
}

struct record_container *place_read_container(const struct place *p)
{
	static char data[CONTAINER_SPEC_MAX];
	static struct record_container record;
	const char *why;
	ssize_t n = place_read(p->bundle, "record", data, sizeof(data));

	return n < 0 || record_container(data, (size_t)n, &record, &why) < 0 ? NULL : &record;
}

static ssize_t boot_id(char out[64])
{
	return place_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", out, 64);
}

bool place_is_stale(const struct place *p)
{
	char now[64], then[64];
	ssize_t n = boot_id(now);

	return n <= 0 || place_noted(p->dir, "boot", then, sizeof(then)) != n ||
	       memcmp(now, then, (size_t)n) != 0;
}

int place_note_boot(const struct place *p)
{
	char now[64];
	ssize_t n = boot_id(now);

	return n < 0 ? (int)n : place_note(p->dir, "boot", now, (size_t)n);
}

/* ---- processes ---- */

/* The 22nd field of /proc/<pid>/stat; the second is in brackets and may have any in it. 0: gone. */
static uint64_t start_of(pid_t pid)
{
	char path[32], text[1024], *at;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = place_read(AT_FDCWD, path, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strrchr(text, ')');
	for (int i = 0; i < 20 && at; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

int process_note(int dir, const char *name, pid_t pid)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)pid, start_of(pid));

	return place_note(dir, name, text, (size_t)n);
}

static struct process parse(char *text, ssize_t n)
{
	struct process p = {0};
	char *end;

	if (n <= 0)
		return p;
	text[n] = '\0';
	p.pid = (pid_t)strtol(text, &end, 10);
	p.start = strtoull(end, NULL, 10);
	if (p.pid <= 1)
		p.pid = 0;
	return p;
}

struct process process_noted(int dir, const char *name)
{
	char text[64];

	return parse(text, place_noted(dir, name, text, sizeof(text) - 1));
}

struct process process_read(int dir, const char *name)
{
	char text[64];

	return parse(text, place_read(dir, name, text, sizeof(text) - 1));
}

int process_open(const struct process *p)
{
	int fd = p->pid > 0 ? (int)syscall(SYS_pidfd_open, p->pid, 0) : -1;

	if (fd < 0)
		return -ESRCH;
	if (p->start && start_of(p->pid) == p->start)
		return fd;
	close(fd);
	return -ESRCH;
}

int process_end(const struct process *p)
{
	_cleanup_close_ int fd = process_open(p);
	struct pollfd gone = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return 0;
	pidfd_send(fd, SIGKILL);
	return poll(&gone, 1, END_MS) == 1 ? 0 : -EBUSY;
}
