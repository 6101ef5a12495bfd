//! The first process of a service whose supervisor only waits for its end: it must not end before the service does,
//! passes on the signals that it is sent, and ends as the process that serves has ended.
//!
//! Once its own sessions are over, it executes the program again, in the same process, to do nothing else: that frees
//! its threads and its memory, and the file of the program, which may have been replaced.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use super::children::Children;
use super::control::{Control, Message, Received, pass_on};
use super::role::{Role, VARIABLE, value};
use crate::gateway::signals::Signals;
use crate::sys::program::{Program, file_of};
use crate::times::Times;

/// Makes this process only the watcher of `process`, which serves. Returns if that is not possible.
pub(crate) fn execute(program: &Program, control: &Control, process: u32) {
    if pass_on(control.as_fd(), true).is_err() {
        return;
    }
    // The program of the process that serves can do this, too; what is at the path by now may be another version.
    for file in [process, std::process::id()]
        .into_iter()
        .filter_map(file_of)
    {
        let value = value(Role::Watch, process, &[control.number()]);
        // It only returns if it fails.
        let _ = program.command_of(&file).env(VARIABLE, value).exec();
    }
    let _ = pass_on(control.as_fd(), false);
}

/// Watches the process that serves, first `serving`, until the service has ended.
pub(super) fn watch(control: &Control, mut serving: u32) -> ExitCode {
    let times = Times::of_this_process();
    let mut children = Children::default();
    let Ok(mut signals) = Signals::open(times) else {
        return ExitCode::FAILURE;
    };
    loop {
        // Also before the first signal: for what has happened by now there is none.
        children.reap();
        loop {
            match control.receive() {
                Received::Nothing => break,
                Received::Message(Message::Serving(process)) => {
                    serving = process;
                    // The process before it may have reported an older number to it.
                    let _ = control.send(&Message::Connections(0));
                }
                Received::Message(_) => {}
                Received::End => return children.wait_for(serving, times.flush_patience).into(),
            }
        }
        // See `Service::receive_from_successor`.
        if let Some(status) = children.exit_status(serving) {
            return status.into();
        }
        let Ok(signal) = signals.wait(&[control.as_fd()], None) else {
            return ExitCode::FAILURE;
        };
        if let Some(request) = signal.and_then(|signal| signals.request(signal)) {
            let _ = control.send(&Message::Request(request));
        }
    }
}
