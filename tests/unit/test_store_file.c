/* Store: files that live as long as rows say, their checksums, reading keys on workers. */
#include "unit.h"

#include <dirent.h>

#include "base/rand.h"
#include "scratch.h"
#include "store/crc.h"
#include "store/file.h"

struct fixture {
	struct loop *loop;
	char *dir;
	struct store *store;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->loop = loop_new(4, NULL);
	f->dir = scratch_new();
	f->store = store_open(f->loop, f->dir, NULL);
	*state = f;
	return f->store ? 0 : -1;
}

static void settle(struct fixture *f)
{
	int64_t end = time_mono_ns() + 100000000;

	while (time_mono_ns() < end)
		loop_turn(f->loop, 10);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	settle(f);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f);
	return 0;
}

struct result {
	struct store_write write;
	int finished, result;
	struct store_sealed sealed;
	struct store_hashes hashes;
	int64_t version;
	char value[64];
};

static void on_write(struct store_write *w, int result)
{
	struct result *r = container_of(w, struct result, write);

	r->result = result;
	r->finished = 1;
}

static void on_sealed(void *ctx, int result, const struct store_sealed *sealed)
{
	struct result *r = ctx;

	r->result = result;
	if (sealed)
		r->sealed = *sealed;
	r->finished = 1;
}

static void on_hash(void *ctx, int result, const struct store_hashes *h)
{
	struct result *r = ctx;

	r->result = result;
	if (h)
		r->hashes = *h;
	r->finished = 1;
}

static int wait_for(struct fixture *f, struct result *r)
{
	assert_true(scratch_wait(f->loop, &r->finished));
	r->finished = 0;
	return r->result;
}

static void begin(struct result *r)
{
	*r = (struct result){0};
	store_write_init(&r->write, on_write);
}

static int commit(struct fixture *f, struct result *r)
{
	store_commit(f->store, &r->write);
	return wait_for(f, r);
}

static uint64_t make_file(struct fixture *f, const char *bytes, size_t len, unsigned hashes,
    struct store_hashes *ret_hashes)
{
	struct store_file *file = store_file_new(f->store, hashes, NULL, NULL);
	struct result r = {0};

	for (size_t at = 0; at < len; at += 60000)
		store_file_write(file, bytes + at, min_size(60000, len - at));
	store_file_seal(file, on_sealed, &r);
	assert_int_equal(wait_for(f, &r), 0);
	assert_int_equal(r.sealed.size, len);
	if (ret_hashes)
		*ret_hashes = r.sealed.hashes;
	return r.sealed.id;
}

/* Regular files on disk below files/. */
static unsigned count_files(struct fixture *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 256; i++) {
		char path[256];
		struct dirent *d;
		DIR *dir;

		snprintf(path, sizeof(path), "%s/files/%02x", f->dir, i);
		dir = opendir(path);
		assert_non_null(dir);
		while ((d = readdir(dir)))
			n += d->d_type == DT_REG;
		closedir(dir);
	}
	return n;
}

static void test_known_sums(void **state)
{
	const char *text = "123456789";
	struct store_hasher *h = store_hasher_new(63);
	struct store_hashes sums;
	char hex[65];

	(void)state;
	assert_int_equal(crc32_ieee(0, text, 9), 0xcbf43926u);
	assert_int_equal(crc32c(text, 9), 0xe3069283u);
	assert_int_equal(crc32c_portable(text, 9), 0xe3069283u);
	assert_true(crc64_nvme(0, text, 9) == 0xae8b14860a799888ull);
	store_hasher_add(h, text, 4);
	store_hasher_add(h, text + 4, 5);
	store_hasher_end(h, &sums);
	hex_encode(sums.md5, 16, hex);
	assert_string_equal(hex, "25f9e794323b453885f5181f1b624d0b");
	hex_encode(sums.crc32, 4, hex);
	assert_string_equal(hex, "cbf43926");
	hex_encode(sums.crc32c, 4, hex);
	assert_string_equal(hex, "e3069283");
	hex_encode(sums.crc64nvme, 8, hex);
	assert_string_equal(hex, "ae8b14860a799888");
	hex_encode(sums.sha1, 20, hex);
	assert_string_equal(hex, "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
	hex_encode(sums.sha256, 32, hex);
	assert_string_equal(
	    hex, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
}

static void test_sums_in_pieces_and_joined(void **state)
{
	unsigned char data[5000];

	(void)state;
	rand_bytes(data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut += 1 + cut / 3) {
		const unsigned char *tail = data + cut;
		size_t rest = sizeof(data) - cut;

		assert_int_equal(crc32_ieee(crc32_ieee(0, data, cut), tail, rest),
		    crc32_ieee(0, data, sizeof(data)));
		assert_int_equal(crc32c_more(crc32c(data, cut), tail, rest),
		    crc32c_portable(data, sizeof(data)));
		assert_int_equal(crc_combine(STORE_CRC32, crc32_ieee(0, data, cut),
				     crc32_ieee(0, tail, rest), rest),
		    crc32_ieee(0, data, sizeof(data)));
		assert_int_equal(
		    crc_combine(STORE_CRC32C, crc32c(data, cut), crc32c(tail, rest), rest),
		    crc32c(data, sizeof(data)));
		assert_true(
		    crc_combine(STORE_CRC64NVME, crc64_nvme(0, data, cut),
			crc64_nvme(0, tail, rest), rest) == crc64_nvme(0, data, sizeof(data)));
	}
}

static void test_file_lives_by_references(void **state)
{
	struct fixture *f = *state;
	size_t len = 20000001; /* more than one turn of hashing */
	char *bytes = xmalloc(len), *back = xmalloc(len);
	struct store_hashes sums;
	struct result r;
	uint64_t id;

	rand_bytes(bytes, len);
	id = make_file(f, bytes, len, STORE_MD5 | STORE_CRC32, &sums);
	assert_true(id != 0);
	begin(&r);
	store_file_keep(&r.write, id);
	assert_int_equal(commit(f, &r), 0);
	begin(&r);
	store_file_share(&r.write, id);
	store_put(&r.write, "t", STR("copy"), STR("x"), STORE_ABSENT);
	assert_int_equal(commit(f, &r), 0);

	struct store_extent x[] = {{id, 0, 1000000}, {id, 1000000, len - 1000000}};
	assert_int_equal(store_file_read(f->store, x, 2, 0, back, len), (ssize_t)len);
	assert_memory_equal(bytes, back, len);
	assert_int_equal(store_file_read(f->store, x, 2, 999990, back, 20), 20);
	assert_memory_equal(bytes + 999990, back, 20);
	assert_int_equal(store_file_read(f->store, x, 2, len - 5, back, 20), 5);
	r.finished = 0;
	store_file_hash(f->store, x, 2, STORE_MD5 | STORE_SHA256, on_hash, &r);
	assert_int_equal(wait_for(f, &r), 0);
	assert_memory_equal(r.hashes.md5, sums.md5, 16);

	begin(&r);
	store_file_drop(&r.write, id);
	assert_int_equal(commit(f, &r), 0);
	settle(f);
	assert_int_equal(count_files(f), 1);
	begin(&r);
	store_file_drop(&r.write, id);
	assert_int_equal(commit(f, &r), 0);
	settle(f);
	assert_int_equal(count_files(f), 0);
	begin(&r);
	store_put(&r.write, "t", STR("late"), STR("x"), STORE_ABSENT);
	store_file_share(&r.write, id);
	assert_int_equal(commit(f, &r), -ENOENT);
	begin(&r);
	store_put(&r.write, "t", STR("late"), STR("x"), STORE_ABSENT);
	assert_int_equal(commit(f, &r), 0); /* nothing of the refused write was there */
	free(bytes);
	free(back);
}

static void test_empty_file_is_none(void **state)
{
	struct fixture *f = *state;
	struct store_hashes sums;
	char hex[33];

	assert_int_equal(make_file(f, "", 0, STORE_MD5, &sums), 0);
	hex_encode(sums.md5, 16, hex);
	assert_string_equal(hex, "d41d8cd98f00b204e9800998ecf8427e");
	assert_int_equal(count_files(f), 0);
}

static void on_drain(void *ctx)
{
	*(int *)ctx = 1;
}

static void test_pressure_and_abandon(void **state)
{
	struct fixture *f = *state;
	char *piece = xcalloc(1, 65536);
	int drained = 0;
	struct store_file *file = store_file_new(f->store, STORE_MD5, on_drain, &drained);
	size_t waits = 0, most = 0;

	for (int i = 0; i < 400; i++) {
		waits = store_file_write(file, piece, 65536);
		most = max_size(most, waits);
		if (waits >= STORE_FILE_QUEUE) {
			drained = 0;
			assert_true(scratch_wait(f->loop, &drained));
		}
	}
	assert_true(most < STORE_FILE_QUEUE + 65536);
	assert_int_equal(count_files(f), 1);
	store_file_abandon(file);
	settle(f);
	assert_int_equal(count_files(f), 0);
	free(piece);
}

static void test_sweep_removes_what_no_row_keeps(void **state)
{
	struct fixture *f = *state;
	uint64_t kept = make_file(f, "kept", 4, STORE_MD5, NULL);
	struct result r;
	char back[4];

	make_file(f, "lost", 4, STORE_MD5, NULL);
	begin(&r);
	store_file_keep(&r.write, kept);
	assert_int_equal(commit(f, &r), 0);
	assert_int_equal(count_files(f), 2);
	store_close(f->store);
	settle(f);
	f->store = store_open(f->loop, f->dir, NULL);
	assert_non_null(f->store);
	uint64_t fresh = make_file(f, "new", 3, STORE_MD5, NULL);
	assert_true(fresh > kept);
	store_files_sweep(f->store);
	settle(f);
	assert_int_equal(count_files(f), 2); /* the new one is nobody's yet, but of this life */
	struct store_extent x = {kept, 0, 4};
	assert_int_equal(store_file_read(f->store, &x, 1, 0, back, 4), 4);
	assert_memory_equal(back, "kept", 4);
	store_file_forget(f->store, fresh);
	settle(f);
	assert_int_equal(count_files(f), 1);
}

static void test_a_file_that_is_read_stays(void **state)
{
	struct fixture *f = *state;
	uint64_t id = make_file(f, "kept", 4, STORE_MD5, NULL);
	struct store_extent x[] = {{id, 0, 2}, {id, 2, 2}};
	struct result r;
	char back[4];

	begin(&r);
	store_file_keep(&r.write, id);
	assert_int_equal(commit(f, &r), 0);
	store_files_hold(f->store, x, 2);
	begin(&r);
	store_file_drop(&r.write, id);
	assert_int_equal(commit(f, &r), 0);
	settle(f);
	assert_int_equal(store_file_read(f->store, x, 2, 0, back, 4), 4);
	store_files_release(f->store, x, 2);
	settle(f);
	assert_int_equal(count_files(f), 0);
}

static void on_get(void *ctx, int result, struct str value, int64_t version)
{
	struct result *r = ctx;

	r->result = result;
	r->version = version;
	snprintf(r->value, sizeof(r->value), "%.*s", STR_FMT(value));
	r->finished = 1;
}

static void test_get(void **state)
{
	struct fixture *f = *state;
	struct result r;

	begin(&r);
	store_put(&r.write, "t", STR("a"), STR("one"), STORE_ANY);
	assert_int_equal(commit(f, &r), 0);
	store_get(f->store, "t", STR("a"), on_get, &r);
	assert_int_equal(wait_for(f, &r), 0);
	assert_string_equal(r.value, "one");
	assert_int_equal(r.version, 1);
	store_get(f->store, "u", STR("a"), on_get, &r);
	assert_int_equal(wait_for(f, &r), -ENOENT);
}

/* ---- walking ---- */

#define KEYS 1000000

static void insert_many(struct fixture *f)
{
	struct result r;
	char key[32];

	for (int i = 0; i < KEYS;) {
		begin(&r);
		for (int n = 0; n < 20000; n++, i++) {
			snprintf(key, sizeof(key), "d%03d/%07d", i / 1000, i);
			store_put(
			    &r.write, "big", str_from(key), STR("some value of a key"), STORE_ANY);
		}
		assert_int_equal(commit(f, &r), 0);
	}
}

struct page {
	char last[64];
	unsigned count, limit;
	bool folders;
	int finished, result;
};

static enum store_step on_key(
    void *ctx, struct str key, struct str value, int64_t version, struct buf *seek)
{
	struct page *p = ctx;

	(void)value;
	(void)version;
	snprintf(p->last, sizeof(p->last), "%.*s", STR_FMT(key));
	if (++p->count >= p->limit)
		return STORE_STOP;
	if (!p->folders)
		return STORE_GO_ON;
	buf_append(seek, key.ptr, 4);
	buf_putc(seek, '/' + 1);
	return STORE_SEEK;
}

static void on_walked(void *ctx, int result)
{
	struct page *p = ctx;

	p->result = result;
	p->finished = 1;
}

static int64_t walk_page(struct fixture *f, const char *from, struct page *p)
{
	int64_t start = time_mono_ns();

	p->count = 0;
	p->finished = 0;
	store_walk(f->store, "big", str_from(from), on_key, on_walked, p);
	assert_true(scratch_wait(f->loop, &p->finished));
	assert_int_equal(p->result, 0);
	return time_mono_ns() - start;
}

static void test_walk_a_million(void **state)
{
	struct fixture *f = *state;
	struct page p = {.limit = 1000};
	int64_t early = INT64_MAX, late = INT64_MAX, t;
	char from[32];

	insert_many(f);
	for (int i = 0; i < 20; i++) {
		snprintf(from, sizeof(from), "d%03d/", i);
		t = walk_page(f, from, &p);
		early = t < early ? t : early;
		assert_int_equal(p.count, 1000);
		snprintf(from, sizeof(from), "d%03d/", 979 + i);
		t = walk_page(f, from, &p);
		late = t < late ? t : late;
		assert_int_equal(p.count, 1000);
	}
	print_message(
	    "page of 1000: first %.2f ms, last %.2f ms\n", (double)early / 1e6, (double)late / 1e6);
	assert_true(late < early * 5);
	p = (struct page){.limit = 1000, .folders = true};
	t = walk_page(f, "", &p);
	assert_int_equal(p.count, 1000);
	assert_string_equal(p.last, "d999/0999000");
	print_message("1000 folders of 1000: %.2f ms\n", (double)t / 1e6);
	p.limit = 2000; /* runs into the end */
	walk_page(f, "d500/", &p);
	assert_int_equal(p.count, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known_sums),
	    cmocka_unit_test(test_sums_in_pieces_and_joined),
	    cmocka_unit_test_setup_teardown(test_file_lives_by_references, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_empty_file_is_none, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_pressure_and_abandon, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_sweep_removes_what_no_row_keeps, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_a_file_that_is_read_stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_get, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_walk_a_million, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
