/* What the handlers of CloudWatch Logs share: waiting, names and ARNs, errors. Loop thread. */
#include "service/logs/service_int.h"

#include "base/log.h"

struct logs_service {
	struct logs *logs;
};

struct logs_service *logs_service_open(struct logs *g)
{
	struct logs_service *s = xcalloc(1, sizeof(*s));

	s->logs = g;
	return s;
}

void logs_service_close(struct logs_service *s)
{
	free(s);
}

struct logs *logs_of(const struct call *c)
{
	const struct logs_service *s = c->ctx;

	return s->logs;
}

static void on_stop(struct call *c)
{
	struct wait *w = c->user;

	w->c = NULL;
}

struct wait *wait_start(struct call *c, struct log_group_id group, bool stream)
{
	struct wait *w = xcalloc(1, sizeof(*w));

	*w = (struct wait){c, group, stream};
	c->user = w;
	call_on_stop(c, on_stop);
	return w;
}

struct call *wait_end(struct wait *w)
{
	struct call *c = w->c;

	free(w);
	return c;
}

int fail_result(struct logs *g, const struct wait *w, int result, struct err *e)
{
	bool group = logs_group_get(g, w->group, &(struct log_group_info){0}) == 0;

	switch (result) {
	case -ENOENT:
		return fail(e, LOGS_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The specified log %s does not exist.", group ? "stream" : "group");
	case -EEXIST:
		return fail(e, LOGS_RESOURCE_ALREADY_EXISTS_EXCEPTION,
		    "The specified log %s already exists", w->stream ? "stream" : "group");
	case -EINVAL:
		return fail(
		    e, LOGS_INVALID_PARAMETER_EXCEPTION, "The specified nextToken is invalid.");
	case -EMSGSIZE:
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "Log event too large: the limit is %d bytes", LOGS_EVENT_MAX);
	case -ENOSPC:
		return fail(e, LOGS_SERVICE_UNAVAILABLE_EXCEPTION,
		    "The disk that holds the logs is full: free some space and try again.");
	default:
		log_error("logs: request failed: %s", strerror(-result));
		return fail(e, LOGS_SERVICE_UNAVAILABLE_EXCEPTION,
		    "The service cannot complete the request.");
	}
}

void done_waiting(void *ctx, int result)
{
	struct wait w = *(struct wait *)ctx;
	struct call *c = wait_end(ctx);
	struct err e = ERR_INIT;

	if (!c)
		return;
	if (result < 0)
		result = fail_result(logs_of(c), &w, result, &e);
	call_reply(c, result, &e);
}

/* ---- names ---- */

struct log_group_id group_id(const struct call *c, const char *name)
{
	return (struct log_group_id){
	    str_from(c->account), str_from(c->region), str_from(name ? name : "")};
}

/* "arn:aws:logs:REGION:ACCOUNT:log-group:NAME[:*]" */
static int from_arn(const struct call *c, struct str arn, struct log_group_id *ret, struct err *e)
{
	struct str rest = arn, part[6], account;

	for (size_t i = 0; i < ARRAY_SIZE(part); i++)
		part[i] = str_cut(&rest, ':');
	account = part[4];
	if (!str_is(part[0], "arn") || !str_has_prefix(part[1], "aws") ||
	    !str_is(part[2], "logs") || !str_is(part[5], "log-group") || rest.len == 0)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION, "Invalid ARN: %.200s", arn.ptr);
	if (!str_is(part[3], c->region) || !str_is(account, c->account))
		return fail(e, LOGS_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The specified log group does not exist.");
	*ret = group_id(c, NULL);
	ret->name = str_cut(&rest, ':');
	if ((rest.ptr && !str_is(rest, "*")) || !logs_group_name_valid(ret->name))
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION, "Invalid ARN: %.200s", arn.ptr);
	return 0;
}

int group_identified(
    const struct call *c, const char *identifier, struct log_group_id *ret, struct err *e)
{
	if (strncmp(identifier, "arn:", 4) == 0)
		return from_arn(c, str_from(identifier), ret, e);
	*ret = group_id(c, identifier);
	if (!logs_group_name_valid(ret->name))
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "Invalid log group identifier: %.200s", identifier);
	return 0;
}

int group_chosen(const struct call *c, const char *name, const char *identifier,
    struct log_group_id *ret, struct err *e)
{
	if (!name == !identifier)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "Specify either logGroupName or logGroupIdentifier, but not both.");
	if (identifier)
		return group_identified(c, identifier, ret, e);
	*ret = group_id(c, name);
	return 0;
}

int group_must_exist(
    const struct call *c, struct log_group_id id, struct log_group_info *ret, struct err *e)
{
	struct log_group_info info;

	if (logs_group_get(logs_of(c), id, ret ? ret : &info) < 0)
		return fail(e, LOGS_RESOURCE_NOT_FOUND_EXCEPTION,
		    "The specified log group does not exist.");
	return 0;
}

int group_to_change(
    const struct call *c, struct log_group_id id, struct log_group_info *ret, struct err *e)
{
	int r = group_must_exist(c, id, NULL, e);

	if (r == 0)
		logs_group_latest(logs_of(c), id, ret);
	return r;
}

const char *group_arn(struct call *c, struct log_group_id id, const char *suffix)
{
	return call_printf(c, "arn:aws:logs:%.*s:%.*s:log-group:%.*s%s", STR_FMT(id.region),
	    STR_FMT(id.account), STR_FMT(id.name), suffix);
}

struct str group_tag(const struct log_group_info *i, const char *key)
{
	for (size_t t = 0; t < i->tag_count; t++)
		if (str_is(i->tags[t].key, key))
			return i->tags[t].value;
	return STR_NULL;
}
