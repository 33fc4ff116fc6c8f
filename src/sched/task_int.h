/*
 * Inside of the tasks room. A task's life is one function, life_look(): it looks at what is and
 * does the next thing. Callbacks only note what happened and wake it (task_wake()); at the end of
 * each turn in which it was awake its record is rendered, and written if it differs from the last
 * one (task_save()). So there are no chains of callbacks, and no change that is not on disk.
 *
 *   tasks.c    the table, records on disk, what others call
 *   life.c     a task's phases; unit.c a container's ("unit": one container of one task)
 *   depend.c   who waits for whom, at start and at stop
 *   input.c    secrets, environment files, images: what is fetched before anything can start
 *   spec.c     what the spawner is told of a container; mount.c, env.c, text.c, limit.c: parts
 *   record.c   a task as ECS shows it, and what we remember beside it
 *   adopt.c    what a former life of core left running
 *   health.c   health checks
 *   tail.c     log files into log streams, as log_option.c says
 *   host.c     what the machine has left
 *   metadata.c, stats.c, credentials.c, agent.c: what containers ask for at 169.254.170.2
 */
#pragma once

#include <stdio.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "docs/docs.h"
#include "sched/task.h"

#define TASK_KEEP_MS (3600 * 1000)
#define TASK_BRIEF_MS 15000 /* of tasks with the tag mayfly:rm */
#define TASK_LOG_GROUP "/mayfly/tasks"
#define NEVER INT64_MAX

enum task_phase {
	TASK_PROVISIONING,   /* the sandbox, and with it the address, is being made */
	TASK_PENDING,        /* secrets, environment files, log groups */
	TASK_ACTIVATING,     /* images, containers */
	TASK_RUNNING,        /* every container has started */
	TASK_DEACTIVATING,   /* will stop */
	TASK_STOPPING,       /* containers are being stopped */
	TASK_DEPROVISIONING, /* everything is given back */
	TASK_STOPPED,
};

enum unit_phase {
	UNIT_WAITING,  /* for inputs, image, sandbox */
	UNIT_MAKING,   /* asked the spawner */
	UNIT_MADE,     /* waits for what it depends on */
	UNIT_STARTING, /* asked the spawner */
	UNIT_RUNNING,
	UNIT_REPLACING, /* ended, is removed, and will be made again */
	UNIT_ENDED,     /* for good, or never started */
};

enum sandbox_state { SANDBOX_NONE, SANDBOX_MAKING, SANDBOX_MADE, SANDBOX_REMOVING, SANDBOX_GONE };

enum log_state { LOG_NONE, LOG_OPEN, LOG_DONE };

enum input_state { INPUT_NONE, INPUT_FETCHING, INPUT_READY, INPUT_FAILED };

enum health { HEALTH_UNKNOWN, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

/* A network namespace with what core serves in it: of a task (awsvpc) or of a container. */
struct place {
	char address[16], gateway[16], mac[18];
	unsigned prefix_len;
	struct http_listener *metadata;
	void *endpoint;
	struct container_port *ports;
	size_t port_count;
};

/* A health check under way, and what those before said. */
struct check_run {
	enum health status;
	unsigned failures; /* in a row */
	bool passed_once;
	int64_t due_ns;      /* the next check, or the end of the one that runs; 0: none planned */
	int64_t since_ms;    /* of status */
	int exit_code;       /* of the last one */
	struct check *check; /* runs; NULL: none */
	char output[256];
};

struct tail;
struct usage;

struct unit {
	struct task *task;
	unsigned index;
	const char *name;
	const json_t *def, *override; /* of the task's definition and overrides; NULL: none */
	bool essential;

	enum unit_phase phase;
	uint64_t end_save; /* the record that tells that it is being replaced */
	unsigned attempt;  /* how often it was made before */
	unsigned restarts; /* of those, how often because it had ended */
	char id[CONTAINER_ID_SIZE];
	struct place place; /* bridge, none */

	int64_t held_until_ns; /* made, but not to be started before; 0: not held */
	bool started;          /* its first instruction ran, in this attempt or before */
	bool has_exit_code, oom_killed;
	int exit_code;
	char *reason;
	int64_t created_ms, started_ms, finished_ms; /* wall; 0: not yet */
	int64_t started_ns;

	struct image *image;
	struct image_pull *pull;
	char digest[IMAGE_DIGEST_SIZE];
	char **secrets; /* values, as in the definition; NULL before they are there */
	struct buf *env_files;
	size_t secret_count, env_file_count;
	char *auth; /* repository credentials: a JSON text */

	int64_t op_due_ns; /* by then the spawner has answered */
	int stop_signal;
	int signal_sent;     /* 0, the stop signal, SIGKILL */
	int64_t kill_due_ns; /* next step of stopping */

	enum log_state log;
	struct tail *tail;
	struct check_run health;
	struct usage *usage;
};

struct task {
	struct tasks *all;
	struct list node; /* of the live or the stopped ones */
	char *arn;
	char *account, *region, *cluster, *id;
	json_t *base; /* what the service gave us of `Task` */
	json_t *definition;
	json_t *seen, *seen_own; /* last rendered; NULL: must be written */
	int64_t version;

	enum task_phase phase;
	bool on_disk; /* its first record */
	bool refused; /* it could not be written: no such task */
	bool adopting;
	unsigned ops, writes;  /* that will call back */
	uint64_t saves, saved; /* how many records were given to the disk; are there */
	uint64_t end_save;     /* the record that tells how all ended */
	int64_t save_due_ns;   /* not before: the disk was full */

	char sandbox_id[CONTAINER_ID_SIZE];
	char credentials[37];
	char metadata_key[37]; /* of one in the host's network */
	enum container_network network;
	enum sandbox_state sandbox;
	unsigned removals; /* failed attempts */
	int64_t removal_due_ns;
	struct place place;

	enum input_state inputs;
	unsigned fetches; /* of inputs, under way */

	char *stop_code, *stop_reason;
	int64_t created_ms, connected_ms, pull_started_ms, pull_stopped_ms, started_ms, stopping_ms,
	    execution_stopped_ms, stopped_ms;

	struct unit *units;
	unsigned unit_count;
	int64_t cpu_units, memory_mib; /* reserved */

	struct loop_task wake;
	struct loop_timer timer;
	int64_t due_ns; /* when to look again by itself */

	int64_t tokens_at_ns; /* rate of requests for metadata */
	double tokens;
};

struct tasks {
	struct tasks_options o;
	struct docs *docs;
	struct map by_arn, by_sandbox; /* struct task */
	struct list live, stopped;     /* stopped: oldest first */
	struct list brief;             /* stopped, oldest first: those that are soon forgotten */
	struct loop_timer drop;
	struct http_server *server;
	struct tails *tails;
	bool left;  /* core ends */
	bool found; /* what ran before us */
	struct tasks_host host;
};

/* ---- tasks.c ---- */

void task_wake(struct task *t);
void task_due(struct task *t, int64_t at_ns); /* look again then, at the latest */
void task_save(struct task *t);
/* What is so now is in the record of this number, or a later one. */
uint64_t task_next_save(const struct task *t);
/* It is on disk, or it could not be written: nobody waits for ever. */
bool task_saved(const struct task *t, uint64_t number);
void task_save_then(struct task *t, void (*done)(void *ctx, int result), void *ctx);
struct task *task_find(const struct tasks *all, const char *arn);
struct task *task_of_sandbox(const struct tasks *all, const char *sandbox_id);
struct unit *task_unit(const struct task *t, const char *name); /* NULL; "" or NULL: the first */
/* New, in the table, nothing started. base and definition are taken. NULL: not a task's ARN or no
 * container in the definition. */
struct task *task_new(struct tasks *all, json_t *base, json_t *definition);
void task_free(struct task *t);
void task_stopped(struct task *t); /* has reached its last phase */

/* ---- life.c ---- */

/* Do the next thing. true: look again. */
bool life_look(struct task *t);
/* Decide that it stops; the first decision counts. */
void life_stop(struct task *t, const char *code, const char *reason);

/* ---- unit.c ---- */

void unit_set_id(struct unit *u);
bool unit_look(struct unit *u);
/* One step of stopping it. true: nothing runs any more and its log is read. */
bool unit_stop_look(struct unit *u);
void unit_exited(struct unit *u, const struct container_facts *f);
/* It could not be started: "<code>: <why>". */
void unit_fail(struct unit *u, const char *code, const char *why);
void unit_open_log(struct unit *u);
void unit_done(struct unit *u);  /* everything of it but the container */
void unit_leave(struct unit *u); /* core ends: as above, but ask nobody for anything */
bool unit_replaceable(const struct unit *u, int64_t now_ms);
const char *unit_status(const struct unit *u); /* "PENDING", … */
/* Its name in the URLs of the metadata endpoint, the same for all its attempts. */
void unit_metadata_id(const struct unit *u, char ret[64]);

/* ---- place.c ---- */

void place_open(struct task *t, struct place *p, const struct container_net *net);
void place_close(struct task *t, struct place *p);
/* Of this container. */
static inline const struct place *unit_place(const struct unit *u)
{
	return u->task->network == CONTAINER_NET_TASK ? &u->task->place : &u->place;
}

/* ---- depend.c ---- */

enum depend { DEPEND_MET, DEPEND_WAIT, DEPEND_NEVER };
/* May it start? why: who can never be what it must. */
enum depend depend_start(struct unit *u, char *why, size_t why_size);
/* May it be made? What it is linked to has an address. */
bool depend_make(const struct unit *u);
/* May it be stopped? Nobody who depends on it runs. */
bool depend_stop(const struct unit *u);

/* ---- input.c ---- */

void input_start(struct task *t);
void input_images(struct task *t);
/* Of a container that was taken over: hold its image again, so that its layers stay. */
void input_hold_image(struct unit *u);
void input_wipe(struct unit *u);

/* ---- spec.c and its parts: pure ---- */

struct spec_in {
	const struct task *task;
	const struct unit *unit;
	const struct image_config *image;
	const uint8_t (*layers)[WIRE_HASH_SIZE];
	size_t layer_count;
	uint32_t uid, gid;
	const uint32_t *groups;
	size_t group_count;
	const char *resolv_conf; /* of the host; "" if there is none */
	const char *endpoint;    /* AWS_ENDPOINT_URL; NULL: none */
};
/* All in the arena. 0, or -EINVAL and e in words that begin with no name. */
int spec_container(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e);
void spec_sandbox(const struct task *t, struct sandbox_spec *ret);
enum container_network spec_network(const json_t *definition);
int spec_signal(const char *name); /* "SIGTERM", "TERM", "15"; 0: none such */
const char *spec_hostname(struct arena *a, const struct unit *u);
/* "ip-10-0-0-1.ec2.internal" of a dotted address. */
void spec_dns_name(const char *address, char ret[64]);
/* Of the override if it has it, else of the definition; NULL. */
const json_t *spec_member(const struct unit *u, const char *name);
const char *spec_task_role(const struct task *t); /* NULL: none */
/* Of the whole task, as the overrides or the definition say: 0 if they do not. */
int64_t spec_task_size(const struct task *t, const char *name);
int64_t spec_number(const json_t *v); /* a number, or a string of digits; else 0 */

void env_build(struct arena *a, const struct spec_in *in, struct container_spec *ret);
int mount_build(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e);
/* Fill ret->ports. */
int port_build(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e);
const char *text_resolv(struct arena *a, const struct spec_in *in);
const char *text_hosts(struct arena *a, const struct spec_in *in);
/* What a person should read of what the spawner says of a runtime's failure. */
void text_runtime(const char *why, char out[256]);
int limits_build(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e);

/* ---- record.c ---- */

json_t *record_render(const struct task *t); /* new; without "version" */
json_t *record_own(const struct task *t);    /* new */
void record_restore(struct task *t, const json_t *record, const json_t *own);
const char *record_health(enum health h);
enum health record_task_health(const struct task *t);

/* ---- adopt.c ---- */

void adopt_found(void *ctx, const struct sandbox_spec *sandbox, const struct container_facts *f,
    const struct container_net *net);

/* ---- hold.c ---- */

bool hold_is_brief(const struct task *t); /* forgotten soon after it stopped */
void hold_begin(struct unit *u);          /* it has been made */
bool hold_goes_on(const struct unit *u);  /* asks to be asked again */

/* ---- health.c ---- */

void health_start(struct unit *u);
void health_look(struct unit *u);
void health_stop(struct unit *u);

/* ---- tail.c ---- */

struct tails *tails_new(struct tasks *all);
void tails_free(struct tails *all);
/* Where its lines go; 0, or -errno and e says why in AWS's words. */
int tail_place(struct arena *a, const struct unit *u, struct task_log *ret, struct err *e);
/* fd is taken. */
struct tail *tail_open(struct tails *all, struct unit *u, int fd);
/* The container has ended: take what is left, a part of it at a time. Stuck: it cannot be kept now,
 * try again. */
enum tail_rest { TAIL_DONE, TAIL_MORE, TAIL_STUCK };
enum tail_rest tail_drain(struct tail *t);
void tail_close(struct tail *t); /* NULL is fine */

/* ---- host.c ---- */

void host_reserve(struct tasks *all, const struct task *t, int sign);
void host_sizes(const json_t *definition, const json_t *overrides, int64_t *ret_cpu_units,
    int64_t *ret_memory_mib);

/* ---- metadata.c, stats.c, credentials.c, agent.c ---- */

extern const struct http_handler metadata_handler;
void metadata_reply(struct http_request *r, unsigned status, json_t *json); /* taken */
void metadata_error(struct http_request *r, unsigned status, const char *code, const char *message);
struct unit *metadata_unit(const struct task *t, struct str id); /* NULL: none of it */
/* false: not for it. */
bool credentials_serve(struct task *t, struct str path, struct http_request *r);
/* path: behind "/api/". */
void agent_serve(struct task *t, struct str path, struct http_request *r);
json_t *metadata_task(const struct task *t, bool tags);
json_t *metadata_container(const struct unit *u);
json_t *stats_container(struct unit *u); /* null while there are none */
void stats_open(struct unit *u);
void stats_close(struct unit *u);
