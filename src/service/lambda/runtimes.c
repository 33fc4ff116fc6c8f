/*
 * Runtimes: which interpreters this machine has, and which of them runs what was asked for: the
 * nearest version of the same family. Core cannot start programs, so versions are read from
 * installed files, or told by the spawner's command line. Set up once, then constant.
 */
#include <dirent.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "service/lambda/lambda_int.h"

#define INTERPRETERS_MAX 16

enum family { FAMILY_NODE, FAMILY_PYTHON, FAMILY_COUNT };

struct interpreter {
	enum family family;
	int major, minor;
	char version[64]; /* "nodejs:20.v20.20.2" */
	char path[128];
	const char *argv[8], *own_argv[8];
	struct box_program program, own_program; /* the second for the user's PYTHON… variables */
};

static const char *const warm_env[] = {
    "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8", "TZ=:UTC", NULL};
static const char *const bootstrap_argv[] = {"/var/task/bootstrap", NULL};
static const struct box_program bootstrap = {
    .name = "bootstrap", .framed = false, .argv = bootstrap_argv};
static const char *const layer_bootstrap_argv[] = {"/opt/bootstrap", NULL};
const struct box_program layer_bootstrap = {
    .name = "bootstrap", .framed = false, .argv = layer_bootstrap_argv};

static struct interpreter interpreters[INTERPRETERS_MAX];
static size_t interpreter_count;
static const struct box_program *programs[INTERPRETERS_MAX];

/* ---- finding them ---- */

static void set_program(
    struct interpreter *in, struct box_program *program, const char **argv, bool own_variables)
{
	size_t n = 0;

	argv[n++] = in->path;
	if (in->family == FAMILY_PYTHON) {
		/* -I shuts out the user's PYTHON… variables, which is wrong if there are any. */
		argv[n++] = own_variables ? "-s" : "-I";
		argv[n++] = "-X";
		argv[n++] = "utf8";
		argv[n++] = "/var/runtime/python/bootstrap.py";
	} else {
		argv[n++] = "/var/runtime/node/bootstrap.cjs";
	}
	*program = (struct box_program){
	    .name = in->family == FAMILY_PYTHON ? "python" : "node",
	    .framed = true,
	    .argv = argv,
	    .warm_env = warm_env,
	};
}

static void add(enum family family, const char *version, const char *path)
{
	struct interpreter *in = &interpreters[interpreter_count];
	int major = 0, minor = 0;

	if (interpreter_count == INTERPRETERS_MAX || strlen(path) >= sizeof(in->path) ||
	    strlen(version) > 32 || sscanf(version, "%d.%d", &major, &minor) < 1)
		return;
	for (size_t i = 0; i < interpreter_count; i++) {
		const struct interpreter *had = &interpreters[i];

		if (had->family == family && had->major == major &&
		    (family == FAMILY_NODE || had->minor == minor))
			return;
	}
	in->family = family;
	in->major = major;
	in->minor = minor;
	strcpy(in->path, path);
	if (family == FAMILY_NODE)
		snprintf(in->version, sizeof(in->version), "nodejs:%d.v%s", major, version);
	else
		snprintf(
		    in->version, sizeof(in->version), "python:%d.%d.v%s", major, minor, version);
	set_program(in, &in->program, in->argv, false);
	set_program(in, &in->own_program, in->own_argv, true);
	programs[interpreter_count++] = &in->program;
}

/* "node=20.20.2:/usr/bin/node", with or without a 'v' before the version. */
static int add_option(const char *text, struct err *e)
{
	struct str rest = str_from(text), family = str_cut(&rest, '='),
		   version = str_cut(&rest, ':');
	_cleanup_free_ char *number = NULL, *path = NULL;
	bool node = str_is(family, "node") || str_is(family, "nodejs");

	if (!version.len || !rest.len || rest.ptr[0] != '/' || (!node && !str_is(family, "python")))
		return err_set(e, EINVAL,
		    "runtime '%s' is not of the form node=20.20.2:/usr/bin/node (or python=…)",
		    text);
	if (version.ptr[0] == 'v')
		version = str_sub(version, 1);
	number = xstrndup(version.ptr, version.len);
	path = xstrndup(rest.ptr, rest.len);
	add(node ? FAMILY_NODE : FAMILY_PYTHON, number, path);
	return 0;
}

static int define_of(struct str text, const char *name)
{
	_cleanup_free_ char *line = xasprintf("#define %s ", name);
	_cleanup_free_ char *copy = xstrndup(text.ptr, text.len);
	const char *at = strstr(copy, line);

	return at ? atoi(at + strlen(line)) : -1;
}

/* From the header file that Node.js packages bring along. */
static bool node_from_header(void)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char version[48];
	int major;

	if (fd_read_file(AT_FDCWD, "/usr/include/node/node_version.h", 65536, &b) < 0)
		return false;
	major = define_of(buf_str(&b), "NODE_MAJOR_VERSION");
	if (major < 0)
		return false;
	snprintf(version, sizeof(version), "%d.%d.%d", major,
	    define_of(buf_str(&b), "NODE_MINOR_VERSION"),
	    define_of(buf_str(&b), "NODE_PATCH_VERSION"));
	add(FAMILY_NODE, version, "/usr/bin/node");
	return true;
}

/* Debian's library is named after the ABI: libnode.so.108 is Node.js 18. */
static void node_from_library(void)
{
	static const struct {
		int abi, major;
	} known[] = {{93, 16}, {108, 18}, {115, 20}, {127, 22}, {137, 24}};
	char path[64], version[16];

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		snprintf(
		    path, sizeof(path), "/usr/lib/x86_64-linux-gnu/libnode.so.%d", known[i].abi);
		if (access(path, F_OK) < 0)
			continue;
		snprintf(version, sizeof(version), "%d.0.0", known[i].major);
		add(FAMILY_NODE, version, "/usr/bin/node");
		return;
	}
	log_warn("the version of /usr/bin/node cannot be told: taken for 18; say "
		 "--runtime node=VERSION:/usr/bin/node");
	add(FAMILY_NODE, "18.0.0", "/usr/bin/node");
}

static void find_pythons(void)
{
	DIR *dir = opendir("/usr/bin");
	struct dirent *d;

	if (!dir)
		return;
	while ((d = readdir(dir))) {
		char path[300], version[16];
		int minor, end = 0;

		if (sscanf(d->d_name, "python3.%d%n", &minor, &end) != 1 || d->d_name[end])
			continue;
		if (minor < 9 || minor > 99)
			continue;
		snprintf(path, sizeof(path), "/usr/bin/%s", d->d_name);
		snprintf(version, sizeof(version), "3.%d", minor);
		add(FAMILY_PYTHON, version, path);
	}
	closedir(dir);
}

int lambda_runtimes_setup(const char *const *options, size_t count, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < count; i++)
		r = add_option(options[i], e);
	if (r < 0)
		return r;
	find_pythons();
	if (access("/usr/bin/node", F_OK) == 0 && !node_from_header())
		node_from_library();
	return 0;
}

const struct box_program *const *lambda_programs(size_t *ret_count)
{
	*ret_count = interpreter_count;
	return programs;
}

/* ---- choosing ---- */

struct known {
	const char *name;
	enum family family;
	int major, minor;
};

static const struct known framed[] = {
    {"nodejs18.x", FAMILY_NODE, 18, 0},
    {"nodejs20.x", FAMILY_NODE, 20, 0},
    {"nodejs22.x", FAMILY_NODE, 22, 0},
    {"nodejs24.x", FAMILY_NODE, 24, 0},
    {"python3.9", FAMILY_PYTHON, 3, 9},
    {"python3.10", FAMILY_PYTHON, 3, 10},
    {"python3.11", FAMILY_PYTHON, 3, 11},
    {"python3.12", FAMILY_PYTHON, 3, 12},
    {"python3.13", FAMILY_PYTHON, 3, 13},
    {"python3.14", FAMILY_PYTHON, 3, 14},
};

static int distance(const struct interpreter *in, const struct known *k)
{
	return abs(k->family == FAMILY_NODE ? in->major - k->major : in->minor - k->minor);
}

/* The nearest; of two as near, the newer. */
static const struct interpreter *nearest(const struct known *k)
{
	const struct interpreter *best = NULL;

	for (size_t i = 0; i < interpreter_count; i++) {
		const struct interpreter *in = &interpreters[i];

		if (in->family != k->family)
			continue;
		if (!best || distance(in, k) < distance(best, k) ||
		    (distance(in, k) == distance(best, k) &&
			(in->major > best->major || in->minor > best->minor)))
			best = in;
	}
	return best;
}

static void make_arn(struct runtime_choice *ret, const char *region)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	char hex[65];

	SHA256((const uint8_t *)ret->version, strlen(ret->version), digest);
	hex_encode(digest, sizeof(digest), hex);
	snprintf(ret->arn, sizeof(ret->arn), "arn:aws:lambda:%.40s::runtime:%s", region, hex);
}

static const struct known *find_known(const char *runtime)
{
	for (size_t i = 0; i < ARRAY_SIZE(framed); i++) {
		if (strcmp(framed[i].name, runtime) == 0)
			return &framed[i];
	}
	return NULL;
}

static int explain(const char *runtime, const struct known *k, struct err *e)
{
	static const char *const here[] = {"java8.al2", "java11", "java17", "java21", "java25",
	    "dotnet8", "dotnet10", "ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0"};

	if (k)
		return err_set(e, ENOENT,
		    "Runtime %s cannot run on this server: install the package %s there, then "
		    "restart it.",
		    runtime, k->family == FAMILY_NODE ? "nodejs" : "python3");
	for (size_t i = 0; i < ARRAY_SIZE(here); i++) {
		if (strcmp(here[i], runtime) == 0)
			return err_set(e, ENOENT,
			    "Runtime %s is not supported by this server, which runs nodejs, "
			    "python and provided: use provided.al2023 with a bootstrap.",
			    runtime);
	}
	return err_set(e, ENOENT,
	    "The runtime parameter of %s is no longer supported for creating or updating AWS "
	    "Lambda functions. We recommend you use a supported runtime while creating or updating "
	    "functions.",
	    runtime);
}

int runtime_find(const char *runtime, const char *region, struct runtime_choice *ret, struct err *e)
{
	const struct known *k = find_known(runtime);
	const struct interpreter *in = k ? nearest(k) : NULL;

	if (in) {
		ret->program = &in->program;
		ret->own_program = &in->own_program;
		ret->version = in->version;
	} else if (strcmp(runtime, "provided.al2023") == 0 ||
		   strcmp(runtime, "provided.al2") == 0) {
		ret->program = ret->own_program = &bootstrap;
		ret->version = runtime[12] ? "provided:al2023.v1" : "provided:al2.v1";
	} else {
		return explain(runtime, k, e);
	}
	make_arn(ret, region);
	return 0;
}
