/* Loop images for /tmp. See disk.h and docs/adr/0003-tmp.md. */
#include "spawner/disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spawner/confine.h"
#include "spawner/ids.h"
#include "spawner/root.h"

#define TEMPLATE "template.img"
#define TASK_TEMPLATE "task.img"
#define TASK_BYTES (UINT64_C(20) << 30)
#define LOOP_TRIES 32
#define PLACES 16 /* directories for images, see new_image() */

/* mke2fs runs without rights: it owns the image for as long as it formats it. */
_noreturn_ static void run_mke2fs(int image)
{
	static const char *const places[] = {"/usr/sbin/mke2fs", "/sbin/mke2fs"};
	static char *const envp[] = {NULL};
	/* No journal, lazy tables: a disk that nobody writes to costs a few blocks. */
	const char *argv[] = {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-I",
	    "256", "-O", "none,extents,sparse_super,large_file,filetype,dir_index,uninit_bg", "-E",
	    "nodiscard,lazy_itable_init=1,num_backup_sb=0", "/proc/self/fd/3", NULL};
	int null = open(ROOT_CORE "/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(image, 3) < 0)
		_exit(126);
	if (chroot(ROOT_CORE) < 0 || chdir("/") < 0 || confine_to(ID_UNPACK) < 0)
		_exit(126);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		execve(places[i], (char *const *)argv, envp);
	_exit(127);
}

static int format(int image, struct err *e)
{
	int status = 0;
	pid_t pid;

	if (fchown(image, ID_UNPACK, ID_UNPACK) < 0)
		return err_sys(e, errno, "handing an image to mke2fs");
	pid = fork();
	if (pid == 0)
		run_mke2fs(image);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return err_sys(e, errno, "starting mke2fs");
	if (fchown(image, 0, 0) < 0)
		return err_sys(e, errno, "taking an image back");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(e, ENOENT, "mke2fs is missing; install e2fsprogs");
	if (status)
		return err_set(e, EIO, "mke2fs failed (status %d)", status);
	return 0;
}

/* A free loop device over `image`. It lets go of the file with its last user. */
static int attach(int image, char *path, size_t size, struct err *e)
{
	struct loop_config config = {.fd = (uint32_t)image,
	    .block_size = 4096,
	    .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO};
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (control < 0)
		return err_sys(e, errno, "opening /dev/loop-control");
	(void)flock(control, LOCK_EX); /* among ourselves nobody is told of one that is taken */
	for (int i = 0; i < LOOP_TRIES; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE), loop;

		if (number < 0)
			return err_sys(e, errno, "finding a free loop device");
		snprintf(path, size, "/dev/loop%d", number);
		loop = open(path, O_RDWR | O_CLOEXEC);
		if (loop < 0)
			return err_sys(e, errno, "opening %s", path);
		if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
			return loop;
		if (errno == EINVAL && (config.info.lo_flags & LO_FLAGS_DIRECT_IO))
			config.info.lo_flags &= ~(uint32_t)LO_FLAGS_DIRECT_IO;
		else if (errno != EBUSY) {
			close(loop);
			return err_sys(e, errno, "setting up %s", path);
		}
		close(loop);
	}
	return err_set(e, EBUSY, "no free loop device after %d tries", LOOP_TRIES);
}

/* Only what is there of a sparse file. */
static int copy_sparse(int from, int to, struct err *e)
{
	static char block[65536];
	off_t data = 0, hole;

	while ((data = lseek(from, data, SEEK_DATA)) >= 0) {
		hole = lseek(from, data, SEEK_HOLE);
		while (data < hole) {
			size_t most = (size_t)(hole - data);
			ssize_t n =
			    pread(from, block, most < sizeof(block) ? most : sizeof(block), data);

			if (n <= 0 || pwrite(to, block, (size_t)n, data) != n)
				return err_sys(e, EIO, "copying the /tmp template");
			data += n;
		}
	}
	return errno == ENXIO ? 0 : err_sys(e, errno, "reading the /tmp template");
}

/* The usual size. Onto the device, not into the file: the mount finds it in memory, and nothing
 * has to be on disk before the device is set up. */
static int copy_template(int images, const char *template, int loop, struct err *e)
{
	_cleanup_close_ int from = openat(images, template, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return from < 0 ? err_sys(e, errno, "opening the template of disks")
			: copy_sparse(from, loop, e);
}

/* template: what it is a copy of, in images; NULL: it has been formatted. */
static int mount_image(int image, int images, const char *template, struct err *e)
{
	static const char *const options[][2] = {{"noinit_itable", NULL},
	    {"no_prefetch_block_bitmaps", NULL}, {"nobarrier", NULL}, {"data_err", "ignore"},
	    {"errors", "continue"}};
	char path[32];
	_cleanup_close_ int loop = attach(image, path, sizeof(path), e);
	_cleanup_close_ int fs = -1;
	int m;

	if (loop < 0 || (template && copy_template(images, template, loop, e) < 0))
		return -e->errnum;
	fs = fsopen("ext4", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", path, 0) < 0)
		return err_sys(e, errno, "preparing to mount %s", path);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		bool flag = !options[i][1];

		/* Only speed hangs on these: a kernel without one may go without. */
		(void)fsconfig(fs, flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, options[i][0],
		    options[i][1], 0);
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(e, errno, "mounting %s", path);
	m = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
	return m < 0 ? err_sys(e, errno, "mounting %s", path) : m;
}

/* Open to all, empty. */
static int open_to_all(int m, struct err *e)
{
	if (fchmodat(m, ".", 01777, 0) < 0 ||
	    (unlinkat(m, "lost+found", AT_REMOVEDIR) < 0 && errno != ENOENT))
		return err_sys(e, errno, "preparing a /tmp");
	return 0;
}

/* ext4 without journal passes over every inode of a group that was deleted in the last minutes:
 * with all images in one directory, and so in one group, that took 0.3 to 0.5 ms an image. */
static int new_image(int images, uint64_t bytes, struct err *e)
{
	static unsigned next;
	char place[8];
	int fd;

	snprintf(place, sizeof(place), "%x", (next++ + (unsigned)getpid()) % PLACES);
	fd = openat(images, place, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "making an image in the data directory");
	if (ftruncate(fd, (off_t)bytes) == 0)
		return fd;
	err_sys(e, errno, "sizing an image");
	close(fd);
	return -e->errnum;
}

static int make_places(int images, struct err *e)
{
	for (unsigned i = 0; i < PLACES; i++) {
		char place[8];

		snprintf(place, sizeof(place), "%x", i);
		if (mkdirat(images, place, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "making room for images");
	}
	return 0;
}

int disk_prepare(int images, struct err *e)
{
	_cleanup_close_ int image = -1, m = -1;
	int r = make_places(images, e);

	if (r < 0)
		return r;
	unlinkat(images, TEMPLATE, 0);
	unlinkat(images, TASK_TEMPLATE, 0);
	image = openat(images, TEMPLATE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (image < 0 || ftruncate(image, (off_t)WIRE_TMP_MB_MIN << 20) < 0)
		return err_sys(e, errno, "making the /tmp template");
	r = format(image, e);
	if (r < 0)
		return r;
	m = mount_image(image, images, NULL, e);
	return m < 0 ? m : open_to_all(m, e);
}

int disk_make(int images, uint32_t mb, struct err *e)
{
	bool usual = mb == WIRE_TMP_MB_MIN;
	_cleanup_close_ int image = new_image(images, (uint64_t)mb << 20, e), m = -1;
	int r;

	if (image < 0)
		return image;
	r = usual ? 0 : format(image, e);
	if (r < 0)
		return r;
	m = mount_image(image, images, usual ? TEMPLATE : NULL, e);
	if (m < 0)
		return m;
	r = usual ? 0 : open_to_all(m, e);
	return r < 0 ? r : take_fd(&m);
}

int disk_tmpfs(uint32_t mb)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	char size[16];
	int m;

	snprintf(size, sizeof(size), "%um", mb);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "size", size, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "mode", "1777", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	m = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME);
	return m < 0 ? -errno : m;
}

static int empty(int m, struct err *e)
{
	_cleanup_close_ int top = openat(m, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (unlinkat(m, "lost+found", AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(e, errno, "preparing a disk");
	if (top < 0 || syncfs(top) < 0) /* before others copy it */
		return err_sys(e, errno, "preparing a disk");
	return 0;
}

/* Formatted and emptied, and only then named: two that find it missing may both make it. */
static int make_task_template(int images, struct err *e)
{
	_cleanup_close_ int image = -1, m = -1;
	char name[32];
	int r;

	snprintf(name, sizeof(name), ".task-%d", (int)getpid());
	unlinkat(images, name, 0);
	image = openat(images, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (image < 0 || ftruncate(image, (off_t)TASK_BYTES) < 0)
		return err_sys(e, errno, "making the template of tasks' disks");
	r = format(image, e);
	if (r < 0)
		return r;
	m = mount_image(image, images, NULL, e);
	r = m < 0 ? m : empty(m, e);
	if (r == 0 && renameat(images, name, images, TASK_TEMPLATE) < 0)
		r = err_sys(e, errno, "naming the template of tasks' disks");
	return r;
}

int disk_task(int images, uint64_t bytes, struct err *e)
{
	bool usual = bytes == 0 || bytes == TASK_BYTES;
	_cleanup_close_ int image = -1, m = -1;
	int r = 0;

	if (usual && faccessat(images, TASK_TEMPLATE, F_OK, 0) < 0)
		r = make_task_template(images, e);
	if (r < 0)
		return r;
	image = new_image(images, usual ? TASK_BYTES : bytes, e);
	if (image < 0)
		return image;
	r = usual ? 0 : format(image, e);
	if (r < 0)
		return r;
	m = mount_image(image, images, usual ? TASK_TEMPLATE : NULL, e);
	r = m < 0 ? m : usual ? 0 : empty(m, e);
	return r < 0 ? r : take_fd(&m);
}
