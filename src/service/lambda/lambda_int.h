/*
 * What the files of this folder share: the objects in memory, and how they change.
 *
 * Every object is a JSON document as it lies in the store (space "lambda"), with the few things
 * derived from it that running needs. Keys: ACCOUNT/REGION/FUNCTION/f, …/v/NUMBER (0 is $LATEST),
 * …/a/ALIAS, …/p/QUALIFIER, …/u/QUALIFIER, …/e/QUALIFIER. Documents are immutable once they are in
 * memory.
 */
#pragma once

#include <jansson.h>

#include "auth/policy.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "gen/lambda.h"
#include "service/lambda/lambda.h"
#include "service/lambda/url_int.h"
#include "spawn/spawn.h"

#define LAMBDA_ZIP_MAX 52428800
#define LAMBDA_UNZIPPED_MAX 262144000
#define LAMBDA_CODE_TOTAL_MAX 80530636800
#define LAMBDA_UNRESERVED_MIN 100
#define LAMBDA_TAGS_MAX 50
#define LAMBDA_PAGE_MAX 50
#define LAMBDA_SPACE "lambda"
#define LATEST "$LATEST"

enum record_kind {
	RECORD_FUNCTION = 'f',
	RECORD_VERSION = 'v',
	RECORD_ALIAS = 'a',
	RECORD_POLICY = 'p',
	RECORD_URL = 'u',
	RECORD_EVENTS = 'e', /* what becomes of its events */
};

struct lambda {
	struct lambda_options o;
	struct spawn *spawn; /* NULL: without one, in tests */
	struct aws *aws;
	struct sources *sources; /* event source mappings */
	char port[8];            /* of o.url */
	struct map functions;    /* "account/region/name" -> struct function */
	struct map urls;         /* URL id -> struct item */
	uint64_t policy_serial;  /* counts changes of policies */
	struct map codes;        /* SHA-256 in hex -> struct code */
	struct map layers;       /* "account/region/name" -> struct layer */
	struct list dying;       /* codes nobody refers to, oldest first */
	struct loop_timer dying_timer;
	uint8_t secret[32]; /* signs download links; new at each start */
};

struct function {
	struct lambda *lambda;
	char *key, *account, *region, *name;
	json_t *doc; /* NULL: does not exist (yet, or any more) */
	int64_t stored;
	struct invoke_function *run;
	struct version *latest;
	struct version **published; /* ascending */
	size_t published_count;
	struct list aliases, policies, urls; /* struct item, by name */
	struct list events;                  /* the same, of RECORD_EVENTS */
	bool busy;                           /* a change is under way */
	int64_t reserving;                   /* concurrency that the change reserves */
	struct list waiters;                 /* calls that wait for it to end */
};

struct version {
	struct function *function;
	int64_t number; /* 0: $LATEST */
	json_t *doc;
	int64_t stored;
	struct code *code;
	struct code *layers[WIRE_LAYERS_MAX]; /* of them, lowest first */
	size_t layer_count;
	struct invoke_version *run; /* NULL: cannot run, see version_state() */
};

/* An alias, a policy (named by its qualifier, "" for the function's) or a URL (likewise). */
struct item {
	struct list node;
	struct function *function;
	char *name;
	json_t *doc;
	int64_t stored;
	struct policy *policy; /* of a policy */
	/* Of a URL, made of the document for the warm path. */
	struct url_cors *cors; /* may be NULL */
	char *arn;
	bool iam, stream; /* AuthType AWS_IAM, InvokeMode RESPONSE_STREAM */
	uint64_t judged;  /* lambda.policy_serial at which `open` was found out */
	bool open;        /* anybody may use it */
};

/* ---- json.c: small helpers over jansson ---- */

const char *doc_str(const json_t *doc, const char *key); /* NULL when absent */
int64_t doc_int(const json_t *doc, const char *key, int64_t absent);
void doc_set_str(json_t *doc, const char *key, const char *value); /* NULL: removes it */
void doc_set_int(json_t *doc, const char *key, int64_t value);
void doc_new_revision(json_t *doc); /* RevisionId */

/* ---- name.c: how clients name functions ---- */

struct name {
	struct str region, account, name, qualifier; /* ptr NULL where not given */
};
/* name, name:qualifier, account:function:name and (partial) ARNs; false if it is none of them. */
bool name_parse(struct str s, struct name *ret);

/* What a call is about: strings live in the call's arena. qualifier is NULL when none was given.
 */
struct ref {
	const char *region, *account, *name, *qualifier;
};
int ref_resolve(struct call *c, const char *function_name, const char *qualifier, struct ref *ret,
    struct err *e);
const char *ref_arn(struct call *c, const struct ref *r); /* with the qualifier, if any */
int ref_not_found(struct call *c, const struct ref *r, struct err *e);
const char *function_arn(struct call *c, const struct function *f, const char *qualifier);
bool is_number(const char *s);

/* ---- function.c, version.c, alias.c: finding ---- */

struct function *function_find(
    struct lambda *l, struct str account, struct str region, struct str name);
/* The same, or a new one that does not exist yet. */
struct function *function_slot(
    struct lambda *l, struct str account, struct str region, struct str name);
/* Resolve and find; *ret_f is never NULL when 0 is returned. */
int function_of(struct call *c, const char *function_name, const char *qualifier, struct ref *ret,
    struct function **ret_f, struct err *e);

struct version *version_find(const struct function *f, int64_t number);
/* By "$LATEST", NULL or "" (the same), a number, or an alias (its main version); NULL if none. */
struct version *version_by_qualifier(const struct function *f, const char *qualifier);
/* The same, with the weights of an alias. random decides. */
struct version *version_to_run(const struct function *f, const char *qualifier, uint64_t random);
const char *version_name(const struct version *v, char buf[24]);
/* Make it runnable if its code is there. */
void version_start(struct version *v);
/* "Active", "Pending" or "Failed", with why; strings are constant or the version's. */
const char *version_state(const struct version *v, const char **ret_code, const char **ret_reason);

struct item *item_find(const struct list *items, const char *name);
struct list *item_list(struct function *f, enum record_kind kind);

/* ---- change.c: what happens to one function, on disk first ---- */

struct change;
struct change_edit {
	enum record_kind kind;
	char *name;
	json_t *doc; /* NULL: delete */
};
struct change {
	struct store_write write;
	struct call *call; /* NULL once the client has gone */
	struct function *function;
	struct change_edit *edits;
	size_t count;
	/* Fills call->out; memory is as wanted by now. May be NULL. */
	void (*finish)(struct change *ch);
	/* For finish(): whatever the handler wants it to know. */
	int64_t number;
	const char *name;
	struct code *code; /* held until the end */
};

/* Is somebody changing this function? Then come again when it is over: the handler returns
 * change_wait(), and is run from its beginning later. */
int change_wait(struct call *c, const void *in, struct function *f);
/* Begin a change, collect what is to be different, commit (which returns CALL_PENDING for the
 * handler). Documents given are owned by the change. */
struct change *change_new(struct call *c, struct function *f, void (*finish)(struct change *ch));
void change_put(struct change *ch, enum record_kind kind, const char *name, json_t *doc);
void change_delete(struct change *ch, enum record_kind kind, const char *name);
int change_commit(struct change *ch);
void change_cancel(struct change *ch); /* instead of committing; not once f is held */
/* For work on a function before there is a change (uploads): the same lock. */
void function_hold(struct function *f);
void function_release(struct function *f); /* lets the next one in; may free f */
/* Put a record into memory, from the store or from a change. */
int record_apply(
    struct function *f, enum record_kind kind, const char *name, json_t *doc, int64_t stored);
int64_t record_stored(struct function *f, enum record_kind kind, const char *name);
int record_load(struct lambda *l, struct err *e);
void function_free(struct function *f);
void version_free(struct version *v);

/* ---- code.c: zip files and what is unpacked of them ---- */

struct code;
/* Where a zip comes from: exactly one of zip and bucket. */
struct code_source {
	const struct str *zip;
	const char *bucket, *key, *version; /* of S3 */
	const char *image;
};
const char *code_hex(const struct code *k);
const uint8_t *code_hash(const struct code *k);
bool code_ready(const struct code *k);
int64_t code_size(const struct code *k);     /* of the zip, bytes */
int64_t code_unzipped(const struct code *k); /* 0: not known */
/* Its sizes, as a document that refers to it has them. */
void code_remember(struct code *k, const json_t *doc);
const char *code_why(const struct code *k); /* it is not ready: NULL while it is on its way */
struct code *code_ref(struct code *k);
void code_unref(struct code *k); /* NULL is fine */
/* The code of a stored version; unpacked again if it has got lost. */
struct code *code_load(struct lambda *l, const char *hex);
/* The same of an image; pulled again if it has got lost. */
struct code *code_load_image(struct lambda *l, const char *hex, const char *uri);
bool code_is_image(const struct code *k);
/* What a version's document says of its code; image_uri: as the client gave it, or NULL. */
void code_into_doc(json_t *doc, const struct code *k, const char *image_uri);
const char *code_image_uri(const struct code *k); /* with the digest; NULL of a zip */
/* Its layers and what to run in it, with what a version's document says (ImageConfig); ret's lists
 * are in the arena. */
void code_image_config(
    const struct code *k, const json_t *doc, struct arena *a, struct invoke_image *ret);
/* Fetch, hash, store and unpack a zip for a call; f (NULL: of a layer) is held meanwhile. next()
 * gets the code (it may keep a reference of its own) and returns what a handler returns; not called
 * when it fails or the client has gone. Returns CALL_PENDING. */
typedef int code_next(
    struct call *c, const void *in, struct function *f, struct code *k, struct err *e);
int code_upload(struct call *c, const void *in, struct function *f,
    const struct code_source *source, code_next *next);
void code_tidy(struct lambda *l); /* at the start: remove what nobody refers to */
void code_close(struct lambda *l);
/* A link to the zip that works for ten minutes. */
const char *code_location(struct call *c, struct lambda *l, const char *hex);
int64_t code_total(const struct lambda *l); /* bytes of zips, each version counted */
int code_check_image(const struct lambda *l, const struct code_source *s, struct err *e);
/* done gets the code, valid during the call, or NULL, the image room's name for the failure, and
 * why. uri has been checked. */
typedef void code_pulled(void *ctx, struct code *k, const char *code, const char *why);
void code_pull(struct lambda *l, const char *uri, code_pulled *done, void *ctx);
/* Exactly one source, and one that works here. */
int code_check_source(const struct lambda *l, const struct code_source *s, struct err *e);
/* Can this be a zip? Before it is stored. */
int code_check_zip(const struct lambda *l, struct str zip, struct err *e);

/* ---- runtimes.c ---- */

struct runtime_choice {
	const struct box_program *program;
	const struct box_program *own_program; /* when the user sets PYTHON… variables */
	const char *version;                   /* "nodejs:20.v20.20.2" */
	char arn[160];
};
/* What runs this runtime here; 0, or negative with why in e (no code). */
int runtime_find(
    const char *runtime, const char *region, struct runtime_choice *ret, struct err *e);

/* A custom runtime that comes in a layer. */
extern const struct box_program layer_bootstrap;

/* ---- config.c: configuration as asked for ---- */

/* What CreateFunction and UpdateFunctionConfiguration have in common. */
struct wanted {
	const struct lambda_capacity_provider_config *capacity_provider_config;
	const struct lambda_dead_letter_config *dead_letter_config;
	const char *description;
	const struct lambda_durable_config *durable_config;
	const struct lambda_environment *environment;
	const struct lambda_ephemeral_storage *ephemeral_storage;
	const struct lambda_file_system_config_list *file_system_configs;
	const char *handler;
	const struct lambda_image_config *image_config;
	const char *kms_key_arn;
	const struct lambda_layer_list *layers;
	const struct lambda_logging_config *logging_config;
	const int64_t *memory_size;
	const char *role;
	const char *runtime;
	const struct lambda_snap_start *snap_start;
	const int64_t *timeout;
	const struct lambda_tracing_config *tracing_config;
	const struct lambda_vpc_config *vpc_config;
};
#define WANTED(in)                                                                                \
	{                                                                                         \
		.capacity_provider_config = (in)->capacity_provider_config,                       \
		.dead_letter_config = (in)->dead_letter_config, .description = (in)->description, \
		.durable_config = (in)->durable_config, .environment = (in)->environment,         \
		.ephemeral_storage = (in)->ephemeral_storage,                                     \
		.file_system_configs = (in)->file_system_configs, .handler = (in)->handler,       \
		.image_config = (in)->image_config, .kms_key_arn = (in)->kms_key_arn,             \
		.layers = (in)->layers, .logging_config = (in)->logging_config,                   \
		.memory_size = (in)->memory_size, .role = (in)->role, .runtime = (in)->runtime,   \
		.snap_start = (in)->snap_start, .timeout = (in)->timeout,                         \
		.tracing_config = (in)->tracing_config, .vpc_config = (in)->vpc_config,           \
	}
int config_check(struct call *c, const struct wanted *w, struct err *e);
/* image.c: what a zip has and an image has not, and the other way round. */
int config_check_package(const struct wanted *w, bool image, struct err *e);
void config_merge_image(json_t *doc, const struct lambda_image_config *ic); /* NULL: stays */
/* event_invoke_config.c: is there such a dead-letter target? arn may be NULL or "". */
int config_check_dead_letter(struct call *c, const char *arn, struct err *e);
/* A document with all defaults, then with what is wanted. */
json_t *config_new(const char *function_name);
void config_merge(json_t *doc, const struct wanted *w);
int config_check_revision(const json_t *doc, const char *revision_id, struct err *e);
int config_check_architectures(const struct lambda_architectures_list *list, struct err *e);

/* ---- describe.c: documents as answers ---- */

enum describe_phase { DESCRIBE_NOW, DESCRIBE_CREATED, DESCRIBE_UPDATED, DESCRIBE_LISTED };
/* qualifier: that of the ARN in the answer; NULL for none. */
void describe_version(struct call *c, const struct version *v, const char *qualifier,
    enum describe_phase phase, struct lambda_function_configuration *out);
const char *code_sha256_base64(struct call *c, const json_t *doc);
const struct lambda_tags *describe_tag_map(struct call *c, json_t *tags);
const struct lambda_tags *describe_tags(struct call *c, const struct function *f);
/* Functions of the account and region of the call, by name. */
struct function **describe_sorted(struct call *c, size_t *ret_count);

/* ---- layer*.c ---- */

int layer_load(struct lambda *l, struct err *e);
void layer_close(struct lambda *l);
int64_t layer_total(const struct lambda *l); /* bytes of zips */
/* Can a function use these? *ret: its document's Layers, NULL when nothing was said of them. */
int layers_find(
    struct call *c, const struct lambda_layer_list *wanted, json_t **ret, struct err *e);
/* The same into a document whose code is in it already: all of it together must not be too large.
 */
int layers_merge(
    struct call *c, json_t *doc, const struct lambda_layer_list *wanted, struct err *e);
const struct lambda_layers_reference_list *layers_describe(struct call *c, const json_t *doc);
/* The contents that a version refers to, as long as it is there. */
void layers_hold(struct version *v);
void layers_release(struct version *v);
bool layers_ready(const struct version *v);
/* Is its bootstrap a layer's, as its own code has none? */
bool layers_bootstrap(const struct version *v);
bool layers_use(const struct version *v, const struct code *k);

/* ---- tags.c ---- */

int tags_check(const struct lambda_tags *tags, struct err *e);

/* ---- version.c ---- */

/* Publish $LATEST, as it will be (latest), with the change: a new version, unless nothing has
 * changed since the last one. ch->number says which it is. */
void version_publish(struct change *ch, const json_t *latest, const char *description);
/* The function's document, copied to be changed. */
json_t *function_doc_copy(const struct function *f);
/* New RevisionId and LastModified; a new identity of content too if it differs from `old`. */
void config_touch(json_t *doc, const json_t *old);

/* ---- policy.c: resource policies ---- */

/* Who wants to do what, through which door. */
struct caller {
	const char *action;                    /* "lambda:InvokeFunction" */
	const struct aws_principal *principal; /* NULL: anonymous, or a service */
	const char *service;                   /* "s3.amazonaws.com", or NULL */
	const char *source_arn, *source_account;
	const char *url_auth_type; /* "NONE", "AWS_IAM" or NULL */
	bool via_url;
};
/* The policy of a stored document; NULL, which allows nothing, when it is not valid. */
struct policy *policy_compile(json_t *doc);
bool policy_allows(const struct policy *p, const struct caller *who);
/* The statement that AddPermission makes; NULL with e. */
json_t *policy_statement(
    struct call *c, const struct lambda_add_permission_in *in, const char *resource, struct err *e);
bool function_allows(const struct function *f, const char *qualifier, const struct caller *who);

/* ---- url_config.c (what url.c asks for is in url_int.h) ---- */

/* After any change of an alias, a policy or a URL; before its end when `there` is false. */
void url_item_changed(struct lambda *l, struct item *it, bool there);
