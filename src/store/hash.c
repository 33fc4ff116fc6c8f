/* The six sums of an object, taken together while its bytes pass. See file.h. Any thread. */
#include <endian.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "store/crc.h"
#include "store/file.h"

static const struct digest {
	unsigned which;
	const char *name;
} digests[] = {{STORE_MD5, "MD5"}, {STORE_SHA1, "SHA1"}, {STORE_SHA256, "SHA256"}};

#define DIGESTS ARRAY_SIZE(digests)

struct store_hasher {
	unsigned hashes;
	EVP_MD_CTX *digest[DIGESTS]; /* NULL: not asked for */
	uint32_t crc32, crc32c;
	uint64_t crc64;
};

static EVP_MD *fetched[DIGESTS];
static pthread_once_t fetched_once = PTHREAD_ONCE_INIT;

/* Looking an algorithm up by name costs more than hashing a small object. */
static void fetch_all(void)
{
	for (size_t i = 0; i < DIGESTS; i++) {
		fetched[i] = EVP_MD_fetch(NULL, digests[i].name, NULL);
		check(fetched[i]);
	}
}

struct store_hasher *store_hasher_new(unsigned hashes)
{
	struct store_hasher *h = xcalloc(1, sizeof(*h));

	pthread_once(&fetched_once, fetch_all);
	h->hashes = hashes;
	for (size_t i = 0; i < DIGESTS; i++) {
		if (!(hashes & digests[i].which))
			continue;
		h->digest[i] = EVP_MD_CTX_new();
		check(h->digest[i] && EVP_DigestInit_ex(h->digest[i], fetched[i], NULL) == 1);
	}
	return h;
}

void store_hasher_add(struct store_hasher *h, const void *data, size_t len)
{
	for (size_t i = 0; i < DIGESTS; i++)
		if (h->digest[i])
			check(EVP_DigestUpdate(h->digest[i], data, len) == 1);
	if (h->hashes & STORE_CRC32)
		h->crc32 = crc32_ieee(h->crc32, data, len);
	if (h->hashes & STORE_CRC32C)
		h->crc32c = crc32c_more(h->crc32c, data, len);
	if (h->hashes & STORE_CRC64NVME)
		h->crc64 = crc64_nvme(h->crc64, data, len);
}

void store_hasher_end(struct store_hasher *h, struct store_hashes *ret)
{
	unsigned char *const places[DIGESTS] = {ret->md5, ret->sha1, ret->sha256};
	uint32_t ieee = htobe32(h->crc32), castagnoli = htobe32(h->crc32c);
	uint64_t nvme = htobe64(h->crc64);

	*ret = (struct store_hashes){.has = h->hashes};
	for (size_t i = 0; i < DIGESTS; i++)
		if (h->digest[i])
			check(EVP_DigestFinal_ex(h->digest[i], places[i], NULL) == 1);
	memcpy(ret->crc32, &ieee, sizeof(ieee));
	memcpy(ret->crc32c, &castagnoli, sizeof(castagnoli));
	memcpy(ret->crc64nvme, &nvme, sizeof(nvme));
	store_hasher_free(h);
}

void store_hasher_free(struct store_hasher *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < DIGESTS; i++)
		EVP_MD_CTX_free(h->digest[i]);
	free(h);
}
