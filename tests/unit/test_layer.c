/* Layers of images: what a tar says and what is in the directory afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "unpack/layer.h"
#include "unpack/place.h"

#define LIMIT (8u << 20)

static char top[64], dir[96];
static struct archive *writing;
static char *tar;
static size_t tar_size;

/* ---- making a layer ---- */

static void begin(void)
{
	tar_size = 0;
	tar = xmalloc(LIMIT);
	writing = archive_write_new();
	archive_write_set_format_pax_restricted(writing);
	archive_write_set_bytes_per_block(writing, 512);
	assert_int_equal(archive_write_open_memory(writing, tar, LIMIT, &tar_size), ARCHIVE_OK);
}

struct item {
	const char *path;
	mode_t type, mode;
	int64_t uid, gid;
	const char *data, *link, *hard, *attribute, *value;
	int64_t size; /* of data of zeros */
};

static void add(struct item i)
{
	struct archive_entry *e = archive_entry_new();
	size_t len = i.data ? strlen(i.data) : (size_t)i.size;

	archive_entry_set_pathname(e, i.path);
	archive_entry_set_filetype(e, i.type ? i.type : S_IFREG);
	archive_entry_set_perm(e, i.mode ? i.mode : 0644);
	archive_entry_set_uid(e, i.uid);
	archive_entry_set_gid(e, i.gid);
	archive_entry_set_mtime(e, 1000000000, 0);
	if (i.link)
		archive_entry_set_symlink(e, i.link);
	if (i.hard)
		archive_entry_set_hardlink(e, i.hard);
	if (i.attribute)
		archive_entry_xattr_add_entry(e, i.attribute, i.value, strlen(i.value));
	archive_entry_set_size(e, i.hard ? 0 : (int64_t)len);
	assert_true(archive_write_header(writing, e) >= ARCHIVE_WARN);
	if (i.data) {
		assert_int_equal(archive_write_data(writing, i.data, len), len);
	} else if (len) {
		_cleanup_free_ char *zeros = xcalloc(1, len);

		assert_int_equal(archive_write_data(writing, zeros, len), len);
	}
	archive_entry_free(e);
}

static void finish(void)
{
	archive_write_close(writing);
	archive_write_free(writing);
}

/* ---- unpacking it ---- */

static struct wire_outcome extract_hashed(const uint8_t hash[WIRE_HASH_SIZE], uint64_t limit)
{
	int fd = memfd_create("layer", MFD_CLOEXEC), root;
	struct wire_outcome o;

	assert_int_equal(fd_write_full(fd, tar, tar_size), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	layer_extract(fd, root, hash, limit, &o);
	umask(0022);
	close(root);
	close(fd);
	free(tar);
	tar = NULL;
	return o;
}

static struct wire_outcome extract(void)
{
	uint8_t hash[WIRE_HASH_SIZE];

	finish();
	EVP_Digest(tar, tar_size, hash, NULL, EVP_sha256(), NULL);
	return extract_hashed(hash, LIMIT);
}

static void succeed(void)
{
	struct wire_outcome o = extract();

	assert_string_equal(o.text, "");
	assert_int_equal(o.result, 0);
}

static void refused(int result, const char *word)
{
	struct wire_outcome o = extract();

	assert_int_equal(o.result, result);
	assert_non_null(strstr(o.text, word));
}

static const char *at(const char *name)
{
	static char path[4][512];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", dir, name);
	return path[next];
}

static struct stat look(const char *name)
{
	struct stat st = {0};

	assert_int_equal(lstat(at(name), &st), 0);
	return st;
}

static bool there(const char *name)
{
	struct stat st;

	return lstat(at(name), &st) == 0;
}

static int set_up(void **state _unused_)
{
	snprintf(top, sizeof(top), "/tmp/mayfly-layer-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/in", top);
	return mkdir(dir, 0700);
}

static int wipe(
    const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *where _unused_)
{
	return remove(path);
}

static int tear_down(void **state _unused_)
{
	return nftw(top, wipe, 8, FTW_PHYS | FTW_DEPTH);
}

/* ---- tests ---- */

static void test_kinds(void **state _unused_)
{
	char target[64] = "";
	struct stat st;

	begin();
	add((struct item){.path = "./", .type = S_IFDIR, .mode = 0700});
	add((struct item){.path = "./d/", .type = S_IFDIR, .mode = 0750, .gid = 7});
	add((struct item){.path = "/d/f", .data = "hello", .mode = 04711, .uid = 33, .gid = 44});
	add((struct item){.path = "missing/parents/f", .data = "x"});
	add((struct item){.path = "l", .type = S_IFLNK, .link = "/etc/passwd"});
	add((struct item){.path = "h", .hard = "d/f"});
	add((struct item){.path = "fifo", .type = S_IFIFO, .mode = 0600});
	add((struct item){.path = "null", .type = S_IFCHR});
	add((struct item){.path = "disk", .type = S_IFBLK});
	add((struct item){.path = "null2", .hard = "null"});
	succeed();
	st = look("d");
	assert_int_equal(st.st_mode, S_IFDIR | 0750);
	assert_int_equal(st.st_gid, 7);
	assert_int_equal(st.st_mtime, 1000000000);
	st = look("d/f");
	assert_int_equal(st.st_mode, S_IFREG | 04711);
	assert_int_equal(st.st_uid, 33);
	assert_int_equal(st.st_gid, 44);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(st.st_mtime, 1000000000);
	assert_int_equal(look("h").st_ino, st.st_ino);
	assert_int_equal(look("missing/parents").st_mode, S_IFDIR | 0755);
	assert_true(S_ISFIFO(look("fifo").st_mode));
	assert_true(readlink(at("l"), target, sizeof(target) - 1) > 0);
	assert_string_equal(target, "/etc/passwd");
	assert_false(there("null") || there("disk") || there("null2"));
}

static void test_whiteouts(void **state _unused_)
{
	struct stat st;
	char value[8];

	begin();
	add((struct item){.path = "d", .type = S_IFDIR, .mode = 0755});
	add((struct item){.path = "d/.wh.gone"});
	add((struct item){.path = "o/.wh..wh..opq"});
	add((struct item){.path = "o/new", .data = "x"});
	add((struct item){.path = ".wh..wh.plnk"});
	add((struct item){.path = "keeps", .data = "x"});
	add((struct item){.path = ".wh.keeps"});
	add((struct item){.path = "tree/f", .data = "x"});
	add((struct item){.path = ".wh.tree"});
	add((struct item){.path = ".wh.again"});
	add((struct item){.path = "again", .type = S_IFDIR, .mode = 0755});
	succeed();
	st = look("d/gone");
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, makedev(0, 0));
	assert_int_equal(lgetxattr(at("o"), "user.overlay.opaque", value, sizeof(value)), 1);
	assert_int_equal(value[0], 'y');
	assert_true(there("o/new"));
	assert_true(S_ISREG(look("keeps").st_mode));
	assert_true(there("tree/f"));
	assert_int_equal(lgetxattr(at("tree"), "user.overlay.opaque", value, sizeof(value)), 1);
	assert_true(S_ISDIR(look("again").st_mode));
	assert_int_equal(lgetxattr(at("again"), "user.overlay.opaque", value, sizeof(value)), 1);
	assert_false(there(".wh..wh.plnk") || there(".wh..wh..opq"));
}

static void test_attributes(void **state _unused_)
{
	char value[32] = "";

	begin();
	add((struct item){.path = "u", .data = "x", .attribute = "user.note", .value = "yes"});
	add((struct item){
	    .path = "o", .type = S_IFDIR, .attribute = "user.overlay.opaque", .value = "y"});
	add((struct item){
	    .path = "r", .data = "x", .attribute = "user.overlay.redirect", .value = "/"});
	add((struct item){
	    .path = "t", .data = "x", .attribute = "trusted.overlay.opaque", .value = "y"});
	succeed();
	assert_int_equal(lgetxattr(at("u"), "user.note", value, sizeof(value)), 3);
	assert_true(lgetxattr(at("o"), "user.overlay.opaque", value, sizeof(value)) < 0);
	assert_true(lgetxattr(at("r"), "user.overlay.redirect", value, sizeof(value)) < 0);
	assert_true(lgetxattr(at("t"), "trusted.overlay.opaque", value, sizeof(value)) < 0);
}

/* Links lead where they would lead in a container: never out. */
static void test_links_stay_inside(void **state _unused_)
{
	begin();
	add((struct item){.path = "up", .type = S_IFLNK, .link = "../../.."});
	add((struct item){.path = "up/escaped", .data = "x"});
	add((struct item){.path = "root", .type = S_IFLNK, .link = "/"});
	add((struct item){.path = "root/tmp/mayfly", .data = "x"});
	add((struct item){.path = "f", .type = S_IFLNK, .link = "../outside"});
	add((struct item){.path = "f", .data = "replaces the link"});
	succeed();
	assert_true(there("escaped"));
	assert_true(there("tmp/mayfly"));
	assert_int_equal(access("/tmp/mayfly-layer-escaped", F_OK), -1);
	assert_int_equal(access(at("../outside"), F_OK), -1);
	assert_true(S_ISREG(look("f").st_mode));
}

static void test_later_entries_win(void **state _unused_)
{
	begin();
	add((struct item){.path = "f", .data = "one"});
	add((struct item){.path = "f", .data = "three"});
	add((struct item){.path = "d", .type = S_IFDIR, .mode = 0755});
	add((struct item){.path = "d/f", .data = "x"});
	add((struct item){.path = "d", .type = S_IFDIR, .mode = 0711});
	add((struct item){.path = "e", .type = S_IFDIR, .mode = 0755});
	add((struct item){.path = "e", .type = S_IFLNK, .link = "d"});
	add((struct item){.path = "e/g", .data = "x"});
	succeed();
	assert_int_equal(look("f").st_size, 5);
	assert_int_equal(look("d").st_mode, S_IFDIR | 0711);
	assert_true(there("d/f"));
	assert_true(there("d/g"));
}

static void test_hostile(void **state _unused_)
{
	char deep[2 * 200 + 8] = "";

	begin();
	add((struct item){.path = "a/../../b", .data = "x"});
	refused(-EINVAL, "'..'");
	begin();
	add((struct item){.path = ".wh..", .data = ""});
	refused(-EINVAL, "'..'");
	begin();
	add((struct item){.path = "h", .hard = "../../etc/passwd"});
	refused(-EINVAL, "'..'");
	begin();
	add((struct item){.path = "h", .hard = "etc/passwd"});
	refused(-EINVAL, "hard link");
	begin();
	add((struct item){.path = "f", .data = "x", .uid = 65536});
	refused(-EINVAL, "65535");
	begin();
	add((struct item){.path = "d/f", .data = "x"});
	add((struct item){.path = "d", .data = "x"});
	refused(-EINVAL, "contradicts");
	for (int i = 0; i < 200; i++)
		strcat(deep, "d/");
	begin();
	add((struct item){.path = deep, .type = S_IFDIR});
	refused(-EINVAL, "too deep");
	begin();
	add((struct item){.path = "l", .type = S_IFLNK, .link = "l"});
	add((struct item){.path = "l/f", .data = "x"});
	refused(-EINVAL, "loop");
}

static void test_limits(void **state _unused_)
{
	uint8_t hash[WIRE_HASH_SIZE] = {0};
	struct wire_outcome o;

	begin();
	add((struct item){.path = "f", .size = 1 << 20});
	finish();
	o = extract_hashed(hash, 1 << 19);
	assert_int_equal(o.result, -EFBIG);
	begin();
	add((struct item){.path = "f", .data = "x"});
	finish();
	o = extract_hashed(hash, LIMIT);
	assert_int_equal(o.result, -EBADMSG);
	assert_non_null(strstr(o.text, "sha256:"));
	begin();
	add((struct item){.path = "f", .size = 1 << 20});
	finish();
	tar_size /= 2;
	o = extract_hashed(hash, LIMIT);
	assert_int_equal(o.result, -EINVAL);
	tar = xstrdup("no archive at all");
	tar_size = strlen(tar);
	o = extract_hashed(hash, LIMIT);
	assert_int_equal(o.result, -EINVAL);
}

/* As umoci ends them; not within a file by more than that. */
static void test_last_block_not_filled(void **state _unused_)
{
	for (size_t cut = 512; cut <= 513; cut++) {
		uint8_t hash[WIRE_HASH_SIZE];
		struct wire_outcome o;

		begin();
		add((struct item){.path = "f", .data = "x"});
		finish();
		tar_size = cut;
		EVP_Digest(tar, tar_size, hash, NULL, EVP_sha256(), NULL);
		o = extract_hashed(hash, LIMIT);
		assert_int_equal(o.result, cut == 513 ? 0 : -EINVAL);
	}
	assert_int_equal(look("f").st_size, 1);
}

static void test_many_entries(void **state _unused_)
{
	uint8_t hash[WIRE_HASH_SIZE] = {0};
	struct buf b = BUF_INIT;
	struct wire_outcome o;

	/* Half a million whiteouts of one name, which cost nothing on disk. */
	begin();
	add((struct item){.path = ".wh.x"});
	finish();
	for (int i = 0; i <= LAYER_ENTRIES_MAX; i++)
		buf_append(&b, tar, 512);
	free(tar);
	tar = b.mem;
	tar_size = buf_len(&b);
	o = extract_hashed(hash, UINT64_C(1) << 30);
	assert_int_equal(o.result, -E2BIG);
	assert_non_null(strstr(o.text, "500000"));
}

static void test_clean(void **state _unused_)
{
	char out[PLACE_PATH_MAX];

	assert_int_equal(place_clean("/./a//b/./c/", out), 0);
	assert_string_equal(out, "a/b/c");
	assert_int_equal(place_clean("..a/b..", out), 0);
	assert_int_equal(place_clean("./", out), 0);
	assert_string_equal(out, "");
	assert_int_equal(place_clean("a/..", out), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_kinds, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_whiteouts, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_attributes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_links_stay_inside, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_later_entries_win, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_last_block_not_filled, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_many_entries, set_up, tear_down),
	    cmocka_unit_test(test_clean),
	};

	if (geteuid() != 0) {
		print_message("SKIPPED: owners and whiteouts need root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
