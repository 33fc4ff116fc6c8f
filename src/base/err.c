/* Formatting of struct err. Any thread. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

int err_sys(struct err *e, int errnum, const char *fmt, ...)
{
	char what[192];
	va_list ap;

	if (!e)
		return -errnum;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	e->errnum = errnum;
	e->code = 0;
	snprintf(e->msg, sizeof(e->msg), "%s: %s", what, strerror(errnum));
	return -errnum;
}

int err_set(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -errnum;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	e->errnum = errnum;
	e->code = 0;
	return -errnum;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char context[128], inner[sizeof(e->msg)];
	va_list ap;

	if (!e)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	memcpy(inner, e->msg, sizeof(inner));
	/* The context is short and bounded; what does not fit of the inner text is cut. */
	snprintf(e->msg, sizeof(e->msg), "%s: %.*s", context,
	    (int)(sizeof(e->msg) - strlen(context) - 3), inner);
	return e->errnum ? -e->errnum : -EIO;
}
