/*
 * Runs inside a box and says, one JSON line, what it sees and what it was able to do. Static; does
 * nothing else. `probe look` reports; the other words are small behaviours for the scenarios of
 * testcore.c. A forbidden attempt reports its errno; 0 means that it worked.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *name, long value)
{
	printf(",\"%s\":%ld", name, value);
}

/* errno of a call that should fail; 0 when it did not. */
static void tried(const char *name, long r)
{
	put(name, r < 0 ? errno : 0);
}

static void put_text(const char *name, const char *path)
{
	char text[16384];
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	printf(",\"%s\":\"", name);
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			printf("\\n");
		else if (text[i] == '\t')
			printf("\\t");
		else if (text[i] == '"' || text[i] == '\\')
			printf("\\%c", text[i]);
		else
			putchar(text[i]);
	}
	putchar('"');
}

static long connect_to(const char *address, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long r;

	inet_pton(AF_INET, address, &a.sin_addr);
	r = connect(fd, (struct sockaddr *)&a, sizeof(a));
	close(fd);
	return r;
}

static long count_pids(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	long n = 0;

	while (d && (e = readdir(d)))
		n += e->d_name[0] >= '0' && e->d_name[0] <= '9';
	if (d)
		closedir(d);
	return n;
}

static void limits(void)
{
	static const struct {
		const char *name;
		int which;
	} all[] = {{"nofile", RLIMIT_NOFILE}, {"core", RLIMIT_CORE}, {"memlock", RLIMIT_MEMLOCK},
	    {"nproc", RLIMIT_NPROC}};
	struct rlimit l;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		getrlimit((__rlimit_resource_t)all[i].which, &l);
		put(all[i].name, (long)l.rlim_max);
	}
}

static void namespaces(void)
{
	static const char *const names[] = {"pid", "mnt", "ipc", "uts", "net", "user", "cgroup"};
	char path[64], target[64];

	for (size_t i = 0; i < 7; i++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		printf(",\"ns_%s\":\"%s\"", names[i], target);
	}
}

static long make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

	if (fd >= 0)
		close(fd);
	return fd;
}

static void attempts_mount(void)
{
	tried("try_mount", mount("x", "/tmp", "tmpfs", 0, NULL));
	tried("try_remount", mount(NULL, "/var/task", NULL, MS_REMOUNT | MS_BIND, NULL));
	tried("try_umount", umount2("/var/task", MNT_DETACH));
	tried("try_unshare_user", unshare(CLONE_NEWUSER));
	tried("try_unshare_mount", unshare(CLONE_NEWNS));
	tried("try_unshare_net", unshare(CLONE_NEWNET));
	tried("try_clone_user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	tried("try_clone3", syscall(SYS_clone3, NULL, 0));
	tried("try_fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	tried("try_chroot", chroot("/tmp"));
	tried("try_pivot", syscall(SYS_pivot_root, ".", "."));
	tried("try_mknod", mknod("/tmp/device", S_IFBLK | 0600, makedev(254, 0)));
	tried("try_setns", syscall(SYS_setns, 0, 0));
}

static void attempts_process(void)
{
	tried("try_ptrace_1", ptrace(PTRACE_ATTACH, 1, 0, 0));
	tried("try_mem_1", open("/proc/1/mem", O_RDWR));
	tried("try_root_1", open("/proc/1/root/", O_RDONLY));
	tried("try_environ_1", open("/proc/1/environ", O_RDONLY));
	tried("try_fd_1", open("/proc/1/fd/3", O_RDONLY));
	tried("try_kill_1", kill(1, SIGKILL));
	tried("try_setuid_0", setuid(0));
	tried("try_setuid_1", setuid(1));
	tried("try_setgid_0", setgid(0));
	tried("try_oom_score", open("/proc/1/oom_score_adj", O_WRONLY));
	tried("try_sysrq", open("/proc/sysrq-trigger", O_WRONLY));
	tried("try_userns_limit", open("/proc/sys/user/max_user_namespaces", O_WRONLY));
	tried("try_core_pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
	tried("try_kmsg", open("/dev/kmsg", O_RDONLY));
	tried("try_sethostname", sethostname("x", 1));
	tried("try_nice", setpriority(PRIO_PROCESS, 0, -10) < 0 ? -1 : 0);
}

static void attempts_kernel(void)
{
	tried("try_keyctl", syscall(SYS_keyctl, 0, -3, 1));
	tried("try_add_key", syscall(SYS_add_key, "user", "a", "b", 1, -3));
	tried("try_bpf", syscall(SYS_bpf, 5, NULL, 0));
	tried("try_io_uring", syscall(SYS_io_uring_setup, 1, NULL));
	tried("try_userfaultfd", syscall(SYS_userfaultfd, 0));
	tried("try_perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	tried("try_kexec", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	tried("try_module", syscall(SYS_init_module, NULL, 0, ""));
	tried("try_reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
	tried("try_clock", syscall(SYS_clock_settime, 0, NULL));
	tried("try_swapon", syscall(SYS_swapon, "/x", 0));
	tried("try_handle", syscall(SYS_open_by_handle_at, -1, NULL, 0));
	tried("try_statmount", syscall(457, NULL, NULL, 0, 0));
	tried("try_raw_socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	tried("try_packet_socket", socket(AF_PACKET, SOCK_RAW, 0));
	tried("try_alg_socket", socket(38, SOCK_SEQPACKET, 0));
	tried("try_vsock", socket(40, SOCK_STREAM, 0));
	tried("try_netfilter", socket(AF_NETLINK, SOCK_RAW, 12));
}

/* Around the list of socket families: by socketpair(2), which creates before it refuses; by high
 * halves of arguments, which filters see and the kernel does not; by other transports. */
static void attempts_sockets(void)
{
	const long high = 1L << 32;
	struct sock_filter accept_all = {0x06, 0, 0, 0xffff};
	struct sock_fprog filter = {1, &accept_all};
	struct linger wait = {.l_onoff = 1, .l_linger = 3600}, kept = {0};
	socklen_t len = sizeof(kept);
	int pair[2], fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	tried("try_pair_vsock", socketpair(40, SOCK_STREAM, 0, pair));
	tried("try_pair_packet", socketpair(AF_PACKET, SOCK_DGRAM, 0, pair));
	tried("try_pair_tipc", socketpair(30, SOCK_STREAM, 0, pair));
	tried("try_pair_unix", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	tried("try_high_vsock", syscall(SYS_socket, high | 40, SOCK_STREAM, 0));
	tried("try_high_alg", syscall(SYS_socket, high | 38, SOCK_SEQPACKET, 0));
	tried("try_high_netfilter", syscall(SYS_socket, AF_NETLINK, SOCK_RAW, high | 12));
	tried("try_mptcp", socket(AF_INET, SOCK_STREAM, 262));
	tried("try_high_mptcp", syscall(SYS_socket, AF_INET, SOCK_STREAM, high | 262));
	tried("try_sctp", socket(AF_INET6, SOCK_STREAM, 132));
	tried("try_udplite", socket(AF_INET, SOCK_DGRAM, 136));
	tried("try_dccp", socket(AF_INET, 6, 33));
	tried("try_seqpacket", socket(AF_INET, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	tried("try_route", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
	tried("try_udp", socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	tried("try_filter", setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)));
	tried("try_high_filter", syscall(SYS_setsockopt, (long)fd, high | SOL_SOCKET,
				     high | SO_ATTACH_FILTER, &filter, sizeof(filter)));
	tried("try_bridge", ioctl(fd, SIOCGIFBR, NULL));
	tried("try_vlan", ioctl(fd, SIOCGIFVLAN, NULL));
	/* Allowed and without effect, in both spellings. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &wait, len);
	syscall(SYS_setsockopt, (long)fd, high | SOL_SOCKET, high | SO_LINGER, &wait, len);
	put("linger_read", getsockopt(fd, SOL_SOCKET, SO_LINGER, &kept, &len));
	put("linger_kept", kept.l_onoff);
	close(fd);
}

static void attempts_files(void)
{
	tried("try_write_usr", make_file("/usr/bin/evil"));
	tried("try_write_task", make_file("/var/task/evil"));
	tried("try_write_runtime", make_file("/var/runtime/evil"));
	tried("try_write_opt", make_file("/opt/evil"));
	tried("try_write_root", make_file("/evil"));
	tried("try_write_dev", make_file("/dev/evil"));
	tried("try_write_etc", make_file("/etc/passwd"));
	tried("try_write_tmp", make_file("/tmp/fine"));
	tried("try_host_home", open("/root/.", O_RDONLY | O_DIRECTORY));
	tried("try_shadow", open("/etc/shadow", O_RDONLY));
	tried("try_sys", open("/sys/kernel", O_RDONLY));
	tried("try_disk", open("/dev/vda", O_RDONLY));
	tried("try_loop", open("/dev/loop-control", O_RDWR));
}

static void look(void)
{
	struct utsname name;
	struct statvfs tmp;
	struct stat st;
	char cwd[256] = "";

	uname(&name);
	(void)!getcwd(cwd, sizeof(cwd));
	printf("{\"uid\":%d,\"gid\":%d,\"pid\":%d,\"sid\":%d", (int)getuid(), (int)getgid(),
	    (int)getpid(), (int)getsid(0));
	printf(",\"hostname\":\"%s\",\"cwd\":\"%s\"", name.nodename, cwd);
	put("groups", getgroups(0, NULL));
	put("pids_seen", count_pids());
	put("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	put("fd3", fcntl(3, F_GETFD) >= 0);
	put("fd4", fcntl(4, F_GETFD) >= 0);
	put("fd5", fcntl(5, F_GETFD) >= 0);
	put("tmp_mb", statvfs("/tmp", &tmp) < 0 ? -1 : (long)(tmp.f_blocks * tmp.f_frsize >> 20));
	put("tmp_mode", stat("/tmp", &st) < 0 ? -1 : (long)(st.st_mode & 07777));
	put("tmp_files", (long)tmp.f_files);
	put("opt_a", access("/opt/a", F_OK) == 0);
	put("opt_b", access("/opt/b", F_OK) == 0);
	put("opt_top", stat("/opt/top", &st) == 0 ? (long)st.st_size : -1);
	put_text("status", "/proc/self/status");
	put_text("mounts", "/proc/self/mounts");
	put_text("cgroup", "/proc/self/cgroup");
	put_text("oom", "/proc/self/oom_score_adj");
	put_text("uid_map", "/proc/self/uid_map");
	put_text("net", "/proc/net/dev");
	limits();
	namespaces();
	tried("connect_api", connect_to("127.0.0.1", 9001));
	tried("connect_endpoint", connect_to("127.0.0.1", 4566));
	tried("connect_host",
	    connect_to("127.0.0.1", atoi(getenv("HOST_PORT") ? getenv("HOST_PORT") : "22")));
	tried("connect_world", connect_to("8.8.8.8", 53));
	tried("connect_alias", connect_to("169.254.100.1", 1));
	attempts_mount();
	attempts_process();
	attempts_kernel();
	attempts_sockets();
	attempts_files();
	printf("}\n");
}

static void eat(void)
{
	for (size_t i = 0; i < 400; i++) {
		char *p =
		    mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p != MAP_FAILED)
			memset(p, 1, 1 << 20);
	}
	printf("ate 400 MB\n");
}

static void touch(void)
{
	FILE *f = fopen("/tmp/file", "w");

	for (int i = 0; f && i < 16; i++)
		fprintf(f, "%4096d", i);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "look";

	if (strcmp(what, "look") == 0)
		look();
	else if (strcmp(what, "eat") == 0)
		eat();
	else if (strcmp(what, "touch") == 0)
		touch();
	else if (strcmp(what, "bomb") == 0)
		while (fork() >= 0) /* to the limit of processes */
			;
	if (strcmp(what, "bomb") == 0 || strcmp(what, "wait") == 0)
		for (;;)
			pause();
	return 0;
}
