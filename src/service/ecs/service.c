/* Opening, names and ARNs, and what is forgotten in time. Loop thread. */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/time.h"
#include "service/ecs/ecs_int.h"

#define PURGE_NS (HOUR_MS * INT64_C(1000000))
#define TOKEN_MS (24 * HOUR_MS)

/* ---- what is forgotten ---- */

struct purge {
	struct ecs *ecs;
	struct docs *table;
	struct docs_change *change;
	int64_t now_ms;
	size_t count;
};

static bool purge_one(struct purge *p, const char *key)
{
	p->change = p->change ? p->change : docs_change_new(p->ecs->store);
	docs_delete(p->change, p->table, key);
	p->count++;
	return true;
}

static bool purge_definition(void *ctx, const char *key, const json_t *doc)
{
	struct purge *p = ctx;
	const char *status = docs_str(doc, "status");
	bool due = status && !strcmp(status, "DELETE_IN_PROGRESS") &&
		   ecs_json_ms(doc, "deleteRequestedAt") + HOUR_MS < p->now_ms;

	if (!due || ecs_definition_used(p->ecs, docs_str(doc, "taskDefinitionArn")))
		return true;
	return purge_one(p, key);
}

static bool purge_cluster(void *ctx, const char *key, const json_t *doc)
{
	struct purge *p = ctx;
	const char *status = docs_str(doc, "status"), *name = docs_str(doc, "clusterName");

	/* `default` would be there again if nothing said that it was deleted. */
	if (!status || strcmp(status, "INACTIVE") != 0 || (name && !strcmp(name, "default")) ||
	    ecs_json_ms(doc, "deleted") + HOUR_MS > p->now_ms)
		return true;
	return purge_one(p, key);
}

static bool purge_token(void *ctx, const char *key, const json_t *doc)
{
	struct purge *p = ctx;

	return ecs_json_ms(doc, "created") + TOKEN_MS > p->now_ms || purge_one(p, key);
}

static void on_purge(struct loop_timer *t)
{
	struct ecs *ecs = container_of(t, struct ecs, purge);
	struct purge p = {.ecs = ecs, .now_ms = time_wall_ms()};

	p.table = ecs->definitions;
	docs_walk(p.table, "", "", purge_definition, &p);
	p.table = ecs->clusters;
	docs_walk(p.table, "", "", purge_cluster, &p);
	p.table = ecs->tokens;
	docs_walk(p.table, "", "", purge_token, &p);
	if (p.change) {
		docs_commit(p.change, NULL, NULL);
		log_debug("ecs: forgot %zu documents that were deleted or are over", p.count);
	}
	loop_timer_set(ecs->loop, t, PURGE_NS);
}

/* This machine registers itself again wherever it was deregistered, as an agent does that starts.
 * It gets another id: "generation" is part of it. */
static bool register_again(void *ctx, const char *key, const json_t *doc)
{
	struct purge *p = ctx;
	const char *status = docs_str(doc, "status");
	json_t *fresh;

	if (!str_has_suffix(str_from(key), "/machine") || !status || strcmp(status, "GONE") != 0)
		return true;
	fresh = json_object();
	docs_set_int(fresh, "generation", docs_int(doc, "generation") + 1);
	p->change = p->change ? p->change : docs_change_new(p->ecs->store);
	docs_put(p->change, p->table, key, fresh);
	return true;
}

static void register_everywhere(struct ecs *ecs)
{
	struct purge p = {.ecs = ecs, .table = ecs->instances};

	docs_walk(ecs->instances, "", "", register_again, &p);
	if (p.change)
		docs_commit(p.change, NULL, NULL);
}

/* ---- opening ---- */

static bool open_tables(struct ecs *ecs, struct err *e)
{
	struct {
		struct docs **table;
		const char *space;
	} all[] = {
	    {&ecs->clusters, "ecs-clusters"},
	    {&ecs->instances, "ecs-instances"},
	    {&ecs->providers, "ecs-providers"},
	    {&ecs->definitions, "ecs-definitions"},
	    {&ecs->families, "ecs-families"},
	    {&ecs->settings, "ecs-settings"},
	    {&ecs->tokens, "ecs-tokens"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		*all[i].table = docs_open(ecs->store, all[i].space, e);
		if (!*all[i].table)
			return false;
	}
	return true;
}

struct ecs *ecs_open(const struct ecs_options *o, struct err *e)
{
	struct ecs *ecs = xcalloc(1, sizeof(*ecs));

	ecs->loop = o->loop;
	ecs->store = o->store;
	ecs->tasks = o->tasks;
	ecs->purge.on_due = on_purge;
	ecs->opened_ms = time_wall_ms();
	auth_derive(o->auth, "ecs", ecs->key);
	if (!open_tables(ecs, e)) {
		ecs_close(ecs);
		return NULL;
	}
	register_everywhere(ecs);
	loop_timer_set(o->loop, &ecs->purge, 0);
	return ecs;
}

void ecs_close(struct ecs *ecs)
{
	if (!ecs)
		return;
	loop_timer_stop(ecs->loop, &ecs->purge);
	docs_close(ecs->clusters);
	docs_close(ecs->instances);
	docs_close(ecs->providers);
	docs_close(ecs->definitions);
	docs_close(ecs->families);
	docs_close(ecs->settings);
	docs_close(ecs->tokens);
	free(ecs);
}

/* ---- names ---- */

static const char *with_prefix(struct call *c, const char *prefix, const char *fmt, va_list ap)
    _printf_(3, 0);

static const char *with_prefix(struct call *c, const char *prefix, const char *fmt, va_list ap)
{
	char *rest = NULL;
	const char *ret;

	check(vasprintf(&rest, fmt, ap) >= 0);
	ret = call_printf(c, "%s%s", prefix, rest);
	free(rest);
	return ret;
}

const char *ecs_key(struct call *c, const char *fmt, ...)
{
	const char *ret;
	va_list ap;

	va_start(ap, fmt);
	ret = with_prefix(c, call_printf(c, "%s/%s/", c->account, c->region), fmt, ap);
	va_end(ap);
	return ret;
}

const char *ecs_arn(struct call *c, const char *fmt, ...)
{
	const char *ret;
	va_list ap;

	va_start(ap, fmt);
	ret = with_prefix(c, call_printf(c, "arn:aws:ecs:%s:%s:", c->region, c->account), fmt, ap);
	va_end(ap);
	return ret;
}

int ecs_name(
    struct call *c, const char *text, const char *kind, const char **ret_name, struct err *e)
{
	struct str rest = str_from(text), region, account, found;

	if (!str_has_prefix(rest, "arn:")) {
		*ret_name = text;
		return 0;
	}
	str_cut(&rest, ':');
	str_cut(&rest, ':');
	if (!str_is(str_cut(&rest, ':'), "ecs"))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Invalid identifier: it is an ARN, but not one of ecs.");
	region = str_cut(&rest, ':');
	account = str_cut(&rest, ':');
	found = str_cut(&rest, '/');
	if (!rest.len || !str_is(found, kind))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Invalid identifier: Identifier is for %.*s, not for %s.",
		    (int)min_size(found.len, 60), found.ptr ? found.ptr : "", kind);
	if (!str_is(account, c->account))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Identifier is for %.*s. Your accountId is %s", (int)min_size(account.len, 60),
		    account.ptr, c->account);
	if (!str_is(region, c->region))
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Identifier is for %.*s. Your region is %s", (int)min_size(region.len, 60),
		    region.ptr, c->region);
	*ret_name = call_strn(c, rest);
	return 0;
}

bool ecs_name_good(const char *name, size_t max)
{
	size_t len =
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

	return len > 0 && len <= max && !name[len];
}
