/* How a container's log is read: options by name, size of a buffer, a pattern or a format, and
 * lines to match. Each is a line of the input. */
#include "fuzz.h"

#include "sched/log_option.h"

static json_t *text_of(struct str *rest)
{
	struct str line = str_cut(rest, '\n');

	return json_stringn_nocheck(line.ptr ? line.ptr : "", line.len);
}

static void match(const struct log_options *o, struct str rest)
{
	while (rest.ptr)
		check(log_regex_match(o->begins, str_cut(&rest, '\n')) <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"mode", "max-buffer-size", "awslogs-multiline-pattern",
	    "awslogs-datetime-format", "awslogs-create-group"};
	struct str rest = {(const char *)data, size};
	json_t *options = json_pack("{s:s, s:s}", "awslogs-group", "g", "awslogs-region", "r");
	json_t *log = json_pack("{s:s, s:o}", "logDriver", "awslogs", "options", options);
	struct log_options o;
	struct err e = ERR_INIT;

	rest = str_sub(rest, 1);
	for (unsigned which = size ? (unsigned)*data : 0, i = 0; i < ARRAY_SIZE(names); i++)
		if (which >> i & 1)
			json_object_set_new(options, names[i], text_of(&rest));
	if (log_options_parse(log, &o, &e) < 0)
		check(e.msg[0]);
	else if (o.begins)
		match(&o, rest);
	log_options_done(&o);
	json_decref(log);
	return 0;
}
