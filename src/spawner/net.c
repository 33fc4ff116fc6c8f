/* Sockets that only root, or only the inside of a box, can make. See net.h. */
#include "spawner/net.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

static bool parse(const char *where, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	const char *colon = strrchr(where, ':');
	size_t len = colon ? (size_t)(colon - where) : 0;
	char host[64];
	int64_t port;

	memset(ret, 0, sizeof(*ret));
	if (!colon || len == 0 || len >= sizeof(host) ||
	    !str_to_int64(str_from(colon + 1), 0, 65535, &port))
		return false;
	memcpy(host, where, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_len = sizeof(*v6);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*ret_len = sizeof(*v4);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

static int listen_on(const struct sockaddr *address, socklen_t len, int backlog)
{
	int one = 1, r;
	_cleanup_close_ int fd =
	    socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = bind(fd, address, len) < 0 || listen(fd, backlog) < 0 ? -errno : 0;
	return r < 0 ? r : take_fd(&fd);
}

int net_listen(const char *where, struct err *e)
{
	struct sockaddr_storage address;
	socklen_t len;
	int fd;

	if (!parse(where, &address, &len))
		return err_set(e, EINVAL,
		    "'%s' is not ADDRESS:PORT; write for example 127.0.0.1:4566 or [::1]:4566",
		    where);
	fd = listen_on((struct sockaddr *)&address, len, 4096);
	if (fd == -EADDRINUSE)
		return err_set(e, EADDRINUSE,
		    "another program listens on %s; stop it or choose another --listen", where);
	if (fd == -EADDRNOTAVAIL)
		return err_set(e, EADDRNOTAVAIL,
		    "this machine has no address %s; choose another --listen", where);
	return fd < 0 ? err_sys(e, -fd, "listening on %s", where) : fd;
}

int net_name(int fd, char *out, size_t size)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char host[INET6_ADDRSTRLEN];

	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return -errno;
	if (address.ss_family == AF_INET6) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;

		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		struct sockaddr_in *v4 = (struct sockaddr_in *)&address;

		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
	}
	return 0;
}

static int listen_at(uint32_t address, uint16_t port)
{
	struct sockaddr_in a = {
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};

	return listen_on((struct sockaddr *)&a, sizeof(a), 128);
}

static int loopback(uint16_t port)
{
	return listen_at(INADDR_LOOPBACK, port);
}

int net_container(int *ret_metadata, int *ret_endpoint)
{
	const uint32_t address = 0xa9feaa02; /* 169.254.170.2, where ECS has it */
	_cleanup_close_ int metadata = listen_at(address, NET_METADATA_PORT);
	_cleanup_close_ int endpoint = listen_at(address, NET_ENDPOINT_PORT);

	if (metadata < 0 || endpoint < 0)
		return metadata < 0 ? metadata : endpoint;
	*ret_metadata = take_fd(&metadata);
	*ret_endpoint = take_fd(&endpoint);
	return 0;
}

static int loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	struct ifreq alias = {.ifr_name = "lo:1"};
	struct sockaddr_in *a = (struct sockaddr_in *)&alias.ifr_addr;

	a->sin_family = AF_INET;
	a->sin_addr.s_addr = htonl(0xa9fe6401); /* 169.254.100.1, where Lambda has it */
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &up) < 0 || ioctl(fd, SIOCSIFADDR, &alias) < 0)
		return -errno;
	return 0;
}

int net_box(int *ret_api, int *ret_endpoint)
{
	_cleanup_close_ int api = -1, endpoint = -1;
	int r = loopback_up();

	if (r < 0)
		return r;
	api = loopback(NET_API_PORT);
	endpoint = loopback(NET_ENDPOINT_PORT);
	if (api < 0 || endpoint < 0)
		return api < 0 ? api : endpoint;
	*ret_api = take_fd(&api);
	*ret_endpoint = take_fd(&endpoint);
	return 0;
}
