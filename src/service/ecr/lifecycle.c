/* Lifecycle policies: which images they expire, and when that is looked at. */
#include <jansson.h>
#include <stdio.h>

#include "base/time.h"
#include "service/ecr/ecr_int.h"

#define RULES_MAX 50
#define DAY_MS (INT64_C(24) * 3600000)

struct rule {
	int64_t priority, number;
	const char *status;
	const json_t *prefixes, *patterns;
	bool by_age;
};

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

/* NULL, or what is wrong with it. */
static const char *take_rule(const json_t *o, struct rule *r)
{
	const json_t *s = json_object_get(o, "selection");
	const char *count = text_of(s, "countType");

	r->priority = json_integer_value(json_object_get(o, "rulePriority"));
	r->status = text_of(s, "tagStatus");
	r->prefixes = json_object_get(s, "tagPrefixList");
	r->patterns = json_object_get(s, "tagPatternList");
	r->number = json_integer_value(json_object_get(s, "countNumber"));
	r->by_age = strcmp(count, "sinceImagePushed") == 0;
	if (r->priority < 1)
		return "rulePriority is a number from 1 on";
	if (strcmp(r->status, "tagged") != 0 && strcmp(r->status, "untagged") != 0 &&
	    strcmp(r->status, "any") != 0)
		return "tagStatus is tagged, untagged or any";
	if (strcmp(r->status, "tagged") == 0 && !json_array_size(r->prefixes) &&
	    !json_array_size(r->patterns))
		return "tagged images are chosen by tagPrefixList or tagPatternList";
	if (!r->by_age && strcmp(count, "imageCountMoreThan") != 0)
		return "countType is imageCountMoreThan or sinceImagePushed";
	if (r->by_age && strcmp(text_of(s, "countUnit"), "days") != 0)
		return "countUnit is days with sinceImagePushed";
	if (r->number < 1)
		return "countNumber is a number from 1 on";
	if (strcmp(text_of(json_object_get(o, "action"), "type"), "expire") != 0)
		return "the action's type is expire";
	return NULL;
}

static int compare_rules(const void *a, const void *b)
{
	const struct rule *x = a, *y = b;

	return x->priority < y->priority ? -1 : x->priority > y->priority;
}

/* NULL, or what is wrong. Rules in the order of their priority. */
static const char *take_rules(const json_t *root, struct rule rules[RULES_MAX], size_t *ret)
{
	const json_t *list = json_object_get(root, "rules");
	const char *wrong = NULL;
	size_t n = json_array_size(list);

	if (!n || n > RULES_MAX)
		return "there are 1 to 50 rules";
	for (size_t i = 0; i < n && !wrong; i++)
		wrong = take_rule(json_array_get(list, i), &rules[i]);
	if (wrong)
		return wrong;
	qsort(rules, n, sizeof(*rules), compare_rules);
	for (size_t i = 1; i < n; i++)
		if (rules[i].priority == rules[i - 1].priority)
			return "two rules have the same rulePriority";
	*ret = n;
	return NULL;
}

int lifecycle_check(const char *text, struct err *e)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	struct rule rules[RULES_MAX];
	size_t n;
	const char *wrong = root ? take_rules(root, rules, &n) : "it is no JSON";
	int r = 0;

	if (wrong)
		r = fail(e, ECR_INVALID_PARAMETER_EXCEPTION,
		    "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: "
		    "'Lifecycle policy validation failure: %s'",
		    wrong);
	json_decref(root);
	return r;
}

/* '*' stands for any text. */
static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *again = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			again = text;
		} else if (*pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++again;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/* Every prefix (or pattern) has to fit one of its tags. */
static bool fits(const json_t *list, const struct ecr_held *h, bool prefix)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *want = json_string_value(json_array_get(list, i));
		bool found = false;

		for (size_t t = 0; want && !found && t < h->tag_count; t++)
			found = prefix ? strncmp(h->tags[t], want, strlen(want)) == 0
				       : matches(want, h->tags[t]);
		if (!found)
			return false;
	}
	return true;
}

static bool selects(const struct rule *r, const struct ecr_held *h)
{
	if (strcmp(r->status, "untagged") == 0)
		return h->tag_count == 0;
	if (strcmp(r->status, "any") == 0)
		return true;
	return h->tag_count && fits(r->prefixes, h, true) && fits(r->patterns, h, false);
}

/* Images are oldest first; one that a rule of higher priority has chosen is no other's. */
static void apply(const struct rule *r, const struct ecr_held *images, size_t count, int64_t now_ms,
    bool *taken, struct lifecycle_verdict *out, size_t *n)
{
	size_t chosen = 0, seen = 0;

	for (size_t i = 0; i < count; i++)
		chosen += !taken[i] && selects(r, &images[i]);
	for (size_t i = 0; i < count; i++) {
		bool expired;

		if (taken[i] || !selects(r, &images[i]))
			continue;
		expired = r->by_age ? now_ms - images[i].pushed_ms > r->number * DAY_MS
				    : chosen - seen > (size_t)r->number;
		seen++;
		taken[i] = true;
		if (expired)
			out[(*n)++] = (struct lifecycle_verdict){&images[i], r->priority};
	}
}

size_t lifecycle_evaluate(const char *text, const struct ecr_held *images, size_t count,
    int64_t now_ms, struct arena *a, struct lifecycle_verdict **ret)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	bool *taken = arena_array(a, count + 1, bool);
	struct rule rules[RULES_MAX];
	size_t rule_count = 0, n = 0;

	*ret = arena_array(a, count + 1, struct lifecycle_verdict);
	if (root && !take_rules(root, rules, &rule_count))
		for (size_t i = 0; i < rule_count; i++)
			apply(&rules[i], images, count, now_ms, taken, *ret, &n);
	json_decref(root);
	return n;
}

/* ---- operations ---- */

int ecr_put_lifecycle_policy(struct call *c, const struct ecr_put_lifecycle_policy_in *in,
    struct ecr_put_lifecycle_policy_out *out, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed;
	int r = ecr_repository(c, in->registry_id, in->repository_name, key, &doc, e);

	if (r == 0)
		r = lifecycle_check(in->lifecycle_policy_text, e);
	if (r < 0)
		return r;
	changed = json_deep_copy(doc);
	docs_set(changed, "lifecyclePolicyText", in->lifecycle_policy_text);
	out->lifecycle_policy_text = in->lifecycle_policy_text;
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	lifecycle_soon(ecr_of(c));
	return ecr_put(c, key, changed);
}

static int find_policy(struct call *c, const char *registry_id, const char *name,
    char key[ECR_KEY_SIZE], const json_t **doc, const char **ret, struct err *e)
{
	int r = ecr_repository(c, registry_id, name, key, doc, e);

	if (r < 0)
		return r;
	*ret = call_str(c, docs_str(*doc, "lifecyclePolicyText"));
	if (*ret)
		return 0;
	return call_fail(c, e, ECR_LIFECYCLE_POLICY_NOT_FOUND_EXCEPTION,
	    "Lifecycle policy does not exist for the repository with name '%s' in the registry "
	    "with "
	    "id '%s'",
	    name, c->account);
}

int ecr_get_lifecycle_policy(struct call *c, const struct ecr_get_lifecycle_policy_in *in,
    struct ecr_get_lifecycle_policy_out *out, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;

	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	return find_policy(
	    c, in->registry_id, in->repository_name, key, &doc, &out->lifecycle_policy_text, e);
}

int ecr_delete_lifecycle_policy(struct call *c, const struct ecr_delete_lifecycle_policy_in *in,
    struct ecr_delete_lifecycle_policy_out *out, struct err *e)
{
	char key[ECR_KEY_SIZE];
	const json_t *doc;
	json_t *changed;
	int r = find_policy(
	    c, in->registry_id, in->repository_name, key, &doc, &out->lifecycle_policy_text, e);

	if (r < 0)
		return r;
	out->registry_id = c->account;
	out->repository_name = in->repository_name;
	changed = json_deep_copy(doc);
	json_object_del(changed, "lifecyclePolicyText");
	return ecr_put(c, key, changed);
}
