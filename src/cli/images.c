/* `mayfly images`, `pull`, `push`, `rmi` and `image load|tag`: what is here of images. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/client.h"
#include "cli/config.h"
#include "cli/ps.h"
#include "cli/pull.h"
#include "cli/term.h"

#define PAGES "/_mayfly/images"
#define IMAGE_NAME_SIZE 1024

/* ---- images ---- */

struct list_options {
	bool json, quiet;
};

/* As people write them: "busybox:1", not "docker.io/library/busybox:1"; and what was pushed to this
 * server as it was pushed, "127.0.0.1:4566/web:1". */
static void short_name(const struct client *c, const char *name, char out[IMAGE_NAME_SIZE])
{
	static const char *const heads[] = {"docker.io/library/", "docker.io/"};
	static const char own[] = "123456789012.dkr.ecr." CONFIG_REGION ".amazonaws.com/";
	const char *host = strstr(client_endpoint(c), "://");

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (strncmp(name, heads[i], strlen(heads[i])) == 0) {
			name += strlen(heads[i]);
			break;
		}
	if (host && strncmp(name, own, strlen(own)) == 0)
		snprintf(out, IMAGE_NAME_SIZE, "%.*s/%s", (int)strcspn(host + 3, "/"), host + 3,
		    name + strlen(own));
	else
		snprintf(out, IMAGE_NAME_SIZE, "%s", name);
}

static void print_images(const struct client *c, const json_t *list)
{
	static const struct term_column columns[] = {{"IMAGE", false, true},
	    {"DIGEST", false, false}, {"PULLED", true, false}, {"SIZE", true, false}};
	struct term_table t;
	const json_t *item;
	size_t i;

	term_table_init(&t, columns, ARRAY_SIZE(columns));
	json_array_foreach(list, i, item)
	{
		char digest[20], age[PS_AGE_SIZE], size[TERM_SIZE_TEXT], name[IMAGE_NAME_SIZE];

		snprintf(digest, sizeof(digest), "%.12s", field_text(item, "digest") + 7);
		ps_format_age(time_wall_ms() - field_number(item, "pulled"), age);
		term_format_size((uint64_t)field_number(item, "size"), size);
		short_name(c, field_text(item, "name"), name);
		term_table_add(&t, (const char *const[]){name, digest, age, size});
	}
	term_table_print(&t);
	term_table_done(&t);
}

static int run_list(const void *options, char **args _unused_, int count _unused_)
{
	const struct list_options *o = options;
	_cleanup_client_ struct client *c = NULL;
	json_t *answer = NULL, *list;
	int code = client_open(&c);
	const json_t *item;
	size_t i;

	if (!code)
		code = client_json(c, "ecr", "GET", PAGES, NULL, 0, "listing images", &answer);
	list = json_object_get(answer, "images");
	if (!code && o->json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (!code && o->quiet) {
		json_array_foreach(list, i, item) puts(field_text(item, "name"));
	} else if (!code) {
		print_images(c, list);
	}
	json_decref(answer);
	return code;
}

#define LIST_AT(member) offsetof(struct list_options, member)
static const struct cli_option list_table[] = {
    {"json", 0, CLI_FLAG, NULL, "an array of objects", LIST_AT(json), 0, 0},
    {"quiet", 'q', CLI_FLAG, NULL, "only names", LIST_AT(quiet), 0, 0},
};

const struct cli_verb cli_images = {
    .name = "images",
    .args = "",
    .summary = "list the images that are here",
    .help = "Pulled, loaded and pushed ones; SIZE is what is kept compressed.",
    .options = list_table,
    .option_count = ARRAY_SIZE(list_table),
    .size = sizeof(struct list_options),
    .run = run_list,
};

/* ---- pull ---- */

struct pull_options {
	bool json;
};

static int run_pull(const void *options, char **args, int count)
{
	const struct pull_options *o = options;
	_cleanup_client_ struct client *c = NULL;
	int code = client_open(&c);

	for (int i = 0; !code && i < count; i++) {
		_cleanup_free_ char *digest = NULL;

		code = pull_image(c, args[i], "always", &digest);
		if (code)
			break;
		if (o->json) {
			json_t *line = json_pack("{s:s,s:s}", "name", args[i], "digest", digest);

			json_dumpf(line, stdout, JSON_COMPACT);
			putchar('\n');
			json_decref(line);
		} else {
			printf("%s %s\n", args[i], digest);
		}
	}
	return code;
}

static const struct cli_option pull_table[] = {
    {"json", 0, CLI_FLAG, NULL, "a line of JSON for each image",
	offsetof(struct pull_options, json), 0, 0},
};

const struct cli_verb cli_pull = {
    .name = "pull",
    .args = "IMAGE...",
    .summary = "get images from registries",
    .help =
	"IMAGE is named as for docker: [HOST[:PORT]/]NAME[:TAG][@DIGEST]. Registries on loopback\n"
	"are spoken to without TLS. The server's file docker-config.json has the credentials.",
    .options = pull_table,
    .option_count = ARRAY_SIZE(pull_table),
    .size = sizeof(struct pull_options),
    .min_args = 1,
    .max_args = 64,
    .run = run_pull,
};

/* ---- push ---- */

static int run_push(const void *options, char **args, int count)
{
	const struct pull_options *o = options;
	const char *to = count == 2 ? args[1] : NULL;
	_cleanup_free_ char *digest = NULL;
	_cleanup_client_ struct client *c = NULL;
	int code = client_open(&c);

	if (!code)
		code = push_image(c, args[0], to, &digest);
	if (!code && o->json) {
		json_t *line = json_pack(
		    "{s:s,s:s,s:s}", "name", args[0], "to", to ? to : args[0], "digest", digest);

		json_dumpf(line, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(line);
	} else if (!code) {
		printf("%s %s\n", to ? to : args[0], digest);
	}
	return code;
}

static const struct cli_option push_table[] = {
    {"json", 0, CLI_FLAG, NULL, "a line of JSON", offsetof(struct pull_options, json), 0, 0},
};

const struct cli_verb cli_push = {
    .name = "push",
    .args = "IMAGE [DESTINATION]",
    .summary = "give an image to another registry",
    .help = "IMAGE is the name or the digest of one that is here. DESTINATION, "
	    "HOST[:PORT]/NAME[:TAG],\n"
	    "says where it goes and what it is called there; without it, IMAGE's own name does.\n"
	    "Digests stay the same. Registries on loopback are spoken to without TLS. The server's "
	    "file\n"
	    "docker-config.json has the credentials.",
    .options = push_table,
    .option_count = ARRAY_SIZE(push_table),
    .size = sizeof(struct pull_options),
    .min_args = 1,
    .max_args = 2,
    .run = run_push,
};

/* ---- rmi ---- */

static int run_rmi(const void *options _unused_, char **args, int count)
{
	_cleanup_client_ struct client *c = NULL;
	int code = client_open(&c);

	for (int i = 0; !code && i < count; i++) {
		_cleanup_free_ char *path = client_path(PAGES "?name=", args[i], "");
		_cleanup_free_ char *what = xasprintf("removing image %s", args[i]);

		code = client_json(c, "ecr", "DELETE", path, NULL, 0, what, NULL);
	}
	return code;
}

const struct cli_verb cli_rmi = {
    .name = "rmi",
    .args = "IMAGE...",
    .summary = "remove images",
    .help = "Takes the name away. Layers that no other image and no running container needs are\n"
	    "removed soon after.",
    .size = 1,
    .min_args = 1,
    .max_args = 64,
    .run = run_rmi,
};

/* ---- image load, image tag ---- */

/* The whole file as memory: what is not read yet is on disk, however large it is. */
static int map_file(const char *path, struct str *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *data;

	if (fd < 0 || fstat(fd, &st) < 0)
		return cli_fail(CLI_FAILED, NULL, "opening %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || !st.st_size)
		return cli_fail(CLI_FAILED, "give a file made by `docker save` or an OCI archive",
		    "%s is empty or no file", path);
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return cli_fail(CLI_FAILED, NULL, "reading %s: %s", path, strerror(errno));
	(void)madvise(data, (size_t)st.st_size, MADV_SEQUENTIAL);
	*ret = (struct str){data, (size_t)st.st_size};
	return CLI_OK;
}

static void print_loaded(const struct client *c, struct str text)
{
	json_t *answer = json_loadb(text.ptr, text.len, 0, NULL);
	char name[IMAGE_NAME_SIZE];
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(answer, "images"), i, item)
	{
		short_name(c, field_text(item, "name"), name);
		printf("%s %s\n", name, field_text(item, "digest"));
	}
	json_decref(answer);
}

static int load(struct client *c, const char *file)
{
	_cleanup_answer_ struct client_answer a = {0};
	struct client_request r = {.service = "ecr", .method = "PUT", .type = "application/x-tar"};
	_cleanup_free_ char *path = NULL, *shown = NULL;
	json_t *ticket = NULL;
	struct str archive;
	int code = map_file(file, &archive);

	if (!code)
		code = client_json(
		    c, "ecr", "POST", PAGES "/load", NULL, 0, "loading an archive", &ticket);
	if (code)
		return code;
	path = xasprintf(PAGES "/load/%s", field_text(ticket, "ticket"));
	json_decref(ticket);
	shown = xasprintf("loading %s", file);
	term_progress(shown);
	r.path = path;
	r.body = archive;
	code = client_send(c, &r, &a);
	term_progress(NULL);
	if (!code && a.status != 200)
		code = client_refused(c, &a, "loading the archive");
	else if (!code)
		print_loaded(c, buf_str(&a.body));
	munmap((void *)(uintptr_t)archive.ptr, archive.len);
	return code;
}

static int tag(struct client *c, const char *from, const char *to)
{
	_cleanup_free_ char *begin = client_path(PAGES "/tag?name=", from, "&to=");
	_cleanup_free_ char *path = client_path(begin, to, "");

	return client_json(c, "ecr", "POST", path, NULL, 0, "naming the image", NULL);
}

static int run_image(const void *options _unused_, char **args, int count)
{
	_cleanup_client_ struct client *c = NULL;
	bool loads = !strcmp(args[0], "load") && count == 2;
	int code;

	if (!loads && (strcmp(args[0], "tag") != 0 || count != 3))
		return cli_fail(CLI_USAGE, "`mayfly image --help` tells more",
		    "say `mayfly image load FILE' or `mayfly image tag IMAGE NAME'");
	code = client_open(&c);
	if (code)
		return code;
	return loads ? load(c, args[1]) : tag(c, args[1], args[2]);
}

const struct cli_verb cli_image = {
    .name = "image",
    .args = "load FILE | tag IMAGE NAME",
    .summary = "load images from archives, name them",
    .help =
	"load: FILE is what `docker save` wrote, or an OCI archive; the images in it get the "
	"names\n"
	"that it says.\n"
	"tag: IMAGE is also called NAME, for example HOST:PORT/NAME of the server's own registry,\n"
	"from which others can then pull it.",
    .size = 1,
    .min_args = 1,
    .max_args = 3,
    .run = run_image,
};
