/* Queues: create, delete, find, list, purge. Loop thread. */
#include <ctype.h>
#include <stdio.h>

#include "service/sqs/sqs_int.h"

#define FIFO_SUFFIX ".fifo"
#define PAGE_MAX 1000

/* ---- creating ---- */

static int check_name(const char *name, bool fifo, struct err *e)
{
	struct str s = str_from(name);
	bool ok = s.len >= 1 && s.len <= QUEUE_NAME_MAX;

	if (str_has_suffix(s, FIFO_SUFFIX) && fifo)
		s.len -= strlen(FIFO_SUFFIX);
	else
		ok = ok && !fifo;
	for (size_t i = 0; i < s.len; i++)
		ok = ok && (isalnum((unsigned char)s.ptr[i]) || s.ptr[i] == '-' || s.ptr[i] == '_');
	if (ok && s.len)
		return 0;
	if (fifo)
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "The name of a FIFO queue can only include alphanumeric characters, hyphens, "
		    "or underscores, must end with .fifo suffix and be 1 to 80 in length.");
	return fail(e, SQS_INVALID_PARAMETER_VALUE,
	    "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
}

static const char *given_value(const struct sqs_queue_attribute_map *m, const char *name)
{
	for (size_t i = 0; m && i < m->count; i++)
		if (strcmp(m->entries[i].key, name) == 0)
			return m->entries[i].value;
	return NULL;
}

/* The queue is there: fine if it is what was asked for. */
static int compare(struct call *c, struct queue *q, const struct sqs_create_queue_in *in,
    struct sqs_create_queue_out *out, struct err *e)
{
	for (size_t i = 0; in->attributes && i < in->attributes->count; i++) {
		const struct sqs_queue_attribute_map_entry *a = &in->attributes->entries[i];
		const char *value = attribute_value(q, a->key);

		if (strcmp(value ? value : "", a->value ? a->value : "") != 0)
			return fail(e, SQS_QUEUE_NAME_EXISTS,
			    "A queue already exists with the same name and a different value for "
			    "attribute %.100s",
			    a->key);
	}
	out->queue_url = queue_url(c, q);
	return 0;
}

struct creation {
	struct call *c; /* NULL: the client has gone */
	const struct sqs_create_queue_in *in;
	bool started; /* the handler has returned */
	int result;
};

static void on_stop(struct call *c)
{
	struct creation *v = c->user;

	v->c = NULL;
}

static int conclude(struct call *c, const struct creation *v, struct err *e)
{
	struct queue *q = queue_find(sqs_of(c)->queues, str_from(c->account), str_from(c->region),
	    str_from(v->in->queue_name));

	if (v->result == -EEXIST && q)
		return compare(c, q, v->in, c->out, e);
	if (v->result == -EBUSY || (v->result == -EEXIST && !q))
		return fail(e, SQS_QUEUE_DELETED_RECENTLY,
		    "The queue is just being deleted: try again in a moment.");
	if (v->result < 0)
		return fail_disk(v->result, e);
	((struct sqs_create_queue_out *)c->out)->queue_url = queue_url(c, q);
	return 0;
}

static void on_created(void *ctx, int result)
{
	struct creation *v = ctx;
	struct err e = ERR_INIT;
	int r;

	v->result = result;
	if (!v->started)
		return;
	if (v->c) {
		r = conclude(v->c, v, &e);
		call_reply(v->c, r, &e);
	}
	free(v);
}

static int create(struct call *c, const struct sqs_create_queue_in *in,
    const struct queue_settings *s, json_t *doc, struct err *e)
{
	_cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);
	struct creation *v = xcalloc(1, sizeof(*v));
	int r;

	*v = (struct creation){.c = c, .in = in, .result = CALL_PENDING};
	queue_create(sqs_of(c)->queues, str_from(c->account), str_from(c->region),
	    str_from(in->queue_name), s, str_from(text), on_created, v);
	if (v->result == CALL_PENDING) {
		v->started = true;
		c->user = v;
		call_on_stop(c, on_stop);
		return CALL_PENDING;
	}
	r = conclude(c, v, e);
	free(v);
	return r;
}

int sqs_create_queue(struct call *c, const struct sqs_create_queue_in *in,
    struct sqs_create_queue_out *out, struct err *e)
{
	const char *fifo = given_value(in->attributes, "FifoQueue");
	struct queue_settings s;
	struct queue *q;
	json_t *doc;
	int r = may(c, NULL, "sqs:CreateQueue", e);

	queue_settings_init(&s, fifo && strcmp(fifo, "true") == 0);
	if (r == 0)
		r = check_name(in->queue_name, s.fifo, e);
	if (r < 0)
		return r;
	doc = json_object();
	q = queue_find(
	    sqs_of(c)->queues, str_from(c->account), str_from(c->region), str_from(in->queue_name));
	r = merge_attributes(c, NULL,
	    call_printf(c, "arn:aws:sqs:%s:%s:%s", c->region, c->account, in->queue_name),
	    in->attributes, doc, &s, e);
	if (r == 0 && in->tags)
		r = merge_tags(doc, in->tags, e);
	if (r == 0)
		r = q ? compare(c, q, in, out, e) : create(c, in, &s, doc, e);
	json_decref(doc);
	return r;
}

/* ---- deleting ---- */

int sqs_delete_queue(struct call *c, const struct sqs_delete_queue_in *in,
    struct sqs_delete_queue_out *out, struct err *e)
{
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:DeleteQueue", &q, e);

	(void)out;
	if (r < 0)
		return r;
	queue_delete(q, sqs_wait_done, sqs_wait(c));
	return CALL_PENDING;
}

int sqs_purge_queue(struct call *c, const struct sqs_purge_queue_in *in,
    struct sqs_purge_queue_out *out, struct err *e)
{
	struct waiting *w;
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:PurgeQueue", &q, e);

	(void)out;
	if (r < 0)
		return r;
	if (!queue_may_purge(q))
		return fail(e, SQS_PURGE_QUEUE_IN_PROGRESS,
		    "Only one PurgeQueue operation on %s is allowed every 60 seconds.",
		    queue_name(q));
	w = sqs_wait(c);
	check(queue_purge(q, sqs_wait_done, w) == 0);
	return CALL_PENDING;
}

/* ---- finding ---- */

int sqs_get_queue_url(struct call *c, const struct sqs_get_queue_url_in *in,
    struct sqs_get_queue_url_out *out, struct err *e)
{
	const char *owner =
	    in->queue_owner_aws_account_id ? in->queue_owner_aws_account_id : c->account;
	struct queue *q = queue_find(
	    sqs_of(c)->queues, str_from(owner), str_from(c->region), str_from(in->queue_name));

	if (!q || may(c, q, "sqs:GetQueueUrl", e) < 0)
		return no_queue(e);
	out->queue_url = queue_url(c, q);
	return 0;
}

struct page {
	struct call *c;
	const char *prefix, *dead_letter_arn; /* either may be NULL */
	const char **urls;
	const char *last; /* name of the last one */
	size_t count, max;
	bool more;
};

static bool add_to_page(void *ctx, struct queue *q)
{
	struct page *p = ctx;

	if (p->prefix && !str_has_prefix(str_from(queue_name(q)), p->prefix))
		return true;
	if (p->dead_letter_arn &&
	    strcmp(queue_settings(q)->dead_letter_arn, p->dead_letter_arn) != 0)
		return true;
	p->more = p->count == p->max;
	if (p->more)
		return false;
	p->urls[p->count++] = queue_url(p->c, q);
	p->last = queue_name(q);
	return true;
}

static const char *token(struct call *c, const char *name)
{
	char out[BASE64_ENCODED_SIZE(QUEUE_NAME_MAX)];

	base64_encode(name, strlen(name), out);
	return call_str(c, out);
}

static bool open_token(const char *text, char out[128])
{
	ssize_t n = strlen(text) <= 120 ? base64_decode(str_from(text), out) : -EINVAL;

	if (n < 0)
		return false;
	out[n] = '\0';
	return true;
}

/* One page; *ret_next is NULL after the last. */
static int list(struct call *c, struct page *p, const int64_t *max, const char *next,
    const struct sqs_queue_url_list **ret, const char **ret_next, struct err *e)
{
	struct sqs_queue_url_list *urls = call_new(c, struct sqs_queue_url_list);
	char after[128] = "";

	if (max && (*max < 1 || *max > PAGE_MAX))
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Value for parameter MaxResults is invalid. Reason: MaxResults must be an "
		    "integer between 1 and 1000.");
	if (next && !open_token(next, after))
		return fail(e, SQS_INVALID_PARAMETER_VALUE,
		    "Invalid or expired next token. Restart the listing without one.");
	p->c = c;
	p->max = max ? (size_t)*max : PAGE_MAX;
	p->urls = call_array(c, p->max, const char *);
	queues_each(sqs_of(c)->queues, str_from(c->account), str_from(c->region), str_from(after),
	    add_to_page, p);
	*urls = (struct sqs_queue_url_list){p->count, p->urls};
	*ret = urls;
	/* Without MaxResults there are no pages: the first thousand is all that AWS tells, too. */
	*ret_next = p->more && max ? token(c, p->last) : NULL;
	return 0;
}

int sqs_list_queues(struct call *c, const struct sqs_list_queues_in *in,
    struct sqs_list_queues_out *out, struct err *e)
{
	struct page p = {.prefix = in->queue_name_prefix};
	int r = may(c, NULL, "sqs:ListQueues", e);

	if (r == 0)
		r = list(
		    c, &p, in->max_results, in->next_token, &out->queue_urls, &out->next_token, e);
	if (r == 0 && !out->queue_urls->count)
		out->queue_urls = NULL;
	return r;
}

int sqs_list_dead_letter_source_queues(struct call *c,
    const struct sqs_list_dead_letter_source_queues_in *in,
    struct sqs_list_dead_letter_source_queues_out *out, struct err *e)
{
	struct page p = {.prefix = NULL};
	struct queue *q;
	int r = open_queue(c, in->queue_url, "sqs:ListDeadLetterSourceQueues", &q, e);

	if (r < 0)
		return r;
	p.dead_letter_arn = queue_arn(q);
	return list(c, &p, in->max_results, in->next_token, &out->queue_urls, &out->next_token, e);
}
