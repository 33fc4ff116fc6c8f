/* Mounts and published ports of a container. */
#include <string.h>

#include "base/path.h"
#include "sched/task_int.h"

#define PATH_SIZE 4096
#define SOURCES_MAX 256 /* of volumesFrom, with those of others in turn */

struct mounts {
	struct arena *arena;
	struct container_mount items[CONTAINER_MOUNTS_MAX];
	size_t count, sources;
};

/* The spawner takes no ".."; what the host's path means is decided there. */
static const char *clean(struct arena *a, const char *path)
{
	char out[PATH_SIZE];

	return path && path_clean(path, out, sizeof(out)) ? arena_strdup(a, out) : NULL;
}

static int add(struct mounts *m, struct container_mount item, struct err *e)
{
	const char *target = clean(m->arena, item.target);

	if (!target || container_target_refused(target))
		return err_set(e, EINVAL, "nothing can be mounted at %.200s: %s",
		    item.target ? item.target : "",
		    target ? container_target_refused(target) : "it is not an absolute path");
	item.target = target;
	if (item.kind == CONTAINER_MOUNT_HOST)
		item.source = clean(m->arena, item.source);
	if (!item.source)
		return err_set(e, EINVAL, "the source of %.200s is not an absolute path", target);
	if (m->count == ARRAY_SIZE(m->items))
		return err_set(e, EINVAL, "more than %d mounts", CONTAINER_MOUNTS_MAX);
	m->items[m->count++] = item;
	return 0;
}

static const json_t *find_volume(const struct task *t, const char *name)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(t->definition, "volumes"), i, v)
	{
		const char *n = docs_str(v, "name");

		if (n && name && !strcmp(n, name))
			return v;
	}
	return NULL;
}

static int classify(const json_t *volume, struct container_mount *m, struct err *e)
{
	static const char *const foreign[] = {"efsVolumeConfiguration",
	    "fsxWindowsFileServerVolumeConfiguration", "s3filesVolumeConfiguration"};
	const json_t *docker = json_object_get(volume, "dockerVolumeConfiguration");
	const char *option =
	    json_object_iter_key(json_object_iter(json_object_get(docker, "driverOpts")));
	const char *path = docs_str(json_object_get(volume, "host"), "sourcePath"),
		   *name = docs_str(volume, "name"), *scope = docs_str(docker, "scope"),
		   *driver = docs_str(docker, "driver");

	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		if (json_object_get(volume, foreign[i]))
			return err_set(
			    e, ENODEV, "volume %.64s: %s is not available here", name, foreign[i]);
	if (driver && strcmp(driver, "local") != 0)
		return err_set(
		    e, ENODEV, "volume %.64s: there is no volume driver %.64s", name, driver);
	if (option)
		return err_set(e, ENODEV,
		    "volume %.64s: the driver option %.64s is not available here; leave driverOpts "
		    "out",
		    name, option);
	m->source = name;
	m->kind = scope && !strcmp(scope, "shared") ? CONTAINER_MOUNT_VOLUME : CONTAINER_MOUNT_TASK;
	if (path && *path) {
		m->kind = CONTAINER_MOUNT_HOST;
		m->source = path;
	}
	return 0;
}

static int add_points(
    struct mounts *m, const struct task *t, const json_t *def, bool read_only, struct err *e)
{
	size_t i;
	json_t *p;

	json_array_foreach(json_object_get(def, "mountPoints"), i, p)
	{
		const char *name = docs_str(p, "sourceVolume");
		const json_t *volume = find_volume(t, name);
		struct container_mount item = {.target = docs_str(p, "containerPath"),
		    .read_only = read_only || json_is_true(json_object_get(p, "readOnly"))};
		int r;

		if (!volume || !item.target)
			return err_set(e, EINVAL, "there is no volume %.64s", name ? name : "");
		r = classify(volume, &item, e);
		if (r == 0)
			r = add(m, item, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* With what those have from others in turn, as Docker. There are no circles, but a few containers
 * that name each other many times would be walked for ever all the same. */
static int add_from(
    struct mounts *m, const struct task *t, const json_t *def, bool read_only, struct err *e)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(def, "volumesFrom"), i, v)
	{
		const char *name = docs_str(v, "sourceContainer");
		const struct unit *from = name && *name ? task_unit(t, name) : NULL;
		bool ro = read_only || json_is_true(json_object_get(v, "readOnly"));
		int r;

		if (++m->sources > SOURCES_MAX)
			return err_set(e, EINVAL,
			    "volumesFrom leads to more than %d containers, with those that they "
			    "name in turn; name each once",
			    SOURCES_MAX);
		r = from ? add_points(m, t, from->def, ro, e)
			 : err_set(e, EINVAL, "there is no container %.64s", name ? name : "");

		if (r == 0)
			r = add_from(m, t, from->def, ro, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_mounted(const struct mounts *m, const char *target)
{
	for (size_t i = 0; i < m->count; i++)
		if (!strcmp(m->items[i].target, target))
			return true;
	return false;
}

/* Before the others, which may lie in it. */
static int add_first(struct mounts *m, struct container_mount item, struct err *e)
{
	int r = add(m, item, e);

	if (r < 0)
		return r;
	item = m->items[m->count - 1];
	memmove(&m->items[1], m->items, (m->count - 1) * sizeof(item));
	m->items[0] = item;
	return 0;
}

/* VOLUMEs of the image matter where the rest of the root is read-only: they are not. */
static int add_image(struct mounts *m, const struct spec_in *in, struct err *e)
{
	const char *const *volumes = in->image->volumes;
	int r = 0;

	if (!json_is_true(json_object_get(in->unit->def, "readonlyRootFilesystem")))
		return 0;
	for (; r == 0 && volumes && *volumes; volumes++) {
		const char *target = **volumes == '/' ? clean(m->arena, *volumes) : NULL;
		struct container_mount item = {
		    .kind = CONTAINER_MOUNT_ROOT, .source = target, .target = target};

		if (target && !container_target_refused(target) && !is_mounted(m, target))
			r = add_first(m, item, e);
	}
	return r;
}

static const char *options_of(struct arena *a, const json_t *tmpfs)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(tmpfs, "mountOptions"), i, v)
	{
		if (json_is_string(v))
			buf_printf(&b, "%s%s", buf_len(&b) ? "," : "", json_string_value(v));
	}
	return arena_str(a, buf_str(&b)).ptr;
}

static int add_tmpfs(struct mounts *m, const struct unit *u, struct err *e)
{
	const json_t *list = json_object_get(json_object_get(u->def, "linuxParameters"), "tmpfs");
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		int r = add(m,
		    (struct container_mount){.kind = CONTAINER_MOUNT_TMPFS,
			.source = options_of(m->arena, v),
			.target = docs_str(v, "containerPath"),
			.size_bytes = (uint64_t)docs_int(v, "size") << 20},
		    e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_texts(struct mounts *m, struct arena *a, const struct spec_in *in, struct err *e)
{
	const struct container_mount texts[] = {{.kind = CONTAINER_MOUNT_TEXT,
						    .source = text_resolv(a, in),
						    .target = "/etc/resolv.conf"},
	    {.kind = CONTAINER_MOUNT_TEXT, .source = text_hosts(a, in), .target = "/etc/hosts"},
	    {.kind = CONTAINER_MOUNT_TEXT,
		.source = arena_printf(a, "%s\n", spec_hostname(a, in->unit)),
		.target = "/etc/hostname"}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
		r = add(m, texts[i], e);
	return r;
}

int mount_build(
    struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e)
{
	struct mounts *m = arena_new(a, struct mounts);
	int r;

	m->arena = a;
	r = add_points(m, in->task, in->unit->def, false, e);
	if (r == 0)
		r = add_from(m, in->task, in->unit->def, false, e);
	if (r == 0)
		r = add_tmpfs(m, in->unit, e);
	if (r == 0)
		r = add_image(m, in, e);
	if (r == 0)
		r = add_texts(m, a, in, e);
	ret->mounts = m->items;
	ret->mount_count = m->count;
	return r;
}

/* ---- ports ---- */

/* "8000-8010", or one port. */
static bool port_range(const json_t *mapping, int64_t *ret_first, int64_t *ret_last)
{
	const char *text = docs_str(mapping, "containerPortRange");
	struct str rest = str_from(text), first;

	*ret_first = *ret_last = docs_int(mapping, "containerPort");
	if (!text)
		return *ret_first >= 1 && *ret_first <= 65535;
	first = str_cut(&rest, '-');
	return str_to_int64(first, 1, 65535, ret_first) &&
	       str_to_int64(rest, *ret_first, 65535, ret_last);
}

int port_build(struct arena *a, const struct spec_in *in, struct container_spec *ret, struct err *e)
{
	struct container_port *ports = arena_array(a, CONTAINER_PORTS_MAX, struct container_port);
	int64_t first, last;
	size_t i, n = 0;
	json_t *m;

	if (in->task->network != CONTAINER_NET_BRIDGE)
		return 0;
	json_array_foreach(json_object_get(in->unit->def, "portMappings"), i, m)
	{
		const char *protocol = docs_str(m, "protocol");

		if (!port_range(m, &first, &last))
			return err_set(e, EINVAL, "a port mapping names no port");
		if (last - first >= (int64_t)(CONTAINER_PORTS_MAX - n))
			return err_set(e, EINVAL, "more than %d ports", CONTAINER_PORTS_MAX);
		for (int64_t port = first; port <= last; port++)
			ports[n++] =
			    (struct container_port){.udp = protocol && !strcmp(protocol, "udp"),
				.host = (uint16_t)docs_int(m, "hostPort"),
				.inside = (uint16_t)port};
	}
	ret->ports = ports;
	ret->port_count = n;
	return 0;
}
