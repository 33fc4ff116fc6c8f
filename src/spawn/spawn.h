/*
 * Core's side of the conversation with the spawner. Loop thread. Answers arrive by callback; the
 * spawner's death ends core (nothing can go on without it).
 */
#pragma once

#include "loop/loop.h"
#include "spawn/wire.h"

struct spawn;

struct spawn_handler {
	/* fds[WIRE_FD_COUNT] are the callee's from here; -1 where there is none. result < 0: no
	 * box, the slot is free again. */
	void (*on_made)(void *ctx, uint32_t slot, uint32_t generation, int result,
	    const int fds[WIRE_FD_COUNT]);
	void (*on_assigned)(
	    void *ctx, uint32_t slot, uint32_t generation, int result, const char *why);
	void (*on_dead)(void *ctx, uint32_t slot, uint32_t generation);
};

/* fd: the inherited socket. Waits for WIRE_HELLO (blocking, at most 5 s). */
struct spawn *spawn_new(
    struct loop *l, int fd, const struct spawn_handler *h, void *ctx, struct err *e);
void spawn_free(struct spawn *s);
const struct wire_hello *spawn_hello(const struct spawn *s);

void spawn_box_make(struct spawn *s, uint32_t slot, uint32_t generation);

struct spawn_assignment {
	uint8_t code[WIRE_HASH_SIZE];
	uint8_t layers[WIRE_LAYERS_MAX][WIRE_HASH_SIZE];
	uint32_t layer_count;
	/* Instead of code and layers: unpacked layers of an image, lowest first, as the box's root.
	 * Read during the call. */
	const uint8_t (*root)[WIRE_HASH_SIZE];
	uint32_t root_count;
	uint32_t memory_mb;
	uint32_t tmp_mb;
};
void spawn_box_assign(
    struct spawn *s, uint32_t slot, uint32_t generation, const struct spawn_assignment *a);
void spawn_box_kill(struct spawn *s, uint32_t slot, uint32_t generation);

/* Unpack blobs/<hash> to code/<hash>; at most limit_bytes unpacked. why is for the user ("" on
 * success); size_bytes is the unpacked size. */
void spawn_unpack(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE], uint64_t limit_bytes,
    void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes), void *ctx);
void spawn_code_delete(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE]);

/* Unpack the layer that comes by `pipe` (its read end, taken) to layers/<hash>: the SHA-256 of the
 * tar must be hash. limit_bytes: of the tar, at most WIRE_LAYER_BYTES_MAX. why is for a person.
 * Close the write end at the end of the layer. At most WIRE_REQUESTS_MAX of all requests are served
 * at a time: do not write before others can end. */
void spawn_layer_unpack(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE], int pipe,
    uint64_t limit_bytes, void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes),
    void *ctx);
/* done may be NULL. */
void spawn_layer_delete(struct spawn *s, const uint8_t hash[WIRE_HASH_SIZE],
    void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes), void *ctx);

/* Turn an archive of images that comes by `pipe` (taken) into a stream of struct wire_member:
 * opened gets a pipe to read it from (the callee's), unless it could not be made. done as above. */
void spawn_archive_split(struct spawn *s, int pipe, uint64_t limit_bytes,
    void (*opened)(void *ctx, int fd),
    void (*done)(void *ctx, int result, const char *why, uint64_t size_bytes), void *ctx);
