//! Tests of the pool: who is chosen, what dials change, and when an endpoint is due.

mod loads;
mod proofs;
mod seen;

use super::*;
use crate::endpoint::Source;

fn endpoint(port: u16) -> Endpoint {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    Endpoint {
        addr,
        name: addr.to_string(),
        priority: 0,
        weight: 0,
        identity: None,
        source: Source::Endpoints,
    }
}

fn pool(ports: &[u16]) -> Pool {
    let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), None).unwrap();
    pool.replace(ports.iter().copied().map(endpoint).collect());
    pool
}

fn addr(port: u16) -> SocketAddr {
    endpoint(port).addr
}

fn refused(port: u16) -> dial::Error {
    dial::Error::connect(addr(port), io::Error::from_raw_os_error(111))
}

fn pick(pool: &Pool, tried: &[u16]) -> Option<u16> {
    let tried: Vec<SocketAddr> = tried.iter().copied().map(addr).collect();
    pool.pick(&tried).map(|(addr, _)| addr.port())
}

fn picks(pool: &Pool, count: usize) -> Vec<u16> {
    (0..count).filter_map(|_| pick(pool, &[])).collect()
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
    pool.succeeded(addr(2), Instant::now());
    assert_eq!(picks(&pool, 3), [2, 3, 1]);
}

#[test]
fn our_own_failures_and_stale_ones_change_nothing() {
    let pool = pool(&[1, 2]);
    let out_of_ports = dial::Error::connect(addr(1), io::Error::from_raw_os_error(99));
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

    pool.overdue(addr(2));
    let before = Instant::now();
    pool.succeeded(addr(2), Instant::now());
    pool.overdue(addr(2));
    pool.failed(addr(2), before, &refused(2));
    pool.succeeded(addr(1), Instant::now());
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
    assert_eq!(pick(&pool, &[2, 3]), Some(1));
    assert_eq!(pool.census().active, 3);
    pool.answered(addr(1), Duration::from_secs(1));
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
    assert_eq!(pick(&pool, &[1, 2]), None);
}

#[test]
fn a_loop_counts_although_the_dial_succeeded() {
    let pool = pool(&[1]);
    let before = Instant::now();
    pool.succeeded(addr(1), Instant::now());
    pool.failed(addr(1), before, &dial::Error::looped(addr(1)));
    assert!(pool.is_looped(addr(1)));
}

/// Of a dial that comes back to us both ends are ours, and either may be looked at first.
#[test]
fn a_dial_that_began_before_a_loop_was_found_does_not_end_it() {
    for identity in [None, Some("etcd.example".to_owned())] {
        let gate = identity
            .is_some()
            .then(|| -> Arc<dyn Gate> { Arc::new(Strict) });
        let pool = Pool::new(Policy::RoundRobin, Duration::from_secs(60), gate).unwrap();
        let endpoint = Endpoint {
            identity,
            ..endpoint(1)
        };
        pool.replace(vec![endpoint.clone()]);
        pool.proven(&endpoint, Instant::now(), PROOF);
        let before = Instant::now();
        pool.failed(addr(1), before, &dial::Error::looped(addr(1)));
        pool.failed(addr(1), before, &refused(1));
        assert!(pool.is_looped(addr(1)), "by its failure");
        pool.answered(addr(1), Duration::ZERO);
        pool.succeeded(addr(1), before);
        assert!(pool.is_looped(addr(1)), "by its success");
        assert!(!pool.proven(&endpoint, before, PROOF), "by its proof");
        assert!(pool.is_looped(addr(1)) && pick(&pool, &[]).is_none());
        // What began later tells of what is there now.
        pool.proven(&endpoint, Instant::now(), PROOF);
        pool.succeeded(addr(1), Instant::now());
        assert_eq!(picks(&pool, 1), [1]);
    }
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

/// Whether a time is 90 to 100 % of the delay of these pools after another.
fn is_a_delay_after(time: Instant, other: std::ops::RangeInclusive<Instant>) -> bool {
    time >= *other.start() + Duration::from_secs(54)
        && time <= *other.end() + Duration::from_secs(60)
}

#[test]
fn an_inactive_endpoint_is_due_once_a_delay() {
    let pool = pool(&[1, 2]);
    let before = Instant::now();
    assert_eq!(pool.due(before), (vec![], None));
    pool.failed(addr(1), before, &refused(1));
    let after = Instant::now();
    let mut next = pool.due(after).1.unwrap();
    assert!(is_a_delay_after(next, before..=after));
    // The second time and later, too, whatever becomes of the dials.
    for _ in 0..5 {
        let last = next - Duration::from_nanos(1);
        assert_eq!(pool.due(last), (vec![], Some(next)), "not before its time");
        let (due, again) = pool.due(next);
        assert_eq!(due, [addr(1)]);
        assert_eq!(pool.due(next), (vec![], again), "handed out once");
        let again = again.unwrap();
        assert!(is_a_delay_after(again, next..=next));
        next = again;
    }
    // What fails again is left alone for as long.
    let before = Instant::now();
    pool.failed(addr(1), before, &refused(1));
    let after = Instant::now();
    assert!(is_a_delay_after(pool.due(after).1.unwrap(), before..=after));
    pool.succeeded(addr(1), Instant::now());
    assert_eq!(pool.due(next + Duration::from_secs(3600)), (vec![], None));
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
    for _ in 0..2 {
        let mut delays = Vec::new();
        for _ in &ports {
            let next = pool.due(since[0]).1.unwrap();
            let (due, _) = pool.due(next);
            assert_eq!(due.len(), 1, "{due:?}");
            let last = &mut since[usize::from(due[0].port()) - 1];
            delays.push(next - std::mem::replace(last, next));
        }
        // Of 6 s: that twenty numbers are so close together happens once in 10^13 times.
        assert!(spread(&delays) > Duration::from_secs(1), "{delays:?}");
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

impl Gate for Strict {
    fn admit(&self, endpoint: &Endpoint, _: Duration) -> Result<Proof, dial::Error> {
        match endpoint.identity.as_deref() {
            Some("etcd.example") => Ok(PROOF),
            _ => Err(dial::Error::rejected(endpoint.addr, "impostor".to_owned())),
        }
    }
}

/// What was picked and is held.
type Held = Vec<(SocketAddr, Hold)>;

#[test]
fn priority_and_weight_decide_as_they_were_given() {
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
