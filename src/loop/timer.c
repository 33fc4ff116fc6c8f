/* Binary heap of timers. A timer knows its slot, so that stopping one costs O(log n). */
#include "loop/loop_int.h"

static void place(struct loop_heap *h, size_t at, struct loop_slot s)
{
	h->slots[at] = s;
	s.timer->slot = at;
}

static void sift_up(struct loop_heap *h, size_t at, struct loop_slot s)
{
	while (at > 1 && h->slots[at / 2].due_ns > s.due_ns) {
		place(h, at, h->slots[at / 2]);
		at /= 2;
	}
	place(h, at, s);
}

static void sift_down(struct loop_heap *h, size_t at, struct loop_slot s)
{
	for (;;) {
		size_t child = at * 2;

		if (child > h->count)
			break;
		if (child < h->count && h->slots[child + 1].due_ns < h->slots[child].due_ns)
			child++;
		if (h->slots[child].due_ns >= s.due_ns)
			break;
		place(h, at, h->slots[child]);
		at = child;
	}
	place(h, at, s);
}

void heap_add(struct loop_heap *h, struct loop_timer *t)
{
	if (h->count + 1 >= h->capacity) {
		h->capacity = max_size(64, h->capacity * 2);
		h->slots = xrealloc(h->slots, h->capacity * sizeof(*h->slots));
	}
	h->count++;
	sift_up(h, h->count, (struct loop_slot){t->due_ns, t});
}

void heap_remove(struct loop_heap *h, struct loop_timer *t)
{
	size_t at = t->slot;
	struct loop_slot last;

	check(at && at <= h->count && h->slots[at].timer == t);
	last = h->slots[h->count--];
	t->slot = 0;
	if (last.timer == t)
		return;
	if (at > 1 && h->slots[at / 2].due_ns > last.due_ns)
		sift_up(h, at, last);
	else
		sift_down(h, at, last);
}

struct loop_timer *heap_first(const struct loop_heap *h)
{
	return h->count ? h->slots[1].timer : NULL;
}
