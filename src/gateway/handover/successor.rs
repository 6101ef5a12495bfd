//! The process that takes over, as the one sees it that starts it.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::VARIABLE;
use super::control::{Control, Item, Message, Received, Request, pass_on};
use super::inherit::value;
use super::predecessors::Predecessor;
use crate::proxy::listener::Listener;
use crate::sys::program::Program;
use crate::sys::{Plain, memory, syscall};

/// Variables that are about the process that a service manager has started, and no other.
const OF_ONE_PROCESS: [&str; 5] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
];

/// Bytes of memory that it takes to start a process.
const ROOM: usize = 256 * 1024;

/// What a successor is given.
pub(in crate::gateway) struct Supply<'a> {
    pub(in crate::gateway) listeners: Vec<&'a Listener>,
    pub(in crate::gateway) metrics: Option<&'a TcpListener>,
    pub(in crate::gateway) draining: Vec<Arc<Predecessor>>,
    pub(in crate::gateway) is_managed: bool,
    pub(in crate::gateway) is_watched: bool,
    pub(in crate::gateway) succeeded: u64,
    pub(in crate::gateway) failed: u64,
    pub(in crate::gateway) host: usize,
    pub(in crate::gateway) connections: usize,
}

/// A process that was started and does not serve yet. Dropped, it is ended.
#[derive(Debug)]
pub(in crate::gateway) struct Starting {
    /// Taken when it is a successor.
    control: Option<Control>,
    /// What starts the process, until that has ended.
    starter: Option<Child>,
    /// The process itself, once it is known.
    process: Option<u32>,
    step: Step,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Starts,
    /// It has said that it can serve.
    Ready,
    /// It was told to.
    Told,
    /// It has said that it does.
    Serves,
}

/// A process that took over.
#[derive(Debug)]
pub(in crate::gateway) struct Successor {
    control: Control,
    /// The process that serves now: this one, or a later one.
    process: AtomicU32,
}

/// What the process that serves says to one that drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Said {
    Asked(Request),
    /// Another process serves now.
    Serves(u32),
    /// It has ended.
    Ended,
}

impl Starting {
    /// Starts the program that is in its place now.
    ///
    /// # Errors
    /// Why that is not possible, in words.
    pub(in crate::gateway) fn start(
        program: &Program,
        supply: &Supply<'_>,
    ) -> Result<Self, String> {
        let refused = |error: std::io::Error| Plain(&error).to_string();
        memory::room(ROOM).map_err(refused)?;
        let (near, far) = Control::pair().map_err(refused)?;
        let items = supply.items();
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(far.as_fd())
            .chain(items.iter().map(|(fd, _)| *fd))
            .collect();
        for (_, item) in &items {
            near.send(&Message::Item(*item))
                .map_err(|error| match error.kind() {
                    // They wait in the socket until the new process reads them.
                    ErrorKind::WouldBlock => "more listeners than can be handed over".to_owned(),
                    _ => refused(error),
                })?;
        }
        let service = Message::Service {
            is_managed: supply.is_managed,
            is_watched: supply.is_watched,
            succeeded: supply.succeeded,
            failed: supply.failed,
            host: supply.host as u64,
            connections: supply.connections as u64,
        };
        near.send(&service).map_err(refused)?;
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut command = program.command();
        command.env(VARIABLE, value("start", std::process::id(), &numbers));
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
            format!("{path}: cannot be started: {}", Plain(&error))
        })?;
        Ok(Self {
            control: Some(near),
            starter: Some(starter),
            process: None,
            step: Step::Starts,
        })
    }

    /// What to watch for reading.
    pub(in crate::gateway) fn control(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// Reads what it has said, and tells it to serve as soon as it is ready. Whether it serves: one that ends before that has
    /// taken over nothing.
    ///
    /// # Errors
    /// Why it will not.
    pub(in crate::gateway) fn hear(&mut self) -> Result<bool, String> {
        let Some(control) = &self.control else {
            return Ok(false);
        };
        loop {
            match control.receive() {
                // The process may say that it is ready before the one that started it says which it is.
                Received::Nothing if self.step == Step::Ready && self.process.is_some() => {
                    // If it has ended, that is the next thing it says.
                    let _ = control.send(&Message::Serve);
                    self.step = Step::Told;
                }
                Received::Nothing => return Ok(self.step == Step::Serves),
                Received::Message(Message::Ready) => self.step = Step::Ready,
                Received::Message(Message::Serving(_)) => self.step = Step::Serves,
                Received::Message(Message::Failed(reason)) => return Err(reason),
                Received::Message(Message::Started(process)) => self.process = Some(process),
                Received::Message(_) => {}
                Received::End => return Err(self.how_it_ended()),
            }
        }
    }

    /// Whether it serves, or may do so the next moment.
    pub(in crate::gateway) fn is_told(&self) -> bool {
        matches!(self.step, Step::Told | Step::Serves)
    }

    /// It ends by itself as soon as it has started the process. What does not, such as a script in its place, is not waited for.
    fn end_starter(&mut self) -> Option<ExitStatus> {
        let mut starter = self.starter.take()?;
        // The status of one that is ending stays as it is.
        let _ = starter.kill();
        starter.wait().ok()
    }

    fn how_it_ended(&mut self) -> String {
        let status = self.end_starter();
        match (self.process, status) {
            (None, Some(status)) if !status.success() => {
                format!("the new process has ended with {}", words(status))
            }
            _ => "the new process has ended before it was ready".to_owned(),
        }
    }

    /// The process that serves; none if it does not.
    pub(in crate::gateway) fn into_successor(mut self) -> Option<Successor> {
        if self.step != Step::Serves {
            return None;
        }
        self.end_starter();
        let process = self.process?;
        let control = self.control.take()?;
        Some(Successor {
            control,
            process: process.into(),
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // Before the rest is heard: it may have started the process just now.
        self.end_starter();
        let Some(control) = self.control.take() else {
            return;
        };
        loop {
            match control.receive() {
                Received::Message(Message::Started(process)) => self.process = Some(process),
                Received::Message(_) => {}
                Received::Nothing => break,
                // Its number may be another's by now.
                Received::End => return,
            }
        }
        // One that is not known finds that nobody has the other end of its socket any more.
        if let Some(process) = self.process {
            let _ = syscall::end_process(process);
        }
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

impl<'a> Supply<'a> {
    /// Each descriptor, and what it is.
    fn items(&'a self) -> Vec<(BorrowedFd<'a>, Item)> {
        let listeners = self.listeners.iter().map(|listener| {
            let fd = listener.as_fd();
            let item = match listener.is_passed {
                true => Item::Passed(fd.as_raw_fd()),
                false => Item::Listener(fd.as_raw_fd()),
            };
            (fd, item)
        });
        let metrics = self.metrics.iter().map(|listener| {
            let fd = listener.as_fd();
            (fd, Item::Metrics(fd.as_raw_fd()))
        });
        let draining = self.draining.iter().map(|draining| {
            let item = Item::Draining {
                fd: draining.control().number(),
                process: draining.process,
                is_watched: draining.is_watched,
                connections: draining.connections.load(Ordering::Relaxed),
            };
            (draining.control().as_fd(), item)
        });
        listeners.chain(metrics).chain(draining).collect()
    }
}

impl Successor {
    /// The process that serves now.
    pub(in crate::gateway) fn process(&self) -> u32 {
        self.process.load(Ordering::Relaxed)
    }

    /// The socket to the process that serves.
    pub(in crate::gateway) fn control(&self) -> &Control {
        &self.control
    }

    /// Tells it how many connections are left here.
    pub(in crate::gateway) fn tell_connections(&self, count: usize) {
        let _ = self.control.send(&Message::Connections(count as u64));
    }

    /// Asks it for something.
    pub(in crate::gateway) fn ask(&self, request: Request) {
        let _ = self.control.send(&Message::Request(request));
    }

    /// What it has said next, if anything.
    pub(in crate::gateway) fn hear(&self) -> Option<Said> {
        loop {
            match self.control.receive() {
                Received::Nothing => return None,
                Received::End => return Some(Said::Ended),
                Received::Message(Message::Request(request)) => return Some(Said::Asked(request)),
                Received::Message(Message::Serving(process)) => {
                    self.process.store(process, Ordering::Relaxed);
                    return Some(Said::Serves(process));
                }
                Received::Message(_) => {}
            }
        }
    }
}
