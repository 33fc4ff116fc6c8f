/*
 * Extensions: programs of layers that run beside the runtime of a box, over the Extensions API.
 * They start first; the runtime starts when all have registered, the box is ready when all have
 * asked for an event, and an invocation ends when all have asked for the next one. Without layers
 * nothing of this happens. Loop thread; called by box.c.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "box/box_int.h"

static struct runtime *api_of(const struct box *b)
{
	return b->program && b->program->framed ? b->beside : b->runtime;
}

/* A framed program does not need the Runtime API, but its extensions do. */
static int open_beside(struct box *b)
{
	struct err e = ERR_INIT;

	if (!b->program->framed || b->beside)
		return 0;
	b->beside = runtime_api_new(
	    b->owner->api, take_fd(&b->fds[WIRE_FD_API]), &box_runtime_handler, b, &e);
	if (!b->beside)
		return -EIO;
	runtime_api_beside(b->beside);
	runtime_api_describe(
	    b->beside, b->spec.function, b->spec.version, b->spec.handler, b->spec.account);
	return 0;
}

static void launch(struct box *b)
{
	b->enrolling = false;
	if (box_launch(b) < 0)
		box_fail(b, "the runtime could not be started");
}

void extensions_begun(struct box *b, unsigned count)
{
	if (b->state != BOX_INITIALISING || !b->enrolling)
		return;
	b->extensions = count;
	if (!count)
		launch(b);
	else if (open_beside(b) < 0)
		box_fail(b, "core has no descriptors left");
}

void extension_exited(struct box *b, int status)
{
	char why[64];

	if (b->extensions)
		b->extensions--;
	if (b->retiring) {
		if (!b->extensions)
			b->handler->on_settled(b);
		return;
	}
	if (!b->has_spec || (b->state != BOX_INITIALISING && b->state != BOX_READY))
		return;
	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "signal: %d", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), "exit code %d", WEXITSTATUS(status));
	b->handler->on_extension_lost(b, "Extension.Crash", why);
}

void extension_failed(struct box *b, int errnum)
{
	char why[128];

	if (!b->has_spec || b->state != BOX_INITIALISING)
		return;
	if (errnum == E2BIG) {
		snprintf(why, sizeof(why), "Extension limit (%d) reached", INIT_EXTENSIONS_MAX);
		b->handler->on_extension_lost(b, "Extension.TooManyExtensions", why);
		return;
	}
	snprintf(why, sizeof(why), "an extension could not be started: %s", strerror(errnum));
	b->handler->on_extension_lost(b, "Extension.LaunchError", why);
}

void extensions_moved(void *ctx)
{
	struct box *b = ctx;

	if (b->state == BOX_INITIALISING && b->enrolling) {
		if (b->extensions && runtime_api_extensions(api_of(b)) >= b->extensions)
			launch(b);
	} else if (b->state == BOX_INITIALISING && b->said_ready && box_settled(b)) {
		b->said_ready = false;
		box_ready(b);
	} else if (b->state == BOX_READY && !b->retiring && box_settled(b)) {
		b->handler->on_settled(b);
	}
}

bool extensions_wait(struct box *b)
{
	b->said_ready = !box_settled(b);
	return b->said_ready;
}

bool extensions_mind(const struct box *b)
{
	return runtime_api_minds_end(api_of(b));
}

void extensions_tell(struct box *b)
{
	if (b->retiring)
		runtime_api_shutdown(api_of(b), b->end_reason, b->end_deadline_ms);
}

void extensions_gone(struct box *b)
{
	b->extensions = 0;
	b->enrolling = b->said_ready = b->retiring = false;
	start_no_more(b);
}

bool box_settled(const struct box *b)
{
	const struct runtime *api = b->extensions ? api_of(b) : NULL;

	return !api || runtime_api_settled(api);
}

size_t box_extension_count(const struct box *b)
{
	const struct runtime *api = b->extensions ? api_of(b) : NULL;

	return api ? runtime_api_extensions(api) : 0;
}

const char *box_extension(const struct box *b, size_t i, const char **ret_events)
{
	return runtime_api_extension(api_of(b), i, ret_events);
}
