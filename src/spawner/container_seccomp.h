/*
 * The system calls of containers, as linux.seccomp of config.json: a list of what is allowed, in
 * the spirit of what Docker allows without further capabilities. Not allowed are, among others,
 * mounts, new namespaces by clone(2), clone3(2) (answered as a kernel without it does, so that
 * libraries use clone(2)), keyrings, bpf, io_uring, userfaultfd, perf, kernel modules, clocks,
 * quotas, swapping and sockets of kinds that are rare and have a history. Names that a runtime's
 * libseccomp does not know are left out here. One architecture: each more makes the filter and the
 * time that runtimes take to compile it twice as long, and few images have programs of 32 bits.
 */
#pragma once

#if defined(__x86_64__)
#define CONTAINER_ARCH "SCMP_ARCH_X86_64"
#elif defined(__aarch64__)
#define CONTAINER_ARCH "SCMP_ARCH_AARCH64"
#else
#error "no filter for containers on this architecture"
#endif

static const char container_seccomp[] =
    "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,"
    "\"architectures\":[\"" CONTAINER_ARCH "\"],"
    "\"syscalls\":[{\"names\":["
    "\"accept\",\"accept4\",\"access\",\"adjtimex\",\"alarm\",\"arch_prctl\","
    "\"bind\",\"brk\",\"capget\",\"capset\",\"chdir\",\"chmod\",\"chown\",\"chroot\","
    "\"clock_adjtime\",\"clock_getres\",\"clock_gettime\",\"clock_nanosleep\","
    "\"close\",\"close_range\",\"connect\",\"copy_file_range\",\"creat\",\"dup\","
    "\"dup2\",\"dup3\",\"epoll_create\",\"epoll_create1\",\"epoll_ctl\",\"epoll_pwait\","
    "\"epoll_pwait2\",\"epoll_wait\",\"eventfd\",\"eventfd2\",\"execve\",\"execveat\","
    "\"exit\",\"exit_group\",\"faccessat\",\"faccessat2\",\"fadvise64\",\"fallocate\","
    "\"fanotify_mark\",\"fchdir\",\"fchmod\",\"fchmodat\",\"fchown\",\"fchownat\","
    "\"fcntl\",\"fdatasync\",\"fgetxattr\",\"flistxattr\",\"flock\",\"fork\","
    "\"fremovexattr\",\"fsetxattr\",\"fstat\",\"fstatfs\",\"fsync\",\"ftruncate\","
    "\"futex\",\"futex_waitv\",\"futimesat\",\"get_robust_list\",\"get_thread_area\","
    "\"getcpu\",\"getcwd\",\"getdents\",\"getdents64\",\"getegid\",\"geteuid\","
    "\"getgid\",\"getgroups\",\"getitimer\",\"getpeername\",\"getpgid\",\"getpgrp\","
    "\"getpid\",\"getppid\",\"getpriority\",\"getrandom\",\"getresgid\",\"getresuid\","
    "\"getrlimit\",\"getrusage\",\"getsid\",\"getsockname\",\"getsockopt\",\"gettid\","
    "\"gettimeofday\",\"getuid\",\"getxattr\",\"inotify_add_watch\",\"inotify_init\","
    "\"inotify_init1\",\"inotify_rm_watch\",\"io_cancel\",\"io_destroy\",\"io_getevents\","
    "\"io_pgetevents\",\"io_setup\",\"io_submit\",\"ioctl\",\"ioprio_get\",\"ioprio_set\","
    "\"kill\",\"landlock_add_rule\",\"landlock_create_ruleset\",\"landlock_restrict_self\","
    "\"lchown\",\"lgetxattr\",\"link\",\"linkat\",\"listen\",\"listxattr\",\"llistxattr\","
    "\"lremovexattr\",\"lseek\",\"lsetxattr\",\"lstat\",\"madvise\",\"membarrier\","
    "\"memfd_create\",\"memfd_secret\",\"mincore\",\"mkdir\",\"mkdirat\",\"mknod\","
    "\"mknodat\",\"mlock\",\"mlock2\",\"mlockall\",\"mmap\",\"modify_ldt\",\"mprotect\","
    "\"mq_getsetattr\",\"mq_notify\",\"mq_open\",\"mq_timedreceive\",\"mq_timedsend\","
    "\"mq_unlink\",\"mremap\",\"msgctl\",\"msgget\",\"msgrcv\",\"msgsnd\",\"msync\","
    "\"munlock\",\"munlockall\",\"munmap\",\"name_to_handle_at\",\"nanosleep\","
    "\"newfstatat\",\"open\",\"openat\",\"openat2\",\"pause\",\"pidfd_getfd\","
    "\"pidfd_open\",\"pidfd_send_signal\",\"pipe\",\"pipe2\",\"pkey_alloc\","
    "\"pkey_free\",\"pkey_mprotect\",\"poll\",\"ppoll\",\"prctl\",\"pread64\","
    "\"preadv\",\"preadv2\",\"prlimit64\",\"process_mrelease\",\"process_vm_readv\","
    "\"process_vm_writev\",\"pselect6\",\"ptrace\",\"pwrite64\",\"pwritev\","
    "\"pwritev2\",\"read\",\"readahead\",\"readlink\",\"readlinkat\",\"readv\","
    "\"recvfrom\",\"recvmmsg\",\"recvmsg\",\"remap_file_pages\",\"removexattr\","
    "\"rename\",\"renameat\",\"renameat2\",\"restart_syscall\",\"rmdir\",\"rseq\","
    "\"rt_sigaction\",\"rt_sigpending\",\"rt_sigprocmask\",\"rt_sigqueueinfo\","
    "\"rt_sigreturn\",\"rt_sigsuspend\",\"rt_sigtimedwait\",\"rt_tgsigqueueinfo\","
    "\"sched_get_priority_max\",\"sched_get_priority_min\",\"sched_getaffinity\","
    "\"sched_getattr\",\"sched_getparam\",\"sched_getscheduler\",\"sched_rr_get_interval\","
    "\"sched_setaffinity\",\"sched_setattr\",\"sched_setparam\",\"sched_setscheduler\","
    "\"sched_yield\",\"seccomp\",\"select\",\"semctl\",\"semget\",\"semop\","
    "\"semtimedop\",\"sendfile\",\"sendmmsg\",\"sendmsg\",\"sendto\",\"set_robust_list\","
    "\"set_thread_area\",\"set_tid_address\",\"setfsgid\",\"setfsuid\",\"setgid\","
    "\"setgroups\",\"setitimer\",\"setpgid\",\"setpriority\",\"setregid\",\"setresgid\","
    "\"setresuid\",\"setreuid\",\"setrlimit\",\"setsid\",\"setsockopt\",\"setuid\","
    "\"setxattr\",\"shmat\",\"shmctl\",\"shmdt\",\"shmget\",\"shutdown\",\"sigaltstack\","
    "\"signalfd\",\"signalfd4\",\"socketpair\",\"splice\",\"stat\",\"statfs\","
    "\"statx\",\"symlink\",\"symlinkat\",\"sync\",\"sync_file_range\",\"syncfs\","
    "\"sysinfo\",\"tee\",\"tgkill\",\"time\",\"timer_create\",\"timer_delete\","
    "\"timer_getoverrun\",\"timer_gettime\",\"timer_settime\",\"timerfd_create\","
    "\"timerfd_gettime\",\"timerfd_settime\",\"times\",\"tkill\",\"truncate\","
    "\"umask\",\"uname\",\"unlink\",\"unlinkat\",\"utime\",\"utimensat\",\"utimes\","
    "\"vfork\",\"vmsplice\",\"wait4\",\"waitid\",\"write\",\"writev\""
    "],\"action\":\"SCMP_ACT_ALLOW\"},"
    /* No new namespaces: 0x7e020000 is CLONE_NEW*. */
    "{\"names\":[\"clone\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":"
    "2114060288,"
    "\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]},"
    "{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38},"
    /* Linux, another 32-bit one, uname26, query. */
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":0,"
    "\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":8,"
    "\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":"
    "131072,\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":"
    "4294967295,\"op\":\"SCMP_CMP_EQ\"}]},"
    /* Local, IPv4, IPv6, netlink; no vsock, no alg, nor packet sockets, NET_RAW or not. */
    "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":1,"
    "\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":2,"
    "\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":10,"
    "\"op\":\"SCMP_CMP_EQ\"}]},"
    "{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":16,"
    "\"op\":\"SCMP_CMP_EQ\"}]}"
    "]}";
