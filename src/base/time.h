/* Clocks and the few date formats of the AWS protocols. Times are UTC. Any thread. */
#pragma once

#include "base/base.h"
#include "base/str.h"

int64_t time_mono_ns(void); /* monotonic, for durations and timers */
int64_t time_wall_ms(void); /* milliseconds since 1970-01-01 UTC */
int64_t time_wall_us(void);

#define TIME_ISO_SIZE 32
/* "2025-11-24T23:09:56.000+0000", the LastModified of Lambda. */
void time_format_lambda(int64_t wall_ms, char out[TIME_ISO_SIZE]);
/* "2025-11-24T23:09:56Z", XML and query protocols. */
void time_format_iso(int64_t wall_ms, char out[TIME_ISO_SIZE]);
/* "2025-11-24T23:09:56.123Z", logs and runtimes. */
void time_format_iso_ms(int64_t wall_ms, char out[TIME_ISO_SIZE]);
/* "20251124T230956Z", SigV4. */
void time_format_amz(int64_t wall_ms, char out[TIME_ISO_SIZE]);
/* "Mon, 24 Nov 2025 23:09:56 GMT", HTTP. */
void time_format_http(int64_t wall_ms, char out[TIME_ISO_SIZE]);
/* "20251124T230956Z" to milliseconds; false if not such a date. */
bool time_parse_amz(struct str s, int64_t *ret_wall_ms);
/* "2025-11-24", "…T23:09:56", optional fraction, 'Z' or ±hh:mm; false if not such a date. */
bool time_parse_iso(struct str s, int64_t *ret_wall_ms);
