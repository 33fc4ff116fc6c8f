/*
 * Signed HTTP to the server: one request at a time, answers whole in memory. What goes wrong is
 * said on stderr here, so callers only hand the exit code on.
 */
#pragma once

#include <jansson.h>

#include "cli/cli.h"

struct client;

/* From the environment. CLI_OK or an exit code after saying why. */
int client_open(struct client **ret);
void client_close(struct client *c);
void client_closep(struct client **c);
#define _cleanup_client_ _cleanup_(client_closep)
const char *client_endpoint(const struct client *c);

struct client_header {
	const char *name, *value;
};

struct client_request {
	const char *service; /* as it is signed: "lambda", "logs", "iam" */
	const char *method;
	const char *path; /* encoded, with the query if there is one */
	const char *type; /* of the body; NULL: application/json */
	const struct client_header *headers;
	size_t header_count;
	struct str body;
	/* What a 2xx answer brings, as it comes, instead of collecting it; such an answer may take
	 * as long as it likes if something comes each minute. False: give up. May be NULL. */
	bool (*on_data)(void *ctx, struct str data);
	void *ctx;
};

struct client_answer {
	long status;
	struct buf body;
	struct buf headers; /* lines "name: value\r\n" of the last answer */
};

void client_answer_done(struct client_answer *a);
#define _cleanup_answer_ _cleanup_(client_answer_done)
/* The value of a header, ptr NULL if there is none. */
struct str client_answer_header(const struct client_answer *a, const char *name);
/* The API's own name of an error ("ResourceNotFoundException"); "" if it says none. In memory of
 * the answer's life: the caller frees. */
char *client_answer_error(const struct client_answer *a, char **ret_message);

/* Send and wait. CLI_OK whatever the status is; CLI_ABSENT if nobody answers. */
int client_send(struct client *c, const struct client_request *r, struct client_answer *ret);

/* Say what the server refused. CLI_ABSENT for 404, else CLI_FAILED. `what` reads like "deleting
 * function hello". */
int client_refused(const struct client *c, const struct client_answer *a, const char *what);

/* A JSON request of an API. in may be NULL. With `ret`, a 2xx answer is parsed to *ret (the caller
 * decrefs). Statuses from 300 on are refused aloud, but for `but`, which comes back as such. */
#define CLIENT_NOTED (-1)
#define CLIENT_UNKNOWN (-2) /* as `but`: that the server has no such service or operation */
int client_json(struct client *c, const char *service, const char *method, const char *path,
    json_t *in, int but, const char *what, json_t **ret);
/* The same for CloudWatch Logs (JSON 1.1): action "FilterLogEvents". */
int client_logs(
    struct client *c, const char *action, json_t *in, int but, const char *what, json_t **ret);

/* And for ECS (JSON 1.1). */
int client_ecs(
    struct client *c, const char *action, json_t *in, int but, const char *what, json_t **ret);

/* And for SQS (JSON 1.0). */
int client_sqs(
    struct client *c, const char *action, json_t *in, int but, const char *what, json_t **ret);

/* Between two looks at what will change: 2 ms, and each time twice as long, 100 ms at most. *ms
 * begins as 0. */
void client_pause(unsigned *ms);

/* "/2015-03-31/functions/" + encoded name + suffix; the caller frees. */
char *client_path(const char *prefix, const char *name, const char *suffix);

/* Members of an answer; "" or 0 if absent or of another kind. */
const char *field_text(const json_t *o, const char *name);
int64_t field_number(const json_t *o, const char *name);
