/* See layer.h. */
#include "spawner/layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spawner/ids.h"
#include "spawner/remove.h"
#include "spawner/tree.h"
#include "spawner/unpack.h"

#define TEMPORARY ".new-"

/* What children left that were killed: they are named by their process. One whose number is in use
 * again waits for another time. */
static void sweep(int layers)
{
	int copy = openat(layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		const char *name = entry->d_name;

		if (strncmp(name, TEMPORARY, sizeof(TEMPORARY) - 1) == 0 &&
		    kill(atoi(name + sizeof(TEMPORARY) - 1), 0) < 0 && errno == ESRCH)
			remove_tree(layers, name);
	}
	if (d)
		closedir(d);
}

static int make_target(int layers, const char *name)
{
	int fd;

	remove_tree(layers, name);
	if (mkdirat(layers, name, 0700) < 0)
		return -errno;
	fd = openat(layers, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fchown(fd, ID_CONTAINERS, ID_CONTAINERS) == 0)
		return fd;
	close(fd);
	return -errno;
}

void layer_unpack(int layers, int input, int unpack_exe, const uint8_t hash[WIRE_HASH_SIZE],
    uint64_t limit_bytes, struct wire_outcome *ret)
{
	const struct unpack_task task = {.mode = UNPACK_LAYER,
	    .input = input,
	    .exe = unpack_exe,
	    .hash = hash,
	    .limit_bytes = limit_bytes};
	_cleanup_close_ int target = -1;
	char name[65], temporary[32];
	int r;

	tree_name(hash, name);
	snprintf(temporary, sizeof(temporary), TEMPORARY "%d", (int)getpid());
	sweep(layers);
	target = make_target(layers, temporary);
	r = target < 0 ? target : unpack_into(target, &task, ret);
	if (r == 0 && ret->result == 0)
		r = unpack_publish(layers, temporary, name, target);
	if (r < 0) {
		ret->result = r;
		snprintf(
		    ret->text, sizeof(ret->text), "unpacking a layer failed: %s", strerror(-r));
	}
	if (ret->result < 0)
		remove_tree(layers, temporary);
}
