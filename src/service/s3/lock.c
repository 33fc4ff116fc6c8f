/* Locks by name within a bucket: changes of a key, and of a multipart upload, happen one after
 * another. All on the loop thread; waiting costs memory, never time. */
#include "service/s3/s3_int.h"

struct lock {
	struct list waiting;
	bool taken, stepping;
};

static struct lock *find(struct bucket *b, struct str name)
{
	return map_get(&b->locks, name);
}

/* Hands the lock on in a loop, not by recursion: who gets it may be done at once. */
static void step(struct bucket *b, struct str name, struct lock *l)
{
	if (l->stepping)
		return;
	l->stepping = true;
	while (!l->taken && !list_empty(&l->waiting)) {
		struct lock_wait *w = list_first(&l->waiting, struct lock_wait, node);

		list_remove(&w->node);
		l->taken = true;
		w->run(w);
	}
	l->stepping = false;
	if (!l->taken) {
		map_remove(&b->locks, name);
		free(l);
	}
}

void lock_take(struct bucket *b, struct str name, struct lock_wait *w)
{
	struct lock *l = find(b, name);
	_cleanup_free_ char *copy = NULL;

	if (!l) {
		l = xcalloc(1, sizeof(*l));
		list_init(&l->waiting);
		map_put(&b->locks, name, l);
	}
	list_init(&w->node);
	list_push_back(&l->waiting, &w->node);
	if (l->taken || l->stepping)
		return;
	copy = xmalloc(name.len + 1); /* the name may go with its owner */
	memcpy(copy, name.ptr, name.len);
	step(b, (struct str){copy, name.len}, l);
}

void lock_release(struct bucket *b, struct str name)
{
	struct lock *l = find(b, name);
	_cleanup_free_ char *copy = xmalloc(name.len + 1);

	check(l && l->taken);
	memcpy(copy, name.ptr, name.len);
	l->taken = false;
	step(b, (struct str){copy, name.len}, l);
}

void locks_done(struct bucket *b)
{
	map_for_each (&b->locks, entry)
		free(entry->value);
	map_done(&b->locks);
}
