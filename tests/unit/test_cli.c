/* The command line's parts that need no server: options, durations, keys, manifests, zips, text. */
#include "unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/manifest.h"
#include "cli/resolver.h"
#include "cli/term.h"
#include "cli/zip.h"
#include "scratch.h"

static int make_dir(void **state)
{
	*state = scratch_new();
	return 0;
}

static int remove_dir(void **state)
{
	scratch_remove(*state);
	return 0;
}

struct options {
	bool flag;
	const char *text;
	int64_t number;
	struct cli_list list;
};

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"flag", 'f', CLI_FLAG, NULL, "", AT(flag), 0, 0},
    {"text", 't', CLI_TEXT, "X", "", AT(text), 0, 0},
    {"number", 'n', CLI_NUMBER, "N", "", AT(number), 1, 10},
    {"list", 0, CLI_LIST, "X", "", AT(list), 0, 0},
};
static const struct cli_verb verb = {
    .name = "verb",
    .args = "A [B]",
    .summary = "",
    .help = "",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .min_args = 1,
    .max_args = 2,
};

static int parse(struct options *o, int *count, char **argv)
{
	memset(o, 0, sizeof(*o));
	*count = 0;
	return cli_options_parse(&verb, o, argv, count);
}
#define ARGV(...) ((char **)(const char *[]){__VA_ARGS__, NULL})

static void options_are_taken(void **state _unused_)
{
	char **argv = ARGV("a", "--text=x", "-n3", "-f", "--list", "1", "--list=2", "-", "--");
	struct options o;
	int count;

	assert_int_equal(parse(&o, &count, argv), CLI_OK);
	assert_int_equal(count, 2);
	assert_string_equal(argv[0], "a");
	assert_string_equal(argv[1], "-");
	assert_true(o.flag);
	assert_string_equal(o.text, "x");
	assert_int_equal(o.number, 3);
	assert_int_equal(o.list.count, 2);
	assert_string_equal(o.list.items[1], "2");
	argv = ARGV("--", "--text", "-f");
	assert_int_equal(parse(&o, &count, argv), CLI_OK);
	assert_int_equal(count, 2);
	assert_string_equal(argv[0], "--text");
	assert_false(o.flag);
}

static void wrong_options_are_refused(void **state _unused_)
{
	static const char *const wrong[][4] = {
	    {"a", "--no-such"},
	    {"a", "-x"},
	    {"a", "--flag=1"},
	    {"a", "--text"},
	    {"a", "--number", "0"},
	    {"a", "--number", "11"},
	    {"a", "--number=1x"},
	    {"a", "b", "c"},
	    {"-f"},
	};
	struct options o;
	int count;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char **argv = ARGV(wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3]);

		assert_int_equal(parse(&o, &count, argv), CLI_USAGE);
	}
}

/* "-ft3" is -f -t 3, as in other programs; words are rewritten, so they are no literals here. */
static void letters_may_be_glued_together(void **state _unused_)
{
	char good[] = "-fn3", last[] = "-ft", bad[] = "-fx", a[] = "a", text[] = "text";
	char *argv[4] = {good, a, NULL};
	struct options o;
	int count;

	assert_int_equal(parse(&o, &count, argv), CLI_OK);
	assert_true(o.flag);
	assert_int_equal(o.number, 3);
	assert_int_equal(count, 1);
	memcpy(argv, (char *[]){last, text, a, NULL}, sizeof(argv));
	assert_int_equal(parse(&o, &count, argv), CLI_OK);
	assert_string_equal(o.text, "text");
	assert_true(o.flag);
	memcpy(argv, (char *[]){bad, a, NULL, NULL}, sizeof(argv));
	assert_int_equal(parse(&o, &count, argv), CLI_USAGE);
}

/* What stands behind the image is somebody else's command line. */
static void options_of_a_command_are_its_own(void **state _unused_)
{
	struct cli_verb v = verb;
	char **argv = ARGV("--text", "x", "a", "--no-such", "-h", "--", "-f");
	struct options o = {0};
	int count = 0;

	v.command = true;
	v.max_args = 10;
	assert_int_equal(cli_options_parse(&v, &o, argv, &count), CLI_OK);
	assert_string_equal(o.text, "x");
	assert_false(o.flag);
	assert_int_equal(count, 5);
	assert_string_equal(argv[1], "--no-such");
	assert_string_equal(argv[3], "--");
	count = 0;
	argv = ARGV("-f", "--help", "a");
	assert_int_equal(cli_options_parse(&v, &o, argv, &count), CLI_HELPED);
}

static void too_many_values_are_refused(void **state _unused_)
{
	const char *argv[CLI_LIST_MAX + 3] = {"a"};
	struct options o;
	int count;

	for (size_t i = 0; i <= CLI_LIST_MAX; i++)
		argv[i + 1] = "--list=x";
	assert_int_equal(parse(&o, &count, (char **)argv), CLI_USAGE);
}

static void durations(void **state _unused_)
{
	const int64_t now = 1700000000000;
	int64_t ms;

	assert_true(cli_parse_since("10m", now, &ms));
	assert_int_equal(now - ms, 600000);
	assert_true(cli_parse_since("2h", now, &ms));
	assert_int_equal(now - ms, 7200000);
	assert_true(cli_parse_since("2023-11-14", now, &ms));
	assert_int_equal(ms, 1699920000000);
	assert_false(cli_parse_since("m", now, &ms));
	assert_false(cli_parse_since("-5m", now, &ms));
	assert_false(cli_parse_since("5", now, &ms));
	assert_false(cli_parse_since("", now, &ms));
}

static void write_file(const char *dir, const char *name, const char *text, mode_t mode)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static void keys_of_a_profile(void **state)
{
	const char *dir = *state;
	_cleanup_free_ char *path = xasprintf("%s/credentials", dir);
	_cleanup_keys_ struct config_keys k = {NULL};
	struct err e = ERR_INIT;

	write_file(dir, "credentials",
	    "# ours\r\n[other]\naws_access_key_id=no\n\n[ default ]\n"
	    "aws_access_key_id = AKIA1\r\naws_secret_access_key= s=e/c+r \n[third]\n"
	    "aws_secret_access_key=x\naws_session_token=y\n",
	    0600);
	assert_int_equal(config_keys_read(path, "default", &k, &e), 0);
	assert_string_equal(k.id, "AKIA1");
	assert_string_equal(k.secret, "s=e/c+r");
	assert_null(k.token);
	config_keys_done(&k);
	assert_int_equal(config_keys_read(path, "other", &k, &e), -ENOENT);
	assert_int_equal(config_keys_read(path, "third", &k, &e), -ENOENT);
	assert_int_equal(config_keys_read("/nonexistent/file", "default", &k, &e), -ENOENT);
}

static const char *config_text(const struct manifest *m, const char *name)
{
	return json_string_value(json_object_get(m->config, name));
}

static void manifest_of_files_alone(void **state)
{
	const char *dir = *state;
	struct manifest_overrides o = {0};
	struct manifest m;
	struct err e = ERR_INIT;

	assert_int_equal(manifest_read(dir, &o, &m, &e), -EINVAL);
	write_file(dir, "lambda_function.py", "def handler(event, context):\n    pass\n", 0644);
	assert_int_equal(manifest_read(dir, &o, &m, &e), 0);
	assert_string_equal(config_text(&m, "Runtime"), "python3.11");
	assert_string_equal(config_text(&m, "Handler"), "lambda_function.handler");
	assert_null(m.url);
	manifest_done(&m);
	write_file(dir, "bootstrap", "#!/bin/sh\n", 0755);
	o.runtime = "nodejs22.x";
	write_file(dir, "index.mjs", "", 0644);
	assert_int_equal(manifest_read(dir, &o, &m, &e), 0);
	assert_string_equal(config_text(&m, "Runtime"), "nodejs22.x");
	assert_string_equal(config_text(&m, "Handler"), "index.handler");
	manifest_done(&m);
}

static void manifest_of_a_file(void **state)
{
	const char *dir = *state;
	struct manifest_overrides o = {.memory_mb = 512, .env = {{"B=2", "A=x=y"}, 2}};
	struct manifest m;
	struct err e = ERR_INIT;
	json_t *variables;

	write_file(dir, "mayfly.json",
	    "{\"FunctionName\":\"f\",\"Runtime\":\"provided.al2023\",\"Handler\":\"h\","
	    "\"MemorySize\":128,\"Environment\":{\"A\":\"1\"},\"Url\":\"NONE\"}",
	    0644);
	assert_int_equal(manifest_read(dir, &o, &m, &e), 0);
	assert_string_equal(m.name, "f");
	assert_string_equal(m.url, "NONE");
	assert_int_equal(json_integer_value(json_object_get(m.config, "MemorySize")), 512);
	variables = json_object_get(json_object_get(m.config, "Environment"), "Variables");
	assert_string_equal(json_string_value(json_object_get(variables, "A")), "x=y");
	assert_string_equal(json_string_value(json_object_get(variables, "B")), "2");
	manifest_done(&m);
}

static void wrong_manifests_are_refused(void **state)
{
	static const char *const wrong[] = {"", "[]", "{", "{\"Nonsense\":1}",
	    "{\"FunctionName\":1}", "{\"Url\":\"SOME\"}", "{\"Runtime\":\"a\",\"Runtime\":\"b\"}",
	    "{\"Environment\":1}", "{\"Environment\":{\"Variables\":[]}}"};
	const char *dir = *state;
	struct manifest_overrides o = {.env = {{"A=1"}, 1}};
	struct manifest m;
	struct err e;

	write_file(dir, "index.mjs", "", 0644);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		e = ERR_INIT;
		write_file(dir, "mayfly.json", wrong[i], 0644);
		assert_int_equal(manifest_read(dir, &o, &m, &e), -EINVAL);
		assert_true(e.msg[0]);
	}
	o.env.items[0] = "novalue";
	write_file(dir, "mayfly.json", "{}", 0644);
	assert_int_equal(manifest_read(dir, &o, &m, &e), -EINVAL);
}

static void zips_are_the_same_again(void **state)
{
	const char *dir = *state;
	_cleanup_free_ char *sub = xasprintf("%s/lib", dir), *git = xasprintf("%s/.git", dir);
	_cleanup_free_ char *link_path = xasprintf("%s/lib/link", dir);
	_cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
	struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	struct err e = ERR_INIT;
	size_t files;

	assert_int_equal(zip_make(dir, &a, &files, &e), -ENOENT);
	assert_int_equal(mkdir(sub, 0755), 0);
	assert_int_equal(mkdir(git, 0755), 0);
	write_file(dir, "mayfly.json", "{}", 0644);
	write_file(dir, ".git/config", "x", 0644);
	write_file(dir, "lib/z.js", "1", 0600);
	write_file(dir, "bootstrap", "#!/bin/sh\n", 0700);
	assert_int_equal(symlink("z.js", link_path), 0);
	buf_clear(&a);
	assert_int_equal(zip_make(dir, &a, &files, &e), 0);
	assert_int_equal(files, 3);
	assert_int_equal(utimensat(AT_FDCWD, sub, old, 0), 0);
	setenv("TZ", "America/Lima", 1);
	assert_int_equal(zip_make(dir, &b, &files, &e), 0);
	assert_true(str_eq(buf_str(&a), buf_str(&b)));
}

static void zips_hold_names_and_modes(void **state)
{
	static const struct {
		const char *name;
		mode_t mode;
	} expected[] = {{"bootstrap", 0100755}, {"data", 0100644}};
	const char *dir = *state;
	_cleanup_buf_ struct buf zip = BUF_INIT;
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	struct err e = ERR_INIT;
	size_t files;

	write_file(dir, "data", "hello", 0666);
	write_file(dir, "bootstrap", "#!/bin/sh\n", 0700);
	assert_int_equal(zip_make(dir, &zip, &files, &e), 0);
	archive_read_support_format_zip_seekable(a);
	assert_int_equal(archive_read_open_memory(a, buf_data(&zip), buf_len(&zip)), ARCHIVE_OK);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_int_equal(archive_read_next_header(a, &entry), ARCHIVE_OK);
		assert_string_equal(archive_entry_pathname(entry), expected[i].name);
		assert_int_equal(archive_entry_mode(entry), expected[i].mode);
	}
	assert_int_equal(archive_read_next_header(a, &entry), ARCHIVE_EOF);
	archive_read_free(a);
}

static void zips_refuse_what_is_no_file(void **state)
{
	const char *dir = *state;
	_cleanup_free_ char *fifo = xasprintf("%s/fifo", dir);
	_cleanup_buf_ struct buf zip = BUF_INIT;
	struct err e = ERR_INIT;
	size_t files;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(zip_make(dir, &zip, &files, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "fifo"));
}

static void name_servers(void **state _unused_)
{
	char found[RESOLVER_SERVERS_MAX][RESOLVER_ADDRESS_SIZE];

	assert_int_equal(
	    resolver_parse(STR("# nameserver 9.9.9.9\nsearch x\nnameserver 127.0.0.53\n"
			       "nameserver\t10.0.0.2 # ours\r\nnameserver ::1\n"
			       "nameservers 1.1.1.1\nnameserver 1.1.1.1.1\n"
			       "nameserver 0.0.0.0\n  nameserver 192.0.2.1;x"),
		found),
	    2);
	assert_string_equal(found[0], "10.0.0.2");
	assert_string_equal(found[1], "192.0.2.1");
	assert_int_equal(resolver_parse(STR("nameserver 192.0.2.1\nnameserver 192.0.2.2\n"
					    "nameserver 192.0.2.3\nnameserver 192.0.2.4\n"),
			     found),
	    3);
	assert_int_equal(resolver_parse(STR(""), found), 0);
	assert_int_equal(resolver_parse(STR("nameserver"), found), 0);
}

static void sizes(void **state _unused_)
{
	char out[TERM_SIZE_TEXT];

	term_format_size(0, out);
	assert_string_equal(out, "0 B");
	term_format_size(999, out);
	assert_string_equal(out, "999 B");
	term_format_size(1540, out);
	assert_string_equal(out, "1.5 KB");
	term_format_size(52428800, out);
	assert_string_equal(out, "52 MB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(options_are_taken),
	    cmocka_unit_test(wrong_options_are_refused),
	    cmocka_unit_test(letters_may_be_glued_together),
	    cmocka_unit_test(options_of_a_command_are_its_own),
	    cmocka_unit_test(too_many_values_are_refused),
	    cmocka_unit_test(durations),
	    cmocka_unit_test_setup_teardown(keys_of_a_profile, make_dir, remove_dir),
	    cmocka_unit_test_setup_teardown(manifest_of_files_alone, make_dir, remove_dir),
	    cmocka_unit_test_setup_teardown(manifest_of_a_file, make_dir, remove_dir),
	    cmocka_unit_test_setup_teardown(wrong_manifests_are_refused, make_dir, remove_dir),
	    cmocka_unit_test_setup_teardown(zips_are_the_same_again, make_dir, remove_dir),
	    cmocka_unit_test_setup_teardown(zips_hold_names_and_modes, make_dir, remove_dir),
	    cmocka_unit_test_setup_teardown(zips_refuse_what_is_no_file, make_dir, remove_dir),
	    cmocka_unit_test(name_servers),
	    cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
