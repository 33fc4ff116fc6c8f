/* Reading WWW-Authenticate, and docker's credential file. See remote.h. Any thread. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>

#include "image/remote.h"

static void skip_blanks(struct str *s)
{
	while (s->len && (s->ptr[0] == ' ' || s->ptr[0] == '\t' || s->ptr[0] == ','))
		*s = (struct str){s->ptr + 1, s->len - 1};
}

static struct str take_token(struct str *s)
{
	size_t n = 0;
	struct str token;

	while (n < s->len &&
	       (isalnum((unsigned char)s->ptr[n]) || strchr("-_.~+!#$%&'*^`|/", s->ptr[n])) &&
	       s->ptr[n])
		n++;
	token = (struct str){s->ptr, n};
	*s = (struct str){s->ptr + n, s->len - n};
	return token;
}

/* A word or a quoted string, into out; false when it does not end or does not fit. */
static bool take_value(struct str *s, char *out, size_t size)
{
	size_t n = 0, i = 1;

	if (!s->len || s->ptr[0] != '"') {
		struct str token = take_token(s);

		if (token.len >= size)
			return false;
		memcpy(out, token.ptr, token.len);
		out[token.len] = '\0';
		return true;
	}
	for (; i < s->len && s->ptr[i] != '"'; i++) {
		if (s->ptr[i] == '\\' && i + 1 < s->len)
			i++;
		if ((unsigned char)s->ptr[i] < ' ' || n + 1 >= size)
			return false;
		out[n++] = s->ptr[i];
	}
	if (i >= s->len)
		return false;
	out[n] = '\0';
	*s = (struct str){s->ptr + i + 1, s->len - i - 1};
	return true;
}

bool challenge_parse(struct str value, struct challenge *ret)
{
	struct challenge c = {0};
	struct str scheme;
	char scratch[512];

	skip_blanks(&value);
	scheme = take_token(&value);
	c.bearer = str_eq_nocase(scheme, STR("bearer"));
	c.basic = str_eq_nocase(scheme, STR("basic"));
	if (!c.bearer && !c.basic)
		return false;
	for (;;) {
		struct str name;
		char *place = scratch;
		size_t size = sizeof(scratch);

		skip_blanks(&value);
		if (!value.len)
			break;
		name = take_token(&value);
		if (!name.len || !value.len || value.ptr[0] != '=')
			return false;
		value = (struct str){value.ptr + 1, value.len - 1};
		if (str_eq_nocase(name, STR("realm"))) {
			place = c.realm;
			size = sizeof(c.realm);
		} else if (str_eq_nocase(name, STR("service"))) {
			place = c.service;
			size = sizeof(c.service);
		}
		if (!take_value(&value, place, size))
			return false;
	}
	if (c.bearer && !c.realm[0])
		return false;
	*ret = c;
	return true;
}

/* ---- credentials ---- */

/* Keys are hosts, or addresses as docker.io's "https://index.docker.io/v1/". */
static bool key_is(const char *key, const char *registry)
{
	const char *host = strstr(key, "://") ? strstr(key, "://") + 3 : key;
	struct str h = {host, strcspn(host, "/")};

	if (strcmp(registry, "docker.io") == 0)
		return str_is(h, "docker.io") || str_is(h, "index.docker.io") ||
		       str_is(h, "registry-1.docker.io");
	return str_is(h, registry);
}

static bool copy_text(char *to, size_t size, struct str s)
{
	if (s.len >= size || memchr(s.ptr, '\0', s.len))
		return false;
	memcpy(to, s.ptr, s.len);
	to[s.len] = '\0';
	return true;
}

static bool take_auth(const json_t *entry, char username[256], char password[1024])
{
	const char *auth = json_string_value(json_object_get(entry, "auth"));
	const char *name = json_string_value(json_object_get(entry, "username"));
	const char *pass = json_string_value(json_object_get(entry, "password"));
	_cleanup_free_ char *text = NULL;
	struct str user, rest;
	ssize_t n;

	if (name && pass)
		return copy_text(username, 256, str_from(name)) &&
		       copy_text(password, 1024, str_from(pass));
	if (!auth || strlen(auth) > 4096)
		return false;
	text = xmalloc(strlen(auth) + 1);
	n = base64_decode(str_from(auth), text);
	if (n <= 0)
		return false;
	rest = (struct str){text, (size_t)n};
	user = str_cut(&rest, ':');
	return rest.ptr && copy_text(username, 256, user) && copy_text(password, 1024, rest);
}

bool docker_credentials(
    struct str text, const char *registry, char username[256], char password[1024])
{
	json_t *root = json_loadb(text.ptr, text.len, 0, NULL), *entry;
	const char *key;
	bool found = false;

	json_object_foreach(
	    json_object_get(root, "auths"), key, entry) if (!found && key_is(key, registry)) found =
	    take_auth(entry, username, password);
	json_decref(root);
	return found;
}
