//! The set of endpoints with the state of each, shared by all sessions.
//!
//! An endpoint is untried until a dial of it has an outcome; then it is active until a dial of it fails for
//! a reason of its own, and inactive until one succeeds, no matter which part of the gateway dialled. A failure that is older than the
//! endpoint's last success changes nothing. An active endpoint may be doubted: because a dial waits (slow),
//! because it accepts connections and does not answer (silent), because of its health checks (unhealthy). A
//! doubted endpoint is used where there is no better one. Clients dial a draining endpoint only where no other serves;
//! everything else treats it like the others.
//!
//! Each pick comes with an [`InFlight`], which counts as an open connection of that endpoint for as
//! long as it lives. The pool dials nothing itself, and logs without holding its lock.
//! Whoever dials reports the outcome (`reports`), so dials are counted here, each once.
//! Changes of state are logged once, when they happen (`change`).

pub(crate) mod admission;
mod change;
pub(crate) mod doubted;
mod member;
mod reports;
mod set;
pub(crate) mod tasks;
pub(crate) mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use change::Alarm;
use member::{Member, Parameters};
use set::Set;

pub(crate) use set::{Census, Change};

use crate::config::Policy;
use crate::endpoint::pick;
use crate::endpoint::slots::Slots;
use crate::endpoint::stats::InFlight;
use crate::endpoint::{Authenticate, Endpoint};
use crate::log;
use crate::sync::lock;
use crate::sys::random;
use crate::sys::waker::Waker;
use crate::times::Times;

/// The endpoints, and the selection among them.
#[derive(Debug)]
pub(crate) struct Pool {
    policy: Policy,
    /// How long a connection counts at least.
    counted: Duration,
    parameters: Parameters,
    /// Woken when an endpoint is to be asked something.
    monitor_waker: Waker,
    /// Woken when no endpoint is active any more: a refresh may find others.
    refresh_waker: Waker,
    /// Authenticates endpoints that have an identity before they carry clients.
    authenticator: Option<Arc<dyn Authenticate>>,
    slots: Slots,
    /// Limits lines about no endpoint being active; whether the last one was logged.
    alarms: log::Limit,
    alarm_logged: AtomicBool,
    set: Mutex<Set>,
}

impl Pool {
    /// An empty pool that chooses by `policy`, and whose inactive endpoints are asked again
    /// `retry_delay` after they failed at the latest.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(crate) fn new(
        policy: Policy,
        retry_delay: Duration,
        authenticator: Option<Arc<dyn Authenticate>>,
    ) -> io::Result<Self> {
        Ok(Self {
            policy,
            counted: Times::REAL.counted,
            parameters: Parameters {
                retry_delay,
                ask_again: Times::REAL.ask_again,
                authenticates: authenticator.is_some(),
                number: random::number,
            },
            monitor_waker: Waker::new()?,
            refresh_waker: Waker::new()?,
            authenticator,
            slots: Slots::default(),
            alarms: log::Limit::new(),
            alarm_logged: AtomicBool::new(false),
            set: Mutex::default(),
        })
    }

    /// The same pool with this many slots and these intervals, before it has endpoints.
    pub(crate) fn tuned(mut self, slots: usize, times: Times) -> Self {
        self.slots = Slots::new(slots);
        self.counted = times.counted;
        self.parameters.ask_again = times.ask_again;
        self
    }

    /// What limits connections that are not those of clients.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Wakes the monitor.
    pub(crate) fn monitor_waker(&self) -> &Waker {
        &self.monitor_waker
    }

    /// Wakes discovery.
    pub(crate) fn refresh_waker(&self) -> &Waker {
        &self.refresh_waker
    }

    /// Replaces the whole set. An endpoint that stays keeps its state; a new one is untried, and used at once unless
    /// it has to be authenticated.
    pub(crate) fn replace(&self, endpoints: Vec<Endpoint>) -> Change {
        let mut set = lock(&self.set);
        // A refresh that changes nothing must not restart the round robin.
        let same = set
            .members
            .iter()
            .map(|member| &member.endpoint)
            .eq(&endpoints);
        if same {
            return Change::default();
        }
        let now = Instant::now();
        let change = set.replace(endpoints, self.parameters, now);
        let alarm = set.alarm(now);
        drop(set);
        self.monitor_waker.wake();
        self.raise(alarm);
        change
    }

    /// The endpoint to dial next for a client that has `tried` these: active ones first, then draining ones, then doubted
    /// ones, then inactive ones. Not inlined: a session's stack is small, and its deepest call is another.
    #[inline(never)]
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Option<(SocketAddr, InFlight)> {
        let mut set = lock(&self.set);
        let candidates = set.candidates(tried);
        let index = set.round_robin.next(self.policy, &candidates)?;
        let member = set.members.get(index)?;
        let counted = match self.policy {
            Policy::RoundRobin => Duration::ZERO,
            Policy::LeastConnections => self.counted,
        };
        // Counted under the lock, so that of many clients at the same time each sees those before it.
        Some((member.endpoint.addr, member.stats.hold(counted)))
    }

    /// Whether a client that has `tried` these endpoints, and waits for the answers of some, should wait a little longer:
    /// the next endpoint drains, and one that it waits for does not.
    #[inline(never)]
    pub(crate) fn is_worth_waiting(
        &self,
        tried: &[SocketAddr],
        mut waits_for: impl Iterator<Item = SocketAddr>,
    ) -> bool {
        let mut set = lock(&self.set);
        let is_draining_next = pick::is_draining_next(&set.candidates(tried));
        let mut drains = |addr| set.find(addr).is_some_and(|member| member.endpoint.drains);
        is_draining_next && waits_for.any(|addr| !drains(addr))
    }

    /// All endpoints.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.select(|member| Some(member.endpoint.clone()))
    }

    /// The active endpoints with an identity, which have all proven it.
    pub(crate) fn authenticated(&self) -> Vec<Endpoint> {
        self.select(|member| {
            let is_authenticated = member.is_active() && member.endpoint.identity.is_some();
            is_authenticated.then(|| member.endpoint.clone())
        })
    }

    /// The endpoints that clients are connected to as long as there are such.
    pub(crate) fn usable(&self) -> Vec<SocketAddr> {
        self.select(|member| member.is_usable().then_some(member.endpoint.addr))
    }

    fn select<T>(&self, read: impl Fn(&Member) -> Option<T>) -> Vec<T> {
        lock(&self.set).members.iter().filter_map(read).collect()
    }

    /// The configured name of an endpoint, also of a removed one that still has connections.
    pub(crate) fn name(&self, addr: SocketAddr) -> Option<String> {
        let set = lock(&self.set);
        let mut known = set.members.iter().chain(&set.removed);
        let member = known.find(|member| member.endpoint.addr == addr)?;
        Some(member.endpoint.name.clone())
    }

    /// Whether an address is in the set.
    pub(crate) fn contains(&self, addr: SocketAddr) -> bool {
        lock(&self.set).find(addr).is_some()
    }

    pub(crate) fn census(&self) -> Census {
        lock(&self.set).census()
    }

    /// How many endpoints a client may have to try: the usable ones, or all if there are none.
    pub(crate) fn candidates(&self) -> usize {
        let set = lock(&self.set);
        let usable = set.members.iter().filter(|member| member.is_usable());
        match usable.count() {
            0 => set.members.len(),
            some => some,
        }
    }

    /// Logs that no endpoint is active, or that one is again, and has other endpoints looked for.
    fn raise(&self, alarm: Option<Alarm>) {
        match alarm {
            Some(Alarm::Begun) => {
                self.refresh_waker.wake();
                let logged = self.alarms.admit(Instant::now());
                self.alarm_logged.store(logged.is_some(), Ordering::Relaxed);
                if let Some(suppressed) = logged {
                    let fields = [
                        ("endpoints", self.census().total.into()),
                        ("suppressed", suppressed.into()),
                    ];
                    log::error("pool", "no endpoint is active", &fields);
                }
            }
            // The end is logged if the beginning was.
            Some(Alarm::Over(after)) if self.alarm_logged.swap(false, Ordering::Relaxed) => {
                let fields = [("after_seconds", after.into())];
                log::info("pool", "an endpoint is active again", &fields);
            }
            Some(Alarm::Over(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests;
