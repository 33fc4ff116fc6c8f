/* Stacks of layers on either kind of kernel: one option for each, or all of them in one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "spawner/overlay.h"
#include "spawner/tree.h"

#define AT "/mnt" /* in a mount namespace of our own, a tmpfs */

/* As tree.c has it, which brings more than is needed here. */
void tree_name(const uint8_t hash[WIRE_HASH_SIZE], char out[65])
{
	hex_encode(hash, WIRE_HASH_SIZE, out);
}

static int make_dir(int at, const char *name)
{
	return mkdirat(at, name, 0755) < 0 ? -1
					   : openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int mark(int dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : fd_write_full(fd, text, strlen(text));
}

static bool reads(int tree, const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(tree, name, O_RDONLY | O_CLOEXEC);
	char got[16] = "";

	return fd >= 0 && read(fd, got, sizeof(got) - 1) >= 0 && strcmp(got, text) == 0;
}

/* Each layer has a file of its own and says who is on top. */
static int make_layers(int top, uint8_t (*hashes)[WIRE_HASH_SIZE], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char name[65], own[16], text[16];
		_cleanup_close_ int dir = -1;

		memset(hashes[i], 0, WIRE_HASH_SIZE);
		hashes[i][0] = (uint8_t)(i + 1);
		tree_name(hashes[i], name);
		snprintf(own, sizeof(own), "f%zu", i);
		snprintf(text, sizeof(text), "%zu", i);
		dir = make_dir(top, name);
		if (dir < 0 || mark(dir, own, text) < 0 || mark(dir, "top", text) < 0)
			return -1;
	}
	return 0;
}

static int check_tree(int tree, size_t count, bool writable)
{
	char name[16], text[16];

	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		snprintf(text, sizeof(text), "%zu", i);
		if (!reads(tree, name, text))
			return 10;
	}
	if (!reads(tree, "top", text))
		return 11;
	if ((mark(tree, "new", "x") == 0) != writable)
		return 12;
	return mkdirat(AT_FDCWD, AT "/m", 0755) < 0 ||
		       move_mount(tree, "", AT_FDCWD, AT "/m", MOVE_MOUNT_F_EMPTY_PATH) < 0
		   ? 13
		   : 0;
}

static int stack(size_t count, bool joined, bool writable)
{
	uint8_t hashes[OVERLAY_LAYERS_MAX][WIRE_HASH_SIZE];
	int top, upper = -1, work = -1, bottom, tree, dirs[OVERLAY_LAYERS_MAX + 1];

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", AT, "tmpfs", 0, NULL) < 0)
		return 77;
	top = open(AT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bottom = make_dir(top, "bottom");
	if (writable) {
		upper = make_dir(top, "upper");
		work = make_dir(top, "work");
	}
	if (mkdirat(top, "at", 0755) < 0 || make_layers(top, hashes, count) < 0)
		return 1;
	if (!joined) {
		tree = overlay_mount(top, (const uint8_t(*)[WIRE_HASH_SIZE])hashes, count, bottom,
		    upper, work, AT "/at");
	} else {
		for (size_t i = 0; i < count; i++) {
			char name[65];

			tree_name(hashes[count - 1 - i], name);
			dirs[i] = openat(top, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
		dirs[count] = bottom;
		tree = overlay_mount_joined(dirs, count + 1, upper, work, AT "/at");
	}
	if (tree < 0)
		return -tree;
	/* Nothing stays where it was for a moment. */
	return faccessat(top, "at/top", F_OK, 0) == 0 ? 2 : check_tree(tree, count, writable);
}

static void in_a_child(size_t count, bool joined, bool writable)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(stack(count, joined, writable));
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("mounts need root: not tested here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void as_many_as_docker(void **state _unused_)
{
	in_a_child(OVERLAY_LAYERS_MAX, false, true);
	in_a_child(OVERLAY_LAYERS_MAX, false, false);
}

static void on_older_kernels(void **state _unused_)
{
	in_a_child(OVERLAY_LAYERS_MAX, true, true);
	in_a_child(OVERLAY_LAYERS_MAX, true, false);
	in_a_child(1, true, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(as_many_as_docker),
	    cmocka_unit_test(on_older_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
