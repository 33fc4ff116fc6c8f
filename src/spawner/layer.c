/* See layer.h. */
#include "spawner/layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spawner/ids.h"
#include "spawner/remove.h"
#include "spawner/tree.h"
#include "spawner/unpack.h"

#define MARK "unsynced-" /* then 8 digits of the boot's id, '-', the hash */
#define MARK_SIZE (sizeof(MARK) + 8 + 1 + 64)
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* ---- marks ---- */

static void boot_of_machine(char out[9])
{
	_cleanup_close_ int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, 8);

	if (n != 8)
		memcpy(out, "00000000", 8);
	out[8] = '\0';
}

static bool is_mark(const char *name)
{
	return strncmp(name, MARK, sizeof(MARK) - 1) == 0 && strlen(name) == MARK_SIZE - 1;
}

static int mark(int layers, const char *hash, char out[MARK_SIZE])
{
	char boot[9];
	int fd;

	boot_of_machine(boot);
	snprintf(out, MARK_SIZE, MARK "%s-%s", boot, hash);
	fd = openat(layers, out, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* What to do with each mark; the directory may change meanwhile. */
static void each_mark(int layers, void (*fn)(int layers, const char *name, void *ctx), void *ctx)
{
	int copy = openat(layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (is_mark(entry->d_name))
			fn(layers, entry->d_name, ctx);
	if (d)
		closedir(d);
}

/* Renamed before the sync, so that marks which come during it stay. */
static void take_up(int layers, const char *name, void *ctx)
{
	char taken[MARK_SIZE + 1];

	(void)ctx;
	snprintf(taken, sizeof(taken), "%s+", name);
	renameat(layers, name, layers, taken);
}

static void drop_taken(int layers)
{
	int copy = openat(layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (strncmp(entry->d_name, MARK, sizeof(MARK) - 1) == 0 &&
		    strlen(entry->d_name) == MARK_SIZE)
			unlinkat(layers, entry->d_name, 0);
	if (d)
		closedir(d);
}

void layers_sync(int layers)
{
	each_mark(layers, take_up, NULL);
	if (syncfs(layers) == 0)
		drop_taken(layers);
}

static void check_mark(int layers, const char *name, void *ctx)
{
	const char *hash = name + sizeof(MARK) - 1 + 9;
	char boot[9];

	boot_of_machine(boot);
	if (strncmp(name + sizeof(MARK) - 1, boot, 8) == 0) {
		*(bool *)ctx = true;
		return;
	}
	remove_tree(layers, hash);
	unlinkat(layers, name, 0);
}

/* What was taken up and not dropped is a mark again. */
static void give_back(int layers)
{
	int copy = openat(layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	char name[MARK_SIZE];

	while (d && (entry = readdir(d))) {
		if (strncmp(entry->d_name, MARK, sizeof(MARK) - 1) != 0 ||
		    strlen(entry->d_name) != MARK_SIZE)
			continue;
		memcpy(name, entry->d_name, MARK_SIZE - 1);
		name[MARK_SIZE - 1] = '\0';
		renameat(layers, entry->d_name, layers, name);
	}
	if (d)
		closedir(d);
}

bool layers_check(int layers)
{
	bool due = false;

	give_back(layers);
	each_mark(layers, check_mark, &due);
	return due;
}

/* ---- unpacking ---- */

static int make_target(int layers, const char *name)
{
	int fd;

	remove_tree(layers, name);
	if (mkdirat(layers, name, 0700) < 0)
		return -errno;
	fd = openat(layers, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fchown(fd, ID_CONTAINERS, ID_CONTAINERS) == 0)
		return fd;
	close(fd);
	return -errno;
}

void layer_unpack(int layers, int input, int unpack_exe, const uint8_t hash[WIRE_HASH_SIZE],
    uint64_t limit_bytes, struct wire_outcome *ret)
{
	const struct unpack_task task = {.mode = UNPACK_LAYER,
	    .input = input,
	    .exe = unpack_exe,
	    .hash = hash,
	    .limit_bytes = limit_bytes};
	_cleanup_close_ int target = -1;
	char name[65], temporary[32], marked[MARK_SIZE] = "";
	int r;

	tree_name(hash, name);
	name_unfinished(temporary);
	remove_unfinished(layers);
	target = make_target(layers, temporary);
	r = target < 0 ? target : unpack_into(target, &task, ret);
	if (r == 0 && ret->result == 0)
		r = mark(layers, name, marked);
	if (r == 0 && ret->result == 0)
		r = unpack_publish(layers, temporary, name, target, false);
	if (r < 0) {
		ret->result = r;
		snprintf(
		    ret->text, sizeof(ret->text), "unpacking a layer failed: %s", strerror(-r));
	}
	if (ret->result < 0) {
		remove_tree(layers, temporary);
		if (marked[0])
			unlinkat(layers, marked, 0);
	}
}
