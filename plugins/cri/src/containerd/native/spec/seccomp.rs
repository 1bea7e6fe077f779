//! Filters of system calls: the default one, and those of files.
//!
//! The default allows what Docker's and containerd's allow. What is new in a kernel and in no list is refused with EPERM, or as if the
//! kernel did not know it where the low-level runtime sees that the list is older than the call.

use std::{collections::BTreeSet, fs, path::Path};

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use windlass_kernel::{Error, ErrorKind, Result};

use super::unbuildable;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Flags of `clone` that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;
/// The address family of sockets to the hypervisor.
const VSOCK: u64 = 40;
/// What `personality` may be: Linux, and Linux as it says it was, 64 bits or 32; and the question what it is.
const PERSONALITIES: &[u64] = &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Allowed to all.
const ALLOWED: &str = "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32
    fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs
    fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat
    getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr llistxattr _llseek lremovexattr
    lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod
    mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
    munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2
    prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2
    read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
    rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr
    sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp
    select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt
    set_thread_area set_tid_address setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
    utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Allowed on machines of one kind.
const OF_MACHINE: &[(&str, &str)] = &[
    ("x86_64", "arch_prctl modify_ldt"),
    ("aarch64", "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    ("s390x", "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    ("powerpc64", "sync_file_range2 swapcontext"),
    ("riscv64", "riscv_flush_icache"),
];

/// Allowed to whoever has a capability.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("BPF", "bpf"),
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("PERFMON", "perf_event_open"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("SYSLOG", "syslog"),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "ioperm iopl"),
    ("SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("SYS_TTY_CONFIG", "vhangup"),
];

/// The default filter for a container with these capabilities.
pub(super) fn default(capabilities: &BTreeSet<String>) -> Result<LinuxSeccomp> {
    let machine = OF_MACHINE.iter().filter(|(machine, _)| *machine == std::env::consts::ARCH);
    let held = BY_CAPABILITY.iter().filter(|(name, _)| capabilities.contains(*name));
    let names: BTreeSet<&str> =
        machine.chain(held).map(|(_, names)| *names).chain([ALLOWED]).flat_map(str::split_whitespace).collect();
    let mut rules = vec![allow(names.into_iter().map(Into::into).collect(), None)?];
    for personality in PERSONALITIES {
        rules.push(allow(vec!["personality".into()], Some((LinuxSeccompOperator::ScmpCmpEq, *personality, None)))?);
    }
    rules.push(allow(vec!["socket".into()], Some((LinuxSeccompOperator::ScmpCmpNe, VSOCK, None)))?);
    if !capabilities.contains("SYS_ADMIN") {
        // The second value is what has to be left under the mask that is the first.
        let none = (LinuxSeccompOperator::ScmpCmpMaskedEq, NAMESPACES, Some(0));
        rules.push(allow(vec!["clone".into()], Some(none))?);
        // Its flags are in memory, where no filter sees them: programs fall back to clone.
        let refuse = LinuxSyscallBuilder::default()
            .names(vec!["clone3".to_owned()])
            .action(LinuxSeccompAction::ScmpActErrno)
            .errno_ret(ENOSYS);
        rules.push(refuse.build().map_err(unbuildable)?);
    }
    let built = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(EPERM)
        .architectures(architectures())
        .syscalls(rules)
        .build();
    built.map_err(unbuildable)
}

/// The filter of a file, as an OCI specification has it.
pub(super) fn read(path: &Path) -> Result<LinuxSeccomp> {
    let unusable = |error: Box<dyn std::error::Error + Send + Sync>| {
        let message = format!("cannot use the seccomp profile {}", path.display());
        Error::new(ErrorKind::Invalid, message).with_source(error)
    };
    let text = fs::read(path).map_err(|error| unusable(error.into()))?;
    serde_json::from_slice(&text).map_err(|error| unusable(error.into()))
}

fn allow(names: Vec<String>, when: Option<(LinuxSeccompOperator, u64, Option<u64>)>) -> Result<LinuxSyscall> {
    let rule = LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow);
    let rule = match when {
        Some((operator, value, second)) => rule.args(vec![argument(operator, value, second)?]),
        None => rule,
    };
    rule.build().map_err(unbuildable)
}

/// A condition on the first argument.
fn argument(operator: LinuxSeccompOperator, value: u64, second: Option<u64>) -> Result<LinuxSeccompArg> {
    let argument = LinuxSeccompArgBuilder::default().index(0_usize).value(value).op(operator);
    let argument = match second {
        Some(second) => argument.value_two(second),
        None => argument,
    };
    argument.build().map_err(unbuildable)
}

/// The machine's instruction sets: a program of the smaller one must not get around the filter.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(capabilities: &[&str], name: &str, expect: bool) {
        let filter = default(&capabilities.iter().map(|name| (*name).to_owned()).collect()).unwrap();
        let rules = filter.syscalls().iter().flatten();
        let free = |rule: &&LinuxSyscall| rule.args().is_none() && rule.action() == LinuxSeccompAction::ScmpActAllow;
        let allowed = rules.filter(free).any(|rule| rule.names().iter().any(|known| known == name));
        assert_eq!(allowed, expect, "{name} with {capabilities:?}");
    }

    #[test]
    fn calls_are_allowed_by_capability() {
        check(&[], "openat", true);
        check(&[], "mount", false);
        check(&["SYS_ADMIN"], "mount", true);
        check(&["SYS_ADMIN"], "clone", true);
        check(&[], "clone", false);
        check(&[], "keyctl", false);
    }
}
