/* The cluster query language: the whole input is one expression. */
#include "fuzz.h"

#include "service/ecs/ecs_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *facts = json_pack("{s:s, s:s, s:[s, s]}", "attribute:os", "linux",
	    "runningTasksCount", "3", "task:group", "family:a", "family:b");
	struct str text = {(const char *)data, size};
	bool fits = false;
	int known = ecs_query(text, facts, &fits, NULL),
	    checked = ecs_query(text, NULL, NULL, NULL);

	/* What was accepted once must not be refused later. */
	if (known != checked)
		abort();
	json_decref(facts);
	return 0;
}
