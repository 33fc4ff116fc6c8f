/* GetRandomPassword. Loop thread. */
#include "base/rand.h"
#include "service/secretsmanager/secretsmanager_int.h"

#define LENGTH 32
#define LENGTH_MIN 4

struct kind {
	char chars[40];
	size_t count; /* 0: not wanted */
};

/* Without bias, however many there are to choose from. */
static size_t pick(size_t n)
{
	uint64_t limit = UINT64_MAX - UINT64_MAX % n, v;

	do
		v = rand_u64();
	while (v >= limit);
	return (size_t)(v % n);
}

static void keep(struct kind *k, const char *chars, const bool *leave_out, const char *excluded)
{
	k->count = 0;
	if (leave_out && *leave_out)
		return;
	for (; *chars; chars++)
		if (!excluded || !strchr(excluded, *chars))
			k->chars[k->count++] = *chars;
}

static char pick_any(const struct kind *kinds, size_t count)
{
	size_t total = 0, at;

	for (size_t i = 0; i < count; i++)
		total += kinds[i].count;
	at = pick(total);
	for (; at >= kinds->count; kinds++)
		at -= kinds->count;
	return kinds->chars[at];
}

/* One of each kind first if wanted, then anything; in the end nothing tells which came first. */
static void fill(char *out, size_t len, const struct kind *kinds, size_t count, bool each)
{
	size_t n = 0;

	for (size_t i = 0; each && i < count; i++)
		if (kinds[i].count)
			out[n++] = kinds[i].chars[pick(kinds[i].count)];
	while (n < len)
		out[n++] = pick_any(kinds, count);
	for (size_t i = len - 1; i > 0; i--) {
		size_t k = pick(i + 1);
		char swap = out[i];

		out[i] = out[k];
		out[k] = swap;
	}
}

int secretsmanager_get_random_password(struct call *c,
    const struct secretsmanager_get_random_password_in *in,
    struct secretsmanager_get_random_password_out *out, struct err *e)
{
	size_t len = in->password_length ? (size_t)*in->password_length : LENGTH, wanted = 0;
	const bool no_space = !in->include_space || !*in->include_space;
	const char *without = in->exclude_characters;
	char *text = arena_alloc(c->arena, len + 1);
	struct kind kinds[5];

	keep(&kinds[0], "abcdefghijklmnopqrstuvwxyz", in->exclude_lowercase, without);
	keep(&kinds[1], "ABCDEFGHIJKLMNOPQRSTUVWXYZ", in->exclude_uppercase, without);
	keep(&kinds[2], "0123456789", in->exclude_numbers, without);
	keep(&kinds[3], "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", in->exclude_punctuation, without);
	keep(&kinds[4], " ", &no_space, without);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		wanted += kinds[i].count > 0;
	if (!wanted)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "All characters are excluded: leave some in.");
	if (len < LENGTH_MIN || len < wanted)
		return fail(e, SECRETSMANAGER_INVALID_PARAMETER_EXCEPTION,
		    "The password length %zu is too short based on the required types.", len);
	fill(text, len, kinds, ARRAY_SIZE(kinds),
	    !in->require_each_included_type || *in->require_each_included_type);
	out->random_password = text;
	return 0;
}
