/* See metadata.c. */
#pragma once

/* In this network namespace, lead TCP connections from here to 169.254.170.2:80 to
 * NET_METADATA_PORT of the same address. 0 also when that is so already; -errno. */
int metadata_redirect(void);
