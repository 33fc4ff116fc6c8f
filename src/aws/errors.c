/* From the code in a struct err to what each protocol says on the wire. */
#include "aws/aws_int.h"

#include <stdarg.h>
#include <stdio.h>

/* Status by protocol: the json services answer nearly everything of the client's with 400. */
static const struct common {
	int code;
	const char *name, *wire, *xml; /* in json, query, rest-xml */
	uint16_t status[4];            /* by enum aws_protocol */
} commons[] = {
    {AWS_VALIDATION, "ValidationException", "ValidationError", "InvalidArgument",
	{400, 400, 400, 400}},
    {AWS_SERIALIZATION, "SerializationException", "MalformedInput", "MalformedXML",
	{400, 400, 400, 400}},
    {AWS_ACCESS_DENIED, "AccessDeniedException", "AccessDenied", "AccessDenied",
	{403, 400, 403, 403}},
    {AWS_UNKNOWN_OP, "UnknownOperationException", "InvalidAction", "NotImplemented",
	{404, 400, 400, 501}},
    {AWS_THROTTLED, "ThrottlingException", "Throttling", "SlowDown", {429, 400, 400, 503}},
    {AWS_TOO_LARGE, "RequestEntityTooLargeException", "RequestEntityTooLarge", "EntityTooLarge",
	{413, 413, 413, 400}},
    {AWS_UNAVAILABLE, "ServiceUnavailableException", "ServiceUnavailable", "ServiceUnavailable",
	{503, 503, 503, 503}},
    {AWS_INTERNAL, "InternalFailure", "InternalFailure", "InternalError", {500, 500, 500, 500}},
    {AWS_MISSING_AUTH, "MissingAuthenticationTokenException", "MissingAuthenticationToken",
	"AccessDenied", {403, 400, 403, 403}},
    {AWS_INCOMPLETE_AUTH, "IncompleteSignatureException", "IncompleteSignature",
	"AuthorizationHeaderMalformed", {403, 400, 400, 400}},
    {AWS_UNKNOWN_KEY, "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId",
	{403, 400, 403, 403}},
    {AWS_BAD_SIGNATURE, "InvalidSignatureException", "SignatureDoesNotMatch",
	"SignatureDoesNotMatch", {403, 400, 403, 403}},
    {AWS_EXPIRED_TOKEN, "ExpiredTokenException", "ExpiredToken", "ExpiredToken",
	{403, 400, 403, 400}},
    {AWS_SKEWED, "InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed",
	{403, 400, 403, 403}},
    {AWS_URL_EXPIRED, "InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied",
	{403, 400, 403, 403}},
    {AWS_BAD_URL_AUTH, "IncompleteSignatureException", "IncompleteSignature",
	"AuthorizationQueryParametersError", {403, 400, 400, 400}},
    {AWS_UNSUPPORTED_AUTH, "IncompleteSignatureException", "IncompleteSignature", "InvalidRequest",
	{403, 400, 400, 400}},
    {AWS_BAD_TOKEN, "UnrecognizedClientException", "InvalidClientTokenId", "InvalidToken",
	{403, 400, 403, 400}},
    {AWS_BAD_PAYLOAD_HASH, "InvalidSignatureException", "SignatureDoesNotMatch",
	"XAmzContentSHA256Mismatch", {403, 400, 403, 400}},
    {AWS_BAD_DIGEST, "SerializationException", "MalformedInput", "BadDigest", {400, 400, 400, 400}},
    {AWS_INVALID_DIGEST, "SerializationException", "MalformedInput", "InvalidDigest",
	{400, 400, 400, 400}},
    {AWS_INCOMPLETE_BODY, "SerializationException", "MalformedInput", "IncompleteBody",
	{400, 400, 400, 400}},
    {AWS_MISSING_LENGTH, "SerializationException", "MalformedInput", "MissingContentLength",
	{411, 411, 411, 411}},
    {AWS_WRONG_METHOD, "UnknownOperationException", "InvalidAction", "MethodNotAllowed",
	{405, 400, 400, 405}},
    {AWS_BAD_URI, "SerializationException", "MalformedInput", "InvalidURI", {400, 400, 400, 400}},
};

static const struct common *find_common(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(commons); i++)
		if (commons[i].code == code)
			return &commons[i];
	return NULL;
}

static const struct aws_error *find_error(const struct aws_service *s, int code)
{
	/* Codes of a service are consecutive. */
	if (!s || !s->error_count || code < s->errors[0].code ||
	    code >= s->errors[0].code + s->error_count)
		return NULL;
	return &s->errors[code - s->errors[0].code];
}

void aws_fault_find(const struct aws_route *route, int code, struct aws_fault *ret)
{
	const struct aws_error *error = find_error(route->service, code);
	const struct common *common;

	if (error) {
		*ret = (struct aws_fault){error->name, error->wire, error->message, error->status,
		    error->sender, error->typed, error};
		return;
	}
	common = find_common(code);
	if (!common)
		common = find_common(AWS_INTERNAL);
	*ret = (struct aws_fault){common->name,
	    route->protocol == AWS_REST_XML ? common->xml : common->wire, "message",
	    common->status[route->protocol], common->status[0] < 500, false, NULL};
}

int fail(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	e->errnum = EINVAL;
	e->code = code;
	return -EINVAL;
}
