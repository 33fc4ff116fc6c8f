/* Looking for interpreters. See interpreters.h. */
#include "cli/interpreters.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "base/time.h"

#define PATIENCE_MS 5000

/* Absolute names only: this runs as root. Boxes see the host's /usr, so these are below it. */
static const struct {
	const char *language, *path;
} candidates[] = {
    {"node", "/usr/bin/node"},
    {"node", "/usr/local/bin/node"},
    {"node", "/usr/bin/nodejs"},
    {"python", "/usr/bin/python3.14"},
    {"python", "/usr/bin/python3.13"},
    {"python", "/usr/bin/python3.12"},
    {"python", "/usr/bin/python3.11"},
    {"python", "/usr/bin/python3.10"},
    {"python", "/usr/bin/python3.9"},
    {"python", "/usr/local/bin/python3.14"},
    {"python", "/usr/local/bin/python3.13"},
    {"python", "/usr/local/bin/python3.12"},
    {"python", "/usr/local/bin/python3.11"},
    {"python", "/usr/local/bin/python3.10"},
    {"python", "/usr/local/bin/python3.9"},
};

static pid_t start(const char *path, int out)
{
	char *argv[] = {(char *)path, (char *)"--version", NULL}, *envp[] = {NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, path, &actions, NULL, argv, envp))
		pid = -1;
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* What comes before the writer closes, or before patience ends. */
static size_t read_some(int fd, char *out, size_t size)
{
	int64_t until = time_mono_ns() / 1000000 + PATIENCE_MS;
	size_t len = 0;

	while (len < size) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = until - time_mono_ns() / 1000000;
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			break;
		n = read(fd, out + len, size - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return len;
}

/* "v20.19.2\n" or "Python 3.11.2\n" -> "v20.19.2", "3.11.2"; "" for anything else. */
static void ask_version(const char *path, char out[32])
{
	int pipe_fds[2];
	char text[64];
	struct str s;
	pid_t pid;

	out[0] = '\0';
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return;
	pid = start(path, pipe_fds[1]);
	close(pipe_fds[1]);
	s = (struct str){text, pid > 0 ? read_some(pipe_fds[0], text, sizeof(text)) : 0};
	close(pipe_fds[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	s = str_cut(&s, '\n');
	if (str_has_prefix(s, "Python "))
		s = str_sub(s, 7);
	if (!s.len || s.len > 31 || strspn(s.ptr, "v0123456789.+rcabdev-") < s.len)
		return;
	memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
}

size_t interpreters_find(char *ret[INTERPRETERS_MAX])
{
	char version[32];
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(candidates) && count < INTERPRETERS_MAX; i++) {
		if (access(candidates[i].path, X_OK) < 0)
			continue;
		ask_version(candidates[i].path, version);
		if (*version)
			ret[count++] = xasprintf(
			    "%s=%s:%s", candidates[i].language, version, candidates[i].path);
	}
	return count;
}
