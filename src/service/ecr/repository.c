/* Repositories: made, listed, changed, removed; their tags and policies. */
#include <stdio.h>

#include "base/time.h"
#include "image/image.h"
#include "service/ecr/ecr_int.h"

#define PAGE 100
#define TAGS_MAX 50
#define REPOSITORIES_MAX 100000

/* ---- showing ---- */

static const char *name_of(const char *key)
{
	return strchr(key, '|') + 1;
}

/* 127.0.0.1:PORT/NAME where that means the same, because docker speaks plain HTTP with it and
 * every resolver knows it. */
static const char *uri_of(struct call *c, const char *name)
{
	const char *host = strstr(ecr_of(c)->url, "//") + 2, *port = strrchr(host, ':');
	const char *realm = call_printf(c, "%s.%s", c->account, c->region);

	if (strcmp(realm, IMAGE_REALM_DEFAULT) == 0)
		return call_printf(c, "%s/%s", host, name);
	return call_printf(
	    c, "%s.dkr.ecr.%s.localhost%s/%s", c->account, c->region, port ? port : "", name);
}

static const struct ecr_repository *show(struct call *c, const char *key, const json_t *doc)
{
	struct ecr_repository *r = call_new(c, struct ecr_repository);
	struct ecr_encryption_configuration *encryption =
	    call_new(c, struct ecr_encryption_configuration);
	struct ecr_image_scanning_configuration *scanning =
	    call_new(c, struct ecr_image_scanning_configuration);
	const char *mutability = docs_str(doc, "imageTagMutability");

	encryption->encryption_type = "AES256";
	scanning->scan_on_push = call_bool(c, json_is_true(json_object_get(doc, "scanOnPush")));
	r->created_at = call_int(c, docs_int(doc, "createdAt"));
	r->encryption_configuration = encryption;
	r->image_scanning_configuration = scanning;
	r->image_tag_mutability = call_str(c, mutability ? mutability : "MUTABLE");
	r->registry_id = c->account;
	r->repository_name = call_str(c, name_of(key));
	r->repository_arn = ecr_arn(c, name_of(key));
	r->repository_uri = uri_of(c, name_of(key));
	return r;
}

/* ---- making and removing ---- */

static int check_tags(const struct ecr_tag_list *tags, struct err *e)
{
	if (tags && tags->count > TAGS_MAX)
		return fail(
		    e, ECR_TOO_MANY_TAGS_EXCEPTION, "A repository has %d tags at most.", TAGS_MAX);
	for (size_t i = 0; tags && i < tags->count; i++)
		if (!tags->items[i].key[0] || strncmp(tags->items[i].key, "aws:", 4) == 0)
			return fail(e, ECR_INVALID_TAG_PARAMETER_EXCEPTION,
			    "A tag's key is not empty and does not begin with 'aws:'.");
	return 0;
}

static void add_tags(json_t *doc, const struct ecr_tag_list *tags)
{
	json_t *all = json_object_get(doc, "tags");

	if (!all)
		json_object_set_new(doc, "tags", all = json_object());
	for (size_t i = 0; tags && i < tags->count; i++)
		json_object_set_new(all, tags->items[i].key, json_string(tags->items[i].value));
}

static int check_mutability(const char *value, const void *exclusions, struct err *e)
{
	if (exclusions ||
	    (value && strcmp(value, "MUTABLE") != 0 && strcmp(value, "IMMUTABLE") != 0))
		return fail(e, ECR_INVALID_PARAMETER_EXCEPTION,
		    "imageTagMutability is MUTABLE or IMMUTABLE here; exclusion filters are not "
		    "supported.");
	return 0;
}

int ecr_create_repository(struct call *c, const struct ecr_create_repository_in *in,
    struct ecr_create_repository_out *out, struct err *e)
{
	const struct ecr_image_scanning_configuration *scan = in->image_scanning_configuration;
	struct docs *repos = images_repositories(ecr_of(c)->images);
	char key[ECR_KEY_SIZE];
	json_t *doc;
	int r = ecr_registry(c, in->registry_id, e);

	if (r < 0)
		return r;
	if (!image_name_ok(str_from(in->repository_name)))
		return fail(e, ECR_INVALID_PARAMETER_EXCEPTION,
		    "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must "
		    "satisfy regular expression "
		    "'(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-"
		    "z0-9]+)*''");
	if (check_tags(in->tags, e) < 0 || check_mutability(in->image_tag_mutability,
					       in->image_tag_mutability_exclusion_filters, e) < 0)
		return -EINVAL;
	snprintf(key, sizeof(key), "%s.%s|%s", c->account, c->region, in->repository_name);
	if (docs_latest(repos, key))
		return call_fail(c, e, ECR_REPOSITORY_ALREADY_EXISTS_EXCEPTION,
		    "The repository with name '%s' already exists in the registry with id '%s'",
		    in->repository_name, c->account);
	if (docs_count(repos, "") >= REPOSITORIES_MAX)
		return fail(e, ECR_LIMIT_EXCEEDED_EXCEPTION, "There are %d repositories already.",
		    REPOSITORIES_MAX);
	doc = json_object();
	docs_set_int(doc, "createdAt", time_wall_ms());
	docs_set(doc, "imageTagMutability",
	    in->image_tag_mutability ? in->image_tag_mutability : "MUTABLE");
	json_object_set_new(
	    doc, "scanOnPush", json_boolean(scan && scan->scan_on_push && *scan->scan_on_push));
	add_tags(doc, in->tags);
	out->repository = show(c, key, doc);
	return ecr_put(c, key, doc);
}

static bool drop_image(struct docs_change *g, struct images *i, const char *key)
{
	struct arena a;
	size_t count;
	struct ecr_held *held;

	arena_init(&a);
	held = ecr_images(i, &a, key, &count);
	for (size_t n = 0; g && n < count; n++)
		images_drop(i, g, key, held[n].digest);
	arena_done(&a);
	return count > 0;
}

int ecr_delete_repository(struct call *c, const struct ecr_delete_repository_in *in,
    struct ecr_delete_repository_out *out, struct err *e)
{
	struct images *i = ecr_of(c)->images;
	struct docs_change *g;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	if (!(in->force && *in->force) && drop_image(NULL, i, key))
		return call_fail(c, e, ECR_REPOSITORY_NOT_EMPTY_EXCEPTION,
		    "The repository with name '%s' in registry with id '%s' cannot be deleted "
		    "because "
		    "it still contains images",
		    in->repository_name, c->account);
	out->repository = show(c, key, doc);
	g = images_change_new(i);
	drop_image(g, i, key);
	docs_delete(g, images_repositories(i), key);
	return docs_commit_call(c, g);
}

/* ---- listing ---- */

struct listing {
	struct call *call;
	struct ecr_repository *items;
	size_t count, most;
	const char *next;
};

static bool list_one(void *ctx, const char *key, const json_t *doc)
{
	struct listing *l = ctx;

	if (l->count == l->most) {
		l->next = docs_token(l->call, key);
		return false;
	}
	l->items[l->count++] = *show(l->call, key, doc);
	return true;
}

static int list_named(
    struct call *c, const struct ecr_describe_repositories_in *in, struct listing *l, struct err *e)
{
	for (size_t i = 0; i < in->repository_names->count; i++) {
		char key[ECR_KEY_SIZE];
		const json_t *doc;
		int r = ecr_repository(
		    c, in->registry_id, in->repository_names->items[i], key, &doc, e);

		if (r < 0)
			return r;
		l->items[l->count++] = *show(c, key, doc);
	}
	return 0;
}

int ecr_describe_repositories(struct call *c, const struct ecr_describe_repositories_in *in,
    struct ecr_describe_repositories_out *out, struct err *e)
{
	bool named = in->repository_names != NULL;
	struct listing l = {.call = c,
	    .most = named             ? in->repository_names->count
		    : in->max_results ? (size_t)*in->max_results
				      : PAGE};
	struct ecr_repository_list *list = call_new(c, struct ecr_repository_list);
	const char *prefix = call_printf(c, "%s.%s|", c->account, c->region), *from;
	int r = ecr_registry(c, in->registry_id, e);

	if (r < 0)
		return r;
	if (!docs_token_open(c, in->next_token, &from))
		return fail(e, ECR_INVALID_PARAMETER_EXCEPTION, "Invalid parameter at 'nextToken'");
	l.items = call_array(c, l.most + 1, struct ecr_repository);
	if (named)
		r = list_named(c, in, &l, e);
	else
		docs_walk(images_repositories(ecr_of(c)->images), prefix, from[0] ? from : prefix,
		    list_one, &l);
	list->count = l.count;
	list->items = l.items;
	out->repositories = list;
	out->next_token = l.next;
	return r;
}

/* ---- settings ---- */

int ecr_put_image_tag_mutability(struct call *c, const struct ecr_put_image_tag_mutability_in *in,
    struct ecr_put_image_tag_mutability_out *out, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r == 0)
		r = check_mutability(
		    in->image_tag_mutability, in->image_tag_mutability_exclusion_filters, e);
	if (r < 0)
		return r;
	changed = json_deep_copy(doc);
	docs_set(changed, "imageTagMutability", in->image_tag_mutability);
	out->image_tag_mutability = in->image_tag_mutability;
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	return ecr_put(c, key, changed);
}

int ecr_put_image_scanning_configuration(struct call *c,
    const struct ecr_put_image_scanning_configuration_in *in,
    struct ecr_put_image_scanning_configuration_out *out, struct err *e)
{
	const bool *scan = in->image_scanning_configuration->scan_on_push;
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	changed = json_deep_copy(doc);
	json_object_set_new(changed, "scanOnPush", json_boolean(scan && *scan));
	out->image_scanning_configuration = in->image_scanning_configuration;
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	return ecr_put(c, key, changed);
}

/* ---- tags ---- */

static int find_by_arn(
    struct call *c, const char *arn, char key[ECR_KEY_SIZE], const json_t **ret, struct err *e)
{
	const char *prefix = ecr_arn(c, "");

	if (strncmp(arn, prefix, strlen(prefix)) != 0)
		return call_fail(c, e, ECR_INVALID_PARAMETER_EXCEPTION,
		    "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid "
		    "ARN'");
	return ecr_repository(c, NULL, arn + strlen(prefix), key, ret, e);
}

int ecr_tag_resource(struct call *c, const struct ecr_tag_resource_in *in,
    struct ecr_tag_resource_out *out _unused_, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed;
	int r = find_by_arn(c, in->resource_arn, key, &doc, e);

	if (r == 0)
		r = check_tags(in->tags, e);
	if (r < 0)
		return r;
	changed = json_deep_copy(doc);
	add_tags(changed, in->tags);
	if (json_object_size(json_object_get(changed, "tags")) > TAGS_MAX) {
		json_decref(changed);
		return fail(
		    e, ECR_TOO_MANY_TAGS_EXCEPTION, "A repository has %d tags at most.", TAGS_MAX);
	}
	return ecr_put(c, key, changed);
}

int ecr_untag_resource(struct call *c, const struct ecr_untag_resource_in *in,
    struct ecr_untag_resource_out *out _unused_, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed;
	int r = find_by_arn(c, in->resource_arn, key, &doc, e);

	if (r < 0)
		return r;
	changed = json_deep_copy(doc);
	for (size_t i = 0; i < in->tag_keys->count; i++)
		json_object_del(json_object_get(changed, "tags"), in->tag_keys->items[i]);
	return ecr_put(c, key, changed);
}

int ecr_list_tags_for_resource(struct call *c, const struct ecr_list_tags_for_resource_in *in,
    struct ecr_list_tags_for_resource_out *out, struct err *e)
{
	struct ecr_tag_list *list = call_new(c, struct ecr_tag_list);
	char key[ECR_KEY_SIZE];
	const char *name;
	const json_t *doc;
	json_t *tags, *value;
	struct ecr_tag *items;
	int r = find_by_arn(c, in->resource_arn, key, &doc, e);

	if (r < 0)
		return r;
	tags = json_object_get(doc, "tags");
	items = call_array(c, json_object_size(tags) + 1, struct ecr_tag);
	json_object_foreach(tags, name, value)
	{
		items[list->count].key = call_str(c, name);
		items[list->count++].value = call_str(c, json_string_value(value));
	}
	list->items = items;
	out->tags = list;
	return 0;
}

/* ---- policies of repositories: kept and shown ---- */

int ecr_set_repository_policy(struct call *c, const struct ecr_set_repository_policy_in *in,
    struct ecr_set_repository_policy_out *out, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed, *policy;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	policy = json_loads(in->policy_text, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(policy) || !json_object_get(policy, "Statement")) {
		json_decref(policy);
		return fail(e, ECR_INVALID_PARAMETER_EXCEPTION,
		    "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid "
		    "repository policy provided'");
	}
	json_decref(policy);
	changed = json_deep_copy(doc);
	docs_set(changed, "policyText", in->policy_text);
	out->policy_text = in->policy_text;
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	return ecr_put(c, key, changed);
}

static int no_policy(struct call *c, const char *name, struct err *e)
{
	return call_fail(c, e, ECR_REPOSITORY_POLICY_NOT_FOUND_EXCEPTION,
	    "Repository policy does not exist for the repository with name '%s' in the registry "
	    "with "
	    "id '%s'",
	    name, c->account);
}

int ecr_get_repository_policy(struct call *c, const struct ecr_get_repository_policy_in *in,
    struct ecr_get_repository_policy_out *out, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	out->policy_text = call_str(c, docs_str(doc, "policyText"));
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	return out->policy_text ? 0 : no_policy(c, in->repository_name, e);
}

int ecr_delete_repository_policy(struct call *c, const struct ecr_delete_repository_policy_in *in,
    struct ecr_delete_repository_policy_out *out, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r < 0)
		return r;
	out->policy_text = call_str(c, docs_str(doc, "policyText"));
	if (!out->policy_text)
		return no_policy(c, in->repository_name, e);
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	changed = json_deep_copy(doc);
	json_object_del(changed, "policyText");
	return ecr_put(c, key, changed);
}

int ecr_describe_registry(struct call *c, const struct ecr_describe_registry_in *in _unused_,
    struct ecr_describe_registry_out *out, struct err *e _unused_)
{
	struct ecr_replication_configuration *replication =
	    call_new(c, struct ecr_replication_configuration);

	replication->rules = call_new(c, struct ecr_replication_rule_list);
	out->registry_id = c->account;
	out->replication_configuration = replication;
	return 0;
}
