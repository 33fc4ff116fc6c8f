/* The S3 service below its API: records, keys of rows, locks, the cache of records, small parsers.
 */
#include "unit.h"

#undef fail

#include <stdio.h>

#include "base/rand.h"
#include "service/s3/read_int.h"
#include "service/s3/request_int.h"
#include "service/s3/s3_int.h"

static struct object *sample(void)
{
	static const struct pair metadata[] = {{"a", "1"}, {"b", ""}};
	static const struct pair tags[] = {{"k", "v"}};
	static const struct object_part parts[] = {{5, "sum="}, {7, NULL}};
	static const struct store_extent extents[] = {{1, 0, 5}, {1ull << 60, 9, 7}};
	const struct object o = {.modified_ms = 1700000000123,
	    .seq = 1700000000123456,
	    .size = 12,
	    .version = "null",
	    .etag = "abc-2",
	    .content_type = "a/b",
	    .storage_class = NULL,
	    .checksum_kind = STORE_CRC64NVME,
	    .checksum_composite = true,
	    .checksum = "x",
	    .metadata = metadata,
	    .metadata_count = 2,
	    .tags = tags,
	    .tag_count = 1,
	    .parts = parts,
	    .part_count = 2,
	    .extents = extents,
	    .extent_count = 2,
	    .upload = "id"};

	return object_new(&o);
}

static void test_records_come_back(void **state)
{
	struct object *o = sample();

	(void)state;
	assert_int_equal(o->modified_ms, 1700000000123);
	assert_int_equal(o->seq, 1700000000123456);
	assert_int_equal(o->size, 12);
	assert_string_equal(o->etag, "abc-2");
	assert_null(o->storage_class);
	assert_null(o->expires);
	assert_true(o->checksum_composite);
	assert_false(o->marker);
	assert_string_equal(o->metadata[1].name, "b");
	assert_string_equal(o->metadata[1].value, "");
	assert_string_equal(o->tags[0].value, "v");
	assert_null(o->parts[1].checksum);
	assert_true(o->extents[1].file == 1ull << 60);
	assert_int_equal(o->extents[1].length, 7);
	assert_string_equal(o->upload, "id");
	object_unref(o);
}

static void test_damaged_records_are_refused(void **state)
{
	struct object *o = sample(), *back;
	struct buf b = BUF_INIT;
	size_t good = 0;

	(void)state;
	object_encode(o, &b);
	for (size_t n = 0; n < buf_len(&b); n++) {
		char *cut = xmalloc(n + 1);

		memcpy(cut, buf_data(&b), n);
		assert_null(object_decode((struct str){cut, n}));
		object_unref(object_decode_head((struct str){cut, n}));
		free(cut);
	}
	for (int i = 0; i < 20000; i++) {
		char *bent = xmalloc(buf_len(&b));

		memcpy(bent, buf_data(&b), buf_len(&b));
		for (uint64_t n = rand_u64() % 4; n < 4; n++)
			bent[rand_u64() % buf_len(&b)] = (char)rand_u64();
		back = object_decode((struct str){bent, buf_len(&b)});
		good += back != NULL;
		object_unref(back);
		free(bent);
	}
	assert_true(good < 20000);
	back = object_decode_head(buf_str(&b));
	assert_non_null(back);
	assert_int_equal(back->extent_count, 0);
	object_unref(back);
	object_unref(o);
	buf_done(&b);
}

static int compare(const struct buf *a, const struct buf *b)
{
	int r = memcmp(buf_data(a), buf_data(b), min_size(buf_len(a), buf_len(b)));

	return r ? r : (buf_len(a) > buf_len(b)) - (buf_len(a) < buf_len(b));
}

/* All versions of a key, the newest first, before the next key, even one that goes on with 0x01. */
static void test_rows_are_in_order(void **state)
{
	struct buf rows[6] = {0};

	(void)state;
	row_current(&rows[0], "a");
	row_older(&rows[1], "a", 2000);
	row_older(&rows[2], "a", 1000);
	row_behind(&rows[3], STR("a"));
	row_current(&rows[4], "a\x01");
	row_current(&rows[5], "ab");
	for (size_t i = 0; i + 1 < ARRAY_SIZE(rows); i++)
		assert_true(compare(&rows[i], &rows[i + 1]) < 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct str key;
		bool old = false;

		assert_true(row_split(buf_str(&rows[i]), &key, &old));
		assert_int_equal(old, i >= 1 && i <= 3);
		buf_done(&rows[i]);
	}
	assert_false(row_split(STR("no nul"), &(struct str){0}, &(bool){0}));
}

struct waiter {
	struct lock_wait wait;
	struct bucket *bucket;
	int *order, number;
	bool at_once;
};

static void on_lock(struct lock_wait *w)
{
	struct waiter *x = container_of(w, struct waiter, wait);

	x->number = ++*x->order;
	if (x->at_once)
		lock_release(x->bucket, STR("k"));
}

static void test_locks_wait_in_line(void **state)
{
	static struct waiter many[100000];
	struct bucket b = {.refs = 1};
	int order = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		many[i] = (struct waiter){
		    .wait = {.run = on_lock}, .bucket = &b, .order = &order, .at_once = i > 0};
		lock_take(&b, STR("k"), &many[i].wait);
	}
	assert_int_equal(order, 1);
	lock_release(&b, STR("k")); /* all of them, without a deep stack */
	assert_int_equal(order, ARRAY_SIZE(many));
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		assert_int_equal(many[i].number, (int)i + 1);
	assert_int_equal(b.locks.count, 0);
	locks_done(&b);
}

static void test_cache_forgets_and_is_not_fooled(void **state)
{
	struct bucket b = {.id = "0123456789abcdef"};
	struct object_cache *c = cache_new(20000);
	struct object *o = sample();
	uint32_t mark;
	char key[16];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		cache_written(c, &b, key, o);
		assert_ptr_equal(cache_get(c, &b, key), o);
	}
	assert_null(cache_get(c, &b, "k0"));
	assert_true(o->refs < 100);
	cache_written(c, &b, "k999", NULL);
	assert_null(cache_get(c, &b, "k999"));
	/* A reading that began before a write must not bring the old record back. */
	mark = cache_mark(c, &b, "x");
	cache_read(c, &b, "x", mark, o);
	assert_ptr_equal(cache_get(c, &b, "x"), o);
	mark = cache_mark(c, &b, "x");
	cache_written(c, &b, "x", NULL);
	cache_read(c, &b, "x", mark, o);
	assert_null(cache_get(c, &b, "x"));
	cache_free(c);
	assert_int_equal(o->refs, 1);
	object_unref(o);
}

static void test_entity_tags(void **state)
{
	(void)state;
	assert_true(etag_matches("\"abc\"", "abc"));
	assert_true(etag_matches("abc", "abc"));
	assert_true(etag_matches("*", "abc"));
	assert_true(etag_matches("\"x\", W/\"abc\"", "abc"));
	assert_false(etag_matches("\"ab\"", "abc"));
	assert_false(etag_matches("", "abc"));
	assert_false(etag_matches("\"", "abc"));
}

static void test_names_of_buckets(void **state)
{
	static const char *const good[] = {"abc", "a-b.c", "123", "x0123456789"};
	static const char *const bad[] = {
	    "ab", "Abc", "a_b", "-abc", "abc-", "a..b", "1.2.3.4", "xn--abc", "abc-s3alias", "a/b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(bucket_name_valid(str_from(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(bucket_name_valid(str_from(bad[i])));
}

static void test_versions_and_sums(void **state)
{
	struct s3 s = {0};
	char id[VERSION_ID_SIZE];
	uint64_t last = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t seq = next_seq(&s, 0);

		assert_true(seq > last);
		last = seq;
	}
	assert_true(next_seq(&s, last + 1000000000) > last + 1000000000);
	version_id(last, id);
	assert_int_equal(strlen(id), VERSION_ID_SIZE - 1);
	assert_true(version_valid(id));
	assert_true(version_valid("null"));
	assert_false(version_valid("nonsense"));
	assert_int_equal(checksum_kind("crc32c"), STORE_CRC32C);
	assert_int_equal(checksum_kind("MD5"), 0);
	assert_true(checksum_valid(STORE_CRC32, "y/Q5Jg=="));
	assert_false(checksum_valid(STORE_CRC32, "y/Q5JgAA"));
	assert_false(checksum_valid(STORE_SHA256, "y/Q5Jg=="));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records_come_back),
	    cmocka_unit_test(test_damaged_records_are_refused),
	    cmocka_unit_test(test_rows_are_in_order),
	    cmocka_unit_test(test_locks_wait_in_line),
	    cmocka_unit_test(test_cache_forgets_and_is_not_fooled),
	    cmocka_unit_test(test_entity_tags),
	    cmocka_unit_test(test_names_of_buckets),
	    cmocka_unit_test(test_versions_and_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
