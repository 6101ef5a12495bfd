//! What an operator and a service manager see of the process: signals, status, the end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::spawn;
use super::status::Served;
use crate::access::AccessLog;
use crate::discovery::Refreshes;
use crate::log;
use crate::proxy::Proxy;
use crate::proxy::listener::Listener;
use crate::sync::lock;
use crate::sys::Plain;
use crate::sys::notify::Notifier;
use crate::sys::syscall::{self, Signal};

/// How long the end of the process waits for a slow stderr, and for a slow access log.
pub(super) const FLUSH_PATIENCE: Duration = Duration::from_secs(1);
/// How often the service manager is told the state, if it does not ask for more.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// A signal this soon after the first is the same request once more.
const ECHO: Duration = Duration::from_millis(10);
/// How long a thread that accepts gets to see that it is over; it may be pausing after an error.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(1);
/// What the end takes beside the drain itself, with room to spare.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// A thread that waits for signals, from before the start to the end.
#[derive(Debug)]
pub(super) struct Signals {
    access: Arc<OnceLock<Arc<AccessLog>>>,
    serving: Arc<OnceLock<Served>>,
    ending: Receiver<Signal>,
    /// Held by who ends the process: a second signal, or the end of the drain.
    last_word: Arc<Mutex<()>>,
}

impl Signals {
    /// Starts the thread. Signals must be blocked.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn watch() -> io::Result<Self> {
        let access = Arc::new(OnceLock::<Arc<AccessLog>>::new());
        let serving = Arc::new(OnceLock::<Served>::new());
        let (sender, ending) = channel();
        let (log, shared) = (Arc::clone(&access), Arc::clone(&serving));
        let last_word = Arc::<Mutex<()>>::default();
        let hurry = Arc::clone(&last_word);
        spawn("signal", move || {
            let mut stopping: Option<Instant> = None;
            loop {
                let signal = match syscall::wait_for_signal() {
                    Ok(signal) => signal,
                    Err(error) => {
                        log::error(
                            "signal",
                            "cannot wait for signals",
                            &[("error", error.to_string().into())],
                        );
                        return;
                    }
                };
                if let (Signal::Hangup, Some(access)) = (signal, log.get()) {
                    access.reopen();
                }
                match (signal, shared.get()) {
                    (Signal::Hangup, Some(served)) => {
                        log::info("signal", "received SIGHUP, refreshing endpoints", &[]);
                        served.proxy.pool.distress().wake();
                    }
                    (Signal::Hangup, None) => {}
                    (Signal::Status, Some(served)) => served.log(),
                    (Signal::Status, None) => {
                        log::answer("status", "not serving yet, still starting", &[]);
                    }
                    (Signal::Spare, _) => {
                        log::info(
                            "signal",
                            "received SIGUSR2, which does nothing; SIGUSR1 logs the status",
                            &[],
                        );
                    }
                    // Nothing was open: for a service manager that is a stop like any other.
                    (_, None) => exit("received signal while starting, exiting", signal, 0),
                    // timeout(1) and some shells signal a process and its group: one request.
                    (_, Some(_)) if stopping.is_some_and(|first| first.elapsed() < ECHO) => {}
                    (_, Some(served)) if stopping.is_some() => {
                        // The drain is over as soon as the last session is.
                        let _exits = lock(&hurry);
                        served.proxy.sessions.reset_all();
                        flush_access_log(&served.proxy);
                        exit("received second signal, exiting at once", signal, 1);
                    }
                    (_, Some(_)) => {
                        stopping = Some(Instant::now());
                        // The other end waits for nothing else.
                        let _ = sender.send(signal);
                    }
                }
            }
        })?;
        Ok(Self {
            access,
            serving,
            ending,
            last_word,
        })
    }

    /// From here on SIGHUP opens the access log again.
    pub(super) fn reopen(&self, access: &Arc<AccessLog>) {
        let _ = self.access.set(Arc::clone(access));
    }

    /// From here on SIGHUP refreshes, SIGUSR1 logs the status, and a signal ends the service in
    /// order.
    pub(super) fn serve(&self, served: Served) {
        let _ = self.serving.set(served);
    }

    /// Waits for the signal that ends the service.
    pub(super) fn wait_for_the_end(&self) -> Signal {
        loop {
            match self.ending.recv() {
                Ok(signal) => return signal,
                // The thread is gone: nothing is left to do but to serve.
                Err(_) => std::thread::park(),
            }
        }
    }
}

fn flush_access_log(proxy: &Proxy) {
    let access = proxy.access.as_ref();
    if access.is_some_and(|access| !access.flush(FLUSH_PATIENCE)) {
        log::warn("access", "ended before the access log was written", &[]);
    }
}

fn exit(message: &str, signal: Signal, status: i32) -> ! {
    log::warn("signal", message, &[("signal", signal.name().into())]);
    log::flush(FLUSH_PATIENCE);
    std::process::exit(status);
}

fn status(proxy: &Proxy, refreshes: &Refreshes) -> String {
    let census = proxy.pool.census();
    let problems = match refreshes.problems().len() {
        0 => String::new(),
        1 => ", 1 problem".to_owned(),
        more => format!(", {more} problems"),
    };
    format!(
        "{} of {} endpoints active, {} connections open, {} clients refused{problems}",
        census.active,
        census.total,
        proxy.sessions.count(),
        proxy.refused()
    )
}

/// Tells the service manager that clients are served, and from then on the state and that
/// we are alive: the locks that every session needs are taken on the way, so a gateway
/// that is stuck on one of them falls silent and is restarted.
///
/// # Errors
/// If the thread for that cannot be started.
pub(super) fn report(
    notifier: &Notifier,
    proxy: &Arc<Proxy>,
    refreshes: &Arc<Refreshes>,
    closing: &Arc<AtomicBool>,
) -> io::Result<()> {
    let ready = format!("READY=1\nSTATUS={}", status(proxy, refreshes));
    if let Err(error) = notifier.send(&ready) {
        // A unit that waits for it is ended after some time, and nothing else would say why.
        log::warn(
            "gateway",
            "cannot tell the service manager that clients are served",
            &[("error", Plain(&error).to_string().into())],
        );
    }
    if !notifier.is_enabled() {
        return Ok(());
    }
    // sd_watchdog_enabled(3) recommends half of the time that was asked for.
    let interval = notifier
        .watchdog
        .map_or(STATUS_INTERVAL, |asked| (asked / 2).min(STATUS_INTERVAL));
    let (notifier, proxy, closing) = (notifier.clone(), Arc::clone(proxy), Arc::clone(closing));
    let refreshes = Arc::clone(refreshes);
    spawn("status", move || {
        loop {
            std::thread::sleep(interval);
            let watchdog = if notifier.watchdog.is_some() {
                "WATCHDOG=1\n"
            } else {
                ""
            };
            let draining = if closing.load(Ordering::SeqCst) {
                "draining, "
            } else {
                ""
            };
            // Only the first failure is worth a line.
            let status = status(&proxy, &refreshes);
            let _ = notifier.send(&format!("{watchdog}STATUS={draining}{status}"));
        }
    })
    .map(drop)
}

/// Waits for a thread that accepts to end, so that every client it has taken is counted. Only
/// one that a process we share the socket with has made block may not end before its next
/// client; that one is left behind.
fn join(thread: JoinHandle<()>) {
    let deadline = Instant::now() + ACCEPT_PATIENCE;
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
) {
    let open = proxy.sessions.count();
    // A drain may be longer than the manager's patience with a stop.
    let extension = timeout.saturating_add(STOP_MARGIN).as_micros();
    let _ = notifier.send(&format!(
        "STOPPING=1\nEXTEND_TIMEOUT_USEC={extension}\nSTATUS=draining, {open} connections open"
    ));
    for (listener, thread) in accepting {
        listener.stop();
        join(thread);
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
    std::mem::forget(lock(&signals.last_word));
    flush_access_log(proxy);
    log::info("gateway", "stopped", &[("refused", proxy.refused().into())]);
}
