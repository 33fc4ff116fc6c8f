/* Endpoint, keys and region of the command line. See config.h. */
#include "cli/config.h"

#include <fcntl.h>

#include "base/fd.h"

#define FILE_LIMIT (1 << 20)

void config_keys_done(struct config_keys *k)
{
	free(k->id);
	free(k->secret);
	free(k->token);
	*k = (struct config_keys){NULL};
}

static void set(char **at, struct str value)
{
	free(*at);
	*at = xstrndup(value.ptr, value.len);
}

static void take_line(struct config_keys *k, struct str line)
{
	struct str rest = line, name = str_trim(str_cut(&rest, '='));

	if (!rest.ptr)
		return;
	rest = str_trim(rest);
	if (str_is(name, "aws_access_key_id"))
		set(&k->id, rest);
	else if (str_is(name, "aws_secret_access_key"))
		set(&k->secret, rest);
	else if (str_is(name, "aws_session_token"))
		set(&k->token, rest);
}

/* "[name]" -> name; in ~/.aws/config style "[profile name]" is the same. */
static bool is_section(struct str line, struct str *ret_name)
{
	if (line.len < 2 || line.ptr[0] != '[' || line.ptr[line.len - 1] != ']')
		return false;
	*ret_name = str_trim((struct str){line.ptr + 1, line.len - 2});
	return true;
}

static struct str next_line(struct str *text)
{
	struct str line = str_cut(text, '\n');

	if (line.len && line.ptr[line.len - 1] == '\r')
		line.len--;
	return str_trim(line);
}

int config_keys_read(const char *path, const char *profile, struct config_keys *ret, struct err *e)
{
	_cleanup_buf_ struct buf file = BUF_INIT;
	_cleanup_keys_ struct config_keys k = {NULL};
	struct str text, name;
	bool here = false;
	int r = fd_read_file(AT_FDCWD, path, FILE_LIMIT, &file);

	if (r < 0)
		return err_sys(e, -r, "reading %s", path);
	for (text = buf_str(&file); text.ptr;) {
		struct str line = next_line(&text);

		if (is_section(line, &name))
			here = str_is(name, profile);
		else if (here && line.len && line.ptr[0] != '#' && line.ptr[0] != ';')
			take_line(&k, line);
	}
	if (!k.id || !k.secret)
		return err_set(e, ENOENT, "%s has no keys for profile %s", path, profile);
	*ret = k;
	k = (struct config_keys){NULL};
	return 0;
}

static const char *from_env(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

static bool keys_from_env(struct config_keys *ret)
{
	const char *id = from_env("AWS_ACCESS_KEY_ID");
	const char *secret = from_env("AWS_SECRET_ACCESS_KEY");
	const char *token = from_env("AWS_SESSION_TOKEN");

	if (!id || !secret)
		return false;
	*ret = (struct config_keys){
	    .id = xstrdup(id), .secret = xstrdup(secret), .token = token ? xstrdup(token) : NULL};
	return true;
}

static bool keys_from_home(struct config_keys *ret)
{
	const char *profile = from_env("AWS_PROFILE"), *home = from_env("HOME");
	const char *file = from_env("AWS_SHARED_CREDENTIALS_FILE");
	_cleanup_free_ char *path =
	    file ? xstrdup(file) : xasprintf("%s/.aws/credentials", home ? home : "");

	return config_keys_read(path, profile ? profile : "default", ret, NULL) == 0;
}

void config_keys_find(struct config_keys *ret)
{
	if (keys_from_env(ret) || keys_from_home(ret) ||
	    config_keys_read(CONFIG_DATA "/credentials", "default", ret, NULL) == 0)
		return;
	*ret = (struct config_keys){.id = xstrdup("dev"), .secret = xstrdup("dev")};
}

const char *config_endpoint(void)
{
	const char *v = from_env("AWS_ENDPOINT_URL");

	return v ? v : CONFIG_ENDPOINT;
}

const char *config_region(void)
{
	const char *v = from_env("AWS_REGION");

	v = v ? v : from_env("AWS_DEFAULT_REGION");
	return v ? v : CONFIG_REGION;
}
