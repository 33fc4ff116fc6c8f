/* What the parts of stack.c share: one file for each family of resources. */
#pragma once

#include "cli/stack.h"

struct stack {
	struct client *client;
	const char *dir;
	char *name;
	char account[13];
	const char *region;
	struct template *t;
	json_t *report;
	/* Bucket name -> list of {"Id", "Kind", "Arn", "Events": […], "Rules": […]}, put at the
	 * end: S3 takes all notifications of a bucket at once. */
	json_t *notifications;
};

/* A text member that must be there; "" after saying that it is not. */
const char *stack_need(const char *id, const json_t *properties, const char *name, int *ret_code);
/* CLI_USAGE and a word about it if there is a property whose name is not in the list (up to
 * NULL). */
int stack_check_names(const char *id, const json_t *properties, const char *const *known);
/* Append to the report; url may be "". */
void stack_report(
    struct stack *s, const char *id, const char *type, const char *name, const char *outcome);
/* A member that may be one text or a list of them, as a list; the caller decrefs. */
json_t *stack_list(const json_t *v);

int stack_role_name(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_role(struct stack *s, const struct template_resource *r, json_t *properties);

/* Give a role what SAM's Policies say: managed policies by name or ARN, documents, SAM's own
 * templates. */
int stack_role_policies(struct stack *s, const char *id, const char *role, const json_t *policies);

int stack_queue_name(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_queue(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_queue_attributes(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_queue_policy(struct stack *s, const struct template_resource *r, json_t *properties);

int stack_bucket_name(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_bucket(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_bucket_policy(struct stack *s, const struct template_resource *r, json_t *properties);
/* Note that events of this bucket go to an ARN; kind is S3's element: "CloudFunctionConfiguration".
 * events: a text or a list; filter: CloudFormation's Filter or NULL. */
void stack_notify(struct stack *s, const char *bucket, const char *kind, const char *id,
    const char *arn, const json_t *events, const json_t *filter);
int stack_put_notifications(struct stack *s);

int stack_function_name(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_function(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_permission(struct stack *s, const struct template_resource *r, json_t *properties);
int stack_mapping(struct stack *s, const struct template_resource *r, json_t *properties);
/* A poller of `source` (an ARN) for a function; more: members of CreateEventSourceMapping. */
int stack_map(struct stack *s, const char *function, const char *source, const json_t *more);
