/* Writing records for the spawner. See container_spec.h. */
#include "spawn/container_record.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"

static void put_u32(struct buf *b, uint32_t n)
{
	buf_append(b, &n, sizeof(n));
}

static void put_u64(struct buf *b, uint64_t n)
{
	buf_append(b, &n, sizeof(n));
}

static void put_text(struct buf *b, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	put_u32(b, (uint32_t)len);
	buf_append(b, text ? text : "", len);
	buf_append(b, "", 1);
}

static void put_texts(struct buf *b, const char *const *texts, size_t count)
{
	put_u32(b, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		put_text(b, texts[i]);
}

static void put_pairs(struct buf *b, const struct container_pair *pairs, size_t count)
{
	put_u32(b, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		put_text(b, pairs[i].name);
		put_text(b, pairs[i].value);
	}
}

static int seal(struct buf *b)
{
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	_cleanup_close_ int fd = -1;
	int r;

	if (buf_len(b) > CONTAINER_SPEC_MAX)
		return -E2BIG;
	fd = memfd_create("record", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, buf_data(b), buf_len(b));
	if (r == 0 && fcntl(fd, F_ADD_SEALS, seals) < 0)
		r = -errno;
	return r < 0 ? r : take_fd(&fd);
}

int container_record_sandbox(const struct sandbox_spec *s)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	put_u32(&b, RECORD_SANDBOX);
	put_text(&b, s->id);
	put_u32(&b, s->network);
	put_u32(&b, s->share_pid);
	put_u32(&b, s->share_ipc);
	put_u32(&b, s->host_pid);
	put_u32(&b, s->host_ipc);
	put_u32(&b, s->cpu_milli);
	put_u64(&b, s->memory_bytes);
	put_u64(&b, s->disk_bytes);
	put_u32(&b, s->pids_max);
	put_u64(&b, s->shm_bytes);
	return seal(&b);
}

static void put_process(struct buf *b, const struct container_spec *c)
{
	put_texts(b, c->args, c->arg_count);
	put_pairs(b, c->env, c->env_count);
	put_text(b, c->cwd);
	put_text(b, c->hostname);
	put_u32(b, c->uid);
	put_u32(b, c->gid);
	put_u32(b, (uint32_t)c->group_count);
	for (size_t i = 0; i < c->group_count; i++)
		put_u32(b, c->groups[i]);
	put_u32(b, c->terminal);
	put_u32(b, c->open_stdin);
	put_u32(b, c->read_only_root);
	put_u32(b, c->init);
	put_u32(b, c->privileged);
	put_u32(b, c->no_new_privileges);
	put_u32(b, c->no_network);
	put_u64(b, c->capabilities);
}

static void put_limits(struct buf *b, const struct container_spec *c)
{
	put_u32(b, c->cpu_shares);
	put_u64(b, c->memory_bytes);
	put_u64(b, c->memory_reservation_bytes);
	put_u64(b, c->shm_bytes);
	put_u64(b, (uint64_t)c->swap_bytes);
	put_u32(b, c->swappiness);
}

static void put_mounts(struct buf *b, const struct container_spec *c)
{
	put_u32(b, (uint32_t)c->mount_count);
	for (size_t i = 0; i < c->mount_count; i++) {
		put_u32(b, c->mounts[i].kind);
		put_text(b, c->mounts[i].source);
		put_text(b, c->mounts[i].target);
		put_u32(b, c->mounts[i].read_only);
		put_u64(b, c->mounts[i].size_bytes);
	}
}

static void put_devices(struct buf *b, const struct container_spec *c)
{
	put_u32(b, (uint32_t)c->limit_count);
	for (size_t i = 0; i < c->limit_count; i++) {
		put_text(b, c->limits[i].name);
		put_u64(b, c->limits[i].soft);
		put_u64(b, c->limits[i].hard);
	}
	put_u32(b, (uint32_t)c->device_count);
	for (size_t i = 0; i < c->device_count; i++) {
		put_text(b, c->devices[i].host);
		put_text(b, c->devices[i].inside);
		put_u32(b, c->devices[i].read);
		put_u32(b, c->devices[i].write);
		put_u32(b, c->devices[i].mknod);
	}
}

static void put_ports(struct buf *b, const struct container_spec *c)
{
	put_u32(b, (uint32_t)c->port_count);
	for (size_t i = 0; i < c->port_count; i++) {
		put_u32(b, c->ports[i].udp);
		put_text(b, c->ports[i].host_address);
		put_u32(b, c->ports[i].host);
		put_u32(b, c->ports[i].inside);
	}
}

int container_record_container(const struct container_spec *c)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	put_u32(&b, RECORD_CONTAINER);
	put_text(&b, c->id);
	put_text(&b, c->sandbox);
	put_text(&b, c->runtime);
	put_u32(&b, (uint32_t)c->layer_count);
	buf_append(&b, c->layers, c->layer_count * WIRE_HASH_SIZE);
	put_process(&b, c);
	put_limits(&b, c);
	put_mounts(&b, c);
	put_devices(&b, c);
	put_pairs(&b, c->sysctls, c->sysctl_count);
	put_ports(&b, c);
	return seal(&b);
}

int container_record_exec(const struct container_exec *x, const char *sandbox)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	put_u32(&b, RECORD_EXEC);
	put_text(&b, x->id);
	put_text(&b, sandbox);
	put_text(&b, x->exec_id);
	put_texts(&b, x->args, x->arg_count);
	put_u32(&b, x->env != NULL);
	put_pairs(&b, x->env, x->env ? x->env_count : 0);
	put_u32(&b, x->terminal);
	put_u32(&b, x->rows);
	put_u32(&b, x->columns);
	return seal(&b);
}

/* Root wrote what we once sent: fixed places, as a sandbox has one text of fixed length. */
int container_record_read_sandbox(int fd, struct sandbox_spec *ret)
{
	struct {
		uint32_t kind, len;
		char id[CONTAINER_ID_SIZE];
	} __attribute__((packed)) head;
	struct {
		uint32_t network, share_pid, share_ipc, host_pid, host_ipc, cpu_milli;
		uint64_t memory_bytes, disk_bytes;
		uint32_t pids_max;
	} __attribute__((packed)) rest;

	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    pread(fd, &rest, sizeof(rest), sizeof(head)) != sizeof(rest))
		return -EBADMSG;
	if (head.kind != RECORD_SANDBOX || head.len != CONTAINER_ID_SIZE - 1)
		return -EBADMSG;
	*ret = (struct sandbox_spec){.network = (enum container_network)rest.network,
	    .share_pid = rest.share_pid,
	    .share_ipc = rest.share_ipc,
	    .host_pid = rest.host_pid,
	    .host_ipc = rest.host_ipc,
	    .cpu_milli = rest.cpu_milli,
	    .memory_bytes = rest.memory_bytes,
	    .disk_bytes = rest.disk_bytes,
	    .pids_max = rest.pids_max};
	memcpy(ret->id, head.id, sizeof(ret->id));
	ret->id[sizeof(ret->id) - 1] = '\0';
	return 0;
}
