/* Calls that wait for several things which the rooms below do. See ecs_int.h. Loop thread. */
#include "service/ecs/ecs_int.h"

struct ecs_wait {
	struct call *call; /* NULL: the client has gone */
	unsigned pending;
	bool returned; /* the handler has */
	int result;    /* the first failure */
	ecs_wait_fn *finish;
	json_t *data;
};

struct ecs_wait *ecs_wait_new(struct call *c, ecs_wait_fn *finish, json_t *data)
{
	struct ecs_wait *w = xcalloc(1, sizeof(*w));

	w->call = c;
	w->pending = 1;
	w->finish = finish;
	w->data = data;
	return w;
}

struct ecs_wait *ecs_wait_more(struct ecs_wait *w)
{
	w->pending++;
	return w;
}

static void wait_free(struct ecs_wait *w)
{
	json_decref(w->data);
	free(w);
}

static int result_of(struct ecs_wait *w, struct err *e)
{
	if (w->result == -ENOSPC)
		return fail(e, AWS_UNAVAILABLE,
		    "The disk that holds the data is full: free some space and try again.");
	if (w->result < 0 && w->result != -ENOENT)
		return fail(e, ECS_SERVER_EXCEPTION, "The change could not be stored: try again.");
	return w->finish(w->call, w->data, e);
}

void ecs_wait_done(void *wait, int result)
{
	struct ecs_wait *w = wait;
	struct err e = ERR_INIT;
	int r;

	if (result < 0 && w->result == 0)
		w->result = result;
	if (--w->pending > 0 || !w->returned)
		return;
	if (w->call) {
		r = result_of(w, &e);
		call_reply(w->call, r, &e);
	}
	wait_free(w);
}

static void on_stop(struct call *c)
{
	struct ecs_wait *w = c->user;

	w->call = NULL;
}

int ecs_wait_return(struct ecs_wait *w, struct err *e)
{
	int r;

	if (--w->pending == 0) {
		r = result_of(w, e);
		wait_free(w);
		return r;
	}
	w->returned = true;
	w->call->user = w;
	call_on_stop(w->call, on_stop);
	return CALL_PENDING;
}
