//! Looks at the peers of all sessions, and ends those whose peer is gone; what tells it, `relay` knows.

use crate::log;
use crate::proxy::Proxy;
use crate::proxy::cause::Party;
use crate::sys::memory;

/// Looks at each session once.
pub(super) fn look(proxy: &Proxy) {
    let (mut clients, mut endpoints) = (0u64, 0u64);
    let mut ended = Vec::new();
    for session in proxy.sessions.weak() {
        // One at a time: to hold on to a session that ends meanwhile would keep its sockets open.
        let Some(session) = session.upgrade() else {
            continue;
        };
        match session.end_if_gone() {
            None => continue,
            Some(Party::Client) => clients += 1,
            Some(Party::Endpoint) => endpoints += 1,
        }
        if memory::carefully(|| ended.try_reserve(1)).is_ok() {
            ended.push(session);
        } else {
            session.relay().inspect(|relay| relay.reset());
        }
    }
    // Where a reset has to wait for a call to end, that has ended meanwhile.
    for relay in ended.iter().filter_map(|session| session.relay()) {
        relay.reset();
    }
    if clients + endpoints > 0 {
        log::info(
            "proxy",
            "reset connections whose peer is gone",
            &[
                ("clients", clients.into()),
                ("endpoints", endpoints.into()),
                ("silence_seconds", proxy.times.peer_patience.into()),
            ],
        );
    }
}
