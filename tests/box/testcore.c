/*
 * A core of a few hundred lines, for testing the spawner and box-init: speaks wire.h and init.h
 * directly and plays the scenario named by its arguments, one line of output a fact. After "DONE"
 * it waits for SIGTERM, as core does. Driven by run.py.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "init/init.h"
#include "spawn/core_fds.h"
#include "spawn/wire.h"

struct tbox {
	uint32_t slot, generation;
	int fds[WIRE_FD_COUNT];
};

static struct wire_hello hello;
static uint32_t generations;
static uint64_t serials;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

_noreturn_ static void give_up(const char *what)
{
	printf("FAIL %s: %s\n", what, strerror(errno));
	fflush(stdout);
	exit(1);
}

static void tell(struct wire_msg m)
{
	if (fd_send_fds(CORE_FD_SPAWNER, &m, sizeof(m), NULL, 0, 0) < 0)
		give_up("sending");
}

static struct wire_msg hear(int fds[FD_PASS_MAX], size_t *count)
{
	struct wire_msg m;

	if (fd_recv_fds(CORE_FD_SPAWNER, &m, sizeof(m), fds, count, 0) != sizeof(m))
		give_up("receiving");
	return m;
}

static struct wire_msg expect(uint32_t kind)
{
	int fds[FD_PASS_MAX];
	size_t count;
	struct wire_msg m = hear(fds, &count);

	if (m.kind != kind) {
		printf("FAIL kind %u instead of %u\n", m.kind, kind);
		exit(1);
	}
	return m;
}

static void box_make(struct tbox *b, uint32_t slot)
{
	int fds[FD_PASS_MAX];
	size_t count;
	struct wire_msg m;

	b->slot = slot;
	b->generation = ++generations;
	tell((struct wire_msg){.kind = WIRE_BOX_MAKE, .slot = slot, .generation = b->generation});
	m = hear(fds, &count);
	if (m.kind != WIRE_BOX_MADE || m.result || count != WIRE_FD_COUNT) {
		printf("FAIL made kind %u result %d count %zu\n", m.kind, m.result, count);
		exit(1);
	}
	memcpy(b->fds, fds, sizeof(b->fds));
}

static int box_assign(
    struct tbox *b, const uint8_t *hashes, uint32_t layers, uint32_t memory_mb, uint32_t tmp_mb)
{
	struct wire_msg m = {.kind = WIRE_BOX_ASSIGN,
	    .slot = b->slot,
	    .generation = b->generation,
	    .memory_mb = memory_mb,
	    .tmp_mb = tmp_mb,
	    .layer_count = layers};

	memcpy(m.hash, hashes, WIRE_HASH_SIZE);
	memcpy(m.layers, hashes + WIRE_HASH_SIZE, (size_t)layers * WIRE_HASH_SIZE);
	tell(m);
	return expect(WIRE_BOX_ASSIGNED).result;
}

static void box_kill(struct tbox *b)
{
	tell(
	    (struct wire_msg){.kind = WIRE_BOX_KILL, .slot = b->slot, .generation = b->generation});
	for (int i = 0; i < WIRE_FD_COUNT; i++)
		close(b->fds[i]);
	expect(WIRE_BOX_DEAD);
}

static struct wire_msg unpack(const uint8_t *hash, uint64_t limit)
{
	struct wire_msg m = {.kind = WIRE_UNPACK, .serial = ++serials, .limit_bytes = limit};

	memcpy(m.hash, hash, WIRE_HASH_SIZE);
	tell(m);
	return expect(WIRE_UNPACKED);
}

static void add(struct init_record *r, const char *word)
{
	size_t n = strlen(word) + 1;

	memcpy(r->strings + r->string_bytes, word, n);
	r->string_bytes += (uint32_t)n;
}

/* Start argv in the box; returns the read end of its output. */
static int box_start(struct tbox *b, uint32_t tag, const char *const argv[])
{
	static struct init_record r;
	int ends[2];

	r = (struct init_record){.kind = INIT_START, .tag = tag, .envc = 1};
	for (; argv[r.argc]; r.argc++)
		add(&r, argv[r.argc]);
	add(&r, "PATH=/usr/bin:/bin");
	if (pipe2(ends, O_CLOEXEC) < 0)
		give_up("pipe");
	if (fd_send_fds(b->fds[WIRE_FD_CONTROL], &r, INIT_RECORD_SHORT + r.string_bytes, &ends[1],
		1, 0) < 0)
		give_up("starting");
	close(ends[1]);
	return ends[0];
}

static struct init_record box_hear(struct tbox *b)
{
	struct init_record r = {0};

	if (recv(b->fds[WIRE_FD_CONTROL], &r, sizeof(r), 0) != (ssize_t)INIT_RECORD_SHORT)
		give_up("hearing box-init");
	return r;
}

static void box_order(struct tbox *b, uint32_t kind, uint32_t tag)
{
	struct init_record r = {.kind = kind, .tag = tag};

	if (send(b->fds[WIRE_FD_CONTROL], &r, INIT_RECORD_SHORT, 0) < 0)
		give_up("ordering");
}

/* Copy what comes to stdout, each line with `prefix`. */
static void drain(int fd, const char *prefix)
{
	char text[65536];
	size_t used = 0;
	ssize_t n;

	while (used < sizeof(text) - 1 && (n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	text[used] = '\0';
	for (char *save = NULL, *l = strtok_r(text, "\n", &save); l;
	     l = strtok_r(NULL, "\n", &save))
		printf("%s %s\n", prefix, l);
}

static long file_number(int fd)
{
	char text[64] = {0};

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? strtol(text, NULL, 10) : -1;
}

/* ---- scenarios ---- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void show(const char *what, double *us, size_t n)
{
	qsort(us, n, sizeof(*us), compare);
	printf("TIME %s p50 %.0f us, p90 %.0f us, max %.0f us (n=%zu)\n", what, us[n / 2],
	    us[n * 9 / 10], us[n - 1], n);
}

static void unpack_or_die(const uint8_t *hash)
{
	struct wire_msg m = unpack(hash, 262144000);

	printf("UNPACKED %d %" PRIu64 " %s\n", m.result, m.size_bytes, m.text);
	if (m.result < 0)
		exit(1);
}

/* What the probe sees, with one and several layers, and other limits. */
static void scenario_probe(const uint8_t *hashes, uint32_t count, const char *mode)
{
	const char *argv[] = {"/var/task/probe", mode, NULL};
	struct init_record r;
	struct tbox b;

	for (uint32_t i = 0; i < count; i++)
		unpack_or_die(hashes + (size_t)i * WIRE_HASH_SIZE);
	box_make(&b, 3);
	printf("ASSIGNED %d\n", box_assign(&b, hashes, count - 1, 256, 512));
	drain(box_start(&b, 7, argv), "PROBE");
	r = box_hear(&b);
	printf("EXITED kind %u tag %u status %d\n", r.kind, r.tag, r.status);
	printf("MEMORY %ld PEAK %ld\n", file_number(b.fds[WIRE_FD_MEMORY]),
	    file_number(b.fds[WIRE_FD_PEAK]));
	box_kill(&b);
}

/* box-init's orders: a program that does not exist, two programs, TERM, KILL. */
/* The same with a root of its own; the first hash is the lowest layer. */
static void scenario_image(const uint8_t *hashes, uint32_t count)
{
	const char *argv[] = {"/var/task/probe", "look", NULL};
	struct init_record r;
	struct tbox b;
	int result;

	box_make(&b, 3);
	for (uint32_t i = 0; i < count; i++) {
		struct wire_msg m = {.kind = WIRE_BOX_ROOT,
		    .slot = b.slot,
		    .generation = b.generation,
		    .layer_count = 1};

		memcpy(m.layers, hashes + (size_t)i * WIRE_HASH_SIZE, WIRE_HASH_SIZE);
		tell(m);
	}
	result = box_assign(&b, hashes, 0, 256, 512);
	printf("ASSIGNED %d\n", result);
	if (result == 0) {
		drain(box_start(&b, 7, argv), "PROBE");
		r = box_hear(&b);
		printf("EXITED kind %u tag %u status %d\n", r.kind, r.tag, r.status);
	}
	box_kill(&b);
}

static void scenario_init(const uint8_t *hashes)
{
	const char *missing[] = {"/nowhere", NULL}, *wait[] = {"/var/task/probe", "wait", NULL},
		   *bomb[] = {"/var/task/probe", "bomb", NULL};
	struct init_record r;
	struct tbox b;
	int out;

	unpack_or_die(hashes);
	box_make(&b, 0);
	printf("ASSIGNED %d\n", box_assign(&b, hashes, 0, 128, 512));
	close(box_start(&b, 1, missing));
	r = box_hear(&b);
	printf("MISSING kind %u tag %u status %d\n", r.kind, r.tag, r.status);
	close(box_start(&b, 2, wait));
	close(box_start(&b, 3, wait));
	box_order(&b, INIT_TERM, 3);
	r = box_hear(&b);
	printf("TERM kind %u tag %u status %d\n", r.kind, r.tag, r.status);
	out = box_start(&b, 4, bomb);
	usleep(300000);
	box_order(&b, INIT_KILL, 9);
	do
		r = box_hear(&b);
	while (r.kind != INIT_KILLED);
	printf("KILLED tag %u, output ends %d\n", r.tag, (int)read(out, &r, 1));
	close(out);
	close(box_start(&b, 5, wait));
	box_order(&b, INIT_TERM, 5);
	r = box_hear(&b);
	printf("AGAIN kind %u tag %u status %d\n", r.kind, r.tag, r.status);
	box_kill(&b);
}

/* Any program of the host, in a box. */
static void scenario_run(const uint8_t *hashes, const char *const argv[])
{
	struct init_record r;
	struct tbox b;

	unpack_or_die(hashes);
	box_make(&b, 0);
	printf("ASSIGNED %d\n", box_assign(&b, hashes, 0, 512, 512));
	drain(box_start(&b, 1, argv), "RUN");
	r = box_hear(&b);
	printf("EXITED kind %u status %d\n", r.kind, r.status);
	box_kill(&b);
}

/* Out of memory; killed while frozen. */
static void scenario_limits(const uint8_t *hashes)
{
	const char *eat[] = {"/var/task/probe", "eat", NULL},
		   *wait[] = {"/var/task/probe", "wait", NULL};
	struct init_record r;
	char text[256] = {0};
	struct tbox b;
	double before;

	unpack_or_die(hashes);
	box_make(&b, 0);
	printf("ASSIGNED %d\n", box_assign(&b, hashes, 0, 128, 1024));
	drain(box_start(&b, 1, eat), "EAT");
	r = box_hear(&b);
	(void)!pread(b.fds[WIRE_FD_OOM], text, sizeof(text) - 1, 0);
	printf("OOM status %d, %s\n", r.status,
	    strstr(text, "oom_kill 1") ? "counted" : "not counted");
	close(box_start(&b, 2, wait));
	if (write(b.fds[WIRE_FD_FREEZE], hello.cgroup2_freeze ? "1" : "FROZEN",
		hello.cgroup2_freeze ? 1 : 6) < 0)
		give_up("freezing");
	if (write(b.fds[WIRE_FD_CPU], hello.cpu_style == WIRE_CPU_V1 ? "50000" : "50000 100000",
		hello.cpu_style == WIRE_CPU_V1 ? 5 : 12) < 0)
		give_up("setting the CPU quota");
	before = now_us();
	box_kill(&b);
	printf("KILLED FROZEN %s\n", now_us() - before < 500000 ? "quickly" : "slowly");
}

static void scenario_bench(const uint8_t *hashes, uint32_t n)
{
	const char *argv[] = {"/var/task/probe", "exit", NULL};
	double *make = calloc(n, sizeof(*make)), *assign = calloc(n, sizeof(*assign)),
	       *start = calloc(n, sizeof(*start)), *kill = calloc(n, sizeof(*kill)), t;
	struct tbox b;

	unpack_or_die(hashes);
	for (uint32_t i = 0; i < n; i++) {
		t = now_us();
		box_make(&b, i % hello.boxes_max);
		make[i] = now_us() - t;
		usleep(20000); /* a /tmp is in the pool again */
		t = now_us();
		if (box_assign(&b, hashes, 0, 128, 512))
			give_up("assigning");
		assign[i] = now_us() - t;
		t = now_us();
		close(box_start(&b, 1, argv));
		box_hear(&b);
		start[i] = now_us() - t;
		t = now_us();
		box_kill(&b);
		kill[i] = now_us() - t;
	}
	show("make", make, n);
	show("assign", assign, n);
	show("start+exit", start, n);
	show("kill", kill, n);
}

static void scenario_leak(const uint8_t *hashes, uint32_t n, uint32_t seconds)
{
	double end = now_us() + seconds * 1e6;
	const char *argv[] = {"/var/task/probe", "touch", NULL};
	uint32_t done = 0;
	struct tbox b;

	unpack_or_die(hashes);
	for (; done < n && now_us() < end; done++) {
		box_make(&b, done % 7);
		if (box_assign(&b, hashes, 0, 128, 512))
			give_up("assigning");
		close(box_start(&b, 1, argv));
		if (done % 2)
			box_hear(&b);
		box_kill(&b);
	}
	printf("CYCLES %u\n", done);
}

/* n boxes that stay, assigned and running a waiting program if so asked. */
static void scenario_hold(const uint8_t *hashes, uint32_t n, const char *how)
{
	const char *argv[] = {"/var/task/probe", "wait", NULL};
	struct tbox b;

	unpack_or_die(hashes);
	for (uint32_t i = 0; i < n; i++) {
		box_make(&b, i);
		if (strcmp(how, "blank") != 0 && box_assign(&b, hashes, 0, 128, 512))
			give_up("assigning");
		if (strcmp(how, "run") == 0)
			box_start(&b, 1, argv);
	}
}

static void scenario_unpack(const uint8_t *hashes, uint32_t count, uint64_t limit)
{
	for (uint32_t i = 0; i < count; i++) {
		struct wire_msg m = unpack(hashes + (size_t)i * WIRE_HASH_SIZE, limit);

		printf("UNPACKED %d %" PRIu64 " %s\n", m.result, m.size_bytes, m.text);
		if (m.result == 0) {
			m.kind = WIRE_CODE_DELETE;
			memcpy(m.hash, hashes + (size_t)i * WIRE_HASH_SIZE, WIRE_HASH_SIZE);
			tell(m);
			printf("DELETED %d\n", expect(WIRE_CODE_DELETED).result);
		}
	}
}

/* Blob `i` is the layer that hash `i + 1` says; with "half" only its first half comes. */
static void pump(const uint8_t *blob, int pipe, bool half)
{
	char path[96] = "/data/blobs/", block[4096];
	struct stat st;
	int file;
	ssize_t n;

	hex_encode(blob, WIRE_HASH_SIZE, path + strlen(path));
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &st) < 0)
		give_up("opening a layer");
	for (off_t left = half ? st.st_size / 2 : st.st_size; left > 0; left -= n) {
		n = read(file, block, left < (off_t)sizeof(block) ? (size_t)left : sizeof(block));
		if (n <= 0 || fd_write_full(pipe, block, (size_t)n) < 0)
			break; /* the child had enough */
	}
	close(file);
}

static void scenario_layer(const uint8_t *hashes, const char *how, uint64_t limit)
{
	struct wire_msg m = {.kind = WIRE_LAYER_UNPACK, .serial = 5, .limit_bytes = limit};
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	if (pipe2(ends, O_CLOEXEC) < 0)
		give_up("pipe");
	memcpy(m.hash, hashes, WIRE_HASH_SIZE);
	if (fd_send_fds(CORE_FD_SPAWNER, &m, sizeof(m), &ends[0], 1, 0) < 0)
		give_up("sending");
	close(ends[0]);
	pump(hashes + WIRE_HASH_SIZE, ends[1], strcmp(how, "half") == 0);
	if (strcmp(how, "die") == 0)
		_exit(1);
	close(ends[1]);
	m = expect(WIRE_LAYER_UNPACKED);
	printf("UNPACKED %d %" PRIu64 " %s\n", m.result, m.size_bytes, m.text);
	if (strcmp(how, "delete") == 0) {
		m.kind = WIRE_LAYER_DELETE;
		memcpy(m.hash, hashes, WIRE_HASH_SIZE);
		tell(m);
		printf("DELETED %d\n", expect(WIRE_LAYER_DELETED).result);
	}
}

/* A connected socket whose last close(2) waits for a minute: nobody reads what it has to send. */
static int lingering_socket(void)
{
	const struct linger linger = {1, 60};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(a);
	static char junk[1 << 20];

	if (bind(listener, (struct sockaddr *)&a, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) < 0 ||
	    connect(fd, (struct sockaddr *)&a, len) < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	while (send(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	return fd;
}

/* One where none belongs, as many as go into a message, and a memfd that can still be written. */
static void send_descriptor(const char *which)
{
	struct wire_msg m = {.kind = WIRE_BOX_MAKE};
	int fds[FD_PASS_MAX], count = 1;

	fds[0] = lingering_socket();
	if (strcmp(which, "descriptors") == 0) {
		for (count = 1; count < FD_PASS_MAX; count++)
			fds[count] = fds[0];
	} else if (strcmp(which, "record") == 0) {
		m.kind = WIRE_SANDBOX_MAKE;
		fds[0] = memfd_create("record", MFD_ALLOW_SEALING);
	} else if (strcmp(which, "record-socket") == 0) {
		m.kind = WIRE_SANDBOX_MAKE;
	}
	fd_send_fds(CORE_FD_SPAWNER, &m, sizeof(m), fds, (size_t)count, 0);
	for (int i = 0; i < count; i++)
		close(fds[i]); /* all the same but the first */
}

/* Never read: the spawner is to close them unread with its end of the socket. */
static void queue_descriptors(void)
{
	struct wire_msg m = {.kind = WIRE_HELLO};
	int fd = lingering_socket();

	for (int i = 0; i < 20; i++)
		fd_send_fds(CORE_FD_SPAWNER, &m, sizeof(m), &fd, 1, MSG_DONTWAIT);
	_exit(1);
}

/* More at once than allowed. Unpacking, because it is slower than asking: a whole process each. */
static void send_requests(void)
{
	struct wire_msg m = {.kind = WIRE_UNPACK, .limit_bytes = 1 << 20};
	char path[128];

	snprintf(path, sizeof(path), "/data/blobs/%064d", 0);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	for (int i = 0; i < 1000; i++)
		send(CORE_FD_SPAWNER, &m, sizeof(m), MSG_NOSIGNAL);
}

/* Break a rule of the wire: the spawner has to kill us. */
static void scenario_disorder(const char *which)
{
	struct wire_msg m = {.kind = WIRE_BOX_ASSIGN, .memory_mb = 128, .tmp_mb = 512};

	if (strcmp(which, "short") == 0) {
		send(CORE_FD_SPAWNER, &m, 17, 0);
	} else if (strcmp(which, "slot") == 0) {
		m.kind = WIRE_BOX_MAKE;
		m.slot = 70000;
		tell(m);
	} else if (strcmp(which, "twice") == 0) {
		m.kind = WIRE_BOX_MAKE;
		tell(m);
		tell(m);
	} else if (strcmp(which, "kind") == 0) {
		m.kind = WIRE_HELLO;
		tell(m);
	} else if (strcmp(which, "memory") == 0) {
		m.memory_mb = WIRE_MEMORY_MB_MAX + 1;
		tell(m);
	} else if (strcmp(which, "layers") == 0) {
		m.layer_count = WIRE_LAYERS_MAX + 1;
		tell(m);
	} else if (strncmp(which, "descriptor", 10) == 0 || strncmp(which, "record", 6) == 0) {
		send_descriptor(which);
	} else if (strcmp(which, "queue") == 0) {
		queue_descriptors();
	} else if (strcmp(which, "requests") == 0) {
		send_requests();
	} else {
		m.generation = 99;
		tell(m);
	}
	pause();
}

static void *nothing(void *p)
{
	return p;
}

static void say(const char *what, long r)
{
	printf("SELF %s %d\n", what, r < 0 ? errno : 0);
}

static void try_calls(void)
{
	const struct rlimit more = {1 << 20, 1 << 20};
	pthread_t thread;
	int pair[2];

	say("vfork", syscall(SYS_vfork));
	say("clone3", syscall(SYS_clone3, NULL, 0));
	say("clone vm", syscall(SYS_clone, CLONE_VM | SIGCHLD, 0, 0, 0, 0));
	say("setns", syscall(SYS_setns, 3, 0));
	say("setuid", syscall(SYS_setuid, 0));
	say("capset", syscall(SYS_capset, NULL, NULL));
	say("ptrace", syscall(SYS_ptrace, 0, 0, 0, 0));
	say("memory of others", syscall(SYS_process_vm_writev, getpid(), NULL, 0, NULL, 0, 0));
	say("bpf", syscall(SYS_bpf, 0, NULL, 0));
	say("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
	say("keyctl", syscall(SYS_keyctl, 0, -3, 1));
	say("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	say("userfaultfd", syscall(SYS_userfaultfd, 0));
	say("mknod", mknod("/data/device", S_IFBLK | 0600, 0));
	say("open by handle", syscall(SYS_open_by_handle_at, -1, NULL, 0));
	say("death signal", prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0));
	say("statmount", syscall(457, NULL, NULL, 0, 0));
	say("packet", socket(AF_PACKET, SOCK_RAW, 0));
	say("vsock", socket(40, SOCK_STREAM, 0));
	say("alg", socket(38, SOCK_SEQPACKET, 0));
	say("netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
	say("vsock pair", socketpair(40, SOCK_STREAM, 0, pair));
	say("mptcp", socket(AF_INET, SOCK_STREAM, 262));
	say("raw", socket(AF_INET, SOCK_RAW, 1));
	say("inet", socket(AF_INET, SOCK_STREAM, 0));
	errno = pthread_create(&thread, NULL, nothing, NULL);
	say("thread", errno ? -1 : 0);
	say("lifted rlimit", setrlimit(RLIMIT_NICE, &more));
	printf("SELF no_new_privs %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

/* What was opened for reading stays so: /proc/self/fd is no way to open it again for writing. */
static void try_cgroup(void)
{
	struct tbox b;
	char path[40];

	box_make(&b, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b.fds[WIRE_FD_OOM]);
	say("cgroup write", open(path, O_WRONLY | O_CLOEXEC));
}

/* What core itself must not be able to do. */
static void scenario_self(void)
{
	char *none[] = {NULL};
	int pid = fork();

	if (pid == 0)
		_exit(0);
	printf("SELF fork %d\n", pid < 0 ? errno : 0);
	execve("/usr/bin/true", none, none);
	printf("SELF exec %d\n", errno);
	syscall(SYS_execveat, 3, "", none, none, AT_EMPTY_PATH, 0);
	printf("SELF execveat %d\n", errno);
	printf("SELF unshare %d\n", syscall(SYS_unshare, 0x10000000) < 0 ? errno : 0);
	printf("SELF mount %d\n", syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, 0) < 0 ? errno : 0);
	printf("SELF ids %d %d\n", (int)getuid(), (int)getgid());
	printf("SELF root write %d\n", open("/evil", O_CREAT | O_WRONLY, 0600) < 0 ? errno : 0);
	printf(
	    "SELF data write %d\n", open("/data/file", O_CREAT | O_WRONLY, 0600) < 0 ? errno : 0);
	printf("SELF code write %d\n",
	    open("/data/code/file", O_CREAT | O_WRONLY, 0600) < 0 ? errno : 0);
	printf("SELF code rename %d\n", rename("/data/code", "/data/edoc") < 0 ? errno : 0);
	printf("SELF tmp open %d\n", open("/data/tmp", O_RDONLY) < 0 ? errno : 0);
	printf("SELF host proc %d\n", access("/proc/1", F_OK) < 0 ? errno : 0);
	printf("SELF usr %d\n", access("/usr/lib", F_OK) < 0 ? errno : 0);
	printf("SELF home %d\n", access("/root", F_OK) < 0 ? errno : 0);
	try_calls();
	try_cgroup();
}

static void play(int argc, char **argv)
{
	uint8_t hashes[8 * WIRE_HASH_SIZE];
	uint32_t count = 0;

	while (argc > 1 && strlen(argv[argc - 1]) == 64 && count < 8) {
		argc--;
		if (!hex_decode(str_from(argv[argc]), hashes + (size_t)count++ * WIRE_HASH_SIZE,
			WIRE_HASH_SIZE))
			give_up("hash");
	}
	argv[argc] = NULL; /* the hashes are out of the way */
	if (strcmp(argv[0], "run") == 0)
		scenario_run(hashes, (const char *const *)argv + 1);
	else if (strcmp(argv[0], "probe") == 0)
		scenario_probe(hashes, count, argc > 1 ? argv[1] : "look");
	else if (strcmp(argv[0], "image") == 0)
		scenario_image(hashes, count);
	else if (strcmp(argv[0], "init") == 0)
		scenario_init(hashes);
	else if (strcmp(argv[0], "limits") == 0)
		scenario_limits(hashes);
	else if (strcmp(argv[0], "bench") == 0)
		scenario_bench(hashes, (uint32_t)atoi(argv[1]));
	else if (strcmp(argv[0], "leak") == 0)
		scenario_leak(hashes, (uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]));
	else if (strcmp(argv[0], "hold") == 0)
		scenario_hold(hashes, (uint32_t)atoi(argv[1]), argv[2]);
	else if (strcmp(argv[0], "unpack") == 0)
		scenario_unpack(hashes, count, strtoull(argv[1], NULL, 10));
	else if (strcmp(argv[0], "layer") == 0)
		scenario_layer(hashes, argv[1], strtoull(argv[2], NULL, 10));
	else if (strcmp(argv[0], "disorder") == 0)
		scenario_disorder(argv[1]);
	else if (strcmp(argv[0], "self") == 0)
		scenario_self();
	else if (strcmp(argv[0], "config") == 0)
		exit(CORE_EXIT_CONFIG);
}

static void on_term(int signal _unused_)
{
	_exit(0);
}

int main(int argc, char **argv)
{
	int fds[FD_PASS_MAX];
	size_t count;
	struct wire_msg m;

	signal(SIGTERM, on_term);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 6)
		return CORE_EXIT_CONFIG;
	m = hear(fds, &count);
	if (m.kind != WIRE_HELLO)
		return 1;
	hello = m.hello;
	printf("HELLO pid %d boxes %u cpus %u memory %" PRIu64 " v2freeze %u cpu style %u\n",
	    (int)getpid(), hello.boxes_max, hello.cpus, hello.memory_bytes, hello.cgroup2_freeze,
	    hello.cpu_style);
	play(argc - 5, argv + 5);
	printf("DONE\n");
	for (;;)
		pause();
}
