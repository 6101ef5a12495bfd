//! Where the gateway listens: at the addresses that the operator named, or on the sockets that a
//! service manager has passed.
//!
//! Sockets that are passed are used instead of the default of `--listen-addr`. If the flag is given as well, both have to
//! name the same addresses: otherwise only clients would notice that the gateway does not listen where it should.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::error::{Error, Step};
use crate::addr::{Host, HostPort};
use crate::admin;
use crate::config::Config;
use crate::dial;
use crate::discovery;
use crate::dns::Resolver;
use crate::proxy::listener::{self, Listener};
use crate::sys::activation::Inherited;

/// The most clients that wait to be accepted. The kernel limits it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// One address to listen on.
#[derive(Debug, Clone)]
pub(super) struct ListenAddr {
    pub(super) addr: SocketAddr,
    /// As the operator wrote it.
    pub(super) display: String,
}

pub(super) fn texts(items: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

/// Where to listen; `passed` is where sockets that were passed listen. Nothing is bound yet.
pub(super) fn listen_addrs(
    config: &Config,
    passed: &[SocketAddr],
    resolver: &Resolver,
) -> Result<Vec<ListenAddr>, Error> {
    let mut named = Vec::new();
    if passed.is_empty() || config.listen_given {
        for wanted in &config.listen_addrs {
            let addr = match wanted.host {
                // 0.0.0.0 means both families in the flag, and IPv4 in a socket unit.
                Host::Ip(ip) if passed.contains(&(ip, wanted.port).into()) => {
                    (ip, wanted.port).into()
                }
                _ => discovery::listen_address(wanted, resolver)
                    .map_err(|error| unresolved("listen-addr", wanted, error))?,
            };
            let display = wanted.to_string();
            named.push(ListenAddr { addr, display });
        }
    }
    if passed.is_empty() {
        refuse_overlap(&named)?;
        return Ok(named);
    }
    let mut wanted: Vec<SocketAddr> = named.iter().map(|listen| listen.addr).collect();
    let mut given = passed.to_vec();
    wanted.sort_unstable();
    given.sort_unstable();
    if config.listen_given && wanted != given {
        return Err(Error::usage(format!(
            "--listen-addr={}: the service manager passes sockets at {} instead (LISTEN_FDS); remove \
             --listen-addr, name the same addresses, or disable the socket unit",
            texts(&config.listen_addrs).join(","),
            texts(passed).join(",")
        )));
    }
    let listen = |addr: &SocketAddr| ListenAddr {
        addr: *addr,
        display: format!("{addr}, passed by LISTEN_FDS"),
    };
    Ok(passed.iter().map(listen).collect())
}

/// Rejects two addresses that overlap: the kernel would say that the second is in use, but not by what.
fn refuse_overlap(listen_addrs: &[ListenAddr]) -> Result<(), Error> {
    let mut rest = listen_addrs.iter();
    while let Some(listen) = rest.next() {
        if let Some(other) = rest.clone().find(|other| overlap(listen.addr, other.addr)) {
            return Err(Error::usage(format!(
                "--listen-addr={},{}: the addresses overlap: remove one of them",
                listen.display, other.display
            )));
        }
    }
    Ok(())
}

/// Whether it is not possible to listen on both.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_wildcard = |addr: SocketAddr| addr.ip().is_unspecified();
    let same = one == other || is_wildcard(one) || is_wildcard(other);
    // Port 0 is any free port, so a different one each time.
    one.port() != 0 && one.port() == other.port() && same
}

/// Where to serve metrics, if they are wanted: not where clients are accepted.
pub(super) fn metrics_addr(
    config: &Config,
    listen: &[ListenAddr],
    resolver: &Resolver,
) -> Result<Option<ListenAddr>, Error> {
    let Some(wanted) = &config.metrics_addr else {
        return Ok(None);
    };
    let addr = discovery::listen_address(wanted, resolver)
        .map_err(|error| unresolved("metrics-addr", wanted, error))?;
    match listen.iter().find(|other| overlap(other.addr, addr)) {
        Some(other) => Err(Error::usage(format!(
            "--metrics-addr={wanted}: clients are accepted there (--listen-addr={}): choose another port",
            other.display
        ))),
        None => Ok(Some(ListenAddr {
            addr,
            display: wanted.to_string(),
        })),
    }
}

fn unresolved(flag: &str, wanted: &HostPort, error: io::Error) -> Error {
    Error::host(
        format!("--{flag}={wanted}: cannot resolve"),
        Step::Resolve,
        &error,
    )
}

fn cannot_listen(flag: &str, addr: SocketAddr, step: Step, error: &io::Error) -> Error {
    Error::host(format!("--{flag}={addr}: cannot listen"), step, error)
}

/// Opens a listener for metrics.
pub(super) fn open_metrics(addr: SocketAddr) -> Result<TcpListener, Error> {
    listen("metrics-addr", addr, |socket| {
        admin::prepare(SockRef::from(&*socket))?;
        dial::prepare(socket)
    })
}

/// Opens a listener for clients.
pub(super) fn open_own(addr: SocketAddr) -> Result<TcpListener, Error> {
    listen("listen-addr", addr, listener::prepare)
}

/// Opens listeners at these addresses, or takes those that were passed or handed over. One that was handed over
/// and is not wanted is closed.
pub(super) fn open(
    listen_addrs: &[ListenAddr],
    passed: Vec<Inherited>,
    mut handed: Vec<TcpListener>,
) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    if passed.is_empty() {
        for ListenAddr { addr, .. } in listen_addrs {
            let refused =
                |error: io::Error| cannot_listen("listen-addr", *addr, Step::Socket, &error);
            let known = handed.iter().position(|socket| serves(socket, *addr));
            let socket = match known.map(|index| handed.swap_remove(index)) {
                Some(socket) => {
                    listener::prepare(SockRef::from(&socket)).map_err(refused)?;
                    socket
                }
                None => open_own(*addr)?,
            };
            listeners.push(Listener::own(socket).map_err(refused)?);
        }
    }
    for Inherited { listener, addr } in passed {
        let listener = adopt(listener).map_err(|error| {
            let what = format!("LISTEN_FDS: cannot prepare the socket at {addr}");
            Error::host(what, Step::Socket, &error)
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Whether a socket listens at an address. Port 0 matches any port.
pub(super) fn serves(socket: &TcpListener, addr: SocketAddr) -> bool {
    let mut wanted = addr;
    socket.local_addr().is_ok_and(|bound| {
        if wanted.port() == 0 {
            wanted.set_port(bound.port());
        }
        bound == wanted
    })
}

/// Whether a start could listen at the address of `flag`; returns a warning if that depends on how it is started.
/// The address is bound for a moment, and clients cannot connect to it meanwhile.
///
/// # Errors
/// If no start on this host could. An address that is in use, or that this user may not listen on, is only a warning:
/// systemd may pass the socket, or the gateway in service may have ended by then.
pub(super) fn rehearse(flag: &'static str, listen: &ListenAddr) -> Result<Option<String>, Error> {
    let display = &listen.display;
    let Err(error) = bound(flag, listen.addr, dial::prepare) else {
        return Ok(None);
    };
    if error.is_address_in_use() {
        let or_passed = match flag {
            "listen-addr" => ", or passed by systemd",
            _ => "",
        };
        return Ok(Some(format!(
            "--{flag}={display} is in use now: a start needs it free{or_passed}"
        )));
    }
    if error.is_address_forbidden() {
        return Ok(Some(format!(
            "this user may not listen on --{flag}={display}: ports below 1024 need \
             CAP_NET_BIND_SERVICE"
        )));
    }
    Err(error)
}

/// Sets what sockets inherit from the one they are accepted from.
type Prepare = fn(SockRef<'_>) -> io::Result<()>;

fn listen(flag: &str, addr: SocketAddr, prepare: Prepare) -> Result<TcpListener, Error> {
    let socket = bound(flag, addr, prepare)?;
    let listening = socket.listen(BACKLOG);
    listening.map_err(|error| cannot_listen(flag, addr, Step::Bind(addr.port()), &error))?;
    Ok(socket.into())
}

fn bound(flag: &str, addr: SocketAddr, prepare: Prepare) -> Result<Socket, Error> {
    let socket =
        unbound(addr, prepare).map_err(|error| cannot_listen(flag, addr, Step::Socket, &error))?;
    let bound = socket.bind(&addr.into());
    bound.map_err(|error| cannot_listen(flag, addr, Step::Bind(addr.port()), &error))?;
    Ok(socket)
}

/// A socket without an address.
fn unbound(addr: SocketAddr, prepare: Prepare) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // The IPv6 wildcard takes IPv4 clients too, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // A socket that replaces another one (`zones`) has to have this at once.
    socket.set_nonblocking(true)?;
    prepare(SockRef::from(&socket))?;
    Ok(socket)
}

/// Sets on a passed socket what accepted ones inherit from it; the socket unit sets the length of its queue.
fn adopt(socket: TcpListener) -> io::Result<Listener> {
    dial::prepare(SockRef::from(&socket))?;
    Listener::passed(socket)
}

#[cfg(test)]
mod tests;
