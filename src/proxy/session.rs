//! One client's session, from the accepted socket to the end of both connections, and what all sessions share
//! ([`Proxy`]).
//!
//! [`start`] registers the client and gives it to a worker. That checks for a loop, connects to an endpoint
//! (`connect`), and copies in both directions (`relay`); when there is much to copy, it keeps one direction and a
//! second worker gets the other. Directions that are silent are parked and cost no thread. The session ends when
//! its last handle is dropped (`ended`).

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::access::AccessLog;
use crate::dial::{self, Dialled};
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::endpoint::stats::InFlight;
use crate::log;
use crate::loop_guard::{LoopGuard, Ticket};
use crate::proxy::cause::{Cause, Failure, Party, Rejection};
use crate::proxy::connect::Connector;
use crate::proxy::counters::Counters;
use crate::proxy::notices::Notices;
use crate::proxy::parked::{Park, Parked};
use crate::proxy::pipes::Pipes;
use crate::proxy::relay::{Directions, Relay};
use crate::proxy::sessions::Sessions;
use crate::proxy::workers::Workers;
use crate::stats::Counter;
use crate::sys::memory;
use crate::times::Times;

/// Bytes of memory that a session takes in many small pieces, its dials included.
const NEED: usize = 4096;

/// So many busy sessions keep their threads through a silence. To give a thread back after a silence costs a timer
/// for each message, a twentieth of what an exchange costs, and so few threads are cheap for a host.
const FEW: usize = 32;

/// Limits and intervals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// For all dials of one client together.
    pub(crate) dial_timeout: Duration,
    /// Clients that may be connected at the same time.
    pub(crate) max_connections: usize,
    /// Pipes for bulk that may be open at the same time.
    pub(crate) max_pipes: usize,
    /// Buffers for bulk that may be in use at the same time.
    pub(crate) max_buffers: usize,
    /// How long an endpoint may take for its first bytes; zero: without limit.
    pub(crate) answer_timeout: Duration,
    /// After how long connections to a removed endpoint are reset; `None`: never.
    pub(crate) close_removed: Option<Duration>,
    /// After how long connections to a silent or unhealthy endpoint are reset; `None`: never.
    pub(crate) close_unhealthy: Option<Duration>,
    pub(crate) times: Times,
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) pool: Arc<Pool>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) guard: LoopGuard,
    pub(crate) sessions: Sessions<Session>,
    pub(super) workers: Arc<Workers>,
    pub(super) pipes: Pipes,
    pub(super) parked: Parked<Session>,
    pub(super) notices: Notices,
    pub(super) bounds: Bounds,
    pub(crate) counters: Counters,
    pub(crate) access: Option<Arc<AccessLog>>,
}

/// A client that has connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// The client's address; an IPv4 address that is seen through an IPv6 socket is IPv4.
    pub(crate) peer: SocketAddr,
    /// The listener's address.
    pub(crate) listen: SocketAddr,
    pub(crate) at: Instant,
}

impl Arrival {
    /// That of a client that was accepted just now.
    pub(super) fn now(peer: SocketAddr, listen: SocketAddr) -> Self {
        Self {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            listen,
            at: Instant::now(),
        }
    }
}

/// An accepted client. It is counted, logged and unregistered, and the sockets close, when
/// the last handle is dropped. The order of the fields matters: tickets of the loop guard are
/// returned before the sockets close, because other sockets may get their ports then.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) proxy: Arc<Proxy>,
    /// Its number, once it is registered.
    pub(super) id: OnceLock<u64>,
    accepted: OnceLock<Ticket>,
    pub(crate) arrival: Arrival,
    /// How many endpoints were dialled for it so far.
    pub(super) attempts: Counter,
    /// The access log has its line.
    pub(super) logged: AtomicBool,
    /// Why it ends before it is connected to an endpoint.
    pub(super) failure: OnceLock<Failure>,
    /// Set once an endpoint has answered.
    pub(super) link: OnceLock<Link>,
    /// Reset when it closes, unless the session has ended in order.
    client: Arc<TcpStream>,
}

/// A session's connection to its endpoint.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) endpoint: SocketAddr,
    since: Instant,
    /// How long the endpoint took to answer.
    pub(super) dial: Duration,
    /// How long the client waited for an endpoint.
    pub(super) wait: Duration,
    _dialled: Ticket,
    pub(super) relay: Relay,
}

/// Starts the session of an accepted client. A client that is rejected has one, too: it ends at once.
pub(super) fn start(proxy: &Arc<Proxy>, client: TcpStream, arrival: Arrival) {
    let session = Arc::new(Session {
        proxy: Arc::clone(proxy),
        id: OnceLock::new(),
        accepted: OnceLock::new(),
        arrival,
        attempts: Counter::new(),
        logged: AtomicBool::new(false),
        failure: OnceLock::new(),
        link: OnceLock::new(),
        client: Arc::new(client),
    });
    if let Err(reason) = session.begin() {
        session.fail(Cause::Rejected(reason));
    }
}

impl Session {
    /// Registers the session, and gives it to a worker.
    fn begin(self: &Arc<Self>) -> Result<(), Rejection> {
        let proxy = &self.proxy;
        // Freed as the session's thread begins, which needs as much: memory for sessions that have not begun yet is
        // taken already.
        let (Ok(need), false) = (memory::hold(NEED), memory::is_short()) else {
            return Err(Rejection::OutOfResources);
        };
        let id = proxy.sessions.admit(self);
        let id = id.ok_or(Rejection::MaxConnections)?;
        self.id.get_or_init(|| id);
        let own = Arc::clone(self);
        let work = move || {
            drop(need);
            own.run();
        };
        let started = proxy.workers.run(work);
        started.map_err(|_| Rejection::NoThread)
    }

    fn run(self: &Arc<Self>) {
        match self.connect() {
            Ok(link) => {
                self.proxy.notices.begun();
                self.copy(&link.relay, Directions::Both);
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Finds an endpoint that answers. Not inlined, so that [`Session::copy`] uses the same stack again.
    #[inline(never)]
    fn connect(&self) -> Result<&Link, Failure> {
        let proxy = &self.proxy;
        self.check_loop()?;
        let connector = Connector {
            pool: &proxy.pool,
            monitor: &proxy.monitor,
            guard: &proxy.guard,
            attempts: &self.attempts,
            redispatches: &proxy.counters.redispatches,
            timeout: proxy.bounds.dial_timeout,
            times: proxy.bounds.times,
        };
        match connector.connect() {
            Ok((dialled, hold)) => self.join(dialled, hold),
            Err((reason, error)) => Err(Failure {
                cause: Cause::Rejected(reason),
                error: error.map(io::Error::other),
            }),
        }
    }

    /// Registers the client with the loop guard, to the end of the session: a dial of this gateway that is
    /// registered later still finds it. Fails if the client is this gateway.
    #[inline(never)]
    fn check_loop(&self) -> Result<(), Failure> {
        let accepted = self.proxy.guard.accepted(&self.client);
        let (ticket, own_dial) = accepted.map_err(|error| Failure::of(Party::Client, error))?;
        self.accepted.get_or_init(|| ticket);
        let Some(endpoint) = own_dial else {
            return Ok(());
        };
        let error = dial::ErrorKind::Loop.at(endpoint);
        self.proxy.pool.failed(endpoint, Instant::now(), &error);
        Err(Cause::Rejected(Rejection::Loop).into())
    }

    /// Joins the client to its endpoint. Not inlined, like [`Session::connect`].
    #[inline(never)]
    fn join(&self, dialled: Dialled, hold: InFlight) -> Result<&Link, Failure> {
        let (proxy, times) = (&self.proxy, &self.proxy.bounds.times);
        let endpoint = dialled.endpoint;
        let relay = Relay::new(
            Arc::clone(&self.client),
            dialled.stream,
            hold.connected(),
            dialled.received,
            times.silence,
            (proxy.sessions.count() > FEW).then_some(times.silence),
        );
        let relay = relay.map_err(|error| Failure::of(Party::Endpoint, error))?;
        let link = self.link.get_or_init(|| Link {
            endpoint,
            since: Instant::now(),
            dial: dialled.took,
            wait: self.arrival.at.elapsed(),
            _dialled: dialled.ticket,
            relay,
        });
        // From here on other threads can find the relay. Before, they could only note that the session is to end.
        if let Some(failure) = self.failure.get() {
            link.relay.abort(failure.cause);
        }
        if proxy.bounds.close_removed.is_some() && !proxy.pool.contains(endpoint) {
            proxy.notices.late(endpoint);
        }
        if log::writes(log::Level::Debug) {
            let mut fields = vec![
                ("client", self.arrival.peer.into()),
                ("address", endpoint.into()),
            ];
            fields.extend(proxy.pool.name(endpoint).map(|name| ("name", name.into())));
            log::debug("session", "relaying", &fields);
        }
        Ok(link)
    }

    /// Copies to the end, or until these directions are parked. Not inlined: an idle worker keeps every
    /// page of its stack that it has ever touched, so the buffer lies on those that connecting has used.
    #[inline(never)]
    fn copy(self: &Arc<Self>, relay: &Relay, mut directions: Directions) {
        let proxy = &self.proxy;
        let help = |direction| {
            let other = Arc::clone(self);
            proxy
                .workers
                .run(move || other.resume(Directions::One(direction)))
        };
        while let Some(silent) = relay.serve(directions, &proxy.pipes, help) {
            if proxy.parked.park(self, silent).is_ok() {
                return;
            }
            directions = silent;
        }
    }

    /// Continues to copy in directions that no thread serves.
    fn resume(self: &Arc<Self>, directions: Directions) {
        if let Some(link) = self.link.get() {
            self.copy(&link.relay, directions);
        }
    }

    /// Has a worker continue to copy in directions that were parked.
    ///
    /// # Errors
    /// If there is no thread.
    pub(super) fn wake(self: Arc<Self>, directions: Directions) -> io::Result<()> {
        let proxy = Arc::clone(&self.proxy);
        proxy.workers.run(move || {
            self.proxy.parked.forget(&self, directions);
            self.resume(directions);
        })
    }

    /// The endpoint that it is connected to, if any.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.link.get().map(|link| link.endpoint)
    }

    /// The relay to its endpoint, if it is connected.
    pub(crate) fn relay(&self) -> Option<&Relay> {
        self.link.get().map(|link| &link.relay)
    }

    /// Its endpoint, since when it is connected to that, and how many bytes the endpoint and the client were sent.
    pub(super) fn passed(&self) -> Option<(SocketAddr, Instant, u64, u64)> {
        let link = self.link.get()?;
        let (to_endpoint, to_client) = link.relay.passed();
        Some((link.endpoint, link.since, to_endpoint, to_client))
    }

    /// Resets both connections, if it is connected to its endpoint; returns whether it is.
    pub(super) fn reset(&self, cause: Cause) -> bool {
        let relay = self.relay();
        relay.inspect(|relay| relay.abort(cause)).is_some()
    }

    /// Notes why it ends before it is connected to an endpoint. The first reason counts.
    pub(super) fn fail(&self, failure: impl Into<Failure>) {
        let _ = self.failure.set(failure.into());
    }
}

impl Park for Session {
    fn id(&self) -> u64 {
        self.id.get().copied().unwrap_or_default()
    }

    fn relay(&self) -> Option<&Relay> {
        self.relay()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_is_shown_as_ipv4_on_every_listener() {
        let listen = ([127, 0, 0, 1], 1).into();
        let mapped = "[::ffff:127.0.0.2]:5".parse().unwrap();
        assert_eq!(
            Arrival::now(mapped, listen).peer,
            ([127, 0, 0, 2], 5).into()
        );
        let other = "[::1]:5".parse().unwrap();
        assert_eq!(Arrival::now(other, listen).peer, other);
    }
}
