/* The walk behind every listing. See list_int.h. What runs on the worker touches the listing alone.
 */
#include "service/s3/list_int.h"
#include "service/s3/request_int.h"

/* Rows that are looked at for one page: a bucket full of delete markers gives short pages instead
 * of long waits. */
#define VISITS_MAX 200000

/* ---- on the worker ---- */

static bool begins_with(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.len >= n && memcmp(s.ptr, prefix, n) == 0;
}

/* The key up to and with the first delimiter behind the prefix; ptr NULL: there is none. */
static struct str common_prefix(const struct listing *l, struct str key)
{
	size_t skip = strlen(l->prefix), n = strlen(l->delimiter);
	const char *at;

	if (!n || key.len < skip + n)
		return STR_NULL;
	at = memmem(key.ptr + skip, key.len - skip, l->delimiter, n);
	return at ? (struct str){key.ptr, (size_t)(at - key.ptr) + n} : STR_NULL;
}

/* First place behind everything that begins with s; its last byte is not 0xff in UTF-8. */
static void behind_prefix(struct buf *b, struct str s)
{
	buf_append(b, s.ptr, s.len - 1);
	buf_putc(b, (char)((unsigned char)s.ptr[s.len - 1] + 1));
}

static void set_last(struct listing *l, struct str key)
{
	free(l->last);
	l->last = xstrndup(key.ptr, key.len);
}

static bool is_full(struct listing *l)
{
	if (l->count < l->max)
		return false;
	l->truncated = true;
	return true;
}

static enum store_step add_prefix(struct listing *l, struct str prefix, struct buf *seek)
{
	if (is_full(l))
		return STORE_STOP;
	l->items[l->count++] = (struct list_item){.key = xstrndup(prefix.ptr, prefix.len)};
	set_last(l, prefix);
	behind_prefix(seek, prefix);
	return STORE_SEEK;
}

static enum store_step add_item(
    struct listing *l, struct str key, struct str suffix, struct object *o)
{
	if (is_full(l)) {
		object_unref(o);
		return STORE_STOP;
	}
	l->items[l->count++] = (struct list_item){.key = xstrndup(key.ptr, key.len),
	    .suffix = xstrndup(suffix.len ? suffix.ptr : "", suffix.len),
	    .object = o,
	    .latest = !suffix.len};
	set_last(l, key);
	return STORE_GO_ON;
}

static enum store_step on_row(
    void *ctx, struct str row, struct str value, int64_t version, struct buf *seek)
{
	struct listing *l = ctx;
	struct str key, prefix, suffix;
	struct object *o;
	bool old;

	(void)version;
	if (!row_split(row, &key, &old) || !begins_with(key, l->prefix))
		return STORE_STOP;
	if (++l->visited > VISITS_MAX) {
		l->truncated = true;
		return STORE_STOP;
	}
	if (l->what == LIST_OBJECTS && old) {
		row_behind(seek, key);
		return STORE_SEEK;
	}
	o = object_decode_head(value);
	if (!o || (l->what == LIST_OBJECTS && o->marker)) {
		object_unref(o);
		if (l->what == LIST_OBJECTS)
			set_last(l, key);
		return STORE_GO_ON;
	}
	prefix = common_prefix(l, key);
	if (prefix.ptr) {
		object_unref(o);
		return add_prefix(l, prefix, seek);
	}
	suffix = str_sub(row, key.len + 1);
	return add_item(l, key, suffix, o);
}

/* ---- on the loop ---- */

void listing_free(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		object_unref(l->items[i].object);
		free(l->items[i].key);
		free(l->items[i].suffix);
	}
	free(l->items);
	free(l->prefix);
	free(l->delimiter);
	free(l->last);
	buf_done(&l->from);
	bucket_unref(l->bucket);
	free(l);
}

static void on_walked(void *ctx, int result)
{
	struct listing *l = ctx;
	struct err e = ERR_INIT;

	l->result = result;
	if (l->call && result < 0) {
		result = s3_failed(l->call, result, NULL, &e);
		call_reply(l->call, result, &e);
	} else if (l->call) {
		l->reply(l);
	}
	listing_free(l);
}

static void on_stop(struct call *c)
{
	((struct listing *)c->user)->call = NULL;
}

struct listing *listing_new(struct call *c, struct bucket *b, enum listed what, const char *prefix,
    const char *delimiter, const int64_t *max)
{
	struct listing *l = xcalloc(1, sizeof(*l));

	l->what = what;
	l->call = c;
	l->bucket = bucket_ref(b);
	l->prefix = xstrdup(prefix ? prefix : "");
	l->delimiter = xstrdup(delimiter ? delimiter : "");
	l->max = max && *max < S3_LIST_MAX ? (size_t)*max : S3_LIST_MAX;
	buf_puts(&l->from, l->prefix);
	return l;
}

static void begin_at(struct listing *l, struct buf *from)
{
	size_t n = min_size(buf_len(from), buf_len(&l->from));

	/* The later one of the two: a prefix may lie behind the marker. */
	int order = n ? memcmp(buf_data(from), buf_data(&l->from), n) : 0;

	if (order > 0 || (order == 0 && buf_len(from) > buf_len(&l->from))) {
		buf_done(&l->from);
		l->from = *from;
	} else {
		buf_done(from);
	}
}

void listing_after(struct listing *l, const char *marker)
{
	struct buf from = BUF_INIT;
	struct str m = str_from(marker), prefix = STR_NULL;

	if (!marker || !*marker)
		return;
	if (begins_with(m, l->prefix))
		prefix = common_prefix(l, m);
	if (prefix.ptr && prefix.len == m.len)
		behind_prefix(&from, m);
	else
		row_behind(&from, m);
	begin_at(l, &from);
}

void listing_after_row(struct listing *l, const char *key, const char *suffix)
{
	struct buf from = BUF_INIT;

	row_current(&from, key);
	buf_append(&from, suffix, strlen(suffix) + 1);
	begin_at(l, &from);
}

int listing_start(struct listing *l, void (*reply)(struct listing *l))
{
	static const char space_of[] = {
	    [LIST_OBJECTS] = 'o', [LIST_VERSIONS] = 'o', [LIST_UPLOADS] = 'u'};
	char space[SPACE_SIZE];

	l->reply = reply;
	l->call->user = l;
	call_on_stop(l->call, on_stop);
	l->items = xcalloc(max_size(l->max, 1), sizeof(*l->items));
	if (l->max == 0) {
		on_walked(l, 0);
		return CALL_PENDING;
	}
	bucket_space(l->bucket, space_of[l->what], space);
	store_walk(l->bucket->s3->options.store, space, buf_str(&l->from), on_row, on_walked, l);
	return CALL_PENDING;
}

/* ---- for answers ---- */

const char *list_text(struct call *c, const char *text, const char *encoding)
{
	char *out;

	if (!text || !encoding)
		return call_str(c, text);
	out = arena_alloc(c->arena, strlen(text) * 3 + 1);
	url_encode(str_from(text), true, out);
	return out;
}

const struct s3_common_prefix_list *list_prefixes(const struct listing *l, const char *encoding)
{
	struct s3_common_prefix_list *list = call_new(l->call, struct s3_common_prefix_list);
	struct s3_common_prefix *items = call_array(l->call, l->count, struct s3_common_prefix);

	for (size_t i = 0; i < l->count; i++)
		if (!l->items[i].object)
			items[list->count++].prefix = list_text(l->call, l->items[i].key, encoding);
	list->items = items;
	return list->count ? list : NULL;
}

const struct s3_checksum_algorithm_list *list_algorithms(struct call *c, const struct object *o)
{
	struct s3_checksum_algorithm_list *list;
	const char **name;

	if (!o->checksum_kind || !o->checksum)
		return NULL;
	list = call_new(c, struct s3_checksum_algorithm_list);
	name = call_array(c, 1, const char *);
	*name = checksum_name(o->checksum_kind);
	list->count = 1;
	list->items = name;
	return list;
}

int list_arguments(struct call *c, const int64_t *max, const char *encoding, struct err *e)
{
	if (max && (*max < 0 || *max > INT32_MAX)) {
		call_error_member(c, "ArgumentName", "max-keys");
		return fail(e, S3_INVALID_ARGUMENT,
		    "Argument maxKeys must be an integer between 0 and 2147483647");
	}
	if (encoding && strcmp(encoding, "url") != 0) {
		call_error_member(c, "ArgumentName", "encoding-type");
		return fail(e, S3_INVALID_ARGUMENT, "Invalid Encoding Method specified in Request");
	}
	return 0;
}
