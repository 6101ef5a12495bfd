//! Faults of calls, by plan.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use super::Call;
use crate::sync::lock;

/// What one call does instead of its work, or beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It fails with this number.
    Error(i32),
    /// It transfers no more bytes than these.
    AtMost(usize),
    /// It takes so long more.
    Delay(Duration),
}

/// One fault of a plan: the `after + 1`st call of the kind, counted from when it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) after: u32,
    pub(crate) what: What,
}

/// The calls of one socket, or of the pipes, and the faults that are planned for them.
#[derive(Debug, Default)]
pub(crate) struct Seam(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    planned: Vec<Fault>,
    happened: Vec<Fault>,
    calls: Vec<(Call, u64)>,
}

impl Seam {
    /// Has a fault happen.
    pub(crate) fn plan(&self, fault: Fault) {
        lock(&self.0).planned.push(fault);
    }

    /// The faults that have happened.
    pub(crate) fn happened(&self) -> Vec<Fault> {
        lock(&self.0).happened.clone()
    }

    /// How many calls of a kind were made so far.
    pub(crate) fn calls(&self, call: Call) -> u64 {
        let state = lock(&self.0);
        let count = state.calls.iter().find(|(kind, _)| *kind == call);
        count.map_or(0, |(_, count)| *count)
    }

    /// How much of `length` this call may transfer, or its error.
    pub(super) fn due(&self, call: Call, length: usize) -> io::Result<usize> {
        let mut state = lock(&self.0);
        match state.calls.iter_mut().find(|(kind, _)| *kind == call) {
            Some((_, count)) => *count += 1,
            None => state.calls.push((call, 1)),
        }
        let mut due = None;
        state.planned.retain_mut(|fault| {
            if fault.call != call || due.is_some() {
                return true;
            }
            if fault.after == 0 {
                due = Some(*fault);
                return false;
            }
            fault.after -= 1;
            true
        });
        let Some(fault) = due else {
            return Ok(length);
        };
        state.happened.push(fault);
        drop(state);
        match fault.what {
            What::Error(number) => Err(io::Error::from_raw_os_error(number)),
            What::AtMost(bytes) => Ok(length.min(bytes.max(1))),
            What::Delay(time) => {
                std::thread::sleep(time);
                Ok(length)
            }
        }
    }
}
