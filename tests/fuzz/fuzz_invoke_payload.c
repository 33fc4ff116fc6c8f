/*
 * The check that an invocation's payload is JSON. Properties: it agrees with jansson, but for what
 * JSON allows and jansson cannot hold (lone surrogates, numbers out of range, deep nesting); where
 * it stops lies within the text.
 */
#include "fuzz.h"

#include "service/lambda/lambda_int.h"

static bool jansson_limit(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);

	return code == json_error_numeric_overflow || code == json_error_stack_overflow ||
	       code == json_error_null_character || strstr(error->text, "invalid Unicode");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xmalloc(size + 1);
	json_error_t error;
	size_t at = SIZE_MAX;
	json_t *other;
	bool ok;

	/* Exactly as large as it is said to be, for ASan. */
	memcpy(text, data, size);
	text = xrealloc(text, max_size(size, 1));
	ok = json_check((struct str){text, size}, &at);
	check(at <= size);
	other = json_loadb(
	    text, size, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);
	if (ok)
		check(other || jansson_limit(&error));
	else
		/* jansson takes a NUL for the end, and is content with deeper nesting. */
		check(!other || size > 512 || memchr(text, 0, size));
	json_decref(other);
	return 0;
}
