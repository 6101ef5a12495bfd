//! The sessions that are open now: how many, and a hold on each for the end of the
//! program.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::proxy::cause::Cause;
use crate::proxy::session::Session;
use crate::sync::lock;
use crate::sys::waker::Waker;

/// How long sessions get to end by themselves as the process ends: nothing that copies needs
/// as long, a dial may.
const STOP_GRACE: Duration = Duration::from_millis(250);

/// So many are looked up at once: there may be a hundred thousand, and no memory for a list of them.
const AT_A_TIME: usize = 256;

/// The open sessions, at most a given number.
#[derive(Debug)]
pub(crate) struct Sessions {
    max: AtomicUsize,
    open: Mutex<Open>,
    ended: Condvar,
    /// Woken whenever one ends, once the process drains.
    waker: OnceLock<Arc<Waker>>,
}

#[derive(Debug, Default)]
struct Open {
    next_id: u64,
    /// Somebody waits for the last one to end.
    awaited: bool,
    /// A map that grows and shrinks a little at a time: no memory for thousands of them is asked for at once.
    by_id: BTreeMap<u64, Weak<Session>>,
}

impl Sessions {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: max.into(),
            open: Mutex::default(),
            ended: Condvar::new(),
            waker: OnceLock::new(),
        }
    }

    /// Counts a new session, made by `make` from its number, or closes the client
    /// if there are as many as may be.
    pub(super) fn admit(
        &self,
        client: TcpStream,
        make: impl FnOnce(u64, TcpStream) -> Session,
    ) -> Option<Arc<Session>> {
        let mut open = lock(&self.open);
        if open.by_id.len() >= self.max() {
            return None;
        }
        let id = open.next_id;
        open.next_id += 1;
        let session = Arc::new(make(id, client));
        open.by_id.insert(id, Arc::downgrade(&session));
        Some(session)
    }

    /// Called by a session as it ends.
    pub(super) fn remove(&self, id: u64) {
        let last_is_awaited = {
            let mut open = lock(&self.open);
            open.by_id.remove(&id);
            open.awaited && open.by_id.is_empty()
        };
        if last_is_awaited {
            self.ended.notify_all();
        }
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// From here on the end of each wakes somebody.
    pub(crate) fn wake_at_each_end(&self, waker: &Arc<Waker>) {
        let _ = self.waker.set(Arc::clone(waker));
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        lock(&self.open).by_id.len()
    }

    /// The most that may be open.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Sets that. Those above it stay.
    pub(crate) fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Waits until none is open, at most until `deadline`; returns how many are left.
    fn wait_for_none(&self, deadline: Instant) -> usize {
        let mut open = lock(&self.open);
        open.awaited = true;
        while !open.by_id.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            open = self
                .ended
                .wait_timeout(open, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        open.by_id.len()
    }

    /// Resets all sessions with an endpoint; returns how many there were.
    pub(crate) fn reset_endpoint(&self, endpoint: SocketAddr, cause: Cause) -> usize {
        let is_to_it = |session: &Arc<Session>| session.endpoint() == Some(endpoint);
        let mut to_it = self.all().filter(is_to_it);
        let mut count = 0;
        loop {
            let some: Vec<_> = to_it.by_ref().take(AT_A_TIME).collect();
            if some.is_empty() {
                return count;
            }
            count += reset(some.iter(), cause);
        }
    }

    /// Resets every open connection, as the process is to end. Returns once the sessions are
    /// over; what some still wait for then, ends with the process.
    pub(crate) fn reset_all(&self) {
        self.all().for_each(|session| session.stop());
        self.wait_for_none(Instant::now() + STOP_GRACE);
        for session in self.all() {
            session.log_interrupted();
            // Not dropped: the end of the process closes what is left, all at once.
            std::mem::forget(session);
        }
    }

    /// Those that are open, the oldest first; as [`weak`](Self::weak) says.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<Session>> {
        self.weak().filter_map(|session| session.upgrade())
    }

    /// Those that are open, without a hold on them. They are looked up [`AT_A_TIME`]; one that begins meanwhile
    /// may be among them.
    pub(super) fn weak(&self) -> impl Iterator<Item = Weak<Session>> {
        let mut from = Some(0);
        let some = move || {
            let open = lock(&self.open);
            let mut rest = open.by_id.range(from.take()?..);
            let some = rest.by_ref().take(AT_A_TIME);
            let some: Vec<_> = some.map(|(_, session)| session.clone()).collect();
            from = rest.next().map(|(id, _)| *id);
            Some(some)
        };
        std::iter::from_fn(some).flatten()
    }
}

/// Resets sessions; returns how many of them had begun.
pub(super) fn reset<'a>(
    sessions: impl Iterator<Item = &'a Arc<Session>> + Clone,
    cause: Cause,
) -> usize {
    let relays = sessions.filter_map(|session| session.relay());
    // First all of them once: where a reset has to wait for a call to end, that ends meanwhile.
    relays.clone().for_each(|relay| relay.abort(cause));
    relays.map(|relay| relay.reset()).count()
}
