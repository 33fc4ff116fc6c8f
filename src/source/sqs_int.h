/* sqs_record.c: the part of sqs.c that knows what a record looks like. */
#pragma once

#include "base/buf.h"
#include "queue/queue.h"

/* Append the message as Lambda's functions know it. */
void sqs_record(struct buf *b, const struct queue_received *m, const char *arn, const char *region);
