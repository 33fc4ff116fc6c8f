/* Wiring of what images and containers need. Loop thread. See core.h. */
#include <stdio.h>
#include <string.h>

#include "core/core_int.h"
#include "image/image.h"

/* Names under which clients may mean our own registry: the server's address, in every spelling. */
static const char *const *own_hosts(const struct core *c)
{
	static char spelled[3][80];
	static const char *hosts[] = {spelled[0], spelled[1], spelled[2], NULL};
	const char *host = strstr(c->url, "//") + 2, *port = strrchr(host, ':');

	snprintf(spelled[0], sizeof(spelled[0]), "%s", host);
	snprintf(spelled[1], sizeof(spelled[1]), "localhost%s", port);
	snprintf(spelled[2], sizeof(spelled[2]), "127.0.0.1%s", port);
	return hosts;
}

int core_open_images(struct core *c, struct err *e)
{
	static char credentials[256]; /* outlives the room */
	const struct images_options o = {.loop = c->loop,
	    .store = c->store,
	    .spawn = boxes_spawn(c->boxes),
	    .data = c->config.data,
	    .docker_config = credentials,
	    .mirrors = c->config.mirrors,
	    .mirror_count = c->config.mirror_count};

	snprintf(credentials, sizeof(credentials), "%s/docker-config.json", c->config.data);
	c->registries = own_hosts(c);
	c->images = images_open(&o, e);
	return c->images ? 0 : -EIO;
}
