/* How images are named. See image.h. Any thread. */
#include <ctype.h>
#include <stdio.h>

#include "image/image.h"

#define ECR_WORD ".dkr.ecr."

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Words of lower-case letters and digits, between them '.', '_', '__' or dashes. */
static bool component_ok(struct str s)
{
	size_t i = 0;

	if (s.len == 0 || !is_lower(s.ptr[0]) || !is_lower(s.ptr[s.len - 1]))
		return false;
	while (i < s.len) {
		size_t run = 0;
		char c = s.ptr[i];

		if (is_lower(c)) {
			i++;
			continue;
		}
		while (i + run < s.len && s.ptr[i + run] == c)
			run++;
		if ((c == '.' && run > 1) || (c == '_' && run > 2) || !strchr("._-", c) || !c)
			return false;
		i += run;
		if (!is_lower(s.ptr[i]))
			return false;
	}
	return true;
}

bool image_name_ok(struct str name)
{
	if (name.len == 0 || name.len > 255)
		return false;
	while (name.ptr)
		if (!component_ok(str_cut(&name, '/')))
			return false;
	return true;
}

bool image_tag_ok(struct str tag)
{
	if (tag.len == 0 || tag.len > 128 || tag.ptr[0] == '.' || tag.ptr[0] == '-')
		return false;
	for (size_t i = 0; i < tag.len; i++)
		if (!isalnum((unsigned char)tag.ptr[i]) && !memchr("._-", tag.ptr[i], 3))
			return false;
	return true;
}

bool image_digest_ok(struct str digest)
{
	if (digest.len != IMAGE_DIGEST_SIZE - 1 || !str_has_prefix(digest, "sha256:"))
		return false;
	for (size_t i = 7; i < digest.len; i++)
		if (!is_lower(digest.ptr[i]) || digest.ptr[i] > 'f')
			return false;
	return true;
}

/* ---- hosts ---- */

static bool host_ok(struct str host)
{
	if (host.len == 0 || host.len > 255)
		return false;
	for (size_t i = 0; i < host.len; i++)
		if (!isalnum((unsigned char)host.ptr[i]) && !memchr(".-:[]", host.ptr[i], 5))
			return false;
	return true;
}

static struct str without_port(struct str host)
{
	const char *colon = host.len ? memrchr(host.ptr, ':', host.len) : NULL;

	return colon ? (struct str){host.ptr, (size_t)(colon - host.ptr)} : host;
}

bool image_realm_of_host(struct str host, char ret_realm[64])
{
	static const char *const ends[] = {".amazonaws.com", ".amazonaws.com.cn", ".localhost"};
	struct str h = without_port(host), region;

	if (h.len < 12 + sizeof(ECR_WORD) || memcmp(h.ptr + 12, ECR_WORD, sizeof(ECR_WORD) - 1))
		return false;
	for (size_t i = 0; i < 12; i++)
		if (!isdigit((unsigned char)h.ptr[i]))
			return false;
	region = str_sub(h, 12 + sizeof(ECR_WORD) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (str_has_suffix(region, ends[i])) {
			region.len -= strlen(ends[i]);
			if (region.len == 0 || region.len > 40 ||
			    memchr(region.ptr, '.', region.len))
				return false;
			snprintf(ret_realm, 64, "%.12s.%.*s", h.ptr, STR_FMT(region));
			return true;
		}
	return false;
}

static bool is_own(struct str host, const char *const *own)
{
	for (; own && *own; own++)
		if (str_is(host, *own))
			return true;
	return false;
}

/* The first part is a host if it looks like one: Docker's rule. */
static struct str cut_host(struct str *rest)
{
	struct str whole = *rest, first = str_cut(rest, '/');

	if (rest->ptr && (memchr(first.ptr, '.', first.len) || memchr(first.ptr, ':', first.len) ||
			     str_is(first, "localhost")))
		return first;
	*rest = whole;
	return STR_NULL;
}

/* ---- the whole ---- */

static void copy(char *to, struct str s)
{
	memcpy(to, s.ptr, s.len);
	to[s.len] = '\0';
}

static int bad(struct err *e, struct str text)
{
	return err_set(e, EINVAL,
	    "'%.*s' is not a name of an image: [HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST], with a "
	    "name in lower case",
	    (int)min_size(text.len, 120), text.ptr);
}

static void set_host(struct image_reference *r, struct str host, const char *const *own)
{
	if (!host.ptr || str_is(host, "index.docker.io") || str_is(host, "registry-1.docker.io"))
		host = STR("docker.io");
	if (image_realm_of_host(host, r->realm))
		return;
	if (is_own(host, own))
		snprintf(r->realm, sizeof(r->realm), IMAGE_REALM_DEFAULT);
	else
		copy(r->registry, host);
}

int image_reference_parse(
    struct str text, const char *const *own, struct image_reference *ret, struct err *e)
{
	struct image_reference r = {0};
	struct str rest = text, host, tag = STR_NULL, digest = STR_NULL;
	const char *at = text.len ? memchr(text.ptr, '@', text.len) : NULL, *colon;
	bool library;

	if (at) {
		digest = str_sub(text, (size_t)(at - text.ptr) + 1);
		rest.len = (size_t)(at - text.ptr);
		if (!image_digest_ok(digest))
			return bad(e, text);
		copy(r.digest, digest);
	}
	host = cut_host(&rest);
	if (host.ptr && !host_ok(host))
		return bad(e, text);
	set_host(&r, host, own);
	colon = rest.len ? memchr(rest.ptr, ':', rest.len) : NULL;
	if (colon) {
		tag = str_sub(rest, (size_t)(colon - rest.ptr) + 1);
		rest.len = (size_t)(colon - rest.ptr);
		if (!tag.ptr || !image_tag_ok(tag))
			return bad(e, text);
		copy(r.tag, tag);
	} else if (!at) {
		copy(r.tag, STR("latest"));
	}
	library =
	    strcmp(r.registry, "docker.io") == 0 && rest.len && !memchr(rest.ptr, '/', rest.len);
	if (!image_name_ok(rest) || rest.len + (library ? 8 : 0) > 255)
		return bad(e, text);
	snprintf(
	    r.repository, sizeof(r.repository), "%s%.*s", library ? "library/" : "", STR_FMT(rest));
	*ret = r;
	return 0;
}

void image_reference_format(const struct image_reference *r, char out[IMAGE_REFERENCE_MAX])
{
	const char *region = strchr(r->realm, '.');
	int n;

	if (r->registry[0] || !region)
		n = snprintf(out, IMAGE_REFERENCE_MAX, "%s/%s", r->registry, r->repository);
	else
		n = snprintf(out, IMAGE_REFERENCE_MAX, "%.*s" ECR_WORD "%s.amazonaws.com/%s",
		    (int)(region - r->realm), r->realm, region + 1, r->repository);
	if (r->tag[0] && n < IMAGE_REFERENCE_MAX)
		n += snprintf(out + n, (size_t)(IMAGE_REFERENCE_MAX - n), ":%s", r->tag);
	if (r->digest[0] && n < IMAGE_REFERENCE_MAX)
		snprintf(out + n, (size_t)(IMAGE_REFERENCE_MAX - n), "@%s", r->digest);
}
