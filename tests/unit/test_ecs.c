/* Parts of ECS that can be asked by themselves: cluster queries, sizes, strategies. */
#include "unit.h"

#undef fail /* of cmocka; ours is in aws.h */

#include "service/ecs/ecs_int.h"

/* cmocka's fail_msg() uses its own fail(). */
#define wrong(...)                        \
	do {                              \
		print_error(__VA_ARGS__); \
		print_error("\n");        \
		assert_true(false);       \
	} while (0)

/* ---- the cluster query language ---- */

static json_t *facts(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "attribute:os", "linux",
	    "attribute:flag", "", "agentConnected", "true", "runningTasksCount", "12", "task:group",
	    "family:web", "family:db");
}

static const struct {
	const char *text;
	int result; /* -1: wrong */
} queries[] = {
    {"attribute:os == linux", 1},
    {"attribute:os==linux", 1},
    {"  attribute:os  equals \"linux\" ", 1},
    {"attribute:os != linux", 0},
    {"attribute:none != linux", 1},
    {"attribute:flag exists", 1},
    {"attribute:none exists", 0},
    {"attribute:flag not_exists", 0},
    {"attribute:os in [a, 'linux' , b]", 1},
    {"attribute:os !in [a]", 1},
    {"attribute:none in [a]", 0},
    {"task:group == family:db", 1},
    {"task:group == family:x", 0},
    {"task:group != family:web", 0},
    {"runningTasksCount > 9", 1}, /* as numbers */
    {"runningTasksCount <= 12 and runningTasksCount >= 12", 1},
    {"runningTasksCount less_than 12", 0},
    {"attribute:os =~ l.*x", 1},
    {"attribute:os =~ inu", 0}, /* the whole of it */
    {"attribute:os !~ w.*", 1},
    {"not attribute:os == linux", 0},
    {"!(attribute:os == linux)", 0},
    {"not not attribute:os == linux", 1},
    /* and before or */
    {"attribute:os == linux or attribute:os == a and attribute:os == b", 1},
    {"(attribute:os == linux or attribute:os == a) and attribute:os == b", 0},
    {"attribute:os == linux && agentConnected == true || attribute:none exists", 1},
    /* Wrong, wherever the fault is and however the rest would end. */
    {"", -1},
    {"attribute:os", -1},
    {"attribute: == x", -1},
    {"unknown == x", -1},
    {"attribute:os ==", -1},
    {"attribute:os == linux or", -1},
    {"attribute:os == linux nonsense", -1},
    {"attribute:os == linux and (agentConnected == true", -1},
    {"attribute:os in linux", -1},
    {"attribute:os in [linux", -1},
    {"attribute:os in []", -1},
    {"attribute:os == 'linux", -1},
    {"attribute:os =~ (", -1},
    {")", -1},
};

static void query_answers(void **state)
{
	json_t *known = facts();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		struct err e = ERR_INIT;
		bool fits = false;
		int r = ecs_query(str_from(queries[i].text), known, &fits, &e);

		if (r < 0 ? queries[i].result != -1 : queries[i].result != fits)
			wrong("'%s': %d %d %s", queries[i].text, r, fits, e.msg);
		/* Whether it is correct does not depend on what is known. */
		assert_int_equal(ecs_query(str_from(queries[i].text), NULL, NULL, &e), r);
	}
	json_decref(known);
}

static void query_is_bounded(void **state)
{
	char deep[200], text[2100];
	json_t *known =
	    json_pack("{s:s}", "attribute:x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
	struct err e = ERR_INIT;
	bool fits = true;

	(void)state;
	memset(deep, '(', sizeof(deep));
	assert_int_equal(ecs_query((struct str){deep, sizeof(deep)}, known, &fits, &e), -EINVAL);
	memset(deep, '!', sizeof(deep));
	assert_int_equal(ecs_query((struct str){deep, sizeof(deep)}, known, &fits, &e), -EINVAL);
	memset(text, 'a', sizeof(text));
	assert_int_equal(ecs_query((struct str){text, sizeof(text)}, known, &fits, &e), -EINVAL);
	/* A pattern that would take for ever does not fit. */
	assert_int_equal(ecs_query(STR("attribute:x =~ '(a*)*(a*)*(a*)*c'"), known, &fits, &e), 0);
	assert_false(fits);
	json_decref(known);
}

/* ---- sizes ---- */

static void sizes_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t cpu, memory; /* -1: refused */
	} all[] = {{"1024", 1024, 1024}, {"1 vCPU", 1024, -1}, {".25 vcpu", 256, -1},
	    {"0.5vCPU", 512, -1}, {"2 GB", -1, 2048}, {"0.5GB", -1, 512}, {"", -1, -1},
	    {"0", -1, -1}, {"-1", -1, -1}, {"1e3", -1, -1}, {"0x10", -1, -1}, {"nan", -1, -1},
	    {"inf", -1, -1}, {"1.5", -1, -1}, {"99999999999999999999", -1, -1},
	    {"1 vCPU x", -1, -1}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		int64_t cpu = -1, memory = -1;

		ecs_cpu_parse(all[i].text, &cpu);
		ecs_memory_parse(all[i].text, &memory);
		if (cpu != all[i].cpu || memory != all[i].memory)
			wrong("'%s': %" PRId64 " %" PRId64, all[i].text, cpu, memory);
	}
}

/* ---- strategies ---- */

static void strategies_split(void **state)
{
	static const struct {
		const char *strategy; /* base, weight */
		int64_t count, first, second;
	} all[] = {
	    {"[{\"weight\":1},{\"weight\":4}]", 5, 1, 4},
	    {"[{\"weight\":1},{\"weight\":4}]", 10, 2, 8},
	    {"[{\"weight\":1},{\"weight\":1}]", 3, 2, 1},
	    {"[{\"base\":2,\"weight\":1},{\"weight\":4}]", 2, 2, 0},
	    {"[{\"base\":2,\"weight\":1},{\"weight\":4}]", 7, 3, 4},
	    {"[{\"base\":3,\"weight\":0},{\"weight\":1}]", 10, 3, 7},
	    {"[{\"weight\":0},{\"weight\":1000}]", 10, 0, 10},
	    {"[{\"base\":100000,\"weight\":1},{\"weight\":1}]", 10, 10, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		json_t *strategy = json_loads(all[i].strategy, 0, NULL);
		int64_t each[20];

		ecs_strategy_split(strategy, all[i].count, each);
		json_decref(strategy);
		if (each[0] != all[i].first || each[1] != all[i].second)
			wrong("%s of %" PRId64 ": %" PRId64 " %" PRId64, all[i].strategy,
			    all[i].count, each[0], each[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(query_answers),
	    cmocka_unit_test(query_is_bounded),
	    cmocka_unit_test(sizes_are_read),
	    cmocka_unit_test(strategies_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
