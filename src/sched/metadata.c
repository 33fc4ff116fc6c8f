/*
 * The task metadata endpoint, version 4, at 169.254.170.2 of each network namespace: about a
 * container, its task, what they use, and the keys of its role. A namespace reaches only its own
 * task. Clients are hostile: few connections, small bodies, a bucket of requests for each task.
 *
 * Tasks in the host's network have no namespace of their own: they ask at the server, at a path
 * that begins with a key which is in their environment only, as other users of the host reach it,
 * too.
 */
#include <openssl/crypto.h>
#include <stdio.h>

#include "base/time.h"
#include "sched/task_int.h"

/* ECS's: steady and burst. */
#define RATE 40.0
#define BURST 60.0

/* ---- answers ---- */

void metadata_reply(struct http_request *r, unsigned status, json_t *json)
{
	static const struct http_header type = {{"Content-Type", 12}, {"application/json", 16}};
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	json_decref(json);
	http_reply(r, status, &type, 1, str_from(text ? text : "null"));
}

void metadata_error(struct http_request *r, unsigned status, const char *code, const char *message)
{
	metadata_reply(r, status,
	    json_pack(
		"{s:s, s:s, s:i}", "code", code, "message", message, "HTTPErrorCode", (int)status));
}

/* ---- a container ---- */

static void set_iso(json_t *o, const char *name, int64_t ms)
{
	char text[TIME_ISO_SIZE];

	if (!ms)
		return;
	time_format_iso_ms(ms, text);
	docs_set(o, name, text);
}

static const char *after(const char *s, char c)
{
	const char *at = s ? strrchr(s, c) : NULL;

	return at ? at + 1 : "";
}

static json_t *labels(const struct unit *u)
{
	const struct task *t = u->task;
	const char *definition = docs_str(t->base, "taskDefinitionArn");
	json_t *o = json_object(), *more = json_object_get(u->def, "dockerLabels");

	if (more)
		json_object_update(o, more);
	docs_set(o, "com.amazonaws.ecs.cluster", t->cluster);
	docs_set(o, "com.amazonaws.ecs.container-name", u->name);
	docs_set(o, "com.amazonaws.ecs.task-arn", t->arn);
	docs_set(o, "com.amazonaws.ecs.task-definition-family", docs_str(t->definition, "family"));
	docs_set(o, "com.amazonaws.ecs.task-definition-version", after(definition, ':'));
	return o;
}

static json_t *networks(const struct unit *u)
{
	static const char *const modes[] = {"none", "awsvpc", "bridge", "host"};
	const struct place *p = unit_place(u);
	json_t *o = json_pack("{s:s}", "NetworkMode", modes[u->task->network]);
	char text[64];

	if (*p->address) {
		json_object_set_new(o, "IPv4Addresses", json_pack("[s]", p->address));
		docs_set(o, "MACAddress", p->mac);
		snprintf(text, sizeof(text), "%s/%u", p->gateway, p->prefix_len);
		docs_set(o, "SubnetGatewayIpv4Address", text);
	}
	if (u->task->network == CONTAINER_NET_TASK && *p->address) {
		docs_set_int(o, "AttachmentIndex", 0);
		spec_dns_name(p->address, text);
		docs_set(o, "PrivateDNSName", text);
	}
	return json_pack("[o]", o);
}

static json_t *ports(const struct unit *u)
{
	json_t *list = json_array(), *m;
	size_t i;

	for (i = 0; i < u->place.port_count; i++) {
		const struct container_port *p = &u->place.ports[i];

		json_array_append_new(
		    list, json_pack("{s:i, s:s, s:i, s:s}", "ContainerPort", p->inside, "Protocol",
			      p->udp ? "udp" : "tcp", "HostPort", p->host, "HostIp",
			      *p->host_address ? p->host_address : "0.0.0.0"));
	}
	if (u->task->network == CONTAINER_NET_BRIDGE)
		return list;
	json_array_foreach(json_object_get(u->def, "portMappings"), i, m)
	{
		const char *protocol = docs_str(m, "protocol");

		json_array_append_new(list, json_pack("{s:I, s:s}", "ContainerPort",
						(json_int_t)docs_int(m, "containerPort"),
						"Protocol", protocol ? protocol : "tcp"));
	}
	return list;
}

static json_t *health(const struct unit *u)
{
	const struct check_run *h = &u->health;
	json_t *o;

	if (!json_object_get(u->def, "healthCheck"))
		return NULL;
	o = json_pack("{s:s, s:i}", "status", record_health(h->status), "exitCode", h->exit_code);
	set_iso(o, "statusSince", h->since_ms);
	if (*h->output && utf8_valid(str_from(h->output)))
		docs_set(o, "output", h->output);
	return o;
}

static const char *arn_of(const struct unit *u)
{
	const json_t *list = json_object_get(u->task->base, "containers"), *c;
	size_t i;

	json_array_foreach(list, i, c)
	{
		const char *name = docs_str(c, "name");

		if (name && !strcmp(name, u->name))
			return docs_str(c, "containerArn");
	}
	return NULL;
}

static void set_log(json_t *o, const struct unit *u)
{
	const json_t *log = json_object_get(u->def, "logConfiguration");
	json_t *options = json_object_get(log, "options");
	const char *driver = docs_str(log, "logDriver");

	docs_set(o, "LogDriver", driver ? driver : "json-file");
	if (options)
		json_object_set(o, "LogOptions", options);
}

json_t *metadata_container(const struct unit *u)
{
	json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:{s:I, s:I}, s:s, s:o}", "DockerId",
	    u->id, "Name", u->name, "Labels", labels(u), "Ports", ports(u), "DesiredStatus",
	    u->task->stop_code ? "STOPPED" : "RUNNING", "KnownStatus", unit_status(u), "Limits",
	    "CPU", (json_int_t)spec_number(spec_member(u, "cpu")), "Memory",
	    (json_int_t)spec_number(spec_member(u, "memory")), "Type", "NORMAL", "Networks",
	    networks(u));
	char name[320];

	snprintf(name, sizeof(name), "ecs-%s-%s-%s-%.20s", docs_str(u->task->definition, "family"),
	    after(docs_str(u->task->base, "taskDefinitionArn"), ':'), u->name, u->id);
	docs_set(o, "DockerName", name);
	docs_set(o, "Image", docs_str(u->def, "image"));
	docs_set(o, "ImageID", *u->digest ? u->digest : NULL);
	docs_set(o, "ContainerARN", arn_of(u));
	if (u->has_exit_code)
		docs_set_int(o, "ExitCode", u->exit_code);
	set_iso(o, "CreatedAt", u->created_ms);
	set_iso(o, "StartedAt", u->started_ms);
	set_iso(o, "FinishedAt", u->finished_ms);
	if (json_object_get(u->def, "healthCheck"))
		json_object_set_new(o, "Health", health(u));
	if (json_object_get(u->def, "restartPolicy"))
		docs_set_int(o, "RestartCount", u->restarts);
	set_log(o, u);
	return o;
}

/* ---- a task ---- */

static void set_limits(json_t *o, const struct task *t)
{
	int64_t cpu = spec_task_size(t, "cpu"), memory = spec_task_size(t, "memory");
	json_t *limits = json_object();

	if (cpu)
		json_object_set_new(limits, "CPU", json_real((double)cpu / 1024));
	if (memory)
		docs_set_int(limits, "Memory", memory);
	if (cpu || memory)
		json_object_set(o, "Limits", limits);
	json_decref(limits);
}

static json_t *tag_map(const json_t *tags)
{
	json_t *o = json_object(), *v;
	size_t i;

	json_array_foreach(tags, i, v)
	{
		const char *key = docs_str(v, "key"), *value = docs_str(v, "value");

		if (key)
			docs_set(o, key, value ? value : "");
	}
	return o;
}

json_t *metadata_task(const struct task *t, bool tags)
{
	const char *cluster = docs_str(t->base, "clusterArn"), *launch, *group;
	json_t *list = json_array(), *o;

	for (unsigned i = 0; i < t->unit_count; i++)
		json_array_append_new(list, metadata_container(&t->units[i]));
	o = json_pack("{s:s, s:s, s:s, s:s, s:o, s:b}", "TaskARN", t->arn, "Revision",
	    after(docs_str(t->base, "taskDefinitionArn"), ':'), "DesiredStatus",
	    t->stop_code ? "STOPPED" : "RUNNING", "KnownStatus",
	    t->phase < TASK_RUNNING    ? "PENDING"
	    : t->phase == TASK_RUNNING ? "RUNNING"
				       : "STOPPED",
	    "Containers", list, "FaultInjectionEnabled", 0);
	launch = docs_str(t->base, "launchType");
	group = docs_str(t->base, "group");
	docs_set(o, "Cluster", cluster ? cluster : t->cluster);
	docs_set(o, "Family", docs_str(t->definition, "family"));
	docs_set(o, "LaunchType", launch ? launch : "EC2");
	docs_set(o, "AvailabilityZone", docs_str(t->base, "availabilityZone"));
	if (group && !strncmp(group, "service:", 8))
		docs_set(o, "ServiceName", group + 8);
	set_iso(o, "PullStartedAt", t->pull_started_ms);
	set_iso(o, "PullStoppedAt", t->pull_stopped_ms);
	set_iso(o, "ExecutionStoppedAt", t->execution_stopped_ms);
	set_limits(o, t);
	if (tags)
		json_object_set_new(o, "TaskTags", tag_map(json_object_get(t->base, "tags")));
	return o;
}

static json_t *task_stats(struct task *t)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < t->unit_count; i++)
		if (t->units[i].phase == UNIT_RUNNING)
			json_object_set_new(o, t->units[i].id, stats_container(&t->units[i]));
	return o;
}

/* ---- requests ---- */

static bool allowed(struct task *t)
{
	int64_t now = time_mono_ns();

	t->tokens =
	    t->tokens_at_ns ? t->tokens + (double)(now - t->tokens_at_ns) / 1e9 * RATE : BURST;
	if (t->tokens > BURST)
		t->tokens = BURST;
	t->tokens_at_ns = now;
	if (t->tokens < 1)
		return false;
	t->tokens -= 1;
	return true;
}

struct unit *metadata_unit(const struct task *t, struct str id)
{
	char text[64];

	for (unsigned i = 0; i < t->unit_count; i++) {
		unit_metadata_id(&t->units[i], text);
		if (str_is(id, text))
			return &t->units[i];
	}
	return NULL;
}

static void serve(struct task *t, struct str path, struct http_request *r)
{
	struct str rest = str_sub(path, 4), id = str_cut(&rest, '/');
	struct unit *u = str_has_prefix(path, "/v4/") ? metadata_unit(t, id) : NULL;

	while (rest.len && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	if (!u)
		metadata_reply(
		    r, 404, json_string("V4 metadata handler: unable to get metadata: not found"));
	else if (!rest.len)
		metadata_reply(r, 200, metadata_container(u));
	else if (str_is(rest, "task"))
		metadata_reply(r, 200, metadata_task(t, false));
	else if (str_is(rest, "taskWithTags"))
		metadata_reply(r, 200, metadata_task(t, true));
	else if (str_is(rest, "stats"))
		metadata_reply(r, 200, stats_container(u));
	else if (str_is(rest, "task/stats"))
		metadata_reply(r, 200, task_stats(t));
	else
		metadata_reply(r, 404, json_string("404 page not found"));
}

static void on_head(struct http_request *r)
{
	r->body_limit = 4096;
}

static void answer(struct task *t, struct str path, struct http_request *r)
{
	if (!allowed(t))
		metadata_reply(r, 429, json_string("You have reached maximum request limit."));
	else if (str_has_prefix(path, "/api/"))
		agent_serve(t, str_sub(path, 5), r);
	else if (!str_is(r->method, "GET"))
		metadata_reply(r, 405, json_string("405 method not allowed"));
	else if (!credentials_serve(t, path, r))
		serve(t, path, r);
}

static void on_request(struct http_request *r)
{
	answer(r->listener_ctx, r->path, r);
}

const struct http_handler metadata_handler = {
    .on_head = on_head, .on_request = on_request, .on_cancel = tasks_metadata_cancel};

void tasks_metadata(const struct tasks *all, struct http_request *r)
{
	struct str path = str_sub(r->path, sizeof(TASKS_METADATA_PATH) - 1);
	struct str key = {path.ptr, sizeof(((struct task *)NULL)->metadata_key) - 1};

	list_for_each (n, &all->live) {
		struct task *t = list_entry(n, struct task, node);

		if (t->network == CONTAINER_NET_HOST && path.len > key.len &&
		    CRYPTO_memcmp(key.ptr, t->metadata_key, key.len) == 0) {
			answer(t, str_sub(path, key.len), r);
			return;
		}
	}
	metadata_reply(r, 404, json_string("404 page not found"));
}
