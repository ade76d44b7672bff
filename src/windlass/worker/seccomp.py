"""Which system calls containers may make: a profile as data.

Listed calls are allowed. Calls that reach out of the container or have a record of kernel holes (mounts, modules,
keys, bpf, new user namespaces, io_uring, …) fail with EPERM. Whatever is in neither list is newer than this file and
fails with ENOSYS, so that libraries fall back to what they know.
"""
from __future__ import annotations

import errno
import platform
from collections.abc import Sequence
from typing import Any

_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def _words(text: str) -> list[str]:
    return text.split()


ALLOWED = _words("""
accept accept4 access alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chroot clock_getres
clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve
execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate
futex futex_requeue futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list get_thread_area getcpu
getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid
getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday
getuid getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
io_pgetevents io_setup io_submit ioctl ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lchown lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat
madvise map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
mlockall mmap modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap
mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat
openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
prctl pread64 preadv preadv2 prlimit64 process_madvise process_mrelease process_vm_readv process_vm_writev pselect6
ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
semtimedop sendfile sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node set_robust_list set_thread_area
set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid
setreuid setrlimit setsid setsockopt setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd
signalfd4 socketpair splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid
write writev
""")

REFUSED = _words("""
acct add_key bpf clock_adjtime clock_settime create_module delete_module fanotify_init finit_module fsconfig fsmount
fsopen fspick get_kernel_syms init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp
kexec_file_load kexec_load keyctl lookup_dcookie migrate_pages mount mount_setattr move_mount move_pages nfsservctl
open_by_handle_at open_tree perf_event_open pivot_root query_module quotactl quotactl_fd reboot request_key
setdomainname sethostname setns settimeofday swapoff swapon syslog sysfs umount2 unshare uselib
userfaultfd ustat vhangup
""")

_NEW_NAMESPACES = 0x7E020000  # the CLONE_NEW* bits
_AF_VSOCK = 40  # talks to the hypervisor beneath the host
_ALONE = 0x700  # memory, folders and descriptors of one's own (``transplant.ALONE``)
_NOT_PERMITTED: dict[str, Any] = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)


def profile(machine: str = "", *, key: Sequence[int] = ()) -> dict[str, Any] | None:
    """The OCI ``linux.seccomp`` object for this kind of processor, or None where there is no list for it.

    ``key``: of a template. ``setns`` is let through for whoever passes these words as its third to sixth argument, and
    ``unshare`` for what gives no new namespace (``snapshots.transplant``).
    """
    architecture = _ARCHITECTURES.get(machine or platform.machine())
    if architecture is None:
        return None
    allow = "SCMP_ACT_ALLOW"
    only_new_processes = {"index": 0, "value": _NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    not_the_hypervisor = {"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_NE"}
    rules: list[dict[str, Any]] = [
        {"names": ALLOWED, "action": allow},
        {"names": REFUSED, **_NOT_PERMITTED},
        {"names": ["clone"], "action": allow, "args": [only_new_processes]},
        {"names": ["socket"], "action": allow, "args": [not_the_hypervisor]},
    ]
    for value in _PERSONALITIES:
        one = {"index": 0, "value": value, "op": "SCMP_CMP_EQ"}
        rules.append({"names": ["personality"], "action": allow, "args": [one]})
    if key:
        words = [{"index": 2 + n, "value": word, "op": "SCMP_CMP_EQ"} for n, word in enumerate(key)]
        rules[1] = {**rules[1], "names": [name for name in REFUSED if name not in ("setns", "unshare")]}
        rules.append({"names": ["setns"], "action": allow, "args": words})
        for op, other in (("SCMP_CMP_EQ", {"action": allow}), ("SCMP_CMP_NE", _NOT_PERMITTED)):
            alone = {"index": 0, "value": _ALONE, "op": op}
            rules.append({"names": ["unshare"], **other, "args": [alone]})
    # clone3 hides its flags in memory, where a filter cannot look: absent, so that libc falls back to clone.
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": [architecture],
        "syscalls": rules,
    }
