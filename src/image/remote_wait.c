/*
 * A registry that has enough of us: it answers 429, or 503 with Retry-After, and says how long to
 * wait. Then nobody who uses this remote asks it before that, for a minute in all; what it asks for
 * beyond is a failure, with words. See remote_int.h. Threads of pulls and pushes.
 */
#include "image/remote_int.h"

#include <time.h>

#include "base/time.h"

#define SECOND_NS INT64_C(1000000000)
#define WAITS_MAX 5       /* of one request */
#define WAIT_MAX_S 60     /* of all */
#define LOOK_NS 100000000 /* for whether it was given up */

static bool is_full(const struct exchange *x)
{
	return x->status == 429 || (x->status == 503 && x->retry_after_s > 0);
}

bool exchange_hold(const struct exchange *x)
{
	const struct timespec look = {0, LOOK_NS};
	struct remote *r = x->remote;

	while (!exchange_cancelled(x)) {
		int64_t until;

		pthread_mutex_lock(&r->lock);
		until = r->resume_ns;
		pthread_mutex_unlock(&r->lock);
		if (time_mono_ns() >= until)
			return true;
		nanosleep(&look, NULL);
	}
	return false;
}

bool exchange_will_wait(struct exchange *x, int attempt)
{
	struct remote *r = x->remote;
	int64_t now = time_mono_ns(), until, more;
	bool granted;

	if (!is_full(x) || attempt + 1 >= WAITS_MAX)
		return false;
	/* Without a word about it, longer every time. */
	until = x->retry_after_s > 0 ? x->retry_after_s : 1 << attempt;
	if (until > WAIT_MAX_S)
		return false;
	until = now + until * SECOND_NS;
	pthread_mutex_lock(&r->lock);
	more = until - (r->resume_ns > now ? r->resume_ns : now);
	granted = !r->hurry && (more <= 0 || r->waited_ns + more <= WAIT_MAX_S * SECOND_NS);
	if (granted && more > 0) {
		r->waited_ns += more;
		r->resume_ns = until;
		if (r->told_wait)
			__atomic_store_n(r->told_wait, until, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&r->lock);
	return granted;
}

bool exchange_say_full(struct pull_failure *f, const struct exchange *x, const char *what)
{
	const char *host = strstr(x->remote->base, "://") + 3;
	char wait[64] = "";
	int64_t waited_s;

	if (!is_full(x))
		return false;
	pthread_mutex_lock(&x->remote->lock);
	waited_s = x->remote->waited_ns / SECOND_NS;
	pthread_mutex_unlock(&x->remote->lock);
	if (x->retry_after_s > 0)
		snprintf(wait, sizeof(wait), " and asks for %" PRId64 " s of patience",
		    x->retry_after_s);
	if (x->status == 429)
		pull_failure_set(f, x->remote->push ? PUSH_ERROR : PULL_ERROR,
		    "toomanyrequests: %s answers no more requests for now%s (%s); %" PRId64
		    " s were waited. Try again later%s",
		    host, wait, what, waited_s,
		    x->remote->username[0] ? "" : ", or log in: registries allow more then");
	else
		pull_failure_set(f, x->remote->push ? PUSH_ERROR : PULL_ERROR,
		    "%s is not available%s (%s); %" PRId64 " s were waited. Try again later", host,
		    wait, what, waited_s);
	return true;
}

void remote_take_time(struct remote *r)
{
	pthread_mutex_lock(&r->lock);
	r->hurry = false;
	pthread_mutex_unlock(&r->lock);
}
