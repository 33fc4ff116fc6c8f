/* Log groups: making, deleting, retention, listing. Loop thread. */
#include "service/logs/service_int.h"

#define PAGE_DEFAULT 50

static const char *class_of(struct call *c, const struct log_group_info *i)
{
	struct str class = group_tag(i, TAG_CLASS);

	return class.ptr ? call_strn(c, class) : "STANDARD";
}

static bool is_protected(const struct log_group_info *i)
{
	return group_tag(i, TAG_PROTECTED).ptr != NULL;
}

/* ---- making and deleting ---- */

static int gather_tags(const struct logs_create_log_group_in *in, struct log_tag *tags,
    size_t *ret_count, struct err *e)
{
	size_t count = 0;

	for (size_t i = 0; in->tags && i < in->tags->count; i++) {
		const struct logs_tags_entry *t = &in->tags->entries[i];

		if (str_has_prefix(str_from(t->key), RESERVED_TAG))
			return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
			    "Tag keys that start with aws: are reserved.");
		tags[count++] = (struct log_tag){str_from(t->key), str_from(t->value)};
	}
	if (in->log_group_class && strcmp(in->log_group_class, "STANDARD") != 0)
		tags[count++] = (struct log_tag){STR(TAG_CLASS), str_from(in->log_group_class)};
	if (in->deletion_protection_enabled && *in->deletion_protection_enabled)
		tags[count++] = (struct log_tag){STR(TAG_PROTECTED), STR("true")};
	*ret_count = count;
	return 0;
}

int logs_create_log_group(struct call *c, const struct logs_create_log_group_in *in,
    _unused_ struct logs_create_log_group_out *out, struct err *e)
{
	struct log_group_id id = group_id(c, in->log_group_name);
	struct log_tag *tags = call_array(c, (in->tags ? in->tags->count : 0) + 2, struct log_tag);
	size_t count = 0;
	int r = gather_tags(in, tags, &count, e);

	if (r < 0)
		return r;
	if (str_has_prefix(id.name, "aws/"))
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "Log groups starting with AWS/ are reserved for AWS.");
	if (in->kms_key_id)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "Log groups encrypted with a key of yours are not supported: leave out "
		    "kmsKeyId.");
	logs_group_create(logs_of(c), id, tags, count, done_waiting, wait_start(c, id, false));
	return CALL_PENDING;
}

int logs_delete_log_group(struct call *c, const struct logs_delete_log_group_in *in,
    _unused_ struct logs_delete_log_group_out *out, struct err *e)
{
	struct log_group_id id = group_id(c, in->log_group_name);
	struct log_group_info info;
	int r = group_must_exist(c, id, &info, e);

	if (r < 0)
		return r;
	if (is_protected(&info))
		return fail(e, LOGS_VALIDATION_EXCEPTION,
		    "The log group is protected from deletion: disable its deletion protection "
		    "first.");
	logs_group_delete(logs_of(c), id, done_waiting, wait_start(c, id, false));
	return CALL_PENDING;
}

int logs_put_log_group_deletion_protection(struct call *c,
    const struct logs_put_log_group_deletion_protection_in *in,
    _unused_ struct logs_put_log_group_deletion_protection_out *out, struct err *e)
{
	struct log_group_id id;
	struct log_group_info info;
	struct log_tag *tags;
	size_t count = 0;
	int r = group_identified(c, in->log_group_identifier, &id, e);

	if (r == 0)
		r = group_to_change(c, id, &info, e);
	if (r < 0)
		return r;
	tags = call_array(c, info.tag_count + 1, struct log_tag);
	for (size_t i = 0; i < info.tag_count; i++)
		if (!str_is(info.tags[i].key, TAG_PROTECTED))
			tags[count++] = info.tags[i];
	if (*in->deletion_protection_enabled)
		tags[count++] = (struct log_tag){STR(TAG_PROTECTED), STR("true")};
	logs_group_tags(logs_of(c), id, tags, count, done_waiting, wait_start(c, id, false));
	return CALL_PENDING;
}

/* ---- retention ---- */

static const int16_t days_allowed[] = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545,
    731, 1096, 1827, 2192, 2557, 2922, 3288, 3653};

static int check_days(int64_t days, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(days_allowed); i++)
		if (days == days_allowed[i])
			return 0;
	return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
	    "1 validation error detected: Value '%" PRId64 "' at 'retentionInDays' failed to "
	    "satisfy constraint: Member must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, "
	    "365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653",
	    days);
}

static int set_retention(struct call *c, const char *name, int days, struct err *e)
{
	struct log_group_id id = group_id(c, name);
	int r = group_must_exist(c, id, NULL, e);

	if (r < 0)
		return r;
	logs_group_retention(logs_of(c), id, days, done_waiting, wait_start(c, id, false));
	return CALL_PENDING;
}

int logs_put_retention_policy(struct call *c, const struct logs_put_retention_policy_in *in,
    _unused_ struct logs_put_retention_policy_out *out, struct err *e)
{
	int r = check_days(*in->retention_in_days, e);

	return r < 0 ? r : set_retention(c, in->log_group_name, (int)*in->retention_in_days, e);
}

int logs_delete_retention_policy(struct call *c, const struct logs_delete_retention_policy_in *in,
    _unused_ struct logs_delete_retention_policy_out *out, struct err *e)
{
	return set_retention(c, in->log_group_name, 0, e);
}

/* ---- listing ---- */

/* One page of groups being gathered: at most `limit`, of those that pass the filters. */
struct listing {
	struct call *c;
	const char *class;      /* NULL: any */
	struct str contains;    /* ptr NULL: any; case counts */
	const char *alternates; /* ListLogGroups' pattern, NULL: any */
	const struct logs_tag_filters *tags;
	struct log_group_info *items; /* names are in the call's arena */
	size_t count, limit;
	struct str last; /* name of the last group that was looked at */
	bool more;
};

static bool holds(struct str s, struct str part)
{
	return part.len == 0 || memmem(s.ptr, s.len, part.ptr, part.len) != NULL;
}

/* "^prefix|substring|…" as ListLogGroups has it. */
static bool matches_any(struct str name, struct str alternates)
{
	while (alternates.ptr) {
		struct str one = str_cut(&alternates, '|');

		if (one.len && *one.ptr == '^') {
			one = str_sub(one, 1);
			if (name.len >= one.len && memcmp(name.ptr, one.ptr, one.len) == 0)
				return true;
		} else if (holds(name, one)) {
			return true;
		}
	}
	return false;
}

static bool has_tag(const struct log_group_info *i, const struct logs_tag_filter *f)
{
	struct str value = group_tag(i, f->key);

	if (!value.ptr || str_has_prefix(str_from(f->key), RESERVED_TAG))
		return false;
	if (!f->values || f->values->count == 0)
		return true;
	for (size_t v = 0; v < f->values->count; v++)
		if (str_is(value, f->values->items[v]))
			return true;
	return false;
}

static bool passes(const struct listing *l, const struct log_group_info *i)
{
	if (l->class && strcmp(class_of(l->c, i), l->class) != 0)
		return false;
	if (l->contains.ptr && !holds(i->id.name, l->contains))
		return false;
	if (l->alternates && !matches_any(i->id.name, str_from(l->alternates)))
		return false;
	for (size_t t = 0; l->tags && t < l->tags->count; t++)
		if (!has_tag(i, &l->tags->items[t]))
			return false;
	return true;
}

static void on_group(void *ctx, const struct log_group_info *i)
{
	struct listing *l = ctx;

	if (l->count == l->limit) {
		l->more = true;
		return;
	}
	l->last = arena_str(l->c->arena, i->id.name);
	if (!passes(l, i))
		return;
	l->items[l->count] = *i;
	l->items[l->count].id.name = l->last;
	l->items[l->count].id.account = str_from(l->c->account);
	l->items[l->count++].id.region = str_from(l->c->region);
}

static void gather(struct listing *l, const char *prefix, const char *token)
{
	struct log_group_list q = {
	    .account = str_from(l->c->account),
	    .region = str_from(l->c->region),
	    .prefix = str_from(prefix),
	    .contains = l->contains,
	    .after = str_from(token),
	    .limit = (unsigned)l->limit + 1,
	};

	l->items = call_array(l->c, l->limit, struct log_group_info);
	l->last = q.after;
	/* A page that filters thinned out is filled up from the next one. */
	while (logs_groups(logs_of(l->c), &q, on_group, l) && !l->more)
		q.after = l->last;
}

static void show(struct call *c, const struct log_group_info *i, struct logs_log_group *ret)
{
	*ret = (struct logs_log_group){
	    .arn = group_arn(c, i->id, ":*"),
	    .log_group_arn = group_arn(c, i->id, ""),
	    .log_group_name = call_strn(c, i->id.name),
	    .log_group_class = class_of(c, i),
	    .creation_time = call_int(c, i->created_ms),
	    .metric_filter_count = call_int(c, 0),
	    .stored_bytes = call_int(c, (int64_t)i->stored_bytes),
	    .retention_in_days = i->retention_days ? call_int(c, i->retention_days) : NULL,
	    .deletion_protection_enabled = call_bool(c, is_protected(i)),
	};
}

static void show_page(const struct listing *l, struct logs_describe_log_groups_out *out)
{
	struct logs_log_groups *list = call_new(l->c, struct logs_log_groups);
	struct logs_log_group *items = call_array(l->c, l->count + 1, struct logs_log_group);

	for (size_t i = 0; i < l->count; i++)
		show(l->c, &l->items[i], &items[i]);
	*list = (struct logs_log_groups){l->count, items};
	out->log_groups = list;
	if (l->more)
		out->next_token = call_strn(l->c, l->last);
}

/* Groups that the client names; those that do not exist are left out. */
static int describe_named(struct listing *l,
    const struct logs_describe_log_groups_log_group_identifiers *names, struct err *e)
{
	l->limit = names->count;
	l->items = call_array(l->c, names->count + 1, struct log_group_info);
	for (size_t i = 0; i < names->count; i++) {
		struct log_group_id id;
		struct log_group_info info;
		int r = group_identified(l->c, names->items[i], &id, e);

		if (r < 0 && e->code != LOGS_RESOURCE_NOT_FOUND_EXCEPTION)
			return r;
		if (r == 0 && logs_group_get(logs_of(l->c), id, &info) == 0)
			on_group(l, &info);
	}
	return 0;
}

int logs_describe_log_groups(struct call *c, const struct logs_describe_log_groups_in *in,
    struct logs_describe_log_groups_out *out, struct err *e)
{
	struct listing l = {
	    .c = c,
	    .class = in->log_group_class,
	    .contains = str_from(in->log_group_name_pattern),
	    .limit = in->limit ? (size_t)*in->limit : PAGE_DEFAULT,
	};
	int r = 0;

	if (in->log_group_name_prefix && in->log_group_name_pattern)
		return fail(e, LOGS_INVALID_PARAMETER_EXCEPTION,
		    "LogGroup name prefix and LogGroup name pattern are mutually exclusive "
		    "parameters.");
	if (in->next_token && !logs_group_name_valid(str_from(in->next_token)))
		return fail(
		    e, LOGS_INVALID_PARAMETER_EXCEPTION, "The specified nextToken is invalid.");
	if (in->log_group_identifiers && in->log_group_identifiers->count)
		r = describe_named(&l, in->log_group_identifiers, e);
	else
		gather(&l, in->log_group_name_prefix, in->next_token);
	if (r == 0)
		show_page(&l, out);
	return r;
}

int logs_list_log_groups(struct call *c, const struct logs_list_log_groups_in *in,
    struct logs_list_log_groups_out *out, struct err *e)
{
	struct listing l = {
	    .c = c,
	    .class = in->log_group_class,
	    .alternates = in->log_group_name_pattern,
	    .tags = in->log_group_tags,
	    .limit = in->limit ? (size_t)*in->limit : PAGE_DEFAULT,
	};
	struct logs_log_group_summaries *list = call_new(c, struct logs_log_group_summaries);
	struct logs_log_group_summary *items;

	if (in->next_token && !logs_group_name_valid(str_from(in->next_token)))
		return fail(
		    e, LOGS_INVALID_PARAMETER_EXCEPTION, "The specified nextToken is invalid.");
	/* No group has field indexes or data sources here, so none can match. */
	if (!(in->field_index_names && in->field_index_names->count) &&
	    !(in->data_sources && in->data_sources->count))
		gather(&l, NULL, in->next_token);
	items = call_array(c, l.count + 1, struct logs_log_group_summary);
	for (size_t i = 0; i < l.count; i++)
		items[i] = (struct logs_log_group_summary){
		    .log_group_arn = group_arn(c, l.items[i].id, ""),
		    .log_group_class = class_of(c, &l.items[i]),
		    .log_group_name = call_strn(c, l.items[i].id.name),
		};
	*list = (struct logs_log_group_summaries){l.count, items};
	out->log_groups = list;
	if (l.more)
		out->next_token = call_strn(c, l.last);
	return 0;
}
