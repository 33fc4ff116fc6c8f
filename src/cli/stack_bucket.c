/* AWS::S3::Bucket, AWS::S3::BucketPolicy, and the notifications of buckets. */
#include <ctype.h>
#include <stdio.h>

#include "cli/stack_int.h"

/* ---- XML out of a template's values ---- */

/* How CloudFormation calls a member and what S3's XML calls it. */
struct rename {
	const char *from, *to;
};

static void put_text(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '&')
			buf_puts(out, "&amp;");
		else if (*text == '<')
			buf_puts(out, "&lt;");
		else if (*text == '>')
			buf_puts(out, "&gt;");
		else
			buf_putc(out, *text);
	}
}

static void put_element(struct buf *out, const char *name, const char *text)
{
	buf_printf(out, "<%s>", name);
	put_text(out, text);
	buf_printf(out, "</%s>", name);
}

static void put_members(struct buf *out, const json_t *map, const struct rename *names);

/* A list is its element again and again. */
static void put_value(
    struct buf *out, const char *name, const json_t *v, const struct rename *names)
{
	json_t *item;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach((json_t *)(uintptr_t)v, i, item)
		    put_value(out, name, item, names);
	} else if (json_is_object(v)) {
		buf_printf(out, "<%s>", name);
		put_members(out, v, names);
		buf_printf(out, "</%s>", name);
	} else {
		_cleanup_free_ char *text = json_is_string(v) ? xstrdup(json_string_value(v))
							      : json_dumps(v, JSON_ENCODE_ANY);

		put_element(out, name, text ? text : "");
	}
}

static void put_members(struct buf *out, const json_t *map, const struct rename *names)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)map, key, v)
	{
		const struct rename *n = names;

		while (n->from && strcmp(n->from, key))
			n++;
		put_value(out, n->from ? n->to : key, v, names);
	}
}

/* ---- requests ---- */

static int put(struct stack *s, const char *bucket, const char *query, struct str body, int but,
    const char *what)
{
	_cleanup_free_ char *suffix = xasprintf("%s%s", *query ? "?" : "", query);
	_cleanup_free_ char *path = client_path("/", bucket, suffix);
	_cleanup_answer_ struct client_answer a = {0};
	struct client_request r = {
	    .service = "s3",
	    .method = "PUT",
	    .path = path,
	    .type = strcmp(query, "policy") ? "application/xml" : "application/json",
	    .body = body,
	};
	int code = client_send(s->client, &r, &a);

	if (code || (a.status >= 200 && a.status <= 299))
		return code;
	return a.status == but ? CLIENT_NOTED : client_refused(s->client, &a, what);
}

static int put_document(struct stack *s, const char *bucket, const char *query, const char *root,
    const json_t *v, const struct rename *names)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_free_ char *what = xasprintf("setting the %s of bucket %s", query, bucket);

	if (!v)
		return CLI_OK;
	buf_printf(&out, "<%s xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", root);
	put_members(&out, v, names);
	buf_printf(&out, "</%s>", root);
	return put(s, bucket, query, buf_str(&out), 0, what);
}

/* ---- buckets ---- */

int stack_bucket_name(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const char *given = json_string_value(json_object_get(properties, "BucketName"));
	_cleanup_free_ char *name =
				given ? xstrdup(given) : xasprintf("%.30s-%.32s", s->name, r->id),
			    *arn = NULL;

	for (char *c = name; !given && *c; c++)
		*c = (char)(*c == '_' ? '-' : tolower((unsigned char)*c));
	arn = xasprintf("arn:aws:s3:::%s", name);
	template_define(s->t, r->id, "Ref", name);
	template_define(s->t, r->id, "Arn", arn);
	return CLI_OK;
}

/* In us-east-1 S3 takes the making of one's own bucket for done, so ask first what to report. */
static int look(struct stack *s, const char *name, bool *ret_there)
{
	_cleanup_free_ char *path = client_path("/", name, "");
	_cleanup_answer_ struct client_answer a = {0};
	struct client_request r = {.service = "s3", .method = "HEAD", .path = path};
	int code = client_send(s->client, &r, &a);

	*ret_there = a.status == 200;
	return code;
}

static int create(struct stack *s, const struct template_resource *r, const char *name)
{
	_cleanup_free_ char *what = xasprintf("making bucket %s", name);
	_cleanup_buf_ struct buf body = BUF_INIT;
	bool there;
	int code = look(s, name, &there);

	if (strcmp(s->region, "us-east-1"))
		buf_printf(&body,
		    "<CreateBucketConfiguration><LocationConstraint>%s</LocationConstraint>"
		    "</CreateBucketConfiguration>",
		    s->region);
	if (!code && !there)
		code = put(s, name, "", buf_str(&body), 0, what);
	if (!code)
		stack_report(s, r->id, r->type, name, there ? "there" : "made");
	return code;
}

static const char *const bucket_names[] = {"BucketName", "VersioningConfiguration",
    "CorsConfiguration", "PublicAccessBlockConfiguration", "NotificationConfiguration", NULL};

static const struct rename cors_names[] = {{"CorsRules", "CORSRule"},
    {"AllowedHeaders", "AllowedHeader"}, {"AllowedMethods", "AllowedMethod"},
    {"AllowedOrigins", "AllowedOrigin"}, {"ExposedHeaders", "ExposeHeader"}, {"Id", "ID"},
    {"MaxAge", "MaxAgeSeconds"}, {NULL, NULL}};
static const struct rename no_names[] = {{NULL, NULL}};

/* The template's own notifications, in CloudFormation's form: one event each. */
static void note_list(struct stack *s, const struct template_resource *r, const json_t *list,
    const char *member, const char *kind)
{
	const char *bucket = field_text(json_object_get(s->t->values, r->id), "Ref");
	json_t *one;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		_cleanup_free_ char *id = xasprintf("%s-%s-%zu", r->id, member, i);

		stack_notify(s, bucket, kind, id, field_text(one, member),
		    json_object_get(one, "Event"), json_object_get(one, "Filter"));
	}
}

int stack_bucket(struct stack *s, const struct template_resource *r, json_t *properties)
{
	const char *name = field_text(json_object_get(s->t->values, r->id), "Ref");
	const json_t *notify = json_object_get(properties, "NotificationConfiguration");
	int code = stack_check_names(r->id, properties, bucket_names);

	if (!code)
		code = create(s, r, name);
	if (!code)
		code = put_document(s, name, "versioning", "VersioningConfiguration",
		    json_object_get(properties, "VersioningConfiguration"), no_names);
	if (!code)
		code = put_document(s, name, "cors", "CORSConfiguration",
		    json_object_get(properties, "CorsConfiguration"), cors_names);
	if (!code)
		code = put_document(s, name, "publicAccessBlock", "PublicAccessBlockConfiguration",
		    json_object_get(properties, "PublicAccessBlockConfiguration"), no_names);
	note_list(s, r, json_object_get(notify, "LambdaConfigurations"), "Function",
	    "CloudFunctionConfiguration");
	note_list(
	    s, r, json_object_get(notify, "QueueConfigurations"), "Queue", "QueueConfiguration");
	return code;
}

int stack_bucket_policy(struct stack *s, const struct template_resource *r, json_t *properties)
{
	static const char *const names[] = {"Bucket", "PolicyDocument", NULL};
	int code = stack_check_names(r->id, properties, names);
	const char *bucket = stack_need(r->id, properties, "Bucket", &code);
	_cleanup_free_ char *text =
	    json_dumps(json_object_get(properties, "PolicyDocument"), JSON_COMPACT);

	if (!code)
		code = put(s, bucket, "policy", str_from(text ? text : ""), 0,
		    "setting a bucket's policy");
	if (!code)
		stack_report(s, r->id, r->type, bucket, "set");
	return code;
}

/* ---- notifications ---- */

void stack_notify(struct stack *s, const char *bucket, const char *kind, const char *id,
    const char *arn, const json_t *events, const json_t *filter)
{
	json_t *all = json_object_get(s->notifications, bucket), *rules, *one;

	if (!all) {
		all = json_array();
		json_object_set_new(s->notifications, bucket, all);
	}
	rules = json_object_get(json_object_get(filter, "S3Key"), "Rules");
	one = json_pack(
	    "{s:s,s:s,s:s,s:o}", "Kind", kind, "Id", id, "Arn", arn, "Events", stack_list(events));
	if (rules)
		json_object_set(one, "Rules", rules);
	json_array_append_new(all, one);
}

static void put_rules(struct buf *out, const json_t *rules)
{
	json_t *rule;
	size_t i;

	buf_puts(out, "<Filter><S3Key>");
	json_array_foreach((json_t *)(uintptr_t)rules, i, rule)
	{
		buf_puts(out, "<FilterRule>");
		put_element(out, "Name", field_text(rule, "Name"));
		put_element(out, "Value", field_text(rule, "Value"));
		buf_puts(out, "</FilterRule>");
	}
	buf_puts(out, "</S3Key></Filter>");
}

static void put_notification(struct buf *out, const json_t *one)
{
	const char *kind = field_text(one, "Kind");
	const json_t *rules = json_object_get(one, "Rules");

	buf_printf(out, "<%s>", kind);
	put_element(out, "Id", field_text(one, "Id"));
	put_element(out, strcmp(kind, "QueueConfiguration") ? "CloudFunction" : "Queue",
	    field_text(one, "Arn"));
	put_value(out, "Event", json_object_get(one, "Events"), no_names);
	if (rules)
		put_rules(out, rules);
	buf_printf(out, "</%s>", kind);
}

int stack_put_notifications(struct stack *s)
{
	const char *bucket;
	json_t *all, *one;
	size_t i;

	json_object_foreach(s->notifications, bucket, all)
	{
		_cleanup_buf_ struct buf out = BUF_INIT;
		_cleanup_free_ char *what =
		    xasprintf("setting the notifications of bucket %s", bucket);
		int code;

		buf_puts(&out, "<NotificationConfiguration "
			       "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
		json_array_foreach(all, i, one) put_notification(&out, one);
		buf_puts(&out, "</NotificationConfiguration>");
		code = put(s, bucket, "notification", buf_str(&out), 0, what);
		if (code)
			return code;
	}
	return CLI_OK;
}
