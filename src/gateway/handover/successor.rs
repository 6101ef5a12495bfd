//! The process that takes over, as seen by the one that starts it.

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::{Control, Message, Received, ServiceState, pass_on};
use super::predecessors::Predecessor;
use super::role::{Role, VARIABLE, value};
use crate::proxy::listener::Listener;
use crate::sys::program::Program;
use crate::sys::{OsErrorText, memory, syscall};

/// Variables that are about the process that a service manager has started, and no other.
const OF_ONE_PROCESS: [&str; 5] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
];

/// Bytes of memory that it takes to start a process.
const MEMORY: usize = 256 * 1024;

/// A process that was started and does not serve yet.
#[derive(Debug)]
pub(crate) struct Starting {
    control: Control,
    /// What starts the process, and ends then.
    starter: Child,
    /// The process itself, once it is known.
    process: Option<u32>,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Started,
    /// It is ready to serve.
    Ready,
    /// It was asked to serve, so it may do so at any moment.
    MayServe,
    /// It has said that it serves.
    Serves,
}

impl Starting {
    /// Starts the program that is at its path now, and hands over these sockets.
    ///
    /// # Errors
    /// Why that is not possible, in words.
    pub(crate) fn start(
        program: &Program,
        listeners: &[&Listener],
        metrics: Option<&TcpListener>,
        draining: &[Arc<Predecessor>],
        state: ServiceState,
    ) -> Result<Self, String> {
        let refused = |error: io::Error| OsErrorText(&error).to_string();
        memory::room(MEMORY).map_err(refused)?;
        let (near, far) = Control::pair().map_err(refused)?;
        let mut fds: Vec<BorrowedFd<'_>> = vec![far.as_fd()];
        let mut messages = Vec::new();
        for listener in listeners {
            let fd = listener.as_fd();
            fds.push(fd);
            messages.push(match listener.is_passed {
                true => Message::Passed(fd.as_raw_fd()),
                false => Message::Listener(fd.as_raw_fd()),
            });
        }
        if let Some(metrics) = metrics {
            fds.push(metrics.as_fd());
            messages.push(Message::Metrics(metrics.as_raw_fd()));
        }
        for one in draining {
            fds.push(one.control().as_fd());
            messages.push(Message::Draining {
                fd: one.control().number(),
                process: one.process,
                is_watched: one.is_watched,
                connections: one.connections(),
            });
        }
        messages.push(Message::Service(state));
        for message in &messages {
            near.send(message).map_err(|error| match error.kind() {
                // They wait in the socket until the new process reads them.
                ErrorKind::WouldBlock => "more listeners than can be handed over".to_owned(),
                _ => refused(error),
            })?;
        }
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut command = program.command();
        command.env(VARIABLE, value(Role::Start, std::process::id(), &numbers));
        for name in OF_ONE_PROCESS {
            command.env_remove(name);
        }
        // No other thread starts a program meanwhile.
        let passed = fds.iter().try_for_each(|fd| pass_on(*fd, true));
        let started = passed.and_then(|()| command.spawn());
        for fd in &fds {
            let _ = pass_on(*fd, false);
        }
        let starter = started.map_err(|error| {
            let path = program.path().display();
            format!("{path}: cannot be started: {}", OsErrorText(&error))
        })?;
        Ok(Self {
            control: near,
            starter,
            process: None,
            step: Step::Started,
        })
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Reads what it has sent, and asks it to serve as soon as it is ready. Returns its number once it serves: one that ends
    /// before that has taken over nothing.
    ///
    /// # Errors
    /// Why it will not.
    pub(crate) fn receive(&mut self) -> Result<Option<u32>, String> {
        loop {
            match self.control.receive() {
                Received::Nothing => {
                    // The process may say that it is ready before the one that started it says which it is.
                    if self.step == Step::Ready && self.process.is_some() {
                        // If it has ended, that is read next.
                        let _ = self.control.send(&Message::Serve);
                        self.step = Step::MayServe;
                        continue;
                    }
                    return Ok(self.process.filter(|_| self.step == Step::Serves));
                }
                Received::Message(Message::Ready) => self.step = Step::Ready,
                Received::Message(Message::Serving(_)) if self.step == Step::MayServe => {
                    self.step = Step::Serves;
                }
                Received::Message(Message::Failed(reason)) => return Err(reason),
                Received::Message(Message::Started(process)) => self.process = Some(process),
                Received::Message(_) => {}
                Received::End => {
                    let status = self.end_starter();
                    return Err(match (self.process, status) {
                        (None, Some(status)) if !status.success() => {
                            format!("the new process has ended with {status}")
                        }
                        _ => "the new process has ended before it was ready".to_owned(),
                    });
                }
            }
        }
    }

    /// Whether it was asked to serve, so that it may do so at any moment.
    pub(crate) fn may_serve(&self) -> bool {
        matches!(self.step, Step::MayServe | Step::Serves)
    }

    /// It ends by itself as soon as it has started the process. What does not, such as a script in its place, is not waited for.
    fn end_starter(&mut self) -> Option<ExitStatus> {
        // The status of one that is ending stays as it is.
        let _ = self.starter.kill();
        self.starter.wait().ok()
    }

    /// The process serves.
    pub(crate) fn into_successor(mut self, process: u32) -> Successor {
        self.end_starter();
        Successor {
            control: self.control,
            process,
            reported: None,
            has_ended: false,
        }
    }

    /// The process is not to serve: ends it.
    pub(crate) fn abandon(mut self) {
        // Before the rest is read: it may have started the process just now.
        self.end_starter();
        loop {
            match self.control.receive() {
                Received::Message(Message::Started(process)) => self.process = Some(process),
                Received::Message(_) => {}
                Received::Nothing => break,
                // Its number may be another's by now.
                Received::End => return,
            }
        }
        // One that is not known finds that the other end of its socket is closed.
        if let Some(process) = self.process {
            let _ = syscall::end_process(process);
        }
    }
}

/// A process that took over.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) control: Control,
    /// The process that serves now: that one, or a later one.
    pub(crate) process: u32,
    /// How many connections were reported to it last, and when.
    reported: Option<(u64, Instant)>,
    /// The process that serves has ended.
    pub(crate) has_ended: bool,
}

impl Successor {
    /// Reports how many connections are left here.
    pub(crate) fn report(&mut self, connections: u64) {
        // If it has ended, the next read of the socket shows that.
        let _ = self.control.send(&Message::Connections(connections));
        self.reported = Some((connections, Instant::now()));
    }

    /// The same if the number has changed, but not more often than at this interval. Returns when it is due, if it is not yet.
    pub(crate) fn report_change(
        &mut self,
        connections: u64,
        interval: Duration,
    ) -> Option<Instant> {
        if let Some((reported, at)) = self.reported {
            let due = at + interval;
            if reported == connections {
                return None;
            }
            if Instant::now() < due {
                return Some(due);
            }
        }
        self.report(connections);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ends_as_soon_as_it_serves_has_taken_over_nothing() {
        for ends in [false, true] {
            let (control, far) = Control::pair().unwrap();
            let starter = std::process::Command::new("true").spawn().unwrap();
            let mut starting = Starting {
                control,
                starter,
                process: None,
                step: Step::Started,
            };
            far.send(&Message::Started(7)).unwrap();
            far.send(&Message::Ready).unwrap();
            assert_eq!(starting.receive(), Ok(None));
            assert!(starting.may_serve());
            assert_eq!(far.receive(), Received::Message(Message::Serve));
            far.send(&Message::Serving(7)).unwrap();
            if ends {
                far.hang_up();
                let error = starting.receive().unwrap_err();
                assert!(error.contains("has ended"), "{error}");
            } else {
                assert_eq!(starting.receive(), Ok(Some(7)));
                starting.end_starter();
            }
        }
    }

    #[test]
    fn connections_are_reported_when_they_change_and_not_too_often() {
        let (control, far) = Control::pair().unwrap();
        let mut successor = Successor {
            control,
            process: 1,
            reported: None,
            has_ended: false,
        };
        let hour = Duration::from_secs(3600);
        let mut report = |count, interval| successor.report_change(count, interval);
        assert_eq!(report(5, hour), None);
        assert_eq!(far.receive(), Received::Message(Message::Connections(5)));
        assert_eq!(report(5, hour), None);
        assert!(report(4, hour).is_some());
        assert_eq!(far.receive(), Received::Nothing);
        assert_eq!(report(3, Duration::ZERO), None);
        assert_eq!(far.receive(), Received::Message(Message::Connections(3)));
    }
}
