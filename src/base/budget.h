/* A budget that fills at a steady rate up to a limit, and may be overdrawn: what bounds how much of
 * something is taken. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What a program prints that runs for a client: bytes, and for each line what logging it costs
 * besides. */
#define OUTPUT_RATE (4 << 20)   /* a second */
#define OUTPUT_BURST (16 << 20) /* and so much at once, after silence */
#define OUTPUT_LINE_COST 64

struct budget {
	int64_t left, filled_ns;
};

/* Full at first: now is any time later than 0 by burst / rate. rate: a second. */
void budget_refill(struct budget *b, int64_t now_ns, int64_t rate, int64_t burst);
/* Of output: its bytes and what its lines cost besides. */
int64_t output_cost(const char *text, size_t len);
