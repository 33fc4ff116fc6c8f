/* multipart/form-data, piece by piece: fields are collected, the file is handed on. See RFC 7578.
 */
#include "service/s3/form_int.h"

#include <stdio.h>
#include <strings.h>

#define BOUNDARY_MAX 70 /* RFC 2046 */

static int malformed(struct err *e)
{
	return fail(e, S3_MALFORMED_POST_REQUEST,
	    "The body of your POST request is not well-formed multipart/form-data.");
}

/* The value of a parameter, quoted or not; ptr NULL when absent. */
static struct str parameter(struct str header, const char *name)
{
	size_t len = strlen(name);

	while (header.ptr) {
		struct str one = str_trim(str_cut(&header, ';'));

		if (one.len <= len || strncasecmp(one.ptr, name, len) != 0 || one.ptr[len] != '=')
			continue;
		one = str_sub(one, len + 1);
		if (one.len >= 2 && one.ptr[0] == '"' && one.ptr[one.len - 1] == '"')
			one = (struct str){one.ptr + 1, one.len - 2};
		return one.ptr ? one : STR("");
	}
	return STR_NULL;
}

bool form_open(struct form_parser *p, struct str content_type)
{
	struct str boundary = parameter(content_type, "boundary");

	if (!boundary.len || boundary.len > BOUNDARY_MAX)
		return false;
	p->delimiter_len =
	    (size_t)snprintf(p->delimiter, sizeof(p->delimiter), "\r\n--%.*s", STR_FMT(boundary));
	p->held = (struct buf)BUF_INIT;
	/* So that the first delimiter looks like all others. */
	buf_puts(&p->held, "\r\n");
	p->stage = FORM_START;
	p->file_name = "";
	return true;
}

void form_done(struct form_parser *p)
{
	buf_done(&p->held);
}

const char *form_value(const struct form_parser *p, const char *name)
{
	for (size_t i = 0; i < p->field_count; i++) {
		if (!strcmp(p->fields[i].name, name))
			return p->fields[i].value;
	}
	return NULL;
}

/* ---- one part ---- */

static const char *lower(struct call *c, struct str s)
{
	char *out = arena_strndup(c->arena, s.ptr, s.len);

	for (char *t = out; *t; t++)
		*t = (char)(*t >= 'A' && *t <= 'Z' ? *t + 32 : *t);
	return out;
}

static int read_headers(struct form_parser *p, struct str text, struct err *e)
{
	struct str disposition = STR_NULL, name, file;

	p->file_type = NULL;
	while (text.ptr && text.len) {
		struct str value = str_cut(&text, '\n'), key;

		if (value.len && value.ptr[value.len - 1] == '\r')
			value.len--;
		key = str_cut(&value, ':');
		if (!value.ptr)
			return malformed(e);
		if (str_eq_nocase(key, STR("content-disposition")))
			disposition = str_trim(value);
		else if (str_eq_nocase(key, STR("content-type")))
			p->file_type = call_strn(p->call, str_trim(value));
	}
	name = parameter(disposition, "name");
	file = parameter(disposition, "filename");
	if (!name.ptr || memchr(name.ptr, '\0', name.len))
		return malformed(e);
	p->name = lower(p->call, name);
	if (!strcmp(p->name, "file")) {
		/* Some browsers send a whole path. */
		for (const char *t = file.ptr, *to = t + file.len; file.ptr && t < to; t++) {
			if (*t == '/' || *t == '\\')
				file = (struct str){t + 1, (size_t)(to - t) - 1};
		}
		p->file_name = file.ptr ? call_strn(p->call, file) : "";
	}
	return 0;
}

static int add_field(struct form_parser *p, struct str value, struct err *e)
{
	if (p->field_count == FORM_FIELDS_MAX)
		return fail(e, S3_MAX_POST_PRE_DATA_LENGTH_EXCEEDED_ERROR,
		    "Your POST request has more than %d fields before the file.", FORM_FIELDS_MAX);
	if (memchr(value.ptr, '\0', value.len) || !utf8_valid(value))
		return malformed(e);
	/* Twice the same name: one would be checked by the policy, the other used. */
	if (form_value(p, p->name))
		return fail(e, S3_INVALID_ARGUMENT,
		    "Bucket POST must contain the field '%.64s' once at most.", p->name);
	p->fields[p->field_count++] = (struct form_field){p->name, call_strn(p->call, value)};
	return 0;
}

/* ---- stages: each takes what it can from `held`; *ret_more false: needs more bytes ---- */

/* Behind a delimiter: CR LF, or two dashes at the very end. */
static int take_delimiter(struct form_parser *p, bool *ret_more, struct err *e)
{
	struct str s = buf_str(&p->held);

	*ret_more = s.len >= p->delimiter_len + 2;
	if (!*ret_more)
		return 0;
	if (memcmp(s.ptr, p->delimiter, p->delimiter_len) != 0)
		return malformed(e);
	s = str_sub(s, p->delimiter_len);
	if (s.len < 2 || (memcmp(s.ptr, "\r\n", 2) != 0 && memcmp(s.ptr, "--", 2) != 0))
		return malformed(e);
	if (s.ptr[0] == '-')
		return fail(
		    e, S3_INVALID_ARGUMENT, "POST requires exactly one file upload per request.");
	buf_consume(&p->held, p->delimiter_len + 2);
	p->stage = FORM_HEADERS;
	return 0;
}

static int take_headers(struct form_parser *p, bool *ret_more, struct err *e)
{
	struct str s = buf_str(&p->held);
	const char *end = memmem(s.ptr, s.len, "\r\n\r\n", 4);
	int r;

	*ret_more = end != NULL;
	if (!end)
		return 0;
	r = read_headers(p, (struct str){s.ptr, (size_t)(end - s.ptr)}, e);
	if (r < 0)
		return r;
	buf_consume(&p->held, (size_t)(end - s.ptr) + 4);
	if (strcmp(p->name, "file") != 0) {
		p->stage = FORM_VALUE;
		return 0;
	}
	p->stage = FORM_FILE;
	return p->on_fields(p, e);
}

static int take_value(struct form_parser *p, bool *ret_more, struct err *e)
{
	struct str s = buf_str(&p->held);
	const char *end = memmem(s.ptr, s.len, p->delimiter, p->delimiter_len);
	int r;

	*ret_more = end != NULL;
	if (!end)
		return 0;
	r = add_field(p, (struct str){s.ptr, (size_t)(end - s.ptr)}, e);
	buf_consume(&p->held, (size_t)(end - s.ptr));
	p->stage = FORM_START;
	return r;
}

/* All but what may be the beginning of the delimiter goes on. */
static int take_file(struct form_parser *p, bool *ret_more, struct err *e)
{
	struct str s = buf_str(&p->held);
	const char *end = memmem(s.ptr, s.len, p->delimiter, p->delimiter_len);
	size_t n = end                         ? (size_t)(end - s.ptr)
		   : s.len >= p->delimiter_len ? s.len - p->delimiter_len + 1
					       : 0;
	int r = n ? p->on_file(p, s.ptr, n, e) : 0;

	*ret_more = end != NULL;
	if (r < 0)
		return r;
	buf_consume(&p->held, n);
	if (end) {
		p->complete = true;
		p->stage = FORM_REST;
	}
	return 0;
}

static int step(struct form_parser *p, bool *ret_more, struct err *e)
{
	switch (p->stage) {
	case FORM_START: return take_delimiter(p, ret_more, e);
	case FORM_HEADERS: return take_headers(p, ret_more, e);
	case FORM_VALUE: return take_value(p, ret_more, e);
	case FORM_FILE: return take_file(p, ret_more, e);
	default: break;
	}
	/* Fields behind the file mean nothing. */
	buf_clear(&p->held);
	*ret_more = false;
	return 0;
}

int form_feed(struct form_parser *p, const void *data, size_t len, struct err *e)
{
	bool more = true;
	int r = 0;

	buf_append(&p->held, data, len);
	while (r == 0 && more)
		r = step(p, &more, e);
	if (r == 0 && p->stage < FORM_FILE && buf_len(&p->held) > FORM_HEAD_MAX)
		r = fail(e, S3_MAX_POST_PRE_DATA_LENGTH_EXCEEDED_ERROR,
		    "Your POST request fields preceding the upload file were too large.");
	return r;
}
