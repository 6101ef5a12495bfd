//! One client's session, from the accepted socket to the end of both connections:
//! loop check, pick and dial, then two copy threads. The thread that is started for
//! the client dials and then copies what the client sends; a second one copies what the
//! endpoint answers.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::dial::{self, Plain};
use crate::log;
use crate::loop_guard::Ticket;
use crate::proxy::connect::{Connector, Unserved};
use crate::proxy::relay::{self, Direction, Relay};
use crate::proxy::{Proxy, Refusal};

/// The stack of a session's thread. Its deepest calls format a log line; the copy
/// buffer is on the heap.
const STACK: usize = 64 * 1024;

/// A client that was accepted and counted. The count ends, and the sockets close, when
/// the last handle is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    proxy: Arc<Proxy>,
    id: u64,
    client: Arc<TcpStream>,
    /// Set once an endpoint has answered.
    relay: OnceLock<(SocketAddr, Relay)>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.proxy.sessions.remove(self.id);
    }
}

/// Starts the session of an accepted client, or turns the client away.
pub(super) fn start(proxy: &Arc<Proxy>, client: TcpStream) {
    let admitted = proxy.sessions.admit(client, |id, client| Session {
        proxy: Arc::clone(proxy),
        id,
        client: Arc::new(client),
        relay: OnceLock::new(),
    });
    match admitted {
        Err(client) => proxy.refuse(&client, Refusal::MaxConnections),
        Ok(session) => {
            let worker = Arc::clone(&session);
            match spawn("session", move || worker.run()) {
                Ok(thread) => proxy.sessions.started(session.id, thread),
                Err(_) => proxy.refuse(&session.client, Refusal::NoThread),
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
}

impl Session {
    fn run(self: &Arc<Self>) {
        let proxy = &self.proxy;
        // Held to the end of the session, so that a dial of ours that is noted later
        // still finds it. An error: the client is gone already.
        let Ok((_accepted, own_dial)) = proxy.guard.accepted(&self.client) else {
            return;
        };
        if let Some(endpoint) = own_dial {
            proxy
                .pool
                .failed(endpoint, Instant::now(), &dial::Error::looped(endpoint));
            return proxy.refuse(&self.client, Refusal::Loop);
        }
        let connector = Connector {
            pool: &proxy.pool,
            monitor: &proxy.monitor,
            guard: &proxy.guard,
            timeout: proxy.dial_timeout,
        };
        let dialled = match connector.connect() {
            Ok(dialled) => dialled,
            Err(unserved) => return proxy.refuse(&self.client, refusal(unserved)),
        };
        let _dialled: Ticket = dialled.ticket;
        let endpoint = dialled.endpoint;
        let (_, relay) = self.relay.get_or_init(|| {
            (
                endpoint,
                Relay::new(Arc::clone(&self.client), dialled.stream),
            )
        });
        // From here on it can be found; before, nobody could have closed it.
        if !proxy.pool.contains(endpoint) {
            proxy.removed(vec![endpoint]);
        }
        log::debug("session", "relaying", &[("endpoint", endpoint.into())]);
        let other = Arc::clone(self);
        let started = spawn("answer", move || {
            if let Some((_, relay)) = other.relay.get() {
                relay.run(Direction::ToClient);
            }
        });
        match started {
            Ok(thread) => {
                relay.run(Direction::ToEndpoint);
                // The session is over when both directions are, and its second thread gone.
                let _ = thread.join();
            }
            Err(error) => {
                log::debug(
                    "session",
                    "no thread",
                    &[("error", Plain(&error).to_string().into())],
                );
                self.reset();
                proxy.refuse(&self.client, Refusal::NoThread);
            }
        }
    }

    /// The session's relay, if it runs to this endpoint.
    pub(super) fn relay_to(&self, endpoint: SocketAddr) -> Option<&Relay> {
        let (addr, relay) = self.relay.get()?;
        (*addr == endpoint).then_some(relay)
    }

    /// Makes the close of the session's connections a reset.
    pub(super) fn reset(&self) {
        match self.relay.get() {
            Some((_, relay)) => relay.fail(),
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
