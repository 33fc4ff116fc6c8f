/* The table of tasks, their records on disk, and what others call. See task_int.h. */
#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "sched/task_int.h"

#define SPACE "task"
#define RETRY_NS 1000000000

/* ---- one task ---- */

static void split_arn(struct task *t)
{
	struct str rest = str_from(t->arn), part[6];
	const char *slash;

	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		part[i] = str_cut(&rest, ':');
	t->region = xstrndup(part[3].ptr ? part[3].ptr : "", part[3].len);
	t->account = xstrndup(part[4].ptr ? part[4].ptr : "", part[4].len);
	(void)str_cut(&part[5], '/');
	rest = part[5];
	slash = rest.ptr ? memchr(rest.ptr, '/', rest.len) : NULL;
	t->cluster = slash ? xstrndup(rest.ptr, (size_t)(slash - rest.ptr)) : xstrdup("default");
	slash = strrchr(t->arn, '/');
	t->id = xstrdup(slash ? slash + 1 : t->arn);
}

static const json_t *find_override(const json_t *task, const char *name)
{
	const json_t *list =
	    json_object_get(json_object_get(task, "overrides"), "containerOverrides");
	size_t i;
	json_t *o;

	json_array_foreach(list, i, o)
	{
		const char *n = docs_str(o, "name");

		if (n && !strcmp(n, name))
			return o;
	}
	return NULL;
}

static void make_units(struct task *t)
{
	const json_t *list = json_object_get(t->definition, "containerDefinitions");

	t->unit_count = (unsigned)json_array_size(list);
	t->units = xcalloc(t->unit_count, sizeof(*t->units));
	for (unsigned i = 0; i < t->unit_count; i++) {
		struct unit *u = &t->units[i];
		const json_t *essential;

		u->task = t;
		u->index = i;
		u->def = json_array_get(list, i);
		u->name = docs_str(u->def, "name");
		if (!u->name)
			u->name = "";
		u->override = find_override(t->base, u->name);
		essential = json_object_get(u->def, "essential");
		u->essential = !essential || !json_is_false(essential);
	}
}

static void wake(struct loop_task *w);
static void on_due(struct loop_timer *timer);

struct task *task_new(struct tasks *all, json_t *base, json_t *definition)
{
	const char *arn = docs_str(base, "taskArn");
	struct task *t;

	if (!arn || !json_array_size(json_object_get(definition, "containerDefinitions"))) {
		json_decref(base);
		json_decref(definition);
		return NULL;
	}
	t = xcalloc(1, sizeof(*t));
	t->all = all;
	t->arn = xstrdup(arn);
	t->base = base;
	t->definition = definition;
	t->network = spec_network(definition);
	t->wake.run = wake;
	t->timer.on_due = on_due;
	t->due_ns = NEVER;
	split_arn(t);
	make_units(t);
	rand_hex(t->sandbox_id, CONTAINER_ID_SIZE - 1);
	rand_uuid(t->credentials);
	rand_uuid(t->metadata_key);
	for (unsigned i = 0; i < t->unit_count; i++)
		unit_set_id(&t->units[i]);
	host_sizes(definition, json_object_get(base, "overrides"), &t->cpu_units, &t->memory_mib);
	list_push_back(&all->live, &t->node);
	map_put(&all->by_arn, str_from(t->arn), t);
	map_put(&all->by_sandbox, str_from(t->sandbox_id), t);
	return t;
}

void task_free(struct task *t)
{
	loop_task_cancel(&t->wake);
	loop_timer_stop(t->all->o.loop, &t->timer);
	list_remove(&t->node);
	if (map_get(&t->all->by_arn, str_from(t->arn)) == t)
		map_remove(&t->all->by_arn, str_from(t->arn));
	map_remove(&t->all->by_sandbox, str_from(t->sandbox_id));
	for (unsigned i = 0; i < t->unit_count; i++) {
		if (t->all->left)
			unit_leave(&t->units[i]);
		else
			unit_done(&t->units[i]);
		free(t->units[i].reason);
	}
	place_close(t, &t->place);
	free(t->units);
	json_decref(t->base);
	json_decref(t->definition);
	json_decref(t->seen);
	json_decref(t->seen_own);
	free(t->arn);
	free(t->account);
	free(t->region);
	free(t->cluster);
	free(t->id);
	free(t->stop_code);
	free(t->stop_reason);
	free(t);
}

struct task *task_find(const struct tasks *all, const char *arn)
{
	return map_get(&all->by_arn, str_from(arn));
}

struct task *task_of_sandbox(const struct tasks *all, const char *sandbox_id)
{
	return map_get(&all->by_sandbox, str_from(sandbox_id));
}

struct unit *task_unit(const struct task *t, const char *name)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (!name || !*name || !strcmp(t->units[i].name, name))
			return &t->units[i];
	return NULL;
}

/* ---- awake ---- */

void task_wake(struct task *t)
{
	loop_defer(t->all->o.loop, &t->wake);
}

void task_due(struct task *t, int64_t at_ns)
{
	if (at_ns < t->due_ns)
		t->due_ns = at_ns;
}

static void on_due(struct loop_timer *timer)
{
	task_wake(container_of(timer, struct task, timer));
}

/* One that was refused, or whose record was dropped, goes when nothing will call back any more. */
static bool idle(const struct task *t)
{
	return !t->ops && !t->writes && !t->fetches;
}

static void wake(struct loop_task *w)
{
	struct task *t = container_of(w, struct task, wake);
	int64_t now = loop_now_ns(t->all->o.loop);

	if (t->adopting || t->all->left)
		return;
	do {
		t->due_ns = NEVER;
	} while (life_look(t));
	if (t->refused && t->phase == TASK_STOPPED && idle(t)) {
		task_free(t);
		return;
	}
	if (t->save_due_ns > now)
		task_due(t, t->save_due_ns); /* the last one failed */
	else
		task_save(t);
	if (t->due_ns == NEVER)
		loop_timer_stop(t->all->o.loop, &t->timer);
	else
		loop_timer_set(t->all->o.loop, &t->timer, t->due_ns > now ? t->due_ns - now : 0);
}

/* ---- records ---- */

struct save {
	struct task *task;
	void (*done)(void *ctx, int result);
	void *ctx;
	uint64_t number;
	bool visible; /* differs for clients */
};

uint64_t task_next_save(const struct task *t)
{
	return t->saves + 1;
}

bool task_saved(const struct task *t, uint64_t number)
{
	return t->saved >= number || t->refused;
}

static void on_saved(void *ctx, int result)
{
	struct save *s = ctx;
	struct task *t = s->task;
	struct tasks *all = t->all;

	t->writes--;
	t->saved = s->number;
	if (result < 0) {
		/* The next look writes it again. */
		json_decref(t->seen);
		t->seen = NULL;
		if (!t->on_disk) {
			t->refused = true;
			map_remove(&all->by_arn, str_from(t->arn));
			life_stop(t, "TaskFailedToStart", "its record could not be written");
		}
		t->save_due_ns = loop_now_ns(all->o.loop) + RETRY_NS;
	} else {
		t->on_disk = true;
	}
	if (result == 0 && s->visible && all->o.changed)
		all->o.changed(all->o.ctx, tasks_get(all, t->arn));
	if (s->done)
		s->done(s->ctx, result);
	task_wake(t);
	free(s);
}

static void save(struct task *t, bool always, void (*done)(void *ctx, int result), void *ctx)
{
	json_t *record = record_render(t), *own = record_own(t);
	struct docs_change *g;
	struct save *s;
	bool visible;

	json_object_set_new(record, "version", json_integer(t->version));
	visible = !t->seen || !json_equal(record, t->seen);
	if (!visible && !always && json_equal(own, t->seen_own)) {
		json_decref(record);
		json_decref(own);
		return;
	}
	if (visible)
		json_object_set_new(record, "version", json_integer(++t->version));
	json_decref(t->seen);
	json_decref(t->seen_own);
	t->seen = record;
	t->seen_own = own;
	s = xcalloc(1, sizeof(*s));
	*s = (struct save){t, done, ctx, ++t->saves, visible};
	t->writes++;
	g = docs_change_new(t->all->o.store);
	docs_put(g, t->all->docs, t->arn,
	    json_pack("{s:O, s:O, s:O}", "task", record, "definition", t->definition, "own", own));
	docs_commit(g, on_saved, s);
}

void task_save(struct task *t)
{
	if (!t->refused)
		save(t, false, NULL, NULL);
}

void task_save_then(struct task *t, void (*done)(void *ctx, int result), void *ctx)
{
	save(t, true, done, ctx);
}

/* ---- stopped tasks ---- */

static int64_t keep_ms(const struct tasks *all)
{
	return all->o.keep_ms ? all->o.keep_ms : TASK_KEEP_MS;
}

static void set_drop(struct tasks *all)
{
	const struct task *t = list_first(&all->stopped, struct task, node);
	const struct task *brief = list_first(&all->brief, struct task, node);
	int64_t due_ms = t ? t->stopped_ms + keep_ms(all) : INT64_MAX, wait_ms;

	if (brief && brief->stopped_ms + TASK_BRIEF_MS < due_ms)
		due_ms = brief->stopped_ms + TASK_BRIEF_MS;
	wait_ms = due_ms - time_wall_ms();
	if (t || brief)
		loop_timer_set(
		    all->o.loop, &all->drop, (wait_ms > 1000 ? wait_ms : 1000) * 1000000);
	else
		loop_timer_stop(all->o.loop, &all->drop);
}

static void drop_old(struct tasks *all, struct list *list, int64_t keep, struct docs_change **g)
{
	int64_t now = time_wall_ms();
	unsigned count = 0;

	list_for_each_safe (n, list) {
		struct task *t = list_entry(n, struct task, node);

		if (t->stopped_ms + keep > now || count == 256)
			break;
		if (!idle(t))
			continue;
		if (!*g)
			*g = docs_change_new(all->o.store);
		docs_delete(*g, all->docs, t->arn);
		task_free(t);
		count++;
	}
}

static void on_drop(struct loop_timer *timer)
{
	struct tasks *all = container_of(timer, struct tasks, drop);
	struct docs_change *g = NULL;

	drop_old(all, &all->stopped, keep_ms(all), &g);
	drop_old(all, &all->brief, TASK_BRIEF_MS, &g);
	if (g)
		docs_commit(g, NULL, NULL);
	set_drop(all);
}

void task_stopped(struct task *t)
{
	struct list *list = hold_is_brief(t) ? &t->all->brief : &t->all->stopped;

	if (t->refused)
		return;
	list_remove(&t->node);
	list_push_back(list, &t->node);
	if (list->next == &t->node)
		set_drop(t->all);
}

/* ---- opening ---- */

static bool load(void *ctx, const char *key, const json_t *doc)
{
	struct tasks *all = ctx;
	json_t *record = json_object_get(doc, "task");
	struct task *t =
	    task_new(all, json_deep_copy(record), json_incref(json_object_get(doc, "definition")));

	if (!t) {
		log_error("the record of task %s is not what this version wrote", key);
		return true;
	}
	map_remove(&all->by_sandbox, str_from(t->sandbox_id));
	record_restore(t, record, json_object_get(doc, "own"));
	map_put(&all->by_sandbox, str_from(t->sandbox_id), t);
	t->on_disk = true;
	t->version = docs_int(record, "version");
	t->seen = json_deep_copy(record);
	t->seen_own = json_deep_copy(json_object_get(doc, "own"));
	if (t->phase == TASK_STOPPED) {
		list_remove(&t->node);
		list_push_back(hold_is_brief(t) ? &all->brief : &all->stopped, &t->node);
	} else {
		t->adopting = true;
		host_reserve(all, t, 1);
	}
	return true;
}

static int older(const void *a, const void *b)
{
	const struct task *const *x = a, *const *y = b;

	return ((*x)->stopped_ms > (*y)->stopped_ms) - ((*x)->stopped_ms < (*y)->stopped_ms);
}

/* They were read in the order of ARNs. */
static void sort_stopped(struct list *stopped)
{
	size_t n = 0;
	_cleanup_free_ struct task **list = NULL;

	list_for_each (node, stopped)
		n++;
	list = xcalloc(n + 1, sizeof(struct task *));
	n = 0;
	list_for_each (node, stopped)
		list[n++] = list_entry(node, struct task, node);
	qsort(list, n, sizeof(struct task *), older);
	for (size_t i = 0; i < n; i++) {
		list_remove(&list[i]->node);
		list_push_back(stopped, &list[i]->node);
	}
}

static void on_exit_of(void *ctx, const struct container_facts *f)
{
	struct task *t = task_of_sandbox(ctx, f->sandbox);

	for (unsigned i = 0; t && i < t->unit_count; i++)
		if (!strcmp(t->units[i].id, f->id))
			unit_exited(&t->units[i], f);
}

static const struct container_handler handler = {on_exit_of, adopt_found};

struct tasks *tasks_open(const struct tasks_options *o, struct err *e)
{
	const struct wire_hello *hello = spawn_hello(o->spawn);
	struct tasks *all = xcalloc(1, sizeof(*all));

	all->o = *o;
	list_init(&all->live);
	list_init(&all->stopped);
	list_init(&all->brief);
	all->drop.on_due = on_drop;
	all->host.cpu_units = (int64_t)hello->cpus * 1024;
	if (o->cpu_percent)
		all->host.cpu_units = all->host.cpu_units * o->cpu_percent / 100;
	all->host.memory_mib = (int64_t)(hello->memory_bytes >> 20);
	all->host.cpu_units_free = all->host.cpu_units;
	all->host.memory_mib_free = all->host.memory_mib;
	all->server = http_server_new(o->loop, &metadata_handler, NULL);
	all->tails = tails_new(all);
	all->docs = docs_open(o->store, SPACE, e);
	if (!all->docs) {
		tasks_close(all);
		return NULL;
	}
	docs_walk(all->docs, "", "", load, all);
	sort_stopped(&all->stopped);
	sort_stopped(&all->brief);
	set_drop(all);
	images_collect_off(o->images); /* until it is known what runs */
	spawn_containers_start(o->spawn, &handler, all);
	return all;
}

static void leave(struct list *list)
{
	list_for_each (n, list) {
		struct task *t = list_entry(n, struct task, node);

		loop_task_cancel(&t->wake);
		loop_timer_stop(t->all->o.loop, &t->timer);
		for (unsigned i = 0; i < t->unit_count; i++)
			unit_leave(&t->units[i]);
		place_close(t, &t->place);
	}
}

void tasks_leave(struct tasks *all)
{
	if (!all || all->left)
		return;
	all->left = true;
	loop_timer_stop(all->o.loop, &all->drop);
	leave(&all->live);
	leave(&all->stopped);
	leave(&all->brief);
	tails_free(take_ptr(all->tails));
	http_server_free(take_ptr(all->server));
}

void tasks_close(struct tasks *all)
{
	if (!all)
		return;
	tasks_leave(all);
	list_for_each_safe (n, &all->live)
		task_free(list_entry(n, struct task, node));
	list_for_each_safe (n, &all->stopped)
		task_free(list_entry(n, struct task, node));
	list_for_each_safe (n, &all->brief)
		task_free(list_entry(n, struct task, node));
	map_done(&all->by_arn);
	map_done(&all->by_sandbox);
	docs_close(all->docs);
	free(all);
}

/* ---- what others call ---- */

void tasks_run(struct tasks *all, json_t *task, json_t *definition,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct task *t;

	check(!docs_str(task, "taskArn") || !task_find(all, docs_str(task, "taskArn")));
	t = task_new(all, task, definition);
	check(t); /* the service has checked both */
	t->created_ms = time_wall_ms();
	t->connected_ms = t->created_ms;
	host_reserve(all, t, 1);
	task_save_then(t, done, ctx);
	task_wake(t);
}

struct stopping {
	struct loop_task later;
	void (*done)(void *ctx, int result);
	void *ctx;
	int result;
};

static void answer(struct loop_task *w)
{
	struct stopping *s = container_of(w, struct stopping, later);

	s->done(s->ctx, s->result);
	free(s);
}

static void answer_later(struct tasks *all, int result, void (*done)(void *, int), void *ctx)
{
	struct stopping *s;

	if (!done)
		return;
	s = xcalloc(1, sizeof(*s));
	*s = (struct stopping){.later.run = answer, .done = done, .ctx = ctx, .result = result};
	loop_defer(all->o.loop, &s->later);
}

void tasks_stop(struct tasks *all, const char *task_arn, const char *code, const char *reason,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct task *t = task_find(all, task_arn);

	if (!t || t->phase == TASK_STOPPED) {
		answer_later(all, t ? 0 : -ENOENT, done, ctx);
		return;
	}
	life_stop(t, code, reason);
	task_save_then(t, done, ctx);
	task_wake(t);
}

const json_t *tasks_get(const struct tasks *all, const char *task_arn)
{
	return json_object_get(docs_get(all->docs, task_arn), "task");
}

struct walk {
	bool (*fn)(void *ctx, const json_t *task);
	void *ctx;
};

static bool walk_one(void *ctx, const char *key, const json_t *doc)
{
	const struct walk *w = ctx;

	(void)key;
	return w->fn(w->ctx, json_object_get(doc, "task"));
}

void tasks_walk(const struct tasks *all, const char *prefix,
    bool (*fn)(void *ctx, const json_t *task), void *ctx)
{
	struct walk w = {fn, ctx};

	docs_walk(all->docs, prefix, "", walk_one, &w);
}

void tasks_update(struct tasks *all, const char *task_arn, json_t *members,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct task *t = task_find(all, task_arn);

	if (t)
		json_object_update(t->base, members);
	json_decref(members);
	if (t)
		task_save_then(t, done, ctx);
	else
		answer_later(all, -ENOENT, done, ctx);
}

bool tasks_container_id(
    const struct tasks *all, const char *task_arn, const char *name, char ret_id[CONTAINER_ID_SIZE])
{
	const struct task *t = task_find(all, task_arn);
	const struct unit *u = t ? task_unit(t, name) : NULL;

	if (!u || u->phase != UNIT_RUNNING)
		return false;
	memcpy(ret_id, u->id, CONTAINER_ID_SIZE);
	return true;
}
