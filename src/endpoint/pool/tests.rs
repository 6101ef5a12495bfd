//! Tests of the pool: who is chosen, what dials change, and when an endpoint is due.

mod authentication;
mod changes;
mod doubted;
mod drains;
mod loads;
mod views;

use super::admission::Admission;
use super::tasks::Task;
use super::*;
use crate::dial;
use crate::endpoint::slots::Slot;
use crate::endpoint::state::EndpointState;
use crate::endpoint::stats::Checked;
use crate::endpoint::{Proof, Source};

fn endpoint(port: u16) -> Endpoint {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    Endpoint {
        addr,
        name: addr.to_string(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: None,
        source: Source::Endpoints,
    }
}

fn looped(pool: &Pool, port: u16) -> bool {
    lock(&pool.set)
        .find(addr(port))
        .is_some_and(|member| member.is_this_gateway())
}

fn pool(ports: &[u16]) -> Pool {
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    pool.replace(ports.iter().copied().map(endpoint).collect());
    for port in ports {
        pool.succeeded(addr(*port), Instant::now());
    }
    is_called(pool.monitor_waker());
    pool
}

/// Whether a waker has been called since this was last asked.
fn is_called(waker: &Waker) -> bool {
    use crate::sys::syscall::{PollFd, wait};
    let mut fds = [PollFd::readable(waker.fd())];
    wait(&mut fds, Some(Duration::ZERO)).unwrap();
    waker.clear();
    fds[0].is_ready()
}

/// A dial was answered, and nothing else is made of that.
fn answered(pool: &Pool, port: u16, took: Duration) {
    pool.change(addr(port), |member, _| member.answered(took));
}

/// Connects to an endpoint, and has it prove who it is if that is wanted.
fn admit(pool: &Pool, port: u16) -> Result<(), dial::Error> {
    match pool.connected(addr(port), Instant::now(), Duration::ZERO) {
        Admission::Ready | Admission::Trial => Ok(()),
        Admission::Rejected(error) => Err(error),
        Admission::Authenticate(proving) => {
            let slot = pool.slots().for_client().unwrap();
            pool.authenticate(&proving, Duration::from_secs(1), &slot)
        }
    }
}

/// Whether an endpoint that is connected has to prove who it is.
fn needs_proof(pool: &Pool, port: u16) -> bool {
    let admission = pool.connected(addr(port), Instant::now(), Duration::ZERO);
    matches!(admission, Admission::Authenticate(_))
}

/// Which endpoints are to be asked something by `now`, and when the next is.
fn due(pool: &Pool, now: Instant) -> (Vec<SocketAddr>, Option<Instant>) {
    let mut due = Vec::new();
    while let Some(task) = pool.next_task(now) {
        due.push(match task {
            Task::Dial(addr) | Task::Probe(addr) => addr,
            Task::Authenticate(proving) => proving.addr(),
        });
    }
    (due, pool.next_due())
}

fn addr(port: u16) -> SocketAddr {
    endpoint(port).addr
}

fn refused(port: u16) -> dial::Error {
    dial::ErrorKind::Connect(io::Error::from_raw_os_error(111)).at(addr(port))
}

fn pick(pool: &Pool, tried: &[u16]) -> Option<u16> {
    let tried: Vec<SocketAddr> = tried.iter().copied().map(addr).collect();
    pool.pick(&tried).map(|(addr, _)| addr.port())
}

fn picks(pool: &Pool, count: usize) -> Vec<u16> {
    (0..count).filter_map(|_| pick(pool, &[])).collect()
}

#[test]
fn a_failure_deactivates_and_a_success_activates() {
    let pool = pool(&[1, 2, 3]);
    assert_eq!(picks(&pool, 4), [1, 2, 3, 1]);
    pool.failed(addr(2), Instant::now(), &refused(2));
    assert_eq!(picks(&pool, 4), [3, 1, 3, 1]);
    assert_eq!(
        pool.census(),
        Census {
            active: 2,
            untried: 0,
            draining: 0,
            total: 3
        }
    );
    pool.succeeded(addr(2), Instant::now());
    assert_eq!(picks(&pool, 3), [2, 3, 1]);
}

#[test]
fn local_and_stale_failures_change_nothing() {
    let pool = pool(&[1, 2]);
    let out_of_ports = dial::ErrorKind::Connect(io::Error::from_raw_os_error(99)).at(addr(1));
    pool.failed(addr(1), Instant::now(), &out_of_ports);
    assert_eq!(pool.census().active, 2);
    let before = Instant::now();
    pool.succeeded(addr(1), Instant::now());
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

    pool.slow(addr(2));
    let before = Instant::now();
    pool.succeeded(addr(2), Instant::now());
    pool.slow(addr(2));
    pool.failed(addr(2), before, &refused(2));
    pool.succeeded(addr(1), Instant::now());
    assert_eq!(
        picks(&pool, 4),
        [1, 2, 1, 2],
        "a stale failure ends the doubt all the same"
    );
}

#[test]
fn a_slow_endpoint_comes_after_others_until_its_outcome() {
    let pool = pool(&[1, 2, 3]);
    pool.slow(addr(1));
    assert_eq!(picks(&pool, 4), [2, 3, 2, 3]);
    assert_eq!(pick(&pool, &[2, 3]), Some(1));
    assert_eq!(pool.census().active, 3);
    answered(&pool, 1, Duration::from_secs(1));
    assert_eq!(picks(&pool, 3), [2, 3, 1]);
}

#[test]
fn with_none_active_all_are_tried_in_turn_but_never_the_gateway_itself() {
    let pool = pool(&[1, 2, 3]);
    for port in [1, 2] {
        pool.failed(addr(port), Instant::now(), &refused(port));
    }
    pool.failed(addr(3), Instant::now(), &dial::ErrorKind::Loop.at(addr(3)));
    assert!(looped(&pool, 3) && !looped(&pool, 1));
    assert_eq!(picks(&pool, 4), [1, 2, 1, 2]);
    assert_eq!(pick(&pool, &[1, 2]), None);
}

#[test]
fn a_loop_counts_although_the_dial_succeeded() {
    let pool = pool(&[1]);
    let before = Instant::now();
    pool.succeeded(addr(1), Instant::now());
    pool.failed(addr(1), before, &dial::ErrorKind::Loop.at(addr(1)));
    assert!(looped(&pool, 1));
}

/// Of a dial that comes back to us both ends are ours, and either may be looked at first.
#[test]
fn a_dial_that_began_before_a_loop_was_found_does_not_end_it() {
    for identity in [None, Some("etcd.example".to_owned())] {
        let authenticator = identity
            .is_some()
            .then(|| -> Arc<dyn Authenticate> { Arc::new(Strict) });
        let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), authenticator).unwrap();
        let endpoint = Endpoint {
            identity,
            ..endpoint(1)
        };
        pool.replace(vec![endpoint.clone()]);
        pool.set_authenticated(&endpoint, Instant::now(), PROOF);
        let before = Instant::now();
        pool.failed(addr(1), before, &dial::ErrorKind::Loop.at(addr(1)));
        pool.failed(addr(1), before, &refused(1));
        assert!(looped(&pool, 1), "by its failure");
        answered(&pool, 1, Duration::ZERO);
        pool.succeeded(addr(1), before);
        assert!(looped(&pool, 1), "by its success");
        assert!(
            !pool.set_authenticated(&endpoint, before, PROOF),
            "by its proof"
        );
        assert!(looped(&pool, 1) && pick(&pool, &[]).is_none());
        // A later dial shows the present state.
        pool.set_authenticated(&endpoint, Instant::now(), PROOF);
        pool.succeeded(addr(1), Instant::now());
        assert_eq!(picks(&pool, 1), [1]);
    }
}

#[test]
fn a_new_set_keeps_the_state_of_endpoints_that_stay() {
    let pool = pool(&[1, 2]);
    pool.failed(addr(1), Instant::now(), &refused(1));
    let change = pool.replace([3, 1, 3].map(endpoint).into());
    assert_eq!(change.added, [addr(3)]);
    assert_eq!(change.removed, [addr(2)]);
    assert_eq!(picks(&pool, 1), [3], "it is used at once");
    assert_eq!(
        pool.census(),
        Census {
            active: 0,
            untried: 1,
            draining: 0,
            total: 2
        }
    );
    assert!(pool.replace([1, 3].map(endpoint).into()).is_empty());
}

/// Whether a time is 90 to 100 % of so many seconds after another.
fn is_after(time: Instant, seconds: u64, other: std::ops::RangeInclusive<Instant>) -> bool {
    let delay = Duration::from_secs(seconds);
    time >= *other.start() + delay * 9 / 10 && time <= *other.end() + delay
}

#[test]
fn an_inactive_endpoint_is_due_after_a_second_and_then_twice_as_late_each_time() {
    let pool = pool(&[1, 2]);
    let before = Instant::now();
    assert_eq!(due(&pool, before), (vec![], None));
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let before = Instant::now();
        pool.failed(addr(1), before, &refused(1));
        let after = Instant::now();
        let next = due(&pool, after).1.unwrap();
        assert!(is_after(next, seconds, before..=after), "{seconds} s");
        let last = next - Duration::from_nanos(1);
        assert_eq!(
            due(&pool, last),
            (vec![], Some(next)),
            "not before its time"
        );
        let (asked, again) = due(&pool, next);
        assert_eq!(asked, [addr(1)]);
        assert_eq!(due(&pool, next), (vec![], again), "handed out once");
        // Also if its outcome is never reported.
        assert!(is_after(again.unwrap(), 60.min(2 * seconds), next..=next));
    }
    pool.succeeded(addr(1), Instant::now());
    let later = Instant::now() + Duration::from_secs(3600);
    assert_eq!(due(&pool, later), (vec![], None));
}

#[test]
fn a_flapping_endpoint_keeps_the_longer_delay() {
    let second = Duration::from_secs(1);
    let delays = |up: Duration, times: usize| -> Vec<u64> {
        let parameters = Parameters {
            retry_delay: 60 * second,
            ask_again: 5 * second,
            authenticates: false,
            number: || 0,
        };
        let mut member = Member::new(endpoint(1), parameters, Arc::default());
        let mut now = Instant::now();
        let fail = |_| {
            member.succeeded(now, now);
            now += up;
            member.failed(now, &refused(1), now);
            let next = member.next().unwrap();
            let delay = next - now;
            now = next;
            delay.as_secs()
        };
        (0..times).map(fail).collect()
    };
    assert_eq!(delays(second, 8), [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(delays(59 * second, 3), [1, 2, 4]);
    assert_eq!(delays(60 * second, 3), [1, 1, 1], "it was well for as long");
}

/// How far the shortest and the longest are apart.
fn spread(delays: &[Duration]) -> Duration {
    let longest = delays.iter().max().copied().unwrap_or_default();
    longest - delays.iter().min().copied().unwrap_or_default()
}

#[test]
fn endpoints_that_fail_together_are_due_at_different_times() {
    let ports: Vec<u16> = (1..=20).collect();
    let pool = pool(&ports);
    let mut since: Vec<Instant> = Vec::new();
    for port in &ports {
        since.push(Instant::now());
        pool.failed(addr(*port), Instant::now(), &refused(*port));
    }
    // The first time and the second: each delay is of its own, one at a time in their order.
    for seconds in [1, 2] {
        let mut delays = Vec::new();
        for _ in &ports {
            let next = due(&pool, since[0]).1.unwrap();
            let (asked, _) = due(&pool, next);
            assert_eq!(asked.len(), 1, "{asked:?}");
            let last = &mut since[usize::from(asked[0].port()) - 1];
            delays.push(next - std::mem::replace(last, next));
        }
        // Of six times as much: that twenty numbers are so close together happens once in 10^13 times.
        let least = Duration::from_millis(seconds * 1000 / 60);
        assert!(spread(&delays) > least, "{delays:?}");
    }
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

const PROOF: Proof = Proof {
    not_after: Some(4_000_000_000),
};

#[derive(Debug)]
struct Strict;

impl Authenticate for Strict {
    fn authenticate(
        &self,
        endpoint: &Endpoint,
        _: Duration,
        _: &Slot,
    ) -> Result<Proof, dial::Error> {
        match endpoint.identity.as_deref() {
            Some("etcd.example") => Ok(PROOF),
            _ => Err(dial::ErrorKind::Rejected("impostor".to_owned()).at(endpoint.addr)),
        }
    }
}

/// What was picked and is held.
type Held = Vec<(SocketAddr, InFlight)>;

#[test]
fn priority_and_weight_decide_as_configured() {
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    let with = |port, priority, weight| Endpoint {
        priority,
        weight,
        ..endpoint(port)
    };
    pool.replace(vec![with(1, 2, 9), with(2, 1, 3), with(3, 1, 1)]);
    let mut ports = picks(&pool, 8);
    ports.sort_unstable();
    assert_eq!(ports, [2, 2, 2, 2, 2, 2, 3, 3]);
    assert_eq!(pick(&pool, &[2, 3]), Some(1));
    // What changes about an endpoint that stays is used.
    pool.replace(vec![with(1, 0, 9), with(2, 1, 3), with(3, 1, 1)]);
    assert_eq!(picks(&pool, 2), [1, 1]);
    assert_eq!(pool.endpoints()[0].priority, 0);
}
