/*
 * Journal: the reading side. A reader is made on the loop thread, where it takes a reference to
 * every segment and notes how far it is filled; from then on it belongs to one thread of the
 * caller's choice. Closed segments are mapped when first touched and stay so until the end.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/journal_int.h"

struct view {
	struct segment *segment;
	const char *map;
	size_t mapped; /* bytes of our own mapping; 0: the segment's */
	size_t used;
	bool closed, opened;
	uint32_t *index; /* offsets of records, then where the last one ends; made when needed */
	size_t index_count;
};

struct journal_reader {
	char *dir;
	struct view *views;
	size_t count;
	size_t at;  /* view that the cursor is in; count: behind all */
	size_t off; /* of the cursor; 0: not yet looked for, go to `wanted` */
	uint64_t wanted;
};

struct journal_reader *journal_read(struct journal *j, uint64_t from)
{
	struct journal_reader *r = xcalloc(1, sizeof(*r));
	size_t n = 0;

	list_for_each (m, &j->segments)
		n++;
	r->dir = xstrdup(j->dir);
	r->views = xcalloc(n, sizeof(*r->views));
	list_for_each (m, &j->segments) {
		struct segment *s = list_entry(m, struct segment, node);
		struct view *v = &r->views[r->count++];

		v->segment = segment_ref(s);
		v->map = s->map;
		v->used = s->used;
		v->closed = s != j->active;
		v->opened = s->map != NULL;
	}
	r->wanted = from;
	return r;
}

void journal_reader_free(struct journal_reader *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++) {
		if (r->views[i].mapped)
			munmap((void *)(uintptr_t)r->views[i].map, r->views[i].mapped);
		free(r->views[i].index);
		segment_unref(r->views[i].segment);
	}
	free(r->views);
	free(r->dir);
	free(r);
}

/* Map a closed segment. One that was dropped in the meantime is empty for us. */
static void open_view(struct journal_reader *r, struct view *v)
{
	_cleanup_free_ char *path = segment_path(r->dir, v->segment->base);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	v->opened = true;
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < JOURNAL_HEADER) {
		if (fd >= 0 || errno != ENOENT)
			log_warn("cannot read %s: %s", path, strerror(errno));
		v->used = 0;
		return;
	}
	v->used = min_size(v->used, (size_t)st.st_size);
	map = mmap(NULL, v->used, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		log_warn("cannot map %s: %s", path, strerror(errno));
		v->used = 0;
		return;
	}
	v->map = map;
	v->mapped = v->used;
}

static struct view *enter(struct journal_reader *r, size_t i)
{
	struct view *v = &r->views[i];

	if (!v->opened)
		open_view(r, v);
	return v;
}

static void make_index(struct view *v)
{
	size_t room = 64, n = 0, off = JOURNAL_HEADER, len;

	if (v->index)
		return;
	v->index = xmalloc(room * sizeof(*v->index));
	while ((len = record_at(v->map, v->used, off)) > 0) {
		if (n + 2 > room)
			v->index = xrealloc(v->index, (room *= 2) * sizeof(*v->index));
		v->index[n++] = (uint32_t)off;
		off += record_size(len);
	}
	v->index[n] = (uint32_t)off;
	v->index_count = n;
}

/* Number of the first record at or behind off. */
static size_t index_find(const struct view *v, size_t off)
{
	size_t lo = 0, hi = v->index_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->index[mid] < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void journal_reader_seek(struct journal_reader *r, uint64_t at)
{
	r->wanted = at;
	r->off = 0;
}

/* Positions may come from a client: the cursor goes to the next place where a record begins. */
static void settle(struct journal_reader *r)
{
	struct view *v;
	size_t i = 0;

	if (r->off)
		return;
	while (i < r->count && r->views[i].segment->base + r->views[i].used <= r->wanted)
		i++;
	r->at = i;
	r->off = JOURNAL_HEADER;
	if (i == r->count || r->wanted <= r->views[i].segment->base + JOURNAL_HEADER)
		return;
	v = enter(r, i);
	if (v->used) {
		make_index(v);
		r->off = v->index[index_find(v, (size_t)(r->wanted - v->segment->base))];
	}
}

bool journal_reader_next(struct journal_reader *r, struct str *ret_data, uint64_t *ret_at)
{
	settle(r);
	for (; r->at < r->count; r->at++, r->off = JOURNAL_HEADER) {
		struct view *v = enter(r, r->at);
		size_t len = v->used ? record_at(v->map, v->used, r->off) : 0;

		if (len && !record_intact(v->map, r->off)) {
			log_error("journal %s: record at %" PRIu64
				  " is damaged; the rest of its segment is left out",
			    r->dir, v->segment->base + r->off);
			len = 0;
		}
		if (len) {
			*ret_data =
			    (struct str){v->map + r->off + sizeof(struct journal_record), len};
			*ret_at = v->segment->base + r->off;
			r->off += record_size(len);
			return true;
		}
	}
	return false;
}

bool journal_reader_prev(struct journal_reader *r, struct str *ret_data, uint64_t *ret_at)
{
	settle(r);
	for (;;) {
		struct view *v;
		size_t n;

		if (r->at < r->count && (v = enter(r, r->at))->used) {
			make_index(v);
			n = index_find(v, r->off);
			while (n-- > 0) {
				size_t off = v->index[n];

				r->off = off;
				if (!record_intact(v->map, off))
					continue;
				*ret_data =
				    (struct str){v->map + off + sizeof(struct journal_record),
					record_at(v->map, v->used, off)};
				*ret_at = v->segment->base + off;
				return true;
			}
		}
		if (r->at == 0)
			return false;
		r->at--;
		r->off = SIZE_MAX;
	}
}

size_t journal_reader_parts(struct journal_reader *r)
{
	return r->count;
}

struct journal_part journal_reader_part(struct journal_reader *r, size_t i)
{
	const struct view *v = &r->views[i];

	return (struct journal_part){v->segment->base, v->segment->base + v->used, v->closed};
}
