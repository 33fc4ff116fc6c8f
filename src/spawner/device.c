/* Devices of the host for a container. See containers_int.h. */
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "spawner/containers_int.h"
#include "spawner/ids.h"
#include "spawner/root.h"

#define AT ROOT_HOST_MOUNTS CONFIG_DEVICES

static int find(const char *path, struct config_device *ret, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return err_sys(e, errno, "looking for the device %s", path);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, EINVAL, "%s is not a device", path);
	*ret = (struct config_device){major(st.st_rdev), minor(st.st_rdev), st.st_mode};
	return 0;
}

/* As one of the host's other users: what those may not open would be of no use. */
static int check_mode(
    const struct container_device *d, const struct config_device *found, struct err *e)
{
	uint32_t wanted = (d->read ? S_IROTH : 0) | (d->write ? S_IWOTH : 0);

	if ((found->mode & wanted) == wanted)
		return 0;
	return err_set(e, EACCES,
	    "the device %s is not open to all users of this machine; start serve with "
	    "--allow-privileged",
	    d->host);
}

static int make_node(size_t index, const struct config_device *d, uid_t owner, struct err *e)
{
	char at[40];

	snprintf(at, sizeof(at), AT "/%zu", index);
	if (mknod(at, (d->mode & S_IFMT) | 0600, makedev(d->major, d->minor)) < 0 ||
	    chown(at, owner, owner) < 0 || chmod(at, d->mode & 0777) < 0)
		return err_sys(e, errno, "making a device");
	return 0;
}

int devices_make(const struct spawner *s, const struct container_spec *spec,
    struct config_device *ret, struct err *e)
{
	uid_t owner = s->allow_privileged ? ID_CONTAINERS : 0;
	int r = 0;

	if (!spec->device_count)
		return 0;
	/* Of its own, because nothing else that is mounted there may be a device. */
	if (mkdir(AT, 0755) < 0 ||
	    mount("devices", AT, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0)
		return err_sys(e, errno, "mounting a place for devices");
	for (size_t i = 0; i < spec->device_count && r == 0; i++) {
		r = find(spec->devices[i].host, &ret[i], e);
		if (r == 0 && !s->allow_privileged)
			r = check_mode(&spec->devices[i], &ret[i], e);
		if (r == 0)
			r = make_node(i, &ret[i], owner, e);
	}
	return r;
}
