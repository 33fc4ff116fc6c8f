/* See regex.h. docs/adr/0002-patterns-by-pcre2.md says why a library. */
#include "logs/regex.h"

#include <errno.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>

#include "base/base.h"

#define STEPS_MAX 100000
#define DEPTH_MAX 1000
#define HEAP_MAX_KIB 4096
/* A step may walk over all of the text, so counting them is not enough. */
#define TIME_MAX_NS 4000000
#define TIME_MAX_NS_BYTE 40
#define CALLS_A_LOOK 16 /* at the clock */

struct log_regex {
	pcre2_code *code;
};

struct watch {
	int64_t end_ns;
	unsigned calls;
};

/* Of this thread: a machine that stalls is not the pattern's fault. */
static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Between any two items of the pattern. */
static int on_item(pcre2_callout_block *block, void *ctx)
{
	struct watch *w = ctx;

	(void)block;
	return ++w->calls % CALLS_A_LOOK == 0 && cpu_ns() > w->end_ns ? PCRE2_ERROR_CALLOUT : 0;
}

struct log_regex *log_regex_new(struct str text, size_t *ret_bad_at)
{
	PCRE2_SIZE where = 0;
	int error;
	struct log_regex *r;
	/* Lines need not be UTF-8; what is not matches nothing but the rest of its line still may.
	 */
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)(text.ptr ? text.ptr : ""), text.len,
	    PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C | PCRE2_MATCH_INVALID_UTF |
		PCRE2_AUTO_CALLOUT,
	    &error, &where, NULL);

	if (!code) {
		if (ret_bad_at)
			*ret_bad_at = where;
		return NULL;
	}
	r = xmalloc(sizeof(*r));
	r->code = code;
	return r;
}

void log_regex_free(struct log_regex *r)
{
	if (!r)
		return;
	pcre2_code_free(r->code);
	free(r);
}

int log_regex_match(const struct log_regex *r, struct str text)
{
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	struct watch w = {cpu_ns() + TIME_MAX_NS + (int64_t)text.len * TIME_MAX_NS_BYTE, 0};
	int n = PCRE2_ERROR_NOMEMORY;

	if (limits && data) {
		pcre2_set_match_limit(limits, STEPS_MAX);
		pcre2_set_depth_limit(limits, DEPTH_MAX);
		pcre2_set_heap_limit(limits, HEAP_MAX_KIB);
		pcre2_set_callout(limits, on_item, &w);
		n = pcre2_match(
		    r->code, (PCRE2_SPTR)(text.ptr ? text.ptr : ""), text.len, 0, 0, data, limits);
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	return n >= 0 ? 1 : n == PCRE2_ERROR_NOMATCH ? 0 : -ELOOP;
}
