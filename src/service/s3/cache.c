/*
 * The records of current versions that were used last, so that reading an object that is read often
 * costs no look into the store. Written through: a change puts the new record here when it is on
 * disk. Loop thread.
 */
#include "service/s3/s3_int.h"

#define STRIPES 4096
#define ENTRY_OVERHEAD 400 /* bytes, about */

struct entry {
	struct list node;
	struct str name; /* "<bucket id>/<key>", its own memory behind the struct */
	const struct object *object;
	size_t cost;
};

struct object_cache {
	struct map map;
	struct list used; /* the last one first */
	size_t bytes, bytes_max;
	uint32_t written[STRIPES]; /* how often keys of this hash were */
};

struct object_cache *cache_new(size_t bytes_max)
{
	struct object_cache *c = xcalloc(1, sizeof(*c));

	list_init(&c->used);
	c->bytes_max = bytes_max;
	return c;
}

static void drop(struct object_cache *c, struct entry *e)
{
	map_remove(&c->map, e->name);
	list_remove(&e->node);
	c->bytes -= e->cost;
	object_unref(e->object);
	free(e);
}

void cache_free(struct object_cache *c)
{
	if (!c)
		return;
	while (!list_empty(&c->used))
		drop(c, list_first(&c->used, struct entry, node));
	map_done(&c->map);
	free(c);
}

#define NAME_SIZE (17 + S3_KEY_MAX + 1)

static struct str name_of(const struct bucket *b, const char *key, char out[NAME_SIZE])
{
	size_t id = strlen(b->id), len = strlen(key);

	check(id + 1 + len < NAME_SIZE);
	memcpy(out, b->id, id);
	out[id] = '/';
	memcpy(out + id + 1, key, len);
	return (struct str){out, id + 1 + len};
}

const struct object *cache_get(struct object_cache *c, const struct bucket *b, const char *key)
{
	char name[NAME_SIZE];
	struct entry *e = map_get(&c->map, name_of(b, key, name));

	if (!e)
		return NULL;
	list_remove(&e->node);
	list_push_front(&c->used, &e->node);
	return e->object;
}

static void remember(struct object_cache *c, struct str name, const struct object *o)
{
	struct entry *e = map_get(&c->map, name);

	if (e)
		drop(c, e);
	if (!o)
		return;
	e = xmalloc(sizeof(*e) + name.len);
	e->name = (struct str){(char *)(e + 1), name.len};
	memcpy(e + 1, name.ptr, name.len);
	e->object = object_ref(o);
	e->cost = o->length * 2 + name.len * 2 + ENTRY_OVERHEAD;
	map_put(&c->map, e->name, e);
	list_push_front(&c->used, &e->node);
	c->bytes += e->cost;
	while (c->bytes > c->bytes_max)
		drop(c, list_last(&c->used, struct entry, node));
}

static uint32_t *stripe(struct object_cache *c, struct str name)
{
	return &c->written[str_hash(name) % STRIPES];
}

uint32_t cache_mark(struct object_cache *c, const struct bucket *b, const char *key)
{
	char name[NAME_SIZE];

	return *stripe(c, name_of(b, key, name));
}

void cache_read(struct object_cache *c, const struct bucket *b, const char *key, uint32_t mark,
    const struct object *o)
{
	char buffer[NAME_SIZE];
	struct str name = name_of(b, key, buffer);

	if (*stripe(c, name) == mark)
		remember(c, name, o);
}

void cache_written(
    struct object_cache *c, const struct bucket *b, const char *key, const struct object *o)
{
	char buffer[NAME_SIZE];
	struct str name = name_of(b, key, buffer);

	++*stripe(c, name);
	remember(c, name, o);
}
