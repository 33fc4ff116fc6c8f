/*
 * Tables of JSON documents: what most services keep of their resources. All of a table is in memory
 * in the order of its keys; a change is on disk before it is seen. A client may have several
 * changes of one document under way: each is built on what the one before will leave
 * (doc_latest()), and when one fails those behind it fail too. Knows nothing of API calls: see
 * docs/call.h. Loop thread.
 */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "store/store.h"

struct docs;
struct doc;

/* Load the space of the store (blocking, for start-up). NULL and e on failure. */
struct docs *docs_open(struct store *s, const char *space, struct err *e);
void docs_close(struct docs *d); /* no change is under way; NULL is fine */

/* The document as it is on disk, or NULL. Lives until the loop is returned to. */
const json_t *docs_get(const struct docs *d, const char *key);
/* As the changes under way will leave it, or NULL: for building the next change. */
const json_t *docs_latest(const struct docs *d, const char *key);
/* How many there will be below this prefix: for limits. */
size_t docs_count(const struct docs *d, const char *prefix);

/* Walk what is on disk, in key order, from the first key that is not below `from` and has the
 * prefix. fn returns false to stop. */
void docs_walk(const struct docs *d, const char *prefix, const char *from,
    bool (*fn)(void *ctx, const char *key, const json_t *doc), void *ctx);

/* ---- changes: of any number of documents, of several tables of one store, all or nothing ---- */

struct docs_change;
struct docs_change *docs_change_new(struct store *s);
/* doc is taken. */
void docs_put(struct docs_change *g, struct docs *d, const char *key, json_t *doc);
void docs_delete(struct docs_change *g, struct docs *d, const char *key);
/* Anything else that belongs to the same write. */
struct store_write *docs_change_write(struct docs_change *g);
/* done (may be NULL) gets 0, or -errno and nothing has changed. */
void docs_commit(struct docs_change *g, void (*done)(void *ctx, int result), void *ctx);

/* ---- members ---- */

const char *docs_str(const json_t *doc, const char *name);       /* NULL when absent */
int64_t docs_int(const json_t *doc, const char *name);           /* 0 when absent */
void docs_set(json_t *doc, const char *name, const char *value); /* nothing for NULL */
void docs_set_int(json_t *doc, const char *name, int64_t value);
