/*
 * The network of containers: what is made when, and who has which address. The directory is the
 * memory: symbolic links, because those are made whole or not at all, and by one of several only.
 * "subnet" points to "10.213.0.0/20", "<address>" to its holder's id; bridge_ports.c has its own;
 * "lock" is a file.
 */
#include "spawner/bridge.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/str.h"
#include "spawner/bridge_int.h"
#include "spawner/forward.h"
#include "spawner/nft.h"

#define ID_LEN 32

void bridge_init(struct bridge *b, const char *instance, int dir)
{
	uint32_t hash = 2166136261u; /* FNV-1a: the same in every process */

	for (const char *c = instance; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	*b = (struct bridge){.dir = dir};
	snprintf(b->name, sizeof(b->name), "mfy%08x", hash);
	snprintf(b->table, sizeof(b->table), "mayfly-%s", instance);
}

static int lock(const struct bridge *b)
{
	_cleanup_close_ int fd =
	    openat(b->dir, "lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	while (fd >= 0 && flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	return fd < 0 ? -errno : take_fd(&fd);
}

/* ---- the subnet ---- */

static struct in_addr own_address(struct in_addr subnet)
{
	return (struct in_addr){subnet.s_addr | htonl(1)};
}

/* False: none is remembered. */
static bool recall_subnet(struct bridge *b)
{
	char text[32], *slash;
	ssize_t n = readlinkat(b->dir, "subnet", text, sizeof(text) - 1);
	struct in_addr subnet;

	text[n > 0 ? n : 0] = '\0';
	slash = strchr(text, '/');
	if (!slash || strcmp(slash, "/20") != 0)
		return false;
	*slash = '\0';
	if (inet_pton(AF_INET, text, &subnet) != 1)
		return false;
	b->address = own_address(subnet);
	b->prefix_len = PREFIX_LEN;
	return true;
}

int subnet_choose(
    const struct subnet_range *ranges, size_t count, struct in_addr *ret, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		for (unsigned k = 0; k < ranges[i].count; k++) {
			struct in_addr subnet = {htonl(ranges[i].first + (k << (32 - PREFIX_LEN)))};
			int r = link_clash(subnet, PREFIX_LEN);

			if (r < 0)
				return err_sys(e, -r, "reading the host's routes");
			if (r)
				continue;
			*ret = subnet;
			return 0;
		}
	return -EADDRNOTAVAIL;
}

static int choose_subnet(struct bridge *b, struct err *e)
{
	static const struct subnet_range ranges[] = {
	    {0x0ad50000, 16}, {0xac1d0000, 16}, {0xc0a8d000, 1}};
	char text[32], address[INET_ADDRSTRLEN];
	struct in_addr subnet;
	int r = subnet_choose(ranges, ARRAY_SIZE(ranges), &subnet, e);

	if (r == -EADDRNOTAVAIL)
		return err_set(e, EADDRNOTAVAIL,
		    "no room for containers: routes of this host cover 10.213.0.0/16, "
		    "172.29.0.0/16 and 192.168.208.0/20");
	if (r < 0)
		return r;
	inet_ntop(AF_INET, &subnet, address, sizeof(address));
	snprintf(text, sizeof(text), "%s/%d", address, PREFIX_LEN);
	(void)unlinkat(b->dir, "subnet", 0);
	if (symlinkat(text, b->dir, "subnet") < 0)
		return err_sys(e, errno, "remembering the containers' subnet");
	check(recall_subnet(b));
	return 0;
}

/* ---- all of it ---- */

static int make(struct bridge *b, struct err *e)
{
	int r = 0;

	if (!recall_subnet(b)) {
		/* What there may be of that name has another address. */
		(void)link_remove(b);
		(void)table_remove(b);
		r = choose_subnet(b, e);
	}
	if (r < 0)
		return r;
	r = nft_exists(b->table);
	if (r == -ENOENT && (r = table_make(b)) == 0)
		r = ports_restore(b);
	if (r < 0)
		return err_sys(e, -r,
		    "making the table of packet filter rules (the kernel needs nf_tables with "
		    "NAT, fib and conntrack)");
	r = link_is_up(b) ? 0 : link_make(b);
	if (r < 0)
		return err_sys(e, -r, "making the bridge %s", b->name);
	return forward_on(b->name, e);
}

int bridge_ensure(struct bridge *b, struct err *e)
{
	_cleanup_close_ int locked = -1;

	if (recall_subnet(b) && link_is_up(b) && nft_exists(b->table) == 0 && forward_is_on())
		return 0;
	locked = lock(b);
	if (locked < 0)
		return err_sys(e, -locked, "locking the containers' network");
	return make(b, e);
}

int bridge_attach(
    struct bridge *b, int netns, const char *id, struct bridge_place *ret, struct err *e)
{
	const uint32_t size = UINT32_C(1) << (32 - b->prefix_len), usable = size - 3;
	uint32_t net = ntohl(b->address.s_addr) - 1, start = (uint32_t)(rand_u64() % usable);
	char name[INET_ADDRSTRLEN];
	int r = -EEXIST;

	/* From anywhere: an address that became free is not the next to be taken, while others
	 * may still think of who had it. */
	for (uint32_t i = 0; i < usable && r == -EEXIST; i++) {
		ret->address.s_addr = htonl(net + 2 + (start + i) % usable);
		inet_ntop(AF_INET, &ret->address, name, sizeof(name));
		r = symlinkat(id, b->dir, name) < 0 ? -errno : 0;
	}
	if (r == -EEXIST)
		return err_set(e, EADDRNOTAVAIL,
		    "all %u addresses for containers are in use; stop some", usable);
	if (r < 0)
		return err_sys(e, -r, "taking an address");
	r = link_attach(b, netns, ret->address, ret->mac, e);
	if (r < 0)
		(void)unlinkat(b->dir, name, 0);
	return r;
}

int bridge_detach(struct bridge *b, struct in_addr address, struct err *e)
{
	char name[INET_ADDRSTRLEN];
	int r = ports_withdraw(b, address);

	if (r < 0)
		return err_sys(e, -r, "withdrawing published ports");
	r = link_detach(b, address);
	if (r < 0)
		return err_sys(e, -r, "removing a pair of interfaces");
	inet_ntop(AF_INET, &address, name, sizeof(name));
	/* Last: until then nobody else gets it. */
	if (unlinkat(b->dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "giving back an address");
	return 0;
}

static void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

int bridge_walk(struct bridge *b, void (*fn)(void *ctx, struct in_addr address, const char id[33]),
    void *ctx, struct err *e)
{
	int fd = openat(b->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d)
		return err_sys(e, errno, "reading the containers' addresses");
	while ((entry = readdir(d))) {
		struct in_addr address;
		char id[ID_LEN + 1];
		ssize_t n;

		if (inet_pton(AF_INET, entry->d_name, &address) != 1)
			continue;
		n = readlinkat(b->dir, entry->d_name, id, sizeof(id) - 1);
		id[n > 0 ? n : 0] = '\0';
		fn(ctx, address, id);
	}
	return 0;
}

static void count_one(void *ctx, struct in_addr address, const char id[33])
{
	(void)address;
	(void)id;
	++*(unsigned *)ctx;
}

int bridge_restore(struct bridge *b, struct err *e)
{
	_cleanup_close_ int locked = lock(b);
	unsigned held = 0;
	int r = locked < 0 ? locked : bridge_walk(b, count_one, &held, NULL);

	if (r == 0 && held) {
		r = nft_has_rules(b->table);
		if (r == 0 && recall_subnet(b) && link_is_up(b) && forward_is_on())
			return 0;
		if (r == -ENOENT)
			r = table_remove(b);
	}
	if (r < 0)
		return err_sys(e, -r, "looking after the containers' network");
	return held ? make(b, e) : 0;
}

int bridge_remove(struct bridge *b, struct err *e)
{
	_cleanup_close_ int locked = lock(b);
	unsigned held = 0;
	int r = locked < 0 ? locked : bridge_walk(b, count_one, &held, NULL);

	if (r < 0)
		return err_sys(e, -r, "locking the containers' network");
	if (held)
		return err_set(e, EBUSY, "%u containers have an address", held);
	r = link_remove(b);
	if (r == 0)
		r = table_remove(b);
	if (r == 0)
		r = forward_off(b->name);
	if (r < 0)
		return err_sys(e, -r, "removing the containers' network");
	(void)unlinkat(b->dir, "subnet", 0);
	return 0;
}
