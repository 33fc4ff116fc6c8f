/* Threads for what blocks for long: a download may take minutes, and the loop's workers are few. */
#include <time.h>

#include "image/image_int.h"

#define STOP_S 2

static void finished(struct loop_task *t)
{
	struct job *j = container_of(t, struct job, task);

	pthread_join(j->thread, NULL);
	list_remove(&j->node);
	j->done(j);
}

static void *run(void *arg)
{
	struct job *j = arg;

	j->run(j);
	loop_post(j->images->loop, &j->task);
	return NULL;
}

bool job_start(struct images *i, struct job *j)
{
	j->images = i;
	j->task.run = finished;
	list_init(&j->task.node);
	if (pthread_create(&j->thread, NULL, run, j) != 0)
		return false;
	list_push_back(&i->jobs, &j->node);
	return true;
}

void job_cancel(struct job *j)
{
	__atomic_store_n(&j->cancel, true, __ATOMIC_RELAXED);
}

void jobs_stop(struct images *i)
{
	struct timespec until;

	list_for_each (n, &i->jobs)
		job_cancel(list_entry(n, struct job, node));
	/* One may wait for a child that will not come any more. */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_S;
	list_for_each (n, &i->jobs)
		pthread_timedjoin_np(list_entry(n, struct job, node)->thread, NULL, &until);
}
