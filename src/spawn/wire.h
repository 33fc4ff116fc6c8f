/*
 * Messages between core (unprivileged) and the spawner (root), over an inherited SOCK_SEQPACKET
 * pair. Every message has the same fixed size. Core names boxes by slot number and code by content
 * hash, sandboxes and containers by 16 bytes of its choice; it never sends a path, a uid or a mount
 * option. A message that does not fit the state of its box, a wrong size, an unknown kind or a
 * descriptor that its kind does not carry is fatal to core: the spawner kills and restarts it.
 *
 * State of a slot, as the spawner sees it:
 *   FREE --BOX_MAKE--> BLANK [--BOX_ROOT--> BLANK] --BOX_ASSIGN--> ASSIGNED;  BLANK|ASSIGNED
 * --BOX_KILL--> DYING DYING (or a death of its own) --BOX_DEAD sent--> FREE BOX_KILL and BOX_ASSIGN
 * for a FREE slot or a DYING one are ignored, because they may cross with BOX_DEAD; the generation
 * tells an old occupant from a new one. BOX_ASSIGN before BOX_MADE is disorder. A box killed before
 * BOX_MADE gets BOX_DEAD only; one that could not be made gets BOX_MADE with a result below 0 only.
 * A failed BOX_ASSIGNED leaves a box that can only be killed.
 *
 * Sandboxes and containers have no state here: each request is done by a child that looks at what
 * there is, every one is answered by WIRE_CONTAINER_DONE with its serial, and those about one
 * sandbox are done one after the other.
 */
#pragma once

#include "base/base.h"

#define WIRE_BOXES_MAX 2048
#define WIRE_LAYERS_MAX 5
#define WIRE_ROOT_LAYERS_MAX 127 /* of an image */
#define WIRE_HASH_SIZE 32
#define WIRE_MEMORY_MB_MIN 128
#define WIRE_MEMORY_MB_MAX 10240
#define WIRE_TMP_MB_MIN 512
#define WIRE_TMP_MB_MAX 10240
#define WIRE_UNPACK_BYTES_MAX (UINT64_C(1) << 30)
#define WIRE_LAYER_BYTES_MAX (UINT64_C(1) << 36)
#define WIRE_REQUESTS_MAX                                                      \
	8 /* about code, layers and archives, that may be unanswered at a time \
	   */

#define WIRE_ID_SIZE 16                /* of a sandbox or container */
#define WIRE_CONTAINER_REQUESTS_MAX 32 /* that may be unanswered at a time */
#define WIRE_PORTS_MAX 100
#define WIRE_RECORD_MAX (256 * 1024) /* bytes of a record */

enum wire_kind {
	/* core -> spawner */
	WIRE_BOX_MAKE = 1, /* slot, generation */
	WIRE_BOX_ASSIGN,   /* slot, generation, code, layers, memory_mb, tmp_mb */
	WIRE_BOX_KILL,     /* slot, generation */
	/* slot, generation, layers: unpacked ones of an image, above those that were named before.
	 * BOX_ASSIGN then makes them the box's root; code and layers of its own do not count. */
	WIRE_BOX_ROOT,
	WIRE_UNPACK,      /* hash (blob to unpack), serial; limit_bytes of unpacked data */
	WIRE_CODE_DELETE, /* hash, serial: remove the unpacked tree */
	/* With a record in a sealed memfd, as spawn/container_spec.h says: */
	WIRE_SANDBOX_MAKE,   /* serial */
	WIRE_CONTAINER_MAKE, /* serial */
	WIRE_CONTAINER_EXEC, /* serial */
	/* serial, container.sandbox and, but for the first, container.id: */
	WIRE_SANDBOX_REMOVE,
	WIRE_CONTAINER_START,
	WIRE_CONTAINER_SIGNAL, /* container.signal */
	WIRE_CONTAINER_REMOVE,
	WIRE_CONTAINER_USAGE,
	WIRE_CONTAINER_ATTACH,
	WIRE_CONTAINER_RESIZE, /* container.rows, container.columns */
	WIRE_CONTAINERS_FIND,  /* serial: a WIRE_FOUND for each that is there, then the answer */
	/* With the read end of a pipe through which the bytes come: */
	WIRE_LAYER_UNPACK,  /* hash (diff id), serial; limit_bytes of the tar */
	WIRE_ARCHIVE_SPLIT, /* serial; limit_bytes: see wire_member */
	WIRE_LAYER_DELETE,  /* hash, serial: remove the unpacked layer */
	/* spawner -> core */
	WIRE_HELLO = 64,     /* once after start: what the host is like, see wire_hello */
	WIRE_BOX_MADE,       /* slot, generation, result; descriptors in the order of wire_box_fd */
	WIRE_BOX_ASSIGNED,   /* slot, generation, result */
	WIRE_BOX_DEAD,       /* slot, generation: everything of it has gone */
	WIRE_UNPACKED,       /* serial, result (0 or -errno), text: why, size_bytes of the tree */
	WIRE_CODE_DELETED,   /* serial, result */
	WIRE_CONTAINER_DONE, /* serial, result, text: why, or net; descriptors, see below */
	WIRE_SANDBOX_FOUND,  /* serial, container.sandbox, net; its record and WIRE_NET_FDS */
	WIRE_CONTAINER_FOUND, /* serial, container, net; descriptors as of CONTAINER_MAKE, but
				 none of WIRE_KEPT_FDS if it has ended */
	WIRE_LAYER_UNPACKED,  /* as WIRE_UNPACKED; size_bytes of the tar */
	WIRE_LAYER_DELETED,   /* serial, result */
	WIRE_ARCHIVE_OPENED,  /* serial; a pipe out of which the members come */
	WIRE_ARCHIVE_DONE,    /* as WIRE_UNPACKED */
};

/* Descriptors that come with a good WIRE_CONTAINER_DONE:
 *   SANDBOX_MAKE     WIRE_NET_FDS if net says that there is a namespace
 *   CONTAINER_MAKE   WIRE_KEPT_FDS, the log if container.has_log, then as above
 *   CONTAINER_EXEC   a socket that tells the exit code as decimal text and ends the process when
 *                    core ends its side; a terminal, or stdin, stdout, stderr
 *   CONTAINER_ATTACH conmon's socket
 *   CONTAINER_USAGE  those of memory, peak, cpu, pids, net that container.usage has bits for */
#define WIRE_NET_FDS 2 /* listening on 169.254.170.2: port 80, port 4566 */
enum wire_kept_fd {
	WIRE_KEPT_PROCESS, /* pidfd of conmon: when it has ended, so has the container */
	WIRE_KEPT_EXIT,    /* directory in which a file of its id then has the exit code as decimal
			      text */
	WIRE_KEPT_OOM,     /* memory.oom_control or memory.events: the line "oom_kill N" */
	WIRE_KEPT_FDS
};

/* Descriptors that come with WIRE_BOX_MADE. */
enum wire_box_fd {
	WIRE_FD_CONTROL,  /* SOCK_SEQPACKET to box-init, see init/init.h */
	WIRE_FD_API,      /* listening on 127.0.0.1:9001 inside the box: Runtime API */
	WIRE_FD_ENDPOINT, /* listening on 127.0.0.1:4566 inside the box: AWS_ENDPOINT_URL */
	WIRE_FD_FREEZE,   /* write the hello's freeze/thaw text to it */
	WIRE_FD_MEMORY,   /* current usage in bytes, decimal text, pread at 0 */
	WIRE_FD_PEAK, /* highest usage so far, the same way; -1 if the kernel has none: not sent */
	WIRE_FD_OOM,  /* memory.oom_control or memory.events: the line "oom_kill N" */
	WIRE_FD_CPU,  /* write the CPU quota here: see hello.cpu_style */
	WIRE_FD_COUNT
};

/* Results worth telling apart: BOX_MADE -EAGAIN: the host has no room; BOX_ASSIGNED -ENOENT: the
 * code is not unpacked, -EBUSY: the box already uses more memory than it would get. */

enum wire_cpu_style {
	WIRE_CPU_V1, /* "<quota_us>", period is 100000; "-1" for none */
	WIRE_CPU_V2, /* "<quota_us> 100000"; "max 100000" for none */
};

struct wire_hello {
	uint32_t cpu_style; /* enum wire_cpu_style */
	uint32_t
	    cgroup2_freeze; /* 1: "1"/"0" to cgroup.freeze; 0: "FROZEN"/"THAWED" to freezer.state */
	uint32_t boxes_max; /* slots that may be used: 0 .. boxes_max - 1 */
	uint32_t cpus;      /* CPUs that this host may use */
	uint64_t memory_bytes; /* memory that this host may use */
};

/* Numbers of 0 in a network's place: there is none. Addresses in network byte order. */
struct wire_net {
	uint32_t address, gateway;
	uint8_t has_namespace; /* and so WIRE_NET_FDS */
	uint8_t prefix_len;
	uint8_t mac[6];
	uint8_t port_count, pad[3];
	uint16_t host_port[WIRE_PORTS_MAX]; /* in the order of the record, none of them 0 */
};

struct wire_container {
	uint8_t id[WIRE_ID_SIZE], sandbox[WIRE_ID_SIZE];
	uint32_t signal;
	uint16_t rows, columns;
	uint32_t usage;        /* bit n: n-th descriptor is there */
	uint32_t state;        /* enum container_state */
	int32_t exit_code;     /* meaningless while it runs */
	uint32_t ended_unseen; /* the machine restarted, or conmon was killed: no exit code */
	uint32_t oom_killed, has_log;
	int64_t started_ms, finished_ms;
};

struct wire_msg {
	uint32_t kind;  /* enum wire_kind */
	int32_t result; /* 0 or -errno */
	uint32_t slot;
	uint32_t generation; /* chosen by core, differs for each occupant of a slot */
	uint64_t serial;     /* pairs an answer with its question where no slot does */
	uint32_t memory_mb;
	uint32_t tmp_mb;
	uint64_t limit_bytes;
	uint64_t size_bytes;
	uint32_t layer_count;
	uint32_t pad;
	uint8_t hash[WIRE_HASH_SIZE];
	union {
		uint8_t layers[WIRE_LAYERS_MAX][WIRE_HASH_SIZE]; /* lowest first */
		struct wire_container container;
	};
	struct wire_hello hello;
	union {
		char text[256]; /* NUL-terminated */
		struct wire_net net;
	};
};
_Static_assert(sizeof(struct wire_msg) == 528, "the layout is part of the protocol");

/* What a short-lived child of the spawner (mayfly-unpack among them) writes before it exits. */
struct wire_outcome {
	int32_t result; /* 0 or -errno */
	uint32_t pad;
	uint64_t size_bytes;
	char text[256]; /* for the user; NUL-terminated, "" on success */
};

/* What comes out of an archive of images (a tar, perhaps compressed), for each regular file and
 * link in it: this head, its name, what it links to, and for a file pieces of its bytes, each
 * behind a uint32_t that says how many (at most WIRE_PIECE_MAX), until one says 0. */
#define WIRE_PIECE_MAX 65536
#define WIRE_NAME_MAX 1024
struct wire_member {
	uint32_t name_len, link_len; /* bytes, at most WIRE_NAME_MAX; link_len 0: a file */
};
