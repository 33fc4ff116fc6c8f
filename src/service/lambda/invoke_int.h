/*
 * What invoke.c and invoke_stream.c share: who is to run, with what, and the refusals before
 * anything runs. Private to this folder.
 */
#pragma once

#include "service/lambda/lambda_int.h"

/* Whether a payload is JSON; large ones are looked at by a worker. */
struct checked;

/* An operation whose body is there. in: its input. Returns as a handler does; may take payload. */
typedef int lambda_dispatch(struct call *c, const void *in, struct buf *payload,
    const struct checked *known, struct err *e);

/* Take the body of the request, have a large one looked at, then call dispatch. */
int lambda_with_body(struct call *c, const void *in, lambda_dispatch *dispatch, struct err *e);
/* Refuse what is no JSON; nothing at all becomes "{}". known: found out already, or NULL. */
int lambda_check_payload(
    struct call *c, struct buf *payload, const struct checked *known, struct err *e);
/* The version that function_name and qualifier mean, if the caller may run it and it can be. */
int lambda_find_runnable(struct call *c, const char *function_name, const char *qualifier,
    struct ref *ref, struct version **ret, struct err *e);
int lambda_refuse_tenant(const char *tenant_id, struct err *e);
/* base64 of X-Amz-Client-Context to JSON, in the call's arena. */
int lambda_decode_context(struct call *c, const char *text, struct str *ret, struct err *e);
/* The trace id that was sent, or a new one; the answer carries it, too. */
void lambda_take_trace(struct call *c, char out[INVOKE_TRACE_SIZE]);
#define LAMBDA_LOOP_TEXT                                                                     \
	"Lambda has detected the function being invoked in a recursive loop with other AWS " \
	"resources and stopped your function's invocation."
int lambda_throttled(struct call *c, enum invoke_refusal refusal, struct err *e);
/* INVOKE_NO_BOX, as an error. */
int lambda_no_box(struct call *c, const struct invoke_result *result, struct err *e);
const char *lambda_tail_text(struct call *c, struct str tail);
