//! The threads that the gateway needs for as long as it serves. All of them are started before a client is
//! served. One that ends is started again:
//!
//! | thread | when it is started again |
//! |---|---|
//! | `log`, `access-log` | lines that it was writing count as dropped, those that wait are kept |
//! | `accept` | it has no state, and clients wait in the listener's queue |
//! | `monitor` | dials under way are dropped, and the pool has the time of the next dial of each endpoint |
//! | `discovery` | it has its last results; its next refresh asks for everything |
//! | `parked` | it has the sessions that it waits for |
//! | `sessions` | it has the sessions and removed endpoints that it waits for |
//! | `health` | it has the last result of each endpoint |
//! | `admin` | its connections are dropped |
//! | `status` | it only reads |
//! | `zones` | it has its listeners |
//!
//! A panic of the main thread ends the process. A panic in a session, a lookup or a proof ends only
//! that; it is logged at most once a second.
//!
//! A thread that ended is an error in the log with the text of the panic, a count in the metrics, and one of
//! the `problems` until it has worked for [`Times::thread_proof`]. The pause before it is started again grows
//! from [`Times::thread_pause`] to [`Times::thread_pause_max`] if it ends again at once.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::log;
use crate::sync::lock;
use crate::times::Times;

/// A thread that is started again when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thread {
    /// For the kernel, the log and the metrics.
    name: &'static str,
    /// Bytes of stack, if its deepest call is known to need few.
    stack: Option<usize>,
    /// Whether it accepts connections, or notifies the service manager: it begins only when this process serves.
    is_outward: bool,
}

impl Thread {
    pub(super) const LOG: Self = Self::new("log", Some(64 * 1024), false);
    pub(super) const ACCESS_LOG: Self = Self::new("access-log", Some(64 * 1024), false);
    pub(super) const PARKED: Self = Self::new("parked", Some(64 * 1024), false);
    pub(super) const SESSIONS: Self = Self::new("sessions", None, false);
    pub(super) const HEALTH: Self = Self::new("health", None, false);
    pub(super) const MONITOR: Self = Self::new("monitor", None, false);
    pub(super) const DISCOVERY: Self = Self::new("discovery", None, false);
    pub(super) const ADMIN: Self = Self::new("admin", Some(128 * 1024), true);
    pub(super) const ACCEPT: Self = Self::new("accept", None, true);
    pub(super) const STATUS: Self = Self::new("status", None, true);
    pub(super) const ZONES: Self = Self::new("zones", None, false);

    /// All of them, in the order of the metrics.
    const ALL: [Self; 11] = [
        Self::LOG,
        Self::ACCESS_LOG,
        Self::PARKED,
        Self::SESSIONS,
        Self::HEALTH,
        Self::MONITOR,
        Self::DISCOVERY,
        Self::ADMIN,
        Self::ACCEPT,
        Self::STATUS,
        Self::ZONES,
    ];

    const fn new(name: &'static str, stack: Option<usize>, is_outward: bool) -> Self {
        Self {
            name,
            stack,
            is_outward,
        }
    }
}

/// How often threads of one name ended.
#[derive(Debug)]
struct Loss {
    count: u64,
    /// Why the last one ended, and when it works again.
    error: String,
    again: Instant,
}

/// Starts threads, and counts those that ended.
#[derive(Debug)]
pub(super) struct Threads {
    times: Times,
    losses: Mutex<HashMap<&'static str, Loss>>,
    /// Set when all are started.
    complete: OnceLock<()>,
    /// Set when this process serves.
    open: OnceLock<()>,
    /// Set when the service ends: a thread that returns from then on has finished its work.
    closing: AtomicBool,
}

impl Threads {
    pub(super) fn new(times: Times) -> Arc<Self> {
        Arc::new(Self {
            times,
            losses: Mutex::default(),
            complete: OnceLock::new(),
            open: OnceLock::new(),
            closing: AtomicBool::new(false),
        })
    }

    /// Starts a thread that works from now on, and is started again when it ends.
    ///
    /// # Errors
    /// If the host gives no more threads.
    pub(super) fn start(
        self: &Arc<Self>,
        thread: Thread,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let threads = Arc::clone(self);
        spawn(thread.name, thread.stack, move || {
            threads.restart(thread, &mut work)
        })
    }

    /// Starts a thread that begins its work when [all are started](Self::complete), or when
    /// [this process serves](Self::open).
    ///
    /// # Errors
    /// If the host gives no more threads.
    pub(super) fn prepare(
        self: &Arc<Self>,
        thread: Thread,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let threads = Arc::clone(self);
        spawn(thread.name, thread.stack, move || {
            threads.complete.wait();
            if thread.is_outward {
                threads.open.wait();
            }
            threads.restart(thread, &mut work);
        })
    }

    /// Has all threads begin that were prepared.
    pub(super) fn complete(&self) {
        // A second call finds it done.
        let _ = self.complete.set(());
    }

    /// Has those begin that accept connections, or notify the service manager.
    pub(super) fn open(&self) {
        let _ = self.open.set(());
    }

    /// From here on the service ends.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Set when the service ends.
    pub(super) fn closing(&self) -> &AtomicBool {
        &self.closing
    }

    /// How often threads ended, by name.
    pub(super) fn lost(&self) -> Vec<(&'static str, u64)> {
        let losses = lock(&self.losses);
        let count = |thread: Thread| losses.get(thread.name).map_or(0, |loss| loss.count);
        Thread::ALL
            .map(|thread| (thread.name, count(thread)))
            .to_vec()
    }

    /// The threads that ended and have not worked long enough since, in words.
    pub(super) fn problems(&self, now: Instant) -> Vec<String> {
        let losses = lock(&self.losses);
        let problem = |thread: &Thread| {
            let loss = losses.get(thread.name)?;
            let proven = now.saturating_duration_since(loss.again) >= self.times.thread_proof;
            (!proven).then(|| {
                format!(
                    "thread {} has ended, {} times so far, and is started again: {}",
                    thread.name, loss.count, loss.error
                )
            })
        };
        Thread::ALL.iter().filter_map(problem).collect()
    }

    /// Does the work of a thread, again whenever it ends, until the service ends.
    fn restart(&self, thread: Thread, work: &mut dyn FnMut()) {
        let mut pause = Duration::ZERO;
        loop {
            let began = Instant::now();
            let ended = attempt(|| {
                std::thread::sleep(pause);
                work();
            });
            let error = match ended {
                Ok(()) if self.closing.load(Ordering::SeqCst) => return,
                Ok(()) => RETURNED.to_owned(),
                Err(panic) => panic,
            };
            pause = next_pause(pause, began.elapsed(), &self.times);
            let count = self.lose(thread, &error, Instant::now() + pause);
            log::error(
                "gateway",
                "thread ended, starting it again",
                &[
                    ("thread", thread.name.into()),
                    ("error", error.into()),
                    ("pause_seconds", pause.into()),
                    ("count", count.into()),
                ],
            );
        }
    }

    /// Counts a thread that has ended and begins again at a time; returns the count.
    fn lose(&self, thread: Thread, error: &str, again: Instant) -> u64 {
        let mut losses = lock(&self.losses);
        let count = losses.get(thread.name).map_or(0, |loss| loss.count) + 1;
        let error = error.to_owned();
        losses.insert(
            thread.name,
            Loss {
                count,
                error,
                again,
            },
        );
        count
    }
}

/// The pause before a thread is started again. The last one was `pause`, and the thread ended this long `after` that
/// began.
fn next_pause(pause: Duration, after: Duration, times: &Times) -> Duration {
    if pause.is_zero() || after >= pause.saturating_add(times.thread_proof) {
        times.thread_pause
    } else {
        pause.saturating_mul(2).min(times.thread_pause_max)
    }
}

/// Starts a thread.
///
/// # Errors
/// If the host gives no more threads.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    stack: Option<usize>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    let builder = match stack {
        Some(bytes) => builder.stack_size(bytes),
        None => builder,
    };
    let (begins, begun) = channel::<()>();
    let thread = builder.spawn(move || {
        drop(begins);
        work()
    })?;
    // `std` ends the process if it cannot allocate what a thread needs at its beginning, so that has to be over.
    let _ = begun.recv();
    Ok(thread)
}

thread_local! {
    /// While [`attempt`] runs in this thread: the panic, in words.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does work.
///
/// # Errors
/// The panic, in words.
pub(super) fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    PANIC.set(Some(String::new()));
    // See `sync` for why data is used again after a panic.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let described = PANIC.take();
    outcome.map_err(|payload| match described {
        Some(text) if !text.is_empty() => text,
        // Another hook is set, as in unit tests.
        _ => format!("panicked: {}", words(&*payload)),
    })
}

/// Why a thread ended that did not panic.
const RETURNED: &str = "it has returned";

/// From here on a panic is a line of the log, not raw text on stderr.
pub(super) fn log_panics() {
    static LIMIT: log::Limit = log::Limit::new();
    std::panic::set_hook(Box::new(|info| {
        let error = describe(info);
        let mut error = Some(error);
        // It fails in a thread that is about to end.
        let _ = PANIC.try_with(|place| {
            if let Some(place) = &mut *place.borrow_mut() {
                *place = error.take().unwrap_or_default();
            }
        });
        // Otherwise the thread is of a session, a lookup or a proof.
        if let Some(error) = error
            && let Some(suppressed) = LIMIT.admit(Instant::now())
        {
            let fields = [("error", error.into()), ("suppressed", suppressed.into())];
            log::error(
                "gateway",
                "thread of one connection or lookup panicked",
                &fields,
            );
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    format!("panicked at {place}: {}", words(info.payload()))
}

/// What a panic says.
fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without words")
}

#[cfg(test)]
mod tests;
