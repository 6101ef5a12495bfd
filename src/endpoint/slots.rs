//! The limit for connections that are not those of clients: dials beside a client's first, probes, authentications and
//! health checks.
//!
//! Each has a [`Slot`] for as long as it has a socket. There are [`MOST`], fewer on a small host: `sys::limits`
//! reserves descriptors and threads for as many, so that endpoints that accept and do not answer, however many
//! there are, take nothing from clients. Background work leaves a quarter of the slots to clients that
//! wait.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::sync::lock;

/// How many there are where the host has room.
const MOST: usize = 16;

/// All slots of a process.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    count: usize,
    taken: Mutex<usize>,
    freed: Condvar,
}

/// The right to one such connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Shared>);

impl Default for Slots {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl Slots {
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Shared {
            count,
            taken: Mutex::new(0),
            freed: Condvar::new(),
        }))
    }

    /// How many may be taken before background work gets no more.
    fn background(&self) -> usize {
        self.0.count - self.0.count / 4
    }

    /// How many may be kept by connections that are not expected to end.
    pub(crate) fn for_idle(&self) -> usize {
        self.0.count / 2
    }

    /// A slot for work that a client waits for, if one is free.
    pub(crate) fn for_client(&self) -> Option<Slot> {
        self.take(self.0.count, Duration::ZERO)
    }

    /// A slot for background work, if one is free.
    pub(crate) fn for_background(&self) -> Option<Slot> {
        self.take(self.background(), Duration::ZERO)
    }

    /// Waits for a slot for work that a client waits for, no longer than `patience`.
    pub(crate) fn wait_for_client(&self, patience: Duration) -> Option<Slot> {
        self.take(self.0.count, patience)
    }

    /// Waits for a slot for background work. Each is given back within the time of a dial.
    pub(crate) fn wait_for_background(&self) -> Slot {
        loop {
            if let Some(slot) = self.take(self.background(), Duration::from_secs(3600)) {
                return slot;
            }
        }
    }

    /// Takes a slot once fewer than `most` are taken.
    fn take(&self, most: usize, patience: Duration) -> Option<Slot> {
        let is_full = |taken: &mut usize| *taken >= most;
        let taken = lock(&self.0.taken);
        let waited = self.0.freed.wait_timeout_while(taken, patience, is_full);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *taken += 1;
        Some(Slot(Arc::clone(&self.0)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *lock(&self.0.taken) -= 1;
        // Those that wait have different limits.
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn four_of_sixteen_slots_are_only_for_clients() {
        let slots = Slots::default();
        let background: Vec<Slot> = std::iter::from_fn(|| slots.for_background()).collect();
        assert_eq!(background.len(), 12);
        let clients: Vec<Slot> = std::iter::from_fn(|| slots.for_client()).collect();
        assert_eq!(clients.len(), 4);
        assert!(slots.wait_for_client(Duration::ZERO).is_none());
        drop(background);
        let mut more: Vec<Slot> = std::iter::from_fn(|| slots.for_background()).collect();
        assert_eq!(more.len(), 8, "what clients hold counts, too");
        more.truncate(3);
        assert!(slots.wait_for_client(Duration::ZERO).is_some());
        drop((clients, more));
        assert_eq!(*lock(&slots.0.taken), 0);
    }

    /// Whether a thread, as a link of /proc names it, is asleep.
    fn sleeps(thread: &std::path::Path) -> bool {
        let stat = std::path::Path::new("/proc").join(thread).join("stat");
        let stat = std::fs::read_to_string(stat).unwrap();
        let (_, rest) = stat.rsplit_once(") ").unwrap();
        rest.starts_with('S')
    }

    /// The wake-up must not be lost to one that may not have the slot yet.
    #[test]
    fn a_freed_slot_is_offered_to_all_that_wait() {
        let slots = &Slots::new(4);
        let mut taken: Vec<Slot> = std::iter::from_fn(|| slots.for_client()).collect();
        let (began, begins) = channel();
        let (served, is_served) = channel();
        std::thread::scope(|scope| {
            // They wait in this order.
            for for_client in [false, false, true] {
                let (began, served) = (began.clone(), served.clone());
                scope.spawn(move || {
                    let own = std::fs::read_link("/proc/thread-self").unwrap();
                    began.send(own).unwrap();
                    if for_client {
                        let slot = slots.wait_for_client(Duration::from_secs(3600));
                        served.send(slot.is_some()).unwrap();
                    } else {
                        slots.wait_for_background();
                    }
                });
                let thread = begins.recv().unwrap();
                while !sleeps(&thread) {
                    std::thread::yield_now();
                }
            }
            taken.pop();
            let is_served = is_served.recv_timeout(Duration::from_secs(10));
            taken.clear();
            assert_eq!(is_served, Ok(true));
        });
    }

    #[test]
    fn those_that_wait_get_the_next_freed_slot() {
        let slots = &Slots::default();
        let mut taken: Vec<Slot> = std::iter::from_fn(|| slots.for_client()).collect();
        let (sender, got) = channel();
        std::thread::scope(|scope| {
            let (own, other) = (sender.clone(), sender);
            scope.spawn(move || {
                let slot = slots.wait_for_client(Duration::from_secs(3600));
                own.send(("client", slot)).unwrap();
            });
            taken.pop();
            let (who, slot) = got.recv().unwrap();
            assert!(who == "client" && slot.is_some());
            scope.spawn(move || {
                let slot = slots.wait_for_background();
                other.send(("background", Some(slot))).unwrap();
            });
            taken.truncate(11);
            drop(slot);
            assert_eq!(got.recv().unwrap().0, "background");
        });
    }
}
