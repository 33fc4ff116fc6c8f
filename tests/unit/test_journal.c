/* Journal: appending over segments, reading both ways, crashes, dropping under readers. */
#include "unit.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "scratch.h"
#include "store/crc.h"
#include "store/journal.h"

static const struct journal_options small = {65536, 4096, 5};

struct fixture {
	struct loop *loop;
	char *dir, *path;
	struct journal *journal;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->loop = loop_new(1, NULL);
	f->dir = scratch_new();
	f->path = xasprintf("%s/j", f->dir);
	*state = f;
	return 0;
}

static void settle(struct fixture *f)
{
	for (int i = 0; i < 10; i++)
		loop_turn(f->loop, 5);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	journal_close(f->journal);
	settle(f);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f->path);
	free(f);
	return 0;
}

static void open_it(struct fixture *f)
{
	struct err e = ERR_INIT;

	f->journal = journal_open(f->loop, f->path, &small, &e);
	assert_string_equal(e.msg, "");
	assert_non_null(f->journal);
}

static void reopen(struct fixture *f)
{
	journal_close(f->journal);
	settle(f);
	open_it(f);
}

static size_t record(char out[400], unsigned i)
{
	size_t len = 4 + i * 7 % 300;

	memcpy(out, &i, 4);
	memset(out + 4, (int)i, len - 4);
	return len;
}

static void append(struct fixture *f, unsigned from, unsigned to)
{
	char data[400];

	for (unsigned i = from; i < to; i++) {
		assert_int_equal(journal_append(f->journal, data, record(data, i), NULL), 0);
		if (i % 100 == 0)
			loop_turn(f->loop, 0);
	}
}

static void expect(struct journal_reader *r, bool back, unsigned i, uint64_t *ret_at)
{
	char data[400];
	size_t len = record(data, i);
	struct str s;

	assert_true(back ? journal_reader_prev(r, &s, ret_at) : journal_reader_next(r, &s, ret_at));
	assert_int_equal(s.len, len);
	assert_memory_equal(s.ptr, data, len);
}

static void read_all(struct fixture *f, unsigned from, unsigned to)
{
	struct journal_reader *r = journal_read(f->journal, 0);
	uint64_t at, before = 0;
	struct str s;

	for (unsigned i = from; i < to; i++) {
		expect(r, false, i, &at);
		assert_true(at > before);
		before = at;
	}
	assert_false(journal_reader_next(r, &s, &at));
	for (unsigned i = to; i-- > from;)
		expect(r, true, i, &at);
	assert_int_equal(at, journal_first(f->journal));
	assert_false(journal_reader_prev(r, &s, &at));
	expect(r, false, from, &at);
	journal_reader_seek(r, before - 1); /* in the midst of the last but one */
	expect(r, false, to - 1, &at);
	journal_reader_seek(r, UINT64_MAX);
	assert_false(journal_reader_next(r, &s, &at));
	expect(r, true, to - 1, &at);
	journal_reader_free(r);
}

static void crc_is_castagnoli(void **state)
{
	char data[64];

	(void)state;
	assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
	memset(data, 0xa5, sizeof(data));
	for (size_t n = 0; n <= sizeof(data); n++)
		assert_int_equal(crc32c(data, n), crc32c_portable(data, n));
}

static void records_come_back_in_order(void **state)
{
	struct fixture *f = *state;

	open_it(f);
	append(f, 0, 3000); /* some 20 segments */
	read_all(f, 0, 3000);
	settle(f);
	read_all(f, 0, 3000);
	reopen(f);
	read_all(f, 0, 3000);
	append(f, 3000, 5000);
	reopen(f);
	reopen(f);
	read_all(f, 0, 5000);
}

static void on_sync(void *ctx, int result)
{
	*(int *)ctx = result == 0 ? 1 : result;
}

static void large_records_and_limits(void **state)
{
	struct fixture *f = *state;
	size_t big = 1024 * 1024;
	_cleanup_free_ char *data = xcalloc(1, big + 1);
	struct journal_reader *r;
	uint64_t at;
	struct str s;
	int synced = 0;

	open_it(f);
	assert_int_equal(journal_append(f->journal, data, big + 1, NULL), -EMSGSIZE);
	assert_int_equal(journal_append(f->journal, data, 0, NULL), -EMSGSIZE);
	for (int i = 0; i < 3; i++)
		assert_int_equal(journal_append(f->journal, data, big, NULL), 0);
	journal_sync(f->journal, on_sync, &synced);
	assert_true(scratch_wait(f->loop, &synced));
	assert_int_equal(synced, 1);
	r = journal_read(f->journal, 0);
	for (int i = 0; i < 3; i++)
		assert_true(journal_reader_next(r, &s, &at) && s.len == big);
	assert_false(journal_reader_next(r, &s, &at));
	journal_reader_free(r);
}

static void dropping_does_not_hurt_readers(void **state)
{
	struct fixture *f = *state;
	struct journal_reader *early, *late;
	uint64_t at, middle = 0, bytes;
	int synced = 0;
	struct str s;

	open_it(f);
	append(f, 0, 2000);
	middle = journal_end(f->journal);
	append(f, 2000, 4000);
	/* Until then closed segments stay mapped, and readers have them for good. */
	journal_sync(f->journal, on_sync, &synced);
	assert_true(scratch_wait(f->loop, &synced));
	settle(f);
	early = journal_read(f->journal, 0);
	late = journal_read(f->journal, 0);
	for (unsigned i = 0; i < 100; i++)
		expect(early, false, i, &at);
	bytes = journal_bytes(f->journal);
	assert_true(journal_drop(f->journal, middle) > 0);
	assert_true(journal_bytes(f->journal) < bytes);
	assert_true(journal_first(f->journal) <= middle);
	for (unsigned i = 100; i > 0; i--) /* what it had mapped stays readable */
		expect(early, true, i - 1, &at);
	assert_true(journal_reader_next(late, &s, &at));
	assert_true(at >= journal_first(f->journal));
	journal_reader_free(early);
	journal_reader_free(late);
	assert_int_equal(journal_drop(f->journal, UINT64_MAX) > 0, 1);
	append(f, 0, 10);
	reopen(f);
}

/* Whatever stands behind the last whole record, it is not taken for one. */
static void a_torn_end_is_cut_off(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/0000000000000000", f->path);
	_cleanup_close_ int fd = -1;
	struct {
		uint32_t len, crc;
		char data[40];
	} torn = {40, 1, "torn"};
	uint64_t end;

	open_it(f);
	append(f, 0, 10);
	end = journal_end(f->journal);
	journal_close(f->journal);
	settle(f);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 4; i++) {
		torn.len = (uint32_t[]){40, 0xffffffff, 1 << 20, 0}[i];
		assert_int_equal(pwrite(fd, &torn, sizeof(torn), (off_t)end), sizeof(torn));
		open_it(f);
		assert_int_equal(journal_end(f->journal), end);
		read_all(f, 0, 10);
		journal_close(f->journal);
		settle(f);
	}
	assert_int_equal(pwrite(fd, "JUNK", 4, 0), 4); /* the header itself */
	open_it(f);
	append(f, 10, 13);
	read_all(f, 0, 13);
}

static void append_until_killed(const char *path, int pipe_fd)
{
	struct loop *l = loop_new(1, NULL);
	struct journal *j = journal_open(l, path, &small, NULL);
	char data[400];

	for (unsigned i = 0;; i++) {
		if (journal_append(j, data, record(data, i), NULL) < 0 ||
		    write(pipe_fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
		if (i % 16 == 0)
			loop_turn(l, 0);
	}
}

static void what_was_appended_survives_kill(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 5; round++) {
		struct journal_reader *r;
		int pipes[2];
		unsigned last = 0, value;
		uint64_t at;
		pid_t pid;

		free(f->path);
		f->path = xasprintf("%s/r%u", f->dir, round);
		assert_int_equal(pipe(pipes), 0);
		pid = fork();
		if (pid == 0) {
			close(pipes[0]);
			append_until_killed(f->path, pipes[1]);
		}
		close(pipes[1]);
		while (last < 900 + round * 777 &&
		       read(pipes[0], &value, sizeof(value)) == sizeof(value))
			last = value;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(pipes[0], &value, sizeof(value)) == sizeof(value))
			last = value;
		close(pipes[0]);
		open_it(f);
		r = journal_read(f->journal, 0);
		for (unsigned i = 0; i <= last; i++)
			expect(r, false, i, &at);
		journal_reader_free(r);
		journal_close(f->journal);
		f->journal = NULL;
		settle(f);
	}
}

static int fill_a_disk(struct fixture *f)
{
	_cleanup_free_ char *ballast = xasprintf("%s/ballast", f->dir);
	unsigned n = 0, refused = 0;
	char data[400];
	int fd, r;

	if (mount("tmpfs", f->dir, "tmpfs", 0, "size=512k") < 0)
		return 77;
	fd = open(ballast, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, 256 << 10) != 0)
		return 2;
	open_it(f);
	while (refused < 50) {
		r = journal_append(f->journal, data, record(data, n), NULL);
		if (r != 0 && r != -ENOSPC)
			return 3;
		n += r == 0;
		refused += r != 0;
		if (n % 50 == 0)
			loop_turn(f->loop, 0);
	}
	reopen(f); /* on the full disk */
	read_all(f, 0, n);
	if (ftruncate(fd, 0) < 0)
		return 4;
	append(f, n, n + 500);
	read_all(f, 0, n + 500);
	reopen(f);
	read_all(f, 0, n + 500);
	return n > 500 ? 0 : 5;
}

/* A journal that leaves room ends before the disk does, and others go on. */
static int leave_room(struct fixture *f)
{
	struct journal_options polite = small;
	_cleanup_free_ char *other = xasprintf("%s/other", f->dir);
	struct journal *j;
	struct statvfs v;
	char data[400];
	unsigned n = 0;
	int r;

	if (mount("tmpfs", f->dir, "tmpfs", 0, "size=4m") < 0)
		return 77;
	polite.room_kept = 64 << 20;
	j = journal_open(f->loop, other, &polite, NULL);
	do {
		r = journal_append(j, data, record(data, n++), NULL);
		if (n % 50 == 0)
			loop_turn(f->loop, 0);
	} while (r == 0);
	if (r != -ENOSPC || statvfs(f->dir, &v) < 0)
		return 2;
	if (v.f_bavail * v.f_frsize + small.segment_bytes < v.f_blocks * v.f_frsize / 20)
		return 4;
	open_it(f);
	append(f, 0, 100);
	read_all(f, 0, 100);
	journal_close(j);
	return n > 2000 ? 0 : 3;
}

static void in_a_mount_namespace(struct fixture *f, int (*fn)(struct fixture *f))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		_exit(fn(f));
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("a small file system needs root: not tested here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_full_disk_is_an_error_and_passes(void **state)
{
	in_a_mount_namespace(*state, fill_a_disk);
}

static void room_is_left_for_others(void **state)
{
	in_a_mount_namespace(*state, leave_room);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(crc_is_castagnoli),
	    T(records_come_back_in_order),
	    T(large_records_and_limits),
	    T(dropping_does_not_hurt_readers),
	    T(a_torn_end_is_cut_off),
	    T(what_was_appended_survives_kill),
	    T(a_full_disk_is_an_error_and_passes),
	    T(room_is_left_for_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
