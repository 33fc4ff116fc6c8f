/*
 * What core may ask, and when: the state of every slot and the verdict on every message. Pure: no
 * system call, so that the fuzzer and the unit tests see exactly what the root program runs.
 */
#pragma once

#include "base/base.h"
#include "spawn/wire.h"

enum slot_state {
	SLOT_FREE,
	SLOT_MAKING,    /* BOX_MAKE came, BOX_MADE not sent */
	SLOT_BLANK,     /* BOX_MADE sent */
	SLOT_ASSIGNING, /* BOX_ASSIGN came, BOX_ASSIGNED not sent */
	SLOT_ASSIGNED,
	SLOT_DYING, /* killed or died; BOX_DEAD not sent */
};

struct gate_slot {
	uint8_t state; /* enum slot_state */
	uint32_t generation;
	uint8_t root_layers; /* that BOX_ROOT has named */
};

struct gate {
	bool open;                   /* WIRE_HELLO has been sent to this core */
	uint32_t slots;              /* usable ones */
	uint32_t requests;           /* about code, layers and archives, not yet answered */
	uint32_t container_requests; /* about sandboxes and containers, not yet answered */
	struct gate_slot slot[WIRE_BOXES_MAX];
};

/* What descriptor a kind of message carries: exactly one, or none. */
enum gate_descriptor {
	GATE_FD_NONE,
	GATE_FD_RECORD, /* a memfd that nobody can change any more */
	GATE_FD_PIPE,   /* a pipe or FIFO */
};
enum gate_descriptor gate_descriptor(uint32_t kind);

enum gate_verdict {
	GATE_DO,     /* allowed; the slot has moved to its next state */
	GATE_IGNORE, /* crossed with a death: nothing to do */
	GATE_FATAL,  /* core is broken or taken over */
};

/* Judge one datagram of len bytes and, on GATE_DO, move the slot. *ret_why is set on GATE_FATAL. */
enum gate_verdict gate_request(
    struct gate *g, const void *data, size_t len, struct wire_msg *ret_msg, const char **ret_why);

/* All slots free again? Only then may a new core be greeted. */
bool gate_idle(const struct gate *g);
