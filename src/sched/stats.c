/*
 * What containers use: files of the kernel that the spawner opened for us, read when somebody asks.
 * They are asked for at the first question (which then has no answer yet), so that containers that
 * nobody looks at cost nothing. And Docker's form of it, for the metadata endpoint.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/time.h"
#include "sched/task_int.h"

struct sample {
	struct task_stats s;
	uint64_t rx_packets, tx_packets, peak;
	int64_t at_ns, at_ms;
	bool networks;
};

/* Outlives its unit's interest in it, until the spawner has answered. */
struct usage {
	struct task *task;
	struct unit *unit; /* NULL: nobody waits any more */
	struct container_usage files;
	bool open;
	struct sample last; /* at_ns 0: none */
};

static void close_files(struct usage *u)
{
	int *fds[] = {
	    &u->files.memory, &u->files.peak, &u->files.cpu, &u->files.pids, &u->files.net};

	for (size_t i = 0; u->open && i < ARRAY_SIZE(fds); i++)
		base_closep(fds[i]);
	u->open = false;
}

static void on_usage(void *ctx, const struct container_usage *files)
{
	struct usage *u = ctx;

	u->task->ops--;
	if (files) {
		u->files = *files;
		u->open = true;
	}
	if (u->unit)
		return;
	close_files(u);
	task_wake(u->task);
	free(u);
}

void stats_open(struct unit *unit)
{
	struct usage *u;

	if (unit->usage || unit->phase != UNIT_RUNNING)
		return;
	u = xcalloc(1, sizeof(*u));
	u->task = unit->task;
	u->unit = unit;
	u->files = (struct container_usage){-1, -1, -1, -1, -1};
	unit->usage = u;
	unit->task->ops++;
	spawn_container_usage(unit->task->all->o.spawn, unit->id, on_usage, u);
}

void stats_close(struct unit *unit)
{
	struct usage *u = take_ptr(unit->usage);

	if (!u)
		return;
	if (!u->open) {
		u->unit = NULL; /* on_usage() frees it */
		return;
	}
	close_files(u);
	free(u);
}

/* ---- reading ---- */

static size_t read_text(int fd, char *text, size_t size)
{
	ssize_t n = fd >= 0 ? pread(fd, text, size - 1, 0) : -1;

	text[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

static uint64_t read_number(int fd)
{
	char text[64];

	return read_text(fd, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

static uint64_t read_cpu_ns(int fd)
{
	char text[1024];
	const char *v2;

	if (!read_text(fd, text, sizeof(text)))
		return 0;
	v2 = strstr(text, "usage_usec ");
	return v2 ? strtoull(v2 + 11, NULL, 10) * 1000 : strtoull(text, NULL, 10);
}

/* /proc/net/dev: two lines of heads, then "NAME: rx-bytes rx-packets ... tx-bytes tx-packets". */
static void read_net(int fd, struct sample *s)
{
	char text[4096], *line, *save = NULL;

	if (!read_text(fd, text, sizeof(text)))
		return;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[32];
		unsigned long long rx, rxp, tx, txp;

		if (sscanf(line, " %31[^: ]: %llu %llu %*u %*u %*u %*u %*u %*u %llu %llu", name,
			&rx, &rxp, &tx, &txp) != 5 ||
		    !strcmp(name, "lo"))
			continue;
		s->s.rx_bytes += rx;
		s->s.tx_bytes += tx;
		s->rx_packets += rxp;
		s->tx_packets += txp;
		s->networks = true;
	}
}

static uint64_t limit_of(const struct unit *u)
{
	int64_t mib = spec_number(spec_member(u, "memory"));

	if (!mib)
		mib = spec_task_size(u->task, "memory");
	if (!mib)
		mib = u->task->all->host.memory_mib;
	return (uint64_t)mib << 20;
}

static int take(const struct unit *unit, struct sample *ret)
{
	const struct usage *u = unit->usage;

	if (!u || !u->open)
		return -EAGAIN;
	*ret = (struct sample){.at_ns = time_mono_ns(), .at_ms = time_wall_ms()};
	ret->s.memory_bytes = read_number(u->files.memory);
	ret->peak = read_number(u->files.peak);
	ret->s.memory_limit_bytes = limit_of(unit);
	ret->s.cpu_ns = read_cpu_ns(u->files.cpu);
	ret->s.pids = read_number(u->files.pids);
	if (unit->task->network != CONTAINER_NET_HOST)
		read_net(u->files.net, ret);
	return 0;
}

int tasks_container_stats(
    const struct tasks *all, const char *task_arn, const char *name, struct task_stats *ret)
{
	const struct task *t = task_find(all, task_arn);
	struct unit *u = t ? task_unit(t, name) : NULL;
	struct sample s;
	int r;

	if (!u || u->phase != UNIT_RUNNING)
		return -ENOENT;
	stats_open(u);
	r = take(u, &s);
	if (r == 0)
		*ret = s.s;
	return r;
}

/* ---- Docker's form ---- */

static json_t *cpu_json(const struct unit *u, const struct sample *s)
{
	json_int_t cpus = u->task->all->host.cpu_units / 1024;

	if (!s->at_ns)
		return json_pack("{s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i}}", "cpu_usage",
		    "total_usage", 0, "usage_in_kernelmode", 0, "usage_in_usermode", 0,
		    "throttling_data", "periods", 0, "throttled_periods", 0, "throttled_time", 0);
	/* What all CPUs together could have done: the clients' formula wants the difference. */
	return json_pack("{s:{s:I, s:i, s:i}, s:I, s:I, s:{s:i, s:i, s:i}}", "cpu_usage",
	    "total_usage", (json_int_t)s->s.cpu_ns, "usage_in_kernelmode", 0, "usage_in_usermode",
	    0, "system_cpu_usage", (json_int_t)s->at_ns * cpus, "online_cpus", cpus,
	    "throttling_data", "periods", 0, "throttled_periods", 0, "throttled_time", 0);
}

static void add_net(json_t *o, const struct sample *s, const struct sample *before)
{
	double seconds = (double)(s->at_ns - before->at_ns) / 1e9;

	if (!s->networks)
		return;
	json_object_set_new(o, "networks",
	    json_pack("{s:{s:I, s:I, s:i, s:i, s:I, s:I, s:i, s:i}}", "eth0", "rx_bytes",
		(json_int_t)s->s.rx_bytes, "rx_packets", (json_int_t)s->rx_packets, "rx_errors", 0,
		"rx_dropped", 0, "tx_bytes", (json_int_t)s->s.tx_bytes, "tx_packets",
		(json_int_t)s->tx_packets, "tx_errors", 0, "tx_dropped", 0));
	if (before->at_ns && seconds > 0)
		json_object_set_new(o, "network_rate_stats",
		    json_pack("{s:f, s:f}", "rx_bytes_per_sec",
			(double)(s->s.rx_bytes - before->s.rx_bytes) / seconds, "tx_bytes_per_sec",
			(double)(s->s.tx_bytes - before->s.tx_bytes) / seconds));
}

static void set_read(json_t *o, const char *name, int64_t ms)
{
	char text[TIME_ISO_SIZE];

	time_format_iso_ms(ms, text);
	docs_set(o, name, ms ? text : "0001-01-01T00:00:00Z");
}

json_t *stats_container(struct unit *u)
{
	struct sample s;
	json_t *o;

	stats_open(u);
	if (take(u, &s) < 0)
		return json_null();
	o = json_pack("{s:i, s:{s:I}, s:o, s:o, s:{s:I, s:I, s:I, s:{}}, s:{}, s:{}}", "num_procs",
	    0, "pids_stats", "current", (json_int_t)s.s.pids, "cpu_stats", cpu_json(u, &s),
	    "precpu_stats", cpu_json(u, &u->usage->last), "memory_stats", "usage",
	    (json_int_t)s.s.memory_bytes, "max_usage", (json_int_t)s.peak, "limit",
	    (json_int_t)s.s.memory_limit_bytes, "stats", "blkio_stats", "storage_stats");
	set_read(o, "read", s.at_ms);
	set_read(o, "preread", u->usage->last.at_ms);
	docs_set(o, "name", u->name);
	docs_set(o, "id", u->id);
	add_net(o, &s, &u->usage->last);
	u->usage->last = s;
	return o;
}
