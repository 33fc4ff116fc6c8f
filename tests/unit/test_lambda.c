/*
 * What the Lambda service decides without a client: names, the JSON check, policies, the weights
 * of aliases, runtimes, and what it makes of the records in a store.
 */
#include "unit.h"

#undef fail /* cmocka's: the engine has a function of that name */
#define wrong(...)                         \
	do {                               \
		print_error(__VA_ARGS__);  \
		_fail(__FILE__, __LINE__); \
	} while (0)

#include "scratch.h"
#include "service/lambda/lambda_int.h"

/* ---- names ---- */

static void is_name(const char *text, const char *region, const char *account, const char *name,
    const char *qualifier)
{
	struct name n = {0};

	assert_true(name_parse(str_from(text), &n));
	assert_true(str_eq(n.region, str_from(region)));
	assert_true(str_eq(n.account, str_from(account)));
	assert_true(str_eq(n.name, str_from(name)));
	assert_true(str_eq(n.qualifier, str_from(qualifier)));
	assert_true((n.qualifier.ptr != NULL) == (qualifier != NULL));
}

static void names(void **state)
{
	(void)state;
	is_name("f", NULL, NULL, "f", NULL);
	is_name("my_f-1", NULL, NULL, "my_f-1", NULL);
	is_name("f:$LATEST", NULL, NULL, "f", "$LATEST");
	is_name("f:7", NULL, NULL, "f", "7");
	is_name("f:live", NULL, NULL, "f", "live");
	is_name("function:f", NULL, NULL, "f", NULL);
	is_name("123456789012:function:f", NULL, "123456789012", "f", NULL);
	is_name("123456789012:f:live", NULL, "123456789012", "f", "live");
	is_name("us-east-1:123456789012:function:f", "us-east-1", "123456789012", "f", NULL);
	is_name("arn:aws:lambda:us-gov-west-1:123456789012:function:f", "us-gov-west-1",
	    "123456789012", "f", NULL);
	is_name("arn:aws-cn:lambda:eu-west-1:123456789012:function:f:live", "eu-west-1",
	    "123456789012", "f", "live");
	is_name("function", NULL, NULL, "function", NULL);
	is_name("us-east-1", NULL, NULL, "us-east-1", NULL);
	is_name("123456789012", NULL, NULL, "123456789012", NULL);
}

static void no_names(void **state)
{
	static const char *const bad[] = {"", ":", "f:", "a b", "f:live:more", "f/g", "ü",
	    "arn:aws:s3:::bucket", "arn:aws:lambda", "arn:", "f:$LATES", "f:$LATEST2", "f.g"};
	struct name n = {.name = STR("untouched")};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (name_parse(str_from(bad[i]), &n))
			wrong("'%s' is no name", bad[i]);
	}
	assert_true(str_is(n.name, "untouched"));
}

/* ---- is it JSON? ---- */

static void json(void **state)
{
	static const char *const good[] = {"{}", "[]", "null", "true", "false", "0", "-0", "1.5",
	    "1e9", "-1.25E-10", "\"\"", "\"\\u00e9\\n\\\"\"", " [ 1 , {\"a\" : [ ] } , \"x\" ] ",
	    "{\"a\":{\"b\":[{}]},\"c\":null}", "\"\xf0\x9f\x98\x80\""};
	static const char *const bad[] = {"", " ", "{", "}", "[1", "[1,]", "{\"a\"}", "{\"a\":}",
	    "{\"a\":1,}", "{a:1}", "{,}", "01", "1.", ".5", "+1", "1e", "nul", "truex", "\"",
	    "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "[] []", "[}", "{]", "[1 2]", "'a'", "\"\xff\"",
	    "NaN", "-"};
	size_t at;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		if (!json_check(str_from(good[i]), &at))
			wrong("'%s' is JSON, not wrong at %zu", good[i], at);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (json_check(str_from(bad[i]), &at))
			wrong("'%s' is no JSON", bad[i]);
		assert_true(at <= strlen(bad[i]));
	}
	assert_false(json_check((struct str){"1\0", 2}, &at));
}

static void json_depth(void **state)
{
	char text[1100];
	size_t at;

	(void)state;
	memset(text, '[', 512);
	text[512] = '1';
	memset(text + 513, ']', 512);
	assert_true(json_check((struct str){text, 1025}, &at));
	memset(text, '[', 513);
	memset(text + 513, ']', 513);
	assert_true(json_check((struct str){text, 1026}, &at)); /* the innermost is empty */
	memset(text, '[', 514);
	memset(text + 514, ']', 514);
	assert_false(json_check((struct str){text, 1028}, &at));
}

/* ---- policies ---- */

static json_t *policy_of(const struct lambda_add_permission_in *in)
{
	struct err e = ERR_INIT;
	json_t *statement =
	    policy_statement(NULL, in, "arn:aws:lambda:us-east-1:123456789012:function:f", &e);

	assert_non_null(statement);
	return json_pack("{s:[o]}", "Statement", statement);
}

static bool allows(const struct lambda_add_permission_in *in, const struct caller *r)
{
	json_t *doc = policy_of(in);
	struct policy *policy = policy_compile(doc);
	bool yes;

	assert_non_null(policy);
	yes = policy_allows(policy, r);
	policy_free(policy);
	json_decref(doc);
	return yes;
}

static void policy_services(void **state)
{
	struct lambda_add_permission_in in = {.statement_id = "s",
	    .action = "lambda:InvokeFunction",
	    .principal = "s3.amazonaws.com",
	    .source_arn = "arn:aws:s3:::logs-*",
	    .source_account = "123456789012"};
	struct caller r = {.action = "lambda:InvokeFunction",
	    .service = "s3.amazonaws.com",
	    .source_arn = "arn:aws:s3:::logs-2026",
	    .source_account = "123456789012"};

	(void)state;
	assert_true(allows(&in, &r));
	r.source_arn = "arn:aws:s3:::other";
	assert_false(allows(&in, &r));
	r.source_arn = NULL;
	assert_false(allows(&in, &r));
	r.source_arn = "arn:aws:s3:::logs-";
	assert_true(allows(&in, &r));
	r.source_account = "999999999999";
	assert_false(allows(&in, &r));
	r.source_account = "123456789012";
	r.service = "sns.amazonaws.com";
	assert_false(allows(&in, &r));
	r.service = NULL;
	assert_false(allows(&in, &r));
	r.service = "s3.amazonaws.com";
	r.action = "lambda:GetFunction";
	assert_false(allows(&in, &r));
	in.action = "lambda:*";
	assert_true(allows(&in, &r));
}

static void policy_accounts(void **state)
{
	struct lambda_add_permission_in in = {
	    .statement_id = "s", .action = "lambda:InvokeFunction", .principal = "999999999999"};
	const struct aws_principal joe = {.type = AWS_USER,
	    .account = "999999999999",
	    .arn = "arn:aws:iam::999999999999:user/joe"};
	struct caller r = {.action = "lambda:InvokeFunction", .principal = &joe};
	struct caller nobody = {.action = "lambda:InvokeFunction"};

	(void)state;
	assert_true(allows(&in, &r));
	assert_false(allows(&in, &nobody));
	in.principal = "arn:aws:iam::999999999999:user/joe";
	assert_true(allows(&in, &r));
	in.principal = "arn:aws:iam::999999999999:user/jim";
	assert_false(allows(&in, &r));
	in.principal = "*";
	assert_true(allows(&in, &nobody));
	/* A condition that cannot be checked here never holds. */
	in.principal_org_id = "o-1234567890";
	assert_false(allows(&in, &r));
}

static void policy_urls(void **state)
{
	struct lambda_add_permission_in in = {.statement_id = "s",
	    .action = "lambda:InvokeFunctionUrl",
	    .principal = "*",
	    .function_url_auth_type = "NONE"};
	struct caller r = {
	    .action = "lambda:InvokeFunctionUrl", .url_auth_type = "NONE", .via_url = true};
	const bool yes = true;

	(void)state;
	assert_true(allows(&in, &r));
	r.url_auth_type = "AWS_IAM";
	assert_false(allows(&in, &r));
	in = (struct lambda_add_permission_in){.statement_id = "s",
	    .action = "lambda:InvokeFunction",
	    .principal = "*",
	    .invoked_via_function_url = &yes};
	r.action = "lambda:InvokeFunction";
	assert_true(allows(&in, &r));
	r.via_url = false;
	assert_false(allows(&in, &r));
}

static void policy_refuses(void **state)
{
	struct lambda_add_permission_in in = {
	    .statement_id = "s", .action = "lambda:InvokeFunction", .principal = "somebody"};
	struct err e = ERR_INIT;

	(void)state;
	assert_null(policy_statement(NULL, &in, "arn", &e));
	assert_int_equal(e.code, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION);
	in.principal = "*";
	in.function_url_auth_type = "NONE";
	assert_null(policy_statement(NULL, &in, "arn", &e));
}

/* ---- weights ---- */

static void weights(void **state)
{
	struct version latest = {0}, one = {.number = 1}, two = {.number = 2};
	struct version *published[] = {&one, &two};
	struct function f = {.latest = &latest, .published = published, .published_count = 2};
	struct item alias = {.name = (char *)(uintptr_t) "live"};
	unsigned seen = 0;

	(void)state;
	list_init(&f.aliases);
	list_push_back(&f.aliases, &alias.node);
	alias.doc = json_pack("{s:s, s:{s:f}}", "FunctionVersion", "1", "Weights", "2", 0.25);
	for (uint64_t i = 0; i < 1000; i++)
		seen += version_to_run(&f, "live", i * (UINT64_MAX / 1000)) == &two;
	assert_in_range(seen, 249, 251);
	assert_ptr_equal(version_to_run(&f, "live", UINT64_MAX), &one);
	assert_ptr_equal(version_to_run(&f, NULL, 0), &latest);
	assert_ptr_equal(version_to_run(&f, "", 0), &latest);
	assert_ptr_equal(version_to_run(&f, "$LATEST", 0), &latest);
	assert_ptr_equal(version_to_run(&f, "2", 0), &two);
	assert_null(version_to_run(&f, "3", 0));
	assert_null(version_to_run(&f, "0", 0));
	assert_null(version_to_run(&f, "99999999999999999999", 0));
	assert_null(version_to_run(&f, "other", 0));
	json_decref(alias.doc);
	alias.doc = json_pack("{s:s, s:{s:f}}", "FunctionVersion", "1", "Weights", "2", 1.0);
	assert_ptr_equal(version_to_run(&f, "live", UINT64_MAX), &two);
	json_object_set_new(json_object_get(alias.doc, "Weights"), "2", json_real(0));
	assert_ptr_equal(version_to_run(&f, "live", 0), &one);
	json_decref(alias.doc);
}

/* ---- runtimes ---- */

static int set_runtimes(void **state)
{
	static const char *const options[] = {
	    "node=v20.20.2:/opt/node20", "node=24.1.0:/opt/node24", "python=3.12.4:/opt/python"};

	(void)state;
	return lambda_runtimes_setup(options, ARRAY_SIZE(options), NULL);
}

static void runtimes(void **state)
{
	struct runtime_choice c = {0};
	struct err e = ERR_INIT;
	size_t count;

	(void)state;
	assert_int_equal(runtime_find("nodejs20.x", "us-east-1", &c, &e), 0);
	assert_string_equal(c.version, "nodejs:20.v20.20.2");
	assert_string_equal(c.program->argv[0], "/opt/node20");
	assert_true(c.program->framed);
	assert_memory_equal(c.arn, "arn:aws:lambda:us-east-1::runtime:", 34);
	assert_int_equal(strlen(c.arn), 34 + 64);
	assert_int_equal(runtime_find("nodejs24.x", "us-east-1", &c, &e), 0);
	assert_string_equal(c.program->argv[0], "/opt/node24");
	assert_int_equal(runtime_find("python3.12", "us-east-1", &c, &e), 0);
	assert_string_equal(c.version, "python:3.12.v3.12.4");
	assert_int_equal(runtime_find("python3.14", "us-east-1", &c, &e), 0);
	assert_int_equal(runtime_find("provided.al2023", "us-east-1", &c, &e), 0);
	assert_string_equal(c.version, "provided:al2023.v1");
	assert_false(c.program->framed);
	assert_int_equal(runtime_find("provided.al2", "us-east-1", &c, &e), 0);
	assert_string_equal(c.version, "provided:al2.v1");
	assert_true(runtime_find("provided", "us-east-1", &c, &e) < 0);
	assert_true(runtime_find("java21", "us-east-1", &c, &e) < 0);
	assert_non_null(strstr(e.msg, "provided.al2023"));
	assert_true(runtime_find("nodejs12.x", "us-east-1", &c, &e) < 0);
	assert_non_null(strstr(e.msg, "no longer supported"));
	assert_non_null(lambda_programs(&count));
	assert_true(count >= 3);
}

static void runtime_options(void **state)
{
	static const char *const bad[] = {"node", "node=20", "node=:/x", "node=20:", "node=20:x",
	    "ruby=3:/usr/bin/ruby", "=20:/x", ""};
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(lambda_runtimes_setup(&bad[i], 1, &e), -EINVAL);
}

/* ---- records ---- */

#define HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define KEY "123456789012/us-east-1/f/"
#define VERSION(extra)                                                                       \
	"{\"v\":1,\"Runtime\":\"provided.al2023\",\"Handler\":\"h\",\"Role\":\"r\","         \
	"\"LogGroup\":\"g\",\"LogFormat\":\"Text\",\"CodeHash\":\"" HASH "\",\"CodeSize\":7" \
	"" extra "}"

struct fixture {
	struct loop *loop;
	char *dir;
	struct store *store;
	struct meter *meter;
	struct invoke *invoke;
	struct store_write write;
	int finished, result;
};

static void on_written(struct store_write *w, int result)
{
	struct fixture *f = container_of(w, struct fixture, write);

	f->finished = 1;
	f->result = result;
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	_cleanup_free_ char *usage = NULL;
	struct invoke_options o = {.concurrency = 1000, .idle_ms = 1000, .retry_base_ms = 1000};

	f->loop = loop_new(2, NULL);
	f->dir = scratch_new();
	usage = xasprintf("%s/usage", f->dir);
	f->store = store_open(f->loop, f->dir, NULL);
	f->meter = meter_open(f->loop, usage, NULL, NULL);
	o.loop = f->loop;
	o.store = f->store;
	o.meter = f->meter;
	f->invoke = invoke_new(&o);
	store_write_init(&f->write, on_written);
	*state = f;
	return f->store && f->meter ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	invoke_free(f->invoke);
	meter_close(f->meter);
	store_close(f->store);
	loop_turn(f->loop, 0);
	loop_free(f->loop);
	scratch_remove(f->dir);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *key, const char *value)
{
	store_put(&f->write, "lambda", str_from(key), str_from(value), STORE_ABSENT);
}

static struct lambda *open_with(struct fixture *f, struct err *e)
{
	const struct lambda_options o = {
	    .loop = f->loop, .store = f->store, .invoke = f->invoke, .url = "http://127.0.0.1:99"};

	store_commit(f->store, &f->write);
	assert_true(scratch_wait(f->loop, &f->finished));
	assert_int_equal(f->result, 0);
	return lambda_open(&o, e);
}

static void load(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct lambda *l;
	struct url_route route;
	struct invoke_version *v;

	put(f, KEY "f/", "{\"v\":1,\"Tags\":{},\"LastNumber\":10,\"Reserved\":5}");
	put(f, KEY "v/0", VERSION(""));
	put(f, KEY "v/2", VERSION(""));
	put(f, KEY "v/10", VERSION(""));
	put(f, KEY "a/live", "{\"v\":1,\"FunctionVersion\":\"10\"}");
	put(f, KEY "u/live",
	    "{\"v\":1,\"UrlId\":\"abcdefghijklmnopqrstuvwxyz234567\",\"AuthType\":\"NONE\","
	    "\"Cors\":{\"AllowOrigins\":[\"*\"],\"MaxAge\":5}}");
	l = open_with(f, &e);
	assert_non_null(l);
	v = lambda_find_version(l, STR("123456789012"), STR("us-east-1"), STR("f"), STR("live"));
	assert_string_equal(invoke_version_name(v), "10");
	assert_null(
	    lambda_find_version(l, STR("123456789012"), STR("us-east-1"), STR("f"), STR("3")));
	assert_null(lambda_find_version(l, STR("1"), STR("us-east-1"), STR("f"), STR("")));
	assert_int_equal(invoke_reserved_sum(f->invoke), 5);
	assert_int_equal(url_config_route(l, STR("abcdefghijklmnopqrstuvwxyz234567"), &route), 0);
	assert_string_equal(route.arn, "arn:aws:lambda:us-east-1:123456789012:function:f:live");
	assert_false(route.iam);
	assert_int_equal(route.cors->origin_count, 1);
	assert_int_equal(route.cors->max_age_s, 5);
	assert_false(url_config_allows(l, STR("abcdefghijklmnopqrstuvwxyz234567"), NULL));
	assert_int_equal(url_config_route(l, STR("x"), &route), -ENOENT);
	lambda_close(l);
	assert_int_equal(invoke_reserved_sum(f->invoke), 0);
}

static void on_blob(void *ctx, int result)
{
	struct fixture *f = ctx;

	assert_int_equal(result, 0);
	f->finished++;
}

static bool has_blob(struct fixture *f, const char *hex)
{
	int fd = store_blob_open(f->store, hex);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void tidy(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct lambda *l;
	char other[65];

	memset(other, 'a', 64);
	other[64] = 0;
	store_blob_put(f->store, HASH, STR("used"), on_blob, f);
	assert_true(scratch_wait(f->loop, &f->finished));
	f->finished = 0;
	store_blob_put(f->store, other, STR("left over"), on_blob, f);
	assert_true(scratch_wait(f->loop, &f->finished));
	f->finished = 0;
	put(f, KEY "f/", "{\"v\":1,\"Tags\":{},\"LastNumber\":0}");
	put(f, KEY "v/0", VERSION(""));
	l = open_with(f, &e);
	assert_non_null(l);
	assert_true(has_blob(f, HASH));
	assert_false(has_blob(f, other));
	lambda_close(l);
	assert_true(has_blob(f, HASH));
}

/* A record that makes no sense stops the start: running without it could do harm. */
static void refuse(struct fixture *f, const char *key, const char *value)
{
	struct err e = ERR_INIT;

	put(f, key, value);
	assert_null(open_with(f, &e));
	assert_true(e.msg[0]);
}

static void broken_json(void **state)
{
	refuse(*state, KEY "f/", "{\"v\":1");
}

static void broken_future(void **state)
{
	refuse(*state, KEY "f/", "{\"v\":2}");
}

static void broken_key(void **state)
{
	refuse(*state, "123456789012/us-east-1/f", "{\"v\":1}");
}

static void broken_version(void **state)
{
	put(*state, KEY "f/", "{\"v\":1,\"Tags\":{}}");
	refuse(*state, KEY "v/0", "{\"v\":1,\"CodeHash\":\"short\"}");
}

static void broken_orphan(void **state)
{
	refuse(*state, KEY "a/live", "{\"v\":1,\"FunctionVersion\":\"1\"}");
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(no_names),
	    cmocka_unit_test(json), cmocka_unit_test(json_depth), cmocka_unit_test(policy_services),
	    cmocka_unit_test(policy_accounts), cmocka_unit_test(policy_urls),
	    cmocka_unit_test(policy_refuses), cmocka_unit_test(weights), cmocka_unit_test(runtimes),
	    cmocka_unit_test(runtime_options), WITH_STORE(load), WITH_STORE(tidy),
	    WITH_STORE(broken_json), WITH_STORE(broken_future), WITH_STORE(broken_key),
	    WITH_STORE(broken_version), WITH_STORE(broken_orphan)};

	return cmocka_run_group_tests(tests, set_runtimes, NULL);
}
