//! What an operator and a service manager see of the process: signals, status, the end.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::status::Served;
use super::threads::{self, Thread};
use crate::access::AccessLog;
use crate::log;
use crate::proxy::Proxy;
use crate::proxy::listener::Listener;
use crate::sync::lock;
use crate::sys::Plain;
use crate::sys::notify::Notifier;
use crate::sys::signal::Signal;
use crate::sys::syscall;
use crate::times::Times;

/// What the end takes beside the drain itself, with room to spare.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// What the process does when a signal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    /// The first signal to end came so long ago.
    Stopping(Duration),
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Nothing,
    Refresh,
    LogStatus,
    AnswerStarting,
    LogWhatToUse,
    /// Exit status 0: nothing is open, and for a service manager that is a stop like any other.
    EndBeforeTheStart,
    Drain,
    EndAtOnce,
}

fn request(signal: Signal, phase: Phase, echo: Duration) -> Request {
    match (signal, phase) {
        (Signal::Hangup, Phase::Starting) => Request::Nothing,
        (Signal::Hangup, _) => Request::Refresh,
        (Signal::Status, Phase::Starting) => Request::AnswerStarting,
        (Signal::Status, _) => Request::LogStatus,
        (Signal::Spare, _) => Request::LogWhatToUse,
        (Signal::Interrupt | Signal::Terminate, Phase::Starting) => Request::EndBeforeTheStart,
        (Signal::Interrupt | Signal::Terminate, Phase::Serving) => Request::Drain,
        // timeout(1) and some shells signal a process and its group: one request.
        (_, Phase::Stopping(since)) if since < echo => Request::Nothing,
        (_, Phase::Stopping(_)) => Request::EndAtOnce,
    }
}

/// What the thread that waits for signals shares with the one that serves.
#[derive(Debug, Default)]
struct Shared {
    access: OnceLock<Arc<AccessLog>>,
    serving: OnceLock<Arc<Served>>,
    /// Held by who ends the process: a second signal, or the end of the drain.
    last_word: Mutex<()>,
}

/// A thread that waits for signals, from before the start to the end.
#[derive(Debug)]
pub(super) struct Signals {
    shared: Arc<Shared>,
    ending: Receiver<Signal>,
}

impl Signals {
    /// Starts the thread. Signals must be blocked.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn watch(times: Times) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (sender, ending) = channel();
        let (own, last) = (Arc::clone(&shared), Arc::clone(&shared));
        let work = move || own.wait_for_signals(&sender, &times);
        threads::start_final("signal", work, move || last.end_at_once(&times))?;
        Ok(Self { shared, ending })
    }

    /// From here on SIGHUP opens the access log again.
    pub(super) fn reopen(&self, access: &Arc<AccessLog>) {
        let _ = self.shared.access.set(Arc::clone(access));
    }

    /// From here on SIGHUP refreshes, SIGUSR1 logs the status, and a signal ends the service in
    /// order.
    pub(super) fn serve(&self, served: &Arc<Served>) {
        let _ = self.shared.serving.set(Arc::clone(served));
    }

    /// Waits for the signal that ends the service.
    pub(super) fn wait_for_the_end(&self) -> Signal {
        loop {
            match self.ending.recv() {
                Ok(signal) => return signal,
                // The thread has ended, and is about to end the process.
                Err(_) => std::thread::park(),
            }
        }
    }
}

impl Shared {
    /// The work of the thread. It returns if it cannot wait for signals any more.
    fn wait_for_signals(&self, ending: &Sender<Signal>, times: &Times) {
        let mut stopping: Option<Instant> = None;
        loop {
            let signal = match syscall::wait_for_signal() {
                Ok(signal) => signal,
                Err(error) => {
                    let error = Plain(&error).to_string();
                    log::error(
                        "signal",
                        "cannot wait for signals",
                        &[("error", error.into())],
                    );
                    return;
                }
            };
            if let (Signal::Hangup, Some(access)) = (signal, self.access.get()) {
                access.reopen();
            }
            let served = self.serving.get();
            let phase = match (served, stopping) {
                (None, _) => Phase::Starting,
                (Some(_), None) => Phase::Serving,
                (Some(_), Some(first)) => Phase::Stopping(first.elapsed()),
            };
            match request(signal, phase, times.signal_echo) {
                Request::Nothing => {}
                Request::Refresh => {
                    log::info("signal", "received SIGHUP, refreshing endpoints", &[]);
                    if let Some(served) = served {
                        served.proxy.pool.distress().wake();
                    }
                }
                Request::LogStatus => {
                    if let Some(served) = served {
                        served.log();
                    }
                }
                Request::AnswerStarting => {
                    log::answer("status", "not serving yet, still starting", &[]);
                }
                Request::LogWhatToUse => log::info(
                    "signal",
                    "received SIGUSR2, which does nothing; SIGUSR1 logs the status",
                    &[],
                ),
                Request::EndBeforeTheStart => {
                    warn("received signal while starting, exiting", signal);
                    log::flush(times.flush_patience);
                    std::process::exit(0);
                }
                Request::Drain => {
                    stopping = Some(Instant::now());
                    // The other end waits for nothing else.
                    let _ = ending.send(signal);
                }
                Request::EndAtOnce => {
                    warn("received second signal, exiting at once", signal);
                    self.end_at_once(times);
                }
            }
        }
    }

    /// Ends the process, and every session with a reset.
    fn end_at_once(&self, times: &Times) -> ! {
        // The drain is over as soon as the last session is.
        let _exits = lock(&self.last_word);
        if let Some(served) = self.serving.get() {
            served.proxy.sessions.reset_all();
            flush_access_log(&served.proxy, times);
        }
        log::flush(times.flush_patience);
        std::process::exit(1);
    }
}

fn warn(message: &str, signal: Signal) {
    log::warn("signal", message, &[("signal", signal.name().into())]);
}

fn flush_access_log(proxy: &Proxy, times: &Times) {
    let access = proxy.access.as_ref();
    if access.is_some_and(|access| !access.flush(times.flush_patience)) {
        log::warn("access", "ended before the access log was written", &[]);
    }
}

/// Tells the service manager that clients are served (READY=1).
pub(super) fn tell_ready(notifier: &Notifier, served: &Served) {
    if let Err(error) = notifier.send(&format!("READY=1\nSTATUS={}", served.line())) {
        // A unit that waits for it is ended after some time, and nothing else would say why.
        log::warn(
            "gateway",
            "cannot tell the service manager that clients are served",
            &[("error", Plain(&error).to_string().into())],
        );
    }
}

/// Prepares the thread that tells the service manager the state and that we are alive, if there is
/// one: the locks that every session needs are taken on the way, so a gateway that is stuck on one
/// of them falls silent and is restarted.
///
/// # Errors
/// If the thread cannot be started.
pub(super) fn prepare_reports(
    notifier: &Notifier,
    served: &Arc<Served>,
    times: Times,
) -> io::Result<()> {
    if !notifier.is_enabled() {
        return Ok(());
    }
    let interval = report_interval(notifier.watchdog, &times);
    let (notifier, own) = (notifier.clone(), Arc::clone(served));
    let work = move || {
        loop {
            std::thread::sleep(interval);
            let watchdog = match notifier.watchdog {
                Some(_) => "WATCHDOG=1\n",
                None => "",
            };
            // Only the first failure is worth a line.
            let _ = notifier.send(&format!("{watchdog}STATUS={}", own.line()));
        }
    };
    served.threads.prepare(Thread::Status, work).map(drop)
}

/// sd_watchdog_enabled(3) recommends half of the time that was asked for.
fn report_interval(watchdog: Option<Duration>, times: &Times) -> Duration {
    watchdog.map_or(times.status_interval, |asked| {
        (asked / 2).min(times.status_interval)
    })
}

/// Waits for a thread that accepts to end, so that every client it has taken is counted. Only
/// one that a process we share the socket with has made block may not end before its next
/// client; that one is left behind.
fn join(thread: JoinHandle<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}

/// Stops listening, lets connections end by themselves, then resets what is left.
pub(super) fn drain(
    signals: &Signals,
    signal: Signal,
    timeout: Duration,
    notifier: &Notifier,
    proxy: &Proxy,
    accepting: Vec<(Arc<Listener>, JoinHandle<()>)>,
    times: &Times,
) {
    let open = proxy.sessions.count();
    // A drain may be longer than the manager's patience with a stop.
    let extension = timeout.saturating_add(STOP_MARGIN).as_micros();
    let _ = notifier.send(&format!(
        "STOPPING=1\nEXTEND_TIMEOUT_USEC={extension}\nSTATUS=draining, {open} connections open"
    ));
    for (listener, thread) in accepting {
        listener.stop();
        join(thread, times.accept_patience);
    }
    log::info(
        "gateway",
        "received signal, draining",
        &[
            ("signal", signal.name().into()),
            ("connections", open.into()),
            ("timeout", timeout.into()),
        ],
    );
    let left = proxy.sessions.wait_for_none(Instant::now() + timeout);
    if left > 0 {
        log::warn(
            "gateway",
            "drain timeout, resetting connections",
            &[("connections", left.into())],
        );
        proxy.sessions.reset_all();
    }
    // Whoever asks a second time now has asked too late.
    std::mem::forget(lock(&signals.shared.last_word));
    flush_access_log(proxy, times);
    log::info("gateway", "stopped", &[("refused", proxy.refused().into())]);
}

#[cfg(test)]
mod tests;
