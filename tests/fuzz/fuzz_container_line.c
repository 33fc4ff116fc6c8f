/* Lines of a container's log and of environment files. */
#include "fuzz.h"

#include "sched/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str all = {(const char *)data, size}, rest = all, name, value;
	struct log_line l;

	while (rest.ptr) {
		struct str line = str_cut(&rest, '\n');

		if (line_parse_log(line, &l))
			check(l.stream <= 1 && l.text.ptr + l.text.len == line.ptr + line.len);
	}
	rest = all;
	while (line_next_variable(&rest, &name, &value)) {
		check(name.len && !memchr(name.ptr, '=', name.len));
		check(!memchr(name.ptr, 0, name.len) && !memchr(value.ptr, 0, value.len));
		check(!memchr(value.ptr, '\n', value.len));
	}
	return 0;
}
