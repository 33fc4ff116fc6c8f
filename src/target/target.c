/* The registry: which target an ARN is for, and deliveries as part of a write. See target.h. */
#include "target/target_int.h"

struct target_staged {
	struct targets *targets;
	const struct registered *to; /* NULL: in the outbox */
	void *token;
};

struct targets *targets_new(struct loop *l, struct store *s)
{
	struct targets *t = xcalloc(1, sizeof(*t));

	t->loop = l;
	t->store = s;
	t->outbox = outbox_new(t);
	return t;
}

void targets_free(struct targets *t)
{
	if (!t)
		return;
	outbox_free(t->outbox);
	free(t->list);
	free(t);
}

void targets_add(struct targets *t, const struct target_ops *ops, void *ctx)
{
	check((ops->stage && ops->finish) || ops->deliver);
	t->list = xrealloc(t->list, (t->count + 1) * sizeof(*t->list));
	t->list[t->count++] = (struct registered){ops, ctx};
}

void targets_resume(struct targets *t)
{
	outbox_resume(t->outbox);
}

void targets_stop(struct targets *t)
{
	outbox_stop(t->outbox);
}

struct str target_service(const char *arn)
{
	struct str rest = str_from(arn), first = str_cut(&rest, ':');

	if (!str_is(first, "arn"))
		return STR_NULL;
	(void)str_cut(&rest, ':'); /* aws, aws-cn… */
	first = str_cut(&rest, ':');
	return rest.ptr ? first : STR_NULL;
}

const struct registered *target_find(const struct targets *t, const char *arn)
{
	struct str service = target_service(arn);

	for (size_t i = 0; i < t->count; i++)
		if (service.len && str_is(service, t->list[i].ops->service))
			return &t->list[i];
	return NULL;
}

static const struct registered *find(
    const struct targets *t, const struct target_record *r, struct err *e)
{
	const struct registered *to = target_find(t, r->arn);
	struct str service = target_service(r->arn);

	if (to)
		return to;
	if (service.len)
		err_set(e, EINVAL, "Nothing can be delivered to %.*s by this server (yet): %.128s",
		    STR_FMT(service), r->arn);
	else
		err_set(e, EINVAL, "This is not the ARN of anything: %.128s", r->arn);
	return NULL;
}

int target_check(struct targets *t, const struct target_record *r, struct err *e)
{
	const struct registered *to = find(t, r, e);

	return to ? (to->ops->check)(to->ctx, r, e) : -EINVAL;
}

struct target_staged *target_stage(
    struct targets *t, const struct target_record *r, struct store_write *w, struct err *e)
{
	const struct registered *to = find(t, r, e);
	struct target_staged *s;
	void *token = NULL;

	if (!to)
		return NULL;
	if (to->ops->stage) {
		token = to->ops->stage(to->ctx, r, w, e);
		if (!token)
			return NULL;
	} else {
		if ((to->ops->check)(to->ctx, r, e) < 0)
			return NULL;
		outbox_put(t->outbox, r, w);
		to = NULL;
	}
	s = xcalloc(1, sizeof(*s));
	s->targets = t;
	s->to = to;
	s->token = token;
	return s;
}

void target_finish(struct target_staged *s, int result)
{
	if (!s)
		return;
	if (s->to)
		s->to->ops->finish(s->to->ctx, s->token, result);
	else if (result >= 0)
		outbox_added(s->targets->outbox);
	free(s);
}

/* ---- on its own ---- */

struct sending {
	struct store_write write;
	struct target_staged *staged;
	void (*done)(void *ctx, int result);
	void *ctx;
};

static void on_sent(struct store_write *w, int result)
{
	struct sending *s = container_of(w, struct sending, write);

	target_finish(s->staged, result);
	if (s->done)
		s->done(s->ctx, result);
	free(s);
}

void target_send(struct targets *t, const struct target_record *r,
    void (*done)(void *ctx, int result), void *ctx)
{
	struct sending *s = xcalloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	s->done = done;
	s->ctx = ctx;
	store_write_init(&s->write, on_sent);
	s->staged = target_stage(t, r, &s->write, &e);
	if (s->staged) {
		store_commit(t->store, &s->write);
		return;
	}
	free(s);
	if (done)
		done(ctx, e.errnum ? -e.errnum : -EIO);
}
