/* Filter criteria: the first line is the pattern, the rest a record. */
#include "fuzz.h"

#include "source/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = {"body", NULL};
	static const struct filter_data plain = {keys, false}, base64 = {keys, true};
	struct str rest = {(const char *)data, size}, text = str_cut(&rest, '\n');
	json_t *list = json_array(), *one = json_object();
	struct filter *f;
	struct err e = ERR_INIT;

	json_object_set_new(one, "Pattern", json_stringn(text.ptr, text.len));
	json_array_append_new(list, one);
	f = filter_new(list, size % 2 ? &plain : &base64, &e);
	if (f && rest.ptr)
		filter_matches(f, rest);
	filter_free(f);
	json_decref(list);
	return 0;
}
