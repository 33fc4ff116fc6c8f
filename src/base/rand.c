/* Random bytes. See rand.h. */
#include "base/rand.h"

#include <sys/random.h>

#include "base/str.h"

void rand_bytes(void *out, size_t len)
{
	char *p = out;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		check(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

/* A request id for every invoke must not be a system call for every invoke. */
static void buffered(void *out, size_t len)
{
	static _Thread_local unsigned char pool[4096];
	static _Thread_local size_t used = sizeof(pool);

	if (sizeof(pool) - used < len) {
		rand_bytes(pool, sizeof(pool));
		used = 0;
	}
	memcpy(out, pool + used, len);
	memset(pool + used, 0, len);
	used += len;
}

void rand_hex(char *out, size_t digits)
{
	unsigned char raw[64];
	char text[2 * sizeof(raw) + 1];

	check(digits <= 2 * sizeof(raw));
	buffered(raw, (digits + 1) / 2);
	hex_encode(raw, (digits + 1) / 2, text);
	memcpy(out, text, digits);
	out[digits] = '\0';
}

void rand_uuid(char out[37])
{
	unsigned char raw[16];
	char hex[33];

	buffered(raw, sizeof(raw));
	raw[6] = (unsigned char)((raw[6] & 0x0f) | 0x40);
	raw[8] = (unsigned char)((raw[8] & 0x3f) | 0x80);
	hex_encode(raw, sizeof(raw), hex);
	memcpy(out, hex, 8);
	out[8] = out[13] = out[18] = out[23] = '-';
	memcpy(out + 9, hex + 8, 4);
	memcpy(out + 14, hex + 12, 4);
	memcpy(out + 19, hex + 16, 4);
	memcpy(out + 24, hex + 20, 12);
	out[36] = '\0';
}

uint64_t rand_u64(void)
{
	uint64_t v;

	buffered(&v, sizeof(v));
	return v;
}
