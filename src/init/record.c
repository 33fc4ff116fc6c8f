/* Reading INIT_START. See record.h. */
#include "init/record.h"

static char **split(struct words *w, size_t *used, char **at, const char *end, uint32_t count)
{
	char **first = &w->list[*used];

	for (uint32_t i = 0; i < count; i++) {
		if (*at >= end)
			return NULL;
		w->list[(*used)++] = *at;
		*at += strnlen(*at, (size_t)(end - *at)) + 1;
	}
	w->list[(*used)++] = NULL;
	return first;
}

bool record_read(struct init_record *r, size_t len, struct words *w)
{
	size_t used = 0;
	char *at = r->strings, *end, **cwd;

	if (len < INIT_RECORD_SHORT)
		return false;
	if (r->kind != INIT_START && r->kind != INIT_EXTENSIONS)
		return len == INIT_RECORD_SHORT &&
		       (r->kind == INIT_KILL || r->kind == INIT_TERM || r->kind == INIT_END);
	if (r->string_bytes > INIT_STRINGS_MAX || len != INIT_RECORD_SHORT + r->string_bytes)
		return false;
	if (r->argc < 1 || r->argc > INIT_WORDS_MAX || r->envc > INIT_WORDS_MAX - r->argc ||
	    r->cwdc > 1)
		return false;
	if (!r->string_bytes || r->strings[r->string_bytes - 1] != '\0')
		return false;
	end = at + r->string_bytes;
	w->argv = split(w, &used, &at, end, r->argc);
	w->envp = w->argv ? split(w, &used, &at, end, r->envc) : NULL;
	cwd = w->envp ? split(w, &used, &at, end, r->cwdc) : NULL;
	w->cwd = cwd ? cwd[0] : NULL;
	return cwd && at == end;
}
