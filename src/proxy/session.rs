//! One client's session, from the accepted socket to the end of both connections:
//! loop check, pick and dial, then copying. The worker that is handed the client does all of it
//! until there is more than little to copy; from then on it has one direction and a
//! second worker the other.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::dial::{self, Plain};
use crate::log;
use crate::loop_guard::Ticket;
use crate::proxy::connect::{Connector, Unserved};
use crate::proxy::relay::{self, Alone, Buffer, Direction, Relay};
use crate::proxy::{Proxy, Refusal};

/// A client that was accepted and counted. The count ends, and the sockets close, when
/// the last handle is dropped. The order of the fields matters: tickets of the loop guard are
/// given back before the sockets close, whose ports may belong to others then.
#[derive(Debug)]
pub(crate) struct Session {
    proxy: Arc<Proxy>,
    id: u64,
    accepted: OnceLock<Ticket>,
    started: Instant,
    /// Set once an endpoint has answered.
    link: OnceLock<Link>,
    client: Arc<TcpStream>,
}

/// A session's way to its endpoint.
#[derive(Debug)]
struct Link {
    endpoint: SocketAddr,
    _dialled: Ticket,
    relay: Relay,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.link.get().is_some() {
            self.proxy.counters.ended(self.started.elapsed());
        }
        self.proxy.sessions.remove(self.id);
    }
}

/// Starts the session of an accepted client, or turns the client away.
pub(super) fn start(proxy: &Arc<Proxy>, client: TcpStream) {
    let admitted = proxy.sessions.admit(client, |id, client| Session {
        proxy: Arc::clone(proxy),
        id,
        accepted: OnceLock::new(),
        link: OnceLock::new(),
        started: Instant::now(),
        client: Arc::new(client),
    });
    match admitted {
        Err(client) => proxy.refuse(&client, Refusal::MaxConnections),
        Ok(session) => {
            let own = Arc::clone(&session);
            if proxy.workers.run(move || own.run()).is_err() {
                proxy.refuse(&session.client, Refusal::NoThread);
            }
        }
    }
}

impl Session {
    fn run(self: &Arc<Self>) {
        if let Some(link) = self.connect() {
            self.copy(&link.relay);
        }
    }

    /// Finds an endpoint that answers, or turns the client away.
    fn connect(&self) -> Option<&Link> {
        let proxy = &self.proxy;
        // Held to the end of the session, so that a dial of ours that is noted later
        // still finds it. An error: the client is gone already.
        let (accepted, own_dial) = proxy.guard.accepted(&self.client).ok()?;
        self.accepted.get_or_init(|| accepted);
        if let Some(endpoint) = own_dial {
            proxy
                .pool
                .failed(endpoint, Instant::now(), &dial::Error::looped(endpoint));
            proxy.refuse(&self.client, Refusal::Loop);
            return None;
        }
        let connector = Connector {
            pool: &proxy.pool,
            monitor: &proxy.monitor,
            guard: &proxy.guard,
            redispatches: &proxy.counters.redispatches,
            timeout: proxy.dial_timeout,
        };
        let (dialled, hold) = match connector.connect() {
            Ok(connected) => connected,
            Err(unserved) => {
                proxy.refuse(&self.client, refusal(unserved));
                return None;
            }
        };
        let endpoint = dialled.endpoint;
        let link = self.link.get_or_init(|| Link {
            endpoint,
            _dialled: dialled.ticket,
            relay: Relay::new(Arc::clone(&self.client), dialled.stream, hold.connected()),
        });
        // From here on it can be found; before, nobody could have closed it.
        if !proxy.pool.contains(endpoint) {
            proxy.removed(vec![endpoint]);
        }
        log::debug("session", "relaying", &[("endpoint", endpoint.into())]);
        Some(link)
    }

    /// Copies in both directions to the end. Not inlined: the stack that connecting took is
    /// used again by the buffer.
    #[inline(never)]
    fn copy(self: &Arc<Self>, relay: &Relay) {
        let proxy = &self.proxy;
        let mut buffer: Buffer = [0; _];
        while let Alone::Busy { direction, pending } = relay.alone(&proxy.pipes, &mut buffer) {
            let (other, reverse) = (Arc::clone(self), direction.reverse());
            match proxy.workers.run(move || other.help(reverse)) {
                Ok(()) => return relay.run(direction, &proxy.pipes, &mut buffer, pending),
                Err(error) => {
                    log::debug(
                        "session",
                        "no thread",
                        &[("error", Plain(&error).to_string().into())],
                    );
                    // One thread will have to do, unless it would have to wait in two places.
                    if !pending.is_empty() {
                        relay.fail();
                        return proxy.refuse(&self.client, Refusal::NoThread);
                    }
                }
            }
        }
    }

    /// The second worker's part.
    fn help(&self, direction: Direction) {
        if let Some(link) = self.link.get() {
            link.relay
                .run(direction, &self.proxy.pipes, &mut [0; _], 0..0);
        }
    }

    /// The session's relay, if it runs to this endpoint.
    pub(super) fn relay_to(&self, endpoint: SocketAddr) -> Option<&Relay> {
        let link = self.link.get()?;
        (link.endpoint == endpoint).then_some(&link.relay)
    }

    /// Makes the close of the session's connections a reset.
    pub(super) fn reset(&self) {
        match self.link.get() {
            Some(link) => link.relay.fail(),
            None => relay::reset_on_close(&self.client),
        }
    }
}

fn refusal(unserved: Unserved) -> Refusal {
    match unserved {
        Unserved::Unreachable => Refusal::Unreachable,
        Unserved::OutOfResources => Refusal::OutOfResources,
        Unserved::NoEndpoint => Refusal::NoEndpoint,
    }
}
