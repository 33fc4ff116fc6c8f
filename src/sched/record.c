/*
 * A task as ECS shows it, made of what the service gave us and of our state; and our own part, from
 * which a new core goes on. Rendered whole each time, so that nothing can be forgotten.
 */
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "sched/task_int.h"

static const char *const phases[] = {
    [TASK_PROVISIONING] = "PROVISIONING",
    [TASK_PENDING] = "PENDING",
    [TASK_ACTIVATING] = "ACTIVATING",
    [TASK_RUNNING] = "RUNNING",
    [TASK_DEACTIVATING] = "DEACTIVATING",
    [TASK_STOPPING] = "STOPPING",
    [TASK_DEPROVISIONING] = "DEPROVISIONING",
    [TASK_STOPPED] = "STOPPED",
};

const char *record_health(enum health h)
{
	static const char *const names[] = {"UNKNOWN", "HEALTHY", "UNHEALTHY"};

	return names[h];
}

static bool checked(const struct unit *u)
{
	return json_array_size(json_object_get(json_object_get(u->def, "healthCheck"), "command")) >
	       1;
}

/* The worst of the essential containers that have a check. */
enum health record_task_health(const struct task *t)
{
	bool unknown = false, any = false;

	for (unsigned i = 0; i < t->unit_count; i++) {
		const struct unit *u = &t->units[i];

		if (!u->essential || !checked(u))
			continue;
		any = true;
		if (u->health.status == HEALTH_UNHEALTHY)
			return HEALTH_UNHEALTHY;
		unknown |= u->health.status == HEALTH_UNKNOWN;
	}
	return any && !unknown ? HEALTH_HEALTHY : HEALTH_UNKNOWN;
}

static void set_time(json_t *o, const char *name, int64_t ms)
{
	if (ms)
		json_object_set_new(o, name, json_real((double)ms / 1000));
}

/* ---- network ---- */

static void add_binding(
    json_t *list, const char *ip, const char *protocol, int64_t inside, int64_t host)
{
	json_array_append_new(
	    list, json_pack("{s:s, s:I, s:I, s:s}", "bindIP", ip, "containerPort",
		      (json_int_t)inside, "hostPort", (json_int_t)host, "protocol", protocol));
}

static json_t *bindings(const struct unit *u)
{
	json_t *list = json_array(), *m;
	size_t i;

	for (i = 0; i < u->place.port_count; i++) {
		const struct container_port *p = &u->place.ports[i];

		add_binding(list, *p->host_address ? p->host_address : "0.0.0.0",
		    p->udp ? "udp" : "tcp", p->inside, p->host);
	}
	if (u->task->network != CONTAINER_NET_HOST || !u->started)
		return list;
	json_array_foreach(json_object_get(u->def, "portMappings"), i, m)
	{
		const char *protocol = docs_str(m, "protocol");
		int64_t port = docs_int(m, "containerPort");

		if (port)
			add_binding(list, "0.0.0.0", protocol ? protocol : "tcp", port, port);
	}
	return list;
}

static void attachment_id(const struct task *t, char ret[37])
{
	const char *s = t->sandbox_id;

	snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", s, s + 8, s + 12, s + 16, s + 20);
}

static void add_detail(json_t *list, const char *name, const char *value)
{
	if (value && *value)
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "value", value));
}

/* The service may have put a subnet's name where the request had one. */
static const char *subnet(const struct task *t)
{
	const json_t *list = json_object_get(t->base, "attachments"), *d;
	size_t i;

	json_array_foreach(json_object_get(json_array_get(list, 0), "details"), i, d)
	{
		const char *name = docs_str(d, "name");

		if (name && !strcmp(name, "subnetId"))
			return docs_str(d, "value");
	}
	return "subnet-00000000000000000";
}

static json_t *attachments(const struct task *t)
{
	char id[37], eni[32], dns[64] = "";
	json_t *details = json_array(), *a;
	const char *status = t->sandbox == SANDBOX_MADE        ? "ATTACHED"
			     : t->phase >= TASK_STOPPED        ? "DELETED"
			     : t->phase >= TASK_DEPROVISIONING ? "DETACHING"
							       : "PRECREATED";

	attachment_id(t, id);
	snprintf(eni, sizeof(eni), "eni-%.17s", t->sandbox_id);
	if (*t->place.address)
		spec_dns_name(t->place.address, dns);
	add_detail(details, "subnetId", subnet(t));
	add_detail(details, "networkInterfaceId", *t->place.address ? eni : NULL);
	add_detail(details, "macAddress", t->place.mac);
	add_detail(details, "privateDnsName", dns);
	add_detail(details, "privateIPv4Address", t->place.address);
	a = json_pack("[{s:s, s:s, s:s, s:o}]", "id", id, "type", "ElasticNetworkInterface",
	    "status", status, "details", details);
	return a;
}

static json_t *interfaces(const struct unit *u)
{
	const struct task *t = u->task;
	json_t *list = json_array();
	char id[37];

	if (t->network != CONTAINER_NET_TASK || !*t->place.address)
		return list;
	attachment_id(t, id);
	json_array_append_new(list,
	    json_pack("{s:s, s:s}", "attachmentId", id, "privateIpv4Address", t->place.address));
	return list;
}

/* ---- containers ---- */

/* The service's part of it, by name. */
static json_t *base_of(const json_t *list, const struct unit *u)
{
	size_t i;
	json_t *c;

	json_array_foreach(list, i, c)
	{
		const char *name = docs_str(c, "name");

		if (name && !strcmp(name, u->name))
			return json_deep_copy(c);
	}
	return json_object();
}

/* Sizes are texts here, and numbers in the definition. */
static void set_size(json_t *c, const struct unit *u, const char *name)
{
	const json_t *v = spec_member(u, name);
	char text[24];

	if (!v && strcmp(name, "cpu") != 0)
		return;
	snprintf(text, sizeof(text), "%" PRId64, spec_number(v));
	docs_set(c, name, text);
}

static json_t *container(const json_t *base, const struct unit *u)
{
	json_t *c = base_of(base, u);

	docs_set(c, "name", u->name);
	docs_set(c, "taskArn", u->task->arn);
	docs_set(c, "image", docs_str(u->def, "image"));
	docs_set(c, "lastStatus", unit_status(u));
	set_size(c, u, "cpu");
	set_size(c, u, "memory");
	set_size(c, u, "memoryReservation");
	if (*u->digest)
		docs_set(c, "imageDigest", u->digest);
	if (u->started || u->phase >= UNIT_MADE)
		docs_set(c, "runtimeId", u->id);
	if (u->has_exit_code && u->phase == UNIT_ENDED)
		docs_set_int(c, "exitCode", u->exit_code);
	docs_set(c, "reason", u->reason);
	docs_set(c, "healthStatus", record_health(u->health.status));
	json_object_set_new(c, "networkBindings", bindings(u));
	json_object_set_new(c, "networkInterfaces", interfaces(u));
	return c;
}

/* ---- the task ---- */

json_t *record_render(const struct task *t)
{
	json_t *r = json_deep_copy(t->base), *list = json_array();
	const json_t *base = json_object_get(t->base, "containers");

	for (unsigned i = 0; i < t->unit_count; i++)
		json_array_append_new(list, container(base, &t->units[i]));
	json_object_set_new(r, "containers", list);
	docs_set(r, "lastStatus", phases[t->phase]);
	docs_set(r, "desiredStatus", t->stop_code ? "STOPPED" : "RUNNING");
	docs_set(r, "healthStatus", record_health(record_task_health(t)));
	docs_set(r, "connectivity", "CONNECTED");
	set_time(r, "connectivityAt", t->connected_ms);
	set_time(r, "createdAt", t->created_ms);
	set_time(r, "pullStartedAt", t->pull_started_ms);
	set_time(r, "pullStoppedAt", t->pull_stopped_ms);
	set_time(r, "startedAt", t->started_ms);
	set_time(r, "stoppingAt", t->stopping_ms);
	set_time(r, "executionStoppedAt", t->execution_stopped_ms);
	set_time(r, "stoppedAt", t->stopped_ms);
	docs_set(r, "stopCode", t->stop_code);
	docs_set(r, "stoppedReason", t->stop_reason);
	if (t->network == CONTAINER_NET_TASK)
		json_object_set_new(r, "attachments", attachments(t));
	return r;
}

/* ---- our own part ---- */

static json_t *own_unit(const struct unit *u)
{
	json_t *o = json_pack("{s:i, s:b, s:I, s:i, s:i, s:i}", "attempt", (int)u->attempt,
	    "started", u->started, "startedMs", (json_int_t)u->started_ms, "phase", (int)u->phase,
	    "stopSignal", u->stop_signal, "health", (int)u->health.status);

	docs_set_int(o, "restarts", u->restarts);
	docs_set_int(o, "createdMs", u->created_ms);
	docs_set_int(o, "finishedMs", u->finished_ms);
	return o;
}

json_t *record_own(const struct task *t)
{
	json_t *units = json_array(), *o;

	for (unsigned i = 0; i < t->unit_count; i++)
		json_array_append_new(units, own_unit(&t->units[i]));
	o = json_pack("{s:s, s:s, s:i, s:o}", "sandbox", t->sandbox_id, "credentials",
	    t->credentials, "phase", (int)t->phase, "units", units);
	if (t->network == CONTAINER_NET_HOST)
		docs_set(o, "metadataKey", t->metadata_key);
	if (*t->place.address)
		json_object_set_new(o, "net",
		    json_pack("{s:s, s:s, s:s, s:i}", "address", t->place.address, "gateway",
			t->place.gateway, "mac", t->place.mac, "prefix", (int)t->place.prefix_len));
	return o;
}

static int64_t get_time(const json_t *o, const char *name)
{
	return (int64_t)(json_number_value(json_object_get(o, name)) * 1000 + 0.5);
}

static void copy_text(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static char *dup_text(const json_t *o, const char *name)
{
	const char *s = docs_str(o, name);

	return s ? xstrdup(s) : NULL;
}

static void load_unit(struct unit *u, const json_t *c, const json_t *own)
{
	const json_t *code = json_object_get(c, "exitCode");

	u->attempt = (unsigned)docs_int(own, "attempt");
	u->restarts = (unsigned)docs_int(own, "restarts");
	unit_set_id(u);
	u->started = json_is_true(json_object_get(own, "started"));
	u->started_ms = docs_int(own, "startedMs");
	u->created_ms = docs_int(own, "createdMs");
	u->finished_ms = docs_int(own, "finishedMs");
	u->stop_signal = (int)docs_int(own, "stopSignal");
	u->health.status = (enum health)docs_int(own, "health");
	u->phase = (enum unit_phase)docs_int(own, "phase");
	u->has_exit_code = code != NULL;
	u->exit_code = (int)json_integer_value(code);
	u->reason = dup_text(c, "reason");
	copy_text(u->digest, sizeof(u->digest), docs_str(c, "imageDigest"));
}

void record_restore(struct task *t, const json_t *record, const json_t *own)
{
	const json_t *net = json_object_get(own, "net"), *list = json_object_get(own, "units"),
		     *containers = json_object_get(record, "containers");

	copy_text(t->sandbox_id, sizeof(t->sandbox_id), docs_str(own, "sandbox"));
	copy_text(t->credentials, sizeof(t->credentials), docs_str(own, "credentials"));
	if (docs_str(own, "metadataKey"))
		copy_text(t->metadata_key, sizeof(t->metadata_key), docs_str(own, "metadataKey"));
	t->phase = (enum task_phase)docs_int(own, "phase");
	copy_text(t->place.address, sizeof(t->place.address), docs_str(net, "address"));
	copy_text(t->place.gateway, sizeof(t->place.gateway), docs_str(net, "gateway"));
	copy_text(t->place.mac, sizeof(t->place.mac), docs_str(net, "mac"));
	t->place.prefix_len = (unsigned)docs_int(net, "prefix");
	t->stop_code = dup_text(record, "stopCode");
	t->stop_reason = dup_text(record, "stoppedReason");
	t->connected_ms = get_time(record, "connectivityAt");
	t->created_ms = get_time(record, "createdAt");
	t->pull_started_ms = get_time(record, "pullStartedAt");
	t->pull_stopped_ms = get_time(record, "pullStoppedAt");
	t->started_ms = get_time(record, "startedAt");
	t->stopping_ms = get_time(record, "stoppingAt");
	t->execution_stopped_ms = get_time(record, "executionStoppedAt");
	t->stopped_ms = get_time(record, "stoppedAt");
	for (unsigned i = 0; i < t->unit_count; i++)
		load_unit(&t->units[i], json_array_get(containers, i), json_array_get(list, i));
}
