/*
 * Fixed-size records between core and box-init (pid 1 of a box), over a SOCK_SEQPACKET socket.
 * box-init trusts core no more than it must: it acts only inside its own box.
 */
#pragma once

#include "base/base.h"

#define INIT_STRINGS_MAX 24576 /* program, arguments and environment together, with their NULs */

enum init_kind {
	/* core -> box-init */
	INIT_START = 1, /* run the program; descriptors: [0] channel or -, [1] log pipe */
	INIT_KILL,      /* SIGKILL everything but pid 1 (reset), then answer INIT_KILLED */
	INIT_TERM,      /* SIGTERM to the started program */
	/* box-init -> core */
	INIT_EXITED = 64, /* the started program has ended: status as of waitpid(2) */
	INIT_KILLED,      /* nothing but pid 1 runs any more */
	INIT_FAILED,      /* exec failed: status is errno */
};

/* Sent with the descriptors that the program gets: the first becomes 1 and 2 (log pipe), the
 * second, when there is one, becomes 3 (framed channel). stdin is /dev/null. */
struct init_record {
	uint32_t kind; /* enum init_kind */
	int32_t status;
	uint32_t pid;  /* as seen inside the box */
	uint32_t argc; /* strings[0..argc) are argv, argv[0] is the path to exec */
	uint32_t envc; /* the next envc strings are the environment */
	uint32_t string_bytes;
	char strings[INIT_STRINGS_MAX]; /* NUL-terminated, one after the other; answers send 0 of it
					 */
};
/* Answers and orders without strings are cut to this length. */
#define INIT_RECORD_SHORT offsetof(struct init_record, strings)
