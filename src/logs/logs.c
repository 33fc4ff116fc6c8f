/* Logs: opening, closing and what a timer does about retention. See logs.h. */
#include "logs/logs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "logs/logs_int.h"

#define DAY_MS 86400000
#define EXPIRE_NS (30 * 1000000000ll)
#define EXPIRE_GROUPS 8 /* a turn of the timer */

static int load(void *ctx, struct str key, struct str value, int64_t version)
{
	(void)version;
	if (log_group_load(ctx, key, value) < 0)
		log_error("log group %.*s has a damaged entry in the store and is left out",
		    STR_FMT(key));
	return 0;
}

/* Finish deletions that a crash cut short. */
static void remove_gone(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *n, *m;

	while (d && (n = readdir(d))) {
		DIR *sub;
		int fd;

		if (!str_has_suffix(str_from(n->d_name), ".gone"))
			continue;
		fd = openat(dirfd(d), n->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		sub = fd < 0 ? NULL : fdopendir(fd);
		while (sub && (m = readdir(sub)))
			if (m->d_name[0] != '.')
				unlinkat(fd, m->d_name, 0);
		if (sub)
			closedir(sub);
		unlinkat(dirfd(d), n->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

static void drop_streams(struct log_group *group)
{
	for (uint32_t i = 1; i < group->id_count; i++) {
		struct log_stream *s = group->by_id[i];

		if (s && s->refs == 1 && s->last_at && s->last_at < journal_first(group->journal))
			log_stream_remove(s);
	}
}

static void expire(struct log_group *group, int64_t now_ms)
{
	int64_t limit = now_ms - (int64_t)group->retention_days * DAY_MS;
	uint64_t before = 0;
	size_t n = 0;

	if (!group->retention_days || log_group_open(group, NULL) < 0)
		return;
	while (n + 1 < group->block_count && group->blocks[n].max_ms < limit)
		before = group->blocks[++n].from;
	if (!before || !journal_drop(group->journal, before))
		return;
	for (n = 0; n + 1 < group->block_count &&
		    group->blocks[n + 1].from <= journal_first(group->journal);)
		n++;
	group->block_count -= n;
	memmove(group->blocks, &group->blocks[n], group->block_count * sizeof(*group->blocks));
	drop_streams(group);
	log_table_save(group, false);
}

void logs_expire(struct logs *g, int64_t now_ms)
{
	for (size_t i = 0; i < g->count; i++)
		expire(g->sorted[i], now_ms);
}

static void on_timer(struct loop_timer *t)
{
	struct logs *g = container_of(t, struct logs, timer);
	unsigned done = 0;

	for (size_t i = 0; i < g->count && done < EXPIRE_GROUPS; i++) {
		struct log_group *group = g->sorted[g->expire_next++ % g->count];

		if (!group->retention_days)
			continue;
		expire(group, time_wall_ms());
		done++;
	}
	loop_timer_set(g->loop, t, EXPIRE_NS);
}

struct logs *logs_open(struct loop *l, struct store *s, const char *dir, struct err *e)
{
	struct logs *g = xcalloc(1, sizeof(*g));

	g->loop = l;
	g->store = s;
	g->dir = xstrdup(dir);
	g->timer.on_due = on_timer;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		err_sys(e, errno, "creating %s", dir);
		logs_close(g);
		return NULL;
	}
	remove_gone(dir);
	if (store_scan(s, "loggroup", STR(""), load, g, e) < 0) {
		logs_close(g);
		return NULL;
	}
	loop_timer_set(l, &g->timer, EXPIRE_NS);
	return g;
}

void logs_close(struct logs *g)
{
	if (!g)
		return;
	loop_timer_stop(g->loop, &g->timer);
	for (size_t i = 0; i < g->count; i++) {
		if (g->sorted[i]->journal && !g->sorted[i]->saving)
			log_table_save(g->sorted[i], true);
		log_group_unref(g->sorted[i]);
	}
	map_done(&g->groups);
	free(g->sorted);
	free(g->dir);
	free(g);
}
