//! One client's session, from the accepted socket to the end of both connections:
//! loop check, pick and dial, then copying. The worker that is handed the client does all of it
//! until there is more than little to copy; from then on it has one direction and a
//! second worker the other.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::dial::{self, Dialled};
use crate::endpoint::ledger::Hold;
use crate::log;
use crate::loop_guard::Ticket;
use crate::proxy::Proxy;
use crate::proxy::account::{Arrival, End, Served};
use crate::proxy::cause::{Cause, Failure, Party, Rejection};
use crate::proxy::connect::Connector;
use crate::proxy::parked::Park;
use crate::proxy::relay::{Directions, Relay};
use crate::stats::Counter;
use crate::sys::memory;

/// Bytes of memory that a session takes in many small pieces, its dials included.
const NEED: usize = 4096;

/// So many sessions at a time that have become busy keep their threads through a silence: to wait for no longer than
/// that costs a timer for each message, a twentieth of what an exchange costs, and the threads of so few are nothing
/// that a host would miss.
const FEW: usize = 32;

/// A client that was accepted and counted. The count ends, and the sockets close, when
/// the last handle is dropped. The order of the fields matters: tickets of the loop guard are
/// given back before the sockets close, whose ports may belong to others then.
#[derive(Debug)]
pub(crate) struct Session {
    proxy: Arc<Proxy>,
    id: u64,
    accepted: OnceLock<Ticket>,
    arrival: Arrival,
    /// How many endpoints were dialled for it so far.
    attempts: Counter,
    /// It is to end, as the gateway does.
    stopped: AtomicBool,
    /// It was rejected, and counted.
    rejected: AtomicBool,
    /// The access log tells of its end.
    logged: AtomicBool,
    /// Why it failed before an endpoint was found.
    failure: OnceLock<Failure>,
    /// Set once an endpoint has answered.
    link: OnceLock<Link>,
    /// Reset when it closes, unless the session has ended in order.
    client: Arc<TcpStream>,
}

/// A session's way to its endpoint.
#[derive(Debug)]
struct Link {
    endpoint: SocketAddr,
    since: Instant,
    /// How long it took to answer.
    dial: Duration,
    /// How long the client waited for it.
    wait: Duration,
    _dialled: Ticket,
    relay: Relay,
}

impl Park for Session {
    fn id(&self) -> u64 {
        self.id
    }

    fn relay(&self) -> Option<&Relay> {
        self.relay()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Each that was accepted is counted once: as open, as rejected, or here.
        if !self.rejected.load(Ordering::Relaxed) {
            self.proxy
                .counters
                .ended(self.cause(), self.arrival.elapsed());
        }
        let failure = match self.link.get() {
            Some(link) => link.relay.failure(),
            None => self.failure.get(),
        };
        if let Some(link) = self.link.get() {
            match link.relay.cause() {
                Cause::Failed(Party::Endpoint) => self.proxy.pool.reset(link.endpoint),
                Cause::Closed(Party::Endpoint) => {
                    let left = link.relay.leave();
                    self.proxy.pool.ended(link.endpoint, left);
                }
                _ => {}
            }
        }
        if let Some(error) = failure.and_then(|failure| failure.error.as_ref()) {
            self.proxy.host_failed(self.arrival.peer, error);
        }
        // Before the count: whoever has seen the last session end finds its line written.
        self.log_once(self.cause(), None);
        self.proxy.sessions.remove(self.id);
    }
}

/// Starts the session of an accepted client, or rejects the client.
pub(super) fn start(proxy: &Arc<Proxy>, client: TcpStream, arrival: Arrival) {
    // Given back as the session's thread begins, which needs as much: those that have not begun yet
    // have it between them.
    let (Ok(need), false) = (memory::hold(NEED), memory::is_short()) else {
        reject(proxy, &arrival, Rejection::OutOfResources);
        return;
    };
    let admitted = proxy.sessions.admit(client, |id, client| Session {
        proxy: Arc::clone(proxy),
        id,
        accepted: OnceLock::new(),
        failure: OnceLock::new(),
        link: OnceLock::new(),
        arrival,
        attempts: Counter::new(),
        stopped: AtomicBool::new(false),
        rejected: AtomicBool::new(false),
        logged: AtomicBool::new(false),
        client: Arc::new(client),
    });
    match admitted {
        None => reject(proxy, &arrival, Rejection::MaxConnections),
        Some(session) => {
            let own = Arc::clone(&session);
            let work = move || {
                drop(need);
                own.run();
            };
            if proxy.workers.run(work).is_err() {
                session.reject(Rejection::NoThread, None);
            }
        }
    }
}

/// Notes that a client gets no session.
fn reject(proxy: &Proxy, arrival: &Arrival, reason: Rejection) {
    proxy.reject(arrival.peer, reason, None);
    if let Some(log) = &proxy.access {
        let end = End {
            attempts: 0,
            served: None,
            cause: Cause::Rejected(reason),
            error: None,
            connections: proxy.sessions.count(),
        };
        end.write(log, arrival);
    }
}

impl Session {
    fn run(self: &Arc<Self>) {
        if let Some(link) = self.connect() {
            self.proxy.watch.began(self);
            self.copy(&link.relay, Directions::Both);
        }
    }

    /// Finds an endpoint that answers, or rejects the client. Not inlined: its stack is used
    /// again by [`Session::copy`].
    #[inline(never)]
    fn connect(&self) -> Option<&Link> {
        let proxy = &self.proxy;
        self.check_loop()?;
        let connector = Connector {
            pool: &proxy.pool,
            monitor: &proxy.monitor,
            guard: &proxy.guard,
            attempts: &self.attempts,
            redispatches: &proxy.counters.redispatches,
            timeout: proxy.dial_timeout,
            times: proxy.times,
        };
        match connector.connect() {
            Ok((dialled, hold)) => self.join(dialled, hold),
            Err((reason, error)) => {
                self.reject(reason, error.as_ref());
                None
            }
        }
    }

    /// Makes the session known to the loop guard; `None` if its client is this gateway itself.
    #[inline(never)]
    fn check_loop(&self) -> Option<()> {
        let proxy = &self.proxy;
        // Held to the end of the session, so that a dial of ours that is noted later
        // still finds it.
        let (accepted, own_dial) =
            self.unless_failed(Party::Client, proxy.guard.accepted(&self.client))?;
        self.accepted.get_or_init(|| accepted);
        if let Some(endpoint) = own_dial {
            proxy
                .pool
                .failed(endpoint, Instant::now(), &dial::Cause::Loop.at(endpoint));
            self.reject(Rejection::Loop, None);
            return None;
        }
        Some(())
    }

    /// Joins the client to its endpoint. Not inlined, as [`Session::connect`] is not.
    #[inline(never)]
    fn join(&self, dialled: Dialled, hold: Hold) -> Option<&Link> {
        let proxy = &self.proxy;
        let endpoint = dialled.endpoint;
        let relay = Relay::new(
            Arc::clone(&self.client),
            dialled.stream,
            hold.connected(),
            dialled.received,
            proxy.times.silence,
            (proxy.sessions.count() > FEW).then_some(proxy.times.silence),
        );
        let relay = self.unless_failed(Party::Endpoint, relay)?;
        let link = self.link.get_or_init(|| Link {
            endpoint,
            since: Instant::now(),
            dial: dialled.took,
            wait: self.arrival.elapsed(),
            _dialled: dialled.ticket,
            relay,
        });
        // From here on it can be found; before, nobody could have closed it.
        if self.stopped.load(Ordering::SeqCst) {
            link.relay.abort(Cause::Stopped);
        }
        if !proxy.pool.contains(endpoint) {
            proxy.watch.late(endpoint);
        }
        if log::writes(log::Level::Debug) {
            let mut fields = vec![
                ("client", self.arrival.peer.into()),
                ("address", endpoint.into()),
            ];
            fields.extend(proxy.pool.name(endpoint).map(|name| ("name", name.into())));
            log::debug("session", "relaying", &fields);
        }
        Some(link)
    }

    /// Copies to the end, or until these directions are parked. Not inlined: a worker that is idle keeps every
    /// page of its stack that it has ever touched, so the buffer takes those of connecting.
    #[inline(never)]
    fn copy(self: &Arc<Self>, relay: &Relay, mut directions: Directions) {
        let proxy = &self.proxy;
        let help = |direction| {
            let other = Arc::clone(self);
            let work = move || other.go_on(Directions::One(direction));
            proxy.workers.run(work)
        };
        while let Some(silent) = relay.serve(directions, &proxy.pipes, help) {
            if proxy.parked.park(self, silent).is_ok() {
                return;
            }
            directions = silent;
        }
        if let Cause::Rejected(reason) = relay.cause() {
            self.reject(reason, None);
        }
    }

    /// The part of a worker that begins in the middle.
    fn go_on(self: &Arc<Self>, directions: Directions) {
        if let Some(link) = self.link.get() {
            self.copy(&link.relay, directions);
        }
    }

    /// Has a worker go on with what was parked.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn wake(self: Arc<Self>, directions: Directions) -> io::Result<()> {
        let proxy = Arc::clone(&self.proxy);
        proxy.workers.run(move || {
            self.proxy.parked.forget(&self, directions);
            self.go_on(directions);
        })
    }

    /// The outcome of a call on one peer's socket; the session is over if it failed.
    fn unless_failed<T>(&self, party: Party, outcome: io::Result<T>) -> Option<T> {
        let note = |error| self.failure.get_or_init(|| Failure::of(party, error));
        outcome.map_err(note).ok()
    }

    /// Who came where, and when.
    pub(crate) fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// The endpoint that it is connected to, if it is.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.link.get().map(|link| link.endpoint)
    }

    /// What joins it to that, if it is connected.
    pub(crate) fn relay(&self) -> Option<&Relay> {
        self.link.get().map(|link| &link.relay)
    }

    /// Ends it if one of its peers is gone, and tells which.
    pub(super) fn end_if_gone(&self) -> Option<Party> {
        self.relay()?.end_if_gone(self.proxy.times.peer_patience)
    }

    /// Its endpoint, since when it is connected to that, and how many bytes that and the client were given.
    pub(super) fn passed(&self) -> Option<(SocketAddr, Instant, u64, u64)> {
        let link = self.link.get()?;
        let (to_endpoint, to_client) = link.relay.passed();
        Some((link.endpoint, link.since, to_endpoint, to_client))
    }

    /// Ends it with a reset, as the gateway ends: nothing is copied from here on.
    pub(super) fn stop(&self) {
        // Before the link is looked for: one that comes later finds it.
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(link) = self.link.get() {
            link.relay.abort(Cause::Stopped);
        }
    }

    /// Writes the access log's line of a session that the end of the process interrupts.
    pub(super) fn log_interrupted(&self) {
        self.log_once(self.cause(), None);
    }

    /// Rejects the client.
    fn reject(&self, reason: Rejection, error: Option<&dial::Error>) {
        let error = error.map(|error| log::shortened(error.to_string(), log::MAX_ERROR));
        self.rejected.store(true, Ordering::Relaxed);
        self.proxy
            .reject(self.arrival.peer, reason, error.as_deref());
        self.log_once(Cause::Rejected(reason), error);
    }

    /// Why it has ended, if it was not turned away.
    fn cause(&self) -> Cause {
        match self.link.get() {
            Some(link) => link.relay.cause(),
            None if std::thread::panicking() => Cause::Internal,
            None if self.stopped.load(Ordering::SeqCst) => Cause::Stopped,
            None => match self.failure.get() {
                Some(failure) => failure.cause,
                // It never began.
                None => Cause::Internal,
            },
        }
    }

    /// Writes the line of the access log, unless it is written.
    fn log_once(&self, cause: Cause, error: Option<String>) {
        let Some(log) = &self.proxy.access else {
            return;
        };
        if self.logged.swap(true, Ordering::SeqCst) {
            return;
        }
        let link = self.link.get();
        let served = link.map(|link| {
            let (to_endpoint, to_client) = link.relay.passed();
            Served {
                address: link.endpoint,
                name: self.proxy.pool.name(link.endpoint),
                connections: link.relay.leave(),
                dial: link.dial,
                wait: link.wait,
                to_endpoint,
                to_client,
            }
        });
        let end = End {
            attempts: self.attempts.get(),
            served,
            cause,
            error,
            connections: self.proxy.sessions.count().saturating_sub(1),
        };
        end.write(log, &self.arrival);
    }
}
