/*
 * The programs that are run for containers: conmon and the OCI runtime, from /usr of the host or
 * where --container-runtime says. Their words are passed on as they are. See containers_int.h.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/containers_int.h"
#include "spawner/root.h"

#define CREATE_MS 60000
#define SYNC_FD 3
#define GO_FD 4
#define ARGS_MAX 48
/* Requests at a time, from which on others will have moved a process just before. */
#define BUSY 4

const char *runtime_path(const char *name, char out[64])
{
	static const char *const known[] = {"crun", "runc", "runsc"};
	static const char *const places[] = {"/usr/bin", "/usr/sbin", "/usr/local/bin"};

	snprintf(out, 64, ROOT_HOST_RUNTIMES "/%s", name);
	if (access(out, X_OK) == 0)
		return out;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
			snprintf(out, 64, "%s/%s", places[k], name);
			if (strcmp(known[i], name) == 0 && access(out, X_OK) == 0)
				return out;
		}
	return NULL;
}

/* sync: the write end of the pipe that conmon tells by; go: the read end of that which lets it. */
_noreturn_ static void run_conmon(
    const struct place *p, const struct container_spec *spec, const char *runtime, int sync, int go)
{
	/* A socket for the terminal is made where temporary files go. */
	char *envp[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, (char[]){"_OCI_SYNCPIPE=3"},
	    (char[]){"_OCI_STARTPIPE=4"}, (char[]){"TMPDIR=" BUNDLE_AT}, NULL};
	char exits[160], at[160], log[176];
	const char *argv[ARGS_MAX] = {"conmon", "--api-version", "1", "-c", p->id, "-u", p->id,
	    "-n", p->id, "-r", runtime, "-b", BUNDLE_AT, "-p", BUNDLE_AT "/pid", "--exit-dir",
	    exits, "-l", log, "--full-attach", "--sync", "--no-sync-log", "--runtime-arg", "--root",
	    "--runtime-arg", STATE_AT};
	size_t n = 0;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	place_path(p, "", exits);
	place_path(p, "log", at);
	snprintf(log, sizeof(log), "k8s-file:%s", at);
	while (argv[n])
		n++;
	if (spec->terminal)
		argv[n++] = "-t";
	if (spec->open_stdin)
		argv[n++] = "-i";
	if (chdir(BUNDLE_AT) < 0)
		_exit(126);
	setsid();
	sync = fcntl(sync, F_DUPFD_CLOEXEC, 16);
	go = fcntl(go, F_DUPFD_CLOEXEC, 16);
	null = fcntl(null, F_DUPFD_CLOEXEC, 16);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	dup2(sync, SYNC_FD);
	dup2(go, GO_FD);
	syscall(SYS_close_range, GO_FD + 1, ~0u, 0);
	execve("/usr/bin/conmon", (char *const *)argv, envp);
	_exit(127);
}

/* A line of JSON, which we do not read: that there is a pid file tells success. */
static int await(int in, char *words, size_t size)
{
	struct pollfd p = {.fd = in, .events = POLLIN};
	size_t used = 0;

	while (used + 1 < size && !memchr(words, '\n', used)) {
		ssize_t n;

		if (poll(&p, 1, CREATE_MS) != 1)
			return -ETIMEDOUT;
		n = read(in, words + used, size - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	words[used] = '\0';
	return 0;
}

int runtime_begin(
    const struct place *p, const struct container_spec *spec, struct creation *ret, struct err *e)
{
	int tell[2], go[2], joined[2];
	char path[64];
	const char *runtime = runtime_path(spec->runtime, path);

	if (!runtime)
		return err_set(e, ENOENT,
		    "the container runtime %s is not there; install it, or name it with serve "
		    "--container-runtime",
		    spec->runtime);
	if (pipe2(tell, O_CLOEXEC) < 0 || pipe2(go, O_CLOEXEC) < 0 || pipe2(joined, O_CLOEXEC) < 0)
		return err_sys(e, errno, "making a pipe");
	ret->conmon = task_group_fork(&p->s->task_groups, p->id);
	if (ret->conmon == 0)
		run_conmon(p, spec, runtime, tell[1], go[0]);
	close(tell[1]);
	close(go[0]);
	close(joined[1]); /* conmon closes the last one, when it is in its groups */
	ret->sync = tell[0];
	ret->go = go[1];
	if (ret->conmon < 0)
		return err_sys(e, errno, "starting conmon");
	if (p->s->gate.container_requests <= BUSY)
		ret->hurry = task_group_hurry(&p->s->task_groups, joined[0]);
	close(joined[0]);
	return 0;
}

void runtime_abandon(struct creation *c)
{
	kill(c->conmon, SIGKILL);
	waitpid(c->conmon, NULL, 0);
	if (c->hurry > 0)
		waitpid(c->hurry, NULL, 0);
}

int runtime_create(struct creation *c, struct err *e)
{
	char words[sizeof(e->msg)];
	int status, r;

	if (write(c->go, "", 1) != 1)
		return err_sys(e, errno, "telling conmon to go on");
	r = await(c->sync, words, sizeof(words));
	if (r < 0)
		return err_set(e, ETIMEDOUT, "the runtime did not create the container within %d s",
		    CREATE_MS / 1000);
	if (c->hurry > 0)
		waitpid(c->hurry, NULL, 0);
	if (access(BUNDLE_AT "/pid", F_OK) == 0 && strstr(words, ": -1") == NULL)
		return 0;
	if (!words[0] && waitpid(c->conmon, &status, 0) == c->conmon && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 127)
		return err_set(e, ENOENT, "conmon is missing; install it");
	return err_set(e, EIO, "%s", words[0] ? words : "conmon ended without a word");
}

int runtime_see_groups(const struct place *p, const char *name, struct err *e)
{
	if (p->s->task_groups.v2 || strcmp(name, "crun") == 0)
		return 0;
	if (mount(ROOT_HOST_ALL_GROUPS, "/sys/fs/cgroup", NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(e, errno, "showing all cgroup trees");
	return 0;
}

int runtime_join(const struct place *p, struct err *e)
{
	struct process conmon = process_noted(p->bundle, "conmon");
	_cleanup_close_ int fd = process_open(&conmon);

	if (fd < 0)
		return err_set(e, ESRCH, "the container has ended");
	if (setns(fd, CLONE_NEWNS) < 0)
		return err_sys(e, errno, "entering the container's mounts");
	return 0;
}

int runtime_run(const char *runtime, const char *const *args, struct err *e)
{
	char *envp[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, NULL};
	const char *argv[ARGS_MAX] = {runtime, "--root", STATE_AT};
	size_t n = 3;
	int status;
	pid_t pid = fork();

	while (*args && n + 1 < ARGS_MAX)
		argv[n++] = *args++;
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		syscall(SYS_close_range, 3, ~0u, 0);
		execve(runtime, (char *const *)argv, envp);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return err_sys(e, errno, "running %s", runtime);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
