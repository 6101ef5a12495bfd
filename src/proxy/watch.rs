//! What becomes of sessions that nobody else looks at: the work of the thread `sessions`.
//!
//! - One whose client has sent its first bytes and got none back for `--answer-timeout` raises a suspicion:
//!   its endpoint is probed by the monitor. One that is still unanswered after `--dial-timeout` is reset, if
//!   its endpoint is silent and another is active: its client has been connected in no sense that it knows,
//!   and its next try reaches a member that answers. No byte of it is looked at, only counts of them.
//! - Connections to an endpoint that has left the set are reset after `--close-removed`. An endpoint that
//!   comes back meanwhile keeps its connections, and has the whole time again when it is removed again. A
//!   session that was still dialling when its endpoint was removed reports it itself.
//! - Connections to an endpoint that has been silent or unhealthy for `--close-unhealthy` are reset, once,
//!   if another has been active for as long.
//! - Sessions whose peer is gone are reset (`gone`).
//!
//! Where none of this is to be done the thread sleeps: a session wakes it at most once per look. Without a
//! session it wakes for nothing but connections to removed endpoints that were to be reset.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::endpoint::pool::doubts::Doubted;
use crate::endpoint::status::Status;
use crate::log;
use crate::proxy::Proxy;
use crate::proxy::cause::Cause;
use crate::proxy::gone;
use crate::proxy::session::Session;
use crate::sync::lock;
use crate::sys::memory;
use crate::times::Times;

/// For so long a session is looked at often that has no answer, and longer if it may be given up.
const YOUNG: Duration = Duration::from_secs(5);

/// How many endpoints that have left are remembered for sessions that are connected to one late: as many as
/// there may be endpoints.
const MAX_GONE: usize = 1024;

/// What is to be watched for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How long an endpoint may take for its first bytes; zero: for ever.
    pub(crate) answer_timeout: Duration,
    /// How long connections to an endpoint live that has left the set; `None`: for ever.
    pub(crate) close_removed: Option<Duration>,
    /// How long those to an endpoint live that is silent or unhealthy; `None`: for ever.
    pub(crate) close_unhealthy: Option<Duration>,
}

/// Where the thread is told what there is to watch.
#[derive(Debug)]
pub(crate) struct Watch {
    settings: Settings,
    news: Mutex<News>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct News {
    /// The thread waits for sessions, and will not look at any until one begins.
    asleep: bool,
    /// A session has begun.
    any_begun: bool,
    /// Sessions that have begun, if their first answer is to be waited for.
    begun: Vec<Weak<Session>>,
    /// Endpoints that have left the set, for which connections are to end.
    removed: Vec<SocketAddr>,
    /// Endpoints that sessions were connected to after they had left the set.
    late: Vec<SocketAddr>,
}

/// What the thread knows; kept by whoever starts it, for the case that it ends.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    waiting: Vec<Waiting>,
    /// Endpoints that have been reported to have left the set, and are not known to be back.
    gone: BTreeSet<SocketAddr>,
    /// When the connections of these endpoints are to be reset.
    removed: BTreeMap<SocketAddr, Instant>,
    /// The next session is to wake the thread: there is none, or none that is looked at often.
    asleep: bool,
    /// When peers are to be looked at.
    peers: Option<Instant>,
    /// Since when these were in the state that their connections were reset for.
    closed: BTreeMap<SocketAddr, Instant>,
}

/// A session that has not been answered.
#[derive(Debug)]
struct Waiting {
    session: Weak<Session>,
    began: Instant,
    /// When it was first seen that its client has sent something.
    since: Option<Instant>,
    /// It is counted.
    counted: bool,
    /// Its endpoint has been asked for it.
    settled: bool,
}

impl Watch {
    /// Nothing to watch yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            news: Mutex::default(),
            called: Condvar::new(),
        }
    }

    /// A session has been connected to its endpoint.
    pub(super) fn began(&self, session: &Arc<Session>) {
        let wake = {
            let mut news = lock(&self.news);
            news.any_begun = true;
            // For one that is missing there for want of memory, no member is suspected.
            if !self.settings.answer_timeout.is_zero()
                && memory::carefully(|| news.begun.try_reserve(1)).is_ok()
            {
                news.begun.push(Arc::downgrade(session));
            }
            std::mem::take(&mut news.asleep)
        };
        if wake {
            self.called.notify_one();
        }
    }

    /// These are not endpoints any more.
    pub(super) fn removed(&self, addrs: Vec<SocketAddr>) {
        if self.settings.close_removed.is_some() {
            lock(&self.news).removed.extend(addrs);
            self.called.notify_one();
        }
    }

    /// A session has been connected to what is not an endpoint any more.
    pub(super) fn late(&self, addr: SocketAddr) {
        if self.settings.close_removed.is_some() {
            lock(&self.news).late.push(addr);
            self.called.notify_one();
        }
    }

    /// Waits until a time, or for news; sessions that begin are news only if it is `asleep`.
    fn wait(&self, until: Option<Instant>, asleep: bool) -> News {
        let mut news = lock(&self.news);
        let is_quiet = |news: &News| {
            news.removed.is_empty() && news.late.is_empty() && !(asleep && news.any_begun)
        };
        while is_quiet(&news) {
            news.asleep = asleep;
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            news = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let waited = self.called.wait_timeout(news, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.called.wait(news);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        std::mem::take(&mut news)
    }
}

/// Watches all sessions; the work of a thread.
pub(crate) fn run(proxy: &Proxy, rounds: &mut Rounds) -> ! {
    let mut until = Some(Instant::now());
    loop {
        let news = proxy.watch.wait(until, rounds.asleep);
        until = rounds.step(proxy, news, Instant::now());
    }
}

impl Rounds {
    /// Does what is due; returns when there is more to do, if nothing is heard until then.
    fn step(&mut self, proxy: &Proxy, news: News, now: Instant) -> Option<Instant> {
        self.close_removed(proxy, news.removed, news.late, now);
        let begun = news.begun.into_iter().map(|session| Waiting {
            session,
            began: now,
            since: None,
            counted: false,
            settled: false,
        });
        if memory::carefully(|| self.waiting.try_reserve(begun.len())).is_ok() {
            self.waiting.extend(begun);
        }
        self.look(proxy, now);
        if self.waiting.is_empty() {
            // After a burst it has room for thousands.
            self.waiting = Vec::new();
        }
        if proxy.watch.settings.close_unhealthy.is_some() {
            self.close_unhealthy(proxy, now);
        }
        let times = &proxy.times;
        let look = self.pace(now, times, proxy.dial_timeout);
        let is_any = proxy.sessions.count() > 0;
        let unhealthy = proxy.watch.settings.close_unhealthy;
        let doubted = unhealthy.filter(|_| is_any).map(|_| times.session_look);
        let looks = look.into_iter().chain(doubted).map(|pause| now + pause);
        let peers = is_any.then(|| self.look_at_peers(proxy, now));
        self.peers = peers;
        let waits_for_answers = !proxy.watch.settings.answer_timeout.is_zero();
        self.asleep = !is_any || waits_for_answers && look.is_none();
        let removed = self.removed.values().copied();
        looks.chain(removed).chain(peers).min()
    }

    /// Looks for peers that are gone, if it is time to; returns when it is next.
    fn look_at_peers(&self, proxy: &Proxy, now: Instant) -> Instant {
        let later = now + proxy.times.peer_look;
        let next = self.peers.unwrap_or(later);
        if next > now {
            return next;
        }
        gone::look(proxy);
        later
    }

    /// How soon to look at those that wait.
    fn pace(&self, now: Instant, times: &Times, dial_timeout: Duration) -> Option<Duration> {
        let (often, seldom) = (times.answer_look, times.session_look);
        let passed = |since: Instant| now.saturating_duration_since(since);
        // One that waits by right may do so for hours.
        let young = |waiting: &Waiting| {
            let open = waiting.since.filter(|_| !waiting.settled);
            let given_up = |since| passed(since) < dial_timeout.saturating_add(YOUNG);
            passed(waiting.began) < YOUNG || open.is_some() || waiting.since.is_some_and(given_up)
        };
        match self.waiting.iter().any(young) {
            true => Some(often),
            // For one that has said nothing at all, the looks at its peers do.
            false => {
                let has_sent = |waiting: &Waiting| waiting.since.is_some();
                self.waiting.iter().any(has_sent).then_some(seldom)
            }
        }
    }

    /// Looks at the sessions that wait for their first answer.
    fn look(&mut self, proxy: &Proxy, now: Instant) {
        let timeout = proxy.watch.settings.answer_timeout;
        let mut overdue = Vec::new();
        self.waiting.retain_mut(|waiting| {
            let Some(session) = waiting.session.upgrade() else {
                return false;
            };
            let Some((endpoint, connected, to_endpoint, to_client)) = session.passed() else {
                return false;
            };
            if to_client > 0 {
                proxy.pool.heard(endpoint, connected);
                return false;
            }
            if to_endpoint == 0 {
                return true;
            }
            let waited = now.saturating_duration_since(*waiting.since.get_or_insert(now));
            if waited >= timeout {
                if !std::mem::replace(&mut waiting.counted, true) {
                    proxy.pool.unanswered(endpoint);
                }
                // Bytes may have been sent a little later than they were seen to be.
                let since = now.checked_sub(waited).unwrap_or(now);
                waiting.settled = waiting.settled || proxy.pool.suspect(endpoint, since);
            }
            // One that there is no memory for is overdue at the next look, too.
            if waited >= proxy.dial_timeout.max(timeout)
                && memory::carefully(|| overdue.try_reserve(1)).is_ok()
            {
                overdue.push((endpoint, session));
            }
            true
        });
        if !overdue.is_empty() {
            give_up(proxy, &overdue, timeout);
        }
    }

    /// Resets what is connected to endpoints that have been removed for long enough.
    fn close_removed(
        &mut self,
        proxy: &Proxy,
        removed: Vec<SocketAddr>,
        late: Vec<SocketAddr>,
        now: Instant,
    ) {
        let Some(delay) = proxy.watch.settings.close_removed else {
            return;
        };
        let has_news = !removed.is_empty() || !late.is_empty();
        if self.gone.len() > MAX_GONE {
            self.gone.clear();
        }
        self.gone.extend(removed.iter().copied());
        // A session may report one that has left for the time of one answer.
        let late = late.into_iter().filter(|addr| self.gone.contains(addr));
        let due = removed
            .into_iter()
            .chain(late)
            .map(|addr| (addr, now + delay));
        self.removed.extend(due);
        if has_news {
            self.gone.retain(|addr| !proxy.pool.contains(*addr));
        }
        let over: Vec<SocketAddr> = self
            .removed
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(addr, _)| *addr)
            .collect();
        for addr in over {
            self.removed.remove(&addr);
            if proxy.pool.contains(addr) {
                continue;
            }
            let count = proxy.sessions.reset_endpoint(addr, Cause::Removed);
            report("reset connections to a removed endpoint", addr, count);
        }
    }

    /// Resets what is connected to endpoints that have been doubted for long enough.
    fn close_unhealthy(&mut self, proxy: &Proxy, now: Instant) {
        let settings = &proxy.watch.settings;
        let Some(delay) = settings.close_unhealthy else {
            return;
        };
        // Of members that were unhealthy alike one is the first to be found well: that the others are not is no
        // news then.
        let doubted = proxy.pool.doubted(delay.max(settings.answer_timeout));
        let known = |addr: &SocketAddr, since: &Instant| {
            let is_same = |doubted: &Doubted| (&doubted.addr, &doubted.since) == (addr, since);
            doubted.iter().any(is_same)
        };
        self.closed.retain(|addr, since| known(addr, since));
        for doubted in &doubted {
            let Doubted { addr, since, .. } = *doubted;
            let is_over = now.saturating_duration_since(since) >= delay && doubted.is_outdone;
            if !is_over || self.closed.insert(addr, since).is_some() {
                continue;
            }
            let count = proxy.sessions.reset_endpoint(addr, Cause::Unhealthy);
            let message = match doubted.status {
                Status::Silent => "reset connections to a silent endpoint",
                _ => "reset connections to an unhealthy endpoint",
            };
            report(message, addr, count);
        }
    }
}

/// Resets those sessions whose endpoint is silent while another has been active for so long.
fn give_up(proxy: &Proxy, overdue: &[(SocketAddr, Arc<Session>)], active_for: Duration) {
    for doubted in proxy.pool.doubted(active_for) {
        if doubted.status != Status::Silent || !doubted.is_outdone {
            continue;
        }
        let addr = doubted.addr;
        let to_it = overdue.iter().filter(|(endpoint, _)| *endpoint == addr);
        let count = super::sessions::reset(to_it.map(|(_, session)| session), Cause::Unanswered);
        report("reset connections that were never answered", addr, count);
    }
}

fn report(message: &str, addr: SocketAddr, count: usize) {
    if count > 0 {
        log::info(
            "proxy",
            message,
            &[("address", addr.into()), ("connections", count.into())],
        );
    }
}

#[cfg(test)]
mod tests;
