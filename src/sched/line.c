/* See line.h. */
#include "sched/line.h"

#include "base/time.h"

bool line_parse_log(struct str line, struct log_line *ret)
{
	struct str time = str_cut(&line, ' '), stream = str_cut(&line, ' '),
		   tag = str_cut(&line, ' ');

	ret->stream = str_is(stream, "stderr");
	ret->partial = str_is(tag, "P");
	ret->text = line;
	return line.ptr && time_parse_iso(time, &ret->ts_ms) &&
	       (ret->stream || str_is(stream, "stdout")) && (ret->partial || str_is(tag, "F"));
}

bool line_next_variable(struct str *rest, struct str *ret_name, struct str *ret_value)
{
	while (rest->ptr) {
		struct str value = str_cut(rest, '\n'), name;

		if (value.len && value.ptr[value.len - 1] == '\r')
			value.len--;
		if (!value.len || *value.ptr == '#' || memchr(value.ptr, 0, value.len))
			continue;
		name = str_cut(&value, '=');
		if (!name.len || !value.ptr)
			continue;
		*ret_name = name;
		*ret_value = value;
		return true;
	}
	return false;
}
