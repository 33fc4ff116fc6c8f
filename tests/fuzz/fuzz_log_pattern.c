/* Filter patterns: the first line is the pattern, the rest an event. */
#include "fuzz.h"

#include "logs/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = {(const char *)data, size}, text = str_cut(&rest, '\n');
	struct err e = ERR_INIT;
	struct log_pattern *p = log_pattern_parse(text, &e);

	if (p)
		log_pattern_match(p, rest);
	else
		check(e.msg[0]);
	log_pattern_free(p);
	return 0;
}
