//! The first process of a service that nobody else watches but by waiting for its end: it must not end before the service does,
//! passes on the signals that it is sent, and ends as the process that serves has ended.
//!
//! Once its own sessions are over, it executes the program anew, in the same process, to do nothing else: that leaves
//! behind its threads, its memory, and a file that may have been replaced.

use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitCode, ExitStatus};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::VARIABLE;
use super::control::{Control, Message, Received, Request, pass_on};
use super::inherit::value;
use crate::sync::lock;
use crate::sys::program::{Program, file_of};
use crate::sys::signal::Signal;
use crate::sys::syscall::{self, PollFd};
use crate::times::Times;

/// How many ended processes are remembered: one more than can drain, and some more.
const REMEMBERED: usize = 16;

/// Processes below this one that have ended, the last few.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Watched(Mutex<Vec<(u32, ExitStatus)>>);

impl Watched {
    /// Notes which have ended; to be called at SIGCHLD. While somebody [waits](Self::hold) for one, nothing.
    pub(in crate::gateway) fn reap(&self) {
        let mut ended = match self.0.try_lock() {
            Ok(ended) => ended,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        while let Some(one) = syscall::ended_child() {
            if ended.len() == REMEMBERED {
                ended.remove(0);
            }
            ended.push(one);
        }
    }

    /// Leaves those that end to who has started them, as long as the result lives: a number that was noted here may be that of
    /// another process by the time at which the one who started it kills it.
    pub(in crate::gateway) fn hold(&self) -> Held<'_> {
        Held {
            watched: self,
            ended: Some(lock(&self.0)),
        }
    }

    /// The exit status of a process that has been noted.
    pub(in crate::gateway) fn known(&self, process: u32) -> Option<u8> {
        let ended = lock(&self.0);
        let known = ended.iter().rev().find(|(ended, _)| *ended == process);
        known.map(|(_, status)| exit_status(*status))
    }

    /// The exit status of a process that has ended, or is about to: 128 and the number of the signal if one ended it, and 1 if
    /// nothing is known within `patience`.
    pub(in crate::gateway) fn outcome(&self, process: u32, patience: Duration) -> u8 {
        let deadline = Instant::now() + patience;
        loop {
            self.reap();
            if let Some(status) = self.known(process) {
                return status;
            }
            if Instant::now() >= deadline {
                return 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// See [`Watched::hold`].
#[derive(Debug)]
pub(in crate::gateway) struct Held<'a> {
    watched: &'a Watched,
    ended: Option<MutexGuard<'a, Vec<(u32, ExitStatus)>>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.ended = None;
        // For those that have ended meanwhile there is no other signal.
        self.watched.reap();
    }
}

/// The status as a shell has it.
fn exit_status(status: ExitStatus) -> u8 {
    let signalled = status.signal().map(|signal| signal.saturating_add(128));
    let code = status.code().or(signalled).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Has this process be nothing but the watcher of `process`, which serves. Returns if that is not possible.
pub(in crate::gateway) fn execute(program: &Program, control: &Control, process: u32) {
    if pass_on(control.as_fd(), true).is_err() {
        return;
    }
    // What serves can do this, too; what is at the path by now may be another version.
    for file in [process, std::process::id()]
        .into_iter()
        .filter_map(file_of)
    {
        let value = value("watch", process, &[control.number()]);
        // It only returns if it fails.
        let _ = program.command_of(&file).env(VARIABLE, value).exec();
    }
    let _ = pass_on(control.as_fd(), false);
}

/// Watches `process`, and those that follow it, until the service has ended.
pub(in crate::gateway) fn watch(control: &Control, process: u32) -> ExitCode {
    let times = Times::of_this_process();
    let watched = Watched::default();
    let mut serving = process;
    let mut ending: Option<Instant> = None;
    let Ok(signals) = syscall::signals() else {
        return ExitCode::FAILURE;
    };
    loop {
        // Also before the first signal: what has happened by now sends none.
        watched.reap();
        loop {
            match control.receive() {
                Received::Nothing => break,
                Received::Message(Message::Serving(process)) => {
                    serving = process;
                    // That process may have been told what was true before.
                    let _ = control.send(&Message::Connections(0));
                }
                Received::Message(_) => {}
                Received::End => {
                    return watched.outcome(serving, times.flush_patience).into();
                }
            }
        }
        // See `Signals::hear`.
        if let Some(status) = watched.known(serving) {
            return status.into();
        }
        let mut fds = [signals.as_fd(), control.as_fd()].map(PollFd::readable);
        if syscall::wait(&mut fds, None).is_err() {
            std::thread::sleep(times.poll_pause);
        }
        if !fds.first().is_some_and(PollFd::is_ready) {
            continue;
        }
        let Ok(signal) = syscall::wait_for_signal() else {
            return ExitCode::FAILURE;
        };
        let request = match signal {
            Signal::Child => continue,
            Signal::Hangup => Request::Refresh,
            Signal::Status => Request::Status,
            Signal::Reload => Request::Reload,
            Signal::Interrupt | Signal::Terminate => {
                match ending.map(|first| first.elapsed() >= times.signal_echo) {
                    None => {
                        ending = Some(Instant::now());
                        Request::End
                    }
                    Some(false) => continue,
                    Some(true) => Request::Reset,
                }
            }
        };
        let _ = control.send(&Message::Request(request));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_that_of_a_shell() {
        for (raw, expected) in [
            (0, 0),
            (1 << 8, 1),
            (2 << 8, 2),
            (255 << 8, 255),
            (9, 137),
            (15, 143),
        ] {
            assert_eq!(exit_status(ExitStatus::from_raw(raw)), expected, "{raw}");
        }
    }
}
