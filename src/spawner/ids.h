/*
 * Every user and group number that Mayfly's processes run under. The range is reserved by
 * convention: far above what distributions and directory services give out. A group number equals
 * its user number.
 */
#pragma once

#define ID_CORE 1900000001u
#define ID_UNPACK 1900000002u

/* Box n: box-init and what it starts have two users, so that the runtime cannot touch pid 1. */
#define ID_BOX_INIT(n) (1900100000u + 2u * (n))
#define ID_BOX_RUNTIME(n) (1900100001u + 2u * (n))

/* The insides of all containers: user n inside is ID_CONTAINERS + n. */
#define ID_CONTAINERS 1900200000u
#define ID_CONTAINERS_COUNT 65536u

/* The same two as the box sees them; 993 and 990 are Lambda's sbx_user1051. */
#define ID_INSIDE_INIT 1u
#define ID_INSIDE_RUNTIME 993u
#define ID_INSIDE_RUNTIME_GROUP 990u
