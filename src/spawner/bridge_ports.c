/*
 * Published ports: elements of two maps in our table, which the kernel answers for without us. A
 * bound socket for each, which the caller keeps, shows everybody else that the port is taken; the
 * maps are what counts, and refuse what they have. Symbolic links in the directory, named as
 * "tcp-0.0.0.0-8080" and pointing to "10.213.0.2:80", are for the case that somebody flushes our
 * table.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "spawner/bridge_int.h"
#include "spawner/flows.h"
#include "spawner/nft.h"

#define TRIES_MAX 8 /* when a port that was free to bind is in a map */

struct element {
	uint32_t key[3]; /* address of the host, protocol and port, as they lie in registers */
	uint32_t to[2];
};

static uint32_t pad_port(uint16_t port)
{
	uint8_t bytes[4] = {(uint8_t)(port >> 8), (uint8_t)port};
	uint32_t word;

	memcpy(&word, bytes, 4);
	return word;
}

static uint32_t pad_protocol(bool udp)
{
	uint8_t bytes[4] = {udp ? IPPROTO_UDP : IPPROTO_TCP};
	uint32_t word;

	memcpy(&word, bytes, 4);
	return word;
}

/* ---- sockets ---- */

/* A TCP socket listens, though nothing will reach it: only so is the port refused to those who
 * share addresses (SO_REUSEADDR), which we do because of connections that linger. */
static int bind_one(const struct bridge_port *p, uint16_t *ret_port)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_addr = p->host_address, .sin_port = htons(p->host)};
	socklen_t len = sizeof(a);
	int one = 1, small = 1;
	_cleanup_close_ int fd =
	    socket(AF_INET, (p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (p->udp)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	else
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || (!p->udp && listen(fd, 0) < 0) ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -errno;
	*ret_port = ntohs(a.sin_port);
	return take_fd(&fd);
}

static int bind_failed(const struct bridge_port *p, int r, struct err *e)
{
	char address[INET_ADDRSTRLEN];
	const char *protocol = p->udp ? "udp" : "tcp";

	inet_ntop(AF_INET, &p->host_address, address, sizeof(address));
	if (r == -EADDRINUSE)
		return err_set(e, EADDRINUSE,
		    "port %u/%s of %s is taken on the host; stop its user or publish another",
		    p->host, protocol, address);
	if (r == -EADDRNOTAVAIL)
		return err_set(e, EADDRNOTAVAIL, "the host has no address %s", address);
	return err_sys(e, -r, "binding port %u/%s of %s", p->host, protocol, address);
}

static void drop_sockets(struct bridge_port *ports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		base_closep(&ports[i].reserved);
}

/* chosen: ports, `host` of those that were 0 included; untouched on failure. */
static int bind_all(
    struct bridge_port *ports, size_t count, uint16_t chosen[BRIDGE_PORTS_MAX], struct err *e)
{
	for (size_t i = 0; i < count; i++)
		ports[i].reserved = -1;
	for (size_t i = 0; i < count; i++) {
		int fd = bind_one(&ports[i], &chosen[i]);

		if (fd < 0) {
			drop_sockets(ports, count);
			return bind_failed(&ports[i], fd, e);
		}
		ports[i].reserved = fd;
	}
	return 0;
}

/* ---- maps ---- */

/* Those of one map, which has them by address of the host or not. */
static void put_elements(struct nft *t, bool at, bool add, const struct element *all, size_t count)
{
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		if ((all[i].key[0] != 0) != at)
			continue;
		if (!any)
			nft_elements(t, at ? MAP_PORTS_AT : MAP_PORTS, add);
		any = true;
		nft_element(t, all[i].key + !at, at ? 12 : 8, all[i].to, add ? 8 : 0);
	}
	if (any)
		nft_elements_end(t);
}

static int change(const struct bridge *b, bool add, const struct element *all, size_t count)
{
	struct nft t;

	nft_begin(&t, b->table);
	put_elements(&t, true, add, all, count);
	put_elements(&t, false, add, all, count);
	return nft_commit(&t);
}

/* ---- the record of them ---- */

#define RECORD_SIZE 40

static void remember(const struct bridge *b, struct in_addr to, const struct bridge_port *p)
{
	char name[RECORD_SIZE], value[RECORD_SIZE], address[INET_ADDRSTRLEN];
	int r;

	inet_ntop(AF_INET, &p->host_address, address, sizeof(address));
	snprintf(name, sizeof(name), "%s-%s-%u", p->udp ? "udp" : "tcp", address, p->host);
	inet_ntop(AF_INET, &to, address, sizeof(address));
	snprintf(value, sizeof(value), "%s:%u", address, p->inside);
	r = symlinkat(value, b->dir, name);
	if (r < 0 && errno == EEXIST) { /* the map did not have it: a leftover */
		(void)unlinkat(b->dir, name, 0);
		r = symlinkat(value, b->dir, name);
	}
	if (r < 0)
		log_warn("port %s will not outlive a flush of packet filter rules: %s", name,
		    strerror(errno));
}

static bool parse_record(const char *name, const char *value, struct element *ret)
{
	struct str rest = str_from(name), protocol = str_cut(&rest, '-'),
		   host = str_cut(&rest, '-');
	struct str inside = str_from(value), to = str_cut(&inside, ':');
	char address[2][INET_ADDRSTRLEN];
	struct in_addr parsed[2];
	int64_t port[2];

	if (host.len >= sizeof(address[0]) || to.len >= sizeof(address[1]) || !inside.ptr ||
	    (!str_is(protocol, "udp") && !str_is(protocol, "tcp")) ||
	    !str_to_int64(rest, 1, 65535, &port[0]) || !str_to_int64(inside, 1, 65535, &port[1]))
		return false;
	snprintf(address[0], sizeof(address[0]), "%.*s", STR_FMT(host));
	snprintf(address[1], sizeof(address[1]), "%.*s", STR_FMT(to));
	for (size_t i = 0; i < 2; i++)
		if (inet_pton(AF_INET, address[i], &parsed[i]) != 1)
			return false;
	*ret = (struct element){
	    {parsed[0].s_addr, pad_protocol(str_is(protocol, "udp")), pad_port((uint16_t)port[0])},
	    {parsed[1].s_addr, pad_port((uint16_t)port[1])}};
	return true;
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

typedef int each_record(
    const struct bridge *b, const char *name, const struct element *x, void *ctx);

static int walk_records(const struct bridge *b, each_record *fn, void *ctx)
{
	int fd = openat(b->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	_cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d)
		return -errno;
	while (r == 0 && (entry = readdir(d))) {
		char value[RECORD_SIZE];
		ssize_t n = readlinkat(b->dir, entry->d_name, value, sizeof(value) - 1);
		struct element x;

		value[n > 0 ? n : 0] = '\0';
		if (n > 0 && parse_record(entry->d_name, value, &x))
			r = fn(b, entry->d_name, &x, ctx);
	}
	return r;
}

static int restore_one(const struct bridge *b, const char *name, const struct element *x, void *ctx)
{
	int r = change(b, true, x, 1);

	(void)name;
	(void)ctx;
	return r == -EEXIST ? 0 : r;
}

int ports_restore(const struct bridge *b)
{
	return walk_records(b, restore_one, NULL);
}

static int forget_one(const struct bridge *b, const char *name, const struct element *x, void *ctx)
{
	const struct in_addr *address = ctx;

	if (x->to[0] == address->s_addr)
		(void)unlinkat(b->dir, name, 0);
	return 0;
}

/* ---- publishing and withdrawing ---- */

int bridge_publish(
    struct bridge *b, struct in_addr to, struct bridge_port *ports, size_t count, struct err *e)
{
	struct element all[BRIDGE_PORTS_MAX];
	uint16_t chosen[BRIDGE_PORTS_MAX];
	unsigned tries = 1;
	int r;

	if (count > BRIDGE_PORTS_MAX)
		return err_set(e, E2BIG, "more than %d published ports", BRIDGE_PORTS_MAX);
	if (!count)
		return 0;
	r = link_answer_loopback(b, to);
	if (r < 0)
		return err_sys(e, -r, "preparing to publish ports");
	for (size_t i = 0; i < count; i++)
		if (!ports[i].host)
			tries = TRIES_MAX;
	r = -EEXIST;
	for (; r == -EEXIST && tries; tries--) {
		r = bind_all(ports, count, chosen, e);
		if (r < 0)
			return r;
		for (size_t i = 0; i < count; i++) {
			all[i] =
			    (struct element){{ports[i].host_address.s_addr,
						 pad_protocol(ports[i].udp), pad_port(chosen[i])},
				{to.s_addr, pad_port(ports[i].inside)}};
		}
		r = change(b, true, all, count);
		if (r < 0)
			drop_sockets(ports, count);
	}
	if (r == -EEXIST)
		return err_set(e, EADDRINUSE,
		    "a port is published by another container already, port %u or a later one",
		    ports[0].host);
	if (r < 0)
		return err_sys(e, -r, "publishing ports");
	for (size_t i = 0; i < count; i++) {
		ports[i].host = chosen[i];
		remember(b, to, &ports[i]);
		if (ports[i].udp)
			(void)flows_forget_port(ports[i].host_address, ports[i].host);
	}
	return 0;
}

struct found {
	struct in_addr to;
	bool at, udp;
	size_t count;
	struct element all[BRIDGE_PORTS_MAX];
};

static void on_element(
    void *ctx, const void *key, size_t key_size, const void *value, size_t value_size)
{
	struct found *f = ctx;
	struct element x = {0};
	size_t want = f->at ? 12 : 8;

	if (!key)
		f->count = 0;
	if (!key || key_size != want || value_size != 8 || f->count == ARRAY_SIZE(f->all))
		return;
	memcpy(x.key + !f->at, key, want);
	memcpy(x.to, value, 8);
	if (x.to[0] != f->to.s_addr)
		return;
	f->udp = f->udp || x.key[1] == pad_protocol(true);
	f->all[f->count++] = x;
}

int ports_withdraw(const struct bridge *b, struct in_addr address)
{
	struct found f = {.to = address};
	int r = 0;

	for (unsigned at = 0; at < 2; at++) {
		/* More than fit are taken in turns. */
		do {
			f.at = at;
			f.count = 0;
			r = nft_walk(b->table, at ? MAP_PORTS_AT : MAP_PORTS, on_element, &f);
			if (r == 0 && f.count)
				r = change(b, false, f.all, f.count);
			if (r < 0 && r != -ENOENT)
				return r;
		} while (f.count == ARRAY_SIZE(f.all));
	}
	r = f.udp ? flows_forget_to(address) : 0;
	return r < 0 ? r : walk_records(b, forget_one, &address);
}
