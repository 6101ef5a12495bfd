//! The thread `health`: checks every endpoint that clients may be connected to, and reports to the pool.
//!
//! Each check has a thread and a slot, so that there are never more at a time than the host has room for. If no
//! thread can be started, this one makes the check, which is slower.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ask::{Failure, ask};
use super::timetable::Timetable;
use crate::endpoint::pool::Pool;
use crate::endpoint::stats::Checked;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::sync::lock;
use crate::sys::{memory, random};
use crate::times::Times;
use crate::url::Url;

/// How often the set of endpoints is read.
const LOOK: Duration = Duration::from_secs(1);

/// So many answers in a row that contradict the present health change it: a single failure may be a pause of the garbage
/// collector or an election.
const IN_A_ROW: u32 = 2;

/// What the answers of one member amount to; a member is healthy until it fails.
#[derive(Debug, Default)]
struct Health {
    is_unhealthy: bool,
    /// Answers in a row that contradict it.
    contrary: u32,
}

impl Health {
    /// Takes the next answer into account. A failure of this host is not one.
    fn note(&mut self, is_healthy: bool) {
        self.contrary = match is_healthy == self.is_unhealthy {
            true => self.contrary + 1,
            false => 0,
        };
        if self.contrary >= IN_A_ROW {
            self.contrary = 0;
            self.is_unhealthy = !self.is_unhealthy;
        }
    }
}

/// What a check needs.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    pool: Arc<Pool>,
    url: Arc<Url>,
    guard: LoopGuard,
    times: Times,
    healths: Arc<Mutex<BTreeMap<SocketAddr, Health>>>,
}

impl Checks {
    pub(crate) fn new(pool: Arc<Pool>, url: Url, guard: LoopGuard, times: Times) -> Self {
        Self {
            pool,
            url: Arc::new(url),
            guard,
            times,
            healths: Arc::default(),
        }
    }

    /// Checks for as long as the process lives; the work of a thread.
    pub(crate) fn run(&self) -> ! {
        let mut timetable = Timetable::new(&self.times, random::number);
        loop {
            let now = Instant::now();
            timetable.set_endpoints(self.endpoints(), now);
            for addr in timetable.due(now) {
                self.begin(addr);
            }
            let next = timetable.next().unwrap_or(now + LOOK);
            let pause = next.saturating_duration_since(Instant::now()).min(LOOK);
            // Not a sleep: std panics if a filter of system calls refuses that.
            std::thread::park_timeout(pause);
        }
    }

    /// The endpoints that clients may be connected to; the health of all others is forgotten.
    fn endpoints(&self) -> Vec<SocketAddr> {
        let endpoints = self.pool.usable();
        lock(&self.healths).retain(|addr, _| endpoints.contains(addr));
        endpoints
    }

    fn begin(&self, addr: SocketAddr) {
        let slot = self.pool.slots().wait_for_background();
        let own = self.clone();
        let thread = std::thread::Builder::new().name("check".to_owned());
        let work = move || {
            own.check(addr);
            drop(slot);
        };
        if memory::room_for_thread()
            .and_then(|()| thread.spawn(work))
            .is_err()
        {
            self.check(addr);
        }
    }

    /// Checks once, and reports it to the pool.
    fn check(&self, addr: SocketAddr) {
        let target = self.url.target(addr);
        let answer = ask(target, &self.url, self.times.health_timeout, &self.guard);
        // The address is in the failure of a dial already.
        let error = answer.as_ref().err().map(|failure| match failure {
            Failure::Dial(_) => format!("health check: {failure}"),
            _ => format!("health check of {target}: {failure}"),
        });
        let checked = match &answer {
            Ok(()) => Checked::Passed,
            Err(failure) if failure.is_local() => Checked::Local,
            Err(_) => Checked::Failed,
        };
        if let (Checked::Failed, Some(error)) = (checked, &error) {
            let fields = [("address", addr.into()), ("error", error.as_str().into())];
            log::debug("health", "health check failed", &fields);
        }
        let is_unhealthy = {
            let mut healths = lock(&self.healths);
            let health = healths.entry(addr).or_default();
            if checked != Checked::Local {
                health.note(checked == Checked::Passed);
            }
            health.is_unhealthy
        };
        self.pool.checked(addr, checked, is_unhealthy, error);
    }
}

#[cfg(test)]
mod tests;
