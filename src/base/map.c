/* Linear-probing hash map with backward-shift deletion. See map.h. */
#include "base/map.h"

#include <sys/random.h>

/* Hashing is keyed, so that a client cannot choose names that collide. */
static uint64_t seed;

__attribute__((constructor)) static void make_seed(void)
{
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = 0x9e3779b97f4a7c15u;
}

/* Multiply-fold hash over 8-byte words (the mixing step of wyhash, public domain, Wang Yi). */
static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t r = (__uint128_t)a * b;

	return (uint64_t)r ^ (uint64_t)(r >> 64);
}

uint64_t str_hash(struct str s)
{
	uint64_t h = seed ^ mix(s.len ^ 0xa0761d6478bd642fu, 0xe7037ed1a0b428dbu), word = 0;
	size_t i = 0;

	for (; i + 8 <= s.len; i += 8) {
		memcpy(&word, s.ptr + i, 8);
		h = mix(h ^ word, 0x8ebc6af09c88c6e3u);
	}
	if (i < s.len) {
		word = 0;
		memcpy(&word, s.ptr + i, s.len - i);
		h = mix(h ^ word, 0x589965cc75374cc3u);
	}
	return mix(h, seed | 1);
}

void map_done(struct map *m)
{
	for (size_t i = 0; i < m->capacity; i++)
		free((char *)(uintptr_t)m->slots[i].key.ptr);
	free(m->slots);
	*m = (struct map)MAP_INIT;
}

/* Slot of the key, or the empty slot where it would go. The table is never full. */
static struct map_entry *find(const struct map *m, struct str key, uint64_t hash)
{
	size_t mask = m->capacity - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct map_entry *s = &m->slots[i];

		if (!s->key.ptr || (s->hash == hash && str_eq(s->key, key)))
			return s;
	}
}

static void grow(struct map *m)
{
	struct map bigger = {.capacity = m->capacity ? m->capacity * 2 : 8, .count = m->count};

	bigger.slots = xcalloc(bigger.capacity, sizeof(*bigger.slots));
	for (size_t i = 0; i < m->capacity; i++)
		if (m->slots[i].key.ptr)
			*find(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
	free(m->slots);
	*m = bigger;
}

void *map_get(const struct map *m, struct str key)
{
	return m->count ? find(m, key, str_hash(key))->value : NULL;
}

void *map_put(struct map *m, struct str key, void *value)
{
	uint64_t hash = str_hash(key);
	struct map_entry *s;
	void *old;

	check(value);
	if ((m->count + 1) * 4 > m->capacity * 3)
		grow(m);
	s = find(m, key, hash);
	old = s->value;
	if (!s->key.ptr) {
		s->key = (struct str){xstrndup(key.ptr ? key.ptr : "", key.len), key.len};
		s->hash = hash;
		m->count++;
	}
	s->value = value;
	return old;
}

void *map_remove(struct map *m, struct str key)
{
	size_t mask = m->capacity - 1, hole, i;
	struct map_entry *s;
	void *old;

	if (!m->count)
		return NULL;
	s = find(m, key, str_hash(key));
	if (!s->key.ptr)
		return NULL;
	old = s->value;
	free((char *)(uintptr_t)s->key.ptr);
	hole = (size_t)(s - m->slots);
	/* Move back every entry of the run that the hole would cut off from its home slot. */
	for (i = (hole + 1) & mask; m->slots[i].key.ptr; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole] = (struct map_entry){.key = STR_NULL};
	m->count--;
	return old;
}

struct map_entry *map_next(const struct map *m, size_t *at)
{
	while (*at < m->capacity) {
		struct map_entry *s = &m->slots[(*at)++];

		if (s->key.ptr)
			return s;
	}
	return NULL;
}
