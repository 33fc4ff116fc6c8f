/*
 * What core finds when it starts: argv is
 *   mayfly-core --data /data --listeners N [--dev] ARGUMENTS-AFTER-"--"-OF-THE-SPAWNER
 * and these descriptors. All else is closed; 0 is /dev/null, 1 and 2 are the spawner's own.
 * Core is alone in its root: /data (the data directory; it may make files there and owns blobs/),
 * /usr, /etc (a few files), /proc (itself only), /dev/{null,zero,full,random,urandom}.
 * SIGTERM means: drain and exit 0 within 5 s. Exit code 2 means: wrong configuration, do not
 * start me again. Any other end is followed by a new start.
 */
#pragma once

#define CORE_FD_SPAWNER 3        /* SOCK_SEQPACKET, struct wire_msg; WIRE_HELLO comes first */
#define CORE_FD_FIRST_LISTENER 4 /* N listening sockets from here on, in --listen order */
#define CORE_EXIT_CONFIG 2
