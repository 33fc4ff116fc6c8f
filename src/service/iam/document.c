/* See document.h. */
#include "service/iam/document.h"

#include <ctype.h>

#include "gen/iam.h"

int document_check(const char *text, enum policy_kind kind, struct err *e)
{
	int r = policy_check(str_from(text), kind, e);

	if (r < 0 && e)
		e->code = IAM_MALFORMED_POLICY_DOCUMENT_EXCEPTION;
	return r;
}

size_t document_size(const char *text)
{
	size_t size = 0;

	for (; *text; text++)
		size += !isspace((unsigned char)*text);
	return size;
}
