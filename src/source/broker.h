/*
 * What sources with a broker elsewhere share: lanes of messages (a partition, a queue), batches
 * made of them, and what happens to them afterwards. kafka.c and rabbitmq.c are threads and JSON.
 * Loop thread, but for what is said to be the thread's.
 */
#pragma once

#include "source/feed.h"
#include "source/source_int.h"

struct broker_kind {
	/* Kafka: one batch a lane at a time, tried again where it stands; else what failed goes
	 * back to the broker. */
	bool ordered;
	unsigned concurrency;
	/* Before the first lane ("…\"records\":{"). */
	void (*head)(const struct source_run *r, struct buf *b);
	/* All that the thread must know, or NULL and e: tried again in a while. */
	void *(*prepare)(struct source_run *r, struct err *e);
	void (*discard)(void *config);
	void (*main)(struct feed *f, void *config);
};

void *broker_new(struct source_run *r, const struct broker_kind *kind);
/* Of struct source_ops. */
void broker_stop(void *instance);
void broker_free(void *instance);
void broker_ended(void *instance, struct source_batch *b, enum batch_end end);
void broker_more(void *instance);

/* Text of records, any thread. */
void broker_put_base64(struct buf *b, const void *data, size_t len);
void broker_put_bytes(struct buf *b, const void *data, size_t len); /* [104,105] */

/* ---- broker_access.c: who we are at the broker ---- */

/* The URI of the first SourceAccessConfiguration of this type, or NULL. */
const char *broker_access(const json_t *doc, const char *type);
/* A member of the secret that it names; NULL: it has none, or with e, it cannot be had. Zeroed and
 * freed by broker_forget(). */
char *broker_secret(struct sources *s, const char *account, const char *region, const char *uri,
    const char *member, struct err *e);
void broker_forget(char *secret); /* NULL is fine */

struct broker_address {
	char *host, *user, *password;
	int port;
	bool tls;
};

/* By the broker's ARN, as `--broker` has named it. False: it was not named. The strings are the
 * table's. */
bool broker_find(const char *arn, struct broker_address *ret);
