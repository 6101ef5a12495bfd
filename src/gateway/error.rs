//! Why the gateway did not start, in words that name the flag and the remedy.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::addr::HostPort;
use crate::discovery::{NothingFound, file, roots};
use crate::endpoint::Source;
use crate::sys::Plain;
use crate::sys::activation;
use crate::sys::syscall::errno;
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
    /// What members are to prove is no name that a certificate can have.
    ServerName(String, x509::Error),
    /// The address that a flag wants to listen on has no local address.
    ListenName(&'static str, HostPort, io::Error),
    /// The file of the access log cannot be opened.
    AccessLog(PathBuf, io::Error),
    /// Metrics are wanted on an address that clients are accepted on.
    MetricsOnListener { metrics: String, listen: String },
    /// Of two addresses to accept clients on one is part of the other.
    ListenOverlap { one: String, other: String },
    /// The address that a flag wants to listen on cannot be bound.
    Bind(&'static str, SocketAddr, io::Error),
    /// What the service manager passed cannot be listened on.
    Activation(activation::Error),
    /// A socket that was passed cannot be prepared.
    Adopt(SocketAddr, io::Error),
    /// The operator and the service manager say different things.
    ListenTwice {
        named: Vec<String>,
        passed: Vec<String>,
    },
    /// The system gives no thread more.
    Thread(io::Error),
    /// A step of the start that needs the system's help.
    System(&'static str, io::Error),
    /// The service manager's environment cannot be served.
    Notify(String),
}

impl Error {
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
            Self::ListenName(flag, listen, error) => write!(
                f,
                "--{flag}={listen}: cannot resolve: {}; use an address of this host",
                Plain(error)
            ),
            Self::Bind(flag, addr, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program listens there: stop it or choose another port"
                    }
                    io::ErrorKind::AddrNotAvailable => "no interface of this host has that address",
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one"
                    }
                    _ => "choose another address",
                };
                write!(
                    f,
                    "--{flag}={addr}: cannot listen: {}; {remedy}",
                    Plain(error)
                )
            }
            Self::AccessLog(path, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                        "create its directory, or name another file"
                    }
                    io::ErrorKind::IsADirectory => "name a file in that directory",
                    io::ErrorKind::PermissionDenied => {
                        "let the user of this process write there, or name another file"
                    }
                    io::ErrorKind::ReadOnlyFilesystem => {
                        "name a file elsewhere; in a unit, LogsDirectory= makes room for one"
                    }
                    // open(2): a named pipe without a reader, or a socket, as /dev/stdout is in a unit.
                    _ if error.raw_os_error() == Some(errno::ENXIO) => {
                        "if it is a pipe, start its reader first; if it is a socket, as that of the \
                         journal, write stderr in its place"
                    }
                    _ => "name another file",
                };
                let path = path.display();
                write!(
                    f,
                    "--access-log={path}: cannot append to it: {}; {remedy}",
                    Plain(error)
                )
            }
            Self::Activation(error) => error.fmt(f),
            Self::Adopt(addr, error) => write!(
                f,
                "LISTEN_FDS: cannot prepare the socket at {addr}: {}",
                Plain(error)
            ),
            Self::ListenTwice { named, passed } => write!(
                f,
                "--listen-addr={}: the service manager passes sockets at {} instead (LISTEN_FDS); leave \
                 --listen-addr away, name the same addresses, or disable the socket unit",
                named.join(","),
                passed.join(",")
            ),
            Self::Thread(error) => write!(
                f,
                "cannot start a thread: {}; raise the limit on processes of this user or cgroup \
                 (LimitNPROC and TasksMax in a unit)",
                Plain(error)
            ),
            Self::System(step, error) => write!(f, "{step}: {}", Plain(error)),
            Self::Notify(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ListenName(_, _, error)
            | Self::Bind(_, _, error)
            | Self::AccessLog(_, error)
            | Self::Adopt(_, error)
            | Self::Thread(error)
            | Self::System(_, error) => Some(error),
            Self::Discovery(error) => Some(error),
            Self::EndpointsFile(error) => Some(error),
            Self::Roots(error) => Some(error),
            Self::ServerName(_, error) => Some(error),
            Self::Loop { .. }
            | Self::MetricsOnListener { .. }
            | Self::ListenOverlap { .. }
            | Self::Activation(_)
            | Self::ListenTwice { .. }
            | Self::Notify(_) => None,
        }
    }
}
