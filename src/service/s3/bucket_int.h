/* Buckets in memory and their rows: bucket.c, bucket_edit.c and the service's start. */
#pragma once

#include "service/s3/s3_int.h"

/* Read one from its row. 0, or -errno and e. */
int bucket_load(struct s3 *s, struct str row, struct err *e);
/* The row of b. Freed by the caller. */
char *bucket_text(const struct bucket *b);
/* A new one in the tables, with one reference. */
struct bucket *bucket_add(struct s3 *s, const char *name);
/* Out of the tables; who holds a reference sees b->gone. */
void bucket_remove(struct bucket *b);
void buckets_free(struct s3 *s);
