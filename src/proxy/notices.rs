//! Notices for the thread that watches sessions; see `watch`.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Where notices are left for that thread.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    inbox: Mutex<Inbox>,
    called: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// The thread sleeps until a session begins.
    pub(super) asleep: bool,
    /// A session has begun.
    pub(super) any_begun: bool,
    /// Endpoints that were removed.
    pub(super) removed: Vec<SocketAddr>,
    /// Endpoints that a session was connected to after they had been removed.
    pub(super) late: Vec<SocketAddr>,
}

impl Notices {
    /// A session has been connected to its endpoint.
    pub(super) fn begun(&self) {
        let wake = {
            let mut inbox = lock(&self.inbox);
            inbox.any_begun = true;
            std::mem::take(&mut inbox.asleep)
        };
        if wake {
            self.called.notify_one();
        }
    }

    /// These endpoints were removed.
    pub(super) fn removed(&self, addrs: Vec<SocketAddr>) {
        lock(&self.inbox).removed.extend(addrs);
        self.called.notify_one();
    }

    /// A session has been connected to an endpoint that is not in the set any more.
    pub(super) fn late(&self, addr: SocketAddr) {
        lock(&self.inbox).late.push(addr);
        self.called.notify_one();
    }

    /// Waits for notices, at most until a time; sessions that begin count only if the thread is `asleep`.
    pub(super) fn wait(&self, until: Option<Instant>, asleep: bool) -> Inbox {
        let mut inbox = lock(&self.inbox);
        while inbox.removed.is_empty() && inbox.late.is_empty() && !(asleep && inbox.any_begun) {
            inbox.asleep = asleep;
            let left = |until: Instant| until.saturating_duration_since(Instant::now());
            let left = until.map_or(Duration::MAX, left);
            if left.is_zero() {
                break;
            }
            let waited = self.called.wait_timeout(inbox, left);
            inbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut inbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Notices {
        pub(in crate::proxy) fn is_asleep(&self) -> bool {
            lock(&self.inbox).asleep
        }
    }
}
