/*
 * The host as a router, which it has to be for its containers. Where it was none before, it stays
 * none for everybody else: a table of its own, "mayfly-forward", drops what would go from one to
 * another of the interfaces that were there when forwarding was turned on. It is shared by all
 * instances on a host and needs no memory but the kernel's.
 */
#pragma once

#include "base/base.h"
#include "base/err.h"

bool forward_is_on(void);
/* name: of the interface for which it is needed; rules of others that stand against it are
 * logged. Nothing to do is no error. */
int forward_on(const char *name, struct err *e);
/* Turn it off again if we turned it on and nobody can have come to need it since: no interface
 * is new. Else it stays on, and the table with it. Pairs of `name` are gone or go. */
int forward_off(const char *name);
