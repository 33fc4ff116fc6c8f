/*
 * Layers in memory, as the files layer*.c share them. In the store (space "layer"):
 * ACCOUNT/REGION/NAME has the last number that was given, ACCOUNT/REGION/NAME/NUMBER (19 digits) a
 * version. Loop thread.
 */
#pragma once

#include "service/lambda/lambda_int.h"

#define LAYER_SPACE "layer"
#define LAYERS_MAX 5

struct layer {
	struct lambda *lambda;
	char *key, *account, *region, *name;
	int64_t last_number;
	struct layer_version **versions; /* ascending */
	size_t count;
};

struct layer_version {
	struct layer *layer;
	int64_t number;
	json_t *doc;
	struct code *code;
	bool writing; /* a change is on its way to the disk */
};

struct layer *layer_find(struct lambda *l, struct str account, struct str region, struct str name);
/* The same, or a new one without versions. */
struct layer *layer_slot(struct lambda *l, struct str account, struct str region, struct str name);
struct layer_version *layer_version_find(const struct layer *y, int64_t number);
/* Put a document (NULL: none) in its place; takes doc. */
void layer_apply(struct layer *y, int64_t number, json_t *doc);
const char *layer_arn(struct call *c, const struct layer *y);
const char *layer_version_arn(struct call *c, const struct layer_version *v);

/* How clients name a layer: by name or ARN, with or without a version. Strings are the call's. */
struct layer_ref {
	const char *region, *account, *name;
	int64_t number; /* 0: none given */
};
bool layer_parse(struct call *c, const char *text, struct layer_ref *ret);
struct layer *layer_by_ref(struct call *c, const struct layer_ref *r);
/* May the caller see it: its own account's, or by the version's policy? */
bool layer_visible(struct call *c, const struct layer_version *v);

/* One document to disk, then into memory, then the answer: finish() fills c->out. Returns
 * CALL_PENDING. last_number: the layer's, to be written too; 0: not. */
int layer_commit(struct call *c, struct layer *y, int64_t number, json_t *doc, int64_t last_number,
    void (*finish)(struct call *c, struct layer *y, int64_t number));
