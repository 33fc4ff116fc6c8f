/*
 * SQS in front of src/queue: all operations, by JSON and by query. Loop thread only. The context of
 * sqs_service (gen/sqs.h) is a struct sqs.
 */
#pragma once

#include "queue/queue.h"

struct sqs;
struct targets; /* src/target */

/* url: "http://HOST:PORT", of queues whose URL is asked for without a usable Host header. All
 * outlive it. */
struct sqs *sqs_open(struct queues *q, struct store *s, const char *url);
void sqs_close(struct sqs *s); /* NULL is fine; all calls are gone before */

/* Queues as targets: notifications, destinations and dead letters that name an SQS ARN. */
void sqs_target_add(struct sqs *s, struct targets *t);
