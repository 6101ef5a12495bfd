//! Keeps the gateway from being its own endpoint.
//!
//! Before start and at each change of the endpoints, [`serves`] tells whether an
//! address is one of our listeners: wildcard and local addresses included, which a
//! comparison of texts misses (CVE-2020-15114). What no look at addresses can tell (a
//! virtual address that leads back to this host) is caught as it happens: the guard
//! knows both ends of every dial of ours and of every connection we accepted, and
//! whichever of the two is noted second finds the other.
//!
//! A loop through another host or another proxy is invisible to a transparent proxy;
//! `--max-connections` bounds what it can do.

pub(crate) mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tables::Tables;

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
                // Linux takes IPv4 on an IPv6 wildcard too, unless told otherwise.
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => is_local(target),
                // A connection to the wildcard address goes to the loopback address.
                ours if theirs.is_unspecified() => ours.is_loopback(),
                ours => ours == theirs && on_one_link(listener, target),
            }
    })
}

/// An IPv4 address as such, in whichever way it is written.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        // Of an IPv6 address the zone is a part.
        IpAddr::V6(_) => address,
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
    }
}

/// Whether two equal addresses mean the same host: those of a link are used anew on each (RFC 4007).
fn on_one_link(one: SocketAddr, other: SocketAddr) -> bool {
    let (one, other) = match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) if one.ip().is_unicast_link_local() => {
            (one.scope_id(), other.scope_id())
        }
        _ => return true,
    };
    one == other || one == 0 || other == 0
}

/// Whether an address is one of this host: it is its own source then. (Binding it proves
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
    // Any port does: it only completes the address. The zone does not: without it none is known
    // to an address of a link.
    address.set_port(9);
    socket.connect(address)?;
    Ok(socket.local_addr()?.ip())
}

/// An address as comparable, and small, for there are four of it a session: IPv4 is mapped into
/// IPv6 (RFC 4291 section 2.5.5.2), as an IPv6 socket sees it.
pub(crate) type Address = (Ipv6Addr, u16);

/// One end's address and the other's, as the named side sees them.
pub(crate) type Pair = (Address, Address);

/// What is known of a dial beside its ends.
#[derive(Debug)]
struct Dial {
    /// Of the endpoint's address.
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

/// Keeps one connection known to the guard for as long as it lives.
#[derive(Debug)]
pub(crate) struct Ticket {
    guard: LoopGuard,
    side: Side,
    pair: Pair,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Dialled,
    Accepted,
}

impl LoopGuard {
    /// Notes a dial of ours, as soon as its socket has a local address; in `received` is counted what
    /// comes from the endpoint. The second value tells that the connection was accepted by this very
    /// process.
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
        let looped = open.accepted.contains(&pair);
        (self.ticket(Side::Dialled, pair), looped)
    }

    /// Notes an accepted connection. The second value is the endpoint that was dialled,
    /// if the connection is a dial of our own.
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
                return Ok((self.ticket(Side::Accepted, pair), Some(endpoint)));
            }
            from(&open.dialled, pair.0)
        };
        // A dial of ours has the client's very address but another destination: either
        // the way there leads back here (a virtual address translated to ours), or a
        // client on this host happens to share the port, which the kernel allows for
        // different destinations. Only in the second case the client's own socket
        // exists beside ours. It is missing too when the client has reset already, so the
        // verdict waits until that would have been heard. To look costs milliseconds where there
        // are many sockets; what has been answered already needs no look, since nothing has
        // been sent yet to the client that has just come.
        let ticket = self.ticket(Side::Accepted, pair);
        let alone = || !self.0.tables.have(pair);
        let endpoint = match dials.as_slice() {
            [endpoint] if alone() && stays_open(stream) && alone() => Some(*endpoint),
            _ => None,
        };
        Ok((ticket, endpoint))
    }

    fn ticket(&self, side: Side, pair: Pair) -> Ticket {
        Ticket {
            guard: self.clone(),
            side,
            pair,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = lock(&self.guard.0.open);
        match self.side {
            Side::Dialled => drop(open.dialled.remove(&self.pair)),
            Side::Accepted => drop(open.accepted.remove(&self.pair)),
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

/// How long a connection must stay open to be judged: a reset or an end of stream that was
/// on its way within this host has arrived by then.
const VERDICT: Duration = Duration::from_millis(50);

/// Whether the other side leaves the connection open in both directions for [`VERDICT`].
fn stays_open(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::peer_closed(stream.as_fd())];
    is_quiet_until(Instant::now() + VERDICT, |left| {
        syscall::wait(&mut fds, Some(left))?;
        Ok(fds.iter().any(PollFd::is_ready))
    })
}

/// Whether `hears` stays false until then. It waits for as long as it is told to, or ends earlier: a
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

fn comparable(address: SocketAddr) -> Address {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    (ip, address.port())
}

fn plain((ip, port): Address, zone: u32) -> SocketAddr {
    canonical(SocketAddrV6::new(ip, port, 0, zone).into())
}

#[cfg(test)]
mod tests;
