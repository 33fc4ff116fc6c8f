/* What rabbitmq.c and rabbitmq_record.c share. */
#pragma once

#include <amqp.h>
#include <amqp_framing.h>

#include "base/buf.h"

/* One message as a record of the event, in AWS's shape. Any thread. */
void rabbitmq_record(struct buf *b, const amqp_envelope_t *env);
