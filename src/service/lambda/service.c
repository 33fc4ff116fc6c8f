/* The service as a whole: opening, closing, and what others look up in it. Loop thread. */
#include <stdio.h>

#include "base/log.h"
#include "base/rand.h"
#include "service/lambda/lambda_int.h"

static void set_port(struct lambda *l)
{
	const char *colon = l->o.url ? strrchr(l->o.url, ':') : NULL;

	if (colon && is_number(colon + 1))
		snprintf(l->port, sizeof(l->port), "%s", colon + 1);
	else
		snprintf(l->port, sizeof(l->port), "80");
}

/* Records whose function is missing: a write was torn, which the store rules out. */
static int check_loaded(struct lambda *l, struct err *e)
{
	map_for_each (&l->functions, entry) {
		const struct function *f = entry->value;

		if (!f->doc || !f->latest)
			return err_set(e, EBADMSG, "function %s is not whole in the store", f->key);
	}
	return 0;
}

struct lambda *lambda_open(const struct lambda_options *o, struct err *e)
{
	struct lambda *l = xcalloc(1, sizeof(*l));

	l->o = *o;
	l->spawn = o->boxes ? boxes_spawn(o->boxes) : NULL;
	list_init(&l->dying);
	rand_bytes(l->secret, sizeof(l->secret));
	set_port(l);
	if (layer_load(l, e) < 0 || record_load(l, e) < 0 || check_loaded(l, e) < 0) {
		lambda_close(l);
		return NULL;
	}
	code_tidy(l);
	return l;
}

void lambda_close(struct lambda *l)
{
	size_t at = 0;
	struct map_entry *entry;

	if (!l)
		return;
	while ((entry = map_next(&l->functions, &at))) {
		function_free(entry->value);
		at = 0; /* the map has changed */
	}
	map_done(&l->functions);
	map_done(&l->urls);
	layer_close(l);
	code_close(l);
	free(l);
}

void lambda_set_engine(struct lambda *l, struct aws *a)
{
	l->aws = a;
}

struct invoke_version *lambda_find_version(
    struct lambda *l, struct str account, struct str region, struct str name, struct str qualifier)
{
	const struct function *f = function_find(l, account, region, name);
	_cleanup_free_ char *q = qualifier.len ? xstrndup(qualifier.ptr, qualifier.len) : NULL;
	const struct version *v = f ? version_to_run(f, q, rand_u64()) : NULL;

	return v ? v->run : NULL;
}

void lambda_set_sources(struct lambda *l, struct sources *s)
{
	l->sources = s;
}

bool lambda_service_allowed(struct lambda *l, struct str account, struct str region,
    struct str name, struct str qualifier, const char *service, const char *source_arn,
    const char *source_account)
{
	const struct function *f = function_find(l, account, region, name);
	_cleanup_free_ char *q = qualifier.len ? xstrndup(qualifier.ptr, qualifier.len) : NULL;
	const struct caller who = {.action = "lambda:InvokeFunction",
	    .service = service,
	    .source_arn = source_arn,
	    .source_account = source_account};

	return f && function_allows(f, q, &who);
}
