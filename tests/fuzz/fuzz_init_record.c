/* What core sends to box-init: every word it hands to execve(2) lies inside the record. */
#include "fuzz.h"

#include "init/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct init_record r;
	static struct words w;
	size_t words = 0;

	if (size > sizeof(r))
		return 0;
	memset(&r, 'x', sizeof(r)); /* nothing behind the datagram ends a string */
	memcpy(&r, data, size);
	if (!record_read(&r, size, &w) || r.kind != INIT_START)
		return 0;
	for (char **p = w.argv; *p; p++, words++)
		check(*p >= r.strings && *p + strlen(*p) < r.strings + r.string_bytes);
	check(words == r.argc);
	for (char **p = w.envp; *p; p++, words++)
		check(*p >= r.strings && *p + strlen(*p) < r.strings + r.string_bytes);
	check(words == r.argc + r.envc);
	return 0;
}
