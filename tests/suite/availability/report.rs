//! Figures as a table, and what must hold of them: everything is printed, then the test fails if anything did not hold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::load::{Call, Request};

/// Longer than this, no client of `etcdctl` waits: its time-out is 5 s.
pub(super) const HANG: Duration = Duration::from_millis(5500);

/// What was begun shortly before a fault is still under way when it comes.
pub(super) const UNDER_WAY: Duration = Duration::from_millis(300);

/// Requests that began in a window of time, counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) begun: usize,
    pub(super) failed: usize,
    /// Of those that failed, the ones that the gateway is not blamed for (`Request::excused`).
    excused: usize,
    /// Failed, or served after more than `HANG`.
    pub(super) hurt: usize,
    pub(super) longest: Duration,
    /// 99 of 100 took no longer.
    pub(super) p99: Duration,
    errors: BTreeMap<String, usize>,
}

impl Tally {
    pub(super) fn of<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Tally {
        let mut tally = Tally::default();
        let mut times = Vec::new();
        for request in requests {
            tally.begun += 1;
            times.push(request.took);
            tally.hurt += usize::from(request.error.is_some() || request.took > HANG);
            if let Some(error) = &request.error {
                tally.failed += 1;
                tally.excused += usize::from(request.excused);
                // The first line of an error, or of its JSON, less the words that differ from call to call.
                let end = error
                    .char_indices()
                    .nth(160)
                    .map_or(error.len(), |(at, _)| at);
                let short = error[..end].lines().next().unwrap_or_default().to_owned();
                *tally.errors.entry(short).or_default() += 1;
            }
        }
        times.sort_unstable();
        tally.longest = times.last().copied().unwrap_or_default();
        let index = (times.len() * 99).div_ceil(100).saturating_sub(1);
        tally.p99 = times.get(index).copied().unwrap_or_default();
        tally
    }

    /// Failures that are the gateway's.
    pub(super) fn blamed(&self) -> usize {
        self.failed - self.excused
    }

    /// Some began, and none failed through the gateway's fault.
    pub(super) fn well(&self) -> bool {
        self.begun > 0 && self.blamed() == 0
    }

    /// How many failed, in words.
    pub(super) fn failures(&self) -> String {
        let (blamed, begun) = (self.blamed(), self.begun);
        match self.excused {
            0 => format!("{blamed} of {begun}"),
            excused => format!("{blamed} of {begun}, and {excused} with the members themselves"),
        }
    }

    /// The share of clients that failed or hung, in percent.
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    pub(super) fn hurt_share(&self) -> f64 {
        100.0 * self.hurt as f64 / self.begun.max(1) as f64
    }

    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    pub(super) fn failed_share(&self) -> f64 {
        100.0 * self.failed as f64 / self.begun.max(1) as f64
    }
}

/// The table and the verdicts of one experiment.
pub(super) struct Report {
    name: &'static str,
    wrong: Vec<String>,
}

impl Report {
    pub(super) fn new(name: &'static str) -> Report {
        println!("FIGURES {name}: client, window: begun, failed, failed or hung, p99, longest");
        Report {
            name,
            wrong: Vec::new(),
        }
    }

    /// A figure that nothing is asked of.
    pub(super) fn say(&self, text: &str) {
        println!("FIGURES {}: {text}", self.name);
    }

    /// One row of the table.
    pub(super) fn row(&self, front: &str, call: Call, window: &str, tally: &Tally) {
        println!(
            "FIGURES {:<10} {front:<8} {:<14} {window:<8} {:>4} {:>4} {:>4} {:>6.2} s {:>6.2} s",
            self.name,
            call.name(),
            tally.begun,
            tally.failed,
            tally.hurt,
            tally.p99.as_secs_f64(),
            tally.longest.as_secs_f64()
        );
        for (error, count) in &tally.errors {
            println!("FIGURES {:<10} {front:<8}   {count} x {error}", self.name);
        }
    }

    /// Something that must hold.
    pub(super) fn hold(&mut self, holds: bool, what: &str) {
        let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
        println!("FIGURES {}: {verdict}: {what}", self.name);
        if !holds {
            self.wrong.push(what.to_owned());
        }
    }

    /// Fails the test where something did not hold.
    #[track_caller]
    pub(super) fn end(self) {
        assert!(
            self.wrong.is_empty(),
            "{}, of what must hold does not:\n{}",
            self.name,
            self.wrong.join("\n")
        );
    }
}
