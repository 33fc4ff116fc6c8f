/*
 * Netlink sockets of the box are counted before they are made. What lies unread in one, some 200
 * KB, is charged to no cgroup, so a box with as many as its descriptors allow could eat up the
 * host. The filter (spawner/seccomp_gen.c) sends socket(AF_NETLINK) here. Called by main.c.
 */
#include "init/notify.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "init/init.h"

#define NETLINK_MAX 64

/* "NETLINK 1096 3 ...": how many the network namespace has, bound or not. */
static long count_netlink(void)
{
	static char text[16384];
	int fd = open("/proc/self/net/protocols", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;
	char *line;

	while (fd >= 0 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	if (fd >= 0)
		close(fd);
	text[len] = '\0';
	line = strstr(text, "\nNETLINK ");
	if (!line)
		return NETLINK_MAX;
	strtol(line + strlen("\nNETLINK "), &line, 10); /* its size */
	return strtol(line, NULL, 10);
}

void notify_answer(void)
{
	struct seccomp_notif call = {0};
	struct seccomp_notif_resp answer = {0};

	if (ioctl(INIT_FD_NOTIFY, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
		return; /* it has been killed meanwhile */
	answer.id = call.id;
	/* Only numbers decide, so letting the kernel read them again is safe. */
	if (count_netlink() < NETLINK_MAX)
		answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else
		answer.error = -ENOBUFS;
	(void)ioctl(INIT_FD_NOTIFY, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}
