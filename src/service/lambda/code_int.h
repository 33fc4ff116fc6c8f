/* What code.c and upload.c share: one unpacked zip, by its hash. */
#pragma once

#include "service/lambda/lambda_int.h"

enum code_state { CODE_NEW, CODE_BUSY, CODE_READY, CODE_FAILED };

struct code {
	struct lambda *lambda;
	struct list node;    /* in lambda->dying when nobody refers to it */
	struct list uploads; /* that wait for it */
	char hex[65];        /* of a zip, or of an image's manifest */
	uint8_t hash[WIRE_HASH_SIZE];
	unsigned refs;
	int64_t zip_size, tree_size; /* bytes; 0: not known */
	enum code_state state;
	int result; /* CODE_FAILED: -errno, and why */
	char why[256];
	int64_t due_ns; /* dying: when it goes */
	/* Of an image: where it comes from ("repository@sha256:…"), and it, once it is there. */
	char *image_uri;
	struct image *image;
	struct image_pull *pull;
};

/* upload.c: it is ready or has failed. */
void code_settled(struct code *k);
/* code.c */
struct code *code_get(struct lambda *l, const char *hex); /* with a reference; maybe CODE_NEW */
void code_unpack(struct code *k);
void code_fail(struct code *k, int result, const char *why);
void code_settle(struct code *k); /* its state is CODE_READY or CODE_FAILED since now */
/* image.c */
void code_image_forget(struct code *k);
