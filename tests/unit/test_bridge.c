/*
 * The network of containers, on real network namespaces: the test makes one that plays the host,
 * two that play machines outside, and attaches others as containers would be. All sockets are
 * this process's, made inside the namespaces. Root only: 77 without.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "scratch.h"
#include "spawner/bridge.h"

#define PATIENCE_MS 400 /* for what must not arrive */
#define NOBODY "nobody"
#define OUTSIDE "198.51.100.2"
#define UPLINK "198.51.100.1"

static int home, outside, outside2;

/* ---- namespaces and sockets in them ---- */

static int ns_new(void)
{
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	if (home)
		assert_int_equal(setns(home, CLONE_NEWNET), 0);
	return fd;
}

static void run_in(int ns, const char *command)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
}

/* What a command prints, into a static buffer. */
static const char *output_of(int ns, const char *command)
{
	static char text[65536];
	FILE *f;

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	f = popen(command, "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	pclose(f);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	return text;
}

static int socket_in(int ns, int family, int type, int protocol)
{
	int fd;

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	assert_true(fd >= 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	return fd;
}

static struct sockaddr_in at(const char *address, unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	assert_int_equal(inet_pton(AF_INET, address, &a.sin_addr), 1);
	return a;
}

static const char *text(struct in_addr a)
{
	static char all[8][INET_ADDRSTRLEN];
	static unsigned next;
	char *t = all[next++ % 8];

	inet_ntop(AF_INET, &a, t, INET_ADDRSTRLEN);
	return t;
}

static int server(int ns, int type, const char *address, unsigned port)
{
	struct sockaddr_in a = at(address, port);
	int one = 1, fd = socket_in(ns, AF_INET, type, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static bool ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, PATIENCE_MS) == 1;
}

/* Connect from ns to address:port; whom the server in `listener` sees, or NOBODY. */
static const char *seen(int ns, const char *address, unsigned port, int listener)
{
	struct sockaddr_in a = at(address, port);
	socklen_t len = sizeof(a);
	int fd = socket_in(ns, AF_INET, SOCK_STREAM, 0), one = 1, got = -1;
	char byte = 0;

	setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
	(void)connect(fd, (struct sockaddr *)&a, sizeof(a));
	if (ready(listener, POLLIN))
		got = accept(listener, (struct sockaddr *)&a, &len);
	if (got >= 0) { /* and both ways */
		assert_int_equal(write(got, "x", 1), 1);
		assert_true(ready(fd, POLLIN));
		assert_int_equal(read(fd, &byte, 1), 1);
		close(got);
	}
	close(fd);
	return got < 0 ? NOBODY : text(a.sin_addr);
}

/* The same with a datagram and its answer. */
static const char *seen_udp(int ns, const char *address, unsigned port, int bound)
{
	struct sockaddr_in a = at(address, port);
	socklen_t len = sizeof(a);
	int fd = socket_in(ns, AF_INET, SOCK_DGRAM, 0);
	char byte;
	bool came;

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	came = ready(bound, POLLIN);
	if (came) {
		assert_int_equal(recvfrom(bound, &byte, 1, 0, (struct sockaddr *)&a, &len), 1);
		assert_int_equal(sendto(bound, "y", 1, 0, (struct sockaddr *)&a, len), 1);
		assert_true(ready(fd, POLLIN));
		assert_int_equal(recv(fd, &byte, 1, 0), 1);
	}
	close(fd);
	return came ? text(a.sin_addr) : NOBODY;
}

static bool is_refused(int ns, const char *address, unsigned port)
{
	struct sockaddr_in a = at(address, port);
	int fd = socket_in(ns, AF_INET, SOCK_STREAM, 0), error = 0;
	socklen_t len = sizeof(error);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && ready(fd, POLLOUT))
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	close(fd);
	return error == ECONNREFUSED;
}

/* ---- the rig ---- */

struct rig {
	char *path;
	int dir, holder;
	struct bridge b;
};

static void check_ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%d: %s", r, e->msg);
}

static void ensure(struct rig *g)
{
	struct err e = ERR_INIT;

	check_ok(bridge_ensure(&g->b, &e), &e);
}

static int setup(void **state)
{
	struct rig *g = xcalloc(1, sizeof(*g));

	home = 0;
	home = ns_new(); /* a new host for each test; some of it comes from the real one */
	run_in(home, "echo 0 >/proc/sys/net/ipv4/ip_forward");
	outside = ns_new();
	outside2 = ns_new();
	run_in(home, "ip link set lo up; ip link add up0 type veth peer name e0 &&"
		     "ip link add up1 type veth peer name e1");
	for (int i = 0; i < 2; i++) {
		char move[256];

		snprintf(move, sizeof(move),
		    "ip link set e%d netns /proc/%d/fd/%d &&"
		    "ip addr add 198.51.%d.1/24 dev up%d && ip link set up%d up",
		    i, getpid(), i ? outside2 : outside, 100 + i, i, i);
		run_in(home, move);
	}
	run_in(outside, "ip link set lo up; ip addr add 198.51.100.2/24 dev e0 && ip link set e0 "
			"up && ip link show e0 >/dev/null");
	run_in(outside2, "ip link set lo up; ip addr add 198.51.101.2/24 dev e1 && ip link set e1 "
			 "up && ip link show e1 >/dev/null");
	run_in(home, "ip link show up0 >/dev/null; ip link show up1 >/dev/null");
	g->path = scratch_new();
	g->dir = open(g->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g->holder = openat(g->dir, "holder", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(g->holder >= 0);
	bridge_init(&g->b, "test-1", g->dir);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct rig *g = *state;

	scratch_remove(g->path);
	close(g->holder);
	close(g->dir);
	free(g);
	close(outside);
	close(outside2);
	close(home); /* we stay in it until the next is made */
	return 0;
}

struct container {
	int ns;
	struct bridge_place place;
	char address[INET_ADDRSTRLEN];
};

static struct container attach(struct rig *g)
{
	struct container c = {.ns = ns_new()};
	struct err e = ERR_INIT;

	check_ok(bridge_attach(&g->b, c.ns, g->holder, &c.place, &e), &e);
	snprintf(c.address, sizeof(c.address), "%s", text(c.place.address));
	return c;
}

static void detach(struct rig *g, struct container *c)
{
	struct err e = ERR_INIT;

	check_ok(bridge_detach(&g->b, c->place.address, &e), &e);
	close(c->ns);
}

static int publish(struct rig *g, struct container *c, struct bridge_port *p, size_t n)
{
	struct err e = ERR_INIT;
	int r = bridge_publish(&g->b, c->place.address, p, n, &e);

	if (r < 0)
		print_message("  %s\n", e.msg);
	return r;
}

/* ---- tests ---- */

static void test_reach(void **state)
{
	struct rig *g = *state;
	struct container one, two;
	int in_one, out;

	ensure(g);
	one = attach(g);
	two = attach(g);
	assert_string_not_equal(one.address, two.address);
	in_one = server(one.ns, SOCK_STREAM, "0.0.0.0", 80);
	assert_string_equal(seen(two.ns, one.address, 80, in_one), two.address);
	assert_string_equal(seen(home, one.address, 80, in_one), text(g->b.address));
	assert_string_equal(seen(one.ns, one.address, 80, in_one), one.address);
	assert_string_equal(seen(one.ns, "169.254.170.2", 80, in_one), "169.254.170.2");
	/* By NAT: outside has no route to containers. */
	out = server(outside, SOCK_STREAM, "0.0.0.0", 80);
	assert_string_equal(seen(one.ns, OUTSIDE, 80, out), UPLINK);
	close(out);
	out = server(outside, SOCK_DGRAM, "0.0.0.0", 53);
	assert_string_equal(seen_udp(one.ns, OUTSIDE, 53, out), UPLINK);
	close(out);
	assert_non_null(strstr(output_of(one.ns, "ip -4 addr show dev eth0"), one.address));
	assert_string_equal(output_of(one.ns, "ip -6 addr show dev eth0"), "");
	close(in_one);
	detach(g, &one);
	detach(g, &two);
}

static void test_publish(void **state)
{
	struct rig *g = *state;
	struct container one, two;
	struct bridge_port p[] = {{.host = 8080, .inside = 80},
	    {.udp = true, .host = 53, .inside = 5353}, {.host = 8081, .inside = 80}};
	int tcp, udp;

	ensure(g);
	one = attach(g);
	two = attach(g);
	p[2].host_address = at("127.0.0.1", 0).sin_addr;
	assert_int_equal(publish(g, &one, p, 3), 0);
	tcp = server(one.ns, SOCK_STREAM, "0.0.0.0", 80);
	udp = server(one.ns, SOCK_DGRAM, "0.0.0.0", 5353);
	assert_string_equal(seen(outside, UPLINK, 8080, tcp), OUTSIDE);
	assert_string_equal(seen(home, "127.0.0.1", 8080, tcp), text(g->b.address));
	assert_string_equal(seen(home, "127.0.0.1", 8081, tcp), text(g->b.address));
	assert_string_equal(seen(home, UPLINK, 8080, tcp), UPLINK);
	assert_string_equal(seen(two.ns, UPLINK, 8080, tcp), text(g->b.address));
	assert_string_equal(seen(one.ns, UPLINK, 8080, tcp), text(g->b.address));
	assert_string_equal(seen_udp(outside, UPLINK, 53, udp), OUTSIDE);
	assert_string_equal(seen_udp(home, "127.0.0.1", 53, udp), text(g->b.address));
	/* Only what is published, and where. */
	assert_true(is_refused(outside, UPLINK, 8081));
	assert_true(is_refused(outside, UPLINK, 80));
	run_in(outside, "ip route add default via " UPLINK);
	assert_string_equal(NOBODY, seen(outside, one.address, 80, tcp));
	assert_string_equal(NOBODY, seen_udp(outside, one.address, 5353, udp));
	/* Withdrawn: new connections do not come any more. */
	for (size_t i = 0; i < 3; i++)
		close(p[i].reserved);
	detach(g, &one);
	assert_true(is_refused(home, "127.0.0.1", 8080));
	assert_true(is_refused(outside, UPLINK, 8080));
	detach(g, &two);
	close(tcp);
	close(udp);
}

static void test_taken(void **state)
{
	struct rig *g = *state;
	struct container one, two;
	struct bridge_port p[] = {{.host = 7001, .inside = 80}, {.host = 7002, .inside = 80}};
	struct bridge_port q[] = {{.host = 7003, .inside = 80}, {.host = 7001, .inside = 80}};
	struct bridge_port any[] = {{.inside = 80}, {.inside = 81}, {.udp = true, .inside = 80}};
	int other = server(home, SOCK_STREAM, "127.0.0.1", 7002), tcp;

	ensure(g);
	one = attach(g);
	two = attach(g);
	assert_int_equal(publish(g, &one, p, 2), -EADDRINUSE);
	close(other);
	assert_int_equal(publish(g, &one, p, 2), 0);
	assert_int_equal(publish(g, &two, q, 2), -EADDRINUSE);
	/* Nothing of the refused ones is left, and the map alone refuses too. */
	close(p[0].reserved);
	assert_int_equal(publish(g, &two, q, 2), -EADDRINUSE);
	tcp = server(one.ns, SOCK_STREAM, "0.0.0.0", 80);
	assert_string_not_equal(NOBODY, seen(home, "127.0.0.1", 7001, tcp));
	assert_true(is_refused(home, "127.0.0.1", 7003));
	/* A socket kept means that others see the port as taken, even those who share. */
	assert_true(p[1].reserved >= 0);
	other = socket_in(home, AF_INET, SOCK_STREAM, 0);
	{
		struct sockaddr_in a = at("0.0.0.0", 7002);
		int one_ = 1;

		setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one_, sizeof(one_));
		assert_int_equal(bind(other, (struct sockaddr *)&a, sizeof(a)), -1);
	}
	close(other);
	assert_int_equal(publish(g, &one, any, 3), 0);
	assert_true(any[0].host && any[1].host && any[2].host && any[0].host != any[1].host);
	assert_string_not_equal(NOBODY, seen(home, "127.0.0.1", any[0].host, tcp));
	close(tcp);
	detach(g, &one);
	detach(g, &two);
	for (size_t i = 0; i < 3; i++)
		close(any[i].reserved);
	close(p[1].reserved);
}

/* A container that makes its own packets, as NET_RAW lets it: a datagram to port 99. */
static void forge(struct container *c, const char *from, const char *to)
{
	struct {
		struct ethhdr eth;
		struct iphdr ip;
		struct udphdr udp;
		char data;
	} __attribute__((packed)) f = {.eth.h_proto = htons(ETH_P_IP),
	    .ip = {.version = 4, .ihl = 5, .ttl = 9, .protocol = IPPROTO_UDP},
	    .udp = {.source = htons(99), .dest = htons(99), .len = htons(9)},
	    .data = 'x'};
	struct sockaddr_ll ll = {.sll_family = AF_PACKET};
	int fd = socket_in(c->ns, AF_PACKET, SOCK_RAW, htons(ETH_P_IP));
	struct ifreq q = {.ifr_name = "eth0"};
	uint32_t sum = 0;
	uint16_t words[10];

	assert_int_equal(ioctl(fd, SIOCGIFINDEX, &q), 0);
	ll.sll_ifindex = q.ifr_ifindex;
	f.eth.h_dest[0] = 2;
	f.eth.h_dest[1] = 1;
	memcpy(f.eth.h_dest + 2, &c->place.address, 4);
	f.ip.saddr = at(from, 0).sin_addr.s_addr;
	f.ip.daddr = at(to, 0).sin_addr.s_addr;
	f.ip.tot_len = htons(29);
	memcpy(words, &f.ip, 20);
	for (size_t i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	f.ip.check = (uint16_t) ~(sum + (sum >> 16));
	assert_int_equal(
	    sendto(fd, &f, sizeof(f), 0, (struct sockaddr *)&ll, sizeof(ll)), sizeof(f));
	close(fd);
}

static bool came(int bound)
{
	char byte;

	return ready(bound, POLLIN) && recv(bound, &byte, 1, 0) == 1;
}

static void test_forged(void **state)
{
	struct rig *g = *state;
	struct container one, two;
	struct bridge_port p = {.host = 8080, .inside = 80};
	char gateway[INET_ADDRSTRLEN], flush[256];
	int host = server(home, SOCK_DGRAM, "0.0.0.0", 99), in_two, out;

	ensure(g);
	snprintf(gateway, sizeof(gateway), "%s", text(g->b.address));
	one = attach(g);
	two = attach(g);
	in_two = server(two.ns, SOCK_DGRAM, "0.0.0.0", 99);
	out = server(outside, SOCK_DGRAM, "0.0.0.0", 99);
	run_in(home, "ip addr add 169.254.9.9/32 dev lo");
	forge(&one, one.address, gateway);
	assert_true(came(host)); /* the forger's tool works */
	forge(&one, one.address, "127.0.0.1");
	forge(&one, "127.0.0.1", "127.0.0.1");
	forge(&one, one.address, "169.254.9.9");
	forge(&one, one.address, "255.255.255.255");
	forge(&one, "0.0.0.0", "255.255.255.255");
	forge(&one, "0.0.0.0", gateway);
	forge(&one, two.address, gateway);
	forge(&one, gateway, gateway);
	forge(&one, UPLINK, gateway);
	forge(&one, OUTSIDE, gateway);
	assert_false(came(host));
	forge(&one, gateway, two.address);
	forge(&one, "8.8.8.8", two.address);
	assert_false(came(in_two));
	forge(&one, one.address, two.address);
	assert_true(came(in_two));
	forge(&one, two.address, OUTSIDE);
	forge(&one, "8.8.8.8", OUTSIDE);
	assert_false(came(out));
	forge(&one, one.address, OUTSIDE);
	assert_true(came(out));
	/* Without the rules routing holds, until a published port opens loopback to answers: the
	 * test sees what they prevent. */
	snprintf(flush, sizeof(flush), "nft flush chain inet %s raw", g->b.table);
	run_in(home, flush);
	forge(&one, one.address, "127.0.0.1");
	forge(&one, two.address, gateway);
	forge(&one, OUTSIDE, gateway);
	assert_false(came(host));
	assert_int_equal(publish(g, &one, &p, 1), 0);
	forge(&one, one.address, "127.0.0.1");
	assert_true(came(host));
	close(p.reserved);
	detach(g, &one);
	detach(g, &two);
	close(host);
	close(in_two);
	close(out);
}

static void test_not_a_router(void **state)
{
	struct rig *g = *state;
	int out2 = server(outside2, SOCK_STREAM, "0.0.0.0", 80);

	run_in(outside, "ip route add default via 198.51.100.1");
	run_in(outside2, "ip route add default via 198.51.101.1");
	ensure(g);
	assert_string_equal(output_of(home, "cat /proc/sys/net/ipv4/ip_forward"), "1\n");
	assert_string_equal(NOBODY, seen(outside, "198.51.101.2", 80, out2));
	run_in(home, "nft delete table inet mayfly-forward"); /* what it would be without */
	assert_string_not_equal(NOBODY, seen(outside, "198.51.101.2", 80, out2));
	close(out2);
}

static void test_exhausted(void **state)
{
	struct rig *g = *state;
	struct err e = ERR_INIT;
	struct bridge_place place;
	struct container c;
	int ns = ns_new();

	ensure(g);
	for (uint32_t i = 2; i < 4095; i++) {
		struct in_addr a = {htonl(ntohl(g->b.address.s_addr) - 1 + i)};

		assert_int_equal(linkat(g->holder, "", g->dir, text(a), AT_EMPTY_PATH), 0);
	}
	assert_int_equal(bridge_attach(&g->b, ns, g->holder, &place, &e), -EADDRNOTAVAIL);
	assert_non_null(strstr(e.msg, "in use"));
	place.address.s_addr = htonl(ntohl(g->b.address.s_addr) + 4093);
	check_ok(bridge_detach(&g->b, place.address, &e), &e);
	c = attach(g);
	assert_int_equal(c.place.address.s_addr, place.address.s_addr);
	detach(g, &c);
	close(ns);
}

/* Removal may be repeated: what was given back then, and is another's now, stays with him. */
static void test_given_back(void **state)
{
	struct rig *g = *state;
	struct err e = ERR_INIT;
	int other = openat(g->dir, "other", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct container c;

	ensure(g);
	c = attach(g);
	check_ok(bridge_give_back(&g->b, c.place.address, g->holder, &e), &e);
	assert_int_equal(faccessat(g->dir, c.address, F_OK, 0), -1);
	check_ok(bridge_give_back(&g->b, c.place.address, g->holder, &e), &e);
	assert_int_equal(linkat(other, "", g->dir, c.address, AT_EMPTY_PATH), 0);
	check_ok(bridge_give_back(&g->b, c.place.address, g->holder, &e), &e);
	assert_int_equal(faccessat(g->dir, c.address, F_OK, 0), 0);
	check_ok(bridge_give_back(&g->b, c.place.address, other, &e), &e);
	assert_int_equal(faccessat(g->dir, c.address, F_OK, 0), -1);
	close(other);
	close(c.ns);
}

/* Who took an address, and was killed before anybody could know, holds it no longer than his file
 * is there. */
static void test_abandoned(void **state)
{
	struct rig *g = *state;
	struct err e = ERR_INIT;
	struct bridge_place place, other;
	int file = openat(g->dir, "gone", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int ns = ns_new(), ns2 = ns_new();

	ensure(g);
	for (uint32_t i = 2; i < 4094; i++) {
		struct in_addr a = {htonl(ntohl(g->b.address.s_addr) - 1 + i)};

		assert_int_equal(linkat(g->holder, "", g->dir, text(a), AT_EMPTY_PATH), 0);
	}
	check_ok(bridge_attach(&g->b, ns, file, &place, &e), &e);
	assert_int_equal(bridge_attach(&g->b, ns2, g->holder, &other, &e), -EADDRNOTAVAIL);
	assert_int_equal(bridge_count(&g->b), 4093);
	assert_int_equal(unlinkat(g->dir, "gone", 0), 0);
	assert_int_equal(bridge_count(&g->b), 4092);
	check_ok(bridge_attach(&g->b, ns2, g->holder, &other, &e), &e);
	assert_int_equal(other.address.s_addr, place.address.s_addr);
	check_ok(bridge_detach(&g->b, other.address, &e), &e);
	close(file);
	close(ns);
	close(ns2);
}

#define MANY 20

static void test_side_by_side(void **state)
{
	struct rig *g = *state;
	struct err e = ERR_INIT;
	int ns[MANY], status;
	pid_t pids[MANY];

	for (unsigned i = 0; i < MANY; i++)
		ns[i] = ns_new();
	for (unsigned i = 0; i < MANY; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct bridge_port p[] = {{.inside = 80}, {.udp = true, .inside = 80}};
			struct bridge_place place;

			_exit(bridge_ensure(&g->b, &e) < 0 ||
			      bridge_attach(&g->b, ns[i], g->holder, &place, &e) < 0 ||
			      bridge_publish(&g->b, place.address, p, 2, &e) < 0 ||
			      (i % 2 && bridge_detach(&g->b, place.address, &e) < 0));
		}
	}
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	ensure(g);
	assert_int_equal(bridge_count(&g->b), MANY / 2);
	for (unsigned i = 0; i < MANY; i += 2) {
		int fd = server(ns[i], SOCK_STREAM, "0.0.0.0", 80);
		const char *line = output_of(ns[i], "ip -4 -o addr show dev eth0");
		char address[INET_ADDRSTRLEN];

		assert_int_equal(sscanf(strstr(line, "inet "), "inet %15[0-9.]", address), 1);
		assert_string_not_equal(NOBODY, seen(home, address, 80, fd));
		close(fd);
		check_ok(bridge_detach(&g->b, at(address, 0).sin_addr, &e), &e);
	}
	for (unsigned i = 0; i < MANY; i++)
		close(ns[i]);
	assert_null(strstr(output_of(home, "ip -o link"), "mfy3"));
}

static void test_again(void **state)
{
	struct rig *g = *state;
	struct err e = ERR_INIT;
	struct bridge later;
	struct bridge_port p = {.host = 8080, .inside = 80};
	struct container one;
	int tcp;

	ensure(g);
	one = attach(g);
	assert_int_equal(publish(g, &one, &p, 1), 0);
	close(p.reserved);
	/* A new life: all is there, and connections go on. */
	bridge_init(&later, "test-1", g->dir);
	check_ok(bridge_ensure(&later, &e), &e);
	assert_int_equal(later.address.s_addr, g->b.address.s_addr);
	assert_int_equal(later.prefix_len, 20);
	assert_int_equal(bridge_count(&later), 1);
	tcp = server(one.ns, SOCK_STREAM, "0.0.0.0", 80);
	assert_string_not_equal(NOBODY, seen(outside, UPLINK, 8080, tcp));
	assert_int_equal(bridge_remove(&later, &e), -EBUSY);
	/* Removal may be repeated. */
	for (unsigned i = 0; i < 3; i++)
		check_ok(bridge_detach(&later, one.place.address, &e), &e);
	close(one.ns);
	close(tcp);
	for (unsigned i = 0; i < 2; i++)
		check_ok(bridge_remove(&later, &e), &e);
	assert_null(strstr(output_of(home, "ip link"), "mfy"));
	assert_string_equal(output_of(home, "nft list ruleset"), "");
	assert_string_equal(output_of(home, "cat /proc/sys/net/ipv4/ip_forward"), "0\n");
	assert_null(strstr(output_of(home, "ip route show table all"), "10.213."));
}

static void restore(struct rig *g)
{
	struct err e = ERR_INIT;

	assert_int_equal(bridge_restore(&g->b, &e), 0);
}

/* What somebody took away comes back; what the host uses itself is not taken. */
static void test_repair(void **state)
{
	struct rig *g = *state;
	struct bridge_port p[] = {{.host = 8080, .inside = 80}, {.host = 8081, .inside = 80}};
	struct container one;
	int tcp;

	p[1].host_address = at("127.0.0.1", 0).sin_addr;
	run_in(home,
	    "ip route add unreachable 10.213.0.0/17; ip route add unreachable 10.213.128.0/21");
	ensure(g);
	assert_string_equal(text(g->b.address), "10.213.144.1");
	one = attach(g);
	tcp = server(one.ns, SOCK_STREAM, "0.0.0.0", 80);
	assert_int_equal(publish(g, &one, p, 2), 0);
	assert_string_not_equal(NOBODY, seen(home, one.address, 80, tcp));
	run_in(home, "nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0");
	ensure(g);
	assert_string_not_equal(NOBODY, seen(outside, UPLINK, 8080, tcp));
	assert_string_not_equal(NOBODY, seen(home, "127.0.0.1", 8081, tcp));
	assert_non_null(strstr(output_of(home, "nft list ruleset"), "chain raw"));
	run_in(home, "nft flush table inet mayfly-test-1");
	restore(g);
	assert_string_not_equal(NOBODY, seen(outside, UPLINK, 8080, tcp));
	assert_non_null(strstr(output_of(home, "nft list chain inet mayfly-test-1 raw"), "drop"));
	run_in(home, "nft flush ruleset");
	restore(g);
	assert_string_not_equal(NOBODY, seen(outside, UPLINK, 8080, tcp));
	run_in(home, "ip link del $(ip -o link | grep -o 'mfy[0-9a-f]*:' | tr -d :)");
	ensure(g);
	assert_string_equal(text(g->b.address), "10.213.144.1");
	assert_non_null(strstr(output_of(home, "ip addr"), "10.213.144.1/20"));
	close(tcp);
	detach(g, &one);
	assert_string_equal(
	    output_of(home, "nft list map inet mayfly-test-1 ports | grep tcp"), "");
	run_in(home, "nft delete table inet mayfly-test-1");
	restore(g); /* nobody needs it */
	assert_string_equal(output_of(home, "nft list tables | grep mayfly-test-1"), "");
	ensure(g);
	assert_string_equal(
	    output_of(home, "nft list map inet mayfly-test-1 ports | grep tcp"), "");
	close(p[0].reserved);
	close(p[1].reserved);
}

/* Who sends from one port all the time reaches whoever has the port now. */
static void test_flows(void **state)
{
	struct rig *g = *state;
	struct sockaddr_in a = at(UPLINK, 53);
	int fd = socket_in(outside, AF_INET, SOCK_DGRAM, 0);
	char byte;

	ensure(g);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	send(fd, "0", 1, 0); /* to the host, where nobody is */
	for (char i = '1'; i < '4'; i++) {
		struct bridge_port p = {.udp = true, .host = 53, .inside = 5353};
		struct container c = attach(g);
		int bound = server(c.ns, SOCK_DGRAM, "0.0.0.0", 5353);

		assert_int_equal(publish(g, &c, &p, 1), 0);
		(void)recv(fd, &byte, 1, 0); /* that it was refused */
		assert_int_equal(send(fd, &i, 1, 0), 1);
		assert_true(ready(bound, POLLIN));
		assert_int_equal(recv(bound, &byte, 1, 0), 1);
		assert_int_equal(byte, i);
		close(bound);
		close(p.reserved);
		detach(g, &c);
	}
	close(fd);
}

/* The namespace goes, the pair goes; the address stays taken until it is given back. */
static void test_gone(void **state)
{
	struct rig *g = *state;
	struct err e = ERR_INIT;
	struct container one;

	ensure(g);
	one = attach(g);
	close(one.ns);
	for (unsigned i = 0; strstr(output_of(home, "ip -o link"), "-"); i++) {
		if (!strstr(output_of(home, "ip -o link | grep mfy"), "-"))
			break;
		assert_true(i < 100);
		usleep(50000);
	}
	assert_int_equal(bridge_count(&g->b), 1);
	check_ok(bridge_detach(&g->b, one.place.address, &e), &e);
}

#define ROUNDS 100

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_cost(void **state)
{
	struct rig *g = *state;
	int64_t took[ROUNDS][4], column[ROUNDS];
	int ns[ROUNDS]; /* made before and dropped after, for the kernel works on them behind us */
	static const char *const names[] = {"ensure", "attach", "publish 2", "detach"};

	for (unsigned i = 0; i < ROUNDS; i++)
		ns[i] = ns_new();
	ensure(g);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct container c = {.ns = ns[i]};
		struct bridge_port p[] = {{.host = 8080, .inside = 80}, {.inside = 81}};
		struct err e = ERR_INIT;
		int64_t t0 = time_mono_ns(), t1, t2, t3;

		ensure(g);
		t1 = time_mono_ns();
		check_ok(bridge_attach(&g->b, c.ns, g->holder, &c.place, &e), &e);
		t2 = time_mono_ns();
		check_ok(bridge_publish(&g->b, c.place.address, p, 2, &e), &e);
		t3 = time_mono_ns();
		check_ok(bridge_detach(&g->b, c.place.address, &e), &e);
		took[i][3] = time_mono_ns() - t3;
		took[i][0] = t1 - t0;
		took[i][1] = t2 - t1;
		took[i][2] = t3 - t2;
		close(p[0].reserved);
		close(p[1].reserved);
		close(c.ns);
	}
	for (unsigned k = 0; k < 4; k++) {
		for (unsigned i = 0; i < ROUNDS; i++)
			column[i] = took[i][k];
		qsort(column, ROUNDS, sizeof(column[0]), by_size);
		print_message("  %s: median %lld us, p90 %lld us\n", names[k],
		    (long long)column[ROUNDS / 2] / 1000,
		    (long long)column[ROUNDS * 9 / 10] / 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_reach, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_publish, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_not_a_router, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_exhausted, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_abandoned, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_given_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_side_by_side, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_repair, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_flows, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cost, setup, teardown),
	};

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		fprintf(stderr, "not root, or no network namespaces: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
