/*
 * How many queue messages a second the store accepts durably, beside what the disk can do at all:
 * one fdatasync at a time on a preallocated file. Rounds alternate, because disks have moods.
 * Usage: store_bench [DIRECTORY] [SECONDS-PER-ROUND]
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/time.h"
#include "store/store.h"

#define BODY 512

struct sender {
	struct store_write write;
	struct bench *bench;
};

struct bench {
	struct loop *loop;
	struct store *store;
	unsigned waiting;
	uint64_t accepted;
	bool rising; /* ids begin with the time */
	int64_t end_ns;
};

static double raw_syncs(const char *dir, double seconds)
{
	_cleanup_free_ char *path = xasprintf("%s/raw", dir);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	static char zero[1 << 20], record[BODY];
	int64_t start, now;
	uint64_t n = 0;

	for (int i = 0; i < 4; i++)
		check(pwrite(fd, zero, sizeof(zero), i << 20) == (ssize_t)sizeof(zero));
	fsync(fd);
	start = now = time_mono_ns();
	while (now - start < (int64_t)(seconds * 1e9)) {
		rand_bytes(record, sizeof(record));
		check(pwrite(fd, record, BODY, (off_t)(n * BODY % (4 << 20))) == BODY);
		fdatasync(fd);
		n++;
		now = time_mono_ns();
	}
	return (double)n * 1e9 / (double)(now - start);
}

static void send_one(struct sender *s);

static void sent(struct store_write *w, int result)
{
	struct sender *s = container_of(w, struct sender, write);

	check(result == 0);
	s->bench->accepted++;
	if (time_mono_ns() < s->bench->end_ns)
		send_one(s);
	else
		s->bench->waiting--;
}

static void send_one(struct sender *s)
{
	static char body[BODY];
	char id[64];

	if (s->bench->rising)
		snprintf(id, 18, "%016" PRIx64 "-", (uint64_t)time_mono_ns());
	else
		id[0] = '\0';
	rand_uuid(id + strlen(id));
	store_write_init(&s->write, sent);
	store_send(&s->write, "bench", str_from(id), (struct str){body, BODY}, time_wall_ms());
	store_commit(s->bench->store, &s->write);
}

static double sends(struct bench *b, unsigned outstanding, double seconds)
{
	struct sender *senders = xcalloc(outstanding, sizeof(*senders));
	int64_t start = time_mono_ns();

	b->accepted = 0;
	b->end_ns = start + (int64_t)(seconds * 1e9);
	b->waiting = outstanding;
	for (unsigned i = 0; i < outstanding; i++) {
		senders[i].bench = b;
		send_one(&senders[i]);
	}
	while (b->waiting)
		loop_turn(b->loop, 100);
	free(senders);
	return (double)b->accepted * 1e9 / (double)(time_mono_ns() - start);
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "/tmp/mayfly-store-bench";
	double seconds = argc > 2 ? atof(argv[2]) : 1;
	struct bench b = {.loop = loop_new(1, NULL)};
	struct err e = ERR_INIT;

	b.store = store_open(b.loop, dir, &e);
	if (!b.store) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	printf("random ids, then ids that begin with the time:\n%12s %12s %12s %8s %12s %12s %8s\n",
	    "fdatasync/s", "send/s x1", "send/s x32", "x32/raw", "send/s x32", "send/s x256",
	    "x32/raw");
	for (int i = 0; i < 5; i++) {
		double raw = raw_syncs(dir, seconds), one = sends(&b, 1, seconds);
		double many = sends(&b, 32, seconds), rising, most;

		b.rising = true;
		rising = sends(&b, 32, seconds);
		most = sends(&b, 256, seconds);
		b.rising = false;
		printf("%12.0f %12.0f %12.0f %8.1f %12.0f %12.0f %8.1f\n", raw, one, many,
		    many / raw, rising, most, rising / raw);
	}
	store_close(b.store);
	loop_turn(b.loop, 0);
	loop_free(b.loop);
	return 0;
}
