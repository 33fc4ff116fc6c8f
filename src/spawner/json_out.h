/* JSON into a buffer of fixed size: commas and escapes are cared for, nesting is the caller's. */
#pragma once

#include "base/base.h"

struct json_out {
	char *at;
	size_t size, used; /* used >= size: it did not fit */
	bool comma;        /* before the next member or element */
};

/* Opens with one of "[{", closes with one of "]}". name: NULL in a list. */
void json_open(struct json_out *j, const char *name, char bracket);
void json_close(struct json_out *j, char bracket);
void json_text(struct json_out *j, const char *name, const char *value);
/* The text of two parts as one. */
void json_joined(struct json_out *j, const char *name, const char *a, const char *b, const char *c);
void json_uint(struct json_out *j, const char *name, uint64_t value);
void json_bool(struct json_out *j, const char *name, bool value);
/* A constant that is JSON already. */
void json_raw(struct json_out *j, const char *name, const char *json);
void json_texts(struct json_out *j, const char *name, const char *const *values, size_t count);
