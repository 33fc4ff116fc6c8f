/*
 * mayfly-pause: does nothing, for as long as it is wanted. It holds the namespaces of a sandbox
 * (and is pid 1 of a shared process namespace, so it reaps), or sockets that reserve ports. With
 * "--" it is the init of a container: starts the program that follows, passes signals on, reaps,
 * and ends with its exit code. Static, reads nothing, listens to nobody.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void hold(const sigset_t *all)
{
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* not for others of its user to trace */
	for (;;) {
		int signal;

		if (sigwait(all, &signal) == 0 && signal == SIGCHLD)
			reap();
	}
}

/* Its own process group, in front if there is a terminal: ^C is for it, not for us. */
static void run(char **argv, const sigset_t *before)
{
	setpgid(0, 0);
	if (isatty(0))
		(void)tcsetpgrp(0, getpgrp());
	signal(SIGTTOU, SIG_DFL);
	signal(SIGTTIN, SIG_DFL);
	sigprocmask(SIG_SETMASK, before, NULL);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? 127 : 126);
}

static int code_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void serve(pid_t child, const sigset_t *all)
{
	for (;;) {
		int signal, status;
		pid_t pid;

		if (sigwait(all, &signal) != 0)
			continue;
		if (signal != SIGCHLD) {
			kill(child, signal);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				_exit(code_of(status));
	}
}

int main(int argc, char **argv)
{
	sigset_t all, before;
	pid_t child;

	sigfillset(&all);
	sigdelset(&all, SIGTTOU); /* or becoming the foreground would stop us */
	sigdelset(&all, SIGTTIN);
	signal(SIGTTOU, SIG_IGN);
	signal(SIGTTIN, SIG_IGN);
	sigprocmask(SIG_BLOCK, &all, &before);
	if (argc < 3 || strcmp(argv[1], "--") != 0)
		hold(&all);
	child = fork();
	if (child == 0) {
		run(argv + 2, &before);
	}
	if (child < 0)
		return 126;
	serve(child, &all);
}
