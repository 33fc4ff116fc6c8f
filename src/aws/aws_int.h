/* What the files of the engine share: one request from head to reply, and the stages it passes. */
#pragma once

#include "aws/aws.h"
#include "aws/sigv4.h"

#define AWS_SERVICES_MAX 32
#define AWS_DEPTH_MAX 64      /* of nested values */
#define AWS_TOKENS_MAX 200000 /* values in one body: bounds what decoding allocates */
#define AWS_PARAMS_MAX 20000  /* of a form or a query string */
#define AWS_ERROR_MEMBERS_MAX 8
#define AWS_REPLY_HEADERS_MAX 24
#define AWS_LABELS_MAX 8
#define AWS_OFFLOAD_MIN (256 * 1024) /* bodies from here on are decoded on a worker */

struct aws_registered {
	const struct aws_service *service;
	void *ctx;
	const struct aws_hooks *hooks; /* or NULL */
};

struct aws {
	struct loop *loop;
	struct aws_config config;
	struct aws_registered services[AWS_SERVICES_MAX];
	size_t service_count;
	struct sigv4_cache cache;
};

struct aws_pair {
	const char *name;
	const char *value;
};

/* Of a form or a query string, decoded. */
struct aws_param {
	const char *name, *value;
};
struct aws_params {
	struct aws_param *items; /* sorted by name */
	size_t count;
};

struct aws_label {
	struct str name;  /* in the template */
	struct str value; /* in the path, not decoded */
};

/* What routing found. service NULL: nobody's; op NULL: not an operation, or decided by the body. */
struct aws_route {
	const struct aws_registered *registered;
	const struct aws_service *service;
	const struct aws_op *op;
	uint8_t protocol; /* in which a refusal is worded */
	struct str path;  /* by which it was routed, not decoded */
	struct aws_label labels[AWS_LABELS_MAX];
	size_t label_count;
};

enum aws_stage { AWS_HEAD, AWS_DECODING, AWS_RUNNING, AWS_PENDING, AWS_STREAMS };

struct aws_decoding {
	struct loop_work work;
	int result;
	struct err err;
};

/* A body that is handed on as it arrives. */
struct aws_stream {
	bool on;                       /* the operation streams */
	const struct call_body *taker; /* NULL until call_body_start() */
	bool paused;                   /* by the handler */
	bool ended;                    /* all of it has been handed on */
	int64_t length;                /* decoded; -1: not announced */
	uint64_t seen, max;            /* decoded */
	struct sigv4_chunks *chunks;   /* or NULL */
	struct buf held;               /* arrived before a pause, not yet handed on */
	struct loop_task resume;
};

/* What a handler has put in place of the model's status and of `out`. */
struct aws_answer {
	unsigned status; /* 0: the model's */
	bool has_file, has_text;
	int fd;
	uint64_t offset, length;
	struct http_pieces *pieces; /* instead of the file, or NULL */
	const char *content_type;
	struct str text;
};

struct aws_request {
	struct call call; /* first */
	struct aws *aws;
	struct http_request *http; /* NULL once answered or cancelled */
	struct arena arena;
	struct buf body;
	enum aws_stage stage;
	bool gone;    /* cancelled while a worker decodes */
	bool refused; /* by what the head says; `refusal` is answered once the body is in */
	bool is_signed;
	bool in_handler;
	bool early; /* call_reply() came before the handler returned; `outcome` waits */
	bool ended; /* so did call_stream_end() */
	struct err refusal;
	int outcome;
	struct err outcome_err;
	struct aws_route route;
	struct aws_params params; /* query protocol */
	struct sigv4_auth auth;
	char secret[AWS_SECRET_SIZE];
	uint8_t key[32];         /* that signs; rest-xml only, where chunks need it too */
	struct sigv4_hash *hash; /* of the body, while it streams in */
	size_t hashed;
	struct aws_stream stream;
	struct aws_answer answer;
	bool *alive; /* set to false when the request is freed: for who calls into a handler */
	void *in;
	struct aws_decoding decoding;
	void (*on_stop)(struct call *c);
	void (*on_drain)(struct call *c);
	const char *message; /* of call_fail() */
	struct aws_pair error_members[AWS_ERROR_MEMBERS_MAX];
	size_t error_member_count;
	struct http_header headers[AWS_REPLY_HEADERS_MAX];
	size_t header_count;
};

/* Where a member of a structure is stored, and its storage (NULL when absent). */
static inline void *aws_slot(const struct aws_field *f, const void *structure)
{
	return (char *)(uintptr_t)structure + f->offset;
}

static inline const void *aws_member(const struct aws_field *f, const void *structure)
{
	const void *const *slot = aws_slot(f, structure);

	if (f->shape->type == AWS_STRING)
		return *slot ? (const void *)slot : NULL;
	return *slot;
}

struct aws_list {
	size_t count;
	const void *items;
};

static inline const void *aws_item(const struct aws_shape *s, const struct aws_list *l, size_t i)
{
	return (const char *)l->items + i * s->stride;
}

/* Storage for a member, allocated and hooked into its slot. */
void *aws_make_member(struct arena *a, const struct aws_field *f, void *structure);

/* The member that is the body, or NULL. */
static inline const struct aws_field *aws_payload(const struct aws_shape *s)
{
	for (unsigned i = 0; s && i < s->field_count; i++)
		if (s->fields[i].location == AWS_IN_PAYLOAD)
			return &s->fields[i];
	return NULL;
}

/* decode.c: members of the body of rest-json and json. Worker threads may call it. */
int aws_decode_json(
    struct arena *a, const struct aws_shape *in, struct str body, void *storage, struct err *e);

/* form.c */
/* Decode "a=b&c=d" (several sources one after the other), sort. Negative with e on nonsense. */
int aws_params_parse(
    struct arena *a, struct str query, struct str body, struct aws_params *ret, struct err *e);
const char *aws_params_get(const struct aws_params *p, const char *name);
/* One value from text, which lives in the arena. */
int aws_scalar(
    struct arena *a, const struct aws_shape *s, const char *text, void *storage, struct err *e);
int aws_decode_query(struct arena *a, const struct aws_shape *in, const struct aws_params *p,
    void *storage, struct err *e);
/* Members in the URI, the query string and the headers. */
int aws_decode_http(struct arena *a, const struct aws_shape *in, const struct http_request *r,
    const struct aws_route *route, void *storage, struct err *e);

/* xml_decode.c: members of the body of rest-xml. Worker threads may call it. */
int aws_decode_xml(
    struct arena *a, const struct aws_shape *in, struct str body, void *storage, struct err *e);

/* validate.c: all violations, in AWS's words; returns how many. *ret is text when there are any. */
size_t aws_validate(
    struct arena *a, const struct aws_shape *in, const void *storage, const char **ret);

/* pattern.c: does the whole text match? What takes too many steps does not. */
bool aws_pattern_match(struct aws_pattern *p, const char *text);
bool aws_pattern_compiles(struct aws_pattern *p);

/* encode.c */
void aws_encode_json(struct buf *b, const struct aws_shape *s, const void *storage);
void aws_encode_timestamp(struct buf *b, int64_t wall_ms);
void aws_encode_double(struct buf *b, double v);

/* xml.c */
void aws_encode_xml(struct buf *b, const struct aws_service *s, const struct aws_op *op,
    const void *out, const char *request_id);
/* The body of a result: a document, or nothing. */
void aws_encode_rest_xml(
    struct buf *b, const struct aws_service *s, const struct aws_op *op, const void *out);
void aws_xml_escape(struct buf *b, struct str s);

/* route.c */
void aws_route_head(struct aws *a, struct arena *arena, const struct http_request *r,
    struct str scope_service, struct aws_route *ret);
/* route_xml.c: ret->path is set. */
void aws_route_rest_xml(
    const struct aws_service *s, const struct http_request *r, struct aws_route *ret);
void aws_route_form(struct aws *a, const struct aws_params *p, struct aws_route *route);
int aws_unknown_op(
    const struct aws_route *route, const char *name, const char *version, struct err *e);

/* access.c: who sent it? Once the head is there (is the key known?), and with the whole body. */
int aws_access_head(struct aws_request *q, struct err *e);
int aws_access_body(struct aws_request *q, struct err *e);
/* Word what sigv4_*() has refused. Negative. */
int aws_access_refusal(int sigv4_result, const struct err *why, struct err *e);
/* The same of aws-chunked bodies. */
int aws_access_chunks(
    const struct aws_request *q, int result, const struct err *why, struct err *e);
/* Is this the hash that was announced? */
int aws_access_hash(const struct aws_request *q, const char hash[SIGV4_HEX], struct err *e);
void aws_sigv4_request(const struct http_request *r, struct sigv4_request *ret);
int64_t aws_now_ms(const struct aws *a);

/* stream.c */
/* The head is there: may the body come, and how long is it? Negative with e: no. */
int aws_stream_open(struct aws_request *q, uint64_t max, struct err *e);
/* The handler has returned; the request lives. */
void aws_stream_begin(struct aws_request *q);
void aws_stream_data(struct aws_request *q, const void *data, size_t len);
void aws_stream_end(struct aws_request *q);
void aws_stream_done(struct aws_request *q); /* free */

/* errors.c */
struct aws_fault {
	const char *name, *wire; /* wire: in the query protocol */
	const char *message;     /* name of the member with the text */
	unsigned status;
	bool sender, typed;
	const struct aws_error *error; /* NULL for the common ones */
};
void aws_fault_find(const struct aws_route *route, int code, struct aws_fault *ret);

/* reply.c: each answers and frees the request. */
void aws_reply_result(struct aws_request *q);
void aws_reply_error(struct aws_request *q, const struct err *e);
/* Request id, header members of the output, the handler's own headers; in the arena, with room for
 * a few more. Lets the service add its own by its hook, so: once. */
struct http_header *aws_reply_headers(struct aws_request *q, unsigned status, size_t *ret_count);
unsigned aws_reply_status(const struct aws_request *q);
void aws_request_free(struct aws_request *q);

static inline struct aws_request *aws_request_of(struct call *c)
{
	return (struct aws_request *)c;
}
