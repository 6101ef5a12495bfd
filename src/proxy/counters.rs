//! What is counted for clients as a whole. No counter needs a lock.

use std::io;
use std::time::{Duration, Instant};

use crate::log;
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

/// The errors of accept(2) that are counted by name; all others are counted as the last.
const ACCEPT_ERRORS: [(&str, Option<i32>); 6] = [
    ("EMFILE", Some(errno::EMFILE)),
    ("ENFILE", Some(errno::ENFILE)),
    ("ENOBUFS", Some(errno::ENOBUFS)),
    ("ENOMEM", Some(errno::ENOMEM)),
    ("ECONNABORTED", Some(errno::ECONNABORTED)),
    ("other", None),
];

#[derive(Debug)]
pub(crate) struct Counters {
    /// Clients that accept(2) returned.
    pub(crate) accepted: Counter,
    /// Dials beyond a client's first.
    pub(crate) redispatches: Counter,
    durations: Histogram<{ DURATIONS.len() }>,
    ended: [Ended; Cause::ALL.len()],
    accept_errors: [Counter; ACCEPT_ERRORS.len()],
    accept_log: log::Limit,
}

/// How many connections ended for one cause; some causes are logged.
#[derive(Debug, Default)]
struct Ended {
    count: Counter,
    log: log::Limit,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            accepted: Counter::new(),
            redispatches: Counter::new(),
            durations: Histogram::new(&DURATIONS),
            ended: Default::default(),
            accept_errors: Default::default(),
            accept_log: log::Limit::new(),
        }
    }

    /// Counts a failure of accept(2), and logs it with these fields.
    pub(super) fn accept_failed<'a>(
        &self,
        error: &io::Error,
        fields: impl FnOnce() -> Vec<(&'a str, log::Value)>,
    ) {
        let is_it = |number: Option<i32>| number.is_none() || number == error.raw_os_error();
        let index = ACCEPT_ERRORS.iter().position(|(_, number)| is_it(*number));
        if let Some(counter) = index.and_then(|index| self.accept_errors.get(index)) {
            counter.add(1);
        }
        let count = self.accept_errors.iter().map(Counter::get).sum();
        warn(&self.accept_log, "cannot accept", fields, count);
    }

    /// Failures of accept(2), by error.
    pub(crate) fn accept_errors(&self) -> Vec<(&'static str, u64)> {
        let names = ACCEPT_ERRORS.iter().map(|(name, _)| *name);
        names
            .zip(self.accept_errors.iter().map(Counter::get))
            .collect()
    }

    /// Counts a connection that has ended, after it was open for `lasted`.
    pub(super) fn ended(&self, cause: Cause, lasted: Duration) {
        if !cause.is_rejection() {
            self.durations.observe(lasted);
        }
        self.of(cause).inspect(|ended| ended.count.add(1));
    }

    /// Logs that connections end for this cause, at most once per second; `fields` says more about the one that ended
    /// now.
    pub(super) fn warn<'a>(
        &self,
        cause: Cause,
        message: &str,
        fields: impl FnOnce() -> Vec<(&'a str, log::Value)>,
    ) {
        if let Some(ended) = self.of(cause) {
            warn(&ended.log, message, fields, ended.count.get());
        }
    }

    fn of(&self, cause: Cause) -> Option<&Ended> {
        let index = Cause::ALL.iter().position(|(known, _)| *known == cause)?;
        self.ended.get(index)
    }

    /// Connections that have ended, by cause.
    pub(crate) fn causes(&self) -> Vec<(&'static str, u64)> {
        self.counts(false)
    }

    /// Rejected clients, by cause.
    pub(crate) fn rejections(&self) -> Vec<(&'static str, u64)> {
        self.counts(true)
    }

    fn counts(&self, rejected: bool) -> Vec<(&'static str, u64)> {
        let all = Cause::ALL.iter().zip(&self.ended);
        let some = all.filter(|((cause, _), _)| cause.is_rejection() == rejected);
        some.map(|((_, name), ended)| (*name, ended.count.get()))
            .collect()
    }

    /// How long connections lasted.
    pub(crate) fn durations(&self) -> Distribution {
        self.durations.read()
    }
}

/// Logs a warning about what has happened `count` times, if `limit` allows a line now.
fn warn<'a>(
    limit: &log::Limit,
    message: &str,
    fields: impl FnOnce() -> Vec<(&'a str, log::Value)>,
    count: u64,
) {
    if let Some(suppressed) = limit.admit(Instant::now()) {
        let mut fields = fields();
        fields.extend([("count", count.into()), ("suppressed", suppressed.into())]);
        log::warn("proxy", message, &fields);
    }
}
