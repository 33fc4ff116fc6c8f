/* POST forms: form.c (the upload), form_parse.c (multipart/form-data), form_policy.c (what the
 * signed policy of a form permits). */
#pragma once

#include "service/s3/config_int.h"

#define FORM_FIELDS_MAX 200
#define FORM_HEAD_MAX (20 * 1024) /* all before the file, as on AWS */

struct form_field {
	const char *name;  /* small letters */
	const char *value; /* NUL-terminated, in the call's arena */
};

struct form_parser {
	/* the caller's */
	struct call *call;
	/* The fields before the file are complete: 0, or negative with e filled. */
	int (*on_fields)(struct form_parser *p, struct err *e);
	/* Bytes of the file. 0, or negative with e filled. */
	int (*on_file)(struct form_parser *p, const char *data, size_t len, struct err *e);
	/* results */
	struct form_field fields[FORM_FIELDS_MAX];
	size_t field_count;
	const char *file_name; /* as the browser says; "" if it does not */
	const char *file_type; /* NULL: not said */
	bool complete;         /* the end of the file has been seen */
	/* private */
	enum { FORM_START, FORM_HEADERS, FORM_VALUE, FORM_FILE, FORM_REST } stage;
	char delimiter[80]; /* CR LF, two dashes, the boundary */
	size_t delimiter_len;
	struct buf held;
	size_t head; /* bytes before the file so far */
	const char *name;
};

/* False: the content type has no boundary that can be used. */
bool form_open(struct form_parser *p, struct str content_type);
int form_feed(struct form_parser *p, const void *data, size_t len, struct err *e);
void form_done(struct form_parser *p);
/* NULL: absent. name is in small letters. */
const char *form_value(const struct form_parser *p, const char *name);

struct form_range {
	int64_t min, max; /* of the file's size */
};
/* The policy (base64 JSON) permits exactly these fields: 0 with *ret, or negative. key: with the
 * file's name filled in. */
int form_policy_check(struct form_parser *p, const char *bucket, const char *key, int64_t now_ms,
    struct form_range *ret, struct err *e);

/* In s3_other(): a form posted to a bucket. */
int form_post(struct call *c, struct str content_type, struct err *e);
/* cors.c */
int cors_preflight(struct call *c, struct err *e);
