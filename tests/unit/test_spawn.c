/* Messages between core and the spawner: the gate, core's client, records of box-init, cgroups. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "init/extension.h"
#include "init/record.h"
#include "spawn/spawn.h"
#include "spawner/cgroup.h"
#include "spawner/gate.h"
#include "unpack/zip.h"

/* ---- gate ---- */

static struct gate gate;

static int reset_gate(void **state _unused_)
{
	memset(&gate, 0, sizeof(gate));
	gate.slots = 8;
	gate.open = true;
	return 0;
}

static enum gate_verdict ask(struct wire_msg m)
{
	const char *why = NULL;
	struct wire_msg out;

	return gate_request(&gate, &m, sizeof(m), &out, &why);
}

static struct wire_msg msg(uint32_t kind, uint32_t slot, uint32_t generation)
{
	return (struct wire_msg){
	    .kind = kind, .slot = slot, .generation = generation, .memory_mb = 128, .tmp_mb = 512};
}

static void test_gate_life(void **state _unused_)
{
	assert_int_equal(ask(msg(WIRE_BOX_MAKE, 2, 7)), GATE_DO);
	assert_int_equal(gate.slot[2].state, SLOT_MAKING);
	assert_int_equal(ask(msg(WIRE_BOX_ASSIGN, 2, 7)), GATE_FATAL);
	gate.slot[2].state = SLOT_BLANK;
	assert_int_equal(ask(msg(WIRE_BOX_ASSIGN, 2, 8)), GATE_FATAL);
	assert_int_equal(ask(msg(WIRE_BOX_ASSIGN, 2, 7)), GATE_DO);
	assert_int_equal(ask(msg(WIRE_BOX_ASSIGN, 2, 7)), GATE_FATAL);
	assert_int_equal(ask(msg(WIRE_BOX_KILL, 2, 6)), GATE_IGNORE);
	assert_int_equal(ask(msg(WIRE_BOX_KILL, 2, 7)), GATE_DO);
	assert_int_equal(ask(msg(WIRE_BOX_KILL, 2, 7)), GATE_IGNORE);
	assert_int_equal(ask(msg(WIRE_BOX_ASSIGN, 2, 7)), GATE_IGNORE);
	assert_int_equal(ask(msg(WIRE_BOX_MAKE, 2, 8)), GATE_FATAL);
	assert_false(gate_idle(&gate));
	gate.slot[2].state = SLOT_FREE;
	assert_true(gate_idle(&gate));
	assert_int_equal(ask(msg(WIRE_BOX_MAKE, 2, 8)), GATE_DO);
}

static void test_gate_ranges(void **state _unused_)
{
	struct wire_msg m = msg(WIRE_BOX_ASSIGN, 0, 1), out;
	const char *why = NULL;

	assert_int_equal(ask(msg(WIRE_BOX_MAKE, 8, 1)), GATE_FATAL);
	assert_int_equal(ask(msg(WIRE_HELLO, 0, 1)), GATE_FATAL);
	assert_int_equal(ask(msg(0, 0, 1)), GATE_FATAL);
	assert_int_equal(gate_request(&gate, &m, sizeof(m) - 1, &out, &why), GATE_FATAL);
	assert_string_equal(why, "message of wrong size");
	gate.slot[0] = (struct gate_slot){SLOT_BLANK, 1};
	m.memory_mb = 10241;
	assert_int_equal(ask(m), GATE_FATAL);
	m.memory_mb = 10240;
	m.tmp_mb = 511;
	assert_int_equal(ask(m), GATE_FATAL);
	m.tmp_mb = 10240;
	m.layer_count = WIRE_LAYERS_MAX + 1;
	assert_int_equal(ask(m), GATE_FATAL);
	m.layer_count = WIRE_LAYERS_MAX;
	assert_int_equal(ask(m), GATE_DO);
	m = msg(WIRE_UNPACK, 0, 0);
	m.limit_bytes = WIRE_UNPACK_BYTES_MAX + 1;
	assert_int_equal(ask(m), GATE_FATAL);
	m.limit_bytes--;
	assert_int_equal(ask(m), GATE_DO);
	gate.open = false;
	assert_int_equal(ask(msg(WIRE_BOX_MAKE, 1, 1)), GATE_FATAL);
}

static void test_gate_root(void **state _unused_)
{
	struct wire_msg m = {
	    .kind = WIRE_BOX_ROOT, .slot = 1, .generation = 4, .layer_count = WIRE_LAYERS_MAX};
	struct wire_msg out;
	const char *why;
	int named = 0;

	gate.slot[1] = (struct gate_slot){.state = SLOT_BLANK, .generation = 4};
	while (named + WIRE_LAYERS_MAX <= WIRE_ROOT_LAYERS_MAX) {
		assert_int_equal(gate_request(&gate, &m, sizeof(m), &out, &why), GATE_DO);
		named += WIRE_LAYERS_MAX;
	}
	assert_int_equal(gate_request(&gate, &m, sizeof(m), &out, &why), GATE_FATAL);
	gate.slot[1] = (struct gate_slot){.state = SLOT_DYING, .generation = 4};
	assert_int_equal(gate_request(&gate, &m, sizeof(m), &out, &why), GATE_IGNORE);
	gate.slot[1] = (struct gate_slot){.state = SLOT_ASSIGNED, .generation = 4};
	assert_int_equal(gate_request(&gate, &m, sizeof(m), &out, &why), GATE_FATAL);
	gate.slot[1] = (struct gate_slot){.state = SLOT_BLANK, .generation = 4};
	m.layer_count = 0;
	assert_int_equal(gate_request(&gate, &m, sizeof(m), &out, &why), GATE_FATAL);
	m.layer_count = WIRE_LAYERS_MAX + 1;
	assert_int_equal(gate_request(&gate, &m, sizeof(m), &out, &why), GATE_FATAL);
}

static void test_gate_requests(void **state _unused_)
{
	for (int i = 0; i < WIRE_REQUESTS_MAX; i++)
		assert_int_equal(ask(msg(i % 2 ? WIRE_UNPACK : WIRE_CODE_DELETE, 0, 0)), GATE_DO);
	assert_int_equal(ask(msg(WIRE_UNPACK, 0, 0)), GATE_FATAL);
	assert_false(gate_idle(&gate));
}

static void test_gate_containers(void **state _unused_)
{
	struct wire_msg m = msg(WIRE_CONTAINER_SIGNAL, 0, 0);

	assert_int_equal(ask(m), GATE_FATAL); /* no signal 0 */
	m.container.signal = 65;
	assert_int_equal(ask(m), GATE_FATAL);
	m.container.signal = 64;
	for (int i = 0; i < WIRE_CONTAINER_REQUESTS_MAX; i++)
		assert_int_equal(ask(i % 2 ? m : msg(WIRE_SANDBOX_MAKE, 0, 0)), GATE_DO);
	assert_int_equal(ask(m), GATE_FATAL);
	assert_false(gate_idle(&gate));
	assert_int_equal(gate.requests, 0);
	assert_int_equal(gate_descriptor(WIRE_BOX_MAKE), GATE_FD_NONE);
	assert_int_equal(gate_descriptor(WIRE_CONTAINER_SIGNAL), GATE_FD_NONE);
	assert_int_equal(gate_descriptor(WIRE_CONTAINER_MAKE), GATE_FD_RECORD);
	assert_int_equal(gate_descriptor(9999), GATE_FD_NONE);
}

/* ---- core's client ---- */

struct rig {
	struct loop *loop;
	struct spawn *spawn;
	int peer;
	int made, assigned, dead, unpacked, last_result, fd_count;
	uint64_t size_bytes;
	char why[256];
};

static void on_made(
    void *ctx, uint32_t slot, uint32_t generation, int result, const int fds[WIRE_FD_COUNT])
{
	struct rig *r = ctx;

	r->made++;
	r->last_result = result;
	r->fd_count = 0;
	assert_int_equal(slot + 1, generation);
	for (int i = 0; i < WIRE_FD_COUNT; i++)
		if (fds[i] >= 0) {
			r->fd_count++;
			close(fds[i]);
		}
	if (result == 0 && r->fd_count < WIRE_FD_COUNT)
		assert_int_equal(fds[WIRE_FD_PEAK], -1);
}

static void on_assigned(void *ctx, uint32_t slot _unused_, uint32_t generation _unused_, int result,
    const char *why _unused_)
{
	struct rig *r = ctx;

	r->assigned++;
	r->last_result = result;
}

static void on_dead(void *ctx, uint32_t slot _unused_, uint32_t generation _unused_)
{
	((struct rig *)ctx)->dead++;
}

static void on_unpacked(void *ctx, int result, const char *why, uint64_t size_bytes)
{
	struct rig *r = ctx;

	r->unpacked++;
	r->last_result = result;
	r->size_bytes = size_bytes;
	snprintf(r->why, sizeof(r->why), "%s", why);
}

static const struct spawn_handler handler = {on_made, on_assigned, on_dead};

static void answer(struct rig *r, struct wire_msg m, const int *fds, size_t count)
{
	assert_int_equal(fd_send_fds(r->peer, &m, sizeof(m), fds, count, 0), 0);
}

static struct wire_msg asked(struct rig *r)
{
	struct wire_msg m = {0};

	if (recv(r->peer, &m, sizeof(m), MSG_DONTWAIT) < 0)
		m.kind = 0;
	return m;
}

static void rig_start(struct rig *r)
{
	struct err e = ERR_INIT;
	int ends[2];

	memset(r, 0, sizeof(*r));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	r->peer = ends[1];
	r->loop = loop_new(0, &e);
	answer(r, (struct wire_msg){.kind = WIRE_HELLO, .hello.boxes_max = 5}, NULL, 0);
	r->spawn = spawn_new(r->loop, ends[0], &handler, r, &e);
	assert_non_null(r->spawn);
	assert_int_equal(spawn_hello(r->spawn)->boxes_max, 5);
}

static void rig_stop(struct rig *r)
{
	spawn_free(r->spawn);
	loop_free(r->loop);
	close(r->peer);
}

static void test_client_boxes(void **state _unused_)
{
	int nulls[WIRE_FD_COUNT];
	struct wire_msg m;
	struct rig r;

	rig_start(&r);
	for (int i = 0; i < WIRE_FD_COUNT; i++)
		nulls[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	spawn_box_make(r.spawn, 3, 4);
	m = asked(&r);
	assert_int_equal(m.kind, WIRE_BOX_MAKE);
	assert_int_equal(m.slot, 3);
	m.kind = WIRE_BOX_MADE;
	answer(&r, m, nulls, WIRE_FD_COUNT);
	answer(&r, m, nulls, WIRE_FD_COUNT - 1);
	loop_turn(r.loop, 1000);
	assert_int_equal(r.made, 2);
	assert_int_equal(r.fd_count, WIRE_FD_COUNT - 1);
	m.result = -EAGAIN;
	answer(&r, m, NULL, 0);
	spawn_box_assign(
	    r.spawn, 3, 4, &(struct spawn_assignment){.memory_mb = 200, .tmp_mb = 512});
	m = asked(&r);
	assert_int_equal(m.kind, WIRE_BOX_ASSIGN);
	assert_int_equal(m.memory_mb, 200);
	m.kind = WIRE_BOX_ASSIGNED;
	m.result = -ENOENT;
	answer(&r, m, NULL, 0);
	m.kind = WIRE_BOX_DEAD;
	answer(&r, m, NULL, 0);
	loop_turn(r.loop, 1000);
	assert_int_equal(r.made, 3);
	assert_int_equal(r.assigned, 1);
	assert_int_equal(r.last_result, -ENOENT);
	assert_int_equal(r.dead, 1);
	for (int i = 0; i < WIRE_FD_COUNT; i++)
		close(nulls[i]);
	rig_stop(&r);
}

/* Only so many requests go out at a time; the answers come in any order. */
static void test_client_requests(void **state _unused_)
{
	uint8_t hash[WIRE_HASH_SIZE] = {1};
	struct wire_msg m[WIRE_REQUESTS_MAX];
	struct rig r;

	rig_start(&r);
	for (int i = 0; i < WIRE_REQUESTS_MAX + 2; i++)
		spawn_unpack(r.spawn, hash, 1000, on_unpacked, &r);
	spawn_code_delete(r.spawn, hash);
	for (int i = 0; i < WIRE_REQUESTS_MAX; i++) {
		m[i] = asked(&r);
		assert_int_equal(m[i].kind, WIRE_UNPACK);
	}
	assert_int_equal(asked(&r).kind, 0);
	m[5].kind = WIRE_UNPACKED;
	m[5].result = -EFBIG;
	m[5].size_bytes = 77;
	memset(m[5].text, 'x', sizeof(m[5].text)); /* not even ended */
	answer(&r, m[5], NULL, 0);
	loop_turn(r.loop, 1000);
	assert_int_equal(r.unpacked, 1);
	assert_int_equal(r.last_result, -EFBIG);
	assert_int_equal(r.size_bytes, 77);
	assert_int_equal(strlen(r.why), 255);
	assert_int_equal(asked(&r).kind, WIRE_UNPACK);
	rig_stop(&r);
}

/* A spawner that does not read for a while: nothing is lost, nothing blocks. */
static void test_client_queue(void **state _unused_)
{
	uint32_t next = 0;
	struct wire_msg m;
	struct rig r;

	rig_start(&r);
	for (uint32_t i = 0; i < 2000; i++)
		spawn_box_kill(r.spawn, i, i);
	for (int idle = 0; next < 2000 && idle < 100;) {
		m = asked(&r);
		if (m.kind == WIRE_BOX_KILL) {
			assert_int_equal(m.slot, next);
			next++;
			idle = 0;
		} else {
			loop_turn(r.loop, 10);
			idle++;
		}
	}
	assert_int_equal(next, 2000);
	rig_stop(&r);
}

/* ---- records of box-init ---- */

static bool read_record(
    const char *strings, uint32_t len, uint32_t argc, uint32_t envc, struct words *w)
{
	static struct init_record r;

	r = (struct init_record){
	    .kind = INIT_START, .argc = argc, .envc = envc, .string_bytes = len};
	memcpy(r.strings, strings, len);
	return record_read(&r, INIT_RECORD_SHORT + len, w);
}

static void test_record(void **state _unused_)
{
	static struct words w;

	assert_true(read_record("/bin/x\0-a\0K=V\0", 14, 2, 1, &w));
	assert_string_equal(w.argv[0], "/bin/x");
	assert_string_equal(w.argv[1], "-a");
	assert_null(w.argv[2]);
	assert_string_equal(w.envp[0], "K=V");
	assert_null(w.envp[1]);
	assert_false(read_record("/bin/x\0-a\0K=V", 13, 2, 1, &w));
	assert_false(read_record("/bin/x\0-a\0K=V\0", 14, 1, 1, &w));
	assert_false(read_record("/bin/x\0-a\0K=V\0", 14, 2, 2, &w));
	assert_false(read_record("/bin/x\0", 7, 0, 1, &w));
	assert_false(read_record("/bin/x\0", 7, 1, UINT32_MAX, &w));
	assert_false(read_record("", 0, 1, 0, &w));
}

static void test_record_cwd(void **state _unused_)
{
	static struct init_record r = {
	    .kind = INIT_START, .argc = 1, .envc = 1, .cwdc = 1, .string_bytes = 13};
	static struct words w;

	memcpy(r.strings, "app\0K=V\0/srv", 13);
	assert_true(record_read(&r, INIT_RECORD_SHORT + 13, &w));
	assert_string_equal(w.cwd, "/srv");
	r.cwdc = 2;
	assert_false(record_read(&r, INIT_RECORD_SHORT + 13, &w));
	r.cwdc = 0;
	assert_false(record_read(&r, INIT_RECORD_SHORT + 13, &w));
	r.envc = 2;
	assert_true(record_read(&r, INIT_RECORD_SHORT + 13, &w));
	assert_null(w.cwd);
}

static void test_record_extensions(void **state _unused_)
{
	static struct init_record r = {.kind = INIT_EXTENSIONS, .argc = 1, .string_bytes = 5};
	static struct words w;

	memcpy(r.strings, "/opt", 5);
	assert_true(record_read(&r, INIT_RECORD_SHORT + 5, &w));
	assert_null(w.envp[0]);
	assert_false(record_read(&r, INIT_RECORD_SHORT, &w));
	r.kind = INIT_BEGUN;
	assert_false(record_read(&r, INIT_RECORD_SHORT, &w));
}

/* ---- extensions ---- */

static void make(int dir, const char *name, mode_t mode)
{
	int fd = openat(dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	close(fd);
}

static void test_extensions(void **state _unused_)
{
	static char paths[INIT_EXTENSIONS_MAX][EXTENSION_PATH_SIZE];
	char path[] = "/tmp/mayfly-test-XXXXXX", name[8];
	int dir;

	assert_int_equal(extension_list("/nowhere", paths), 0);
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(extension_list(path, paths), 0);
	make(dir, "b", 0755);
	make(dir, "text", 0644);
	make(dir, "a", 0755);
	assert_int_equal(mkdirat(dir, "folder", 0755), 0);
	assert_int_equal(extension_list(path, paths), 2);
	assert_string_equal(strrchr(paths[0], '/'), "/a");
	assert_string_equal(strrchr(paths[1], '/'), "/b");
	for (int i = 0; i < 9; i++) {
		assert_int_equal(extension_list(path, paths), 2 + i);
		snprintf(name, sizeof(name), "x%d", i);
		make(dir, name, 0755);
	}
	assert_int_equal(extension_list(path, paths), -E2BIG);
	for (int i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		unlinkat(dir, name, 0);
	}
	unlinkat(dir, "a", 0);
	unlinkat(dir, "b", 0);
	unlinkat(dir, "text", 0);
	unlinkat(dir, "folder", AT_REMOVEDIR);
	close(dir);
	rmdir(path);
}

/* ---- names in archives ---- */

static void test_zip_names(void **state _unused_)
{
	assert_true(zip_path_ok("a/b.txt"));
	assert_true(zip_path_ok("a..b/..c"));
	assert_true(zip_path_ok("./a/"));
	assert_false(zip_path_ok("/a"));
	assert_false(zip_path_ok("a/../b"));
	assert_false(zip_path_ok(".."));
	assert_false(zip_path_ok("a/.."));
	assert_true(zip_link_ok("l", "a"));
	assert_true(zip_link_ok("d/e/l", "../../a"));
	assert_true(zip_link_ok("d/l", ".."));
	assert_false(zip_link_ok("l", ".."));
	assert_false(zip_link_ok("l", "../a"));
	assert_false(zip_link_ok("d/l", "../../a"));
	assert_false(zip_link_ok("d/l", "/a"));
	assert_false(zip_link_ok("d/e/l", "f/../a"));
	assert_false(zip_link_ok("l", ""));
}

/* ---- cgroups, on a tree of plain files ---- */

static void put(const char *top, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void make_dir(const char *top, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void remove_all(const char *top)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	assert_int_equal(system(command), 0);
}

static void check_text(int dir, const char *path, const char *want)
{
	struct buf b = BUF_INIT;

	assert_int_equal(fd_read_file(dir, path, 4096, &b), 0);
	assert_int_equal(buf_len(&b), strlen(want));
	assert_memory_equal(buf_data(&b), want, strlen(want));
	buf_done(&b);
}

static void test_cgroup_v2(void **state _unused_)
{
	char top[] = "/tmp/mayfly-test-cgroup-XXXXXX", mounts[256];
	static struct cgroups g;
	struct err e = ERR_INIT;
	int into = -1, fds[WIRE_FD_COUNT];

	assert_non_null(mkdtemp(top));
	make_dir(top, "self");
	make_dir(top, "cg");
	make_dir(top, "cg/app");
	make_dir(top, "cg/app/mayfly-spawner");
	make_dir(top, "cg/app/mayfly-one");
	snprintf(mounts, sizeof(mounts),
	    "31 23 0:28 / /x rw,relatime - tmpfs tmpfs rw\n"
	    "32 23 0:29 / %s/cg rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
	    top);
	put(top, "self/mountinfo", mounts);
	put(top, "self/cgroup", "0::/app\n");
	put(top, "cg/cgroup.controllers", "cpuset cpu io memory pids\n");
	put(top, "cg/cgroup.subtree_control", "cpuset cpu memory pids\n"); /* stays as it is */
	put(top, "cg/app/cgroup.subtree_control", "");
	put(top, "cg/app/memory.max", "max\n");
	put(top, "cg/app/mayfly-spawner/cgroup.procs", "");
	put(top, "cg/app/mayfly-one/cgroup.subtree_control", "");
	assert_int_equal(cgroups_find(&g, top, "one", &e), 0);
	assert_ptr_equal(g.ops, &cgroup_v2_ops);
	assert_true(cgroups_memory(&g) == UINT64_MAX);
	assert_int_equal(cgroups_prepare(&g, g.above[TREE_UNIFIED], "record", &e), 0);
	check_text(g.above[TREE_UNIFIED], "cgroup.subtree_control", "+memory +cpu +pids");
	check_text(g.above[TREE_UNIFIED], "../cgroup.subtree_control", "cpuset cpu memory pids\n");
	check_text(g.dir[TREE_UNIFIED], "cgroup.subtree_control", "+memory +cpu +pids");
	assert_int_equal(g.ops->make(&g, 5, &into), 0);
	close(into);
	for (size_t i = 0; i < 7; i++) {
		static const char *const files[] = {"memory.max", "memory.swap.max", "pids.max",
		    "cgroup.freeze", "memory.current", "memory.events", "cpu.max"};
		char name[64];

		snprintf(name, sizeof(name), "cg/app/mayfly-one/b5/%s", files[i]);
		put(top, name, "");
	}
	assert_int_equal(g.ops->limit(&g, 5, 134217728, 1024), 0);
	check_text(g.dir[TREE_UNIFIED], "b5/memory.max", "134217728");
	check_text(g.dir[TREE_UNIFIED], "b5/memory.swap.max", "0");
	check_text(g.dir[TREE_UNIFIED], "b5/pids.max", "1024");
	memset(fds, -1, sizeof(fds));
	assert_int_equal(g.ops->open_files(&g, 5, fds), 0);
	assert_true(fds[WIRE_FD_CPU] >= 0 && fds[WIRE_FD_PEAK] == -ENOENT);
	for (int i = 0; i < WIRE_FD_COUNT; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	close(g.above[TREE_UNIFIED]);
	close(g.dir[TREE_UNIFIED]);
	remove_all(top);
}

/* Our own group cannot hand controllers down (real ones say EBUSY): the nearest above that can. */
static void test_cgroup_v2_places(void **state _unused_)
{
	char top[] = "/tmp/mayfly-test-cgroup-XXXXXX", mounts[256], want[128];
	static struct cgroups g;
	struct err e = ERR_INIT;

	assert_non_null(mkdtemp(top));
	make_dir(top, "self");
	make_dir(top, "cg");
	make_dir(top, "cg/user");
	make_dir(top, "cg/user/scope");
	snprintf(mounts, sizeof(mounts), "32 23 0:29 / %s/cg rw - cgroup2 cgroup2 rw\n", top);
	put(top, "self/mountinfo", mounts);
	put(top, "self/cgroup", "0::/user/scope\n");
	put(top, "cg/cgroup.controllers", "cpuset io memory pids\n");
	assert_int_equal(cgroups_find(&g, top, "one", &e), -ENOENT); /* cpuset is not cpu */
	close(g.above[TREE_UNIFIED]);
	put(top, "cg/cgroup.controllers", "memory pids cpu\n");
	assert_int_equal(cgroups_find(&g, top, "one", &e), 0);
	assert_ptr_equal(g.ops, &cgroup_v2_ops);
	assert_true(cgroups_prepare(&g, g.above[TREE_UNIFIED], "record", &e) < 0);
	assert_non_null(strstr(e.msg, "Delegate=yes"));
	make_dir(top, "cg/user/mayfly-one");
	put(top, "cg/cgroup.subtree_control", "memory pids\n");
	put(top, "cg/user/cgroup.subtree_control", "");
	put(top, "cg/user/mayfly-one/cgroup.subtree_control", "");
	assert_int_equal(cgroups_prepare(&g, g.above[TREE_UNIFIED], "record", &e), 0);
	snprintf(want, sizeof(want), "%s/cg/user", top);
	assert_string_equal(g.path[TREE_UNIFIED], want);
	check_text(g.above[TREE_UNIFIED], "../cgroup.subtree_control", "+memory +cpu +pids");
	check_text(g.above[TREE_UNIFIED], "cgroup.subtree_control", "+memory +cpu +pids");
	close(g.above[TREE_UNIFIED]);
	close(g.dir[TREE_UNIFIED]);
	remove_all(top);
}

static void test_cgroup_find_v1(void **state _unused_)
{
	char top[] = "/tmp/mayfly-test-cgroup-XXXXXX", mounts[1024], want[128];
	static const char *const trees[] = {"memory", "cpu", "pids", "freezer"};
	static struct cgroups g;
	struct err e = ERR_INIT;
	size_t used = 0;

	assert_non_null(mkdtemp(top));
	make_dir(top, "self");
	for (size_t i = 0; i < 4; i++) {
		make_dir(top, trees[i]);
		used += (size_t)snprintf(mounts + used, sizeof(mounts) - used,
		    "3%zu 31 0:3%zu /outer %s/%s rw,relatime - cgroup cgroup rw,%s%s\n", i, i, top,
		    trees[i], trees[i], i == 1 ? ",cpuacct" : "");
	}
	put(top, "self/mountinfo", mounts);
	put(top, "self/cgroup",
	    "4:memory:/outer\n3:freezer:/outer\n2:cpu,cpuacct:/outer\n1:pids:/outer\n");
	assert_int_equal(cgroups_find(&g, top, "one", &e), 0);
	assert_ptr_equal(g.ops, &cgroup_v1_ops);
	snprintf(want, sizeof(want), "%s/cpu", top);
	assert_string_equal(g.path[TREE_CPU], want);
	assert_true(g.above[TREE_FREEZER] >= 0 && g.above[TREE_UNIFIED] < 0);
	for (int t = 0; t < TREE_COUNT; t++)
		if (g.above[t] >= 0)
			close(g.above[t]);
	put(top, "self/cgroup", "1:pids:/outer\n");
	assert_int_equal(cgroups_find(&g, top, "one", &e), -ENOENT);
	close(g.above[TREE_PIDS]);
	remove_all(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_gate_life, reset_gate),
	    cmocka_unit_test_setup(test_gate_ranges, reset_gate),
	    cmocka_unit_test_setup(test_gate_root, reset_gate),
	    cmocka_unit_test_setup(test_gate_requests, reset_gate),
	    cmocka_unit_test_setup(test_gate_containers, reset_gate),
	    cmocka_unit_test(test_client_boxes),
	    cmocka_unit_test(test_client_requests),
	    cmocka_unit_test(test_client_queue),
	    cmocka_unit_test(test_record),
	    cmocka_unit_test(test_record_cwd),
	    cmocka_unit_test(test_record_extensions),
	    cmocka_unit_test(test_extensions),
	    cmocka_unit_test(test_zip_names),
	    cmocka_unit_test(test_cgroup_v2),
	    cmocka_unit_test(test_cgroup_v2_places),
	    cmocka_unit_test(test_cgroup_find_v1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
