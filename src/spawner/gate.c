/* The verdict on each message from core. See gate.h. */
#include "spawner/gate.h"

static const char *const no_such_slot = "slot out of range";
static const char *const out_of_state = "message does not fit the state of its box";

static enum gate_verdict make(struct gate *g, const struct wire_msg *m, const char **why)
{
	struct gate_slot *s = &g->slot[m->slot];

	if (s->state != SLOT_FREE) {
		*why = out_of_state;
		return GATE_FATAL;
	}
	s->state = SLOT_MAKING;
	s->root_layers = 0;
	s->generation = m->generation;
	return GATE_DO;
}

static bool limits_ok(const struct wire_msg *m)
{
	return m->layer_count <= WIRE_LAYERS_MAX && m->memory_mb >= WIRE_MEMORY_MB_MIN &&
	       m->memory_mb <= WIRE_MEMORY_MB_MAX && m->tmp_mb >= WIRE_TMP_MB_MIN &&
	       m->tmp_mb <= WIRE_TMP_MB_MAX;
}

static enum gate_verdict assign(struct gate *g, const struct wire_msg *m, const char **why)
{
	struct gate_slot *s = &g->slot[m->slot];

	if (!limits_ok(m)) {
		*why = "assignment out of range";
		return GATE_FATAL;
	}
	if ((s->state == SLOT_FREE || s->state == SLOT_DYING) && s->generation == m->generation)
		return GATE_IGNORE;
	if (s->state != SLOT_BLANK || s->generation != m->generation) {
		*why = out_of_state;
		return GATE_FATAL;
	}
	s->state = SLOT_ASSIGNING;
	return GATE_DO;
}

static enum gate_verdict root(struct gate *g, const struct wire_msg *m, const char **why)
{
	struct gate_slot *s = &g->slot[m->slot];

	if (m->layer_count < 1 || m->layer_count > WIRE_LAYERS_MAX) {
		*why = "layers out of range";
		return GATE_FATAL;
	}
	if ((s->state == SLOT_FREE || s->state == SLOT_DYING) && s->generation == m->generation)
		return GATE_IGNORE;
	if (s->state != SLOT_BLANK || s->generation != m->generation ||
	    s->root_layers + m->layer_count > WIRE_ROOT_LAYERS_MAX) {
		*why = out_of_state;
		return GATE_FATAL;
	}
	s->root_layers = (uint8_t)(s->root_layers + m->layer_count);
	return GATE_DO;
}

static enum gate_verdict kill_box(struct gate *g, const struct wire_msg *m)
{
	struct gate_slot *s = &g->slot[m->slot];

	if (s->state == SLOT_FREE || s->state == SLOT_DYING || s->generation != m->generation)
		return GATE_IGNORE;
	s->state = SLOT_DYING;
	return GATE_DO;
}

static enum gate_verdict request(struct gate *g, const struct wire_msg *m, const char **why)
{
	if (m->kind == WIRE_UNPACK && m->limit_bytes > WIRE_UNPACK_BYTES_MAX) {
		*why = "unpacking out of range";
		return GATE_FATAL;
	}
	if ((m->kind == WIRE_LAYER_UNPACK || m->kind == WIRE_ARCHIVE_SPLIT) &&
	    m->limit_bytes > WIRE_LAYER_BYTES_MAX) {
		*why = "unpacking of a layer out of range";
		return GATE_FATAL;
	}
	if (g->requests >= WIRE_REQUESTS_MAX) {
		*why = "too many requests at once";
		return GATE_FATAL;
	}
	g->requests++;
	return GATE_DO;
}

static enum gate_verdict container_request(
    struct gate *g, const struct wire_msg *m, const char **why)
{
	if (m->kind == WIRE_CONTAINER_SIGNAL &&
	    (m->container.signal < 1 || m->container.signal > 64)) {
		*why = "signal out of range";
		return GATE_FATAL;
	}
	if (g->container_requests >= WIRE_CONTAINER_REQUESTS_MAX) {
		*why = "too many container requests at once";
		return GATE_FATAL;
	}
	g->container_requests++;
	return GATE_DO;
}

enum gate_descriptor gate_descriptor(uint32_t kind)
{
	switch (kind) {
	case WIRE_SANDBOX_MAKE:
	case WIRE_CONTAINER_MAKE:
	case WIRE_CONTAINER_EXEC: return GATE_FD_RECORD;
	case WIRE_LAYER_UNPACK:
	case WIRE_ARCHIVE_SPLIT: return GATE_FD_PIPE;
	default: return GATE_FD_NONE;
	}
}

enum gate_verdict gate_request(
    struct gate *g, const void *data, size_t len, struct wire_msg *ret_msg, const char **ret_why)
{
	if (len != sizeof(*ret_msg)) {
		*ret_why = "message of wrong size";
		return GATE_FATAL;
	}
	memcpy(ret_msg, data, len);
	if (!g->open) {
		*ret_why = "message before the greeting";
		return GATE_FATAL;
	}
	if (ret_msg->slot >= g->slots) {
		*ret_why = no_such_slot;
		return GATE_FATAL;
	}
	switch (ret_msg->kind) {
	case WIRE_BOX_MAKE: return make(g, ret_msg, ret_why);
	case WIRE_BOX_ROOT: return root(g, ret_msg, ret_why);
	case WIRE_BOX_ASSIGN: return assign(g, ret_msg, ret_why);
	case WIRE_BOX_KILL: return kill_box(g, ret_msg);
	case WIRE_UNPACK:
	case WIRE_CODE_DELETE:
	case WIRE_LAYER_UNPACK:
	case WIRE_LAYER_DELETE:
	case WIRE_ARCHIVE_SPLIT: return request(g, ret_msg, ret_why);
	case WIRE_SANDBOX_MAKE:
	case WIRE_SANDBOX_REMOVE:
	case WIRE_CONTAINER_MAKE:
	case WIRE_CONTAINER_START:
	case WIRE_CONTAINER_SIGNAL:
	case WIRE_CONTAINER_REMOVE:
	case WIRE_CONTAINER_USAGE:
	case WIRE_CONTAINER_ATTACH:
	case WIRE_CONTAINER_RESIZE:
	case WIRE_CONTAINER_EXEC:
	case WIRE_CONTAINERS_FIND: return container_request(g, ret_msg, ret_why);
	default: *ret_why = "unknown kind of message"; return GATE_FATAL;
	}
}

bool gate_idle(const struct gate *g)
{
	for (uint32_t i = 0; i < g->slots; i++)
		if (g->slot[i].state != SLOT_FREE)
			return false;
	return g->requests == 0 && g->container_requests == 0;
}
