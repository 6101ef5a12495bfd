//! The threads that the gateway needs for as long as it serves. All of them are started before a client is
//! served. One that ends is started again, or ends the process:
//!
//! | thread | when it ends |
//! |---|---|
//! | `log`, `access-log` | started again; lines in hand count as dropped, those that wait are kept |
//! | `accept` | started again; it has no state, and clients wait in the listener's queue |
//! | `monitor` | started again; dials under way are dropped, and the pool knows which are due |
//! | `discovery` | started again with what it knows; its next refresh asks for everything |
//! | `parked` | started again with the sessions that it waits for |
//! | `sessions` | started again with the sessions and removals that it waits for |
//! | `health` | started again with what it thinks of each endpoint |
//! | `admin` | started again; its connections are dropped |
//! | `status` | started again; it only reads |
//! | `zones` | started again with the listeners that it looks after |
//! | `signal` | ends the process: all signals are blocked, so none could end it in order any more |
//!
//! A panic of the main thread ends the process, too. A panic in a session, a lookup or a proof ends only
//! that; it is logged at most once a second.
//!
//! A thread that ended is an error in the log with the text of the panic, a count in the metrics, and one of
//! the `problems` until it has worked for [`Times::thread_proof`]. The pause before it is started again grows
//! from [`Times::thread_pause`] to [`Times::thread_pause_max`] if it ends again at once.

use std::any::Any;
use std::cell::RefCell;
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

/// A thread that is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    Log,
    AccessLog,
    Parked,
    Sessions,
    Health,
    Monitor,
    Discovery,
    Admin,
    Accept,
    Status,
    Zones,
}

impl Thread {
    /// All of them, each at the place of its number.
    const ALL: [Self; 11] = [
        Self::Log,
        Self::AccessLog,
        Self::Parked,
        Self::Sessions,
        Self::Health,
        Self::Monitor,
        Self::Discovery,
        Self::Admin,
        Self::Accept,
        Self::Status,
        Self::Zones,
    ];

    /// Whether it takes clients, or speaks for the service.
    fn is_a_door(self) -> bool {
        matches!(self, Self::Accept | Self::Admin | Self::Status)
    }

    /// Its name, for the kernel, the log and the metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::AccessLog => "access-log",
            Self::Parked => "parked",
            Self::Sessions => "sessions",
            Self::Health => "health",
            Self::Monitor => "monitor",
            Self::Discovery => "discovery",
            Self::Admin => "admin",
            Self::Accept => "accept",
            Self::Status => "status",
            Self::Zones => "zones",
        }
    }

    /// Bytes of stack, for those whose deepest call is known to need few.
    fn stack(self) -> Option<usize> {
        match self {
            Self::Log | Self::AccessLog | Self::Parked => Some(64 * 1024),
            Self::Admin => Some(128 * 1024),
            _ => None,
        }
    }
}

/// How often threads of one name ended.
#[derive(Debug, Clone, Default)]
struct Loss {
    count: u64,
    /// Of the last one: why it ended, and when it works again.
    last: Option<(String, Instant)>,
}

/// Starts threads, and counts those that ended.
#[derive(Debug)]
pub(super) struct Threads {
    times: Times,
    losses: Mutex<[Loss; Thread::ALL.len()]>,
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
    /// If the host gives no thread more.
    pub(super) fn start(
        self: &Arc<Self>,
        thread: Thread,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let threads = Arc::clone(self);
        spawn(thread.name(), thread.stack(), move || {
            threads.restart(thread, &mut work)
        })
    }

    /// Starts a thread that begins its work when [all are started](Self::complete), or when
    /// [this process serves](Self::open).
    ///
    /// # Errors
    /// If the host gives no thread more.
    pub(super) fn prepare(
        self: &Arc<Self>,
        thread: Thread,
        mut work: impl FnMut() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let threads = Arc::clone(self);
        spawn(thread.name(), thread.stack(), move || {
            threads.complete.wait();
            if thread.is_a_door() {
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

    /// Has those begin that take clients, and speak for the service.
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
        let counts = losses.iter().map(|loss| loss.count);
        Thread::ALL
            .map(Thread::name)
            .into_iter()
            .zip(counts)
            .collect()
    }

    /// The threads that ended and have not worked long enough since, in words.
    pub(super) fn problems(&self, now: Instant) -> Vec<String> {
        let losses = lock(&self.losses);
        let threads = Thread::ALL.iter().zip(losses.iter());
        threads
            .filter_map(|(thread, loss)| {
                let (error, again) = loss.last.as_ref()?;
                let proven = now.saturating_duration_since(*again) >= self.times.thread_proof;
                (!proven).then(|| {
                    format!(
                        "thread {} has ended, {} times so far, and is started again: {error}",
                        thread.name(),
                        loss.count
                    )
                })
            })
            .collect()
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
                    ("thread", thread.name().into()),
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
        let Some(loss) = losses.get_mut(thread as usize) else {
            return 0;
        };
        loss.count += 1;
        loss.last = Some((error.to_owned(), again));
        loss.count
    }
}

/// The pause before a thread is started again. The last one was `pause`; the thread ended so long `after` that
/// began.
fn next_pause(pause: Duration, after: Duration, times: &Times) -> Duration {
    if pause.is_zero() || after >= pause.saturating_add(times.thread_proof) {
        times.thread_pause
    } else {
        pause.saturating_mul(2).min(times.thread_pause_max)
    }
}

/// Starts a thread that works from now on; when it ends, `end` ends the process.
///
/// # Errors
/// If the host gives no thread more.
pub(super) fn start_final(
    name: &'static str,
    work: impl FnOnce() + Send + 'static,
    end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let started = spawn(name, None, move || {
        let error = attempt(work).err();
        let error = error.unwrap_or_else(|| RETURNED.to_owned());
        log::error(
            "gateway",
            "thread ended, ending the process",
            &[("thread", name.into()), ("error", error.into())],
        );
        end();
    });
    started.map(drop)
}

fn spawn(
    name: &str,
    stack: Option<usize>,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    let builder = match stack {
        Some(bytes) => builder.stack_size(bytes),
        None => builder,
    };
    let (begins, begun) = channel::<()>();
    let thread = builder.spawn(move || {
        drop(begins);
        work();
    })?;
    // Only one that has begun has all that `std` allocates for a thread, for want of which it ends the process.
    let _ = begun.recv();
    Ok(thread)
}

thread_local! {
    /// While [`attempt`] runs in this thread: what it panicked of.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does work.
///
/// # Errors
/// What it panicked of.
pub(super) fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    PANIC.set(Some(String::new()));
    // Why data that a panic left is used again: see `sync`.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let described = PANIC.take();
    outcome.map_err(|payload| match described {
        Some(text) if !text.is_empty() => text,
        // The hook is not ours, as in unit tests.
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
        // It fails in a thread that is at its end.
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
