/* Names, manifests, configurations and challenges: what is read out of strangers' texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "image/image.h"
#include "image/manifest.h"
#include "image/remote_int.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX

static const char *const own[] = {"127.0.0.1:4566", "localhost:4566", NULL};

static void means(const char *text, const char *registry, const char *realm, const char *repository,
    const char *tag, const char *digest)
{
	struct image_reference r;
	struct err e = ERR_INIT;

	assert_int_equal(image_reference_parse(str_from(text), own, &r, &e), 0);
	assert_string_equal(r.registry, registry);
	assert_string_equal(r.realm, realm);
	assert_string_equal(r.repository, repository);
	assert_string_equal(r.tag, tag);
	assert_string_equal(r.digest, digest);
}

static void test_references(void **state _unused_)
{
	static const char *const bad[] = {"", ":", "A", "a:", "a@sha256:12", "a@", "a/", "/a",
	    "a//b", "-a", "a-", "a..b", "a___b", "a:.b", "a b", "HOST.example/A", "a@" DIGEST "x",
	    "127.0.0.1:5000/", "[::1]:5000/", "a\nb"};
	struct image_reference r;
	char text[300];

	means("busybox", "docker.io", "", "library/busybox", "latest", "");
	means("busybox:1.36", "docker.io", "", "library/busybox", "1.36", "");
	means("team/app", "docker.io", "", "team/app", "latest", "");
	means("docker.io/busybox", "docker.io", "", "library/busybox", "latest", "");
	means("index.docker.io/a/b:c", "docker.io", "", "a/b", "c", "");
	means("a@" DIGEST, "docker.io", "", "library/a", "", DIGEST);
	means("a:v1@" DIGEST, "docker.io", "", "library/a", "v1", DIGEST);
	means("ghcr.io/o/r_x.y--z:T_1.2-3", "ghcr.io", "", "o/r_x.y--z", "T_1.2-3", "");
	means("127.0.0.1:5000/x", "127.0.0.1:5000", "", "x", "latest", "");
	means("localhost/x", "localhost", "", "x", "latest", "");
	means("127.0.0.1:4566/web:1", "", IMAGE_REALM_DEFAULT, "web", "1", "");
	means("210987654321.dkr.ecr.eu-west-1.amazonaws.com/a/b", "", "210987654321.eu-west-1",
	    "a/b", "latest", "");
	means("210987654321.dkr.ecr.eu-west-1.localhost:4566/a", "", "210987654321.eu-west-1", "a",
	    "latest", "");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;

		if (image_reference_parse(str_from(bad[i]), own, &r, &e) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(strstr(e.msg, "not a name"));
	}
	memset(text, 'a', sizeof(text));
	text[256] = '\0';
	assert_int_equal(image_reference_parse(str_from(text), own, &r, NULL), -EINVAL);
}

static void test_format(void **state _unused_)
{
	static const char *const texts[] = {"docker.io/library/busybox:latest",
	    "127.0.0.1:5000/x@" DIGEST, "210987654321.dkr.ecr.eu-west-1.amazonaws.com/a/b:v1"};
	char out[IMAGE_REFERENCE_MAX];
	struct image_reference r;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(image_reference_parse(str_from(texts[i]), own, &r, NULL), 0);
		image_reference_format(&r, out);
		assert_string_equal(out, texts[i]);
	}
}

/* ---- manifests ---- */

#define PART(type, size) "{\"mediaType\":\"" type "\",\"digest\":\"" DIGEST "\",\"size\":" size "}"
#define IMAGE_CONFIG PART("application/vnd.oci.image.config.v1+json", "7")
#define LAYER PART("application/vnd.oci.image.layer.v1.tar+gzip", "9")

static int parse(const char *text, struct manifest *m)
{
	struct err e = ERR_INIT;
	int r = manifest_parse(str_from(text), "", m, &e);

	assert_true(r == 0 || (r == -EINVAL && e.msg[0]));
	return r;
}

static void test_manifest(void **state _unused_)
{
	struct manifest m;

	assert_int_equal(parse("{\"schemaVersion\":2,\"config\":" IMAGE_CONFIG ",\"layers\":[" LAYER
			       "," LAYER "]}",
			     &m),
	    0);
	assert_int_equal(m.kind, MANIFEST_IMAGE);
	assert_int_equal(m.part_count, 2);
	assert_int_equal(m.parts[1].size, 9);
	assert_string_equal(m.config.digest, DIGEST);
	assert_string_equal(m.media_type, MEDIA_OCI_MANIFEST);
	manifest_done(&m);
	assert_int_equal(
	    parse("{\"schemaVersion\":2,\"config\":" PART("application/x", "1") ",\"layers\":[]}",
		&m),
	    0);
	assert_int_equal(m.kind, MANIFEST_OTHER);
	manifest_done(&m);
}

static void test_bad_manifests(void **state _unused_)
{
	static const char *const bad[] = {"", "[]", "{", "{}", "{\"schemaVersion\":1}",
	    "{\"schemaVersion\":2}", "{\"schemaVersion\":2,\"config\":" IMAGE_CONFIG "}",
	    "{\"schemaVersion\":2,\"config\":" IMAGE_CONFIG ",\"layers\":{}}",
	    "{\"schemaVersion\":2,\"config\":" IMAGE_CONFIG ",\"layers\":[1]}",
	    "{\"schemaVersion\":2,\"config\":" PART("x", "-1") ",\"layers\":[]}",
	    "{\"schemaVersion\":2,\"config\":" PART("x", "\"7\"") ",\"layers\":[]}",
	    "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha512:" HEX
	    "\",\"size\":1},\"layers\":[]}",
	    "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:../../../../etc/"
	    "passwd\",\"size\":"
	    "1},\"layers\":[]}",
	    "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
	    "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"config\":" IMAGE_CONFIG
	    ",\"layers\":[]}",
	    "{\"schemaVersion\":2,\"schemaVersion\":2,\"config\":" IMAGE_CONFIG ",\"layers\":[]}"};
	struct manifest m;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse(bad[i], &m) == 0)
			fail_msg("taken: %s", bad[i]);
}

#define CHILD(os, arch, variant)                                           \
	"{\"digest\":\"" DIGEST "\",\"size\":1,\"platform\":{\"os\":\"" os \
	"\",\"architecture\":\"" arch "\"" variant "}}"

static void test_index(void **state _unused_)
{
	struct manifest m;

	assert_int_equal(parse("{\"schemaVersion\":2,\"manifests\":[" CHILD("windows", "amd64",
				   "") "," CHILD("linux", "s390x", "") "," CHILD("linux", "amd64",
				   ",\"variant\":\"v3\"") "," CHILD("linux", "amd64",
				   "") "," CHILD("linux", "arm64", ",\"variant\":\"v8\"") "]}",
			     &m),
	    0);
	assert_int_equal(m.kind, MANIFEST_INDEX);
	assert_int_equal(m.part_count, 5);
#if defined(__x86_64__)
	assert_int_equal(m.chosen, 3);
#endif
	manifest_done(&m);
	assert_int_equal(
	    parse("{\"schemaVersion\":2,\"manifests\":[" CHILD("linux", "none", "") "]}", &m), 0);
	assert_int_equal(m.chosen, -1);
	manifest_done(&m);
}

static void test_config(void **state _unused_)
{
	static const char text[] =
	    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"User\":\"www\",\"Env\":["
	    "\"A=1\",\"B=2\",3],\"Cmd\":[\"sh\",\"-c\",\"x\"],\"WorkingDir\":\"/w\","
	    "\"ExposedPorts\":{\"80/tcp\":{}},\"Volumes\":null,\"StopSignal\":\"SIGINT\"},"
	    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIGEST "\"]}}";
	static const char *const bad[] = {"{}", "{\"rootfs\":{\"diff_ids\":[\"x\"]}}",
	    "{\"rootfs\":{\"diff_ids\":[7]}}", "{\"rootfs\":{\"diff_ids\":{}}}", "[]"};
	struct config c;

	assert_int_equal(config_parse_json(str_from(text), &c, NULL), 0);
	assert_int_equal(c.layer_count, 1);
	assert_int_equal(c.diff_ids[0][0], 0x01);
	assert_string_equal(c.config.env[1], "B=2");
	assert_null(c.config.env[2]);
	assert_string_equal(c.config.cmd[2], "x");
	assert_null(c.config.entrypoint[0]);
	assert_string_equal(c.config.exposed_ports[0], "80/tcp");
	assert_null(c.config.volumes[0]);
	assert_string_equal(c.config.user, "www");
	assert_string_equal(c.config.stop_signal, "SIGINT");
	config_done(&c);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (config_parse_json(str_from(bad[i]), &c, NULL) == 0)
			fail_msg("taken: %s", bad[i]);
}

/* ---- who we are ---- */

static void test_challenge(void **state _unused_)
{
	static const char *const bad[] = {"", "Digest realm=\"x\"", "Bearer", "Bearer realm",
	    "Bearer realm=\"x", "Bearer service=\"x\"", "Bearer realm=\"a\x01\""};
	struct challenge c;

	assert_true(challenge_parse(
	    STR("Bearer "
		"realm=\"https://auth.example/token\",service=\"registry\",scope=\"repository:"
		"a/b:pull,push\""),
	    &c));
	assert_true(c.bearer);
	assert_string_equal(c.realm, "https://auth.example/token");
	assert_string_equal(c.service, "registry");
	assert_true(challenge_parse(STR("basic Realm=\"a \\\"b\\\"\" , charset=UTF-8"), &c));
	assert_true(c.basic);
	assert_string_equal(c.realm, "a \"b\"");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (challenge_parse(str_from(bad[i]), &c))
			fail_msg("taken: %s", bad[i]);
}

static void test_credentials(void **state _unused_)
{
	static const char text[] =
	    "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"YTpiOmM=\"},"
	    "\"reg.example:5000\":{\"username\":\"u\",\"password\":\"p\"},"
	    "\"broken.example\":{\"auth\":\"%%\"}},\"credsStore\":\"x\"}";
	char username[256], password[1024];

	assert_true(docker_credentials(str_from(text), "docker.io", username, password));
	assert_string_equal(username, "a");
	assert_string_equal(password, "b:c");
	assert_true(docker_credentials(str_from(text), "reg.example:5000", username, password));
	assert_string_equal(username, "u");
	assert_false(docker_credentials(str_from(text), "reg.example", username, password));
	assert_false(docker_credentials(str_from(text), "broken.example", username, password));
	assert_false(docker_credentials(STR("nothing"), "docker.io", username, password));
}

/* A minute in all, however it is asked for, and five times for one request. */
static void test_patience(void **state _unused_)
{
	const struct remote_options o = {.base = "http://127.0.0.1:1", .repository = "x"};
	struct remote *r = remote_new(&o);
	struct exchange x = {.remote = r, .status = 429, .retry_after_s = 25};
	struct pull_failure f;

	assert_true(exchange_will_wait(&x, 0));
	assert_true(exchange_will_wait(&x, 1)); /* another thread, at the same time */
	r->resume_ns = 0;                       /* it is over */
	assert_true(exchange_will_wait(&x, 1));
	r->resume_ns = 0;
	assert_false(exchange_will_wait(&x, 0));
	assert_true(exchange_say_full(&f, &x, "manifest 1"));
	assert_non_null(strstr(f.text, "asks for 25 s of patience (manifest 1); 50 s were waited"));
	x.retry_after_s = 5;
	assert_true(exchange_will_wait(&x, 3));
	assert_false(exchange_will_wait(&x, 4));
	x.retry_after_s = INT64_MAX;
	assert_false(exchange_will_wait(&x, 0));
	x.retry_after_s = 0;
	x.status = 503;
	assert_false(exchange_will_wait(&x, 0));
	assert_false(exchange_say_full(&f, &x, "manifest 1"));
	remote_free(r);
}

static void test_loopback(void **state _unused_)
{
	assert_true(remote_is_loopback(STR("127.0.0.1:5000")));
	assert_true(remote_is_loopback(STR("localhost:5000")));
	assert_true(remote_is_loopback(STR("[::1]:5000")));
	assert_false(remote_is_loopback(STR("127.0.0.1.example.com")));
	assert_false(remote_is_loopback(STR("128.0.0.1:5000")));
	assert_false(remote_is_loopback(STR("localhost.example")));
	assert_false(remote_is_loopback(STR("[::1].example")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_references),
	    cmocka_unit_test(test_format),
	    cmocka_unit_test(test_manifest),
	    cmocka_unit_test(test_bad_manifests),
	    cmocka_unit_test(test_index),
	    cmocka_unit_test(test_config),
	    cmocka_unit_test(test_challenge),
	    cmocka_unit_test(test_credentials),
	    cmocka_unit_test(test_loopback),
	    cmocka_unit_test(test_patience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
