/*
 * A service API as data: what tools/apigen.py writes from model/<service>.json and what the engine
 * reads. All tables are constant and live as long as the program; any thread may read them.
 *
 * How a shape lies in memory ("storage"):
 *   string const char * (NUL-terminated UTF-8), integer and timestamp (wall ms) int64_t,
 *   boolean bool, double double, blob struct str, structure its struct,
 *   list { size_t count; const T *items; }, map { size_t count; const struct X_entry *entries; }
 * with T and the value of an entry being storage themselves. A member of a structure is a pointer
 * to storage, NULL when absent; only strings are their own pointer.
 */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

struct call;

enum aws_type {
	AWS_STRING,
	AWS_INTEGER,
	AWS_LONG,
	AWS_BOOLEAN,
	AWS_DOUBLE,
	AWS_TIMESTAMP,
	AWS_BLOB,
	AWS_STRUCTURE,
	AWS_LIST,
	AWS_MAP,
};

enum aws_location {
	AWS_IN_BODY,
	AWS_IN_PAYLOAD, /* the body is this member alone */
	AWS_IN_URI,
	AWS_IN_QUERY,
	AWS_IN_HEADER,
	AWS_IN_STATUS,
	AWS_IN_HEADERS, /* a map: every header that begins with the field's wire name */
};

enum aws_protocol { AWS_REST_JSON, AWS_JSON, AWS_QUERY, AWS_REST_XML };

enum {
	AWS_HAS_MIN = 1 << 0,
	AWS_HAS_MAX = 1 << 1,
	AWS_SENSITIVE = 1 << 2,   /* never echoed in an error */
	AWS_EVENTSTREAM = 1 << 3, /* answered by call_stream_*(), not by a member */
	AWS_STREAMING = 1 << 4,
	AWS_ISO_TIME = 1 << 5,  /* timestamp: ISO 8601 even in a header */
	AWS_HTTP_TIME = 1 << 6, /* timestamp: as in HTTP even in a body */
};

/* Of a member of a structure. */
enum {
	AWS_FIELD_ATTRIBUTE = 1 << 0, /* XML attribute of the structure's element */
	AWS_FIELD_FLATTENED = 1 << 1, /* list or map: its items stand in place of itself */
	AWS_FIELD_STREAMING = 1 << 2, /* payload that is never collected: see aws/aws.h */
};

struct aws_pattern {
	const char *text; /* as AWS words it */
	const char *pcre; /* the same for PCRE2 */
	void *compiled;   /* by src/aws/pattern.c, on first use; loop thread only */
};

struct aws_field {
	const char *name; /* of the member */
	const char *wire; /* name on the wire: key, label, query parameter or header */
	const char *xml;  /* name in XML and in forms */
	const struct aws_shape *shape;
	uint32_t offset;
	uint8_t location;
	uint8_t flags; /* AWS_FIELD_* */
	bool required;
};

struct aws_shape {
	const char *name;
	uint8_t type;
	uint8_t flags;
	uint16_t field_count; /* structure */
	uint16_t enum_count;
	uint32_t size; /* bytes of storage */
	const struct aws_field *fields;
	const struct aws_shape *key, *value; /* map; a list has only value */
	const char *key_name, *value_name;   /* in XML and in forms */
	uint32_t stride;                     /* bytes of a list item or a map entry */
	uint32_t value_offset;               /* of the value in a map entry */
	const char *const *enums;
	struct aws_pattern *pattern;
	double min, max; /* of length in code points, count or value */
};

struct aws_error {
	int code;         /* for fail(); unique over all services */
	const char *name; /* "ResourceNotFoundException" */
	const char *wire; /* code in the query protocol, "NoSuchEntity" */
	uint16_t status;
	bool sender;                    /* the client's fault, not ours */
	bool typed;                     /* the body says "Type" too */
	const char *message;            /* name of the member with the text */
	const struct aws_field *fields; /* the other members, offsets unused */
	uint16_t field_count;
};

typedef int aws_handler(struct call *c, const void *in, void *out, struct err *e);

struct aws_op {
	const char *name;
	const char *method;
	const char *uri;                  /* template, "/2015-03-31/functions/{FunctionName}?x=y" */
	const char *wrapper;              /* query protocol: element around the result, or NULL */
	const struct aws_shape *in, *out; /* NULL: none */
	uint64_t body_max;
	uint16_t status;
	bool anonymous; /* may come unsigned */
	/* rest-xml only */
	bool deprecated;             /* another operation has the same URI */
	bool unwrapped;              /* the answer's root is its only member */
	uint8_t labels;              /* in the URI: 0 none, 1 bucket, 2 bucket and key */
	const char *root;            /* element around the answer */
	const char *const *literals; /* must stand in the query string: "list-type=2"; or NULL */
	const char *const *needs;    /* required query parameters and ":headers", or NULL */
	aws_handler *run;
	void (*handler)(void); /* NULL: not built in, answered as unknown */
};

struct aws_service {
	const char *name; /* "lambda" */
	const char *signing_name;
	const char *version;         /* "2015-03-31" */
	const char *target;          /* X-Amz-Target before the dot, or NULL */
	const char *xmlns;           /* or NULL */
	const char *json_version;    /* "1.0", "1.1"; protocol json only */
	const char *error_prefix;    /* in json, before an error's name; or NULL */
	const char *path_member;     /* query: the input's member implied by the path; or NULL */
	int missing_error;           /* for absent required members; 0: a validation error */
	const char *const *literals; /* rest-xml: of all operations, sorted */
	uint8_t protocol;
	bool query_compatible; /* json that is spoken as query too */
	bool unclaimed;        /* unsigned requests that nothing else claims are for it */
	uint16_t op_count;
	uint16_t error_count;
	const struct aws_op *ops; /* sorted by name */
	const struct aws_error *errors;
	const struct aws_shape *shapes; /* all of them, for tests */
	size_t shape_count;
};
