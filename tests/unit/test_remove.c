/* Trees of any depth are removed, and nothing beside them or behind links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spawner/remove.h"

#define DEPTH 3000

static char path[] = "/tmp/mayfly-remove-XXXXXX";
static int top = -1;

static void add_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

/* Two directories and a file at each level; `deep` goes on. */
static void add_tree(const char *name, int depth)
{
	int dir = fcntl(top, F_DUPFD_CLOEXEC, 3);

	for (int i = 0; i < depth; i++) {
		int next;

		assert_int_equal(mkdirat(dir, i ? "deep" : name, 0700), 0);
		next = openat(dir, i ? "deep" : name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(dir);
		dir = next;
		assert_int_equal(mkdirat(dir, "side", 0500), 0);
		add_file(dir, "file");
		assert_int_equal(symlinkat("../../kept", dir, "link"), 0);
	}
	close(dir);
}

static unsigned count(void)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static int setup(void **state _unused_)
{
	top = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (top < 0 || mkdirat(top, "kept", 0700) < 0)
		return -1;
	add_file(top, "kept/file");
	return 0;
}

static int teardown(void **state _unused_)
{
	int r = remove_tree(top, "kept");

	close(top);
	return r == 0 && rmdir(path) == 0 ? 0 : -1;
}

static void as_deep_as_it_likes(void **state _unused_)
{
	static const int depths[] = {1, 255, 256, 257, 258, 600, DEPTH};

	for (size_t i = 0; i < ARRAY_SIZE(depths); i++) {
		add_tree("tree", depths[i]);
		assert_int_equal(remove_tree(top, "tree"), 0);
		assert_int_equal(count(), 1);
		assert_int_equal(faccessat(top, "kept/file", F_OK, 0), 0);
	}
}

static void what_is_not_there(void **state _unused_)
{
	assert_int_equal(remove_tree(top, "none"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(as_deep_as_it_likes),
	    cmocka_unit_test(what_is_not_there),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
