/*
 * Fixed-size records between core and box-init (pid 1 of a box), over a SOCK_SEQPACKET socket.
 * box-init trusts core no more than it must: it acts only inside its own box. When core closes its
 * end, the box ends.
 */
#pragma once

#include "base/base.h"

#define INIT_FD_NOTIFY 5       /* box-init's end of the filter: see notify.c */
#define INIT_STRINGS_MAX 24576 /* program, arguments and environment together, with their NULs */
#define INIT_WORDS_MAX 1024    /* argc + envc */
#define INIT_EXTENSION_DIR "/opt/extensions"
#define INIT_EXTENSIONS_MAX 10
#define INIT_PROGRAMS_MAX 16 /* started and not yet ended: a runtime and its extensions */

enum init_kind {
	/* core -> box-init */
	INIT_START = 1,  /* run the program; with one or three descriptors, see below */
	INIT_KILL,       /* SIGKILL everything but pid 1 (reset), then answer INIT_KILLED */
	INIT_TERM,       /* SIGTERM to the program started with this tag, and its process group */
	INIT_END,        /* the same with SIGKILL, then answer INIT_ENDED */
	INIT_EXTENSIONS, /* run all extensions, as below, with tags from the record's on */
	/* box-init -> core */
	INIT_EXITED = 64, /* a started program has ended: tag, pid, status as of waitpid(2) */
	INIT_KILLED,      /* nothing but pid 1 runs any more; no INIT_EXITED of it will follow */
	INIT_FAILED,      /* it does not run: tag, status is the errno of execve(2) or before;
			   * ENOTDIR: cwd is not there */
	INIT_BEGUN,       /* answer to INIT_EXTENSIONS: status says how many were found */
	INIT_ENDED,       /* what INIT_END was about runs no more; its INIT_EXITED came before */
};

/* INIT_START comes with descriptors: the first becomes 1 and 2 (log pipe), two more, when there
 * are, become 3 and 4 (framed channel: events, answers). stdin is /dev/null. The program runs as
 * the box's second user, as leader of a session of its own, in cwd or, without one, in /var/task. A
 * name without '/' is looked for in PATH of its environment. There is no answer on success.
 * INIT_EXTENSIONS is the same for each executable file of INIT_EXTENSION_DIR, in the order of
 * names, with one descriptor, and argv[0] for what runs. There is one INIT_FAILED for each that
 * does not start (or E2BIG, and none is started), then INIT_BEGUN. */
struct init_record {
	uint32_t kind; /* enum init_kind */
	int32_t status;
	uint32_t pid;  /* as seen inside the box */
	uint32_t tag;  /* core's choice in INIT_START, comes back with what happened to it */
	uint32_t argc; /* strings[0..argc) are argv, argv[0] is the path to exec */
	uint32_t envc; /* the next envc strings are the environment */
	uint32_t cwdc; /* 1: one more is the directory to run in; 0: none */
	uint32_t string_bytes;
	char strings[INIT_STRINGS_MAX]; /* NUL-terminated, one after the other; answers send 0 of it
					 */
};
/* Answers and orders without strings are cut to this length. */
#define INIT_RECORD_SHORT offsetof(struct init_record, strings)
