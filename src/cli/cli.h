/*
 * The `mayfly` command: what its verbs share.
 *
 * One table of verbs (main.c), one file a verb, one table of options a verb. Every verb but serve
 * is an ordinary HTTP client of the server; there is no back door into the data directory but
 * `env`, which reads the two files that were written for it. One thread, one verb a process, so
 * memory that lives until the end of the verb is not always given back.
 */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/str.h"

/* What the shell sees; documented in mayfly(1). */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_FUNCTION = 3, /* the function answered with an error */
	CLI_ABSENT = 4,   /* no such function, or no server */
};

/* Of the verbs that are like docker's, where another program's code comes back: as docker says it.
 */
enum cli_docker_exit {
	CLI_NOT_RUN = 125,        /* mayfly itself failed */
	CLI_NOT_EXECUTABLE = 126, /* the command is there but cannot be run */
	CLI_NOT_FOUND = 127,      /* there is no such command in the image */
};

#define CLI_LIST_MAX 256
struct cli_list {
	const char *items[CLI_LIST_MAX];
	size_t count;
};

enum cli_kind {
	CLI_FLAG,   /* bool */
	CLI_TEXT,   /* const char * */
	CLI_NUMBER, /* int64_t within min..max */
	CLI_LIST,   /* struct cli_list; may be given again and again */
};

struct cli_option {
	const char *name;
	char letter; /* 0: none */
	enum cli_kind kind;
	const char *value; /* what stands for it in the help; NULL for flags */
	const char *help;
	size_t offset; /* in the verb's own struct of options */
	int64_t min, max;
};

struct cli_verb {
	const char *name;
	const char *args; /* "NAME [JSON]" */
	const char *summary;
	const char *help;
	const struct cli_option *options;
	size_t option_count;
	const void *defaults; /* the verb's struct of options, `size` bytes */
	size_t size;
	int min_args, max_args;
	bool command; /* from the first argument on, all are arguments: a command of somebody else's
		       */
	int own_failure; /* what wrong usage exits with; 0: CLI_USAGE */
	int (*run)(const void *options, char **args, int count); /* returns enum cli_exit */
};

extern const struct cli_verb cli_serve, cli_env, cli_deploy, cli_invoke, cli_logs, cli_ls, cli_bill,
    cli_rm, cli_run, cli_ps, cli_stop, cli_exec, cli_stats, cli_images, cli_pull, cli_push, cli_rmi,
    cli_image, cli_version, cli_help;

/* All verbs in the order of the help; NULL behind the last one. */
extern const struct cli_verb *const cli_verbs[];
const struct cli_verb *cli_verb_find(const char *name); /* NULL: there is none */

/* Fill the verb's options (`size` zeroed bytes) from the command line; what is no option is moved
 * to the front of argv and counted in *count. CLI_OK, or CLI_USAGE after saying why; CLI_HELPED: it
 * was --help, which has been printed. */
#define CLI_HELPED (-2)
int cli_options_parse(const struct cli_verb *v, void *options, char **argv, int *count);
void cli_verb_help(const struct cli_verb *v);

/* Say on stderr what happened and, on a line of its own, what to do next (may be NULL). Returns
 * code, so that `return cli_fail(…)` reads well. */
int cli_fail(int code, const char *next, const char *fmt, ...) _printf_(3, 4);

/* "10m", "2h", "1d", "30s", or a date as in time_parse_iso(): when that was, in wall ms. */
bool cli_parse_since(const char *text, int64_t now_ms, int64_t *ret_ms);
