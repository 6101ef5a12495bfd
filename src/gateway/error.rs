//! Why the gateway did not start, in words that name the flag and the remedy.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::discovery::{NothingFound, file, roots};
use crate::endpoint::Source;
use crate::proxy;
use crate::sys::{self, Plain, activation, errno, limits};
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
    /// The host has too few descriptors for one client.
    Descriptors(limits::Shortage),
    /// The host gives no thread, because of this limit, if it can be seen.
    Thread(io::Error, Option<limits::Met>),
    /// The host refuses a step of the start.
    Host {
        /// What cannot be done, with the flag that wants it.
        what: String,
        step: Step,
        error: io::Error,
    },
    /// The process that served before does not hand over.
    HandedOver,
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
        Self::Thread(error, limits::met_by_a_thread())
    }

    /// There are no threads for even one client.
    pub(super) fn session(error: io::Error) -> Self {
        Self::Thread(error, limits::met_by_a_session(proxy::STACK))
    }

    pub(super) fn access_log(path: &Path, error: io::Error) -> Self {
        let what = format!("--access-log={}: cannot append to it", path.display());
        Self::host(what, Step::AccessLog, error)
    }

    /// Whether an address is another's.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self, Self::Host { step: Step::Bind(_), error, .. } if error.kind() == io::ErrorKind::AddrInUse)
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
    if let Some(remedy) = sys::shortage(error) {
        return Some(remedy);
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
        (Step::Bind(_), Kind::AddrNotAvailable) => {
            "no interface of this host has that address, or not yet: an IPv6 address is looked for \
             on the network first, for a second or two, when its interface comes up"
        }
        (Step::Bind(_), _) => "choose another address",
        (Step::Socket, _) if error.raw_os_error() == Some(errno::EAFNOSUPPORT) => {
            "this host does not have that family of addresses: choose another address"
        }
        (Step::Socket | Step::Other, _) => return None,
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
            Self::Descriptors(limits::Shortage {
                limit,
                open,
                needed,
            }) => write!(
                f,
                "too few descriptors: RLIMIT_NOFILE is {limit}, {open} are open, and {needed} are needed to \
                 serve one client; raise the limit on open files of this process (LimitNOFILE in a unit)"
            ),
            Self::Thread(error, met) => {
                write!(f, "cannot start a thread: {}", Plain(error))?;
                match (met, remedy(Step::Other, error)) {
                    (Some(limits::Met { what, name }), _) => {
                        write!(f, "; raise the limit on {what} ({name})")
                    }
                    (None, Some(remedy)) => write!(f, "; {remedy}"),
                    (None, None) if error.kind() == io::ErrorKind::WouldBlock => f.write_str(
                        "; raise the limit on processes of this user or cgroup (LimitNPROC and TasksMax \
                         in a unit)",
                    ),
                    (None, None) => Ok(()),
                }
            }
            Self::Host { what, step, error } => {
                write!(f, "{what}: {}", Plain(error))?;
                match remedy(*step, error) {
                    Some(remedy) => write!(f, "; {remedy}"),
                    None => Ok(()),
                }
            }
            Self::HandedOver => f.write_str(
                "the process that serves does not hand over: it has ended, or has waited too long",
            ),
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
            Self::Host { error, .. } | Self::Thread(error, _) => Some(error),
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
            | Self::Descriptors(_)
            | Self::HandedOver
            | Self::Panicked(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
