/* Wiring, nothing clever. See core.h. */
#include "core/core.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "auth/auth.h"
#include "aws/aws.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/time.h"
#include "box/box.h"
#include "core/core_int.h"
#include "core/inside.h"
#include "gen/ecr.h"
#include "gen/iam.h"
#include "gen/lambda.h"
#include "gen/logs.h"
#include "gen/s3.h"
#include "gen/secretsmanager.h"
#include "gen/sqs.h"
#include "gen/ssm.h"
#include "gen/sts.h"
#include "http/http.h"
#include "image/image.h"
#include "image/registry.h"
#include "invoke/invoke.h"
#include "logs/logs.h"
#include "meter/meter.h"
#include "sched/task.h"
#include "service/ecr/ecr.h"
#include "service/iam/iam.h"
#include "service/lambda/lambda.h"
#include "service/lambda/target.h"
#include "service/logs/service.h"
#include "service/s3/s3.h"
#include "service/secretsmanager/secretsmanager.h"
#include "service/sqs/sqs.h"
#include "service/ssm/ssm.h"
#include "service/sts/sts.h"
#include "source/source.h"
#include "spawn/core_fds.h"
#include "store/store.h"

#define REGION "us-east-1"
/* Boxes get keys for longer than they live; a box is given back long before. */
#define BOX_KEYS_S (36 * 3600)
#define WORKERS 4

/* ---- what lower layers ask of upper ones ---- */

static int find_role(void *ctx, const char *account, const char *arn, struct sts_role *ret)
{
	struct iam_role_facts facts;
	int r = iam_role_find(ctx, account, arn, &facts);

	if (r == 0)
		*ret = (struct sts_role){facts.name, facts.id, facts.max_session_s};
	return r;
}

/* Keys of the function's role; the session is named after the function, as on AWS. */
static int make_keys(void *ctx, const char *role_arn, const char *session, struct invoke_keys *ret)
{
	struct auth_keys keys;

	inside_role_keys(ctx, role_arn, session, BOX_KEYS_S, &keys);
	snprintf(ret->access_key_id, sizeof(ret->access_key_id), "%s", keys.access_key_id);
	snprintf(ret->secret_access_key, sizeof(ret->secret_access_key), "%s", keys.secret);
	snprintf(ret->session_token, sizeof(ret->session_token), "%s", keys.token);
	explicit_bzero(&keys, sizeof(keys));
	return 0;
}

static struct invoke_version *resolve(
    void *ctx, struct str account, struct str region, struct str name, struct str qualifier)
{
	struct core *c = ctx;

	return lambda_find_version(c->lambda, account, region, name, qualifier);
}

static bool event_policy(void *ctx, struct str account, struct str region, struct str name,
    struct str qualifier, struct invoke_policy *ret)
{
	struct core *c = ctx;

	return lambda_event_policy(c->lambda, account, region, name, qualifier, ret);
}

/* ---- set-up ---- */

static int open_data(struct core *c, struct err *e)
{
	_cleanup_close_ int dir = open(c->config.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *logs = xasprintf("%s/logs", c->config.data);
	_cleanup_free_ char *usage = xasprintf("%s/usage", c->config.data);
	_cleanup_free_ char *prices = xasprintf("%s/prices.json", c->config.data);

	if (dir < 0)
		return err_sys(e, errno, "opening the data directory");
	c->store = store_open(c->loop, c->config.data, e);
	if (!c->store)
		return -EIO;
	c->auth = auth_open(dir, CORE_ACCOUNT, e);
	if (!c->auth)
		return -EIO;
	c->logs = logs_open(c->loop, c->store, logs, e);
	if (!c->logs)
		return -EIO;
	c->queues = queues_open(c->loop, c->store, e);
	if (!c->queues)
		return -EIO;
	c->meter = meter_open(c->loop, usage, access(prices, R_OK) == 0 ? prices : NULL, e);
	return c->meter ? 0 : -EIO;
}

static int open_invoke(struct core *c, struct err *e)
{
	const struct boxes_options boxes = {
	    .pool_memory_bytes = (uint64_t)c->config.pool_memory_mb * 1024 * 1024,
	    .pool_each = (unsigned)c->config.pool_each,
	    .endpoint_open = inside_endpoint_open,
	    .endpoint_close = inside_endpoint_close,
	    .ctx = c};
	struct invoke_options invoke = {.loop = c->loop,
	    .logs = c->logs,
	    .meter = c->meter,
	    .store = c->store,
	    .targets = c->targets,
	    .concurrency = (unsigned)c->config.concurrency,
	    .idle_ms = c->config.idle_s * 1000,
	    .retry_base_ms = c->config.retry_base_ms,
	    .stream_rate = c->config.stream_rate_kib * 1024,
	    .endpoint_port = INSIDE_PORT,
	    .keys = make_keys,
	    .resolve = resolve,
	    .policy = event_policy,
	    .ctx = c};
	const struct box_program *const *programs;
	size_t count;

	if (lambda_runtimes_setup(c->config.runtimes, c->config.runtime_count, e) < 0)
		return -EINVAL;
	programs = lambda_programs(&count);
	c->boxes = boxes_new(c->loop, CORE_FD_SPAWNER, &boxes, programs, count, e);
	if (!c->boxes)
		return -EIO;
	front_make_room(c->server, spawn_hello(boxes_spawn(c->boxes))->boxes_max);
	invoke.boxes = c->boxes;
	c->invoke = invoke_new(&invoke);
	return 0;
}

static int open_sources(struct core *c, struct err *e)
{
	const struct source_options o = {.loop = c->loop,
	    .store = c->store,
	    .invoke = c->invoke,
	    .queues = c->queues,
	    .targets = c->targets,
	    .resolve = resolve,
	    .ctx = c};

	c->sources = sources_open(&o, e);
	if (!c->sources)
		return -EIO;
	lambda_set_sources(c->lambda, c->sources);
	return 0;
}

static int open_s3(struct core *c, struct err *e)
{
	static const char *const hosts[] = {"localhost"};
	const struct s3_options o = {.loop = c->loop,
	    .store = c->store,
	    .targets = c->targets,
	    .account = CORE_ACCOUNT,
	    .region = REGION,
	    .hosts = hosts,
	    .host_count = ARRAY_SIZE(hosts)};

	c->s3 = s3_open(&o, e);
	if (!c->s3)
		return -EIO;
	aws_service_add(c->aws, &s3_service, c->s3);
	aws_service_add_hooks(c->aws, &s3_service, &s3_hooks);
	s3_target_add(c->s3, c->targets);
	return 0;
}

static void load_object(void *ctx, const char *account, const char *bucket, const char *key,
    const char *version, size_t limit,
    void (*done)(void *arg, int result, struct str data, const char *text), void *arg)
{
	struct core *c = ctx;

	s3_object_load(c->s3, account, bucket, key, version, limit, done, arg);
}

static int open_services(struct core *c, struct err *e)
{
	const struct aws_config config = {.dev = c->config.dev,
	    .account = CORE_ACCOUNT,
	    .region = REGION,
	    .find_key = auth_find_key,
	    .find_key_ctx = c->auth};
	static char code[256]; /* outlives the service */
	const struct lambda_options lambda = {.loop = c->loop,
	    .store = c->store,
	    .invoke = c->invoke,
	    .targets = c->targets,
	    .boxes = c->boxes,
	    .url = c->url,
	    .code_dir = code,
	    .load_object = load_object,
	    .object_ctx = c,
	    .images = c->images,
	    .registries = c->registries};

	snprintf(code, sizeof(code), "%s/code", c->config.data);
	c->aws = aws_new(c->loop, &config);
	if (open_s3(c, e) < 0)
		return -EIO;
	c->iam = iam_open(c->store, c->auth, e);
	c->lambda = c->iam ? lambda_open(&lambda, e) : NULL;
	if (!c->lambda)
		return -EIO;
	lambda_set_engine(c->lambda, c->aws);
	lambda_target_add(c->lambda, c->targets);
	c->sts = sts_open(c->auth, find_role, c->iam);
	c->logs_service = logs_service_open(c->logs);
	c->sqs = sqs_open(c->queues, c->store, c->url);
	sqs_target_add(c->sqs, c->targets);
	aws_service_add(c->aws, &lambda_service, c->lambda);
	aws_service_add(c->aws, &logs_service, c->logs_service);
	aws_service_add(c->aws, &sqs_service, c->sqs);
	aws_service_add(c->aws, &sts_service, c->sts);
	aws_service_add(c->aws, &iam_service, c->iam);
	return 0;
}

static int open_secrets(struct core *c, struct err *e)
{
	c->ssm = ssm_open(c->store, c->auth, e);
	c->secretsmanager = c->ssm ? secretsmanager_open(c->loop, c->store, c->auth, e) : NULL;
	if (!c->secretsmanager)
		return -EIO;
	aws_service_add(c->aws, &ssm_service, c->ssm);
	aws_service_add(c->aws, &secretsmanager_service, c->secretsmanager);
	return 0;
}

/* The registry speaks docker's API and ECR's; both have the same repositories. */
static void open_registry(struct core *c)
{
	const struct ecr_options o = {.loop = c->loop,
	    .store = c->store,
	    .auth = c->auth,
	    .images = c->images,
	    .url = c->url,
	    .dev = c->config.dev};
	struct registry_options registry = {.images = c->images, .allowed = ecr_allowed};

	c->ecr = ecr_open(&o);
	registry.ctx = c->ecr;
	registry_open(&registry);
	aws_service_add(c->aws, &ecr_service, c->ecr);
}

/* The address that clients use: of the first listener. */
static int find_url(struct core *c, struct err *e)
{
	struct sockaddr_storage any;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&any;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&any;
	socklen_t len = sizeof(any);
	char text[INET6_ADDRSTRLEN];

	if (getsockname(CORE_FD_FIRST_LISTENER, (struct sockaddr *)&any, &len) < 0)
		return err_sys(e, errno, "asking for the address of the first listener");
	if (any.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
		snprintf(c->url, sizeof(c->url), "http://[%s]:%u",
		    IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ? "::1" : text, ntohs(v6->sin6_port));
		return 0;
	}
	inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
	snprintf(c->url, sizeof(c->url), "http://%s:%u",
	    v4->sin_addr.s_addr == htonl(INADDR_ANY) ? "127.0.0.1" : text, ntohs(v4->sin_port));
	return 0;
}

static int open_doors(struct core *c, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/endpoint", c->config.data);
	char line[80];
	int n, r;

	c->parts = (struct front_parts){.loop = c->loop,
	    .aws = c->aws,
	    .lambda = c->lambda,
	    .meter = c->meter,
	    .invoke = c->invoke,
	    .boxes = c->boxes,
	    .spawn = boxes_spawn(c->boxes),
	    .images = c->images,
	    .tasks = c->tasks,
	    .own_hosts = c->registries,
	    .dev = c->config.dev};
	for (unsigned i = 0; i < c->config.listeners; i++)
		if (!http_listen(c->server, CORE_FD_FIRST_LISTENER + (int)i, NULL, e))
			return -EIO;
	n = snprintf(line, sizeof(line), "%s\n", c->url);
	r = fd_write_file(AT_FDCWD, path, line, (size_t)n, 0644);
	return r < 0 ? err_sys(e, -r, "writing %s", path) : 0;
}

int core_open(struct core *c, struct err *e)
{
	int r;

	c->loop = loop_new(WORKERS, e);
	if (!c->loop)
		return -EIO;
	loop_set_spin(c->loop, c->config.spin_us * 1000);
	r = find_url(c, e);
	if (r == 0)
		r = open_data(c, e);
	if (r < 0)
		return r;
	c->targets = targets_new(c->loop, c->store);
	c->server = front_open(&c->parts, c->loop);
	c->box_server = front_open(&c->parts, c->loop);
	r = open_invoke(c, e);
	if (r == 0)
		r = core_open_images(c, e);
	if (r == 0)
		r = open_services(c, e);
	if (r == 0)
		r = open_secrets(c, e);
	if (r == 0)
		r = core_open_containers(c, e);
	if (r == 0)
		open_registry(c);
	if (r == 0)
		r = open_sources(c, e);
	if (r == 0)
		r = open_doors(c, e);
	if (r < 0)
		return r;
	targets_resume(c->targets);
	invoke_resume(c->invoke);
	sources_resume(c->sources);
	s3_resume(c->s3);
	return 0;
}

void core_begin_no_more(struct core *c)
{
	c->parts.draining = true;
	if (c->sources)
		sources_stop(c->sources);
	if (c->invoke)
		invoke_stop(c->invoke);
	if (c->targets)
		targets_stop(c->targets);
	if (c->queues)
		queues_stop(c->queues);
}

void core_close(struct core *c)
{
	core_begin_no_more(c);
	tasks_leave(c->tasks);
	/* Boxes hold listeners of the server, so they go first. */
	boxes_free(c->boxes);
	if (c->box_server)
		front_close(c->box_server);
	if (c->server)
		front_close(c->server);
	if (c->images)
		images_stop(c->images);
	/* Callbacks of the last writes still find everything they belong to. */
	store_close(c->store);
	tasks_close(c->tasks);
	logs_close(c->logs);
	meter_close(c->meter);
	/* The rest is memory, and the process ends. */
}
