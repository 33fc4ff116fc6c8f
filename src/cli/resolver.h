/* The host's name servers, as far as code in a namespace of its own can ask them. */
#pragma once

#include "base/base.h"
#include "base/str.h"

#define RESOLVER_SERVERS_MAX 3
#define RESOLVER_ADDRESS_SIZE 16

/* IPv4 addresses of servers that are not on loopback, of /etc/resolv.conf or, when that names a
 * stub on loopback only, of systemd-resolved. Returns how many. */
size_t resolver_find(char ret[RESOLVER_SERVERS_MAX][RESOLVER_ADDRESS_SIZE]);
/* The same of a text in the form of resolv.conf(5). */
size_t resolver_parse(struct str text, char ret[RESOLVER_SERVERS_MAX][RESOLVER_ADDRESS_SIZE]);
