/*
 * Build-time program: writes one seccomp filter as a C array, so that nothing that runs links
 * libseccomp. Usage: seccomp_gen box|core|unpack|layer > seccomp_NAME.h
 *
 * The filters are deny lists (interpreters and libc change too much for allow lists), but system
 * calls newer than the list are refused as a whole: what we have not read about is not offered.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEWEST_SYSCALL 456 /* futex_requeue of Linux 6.7; after it come statmount, lsm_* */

static const char *const refused_to_all[] = {
    /* namespaces and mounts */
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount",
    "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "sethostname",
    "setdomainname",
    /* other processes */
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
    /* much kernel, little use */
    "bpf", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd",
    "perf_event_open", "add_key", "keyctl", "request_key", "fanotify_init", "fanotify_mark",
    "open_by_handle_at", "name_to_handle_at", "lookup_dcookie", "quotactl", "quotactl_fd", "acct",
    "syslog", "modify_ldt", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl", "vhangup",
    "move_pages", "migrate_pages", "remap_file_pages", "vmsplice",
    /* the machine */
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module",
    "create_module", "query_module", "get_kernel_syms", "clock_settime", "clock_settime64",
    "settimeofday", "stime", "adjtimex", "clock_adjtime", "clock_adjtime64", "swapon", "swapoff",
    "reboot", "iopl", "ioperm", "vm86", "vm86old"};

static const char *const refused_to_us[] = {"execve", "execveat", "fork", "vfork", "setuid",
    "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid",
    "capset", "personality"};

/* Layers of images need them; zips do not, and core neither. */
static const char *const refused_but_to_layer[] = {"mknod", "mknodat"};

static const char *const refused_to_unpack[] = {"socket", "socketpair", "connect", "bind", "listen",
    "accept", "accept4", "sendto", "sendmsg", "sendmmsg", "kill", "tkill", "shmget", "shmat",
    "msgget", "semget", "mq_open", "inotify_init", "inotify_init1", "clone", "clone3"};

static const char *const refused_to_zip[] = {"link", "linkat", "setxattr", "lsetxattr", "fsetxattr",
    "chown", "fchown", "lchown", "fchownat"};

static void must(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "seccomp_gen: %s: %s\n", what, strerror(-r));
		exit(1);
	}
}

static void refuse(scmp_filter_ctx c, const char *const names[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]);

		if (nr == __NR_SCMP_ERROR || nr < 0)
			continue; /* not on this architecture */
		must(seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), nr, 0), names[i]);
	}
}

/* clone(2) may not make namespaces; clone3(2) hides its flags in memory: libc falls back. */
static void refuse_namespaces(scmp_filter_ctx c)
{
	static const unsigned long flags[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS,
	    CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		must(seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			 SCMP_A0(SCMP_CMP_MASKED_EQ, flags[i], flags[i])),
		    "clone");
	must(seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
}

/* Of IPv4 and IPv6: TCP, UDP and ping. Each other kind is a protocol of its own in the kernel, and
 * asking for it may load a module. High halves of arguments, which the kernel ignores, count as
 * large numbers here, so that they lead nowhere. */
static void refuse_transports(scmp_filter_ctx c, unsigned long family)
{
	const unsigned type = SCMP_ACT_ERRNO(ESOCKTNOSUPPORT),
		       protocol = SCMP_ACT_ERRNO(EPROTONOSUPPORT);

	for (unsigned long t = SOCK_RDM; t < 16; t++)
		must(seccomp_rule_add(c, type, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, family),
			 SCMP_A1(SCMP_CMP_MASKED_EQ, 15, t)),
		    "socket type");
	must(seccomp_rule_add(c, protocol, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, family),
		 SCMP_A2(SCMP_CMP_EQ, IPPROTO_DCCP)),
	    "socket protocol");
	/* SCTP, UDP-Lite, L2TP, SMC, MPTCP and what comes after them. */
	must(seccomp_rule_add(c, protocol, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, family),
		 SCMP_A2(SCMP_CMP_GT, IPPROTO_ICMPV6)),
	    "socket protocol");
}

/* Unix, IPv4, IPv6 and route netlink (getifaddrs) are left. */
static void refuse_sockets(scmp_filter_ctx c)
{
	const unsigned act = SCMP_ACT_ERRNO(EAFNOSUPPORT);

	/* Creates sockets of any family before it finds that most cannot be paired. */
	must(seccomp_rule_add(c, act, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX)),
	    "socketpair");
	refuse_transports(c, AF_INET);
	refuse_transports(c, AF_INET6);

	for (unsigned long family = 3; family < AF_NETLINK; family++)
		if (family != AF_INET6)
			must(seccomp_rule_add(
				 c, act, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, family)),
			    "socket");
	must(seccomp_rule_add(c, act, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GT, AF_NETLINK)),
	    "socket");
	must(seccomp_rule_add(c, act, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
		 SCMP_A2(SCMP_CMP_NE, 0)),
	    "socket");
}

/* Typing into a terminal, and what has the kernel load bridge, VLAN and DLCI modules before it asks
 * for rights. */
static void refuse_requests(scmp_filter_ctx c)
{
	static const unsigned long requests[] = {TIOCSTI, 0x541c /* TIOCLINUX */, SIOCGIFBR,
	    SIOCSIFBR, SIOCBRADDBR, SIOCBRDELBR, SIOCGIFVLAN, SIOCSIFVLAN, SIOCADDDLCI,
	    SIOCDELDLCI};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		must(seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
			 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffUL, requests[i])),
		    "ioctl");
}

static void judge_option(scmp_filter_ctx c, unsigned action, unsigned long option)
{
	must(seccomp_rule_add(c, action, SCMP_SYS(setsockopt), 2,
		 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffUL, SOL_SOCKET),
		 SCMP_A2(SCMP_CMP_MASKED_EQ, 0xffffffffUL, option)),
	    "setsockopt");
}

/* Programs for the kernel's compiler, out of a store that all of the host shares. */
static void refuse_socket_filters(scmp_filter_ctx c)
{
	const unsigned act = SCMP_ACT_ERRNO(EPERM);

	judge_option(c, act, SO_ATTACH_FILTER);
	judge_option(c, act, SO_ATTACH_BPF);
	judge_option(c, act, SO_ATTACH_REUSEPORT_CBPF);
	judge_option(c, act, SO_ATTACH_REUSEPORT_EBPF);
}

/* Whoever drops the last reference to a lingering TCP socket waits in close(2), for as long as the
 * box likes: core would, if one were sent to it. A reset instead of an orderly close is all that
 * SO_LINGER is good for otherwise, so it succeeds and does nothing. */
static void ignore_linger(scmp_filter_ctx c)
{
	judge_option(c, SCMP_ACT_ERRNO(0), SO_LINGER);
}

/* box-init has the last word (init/notify.c). */
static void ask_about_netlink(scmp_filter_ctx c)
{
	must(seccomp_rule_add(c, SCMP_ACT_NOTIFY, SCMP_SYS(socket), 2,
		 SCMP_A0(SCMP_CMP_EQ, AF_NETLINK), SCMP_A2(SCMP_CMP_EQ, 0)),
	    "netlink");
}

/* Core stays tied to the life of the spawner. */
static void keep_death_signal(scmp_filter_ctx c)
{
	must(seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1,
		 SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffUL, PR_SET_PDEATHSIG)),
	    "prctl");
}

static void print(scmp_filter_ctx c, const char *name)
{
	static struct sock_filter code[4096];
	const unsigned newer = SCMP_ACT_ERRNO(ENOSYS);
	int fd = memfd_create("filter", 0);
	ssize_t n;

	must(fd < 0 ? -errno : 0, "memfd_create");
	must(seccomp_export_bpf(c, fd), "export");
	n = pread(fd, code, sizeof(code), 0);
	if (n <= 0 || n == (ssize_t)sizeof(code))
		must(-EFBIG, "reading the filter");
	printf("/* Made by seccomp_gen.c while building. */\n#include <linux/filter.h>\n");
	printf("static const struct sock_filter seccomp_%s[] = {\n", name);
	printf("\t{0x20, 0, 0, 0},\n\t{0x25, 0, 1, %d},\n\t{0x06, 0, 0, 0x%x},\n", NEWEST_SYSCALL,
	    newer);
	for (size_t i = 0; i < (size_t)n / sizeof(code[0]); i++)
		printf(
		    "\t{0x%x, %u, %u, 0x%x},\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
	printf("};\n");
	close(fd);
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";
	scmp_filter_ctx c;

	/* Notifications, whatever the kernel is that this is built on. */
	must(seccomp_api_set(5), "api");
	c = seccomp_init(SCMP_ACT_ALLOW);
	must(c ? 0 : -ENOMEM, "init");
	must(seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "badarch");
	/* A tree, not a list: the kernel walks it for every call there is when it takes a filter.
	 */
	must(seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
	refuse(c, refused_to_all, sizeof(refused_to_all) / sizeof(refused_to_all[0]));
	refuse_requests(c);
	refuse_socket_filters(c);
	if (strcmp(name, "box") != 0)
		refuse(c, refused_to_us, sizeof(refused_to_us) / sizeof(refused_to_us[0]));
	if (strcmp(name, "core") == 0 || strcmp(name, "unpack") == 0)
		refuse(c, refused_but_to_layer,
		    sizeof(refused_but_to_layer) / sizeof(refused_but_to_layer[0]));
	if (strcmp(name, "unpack") == 0)
		refuse(c, refused_to_zip, sizeof(refused_to_zip) / sizeof(refused_to_zip[0]));
	if (strcmp(name, "unpack") == 0 || strcmp(name, "layer") == 0) {
		refuse(
		    c, refused_to_unpack, sizeof(refused_to_unpack) / sizeof(refused_to_unpack[0]));
	} else {
		refuse_namespaces(c);
		refuse_sockets(c);
	}
	if (strcmp(name, "box") == 0) {
		ignore_linger(c);
		ask_about_netlink(c);
	} else {
		keep_death_signal(c);
	}
	if (strcmp(name, "core") == 0)
		must(seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
			 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)),
		    "clone");
	print(c, name);
	seccomp_release(c);
	return 0;
}
