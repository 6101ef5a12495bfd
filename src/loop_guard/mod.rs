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

mod tables;

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
fn canonical(address: SocketAddr) -> SocketAddr {
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
type Address = (Ipv6Addr, u16);

/// One end's address and the other's, as the named side sees them.
type Pair = (Address, Address);

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
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn listeners_are_recognised() {
        let own = {
            // The address this host would use towards others, if it has one.
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let found = socket
                .connect("192.0.2.1:9")
                .and_then(|()| socket.local_addr());
            found.map_or(address("127.0.0.1:5"), |found| {
                SocketAddr::new(found.ip(), 5)
            })
        };
        let cases = [
            ("127.0.0.1:5", address("127.0.0.1:5"), true),
            ("127.0.0.1:5", address("127.0.0.1:6"), false),
            ("127.0.0.1:5", address("127.0.0.2:5"), false),
            ("127.0.0.1:5", address("[::ffff:127.0.0.1]:5"), true),
            ("127.0.0.1:5", address("0.0.0.0:5"), true),
            ("0.0.0.0:5", address("127.0.0.1:5"), true),
            ("0.0.0.0:5", address("127.9.9.9:5"), true),
            ("0.0.0.0:5", own, true),
            ("0.0.0.0:5", address("192.0.2.7:5"), false),
            ("0.0.0.0:5", address("[::1]:5"), false),
            ("[::]:5", address("[::1]:5"), true),
            ("[::]:5", address("127.0.0.1:5"), true),
            ("[::]:5", own, true),
            ("[::]:5", address("[2001:db8::1]:5"), false),
            ("[::1]:5", address("[::]:5"), true),
            ("[::1]:5", address("127.0.0.1:5"), false),
            ("[fe80::5%2]:5", address("[fe80::5%2]:5"), true),
            // Another host, on another link.
            ("[fe80::5%2]:5", address("[fe80::5%3]:5"), false),
            ("[::1]:5", address("[::1%1]:5"), true),
            ("[::]:5", address("[fe80::db8%1]:5"), false),
        ];
        for (listener, target, looped) in cases {
            assert_eq!(
                serves(&[address(listener)], target),
                looped,
                "{listener} {target}"
            );
        }
        assert!(!serves(&[], address("127.0.0.1:5")));
    }

    #[test]
    fn whichever_side_comes_second_finds_the_loop() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap();
        let near = TcpStream::connect(endpoint).unwrap();
        let (far, _) = listener.accept().unwrap();

        let guard = LoopGuard::default();
        let (dial, looped) = guard.dialled(near.local_addr().unwrap(), endpoint, &Arc::default());
        assert!(!looped);
        let (accepted, found) = guard.accepted(&far).unwrap();
        assert_eq!(found, Some(endpoint));

        drop(dial);
        assert!(
            guard
                .dialled(near.local_addr().unwrap(), endpoint, &Arc::default())
                .1
        );
        drop(accepted);
        assert!(
            !guard
                .dialled(near.local_addr().unwrap(), endpoint, &Arc::default())
                .1
        );
        assert_eq!(
            guard.accepted(&far).unwrap().1,
            None,
            "tickets were dropped"
        );
    }

    #[test]
    fn a_wait_that_ends_early_proves_nothing() {
        let hour = Duration::from_secs(3600);
        // (what is heard after each wait, the verdict)
        let cases = [
            (vec![Ok(true)], false),
            (vec![Err(())], false),
            (vec![Ok(false), Ok(false), Ok(true)], false),
        ];
        for (heard, quiet) in cases {
            let mut answers = heard.iter();
            let found = is_quiet_until(Instant::now() + hour, |left| {
                assert!(left > hour / 2 && left <= hour);
                let answer = *answers.next().expect("no wait after the verdict");
                answer.map_err(|()| io::ErrorKind::OutOfMemory.into())
            });
            assert_eq!((found, answers.len()), (quiet, 0), "{heard:?}");
        }
        // Once the time is up, a last look.
        for heard in [true, false] {
            let quiet = is_quiet_until(Instant::now(), |left| {
                assert!(left.is_zero());
                Ok(heard)
            });
            assert_eq!(quiet, !heard);
        }
    }

    #[test]
    fn a_client_that_ends_or_resets_does_not_stay_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = || {
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (near, listener.accept().unwrap().0)
        };
        let (near, far) = connected();
        let start = Instant::now();
        assert!(stays_open(&far) && start.elapsed() >= VERDICT);
        near.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!stays_open(&far), "it has ended its direction");
        let (near, far) = connected();
        socket2::SockRef::from(&near)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(near);
        assert!(!stays_open(&far), "it was reset");
    }

    /// Addresses of this host that are of one link, as `net/if_inet6` of proc(5) has them.
    fn of_links() -> Vec<SocketAddr> {
        let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let of_link = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let ip = u128::from_str_radix(fields.first()?, 16).ok()?;
            let scope = u32::from_str_radix(fields.get(1)?, 16).ok()?;
            let ip = Ipv6Addr::from_bits(ip);
            // One that is still tentative has no socket.
            let usable = u8::from_str_radix(fields.get(4)?, 16).ok()? & 0x40 == 0;
            (usable && ip.is_unicast_link_local())
                .then(|| SocketAddrV6::new(ip, 5, 0, scope).into())
        };
        table.lines().filter_map(of_link).collect()
    }

    #[test]
    fn an_address_of_a_link_is_found_out_with_its_zone() {
        let found = of_links();
        if found.is_empty() {
            eprintln!("skipped: no address of a link on this host");
        }
        for own in found {
            assert!(serves(&[address("[::]:5")], own), "{own}");
            assert!(serves(&[own], own) && !serves(&[address("0.0.0.0:5")], own));
            // As it happens, too: the pool knows it by the address that was given to it.
            let listener = TcpListener::bind(("::", 0)).unwrap();
            let mut endpoint = own;
            endpoint.set_port(listener.local_addr().unwrap().port());
            let near = TcpStream::connect(endpoint).unwrap();
            let (far, _) = listener.accept().unwrap();
            let guard = LoopGuard::default();
            let (_ticket, _) = guard.dialled(near.local_addr().unwrap(), endpoint, &Arc::default());
            assert_eq!(guard.accepted(&far).unwrap().1, Some(endpoint));
        }
    }

    #[test]
    fn a_translated_address_is_a_loop_and_a_shared_port_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let guard = LoopGuard::default();
        // A dial of ours that shares the client's address: the client's own socket
        // exists on this host, so the connection is the client's.
        let elsewhere = address("192.0.2.1:2379");
        let received = Arc::<Counter>::default();
        let (_dial, _) = guard.dialled(client.local_addr().unwrap(), elsewhere, &received);
        assert_eq!(guard.accepted(&accepted).unwrap().1, None);
        // What has been answered is not even asked about: this client has been sent nothing.
        let client_addr = comparable(client.local_addr().unwrap());
        let asked_about = || from(&lock(&guard.0.open).dialled, client_addr);
        assert_eq!(asked_about(), [elsewhere]);
        received.add(1);
        assert_eq!(asked_about(), []);
        // The same without such a socket: the tables hold ours alone.
        let [client, listener] = [client.local_addr(), listener.local_addr()]
            .map(|address| comparable(address.unwrap()));
        assert!(guard.0.tables.have((client, listener)));
        assert!(!guard.0.tables.have((client, comparable(elsewhere))));
    }
}
