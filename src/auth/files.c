/* The two files of an installation's keys. Blocking; used at start-up only. */
#include "auth/auth_int.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/rand.h"

#define CREDENTIALS_MAX 16384

/* 1: there and private, 0: not there, negative: there, but not as it should be. */
static int check_private(int dirfd, const char *name, struct err *e)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "looking at %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is not a plain file: move it away", name);
	if (st.st_mode & 077)
		return err_set(e, EPERM,
		    "%s can be read by others (mode %03o): run chmod 600 on it, and replace its "
		    "keys if others may have",
		    name, st.st_mode & 0777);
	return 1;
}

static int make_credentials(int dirfd, char *id, char *secret, struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r;

	auth_id_new("AKIA", id);
	auth_secret_new(secret);
	buf_printf(
	    &b, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, secret);
	r = fd_write_file(dirfd, "credentials", buf_data(&b), buf_len(&b), 0600);
	return r < 0 ? err_sys(e, -r, "writing credentials") : 0;
}

static bool take_value(struct str value, char *out, size_t size)
{
	if (value.len < 16 || value.len >= size || memchr(value.ptr, '\0', value.len))
		return false;
	memcpy(out, value.ptr, value.len);
	out[value.len] = '\0';
	return true;
}

static struct str trim(struct str s)
{
	s = str_trim(s);
	if (s.len && s.ptr[s.len - 1] == '\r')
		s = str_trim((struct str){s.ptr, s.len - 1});
	return s;
}

/* Profile "default", or what stands before any profile. */
static int parse_credentials(struct str text, char *id, size_t id_size, char *secret, struct err *e)
{
	bool here = true, have_id = false, have_secret = false;

	while (text.ptr) {
		struct str value = trim(str_cut(&text, '\n')), name;

		if (value.len && value.ptr[0] == '[') {
			here = str_is(value, "[default]");
			continue;
		}
		name = trim(str_cut(&value, '='));
		if (!here || !value.ptr)
			continue;
		if (str_is(name, "aws_access_key_id"))
			have_id = take_value(trim(value), id, id_size);
		else if (str_is(name, "aws_secret_access_key"))
			have_secret = take_value(trim(value), secret, AWS_SECRET_SIZE);
	}
	if (have_id && have_secret)
		return 0;
	return err_set(e, EINVAL,
	    "credentials needs aws_access_key_id and aws_secret_access_key below [default]; remove "
	    "the file to have a new pair made");
}

int auth_load_credentials(int dirfd, char id[sizeof(((struct aws_principal *)0)->access_key_id)],
    char secret[AWS_SECRET_SIZE], struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = check_private(dirfd, "credentials", e);

	if (r < 0)
		return r;
	if (r == 0)
		return make_credentials(dirfd, id, secret, e);
	r = fd_read_file(dirfd, "credentials", CREDENTIALS_MAX, &b);
	if (r < 0)
		return err_sys(e, -r, "reading credentials");
	return parse_credentials(
	    buf_str(&b), id, sizeof(((struct aws_principal *)0)->access_key_id), secret, e);
}

int auth_load_secret(int dirfd, uint8_t ret[AUTH_SERVER_SECRET_SIZE], struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	int r = check_private(dirfd, "secret", e);

	if (r < 0)
		return r;
	if (r == 0) {
		rand_bytes(ret, AUTH_SERVER_SECRET_SIZE);
		r = fd_write_file(dirfd, "secret", ret, AUTH_SERVER_SECRET_SIZE, 0600);
		return r < 0 ? err_sys(e, -r, "writing secret") : 0;
	}
	r = fd_read_file(dirfd, "secret", AUTH_SERVER_SECRET_SIZE, &b);
	if (r < 0)
		return err_sys(e, -r, "reading secret");
	if (buf_len(&b) != AUTH_SERVER_SECRET_SIZE)
		return err_set(e, EINVAL,
		    "secret is not %d bytes long: remove it to have a new one made (temporary keys "
		    "that are out become invalid)",
		    AUTH_SERVER_SECRET_SIZE);
	memcpy(ret, buf_data(&b), AUTH_SERVER_SECRET_SIZE);
	return 0;
}
