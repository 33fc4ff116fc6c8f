/* Store: writes all or nothing, versions, queues, blobs, reopening, a full disk. */
#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "scratch.h"
#include "store/store.h"

struct fixture {
	struct loop *loop;
	char *dir;
	struct store *store;
};

struct result {
	struct store_write write;
	int finished, result;
};

static void on_done(struct store_write *w, int result)
{
	struct result *r = container_of(w, struct result, write);

	r->finished = 1;
	r->result = result;
}

/* Without a store: for tests that fork, which must have no other thread. */
static int setup_bare(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->loop = loop_new(2, NULL);
	f->dir = scratch_new();
	*state = f;
	return 0;
}

static int setup(void **state)
{
	struct fixture *f;

	setup_bare(state);
	f = *state;
	f->store = store_open(f->loop, f->dir, NULL);
	return f->store ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	loop_turn(f->loop, 0);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	store_close(f->store);
	loop_turn(f->loop, 0);
	f->store = store_open(f->loop, f->dir, NULL);
	assert_non_null(f->store);
}

static int finish(struct fixture *f, struct result *r)
{
	store_commit(f->store, &r->write);
	assert_true(scratch_wait(f->loop, &r->finished));
	return r->result;
}

static void begin(struct result *r)
{
	r->finished = 0;
	store_write_init(&r->write, on_done);
}

static int put(struct fixture *f, const char *key, const char *value, int64_t version)
{
	struct result r;

	begin(&r);
	store_put(&r.write, "fn", str_from(key), str_from(value), version);
	return finish(f, &r);
}

static int collect(void *ctx, struct str key, struct str value, int64_t version)
{
	char *out = ctx;
	size_t n = strlen(out);

	snprintf(out + n, 512 - n, "%.*s=%.*s/%d ", STR_FMT(key), STR_FMT(value), (int)version);
	return 0;
}

static const char *all(struct fixture *f, const char *prefix)
{
	static char out[512];

	out[0] = '\0';
	assert_int_equal(store_scan(f->store, "fn", str_from(prefix), collect, out, NULL), 0);
	return out;
}

static void versions_count_and_conflicts_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct result r;

	assert_int_equal(put(f, "a", "1", STORE_ABSENT), 0);
	assert_int_equal(put(f, "a", "2", STORE_ABSENT), -EAGAIN);
	assert_int_equal(put(f, "a", "2", 1), 0);
	assert_int_equal(put(f, "a", "3", 1), -EAGAIN);
	assert_int_equal(put(f, "a", "3", STORE_ANY), 0);
	assert_int_equal(put(f, "b", "", STORE_ANY), 0);
	assert_int_equal(put(f, "b\xff", "z", STORE_ANY), 0);
	assert_string_equal(all(f, ""), "a=3/3 b=/1 b\xff=z/1 ");
	assert_string_equal(all(f, "b"), "b=/1 b\xff=z/1 ");
	begin(&r); /* the second operation is refused, the first must not stay */
	store_put(&r.write, "fn", STR("c"), STR("x"), STORE_ABSENT);
	store_delete(&r.write, "fn", STR("a"), 7);
	assert_int_equal(finish(f, &r), -EAGAIN);
	begin(&r);
	store_delete(&r.write, "fn", STR("a"), 3);
	store_delete(&r.write, "fn", STR("b"), STORE_ANY);
	assert_int_equal(finish(f, &r), 0);
	reopen(f);
	assert_string_equal(all(f, ""), "b\xff=z/1 ");
}

/* Writes queued together are one commit; the refused ones among them must not harm the rest. */
static void a_group_keeps_its_writes_apart(void **state)
{
	struct fixture *f = *state;
	struct result r[64];

	assert_int_equal(put(f, "x", "0", STORE_ABSENT), 0);
	for (int i = 0; i < 64; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%02d", i);
		begin(&r[i]);
		store_put(&r[i].write, "fn", str_from(key), STR("v"), STORE_ABSENT);
		if (i % 2)
			store_put(&r[i].write, "fn", STR("x"), STR("no"), 99);
		store_commit(f->store, &r[i].write);
	}
	for (int i = 0; i < 64; i++) {
		assert_true(scratch_wait(f->loop, &r[i].finished));
		assert_int_equal(r[i].result, i % 2 ? -EAGAIN : 0);
	}
	assert_string_equal(all(f, "k0"), "k00=v/1 k02=v/1 k04=v/1 k06=v/1 k08=v/1 ");
	assert_string_equal(all(f, "x"), "x=0/1 ");
}

struct received {
	int finished;
	char text[256];
};

static void on_received(void *ctx, int result, const struct store_message *m, size_t count)
{
	struct received *r = ctx;

	assert_int_equal(result, 0);
	r->text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(r->text);

		snprintf(r->text + n, sizeof(r->text) - n, "%.*s:%.*s@%d/%d ", STR_FMT(m[i].id),
		    STR_FMT(m[i].body), (int)m[i].due_ms, m[i].attempts);
	}
	r->finished = 1;
}

static const char *receive(struct fixture *f, int64_t due_ms, unsigned max)
{
	static struct received r;

	r.finished = 0;
	store_receive(f->store, "q", due_ms, max, on_received, &r);
	assert_true(scratch_wait(f->loop, &r.finished));
	return r.text;
}

static void queues_deliver_what_is_due(void **state)
{
	struct fixture *f = *state;
	struct result r;

	begin(&r);
	store_send(&r.write, "q", STR("m2"), STR("two"), 200);
	store_send(&r.write, "q", STR("m1"), STR("one"), 100);
	store_send(&r.write, "q", STR("m3"), STR(""), 300);
	store_send(&r.write, "other", STR("m1"), STR("else"), 0);
	assert_int_equal(finish(f, &r), 0);
	assert_string_equal(receive(f, 50, 10), "");
	assert_string_equal(receive(f, 250, 10), "m1:one@100/0 m2:two@200/0 ");
	assert_string_equal(receive(f, 250, 1), "m1:one@100/0 ");
	begin(&r);
	store_send(&r.write, "q", STR("m9"), STR("x"), 0);
	store_send(&r.write, "q", STR("m1"), STR("again"), 0);
	assert_int_equal(finish(f, &r), -EEXIST);
	begin(&r);
	store_requeue(&r.write, "q", STR("m1"), 900, 3);
	store_remove(&r.write, "q", STR("m2"));
	store_remove(&r.write, "q", STR("gone"));
	assert_int_equal(finish(f, &r), 0);
	reopen(f);
	assert_string_equal(receive(f, 1000, 10), "m3:@300/0 m1:one@900/3 ");
	assert_int_equal(store_queue_length(f->store, "q"), 2);
	assert_int_equal(store_queue_length(f->store, "none"), 0);
}

#define HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* A program that believes itself alone removes the log when it closes the database. */
static void others_see_that_the_database_is_open(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/mayfly.db", f->dir);
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		int fd = open(path, O_RDWR | O_CLOEXEC);

		_exit(fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void on_blob(void *ctx, int result)
{
	int *flag = ctx;

	*flag = result == 0 ? 1 : result;
}

static void count_blob(void *ctx, const char *name)
{
	assert_string_equal(name, HASH);
	++*(int *)ctx;
}

static void blobs_are_files(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/blobs/half-written", f->dir);
	_cleanup_free_ char *db = xasprintf("%s/mayfly.db", f->dir);
	_cleanup_close_ int fd = -1;
	_cleanup_close_ _unused_ int other = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	int flag = 0, count = 0;
	struct stat st;
	char text[8];

	for (int i = 0; i < 2; i++, flag = 0) {
		store_blob_put(f->store, HASH, STR("bytes"), on_blob, &flag);
		assert_true(scratch_wait(f->loop, &flag));
		assert_int_equal(flag, 1);
	}
	fd = store_blob_open(f->store, HASH);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(db, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(
	    store_blob_open(
		f->store, "../../../../../../../../../../../../../../../../../../etc/passwd////"),
	    -EINVAL);
	assert_int_equal(store_blob_each(f->store, count_blob, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(store_blob_delete(f->store, HASH), 0);
	assert_int_equal(store_blob_open(f->store, HASH), -ENOENT);
}

static void closing_finishes_what_is_queued(void **state)
{
	struct fixture *f = *state;
	struct result r[8];

	for (int i = 0; i < 8; i++) {
		char key[2] = {(char)('a' + i), 0};

		begin(&r[i]);
		store_put(&r[i].write, "fn", str_from(key), STR("v"), STORE_ANY);
		store_commit(f->store, &r[i].write);
	}
	reopen(f);
	for (int i = 0; i < 8; i++)
		assert_true(r[i].finished && r[i].result == 0);
	assert_string_equal(all(f, ""), "a=v/1 b=v/1 c=v/1 d=v/1 e=v/1 f=v/1 g=v/1 h=v/1 ");
}

/* ---- in children ---- */

/* Writes until killed; each acknowledged number goes down the pipe. */
static void write_until_killed(const char *dir, int pipe_fd)
{
	struct fixture f = {.loop = loop_new(2, NULL), .dir = xstrdup(dir)};

	f.store = store_open(f.loop, dir, NULL);
	for (int i = 0;; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%08d", i);
		if (put(&f, key, "v", STORE_ABSENT) != 0 ||
		    write(pipe_fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static int count_key(void *ctx, struct str key, struct str value, int64_t version)
{
	int64_t n;

	assert_true(str_to_int64(key, 0, INT32_MAX, &n) && n == *(int *)ctx);
	assert_true(str_is(value, "v") && version == 1);
	++*(int *)ctx;
	return 0;
}

static void what_was_acknowledged_survives_kill(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *dir = xasprintf("%s/child", f->dir);
	int pipes[2], last = -1, value, count = 0;
	struct store *s;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		close(pipes[0]);
		write_until_killed(dir, pipes[1]);
	}
	close(pipes[1]);
	while (last < 200 && read(pipes[0], &value, sizeof(value)) == sizeof(value))
		last = value;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(pipes[0], &value, sizeof(value)) == sizeof(value))
		last = value;
	close(pipes[0]);
	assert_true(last >= 200);
	s = store_open(f->loop, dir, NULL);
	assert_non_null(s);
	assert_int_equal(store_scan(s, "fn", STR(""), count_key, &count, NULL), 0);
	assert_true(count >= last + 1 && count <= last + 2);
	store_close(s);
}

static int count_any(void *ctx, struct str key, struct str value, int64_t version)
{
	(void)key;
	(void)value;
	(void)version;
	++*(int *)ctx;
	return 0;
}

/* On a file system of 4 MiB: fill it, see the refusals, make room, go on. */
static int fill_a_disk(const char *dir)
{
	struct fixture f = {.loop = loop_new(2, NULL), .dir = xstrdup(dir)};
	_cleanup_free_ char *ballast = xasprintf("%s/ballast", dir), *big = xcalloc(1, 60001);
	int fd, accepted = 0, refused = 0, group_ok = 0, count = 0;
	struct result r[8];

	if (mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0)
		return 77;
	fd = open(ballast, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, 1 << 20) != 0)
		return 2;
	close(fd);
	f.store = store_open(f.loop, dir, NULL);
	memset(big, 'x', 60000);
	while (refused < 3 && accepted < 100) {
		char key[16];
		int result;

		snprintf(key, sizeof(key), "k%d", accepted);
		result = put(&f, key, big, STORE_ABSENT);
		if (result != 0 && result != -ENOSPC)
			return 3;
		if (result)
			refused++;
		else
			accepted++;
	}
	for (int i = 0; i < 8; i++) { /* a group that does not fit as a whole */
		char key[16];

		snprintf(key, sizeof(key), "g%d", i);
		begin(&r[i]);
		store_put(
		    &r[i].write, "fn", str_from(key), i ? str_from(big) : STR("s"), STORE_ANY);
		store_commit(f.store, &r[i].write);
	}
	for (int i = 0; i < 8; i++) {
		scratch_wait(f.loop, &r[i].finished);
		group_ok += r[i].result == 0;
	}
	if (refused < 3 || accepted < 3 || group_ok == 8 || unlink(ballast) < 0)
		return 4;
	if (put(&f, "after", "v", STORE_ABSENT) != 0)
		return 5;
	reopen(&f);
	/* Accepted ones are there, refused ones are not. */
	store_scan(f.store, "fn", STR("k"), count_any, &count, NULL);
	store_close(f.store);
	return count == accepted ? 0 : 6;
}

static void a_full_disk_is_an_error_and_passes(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *dir = xasprintf("%s/small", f->dir);
	int status;
	pid_t pid;

	mkdir(dir, 0700);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		_exit(fill_a_disk(dir));
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("a small file system needs root: not tested here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define B(fn) cmocka_unit_test_setup_teardown(fn, setup_bare, teardown)
	const struct CMUnitTest tests[] = {
	    T(versions_count_and_conflicts_change_nothing),
	    T(a_group_keeps_its_writes_apart),
	    T(queues_deliver_what_is_due),
	    T(blobs_are_files),
	    T(others_see_that_the_database_is_open),
	    T(closing_finishes_what_is_queued),
	    B(what_was_acknowledged_survives_kill),
	    B(a_full_disk_is_an_error_and_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
