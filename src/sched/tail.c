/*
 * Log files of containers, read into log streams while they grow. conmon writes
 *   TIME stdout|stderr F|P TEXT
 * where P is a part of a line. inotify says when there is something to read; a busy container wakes
 * us at most every 10 ms.
 *
 * What has gone into the stream is cut out of the file by a hole, down to the byte: that gives its
 * disk back, and is the note of how far we are. A new core goes on at the first byte that is not 0.
 * Between the append and the hole a kill may repeat the lines of one look.
 *
 * Lines become one event if their container's options say what one begins with: an event waits for
 * more lines until it is large, or a second has brought none, or it is old. So long its lines stay
 * in the file.
 *
 * What a container prints faster than others may (base/budget.h), or while there is no room for
 * logs, waits in the file; when too much waits all of it is dropped, and a line of the log says how
 * much.
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/log.h"
#include "base/time.h"
#include "sched/line.h"
#include "sched/log_option.h"
#include "sched/task_int.h"

#define PACE_NS 10000000
#define RETRY_NS 1000000000
#define CHUNK 65536
#define TURN_BYTES (256 * 1024) /* read of one container in one look */
#define EVENT_MAX (256 * 1024)
#define LINE_MAX_BYTES 16384 /* that conmon writes */
#define TELL_NS 10000000000
#define RETENTION_DAYS 30 /* of the group that nobody asked for */
#define JOIN_QUIET_NS RETRY_NS
#define JOIN_AGE_NS INT64_C(5000000000)
#define JOIN_CPU_NS 2000000 /* of one look at all: to see what begins an event */
#define JOIN_HEAD 4096      /* of a line: where that is looked for */
#define JOIN_GIVE_UP 16

struct part {
	struct buf text; /* of an unfinished line */
	uint64_t from;   /* where it begins in the file */
	int64_t ts_ms;
};

/* An event that waits for more lines. */
struct joint {
	bool open;
	struct buf text;
	uint64_t from; /* where it begins in the file */
	int64_t ts_ms, first_ns, last_ns;
	unsigned too_long; /* how often a match was */
};

struct tail {
	struct list node; /* of tails.all */
	struct tails *tails;
	struct unit *unit;
	int fd, watch;
	uint64_t at, cut; /* read up to; cut out up to */
	struct buf data;  /* read, not yet taken */
	struct part parts[2];
	struct joint joint;
	struct log_options options;
	struct log_stream *stream;
	struct budget budget;
	uint64_t dropped; /* not told yet */
	bool no_room;     /* that was why */
	int64_t told_ns;
	bool dirty; /* may have grown */
	bool stuck; /* the log cannot be written now */
};

struct tails {
	struct tasks *all;
	struct list list;
	struct loop_io io; /* of inotify */
	struct loop_timer timer;
	int64_t joining_ns; /* spent in this look */
};

/* ---- where lines go ---- */

static void ignore(void *ctx, int result)
{
	(void)ctx;
	(void)result;
}

static int open_stream(struct tail *t)
{
	struct unit *u = t->unit;
	struct logs *logs = t->tails->all->o.logs;
	struct log_group_id id;
	struct log_group_info info;
	struct task_log place;
	struct err e = ERR_INIT;
	struct arena a;
	bool fresh;

	arena_init(&a);
	(void)tail_place(&a, u, &place, &e); /* a group that was deleted meanwhile comes back */
	id = (struct log_group_id){
	    str_from(u->task->account), str_from(place.region), str_from(place.group)};
	fresh = logs_group_get(logs, id, &info) < 0;
	t->stream = logs_stream(logs, id, str_from(place.stream), &e);
	if (t->stream && fresh && !strcmp(place.group, TASK_LOG_GROUP))
		logs_group_retention(logs, id, RETENTION_DAYS, ignore, NULL);
	if (!t->stream)
		log_warn("log of container %s of task %s: %s", u->name, u->task->arn, e.msg);
	arena_done(&a);
	return t->stream ? 0 : -EIO;
}

static int append(struct tail *t, int64_t ts_ms, struct str text)
{
	int r = t->stream ? logs_append(t->stream, ts_ms, text.ptr, text.len) : -ENOENT;

	if (r == -ENOENT) {
		logs_stream_unref(take_ptr(t->stream));
		r = open_stream(t);
		if (r == 0)
			r = logs_append(t->stream, ts_ms, text.ptr, text.len);
	}
	return r;
}

/* ---- lines that are one event ---- */

static int flush(struct tail *t)
{
	struct joint *j = &t->joint;
	int r = j->open ? append(t, j->ts_ms, buf_str(&j->text)) : 0;

	if (r < 0 && r != -EMSGSIZE)
		return r;
	j->open = false;
	buf_clear(&j->text);
	return 0;
}

static void give_up(struct tail *t)
{
	static const char text[] =
	    "mayfly: from here on every line is an event, as awslogs-multiline-pattern or "
	    "awslogs-datetime-format takes too long to match";

	log_warn("container %s of task %s: a pattern for its log takes too long to match",
	    t->unit->name, t->unit->task->arn);
	(void)append(t, time_wall_ms(), str_from(text));
	log_regex_free(take_ptr(t->options.begins));
}

static bool begins(struct tail *t, struct str line)
{
	int64_t from = time_mono_ns();
	int r = log_regex_match(
	    t->options.begins, (struct str){line.ptr, min_size(line.len, JOIN_HEAD)});

	t->tails->joining_ns += time_mono_ns() - from;
	t->joint.too_long += r < 0;
	return r > 0;
}

/* 0, or -errno and the line is still to be delivered. */
static int deliver(struct tail *t, const struct part *p, struct str line)
{
	struct joint *j = &t->joint;
	int r = 0;

	if (t->options.begins && j->too_long >= JOIN_GIVE_UP) {
		r = flush(t);
		if (r == 0)
			give_up(t);
	}
	if (!t->options.begins || r < 0)
		return r < 0 ? r : append(t, p->ts_ms, line);
	if (begins(t, line) || buf_len(&j->text) + 1 + line.len > EVENT_MAX)
		r = flush(t);
	if (r < 0)
		return r;
	j->last_ns = loop_now_ns(t->tails->all->o.loop);
	if (j->open) {
		buf_append_str(&j->text, STR("\n"));
	} else {
		j->open = true;
		j->from = p->from;
		j->ts_ms = p->ts_ms;
		j->first_ns = j->last_ns;
	}
	buf_append_str(&j->text, line);
	return 0;
}

static bool is_due(const struct tail *t)
{
	int64_t now = loop_now_ns(t->tails->all->o.loop);

	return t->joint.open &&
	       (now >= t->joint.last_ns + JOIN_QUIET_NS || now >= t->joint.first_ns + JOIN_AGE_NS);
}

/* ---- lines ---- */

/* 0, or -errno and the line is still to be taken. */
static int take_line(struct tail *t, struct str text)
{
	struct log_line l;
	struct part *p;
	int r = 0;

	if (!line_parse_log(text, &l))
		return 0; /* not conmon's, or cut by a crash */
	p = &t->parts[l.stream];
	if (!buf_len(&p->text)) {
		p->ts_ms = l.ts_ms;
		p->from = t->at - buf_len(&t->data);
	}
	if (l.partial && buf_len(&p->text) + l.text.len < EVENT_MAX) {
		buf_append_str(&p->text, l.text);
		return 0;
	}
	if (buf_len(&p->text) && buf_len(&p->text) + l.text.len > EVENT_MAX) {
		r = deliver(t, p, buf_str(&p->text));
		if (r == 0)
			buf_clear(&p->text);
		p->ts_ms = l.ts_ms;
		p->from = t->at - buf_len(&t->data);
	}
	if (r == 0) {
		size_t before = buf_len(&p->text);

		buf_append_str(&p->text, l.text);
		r = deliver(t, p, buf_str(&p->text));
		if (r < 0)
			p->text.end -= buf_len(&p->text) - before;
		else
			buf_clear(&p->text);
	}
	return r == -EMSGSIZE ? 0 : r;
}

/* 0, -errno, or 1: there are more, for another look. */
static int take_lines(struct tail *t)
{
	while (buf_len(&t->data)) {
		struct str all = buf_str(&t->data);
		const char *end = memchr(all.ptr, '\n', all.len);
		int r;

		if (!end)
			break;
		if (t->options.begins && t->tails->joining_ns > JOIN_CPU_NS)
			return 1;
		r = take_line(t, (struct str){all.ptr, (size_t)(end - all.ptr)});
		if (r < 0)
			return r;
		buf_consume(&t->data, (size_t)(end - all.ptr) + 1);
	}
	return 0;
}

/* ---- the file ---- */

/* What is before the first byte that is not 0 was taken by a former life. */
static uint64_t find_start(int fd)
{
	off_t at = lseek(fd, 0, SEEK_DATA);
	char bytes[4096];
	ssize_t n, i;

	if (at < 0)
		at = lseek(fd, 0, SEEK_END);
	if (at < 0)
		return 0;
	while ((n = pread(fd, bytes, sizeof(bytes), at)) > 0) {
		for (i = 0; i < n && !bytes[i]; i++)
			;
		at += i;
		if (i < n)
			break;
	}
	return (uint64_t)at;
}

static void cut(struct tail *t)
{
	uint64_t done = t->at - buf_len(&t->data);

	/* What is kept in memory only stays until it is whole. */
	for (size_t i = 0; i < ARRAY_SIZE(t->parts); i++)
		if (buf_len(&t->parts[i].text) && t->parts[i].from < done)
			done = t->parts[i].from;
	if (t->joint.open && t->joint.from < done)
		done = t->joint.from;
	if (done > t->cut && fallocate(t->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)t->cut, (off_t)(done - t->cut)) == 0)
		t->cut = done;
}

/* ---- what is too much ---- */

/* Behind the last line that is whole. */
static uint64_t last_line(const struct tail *t, uint64_t size)
{
	static char end[LINE_MAX_BYTES];
	uint64_t from = size - min_size(size, sizeof(end));
	ssize_t n = pread(t->fd, end, sizeof(end), (off_t)from);
	const char *nl = n > 0 ? memrchr(end, '\n', (size_t)n) : NULL;

	return nl ? from + (uint64_t)(nl + 1 - end) : size;
}

static void drop(struct tail *t, bool no_room)
{
	uint64_t taken = t->at - buf_len(&t->data), to;
	struct stat st;

	if (fstat(t->fd, &st) < 0 || (uint64_t)st.st_size < taken + t->options.buffer_max)
		return;
	to = last_line(t, (uint64_t)st.st_size);
	if (!t->dropped && !t->told_ns)
		log_warn("container %s of task %s prints more than is logged: it is dropped",
		    t->unit->name, t->unit->task->arn);
	t->dropped += to - taken;
	t->no_room = no_room;
	t->at = to;
	buf_clear(&t->data);
	/* The rest of their lines is gone. */
	for (size_t i = 0; i < ARRAY_SIZE(t->parts); i++) {
		t->dropped += buf_len(&t->parts[i].text);
		buf_clear(&t->parts[i].text);
	}
}

static int tell(struct tail *t)
{
	char text[160];
	int n, r;

	if (!t->dropped)
		return 0;
	n = snprintf(text, sizeof(text),
	    "mayfly: %llu bytes of output, their time stamps included, were dropped: %s",
	    (unsigned long long)t->dropped,
	    t->no_room ? "there was no room on the disk for logs"
		       : "no more than 4 MiB a second is logged");
	r = append(t, time_wall_ms(), (struct str){text, (size_t)n});
	if (r == 0)
		t->dropped = 0;
	t->told_ns = loop_now_ns(t->tails->all->o.loop);
	return r;
}

/* ---- looking ---- */

/* true: read to the end. last: the container has ended, so what waits is all. */
static bool look(struct tail *t, bool last)
{
	int64_t now = loop_now_ns(t->tails->all->o.loop);
	size_t total = 0;
	ssize_t n = 1;
	int r;

	budget_refill(&t->budget, now, OUTPUT_RATE, OUTPUT_BURST);
	r = take_lines(t);
	t->stuck = r < 0;
	drop(t, t->stuck);
	while (r == 0 && total < TURN_BYTES && (last || t->budget.left > 0)) {
		char *to = buf_reserve(&t->data, CHUNK);

		n = pread(t->fd, to, CHUNK, (off_t)t->at);
		if (n <= 0)
			break;
		t->budget.left -= output_cost(to, (size_t)n);
		buf_commit(&t->data, (size_t)n);
		t->at += (uint64_t)n;
		total += (size_t)n;
		r = take_lines(t);
		if (buf_len(&t->data) > 2 * EVENT_MAX && r == 0)
			buf_clear(&t->data); /* no line that conmon would write */
	}
	if (r == 0 && n <= 0 && is_due(t))
		r = flush(t);
	t->stuck = r < 0;
	if (t->dropped && (!t->told_ns || now > t->told_ns + TELL_NS))
		(void)tell(t);
	cut(t);
	if (!buf_len(&t->data))
		buf_done(&t->data);
	return r == 0 && n <= 0;
}

enum tail_rest tail_drain(struct tail *t)
{
	t->tails->joining_ns = 0;
	if (!look(t, true))
		return t->stuck ? TAIL_STUCK : TAIL_MORE;
	/* Nothing will complete what has no end of line. */
	for (size_t i = 0; i < ARRAY_SIZE(t->parts); i++) {
		struct part *p = &t->parts[i];

		if (buf_len(&p->text) && deliver(t, p, buf_str(&p->text)) == -ENOSPC)
			return TAIL_STUCK;
		buf_clear(&p->text);
	}
	if (flush(t) == -ENOSPC)
		return TAIL_STUCK;
	cut(t);
	return tell(t) == -ENOSPC ? TAIL_STUCK : TAIL_DONE;
}

/* ---- when ---- */

/* There was no time for all of them. */
static void next_first(struct tails *all)
{
	struct list *first = all->list.next;

	list_remove(first);
	list_push_back(&all->list, first);
}

static void on_time(struct loop_timer *timer)
{
	struct tails *all = container_of(timer, struct tails, timer);
	int64_t again = 0;
	bool more;

	all->joining_ns = 0;
	list_for_each (n, &all->list) {
		struct tail *t = list_entry(n, struct tail, node);

		if (!t->dirty)
			continue;
		/* Without a watch it is looked at every second. */
		more = !look(t, false) && !t->stuck;
		t->dirty = more || t->stuck || t->dropped || t->watch < 0 || t->joint.open;
		if (t->dirty && (!again || more))
			again = more ? PACE_NS : RETRY_NS;
	}
	if (all->joining_ns > JOIN_CPU_NS)
		next_first(all);
	if (again)
		loop_timer_set(all->all->o.loop, timer, again);
	loop_io_change(all->all->o.loop, &all->io, EPOLLIN);
}

static void find_dirty(struct tails *all, int watch)
{
	list_for_each (n, &all->list) {
		struct tail *t = list_entry(n, struct tail, node);

		if (t->watch == watch || watch < 0)
			t->dirty = true;
	}
}

static void on_growth(struct loop_io *io, uint32_t events)
{
	struct tails *all = container_of(io, struct tails, io);
	char mem[4096] __attribute__((aligned(8)));
	ssize_t n;

	(void)events;
	while ((n = read(io->fd, mem, sizeof(mem))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(mem + at);

			find_dirty(all, e->mask & IN_Q_OVERFLOW ? -1 : e->wd);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	/* Nothing more until then. */
	loop_io_change(all->all->o.loop, io, 0);
	loop_timer_set(all->all->o.loop, &all->timer, PACE_NS);
}

struct tail *tail_open(struct tails *all, struct unit *u, int fd)
{
	struct tail *t = xcalloc(1, sizeof(*t));
	char path[40];
	struct err e = ERR_INIT;

	t->tails = all;
	t->unit = u;
	t->fd = fd;
	t->at = t->cut = find_start(fd);
	if (log_options_parse(json_object_get(u->def, "logConfiguration"), &t->options, &e) < 0)
		log_warn("log of container %s of task %s: %s", u->name, u->task->arn, e.msg);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	t->watch = all->io.fd >= 0 ? inotify_add_watch(all->io.fd, path, IN_MODIFY) : -1;
	if (t->watch < 0)
		log_warn("cannot watch the log of container %s: %s", u->name, strerror(errno));
	list_push_back(&all->list, &t->node);
	t->dirty = true;
	loop_timer_set(all->all->o.loop, &all->timer, 0);
	return t;
}

void tail_close(struct tail *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(t->parts); i++)
		buf_done(&t->parts[i].text);
	buf_done(&t->joint.text);
	log_options_done(&t->options);
	if (t->watch >= 0)
		inotify_rm_watch(t->tails->io.fd, t->watch);
	list_remove(&t->node);
	logs_stream_unref(t->stream);
	buf_done(&t->data);
	close(t->fd);
	free(t);
}

struct tails *tails_new(struct tasks *all)
{
	struct tails *t = xcalloc(1, sizeof(*t));

	t->all = all;
	list_init(&t->list);
	t->timer.on_due = on_time;
	t->io = (struct loop_io){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC),
	    .events = EPOLLIN,
	    .on_ready = on_growth};
	if (t->io.fd >= 0)
		loop_io_add(all->o.loop, &t->io);
	else
		log_warn("logs of containers are read every second only: %s", strerror(errno));
	return t;
}

void tails_free(struct tails *t)
{
	if (!t)
		return;
	loop_timer_stop(t->all->o.loop, &t->timer);
	loop_io_remove(t->all->o.loop, &t->io);
	if (t->io.fd >= 0)
		close(t->io.fd);
	free(t);
}
