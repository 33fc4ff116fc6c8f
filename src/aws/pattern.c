/*
 * Patterns of the models, matched by PCRE2 against the whole text. Compiled on first use and kept
 * (the tables are static). Steps and memory are bounded, so that no text can hold up the loop;
 * docs/adr/0002-patterns-by-pcre2.md says why a library. Loop thread only.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "aws/aws_int.h"
#include "base/log.h"

#define STEPS_MAX 200000
#define DEPTH_MAX 2000
#define HEAP_MAX_KIB 4096

static pcre2_match_context *limits;
static pcre2_match_data *result;

static void make_shared(void)
{
	if (limits)
		return;
	limits = pcre2_match_context_create(NULL);
	result = pcre2_match_data_create(1, NULL);
	check(limits && result);
	pcre2_set_match_limit(limits, STEPS_MAX);
	pcre2_set_depth_limit(limits, DEPTH_MAX);
	pcre2_set_heap_limit(limits, HEAP_MAX_KIB);
}

bool aws_pattern_compiles(struct aws_pattern *p)
{
	int error;
	PCRE2_SIZE at;

	if (!p->compiled)
		p->compiled = pcre2_compile((PCRE2_SPTR)p->pcre, PCRE2_ZERO_TERMINATED,
		    PCRE2_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOLLAR_ENDONLY, &error,
		    &at, NULL);
	if (!p->compiled)
		log_error("pattern %s: PCRE2 error %d at %zu", p->pcre, error, at);
	return p->compiled;
}

bool aws_pattern_match(struct aws_pattern *p, const char *text)
{
	/* A pattern is ours, and a unit test compiles all of them. */
	check(aws_pattern_compiles(p));
	make_shared();
	return pcre2_match(p->compiled, (PCRE2_SPTR)text, strlen(text), 0, 0, result, limits) >= 0;
}
