/*
 * Text of a client → the check of policy documents, as both kinds. Properties: it ends, whatever
 * the text; a refusal says why; the same text gets the same answer; nothing counts as larger than
 * it is.
 */
#include "fuzz.h"

#include "service/iam/document.h"

static void check_kind(const char *text, enum document_kind kind)
{
	struct err first = ERR_INIT, second = ERR_INIT;
	int r = document_check(text, kind, &first);

	check(r == 0 || *first.msg);
	check(document_check(text, kind, &second) == r);
	check(strcmp(first.msg, second.msg) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);

	check_kind(text, DOCUMENT_IDENTITY);
	check_kind(text, DOCUMENT_TRUST);
	check(document_size(text) <= size);
	return 0;
}
