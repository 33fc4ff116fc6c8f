/*
 * Boxes: their processes, groups and mounts, one slot each. Which message is allowed when is the
 * gate's business; this does what it let through. See spawner_int.h.
 */
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "spawner/blank.h"
#include "spawner/ids.h"
#include "spawner/image.h"
#include "spawner/netlink.h"
#include "spawner/spawner_int.h"
#include "spawner/tree.h"

void boxes_init(struct spawner *s)
{
	list_init(&s->lingering);
	list_init(&s->disk_queue);
	for (uint32_t i = 0; i < WIRE_BOXES_MAX; i++) {
		struct box *b = &s->boxes[i];

		b->pidfd = b->control = -1;
		list_init(&b->waiting);
		list_init(&b->lingering);
	}
}

static void tell(struct spawner *s, uint32_t kind, uint32_t slot, int result)
{
	struct wire_msg m = {.kind = kind,
	    .slot = slot,
	    .generation = s->gate.slot[slot].generation,
	    .result = result};

	core_tell(s, &m, NULL, 0);
}

/* ---- the end ---- */

/* Only the group is left. Once that is gone, core may use the slot again. */
static void finish(struct spawner *s, uint32_t slot)
{
	struct box *b = &s->boxes[slot];
	int r = s->cgroups.ops->remove(&s->cgroups, slot);

	if (r == -EBUSY) {
		if (list_empty(&b->lingering))
			list_push_back(&s->lingering, &b->lingering);
		return;
	}
	if (r < 0)
		log_error("removing the cgroup of box %u: %s", slot, strerror(-r));
	list_remove(&b->lingering);
	s->gate.slot[slot].state = SLOT_FREE;
	tell(s, WIRE_BOX_DEAD, slot, 0);
}

void boxes_sweep(struct spawner *s)
{
	list_for_each_safe (n, &s->lingering)
		finish(s, (uint32_t)(list_entry(n, struct box, lingering) - s->boxes));
}

static void drop_control(struct spawner *s, struct box *b)
{
	if (b->control < 0)
		return;
	unwatch(s, b->control);
	base_closep(&b->control);
	b->control = -1;
}

void box_kill(struct spawner *s, uint32_t slot)
{
	struct box *b = &s->boxes[slot];

	s->gate.slot[slot].state = SLOT_DYING;
	list_remove(&b->waiting);
	drop_control(s, b);
	if (b->pidfd >= 0)
		pidfd_send(b->pidfd, SIGKILL); /* pid 1: all others go with it */
	if (s->cgroups.dir[TREE_FREEZER] >= 0) {
		char name[16];

		cgroup_box_name(slot, name); /* the v1 freezer holds even the killed */
		cgroup_write(s->cgroups.dir[TREE_FREEZER], name, "freezer.state", "THAWED");
	}
}

void box_on_exit(struct spawner *s, uint32_t slot)
{
	struct box *b = &s->boxes[slot];

	unwatch(s, b->pidfd);
	pidfd_reap(b->pidfd);
	base_closep(&b->pidfd);
	b->pidfd = -1;
	drop_control(s, b);
	list_remove(&b->waiting);
	if (s->gate.slot[slot].state == SLOT_MAKING) {
		s->cgroups.ops->remove(&s->cgroups, slot);
		s->gate.slot[slot].state = SLOT_FREE;
		tell(s, WIRE_BOX_MADE, slot, -EIO);
		return;
	}
	s->gate.slot[slot].state = SLOT_DYING;
	finish(s, slot);
}

void boxes_kill_all(struct spawner *s)
{
	for (uint32_t i = 0; i < s->gate.slots; i++)
		if (s->gate.slot[i].state != SLOT_FREE && s->gate.slot[i].state != SLOT_DYING)
			box_kill(s, i);
}

/* ---- making ---- */

/* The new process in its groups, with init_end as its control socket. */
static int start(struct spawner *s, uint32_t slot, int init_end)
{
	struct box *b = &s->boxes[slot];
	struct clone_args args = {.flags = BLANK_NAMESPACES | CLONE_PIDFD,
	    .pidfd = (uintptr_t)&b->pidfd,
	    .exit_signal = SIGCHLD};
	_cleanup_close_ int group = -1, host = -1;
	int r = s->cgroups.ops->make(&s->cgroups, slot, &group);

	b->seat = egress_change_seat(&s->egress, b->seat);
	if (r == 0 && b->seat) { /* each its own: answers would get mixed */
		host = netlink_open(NETLINK_ROUTE);
		r = host < 0 ? host : 0;
	}
	if (r == 0) /* a ceiling until the assignment sets its own */
		r = s->cgroups.ops->limit(
		    &s->cgroups, slot, (uint64_t)WIRE_MEMORY_MB_MAX << 20, BOX_PIDS_MAX);
	if (r < 0)
		return r;
	if (group >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)group;
	}
	check(setns(s->box_mounts, CLONE_NEWNS) == 0);
	b->pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (b->pid == 0)
		blank_run(&(const struct blank){
		    &s->cgroups, slot, init_end, s->exe_init, &s->egress, b->seat, host});
	r = b->pid < 0 ? -errno : 0;
	check(setns(s->own_mounts, CLONE_NEWNS) == 0);
	if (r < 0)
		b->pidfd = -1;
	return r;
}

static void make_failed(struct spawner *s, uint32_t slot, int r)
{
	struct box *b = &s->boxes[slot];

	log_error("making box %u: %s", slot, strerror(-r));
	if (b->pidfd >= 0) {
		pidfd_send(b->pidfd, SIGKILL);
		pidfd_reap(b->pidfd);
		base_closep(&b->pidfd);
		b->pidfd = -1;
	}
	drop_control(s, b);
	s->cgroups.ops->remove(&s->cgroups, slot);
	s->gate.slot[slot].state = SLOT_FREE;
	tell(s, WIRE_BOX_MADE, slot, r);
}

void box_make(struct spawner *s, const struct wire_msg *m)
{
	struct box *b = &s->boxes[m->slot];
	int ends[2], r;

	b->root_count = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		make_failed(s, m->slot, -errno);
		return;
	}
	r = start(s, m->slot, ends[1]);
	close(ends[1]);
	b->control = ends[0];
	if (r == 0)
		r = watch(s, b->control, EV_BOX, m->slot);
	if (r == 0)
		r = watch(s, b->pidfd, EV_BOX_EXIT, m->slot);
	if (r < 0)
		make_failed(s, m->slot, r);
}

static int write_map(pid_t pid, const char *file, const char *text)
{
	char path[48];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

static int map_ids(pid_t pid, uint32_t slot)
{
	char text[96];
	int r;

	snprintf(text, sizeof(text), "%u %u 1\n%u %u 1\n", ID_INSIDE_INIT, ID_BOX_INIT(slot),
	    ID_INSIDE_RUNTIME, ID_BOX_RUNTIME(slot));
	r = write_map(pid, "uid_map", text);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%u %u 1\n%u %u 1\n", ID_INSIDE_INIT, ID_BOX_INIT(slot),
	    ID_INSIDE_RUNTIME_GROUP, ID_BOX_RUNTIME(slot));
	return write_map(pid, "gid_map", text);
}

/* Everything core needs of the box, in the order of enum wire_box_fd, in one message. */
static void hand_over(struct spawner *s, uint32_t slot, int fds[WIRE_FD_COUNT])
{
	struct wire_msg m = {
	    .kind = WIRE_BOX_MADE, .slot = slot, .generation = s->gate.slot[slot].generation};
	int sent[WIRE_FD_COUNT];
	size_t count = 0;

	for (int i = 0; i < WIRE_FD_COUNT; i++)
		if (fds[i] >= 0)
			sent[count++] = fds[i];
	s->gate.slot[slot].state = SLOT_BLANK;
	core_tell(s, &m, sent, count);
}

/* The new box has its user namespace and shows its listeners: map ids, let it go on. */
void box_on_message(struct spawner *s, uint32_t slot)
{
	struct box *b = &s->boxes[slot];
	int passed[FD_PASS_MAX], fds[WIRE_FD_COUNT];
	size_t count = 0;
	char byte;
	int r;

	for (int i = 0; i < WIRE_FD_COUNT; i++)
		fds[i] = -1;
	if (fd_recv_fds(b->control, &byte, 1, passed, &count, 0) <= 0 || count != 2) {
		while (count)
			close(passed[--count]);
		unwatch(s, b->control); /* it has died, and its exit comes next */
		return;
	}
	fds[WIRE_FD_API] = passed[0];
	fds[WIRE_FD_ENDPOINT] = passed[1];
	r = map_ids(b->pid, slot);
	if (r == 0)
		r = s->cgroups.ops->open_files(&s->cgroups, slot, fds);
	if (r == 0)
		r = fd_send_fds(b->control, &byte, 1, NULL, 0, 0);
	if (r == 0) {
		fds[WIRE_FD_CONTROL] = b->control;
		hand_over(s, slot, fds);
		fds[WIRE_FD_CONTROL] = -1;
		drop_control(s, b);
	} else {
		log_error("making box %u: %s", slot, strerror(-r));
		pidfd_send(b->pidfd, SIGKILL); /* box_on_exit() tells core */
	}
	for (int i = 0; i < WIRE_FD_COUNT; i++)
		base_closep(&fds[i]);
}

/* ---- assigning ---- */

static int put(int mount, const char *at)
{
	return move_mount(mount, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Visit the box's mount namespace, whose paths are our own template's, and come back. */
static int attach(struct spawner *s, struct box *b, int code, int layers, int disk)
{
	int r;

	if (setns(b->pidfd, CLONE_NEWNS) < 0)
		return -errno;
	r = put(code, "/var/task");
	if (r == 0 && layers >= 0)
		r = put(layers, "/opt");
	if (r == 0)
		r = put(disk, "/tmp");
	check(setns(s->own_mounts, CLONE_NEWNS) == 0);
	return r;
}

void box_name_root(struct spawner *s, const struct wire_msg *m)
{
	struct box *b = &s->boxes[m->slot];

	memcpy(s->roots[m->slot].layers[b->root_count], m->layers, m->layer_count * WIRE_HASH_SIZE);
	b->root_count += m->layer_count;
}

static int assign_image(struct spawner *s, uint32_t slot, int disk)
{
	const struct box *b = &s->boxes[slot];
	_cleanup_close_ int image = image_mount(
	    s->layers, (const uint8_t(*)[WIRE_HASH_SIZE])s->roots[slot].layers, b->root_count);
	int r;

	if (image < 0)
		return image;
	if (setns(b->pidfd, CLONE_NEWNS) < 0)
		return -errno;
	r = image_become_root(image, disk);
	check(setns(s->own_mounts, CLONE_NEWNS) == 0);
	return r;
}

static int assign(struct spawner *s, uint32_t slot, int disk)
{
	struct box *b = &s->boxes[slot];
	_cleanup_close_ int code = tree_mount(s->code, b->code), layers = -1;

	if (code < 0)
		return code;
	if (b->layer_count == 1)
		layers = tree_mount(s->code, b->layers[0]);
	else if (b->layer_count > 1)
		layers = tree_mount_layers(b->layers, b->layer_count);
	if (b->layer_count && layers < 0)
		return layers;
	return attach(s, b, code, layers, disk);
}

void box_on_disk(struct spawner *s, uint32_t slot, int mount, int result)
{
	int r = result;

	if (r == 0)
		r = s->boxes[slot].root_count ? assign_image(s, slot, mount)
					      : assign(s, slot, mount);

	s->gate.slot[slot].state = SLOT_ASSIGNED;
	tell(s, WIRE_BOX_ASSIGNED, slot, r);
}

void box_assign(struct spawner *s, const struct wire_msg *m)
{
	struct box *b = &s->boxes[m->slot];
	int r =
	    s->cgroups.ops->limit(&s->cgroups, m->slot, (uint64_t)m->memory_mb << 20, BOX_PIDS_MAX);

	if (r < 0) {
		s->gate.slot[m->slot].state = SLOT_ASSIGNED;
		tell(s, WIRE_BOX_ASSIGNED, m->slot, r);
		return;
	}
	b->memory_mb = m->memory_mb;
	b->tmp_mb = m->tmp_mb;
	b->layer_count = m->layer_count;
	memcpy(b->code, m->hash, sizeof(b->code));
	memcpy(b->layers, m->layers, sizeof(b->layers));
	list_push_back(&s->disk_queue, &b->waiting);
	disks_pump(s);
}
