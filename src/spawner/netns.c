/*
 * Network namespaces of containers: made by a child inside the sandbox's user namespace, which owns
 * them then; addresses and ports by bridge.h. See containers_int.h.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/containers_int.h"
#include "spawner/metadata.h"
#include "spawner/net.h"
#include "spawner/root.h"

/* ---- inside ---- */

static int enter(pid_t of, int namespaces)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, of, 0);

	return fd < 0 || setns(fd, namespaces) < 0 ? -errno : 0;
}

_noreturn_ static void visit(pid_t of, bool make, int out)
{
	int fds[3] = {-1, -1, -1}, r = enter(of, make ? CLONE_NEWUSER : CLONE_NEWNET);

	if (r == 0 && make && unshare(CLONE_NEWNET) < 0)
		r = -errno;
	if (r == 0 && make)
		r = bridge_loopback();
	if (r == 0)
		r = net_container(&fds[0], &fds[1]);
	if (r == 0)
		r = metadata_redirect();
	if (r == 0) {
		fds[2] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		r = fds[2] < 0 ? -errno : 0;
	}
	(void)fd_send_fds(out, &r, sizeof(r), fds, r == 0 ? 3 : 0, 0);
	_exit(0);
}

static int have_visited(pid_t of, bool make, struct netns *ret, struct err *e)
{
	int ends[2], fds[FD_PASS_MAX], r = -EIO;
	size_t count = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, errno, "making a socket pair");
	pid = fork();
	if (pid == 0)
		visit(of, make, ends[1]);
	close(ends[1]);
	if (fd_recv_fds(ends[0], &r, sizeof(r), fds, &count, 0) != sizeof(r))
		r = -EIO;
	close(ends[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (r < 0 || count != 3)
		return err_sys(e, r < 0 ? -r : EIO, "setting up a network namespace");
	*ret = (struct netns){.metadata = fds[0], .endpoint = fds[1], .ns = fds[2]};
	return 0;
}

int netns_make(pid_t user, struct netns *ret, struct err *e)
{
	return have_visited(user, true, ret, e);
}

int netns_listen(pid_t of, struct netns *ret, struct err *e)
{
	return have_visited(of, false, ret, e);
}

void netns_add(struct answer *a, struct netns *n, const struct wire_net *net)
{
	a->msg.net = *net;
	if (!net->has_namespace)
		return;
	answer_add(a, n->metadata);
	answer_add(a, n->endpoint);
}

/* ---- addresses and ports ---- */

/* of: the task's directory, to have both on one mount, or AT_FDCWD. */
static int open_bridge(const struct spawner *s, int of, struct bridge *b, struct err *e)
{
	int dir = openat(
	    of, of == AT_FDCWD ? "/data/net" : "../../net", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return err_sys(e, errno, "opening net/ in the data directory");
	bridge_init(b, s->instance, dir);
	return 0;
}

/* The sockets that keep others from the ports live in a process of their own: neither core nor we
 * are there all the time. */
_noreturn_ static void run_holder(const struct bridge_port *ports, size_t count, const int ends[2])
{
	static char name[] = "mayfly-pause";
	char *argv[] = {name, NULL}, *envp[] = {NULL}, byte;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	close(ends[1]);
	/* Only when it is written down that we are there. */
	if (read(ends[0], &byte, 1) != 1)
		_exit(1);
	setsid();
	/* Whoever reads what the spawner says must see its end. */
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	for (size_t i = 0; i < count; i++)
		if (ports[i].reserved >= 0)
			fcntl(ports[i].reserved, F_SETFD, 0);
	execve(ROOT_HOST_PAUSE, argv, envp);
	_exit(127);
}

static int hold_ports(const struct place *p, const struct bridge_port *ports, size_t count)
{
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = task_group_fork(&p->s->task_groups, NULL);
	if (pid == 0)
		run_holder(ports, count, ends);
	r = pid < 0 ? -errno : process_note(p->bundle, "ports", pid);
	if (r == 0 && write(ends[1], "", 1) != 1)
		r = -EIO;
	close(ends[0]);
	close(ends[1]);
	return r;
}

static int publish(const struct place *p, struct bridge *b, struct in_addr to,
    const struct container_spec *spec, struct wire_net *net, struct err *e)
{
	static struct bridge_port ports[BRIDGE_PORTS_MAX];
	int r;

	for (size_t i = 0; i < spec->port_count; i++) {
		const struct container_port *from = &spec->ports[i];

		ports[i] = (struct bridge_port){
		    .udp = from->udp, .host = from->host, .inside = from->inside, .reserved = -1};
		if (from->host_address[0] &&
		    inet_pton(AF_INET, from->host_address, &ports[i].host_address) != 1)
			return err_set(e, EINVAL, "'%s' is no address", from->host_address);
	}
	r = bridge_publish(b, to, ports, spec->port_count, e);
	if (r < 0)
		return r;
	net->port_count = (uint8_t)spec->port_count;
	for (size_t i = 0; i < spec->port_count; i++)
		net->host_port[i] = ports[i].host;
	r = hold_ports(p, ports, spec->port_count);
	for (size_t i = 0; i < spec->port_count; i++)
		base_closep(&ports[i].reserved);
	return r < 0 ? err_sys(e, -r, "holding ports") : 0;
}

int netns_attach(const struct place *p, int ns, const struct container_spec *spec,
    struct wire_net *net, struct err *e)
{
	int dir = spec ? p->bundle : p->dir;
	_cleanup_close_ int record = openat(dir, "record", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct bridge_place at;
	struct bridge b;
	int r =
	    record < 0 ? err_sys(e, errno, "opening the record") : open_bridge(p->s, p->dir, &b, e);

	if (r == 0)
		r = bridge_ensure(&b, e);
	if (r == 0)
		r = bridge_attach(&b, ns, record, &at, e);
	if (r < 0)
		return r;
	net->address = at.address.s_addr;
	net->gateway = b.address.s_addr;
	net->prefix_len = (uint8_t)b.prefix_len;
	memcpy(net->mac, at.mac, sizeof(net->mac));
	/* Before there are ports: whatever happens next, removal knows the address. */
	r = place_note(dir, "net", net, sizeof(*net));
	if (r == 0 && spec && spec->port_count)
		r = publish(p, &b, at.address, spec, net, e);
	else if (r < 0)
		err_sys(e, -r, "remembering the address");
	if (r == 0 && place_note(dir, "net", net, sizeof(*net)) < 0)
		r = err_set(e, EIO, "remembering the ports failed");
	close(b.dir);
	return r;
}

int netns_detach(const struct place *p, int dir, struct err *e)
{
	_cleanup_close_ int record = openat(dir, "record", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct process holder = process_noted(dir, "ports");
	struct wire_net net;
	struct bridge b;
	int r;

	process_end(&holder);
	if (place_noted(dir, "net", &net, sizeof(net)) != sizeof(net) || !net.address)
		return 0;
	if (record < 0) /* it goes after the address */
		return errno == ENOENT ? 0 : err_sys(e, errno, "opening the record");
	r = open_bridge(p->s, p->dir, &b, e);
	if (r < 0)
		return r;
	r = bridge_ensure(&b, e);
	if (r == 0)
		r = bridge_give_back(&b, (struct in_addr){net.address}, record, e);
	close(b.dir);
	return r;
}

static int with_bridge(
    const struct spawner *s, int (*fn)(struct bridge *b, struct err *e), struct err *e)
{
	struct bridge b;
	int r = open_bridge(s, AT_FDCWD, &b, e);

	if (r < 0)
		return r;
	r = fn(&b, e);
	close(b.dir);
	return r;
}

int netns_restore(const struct spawner *s, struct err *e)
{
	return with_bridge(s, bridge_restore, e);
}

int netns_leave(const struct spawner *s, struct err *e)
{
	return with_bridge(s, bridge_remove, e);
}
