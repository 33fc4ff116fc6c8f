/* `mayfly ls`: the functions that are there. */
#include <stdio.h>

#include "cli/client.h"
#include "cli/config.h"
#include "cli/term.h"

#define FUNCTIONS "/2015-03-31/functions"
/* ListFunctions does not tell states, so each is asked for; beyond this many they stay out. */
#define ASK_MAX 200

struct options {
	bool json;
};

/* All pages of ListFunctions in one array. */
static int read_all(struct client *c, json_t *ret)
{
	_cleanup_free_ char *path = xstrdup(FUNCTIONS "?MaxItems=50");
	int code;

	do {
		json_t *answer = NULL;
		const char *marker;

		code = client_json(c, "lambda", "GET", path, NULL, 0, "listing functions", &answer);
		json_array_extend(ret, json_object_get(answer, "Functions"));
		marker = field_text(answer, "NextMarker");
		free(path);
		path = *marker ? client_path(FUNCTIONS "?MaxItems=50&Marker=", marker, "") : NULL;
		json_decref(answer);
	} while (!code && path);
	return code;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(field_text(*(json_t *const *)a, "FunctionName"),
	    field_text(*(json_t *const *)b, "FunctionName"));
}

static json_t *sort(json_t *functions)
{
	size_t count = json_array_size(functions);
	_cleanup_free_ json_t **items = xcalloc(count, sizeof(*items));
	json_t *sorted = json_array();

	for (size_t i = 0; i < count; i++)
		items[i] = json_array_get(functions, i);
	qsort(items, count, sizeof(*items), by_name);
	for (size_t i = 0; i < count; i++)
		json_array_append(sorted, items[i]);
	json_decref(functions);
	return sorted;
}

static int ask_states(struct client *c, json_t *functions)
{
	size_t i;
	json_t *f;

	if (json_array_size(functions) > ASK_MAX)
		return CLI_OK;
	json_array_foreach(functions, i, f)
	{
		_cleanup_free_ char *path =
		    client_path(FUNCTIONS "/", field_text(f, "FunctionName"), "/configuration");
		json_t *answer = NULL;
		int code;

		if (*field_text(f, "State"))
			continue;
		code =
		    client_json(c, "lambda", "GET", path, NULL, 404, "reading its state", &answer);
		if (code && code != CLIENT_NOTED)
			return code;
		json_object_set_new(
		    f, "State", json_string(code ? "Deleted" : field_text(answer, "State")));
		json_decref(answer);
	}
	return CLI_OK;
}

static void add_row(struct term_table *t, const json_t *f)
{
	_cleanup_free_ char *memory = xasprintf("%" PRId64 " MB", field_number(f, "MemorySize"));
	_cleanup_free_ char *timeout = xasprintf("%" PRId64 " s", field_number(f, "Timeout"));
	_cleanup_free_ char *modified = xasprintf("%.16s", field_text(f, "LastModified"));
	const char *state = field_text(f, "State");
	char size[TERM_SIZE_TEXT], *t_mark = strchr(modified, 'T');

	if (t_mark)
		*t_mark = ' ';
	term_format_size((uint64_t)field_number(f, "CodeSize"), size);
	term_table_add(
	    t, (const char *const[]){field_text(f, "FunctionName"), field_text(f, "Runtime"),
		   memory, timeout, size, *state ? state : NULL, modified});
}

static void print_table(const json_t *functions)
{
	static const struct term_column columns[] = {
	    {"FUNCTION", false, true},
	    {"RUNTIME", false, true},
	    {"MEMORY", true, false},
	    {"TIMEOUT", true, false},
	    {"CODE", true, false},
	    {"STATE", false, false},
	    {"MODIFIED (UTC)", false, true},
	};
	struct term_table t;
	char size[TERM_SIZE_TEXT];
	uint64_t bytes = 0;
	size_t i, count = json_array_size(functions);
	json_t *f;

	term_table_init(&t, columns, ARRAY_SIZE(columns));
	json_array_foreach(functions, i, f)
	{
		add_row(&t, f);
		bytes += (uint64_t)field_number(f, "CodeSize");
	}
	term_format_size(bytes, size);
	if (count)
		term_table_print(&t);
	printf("%s%zu function%s, %s of code\n", count ? "\n" : "", count, count == 1 ? "" : "s",
	    size);
	if (!count)
		printf("none in region %s; make one with `mayfly deploy DIR`\n", config_region());
	term_table_done(&t);
}

static int run(const void *options, char **args _unused_, int count _unused_)
{
	const struct options *o = options;
	_cleanup_client_ struct client *c = NULL;
	json_t *functions = json_array();
	int code = client_open(&c);

	if (!code)
		code = read_all(c, functions);
	if (!code)
		code = ask_states(c, functions);
	functions = sort(functions);
	if (!code && o->json) {
		json_dumpf(functions, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (!code) {
		print_table(functions);
	}
	json_decref(functions);
	return code;
}

static const struct cli_option table[] = {
    {"json", 0, CLI_FLAG, NULL, "an array of Lambda's FunctionConfiguration objects",
	offsetof(struct options, json), 0, 0},
};

const struct cli_verb cli_ls = {
    .name = "ls",
    .args = "",
    .summary = "list the functions",
    .help = "One line a function, sorted by name, and totals.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .size = sizeof(struct options),
    .run = run,
};
