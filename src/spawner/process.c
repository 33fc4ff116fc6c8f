/* Children by descriptor. See process.h. */
#include "spawner/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int pidfd_send(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int pidfd_reap(int pidfd)
{
	siginfo_t info = {0};

	while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
		if (errno != EINTR)
			return -errno;
	if (info.si_code == CLD_EXITED)
		return (info.si_status & 0xff) << 8;
	return info.si_status & 0x7f;
}

int dup_cloexec(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

/* Ours exits when its child is there; the child when we have closed the pipe. */
static void hold_until_closed(const int ends[2])
{
	char byte;

	if (fork() == 0) {
		close(ends[1]);
		(void)!read(ends[0], &byte, 1);
	}
	_exit(0);
}

void drop_fds(int *fds, size_t count)
{
	int ends[2] = {-1, -1};
	pid_t pid = -1;

	if (count && pipe2(ends, O_CLOEXEC) == 0) {
		pid = fork();
		if (pid == 0)
			hold_until_closed(ends);
	}
	while (count)
		close(fds[--count]);
	if (ends[0] >= 0) {
		close(ends[0]);
		close(ends[1]);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}
