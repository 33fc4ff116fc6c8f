/* Keys: the files they live in, temporary ones that live nowhere. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/buf.h"
#include "base/fd.h"

#define ACCOUNT "123456789012"
#define NOW_MS 1700000000000

static char dir[64];
static int dirfd_ = -1;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test-auth-XXXXXX");
	assert_non_null(mkdtemp(dir));
	dirfd_ = open(dir, O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0;
}

static int teardown(void **state)
{
	(void)state;
	unlinkat(dirfd_, "credentials", 0);
	unlinkat(dirfd_, "secret", 0);
	close(dirfd_);
	return rmdir(dir);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	assert_int_equal(fd_write_file(dirfd_, name, text, strlen(text), mode), 0);
	assert_int_equal(fchmodat(dirfd_, name, mode, 0), 0);
}

static int find(struct auth *a, const char *id, const char *token, int64_t now_ms,
    struct aws_principal *p, char secret[AWS_SECRET_SIZE])
{
	return auth_find_key(a, str_from(id), str_from(token), now_ms, p, secret);
}

static void the_first_start_makes_a_pair_that_later_starts_keep(void **state)
{
	char id[64], secret[AWS_SECRET_SIZE];
	const char *root_secret;
	struct aws_principal p;
	struct stat st;
	struct auth *a;

	(void)state;
	a = auth_open(dirfd_, ACCOUNT, NULL);
	assert_non_null(a);
	strcpy(id, auth_root_key(a, &root_secret));
	assert_int_equal(strlen(id), 20);
	assert_int_equal(strncmp(id, "AKIA", 4), 0);
	assert_int_equal(strlen(root_secret), 40);
	auth_close(a);
	assert_int_equal(fstatat(dirfd_, "credentials", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(fstatat(dirfd_, "secret", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 32);
	a = auth_open(dirfd_, ACCOUNT, NULL);
	assert_string_equal(auth_root_key(a, &root_secret), id);
	assert_int_equal(find(a, id, NULL, NOW_MS, &p, secret), 0);
	assert_string_equal(secret, root_secret);
	assert_string_equal(p.arn, "arn:aws:iam::" ACCOUNT ":root");
	assert_int_equal(p.type, AWS_ROOT);
	assert_int_equal(find(a, "AKIANOBODY", NULL, NOW_MS, &p, secret), AWS_KEY_UNKNOWN);
	assert_int_equal(find(a, "", NULL, NOW_MS, &p, secret), AWS_KEY_UNKNOWN);
	auth_close(a);
}

static void credentials_written_by_hand_are_read(void **state)
{
	const char *secret;
	struct auth *a;
	struct err e;

	(void)state;
	write_file("credentials",
	    "# mine\r\n[other]\naws_access_key_id=AKIAOTHEROTHEROTHER\n[default]\r\n"
	    "aws_access_key_id = AKIAMINEMINEMINEMINE \r\n"
	    "aws_secret_access_key=abcdefghijklmnop=rstuvwxyz\r\n",
	    0600);
	a = auth_open(dirfd_, ACCOUNT, &e);
	assert_non_null(a);
	assert_string_equal(auth_root_key(a, &secret), "AKIAMINEMINEMINEMINE");
	assert_string_equal(secret, "abcdefghijklmnop=rstuvwxyz");
	auth_close(a);
}

static void files_that_are_not_right_are_refused_with_a_way_out(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	write_file("credentials", "[default]\naws_access_key_id = AKIAMINEMINEMINEMINE\n", 0600);
	assert_null(auth_open(dirfd_, ACCOUNT, &e));
	assert_non_null(strstr(e.msg, "remove the file"));
	write_file("credentials", "x", 0644);
	assert_null(auth_open(dirfd_, ACCOUNT, &e));
	assert_non_null(strstr(e.msg, "chmod 600"));
	unlinkat(dirfd_, "credentials", 0);
	write_file("secret", "short", 0600);
	assert_null(auth_open(dirfd_, ACCOUNT, &e));
	assert_non_null(strstr(e.msg, "not 32 bytes"));
}

static void temporary_keys_outlive_a_restart_and_then_expire(void **state)
{
	struct aws_principal role = {.type = AWS_ASSUMED_ROLE,
	    .account = ACCOUNT,
	    .arn = "arn:aws:sts::123456789012:assumed-role/fn/i-1",
	    .user_id = "AROAX:i-1"};
	struct auth_keys keys, other;
	char secret[AWS_SECRET_SIZE];
	struct aws_principal p;
	struct auth *a = auth_open(dirfd_, ACCOUNT, NULL);

	(void)state;
	auth_temporary_new(a, &role, 900, NOW_MS, &keys);
	auth_temporary_new(a, &role, 900, NOW_MS, &other);
	assert_int_equal(keys.expires_ms, NOW_MS + 900000);
	auth_close(a);
	a = auth_open(dirfd_, ACCOUNT, NULL);
	assert_int_equal(find(a, keys.access_key_id, keys.token, NOW_MS, &p, secret), 0);
	assert_string_equal(secret, keys.secret);
	assert_string_equal(p.arn, role.arn);
	assert_string_equal(p.user_id, role.user_id);
	assert_string_equal(p.access_key_id, keys.access_key_id);
	assert_int_equal(p.type, AWS_ASSUMED_ROLE);
	assert_int_equal(
	    find(a, keys.access_key_id, keys.token, NOW_MS + 900000, &p, secret), AWS_KEY_EXPIRED);
	assert_int_equal(find(a, keys.access_key_id, NULL, NOW_MS, &p, secret), AWS_KEY_UNKNOWN);
	assert_int_equal(
	    find(a, keys.access_key_id, other.token, NOW_MS, &p, secret), AWS_KEY_TOKEN_INVALID);
	auth_close(a);
}

static void a_token_with_any_bit_changed_is_nobodys(void **state)
{
	struct aws_principal root = {.type = AWS_ROOT, .account = ACCOUNT, .arn = "a"};
	char secret[AWS_SECRET_SIZE];
	struct auth_keys keys;
	struct aws_principal p;
	struct auth *a = auth_open(dirfd_, ACCOUNT, NULL);

	(void)state;
	auth_temporary_new(a, &root, 900, NOW_MS, &keys);
	for (size_t i = 0; i < strlen(keys.token); i++) {
		char kept = keys.token[i];

		keys.token[i] = kept == 'A' ? 'B' : 'A';
		assert_int_equal(find(a, keys.access_key_id, keys.token, NOW_MS, &p, secret),
		    AWS_KEY_TOKEN_INVALID);
		keys.token[i] = kept;
	}
	assert_int_equal(
	    find(a, keys.access_key_id, "", NOW_MS, &p, secret), AWS_KEY_TOKEN_INVALID);
	unlinkat(dirfd_, "secret", 0);
	auth_close(a);
	a = auth_open(dirfd_, ACCOUNT, NULL);
	assert_int_equal(
	    find(a, keys.access_key_id, keys.token, NOW_MS, &p, secret), AWS_KEY_TOKEN_INVALID);
	auth_close(a);
}

static void users_keys_come_and_go(void **state)
{
	struct aws_principal user = {.type = AWS_USER,
	    .account = ACCOUNT,
	    .access_key_id = "AKIAUSERUSERUSERUSER",
	    .arn = "arn:aws:iam::123456789012:user/jo"};
	char secret[AWS_SECRET_SIZE];
	struct aws_principal p;
	struct auth *a = auth_open(dirfd_, ACCOUNT, NULL);

	(void)state;
	auth_key_put(a, &user, "first");
	auth_key_put(a, &user, "second");
	assert_int_equal(find(a, user.access_key_id, NULL, NOW_MS, &p, secret), 0);
	assert_string_equal(secret, "second");
	assert_string_equal(p.arn, user.arn);
	auth_key_remove(a, user.access_key_id);
	auth_key_remove(a, user.access_key_id);
	assert_int_equal(find(a, user.access_key_id, NULL, NOW_MS, &p, secret), AWS_KEY_UNKNOWN);
	auth_key_put(a, &user, "left to auth_close");
	auth_close(a);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    T(the_first_start_makes_a_pair_that_later_starts_keep),
	    T(credentials_written_by_hand_are_read),
	    T(files_that_are_not_right_are_refused_with_a_way_out),
	    T(temporary_keys_outlive_a_restart_and_then_expire),
	    T(a_token_with_any_bit_changed_is_nobodys),
	    T(users_keys_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
