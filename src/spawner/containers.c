/*
 * What a child of the spawner does about sandboxes and containers: one request, one process. It is
 * root, single-threaded and may block; the spawner has long gone on. See spawner_int.h.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/spawner_int.h"

_noreturn_ void containers_run(
    struct spawner *s _unused_, const struct wire_msg *m, int fd _unused_, int out)
{
	struct wire_msg answer = {
	    .kind = WIRE_CONTAINER_DONE, .serial = m->serial, .result = -EOPNOTSUPP};

	snprintf(answer.text, sizeof(answer.text), "Containers are not supported.");
	(void)fd_send_fds(out, &answer, sizeof(answer), NULL, 0, 0);
	_exit(0);
}
