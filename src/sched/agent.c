/*
 * What ECS's agent answers to the containers of a task at ECS_AGENT_URI: scale-in protection of
 * their own task, in the agent's words. The service decides (tasks_options.protect).
 */
#include <string.h>

#include "base/time.h"
#include "sched/task_int.h"

#define STATE "task-protection/v1/state"

struct ask {
	struct http_request *r; /* NULL: the client has gone */
	char *arn;
};

static void ask_free(struct ask *a)
{
	free(a->arn);
	free(a);
}

static json_t *error_of(const char *arn, const char *code, const char *message)
{
	return json_pack(
	    "{s:{s:s, s:s, s:s}}", "error", "Arn", arn, "Code", code, "Message", message);
}

static json_t *shown(const json_t *p)
{
	const json_t *until = json_object_get(p, "expirationDate");
	char text[TIME_ISO_SIZE];

	if (until)
		time_format_iso((int64_t)(json_number_value(until) * 1000), text);
	return json_pack("{s:{s:O, s:s?, s:O}}", "protection", "ProtectionEnabled",
	    json_object_get(p, "protectionEnabled"), "ExpirationDate", until ? text : NULL,
	    "TaskArn", json_object_get(p, "taskArn"));
}

static void on_answer(void *ctx, const struct task_protection *p)
{
	struct ask *a = ctx;

	if (!a->r) {
		ask_free(a);
		return;
	}
	a->r->user = NULL;
	if (p->task)
		metadata_reply(a->r, 200, shown(p->task));
	else if (p->failure)
		metadata_reply(a->r, 200,
		    json_pack("{s:{s:s, s:n, s:s}}", "failure", "Arn", a->arn, "Detail", "Reason",
			p->failure));
	else
		metadata_reply(a->r, p->fault_is_ours ? 500 : 400,
		    error_of(a->arn,
			p->fault_is_ours ? "ServerException" : "InvalidParameterException",
			p->message));
	ask_free(a);
}

/* NULL: it is one. */
static const char *read_change(struct http_request *r, struct task_protect *ret)
{
	json_t *doc = json_loadb(buf_len(&r->body) ? buf_data(&r->body) : "", buf_len(&r->body),
	    JSON_REJECT_DUPLICATES, NULL);
	const json_t *on = json_object_get(doc, "ProtectionEnabled"),
		     *minutes = json_object_get(doc, "ExpiresInMinutes");
	size_t known = (on ? 1 : 0) + (minutes ? 1 : 0);
	const char *why = NULL;

	if (!json_is_object(doc) || json_object_size(doc) != known)
		why = "Invalid request: a JSON object of ProtectionEnabled and ExpiresInMinutes is "
		      "needed";
	else if (!json_is_boolean(on))
		why = "Invalid request: does not contain 'ProtectionEnabled' field";
	else if (minutes && !json_is_integer(minutes) && !json_is_null(minutes))
		why = "Invalid request: ExpiresInMinutes is no whole number";
	*ret = (struct task_protect){.on = json_is_true(on),
	    .has_minutes = json_is_integer(minutes),
	    .minutes = json_integer_value(minutes)};
	json_decref(doc);
	return why;
}

void agent_serve(struct task *t, struct str path, struct http_request *r)
{
	const struct tasks_options *o = &t->all->o;
	struct str id = str_cut(&path, '/');
	struct task_protect change;
	const char *why = NULL;
	bool put = str_is(r->method, "PUT");
	struct ask *a;

	if (!metadata_unit(t, id) || !str_is(path, STATE)) {
		metadata_reply(r, 404, json_string("404 page not found"));
		return;
	}
	if (!put && !str_is(r->method, "GET")) {
		metadata_reply(r, 405, json_string("405 method not allowed"));
		return;
	}
	if (put)
		why = read_change(r, &change);
	if (why || !o->protect) {
		metadata_reply(r, 400,
		    error_of(t->arn, "InvalidParameterException",
			why ? why : "Protection is not available here"));
		return;
	}
	a = xmalloc(sizeof(*a));
	*a = (struct ask){r, xstrdup(t->arn)};
	r->user = a;
	o->protect(o->ctx, t->arn, put ? &change : NULL, on_answer, a);
}

void tasks_metadata_cancel(struct http_request *r)
{
	if (r->user)
		((struct ask *)r->user)->r = NULL;
}
