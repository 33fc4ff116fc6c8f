/*
 * The daemon's own log: one line an event on stderr, "time level program message".
 * Log once, where an error stops climbing. Never log secrets, payloads or environment values.
 */
#pragma once

#include "base/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Name of this program in each line, and the lowest level that is written. name is not copied. */
void log_setup(const char *name, enum log_level lowest);

void log_write(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
