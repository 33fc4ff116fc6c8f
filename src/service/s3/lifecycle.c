/*
 * Lifecycle rules: objects, old versions, delete markers and uploads that have had their time are
 * removed. A sweep reads a bucket on a worker, a page of what is due at a time, and removes that by
 * the same road as a client; an hour after the last sweep, or soon after rules were put, comes the
 * next. Moving objects to other storage classes is refused, because there are none.
 */
#include "service/s3/config_int.h"
#include "service/s3/multipart_int.h"

#include <stdio.h>

#include "base/log.h"
#include "base/time.h"

#define LAST_DATE_MS 253402300799999 /* of the year 9999: headers have four digits */
#define RULES_MAX 1000
#define DUE_MAX 500
#define DAY_MS (24 * 3600 * (int64_t)1000)
#define EVERY_NS (3600 * (int64_t)1000000000)
#define SOON_NS (200 * (int64_t)1000000)

/* ---- which rule fits ---- */

static bool has_tag(const struct object *o, const struct s3_tag *tag)
{
	for (size_t i = 0; i < o->tag_count; i++) {
		if (!strcmp(o->tags[i].name, tag->key) && !strcmp(o->tags[i].value, tag->value))
			return true;
	}
	return false;
}

static bool has_tags(const struct object *o, const struct s3_tag_set *set)
{
	for (size_t i = 0; set && i < set->count; i++) {
		if (!has_tag(o, &set->items[i]))
			return false;
	}
	return true;
}

static bool size_fits(const struct object *o, const int64_t *above, const int64_t *below)
{
	return (!above || (int64_t)o->size > *above) && (!below || (int64_t)o->size < *below);
}

static bool prefix_fits(struct str key, const char *prefix)
{
	return !prefix || str_has_prefix(key, prefix);
}

static bool fits(const struct s3_lifecycle_rule *r, struct str key, const struct object *o)
{
	const struct s3_lifecycle_rule_filter *f = r->filter;
	const struct s3_lifecycle_rule_and_operator *and = f ? f->and : NULL;

	if (strcmp(r->status, "Enabled") != 0 || !prefix_fits(key, r->prefix))
		return false;
	if (f && (!prefix_fits(key, f->prefix) || (f->tag && !has_tag(o, f->tag)) ||
		     !size_fits(o, f->object_size_greater_than, f->object_size_less_than)))
		return false;
	return !and || (prefix_fits(key, and->prefix) && has_tags(o, and->tags) &&
			   size_fits(o, and->object_size_greater_than, and->object_size_less_than));
}

/* Midnight after that many days, as AWS rounds. */
static int64_t due_after(int64_t since_ms, int64_t days)
{
	int64_t at = since_ms + days * DAY_MS;

	return (at + DAY_MS - 1) / DAY_MS * DAY_MS;
}

/* When the current version expires; 0: never. */
static int64_t expires_ms(const struct s3_lifecycle_rule *r, struct str key, const struct object *o)
{
	const struct s3_lifecycle_expiration *x = r->expiration;

	if (!x || !fits(r, key, o))
		return 0;
	if (x->days)
		return due_after(o->modified_ms, *x->days);
	return x->date ? *x->date : 0;
}

const char *lifecycle_expiration(
    struct call *c, const struct bucket *b, const char *key, const struct object *o)
{
	const struct s3_bucket_lifecycle_configuration *l = config_value(b, CONFIG_LIFECYCLE);
	const struct s3_lifecycle_rule *first = NULL;
	char date[TIME_ISO_SIZE];
	int64_t at = 0;

	for (size_t i = 0; l && i < l->rules->count; i++) {
		int64_t one = expires_ms(&l->rules->items[i], str_from(key), o);

		if (one && (!at || one < at)) {
			at = one;
			first = &l->rules->items[i];
		}
	}
	if (!first || at > LAST_DATE_MS)
		return NULL;
	time_format_http(at, date);
	return call_printf(
	    c, "expiry-date=\"%s\", rule-id=\"%s\"", date, first->id ? first->id : "");
}

/* ---- a page of what is due, gathered on a worker ---- */

enum due_kind { DUE_CURRENT, DUE_VERSION, DUE_UPLOAD };

struct due {
	enum due_kind kind;
	char *key, *version; /* version: or id of the upload; NULL for DUE_CURRENT */
	uint64_t seq;        /* DUE_CURRENT: of the record that is due */
};

struct sweep {
	struct s3 *s3;
	struct bucket *bucket;
	struct arena arena; /* the rules, which the bucket may change meanwhile */
	const struct s3_bucket_lifecycle_configuration *rules;
	int64_t now_ms;
	bool uploads; /* this walk is over uploads */
	struct due due[DUE_MAX];
	size_t count, at;
	struct buf from; /* where the next page begins */
	bool more;
	/* of the walk */
	struct buf key; /* of the row before */
	int64_t newer_ms;
	size_t older;     /* noncurrent versions of this key so far */
	bool lone_marker; /* the row before is a current delete marker, alone so far */
	char marker_version[VERSION_ID_SIZE];
	struct change change;
};

static void add_due(
    struct sweep *w, enum due_kind kind, struct str key, const char *version, uint64_t seq)
{
	w->due[w->count++] =
	    (struct due){kind, xstrndup(key.ptr, key.len), version ? xstrdup(version) : NULL, seq};
}

static bool current_is_due(const struct sweep *w, struct str key, const struct object *o)
{
	for (size_t i = 0; i < w->rules->rules->count; i++) {
		int64_t at = expires_ms(&w->rules->rules->items[i], key, o);

		if (at && at <= w->now_ms)
			return true;
	}
	return false;
}

static bool old_is_due(const struct sweep *w, struct str key, const struct object *o)
{
	for (size_t i = 0; i < w->rules->rules->count; i++) {
		const struct s3_lifecycle_rule *r = &w->rules->rules->items[i];
		const struct s3_noncurrent_version_expiration *x = r->noncurrent_version_expiration;

		if (x && x->noncurrent_days && fits(r, key, o) &&
		    due_after(w->newer_ms, *x->noncurrent_days) <= w->now_ms &&
		    (!x->newer_noncurrent_versions ||
			(int64_t)w->older > *x->newer_noncurrent_versions))
			return true;
	}
	return false;
}

static bool markers_are_due(const struct sweep *w, struct str key)
{
	static const struct object empty;

	for (size_t i = 0; i < w->rules->rules->count; i++) {
		const struct s3_lifecycle_rule *r = &w->rules->rules->items[i];
		const struct s3_lifecycle_expiration *x = r->expiration;

		if (x && x->expired_object_delete_marker && *x->expired_object_delete_marker &&
		    fits(r, key, &empty))
			return true;
	}
	return false;
}

/* The key before this row is complete: was it nothing but a delete marker? */
static void end_key(struct sweep *w)
{
	if (w->lone_marker && w->count < DUE_MAX && markers_are_due(w, buf_str(&w->key)))
		add_due(w, DUE_VERSION, buf_str(&w->key), w->marker_version, 0);
	w->lone_marker = false;
}

static void look_at_version(struct sweep *w, struct str key, bool old, const struct object *o)
{
	if (!old || !str_eq(key, buf_str(&w->key))) {
		end_key(w);
		buf_clear(&w->key);
		buf_append_str(&w->key, key);
		w->older = 0;
	}
	if (old) {
		w->lone_marker = false;
		w->older++;
		if (old_is_due(w, key, o))
			add_due(w, DUE_VERSION, key, o->version, 0);
	} else if (o->marker) {
		w->lone_marker = true;
		snprintf(w->marker_version, sizeof(w->marker_version), "%s", o->version);
	} else if (current_is_due(w, key, o)) {
		add_due(w, DUE_CURRENT, key, NULL, o->seq);
	}
	w->newer_ms = o->modified_ms;
}

static void look_at_upload(struct sweep *w, struct str key, struct str row, const struct object *o)
{
	_cleanup_free_ char *id = xstrndup(row.ptr + key.len + 1, row.len - key.len - 1);

	for (size_t i = 0; i < w->rules->rules->count; i++) {
		const struct s3_lifecycle_rule *r = &w->rules->rules->items[i];
		const struct s3_abort_incomplete_multipart_upload *x =
		    r->abort_incomplete_multipart_upload;

		if (x && x->days_after_initiation && fits(r, key, o) &&
		    due_after(o->modified_ms, *x->days_after_initiation) <= w->now_ms) {
			add_due(w, DUE_UPLOAD, key, id, 0);
			return;
		}
	}
}

/* On the worker. */
static enum store_step visit(
    void *ctx, struct str row, struct str value, int64_t version, struct buf *seek)
{
	struct sweep *w = ctx;
	struct object *o;
	struct str key;
	bool old;

	(void)version;
	(void)seek;
	/* A full page ends before a key, so that its versions are counted together; a key with more
	 * due versions than fit is finished by the next sweep. */
	if (!row_split(row, &key, &old))
		return STORE_GO_ON;
	if (w->count >= DUE_MAX - 1 && (!old || w->uploads || w->count == DUE_MAX)) {
		buf_clear(&w->from);
		buf_append_str(&w->from, row);
		w->more = true;
		return STORE_STOP;
	}
	o = object_decode(value);
	if (o && w->uploads)
		look_at_upload(w, key, row, o);
	else if (o)
		look_at_version(w, key, old, o);
	object_unref(o);
	return STORE_GO_ON;
}

/* ---- removing it, one after the other ---- */

static void next_due(struct sweep *w);
static void read_page(struct sweep *w);
static void next_bucket(struct s3 *s, const char *after);

static void forget_due(struct sweep *w)
{
	for (size_t i = 0; i < w->count; i++) {
		free(w->due[i].key);
		free(w->due[i].version);
	}
	w->count = w->at = 0;
}

static void end_sweep(struct sweep *w)
{
	struct s3 *s = w->s3;
	struct bucket *b = w->bucket;
	_cleanup_free_ char *name = xstrdup(b->name);

	forget_due(w);
	buf_done(&w->from);
	buf_done(&w->key);
	arena_done(&w->arena);
	free(w);
	s->sweep = NULL;
	bucket_unref(b);
	next_bucket(s, name);
}

/* Somebody may have put the object anew since. */
static int still_due(struct change *ch, const struct object *current)
{
	const struct sweep *w = container_of(ch, struct sweep, change);

	return current && current->seq == w->due[w->at].seq ? 0 : -ECANCELED;
}

static void on_removed(struct change *ch, int result)
{
	struct sweep *w = container_of(ch, struct sweep, change);

	if (result < 0 && result != -ECANCELED && result != -ENOENT && result != -ENODEV)
		log_error(
		    "s3: removing what has expired in %s: %s", w->bucket->name, strerror(-result));
	w->at++;
	next_due(w);
}

static void on_aborted(void *ctx, int result)
{
	struct sweep *w = ctx;

	(void)result;
	w->at++;
	next_due(w);
}

static void remove_due(struct sweep *w)
{
	const struct due *d = &w->due[w->at];

	if (d->kind == DUE_UPLOAD) {
		upload_abort(w->bucket, d->key, d->version, on_aborted, w);
		return;
	}
	w->change = (struct change){.bucket = w->bucket,
	    .key = d->key,
	    .kind = CHANGE_DELETE,
	    .event = "LifecycleExpiration",
	    .version = d->version,
	    .approve = d->kind == DUE_CURRENT ? still_due : NULL,
	    .done = on_removed};
	change_start(&w->change);
}

static void next_due(struct sweep *w)
{
	if (w->at < w->count && !w->s3->closing && !w->bucket->gone) {
		remove_due(w);
		return;
	}
	forget_due(w);
	if (w->s3->closing || w->bucket->gone) {
		end_sweep(w);
	} else if (w->more) {
		read_page(w);
	} else if (!w->uploads) {
		w->uploads = true;
		buf_clear(&w->from);
		read_page(w);
	} else {
		end_sweep(w);
	}
}

static void on_page(void *ctx, int result)
{
	struct sweep *w = ctx;

	if (result < 0)
		log_error("s3: looking for what has expired in %s: %s", w->bucket->name,
		    strerror(-result));
	if (!w->more && !w->uploads)
		end_key(w);
	next_due(w);
}

static void read_page(struct sweep *w)
{
	char space[SPACE_SIZE];
	struct buf from = w->from;

	w->from = (struct buf)BUF_INIT;
	w->more = false;
	w->older = 0;
	w->lone_marker = false;
	buf_clear(&w->key);
	bucket_space(w->bucket, w->uploads ? 'u' : 'o', space);
	store_walk(w->s3->options.store, space, buf_str(&from), visit, on_page, w);
	buf_done(&from);
}

/* ---- when ---- */

static bool begin(struct s3 *s, struct bucket *b)
{
	const char *text = b->configs[CONFIG_LIFECYCLE].text;
	struct err e = ERR_INIT;
	struct sweep *w;

	if (!text || b->making || b->deleting)
		return false;
	w = xcalloc(1, sizeof(*w));
	w->s3 = s;
	w->rules = aws_shape_decode(aws_shape_find(&s3_service, "BucketLifecycleConfiguration"),
	    str_from(text), &w->arena, &e);
	if (!w->rules) {
		arena_done(&w->arena);
		free(w);
		return false;
	}
	w->bucket = bucket_ref(b);
	w->now_ms = s3_now_ms(s);
	s->sweep = w;
	read_page(w);
	return true;
}

static void next_bucket(struct s3 *s, const char *after)
{
	size_t i = 0;

	if (s->closing)
		return;
	while (i < s->bucket_count && strcmp(s->sorted[i]->name, after) <= 0)
		i++;
	for (; i < s->bucket_count; i++) {
		if (begin(s, s->sorted[i]))
			return;
	}
	loop_timer_set(s->options.loop, &s->lifecycle, EVERY_NS);
}

static void on_due(struct loop_timer *t)
{
	struct s3 *s = container_of(t, struct s3, lifecycle);

	if (!s->sweep)
		next_bucket(s, "");
}

void lifecycle_start(struct s3 *s)
{
	s->lifecycle.on_due = on_due;
	loop_timer_set(s->options.loop, &s->lifecycle, EVERY_NS / 60);
}

void lifecycle_stop(struct s3 *s)
{
	loop_timer_stop(s->options.loop, &s->lifecycle);
}

/* ---- the operations ---- */

static int check_days(const int64_t *days, const char *what, struct err *e)
{
	if (!days || *days > 0)
		return 0;
	return fail(e, S3_INVALID_ARGUMENT, "%s must be a positive integer", what);
}

static int check_expiration(const struct s3_lifecycle_expiration *x, struct err *e)
{
	unsigned given;

	if (!x)
		return 0;
	given = (x->days != NULL) + (x->date != NULL) + (x->expired_object_delete_marker != NULL);
	if (given != 1)
		return fail(e, S3_MALFORMED_XML,
		    "The XML you provided was not well-formed or did not validate against our "
		    "published schema");
	if (x->date && *x->date % DAY_MS)
		return fail(e, S3_INVALID_ARGUMENT, "'Date' must be at midnight GMT");
	return check_days(x->days, "'Days' for Expiration action", e);
}

static int check_rule(const struct s3_lifecycle_rule *r, struct err *e)
{
	int bad = check_expiration(r->expiration, e);

	if (bad)
		return bad;
	if (r->transitions || r->noncurrent_version_transitions)
		return fail(e, S3_NOT_IMPLEMENTED,
		    "There is one storage class: leave out transitions to others.");
	if (!r->expiration && !r->noncurrent_version_expiration &&
	    !r->abort_incomplete_multipart_upload)
		return fail(
		    e, S3_INVALID_REQUEST, "At least one action needs to be specified in a rule");
	if (r->id && strlen(r->id) > 255)
		return fail(
		    e, S3_INVALID_ARGUMENT, "ID length should not exceed allowed limit of 255");
	if (r->noncurrent_version_expiration)
		bad = check_days(r->noncurrent_version_expiration->noncurrent_days,
		    "'NoncurrentDays' for NoncurrentVersionExpiration action", e);
	if (!bad && r->abort_incomplete_multipart_upload)
		bad = check_days(r->abort_incomplete_multipart_upload->days_after_initiation,
		    "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action", e);
	return bad;
}

static int check_rules(const struct s3_lifecycle_rules *rules, struct err *e)
{
	if (rules->count > RULES_MAX)
		return fail(e, S3_INVALID_REQUEST, "At most %d rules", RULES_MAX);
	for (size_t i = 0; i < rules->count; i++) {
		int r = check_rule(&rules->items[i], e);

		if (r < 0)
			return r;
		for (size_t k = 0; k < i; k++) {
			const char *a = rules->items[i].id, *b = rules->items[k].id;

			if (a && b && !strcmp(a, b))
				return fail(e, S3_INVALID_ARGUMENT,
				    "Rule ID must be unique. Found same ID for more than one rule");
		}
	}
	return 0;
}

int s3_put_bucket_lifecycle_configuration(struct call *c,
    const struct s3_put_bucket_lifecycle_configuration_in *in,
    struct s3_put_bucket_lifecycle_configuration_out *out, struct err *e)
{
	struct s3 *s = s3_of(c);
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutLifecycleConfiguration", NULL, &b, e);

	(void)out;
	if (r == 0 && !in->lifecycle_configuration)
		r = fail(e, S3_MISSING_REQUEST_BODY_ERROR, "Request Body is empty");
	if (r == 0)
		r = check_rules(in->lifecycle_configuration->rules, e);
	if (r < 0)
		return r;
	if (!s->sweep && s->lifecycle.on_due)
		loop_timer_set(s->options.loop, &s->lifecycle, SOON_NS);
	return config_put(c, b, CONFIG_LIFECYCLE, in->lifecycle_configuration, e);
}

int s3_get_bucket_lifecycle_configuration(struct call *c,
    const struct s3_get_bucket_lifecycle_configuration_in *in,
    struct s3_get_bucket_lifecycle_configuration_out *out, struct err *e)
{
	const struct s3_bucket_lifecycle_configuration *l;
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:GetLifecycleConfiguration", NULL, &b, e);

	if (r < 0)
		return r;
	l = config_value(b, CONFIG_LIFECYCLE);
	if (!l)
		return fail(e, S3_NO_SUCH_LIFECYCLE_CONFIGURATION,
		    "The lifecycle configuration does not exist");
	out->rules = l->rules;
	return 0;
}

int s3_delete_bucket_lifecycle(struct call *c, const struct s3_delete_bucket_lifecycle_in *in,
    struct s3_delete_bucket_lifecycle_out *out _unused_, struct err *e)
{
	struct bucket *b;
	int r = bucket_get(
	    c, in->bucket, in->expected_bucket_owner, "s3:PutLifecycleConfiguration", NULL, &b, e);

	return r < 0 ? r : config_delete(c, b, CONFIG_LIFECYCLE);
}
