/* What the handlers of SQS share: queues by URL, who may, waiting, errors. Loop thread. */
#include <ctype.h>
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "service/sqs/sqs_int.h"

#define HOST_MAX 255

struct sqs *sqs_open(struct queues *q, struct store *s, const char *url)
{
	struct sqs *v = xcalloc(1, sizeof(*v));

	*v = (struct sqs){q, s, url};
	return v;
}

void sqs_close(struct sqs *s)
{
	free(s);
}

/* ---- documents ---- */

static void facts_free(void *thing)
{
	struct facts *f = thing;

	json_decref(f->doc);
	policy_free(f->policy);
	free(f);
}

const struct facts *facts_of(struct queue *q)
{
	struct facts *f = queue_cached(q);
	struct str text = queue_document(q);
	const char *policy;

	if (f)
		return f;
	f = xcalloc(1, sizeof(*f));
	f->doc = json_loadb(text.ptr, text.len, 0, NULL);
	policy =
	    json_string_value(json_object_get(json_object_get(f->doc, "attributes"), "Policy"));
	if (policy)
		f->policy = policy_parse(str_from(policy), true, NULL);
	queue_cache(q, f, facts_free);
	return f;
}

const char *facts_attribute(struct queue *q, const char *name)
{
	return json_string_value(
	    json_object_get(json_object_get(facts_of(q)->doc, "attributes"), name));
}

json_t *draft_of(struct queue *q, struct queue_settings *ret)
{
	struct str text;
	json_t *doc;

	*ret = *queue_draft(q, &text);
	doc = json_loadb(text.ptr, text.len, 0, NULL);
	return doc ? doc : json_object();
}

/* ---- who may ---- */

static enum policy_decision judge(struct call *c, struct queue *q, const char *action)
{
	char address[64] = "";
	struct policy_value values[2] = {{"aws:SecureTransport", "false"}};
	struct policy_request r = {
	    .principal = c->principal.type == AWS_ANONYMOUS ? NULL : &c->principal,
	    .action = action,
	    .resource = queue_arn(q),
	    .values = values,
	    .value_count = 1,
	    .now_ms = time_wall_ms()};
	uint16_t port;

	if (!facts_of(q)->policy)
		return POLICY_SILENT;
	http_peer(c->http, address, &port);
	if (address[0])
		values[r.value_count++] = (struct policy_value){"aws:SourceIp", address};
	return policy_evaluate(facts_of(q)->policy, &r);
}

/* The account's own key can always mend a policy that locks everybody out. */
static bool is_rescue(const struct call *c, const char *action)
{
	return c->principal.type == AWS_ROOT && (strcmp(action, "sqs:SetQueueAttributes") == 0 ||
						    strcmp(action, "sqs:GetQueueAttributes") == 0 ||
						    strcmp(action, "sqs:RemovePermission") == 0 ||
						    strcmp(action, "sqs:DeleteQueue") == 0);
}

int may(struct call *c, struct queue *q, const char *action, struct err *e)
{
	bool signed_in = c->principal.type != AWS_ANONYMOUS;
	bool own = signed_in && (!q || strcmp(c->account, queue_account(q)) == 0);
	enum policy_decision d = q ? judge(c, q, action) : POLICY_SILENT;

	if (d == POLICY_ALLOW || (own && (d == POLICY_SILENT || is_rescue(c, action))))
		return 0;
	return fail(e, AWS_ACCESS_DENIED,
	    "User: %.100s is not authorized to perform: %s on this resource%s",
	    signed_in ? c->principal.arn : "anonymous", action,
	    d == POLICY_DENY ? " with an explicit deny in a resource-based policy"
			     : " because no resource-based policy allows it");
}

/* ---- queues by URL ---- */

int no_queue(struct err *e)
{
	return fail(e, SQS_QUEUE_DOES_NOT_EXIST, "The specified queue does not exist.");
}

static bool is_account(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!isdigit((unsigned char)s.ptr[i]))
			return false;
	return s.len == 12;
}

static struct str last_segment(struct str *path)
{
	struct str out;
	size_t at = path->len;

	while (at > 0 && path->ptr[at - 1] != '/')
		at--;
	out = (struct str){path->ptr + at, path->len - at};
	path->len = at ? at - 1 : 0;
	return out;
}

/* Whatever the host: ".../ACCOUNT/NAME". A bare name is one of the caller's queues. */
static bool split_url(const struct call *c, const char *url, struct str *account, struct str *name)
{
	struct str path = str_from(url);

	*name = last_segment(&path);
	*account = path.len ? last_segment(&path) : str_from(c->account);
	return name->len && is_account(*account);
}

int open_queue(
    struct call *c, const char *url, const char *action, struct queue **ret, struct err *e)
{
	struct str account, name;

	if (!split_url(c, url, &account, &name))
		return fail(e, SQS_INVALID_ADDRESS,
		    "The address %.150s is not valid for this endpoint.", url);
	*ret = queue_find(sqs_of(c)->queues, account, str_from(c->region), name);
	if (*ret)
		return may(c, *ret, action, e);
	/* Nobody learns which queues another account has. */
	if (c->principal.type == AWS_ANONYMOUS || !str_is(account, c->account))
		return fail(e, AWS_ACCESS_DENIED, "Access to the resource %.150s is denied.", url);
	return no_queue(e);
}

static bool is_host(struct str host)
{
	for (size_t i = 0; i < host.len; i++)
		if (!isalnum((unsigned char)host.ptr[i]) && !strchr(".-_:[]", host.ptr[i]))
			return false;
	return host.len > 0 && host.len <= HOST_MAX;
}

/* As the client reaches us: clients send to the host of the URL, and a box has one of its own. */
const char *queue_url(struct call *c, const struct queue *q)
{
	struct str host = http_header(c->http, "host");

	if (!is_host(host))
		return call_printf(c, "%s/%s/%s", sqs_of(c)->url, queue_account(q), queue_name(q));
	return call_printf(c, "http://%.*s/%s/%s", STR_FMT(host), queue_account(q), queue_name(q));
}

/* ---- waiting for the engine ---- */

struct waiting {
	struct call *c; /* NULL: the client has gone */
};

static void on_stop(struct call *c)
{
	struct waiting *w = c->user;

	w->c = NULL;
}

struct waiting *sqs_wait(struct call *c)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->c = c;
	c->user = w;
	call_on_stop(c, on_stop);
	return w;
}

int fail_disk(int result, struct err *e)
{
	if (result == -ENOSPC)
		return fail(e, AWS_UNAVAILABLE,
		    "The disk that holds the queues is full: free some space and try again.");
	log_error("sqs: request failed: %s", strerror(-result));
	return fail(e, AWS_INTERNAL, "We encountered an internal error. Please try again.");
}

void sqs_wait_done(void *ctx, int result)
{
	struct waiting *w = ctx;
	struct call *c = w->c;
	struct err e = ERR_INIT;

	free(w);
	if (!c)
		return;
	call_reply(c, result < 0 ? fail_disk(result, &e) : 0, &e);
}

int change_queue(struct call *c, struct queue *q, const struct queue_settings *s, json_t *doc)
{
	_cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);

	json_decref(doc);
	check(text);
	queue_update(q, s, str_from(text), sqs_wait_done, sqs_wait(c));
	return CALL_PENDING;
}
