/* Core's client of the spawner, shared by spawn.c and container.c. */
#pragma once

#include "base/list.h"
#include "spawn/container.h"
#include "spawn/spawn.h"

struct spawn {
	struct loop *loop;
	struct loop_io io;
	const struct spawn_handler *handler;
	void *ctx;
	struct wire_hello hello;
	struct list queue; /* struct queued */
	size_t queued;
	struct list waiting, running; /* struct request */
	unsigned running_count;
	uint64_t last_serial;
	struct containers *containers; /* container.c's */
};

/* Send, now or when the socket takes it. Takes fd; -1: none. */
void spawn_post(struct spawn *s, const struct wire_msg *m, int fd);

/* ---- container.c ---- */
struct containers *containers_new(struct spawn *s);
void containers_free(struct containers *c);
/* Takes the descriptors. */
void containers_on_message(struct containers *c, struct wire_msg *m, const int *fds, size_t count);
