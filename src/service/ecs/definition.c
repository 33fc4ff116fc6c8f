/* Task definitions: revisions of a family, which never change but in their status. Loop thread. */
#include <stdio.h>

#include "base/time.h"
#include "service/ecs/ecs_int.h"

#define DELETE_MAX 10
#define REVISION_DIGITS "%010" PRId64

static const char *key_of(struct call *c, const char *family, int64_t revision)
{
	return ecs_key(c, "%s#" REVISION_DIGITS, family, revision);
}

const char *ecs_definition_key(struct call *c, const json_t *definition)
{
	return key_of(c, docs_str(definition, "family"), docs_int(definition, "revision"));
}

static bool has_status(const json_t *definition, const char *status)
{
	return !strcmp(docs_str(definition, "status"), status);
}

static bool last_active(void *ctx, const char *key, const json_t *doc)
{
	const json_t **last = ctx;

	(void)key;
	if (has_status(doc, "ACTIVE"))
		*last = doc;
	return true;
}

json_t *ecs_definition_get(struct call *c, const char *id, bool latest)
{
	struct docs *all = ecs_of(c)->definitions;
	const json_t *found = NULL;
	struct err e = ERR_INIT;
	struct str family, rest;
	const char *name, *key;
	int64_t revision;

	if (ecs_name(c, id, "task-definition", &name, &e) < 0)
		return NULL;
	rest = str_from(name);
	family = str_cut(&rest, ':');
	if (!ecs_name_good(call_strn(c, family), 255))
		return NULL;
	if (!rest.ptr) {
		docs_walk(all, ecs_key(c, "%s#", name), "", last_active, &found);
		return ecs_json_ref(found);
	}
	if (!str_to_int64(rest, 1, INT32_MAX, &revision))
		return NULL;
	key = key_of(c, call_strn(c, family), revision);
	return ecs_json_ref(latest ? docs_latest(all, key) : docs_get(all, key));
}

/* "tags" are beside the definition in answers. */
static json_t *answer_of(const json_t *doc, bool tags)
{
	json_t *answer = json_object();

	json_object_set_new(answer, "taskDefinition", ecs_json_copy(doc));
	if (tags)
		json_object_set_new(answer, "tags", json_deep_copy(json_object_get(doc, "tags")));
	return answer;
}

static json_t *family_next(struct call *c, const char *family, int64_t *ret_revision)
{
	const json_t *old = docs_latest(ecs_of(c)->families, ecs_key(c, "%s", family));

	*ret_revision = docs_int(old, "last") + 1;
	return json_pack("{s:I}", "last", (json_int_t)*ret_revision);
}

static int check_size(const json_t *doc, struct err *e)
{
	_cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (len > DEFINITION_BYTES_MAX)
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "Actual length: '%zu'. Max allowed length is '%d' bytes.", len,
		    DEFINITION_BYTES_MAX);
	return 0;
}

int ecs_register_task_definition(struct call *c, const struct ecs_register_task_definition_in *in,
    _unused_ struct ecs_register_task_definition_out *out, struct err *e)
{
	_cleanup_json_ json_t *doc = ecs_input(c, in);
	struct ecs *ecs = ecs_of(c);
	struct docs_change *g;
	int64_t revision;
	json_t *family;
	int r = check_size(doc, e);

	if (r == 0 && in->tags && !in->tags->count)
		r = fail(e, ECS_CLIENT_EXCEPTION, "Tags can not be empty.");
	if (r == 0)
		r = ecs_tags_check(json_object_get(doc, "tags"), e);
	if (r == 0)
		r = ecs_definition_check(c, doc, e);
	if (r < 0)
		return r;
	ecs_definition_fill(c, doc);
	family = family_next(c, in->family, &revision);
	docs_set_int(doc, "revision", revision);
	docs_set(doc, "taskDefinitionArn",
	    ecs_arn(c, "task-definition/%s:%" PRId64, in->family, revision));
	docs_set(doc, "status", "ACTIVE");
	docs_set(doc, "registeredBy", *c->principal.arn ? c->principal.arn : NULL);
	json_object_set_new(doc, "registeredAt", ecs_json_now());
	ecs_json_list(doc, "tags");
	g = docs_change_new(ecs->store);
	docs_put(g, ecs->families, ecs_key(c, "%s", in->family), family);
	docs_put(g, ecs->definitions, key_of(c, in->family, revision), json_incref(doc));
	return ecs_answer_change(c, answer_of(doc, true), g, e);
}

int ecs_describe_task_definition(struct call *c, const struct ecs_describe_task_definition_in *in,
    _unused_ struct ecs_describe_task_definition_out *out, struct err *e)
{
	_cleanup_json_ json_t *doc = ecs_definition_get(c, in->task_definition, false);

	if (!doc)
		return fail(e, ECS_CLIENT_EXCEPTION, "Unable to describe task definition.");
	return ecs_answer(c, answer_of(doc, in->include && in->include->count), e);
}

int ecs_deregister_task_definition(struct call *c,
    const struct ecs_deregister_task_definition_in *in,
    _unused_ struct ecs_deregister_task_definition_out *out, struct err *e)
{
	_cleanup_json_ json_t *old = NULL;
	const char *name;
	json_t *doc;
	struct docs_change *g;
	int r = ecs_name(c, in->task_definition, "task-definition", &name, e);

	if (r < 0)
		return r;
	if (!strchr(name, ':'))
		return fail(e, ECS_CLIENT_EXCEPTION, "Revision is missing.");
	old = ecs_definition_get(c, in->task_definition, true);
	if (!old)
		return fail(
		    e, ECS_CLIENT_EXCEPTION, "The specified task definition does not exist.");
	if (has_status(old, "DELETE_IN_PROGRESS"))
		return fail(e, ECS_CLIENT_EXCEPTION,
		    "The specified task definition is in the process of being deleted.");
	if (has_status(old, "INACTIVE"))
		return ecs_answer(c, answer_of(old, false), e);
	doc = ecs_json_copy(old);
	docs_set(doc, "status", "INACTIVE");
	json_object_set_new(doc, "deregisteredAt", ecs_json_now());
	g = docs_change_new(ecs_of(c)->store);
	docs_put(g, ecs_of(c)->definitions, ecs_definition_key(c, doc), doc);
	return ecs_answer_change(c, answer_of(doc, false), g, e);
}

/* NULL: it can be deleted. */
static const char *why_not(const char *id, const json_t *doc)
{
	if (!strchr(id, ':'))
		return "The specified task definition identifier is invalid. Specify a valid name "
		       "or ARN and try again.";
	if (!doc)
		return "The specified task definition does not exist. Specify a valid account, "
		       "family, revision and try again.";
	if (has_status(doc, "ACTIVE"))
		return "The specified task definition is still in ACTIVE status. Please deregister "
		       "the target and try again.";
	return NULL;
}

int ecs_delete_task_definitions(struct call *c, const struct ecs_delete_task_definitions_in *in,
    _unused_ struct ecs_delete_task_definitions_out *out, struct err *e)
{
	json_t *answer = json_pack("{s:[], s:[]}", "taskDefinitions", "failures");
	struct docs_change *g;

	if (!in->task_definitions->count || in->task_definitions->count > DELETE_MAX) {
		json_decref(answer);
		return fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "taskDefinitions must have between 1 and %d items.", DELETE_MAX);
	}
	g = docs_change_new(ecs_of(c)->store);
	for (size_t i = 0; i < in->task_definitions->count; i++) {
		const char *id = in->task_definitions->items[i];
		_cleanup_json_ json_t *old = ecs_definition_get(c, id, true);
		const char *reason = why_not(id, old);
		json_t *doc;

		if (reason) {
			json_array_append_new(json_object_get(answer, "failures"),
			    ecs_json_failure(str_has_prefix(str_from(id), "arn:")
						 ? id
						 : ecs_arn(c, "task-definition/%s", id),
				reason));
			continue;
		}
		doc = ecs_json_copy(old);
		docs_set(doc, "status", "DELETE_IN_PROGRESS");
		ecs_json_default(doc, "deleteRequestedAt", ecs_json_now());
		json_array_append_new(
		    json_object_get(answer, "taskDefinitions"), ecs_json_copy(doc));
		docs_put(g, ecs_of(c)->definitions, ecs_definition_key(c, doc), doc);
	}
	return ecs_answer_change(c, answer, g, e);
}
