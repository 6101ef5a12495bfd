//! How the gateway is: one line for a service manager, and one line per fact in the log, which
//! SIGUSR1 is answered with.
//!
//! Those lines are written whatever `--log-level` says, because somebody has asked for them.
//! Each set of facts is read by itself, so a line is right as of the moment that it was
//! made; no lock is held while it is.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::bounds::Room;
use super::handover::Reloads;
use super::metrics::Metrics;
use super::texts;
use super::threads::Threads;
use super::zones::Zones;
use crate::date::Now;
use crate::discovery::Refreshes;
use crate::log::{self, Value};
use crate::proxy::Proxy;
use crate::sync::lock;
use crate::sys::{Plain, memory};

/// What is being served, and all that is known of it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) proxy: Arc<Proxy>,
    pub(super) refreshes: Arc<Refreshes>,
    pub(super) threads: Arc<Threads>,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) zones: Zones,
    pub(super) reloads: Reloads,
    pub(super) room: Room,
    pub(super) metrics: Option<Arc<Metrics>>,
    pub(super) since: Instant,
    /// What dates are worked out by.
    pub(super) clock: Mutex<Now>,
}

const CALLER: &str = "status";

impl Served {
    /// The present.
    pub(super) fn now(&self) -> Now {
        let mut clock = lock(&self.clock);
        Now::new(Instant::now(), SystemTime::now()).steadied(&mut clock)
    }

    /// Whether it draws to its end.
    pub(super) fn is_draining(&self) -> bool {
        self.threads.closing().load(Ordering::SeqCst)
    }

    /// What there is trouble with now, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.threads.problems(Instant::now());
        problems.extend(self.reloads.problem());
        problems.extend(self.metrics.as_ref().and_then(|metrics| metrics.problem()));
        problems.extend(self.zones.problems());
        problems.extend(self.refreshes.problems());
        let census = self.proxy.pool.census();
        if census.total > 0 && census.draining == census.total {
            problems
                .push("every endpoint is marked drain: all are used as if none were".to_owned());
        }
        problems
    }

    /// The status in one line. Takes the locks that every session takes.
    pub(super) fn line(&self) -> String {
        let (proxy, census) = (&self.proxy, self.proxy.pool.census());
        let draining = if self.is_draining() { "draining, " } else { "" };
        let members = match census.draining {
            0 => String::new(),
            some => format!(", {some} draining"),
        };
        let problems = match self.problems().len() {
            0 => String::new(),
            1 => ", 1 problem".to_owned(),
            more => format!(", {more} problems"),
        };
        let old = match self.reloads.predecessors.draining() {
            (0, _) => String::new(),
            (1, connections) => format!(", {connections} in an old process"),
            (processes, connections) => format!(", {connections} in {processes} old processes"),
        };
        format!(
            "{draining}{} of {} endpoints active{members}, {} connections open{old}, {} clients refused{problems}",
            census.active,
            census.total,
            proxy.sessions.count(),
            proxy.rejected()
        )
    }

    /// Whether there is memory to tell all that is known.
    ///
    /// # Errors
    /// If there is not.
    pub(super) fn room(&self) -> io::Result<()> {
        /// The longest answer has 30 lines of 100 bytes for each endpoint, and grows by doubling.
        const EACH: usize = 8 * 1024;
        /// So many endpoints may be told of from the reserve: somebody may want to know what is wrong.
        const FEW: usize = 8;
        match self.proxy.pool.census().total {
            0..=FEW => Ok(()),
            many => memory::room(many.saturating_mul(EACH)),
        }
    }

    /// Logs the status.
    pub(super) fn log(&self) {
        if let Err(error) = self.room() {
            let fields = [("error", Plain(&error).to_string().into())];
            log::answer(CALLER, "status cannot be told", &fields);
            return;
        }
        let now = Instant::now();
        let (proxy, census) = (&self.proxy, self.proxy.pool.census());
        let accept_errors: u64 = proxy
            .counters
            .accept_errors()
            .iter()
            .map(|(_, count)| count)
            .sum();
        let state = match self.is_draining() {
            true => "draining",
            false => "serving",
        };
        let (processes, connections) = self.reloads.predecessors.draining();
        log::answer(
            CALLER,
            "status",
            &[
                ("state", state.into()),
                ("uptime", seconds(now, self.since)),
                ("listen", texts(&self.listen).into()),
                ("connections", proxy.sessions.count().into()),
                ("max-connections", proxy.sessions.max().into()),
                ("draining-processes", processes.into()),
                ("draining-connections", connections.into()),
                ("refused", proxy.rejected().into()),
                ("accept-errors", accept_errors.into()),
                ("active-endpoints", census.active.into()),
                ("endpoints", census.total.into()),
            ],
        );
        for (reason, count) in proxy
            .rejections()
            .into_iter()
            .filter(|(_, count)| *count > 0)
        {
            log::answer(
                CALLER,
                "status of refusals",
                &[("reason", reason.into()), ("count", count.into())],
            );
        }
        for problem in self.problems() {
            log::answer(
                CALLER,
                "status of a problem",
                &[("problem", problem.into())],
            );
        }
        // After all else that is wrong: they may be so many that lines are dropped.
        for view in proxy.pool.views() {
            let mut fields = vec![
                ("address", view.endpoint.addr.into()),
                ("endpoint", view.endpoint.name.into()),
                ("state", view.status.name().into()),
                ("since", seconds(now, view.since)),
                ("priority", u64::from(view.endpoint.priority).into()),
                ("weight", u64::from(view.endpoint.weight).into()),
                ("connections", view.ledger.open().into()),
            ];
            if view.endpoint.drains {
                fields.push(("drain", "yes".into()));
            }
            fields.extend(
                view.last_error
                    .map(|(_, error)| ("last-error", error.into())),
            );
            log::answer(CALLER, "status of endpoint", &fields);
        }
        let mut fields: Vec<(&str, Value)> = Vec::new();
        for (result, count) in self.refreshes.counts() {
            fields.push((result, count.into()));
        }
        let success = self.refreshes.last_success();
        fields.extend(success.map(|success| ("last-success", seconds(now, success))));
        log::answer(CALLER, "status of discovery", &fields);
    }
}

/// How long ago, in whole seconds: nobody needs more, and it is read by people.
fn seconds(now: Instant, then: Instant) -> Value {
    Duration::from_secs(now.saturating_duration_since(then).as_secs()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_seconds() {
        let then = Instant::now();
        for (later, expected) in [(0, 0), (999, 0), (1000, 1), (61_900, 61)] {
            let found = seconds(then + Duration::from_millis(later), then);
            let expected = Duration::from_secs(expected);
            assert!(
                matches!(found, Value::Span(span) if span == expected),
                "{found:?}"
            );
        }
    }
}
