/* Options by table: reading them from the command line, and the help that comes from the table. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/term.h"

static int usage_error(const struct cli_verb *v, const char *what, const char *which)
{
	_cleanup_free_ char *next = xasprintf("usage: mayfly %s%s%s%s", v->name,
	    v->option_count ? " [OPTIONS]" : "", *v->args ? " " : "", v->args);

	return cli_fail(CLI_USAGE, next, "%s: %s%s", v->name, what, which);
}

/* `given` is "--name", "--name=value", "-x" or "-xvalue"; *value is what is glued to it. */
static const struct cli_option *find(
    const struct cli_verb *v, const char *given, const char **value)
{
	bool is_long = given[1] == '-';
	struct str rest = str_from(given + 2), name = is_long ? str_cut(&rest, '=') : STR_NULL;

	for (size_t i = 0; i < v->option_count; i++) {
		const struct cli_option *o = &v->options[i];

		if (is_long ? !str_is(name, o->name) : !o->letter || given[1] != o->letter)
			continue;
		*value = is_long ? rest.ptr : given[2] ? given + 2 : NULL;
		return o;
	}
	return NULL;
}

static int store_number(
    const struct cli_verb *v, const struct cli_option *o, void *at, const char *value)
{
	_cleanup_free_ char *range = NULL;

	if (str_to_int64(str_from(value), o->min, o->max, (int64_t *)at))
		return CLI_OK;
	range =
	    xasprintf("%s must be a number from %" PRId64 " to %" PRId64, o->name, o->min, o->max);
	return usage_error(v, "--", range);
}

static int store(
    const struct cli_verb *v, const struct cli_option *o, void *options, const char *value)
{
	char *at = (char *)options + o->offset;
	struct cli_list *list = (struct cli_list *)(void *)at;

	switch (o->kind) {
	case CLI_FLAG: *(bool *)(void *)at = true; return CLI_OK;
	case CLI_TEXT: *(const char **)(void *)at = value; return CLI_OK;
	case CLI_NUMBER: return store_number(v, o, at, value);
	case CLI_LIST:
		if (list->count == CLI_LIST_MAX)
			return usage_error(v, "given too often: --", o->name);
		list->items[list->count++] = value;
		return CLI_OK;
	}
	return CLI_OK;
}

static int take(const struct cli_verb *v, void *options, char **argv);

/* "-it": a flag, and what is glued to it are more letters. The word is rewritten for each. */
static int take_letters(const struct cli_verb *v, void *options, char **argv,
    const struct cli_option *o, const char *more)
{
	char *word = argv[0];

	if (store(v, o, options, NULL))
		return 0;
	memmove(word + 1, more, strlen(more) + 1);
	return take(v, options, argv);
}

/* Take one option from argv, perhaps with the word behind it; returns words taken, 0 if wrong. */
static int take(const struct cli_verb *v, void *options, char **argv)
{
	const char *value = NULL;
	const struct cli_option *o = find(v, argv[0], &value);
	int words = 1;

	if (!o) {
		usage_error(v, "there is no option ", argv[0]);
		return 0;
	}
	if (o->kind == CLI_FLAG && value && argv[0][1] != '-')
		return take_letters(v, options, argv, o, value);
	if (o->kind == CLI_FLAG && value) {
		usage_error(v, "takes no value: --", o->name);
		return 0;
	}
	if (o->kind != CLI_FLAG && !value) {
		value = argv[1];
		words = 2;
	}
	if (o->kind != CLI_FLAG && !value) {
		usage_error(v, "needs a value: --", o->name);
		return 0;
	}
	return store(v, o, options, value) ? 0 : words;
}

int cli_options_parse(const struct cli_verb *v, void *options, char **argv, int *count)
{
	char **out = argv;
	int words;

	for (; *argv; argv += words) {
		words = 1;
		if (!strcmp(*argv, "--")) {
			argv++;
			break;
		}
		if (argv[0][0] != '-' || !argv[0][1]) {
			if (v->command)
				break;
			*out++ = *argv;
			++*count;
			continue;
		}
		if (!strcmp(*argv, "--help") || !strcmp(*argv, "-h")) {
			cli_verb_help(v);
			return CLI_HELPED;
		}
		words = take(v, options, argv);
		if (!words)
			return CLI_USAGE;
	}
	while (*argv) {
		*out++ = *argv++;
		++*count;
	}
	if (*count < v->min_args)
		return usage_error(v, "an argument is missing", "");
	if (*count > v->max_args)
		return usage_error(v, "too many arguments", "");
	return CLI_OK;
}

static void print_option(const struct cli_option *o)
{
	_cleanup_free_ char *left =
	    xasprintf("%c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
		o->letter ? "," : " ", o->name, o->value ? " " : "", o->value ? o->value : "");
	const char *line = o->help;

	printf("  %-26s", left);
	if (strlen(left) > 25)
		printf("\n  %26s", "");
	for (const char *end; (end = strchr(line, '\n')); line = end + 1)
		printf(" %.*s\n  %26s", (int)(end - line), line, "");
	printf(" %s\n", line);
}

void cli_verb_help(const struct cli_verb *v)
{
	printf("mayfly %s: %s\n\nUsage: mayfly %s%s%s%s\n\n%s\n", v->name, v->summary, v->name,
	    v->option_count ? " [OPTIONS]" : "", *v->args ? " " : "", v->args, v->help);
	if (!v->option_count)
		return;
	puts("\nOptions:");
	for (size_t i = 0; i < v->option_count; i++)
		print_option(&v->options[i]);
}
