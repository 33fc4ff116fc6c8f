/* Slicing by eight for all three, SSE 4.2 for CRC-32C. See crc.h and file.h. */
#include "store/crc.h"

#include <pthread.h>

#include "store/file.h"

#define POLY_32 0xedb88320u
#define POLY_32C 0x82f63b78u
#define POLY_64 0x9a6c9329ac4bc9b5ull

struct tables {
	uint64_t t[8][256];
};

static struct tables ieee, castagnoli, nvme;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void fill(struct tables *t, uint64_t poly)
{
	for (uint64_t i = 0; i < 256; i++) {
		uint64_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ poly : c >> 1;
		t->t[0][i] = c;
	}
	for (size_t i = 0; i < 256; i++)
		for (int n = 1; n < 8; n++)
			t->t[n][i] = t->t[n - 1][i] >> 8 ^ t->t[0][t->t[n - 1][i] & 0xff];
}

static void fill_tables(void)
{
	fill(&ieee, POLY_32);
	fill(&castagnoli, POLY_32C);
	fill(&nvme, POLY_64);
}

/* The checksum's register is at most 64 bits wide, so that eight bytes always cover it. */
static uint64_t slice(const struct tables *t, uint64_t c, const unsigned char *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t w;

		memcpy(&w, p, 8); /* little-endian machines only, as all that Mayfly runs on */
		w ^= c;
		c = t->t[7][w & 0xff] ^ t->t[6][w >> 8 & 0xff] ^ t->t[5][w >> 16 & 0xff] ^
		    t->t[4][w >> 24 & 0xff] ^ t->t[3][w >> 32 & 0xff] ^ t->t[2][w >> 40 & 0xff] ^
		    t->t[1][w >> 48 & 0xff] ^ t->t[0][w >> 56];
	}
	for (; len; p++, len--)
		c = c >> 8 ^ t->t[0][(c ^ *p) & 0xff];
	return c;
}

uint32_t crc32_ieee(uint32_t crc, const void *data, size_t len)
{
	pthread_once(&tables_once, fill_tables);
	return ~(uint32_t)slice(&ieee, (uint32_t)~crc, data, len);
}

uint64_t crc64_nvme(uint64_t crc, const void *data, size_t len)
{
	pthread_once(&tables_once, fill_tables);
	return ~slice(&nvme, ~crc, data, len);
}

static uint32_t castagnoli_more(uint32_t crc, const void *data, size_t len)
{
	pthread_once(&tables_once, fill_tables);
	return ~(uint32_t)slice(&castagnoli, (uint32_t)~crc, data, len);
}

uint32_t crc32c_portable(const void *data, size_t len)
{
	return castagnoli_more(0, data, len);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(
    uint32_t crc, const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t c = (uint32_t)~crc;
	uint64_t word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		c = __builtin_ia32_crc32di(c, word);
	}
	for (; len; p++, len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c_more(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
	if (likely(__builtin_cpu_supports("sse4.2")))
		return by_instruction(crc, data, len);
#endif
	return castagnoli_more(crc, data, len);
}

uint32_t crc32c(const void *data, size_t len)
{
	return crc32c_more(0, data, len);
}

/* ---- joining: polynomials over GF(2), bit-reversed, x^0 in the highest bit ---- */

static uint64_t multiply(uint64_t a, uint64_t b, uint64_t poly, unsigned width)
{
	uint64_t product = 0;

	for (uint64_t m = 1ull << (width - 1); m && a; m >>= 1) {
		if (a & m) {
			product ^= b;
			a ^= m;
		}
		b = b & 1 ? b >> 1 ^ poly : b >> 1;
	}
	return product;
}

uint64_t crc_combine(unsigned which, uint64_t crc1, uint64_t crc2, uint64_t len2)
{
	unsigned width = which == STORE_CRC64NVME ? 64 : 32;
	uint64_t poly = which == STORE_CRC64NVME ? POLY_64
			: which == STORE_CRC32   ? POLY_32
						 : POLY_32C;
	uint64_t power = 1ull << (width - 1 - 8); /* x^8: one byte */
	uint64_t shift = 1ull << (width - 1);     /* x^0 */

	for (; len2; len2 >>= 1) {
		if (len2 & 1)
			shift = multiply(power, shift, poly, width);
		power = multiply(power, power, poly, width);
	}
	return multiply(shift, crc1, poly, width) ^ crc2;
}
