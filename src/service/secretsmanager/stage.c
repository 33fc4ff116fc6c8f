/* Staging labels: each is on one version at a time. Loop thread. */
#include "base/time.h"
#include "service/secretsmanager/secretsmanager_int.h"

#define STAGES_MAX 20

static json_t *version_in(const json_t *head, const char *version)
{
	return json_object_get(json_object_get(head, "versions"), version);
}

static size_t stage_index(const json_t *version, const char *stage)
{
	const json_t *list = json_object_get(version, "stages");
	size_t i = 0;

	while (i < json_array_size(list) &&
	       strcmp(json_string_value(json_array_get(list, i)), stage) != 0)
		i++;
	return i;
}

bool stage_is_on(const json_t *version, const char *stage)
{
	return stage_index(version, stage) < json_array_size(json_object_get(version, "stages"));
}

const char *stage_holder(const json_t *head, const char *stage)
{
	const char *id;
	json_t *v;

	json_object_foreach(json_object_get(head, "versions"), id, v)
	{
		if (stage_is_on(v, stage))
			return id;
	}
	return NULL;
}

static void take_off(json_t *head, const char *stage)
{
	json_t *v = version_in(head, stage_holder(head, stage) ? stage_holder(head, stage) : "");

	if (v)
		json_array_remove(json_object_get(v, "stages"), stage_index(v, stage));
}

void stage_move(json_t *head, const char *stage, const char *version)
{
	const char *was = stage_holder(head, stage);

	if (was && strcmp(was, version) == 0)
		return;
	take_off(head, stage);
	json_array_append_new(
	    json_object_get(version_in(head, version), "stages"), json_string(stage));
	if (was && strcmp(stage, CURRENT) == 0) {
		stage_move(head, PREVIOUS, was);
		/* What is current is not what was before it. */
		if (stage_is_on(version_in(head, version), PREVIOUS))
			take_off(head, PREVIOUS);
	}
}

const struct secretsmanager_secret_version_stages_type *secret_stages_shown(
    struct call *c, const json_t *version)
{
	const json_t *list = json_object_get(version, "stages");
	struct secretsmanager_secret_version_stages_type *shown =
	    call_new(c, struct secretsmanager_secret_version_stages_type);
	const char **items = call_array(c, json_array_size(list) + 1, const char *);

	for (; shown->count < json_array_size(list); shown->count++)
		items[shown->count] =
		    call_str(c, json_string_value(json_array_get(list, shown->count)));
	shown->items = items;
	return shown;
}

/* Those without a stage are deprecated, and not shown. */
const struct secretsmanager_secret_versions_to_stages_map_type *secret_stages_map(
    struct call *c, const json_t *head)
{
	const json_t *versions = json_object_get(head, "versions");
	struct secretsmanager_secret_versions_to_stages_map_type *map =
	    call_new(c, struct secretsmanager_secret_versions_to_stages_map_type);
	struct secretsmanager_secret_versions_to_stages_map_type_entry *entries =
	    call_array(c, json_object_size(versions) + 1,
		struct secretsmanager_secret_versions_to_stages_map_type_entry);
	const char *id;
	json_t *v;

	json_object_foreach((json_t *)versions, id, v)
	{
		if (json_array_size(json_object_get(v, "stages")) == 0)
			continue;
		entries[map->count].key = call_str(c, id);
		entries[map->count++].value = *secret_stages_shown(c, v);
	}
	map->entries = entries;
	return map->count ? map : NULL;
}

/* ---- UpdateSecretVersionStage ---- */

static int check_versions(const struct secretsmanager_update_secret_version_stage_in *in,
    const json_t *head, struct err *e)
{
	const char *to = in->move_to_version_id, *from = in->remove_from_version_id;
	const char *missing = to && !version_in(head, to)       ? to
			      : from && !version_in(head, from) ? from
								: NULL;

	if (missing)
		return fail(e, SECRETSMANAGER_RESOURCE_NOT_FOUND_EXCEPTION,
		    "Secrets Manager can't find the specified secret version: %s", missing);
	if (!to && !from)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "You must specify MoveToVersionId, RemoveFromVersionId or both.");
	return 0;
}

static int check_move(const struct secretsmanager_update_secret_version_stage_in *in,
    const json_t *head, struct err *e)
{
	const char *to = in->move_to_version_id, *from = in->remove_from_version_id;
	const char *holder = stage_holder(head, in->version_stage);

	if (from && (!holder || strcmp(holder, from) != 0))
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "The staging label %.100s isn't attached to version %s.", in->version_stage,
		    from);
	if (!from && holder && strcmp(holder, to) != 0)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "The parameter RemoveFromVersionId can't be empty. Staging label %.60s is "
		    "currently attached to version %s, so you must explicitly reference that "
		    "version in RemoveFromVersionId.",
		    in->version_stage, holder);
	if (!to && strcmp(in->version_stage, CURRENT) == 0)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "You can only move staging label AWSCURRENT to a different secret version. It "
		    "can't be completely removed.");
	if (to && json_array_size(json_object_get(version_in(head, to), "stages")) >= STAGES_MAX)
		return fail(e, SECRETSMANAGER_LIMIT_EXCEEDED_EXCEPTION,
		    "A version can have at most %d staging labels.", STAGES_MAX);
	return 0;
}

int secretsmanager_update_secret_version_stage(struct call *c,
    const struct secretsmanager_update_secret_version_stage_in *in,
    struct secretsmanager_update_secret_version_stage_out *out, struct err *e)
{
	struct secret s;
	json_t *head;
	int r = secret_find(c, in->secret_id, CHANGE, &s, e);

	if (r == 0)
		r = check_versions(in, s.head, e);
	if (r == 0)
		r = check_move(in, s.head, e);
	if (r < 0)
		return r;
	head = json_deep_copy(s.head);
	if (in->move_to_version_id)
		stage_move(head, in->version_stage, in->move_to_version_id);
	else
		take_off(head, in->version_stage);
	docs_set_int(head, "changed", time_wall_ms());
	out->arn = s.arn;
	out->name = s.name;
	return docs_put_call(c, manager_of(c)->store, manager_of(c)->heads, s.key, head);
}
