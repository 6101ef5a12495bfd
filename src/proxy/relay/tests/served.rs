//! Serves relays as sessions do: in threads and, where they are silent, in none.

use std::fmt;
use std::io::ErrorKind;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::proxy::parked::{Park, Parked};

/// Where all of them are parked.
static PARKED: LazyLock<&'static Parked<Served>> = LazyLock::new(|| {
    let parked: &'static _ = Box::leak(Box::new(Parked::new(Duration::from_millis(1))));
    thread::spawn(|| parked.run(Served::wake));
    parked
});

/// Starts what stays when all are over: the thread that waits for what is parked.
pub(super) fn prepare() {
    LazyLock::force(&PARKED);
}

/// What is sent when no thread serves a relay any more: the relay, and whether a thread has panicked.
type Over = Box<dyn FnOnce(Arc<Relay>, bool) + Send + Sync>;

/// A relay that is served.
pub(super) struct Served {
    id: u64,
    relay: Option<Arc<Relay>>,
    pipes: Arc<Pipes>,
    /// So many second threads, or threads for what was parked, are refused first.
    refused: AtomicUsize,
    panicked: AtomicBool,
    over: Option<Over>,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Served").field(&self.id).finish()
    }
}

impl Park for Served {
    fn id(&self) -> u64 {
        self.id
    }

    fn relay(&self) -> Option<&Relay> {
        self.relay.as_deref()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let panicked = *self.panicked.get_mut() || thread::panicking();
        if let (Some(relay), Some(over)) = (self.relay.take(), self.over.take()) {
            over(relay, panicked);
        }
    }
}

impl Served {
    /// Serves a relay.
    pub(super) fn start(
        relay: Arc<Relay>,
        pipes: &Arc<Pipes>,
        refused: usize,
        over: impl FnOnce(Arc<Relay>, bool) + Send + Sync + 'static,
    ) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let served = Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            relay: Some(relay),
            pipes: Arc::clone(pipes),
            refused: AtomicUsize::new(refused),
            panicked: AtomicBool::new(false),
            over: Some(Box::new(over)),
        });
        thread::spawn(move || served.go_on(Directions::Both));
    }

    fn go_on(self: &Arc<Self>, mut directions: Directions) {
        let served = std::panic::AssertUnwindSafe(|| {
            let relay = self.relay().expect("it is not over");
            let help = |direction| self.spawn(Directions::One(direction), false);
            while let Some(silent) = relay.serve(directions, &self.pipes, help) {
                if PARKED.park(self, silent).is_ok() {
                    return;
                }
                directions = silent;
            }
        });
        if std::panic::catch_unwind(served).is_err() {
            self.panicked.store(true, Ordering::SeqCst);
        }
    }

    fn wake(self: Arc<Self>, directions: Directions) -> io::Result<()> {
        self.spawn(directions, true)
    }

    fn spawn(self: &Arc<Self>, directions: Directions, is_parked: bool) -> io::Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        let refused = self
            .refused
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        if refused.is_ok() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let own = Arc::clone(self);
        thread::spawn(move || {
            if is_parked {
                PARKED.forget(&own, directions);
            }
            own.go_on(directions);
        });
        Ok(())
    }
}
