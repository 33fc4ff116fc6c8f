/*
 * Why something failed, for a person to read: fixed size, on the caller's stack, no ownership.
 *
 * Functions return 0 or more on success and -errno on failure; those whose failure a person will
 * read take a last argument `struct err *e` (may be NULL). err_wrap() puts context in front while
 * climbing, so a message reads "starting box 7: mounting code: No such file or directory".
 * Log once, where the error stops climbing.
 */
#pragma once

#include "base/base.h"

struct err {
	int errnum;    /* positive errno, 0 when none */
	int code;      /* error of an API operation (generated constant), 0 when none */
	char msg[256]; /* NUL-terminated, cut when longer */
};

#define ERR_INIT     \
	(struct err) \
	{            \
		0    \
	}

/* Fill e with "<message>: <strerror>" and return -errnum. errnum is positive. */
int err_sys(struct err *e, int errnum, const char *fmt, ...) _printf_(3, 4);

/* Fill e with the message alone and return -errnum: for failures that errno does not explain. */
int err_set(struct err *e, int errnum, const char *fmt, ...) _printf_(3, 4);

/* Put "<context>: " in front of what e says; returns -e->errnum (or -EIO if none). */
int err_wrap(struct err *e, const char *fmt, ...) _printf_(2, 3);
