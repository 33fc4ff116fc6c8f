/* See inside.h. */
#include "core/inside.h"

#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "service/iam/iam.h"

/* To the AWS endpoint of one box or task. SDKs keep 50 at most. */
#define CONNECTIONS_MAX 64

void *inside_endpoint_open(void *ctx, int listen_fd)
{
	struct core *c = ctx;
	struct err e = ERR_INIT;
	struct http_listener *l = http_listen(c->box_server, listen_fd, NULL, &e);

	if (l)
		http_listener_limit(l, CONNECTIONS_MAX);
	else
		log_error("a box or task has no AWS endpoint: %s", e.msg);
	return l;
}

void inside_endpoint_close(void *ctx, void *handle)
{
	(void)ctx;
	http_listener_close(handle);
}

void inside_role_keys(struct core *c, const char *role_arn, const char *session, int64_t lifetime_s,
    struct auth_keys *ret)
{
	struct aws_principal p = {.type = AWS_ASSUMED_ROLE, .account = CORE_ACCOUNT};
	const char *slash = strrchr(role_arn, '/');
	struct iam_role_facts facts = {.id = "AROAUNKNOWNROLE000000"};

	/* The role may be made later, or never: functions and tasks run all the same, as AWS checks
	 * it only when they are described. */
	(void)iam_role_find(c->iam, CORE_ACCOUNT, role_arn, &facts);
	snprintf(p.arn, sizeof(p.arn), "arn:aws:sts::%s:assumed-role/%s/%s", CORE_ACCOUNT,
	    slash ? slash + 1 : role_arn, session);
	snprintf(p.user_id, sizeof(p.user_id), "%s:%s", facts.id, session);
	auth_temporary_new(c->auth, &p, lifetime_s, time_wall_ms(), ret);
}
