/*
 * Lineage: how often a chain of requests has come through a function, in the header that travels
 * with it: X-Amzn-Trace-Id: Root=…;Parent=…;Sampled=0;Lineage=HOPS:HASH:LOOPS. HOPS counts the
 * invocations of the chain, LOOPS how often it came back to the function that HASH stands for.
 * Loop thread.
 *
 * One hash finds loops of any length, as in Brent's algorithm: until the chain has come back to its
 * function, the hash moves on at each power of two.
 */
#include "invoke/invoke_int.h"

#define HOPS_MAX 32767
#define FIELD_MAX (9 + 5 + 1 + 8 + 1 + 3 + 1) /* ";Lineage=32767:89abcdef:255" */

struct lineage {
	int64_t hops, loops;
	char hash[9];
};

void lineage_hash(const char *account, const char *region, const char *name, char out[9])
{
	const char *const parts[] = {account, region, name};
	uint32_t hash = 2166136261; /* FNV-1a: the same after a restart, and on other machines */

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		for (const char *p = parts[i]; *p; p++)
			hash = (hash ^ (uint8_t)*p) * 16777619;
		hash = (hash ^ '/') * 16777619;
	}
	for (int i = 7; i >= 0; i--, hash >>= 4)
		out[i] = "0123456789abcdef"[hash & 15];
	out[8] = 0;
}

/* Nothing, if it is not one. */
static struct lineage parse(struct str s)
{
	struct lineage l = {.hash = "-"};
	struct str hops = str_cut(&s, ':'), hash = str_cut(&s, ':');

	if (!s.ptr || hash.len != 8 || !str_to_int64(hops, 0, HOPS_MAX, &l.hops) ||
	    !str_to_int64(s, 0, UINT8_MAX, &l.loops))
		return (struct lineage){.hash = "-"};
	memcpy(l.hash, hash.ptr, 8);
	return l;
}

/* All fields of the header but the lineage, as far as there is room, into out; returns its length.
 */
static size_t copy_others(const char *trace, char *out, struct lineage *ret)
{
	struct str rest = str_from(trace);
	size_t n = 0;

	while (rest.ptr && rest.len) {
		struct str field = str_cut(&rest, ';');

		if (str_has_prefix(field, "Lineage=")) {
			*ret = parse(str_sub(field, 8));
			continue;
		}
		if (n + 1 + field.len + FIELD_MAX > INVOKE_TRACE_SIZE)
			continue;
		if (n)
			out[n++] = ';';
		memcpy(out + n, field.ptr, field.len);
		n += field.len;
	}
	return n;
}

static size_t put_number(char *out, int64_t number)
{
	char digits[8];
	size_t n = 0, len;

	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	len = n;
	while (n)
		*out++ = digits[--n];
	return len;
}

/* One hop further, to the function of that hash. */
static void step(struct lineage *l, const char hash[9])
{
	if (l->hops < HOPS_MAX)
		l->hops++;
	if (memcmp(l->hash, hash, 8) == 0) {
		if (l->loops < UINT8_MAX)
			l->loops++;
	} else if (!l->loops && !(l->hops & (l->hops - 1))) {
		memcpy(l->hash, hash, 8);
	}
}

bool lineage_next(const char *trace, const char hash[9], char out[INVOKE_TRACE_SIZE])
{
	static const char field[] = ";Lineage=";
	struct lineage l = {.hash = "-"};
	size_t n = copy_others(trace, out, &l);
	const char *at;

	step(&l, hash);
	at = n ? field : field + 1; /* no ';' in front of the first */
	memcpy(out + n, at, strlen(at));
	n += strlen(at);
	n += put_number(out + n, l.hops);
	out[n++] = ':';
	memcpy(out + n, l.hash, 8);
	n += 8;
	out[n++] = ':';
	n += put_number(out + n, l.loops);
	out[n] = 0;
	/* Who hears of a loop is not part of it. */
	return (l.loops < INVOKE_LOOPS_MAX || memcmp(l.hash, hash, 8) != 0) && l.hops < HOPS_MAX;
}
