//! Why the gateway did not start, in words that name the flag and the remedy.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::discovery::{NothingFound, file, roots};
use crate::endpoint::Source;
use crate::sys::Plain;
use crate::sys::activation;
use crate::sys::errno;
use crate::x509;

/// Why the gateway did not start.
#[derive(Debug)]
pub(crate) enum Error {
    /// Endpoint and listener are the same.
    Loop {
        source: Source,
        endpoint: String,
        addr: SocketAddr,
        listen: String,
    },
    /// SRV records give no member.
    Discovery(NothingFound),
    /// The file that names the members does not.
    EndpointsFile(file::Error),
    /// There is nothing to authenticate members by.
    Roots(roots::Error),
    /// What members are to prove is not a name that a certificate can have.
    ServerName(String, x509::Error),
    /// Metrics are wanted on an address that clients are accepted on.
    MetricsOnListener { metrics: String, listen: String },
    /// Of two addresses to accept clients on one is part of the other.
    ListenOverlap { one: String, other: String },
    /// What the service manager passed cannot be listened on.
    Activation(activation::Error),
    /// The operator and the service manager say different things.
    ListenTwice {
        named: Vec<String>,
        passed: Vec<String>,
    },
    /// The service manager's environment cannot be served.
    Notify(String),
    /// The host refuses a step of the start.
    Host {
        /// What cannot be done, with the flag that wants it.
        what: String,
        step: Step,
        error: io::Error,
    },
    /// A fault of ours.
    Panicked(String),
}

/// What the host was asked for. The remedy depends on this and on the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The address of a name to listen on.
    Resolve,
    /// A socket and its options.
    Socket,
    /// A port for it.
    Bind(u16),
    AccessLog,
    Thread,
    /// Anything else.
    Other,
}

impl Error {
    /// The host refuses `step`, so that it cannot do `what`.
    pub(super) fn host(what: impl Into<String>, step: Step, error: io::Error) -> Self {
        let what = what.into();
        Self::Host { what, step, error }
    }

    pub(super) fn thread(error: io::Error) -> Self {
        Self::host("cannot start a thread", Step::Thread, error)
    }

    pub(super) fn access_log(path: &Path, error: io::Error) -> Self {
        let what = format!("--access-log={}: cannot append to it", path.display());
        Self::host(what, Step::AccessLog, error)
    }

    /// Whether what the operator wrote is at fault, rather than the host.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Loop { .. }
                | Self::ServerName(..)
                | Self::MetricsOnListener { .. }
                | Self::ListenOverlap { .. }
                | Self::Activation(_)
                | Self::ListenTwice { .. }
        )
    }
}

/// What helps against an error, if that is known.
fn remedy(step: Step, error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    let want = match error.raw_os_error() {
        Some(errno::EMFILE) => {
            "raise the limit on open files of this process (LimitNOFILE in a unit)"
        }
        Some(errno::ENFILE) => "raise fs.file-max of this host",
        Some(errno::ENOMEM | errno::ENOBUFS) => {
            "free memory of this host, or raise the limit of the cgroup (MemoryMax in a unit)"
        }
        _ => "",
    };
    if !want.is_empty() {
        return Some(want);
    }
    let forbidden = "a sandbox or a security module of this host forbids it";
    let remedy = match (step, error.kind()) {
        (Step::AccessLog, Kind::NotFound | Kind::NotADirectory) => {
            "create its directory, or name another file"
        }
        (Step::AccessLog, Kind::IsADirectory) => "name a file in that directory",
        (Step::AccessLog, Kind::PermissionDenied) => {
            "let the user of this process write there, or name another file"
        }
        (Step::AccessLog, Kind::ReadOnlyFilesystem) => {
            "name a file elsewhere; in a unit, LogsDirectory= makes room for one"
        }
        // open(2): a named pipe without a reader, or a socket, as /dev/stdout is in a unit.
        (Step::AccessLog, _) if error.raw_os_error() == Some(errno::ENXIO) => {
            "if it is a pipe, start its reader first; if it is a socket, as that of the journal, \
             write stderr in its place"
        }
        (Step::AccessLog, _) => "name another file",
        (Step::Resolve, _) => "use an address of this host",
        // bind(2): EPERM is not among its own errors.
        (Step::Bind(..1024), _) if error.raw_os_error() == Some(errno::EACCES) => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one"
        }
        (_, Kind::PermissionDenied) => forbidden,
        (Step::Bind(_), Kind::AddrInUse) => {
            "another program listens there: stop it or choose another port"
        }
        (Step::Bind(_), Kind::AddrNotAvailable) => "no interface of this host has that address",
        (Step::Bind(_), _) => "choose another address",
        (Step::Socket, _) if error.raw_os_error() == Some(errno::EAFNOSUPPORT) => {
            "this host does not have that family of addresses: choose another address"
        }
        (Step::Thread, Kind::WouldBlock) => {
            "raise the limit on processes of this user or cgroup (LimitNPROC and TasksMax in a unit)"
        }
        (Step::Socket | Step::Thread | Step::Other, _) => return None,
    };
    Some(remedy)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop {
                source,
                endpoint,
                addr,
                listen,
            } => {
                let flag = match source {
                    Source::Endpoints => "--endpoints",
                    Source::File => "--endpoints-file",
                    Source::Srv => "--discovery-srv",
                };
                write!(
                    f,
                    "{flag}: SRV or endpoint ({endpoint}->{addr}) should not resolve to the gateway \
                     listen addr ({listen}): name the etcd members, or listen on another port"
                )
            }
            Self::Discovery(error) => error.fmt(f),
            Self::EndpointsFile(error) => write!(f, "--endpoints-file: {error}"),
            Self::Roots(error) => write!(f, "--trusted-ca-file: {error}"),
            Self::ServerName(name, error) => write!(
                f,
                "members cannot prove that they are {name:?}: {error}; give the name that their \
                 certificates have with --discovery-server-name"
            ),
            Self::MetricsOnListener { metrics, listen } => write!(
                f,
                "--metrics-addr={metrics}: clients are accepted there (--listen-addr={listen}): \
                 choose another port"
            ),
            Self::ListenOverlap { one, other } => write!(
                f,
                "--listen-addr={one},{other}: only one of the two can be listened on: \
                 leave one of them away"
            ),
            Self::Activation(error) => error.fmt(f),
            Self::ListenTwice { named, passed } => write!(
                f,
                "--listen-addr={}: the service manager passes sockets at {} instead (LISTEN_FDS); leave \
                 --listen-addr away, name the same addresses, or disable the socket unit",
                named.join(","),
                passed.join(",")
            ),
            Self::Notify(error) => f.write_str(error),
            Self::Host { what, step, error } => {
                write!(f, "{what}: {}", Plain(error))?;
                match remedy(*step, error) {
                    Some(remedy) => write!(f, "; {remedy}"),
                    None => Ok(()),
                }
            }
            Self::Panicked(error) => write!(
                f,
                "{error}; this is a fault of etcd-gateway itself: please report it"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Host { error, .. } => Some(error),
            Self::Discovery(error) => Some(error),
            Self::EndpointsFile(error) => Some(error),
            Self::Roots(error) => Some(error),
            Self::ServerName(_, error) => Some(error),
            Self::Loop { .. }
            | Self::MetricsOnListener { .. }
            | Self::ListenOverlap { .. }
            | Self::Activation(_)
            | Self::ListenTwice { .. }
            | Self::Notify(_)
            | Self::Panicked(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORBIDDEN: &str = "a sandbox or a security module of this host forbids it";
    const OPEN_FILES: &str =
        "raise the limit on open files of this process (LimitNOFILE in a unit)";
    const MEMORY: &str =
        "free memory of this host, or raise the limit of the cgroup (MemoryMax in a unit)";
    const PROCESSES: &str =
        "raise the limit on processes of this user or cgroup (LimitNPROC and TasksMax in a unit)";
    const SOCKET_OR_PIPE: &str = "if it is a pipe, start its reader first; if it is a socket, as \
        that of the journal, write stderr in its place";

    /// Numbers of asm-generic/errno.h, and what is to be done where each step meets them.
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
            (Step::Thread, ENOMEM, Some(MEMORY)),
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
                Some("no interface of this host has that address"),
            ),
            (HIGH, EINVAL, Some("choose another address")),
            (Step::Thread, EAGAIN, Some(PROCESSES)),
            (Step::Thread, EPERM, Some(FORBIDDEN)),
            (Step::Thread, ENOTTY, None),
            (Step::Resolve, EINVAL, Some("use an address of this host")),
            (Step::Other, EPERM, Some(FORBIDDEN)),
            (Step::Other, EAGAIN, None),
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
    fn a_refusal_is_told_with_its_flag_its_reason_and_its_remedy() {
        let refused = |number| io::Error::from_raw_os_error(number);
        for (error, said) in [
            (
                Error::host(
                    "--listen-addr=[::1]:1: cannot listen",
                    Step::Socket,
                    refused(97),
                ),
                "--listen-addr=[::1]:1: cannot listen: address family not supported by protocol; this \
                 host does not have that family of addresses: choose another address",
            ),
            (
                Error::thread(refused(11)),
                "cannot start a thread: resource temporarily unavailable; raise the limit on processes \
                 of this user or cgroup (LimitNPROC and TasksMax in a unit)",
            ),
            (
                Error::thread(refused(25)),
                "cannot start a thread: inappropriate ioctl for device",
            ),
            (
                Error::access_log(Path::new("/a/b"), refused(2)),
                "--access-log=/a/b: cannot append to it: no such file or directory; create its \
                 directory, or name another file",
            ),
            (
                Error::Panicked("panicked at a.rs:1:1: words".to_owned()),
                "panicked at a.rs:1:1: words; this is a fault of etcd-gateway itself: please report it",
            ),
        ] {
            assert_eq!(error.to_string(), said);
            assert!(!error.is_usage(), "{said}");
        }
    }
}
