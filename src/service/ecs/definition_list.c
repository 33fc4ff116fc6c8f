/* ListTaskDefinitions and ListTaskDefinitionFamilies. Loop thread. */
#include "service/ecs/ecs_int.h"

struct listing {
	json_t *names;      /* "family#0000000001", in order */
	const char *status; /* NULL: any */
	bool families;
};

static struct str family_of(const char *key)
{
	struct str rest = str_from(key);

	str_cut(&rest, '/');
	str_cut(&rest, '/');
	return str_cut(&rest, '#');
}

static bool gather(void *ctx, const char *key, const json_t *doc)
{
	struct listing *l = ctx;
	struct str family = family_of(key);
	size_t n = json_array_size(l->names);
	const json_t *last = n ? json_array_get(l->names, n - 1) : NULL;

	if (l->status && strcmp(docs_str(doc, "status"), l->status) != 0)
		return true;
	if (l->families && last && str_is(family, json_string_value(last)))
		return true;
	json_array_append_new(
	    l->names, l->families ? json_stringn(family.ptr, family.len) : json_string(family.ptr));
	return true;
}

static void reverse(json_t *list)
{
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n / 2; i++) {
		json_t *a = json_incref(json_array_get(list, i));

		json_array_set(list, i, json_array_get(list, n - 1 - i));
		json_array_set_new(list, n - 1 - i, a);
	}
}

int ecs_list_task_definitions(struct call *c, const struct ecs_list_task_definitions_in *in,
    _unused_ struct ecs_list_task_definitions_out *out, struct err *e)
{
	_cleanup_json_ json_t *answer = json_object();
	bool down = in->sort && !strcmp(in->sort, "DESC");
	struct listing l = {json_array(), in->status ? in->status : "ACTIVE", false};
	const char *prefix =
	    in->family_prefix ? ecs_key(c, "%s#", in->family_prefix) : ecs_key(c, "%s", "");
	json_t *list, *name;
	size_t i;
	int r;

	docs_walk(ecs_of(c)->definitions, prefix, "", gather, &l);
	if (down)
		reverse(l.names);
	r = ecs_page(c, l.names, down, in->max_results, in->next_token, "names", answer, e);
	if (r < 0)
		return r;
	list = ecs_json_list(answer, "taskDefinitionArns");
	json_array_foreach(json_object_get(answer, "names"), i, name)
	{
		struct str rest = str_from(json_string_value(name));
		struct str family = str_cut(&rest, '#');
		int64_t revision = strtoll(rest.ptr, NULL, 10);

		json_array_append_new(list, json_string(ecs_arn(c, "task-definition/%.*s:%" PRId64,
						STR_FMT(family), revision)));
	}
	return ecs_answer(c, json_incref(answer), e);
}

/* INACTIVE: families without an active revision. */
static void without_active(struct call *c, json_t *families)
{
	for (size_t i = json_array_size(families); i-- > 0;) {
		_cleanup_json_ json_t *active =
		    ecs_definition_get(c, json_string_value(json_array_get(families, i)), false);

		if (active)
			json_array_remove(families, i);
	}
}

int ecs_list_task_definition_families(struct call *c,
    const struct ecs_list_task_definition_families_in *in,
    _unused_ struct ecs_list_task_definition_families_out *out, struct err *e)
{
	_cleanup_json_ json_t *answer = json_object();
	const char *status = in->status ? in->status : "ALL";
	bool inactive = !strcmp(status, "INACTIVE");
	struct listing l = {json_array(), strcmp(status, "ALL") ? status : NULL, true};
	int r;

	docs_walk(ecs_of(c)->definitions,
	    ecs_key(c, "%s", in->family_prefix ? in->family_prefix : ""), "", gather, &l);
	if (inactive)
		without_active(c, l.names);
	r = ecs_page(c, l.names, false, in->max_results, in->next_token, "families", answer, e);
	return r < 0 ? r : ecs_answer(c, json_incref(answer), e);
}
