//! Ends sessions for reasons that no thread of theirs can see; the work of the thread `sessions`.
//!
//! - A client that has sent its first bytes and got none back for `--answer-timeout` raises a suspicion:
//!   the monitor probes its endpoint. If it is still unanswered after `--dial-timeout`, it is reset, provided that
//!   its endpoint is silent and another is active: its next attempt reaches a member that answers. The bytes are only
//!   counted; no content is looked at.
//! - Connections to an endpoint that was removed are reset after `--close-removed`. An endpoint that
//!   comes back meanwhile keeps its connections, and the time starts again when it is removed again. A
//!   session that was still dialling when its endpoint was removed reports it itself.
//! - Connections to an endpoint that has been silent or unhealthy for `--close-unhealthy` are reset, once,
//!   if another has been active for as long.
//! - Sessions whose peer is dead are reset (`relay::dead_peer`).
//!
//! The thread sleeps when none of this is to be done: a session wakes it at most once per look. Without a
//! session it wakes only for connections to removed endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::endpoint::pool::doubted::Doubted;
use crate::endpoint::state::EndpointState;
use crate::log;
use crate::proxy::cause::{Cause, Party};
use crate::proxy::notices::Inbox;
use crate::proxy::session::{Bounds, Proxy, Session};
use crate::sys::memory;

/// A session without an answer is looked at often for this time, and longer if it may be reset for that.
const YOUNG: Duration = Duration::from_secs(5);

/// How many removed endpoints are remembered, for sessions that are connected to one late: as many as
/// there may be endpoints.
const MAX_REMEMBERED: usize = 1024;

/// The state of the thread; the caller keeps it, in case the thread ends and is started again.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// The number of the next session that begins to wait.
    next_id: u64,
    waiting: Vec<Waiting>,
    /// Endpoints that were reported as removed, and are not known to be back; when their connections are to be
    /// reset, if they have not been yet.
    removed: BTreeMap<SocketAddr, Option<Instant>>,
    /// The next session is to wake the thread: there is no session, or none that is looked at often.
    asleep: bool,
    /// When to look for dead peers next.
    peers: Option<Instant>,
    /// Endpoints whose connections were reset because they were silent or unhealthy, and since when they are.
    closed: BTreeMap<SocketAddr, Instant>,
}

/// A session whose endpoint has not answered.
#[derive(Debug)]
struct Waiting {
    session: Weak<Session>,
    /// When it was first seen to be connected.
    connected: Option<Instant>,
    /// When it was first seen that its client has sent something.
    sent: Option<Instant>,
    /// It is counted as unanswered.
    counted: bool,
    /// The monitor has probed its endpoint for it.
    probed: bool,
}

impl Waiting {
    /// For how long its client has waited since it sent something.
    fn waited(&self, now: Instant) -> Duration {
        let since = self.sent.unwrap_or(now);
        now.saturating_duration_since(since)
    }
}

/// Watches all sessions; the work of a thread.
pub(crate) fn run(proxy: &Proxy, rounds: &mut Rounds) -> ! {
    let mut until = Some(Instant::now());
    loop {
        let inbox = proxy.notices.wait(until, rounds.asleep);
        until = rounds.step(proxy, inbox, Instant::now());
    }
}

impl Rounds {
    /// Does what is due; returns when to look again, if no notice comes before.
    fn step(&mut self, proxy: &Proxy, inbox: Inbox, now: Instant) -> Option<Instant> {
        let (bounds, times) = (&proxy.bounds, &proxy.bounds.times);
        if let Some(delay) = bounds.close_removed {
            self.close_removed(proxy, delay, inbox, now);
        }
        let waits_for_answers = !bounds.answer_timeout.is_zero();
        if waits_for_answers {
            self.look(proxy, now);
        }
        if let Some(delay) = bounds.close_unhealthy {
            self.close_unhealthy(proxy, delay, now);
        }
        let look = self.pace(now, bounds);
        let is_any = proxy.sessions.count() > 0;
        let unhealthy = bounds.close_unhealthy.filter(|_| is_any);
        let unhealthy = unhealthy.map(|_| times.session_look);
        let looks = look.into_iter().chain(unhealthy).map(|pause| now + pause);
        self.peers = is_any.then(|| self.look_at_peers(proxy, now));
        self.asleep = !is_any || waits_for_answers && look.is_none();
        let removed = self.removed.values().copied().flatten();
        looks.chain(removed).chain(self.peers).min()
    }

    /// Resets sessions whose peer is dead, if it is time to look; returns when to look next.
    fn look_at_peers(&self, proxy: &Proxy, now: Instant) -> Instant {
        let times = &proxy.bounds.times;
        let later = now + times.peer_look;
        match self.peers {
            Some(next) if next <= now => reset_dead(proxy, times.peer_patience),
            Some(next) => return next,
            None => {}
        }
        later
    }

    /// How soon to look at the sessions that wait.
    fn pace(&self, now: Instant, bounds: &Bounds) -> Option<Duration> {
        let passed = |since: Instant| now.saturating_duration_since(since);
        // A session may have to wait for hours, for good reasons.
        let is_young = |waiting: &Waiting| {
            let patience = bounds.dial_timeout.saturating_add(YOUNG);
            waiting.connected.is_some_and(|since| passed(since) < YOUNG)
                || (waiting.sent).is_some_and(|since| !waiting.probed || passed(since) < patience)
        };
        if self.waiting.iter().any(is_young) {
            return Some(bounds.times.answer_look);
        }
        // A client that has sent nothing at all is looked at for its peers only.
        let has_sent = self.waiting.iter().any(|waiting| waiting.sent.is_some());
        has_sent.then_some(bounds.times.session_look)
    }

    /// Looks at the sessions that wait for their first answer.
    fn look(&mut self, proxy: &Proxy, now: Instant) {
        for (id, session) in proxy.sessions.from(self.next_id) {
            self.next_id = id + 1;
            // One that there is no memory for raises no suspicion.
            if memory::carefully(|| self.waiting.try_reserve(1)).is_ok() {
                self.waiting.push(Waiting {
                    session: Arc::downgrade(&session),
                    connected: None,
                    sent: None,
                    counted: false,
                    probed: false,
                });
            }
        }
        let timeout = proxy.bounds.answer_timeout;
        let patience = proxy.bounds.dial_timeout.max(timeout);
        let mut is_overdue = false;
        self.waiting.retain_mut(|waiting| {
            let Some(session) = waiting.session.upgrade() else {
                return false;
            };
            let Some((endpoint, connected, to_endpoint, to_client)) = session.passed() else {
                return true;
            };
            waiting.connected.get_or_insert(now);
            if to_client > 0 {
                proxy.pool.first_answer(endpoint, connected);
                return false;
            }
            if to_endpoint == 0 {
                return true;
            }
            waiting.sent.get_or_insert(now);
            let waited = waiting.waited(now);
            if waited >= timeout {
                if !std::mem::replace(&mut waiting.counted, true) {
                    proxy.pool.unanswered(endpoint);
                }
                // Bytes may have been sent a little later than they were seen to be.
                let since = now.checked_sub(waited).unwrap_or(now);
                waiting.probed = waiting.probed || proxy.pool.suspect(endpoint, since);
            }
            is_overdue |= waited >= patience;
            true
        });
        if is_overdue {
            self.reset_overdue(proxy, patience, now);
        }
        if self.waiting.is_empty() {
            // After a burst it has room for thousands.
            self.waiting = Vec::new();
        }
    }

    /// Resets the sessions that have waited for `patience`, if their endpoint is silent while another has been active.
    fn reset_overdue(&self, proxy: &Proxy, patience: Duration, now: Instant) {
        for doubted in proxy.pool.doubted(proxy.bounds.answer_timeout) {
            if doubted.state != EndpointState::Silent || !doubted.another_is_better {
                continue;
            }
            let addr = doubted.addr;
            let overdue = (self.waiting.iter()).filter(|waiting| waiting.waited(now) >= patience);
            let sessions = overdue.filter_map(|waiting| waiting.session.upgrade());
            let to_it = sessions.filter(|session| session.endpoint() == Some(addr));
            let reset = to_it.filter(|session| session.reset(Cause::Unanswered));
            report(
                "reset connections that were never answered",
                addr,
                reset.count(),
            );
        }
    }

    /// Resets connections to endpoints that were removed `delay` ago.
    fn close_removed(&mut self, proxy: &Proxy, delay: Duration, inbox: Inbox, now: Instant) {
        let has_notices = !inbox.removed.is_empty() || !inbox.late.is_empty();
        if self.removed.len() > MAX_REMEMBERED {
            self.removed.retain(|_, due| due.is_some());
        }
        // A session may also report an endpoint that is missing for the time of one answer only.
        let late = inbox.late.into_iter();
        let late: Vec<_> = late
            .filter(|addr| self.removed.contains_key(addr))
            .collect();
        let all = inbox.removed.into_iter().chain(late);
        self.removed
            .extend(all.map(|addr| (addr, Some(now + delay))));
        if has_notices {
            self.removed.retain(|addr, _| !proxy.pool.contains(*addr));
        }
        for (addr, due) in &mut self.removed {
            if due.take_if(|due| *due <= now).is_some() && !proxy.pool.contains(*addr) {
                let count = proxy.sessions.reset_endpoint(*addr, Cause::Removed);
                report("reset connections to a removed endpoint", *addr, count);
            }
        }
    }

    /// Resets connections to endpoints that have been silent or unhealthy for `delay`.
    fn close_unhealthy(&mut self, proxy: &Proxy, delay: Duration, now: Instant) {
        // Of members that were unhealthy together one is found healthy first: that says nothing about the others.
        let doubted = proxy.pool.doubted(delay.max(proxy.bounds.answer_timeout));
        self.closed.retain(|addr, since| {
            let is_same = |doubted: &Doubted| doubted.addr == *addr && doubted.since == *since;
            doubted.iter().any(is_same)
        });
        for doubted in doubted {
            let is_over = now.saturating_duration_since(doubted.since) >= delay;
            if !is_over
                || !doubted.another_is_better
                || self.closed.insert(doubted.addr, doubted.since).is_some()
            {
                continue;
            }
            let count = proxy
                .sessions
                .reset_endpoint(doubted.addr, Cause::Unhealthy);
            let message = match doubted.state {
                EndpointState::Silent => "reset connections to a silent endpoint",
                _ => "reset connections to an unhealthy endpoint",
            };
            report(message, doubted.addr, count);
        }
    }
}

fn report(message: &str, addr: SocketAddr, count: usize) {
    if count > 0 {
        let fields = [("address", addr.into()), ("connections", count.into())];
        log::info("proxy", message, &fields);
    }
}

/// Looks at each session once, and resets those with a dead peer.
fn reset_dead(proxy: &Proxy, patience: Duration) {
    let (mut clients, mut endpoints) = (0u64, 0u64);
    for session in proxy.sessions.all() {
        match session.relay().and_then(|r| r.abort_if_dead(patience)) {
            None => {}
            Some(Party::Client) => clients += 1,
            Some(Party::Endpoint) => endpoints += 1,
        }
    }
    if clients + endpoints > 0 {
        log::info(
            "proxy",
            "reset connections whose peer is gone",
            &[
                ("clients", clients.into()),
                ("endpoints", endpoints.into()),
                ("silence_seconds", patience.into()),
            ],
        );
    }
}

#[cfg(test)]
mod tests;
