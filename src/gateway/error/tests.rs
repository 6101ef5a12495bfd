//! Tests of the messages of a failed start.

use super::*;

const FORBIDDEN: &str = "a sandbox or a security module of this host forbids it";
const OPEN_FILES: &str = "raise the limit on open files of this process (LimitNOFILE in a unit)";
const PROCESSES: &str =
    "raise the limit on processes of this user or cgroup (LimitNPROC and TasksMax in a unit)";
const MEMORY: &str =
    "free memory of this host, or raise the limit of the cgroup (MemoryMax in a unit)";
const SOCKET_OR_PIPE: &str = "if it is a pipe, start its reader first; if it is a socket, as \
    that of the journal, write stderr in its place";

/// Numbers of asm-generic/errno.h, and the remedy if each step fails with them.
#[test]
fn the_remedy_fits_the_error() {
    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const ENXIO: i32 = 6;
    const EAGAIN: i32 = 11;
    const ENOMEM: i32 = 12;
    const EACCES: i32 = 13;
    const EISDIR: i32 = 21;
    const EINVAL: i32 = 22;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOTTY: i32 = 25;
    const EROFS: i32 = 30;
    const EAFNOSUPPORT: i32 = 97;
    const EADDRINUSE: i32 = 98;
    const EADDRNOTAVAIL: i32 = 99;
    const ENOBUFS: i32 = 105;
    const LOW: Step = Step::Bind(1023);
    const HIGH: Step = Step::Bind(1024);
    for (step, number, expected) in [
        (Step::Socket, EMFILE, Some(OPEN_FILES)),
        (HIGH, EMFILE, Some(OPEN_FILES)),
        (Step::Other, EMFILE, Some(OPEN_FILES)),
        (Step::AccessLog, EMFILE, Some(OPEN_FILES)),
        (Step::Socket, ENFILE, Some("raise fs.file-max of this host")),
        (Step::Socket, ENOMEM, Some(MEMORY)),
        (Step::Socket, ENOBUFS, Some(MEMORY)),
        (LOW, ENOMEM, Some(MEMORY)),
        (
            Step::Socket,
            EAFNOSUPPORT,
            Some("this host does not have that family of addresses: choose another address"),
        ),
        (Step::Socket, EPERM, Some(FORBIDDEN)),
        (Step::Socket, ENOTTY, None),
        (
            LOW,
            EACCES,
            Some("ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one"),
        ),
        (LOW, EPERM, Some(FORBIDDEN)),
        (HIGH, EACCES, Some(FORBIDDEN)),
        (
            HIGH,
            EADDRINUSE,
            Some("another program listens there: stop it or choose another port"),
        ),
        (
            LOW,
            EADDRINUSE,
            Some("another program listens there: stop it or choose another port"),
        ),
        (
            HIGH,
            EADDRNOTAVAIL,
            Some(
                "no interface of this host has that address, or not yet: an IPv6 address is looked for \
                 on the network first, for a second or two, when its interface comes up",
            ),
        ),
        (HIGH, EINVAL, Some("choose another address")),
        (Step::Resolve, EINVAL, Some("use an address of this host")),
        (Step::Other, EPERM, Some(FORBIDDEN)),
        (Step::Other, EAGAIN, None),
        (Step::Thread, EAGAIN, Some(PROCESSES)),
        (
            Step::AccessLog,
            ENOENT,
            Some("create its directory, or name another file"),
        ),
        (
            Step::AccessLog,
            EACCES,
            Some("let the user of this process write there, or name another file"),
        ),
        (
            Step::AccessLog,
            EISDIR,
            Some("name a file in that directory"),
        ),
        (
            Step::AccessLog,
            EROFS,
            Some("name a file elsewhere; in a unit, LogsDirectory= makes room for one"),
        ),
        (Step::AccessLog, ENXIO, Some(SOCKET_OR_PIPE)),
        (Step::AccessLog, EINVAL, Some("name another file")),
    ] {
        let error = io::Error::from_raw_os_error(number);
        assert_eq!(remedy(step, &error), expected, "{step:?}: {error}");
    }
}

#[test]
fn a_message_has_the_flag_the_reason_and_the_remedy() {
    let refused = |number| io::Error::from_raw_os_error(number);
    for (error, said) in [
        (
            Error::host(
                "--listen-addr=[::1]:1: cannot listen",
                Step::Socket,
                &refused(97),
            ),
            "--listen-addr=[::1]:1: cannot listen: address family not supported by protocol; this \
             host does not have that family of addresses: choose another address",
        ),
        (
            Error::no_thread(&refused(11), None),
            "cannot start a thread: resource temporarily unavailable; raise the limit on processes \
             of this user or cgroup (LimitNPROC and TasksMax in a unit)",
        ),
        (
            Error::no_thread(
                &refused(11),
                Some(limits::ReachedLimit {
                    what: "data of this process",
                    name: "RLIMIT_DATA",
                }),
            ),
            "cannot start a thread: resource temporarily unavailable; raise the limit on data of this \
             process (RLIMIT_DATA)",
        ),
        (
            Error::no_thread(&refused(12), None),
            "cannot start a thread: cannot allocate memory; free memory of this host, or raise the \
             limit of the cgroup (MemoryMax in a unit)",
        ),
        (
            Error::no_thread(&refused(1), None),
            "cannot start a thread: operation not permitted; a sandbox or a security module of this \
             host forbids it",
        ),
        (
            Error::no_thread(&refused(25), None),
            "cannot start a thread: inappropriate ioctl for device",
        ),
        (
            Error::descriptors(&limits::Shortage {
                limit: 9,
                open: 8,
                needed: 13,
            }),
            "too few descriptors: RLIMIT_NOFILE is 9, 8 are open, and 13 are needed to serve one client; \
             raise the limit on open files of this process (LimitNOFILE in a unit)",
        ),
        (
            Error::access_log(Path::new("/a/b"), &refused(2)),
            "--access-log=/a/b: cannot append to it: no such file or directory; create its \
             directory, or name another file",
        ),
        (
            Error::panicked("panicked at a.rs:1:1: words"),
            "panicked at a.rs:1:1: words; this is a fault of etcd-gateway itself: please report it",
        ),
    ] {
        assert_eq!(error.to_string(), said);
        assert!(!error.is_usage(), "{said}");
    }
}
