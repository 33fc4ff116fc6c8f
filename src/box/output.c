/*
 * What a program in a box prints: from its pipe to whoever logs it. Loop thread; called by box.c,
 * start.c and, before an answer is booked, from above.
 *
 * Reading costs: time of the loop, room on disk. So each box has a budget that fills at a steady
 * rate. When it is spent the pipe is left full for a while, and the program waits in its write, as
 * it would for a slow disk; nothing is lost. Short lines cost more than their bytes.
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "box/box_int.h"

#define PIPE_BYTES (256 * 1024)
#define CHUNK_BYTES 16384
#define TURN_COST (1 << 20)          /* at most so much before others have their turn */
#define OVERDRAFT (1 << 20)          /* beyond the budget: answers find their own output */
#define RESUME_AT (OUTPUT_RATE / 16) /* read on when there is as much again */
#define TELL_NS (10 * 1000000000LL)

/* False when nothing more can be read now: empty, closed, or the box has changed hands. */
static bool read_chunk(struct box *b, int64_t *cost)
{
	static char chunk[CHUNK_BYTES];
	const uint32_t generation = b->generation;
	ssize_t n = read(b->output.fd, chunk, sizeof(chunk));

	if (n < 0)
		return false;
	if (n == 0) {
		output_close(b);
		return false;
	}
	*cost += output_cost(chunk, (size_t)n);
	b->output_midline = chunk[n - 1] != '\n';
	if (b->has_spec)
		b->handler->on_output(b, (struct str){chunk, (size_t)n});
	return b->state != BOX_DYING && b->generation == generation && n == sizeof(chunk);
}

static void drain(struct box *b, int64_t floor, int64_t most)
{
	int64_t spent = 0;

	budget_refill(&b->output_budget, loop_now_ns(b->owner->loop), OUTPUT_RATE, OUTPUT_BURST);
	while (spent < most && b->output_budget.left - spent > floor && b->output.fd >= 0)
		if (!read_chunk(b, &spent))
			break;
	b->output_budget.left -= spent;
}

void box_drain_output(struct box *b)
{
	if (b->output.fd >= 0)
		drain(b, -OVERDRAFT, TURN_COST);
}

void output_drain_last(struct box *b)
{
	if (b->output.fd >= 0)
		drain(b, -OVERDRAFT, INT64_MAX);
}

static void tell(struct box *b)
{
	static const char text[] = "\nmayfly: output above 4 MiB a second is taken no faster: "
				   "print less, or write to /tmp\n";
	int64_t now = loop_now_ns(b->owner->loop);

	if (b->output_told_ns && now < b->output_told_ns + TELL_NS)
		return;
	b->output_told_ns = now;
	log_warn("box %u prints more than 4 MiB a second: it has to wait", b->slot);
	if (b->has_spec)
		b->handler->on_output(b, str_sub(str_from(text), b->output_midline ? 0 : 1));
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct box *b = container_of(io, struct box, output);

	if (events & EPOLLHUP) { /* no writer is left, so a full pipe is the most that comes */
		drain(b, INT64_MIN, TURN_COST);
		return;
	}
	drain(b, 0, TURN_COST);
	if (b->output.fd < 0 || b->output_budget.left > 0)
		return;
	loop_io_change(b->owner->loop, io, 0);
	loop_timer_set(b->owner->loop, &b->output_timer,
	    (RESUME_AT - b->output_budget.left) * 1000 / OUTPUT_RATE * 1000000);
	tell(b);
}

static void on_resume(struct loop_timer *t)
{
	struct box *b = container_of(t, struct box, output_timer);

	loop_io_change(b->owner->loop, &b->output, EPOLLIN);
}

int output_open(struct box *b, int *ret_write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	/* A larger pipe lets a chatty program run on while core is busy; less is fine too. */
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	(void)fd_nonblock(ends[0]);
	b->output = (struct loop_io){.fd = ends[0], .events = EPOLLIN, .on_ready = on_ready};
	b->output_timer.on_due = on_resume;
	b->output_midline = false;
	*ret_write_end = ends[1];
	return loop_io_add(b->owner->loop, &b->output);
}

void output_close(struct box *b)
{
	if (b->output.fd < 0)
		return;
	loop_timer_stop(b->owner->loop, &b->output_timer);
	loop_io_remove(b->owner->loop, &b->output);
	close(b->output.fd);
	b->output.fd = -1;
}
