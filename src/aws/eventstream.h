/* Framing of application/vnd.amazon.eventstream: length, headers, payload, two CRC-32. Pure. */
#pragma once

#include "base/buf.h"

/* Append one event message (":message-type" is "event"). content_type NULL: none. */
void eventstream_append(
    struct buf *b, const char *event_type, const char *content_type, struct str payload);
/* Append an exception message: the stream ends with an error. */
void eventstream_append_exception(struct buf *b, const char *exception_type, struct str json);

struct eventstream_message {
	char type[64];         /* of the event, or of the exception */
	char message_type[32]; /* "event", "exception" */
	char content_type[64];
	struct str payload; /* in the input */
};
/* First message of data: its length, 0 when it is not complete yet, -EBADMSG when it is broken. */
ssize_t eventstream_parse(struct str data, struct eventstream_message *ret);
