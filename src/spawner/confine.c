/* Giving up power. See confine.h. */
#include "spawner/confine.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILTER_MAX 1024

void confine_signals(void)
{
	sigset_t none;

	for (int n = 1; n < 32; n++)
		signal(n, SIG_DFL); /* SIGKILL and SIGSTOP refuse, which is as well */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int confine_bounding_set(void)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL && cap > CAP_CHECKPOINT_RESTORE)
			return 0; /* the kernel's last one was before this */
		return -errno;
	}
	return 0;
}

int confine_to(uint32_t id)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};
	int r = confine_bounding_set();

	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		return -errno;
	if (syscall(SYS_capset, &head, none) < 0)
		return -errno;
	/* Changing ids clears the death signal. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

/* Let execveat(2) through when its sixth argument, which the kernel ignores, is `pass`. */
static size_t put_pass(struct sock_filter *out, uint64_t pass)
{
	const struct sock_filter head[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 5),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)pass, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]) + 4),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(pass >> 32), 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	memcpy(out, head, sizeof(head));
	return ARRAY_SIZE(head);
}

int confine_exec(int exe, char *const argv[], char *const envp[], const struct sock_filter *filter,
    size_t filter_len)
{
	struct sock_filter code[FILTER_MAX];
	struct sock_fprog program = {.filter = code};
	uint64_t pass;
	size_t n;

	if (getrandom(&pass, sizeof(pass), 0) != sizeof(pass))
		return -EIO;
	n = put_pass(code, pass);
	if (filter_len > FILTER_MAX - n)
		return -E2BIG;
	memcpy(code + n, filter, filter_len * sizeof(*filter));
	program.len = (unsigned short)(n + filter_len);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return -errno;
	syscall(SYS_execveat, exe, "", argv, envp, AT_EMPTY_PATH, pass);
	return -errno;
}
