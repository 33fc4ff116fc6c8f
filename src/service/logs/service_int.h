/* What the handlers share. */
#pragma once

#include "aws/aws.h"
#include "gen/logs.h"
#include "logs/logs.h"
#include "service/logs/service.h"

/* Tags that start so are ours: they hold what the API keeps apart from tags, and no client can
 * set or see them. */
#define RESERVED_TAG "aws:"
#define TAG_CLASS "aws:logs:class"
#define TAG_PROTECTED "aws:logs:deletion-protection"

/* The logs that a call is about. */
struct logs *logs_of(const struct call *c);

/* A call that waits for src/logs. The group's strings live as long as the call. */
struct wait {
	struct call *c; /* NULL: the client has gone */
	struct log_group_id group;
	bool stream; /* it is a stream that may exist already, not the group */
};

/* Make the call wait; done_waiting() or page callbacks end it with wait_end(). */
struct wait *wait_start(struct call *c, struct log_group_id group, bool stream);
/* Frees w; returns the call, NULL when the client has gone. */
struct call *wait_end(struct wait *w);
/* The logs_done_fn of all writes: replies. */
void done_waiting(void *ctx, int result);

/* Say in AWS's words what a negative result of src/logs means. */
int fail_result(struct logs *g, const struct wait *w, int result, struct err *e);

/* The group called name, in the account and region of the call; NULL name gives an empty one. */
struct log_group_id group_id(const struct call *c, const char *name);
/* The group that a name or an ARN (with or without ":*") means; an ARN of another account or
 * region is an error. */
int group_identified(
    const struct call *c, const char *identifier, struct log_group_id *ret, struct err *e);
/* The same for operations that take a name or an identifier: exactly one must be there. */
int group_chosen(const struct call *c, const char *name, const char *identifier,
    struct log_group_id *ret, struct err *e);
/* 0, or the error that the group does not exist; ret may be NULL. */
int group_must_exist(
    const struct call *c, struct log_group_id id, struct log_group_info *ret, struct err *e);
/* The same, as the changes under way will leave it. */
int group_to_change(
    const struct call *c, struct log_group_id id, struct log_group_info *ret, struct err *e);

/* "arn:aws:logs:REGION:ACCOUNT:log-group:NAME" and what follows, in the call's arena. */
const char *group_arn(struct call *c, struct log_group_id id, const char *suffix);
/* Value of a tag, ptr NULL when it is not there. */
struct str group_tag(const struct log_group_info *i, const char *key);
