/* A few system calls of the box that need a word from box-init: see notify.c. */
#pragma once

/* Judge one call that waits. */
void notify_answer(void);
