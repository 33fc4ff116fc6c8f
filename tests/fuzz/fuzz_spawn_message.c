/*
 * What a taken-over core may send: a run of datagrams, each with one byte of length class before
 * it, against the very gate that the root program uses. Deaths of boxes are mixed in. Whatever
 * comes, a message is only let through when the state of its slot allows it.
 */
#include "fuzz.h"

#include "spawner/gate.h"

#define SLOTS 4

static void judge(struct gate *g, const uint8_t *data, size_t len)
{
	struct wire_msg m;
	const char *why = NULL;
	struct gate before = *g;
	enum gate_verdict v = gate_request(g, data, len, &m, &why);

	check((v == GATE_FATAL) == (why != NULL));
	if (v != GATE_DO) {
		check(memcmp(&before, g, sizeof(before)) == 0);
		return;
	}
	check(g->open && len == sizeof(m) && m.slot < g->slots);
	check(m.layer_count <= WIRE_LAYERS_MAX || m.kind != WIRE_BOX_ASSIGN);
	check(g->requests <= WIRE_REQUESTS_MAX);
	check(g->container_requests <= WIRE_CONTAINER_REQUESTS_MAX);
	if (m.kind == WIRE_BOX_MAKE)
		check(before.slot[m.slot].state == SLOT_FREE);
	if (m.kind == WIRE_BOX_ASSIGN)
		check(before.slot[m.slot].state == SLOT_BLANK);
}

/* What the spawner itself would do to a slot at this time. */
static void advance(struct gate *g, uint8_t which)
{
	struct gate_slot *s = &g->slot[which % SLOTS];

	switch (s->state) {
	case SLOT_MAKING: s->state = which & 16 ? SLOT_BLANK : SLOT_FREE; return;
	case SLOT_ASSIGNING: s->state = SLOT_ASSIGNED; return;
	case SLOT_DYING: s->state = SLOT_FREE; return;
	default: s->state = s->state == SLOT_FREE ? SLOT_FREE : SLOT_DYING;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gate g;

	memset(&g, 0, sizeof(g));
	g.slots = SLOTS;
	g.open = size == 0 || data[0] != 0xff;
	while (size > 1) {
		uint8_t what = data[0];
		size_t len = what & 1 ? min_size(what, size - 1)
				      : min_size(sizeof(struct wire_msg), size - 1);

		if (what & 2)
			advance(&g, what >> 2);
		judge(&g, data + 1, len);
		data += 1 + len;
		size -= 1 + len;
	}
	return 0;
}
