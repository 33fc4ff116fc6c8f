/* What core may look at: log, counters, attach socket; and what a former life left. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "spawner/containers_int.h"
#include "spawner/remove.h"

void inspect_log(const struct place *p, struct answer *a)
{
	_cleanup_close_ int fd = openat(p->bundle, "log", O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	/* Core watches it by inotify, for which it must be able to read it. */
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return;
	a->msg.container.has_log = 1;
	answer_add(a, take_fd(&fd));
}

static int open_net_counters(const struct place *p)
{
	struct process init = process_noted(p->bundle, "init");
	struct process pause = process_noted(p->dir, "pause");
	struct sandbox_spec sandbox;
	char path[48];
	pid_t pid;
	int fd;

	if (place_read_sandbox(p, &sandbox) < 0 || sandbox.network == CONTAINER_NET_HOST)
		return -ENOENT;
	pid = sandbox.network == CONTAINER_NET_TASK ? pause.pid : init.pid;
	snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)pid);
	fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	return fd < 0 ? -ENOENT : fd;
}

int inspect_usage(const struct place *p, struct answer *a, struct err *e _unused_)
{
	static const char *const files[][3] = {
	    {"memory", "memory.usage_in_bytes", "memory.current"},
	    {"memory", "memory.max_usage_in_bytes", "memory.peak"},
	    {"cpuacct", "cpuacct.usage", "cpu.stat"}, {"pids", "pids.current", "pids.current"}};

	for (size_t i = 0; i <= ARRAY_SIZE(files); i++) {
		int fd = i == ARRAY_SIZE(files) ? open_net_counters(p)
						: task_group_open(&p->s->task_groups, p->sandbox,
						      p->id, files[i][0], files[i][1], files[i][2]);

		if (fd < 0)
			continue;
		a->msg.container.usage |= 1u << i;
		answer_add(a, fd);
	}
	return 0;
}

int inspect_attach(const struct place *p, struct answer *a, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = BUNDLE_AT "/attach"};
	int fd, r = runtime_join(p, e);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		err_sys(e, errno, "connecting to conmon");
		base_closep(&fd);
		return -e->errnum;
	}
	answer_add(a, fd);
	return 0;
}

int inspect_resize(const struct place *p, unsigned rows, unsigned columns, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char text[40];
	int n = snprintf(text, sizeof(text), "1 %u %u\n", rows, columns), r = runtime_join(p, e);

	if (r < 0)
		return r;
	fd = open(BUNDLE_AT "/ctl", O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		return err_sys(e, errno, "telling conmon the size of the terminal");
	return 0;
}

/* ---- what is there ---- */

static int64_t changed_ms(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return st.st_mtim.tv_sec * INT64_C(1000) + st.st_mtim.tv_nsec / 1000000;
}

static bool was_oom_killed(const struct place *p)
{
	_cleanup_close_ int fd = task_group_open(
	    &p->s->task_groups, p->sandbox, p->id, "memory", "memory.oom_control", "memory.events");
	char text[1024];
	const char *line;
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	text[n > 0 ? n : 0] = '\0';
	line = strstr(text, "oom_kill ");
	return line && line[9] != '0';
}

static void say_state(const struct place *p, bool stale, struct wire_container *c)
{
	struct process conmon = process_noted(p->bundle, "conmon");
	_cleanup_close_ int alive = stale ? -1 : process_open(&conmon);
	int64_t started_ms;
	char text[16];
	ssize_t n = place_read(p->bundle, p->id, text, sizeof(text) - 1);
	if (place_noted(p->bundle, "started", &started_ms, sizeof(started_ms)) > 0)
		c->started_ms = started_ms;
	c->finished_ms = changed_ms(p->bundle, p->id);
	if (n > 0) {
		text[n] = '\0';
		c->exit_code = (int32_t)strtol(text, NULL, 10);
		c->state = CONTAINER_EXITED;
		c->oom_killed = was_oom_killed(p);
	} else if (alive >= 0) {
		c->state = c->started_ms ? CONTAINER_RUNNING : CONTAINER_CREATED;
	} else {
		c->state = CONTAINER_EXITED;
		c->exit_code = -1;
		c->ended_unseen = 1;
	}
}

/* New listeners, because those that there were ended with the core that had them. */
static void listen_again(pid_t of, struct wire_net *net, struct answer *a)
{
	struct err e = ERR_INIT;
	struct netns n;

	if (!net->has_namespace)
		return;
	if (of <= 0 || netns_listen(of, &n, &e) < 0) {
		net->has_namespace = 0;
		a->msg.net.has_namespace = 0;
		return;
	}
	netns_add(a, &n, net);
	close(n.ns);
}

static void tell_container(struct place *p, bool stale, struct answer *a)
{
	struct process init = process_noted(p->bundle, "init");
	struct wire_container *c = &a->msg.container;
	struct err e = ERR_INIT;

	memset(&a->msg, 0, sizeof(a->msg));
	a->msg.kind = WIRE_CONTAINER_FOUND;
	hex_decode(str_from(p->id), c->id, WIRE_ID_SIZE);
	hex_decode(str_from(p->sandbox), c->sandbox, WIRE_ID_SIZE);
	say_state(p, stale, c);
	if (place_noted(p->bundle, "net", &a->msg.net, sizeof(a->msg.net)) != sizeof(a->msg.net))
		memset(&a->msg.net, 0, sizeof(a->msg.net));
	if (c->state != CONTAINER_EXITED && container_add_kept(p, a, &e) < 0) {
		while (a->count)
			close(a->fds[--a->count]);
		say_state(p, stale, c);
		c->state = CONTAINER_EXITED; /* in this moment */
	}
	inspect_log(p, a);
	if (c->state != CONTAINER_EXITED)
		listen_again(init.pid, &a->msg.net, a);
	else
		a->msg.net.has_namespace = 0;
	containers_tell(a);
}

static void tell_sandbox(struct place *p, bool stale, struct answer *a)
{
	struct process pause = process_noted(p->dir, "pause");
	_cleanup_close_ int alive = stale ? -1 : process_open(&pause);
	int record = openat(p->dir, "record", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	memset(&a->msg, 0, sizeof(a->msg));
	a->msg.kind = WIRE_SANDBOX_FOUND;
	hex_decode(str_from(p->sandbox), a->msg.container.sandbox, WIRE_ID_SIZE);
	if (place_noted(p->dir, "net", &a->msg.net, sizeof(a->msg.net)) != sizeof(a->msg.net))
		memset(&a->msg.net, 0, sizeof(a->msg.net));
	if (record >= 0)
		answer_add(a, record);
	listen_again(alive >= 0 ? pause.pid : 0, &a->msg.net, a);
	containers_tell(a);
}

static void find_containers(struct place *p, bool stale, struct answer *a)
{
	int copy = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		if (!record_id_ok(entry->d_name))
			continue;
		memcpy(p->id, entry->d_name, sizeof(p->id));
		p->bundle = openat(p->dir, p->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (p->bundle >= 0)
			tell_container(p, stale, a);
		base_closep(&p->bundle);
		p->bundle = -1;
	}
	p->id[0] = '\0';
	if (d)
		closedir(d);
}

void inspect_find(const struct spawner *s, struct answer *a)
{
	DIR *d = opendir(TASKS_AT);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		struct place p = {.s = s, .dir = -1, .bundle = -1};
		struct err e = ERR_INIT;
		bool stale;

		if (!record_id_ok(entry->d_name))
			continue;
		memcpy(p.sandbox, entry->d_name, sizeof(p.sandbox));
		if (place_open(&p, false, &e) < 0)
			continue;
		stale = place_is_stale(&p);
		tell_sandbox(&p, stale, a);
		find_containers(&p, stale, a);
		place_close(&p);
	}
	if (d)
		closedir(d);
	memset(&a->msg, 0, sizeof(a->msg));
}
