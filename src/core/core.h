/* Everything that core is made of, in the order in which it is set up. */
#pragma once

#include "core/config.h"
#include "core/front.h"

#define CORE_ACCOUNT "123456789012"

struct core {
	struct config config;
	struct loop *loop;
	struct store *store;
	struct auth *auth;
	struct logs *logs;
	struct meter *meter;
	struct http_server *server;
	struct http_server
	    *box_server; /* the AWS endpoints of boxes: they cannot use up `server` */
	struct boxes *boxes;
	struct invoke *invoke;
	struct queues *queues;
	struct sqs *sqs;
	struct images *images;
	const char *const *registries; /* hosts that mean our own registry; NULL at the end */
	struct ecr *ecr;
	struct tasks *tasks;
	struct ecs *ecs;
	struct ssm *ssm;
	struct secretsmanager *secretsmanager;
	struct targets *targets;
	struct sources *sources;
	struct lambda *lambda;
	struct logs_service *logs_service;
	struct sts *sts;
	struct iam *iam;
	struct s3 *s3;
	struct aws *aws;
	struct front_parts parts;
	char url[64]; /* "http://127.0.0.1:4566" */
};

/* Open all parts; e says what is wrong. core_close() undoes what was done, in any state. */
int core_open(struct core *c, struct err *e);
/* Take no new work: what runs may end, what waits stays on disk. */
void core_begin_no_more(struct core *c);
void core_close(struct core *c);
