/* What box.c (one box), pool.c (many), start.c (records to box-init) and output.c share. */
#pragma once

#include "base/budget.h"
#include "base/list.h"
#include "box/box.h"
#include "init/init.h"

enum box_state {
	BOX_MAKING,       /* asked the spawner */
	BOX_BLANK,        /* made, nothing runs but box-init */
	BOX_STARTING,     /* interpreter is coming up in the pool */
	BOX_WARM,         /* interpreter waits for FRAME_INIT */
	BOX_ASSIGNING,    /* asked the spawner to mount the code */
	BOX_INITIALISING, /* the function's own code runs its init */
	BOX_READY,
	BOX_WINDING_DOWN, /* its runtime has been killed, its extensions have some time */
	BOX_STOPPING,     /* waiting for box-init to have killed all */
	BOX_STOPPED,      /* only box-init runs in it */
	BOX_DYING,        /* waiting for the spawner to say it has gone */
};

struct box {
	struct boxes *owner;
	struct list node; /* in boxes.all */
	struct list pool_node;
	struct list begun_node; /* in boxes.begun until it is ready or gone */
	int64_t begun_ns;
	uint32_t slot, generation;
	enum box_state state;
	bool frozen, has_spec;
	bool enrolling;  /* its extensions have to register before the runtime starts */
	bool retiring;   /* its extensions were told that it ends: nothing more is sent */
	bool said_ready; /* the runtime did, the extensions have not yet */
	bool restart;    /* start the program as soon as all has gone */

	int fds[WIRE_FD_COUNT];
	struct loop_io control;
	struct loop_io output;
	struct loop_timer output_timer; /* set while it is not read: the budget is spent */
	struct budget output_budget;
	int64_t output_told_ns;
	bool output_midline;
	int output_end; /* the other end of the pipe, while more programs may get it; or -1 */
	struct runtime *runtime;
	struct runtime *beside; /* framed, and there are extensions: their API */
	unsigned extensions;    /* running, of those that box-init started */
	const char *end_reason; /* with retiring: what they are told, and how long they have */
	int64_t end_deadline_ms;
	void *endpoint;

	const struct box_program *program; /* what runs or waits in it; NULL while blank */
	struct box_spec spec;              /* env and init_json are our copies */
	const struct box_handler *handler;
	void *ctx;

	int64_t init_started_ns;
	uint64_t oom_kills;
	uint64_t peak;
	int64_t peak_read_ns;
	uint64_t pool_bytes; /* what it used when it entered the pool */
};

struct pool {
	const struct box_program *program; /* NULL: blank boxes */
	struct list ready;
	unsigned ready_count;
	unsigned want;
	int64_t last_take_ns;
};

#define POOLS_MAX 4
/* A start takes some 30 ms of CPU; what has not finished by then waits for something else. */
#define BEGUN_NS (100 * (int64_t)1000000)

struct boxes {
	struct loop *loop;
	struct spawn *spawn;
	struct boxes_options options;
	struct runtime_api *api;
	struct list all;
	struct list begun; /* starting for somebody, newest first */
	unsigned count;
	struct box **slots; /* by slot, boxes_max of them */
	uint32_t slot_count, slot_next, generation;
	struct pool pools[POOLS_MAX];
	size_t pool_count;
	uint64_t pooled_bytes;
	struct box *coming; /* being made or started for coming_for */
	struct pool *coming_for;
	int64_t pause_until_ns; /* no refill before: making boxes fails */
	struct loop_task refill;
	struct loop_timer decay;
};

/* pool.c */
struct box *pool_new_box(struct boxes *bs); /* NULL: no slot */
struct box *pool_take(struct boxes *bs, const struct box_program *program);
bool pool_has(const struct boxes *bs, const struct box_program *program);
void pool_put(struct box *b);    /* a blank or warm box without spec is ready */
void pool_forget(struct box *b); /* out of its pool, if in one */
void pool_schedule(struct boxes *bs);
void pools_init(struct boxes *bs, const struct box_program *const *programs, size_t count);

/* box.c: continuations of the spawner's answers */
void box_made(struct box *b, int result, const int fds[WIRE_FD_COUNT]);
void box_assigned(struct box *b, int result, const char *why);
void box_gone(struct box *b);
void box_prestart(struct box *b, const struct box_program *program);
void box_fail(struct box *b, const char *why);

/* box.c: what a runtime reports */
extern const struct runtime_handler box_runtime_handler;

/* output.c */
int output_open(struct box *b, int *ret_write_end);
void output_close(struct box *b);
void output_drain_last(struct box *b); /* its program has ended */

/* start.c */
int start_program(struct box *b, const char *const *argv, struct str env, uint32_t env_count);
int start_order(struct box *b, enum init_kind kind);
int start_extensions(struct box *b);
/* No other program gets the output pipe. */
void start_no_more(struct box *b);

/* extension.c */
/* box-init has started so many. */
void extensions_begun(struct box *b, unsigned count);
/* One of them has ended, or has not begun. */
void extension_exited(struct box *b, int status);
void extension_failed(struct box *b, int errnum);
/* The API's word, as of struct runtime_handler. */
void extensions_moved(void *ctx);
/* Does one of them want to hear of the end? Tell them, once the runtime is no more in their way. */
bool extensions_mind(const struct box *b);
void extensions_tell(struct box *b);
/* The runtime is ready: are its extensions? If not, box_ready() follows. */
bool extensions_wait(struct box *b);
/* All has been killed, or goes. */
void extensions_gone(struct box *b);

/* box.c: on from where it waited for extensions */
int box_launch(struct box *b);
void box_ready(struct box *b);
