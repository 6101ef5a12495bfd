//! What a process is at its start, by the variable `GATEWAY_HANDOVER`, and what it inherits.
//!
//! | value | this process |
//! |---|---|
//! | none | begins a service |
//! | `1:start:PROCESS:FD[,FD...]` | starts the successor of a process, and ends |
//! | `1:serve:PROCESS:FD[,FD...]` | is the successor |
//! | `1:watch:PROCESS:FD` | only watches PROCESS, which serves (`watcher`) |
//!
//! 1 is the version of all this. The first descriptor is the control socket; what the others are comes by it.
//! Descriptors are taken only if the kernel says that the named process has made that socket: a variable that was left behind, or
//! was copied from another process, fails the start.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use super::control::{Control, Item, Message, Received, pass_on};
use super::predecessors::Predecessor;
use super::{VARIABLE, watcher};
use crate::sync::lock;
use crate::sys::Plain;
use crate::sys::activation::{self, Inherited};
use crate::sys::program::Program;
use crate::sys::syscall::{self, PollFd};

/// What a process does, as far as it is known at its start.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It serves, as the successor of another process or as the first.
    Serves(Option<Handover>),
    /// It has done all it was started for.
    Done(ExitCode),
}

/// What a successor has from the process that serves still.
#[derive(Debug)]
pub(crate) struct Handover {
    /// To that process.
    pub(super) predecessor: Arc<Predecessor>,
    teller: Teller,
    /// Those that drain already, the oldest first.
    pub(super) draining: Vec<Arc<Predecessor>>,
    /// Listeners of the service.
    pub(super) listeners: Vec<TcpListener>,
    /// Those that a service manager has passed.
    pub(in crate::gateway) passed: Vec<Inherited>,
    pub(super) metrics: Option<TcpListener>,
    /// Whether a service manager is told which process serves.
    pub(super) is_managed: bool,
    /// How many reloads succeeded before this one, and how many failed.
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// How many connections the host bears, as it was known before the processes that drain now had theirs.
    pub(in crate::gateway) host: usize,
}

/// The value of the variable for a process that does `what`.
pub(crate) fn value(what: &str, process: u32, descriptors: &[RawFd]) -> String {
    let numbers: Vec<String> = descriptors.iter().map(ToString::to_string).collect();
    format!("1:{what}:{process}:{}", numbers.join(","))
}

/// Finds out what this process is, and does it if it is not to serve. To be called before the process opens any descriptor.
///
/// # Errors
/// If the variable is not meant for this process.
pub(crate) fn begin() -> Result<Begun, String> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(Begun::Serves(None));
    };
    let wrong = |reason: &str| {
        format!(
            "{VARIABLE}={}: {reason}; only a gateway that reloads sets it: unset it",
            text.display()
        )
    };
    let Some((what, process, numbers)) = parse(&text) else {
        return Err(wrong("is not understood"));
    };
    let taken = syscall::take_inherited(numbers.iter().copied())
        .map_err(|(fd, error)| wrong(&format!("descriptor {fd}: {}", Plain(&error))))?;
    let mut taken: Vec<(RawFd, Option<OwnedFd>)> = numbers
        .into_iter()
        .zip(taken.into_iter().map(Some))
        .collect();
    let control = taken.first_mut().and_then(|(_, fd)| fd.take());
    let control = Control::inherited(control.ok_or_else(|| wrong("names no descriptor"))?);
    let expected = match what {
        // The pair was made before this process executed the program anew.
        What::Watch => std::process::id(),
        What::Start | What::Serve => process,
    };
    if !control.maker().is_ok_and(|maker| maker == expected) {
        let reason = format!("process {expected} has not passed its first descriptor");
        return Err(wrong(&reason));
    }
    let program = Program::of_this_process();
    match what {
        What::Start => {
            // They stay open in the successor, and end with this process here.
            let all = taken.iter().map(|(number, _)| *number);
            let value = value("serve", process, &all.collect::<Vec<_>>());
            Ok(Begun::Done(start(&program, &value, &control)))
        }
        What::Watch => {
            let _ = pass_on(control.as_fd(), false);
            syscall::block_signals().map_err(|error| wrong(&Plain(&error).to_string()))?;
            Ok(Begun::Done(watcher::watch(&control, process)))
        }
        What::Serve => {
            let handover = inherit(control, process, taken).map_err(|reason| wrong(&reason))?;
            Ok(Begun::Serves(Some(handover)))
        }
    }
}

/// Starts the successor.
fn start(program: &Program, value: &str, control: &Control) -> ExitCode {
    match program.command().env(VARIABLE, value).spawn() {
        Ok(child) => {
            let _ = control.send(&Message::Started(child.id()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let path = program.path().display();
            let text = format!("{path}: cannot be started: {}", Plain(&error));
            let _ = control.send(&Message::Failed(text));
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Start,
    Serve,
    Watch,
}

/// What a process does, for which other, and the descriptors.
pub(crate) fn parse(text: &OsStr) -> Option<(What, u32, Vec<RawFd>)> {
    let words: Vec<&str> = text.to_str()?.split(':').collect();
    let ["1", what, process, numbers] = words.as_slice() else {
        return None;
    };
    let what = match *what {
        "start" => What::Start,
        "serve" => What::Serve,
        "watch" => What::Watch,
        _ => return None,
    };
    let numbers = numbers.split(',').map(|number| number.parse().ok());
    Some((what, process.parse().ok()?, numbers.collect::<Option<_>>()?))
}

/// Takes what was handed over, as the messages say that wait in the socket.
fn inherit(
    control: Control,
    process: u32,
    mut taken: Vec<(RawFd, Option<OwnedFd>)>,
) -> Result<Handover, String> {
    let unusable = |error: std::io::Error| Plain(&error).to_string();
    pass_on(control.as_fd(), false).map_err(unusable)?;
    let mut draining = Vec::new();
    let mut listeners = Vec::new();
    let mut passed = Vec::new();
    let mut metrics = None;
    let mut take = |number: RawFd| {
        let mut others = taken.iter_mut();
        let found = others.find(|(known, fd)| *known == number && fd.is_some());
        let fd = found.and_then(|(_, fd)| fd.take());
        fd.ok_or_else(|| format!("descriptor {number} was not passed"))
    };
    let listener = |number: RawFd, fd: OwnedFd| {
        let inherited = activation::listening(fd);
        inherited.map_err(|flaw| format!("descriptor {number} is not a listener: {flaw}"))
    };
    loop {
        match control.receive() {
            Received::Message(Message::Item(item)) => match item {
                Item::Listener(number) => {
                    listeners.push(listener(number, take(number)?)?.listener);
                }
                Item::Passed(number) => {
                    passed.push(listener(number, take(number)?)?);
                }
                Item::Metrics(number) => {
                    metrics = Some(listener(number, take(number)?)?.listener);
                }
                Item::Draining {
                    fd,
                    process,
                    is_watched,
                    connections,
                } => {
                    let control = Control::inherited(take(fd)?);
                    pass_on(control.as_fd(), false).map_err(unusable)?;
                    let one = Predecessor::new(control, process, is_watched, connections);
                    draining.push(Arc::new(one));
                }
            },
            Received::Message(Message::Service {
                is_managed,
                is_watched,
                succeeded,
                failed,
                host,
                connections,
            }) => {
                let predecessor = Predecessor::new(control, process, is_watched, connections);
                let predecessor = Arc::new(predecessor);
                return Ok(Handover {
                    teller: Teller::new(&predecessor),
                    predecessor,
                    draining,
                    listeners,
                    passed,
                    metrics,
                    is_managed,
                    succeeded,
                    failed,
                    host: usize::try_from(host).unwrap_or(usize::MAX),
                });
            }
            Received::Message(_) => {}
            Received::Nothing => return Err("its socket does not say what was passed".to_owned()),
            Received::End => return Err(format!("process {process} has ended")),
        }
    }
}

/// What a process that is to take over says to the one that serves still. Once this one serves, there is nothing to say, and the
/// socket is not kept: its end tells those that drain that the process which serves has ended.
#[derive(Debug, Clone)]
pub(crate) struct Teller(Arc<Mutex<Option<Arc<Predecessor>>>>);

impl Teller {
    fn new(predecessor: &Arc<Predecessor>) -> Self {
        Self(Arc::new(Mutex::new(Some(Arc::clone(predecessor)))))
    }

    /// Tells it why this process cannot take over.
    pub(crate) fn fail(&self, reason: &str) {
        if let Some(predecessor) = lock(&self.0).as_ref() {
            // Who does not read it sees this process end.
            let failed = Message::Failed(reason.to_owned());
            let _ = predecessor.control().send(&failed);
        }
    }

    /// Says that this process is ready, and waits until it is to serve. False if the other one has ended, or has changed
    /// its mind: it serves then, and this process must not.
    pub(in crate::gateway) fn take_over(&self) -> bool {
        let Some(predecessor) = lock(&self.0).take() else {
            return false;
        };
        let control = predecessor.control();
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

impl Handover {
    /// What speaks to the process that serves still.
    pub(crate) fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// The listeners for clients, and the one for metrics.
    pub(in crate::gateway) fn take_listeners(&mut self) -> (Vec<TcpListener>, Option<TcpListener>) {
        (std::mem::take(&mut self.listeners), self.metrics.take())
    }

    /// The process that serves still.
    pub(in crate::gateway) fn process(&self) -> u32 {
        self.predecessor.process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_is_written_and_nothing_else_is() {
        let value = value("serve", 70, &[5, 9]);
        assert_eq!(parse(value.as_ref()), Some((What::Serve, 70, vec![5, 9])));
        for (text, expected) in [
            ("1:start:1:3", Some((What::Start, 1, vec![3]))),
            ("1:watch:1:3", Some((What::Watch, 1, vec![3]))),
            ("2:serve:1:3", None),
            ("1:other:1:3", None),
            ("1:serve:-1:3", None),
            ("1:serve:1:", None),
            ("1:serve:1:3,", None),
            ("1:serve:1:x", None),
            ("1:serve:1", None),
            ("1:serve:1:3:4", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_ref()), expected, "{text}");
        }
    }
}
