//! The open sessions: how many there are, how many there may be, and a handle of each that does not keep it open.
//! This does not depend on what a session is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::sync::lock;
use crate::sys::waker::Waker;

/// The pause between two looks whether all have ended; only the end of the process waits for that.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The open sessions, at most a given number.
#[derive(Debug)]
pub(crate) struct Sessions<S> {
    max: AtomicUsize,
    open: Mutex<Open<S>>,
    /// Woken whenever one ends, once the process drains.
    waker: OnceLock<Arc<Waker>>,
}

#[derive(Debug)]
struct Open<S> {
    next_id: u64,
    /// A map that grows and shrinks a little at a time: it never asks for memory for thousands of sessions at once.
    by_id: BTreeMap<u64, Weak<S>>,
}

impl<S> Sessions<S> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: max.into(),
            open: Mutex::new(Open {
                next_id: 0,
                by_id: BTreeMap::new(),
            }),
            waker: OnceLock::new(),
        }
    }

    /// Registers a session; returns its number. `None` if as many as allowed are open.
    pub(super) fn admit(&self, session: &Arc<S>) -> Option<u64> {
        let mut open = lock(&self.open);
        if open.by_id.len() >= self.max() {
            return None;
        }
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, Arc::downgrade(session));
        Some(id)
    }

    /// Called by a session as it ends.
    pub(super) fn remove(&self, id: u64) {
        lock(&self.open).by_id.remove(&id);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// From now on the end of each session wakes this.
    pub(crate) fn wake_at_each_end(&self, waker: &Arc<Waker>) {
        let _ = self.waker.set(Arc::clone(waker));
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        lock(&self.open).by_id.len()
    }

    /// How many may be open.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Changes that number. Sessions beyond it stay open.
    pub(crate) fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Waits until none is open, at most for `patience`.
    pub(super) fn wait_for_none(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.count() > 0 && Instant::now() < deadline {
            // Not a sleep: std panics if a filter of system calls refuses that.
            std::thread::park_timeout(LOOK_PAUSE);
        }
    }

    /// The open sessions, the oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<S>> {
        self.from(0).map(|(_, session)| session)
    }

    /// Those with this number or a higher one, with their numbers. They are looked up one at a time: a list of all might not fit into
    /// memory, and would keep sessions open that end meanwhile.
    pub(super) fn from(&self, first: u64) -> impl Iterator<Item = (u64, Arc<S>)> {
        let mut next = first;
        let weak = std::iter::from_fn(move || {
            let open = lock(&self.open);
            let (id, session) = open.by_id.range(next..).next()?;
            next = id + 1;
            Some((*id, Weak::clone(session)))
        });
        weak.filter_map(|(id, session)| Some((id, session.upgrade()?)))
    }
}
