/*
 * Side file "streams" of a group: its streams and blocks as of a journal position, so that opening
 * a group reads little more than its last segment. Written by a worker each time a segment is
 * full, and when closing. A file that is not whole is ignored: then the journal is read from its
 * beginning. See logs_int.h.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/log.h"
#include "logs/logs_int.h"
#include "store/crc.h"

#define MAGIC 0x314c424154474f4cu /* "LOGTABL1" */
#define TABLE_MAX (512u << 20)

struct head {
	uint64_t magic, upto;
	uint32_t streams, next_id, blocks, crc; /* of what follows */
};

struct entry {
	uint32_t id, name_len;
	int64_t created_ms, first_ms, last_ms, ingested_ms;
	uint64_t first_at, last_at;
};

static void encode(const struct log_group *group, struct buf *b)
{
	struct head h = {.magic = MAGIC,
	    .upto = journal_end(group->journal),
	    .streams = (uint32_t)group->streams.count,
	    .next_id = group->id_count,
	    .blocks = (uint32_t)group->block_count};
	size_t start = buf_len(b) + sizeof(h);

	buf_append(b, &h, sizeof(h));
	map_for_each (&group->streams, each) {
		const struct log_stream *s = each->value;
		struct entry n = {s->id, (uint32_t)strlen(s->name), s->created_ms, s->first_ms,
		    s->last_ms, s->ingested_ms, s->first_at, s->last_at};

		buf_append(b, &n, sizeof(n));
		buf_append(b, s->name, n.name_len);
	}
	if (group->block_count)
		buf_append(b, group->blocks, group->block_count * sizeof(*group->blocks));
	h.crc = crc32c(buf_data(b) + start, buf_len(b) - start);
	memcpy(buf_data(b) + start - sizeof(h), &h, sizeof(h));
}

/* The next len bytes of *s, or false. */
static bool take(struct str *s, void *to, size_t len)
{
	if (s->len < len)
		return false;
	memcpy(to, s->ptr, len);
	s->ptr += len;
	s->len -= len;
	return true;
}

static bool decode_stream(struct log_group *group, struct str *s, uint32_t next_id)
{
	struct log_stream *stream;
	struct entry n;

	if (!take(s, &n, sizeof(n)) || n.name_len > s->len || n.name_len > LOGS_NAME_MAX ||
	    n.id == 0 || n.id >= next_id)
		return false;
	stream = log_stream_add(group, n.id, (struct str){s->ptr, n.name_len});
	stream->created_ms = n.created_ms;
	stream->first_ms = n.first_ms;
	stream->last_ms = n.last_ms;
	stream->ingested_ms = n.ingested_ms;
	stream->first_at = n.first_at;
	stream->last_at = n.last_at;
	s->ptr += n.name_len;
	s->len -= n.name_len;
	return true;
}

uint64_t log_table_load(struct log_group *group, const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/streams", dir);
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct head h;
	struct str s;

	if (fd_read_file(AT_FDCWD, path, TABLE_MAX, &b) < 0)
		return 0;
	s = buf_str(&b);
	if (!take(&s, &h, sizeof(h)) || h.magic != MAGIC || crc32c(s.ptr, s.len) != h.crc) {
		log_warn("%s is damaged; reading the whole journal instead", path);
		return 0;
	}
	for (uint32_t i = 0; i < h.streams; i++)
		if (!decode_stream(group, &s, h.next_id))
			return 0;
	if (h.next_id > group->id_count && h.next_id > 1) { /* the last ones were deleted */
		size_t room = (size_t)h.next_id + 16;

		if (room > group->id_room) {
			group->by_id = xrealloc(group->by_id, room * sizeof(struct log_stream *));
			memset(&group->by_id[group->id_room], 0,
			    (room - group->id_room) * sizeof(struct log_stream *));
			group->id_room = room;
		}
		group->id_count = h.next_id;
	}
	if (s.len != (size_t)h.blocks * sizeof(struct log_block))
		return 0;
	group->blocks = xmalloc(s.len ? s.len : 1);
	memcpy(group->blocks, s.ptr, s.len);
	group->block_count = group->block_room = h.blocks;
	return h.upto;
}

struct save {
	struct loop_work work;
	struct log_group *group;
	char *path;
	struct buf data;
	int result;
};

static void run_save(struct loop_work *w)
{
	struct save *s = container_of(w, struct save, work);

	s->result = fd_write_file(AT_FDCWD, s->path, buf_data(&s->data), buf_len(&s->data), 0600);
}

static void free_save(struct save *s)
{
	buf_done(&s->data);
	free(s->path);
	free(s);
}

static void save_done(struct loop_work *w)
{
	struct save *s = container_of(w, struct save, work);

	if (s->result < 0 && s->group->journal)
		log_warn("cannot write %s: %s", s->path, strerror(-s->result));
	s->group->saving = false;
	log_group_unref(s->group);
	free_save(s);
}

void log_table_save(struct log_group *group, bool now)
{
	struct save *s;

	if (group->saving)
		return; /* the next full segment will do; the position makes an old file harmless */
	s = xcalloc(1, sizeof(*s));
	s->group = group;
	s->path = xasprintf("%s/%s/streams", group->logs->dir, group->dir);
	encode(group, &s->data);
	if (now) {
		run_save(&s->work);
		free_save(s);
		return;
	}
	group->saving = true;
	group->refs++;
	s->work.run = run_save;
	s->work.done = save_done;
	loop_work_start(group->logs->loop, &s->work);
}
