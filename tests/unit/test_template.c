/* YAML into values, and what templates' intrinsic functions make of them. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/template.h"
#include "cli/yaml.h"
#include "unit.h"

static char *parsed(const char *text)
{
	struct err e = ERR_INIT;
	json_t *v = yaml_parse(str_from(text), &e);
	char *out = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS)
		      : xasprintf("! %s", e.msg);

	json_decref(v);
	return out;
}

static void yaml_values(void **state _unused_)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
	    {"a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}"},
	    {"{\"a\": {\"b\": null}}", "{\"a\":{\"b\":null}}"},
	    {"v: 2012-10-17", "{\"v\":\"2012-10-17\"}"},
	    {"v: python3.11", "{\"v\":\"python3.11\"}"},
	    {"v: 3.5", "{\"v\":3.5}"},
	    {"v: '3'", "{\"v\":\"3\"}"},
	    {"v: true\nw: yes", "{\"v\":true,\"w\":\"yes\"}"},
	    {"v:\n  -", "{\"v\":[null]}"},
	    {"v: -7", "{\"v\":-7}"},
	    {"v: .", "{\"v\":\".\"}"},
	    {"v: 99999999999999999999", "{\"v\":1e20}"},
	    {"v: |\n  one\n  two\n", "{\"v\":\"one\\ntwo\\n\"}"},
	    {"v: !Ref x", "{\"v\":{\"Ref\":\"x\"}}"},
	    {"v: !GetAtt a.b.c", "{\"v\":{\"Fn::GetAtt\":[\"a\",\"b.c\"]}}"},
	    {"v: !Sub '${a}-1'", "{\"v\":{\"Fn::Sub\":\"${a}-1\"}}"},
	    {"v: !Join ['-', [a, !Ref b]]",
		"{\"v\":{\"Fn::Join\":[\"-\",[\"a\",{\"Ref\":\"b\"}]]}}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = parsed(cases[i].yaml);

		if (strcmp(cases[i].json, "{\"v\":1e20}"))
			assert_string_equal(got, cases[i].json);
		else
			assert_true(strstr(got, "e20") || strstr(got, "100000000000000000000"));
	}
}

static void yaml_refused(void **state _unused_)
{
	static const struct {
		const char *yaml, *why;
	} cases[] = {
	    {"a: 1\na: 2\n", "! line 2: this key is there twice"},
	    {"a: &x 1\nb: *x\n", "! line 2: aliases (*name) are not understood here"},
	    {"a: 1\n---\nb: 2\n", "! line 2: a second document"},
	    {"[a]: 1\n", "! line 1: a key must be a string"},
	    {"v: !GetAtt a", "! line 1: !GetAtt needs Resource.Attribute"},
	    {"", "! line 1: a value is missing"},
	};
	_cleanup_free_ char *deep = xmalloc(201), *got = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *one = parsed(cases[i].yaml);

		assert_string_equal(one, cases[i].why);
	}
	memset(deep, '[', 200);
	deep[200] = '\0';
	got = parsed(deep);
	assert_non_null(strstr(got, "nested too deeply"));
}

/* ---- templates ---- */

static char dir[] = "/tmp/mayfly-template.XXXXXX";

static int write_template(const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/template.yaml", dir);

	return fd_write_file(AT_FDCWD, path, text, strlen(text), 0644);
}

static int make_dir(void **state _unused_)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state _unused_)
{
	_cleanup_free_ char *path = xasprintf("%s/template.yaml", dir);

	unlink(path);
	return rmdir(dir);
}

static const char text[] = "Parameters:\n"
			   "  Stage: {Type: String, Default: dev}\n"
			   "  Size: {Type: Number, Default: 5}\n"
			   "Globals:\n"
			   "  Function: {Timeout: 9, MemorySize: 128, Layers: [a],\n"
			   "    Environment: {Variables: {A: 1, B: 2}}}\n"
			   "Resources:\n"
			   "  F:\n"
			   "    Type: AWS::Serverless::Function\n"
			   "    Properties: {MemorySize: 256, Layers: [b],\n"
			   "      Environment: {Variables: {B: 3}}}\n"
			   "  Q: {Type: AWS::SQS::Queue}\n";

static char *resolved(const struct template *t, const char *yaml)
{
	struct err e = ERR_INIT;
	json_t *v = yaml_parse(str_from(yaml), &e), *r = template_resolve(t, v, &e);
	char *out = r ? json_dumps(r, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS)
		      : xasprintf("! %s", e.msg);

	json_decref(v);
	json_decref(r);
	return out;
}

static void globals_are_merged(void **state _unused_)
{
	struct template t;
	struct err e = ERR_INIT;
	_cleanup_free_ char *f = NULL;

	assert_int_equal(write_template(text), 0);
	assert_int_equal(template_read(dir, &t, &e), 0);
	assert_int_equal(t.count, 2);
	f = json_dumps(t.resources[0].properties, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(f, "{\"Environment\":{\"Variables\":{\"A\":1,\"B\":3}},"
			       "\"Layers\":[\"a\",\"b\"],\"MemorySize\":256,\"Timeout\":9}");
	template_done(&t);
}

static void intrinsics(void **state _unused_)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
	    {"!Ref Stage", "\"prod\""},
	    {"!Ref Size", "\"5\""},
	    {"!Ref Q", "\"http://q\""},
	    {"!GetAtt Q.Arn", "\"arn:q\""},
	    {"!Sub '${Stage}-${Q.Arn}-${!Stage}-${'", "\"prod-arn:q-${Stage}-${\""},
	    {"!Sub ['${x}${Stage}', {x: !Ref Q}]", "\"http://qprod\""},
	    {"!Join ['/', [a, !Ref Stage, 3]]", "\"a/prod/3\""},
	    {"{a: !Ref AWS::NoValue, b: [!Ref AWS::NoValue, 1]}", "{\"b\":[1]}"},
	    {"!Ref X", "! !Ref X: there is no such resource or parameter here"},
	    {"!GetAtt Q.Nope", "! !GetAtt Q.Nope: there is no such attribute here"},
	    {"!Sub '${Nope}'", "! !Ref Nope: there is no such resource or parameter here"},
	    {"!If [a, b, c]", "! Fn::If is not understood here; Ref, GetAtt, Sub and Join are"},
	};

	struct cli_list parameters = {.items = {"Stage=prod"}, .count = 1};
	struct template t;
	struct err e = ERR_INIT;

	assert_int_equal(write_template(text), 0);
	assert_int_equal(template_read(dir, &t, &e), 0);
	assert_int_equal(template_parameters(&t, &parameters, &e), 0);
	template_define(&t, "Q", "Ref", "http://q");
	template_define(&t, "Q", "Arn", "arn:q");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = resolved(&t, cases[i].yaml);

		assert_string_equal(got, cases[i].json);
	}
	parameters.items[0] = "Nope=1";
	assert_int_equal(template_parameters(&t, &parameters, &e), -EINVAL);
	assert_string_equal(e.msg, "the template has no parameter Nope");
	template_done(&t);
}

static void broken_templates(void **state _unused_)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
	    {"Resources: {}\n", "the template has no Resources"},
	    {"Resources: {A: {}}\n", "resource A has no Type"},
	    {"Resources: {A: {Type: X, Properties: 1}}\n", "resource A: Properties is not a map"},
	    {"- 1\n", "template.yaml: not a map"},
	    {"a: [\n", "template.yaml: line 2: did not find expected node content"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct template t;
		struct err e = ERR_INIT;

		assert_int_equal(write_template(cases[i].text), 0);
		assert_int_equal(template_read(dir, &t, &e), -EINVAL);
		assert_string_equal(e.msg, cases[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(yaml_values),
	    cmocka_unit_test(yaml_refused),
	    cmocka_unit_test(globals_are_merged),
	    cmocka_unit_test(intrinsics),
	    cmocka_unit_test(broken_templates),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
