/*
 * The framed channel between core and Mayfly's own bootstraps: SOCK_STREAM Unix sockets,
 * in the box descriptor 3 to read from and 4 to write to. Little-endian. Both directions: a
 * 160-byte header, then `extra` bytes, then the payload. docs: reference in runtimes/README.md.
 * Everything from a box is hostile: length, kind and order are checked before anything is believed.
 */
#pragma once

#include "base/base.h"

#define FRAME_HEADER_SIZE 160
#define FRAME_PAYLOAD_MAX (6u * 1024 * 1024 + 100) /* Lambda's limit for requests and answers */
#define FRAME_PIECE_MAX (1024u * 1024)             /* of an answer that streams */
#define FRAME_FLAG_STREAM 1                        /* INVOKE: the answer may come in pieces */

enum frame_kind {
	/* core -> box */
	FRAME_INIT =
	    1, /* payload: JSON {"env":{…},"handler":"…","cwd":"/var/task"}: become that function */
	/* extra: JSON {"arn","clientContext","identity"}, each a string (the latter two hold JSON
	 * text) and there only if needed: no arn means the same as before. payload: the event */
	FRAME_INVOKE,
	/* box -> core */
	FRAME_WARM = 16,  /* interpreter is up, waiting for FRAME_INIT */
	FRAME_READY,      /* handler is loaded: init is done */
	FRAME_INIT_ERROR, /* payload: error JSON; the process exits after it */
	FRAME_RESULT,     /* payload: answer JSON */
	FRAME_ERROR,      /* payload: error JSON {errorType,errorMessage,stackTrace,…} */
	/* payload: a piece of the answer to an event with FRAME_FLAG_STREAM; any number, then an
	 * empty FRAME_RESULT, or a FRAME_ERROR */
	FRAME_PIECE,
};

struct frame {
	uint32_t length;     /* of the whole frame, header included */
	uint8_t kind;        /* enum frame_kind */
	uint8_t flags;       /* FRAME_FLAG_STREAM; 0 in answers */
	uint16_t extra;      /* bytes between header and payload */
	uint32_t sequence;   /* counts up per channel from 1; an answer carries its invoke's */
	uint32_t timeout_ms; /* left for this invoke when it starts; 0 in answers */
	char request_id[36]; /* not NUL-terminated; zeros in FRAME_INIT, WARM, READY */
	char trace_id[108]; /* NUL-padded; in FRAME_ERROR: the error type; FRAME_PIECE: content type
			     */
};
_Static_assert(sizeof(struct frame) == FRAME_HEADER_SIZE, "the layout is part of the protocol");
