/* AllowedPattern: a client's regular expression, so steps, depth and memory are bounded; what takes
 * too many does not match. Loop thread. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "service/ssm/ssm_int.h"

#define STEPS_MAX 200000
#define DEPTH_MAX 2000
#define HEAP_MAX_KIB 4096

int allowed_pattern_match(const char *pattern, const char *text)
{
	int error, r;
	PCRE2_SIZE at;
	pcre2_match_context *limits;
	pcre2_match_data *result;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
	    PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_ANCHORED | PCRE2_ENDANCHORED |
		PCRE2_DOLLAR_ENDONLY,
	    &error, &at, NULL);

	if (!code)
		return -EINVAL;
	limits = pcre2_match_context_create(NULL);
	result = pcre2_match_data_create(1, NULL);
	check(limits && result);
	pcre2_set_match_limit(limits, STEPS_MAX);
	pcre2_set_depth_limit(limits, DEPTH_MAX);
	pcre2_set_heap_limit(limits, HEAP_MAX_KIB);
	r = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, result, limits);
	pcre2_match_data_free(result);
	pcre2_match_context_free(limits);
	pcre2_code_free(code);
	return r >= 0;
}
