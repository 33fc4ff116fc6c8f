/* Documents: changes of several at once, changes built on one another, failure, reopening; and
 * sealing, which secrets among them need. */
#include "unit.h"

#include "auth/seal.h"
#include "docs/docs.h"
#include "scratch.h"

struct fixture {
	struct loop *loop;
	char *dir;
	struct store *store;
	struct docs *docs;
};

struct outcome {
	int finished, result;
};

static void open_all(struct fixture *f)
{
	f->store = store_open(f->loop, f->dir, NULL);
	assert_non_null(f->store);
	f->docs = docs_open(f->store, "test", NULL);
	assert_non_null(f->docs);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->loop = loop_new(2, NULL);
	f->dir = scratch_new();
	open_all(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	loop_turn(f->loop, 0);
	docs_close(f->docs);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f);
	return 0;
}

static void on_done(void *ctx, int result)
{
	struct outcome *o = ctx;

	o->finished = 1;
	o->result = result;
}

static json_t *number(int n)
{
	return json_pack("{s:i}", "n", n);
}

static int64_t visible(const struct fixture *f, const char *key)
{
	const json_t *doc = docs_get(f->docs, key);

	return doc ? docs_int(doc, "n") : -1;
}

static void several_at_once(void **state)
{
	struct fixture *f = *state;
	struct outcome o = {0};
	struct docs_change *g = docs_change_new(f->store);

	docs_put(g, f->docs, "b", number(2));
	docs_put(g, f->docs, "a", number(1));
	docs_commit(g, on_done, &o);
	assert_int_equal(visible(f, "a"), -1);
	assert_int_equal(docs_int(docs_latest(f->docs, "a"), "n"), 1);
	assert_int_equal(docs_count(f->docs, ""), 2);
	assert_true(scratch_wait(f->loop, &o.finished));
	assert_int_equal(o.result, 0);
	assert_int_equal(visible(f, "a"), 1);
	assert_int_equal(visible(f, "b"), 2);
}

static void built_on_one_another(void **state)
{
	struct fixture *f = *state;
	struct outcome o[4] = {0};

	for (int i = 0; i < 4; i++) {
		struct docs_change *g = docs_change_new(f->store);

		if (i == 2)
			docs_delete(g, f->docs, "a");
		else
			docs_put(g, f->docs, "a", number(i));
		docs_commit(g, on_done, &o[i]);
	}
	assert_int_equal(docs_int(docs_latest(f->docs, "a"), "n"), 3);
	assert_true(scratch_wait(f->loop, &o[3].finished));
	for (int i = 0; i < 4; i++)
		assert_int_equal(o[i].result, 0);
	assert_int_equal(visible(f, "a"), 3);
}

/* A message id that is there already makes the whole write fail. */
static void failure_leaves_all_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct outcome o[4] = {0};

	for (int i = 0; i < 4; i++) {
		struct docs_change *g = docs_change_new(f->store);

		docs_put(g, f->docs, i == 3 ? "other" : "a", number(i));
		if (i < 2)
			store_send(docs_change_write(g), "queue", STR("same"), STR("body"), 0);
		docs_commit(g, on_done, &o[i]);
	}
	for (int i = 0; i < 4; i++)
		assert_true(scratch_wait(f->loop, &o[i].finished));
	assert_int_equal(o[0].result, 0);
	assert_int_equal(o[1].result, -EEXIST);
	assert_int_equal(o[2].result, -EAGAIN); /* it was built on the one that failed */
	assert_int_equal(o[3].result, 0);
	assert_int_equal(visible(f, "a"), 0);
	assert_int_equal(docs_int(docs_latest(f->docs, "a"), "n"), 0);
}

static bool note_key(void *ctx, const char *key, const json_t *doc _unused_)
{
	char *seen = ctx;

	strcat(seen, key);
	strcat(seen, " ");
	return strcmp(key, "p/3") != 0;
}

static void order_and_reopening(void **state)
{
	static const char *const keys[] = {"p/2", "q", "p/1", "o", "p/3", "p/4"};
	struct fixture *f = *state;
	struct outcome o = {0};
	struct docs_change *g = docs_change_new(f->store);
	char seen[100] = "", again[100] = "", none[100] = "";

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		docs_put(g, f->docs, keys[i], number((int)i));
	docs_commit(g, on_done, &o);
	assert_true(scratch_wait(f->loop, &o.finished));
	docs_walk(f->docs, "p/", "", note_key, seen);
	assert_string_equal(seen, "p/1 p/2 p/3 ");
	docs_walk(f->docs, "p/", "p/2", note_key, again);
	assert_string_equal(again, "p/2 p/3 ");
	docs_walk(f->docs, "z", "", note_key, none);
	assert_string_equal(none, "");
	assert_int_equal(docs_count(f->docs, "p/"), 4);
	store_close(f->store);
	loop_turn(f->loop, 0);
	docs_close(f->docs);
	open_all(f);
	assert_int_equal(visible(f, "p/4"), 5);
	assert_int_equal(docs_count(f->docs, ""), 6);
}

static void sealing(void **state _unused_)
{
	static const uint8_t key[32] = {1}, other[32] = {2};
	_cleanup_buf_ struct buf sealed = BUF_INIT, again = BUF_INIT, out = BUF_INIT;

	auth_seal(key, STR("secret"), STR("name"), &sealed);
	auth_seal(key, STR("secret"), STR("name"), &again);
	assert_int_equal(buf_len(&sealed), 6 + SEAL_OVERHEAD);
	assert_false(str_eq(buf_str(&sealed), buf_str(&again)));
	assert_null(memmem(buf_data(&sealed), buf_len(&sealed), "secret", 6));
	assert_true(auth_unseal(key, buf_str(&sealed), STR("name"), &out));
	assert_true(str_is(buf_str(&out), "secret"));
	assert_false(auth_unseal(other, buf_str(&sealed), STR("name"), &out));
	assert_false(auth_unseal(key, buf_str(&sealed), STR("nam"), &out));
	assert_false(auth_unseal(key, STR("short"), STR("name"), &out));
	for (size_t i = 0; i < buf_len(&sealed); i++) {
		buf_data(&sealed)[i] ^= 1;
		assert_false(auth_unseal(key, buf_str(&sealed), STR("name"), &out));
		buf_data(&sealed)[i] ^= 1;
	}
	assert_int_equal(buf_len(&out), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(several_at_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(built_on_one_another, setup, teardown),
	    cmocka_unit_test_setup_teardown(failure_leaves_all_as_it_was, setup, teardown),
	    cmocka_unit_test_setup_teardown(order_and_reopening, setup, teardown),
	    cmocka_unit_test(sealing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
