//! The set of endpoints with the state of each, shared by all sessions.
//!
//! An endpoint is active until a dial of it fails for a reason of its own, and inactive
//! until one succeeds, whoever dialled. A failure that is older than the endpoint's last
//! success changes nothing. State changes are logged here, once, when they happen.
//! Nothing is dialled here and no lock is held while something is logged.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::dial;
use crate::endpoint::Endpoint;
use crate::endpoint::pick::{Candidate, Standing, Turn};
use crate::log;
use crate::sync::lock;
use crate::sys::random;
use crate::sys::waker::Waker;

/// The endpoints and whose turn it is.
#[derive(Debug)]
pub(crate) struct Pool {
    retry_delay: Duration,
    /// Called when an endpoint has become inactive and waits to be tried again.
    monitor: Waker,
    /// Called when no endpoint is active any more: there may be others by now.
    distress: Waker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    turn: Turn,
}

#[derive(Debug)]
struct Member {
    endpoint: Endpoint,
    activity: Activity,
    last_success: Option<Instant>,
    /// A dial is known to have waited too long for an answer, and has no outcome yet.
    overdue: bool,
}

#[derive(Debug)]
enum Activity {
    Active,
    Inactive { looped: bool, retry_at: Instant },
}

impl Member {
    fn is_active(&self) -> bool {
        matches!(self.activity, Activity::Active)
    }

    fn standing(&self) -> Standing {
        match self.activity {
            Activity::Active if self.overdue => Standing::Overdue,
            Activity::Active => Standing::Active,
            // A dial to ourselves would only come back as one more client.
            Activity::Inactive { looped: true, .. } => Standing::Excluded,
            Activity::Inactive { looped: false, .. } => Standing::Inactive,
        }
    }
}

/// What a new set of endpoints changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) added: Vec<SocketAddr>,
    pub(crate) removed: Vec<SocketAddr>,
}

impl Change {
    /// Whether old set and new are the same.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// How many endpoints there are, and how many of them are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) active: usize,
    pub(crate) total: usize,
}

impl Pool {
    /// An empty pool whose inactive endpoints are due again `retry_delay` after they failed.
    ///
    /// # Errors
    /// If no descriptors are left.
    pub(crate) fn new(retry_delay: Duration) -> io::Result<Self> {
        Ok(Self {
            retry_delay,
            monitor: Waker::new()?,
            distress: Waker::new()?,
            state: Mutex::default(),
        })
    }

    /// What wakes the thread that tries inactive endpoints again.
    pub(crate) fn monitor(&self) -> &Waker {
        &self.monitor
    }

    /// What wakes the thread that looks for other endpoints.
    pub(crate) fn distress(&self) -> &Waker {
        &self.distress
    }

    /// Whether an address is an endpoint now.
    pub(crate) fn contains(&self, addr: SocketAddr) -> bool {
        self.with(addr, |_| ()).is_some()
    }

    /// Replaces the set whole. What stays keeps its state; what is new starts active.
    pub(crate) fn replace(&self, endpoints: Vec<Endpoint>) -> Change {
        let mut state = lock(&self.state);
        // A refresh that changes nothing must not begin everybody's share anew.
        let same = state
            .members
            .iter()
            .map(|member| &member.endpoint)
            .eq(&endpoints);
        if same {
            return Change::default();
        }
        let mut old = std::mem::take(&mut state.members);
        let mut change = Change::default();
        for endpoint in endpoints {
            if state
                .members
                .iter()
                .any(|member| member.endpoint.addr == endpoint.addr)
            {
                continue;
            }
            let known = old
                .iter()
                .position(|member| member.endpoint.addr == endpoint.addr);
            let member = match known {
                Some(index) => Member {
                    endpoint,
                    ..old.swap_remove(index)
                },
                None => {
                    change.added.push(endpoint.addr);
                    Member {
                        endpoint,
                        activity: Activity::Active,
                        last_success: None,
                        overdue: false,
                    }
                }
            };
            state.members.push(member);
        }
        state.turn.reset();
        change.removed = old.iter().map(|member| member.endpoint.addr).collect();
        change
    }

    /// The next endpoint to dial for a client that has `tried` these: the one whose turn
    /// it is among the active, then those that are slow to answer, then, when none of these
    /// has served, the inactive.
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let mut state = lock(&self.state);
        let candidates: Vec<_> = state
            .members
            .iter()
            .map(|member| Candidate {
                standing: if tried.contains(&member.endpoint.addr) {
                    Standing::Excluded
                } else {
                    member.standing()
                },
                priority: member.endpoint.priority,
                weight: member.endpoint.weight,
            })
            .collect();
        let index = state.turn.next(&candidates)?;
        state.members.get(index).map(|member| member.endpoint.addr)
    }

    /// Notes that a dial waits for an answer longer than usual. The endpoint stays
    /// active until that dial's own outcome is reported, but is nobody's first choice.
    pub(crate) fn overdue(&self, addr: SocketAddr) {
        self.with(addr, |member| member.overdue = true);
    }

    /// Reports that a dial succeeded.
    pub(crate) fn succeeded(&self, addr: SocketAddr) {
        let activated = self.change(addr, |member| {
            member.overdue = false;
            member.last_success = Some(Instant::now());
            member.activity = Activity::Active;
        });
        if let Some(name) = activated {
            log::info(
                "pool",
                "activated",
                &[("address", addr.into()), ("endpoint", name.into())],
            );
        }
    }

    /// Reports that a dial begun at `started` failed. A failure of our own leaves the
    /// endpoint as it was, but for the doubt that such a dial may have raised.
    pub(crate) fn failed(&self, addr: SocketAddr, started: Instant, error: &dial::Error) {
        let deactivated = self.change(addr, |member| {
            // Whatever it says of the endpoint, that dial has its outcome now.
            member.overdue = false;
            if member.last_success.is_some_and(|success| success > started) && !error.is_loop() {
                return;
            }
            if error.is_local() {
                return;
            }
            member.activity = Activity::Inactive {
                looped: error.is_loop(),
                retry_at: Instant::now() + random::jittered(self.retry_delay),
            };
        });
        if let Some(name) = deactivated {
            self.monitor.wake();
            if self.census().active == 0 {
                self.distress.wake();
            }
            log::warn(
                "pool",
                "deactivated endpoint",
                &[
                    ("address", addr.into()),
                    ("endpoint", name.into()),
                    ("interval", self.retry_delay.into()),
                    ("error", error.to_string().into()),
                ],
            );
        }
    }

    /// The inactive endpoints whose time to be tried again has come, and when the next
    /// one's comes. Each is handed out once a delay: its next time is set here.
    pub(crate) fn due(&self, now: Instant) -> (Vec<SocketAddr>, Option<Instant>) {
        let mut state = lock(&self.state);
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        for member in &mut state.members {
            if let Activity::Inactive { retry_at, .. } = &mut member.activity {
                if *retry_at <= now {
                    *retry_at = now + random::jittered(self.retry_delay);
                    due.push(member.endpoint.addr);
                }
                next = Some(next.map_or(*retry_at, |next| next.min(*retry_at)));
            }
        }
        (due, next)
    }

    /// Whether the endpoint is inactive because it is this gateway.
    pub(crate) fn is_looped(&self, addr: SocketAddr) -> bool {
        let looped = self.with(addr, |member| {
            matches!(member.activity, Activity::Inactive { looped: true, .. })
        });
        looped == Some(true)
    }

    /// How many endpoints there are and how many are active.
    pub(crate) fn census(&self) -> Census {
        let state = lock(&self.state);
        Census {
            active: state
                .members
                .iter()
                .filter(|member| member.is_active())
                .count(),
            total: state.members.len(),
        }
    }

    /// Acts on an endpoint, and returns its name if that turned it active or inactive.
    fn change(&self, addr: SocketAddr, act: impl FnOnce(&mut Member)) -> Option<String> {
        let mut state = lock(&self.state);
        let member = state
            .members
            .iter_mut()
            .find(|member| member.endpoint.addr == addr)?;
        let before = member.is_active();
        act(member);
        let name = (member.is_active() != before).then(|| member.endpoint.name.clone());
        if name.is_some() {
            state.turn.reset();
        }
        name
    }

    fn with<T>(&self, addr: SocketAddr, act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        lock(&self.state)
            .members
            .iter_mut()
            .find(|member| member.endpoint.addr == addr)
            .map(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Endpoint {
            addr,
            name: addr.to_string(),
            priority: 0,
            weight: 0,
        }
    }

    fn pool(ports: &[u16]) -> Pool {
        let pool = Pool::new(Duration::from_secs(60)).unwrap();
        pool.replace(ports.iter().copied().map(endpoint).collect());
        pool
    }

    fn addr(port: u16) -> SocketAddr {
        endpoint(port).addr
    }

    fn refused(port: u16) -> dial::Error {
        dial::Error::connect(addr(port), io::Error::from_raw_os_error(111))
    }

    fn picks(pool: &Pool, count: usize) -> Vec<u16> {
        (0..count)
            .filter_map(|_| pool.pick(&[]))
            .map(|addr| addr.port())
            .collect()
    }

    #[test]
    fn a_failure_takes_an_endpoint_out_and_a_success_brings_it_back() {
        let pool = pool(&[1, 2, 3]);
        assert_eq!(picks(&pool, 4), [1, 2, 3, 1]);
        pool.failed(addr(2), Instant::now(), &refused(2));
        assert_eq!(picks(&pool, 4), [3, 1, 3, 1]);
        assert_eq!(
            pool.census(),
            Census {
                active: 2,
                total: 3
            }
        );
        pool.succeeded(addr(2));
        assert_eq!(picks(&pool, 3), [2, 3, 1]);
    }

    #[test]
    fn our_own_failures_and_stale_ones_change_nothing() {
        let pool = pool(&[1, 2]);
        let out_of_ports = dial::Error::connect(addr(1), io::Error::from_raw_os_error(99));
        pool.failed(addr(1), Instant::now(), &out_of_ports);
        assert_eq!(pool.census().active, 2);
        let before = Instant::now();
        pool.succeeded(addr(1));
        pool.failed(addr(1), before, &refused(1));
        assert_eq!(
            pool.census().active,
            2,
            "the endpoint was well after that dial began"
        );
        pool.failed(addr(1), Instant::now(), &refused(1));
        assert_eq!(pool.census().active, 1);
        pool.failed(addr(9), Instant::now(), &refused(9));
        assert_eq!(pool.census().total, 2);

        pool.overdue(addr(2));
        let before = Instant::now();
        pool.succeeded(addr(2));
        pool.overdue(addr(2));
        pool.failed(addr(2), before, &refused(2));
        pool.succeeded(addr(1));
        assert_eq!(
            picks(&pool, 4),
            [1, 2, 1, 2],
            "a stale failure ends the doubt all the same"
        );
    }

    #[test]
    fn a_slow_endpoint_is_nobodys_first_choice_until_it_has_an_outcome() {
        let pool = pool(&[1, 2, 3]);
        pool.overdue(addr(1));
        assert_eq!(picks(&pool, 4), [2, 3, 2, 3]);
        assert_eq!(pool.pick(&[addr(2), addr(3)]), Some(addr(1)));
        assert_eq!(pool.census().active, 3);
        pool.succeeded(addr(1));
        assert_eq!(picks(&pool, 3), [2, 3, 1]);
    }

    #[test]
    fn with_none_active_all_are_tried_in_turn_but_never_the_gateway_itself() {
        let pool = pool(&[1, 2, 3]);
        for port in [1, 2] {
            pool.failed(addr(port), Instant::now(), &refused(port));
        }
        pool.failed(addr(3), Instant::now(), &dial::Error::looped(addr(3)));
        assert!(pool.is_looped(addr(3)) && !pool.is_looped(addr(1)));
        assert_eq!(picks(&pool, 4), [1, 2, 1, 2]);
        assert_eq!(pool.pick(&[addr(1), addr(2)]), None);
    }

    #[test]
    fn a_loop_counts_although_the_dial_succeeded() {
        let pool = pool(&[1]);
        let before = Instant::now();
        pool.succeeded(addr(1));
        pool.failed(addr(1), before, &dial::Error::looped(addr(1)));
        assert!(pool.is_looped(addr(1)));
    }

    #[test]
    fn a_new_set_keeps_what_is_known_of_what_stays() {
        let pool = pool(&[1, 2]);
        pool.failed(addr(1), Instant::now(), &refused(1));
        let change = pool.replace([3, 1, 3].map(endpoint).into());
        assert_eq!(change.added, [addr(3)]);
        assert_eq!(change.removed, [addr(2)]);
        assert_eq!(
            pool.census(),
            Census {
                active: 1,
                total: 2
            }
        );
        assert!(pool.replace([1, 3].map(endpoint).into()).is_empty());
    }

    #[test]
    fn an_inactive_endpoint_is_due_once_a_delay() {
        let pool = pool(&[1, 2]);
        let now = Instant::now();
        assert_eq!(pool.due(now), (vec![], None));
        pool.failed(addr(1), now, &refused(1));
        let (due, next) = pool.due(now);
        assert!(due.is_empty());
        let next = next.unwrap();
        assert!(next >= now + Duration::from_secs(54) && next <= now + Duration::from_secs(61));
        let (due, after) = pool.due(next);
        assert_eq!(due, [addr(1)]);
        assert!(after.unwrap() >= next + Duration::from_secs(54));
        assert!(pool.due(next).0.is_empty(), "handed out once");
    }

    #[test]
    fn even_under_concurrent_clients() {
        let pool = pool(&[1, 2, 3]);
        let ports = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let drawn = picks(&pool, 30);
                    lock(&ports).extend(drawn);
                });
            }
        });
        let ports = ports.into_inner().unwrap();
        for port in 1..=3 {
            assert_eq!(ports.iter().filter(|drawn| **drawn == port).count(), 100);
        }
    }
}
