/* Wiring that is not in core.c. */
#pragma once

#include "box/box.h"
#include "core/core.h"

int core_open_images(struct core *c, struct err *e); /* after boxes and store */
/* After the services, of which secrets and objects come: tasks and ECS. */
int core_open_containers(struct core *c, struct err *e);
