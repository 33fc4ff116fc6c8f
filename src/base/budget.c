/* See budget.h. */
#include "base/budget.h"

void budget_refill(struct budget *b, int64_t now_ns, int64_t rate, int64_t burst)
{
	int64_t us = (now_ns - b->filled_ns) / 1000;

	if (us > burst / rate * 2000000) {
		b->left = burst;
		b->filled_ns = now_ns;
		return;
	}
	b->filled_ns += us * 1000;
	b->left += us * rate / 1000000;
	if (b->left > burst)
		b->left = burst;
}

int64_t output_cost(const char *text, size_t len)
{
	size_t lines = 0;

	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	return (int64_t)(len + lines * OUTPUT_LINE_COST);
}
