/*
 * The Lambda API: functions, versions, aliases, policies, URL configurations and Invoke. Everything
 * is in memory, written through to the store: a change is on disk before it is seen or answered.
 * Changes of one function happen one after the other, in the order they came. Loop thread only.
 *
 * Handlers are typed functions that the generated tables refer to; core opens the service, adds
 * `lambda_service` with it as context, and sends code downloads and function URLs its way.
 */
#pragma once

#include "aws/aws.h"
#include "image/image.h"
#include "invoke/invoke.h"
#include "store/store.h"
#include "target/target.h"

struct lambda;
struct sources;

struct lambda_options {
	struct loop *loop;
	struct store *store;
	struct invoke *invoke;
	struct targets *targets; /* what dead letters and destinations may be; NULL in tests: all */
	struct boxes *boxes;     /* whose spawner unpacks code; NULL in tests: ready at once */
	const char *url;         /* "http://127.0.0.1:4566": of Code.Location and function URLs */
	/* Where code is unpacked (DATA/code), to find what is missing or left over at the start;
	 * NULL: trust that all is there. */
	const char *code_dir;
	/* Read an object of S3 whole, at most limit bytes, for code that is given by its name: done
	 * runs once, perhaps at once, with the bytes (valid during the call) or -errno and why in
	 * words for a client (-ENOENT, -EACCES, -EFBIG). NULL: there is no S3. */
	void (*load_object)(void *ctx, const char *account, const char *bucket, const char *key,
	    const char *version, size_t limit,
	    void (*done)(void *arg, int result, struct str data, const char *text), void *arg);
	void *object_ctx;
	struct images *images; /* NULL: functions cannot be made of images */
	/* Hosts that mean our own registry, NULL at the end; for names of images. */
	const char *const *registries;
};

/* Load everything (blocking, for start-up). The strings of o stay the caller's and outlive the
 * service. NULL and e on failure. */
struct lambda *lambda_open(const struct lambda_options *o, struct err *e);
/* Invocations have ended and no call is pending. NULL is fine. */
void lambda_close(struct lambda *l);
/* The engine that checks the signatures of AWS_IAM function URLs. */
void lambda_set_engine(struct lambda *l, struct aws *a);
/* The event source mappings that its operations are about; before the first call of one. */
void lambda_set_sources(struct lambda *l, struct sources *s);

/* Which interpreters there are: options ("node=20.20.2:/usr/bin/node") first, then what is found
 * below /usr. Once, before lambda_open(). -EINVAL and e for an option that makes no sense. */
int lambda_runtimes_setup(const char *const *options, size_t count, struct err *e);
/* Their programs, worth pre-starting; they live as long as the process. */
const struct box_program *const *lambda_programs(size_t *ret_count);

/* What runs now for a qualifier ("" and "$LATEST", a number, an alias, whose weights decide anew
 * at each call), or NULL: no such thing, or it cannot run. */
struct invoke_version *lambda_find_version(
    struct lambda *l, struct str account, struct str region, struct str name, struct str qualifier);

/* May a service ("s3.amazonaws.com") invoke it, by its resource policy? For event sources. */
bool lambda_service_allowed(struct lambda *l, struct str account, struct str region,
    struct str name, struct str qualifier, const char *service, const char *source_arn,
    const char *source_account);

/* GET /_mayfly/code/<sha256>?expires=…&sig=…: answer it. Core hands over the whole request, in
 * on_request, and calls lambda_code_cancel() if it is cancelled later. Uses r->user. */
#define LAMBDA_CODE_PATH "/_mayfly/code/"
void lambda_code_request(struct lambda *l, struct http_request *r);
void lambda_code_cancel(struct http_request *r);
