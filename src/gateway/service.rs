//! The work of the main thread once clients are served: it waits for what the service is asked for, and sees to reloads
//! and to the end.
//!
//! A process ends in the same way whether another one has taken over or a signal ends the service: it stops accepting, waits until
//! its sessions are over, resets what is left when its time is over, and is told of nothing twice. What differs is the time
//! (`--reload-timeout` or `--drain-timeout`), and what becomes of its listeners.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::handover::{self, Event as Heard, Request, Said, Starting, Successor, Supply};
use super::metrics::Metrics;
use super::reports;
use super::signals::{Event, Signals, flush_access_log};
use super::status::Served;
use crate::config::Config;
use crate::log;
use crate::proxy::listener::Listener;
use crate::sys::Plain;
use crate::sys::notify::Notifier;
use crate::sys::program::Program;
use crate::sys::syscall::{self, PollFd};
use crate::times::Times;

/// What the end takes beside the drain itself, with room to spare.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Where clients and operators connect to.
#[derive(Default)]
pub(super) struct Doors {
    pub(super) clients: Vec<(Arc<Listener>, JoinHandle<()>)>,
    pub(super) metrics: Option<(Arc<Metrics>, JoinHandle<()>)>,
}

impl Doors {
    /// Stops accepting clients. If listeners are `handed_over`, they stay open in another process, where metrics are asked for
    /// then; otherwise those of this process are served to its end. Returns the thread that answers those who have asked before.
    fn close(self, handed_over: bool, times: &Times) -> Option<JoinHandle<()>> {
        for (listener, _) in &self.clients {
            if handed_over {
                listener.stop();
            } else {
                listener.close();
            }
        }
        let metrics = self.metrics.filter(|_| handed_over);
        if let Some((metrics, _)) = &metrics {
            metrics.stop();
        }
        let patience = Instant::now() + times.accept_patience;
        for (_, thread) in self.clients {
            join(thread, patience);
        }
        metrics.map(|(_, thread)| thread)
    }
}

/// Waits for a thread to end: one that accepts, so that every client it has taken is counted, or one that answers. One that
/// pauses after an error may take longer, and is left behind, and so is one whose client says nothing.
fn join(thread: JoinHandle<()>, deadline: Instant) {
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    if thread.is_finished() {
        let _ = thread.join();
    }
}

/// All that it takes to serve, to hand over and to end.
pub(super) struct Service<'a> {
    pub(super) config: &'a Config,
    pub(super) program: &'a Program,
    pub(super) notifier: &'a Notifier,
    pub(super) signals: &'a Arc<Signals>,
    pub(super) served: Arc<Served>,
    pub(super) doors: Doors,
    pub(super) times: Times,
}

impl Service<'_> {
    /// Serves until the end. The exit status is not 0 if the service ended otherwise than it was asked to.
    pub(super) fn run(self) -> ExitCode {
        loop {
            self.wait(&[], None);
            while let Some(event) = self.signals.events.next() {
                match event {
                    Event::End(signal) => return self.end(signal),
                    Event::Reload => match self.reload() {
                        Ok(Some(successor)) => return self.hand_over(successor),
                        Ok(None) => {}
                        Err(reason) => self.continue_without(&reason),
                    },
                }
            }
        }
    }

    /// Waits for an event, for one of `others` to become readable, or until a time, and hears what those say that drain.
    fn wait(&self, others: &[&dyn AsFd], until: Option<Instant>) {
        let predecessors = self.served.reloads.predecessors.all();
        let controls = predecessors.iter().map(|one| one.control() as &dyn AsFd);
        let all: Vec<&dyn AsFd> = others.iter().copied().chain(controls).collect();
        self.wait_deaf(&all, until);
        self.hear();
    }

    /// Waits for an event, for one of `others` to become readable, or until a time.
    fn wait_deaf(&self, others: &[&dyn AsFd], until: Option<Instant>) {
        let waker = &self.signals.events.waker;
        let mut fds = vec![PollFd::readable(waker.fd())];
        fds.extend(others.iter().map(|other| PollFd::readable(other.as_fd())));
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Err(error) = syscall::wait(&mut fds, timeout) {
            let fields = [("error", Plain(&error).to_string().into())];
            log::error("gateway", "cannot poll", &fields);
            std::thread::sleep(self.times.poll_pause);
        }
        waker.clear();
    }

    /// Hears what those say that drain.
    fn hear(&self) {
        let events = self.served.reloads.predecessors.hear();
        let (_, draining) = self.served.reloads.predecessors.draining();
        let room = self.served.room.beside(draining);
        self.served.proxy.sessions.limit(room);
        for event in events {
            match event {
                Heard::Asked(request) => self.signals.carry_out(request, "passed on"),
                Heard::WatcherEnded => {
                    log::warn(
                        "reload",
                        "the first process of the service has ended, ending",
                        &[],
                    );
                    self.signals
                        .carry_out(Request::End, "end of the first process");
                }
            }
        }
    }

    /// Has another process get ready to serve; none if the end came first.
    ///
    /// # Errors
    /// Why it is not ready.
    fn reload(&self) -> Result<Option<Successor>, String> {
        let program = self.program.path().display().to_string();
        let fields = [("program", program.into())];
        log::info("reload", "received SIGUSR2, reloading", &fields);
        let _ = self.notifier.send("RELOADING=1\nSTATUS=reloading");
        let served = &self.served;
        let reloads = &served.reloads;
        // Until it is known how the process has ended that starts the new one.
        let _held = reloads.is_watched.then(|| self.signals.watched().hold());
        if reloads.is_watched {
            syscall::adopt_orphans()
                .map_err(|error| format!("cannot watch the new process: {}", Plain(&error)))?;
        }
        let metrics = served.metrics.as_ref();
        let metrics = metrics.and_then(|metrics| metrics.listener());
        let supply = Supply {
            listeners: self.doors.clients.iter().map(|(door, _)| &**door).collect(),
            metrics: metrics.as_deref(),
            draining: reloads.predecessors.all(),
            is_managed: reloads.is_managed,
            is_watched: reloads.is_watched,
            succeeded: reloads.succeeded,
            failed: reloads.failed(),
            host: served.room.host,
            connections: served.proxy.sessions.count(),
        };
        let mut starting = Starting::start(self.program, &supply)?;
        let deadline = Instant::now() + self.times.reload_patience;
        while !starting.hear()? {
            let is_to_end = |event: &Event| matches!(event, Event::End(_));
            // Once the other process may serve clients, it does so to the end.
            if !starting.is_told() && self.signals.events.has(is_to_end) {
                return Ok(None);
            }
            if Instant::now() >= deadline {
                let patience = self.times.reload_patience.as_secs_f32();
                return Err(format!("the new process is not ready after {patience} s"));
            }
            match starting.control() {
                // What those say that drain is for the other process now, which reads it from the same sockets.
                Some(control) if starting.is_told() => self.wait_deaf(&[control], Some(deadline)),
                Some(control) => self.wait(&[control], Some(deadline)),
                None => {}
            }
        }
        Ok(starting.into_successor())
    }

    /// A reload has failed.
    fn continue_without(&self, reason: &str) {
        let fields = [("error", reason.into())];
        log::error("reload", "reload failed, continuing", &fields);
        self.served.reloads.fail(reason);
        // The other process may have said that it serves.
        self.served.reloads.predecessors.announce();
        reports::tell_ready(self.notifier, &self.served);
    }

    /// Another process serves from here on.
    fn hand_over(mut self, successor: Successor) -> ExitCode {
        let (served, process) = (Arc::clone(&self.served), successor.process());
        let reloads = &served.reloads;
        let timeout = self.config.reload_timeout;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let main = reloads.is_managed.then_some(process);
        reports::tell_successor(self.notifier, main);
        let successor = Arc::new(successor);
        // As long as the manager knows of this process only, what it asks this one for is meant for the service.
        self.signals.hand_over(&successor, reloads.is_watched);
        log::name_process();
        let mut fields = vec![
            ("successor", u64::from(process).into()),
            ("connections", self.served.proxy.sessions.count().into()),
        ];
        fields.extend(timeout.map(|timeout| ("timeout_seconds", timeout.into())));
        log::info("reload", "reloaded, draining", &fields);
        let answers = self.close_doors(true);
        reloads.predecessors.clear();
        let drained = self.drain(deadline, Some(&successor));
        successor.tell_connections(0);
        if drained == Drained::ServiceEnded {
            return self.end_with_the_service(&successor);
        }
        if let Some(answers) = answers {
            join(answers, Instant::now() + self.times.accept_patience);
        }
        if !reloads.is_watched {
            return self.stopped();
        }
        if drained != Drained::Ending {
            let fields = [("process", u64::from(successor.process()).into())];
            log::info(
                "reload",
                "drained, watching the process that serves",
                &fields,
            );
            flush_access_log(&self.served.proxy, &self.times);
            log::flush(self.times.flush_patience);
            self.signals.pause();
            let is_to_end = |event: &Event| matches!(event, Event::End(_));
            // How a process has ended that was noted here is forgotten there.
            let has_ended = self.signals.watched().known(successor.process()).is_some();
            if !has_ended && !self.signals.events.has(is_to_end) {
                handover::execute(self.program, successor.control(), successor.process());
            }
            self.signals.resume();
        }
        loop {
            self.wait(&[successor.control()], None);
            while self.signals.events.next().is_some() {}
            while let Some(said) = self.signals.hear(&successor) {
                match said {
                    Said::Ended => return self.end_with_the_service(&successor),
                    Said::Serves(_) => successor.tell_connections(0),
                    Said::Asked(_) => {}
                }
            }
        }
    }

    /// The process that serves has ended, and so do those that drain: whoever watches the service sees its end, and starts it
    /// again.
    fn end_with_the_service(&self, successor: &Successor) -> ExitCode {
        let left = self.served.proxy.sessions.count();
        if left > 0 {
            log::error(
                "reload",
                "the process that serves has ended, resetting connections",
                &[("connections", left.into())],
            );
            self.served.proxy.sessions.reset_all();
        }
        self.stopped();
        match self.served.reloads.is_watched {
            true => {
                let watched = self.signals.watched();
                watched
                    .outcome(successor.process(), self.times.flush_patience)
                    .into()
            }
            false => ExitCode::FAILURE,
        }
    }

    /// Ends the service.
    fn end(mut self, signal: &'static str) -> ExitCode {
        let timeout = self.config.drain_timeout;
        let deadline = Instant::now().checked_add(timeout);
        let open = self.served.proxy.sessions.count();
        let served = Arc::clone(&self.served);
        let predecessors = &served.reloads.predecessors;
        // A drain may be longer than the manager's patience with a stop.
        let extension = timeout.saturating_add(STOP_MARGIN).as_micros();
        let _ = self.notifier.send(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={extension}\nSTATUS=draining, {open} connections open"
        ));
        predecessors.ask(Request::End);
        self.close_doors(false);
        log::info(
            "gateway",
            "received signal, draining",
            &[
                ("signal", signal.into()),
                ("connections", open.into()),
                ("timeout_seconds", timeout.into()),
            ],
        );
        if self.drain(deadline, None) == Drained::Late {
            // Each has a time of its own, by the settings that it was started with.
            predecessors.ask(Request::Reset);
            let patience = Instant::now() + self.times.accept_patience;
            while predecessors.draining().0 > 0 && Instant::now() < patience {
                self.wait(&[], Some(patience));
            }
        }
        self.stopped()
    }

    fn close_doors(&mut self, handed_over: bool) -> Option<JoinHandle<()>> {
        self.served.threads.close();
        let answers = std::mem::take(&mut self.doors).close(handed_over, &self.times);
        self.served.zones.clear();
        answers
    }

    /// Waits until sessions are over, here and in processes that drain, at most until `deadline`. Those that are left here then are
    /// reset.
    fn drain(&self, mut deadline: Option<Instant>, successor: Option<&Successor>) -> Drained {
        let sessions = &self.served.proxy.sessions;
        sessions.wake_at_each_end(&self.signals.events.waker);
        let mut ending = false;
        // What the successor was told last, and when.
        let mut told: Option<(usize, Instant)> = None;
        let mut reset = false;
        loop {
            let (now, open) = (Instant::now(), sessions.count());
            if open == 0 && self.served.reloads.predecessors.draining().0 == 0 {
                return if ending {
                    Drained::Ending
                } else {
                    Drained::Whole
                };
            }
            if reset || deadline.is_some_and(|deadline| now >= deadline) {
                if open > 0 {
                    log::warn(
                        "gateway",
                        "drain timeout, resetting connections",
                        &[("connections", open.into())],
                    );
                    sessions.reset_all();
                }
                return if ending {
                    Drained::Ending
                } else {
                    Drained::Late
                };
            }
            let mut until = deadline;
            let mut others: Vec<&dyn AsFd> = Vec::new();
            if let Some(successor) = successor {
                others.push(successor.control());
                let due = told.filter(|(told, _)| *told != open);
                let due = due.map(|(_, then)| then + self.times.drain_report);
                if told.is_none() || due.is_some_and(|due| now >= due) {
                    successor.tell_connections(open);
                    told = Some((open, now));
                } else if let Some(due) = due {
                    until = Some(until.map_or(due, |until| until.min(due)));
                }
            }
            self.wait(&others, until);
            let mut asked_to_end = false;
            while let Some(event) = self.signals.events.next() {
                asked_to_end |= matches!(event, Event::End(_));
            }
            while let Some(said) = successor.and_then(|successor| self.signals.hear(successor)) {
                match said {
                    Said::Ended => return Drained::ServiceEnded,
                    Said::Asked(Request::End) => asked_to_end = true,
                    Said::Asked(Request::Reset) => reset = true,
                    Said::Asked(Request::Refresh) => self.signals.refresh(),
                    Said::Asked(Request::Status | Request::Reload) => {}
                    // It may have been told an older number by the one before it.
                    Said::Serves(_) => told = None,
                }
            }
            if asked_to_end && successor.is_some() && !ending {
                ending = true;
                let end = now.checked_add(self.config.drain_timeout);
                deadline = deadline.into_iter().chain(end).min();
            }
        }
    }

    /// The last words of a process that ends in order.
    fn stopped(&self) -> ExitCode {
        // Whoever asks a second time now has asked too late.
        self.signals.have_the_last_word();
        flush_access_log(&self.served.proxy, &self.times);
        let rejected = self.served.proxy.rejected();
        log::info("gateway", "stopped", &[("rejected", rejected.into())]);
        ExitCode::SUCCESS
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// All sessions are over.
    Whole,
    /// So they are, or their time was, and the service is to end.
    Ending,
    /// Its time was over.
    Late,
    /// The process that took over has ended.
    ServiceEnded,
}

#[cfg(test)]
mod tests;
