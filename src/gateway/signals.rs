//! What the process is asked for: by a signal, or by another process of the service as if by one.
//!
//! A thread waits for signals, from before the start to the end. What it can do at once it does; a reload and the end in order are
//! events for the main thread (`service`).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::handover::{Request, Said, Successor, Watched};
use super::status::Served;
use super::threads;
use crate::access::AccessLog;
use crate::log;
use crate::proxy::Proxy;
use crate::sync::lock;
use crate::sys::Plain;
use crate::sys::signal::Signal;
use crate::sys::syscall;
use crate::sys::waker::Waker;
use crate::times::Times;

/// What the process does when a signal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    /// The first signal to end came so long ago.
    Stopping(Duration),
}

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Request(Request),
    AnswerStarting,
    /// Exit status 0: nothing is open, and for a service manager that is a stop like any other.
    EndBeforeTheStart,
    /// A process below this one has ended.
    Reap,
}

fn meaning(signal: Signal, phase: Phase, echo: Duration) -> Meaning {
    match (signal, phase) {
        (Signal::Child, _) => Meaning::Reap,
        (Signal::Hangup, Phase::Starting) => Meaning::Nothing,
        (Signal::Hangup, _) => Meaning::Request(Request::Refresh),
        (Signal::Status | Signal::Reload, Phase::Starting) => Meaning::AnswerStarting,
        (Signal::Status, _) => Meaning::Request(Request::Status),
        (Signal::Reload, _) => Meaning::Request(Request::Reload),
        (Signal::Interrupt | Signal::Terminate, Phase::Starting) => Meaning::EndBeforeTheStart,
        (Signal::Interrupt | Signal::Terminate, Phase::Serving) => Meaning::Request(Request::End),
        // timeout(1) and some shells signal a process and its group: one request.
        (_, Phase::Stopping(since)) if since < echo => Meaning::Nothing,
        (_, Phase::Stopping(_)) => Meaning::Request(Request::Reset),
    }
}

/// What the main thread has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Reload,
    /// The end in order; by which signal.
    End(&'static str),
}

impl Event {
    /// The same as another process is asked for it.
    fn request(self) -> Request {
        match self {
            Self::Reload => Request::Reload,
            Self::End(_) => Request::End,
        }
    }
}

/// Events that wait for the main thread.
#[derive(Debug)]
pub(super) struct Events {
    queue: Mutex<VecDeque<Event>>,
    pub(super) waker: Arc<Waker>,
}

impl Events {
    fn push(&self, event: Event) {
        let mut queue = lock(&self.queue);
        // However often it is asked for: one reload sees all that was changed before.
        if !queue.contains(&event) {
            queue.push_back(event);
        }
        self.waker.wake();
    }

    /// The next event; the end comes before all others.
    pub(super) fn next(&self) -> Option<Event> {
        let mut queue = lock(&self.queue);
        let end = queue
            .iter()
            .position(|event| matches!(event, Event::End(_)));
        queue.remove(end.unwrap_or(0))
    }

    /// Whether it is to end, or else whether another reload is asked for.
    pub(super) fn has(&self, of: impl Fn(&Event) -> bool) -> bool {
        lock(&self.queue).iter().any(of)
    }
}

/// The thread that waits for signals, and what it shares with the one that serves.
#[derive(Debug)]
pub(super) struct Signals {
    times: Times,
    pub(super) events: Events,
    access: OnceLock<Arc<AccessLog>>,
    serving: OnceLock<Arc<Served>>,
    /// The process that took over, and whether what this process is asked for is meant for that one.
    successor: OnceLock<(Arc<Successor>, bool)>,
    /// Set if this process is to say how those below it have ended.
    watched: OnceLock<Watched>,
    /// Held by who ends the process: a second signal, or the end of the drain.
    last_word: Mutex<()>,
    pause: Mutex<Pause>,
    pause_changed: Condvar,
}

/// Whether the thread takes signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pause {
    #[default]
    No,
    Asked,
    Paused,
}

impl Signals {
    /// Starts the thread. Signals must be blocked.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn watch(times: Times) -> io::Result<Arc<Self>> {
        let own = Arc::new(Self {
            times,
            events: Events {
                queue: Mutex::default(),
                waker: Arc::new(Waker::new()?),
            },
            access: OnceLock::new(),
            serving: OnceLock::new(),
            successor: OnceLock::new(),
            watched: OnceLock::new(),
            last_word: Mutex::default(),
            pause: Mutex::default(),
            pause_changed: Condvar::new(),
        });
        let (waits, ends) = (Arc::clone(&own), Arc::clone(&own));
        let work = move || waits.wait_for_signals();
        threads::start_final("signal", work, move || ends.end_at_once())?;
        Ok(own)
    }

    /// From here on SIGHUP opens the access log again.
    pub(super) fn reopen(&self, access: &Arc<AccessLog>) {
        let _ = self.access.set(Arc::clone(access));
    }

    /// From here on SIGHUP refreshes, SIGUSR1 logs the status, SIGUSR2 reloads, and a signal ends the service in
    /// order.
    pub(super) fn serve(&self, served: &Arc<Served>) {
        let _ = self.serving.set(Arc::clone(served));
    }

    /// From here on another process serves, for which is what this one is asked for if it is `watched`, and what it was asked
    /// for before in any case.
    pub(super) fn hand_over(&self, successor: &Arc<Successor>, watched: bool) {
        let _ = self.successor.set((Arc::clone(successor), watched));
        for event in lock(&self.events.queue).iter() {
            successor.ask(event.request());
        }
    }

    /// What the process that took over has said next, if anything.
    pub(super) fn hear(&self, successor: &Successor) -> Option<Said> {
        let process = successor.process();
        let ended = self
            .watched
            .get()
            .and_then(|watched| watched.known(process));
        let said = successor.hear();
        // Another process may have its end of the socket still, such as one that a script has left behind. One that
        // has handed over has not ended before this process was told of the next.
        said.or_else(|| ended.map(|_| Said::Ended))
    }

    /// From here on it is known how processes below this one have ended.
    pub(super) fn watched(&self) -> &Watched {
        self.watched.get_or_init(Watched::default)
    }

    /// The work of the thread. It returns if it cannot wait for signals any more.
    fn wait_for_signals(&self) {
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
            let phase = match (self.serving.get(), stopping) {
                (None, _) => Phase::Starting,
                (Some(_), None) => Phase::Serving,
                (Some(_), Some(first)) => Phase::Stopping(first.elapsed()),
            };
            match meaning(signal, phase, self.times.signal_echo) {
                // The log may be moved before it is known what to serve.
                Meaning::Nothing if signal == Signal::Hangup => self.reopen_access_log(),
                Meaning::Nothing => {}
                Meaning::Request(request) => {
                    if request == Request::End {
                        stopping = Some(Instant::now());
                    }
                    self.carry_out(request, signal.name());
                }
                Meaning::AnswerStarting => {
                    log::answer("status", "not serving yet, still starting", &[]);
                }
                Meaning::EndBeforeTheStart => {
                    warn("received signal while starting, exiting", signal.name());
                    log::flush(self.times.flush_patience);
                    std::process::exit(0);
                }
                Meaning::Reap => {
                    if let Some(watched) = self.watched.get() {
                        watched.reap();
                        self.events.waker.wake();
                    }
                }
            }
            self.pause_if_asked();
        }
    }

    /// Does what is asked for by a signal, or by another process as by one.
    pub(super) fn carry_out(&self, request: Request, by: &'static str) {
        let Some(served) = self.serving.get() else {
            return;
        };
        let successor = self.successor.get();
        if let Some((successor, true)) = successor {
            successor.ask(request);
        }
        match (request, successor) {
            // It comes back: the process that serves asks all that drain.
            (Request::Refresh, Some((_, true))) => {}
            (Request::Refresh, _) => self.refresh(),
            (Request::Status, _) => served.log(),
            (Request::Reload, None) => self.keep(Event::Reload),
            (Request::Reload, Some((_, true))) => {}
            (Request::Reload, Some((successor, false))) => log::warn(
                "reload",
                "received SIGUSR2 in a process that drains; send it to the one that serves",
                &[("process", u64::from(successor.process()).into())],
            ),
            (Request::End, None) => self.keep(Event::End(by)),
            (Request::End, Some(_)) => self.events.push(Event::End(by)),
            (Request::Reset, _) => {
                warn("received second signal, exiting at once", by);
                self.end_at_once();
            }
        }
    }

    /// Keeps an event for the main thread, which may have handed over just now, and not have seen it.
    fn keep(&self, event: Event) {
        self.events.push(event);
        if let Some((successor, _)) = self.successor.get() {
            successor.ask(event.request());
        }
    }

    /// Asks for endpoints again, opens the access log again, and has those that drain do the same.
    pub(super) fn refresh(&self) {
        log::info("signal", "received SIGHUP, refreshing endpoints", &[]);
        self.reopen_access_log();
        if let Some(served) = self.serving.get() {
            served.refreshes.ask();
            served.proxy.pool.distress().wake();
            served.reloads.predecessors.ask(Request::Refresh);
        }
    }

    fn reopen_access_log(&self) {
        if let Some(access) = self.access.get() {
            access.reopen();
        }
    }

    /// Ends the process, and every session with a reset.
    fn end_at_once(&self) -> ! {
        // The drain is over as soon as the last session is.
        let _exits = lock(&self.last_word);
        if let Some(served) = self.serving.get() {
            served.reloads.predecessors.ask(Request::Reset);
            served.proxy.sessions.reset_all();
            flush_access_log(&served.proxy, &self.times);
        }
        log::flush(self.times.flush_patience);
        if let (Some(watched), Some((successor, true))) = (self.watched.get(), self.successor.get())
        {
            // Who has started this process may start the service again at once.
            watched.outcome(successor.process(), self.times.flush_patience);
        }
        std::process::exit(1);
    }

    /// Returns when the thread has done what all signals that it took have asked for, and takes no other: they wait, also
    /// where this process executes another program. One that was taken by a thread that is gone the next moment would be lost.
    pub(super) fn pause(&self) {
        let mut pause = lock(&self.pause);
        *pause = Pause::Asked;
        syscall::nudge();
        while *pause != Pause::Paused {
            let changed = self.pause_changed.wait(pause);
            pause = changed.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends a pause.
    pub(super) fn resume(&self) {
        *lock(&self.pause) = Pause::No;
        self.pause_changed.notify_all();
    }

    /// Where the thread pauses, if it is asked to.
    fn pause_if_asked(&self) {
        let mut pause = lock(&self.pause);
        if *pause == Pause::Asked {
            *pause = Pause::Paused;
            self.pause_changed.notify_all();
        }
        while *pause == Pause::Paused {
            let changed = self.pause_changed.wait(pause);
            pause = changed.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// To be called at the end of a drain: from here on a second signal has no effect.
    pub(super) fn have_the_last_word(&self) {
        std::mem::forget(lock(&self.last_word));
    }
}

fn warn(message: &str, signal: &'static str) {
    log::warn("signal", message, &[("signal", signal.into())]);
}

pub(super) fn flush_access_log(proxy: &Proxy, times: &Times) {
    let access = proxy.access.as_ref();
    if access.is_some_and(|access| !access.flush(times.flush_patience)) {
        log::warn("access", "ended before the access log was written", &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_signal_means_what_the_phase_of_the_process_makes_of_it() {
        use Meaning::{AnswerStarting, EndBeforeTheStart, Nothing, Reap};
        use Phase::{Serving, Starting, Stopping};
        use Signal::{Child, Hangup, Interrupt, Reload, Status, Terminate};
        let echo = MS(10);
        let stopping = |since| Stopping(MS(since));
        let [refresh, status, reload, end, reset] = [
            Request::Refresh,
            Request::Status,
            Request::Reload,
            Request::End,
            Request::Reset,
        ]
        .map(Meaning::Request);
        for (signals, phase, expected) in [
            (&[Hangup][..], Starting, Nothing),
            (&[Hangup], Serving, refresh),
            (&[Hangup], stopping(0), refresh),
            (&[Hangup], stopping(1000), refresh),
            (&[Status, Reload], Starting, AnswerStarting),
            (&[Status], Serving, status),
            (&[Status], stopping(0), status),
            (&[Reload], Serving, reload),
            (&[Reload], stopping(1000), reload),
            (&[Terminate, Interrupt], Starting, EndBeforeTheStart),
            (&[Terminate, Interrupt], Serving, end),
            // The same request once more, until the time of an echo is over.
            (&[Terminate, Interrupt], stopping(0), Nothing),
            (&[Terminate, Interrupt], stopping(9), Nothing),
            (&[Terminate, Interrupt], stopping(10), reset),
            (&[Terminate, Interrupt], stopping(3_600_000), reset),
            (&[Child], Starting, Reap),
            (&[Child], Serving, Reap),
            (&[Child], stopping(0), Reap),
            (&[Child], stopping(1000), Reap),
        ] {
            for signal in signals {
                let found = meaning(*signal, phase, echo);
                assert_eq!(found, expected, "{signal:?} {phase:?}");
            }
        }
    }

    #[test]
    fn of_reloads_that_wait_there_is_one_and_the_end_comes_first() {
        let events = Events {
            queue: Mutex::default(),
            waker: Arc::new(Waker::new().unwrap()),
        };
        for event in [Event::Reload, Event::Reload, Event::End("SIGTERM")] {
            events.push(event);
        }
        assert!(events.has(|event| *event == Event::Reload));
        let order = [(); 3].map(|()| events.next());
        let expected = [Some(Event::End("SIGTERM")), Some(Event::Reload), None];
        assert_eq!(order, expected);
    }
}
