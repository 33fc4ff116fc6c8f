/* The one interface over both protocols: hand each call to the one behind. See runtime.h. */
#include "runtime/runtime_int.h"

void runtime_free(struct runtime *r)
{
	if (r)
		r->ops->free(r);
}

void runtime_init(struct runtime *r, struct str init_json)
{
	check(r->ops->init);
	r->ops->init(r, init_json);
}

void runtime_send(struct runtime *r, const struct runtime_event *ev)
{
	r->ops->send(r, ev);
}

void runtime_pause(struct runtime *r, bool paused)
{
	r->ops->pause(r, paused);
}

bool runtime_take_back(struct runtime *r)
{
	return r->ops->take_back && r->ops->take_back(r);
}

void runtime_error_json(struct buf *out, struct str type, struct str message)
{
	buf_puts(out, "{\"errorType\":");
	buf_json_string(out, type);
	buf_puts(out, ",\"errorMessage\":");
	buf_json_string(out, message);
	buf_putc(out, '}');
}
