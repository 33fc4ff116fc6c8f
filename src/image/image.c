/* One image as others see it, and who its users are. See image.h. */
#include <ctype.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image/image_int.h"

#define USERS_MAX (1u << 20) /* bytes of passwd and of group */
#define ID_MAX 65535

struct image *image_get(struct images *i, const char *digest, struct config *c, uint64_t bytes)
{
	struct image *image = map_get(&i->live, str_from(digest));

	if (image) {
		config_done(c);
		return image_ref(image);
	}
	image = xcalloc(1, sizeof(*image));
	image->refs = 1;
	image->images = i;
	image->config = *c;
	image->bytes = bytes;
	*c = (struct config){0};
	snprintf(image->digest, sizeof(image->digest), "%s", digest);
	map_put(&i->live, str_from(digest), image);
	return image;
}

struct image *image_ref(struct image *i)
{
	i->refs++;
	return i;
}

void image_unref(struct image *i)
{
	if (!i || --i->refs)
		return;
	map_remove(&i->images->live, str_from(i->digest));
	config_done(&i->config);
	free(i);
}

const struct image_config *image_config(const struct image *i)
{
	return &i->config.config;
}

const char *image_digest(const struct image *i)
{
	return i->digest;
}

uint64_t image_bytes(const struct image *i)
{
	return i->bytes;
}

size_t image_layers(const struct image *i, const uint8_t (**ret_diff_ids)[WIRE_HASH_SIZE])
{
	*ret_diff_ids = (const uint8_t(*)[WIRE_HASH_SIZE])i->config.diff_ids;
	return i->config.layer_count;
}

/* ---- users ---- */

/* Whatever the layer says, the kernel stays in it. */
static int open_in(int layer, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC,
	    .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
	long fd = syscall(SYS_openat2, layer, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

enum found { FOUND_NOT, FOUND_FILE, FOUND_GONE };

static enum found read_in_layer(int layer, const char *name, struct buf *ret)
{
	_cleanup_close_ int etc = open_in(layer, "etc", O_RDONLY | O_DIRECTORY), fd = -1;
	enum found none = FOUND_NOT;
	struct stat st;
	char opaque;

	if (etc < 0)
		return fstatat(layer, "etc", &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode)
			   ? FOUND_GONE
			   : FOUND_NOT;
	if (fgetxattr(etc, "user.overlay.opaque", &opaque, 1) == 1 && opaque == 'y')
		none = FOUND_GONE;
	fd = open_in(etc, name, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fstatat(etc, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? FOUND_GONE : none;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > USERS_MAX)
		return FOUND_GONE;
	while (buf_len(ret) < USERS_MAX) {
		ssize_t n = read(fd, buf_reserve(ret, 16384), 16384);

		if (n <= 0)
			break;
		buf_commit(ret, (size_t)n);
	}
	return FOUND_FILE;
}

/* The file as the stacked layers show it; empty when there is none. Small: read on the loop. */
static void read_users(const struct image *i, const char *name, struct buf *ret)
{
	char hex[2 * WIRE_HASH_SIZE + 1];

	for (size_t n = i->config.layer_count; n-- > 0;) {
		_cleanup_close_ int layer = -1;

		hex_encode(i->config.diff_ids[n], WIRE_HASH_SIZE, hex);
		layer =
		    openat(i->images->layers, hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (layer >= 0 && read_in_layer(layer, name, ret) != FOUND_NOT)
			return;
	}
}

static bool number(struct str s, uint32_t *ret)
{
	int64_t n;

	if (!str_to_int64(s, 0, ID_MAX, &n))
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* Fields of the next line that has `want` of them; false at the end. */
static bool next_line(struct str *rest, struct str *fields, size_t want)
{
	while (rest->ptr) {
		struct str line = str_cut(rest, '\n');
		size_t n = 0;

		while (line.ptr && n < want)
			fields[n++] = str_cut(&line, ':');
		if (n == want)
			return true;
	}
	return false;
}

/* By name or number; name is then what passwd calls that number ("" if it does not). */
static bool find_user(
    struct str passwd, struct str user, uint32_t *uid, uint32_t *gid, struct str *name)
{
	uint32_t wanted = 0, id, group;
	bool by_number = number(user, &wanted);
	struct str f[4];

	*name = by_number ? STR("") : user;
	while (next_line(&passwd, f, 4)) {
		if (!number(f[2], &id) || !number(f[3], &group))
			continue;
		if (!str_eq(f[0], user) && !(by_number && id == wanted))
			continue;
		*uid = id;
		*gid = group;
		*name = f[0];
		return true;
	}
	*uid = wanted;
	*gid = 0;
	return by_number;
}

static bool find_group(struct str groups, struct str group, uint32_t *gid)
{
	struct str f[3];
	uint32_t id;

	while (next_line(&groups, f, 3))
		if (str_eq(f[0], group) && number(f[2], &id)) {
			*gid = id;
			return true;
		}
	return number(group, gid);
}

static bool lists(struct str members, struct str name)
{
	while (members.ptr)
		if (str_eq(str_trim(str_cut(&members, ',')), name))
			return true;
	return false;
}

static size_t find_memberships(struct str groups, struct str name, uint32_t out[32])
{
	struct str f[4];
	size_t n = 0;
	uint32_t id;

	while (name.len && n < 32 && next_line(&groups, f, 4))
		if (number(f[2], &id) && lists(f[3], name))
			out[n++] = id;
	return n;
}

static int look_up(struct str passwd, struct str groups, const char *user, uint32_t *ret_uid,
    uint32_t *ret_gid, uint32_t out[32], size_t *ret_count, struct err *e)
{
	struct str group = str_from(user[0] ? user : "0"), who = str_cut(&group, ':'), name;
	uint32_t uid = 0, gid = 0;

	if (!find_user(passwd, who, &uid, &gid, &name))
		return err_set(e, ENOENT,
		    "unable to find user %.*s: no matching entries in passwd file",
		    (int)min_size(who.len, 60), who.ptr);
	*ret_count = 0;
	if (group.ptr && group.len) {
		if (!find_group(groups, group, &gid))
			return err_set(e, ENOENT,
			    "unable to find group %.*s: no matching entries in group file",
			    (int)min_size(group.len, 60), group.ptr);
	} else {
		*ret_count = find_memberships(groups, name, out);
	}
	*ret_uid = uid;
	*ret_gid = gid;
	return 0;
}

int image_user(const struct image *i, const char *user, uint32_t *ret_uid, uint32_t *ret_gid,
    uint32_t groups[32], size_t *ret_count, struct err *e)
{
	struct buf passwd = BUF_INIT, group = BUF_INIT;
	int r;

	read_users(i, "passwd", &passwd);
	read_users(i, "group", &group);
	r = look_up(
	    buf_str(&passwd), buf_str(&group), user, ret_uid, ret_gid, groups, ret_count, e);
	buf_done(&passwd);
	buf_done(&group);
	return r;
}
