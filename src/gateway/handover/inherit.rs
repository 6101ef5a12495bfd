//! The start of a process: what it is started for, and what it inherits.
//!
//! Descriptors are taken only if the kernel says that the named process has made the control socket: a variable that was left
//! behind, or was copied from another process, fails the start.

use std::net::TcpListener;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::sync::Arc;

use super::control::{Control, Message, Received, ServiceState, pass_on};
use super::predecessors::Predecessor;
use super::role::{Role, VARIABLE, parse, value};
use super::watcher;
use crate::sys::OsErrorText;
use crate::sys::activation::{self, Inherited};
use crate::sys::program::Program;
use crate::sys::syscall::{self, PollFd};

/// What a successor has from the process that still serves.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(super) predecessor: Arc<Predecessor>,
    /// Those that drain already, the oldest first.
    pub(super) draining: Vec<Arc<Predecessor>>,
    /// Listeners of the service.
    pub(crate) listeners: Vec<TcpListener>,
    /// Those that a service manager has passed.
    pub(crate) passed: Vec<Inherited>,
    pub(crate) metrics: Option<TcpListener>,
    pub(crate) state: ServiceState,
}

/// Finds out what this process is started for. Breaks with its exit status if that is done; otherwise the process is to serve, as
/// a successor if there is a [`Handover`]. To be called before the process opens any descriptor.
///
/// # Errors
/// If the variable is not meant for this process.
pub(crate) fn begin() -> Result<ControlFlow<ExitCode, Option<Handover>>, String> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(ControlFlow::Continue(None));
    };
    let wrong = |reason: &str| {
        format!(
            "{VARIABLE}={}: {reason}; only a gateway that reloads sets it: unset it",
            text.display()
        )
    };
    let Some((role, process, numbers)) = parse(&text) else {
        return Err(wrong("is not understood"));
    };
    let taken = syscall::take_inherited(numbers.iter().copied())
        .map_err(|(fd, error)| wrong(&format!("descriptor {fd}: {}", OsErrorText(&error))))?;
    let mut taken: Vec<(RawFd, OwnedFd)> = numbers.iter().copied().zip(taken).collect();
    if taken.is_empty() {
        return Err(wrong("names no descriptor"));
    }
    let control = Control::inherited(taken.remove(0).1);
    let maker = match role {
        // The pair was made before this process executed the program again.
        Role::Watch => std::process::id(),
        Role::Start | Role::Serve => process,
    };
    if control.maker().ok() != Some(maker) {
        let reason = format!("process {maker} has not passed its first descriptor");
        return Err(wrong(&reason));
    }
    match role {
        Role::Start => {
            // They stay open in the successor, and this process is about to end.
            let value = value(Role::Serve, process, &numbers);
            Ok(ControlFlow::Break(start(&value, &control)))
        }
        Role::Watch => {
            let _ = pass_on(control.as_fd(), false);
            syscall::block_signals().map_err(|error| wrong(&OsErrorText(&error).to_string()))?;
            Ok(ControlFlow::Break(watcher::watch(&control, process)))
        }
        Role::Serve => match inherit(control, process, taken) {
            Ok(handover) => Ok(ControlFlow::Continue(Some(handover))),
            Err(reason) => Err(wrong(&reason)),
        },
    }
}

/// Starts the successor.
fn start(value: &str, control: &Control) -> ExitCode {
    let program = Program::of_this_process();
    match program.command().env(VARIABLE, value).spawn() {
        Ok(child) => {
            let _ = control.send(&Message::Started(child.id()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let path = program.path().display();
            let text = format!("{path}: cannot be started: {}", OsErrorText(&error));
            let _ = control.send(&Message::Failed(text));
            ExitCode::FAILURE
        }
    }
}

/// Takes what was handed over, as the messages say that wait in the socket.
fn inherit(
    control: Control,
    process: u32,
    mut taken: Vec<(RawFd, OwnedFd)>,
) -> Result<Handover, String> {
    let unusable = |error: std::io::Error| OsErrorText(&error).to_string();
    pass_on(control.as_fd(), false).map_err(unusable)?;
    let mut draining = Vec::new();
    let mut listeners = Vec::new();
    let mut passed = Vec::new();
    let mut metrics = None;
    let mut take = |number: RawFd| {
        let index = taken.iter().position(|(known, _)| *known == number);
        let index = index.ok_or_else(|| format!("descriptor {number} was not passed"))?;
        Ok::<_, String>(taken.swap_remove(index).1)
    };
    let listener = |number: RawFd, fd: OwnedFd| {
        let inherited = activation::listening(fd);
        inherited.map_err(|flaw| format!("descriptor {number} is not a listener: {flaw}"))
    };
    loop {
        match control.receive() {
            Received::Message(Message::Listener(fd)) => {
                listeners.push(listener(fd, take(fd)?)?.listener);
            }
            Received::Message(Message::Passed(fd)) => passed.push(listener(fd, take(fd)?)?),
            Received::Message(Message::Metrics(fd)) => {
                metrics = Some(listener(fd, take(fd)?)?.listener);
            }
            Received::Message(Message::Draining {
                fd,
                process,
                is_watched,
                connections,
            }) => {
                let control = Control::inherited(take(fd)?);
                pass_on(control.as_fd(), false).map_err(unusable)?;
                let one = Predecessor::new(control, process, is_watched, connections);
                draining.push(Arc::new(one));
            }
            Received::Message(Message::Service(state)) => {
                let (is_watched, connections) = (state.is_watched, state.connections);
                let predecessor = Predecessor::new(control, process, is_watched, connections);
                return Ok(Handover {
                    predecessor: Arc::new(predecessor),
                    draining,
                    listeners,
                    passed,
                    metrics,
                    state,
                });
            }
            Received::Message(_) => {}
            Received::Nothing => return Err("its socket does not say what was passed".to_owned()),
            Received::End => return Err(format!("process {process} has ended")),
        }
    }
}

impl Handover {
    /// The process that still serves.
    pub(crate) fn process(&self) -> u32 {
        self.predecessor.process
    }

    /// Reports why this process cannot take over.
    pub(crate) fn fail(&self, reason: &str) {
        // A process that does not read it sees this one end.
        let failed = Message::Failed(reason.to_owned());
        let _ = self.predecessor.control().send(&failed);
    }

    /// Says that this process is ready, and waits until it is to serve. False if the other process has ended, or has changed
    /// its mind: it serves then, and this process must not.
    pub(crate) fn take_over(&self) -> bool {
        let control = self.predecessor.control();
        if control.send(&Message::Ready).is_err() {
            return false;
        }
        loop {
            match control.receive() {
                Received::Message(Message::Serve) => return true,
                Received::Message(_) => {}
                Received::End => return false,
                Received::Nothing => {
                    let mut fds = [PollFd::readable(control.as_fd())];
                    if syscall::wait(&mut fds, None).is_err() {
                        return false;
                    }
                }
            }
        }
    }
}
