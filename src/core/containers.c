/* Wiring of what images and containers need. Loop thread. See core.h. */
#include <stdio.h>
#include <string.h>

#include "core/core_int.h"
#include "core/inside.h"
#include "gen/ecs.h"
#include "image/image.h"
#include "sched/task.h"
#include "service/ecs/ecs.h"
#include "service/s3/s3.h"
#include "service/secretsmanager/secretsmanager.h"
#include "service/ssm/ssm.h"

#define TASK_KEYS_S (6 * 3600) /* as long as ECS's; asked for anew before they end */
#define OBJECT_MAX (1024 * 1024)

/* Names under which clients may mean our own registry: the server's address, in every spelling. */
static const char *const *own_hosts(const struct core *c)
{
	static char spelled[3][80];
	static const char *hosts[] = {spelled[0], spelled[1], spelled[2], NULL};
	const char *host = strstr(c->url, "//") + 2, *port = strrchr(host, ':');

	snprintf(spelled[0], sizeof(spelled[0]), "%s", host);
	snprintf(spelled[1], sizeof(spelled[1]), "localhost%s", port);
	snprintf(spelled[2], sizeof(spelled[2]), "127.0.0.1%s", port);
	return hosts;
}

int core_open_images(struct core *c, struct err *e)
{
	static char credentials[256]; /* outlives the room */
	const struct images_options o = {.loop = c->loop,
	    .store = c->store,
	    .spawn = boxes_spawn(c->boxes),
	    .data = c->config.data,
	    .docker_config = credentials,
	    .mirrors = c->config.mirrors,
	    .mirror_count = c->config.mirror_count,
	    .own_hosts = own_hosts(c),
	    .registry_timeout_s = c->config.registry_timeout_s};

	snprintf(credentials, sizeof(credentials), "%s/docker-config.json", c->config.data);
	c->registries = own_hosts(c);
	c->images = images_open(&o, e);
	return c->images ? 0 : -EIO;
}

/* ---- what tasks ask for ---- */

static int make_keys(void *ctx, const char *role_arn, const char *session, struct task_keys *ret)
{
	struct auth_keys keys;

	inside_role_keys(ctx, role_arn, session, TASK_KEYS_S, &keys);
	snprintf(ret->access_key_id, sizeof(ret->access_key_id), "%s", keys.access_key_id);
	snprintf(ret->secret_access_key, sizeof(ret->secret_access_key), "%s", keys.secret);
	snprintf(ret->session_token, sizeof(ret->session_token), "%s", keys.token);
	ret->expires_ms = keys.expires_ms;
	explicit_bzero(&keys, sizeof(keys));
	return 0;
}

/* ---- secrets ---- */

/* "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME[:json-key:stage:version]" */
static int read_secret(struct core *c, const char *account, const char *region, char *arn,
    struct buf *out, struct err *e)
{
	struct str rest = str_from(arn), parts[3] = {STR_NULL, STR_NULL, STR_NULL};
	char *text[3] = {NULL};
	int r;

	for (int i = 0; i < 7; i++)
		str_cut(&rest, ':');
	for (size_t i = 0; rest.ptr && i < ARRAY_SIZE(parts); i++)
		parts[i] = str_cut(&rest, ':');
	if (parts[0].ptr)
		arn[parts[0].ptr - arn - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		text[i] = xstrndup(parts[i].ptr ? parts[i].ptr : "", parts[i].len);
	r = secretsmanager_value(
	    c->secretsmanager, account, region, arn, text[0], text[1], text[2], out, e);
	for (size_t i = 0; i < ARRAY_SIZE(text); i++)
		free(text[i]);
	return r;
}

static void find_secret(void *ctx, const char *account, const char *region, const char *value_from,
    void (*done)(void *done_ctx, const char *value, const char *why), void *done_ctx)
{
	_cleanup_free_ char *name = xstrdup(value_from);
	struct buf value = BUF_INIT;
	struct core *c = ctx;
	struct err e = ERR_INIT;
	int r;

	if (str_has_prefix(str_from(name), "arn:aws:secretsmanager:"))
		r = read_secret(c, account, region, name, &value, &e);
	else
		r = ssm_value(c->ssm, account, region, name, &value, &e);
	buf_putc(&value, '\0');
	done(done_ctx, r < 0 ? NULL : buf_data(&value), r < 0 ? e.msg : NULL);
	explicit_bzero(buf_data(&value), buf_len(&value));
	buf_done(&value);
}

/* ---- objects ---- */

struct load {
	void (*done)(void *done_ctx, const struct str *data, const char *why);
	void *done_ctx;
};

static void on_object(void *arg, int result, struct str data, const char *text)
{
	struct load *l = arg;

	l->done(l->done_ctx, result < 0 ? NULL : &data, text);
	free(l);
}

/* "arn:aws:s3:::bucket/key" */
static void find_object(void *ctx, const char *account, const char *region, const char *arn,
    void (*done)(void *done_ctx, const struct str *data, const char *why), void *done_ctx)
{
	struct str rest = str_from(arn), bucket;
	_cleanup_free_ char *name = NULL;
	struct core *c = ctx;
	struct load *l;

	(void)region;
	for (int i = 0; i < 5; i++)
		str_cut(&rest, ':');
	bucket = str_cut(&rest, '/');
	if (!bucket.len || !rest.len) {
		done(done_ctx, NULL, "it must be an ARN such as arn:aws:s3:::bucket/name.env");
		return;
	}
	name = xstrndup(bucket.ptr, bucket.len);
	l = xcalloc(1, sizeof(*l));
	*l = (struct load){done, done_ctx};
	s3_object_load(c->s3, account, name, rest.ptr, NULL, OBJECT_MAX, on_object, l);
}

/* ---- protection ---- */

static void protect(void *ctx, const char *task_arn, const struct task_protect *change,
    task_protected_fn *done, void *done_ctx)
{
	struct core *c = ctx;

	ecs_protect(c->ecs, task_arn, change, done, done_ctx);
}

/* ---- opening ---- */

static int open_tasks(struct core *c, struct err *e)
{
	const struct tasks_options o = {.loop = c->loop,
	    .store = c->store,
	    .logs = c->logs,
	    .meter = c->meter,
	    .spawn = boxes_spawn(c->boxes),
	    .images = c->images,
	    .endpoint_port = INSIDE_PORT,
	    .host_endpoint = c->url,
	    .registries = c->registries,
	    .keys = make_keys,
	    .endpoint_open = inside_endpoint_open,
	    .endpoint_close = inside_endpoint_close,
	    .secret = find_secret,
	    .object = find_object,
	    .protect = protect,
	    .ctx = c};

	c->tasks = tasks_open(&o, e);
	return c->tasks ? 0 : -EIO;
}

int core_open_containers(struct core *c, struct err *e)
{
	struct ecs_options o = {.loop = c->loop, .store = c->store, .auth = c->auth};

	if (open_tasks(c, e) < 0)
		return -EIO;
	o.tasks = c->tasks;
	c->ecs = ecs_open(&o, e);
	if (!c->ecs)
		return -EIO;
	aws_service_add(c->aws, &ecs_service, c->ecs);
	return 0;
}
