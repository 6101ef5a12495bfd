//! Listening sockets that a service manager has opened for us, sd_listen_fds(3): LISTEN_FDS
//! says how many, from descriptor 3 on, LISTEN_PID for whom, LISTEN_FDNAMES by which names.
//! (LISTEN_PIDFDID of newer systemd says for whom once more, and is not needed.)
//!
//! What is passed is not trusted to be what we need: each descriptor must be a TCP socket
//! that listens, and the one that is not is named, with what it is instead. Variables that
//! are meant for another process are ignored. They are not removed from the environment
//! (that would be `unsafe`); a process that is started in a reload does not get them, and
//! the sockets are closed on exec.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::{OsErrorText, errno, syscall};

/// A listener that was opened, and is held open, by another process.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) listener: TcpListener,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

/// Why what was passed cannot be served.
#[derive(Debug)]
pub(crate) enum Error {
    /// LISTEN_FDS is not a number of descriptors.
    Count(OsString),
    /// A descriptor is not what it has to be.
    Unusable {
        fd: RawFd,
        /// What LISTEN_FDNAMES calls it.
        name: Option<String>,
        reason: String,
    },
}

/// What can be wrong with a descriptor, and what to do about it.
const NOT_OPEN: &str = "it is not open; LISTEN_FDS must count what is passed, from 3 on";
const NOT_A_SOCKET: &str = "it is a file or a pipe; use ListenStream= in the socket unit";
const NOT_INTERNET: &str =
    "it is not of IPv4 or IPv6; give ListenStream= a port, or an address and a port";
const NOT_STREAM: &str = "it has no streams; use ListenStream= in the socket unit";
const NOT_TCP: &str = "it does not speak TCP; leave SocketProtocol= out of the socket unit";
const NOT_LISTENING: &str = "it does not listen; set Accept=no in the socket unit";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(text) => write!(
                f,
                "LISTEN_FDS={text:?}: not a number of descriptors; correct or unset it in the program that starts the gateway"
            ),
            Self::Unusable { fd, name, reason } => {
                write!(f, "LISTEN_FDS: descriptor {fd}")?;
                if let Some(name) = name {
                    write!(f, " ({name:?})")?;
                }
                write!(f, " is not a socket to accept clients from: {reason}")
            }
        }
    }
}

/// The sockets that this process, whose id is `pid`, was given, in order; none if there was
/// nothing for it. To be called once, before the process opens any descriptor.
///
/// # Errors
/// If one of them cannot be served: serving the others in silence would hide that.
pub(crate) fn sockets(
    pid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<Inherited>, Error> {
    let (count, names) = announced(pid, variable)?;
    let passed = syscall::take_inherited((syscall::FIRST_INHERITED..).take(usize::from(count)))
        .map_err(|(fd, _)| unusable(fd, &names, NOT_OPEN))?;
    (syscall::FIRST_INHERITED..)
        .zip(passed)
        .map(|(fd, passed)| listening(passed).map_err(|reason| unusable(fd, &names, &reason)))
        .collect()
}

fn unusable(fd: RawFd, names: &[String], reason: &str) -> Error {
    let index = usize::try_from(fd - syscall::FIRST_INHERITED).unwrap_or_default();
    let name = names.get(index).filter(|name| !name.is_empty());
    Error::Unusable {
        fd,
        name: name.cloned(),
        reason: reason.to_owned(),
    }
}

/// How many descriptors there are for this process, and what they are called.
pub(crate) fn announced(
    pid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(u16, Vec<String>), Error> {
    let ours = variable("LISTEN_PID").is_some_and(|text| text.to_str() == Some(&pid.to_string()));
    let Some(text) = variable("LISTEN_FDS").filter(|_| ours) else {
        return Ok((0, Vec::new()));
    };
    let count = text.to_str().and_then(|text| text.parse().ok());
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let names = names
        .to_string_lossy()
        .split(':')
        .map(str::to_owned)
        .collect();
    Ok((count.ok_or(Error::Count(text))?, names))
}

/// The listener that a descriptor is; programs that this process starts do not get it.
///
/// # Errors
/// If it is something else: what, and what to do about it.
pub(crate) fn listening(passed: OwnedFd) -> Result<Inherited, String> {
    let socket = Socket::from(passed);
    let found = look(&socket).map_err(|error| match error.raw_os_error() {
        Some(errno::ENOTSOCK) => NOT_A_SOCKET.to_owned(),
        _ => OsErrorText(&error).to_string(),
    })?;
    match found {
        Ok(addr) => Ok(Inherited {
            listener: socket.into(),
            addr,
        }),
        Err(reason) => Err(reason.to_owned()),
    }
}

/// Where a socket listens, or why it is of no use; fails where the kernel does not say.
fn look(socket: &Socket) -> io::Result<Result<SocketAddr, &'static str>> {
    if !matches!(socket.domain()?, Domain::IPV4 | Domain::IPV6) {
        return Ok(Err(NOT_INTERNET));
    }
    if socket.r#type()? != Type::STREAM {
        return Ok(Err(NOT_STREAM));
    }
    if socket.protocol()? != Some(Protocol::TCP) {
        return Ok(Err(NOT_TCP));
    }
    if !socket.is_listener()? {
        return Ok(Err(NOT_LISTENING));
    }
    socket.set_cloexec(true)?;
    let addr = socket.local_addr()?.as_socket();
    Ok(addr.ok_or(NOT_INTERNET))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::net::{TcpStream, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn variables_count_for_the_named_process_only() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<(u16, &'a [&'a str])>);
        // (variables, count and names of process 7)
        let cases: &[Case<'_>] = &[
            (&[], Some((0, &[]))),
            (&[("LISTEN_PID", "7")], Some((0, &[]))),
            // sd_listen_fds(3): without LISTEN_PID nothing was passed to us.
            (&[("LISTEN_FDS", "1")], Some((0, &[]))),
            (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "8")], Some((0, &[]))),
            (&[("LISTEN_FDS", "x"), ("LISTEN_PID", "8")], Some((0, &[]))),
            (&[("LISTEN_FDS", "1"), ("LISTEN_PID", "")], Some((0, &[]))),
            (
                &[("LISTEN_FDS", "1"), ("LISTEN_PID", "7")],
                Some((1, &[""])),
            ),
            (
                &[("LISTEN_FDS", "0"), ("LISTEN_PID", "7")],
                Some((0, &[""])),
            ),
            (
                &[
                    ("LISTEN_FDS", "2"),
                    ("LISTEN_PID", "7"),
                    ("LISTEN_FDNAMES", "a.socket:b"),
                ],
                Some((2, &["a.socket", "b"])),
            ),
            (&[("LISTEN_FDS", ""), ("LISTEN_PID", "7")], None),
            (&[("LISTEN_FDS", "-1"), ("LISTEN_PID", "7")], None),
            (&[("LISTEN_FDS", "65536"), ("LISTEN_PID", "7")], None),
            (&[("LISTEN_FDS", "one"), ("LISTEN_PID", "7")], None),
        ];
        for (variables, expected) in cases {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let found = announced(7, variable).ok();
            let expected = expected
                .map(|(count, names)| (count, names.iter().map(|&name| name.to_owned()).collect()));
            assert_eq!(found, expected, "{variables:?}");
        }
    }

    #[test]
    fn only_a_listening_tcp_socket_is_taken() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp.local_addr().unwrap();
        let connected = TcpStream::connect(addr).unwrap();
        let unix = std::env::temp_dir().join(format!("etcd-gateway-fd-{}", std::process::id()));
        let listening_unix = UnixListener::bind(&unix).unwrap();
        std::fs::remove_file(&unix).unwrap();
        let unbound = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        let cases: [(OwnedFd, &str); 6] = [
            (connected.into(), "does not listen"),
            (unbound.into(), "does not listen"),
            (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "no streams"),
            (listening_unix.into(), "not of IPv4 or IPv6"),
            (UnixStream::pair().unwrap().0.into(), "not of IPv4 or IPv6"),
            (File::open("/dev/null").unwrap().into(), "a file or a pipe"),
        ];
        for (passed, words) in cases {
            let reason = listening(passed).unwrap_err();
            assert!(reason.contains(words), "{words}: {reason}");
        }
        // Not every kernel has it.
        match Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)) {
            Ok(other) => {
                let reason = listening(other.into()).unwrap_err();
                assert!(reason.contains("does not speak TCP"), "{reason}");
            }
            Err(error) => eprintln!("SKIPPED: {error}"),
        }
        let tcp = Socket::from(tcp);
        tcp.set_cloexec(false).unwrap();
        let inherited = listening(tcp.into()).unwrap();
        assert_eq!(inherited.addr, addr);
        let info = format!("/proc/self/fdinfo/{}", inherited.listener.as_raw_fd());
        let info = std::fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert_ne!(flags & 0o2_000_000, 0, "O_CLOEXEC");
    }

    #[test]
    fn a_descriptor_is_named_by_its_number_and_its_name() {
        let names = ["a.socket", "", "b"].map(str::to_owned);
        let cases = [
            (3, "descriptor 3 (\"a.socket\") is"),
            (4, "descriptor 4 is"),
            (5, "descriptor 5 (\"b\") is"),
            (6, "descriptor 6 is"),
        ];
        for (fd, words) in cases {
            let text = unusable(fd, &names, NOT_OPEN).to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
