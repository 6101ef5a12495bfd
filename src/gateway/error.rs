//! Why the gateway did not start: one line that names the flag and says what to do about it.
//!
//! The text is made where the reason is found, so this type has no variants. [`remedy`] is the table of what to do about
//! errors of the operating system.

use std::fmt;
use std::io;
use std::path::Path;

use crate::proxy;
use crate::sys::{self, OsErrorText, errno, limits};

/// Why the gateway did not start.
#[derive(Debug)]
pub(crate) struct Error {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What the operator wrote is wrong.
    Usage,
    /// Another process listens on the address.
    AddressInUse,
    /// The user may not listen on the address.
    AddressForbidden,
    /// Anything else.
    Runtime,
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
    /// What the operator wrote is wrong.
    pub(super) fn usage(text: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, text)
    }

    /// Anything else is wrong.
    pub(super) fn runtime(text: impl fmt::Display) -> Self {
        Self::new(Kind::Runtime, text)
    }

    fn new(kind: Kind, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        Self { text, kind }
    }

    /// The host refuses `step`, so that the gateway cannot do `what`.
    pub(super) fn host(what: impl fmt::Display, step: Step, error: &io::Error) -> Self {
        Self::with_remedy(what, step, error, remedy(step, error).map(str::to_owned))
    }

    fn with_remedy(
        what: impl fmt::Display,
        step: Step,
        error: &io::Error,
        remedy: Option<String>,
    ) -> Self {
        let remedy = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
        let kind = match (step, error.kind()) {
            (Step::Bind(_), io::ErrorKind::AddrInUse) => Kind::AddressInUse,
            (Step::Bind(_), io::ErrorKind::PermissionDenied) => Kind::AddressForbidden,
            _ => Kind::Runtime,
        };
        Self::new(kind, format!("{what}: {}{remedy}", OsErrorText(error)))
    }

    /// The host gives no thread to the gateway.
    pub(super) fn thread(error: io::Error) -> Self {
        Self::no_thread(&error, limits::reached_by_a_thread())
    }

    /// The host gives no threads to even one client.
    pub(super) fn session(error: io::Error) -> Self {
        Self::no_thread(&error, limits::reached_by_a_session(proxy::STACK))
    }

    /// `limit` is the reason, if it can be seen.
    fn no_thread(error: &io::Error, limit: Option<limits::ReachedLimit>) -> Self {
        let remedy = match limit {
            Some(limits::ReachedLimit { what, name }) => {
                Some(format!("raise the limit on {what} ({name})"))
            }
            None => remedy(Step::Thread, error).map(str::to_owned),
        };
        Self::with_remedy("cannot start a thread", Step::Thread, error, remedy)
    }

    pub(super) fn access_log(path: &Path, error: &io::Error) -> Self {
        let what = format!("--access-log={}: cannot append to it", path.display());
        Self::host(what, Step::AccessLog, error)
    }

    pub(super) fn descriptors(shortage: &limits::Shortage) -> Self {
        let limits::Shortage {
            limit,
            open,
            needed,
        } = shortage;
        Self::runtime(format!(
            "too few descriptors: RLIMIT_NOFILE is {limit}, {open} are open, and {needed} are needed to \
             serve one client; raise the limit on open files of this process (LimitNOFILE in a unit)"
        ))
    }

    /// A fault of this program.
    pub(super) fn panicked(panic: &str) -> Self {
        Self::runtime(format!(
            "{panic}; this is a fault of etcd-gateway itself: please report it"
        ))
    }

    pub(super) fn is_address_in_use(&self) -> bool {
        self.kind == Kind::AddressInUse
    }

    pub(super) fn is_address_forbidden(&self) -> bool {
        self.kind == Kind::AddressForbidden
    }

    /// Whether what the operator wrote is wrong, rather than the host.
    pub(crate) fn is_usage(&self) -> bool {
        self.kind == Kind::Usage
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// The host refuses a step of the start that has no remedy of its own.
pub(super) fn refused(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::host(what, Step::Other, &error)
}

/// What the operator can do about an error, if that is known.
fn remedy(step: Step, error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as Kind;
    if let Some(remedy) = sys::shortage(error) {
        return Some(remedy);
    }
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
        (_, Kind::PermissionDenied) => "a sandbox or a security module of this host forbids it",
        (Step::Thread, Kind::WouldBlock) => {
            "raise the limit on processes of this user or cgroup (LimitNPROC and TasksMax in a unit)"
        }
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
        (Step::Socket | Step::Thread | Step::Other, _) => return None,
    };
    Some(remedy)
}

#[cfg(test)]
mod tests;
