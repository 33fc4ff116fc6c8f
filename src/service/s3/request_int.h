/* What requests say about a new object, and how its bytes are received: request.c, checksum.c,
 * intake.c; used by PutObject, UploadPart, CopyObject, CreateMultipartUpload and forms. */
#pragma once

#include "service/s3/s3_int.h"

/* A header, or for presigned requests the query parameter of that name, in the arena; NULL: absent.
 * name is in lower case. */
const char *request_field(struct call *c, const char *name);

/* ---- checksum.c ---- */

#define CHECKSUM_SIZE 64 /* base64 of the longest, "-10000" and NUL */

struct checksum_want {
	unsigned kind; /* STORE_CRC32… */
	bool in_trailer;
	char value[CHECKSUM_SIZE]; /* base64; "": take what comes */
};

/* 0 when it is none of the five. */
unsigned checksum_kind(const char *algorithm); /* "CRC32" */
const char *checksum_name(unsigned kind);
size_t checksum_bytes(unsigned kind);
/* What the client wants to be checked and kept of the body. Without a wish CRC64NVME is taken. */
int checksum_wanted(struct call *c, struct checksum_want *ret, struct err *e);
/* Is the request's document what a header says? Takes the body; its members stay valid. */
int checksum_document(struct call *c, struct err *e);
/* In on_end(): the value that came behind the body. */
int checksum_trailer(struct call *c, struct checksum_want *w, struct err *e);
void checksum_text(unsigned kind, const struct store_hashes *h, char out[CHECKSUM_SIZE]);
const void *checksum_raw(unsigned kind, const struct store_hashes *h);
/* The same for a list's member: value is base64 of the right length. */
bool checksum_valid(unsigned kind, const char *value);
/* The same for a field of a form; w has had those before. */
int checksum_field(const char *name, const char *value, struct checksum_want *w, struct err *e);

/* Put a checksum where an output structure has it. */
#define checksum_show(out, which, text)                                           \
	do {                                                                      \
		switch (which) {                                                  \
		case STORE_CRC32: (out)->checksum_crc32 = (text); break;          \
		case STORE_CRC32C: (out)->checksum_crc32_c = (text); break;       \
		case STORE_CRC64NVME: (out)->checksum_crc64_nvme = (text); break; \
		case STORE_SHA1: (out)->checksum_sha1 = (text); break;            \
		case STORE_SHA256: (out)->checksum_sha256 = (text); break;        \
		default: break;                                                   \
		}                                                                 \
	} while (0)

/* ---- request.c ---- */

/* Facts that headers state about a new object: types, metadata, tags, class; refuses what is not
 * there (ACLs, keys of the customer's, locks). Points into the arena. */
int request_facts(struct call *c, struct object *ret, struct err *e);
/* "a=b&c=d" as in x-amz-tagging. */
int request_tags(struct call *c, const char *text, struct object *ret, struct err *e);
int object_tags_check(const struct pair *tags, size_t count, size_t max, struct err *e);
/* Refuse what asks the server to encrypt. */
int request_encryption(struct call *c, struct err *e);
/* NotImplemented for a header or a field of a form. */
int request_not_there(struct call *c, const char *name, struct err *e);
int request_class(const char *class, struct object *ret, struct err *e); /* NULL: STANDARD */
/* base64 of Content-MD5 into 16 bytes; InvalidDigest. */
int request_md5(struct call *c, bool *ret_has, unsigned char ret[16], struct err *e);
/* Does a list of entity tags ("*", "a", "b") name this one? */
bool etag_matches(const char *list, const char *etag);
/* If-Match and If-None-Match of a write; member of struct change (its user is ctx). */
struct write_conditions {
	const char *if_match, *if_none_match;
};
int conditions_parse(struct call *c, struct write_conditions *ret, struct err *e);
/* 0, or PreconditionFailed or NoSuchKey. */
int conditions_check(const struct write_conditions *w, const struct object *current, struct err *e);

/* ---- intake.c: the bytes of a new object ---- */

struct intake {
	/* the caller's, before intake_open() */
	struct s3 *s3;
	struct checksum_want sum;
	unsigned also; /* another sum to be taken */
	bool has_md5;
	unsigned char md5[16];
	void (*on_drain)(struct intake *in); /* take more, or see intake_error() */
	/* 0: sealed, etag and checksum are set; or negative with `error` set by fail(), or with
	 * error.code 0 -errno. Nothing is left on disk then. */
	void (*done)(struct intake *in, int result);
	/* results */
	struct store_sealed sealed;
	char etag[33];
	char checksum[CHECKSUM_SIZE];
	struct err error;
	/* private */
	struct store_file *file;
};

void intake_open(struct intake *in);
/* True: pause until on_drain(). */
bool intake_data(struct intake *in, const void *data, size_t len);
int intake_error(const struct intake *in);
void intake_seal(struct intake *in);    /* done() follows */
void intake_abandon(struct intake *in); /* before intake_seal() only; no callback any more */
/* The sealed bytes as an object's extents. */
void intake_extent(const struct intake *in, struct object *o, struct store_extent *place);
