//! The work of the main thread once clients are served: it waits for what the service is asked for, and does reloads
//! and the end.
//!
//! A process ends in the same way whether another one has taken over or a signal ends the service: it stops accepting, waits until
//! its sessions are over, and resets what is left when its time is over. What differs is the time (`--reload-timeout` or
//! `--drain-timeout`), and what becomes of its listeners.
//!
//! [`Service::wait`] is the one place where the process waits, and where signals and messages of other processes are read. It does at
//! once what can be done at once, and notes the rest in [`Pending`]. What has no descriptor to poll is waited for in short
//! [pauses](Service::pause), so that a second signal ends the process at once there, too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::acceptors::{Acceptors, join};
use super::handover::{self, Children, Message, Received, ServiceState};
use super::handover::{Starting, Successor};
use super::notify;
use super::process::Process;
use super::runtime::Runtime;
use super::signals::{self, Request, Signals};
use crate::log;
use crate::proxy::listener::Listener;
use crate::sys::signal::Signal;
use crate::sys::waker::Waker;
use crate::sys::{OsErrorText, syscall};

/// What the end takes in addition to the drain, with a margin.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// What the process is asked for and has not done yet.
#[derive(Debug, Default)]
struct Pending {
    reload: bool,
    /// By which signal, or by what else.
    end: Option<&'static str>,
    /// The process that serves has no time left.
    reset: bool,
    /// A second signal, or none can be taken any more.
    exit: bool,
}

/// All that it takes to serve, to hand over and to end.
pub(super) struct Service<'a> {
    process: &'a Process<'a>,
    signals: Signals,
    runtime: Arc<Runtime>,
    acceptors: Acceptors,
    /// Wakes the main thread when a session ends; there is none until it waits for that.
    waker: Option<Arc<Waker>>,
    pending: Pending,
    /// The process that took over.
    successor: Option<Successor>,
    is_reloading: bool,
    /// Child processes that have ended, if the parent of this process watches the service.
    children: Children,
}

impl<'a> Service<'a> {
    pub(super) fn new(
        process: &'a Process<'a>,
        signals: Signals,
        runtime: Arc<Runtime>,
        acceptors: Acceptors,
    ) -> Self {
        Self {
            process,
            signals,
            runtime,
            acceptors,
            waker: None,
            pending: Pending::default(),
            successor: None,
            is_reloading: false,
            children: Children::default(),
        }
    }

    /// Serves until the end. The exit status is not 0 if the service ended otherwise than it was asked to.
    pub(super) fn run(mut self) -> ExitCode {
        loop {
            if self.pending.exit {
                return self.exit_at_once();
            }
            if let Some(signal) = self.pending.end {
                return self.end(signal);
            }
            if std::mem::take(&mut self.pending.reload) {
                match self.reload() {
                    Ok(Some(successor)) => return self.hand_over(successor),
                    Ok(None) => {}
                    Err(reason) => self.continue_without(&reason),
                }
            } else {
                self.wait(None, None);
            }
        }
    }

    /// Notifies the service manager that clients are served.
    pub(super) fn notify_ready(&mut self) {
        let runtime = Arc::clone(&self.runtime);
        notify::ready(&self.process.notifier, &runtime, || self.pause());
    }

    /// Waits for a signal, for a message of another process, for the end of a session, or until a time, and does what is asked for.
    fn wait(&mut self, starting: Option<&Starting>, until: Option<Instant>) {
        let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
        fds.extend(self.waker.iter().map(|waker| waker.fd()));
        fds.extend(starting.map(|starting| starting.control().as_fd()));
        let successor = self.successor.as_ref();
        fds.extend(successor.map(|successor| successor.control.as_fd()));
        // Once the other process may serve, it reads what predecessors send, from the same sockets.
        let reads = starting.is_none_or(|starting| !starting.may_serve());
        let predecessors = match reads {
            true => self.runtime.reloads.predecessors.all(),
            false => Vec::new(),
        };
        fds.extend(predecessors.iter().map(|one| one.control().as_fd()));
        let signal = self.signals.wait(&fds, until);
        self.waker.iter().for_each(|waker| waker.clear());
        self.act_on(signal);
        if reads {
            for (request, by) in self.runtime.reloads.predecessors.receive() {
                self.carry_out(request, by);
            }
            let (_, draining) = self.runtime.reloads.predecessors.draining();
            let max = self.runtime.limits.while_draining(draining);
            self.runtime.proxy.sessions.limit(max);
        }
        self.receive_from_successor();
    }

    /// Waits for a moment, and takes signals only, while something else is waited for that has no descriptor to poll. Returns false
    /// if the process is to exit at once, which nothing else must delay.
    fn pause(&mut self) -> bool {
        let until = Instant::now() + self.process.times.main_look;
        let signal = self.signals.wait(&[], Some(until));
        self.act_on(signal);
        !self.pending.exit
    }

    /// Pauses until something is written, at most for the patience of a flush.
    fn pause_until(&mut self, is_written: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + self.process.times.flush_patience;
        while !is_written(self) && Instant::now() < deadline && self.pause() {}
    }

    fn act_on(&mut self, signal: io::Result<Option<Signal>>) {
        match signal {
            Ok(Some(Signal::Child)) if self.runtime.reloads.is_watched && !self.is_reloading => {
                self.children.reap();
            }
            Ok(Some(signal)) => {
                if let Some(request) = self.signals.request(signal) {
                    self.carry_out(request, signal.name());
                }
            }
            Ok(None) => {}
            Err(error) => {
                signals::log_failure(&error);
                self.pending.exit = true;
            }
        }
    }

    /// Does what this process is asked for by a signal, or by a predecessor. If its parent watches the service, signals to this
    /// process are meant for the service even after a reload, and are passed on to the process that serves.
    fn carry_out(&mut self, request: Request, by: &'static str) {
        let is_watched = self.runtime.reloads.is_watched;
        if let Some(successor) = self.successor.as_ref().filter(|_| is_watched) {
            let _ = successor.control.send(&Message::Request(request));
        }
        match (request, &self.successor) {
            // The process that serves asks all that drain, this one included.
            (Request::Refresh, Some(_)) if is_watched => {}
            (Request::Refresh, _) => self.refresh(),
            (Request::Status, _) => self.runtime.log(),
            (Request::Reload, None) => self.pending.reload = true,
            (Request::Reload, Some(_)) if is_watched => {}
            (Request::Reload, Some(successor)) => log::warn(
                "reload",
                "received SIGUSR2 in a process that drains; send it to the one that serves",
                &[("process", u64::from(successor.process).into())],
            ),
            (Request::End, _) => {
                self.pending.end.get_or_insert(by);
            }
            (Request::Reset, _) => {
                let fields = [("signal", by.into())];
                log::warn("signal", "received second signal, exiting at once", &fields);
                self.pending.exit = true;
            }
        }
    }

    /// Looks for endpoints again, opens the access log again, and has those that drain do the same.
    fn refresh(&self) {
        log::info("signal", "received SIGHUP, refreshing endpoints", &[]);
        let proxy = &self.runtime.proxy;
        if let Some(access) = &proxy.access {
            access.reopen();
        }
        self.runtime.refreshes.ask();
        proxy.pool.refresh_waker().wake();
        self.runtime.reloads.predecessors.ask(Request::Refresh);
    }

    /// Reads what the process sends that took over.
    fn receive_from_successor(&mut self) {
        while let Some(successor) = &mut self.successor {
            // Another process may have its end of the socket still, such as one that a script has left behind. One that
            // has handed over has not ended before the message of the next was read.
            let has_ended = self.children.exit_status(successor.process).is_some();
            match successor.control.receive() {
                Received::Message(Message::Serving(process)) => {
                    successor.process = process;
                    // The process before it may have reported an older number to it.
                    successor.report(self.runtime.proxy.sessions.count() as u64);
                }
                Received::Message(Message::Request(Request::End)) => {
                    self.pending.end.get_or_insert("passed on");
                }
                Received::Message(Message::Request(Request::Reset)) => self.pending.reset = true,
                Received::Message(Message::Request(Request::Refresh)) => self.refresh(),
                Received::Message(_) => {}
                Received::Nothing if !has_ended => return,
                Received::Nothing | Received::End => {
                    successor.has_ended = true;
                    return;
                }
            }
        }
    }

    /// Starts another process, and waits until it serves; none if the end came first.
    ///
    /// # Errors
    /// Why it does not serve.
    fn reload(&mut self) -> Result<Option<Successor>, String> {
        let program = self.process.program.path().display().to_string();
        let fields = [("program", program.into())];
        log::info("reload", "received SIGUSR2, reloading", &fields);
        let notifier = &self.process.notifier;
        let _ = notifier.send("RELOADING=1\nSTATUS=reloading", || self.pause());
        self.is_reloading = true;
        let successor = self.start_successor();
        self.is_reloading = false;
        if self.runtime.reloads.is_watched {
            // For those that have ended meanwhile there is no other signal.
            self.children.reap();
        }
        successor
    }

    fn start_successor(&mut self) -> Result<Option<Successor>, String> {
        let runtime = Arc::clone(&self.runtime);
        let reloads = &runtime.reloads;
        if reloads.is_watched {
            syscall::adopt_orphans().map_err(|error| {
                format!("cannot watch the new process: {}", OsErrorText(&error))
            })?;
        }
        let clients = self.acceptors.clients.iter();
        let listeners: Vec<&Listener> = clients.map(|(listener, _)| &**listener).collect();
        let metrics = runtime.metrics.as_ref();
        let metrics = metrics.and_then(|metrics| metrics.listener());
        let state = ServiceState {
            is_managed: reloads.is_managed,
            is_watched: reloads.is_watched,
            succeeded: reloads.succeeded,
            failed: reloads.failed(),
            host_limit: runtime.limits.host as u64,
            connections: runtime.proxy.sessions.count() as u64,
        };
        let draining = reloads.predecessors.all();
        let metrics = metrics.as_deref();
        let mut starting =
            Starting::start(&self.process.program, &listeners, metrics, &draining, state)?;
        match self.wait_until_it_serves(&mut starting) {
            Ok(Some(process)) => Ok(Some(starting.into_successor(process))),
            none_or_error => {
                starting.abandon();
                none_or_error.map(|_| None)
            }
        }
    }

    /// Returns the number of the process; none if this one is to end.
    fn wait_until_it_serves(&mut self, starting: &mut Starting) -> Result<Option<u32>, String> {
        let deadline = Instant::now() + self.process.times.reload_patience;
        loop {
            if let Some(process) = starting.receive()? {
                return Ok(Some(process));
            }
            // Once the other process may serve clients, it does so to the end.
            let is_ending = self.pending.end.is_some() && !starting.may_serve();
            if is_ending || self.pending.exit {
                return Ok(None);
            }
            if Instant::now() >= deadline {
                let patience = self.process.times.reload_patience.as_secs_f32();
                return Err(format!("the new process is not ready after {patience} s"));
            }
            self.wait(Some(starting), Some(deadline));
        }
    }

    /// A reload has failed.
    fn continue_without(&mut self, reason: &str) {
        let fields = [("error", reason.into())];
        log::error("reload", "reload failed, continuing", &fields);
        self.runtime.reloads.fail(reason);
        // The other process may have said that it serves.
        self.runtime.reloads.predecessors.announce();
        self.notify_ready();
    }

    /// Another process serves from here on.
    fn hand_over(mut self, successor: Successor) -> ExitCode {
        let runtime = Arc::clone(&self.runtime);
        let (reloads, sessions) = (&runtime.reloads, &runtime.proxy.sessions);
        let process = successor.process;
        let timeout = self.process.config.reload_timeout;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let main = reloads.is_managed.then_some(process);
        notify::handed_over(&self.process.notifier, main, || self.pause());
        // What this process was asked for meanwhile is meant for the service.
        let reload = self.pending.reload.then_some(Request::Reload);
        let end = self.pending.end.map(|_| Request::End);
        for request in reload.into_iter().chain(end) {
            let _ = successor.control.send(&Message::Request(request));
        }
        self.successor = Some(successor);
        log::name_process();
        let mut fields = vec![
            ("successor", u64::from(process).into()),
            ("connections", sessions.count().into()),
        ];
        fields.extend(timeout.map(|timeout| ("timeout_seconds", timeout.into())));
        log::info("reload", "reloaded, draining", &fields);
        let metrics = self.stop_accepting(true);
        reloads.predecessors.clear();
        self.drain(deadline);
        if let Some(successor) = &mut self.successor {
            successor.report(0);
        }
        if !self.pending.exit && !self.service_has_ended() {
            if let Some(metrics) = metrics {
                let deadline = Instant::now() + self.process.times.accept_patience;
                join(metrics, deadline, || self.pause());
            }
            if !reloads.is_watched {
                return self.stopped();
            }
            if self.pending.end.is_none() {
                self.become_the_watcher();
            }
        }
        while !self.pending.exit {
            if self.service_has_ended() {
                return self.end_with_the_service();
            }
            self.wait(None, None);
        }
        self.exit_at_once()
    }

    /// Whether the process that took over, or a later one, has ended.
    fn service_has_ended(&self) -> bool {
        let successor = self.successor.as_ref();
        successor.is_some_and(|successor| successor.has_ended)
    }

    /// Makes this process, which has drained, only the watcher of the one that serves. Returns if that is not possible.
    fn become_the_watcher(&mut self) {
        let Some(successor) = &self.successor else {
            return;
        };
        let fields = [("process", u64::from(successor.process).into())];
        log::info(
            "reload",
            "drained, watching the process that serves",
            &fields,
        );
        self.pause_until(|own| own.has_written_access_log(Duration::ZERO));
        self.flush_access_log(Duration::ZERO);
        self.pause_until(|_| log::flush(Duration::ZERO));
        // How a process has ended that was noted here would not be known there. Signals that come now wait.
        let Some(successor) = &self.successor else {
            return;
        };
        let is_to_stay = self.pending.end.is_some() || self.pending.exit;
        if !is_to_stay && self.children.exit_status(successor.process).is_none() {
            handover::execute(&self.process.program, &successor.control, successor.process);
        }
    }

    /// The process that serves has ended, and so do those that drain, so that the manager or the parent sees that the service has
    /// ended, and starts it again.
    fn end_with_the_service(mut self) -> ExitCode {
        let sessions = &self.runtime.proxy.sessions;
        let left = sessions.count();
        if left > 0 {
            log::error(
                "reload",
                "the process that serves has ended, resetting connections",
                &[("connections", left.into())],
            );
            sessions.reset_all();
        }
        self.stopped();
        self.status_of_successor().unwrap_or(ExitCode::FAILURE)
    }

    /// How the process has ended that served last, if the parent of this process waits for that.
    fn status_of_successor(&mut self) -> Option<ExitCode> {
        let is_watched = self.runtime.reloads.is_watched;
        let successor = self.successor.as_ref().filter(|_| is_watched)?;
        let patience = self.process.times.flush_patience;
        Some(self.children.wait_for(successor.process, patience).into())
    }

    /// Ends the service.
    fn end(mut self, signal: &'static str) -> ExitCode {
        let timeout = self.process.config.drain_timeout;
        let deadline = Instant::now().checked_add(timeout);
        let runtime = Arc::clone(&self.runtime);
        let predecessors = &runtime.reloads.predecessors;
        let open = runtime.proxy.sessions.count();
        // A drain may be longer than the manager's patience with a stop.
        let extension = timeout.saturating_add(STOP_MARGIN).as_micros();
        let state = format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={extension}\nSTATUS=draining, {open} connections open"
        );
        let _ = self.process.notifier.send(&state, || self.pause());
        predecessors.ask(Request::End);
        self.stop_accepting(false);
        log::info(
            "gateway",
            "received signal, draining",
            &[
                ("signal", signal.into()),
                ("connections", open.into()),
                ("timeout_seconds", timeout.into()),
            ],
        );
        if self.drain(deadline) {
            // Each has a time of its own, by the settings that it was started with.
            predecessors.ask(Request::Reset);
            let patience = Instant::now() + self.process.times.accept_patience;
            while predecessors.draining().0 > 0 && Instant::now() < patience && !self.pending.exit {
                self.wait(None, Some(patience));
            }
        }
        if self.pending.exit {
            return self.exit_at_once();
        }
        self.stopped()
    }

    /// See [`Acceptors::stop`].
    fn stop_accepting(&mut self, handed_over: bool) -> Option<JoinHandle<()>> {
        self.runtime.threads.close();
        let deadline = Instant::now() + self.process.times.accept_patience;
        let acceptors = std::mem::take(&mut self.acceptors);
        let metrics = acceptors.stop(handed_over, deadline, || self.pause());
        self.runtime.zones.clear();
        metrics
    }

    /// Waits until sessions are over, here and in processes that drain, at most until `deadline`. Those that are left here then are
    /// reset. Returns early if the process is to exit or the service has ended. Returns whether the deadline has passed.
    fn drain(&mut self, mut deadline: Option<Instant>) -> bool {
        let runtime = Arc::clone(&self.runtime);
        let sessions = &runtime.proxy.sessions;
        // The listeners that were closed have left descriptors for it. Without it sessions are counted at intervals.
        self.waker = Waker::new().ok().map(Arc::new);
        let interval = self
            .waker
            .is_none()
            .then_some(self.process.times.poll_pause);
        if let Some(waker) = &self.waker {
            sessions.wake_at_each_end(waker);
        }
        let mut is_ending = false;
        loop {
            let (now, open) = (Instant::now(), sessions.count());
            let is_over = open == 0 && runtime.reloads.predecessors.draining().0 == 0;
            if is_over || self.pending.exit || self.service_has_ended() {
                return false;
            }
            if self.pending.reset || deadline.is_some_and(|deadline| now >= deadline) {
                if open > 0 {
                    log::warn(
                        "gateway",
                        "drain timeout, resetting connections",
                        &[("connections", open.into())],
                    );
                    sessions.reset_all();
                }
                return true;
            }
            let mut due = None;
            if let Some(successor) = &mut self.successor {
                if self.pending.end.is_some() && !is_ending {
                    is_ending = true;
                    let end = now.checked_add(self.process.config.drain_timeout);
                    deadline = deadline.into_iter().chain(end).min();
                }
                due = successor.report_change(open as u64, self.process.times.drain_report);
            }
            let look = interval.map(|interval| now + interval);
            let until = deadline.into_iter().chain(due).chain(look).min();
            self.wait(None, until);
        }
    }

    /// Ends the process, and every session with a reset.
    fn exit_at_once(mut self) -> ExitCode {
        self.runtime.reloads.predecessors.ask(Request::Reset);
        self.runtime.proxy.sessions.reset_all();
        self.flush_access_log(self.process.times.flush_patience);
        // The parent may start the service again as soon as this process ends.
        self.status_of_successor();
        ExitCode::FAILURE
    }

    /// Logs the end of a process that has drained. A second signal has no effect from here on.
    fn stopped(&self) -> ExitCode {
        self.flush_access_log(self.process.times.flush_patience);
        let rejected = self.runtime.proxy.rejected();
        log::info("gateway", "stopped", &[("rejected", rejected.into())]);
        ExitCode::SUCCESS
    }

    fn flush_access_log(&self, patience: Duration) {
        if !self.has_written_access_log(patience) {
            log::warn("access", "ended before the access log was written", &[]);
        }
    }

    fn has_written_access_log(&self, patience: Duration) -> bool {
        let access = self.runtime.proxy.access.as_ref();
        access.is_none_or(|access| access.flush(patience))
    }
}
