//! Silent sessions: one thread waits for all of them (epoll(7)).
//!
//! A thread takes most of a session's memory, and most connections to etcd are watches that are silent for
//! minutes. A direction in which nothing has come for [`Times::silence`] gives its thread back and is parked
//! here. When something comes, or the connection fails, a worker continues where the last
//! thread stopped.
//!
//! - A direction is either served by one thread or parked. When both are parked, one thread serves both next.
//! - If no thread can be started, the direction stays parked and is tried again after [`Times::wake_pause`].
//! - If it cannot be parked, because there is no memory, for example, its thread keeps waiting.
//! - The first bytes are passed on here, because starting a thread takes longer than that.
//! - A session that has failed needs no thread to end: it is dropped here.
//!
//! [`Times::silence`]: crate::times::Times::silence
//! [`Times::wake_pause`]: crate::times::Times::wake_pause

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::log;
use crate::proxy::relay::{Direction, Directions, Relay};
use crate::sync::lock;
use crate::sys::OsErrorText;
use crate::sys::memory;
use crate::sys::syscall::{Epoll, PollFd};

/// Bytes of memory that one more takes at most: nodes of the map.
const NEED: usize = 4096;

/// What can be parked.
pub(crate) trait Park {
    /// A number that no other has.
    fn id(&self) -> u64;
    /// The relay between its peers.
    fn relay(&self) -> Option<&Relay>;
}

/// The sessions that no thread serves now.
#[derive(Debug)]
pub(crate) struct Parked<S> {
    /// `None`: this host has no epoll, and nothing is parked.
    epoll: Option<Epoll>,
    sessions: Mutex<Map<S>>,
    /// How long to wait before a session that got no thread is tried again.
    pause: Duration,
    log: log::Limit,
}

/// Sessions, and which of their directions are parked. This map grows a little at a time: a session that is woken in
/// vain can be put back where there is no memory for more.
type Map<S> = BTreeMap<u64, (Arc<S>, Directions)>;

impl<S: Park> Parked<S> {
    pub(crate) fn new(pause: Duration) -> Self {
        let epoll = Epoll::new().inspect_err(|error| {
            let error = OsErrorText(error).to_string();
            let message = "cannot park silent connections, each keeps its thread";
            log::warn("proxy", message, &[("error", error.into())]);
        });
        Self {
            epoll: epoll.ok(),
            sessions: Mutex::default(),
            pause,
            log: log::Limit::new(),
        }
    }

    /// Parks directions of a session. The caller no longer serves them: another thread may do so at once.
    ///
    /// # Errors
    /// If the host cannot wait for them; the caller still serves them.
    pub(crate) fn park(&self, session: &Arc<S>, directions: Directions) -> io::Result<()> {
        let epoll = self.epoll.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        // Locked until all is done: a thread that wakes this session meanwhile waits for that.
        let mut sessions = lock(&self.sessions);
        memory::room(NEED)?;
        for (awaited, key) in awaited(&**session, directions) {
            if let Err(error) = epoll.add(&awaited, key) {
                self.forget(session, directions);
                return Err(error);
            }
        }
        insert(&mut sessions, Arc::clone(session), directions);
        Ok(())
    }

    /// Stops waiting for these directions. Called by the thread that serves them from now on.
    pub(crate) fn forget(&self, session: &S, directions: Directions) {
        for (awaited, _) in awaited(session, directions) {
            // It may not be there.
            let _ = self.epoll.as_ref().map(|epoll| epoll.remove(&awaited));
        }
    }

    /// Waits for all parked sessions; `wake` starts to serve directions. The work of a thread.
    pub(crate) fn run(&self, wake: impl Fn(Arc<S>, Directions) -> io::Result<()>) {
        let Some(epoll) = &self.epoll else {
            loop {
                std::thread::park();
            }
        };
        // A thread that did this before may have ended with events that it had not handled.
        for (session, directions) in lock(&self.sessions).values() {
            arm(epoll, &**session, *directions);
        }
        loop {
            let keys = epoll.wait().inspect_err(|error| self.report(error));
            let woken = keys.and_then(|keys| self.wake(epoll, keys, &wake));
            if woken.is_err() {
                std::thread::sleep(self.pause);
            }
        }
    }

    /// Starts to serve the directions with these keys.
    ///
    /// # Errors
    /// If `wake` failed for one of them, which is parked again.
    fn wake(
        &self,
        epoll: &Epoll,
        keys: impl Iterator<Item = u64>,
        wake: impl Fn(Arc<S>, Directions) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut outcome = Ok(());
        for key in keys {
            // Its other direction may have woken it a moment ago.
            let Some((session, directions)) = self.take(key) else {
                continue;
            };
            let woken = {
                // Until a thread has it; the other direction may have one.
                let _work = session.relay().map(Relay::work);
                if let Some(relay) = session.relay() {
                    relay.pass_first(session_of(key).1);
                    if relay.is_aborted() {
                        continue;
                    }
                }
                wake(Arc::clone(&session), directions)
            };
            if let Err(error) = woken {
                let mut sessions = lock(&self.sessions);
                arm(epoll, &*session, directions);
                insert(&mut sessions, session, directions);
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Takes out the session that a key belongs to, if the direction is parked.
    fn take(&self, key: u64) -> Option<(Arc<S>, Directions)> {
        let mut sessions = lock(&self.sessions);
        let (id, direction) = session_of(key);
        let is_parked = sessions.get(&id)?.1.has(direction);
        is_parked.then(|| sessions.remove(&id)).flatten()
    }

    fn report(&self, error: &io::Error) {
        if let Some(suppressed) = self.log.admit(Instant::now()) {
            let error = OsErrorText(error).to_string();
            let fields = [("error", error.into()), ("suppressed", suppressed.into())];
            log::warn("proxy", "cannot wait for silent connections", &fields);
        }
    }
}

/// Adds directions to those that are parked.
fn insert<S: Park>(sessions: &mut Map<S>, session: Arc<S>, directions: Directions) {
    let (_, parked) = sessions
        .entry(session.id())
        .or_insert((session, directions));
    *parked = parked.and(directions);
}

/// Waits for them again.
fn arm(epoll: &Epoll, session: &impl Park, directions: Directions) {
    for (awaited, key) in awaited(session, directions) {
        // It is registered already, so no memory is needed.
        let _ = epoll.arm(&awaited, key);
    }
}

/// What is waited for in each direction, and its key.
fn awaited(session: &impl Park, directions: Directions) -> impl Iterator<Item = (PollFd<'_>, u64)> {
    directions.iter().filter_map(move |direction| {
        let awaited = session.relay()?.awaited(direction);
        Some((awaited, key(session.id(), direction)))
    })
}

/// The number of a direction in epoll.
fn key(id: u64, direction: Direction) -> u64 {
    id << 1 | u64::from(direction == Direction::ToClient)
}

/// The session that a key belongs to, and the direction.
fn session_of(key: u64) -> (u64, Direction) {
    let direction = match key & 1 {
        0 => Direction::ToEndpoint,
        _ => Direction::ToClient,
    };
    (key >> 1, direction)
}

#[cfg(test)]
mod tests;
