/*
 * Notifications: which destinations hear of what happens to objects. The record of an event is
 * added to the write of the change itself, so an acknowledged upload has its event on disk, and an
 * event is of something that happened.
 */
#include "service/s3/config_int.h"

#include <stdio.h>

#include "base/rand.h"
#include "base/time.h"
#include "target/target.h"

#define PRINCIPAL "s3.amazonaws.com"
#define RULES_MAX 100

/* ---- rules: the three lists of the configuration as one ---- */

struct rule {
	const char *id, *arn;
	const struct s3_event_list *events;
	struct str prefix, suffix; /* empty: any */
};

/* NULL when the filter is not one. */
static bool read_filter(const struct s3_notification_configuration_filter *f, struct rule *ret)
{
	const struct s3_filter_rule_list *list = f && f->key ? f->key->filter_rules : NULL;
	bool have_prefix = false, have_suffix = false;

	ret->prefix = ret->suffix = STR("");
	for (size_t i = 0; list && i < list->count; i++) {
		const struct s3_filter_rule *one = &list->items[i];
		struct str value = str_from(one->value ? one->value : "");
		bool prefix = one->name && !strcasecmp(one->name, "prefix");
		bool suffix = one->name && !strcasecmp(one->name, "suffix");

		if (!(prefix ^ suffix) || (prefix && have_prefix) || (suffix && have_suffix))
			return false;
		if (prefix)
			ret->prefix = value;
		else
			ret->suffix = value;
		have_prefix |= prefix;
		have_suffix |= suffix;
	}
	return true;
}

struct rules {
	struct rule items[RULES_MAX];
	size_t count;
	bool broken; /* a filter that is none, or too many */
};

static void add_rule(struct rules *all, const char *id, const char *arn,
    const struct s3_event_list *events, const struct s3_notification_configuration_filter *filter)
{
	struct rule r = {.id = id, .arn = arn, .events = events};

	if (all->count == RULES_MAX || !read_filter(filter, &r))
		all->broken = true;
	else
		all->items[all->count++] = r;
}

#define ADD_RULES(all, list, arn_member)                                                         \
	for (size_t i = 0; (list) && i < (list)->count; i++)                                     \
	add_rule(all, (list)->items[i].id, (list)->items[i].arn_member, (list)->items[i].events, \
	    (list)->items[i].filter)

static void read_rules(const struct s3_notification_configuration *n, struct rules *ret)
{
	ret->count = 0;
	ret->broken = false;
	ADD_RULES(ret, n->lambda_function_configurations, lambda_function_arn);
	ADD_RULES(ret, n->queue_configurations, queue_arn);
	ADD_RULES(ret, n->topic_configurations, topic_arn);
}

/* pattern: "s3:ObjectCreated:*"; name: "ObjectCreated:Put". */
static bool event_fits(const char *pattern, const char *name)
{
	size_t len = strlen(pattern);

	if (strncmp(pattern, "s3:", 3) != 0)
		return false;
	if (pattern[len - 1] == '*')
		return strncmp(pattern + 3, name, len - 4) == 0;
	return strcmp(pattern + 3, name) == 0;
}

static bool rule_fits(const struct rule *r, const char *name, struct str key)
{
	bool event = false;

	for (size_t i = 0; !event && i < r->events->count; i++)
		event = event_fits(r->events->items[i], name);
	return event && key.len >= r->prefix.len &&
	       !memcmp(key.ptr, r->prefix.ptr, r->prefix.len) && key.len >= r->suffix.len &&
	       !memcmp(key.ptr + key.len - r->suffix.len, r->suffix.ptr, r->suffix.len);
}

/* ---- the record ---- */

static void put_member(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "\"%s\":", name);
	buf_json_string(b, str_from(value ? value : ""));
}

/* As in a form: a space is '+'. */
static char *encode_key(const char *key)
{
	char *out = xmalloc(3 * strlen(key) + 1), *to = out;
	size_t n = url_encode(str_from(key), true, out);

	out[n] = '\0';
	for (const char *from = out; *from; to++) {
		if (!strncmp(from, "%20", 3)) {
			*to = '+';
			from += 3;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
	return out;
}

static void put_request(struct buf *b, const struct s3_happened *what)
{
	char address[64] = "127.0.0.1";
	const struct call *c = what->call;
	uint16_t port;

	if (c)
		http_peer(c->http, address, &port);
	buf_puts(b, "\"userIdentity\":{");
	put_member(b, "principalId",
	    c && *c->principal.user_id ? c->principal.user_id
	    : c                        ? c->account
				       : "s3");
	buf_puts(b, "},\"requestParameters\":{");
	put_member(b, "sourceIPAddress", address);
	buf_puts(b, "},\"responseElements\":{");
	put_member(b, "x-amz-request-id", c ? c->request_id : "");
	buf_putc(b, ',');
	put_member(b, "x-amz-id-2", c ? c->request_id : "");
	buf_puts(b, "},");
}

static void put_object(struct buf *b, const struct s3_happened *what, bool created)
{
	_cleanup_free_ char *key = encode_key(what->key);

	buf_puts(b, "\"object\":{");
	put_member(b, "key", key);
	if (created)
		buf_printf(b, ",\"size\":%" PRIu64, what->size);
	if (what->etag && created) {
		buf_putc(b, ',');
		put_member(b, "eTag", what->etag);
	}
	if (what->version) {
		buf_putc(b, ',');
		put_member(b, "versionId", what->version);
	}
	buf_printf(b, ",\"sequencer\":\"%016" PRIX64 "\"}", what->seq);
}

static void make_record(struct buf *b, const struct bucket *bucket, const struct rule *r,
    const struct s3_happened *what)
{
	_cleanup_free_ char *arn = xasprintf("arn:aws:s3:::%s", bucket->name);
	char when[TIME_ISO_SIZE], owner[65];

	time_format_iso_ms(s3_now_ms(bucket->s3), when);
	s3_canonical_id(bucket->account, owner);
	buf_puts(b, "{\"Records\":[{\"eventVersion\":\"2.1\",\"eventSource\":\"aws:s3\",");
	put_member(b, "awsRegion", bucket->region);
	buf_printf(b, ",\"eventTime\":\"%s\",", when);
	put_member(b, "eventName", what->name);
	buf_putc(b, ',');
	put_request(b, what);
	buf_puts(b, "\"s3\":{\"s3SchemaVersion\":\"1.0\",");
	put_member(b, "configurationId", r->id);
	buf_puts(b, ",\"bucket\":{");
	put_member(b, "name", bucket->name);
	buf_printf(b, ",\"ownerIdentity\":{\"principalId\":\"%.16s\"},", owner);
	put_member(b, "arn", arn);
	buf_puts(b, "},");
	put_object(b, what, str_has_prefix(str_from(what->name), "ObjectCreated"));
	buf_puts(b, "}}]}");
}

/* ---- telling ---- */

struct s3_notice {
	size_t count;
	struct target_staged *staged[];
};

static struct target_record address(
    const struct bucket *b, const char *arn, const char *bucket_arn, const char *trace)
{
	return (struct target_record){.arn = arn,
	    .service = PRINCIPAL,
	    .source_arn = bucket_arn,
	    .source_account = b->account,
	    .trace_id = trace};
}

/* Who made the request may be a function that was told of another upload: its trace says so. */
static char *trace_of(const struct s3_happened *what)
{
	struct str header =
	    what->call ? http_header(what->call->http, "x-amzn-trace-id") : STR_NULL;

	if (header.ptr)
		return xstrndup(header.ptr, header.len);
	return what->lineage ? xstrdup(what->lineage) : NULL;
}

static struct target_staged *tell(const struct bucket *b, const struct rule *r,
    const struct s3_happened *what, const char *trace, struct store_write *w)
{
	_cleanup_free_ char *arn = xasprintf("arn:aws:s3:::%s", b->name);
	_cleanup_buf_ struct buf body = BUF_INIT;
	struct target_record record = address(b, r->arn, arn, trace);
	struct err e = ERR_INIT;

	make_record(&body, b, r, what);
	record.body = buf_str(&body);
	/* A destination that has gone, or forbids it since, misses the event, as on AWS. */
	return target_stage(b->s3->options.targets, &record, w, &e);
}

struct s3_notice *s3_event(struct bucket *b, const struct s3_happened *what, struct store_write *w)
{
	const struct s3_notification_configuration *config = config_value(b, CONFIG_NOTIFICATION);
	_cleanup_free_ char *trace = NULL;
	struct rules rules;
	struct s3_notice *n;

	if (!config || !b->s3->options.targets)
		return NULL;
	read_rules(config, &rules);
	n = xcalloc(1, sizeof(*n) + rules.count * sizeof(n->staged[0]));
	trace = trace_of(what);
	for (size_t i = 0; i < rules.count; i++) {
		if (rule_fits(&rules.items[i], what->name, str_from(what->key)))
			n->staged[n->count++] = tell(b, &rules.items[i], what, trace, w);
	}
	return n;
}

void s3_event_end(struct s3_notice *n, int result)
{
	for (size_t i = 0; n && i < n->count; i++)
		target_finish(n->staged[i], result);
	free(n);
}

/* ---- the operations ---- */

static int invalid(
    struct call *c, const char *name, const char *value, const char *text, struct err *e)
{
	call_error_member(c, "ArgumentName", name);
	call_error_member(c, "ArgumentValue", value);
	return call_fail(c, e, S3_INVALID_ARGUMENT, "%s", text);
}

static bool prefixes_meet(struct str a, struct str b)
{
	return !memcmp(a.ptr, b.ptr, min_size(a.len, b.len));
}

static bool suffixes_meet(struct str a, struct str b)
{
	size_t n = min_size(a.len, b.len);

	return !memcmp(a.ptr + a.len - n, b.ptr + b.len - n, n);
}

static bool events_meet(const char *a, const char *b)
{
	return event_fits(a, b + 3) || event_fits(b, a + 3);
}

static bool rules_overlap(const struct rule *a, const struct rule *b)
{
	if (!prefixes_meet(a->prefix, b->prefix) || !suffixes_meet(a->suffix, b->suffix))
		return false;
	for (size_t i = 0; i < a->events->count; i++)
		for (size_t k = 0; k < b->events->count; k++)
			if (events_meet(a->events->items[i], b->events->items[k]))
				return true;
	return false;
}

/* Those that happen here come first; the others are taken and never told. */
static bool is_event(const char *name)
{
	static const char *const known[] = {"s3:ObjectCreated:*", "s3:ObjectCreated:Put",
	    "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy",
	    "s3:ObjectCreated:CompleteMultipartUpload", "s3:ObjectRemoved:*",
	    "s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated",
	    "s3:LifecycleExpiration:*", "s3:LifecycleExpiration:Delete",
	    "s3:LifecycleExpiration:DeleteMarkerCreated", "s3:ObjectTagging:*",
	    "s3:ObjectTagging:Put", "s3:ObjectTagging:Delete", "s3:ObjectRestore:*",
	    "s3:ObjectRestore:Post", "s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete",
	    "s3:ReducedRedundancyLostObject", "s3:Replication:*", "s3:LifecycleTransition",
	    "s3:IntelligentTiering", "s3:ObjectAcl:Put"};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (!strcmp(known[i], name))
			return true;
	}
	return str_has_prefix(str_from(name), "s3:Replication:Operation");
}

static int check_events(struct call *c, const struct rule *r, struct err *e)
{
	if (!r->events->count)
		return invalid(c, "Event", "", "A configuration needs an event", e);
	for (size_t i = 0; i < r->events->count; i++) {
		if (!is_event(r->events->items[i]))
			return invalid(c, "Event", call_str(c, r->events->items[i]),
			    "The event is not supported for notifications", e);
	}
	return 0;
}

static int check_rules(struct call *c, const struct rules *all, struct err *e)
{
	const struct rule *rules = all->items;

	for (size_t i = 0; i < all->count; i++) {
		int r = check_events(c, &rules[i], e);

		if (r < 0)
			return r;
		for (size_t k = 0; k < i; k++) {
			if (rules_overlap(&rules[i], &rules[k]))
				return fail(e, S3_INVALID_ARGUMENT,
				    "Configuration is ambiguously defined. Cannot have overlapping "
				    "suffixes in two rules if the prefixes are overlapping for the "
				    "same event type.");
		}
	}
	return 0;
}

/* Every destination exists and lets this bucket in. */
static int check_targets(struct call *c, struct bucket *b, const struct rules *rules, struct err *e)
{
	const char *arn = s3_arn(c, b, NULL);

	for (size_t i = 0; i < rules->count; i++) {
		const char *to = rules->items[i].arn;
		struct target_record r = address(b, to, arn, NULL);
		struct err why = ERR_INIT;

		/* Amazon's sentence, and the reason too: the AWS CLI shows nothing else. */
		if (target_check(b->s3->options.targets, &r, &why) < 0)
			return invalid(c, call_str(c, to), call_printf(c, "%s", why.msg),
			    call_printf(c,
				"Unable to validate the following destination configurations: %s",
				why.msg),
			    e);
	}
	return 0;
}

static const char *new_id(struct call *c)
{
	char hex[41];

	rand_hex(hex, 40);
	return call_str(c, hex);
}

#define NAME_LIST(type, list_type, list)                                \
	do {                                                            \
		struct list_type *copy = call_new(c, struct list_type); \
		struct type *items;                                     \
                                                                        \
		if (!(list))                                            \
			break;                                          \
		items = call_array(c, (list)->count + 1, struct type);  \
		for (size_t i = 0; i < (list)->count; i++) {            \
			items[i] = (list)->items[i];                    \
			if (!items[i].id)                               \
				items[i].id = new_id(c);                \
		}                                                       \
		*copy = (struct list_type){(list)->count, items};       \
		(list) = copy;                                          \
	} while (0)

/* Rules without an id get one. */
static struct s3_notification_configuration named(
    struct call *c, const struct s3_notification_configuration *in)
{
	struct s3_notification_configuration n = *in;

	NAME_LIST(s3_lambda_function_configuration, s3_lambda_function_configuration_list,
	    n.lambda_function_configurations);
	NAME_LIST(s3_queue_configuration, s3_queue_configuration_list, n.queue_configurations);
	NAME_LIST(s3_topic_configuration, s3_topic_configuration_list, n.topic_configurations);
	return n;
}

/* Queues are told that they will hear from this bucket. */
static void send_test(struct call *c, struct bucket *b, const struct rules *rules)
{
	const char *arn = s3_arn(c, b, NULL);
	char when[TIME_ISO_SIZE];

	time_format_iso_ms(s3_now_ms(b->s3), when);
	for (size_t i = 0; i < rules->count; i++) {
		struct target_record r = address(b, rules->items[i].arn, arn, NULL);

		if (str_is(target_service(r.arn), "lambda"))
			continue;
		r.body = str_from(call_printf(c,
		    "{\"Service\":\"Amazon S3\",\"Event\":\"s3:TestEvent\",\"Time\":\"%s\","
		    "\"Bucket\":\"%s\",\"RequestId\":\"%s\",\"HostId\":\"%s\"}",
		    when, b->name, c->request_id, c->request_id));
		target_send(b->s3->options.targets, &r, NULL, NULL);
	}
}

static int check_all(struct call *c, struct bucket *b,
    const struct s3_put_bucket_notification_configuration_in *in, struct rules *rules,
    struct err *e)
{
	bool skip = in->skip_destination_validation && *in->skip_destination_validation;
	int r;

	read_rules(in->notification_configuration, rules);
	if (rules->broken)
		return invalid(c, "NotificationConfiguration", "",
		    "At most 100 configurations; filter rule name must be either prefix or suffix, "
		    "each at most once",
		    e);
	if (in->notification_configuration->event_bridge_configuration)
		return fail(
		    e, S3_NOT_IMPLEMENTED, "Notifications to EventBridge are not implemented.");
	r = check_rules(c, rules, e);
	return r < 0 || skip ? r : check_targets(c, b, rules, e);
}

int s3_put_bucket_notification_configuration(struct call *c,
    const struct s3_put_bucket_notification_configuration_in *in,
    struct s3_put_bucket_notification_configuration_out *out _unused_, struct err *e)
{
	struct s3_notification_configuration n;
	struct rules rules;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutBucketNotification", NULL, &b, e);

	if (r == 0)
		r = check_all(c, b, in, &rules, e);
	if (r < 0)
		return r;
	n = named(c, in->notification_configuration);
	send_test(c, b, &rules);
	return rules.count ? config_put(c, b, CONFIG_NOTIFICATION, &n, e)
			   : config_delete(c, b, CONFIG_NOTIFICATION);
}

int s3_get_bucket_notification_configuration(struct call *c,
    const struct s3_get_bucket_notification_configuration_in *in,
    struct s3_get_bucket_notification_configuration_out *out, struct err *e)
{
	const struct s3_notification_configuration *n;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetBucketNotification", NULL, &b, e);

	if (r < 0)
		return r;
	n = config_value(b, CONFIG_NOTIFICATION);
	if (!n)
		return 0;
	out->lambda_function_configurations = n->lambda_function_configurations;
	out->queue_configurations = n->queue_configurations;
	out->topic_configurations = n->topic_configurations;
	return 0;
}
