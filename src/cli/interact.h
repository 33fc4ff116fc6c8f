/*
 * A person and a process in a container: this terminal, or these pipes, on one end, the server's
 * mayfly-stream on the other.
 */
#pragma once

#include "cli/client.h"

struct interact {
	struct client *client;
	const char *path; /* "/_mayfly/tasks/ID/exec" */
	json_t *body;     /* what is asked for; tty, stdin, rows and columns are added */
	bool interactive, tty;
	/* SIGINT or SIGTERM came, for the nth time, and there is no terminal to send it through. A
	 * negative answer: go on; else leave with this exit code. NULL: leave. */
	int (*on_signal)(void *ctx, int signal, int times);
	void *ctx;
};

struct interact_end {
	bool has_exit_code; /* of an exec'd process; containers tell it elsewhere */
	int exit_code;
	long refused; /* the server's status when it would not begin; 0: it did */
	char *why;    /* what it said then; the caller frees */
};

/* CLI_OK when the stream ended in order or was refused (*ret tells); else an exit code. Says why
 * unless it is in *ret. Until the stream is open, a signal ends it with 130 after on_signal(). */
int interact_run(const struct interact *x, struct interact_end *ret);
/* May -t be asked for? CLI_OK or the exit code after saying why not. */
int interact_check(const char *verb, bool interactive, bool tty);
