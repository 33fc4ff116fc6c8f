/* A session inside: attach.c (its life, the client) and ends.c (the descriptors of the process). */
#pragma once

#include "attach/attach.h"
#include "attach/frame.h"

/* conmon takes no longer packets, and sends none: 8 KiB and its byte that tells the stream. */
#define PACKET_IN_MAX 8000
#define READ_MAX 32768

enum { END_IN, END_OUT, END_ERR, END_COUNT };

struct session;

/* A descriptor, and what of it is waited for. A terminal and conmon's socket are both ways. */
struct end {
	struct loop_io io; /* fd -1: closed */
	struct session *session;
	bool reads;  /* output comes by it, and its end has not been seen */
	bool writes; /* input goes by it */
};

struct session {
	struct loop *loop;
	struct spawn *spawn;
	struct http_request *request; /* not answered yet; NULL: it is, or the client has gone */
	struct http_tunnel *tunnel;   /* NULL: not yet, or finished, or lost */
	bool exec;                    /* a process of its own; else the container's own streams */
	bool terminal, stdin_open;
	bool starting; /* the spawner's answer is to come */
	bool running;  /* its exit code is to come */
	bool has_exit_code;
	int exit_code;
	struct attach_container container; /* of an attachment */

	struct end ends[END_COUNT];
	struct buf received; /* the beginning of a frame */
	struct buf input;    /* not written yet; at most ATTACH_WINDOW bytes */
	bool input_ended;    /* STDIN_END has come */
	uint32_t credit;     /* what the client may still send */
	uint32_t to_credit;  /* what it will be told next */
	bool full;           /* the connection has enough for now: no output is read */
	bool heard;          /* some output came since the last look */
	bool output_ended;
	struct loop_timer timer;
};

/* attach.c */

/* A frame to the client, if it is there. */
void session_send(struct session *s, enum attach_kind kind, struct str data);
void session_credit(struct session *s, size_t consumed);
/* Some end is over: perhaps all is. */
void session_look(struct session *s);

/* ends.c */

/* fds[END_COUNT] are taken; -1: none. */
void ends_open(struct session *s, const int fds[END_COUNT]);
void ends_close(struct session *s);
/* Wait for what there is to wait for, as things are now. */
void ends_watch(struct session *s);
/* Write what waits of the input. */
void ends_input(struct session *s);
void ends_resize(struct session *s, uint16_t rows, uint16_t columns);
bool ends_read(const struct session *s); /* is there an end that output may come by? */
