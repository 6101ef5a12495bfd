//! Prevents the gateway from being its own endpoint.
//!
//! Before start and at each change of the endpoints, [`serves`] checks whether an
//! address is one of our listeners, wildcard and local addresses included: a
//! comparison of texts misses these (CVE-2020-15114). Addresses do not show everything (a
//! virtual address may lead back to this host), so loops are also found as they happen: the guard
//! has both ends of each of our dials and of each accepted connection, and
//! whichever of the two is registered second finds the other.
//!
//! A transparent proxy cannot see a loop through another host or another proxy;
//! `--max-connections` limits what that can do.

pub(crate) mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tables::{Address, Pair, Tables, comparable};

use crate::stats::Counter;
use crate::sync::lock;
use crate::sys::syscall::{self, PollFd};

/// Whether a connection to `target` would reach one of `listeners` directly.
pub(crate) fn serves(listeners: &[SocketAddr], target: SocketAddr) -> bool {
    let target = canonical(target);
    listeners.iter().any(|listener| {
        let (listener, theirs) = (canonical(*listener), target.ip());
        listener.port() == target.port()
            && match listener.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => theirs.is_ipv4() && is_local(target),
                // On an IPv6 wildcard Linux accepts IPv4 too, unless configured otherwise.
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => is_local(target),
                // A connection to the wildcard address goes to the loopback address.
                ours if theirs.is_unspecified() => ours.is_loopback(),
                ours => ours == theirs && on_one_link(listener, target),
            }
    })
}

/// The address with IPv4 written as IPv4, not mapped into IPv6.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        // Unchanged: it may have a zone.
        IpAddr::V6(_) => address,
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
    }
}

/// Whether two equal addresses mean the same host: each link has link-local addresses of its own (RFC 4007).
fn on_one_link(one: SocketAddr, other: SocketAddr) -> bool {
    let (one, other) = match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) if one.ip().is_unicast_link_local() => {
            (one.scope_id(), other.scope_id())
        }
        _ => return true,
    };
    one == other || one == 0 || other == 0
}

/// Whether an address is one of this host: then it is its own source address. (That it can be bound proves
/// nothing where net.ipv4.ip_nonlocal_bind is set.)
fn is_local(address: SocketAddr) -> bool {
    address.ip().is_unspecified()
        || address.ip().is_loopback()
        || source_towards(address).is_ok_and(|source| source == address.ip())
}

/// The address that this host would send from towards another; nothing is sent.
pub(crate) fn source_towards(mut address: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Any port will do: it only completes the address. The zone is needed: without it the kernel
    // has no source for a link-local address.
    address.set_port(9);
    socket.connect(address)?;
    Ok(socket.local_addr()?.ip())
}

/// A registered dial, besides its ends.
#[derive(Debug)]
struct Dial {
    /// The zone of the endpoint's address.
    zone: u32,
    /// Bytes that came from the endpoint.
    received: Arc<Counter>,
}

#[derive(Debug, Default)]
struct Open {
    /// (our local address, the endpoint's) of every dial, from before it is connected.
    dialled: BTreeMap<Pair, Dial>,
    /// (the client's address, our listening one) of every accepted connection.
    accepted: BTreeSet<Pair>,
}

/// The ends of all connections that are open now.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoopGuard(Arc<State>);

#[derive(Debug, Default)]
struct State {
    open: Mutex<Open>,
    tables: Tables,
}

/// Keeps one connection registered with the guard until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    guard: LoopGuard,
    origin: Origin,
    pair: Pair,
}

#[derive(Debug, Clone, Copy)]
enum Origin {
    Dialled,
    Accepted,
}

impl LoopGuard {
    /// Registers one of our dials, as soon as its socket has a local address; `received` counts the bytes that
    /// come from the endpoint. The second value is true if this very process has accepted the
    /// connection.
    pub(crate) fn dialled(
        &self,
        local: SocketAddr,
        endpoint: SocketAddr,
        received: &Arc<Counter>,
    ) -> (Ticket, bool) {
        let pair = (comparable(local), comparable(endpoint));
        let mut open = lock(&self.0.open);
        let zone = match endpoint {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(endpoint) => endpoint.scope_id(),
        };
        let received = Arc::clone(received);
        open.dialled.insert(pair, Dial { zone, received });
        let is_loop = open.accepted.contains(&pair);
        (self.ticket(Origin::Dialled, pair), is_loop)
    }

    /// Registers an accepted connection. The second value is the endpoint that was dialled,
    /// if the connection is one of our own dials.
    pub(crate) fn accepted(&self, stream: &TcpStream) -> io::Result<(Ticket, Option<SocketAddr>)> {
        let pair = (
            comparable(stream.peer_addr()?),
            comparable(stream.local_addr()?),
        );
        let dials = {
            let mut open = lock(&self.0.open);
            open.accepted.insert(pair);
            if let Some(dial) = open.dialled.get(&pair) {
                let endpoint = plain(pair.1, dial.zone);
                return Ok((self.ticket(Origin::Accepted, pair), Some(endpoint)));
            }
            from(&open.dialled, pair.0)
        };
        // One of our dials has the client's own address but another destination: either
        // that destination leads back here (a virtual address translated to ours), or a
        // client on this host happens to share the port, which the kernel allows for
        // different destinations. Only in the second case there is a second socket, the client's.
        // It is missing too when the client has reset already, so the
        // decision waits until a reset would have arrived. The search costs milliseconds where there
        // are many sockets; a dial that has been answered is not searched for, since nothing has
        // been sent yet to the client that has just connected.
        let ticket = self.ticket(Origin::Accepted, pair);
        let alone = || !self.0.tables.have(pair);
        let endpoint = match dials.as_slice() {
            [endpoint] if alone() && stays_open(stream) && alone() => Some(*endpoint),
            _ => None,
        };
        Ok((ticket, endpoint))
    }

    fn ticket(&self, origin: Origin, pair: Pair) -> Ticket {
        Ticket {
            guard: self.clone(),
            origin,
            pair,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = lock(&self.guard.0.open);
        match self.origin {
            Origin::Dialled => drop(open.dialled.remove(&self.pair)),
            Origin::Accepted => drop(open.accepted.remove(&self.pair)),
        }
    }
}

/// The destinations of the dials that have this local address and no answer yet.
fn from(dialled: &BTreeMap<Pair, Dial>, local: Address) -> Vec<SocketAddr> {
    dialled
        .range((local, (Ipv6Addr::UNSPECIFIED, 0))..)
        .take_while(|(pair, _)| pair.0 == local)
        .filter(|(_, dial)| dial.received.get() == 0)
        .map(|(pair, dial)| plain(pair.1, dial.zone))
        .collect()
}

/// How long a connection must stay open to count as a loop: a reset or an end of stream that was
/// on its way within this host has arrived by then.
const QUIET_TIME: Duration = Duration::from_millis(50);

/// Whether the other side leaves the connection open in both directions for [`QUIET_TIME`].
fn stays_open(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::peer_closed(stream.as_fd())];
    is_quiet_until(Instant::now() + QUIET_TIME, |left| {
        syscall::wait(&mut fds, Some(left))?;
        Ok(fds.iter().any(PollFd::is_ready))
    })
}

/// Whether `hears` returns false until then. It waits for the given time, or ends earlier: a
/// signal that interrupts it proves nothing.
fn is_quiet_until(then: Instant, mut hears: impl FnMut(Duration) -> io::Result<bool>) -> bool {
    loop {
        let left = then.saturating_duration_since(Instant::now());
        match hears(left) {
            Ok(false) if left.is_zero() => return true,
            Ok(false) => {}
            Ok(true) | Err(_) => return false,
        }
    }
}

fn plain((ip, port): Address, zone: u32) -> SocketAddr {
    canonical(SocketAddrV6::new(ip, port, 0, zone).into())
}

#[cfg(test)]
mod tests;
