//! The signals of the process, and what they ask for.
//!
//! All of them are blocked in all threads, so each waits until [`Signals`] takes it. During the start a thread does that
//! ([`StartSignals`]), because the search for endpoints may take long; from then on the main thread does (`service`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::threads;
use crate::access::AccessLog;
use crate::log;
use crate::sys::OsErrorText;
use crate::sys::signal::Signal;
use crate::sys::syscall::{self, PollFd};
use crate::times::Times;

/// What a process is asked for, by a signal or by another process of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGHUP: look for endpoints again, and open the access log again.
    Refresh,
    /// SIGUSR1: log the status.
    Status,
    /// SIGUSR2.
    Reload,
    /// SIGTERM or SIGINT: end, and leave sessions the time of `--drain-timeout`.
    End,
    /// A second one of these: end, and reset sessions.
    Reset,
}

/// Takes signals.
#[derive(Debug)]
pub(super) struct Signals {
    /// Readable while a signal waits.
    fd: OwnedFd,
    /// When the first signal to end came.
    ending: Option<Instant>,
    times: Times,
}

impl Signals {
    /// To be called once signals are blocked.
    ///
    /// # Errors
    /// If no descriptors are left.
    pub(super) fn open(times: Times) -> io::Result<Self> {
        Ok(Self {
            fd: syscall::signals()?,
            ending: None,
            times,
        })
    }

    /// Waits for a signal, and takes it. Returns without one when one of `others` is readable, or at a time.
    ///
    /// # Errors
    /// If signals cannot be taken any more.
    pub(super) fn wait(
        &self,
        others: &[BorrowedFd<'_>],
        until: Option<Instant>,
    ) -> io::Result<Option<Signal>> {
        let mut fds = vec![PollFd::readable(self.fd.as_fd())];
        fds.extend(others.iter().map(|fd| PollFd::readable(*fd)));
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Err(error) = syscall::wait(&mut fds, timeout) {
            let fields = [("error", OsErrorText(&error).to_string().into())];
            log::error("gateway", "cannot poll", &fields);
            std::thread::sleep(self.times.poll_pause);
        }
        match fds.first().is_some_and(PollFd::is_ready) {
            true => syscall::wait_for_signal().map(Some),
            false => Ok(None),
        }
    }

    /// What a signal that was just taken asks for.
    pub(super) fn request(&mut self, signal: Signal) -> Option<Request> {
        let ending = self.ending.map(|first| first.elapsed());
        let request = request(signal, ending, self.times.signal_echo);
        if request == Some(Request::End) {
            self.ending = Some(Instant::now());
        }
        request
    }
}

/// What a signal asks for; `ending` is how long ago the first signal to end came.
fn request(signal: Signal, ending: Option<Duration>, echo: Duration) -> Option<Request> {
    match (signal, ending) {
        (Signal::Child, _) => None,
        (Signal::Hangup, _) => Some(Request::Refresh),
        (Signal::Status, _) => Some(Request::Status),
        (Signal::Reload, _) => Some(Request::Reload),
        (Signal::Interrupt | Signal::Terminate, None) => Some(Request::End),
        // timeout(1) and some shells signal a process and its group: one request.
        (_, Some(since)) if since < echo => None,
        (_, Some(_)) => Some(Request::Reset),
    }
}

/// The thread that acts on signals until this process serves.
pub(super) struct StartSignals {
    thread: JoinHandle<Signals>,
    shared: Arc<Shared>,
}

struct Shared {
    is_stopped: AtomicBool,
    access: OnceLock<Arc<AccessLog>>,
}

impl StartSignals {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start(times: Times) -> io::Result<Self> {
        let signals = Signals::open(times)?;
        let shared = Arc::new(Shared {
            is_stopped: AtomicBool::new(false),
            access: OnceLock::new(),
        });
        let own = Arc::clone(&shared);
        let thread = threads::spawn("signal", None, move || {
            if let Err(error) = threads::attempt(|| own.act_on(&signals)) {
                // All signals are blocked, so that none would end the process any more.
                let fields = [("thread", "signal".into()), ("error", error.into())];
                log::error("gateway", "thread ended, ending the process", &fields);
                exit(&signals, 1);
            }
            signals
        })?;
        Ok(Self { thread, shared })
    }

    /// From here on SIGHUP opens the access log again: logrotate may send it before the start is complete.
    pub(super) fn reopen(&self, access: &Arc<AccessLog>) {
        let _ = self.shared.access.set(Arc::clone(access));
    }

    /// Ends the thread; signals that it has not taken can be taken with the result.
    ///
    /// # Errors
    /// If the thread has panicked, which ends the process before that is seen here.
    pub(super) fn stop(self) -> io::Result<Signals> {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        syscall::wake_signal_thread();
        let signals = self.thread.join();
        signals.map_err(|_| io::Error::other("thread signal has panicked"))
    }
}

impl Shared {
    /// The work of the thread.
    fn act_on(&self, signals: &Signals) {
        while !self.is_stopped.load(Ordering::SeqCst) {
            match signals.wait(&[], None) {
                // It may be to stop.
                Ok(None | Some(Signal::Child)) => {}
                Ok(Some(Signal::Hangup)) => {
                    if let Some(access) = self.access.get() {
                        access.reopen();
                    }
                }
                Ok(Some(Signal::Status | Signal::Reload)) => {
                    log::answer("status", "not serving yet, still starting", &[]);
                }
                Ok(Some(signal @ (Signal::Interrupt | Signal::Terminate))) => {
                    let fields = [("signal", signal.name().into())];
                    log::warn("signal", "received signal while starting, exiting", &fields);
                    // Nothing is open, and for a service manager that is a stop like any other.
                    exit(signals, 0);
                }
                Err(error) => {
                    log_failure(&error);
                    exit(signals, 1);
                }
            }
        }
    }
}

/// Ends the process during the start: the main thread may wait for DNS or for an endpoint, and there are no clients yet.
fn exit(signals: &Signals, status: i32) -> ! {
    log::flush(signals.times.flush_patience);
    std::process::exit(status)
}

/// Logs that signals cannot be taken, which ends the process: no other signal but SIGKILL would.
pub(super) fn log_failure(error: &io::Error) {
    let fields = [("error", OsErrorText(error).to_string().into())];
    log::error("signal", "cannot wait for signals", &fields);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn what_a_signal_asks_for_depends_on_an_end_that_was_asked_for() {
        use Signal::{Child, Hangup, Interrupt, Reload, Status, Terminate};
        let echo = MS(10);
        let [refresh, status, reload, end, reset] = [
            Request::Refresh,
            Request::Status,
            Request::Reload,
            Request::End,
            Request::Reset,
        ]
        .map(Some);
        for (signals, ending, expected) in [
            (&[Hangup][..], None, refresh),
            (&[Hangup], Some(0), refresh),
            (&[Hangup], Some(1000), refresh),
            (&[Status], None, status),
            (&[Status], Some(0), status),
            (&[Reload], None, reload),
            (&[Reload], Some(1000), reload),
            (&[Terminate, Interrupt], None, end),
            // The same request once more, until the time of an echo is over.
            (&[Terminate, Interrupt], Some(0), None),
            (&[Terminate, Interrupt], Some(9), None),
            (&[Terminate, Interrupt], Some(10), reset),
            (&[Terminate, Interrupt], Some(3_600_000), reset),
            (&[Child], None, None),
            (&[Child], Some(0), None),
            (&[Child], Some(1000), None),
        ] {
            for signal in signals {
                let found = request(*signal, ending.map(MS), echo);
                assert_eq!(found, expected, "{signal:?} {ending:?}");
            }
        }
    }

    #[test]
    fn the_first_signal_to_end_is_remembered() {
        let mut signals = Signals::open(Times::REAL).unwrap();
        let mut request = |signal| signals.request(signal);
        assert_eq!(request(Signal::Hangup), Some(Request::Refresh));
        assert_eq!(request(Signal::Terminate), Some(Request::End));
        assert_eq!(request(Signal::Interrupt), None);
        std::thread::sleep(Times::REAL.signal_echo);
        assert_eq!(request(Signal::Interrupt), Some(Request::Reset));
    }
}
