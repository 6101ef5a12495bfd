//! What is counted of clients as a whole.

use std::io;
use std::time::Duration;

use crate::proxy::cause::Cause;
use crate::stats::{Counter, Distribution, Histogram};
use crate::sys::errno;

/// From a request to a watch that lives for a week.
const DURATIONS: [Duration; 11] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(8 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(7 * 24 * 3600),
];

/// The errors of accept(2) that tell an operator something; all others are counted together.
const ACCEPT_ERRORS: [(&str, i32); 5] = [
    ("EMFILE", errno::EMFILE),
    ("ENFILE", errno::ENFILE),
    ("ENOBUFS", errno::ENOBUFS),
    ("ENOMEM", errno::ENOMEM),
    ("ECONNABORTED", errno::ECONNABORTED),
];

/// Counters that need no lock.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Clients that accept(2) returned.
    pub(crate) accepted: Counter,
    /// Dials beyond a client's first.
    pub(crate) redispatches: Counter,
    durations: Histogram<{ DURATIONS.len() }>,
    ended: [Counter; Cause::SERVED.len()],
    accept_errors: [Counter; ACCEPT_ERRORS.len()],
    other_accept_errors: Counter,
}

impl Counters {
    pub(super) const fn new() -> Self {
        Self {
            accepted: Counter::new(),
            redispatches: Counter::new(),
            durations: Histogram::new(&DURATIONS),
            ended: [const { Counter::new() }; Cause::SERVED.len()],
            accept_errors: [const { Counter::new() }; ACCEPT_ERRORS.len()],
            other_accept_errors: Counter::new(),
        }
    }

    pub(super) fn accept_failed(&self, error: &io::Error) {
        let number = error.raw_os_error();
        let known = ACCEPT_ERRORS
            .iter()
            .position(|(_, known)| number == Some(*known));
        let counter = known.and_then(|index| self.accept_errors.get(index));
        counter.unwrap_or(&self.other_accept_errors).add(1);
    }

    /// Failures of accept(2), by error.
    pub(crate) fn accept_errors(&self) -> Vec<(&'static str, u64)> {
        let names = ACCEPT_ERRORS.iter().map(|(name, _)| *name);
        let counts = self.accept_errors.iter().map(Counter::get);
        let other = ("other", self.other_accept_errors.get());
        names.zip(counts).chain([other]).collect()
    }

    /// Notes why a connection has ended, and how long it lasted.
    pub(super) fn ended(&self, cause: Cause, lasted: Duration) {
        self.durations.observe(lasted);
        let index = Cause::SERVED.iter().position(|known| *known == cause);
        if let Some(counter) = index.and_then(|index| self.ended.get(index)) {
            counter.add(1);
        }
    }

    /// Connections that have ended, by cause.
    pub(crate) fn causes(&self) -> Vec<(&'static str, u64)> {
        let names = Cause::SERVED.iter().map(|cause| cause.name());
        names.zip(self.ended.iter().map(Counter::get)).collect()
    }

    /// How long connections lasted.
    pub(crate) fn durations(&self) -> Distribution {
        self.durations.read()
    }
}
