//! Connections to endpoints that have left the set: closed after `--close-removed`.
//!
//! An endpoint that comes back meanwhile keeps its connections, and has the whole time
//! again when it is removed again. A session that was still dialling when its endpoint was
//! removed reports it itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::log;
use crate::proxy::Proxy;

/// Where removals are reported.
#[derive(Debug)]
pub(crate) struct Removals {
    /// How long connections may go on.
    pub(crate) delay: Duration,
    pub(crate) sender: Sender<Removal>,
}

/// When the connections to these endpoints are to be closed.
pub(crate) type Removal = (Instant, Vec<SocketAddr>);

impl Removals {
    /// Reports endpoints that are no more.
    pub(crate) fn note(&self, addrs: Vec<SocketAddr>) {
        // The other end lives as long as the process.
        let _ = self.sender.send((Instant::now() + self.delay, addrs));
    }
}

/// Closes connections when their time has come; the work of a thread. Those that are `due` are kept
/// by whoever calls, for the case that the thread ends.
pub(crate) fn close(
    proxy: &Proxy,
    removals: &Receiver<Removal>,
    due: &mut BTreeMap<SocketAddr, Instant>,
) {
    loop {
        let next = due
            .values()
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let news = match next {
            Some(left) => removals.recv_timeout(left),
            None => removals.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match news {
            Ok((at, addrs)) => due.extend(addrs.into_iter().map(|addr| (addr, at))),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody follows the endpoints any more.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        let over: Vec<SocketAddr> = due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(addr, _)| *addr)
            .collect();
        for addr in over {
            due.remove(&addr);
            if proxy.pool.contains(addr) {
                continue;
            }
            let count = proxy.sessions.reset_endpoint(addr);
            if count > 0 {
                log::info(
                    "proxy",
                    "reset connections to a removed endpoint",
                    &[("address", addr.into()), ("connections", count.into())],
                );
            }
        }
    }
}
