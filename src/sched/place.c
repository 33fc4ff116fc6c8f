/* A network namespace as core sees it: its address, and the two sockets that core serves in it. */
#include <unistd.h>

#include "base/log.h"
#include "sched/task_int.h"

/* Of one task or container, to the metadata endpoint. */
#define CONNECTIONS_MAX 32

void place_close(struct task *t, struct place *p)
{
	if (p->metadata)
		http_listener_close(take_ptr(p->metadata));
	if (p->endpoint && t->all->o.endpoint_close)
		t->all->o.endpoint_close(t->all->o.ctx, p->endpoint);
	p->endpoint = NULL;
	free(take_ptr(p->ports));
	p->port_count = 0;
}

void place_open(struct task *t, struct place *p, const struct container_net *net)
{
	const struct tasks_options *o = &t->all->o;
	struct err e = ERR_INIT;
	int metadata = net->fds[CONTAINER_FD_METADATA], endpoint = net->fds[CONTAINER_FD_ENDPOINT];

	place_close(t, p);
	memcpy(p->address, net->address, sizeof(p->address));
	memcpy(p->gateway, net->gateway, sizeof(p->gateway));
	memcpy(p->mac, net->mac, sizeof(p->mac));
	p->prefix_len = net->prefix_len;
	if (net->port_count) {
		p->ports = xcalloc(net->port_count, sizeof(*p->ports));
		memcpy(p->ports, net->ports, net->port_count * sizeof(*p->ports));
		p->port_count = net->port_count;
	}
	if (metadata >= 0) {
		p->metadata = http_listen(t->all->server, metadata, t, &e);
		if (p->metadata)
			http_listener_limit(p->metadata, CONNECTIONS_MAX);
		else
			log_error("task %s has no metadata endpoint: %s", t->arn, e.msg);
	}
	if (endpoint >= 0 && o->endpoint_open)
		p->endpoint = o->endpoint_open(o->ctx, endpoint);
	else if (endpoint >= 0)
		close(endpoint);
}
