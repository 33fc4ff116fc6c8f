/*
 * Changing a function: one change at a time, others wait their turn; what is to be different is
 * written to the store in one go and swapped into memory when it is on disk. A client that goes
 * away does not stop a change that has begun. Loop thread.
 */
#include "base/log.h"
#include "service/lambda/lambda_int.h"

/* ---- turns ---- */

struct waiter {
	struct list node;
	struct call *call;
	const void *in;
};

static void waiter_stop(struct call *c)
{
	struct waiter *w = c->user;

	list_remove(&w->node);
}

int change_wait(struct call *c, const void *in, struct function *f)
{
	struct waiter *w = call_new(c, struct waiter);

	w->call = c;
	w->in = in;
	list_push_back(&f->waiters, &w->node);
	c->user = w;
	call_on_stop(c, waiter_stop);
	return CALL_PENDING;
}

void function_hold(struct function *f)
{
	check(!f->busy);
	f->busy = true;
}

static void run_again(struct waiter *w)
{
	struct call *c = w->call;
	struct err e = ERR_INIT;
	int r;

	list_remove(&w->node);
	c->user = NULL;
	r = c->op->run(c, w->in, c->out, &e);
	if (r != CALL_PENDING)
		call_reply(c, r, &e);
}

void function_release(struct function *f)
{
	check(f->busy);
	f->busy = false;
	f->reserving = 0;
	while (!f->busy && !list_empty(&f->waiters))
		run_again(list_first(&f->waiters, struct waiter, node));
	if (!f->busy && !f->doc)
		function_free(f);
}

/* ---- changes ---- */

static void change_stop(struct call *c)
{
	struct change *ch = c->user;

	ch->call = NULL;
}

void change_cancel(struct change *ch)
{
	for (size_t i = 0; i < ch->count; i++) {
		free(ch->edits[i].name);
		json_decref(ch->edits[i].doc);
	}
	code_unref(ch->code);
	free(ch->edits);
	free(ch);
}

struct change *change_new(struct call *c, struct function *f, void (*finish)(struct change *ch))
{
	struct change *ch = xcalloc(1, sizeof(*ch));

	ch->call = c;
	ch->function = f;
	ch->finish = finish;
	return ch;
}

void change_put(struct change *ch, enum record_kind kind, const char *name, json_t *doc)
{
	struct change_edit *ed;

	ch->edits = xrealloc(ch->edits, (ch->count + 1) * sizeof(*ch->edits));
	ed = &ch->edits[ch->count++];
	ed->kind = kind;
	ed->name = xstrdup(name);
	ed->doc = doc;
}

void change_delete(struct change *ch, enum record_kind kind, const char *name)
{
	change_put(ch, kind, name, NULL);
}

static int explain(int result, struct err *e)
{
	if (result == -EAGAIN)
		return fail(e, LAMBDA_RESOURCE_CONFLICT_EXCEPTION,
		    "The function could not be updated due to a concurrent update operation.");
	log_error("a change of a function could not be written: %s", strerror(-result));
	return fail(e, LAMBDA_SERVICE_EXCEPTION,
	    "The change could not be written: %s. Nothing was "
	    "changed: see the server's log, then try again.",
	    strerror(-result));
}

static void apply(struct change *ch)
{
	for (size_t i = 0; i < ch->count; i++) {
		struct change_edit *ed = &ch->edits[i];
		int64_t stored = record_stored(ch->function, ed->kind, ed->name) + 1;

		/* What was valid when it was made is valid now: our bug otherwise. */
		check(record_apply(ch->function, ed->kind, ed->name, ed->doc, stored) == 0);
		ed->doc = NULL;
	}
}

static void on_written(struct store_write *w, int result)
{
	struct change *ch = container_of(w, struct change, write);
	struct function *f = ch->function;
	struct call *c = ch->call;
	struct err e = ERR_INIT;
	int r = 0;

	if (result < 0)
		r = explain(result, &e);
	else
		apply(ch);
	if (c) {
		if (result >= 0 && ch->finish)
			ch->finish(ch);
		call_reply(c, r, &e);
	}
	change_cancel(ch);
	function_release(f);
}

static void write_edit(struct change *ch, const struct change_edit *ed)
{
	struct function *f = ch->function;
	int64_t stored = record_stored(f, ed->kind, ed->name);
	_cleanup_free_ char *key = xasprintf("%s/%c/%s", f->key, ed->kind, ed->name);
	char *text;

	if (!ed->doc) {
		store_delete(&ch->write, LAMBDA_SPACE, str_from(key), stored);
		return;
	}
	json_object_set_new(ed->doc, "v", json_integer(1));
	text = json_dumps(ed->doc, JSON_COMPACT);
	check(text != NULL);
	store_put(&ch->write, LAMBDA_SPACE, str_from(key), str_from(text), stored);
	free(text);
}

int change_commit(struct change *ch)
{
	struct function *f = ch->function;

	if (!f->busy)
		function_hold(f);
	ch->call->user = ch;
	call_on_stop(ch->call, change_stop);
	store_write_init(&ch->write, on_written);
	for (size_t i = 0; i < ch->count; i++)
		write_edit(ch, &ch->edits[i]);
	store_commit(f->lambda->o.store, &ch->write);
	return CALL_PENDING;
}
