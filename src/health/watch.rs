//! The thread `health`: asks every endpoint that clients may be connected to, and tells the pool.
//!
//! Each question has a thread and a slot, so that no more are under way than the host has room for. Where no
//! thread can be had, this one asks by itself, which is slower.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::judge::Judge;
use super::rounds::Rounds;
use super::{Failure, ask};
use crate::endpoint::pool::Pool;
use crate::endpoint::stats::Checked;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::sync::lock;
use crate::sys::{memory, random};
use crate::times::Times;
use crate::url::Url;

/// How often it is looked which endpoints there are.
const LOOK: Duration = Duration::from_secs(1);

/// What it takes to ask.
#[derive(Debug, Clone)]
pub(crate) struct Checks {
    pool: Arc<Pool>,
    url: Arc<Url>,
    guard: LoopGuard,
    times: Times,
    judges: Arc<Mutex<BTreeMap<SocketAddr, Judge>>>,
}

impl Checks {
    /// Nobody was asked yet.
    pub(crate) fn new(pool: Arc<Pool>, url: Url, guard: LoopGuard, times: Times) -> Self {
        Self {
            pool,
            url: Arc::new(url),
            guard,
            times,
            judges: Arc::default(),
        }
    }

    /// Asks for as long as the process lives; the work of a thread.
    pub(crate) fn run(&self) -> ! {
        let mut rounds = Rounds::new(&self.times, random::number);
        loop {
            let now = Instant::now();
            rounds.follow(self.endpoints(), now);
            for addr in rounds.due(now) {
                self.begin(addr);
            }
            let until = rounds.until().map_or(LOOK, |until| {
                until.saturating_duration_since(Instant::now()).min(LOOK)
            });
            // Not a sleep, at which std panics where a filter of system calls refuses it.
            std::thread::park_timeout(until);
        }
    }

    /// The endpoints that clients may be connected to; of all others the opinion is forgotten.
    fn endpoints(&self) -> Vec<SocketAddr> {
        let endpoints = self.pool.usable();
        lock(&self.judges).retain(|addr, _| endpoints.contains(addr));
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

    /// Asks once, and tells the pool.
    fn check(&self, addr: SocketAddr) {
        let target = self.url.target(addr);
        let answer = ask(target, &self.url, self.times.health_timeout, &self.guard);
        let checked = match &answer {
            Ok(()) => Checked::Passed,
            Err(failure) if failure.is_local() => Checked::Local,
            Err(failure) => {
                log_failure(addr, failure);
                Checked::Failed
            }
        };
        let doubts = {
            let mut judges = lock(&self.judges);
            let judge = judges.entry(addr).or_default();
            judge.feed(answer.as_ref().copied());
            judge.doubts()
        };
        let error = answer.err().map(|failure| failure.to_string());
        self.pool.checked(addr, checked, doubts, error);
    }
}

fn log_failure(addr: SocketAddr, failure: &Failure) {
    log::debug(
        "health",
        "health check failed",
        &[
            ("address", addr.into()),
            ("error", failure.to_string().into()),
        ],
    );
}

#[cfg(test)]
mod tests;
