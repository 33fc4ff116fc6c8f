/* See json_out.h. */
#include "spawner/json_out.h"

#include <stdio.h>

static void put(struct json_out *j, const char *bytes, size_t len)
{
	if (j->used + len < j->size)
		memcpy(j->at + j->used, bytes, len);
	j->used += len;
}

static void put_char(struct json_out *j, char c)
{
	put(j, &c, 1);
}

static void put_escaped(struct json_out *j, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		char code[8];

		if (c == '"' || c == '\\') {
			put_char(j, '\\');
			put_char(j, *text);
		} else if (c < 0x20 || c == 0x7f) {
			snprintf(code, sizeof(code), "\\u%04x", c);
			put(j, code, 6);
		} else {
			put_char(j, *text);
		}
	}
}

/* What stands before a value. */
static void begin(struct json_out *j, const char *name)
{
	if (j->comma)
		put_char(j, ',');
	j->comma = true;
	if (!name)
		return;
	put_char(j, '"');
	put_escaped(j, name);
	put(j, "\":", 2);
}

void json_open(struct json_out *j, const char *name, char bracket)
{
	begin(j, name);
	put_char(j, bracket);
	j->comma = false;
}

void json_close(struct json_out *j, char bracket)
{
	put_char(j, bracket);
	j->comma = true;
}

void json_joined(struct json_out *j, const char *name, const char *a, const char *b, const char *c)
{
	begin(j, name);
	put_char(j, '"');
	put_escaped(j, a);
	put_escaped(j, b);
	put_escaped(j, c);
	put_char(j, '"');
}

void json_text(struct json_out *j, const char *name, const char *value)
{
	json_joined(j, name, value, "", "");
}

void json_uint(struct json_out *j, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	json_raw(j, name, text);
}

void json_bool(struct json_out *j, const char *name, bool value)
{
	json_raw(j, name, value ? "true" : "false");
}

void json_raw(struct json_out *j, const char *name, const char *json)
{
	begin(j, name);
	put(j, json, strlen(json));
}

void json_texts(struct json_out *j, const char *name, const char *const *values, size_t count)
{
	json_open(j, name, '[');
	for (size_t i = 0; i < count; i++)
		json_text(j, NULL, values[i]);
	json_close(j, ']');
}
