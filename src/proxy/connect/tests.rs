//! Tests of connecting one client.

use super::*;
use crate::config::Policy;
use crate::dial::BlackHole;
use crate::endpoint::pool::tasks::Task;
use crate::endpoint::pool::view::View;
use crate::endpoint::state::EndpointState;
use crate::endpoint::{Authenticate, Endpoint, Proof, Source};
use crate::sync::lock;
use crate::sys::syscall::{self, PollFd};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

const HOUR: Duration = Duration::from_secs(3600);
const INSTANT: Duration = Duration::from_nanos(1);
/// Long enough for a busy machine, much shorter than an hour.
const SOON: Duration = Duration::from_secs(10);

fn pool(addrs: &[SocketAddr], gate: Option<Arc<dyn Authenticate>>) -> Pool {
    let identity = gate.as_ref().map(|_| "etcd.example".to_owned());
    let gated = gate.is_some();
    let pool = Pool::new(Policy::RoundRobin, HOUR, gate).unwrap();
    let endpoints = addrs.iter().map(|addr| Endpoint {
        addr: *addr,
        name: addr.to_string(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: identity.clone(),
        source: Source::Endpoints,
    });
    pool.replace(endpoints.collect());
    if !gated {
        addrs
            .iter()
            .for_each(|addr| pool.succeeded(*addr, Instant::now()));
    }
    pool.monitor_waker().clear();
    pool
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address that refuses connections.
fn gone() -> SocketAddr {
    listener().1
}

fn views<const N: usize>(pool: &Pool) -> [View; N] {
    pool.views().try_into().unwrap()
}

/// Whether dials were handed to the monitor, or an endpoint was deactivated.
fn monitor_is_called(pool: &Pool) -> bool {
    let mut fds = [PollFd::readable(pool.monitor_waker().fd())];
    syscall::wait(&mut fds, Some(Duration::ZERO)).unwrap();
    fds[0].is_ready()
}

/// What one client gets: the endpoint or why it has none, how many dials were begun for it, and
/// how many of them beyond the first.
fn client(
    pool: &Pool,
    timeout: Duration,
    times: Times,
) -> (Result<SocketAddr, Rejection>, u64, u64) {
    let (attempts, redispatches) = (Counter::new(), Counter::new());
    let connector = Connector {
        pool,
        monitor: &Monitor::new(times),
        guard: &LoopGuard::default(),
        attempts: &attempts,
        redispatches: &redispatches,
        timeout,
        times,
    };
    let served = connector.connect();
    let served = served.map(|(dialled, _hold)| dialled.endpoint);
    let served = served.map_err(|(reason, _)| reason);
    (served, attempts.get(), redispatches.get())
}

fn with_head_start(head_start: Duration) -> Times {
    Times {
        head_start,
        ..Times::REAL
    }
}

#[test]
fn a_rejection_says_why_no_endpoint_was_found() {
    let unserved = |pool: &Pool| {
        let begun = Instant::now();
        let unserved = client(pool, SOON, Times::REAL).0.unwrap_err();
        assert!(
            begun.elapsed() < SOON / 2,
            "as soon as there is nothing left"
        );
        unserved
    };
    let [first, second] = [gone(), gone()];
    assert_eq!(unserved(&pool(&[], None)), Rejection::NoEndpoint);
    let pool = pool(&[first, second], None);
    assert_eq!(unserved(&pool), Rejection::Unreachable);
    pool.failed(first, Instant::now(), &dial::ErrorKind::Loop.at(first));
    assert_eq!(unserved(&pool), Rejection::Unreachable);
    let rejected = dial::ErrorKind::Rejected("another".to_owned()).at(second);
    pool.failed(second, Instant::now(), &rejected);
    assert_eq!(unserved(&pool), Rejection::NoEligibleEndpoint);
}

#[test]
fn after_a_refusal_the_next_endpoint_is_dialled_at_once() {
    let ([one, other], (_listener, good)) = ([gone(), gone()], listener());
    let pool = pool(&[one, other, good], None);
    let begun = Instant::now();
    let served = client(&pool, HOUR, with_head_start(HOUR));
    assert_eq!(served, (Ok(good), 3, 2), "each is dialled once");
    assert!(begun.elapsed() < SOON);
    let seen = views::<3>(&pool).map(|view| view.state);
    assert_eq!(
        seen,
        [
            EndpointState::Inactive,
            EndpointState::Inactive,
            EndpointState::Active
        ]
    );
    let dials: u64 = views::<3>(&pool)[2]
        .stats
        .dials
        .read()
        .map(|dial| dial.1)
        .sum();
    assert_eq!(dials, 1, "the dial that won is counted once");
    // The one that serves is the first choice from now on.
    assert_eq!(client(&pool, HOUR, with_head_start(HOUR)), (Ok(good), 1, 0));
    // One that is a last resort, and serves, is active again.
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    pool.failed(
        good,
        Instant::now(),
        &dial::ErrorKind::Connect(refused).at(good),
    );
    assert_eq!(pool.census().active, 0);
    assert_eq!(client(&pool, HOUR, with_head_start(HOUR)).0, Ok(good));
    assert_eq!(views::<3>(&pool)[2].state, EndpointState::Active);
}

#[test]
fn an_endpoint_that_does_not_answer_has_a_head_start_and_becomes_slow() {
    let (hole, (_listener, good)) = (BlackHole::new(), listener());
    let pool = pool(&[hole.addr, good], None);
    let (begun, head_start) = (Instant::now(), Duration::from_millis(40));
    assert_eq!(
        client(&pool, HOUR, with_head_start(head_start)),
        (Ok(good), 2, 1)
    );
    let waited = begun.elapsed();
    assert!(waited >= head_start && waited < SOON, "{waited:?}");
    let seen = views::<2>(&pool).map(|view| view.state);
    assert_eq!(seen, [EndpointState::Slow, EndpointState::Active]);
    assert!(monitor_is_called(&pool), "its dial is the monitor's");
}

#[test]
fn all_dials_of_a_client_share_one_timeout() {
    let [one, other] = [(); 2].map(|()| BlackHole::new());
    let timeout = Duration::from_millis(60);
    // (head start, dials that are begun)
    let cases = [(Duration::from_millis(10), 2), (HOUR, 2)];
    for (head_start, dials) in cases {
        let pool = pool(&[one.addr, other.addr], None);
        let begun = Instant::now();
        let (served, attempts, _) = client(&pool, timeout, with_head_start(head_start));
        assert_eq!((served, attempts), (Err(Rejection::Unreachable), dials));
        let waited = begun.elapsed();
        assert!(waited >= timeout && waited < SOON, "{waited:?}");
        assert!(
            monitor_is_called(&pool),
            "what is undecided is the monitor's"
        );
    }
}

#[test]
fn a_refusal_does_not_shorten_the_head_start_of_the_next() {
    let (gone, hole, (_listener, good)) = (gone(), BlackHole::new(), listener());
    let pool = pool(&[gone, hole.addr, good], None);
    let (begun, head_start) = (Instant::now(), Duration::from_millis(100));
    let served = client(&pool, HOUR, with_head_start(head_start));
    assert_eq!(served, (Ok(good), 3, 2));
    assert!(begun.elapsed() >= head_start);
}

/// Each swallows packets but the last: it is dialled in time, however many there are, and those that are known to be down
/// take no time from the others.
#[test]
fn every_endpoint_is_dialled_in_time() {
    let (hole, (_listener, good)) = (BlackHole::new(), listener());
    let timeout = Duration::from_secs(4);
    // (endpoints before the last, how many of them are known to be down, the head start of each)
    for (others, down, expected) in [
        (0, 0, 250),
        (2, 0, 250),
        (11, 0, 250),
        (19, 0, 150),
        (19, 10, 250),
        (149, 0, 20),
        (149, 149, 250),
        (999, 0, 10),
    ] {
        let addrs: Vec<SocketAddr> = (0..others)
            .map(|number| ([127, 1, (number >> 8) as u8, number as u8], 1).into())
            .chain([good])
            .collect();
        let pool = pool(&addrs, None);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        for addr in &addrs[..down] {
            let error = dial::ErrorKind::Connect(refused()).at(*addr);
            pool.failed(*addr, Instant::now(), &error);
        }
        let connector = Connector {
            pool: &pool,
            monitor: &Monitor::new(Times::REAL),
            guard: &LoopGuard::default(),
            attempts: &Counter::new(),
            redispatches: &Counter::new(),
            timeout,
            times: Times::REAL,
        };
        let expected = Duration::from_millis(expected);
        assert_eq!(connector.head_start(), expected, "{others} {down}");
    }
    // None is known to serve, and all are tried.
    let pool = pool(&[hole.addr, good], None);
    for addr in [hole.addr, good] {
        let error = dial::ErrorKind::Connect(io::ErrorKind::ConnectionRefused.into()).at(addr);
        pool.failed(addr, Instant::now(), &error);
    }
    let begun = Instant::now();
    let served = client(&pool, Duration::from_millis(400), with_head_start(HOUR));
    assert_eq!(served.0, Ok(good));
    assert!(begun.elapsed() < SOON);
}

#[test]
fn the_next_dial_begins_after_the_head_starts_of_the_others() {
    let (hole, head_start) = (BlackHole::new(), Duration::from_millis(250));
    let pool = pool(&[hole.addr], None);
    let start = |started: Instant| {
        let mut attempt = Attempt::start(hole.addr, HOUR, &LoopGuard::default()).unwrap();
        attempt.started = started;
        Open {
            attempt,
            hold: pool.pick(&[]).unwrap().1,
            slot: None,
        }
    };
    let zero = Instant::now();
    let at = |ms: u64| zero + Duration::from_millis(ms);
    let deadline = at(600);
    // (dials that are open, by their start; now; how many are late; whether the next begins;
    // until when to wait)
    let cases: [(&[u64], Instant, usize, bool, Instant); 9] = [
        (&[], at(0), 0, true, deadline),
        (&[0], at(0), 0, false, at(250)),
        (&[0], at(250) - INSTANT, 0, false, at(250)),
        (&[0], at(250), 1, true, deadline),
        (&[0, 250], at(499), 1, false, at(500)),
        (&[0, 250], at(500), 2, true, deadline),
        (&[0, 100], at(200), 0, false, at(250)),
        // Nobody waits past the deadline for a head start.
        (&[350], at(500), 0, false, deadline),
        (&[500], at(500), 0, false, deadline),
    ];
    for (open, now, late, next, until) in cases {
        let mut race = Race::new(head_start, Instant::now());
        race.open = open.iter().map(|ms| start(at(*ms))).collect();
        let case = format!("{open:?} at {:?}", now - zero);
        assert_eq!(race.late(now).count(), late, "{case}");
        assert_eq!(race.wants_next(now), next, "{case}");
        assert_eq!(race.until(now, deadline), until, "{case}");
        assert!(!race.is_over(), "{case}");
        race.failed_since_start = true;
        assert!(race.wants_next(now), "{case}, one has failed");
        race.exhausted = true;
        assert!(!race.wants_next(now), "{case}, none is left");
        assert_eq!(race.is_over(), open.is_empty(), "{case}, none is left");
    }
}

#[test]
fn after_a_failure_the_next_dial_begins_though_another_is_new() {
    let (hole, gone) = (BlackHole::new(), gone());
    let pool = pool(&[hole.addr], None);
    let connector = Connector {
        pool: &pool,
        monitor: &Monitor::new(Times::REAL),
        guard: &LoopGuard::default(),
        attempts: &Counter::new(),
        redispatches: &Counter::new(),
        timeout: HOUR,
        times: Times::REAL,
    };
    let mut race = Race::new(HOUR, Instant::now());
    connector.start_next(&mut race, Instant::now());
    assert!(!race.wants_next(Instant::now()) && !race.exhausted);
    let refused = dial::ErrorKind::Connect(io::ErrorKind::ConnectionRefused.into()).at(gone);
    connector.note_failure(&mut race, gone, Instant::now(), refused);
    assert!(race.wants_next(Instant::now()));
    // There is no other, and the pool is not asked again during the dial.
    connector.start_next(&mut race, Instant::now());
    assert!(!race.wants_next(Instant::now() + 2 * HOUR) && !race.is_over());
}

/// Has the first of these drain.
fn drain_first(pool: &Pool) {
    let mut endpoints = pool.endpoints();
    endpoints[0].drains = true;
    pool.replace(endpoints);
}

#[test]
fn a_draining_endpoint_is_dialled_late_beside_a_slow_one() {
    let (hole, (_listener, good)) = (BlackHole::new(), listener());
    let pool = pool(&[good, hole.addr], None);
    drain_first(&pool);
    // An endpoint that swallows packets costs a client so many head starts, or a quarter of its time.
    let head_start = Duration::from_millis(20);
    for (timeout, delay) in [
        (HOUR, head_start * DRAINING_HEAD_STARTS),
        (4 * head_start, head_start),
    ] {
        pool.succeeded(hole.addr, Instant::now());
        let begun = Instant::now();
        let served = client(&pool, timeout, with_head_start(head_start));
        assert_eq!(served, (Ok(good), 2, 1));
        let waited = begun.elapsed();
        assert!(waited >= delay && waited < SOON, "{waited:?}");
    }
    let seen = views::<2>(&pool).map(|view| view.state);
    assert_eq!(seen, [EndpointState::Draining, EndpointState::Slow]);
}

#[test]
fn a_draining_endpoint_is_dialled_at_once_where_the_others_refuse() {
    let ([one, other], (_listener, good)) = ([gone(), gone()], listener());
    let pool = pool(&[good, one, other], None);
    drain_first(&pool);
    let begun = Instant::now();
    let served = client(&pool, HOUR, with_head_start(HOUR));
    assert_eq!(served, (Ok(good), 3, 2));
    assert!(begun.elapsed() < SOON);
    // These are known to be down now: they are not dialled first.
    assert_eq!(client(&pool, HOUR, with_head_start(HOUR)), (Ok(good), 1, 0));
}

#[test]
fn a_draining_endpoint_waits_only_while_another_may_answer() {
    let (hole, head_start) = (BlackHole::new(), Duration::from_millis(250));
    let pool = pool(&[hole.addr], None);
    let zero = Instant::now();
    let at = |ms: u64| zero + Duration::from_millis(ms);
    let mut race = Race::new(head_start, at(1_250));
    let mut attempt = Attempt::start(hole.addr, HOUR, &LoopGuard::default()).unwrap();
    attempt.started = zero;
    race.open.push(Open {
        attempt,
        hold: pool.pick(&[]).unwrap().1,
        slot: None,
    });
    race.postponed = true;
    // (now, whether the next begins, until when to wait)
    for (now, next, until) in [(0, false, 250), (250, false, 1_250), (1_250, true, 5_000)] {
        assert_eq!(race.wants_next(at(now)), next, "{now}");
        assert_eq!(race.until(at(now), at(5_000)), at(until), "{now}");
    }
    race.failed_since_start = true;
    assert!(!race.wants_next(at(250)), "the other may answer yet");
    race.open.clear();
    assert!(race.wants_next(at(250)));
}

#[test]
fn the_rejection_blames_the_endpoints_unless_all_failures_are_of_this_host() {
    let hole = BlackHole::new();
    let pool = pool(&[hole.addr], None);
    let cases = [
        // (one was tried, one is open, an endpoint failed, the rejection)
        (false, false, false, Rejection::NoEligibleEndpoint),
        (true, false, false, Rejection::OutOfResources),
        (true, false, true, Rejection::Unreachable),
        (true, true, false, Rejection::Unreachable),
    ];
    for (tried, open, endpoint_failed, expected) in cases {
        let mut race = Race::new(HOUR, Instant::now());
        race.tried.extend(tried.then_some(hole.addr));
        let attempt = || Attempt::start(hole.addr, HOUR, &LoopGuard::default()).unwrap();
        let opened = open.then(|| Open {
            attempt: attempt(),
            hold: pool.pick(&[]).unwrap().1,
            slot: None,
        });
        race.open.extend(opened);
        race.endpoint_failed = endpoint_failed;
        let case = format!("{tried} {open} {endpoint_failed}");
        let (reason, error) = race.rejection(&pool);
        assert_eq!(reason, expected, "{case}");
        // What is not answered in time has failed of that.
        let error = error.map(|error| error.to_string());
        let late = open.then(|| format!("dial tcp {}: i/o timeout", hole.addr));
        assert_eq!(error, late, "{case}");
    }
}

/// What a gate says of an endpoint.
type Word = fn(SocketAddr, Duration) -> Result<Proof, dial::Error>;

const PROVEN: Word = |_, _| Ok(Proof { not_after: None });

/// As an endpoint that accepts and says nothing.
const SILENT: Word = |addr, patience| {
    std::thread::sleep(patience.min(Duration::from_millis(100)));
    Err(dial::ErrorKind::Unproven("no answer".to_owned()).at(addr))
};

/// Says of each endpoint what it is to say, and notes who was asked and for how long.
#[derive(Debug, Default)]
struct Scripted {
    words: Mutex<Vec<(SocketAddr, Word)>>,
    asked: Mutex<Vec<(SocketAddr, Duration)>>,
}

impl Authenticate for Scripted {
    fn authenticate(
        &self,
        endpoint: &Endpoint,
        patience: Duration,
        _: &Slot,
    ) -> Result<Proof, dial::Error> {
        let addr = endpoint.addr;
        lock(&self.asked).push((addr, patience));
        let word = lock(&self.words)
            .iter()
            .find(|word| word.0 == addr)
            .unwrap()
            .1;
        word(addr, patience)
    }
}

/// Endpoints that have proven themselves, went down, and are back with something else to say.
fn returned(words: &[(SocketAddr, Word)]) -> (Pool, Arc<Scripted>) {
    let gate = Arc::new(Scripted::default());
    let addrs: Vec<_> = words.iter().map(|word| word.0).collect();
    let pool = pool(&addrs, Some(gate.clone()));
    for endpoint in pool.endpoints() {
        pool.set_authenticated(&endpoint, Instant::now(), Proof { not_after: None });
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let refused = dial::ErrorKind::Connect(refused).at(endpoint.addr);
        pool.failed(endpoint.addr, Instant::now(), &refused);
    }
    lock(&gate.words).extend(words);
    (pool, gate)
}

#[test]
fn authentication_of_a_silent_endpoint_takes_little_of_a_clients_time() {
    let ms = Duration::from_millis;
    let ((_silent, silent), (_good, good)) = (listener(), listener());
    let cases = [
        // (all the time, patience with a proof, the longest it may be asked for)
        (HOUR, ms(20), ms(20)),
        (SOON, HOUR, SOON),
    ];
    for (timeout, proof_patience, longest) in cases {
        let (pool, gate) = returned(&[(silent, SILENT), (good, PROVEN)]);
        let times = Times {
            proof_patience,
            ..Times::REAL
        };
        assert_eq!(client(&pool, timeout, times), (Ok(good), 2, 1));
        let asked = std::mem::take(&mut *lock(&gate.asked));
        let [(first, given), (second, left)] = asked[..] else {
            panic!("{asked:?}");
        };
        assert_eq!((first, second), (silent, good));
        // Less by what has passed since.
        assert!(given < longest && given > longest / 2, "{given:?}");
        assert!(left <= longest && left > longest / 2, "{left:?}");
        let seen = views::<2>(&pool).map(|view| view.state);
        assert_eq!(seen, [EndpointState::Inactive, EndpointState::Active]);
    }
    // What one has taken is not there for the next.
    let (pool, gate) = returned(&[(silent, SILENT), (good, SILENT)]);
    let timeout = ms(150);
    let times = Times {
        proof_patience: ms(100),
        ..Times::REAL
    };
    let begun = Instant::now();
    assert_eq!(client(&pool, timeout, times).0, Err(Rejection::Unreachable));
    assert!(begun.elapsed() < SOON);
    let asked: Duration = lock(&gate.asked).iter().map(|asked| asked.1).sum();
    assert!(asked <= timeout, "{asked:?}");
}

#[test]
fn an_endpoint_that_was_removed_meanwhile_serves_no_client() {
    let (_listener, addr) = listener();
    let (pool, gate) = returned(&[(addr, PROVEN)]);
    let connector = Connector {
        pool: &pool,
        monitor: &Monitor::new(Times::REAL),
        guard: &LoopGuard::default(),
        attempts: &Counter::new(),
        redispatches: &Counter::new(),
        timeout: HOUR,
        times: Times::REAL,
    };
    let now = Instant::now();
    let admit = || connector.admit(addr, now, Duration::ZERO, now + HOUR);
    admit().unwrap();
    pool.replace(Vec::new());
    assert!(admit().unwrap_err().is_rejected());
    assert_eq!(lock(&gate.asked).len(), 1);
}

/// The monitor dials it again, because the outcome of the dial is not known.
#[test]
fn without_a_free_slot_the_next_dial_replaces_the_oldest() {
    let ([one, two], (_listener, good)) = ([(); 2].map(|()| BlackHole::new()), listener());
    let pool = pool(&[one.addr, two.addr, good], None).tuned(1, Times::REAL);
    let head_start = with_head_start(Duration::from_millis(20));
    assert_eq!(client(&pool, HOUR, head_start), (Ok(good), 3, 2));
    let task = pool.next_task(Instant::now());
    assert!(matches!(task, Some(Task::Dial(addr)) if addr == one.addr));
    assert!(pool.next_task(Instant::now()).is_none());
}

#[test]
fn an_active_endpoint_does_not_authenticate_again() {
    let (_listener, good) = listener();
    let (pool, gate) = returned(&[(good, PROVEN)]);
    for _ in 0..3 {
        assert_eq!(client(&pool, SOON, Times::REAL).0, Ok(good));
    }
    assert_eq!(lock(&gate.asked).len(), 1, "by the first client alone");
}

#[test]
fn failures_of_this_host_are_not_the_endpoints() {
    let cases: [(&str, Word); 2] = [
        ("a call that fails", |addr, _| {
            let error = io::Error::from_raw_os_error(12);
            Err(dial::ErrorKind::Local("authenticate", error).at(addr))
        }),
        // Its thread ends early.
        ("a defect of ours", |_, _| {
            std::panic::resume_unwind(Box::new("as this test wants"))
        }),
    ];
    for (what, word) in cases {
        let (_listener, addr) = listener();
        let (pool, _) = returned(&[(addr, word)]);
        let served = client(&pool, SOON, Times::REAL).0;
        assert_eq!(served, Err(Rejection::OutOfResources), "{what}");
        let [view] = views(&pool);
        let counts: Vec<_> = view
            .stats
            .dials
            .read()
            .filter(|(_, count)| *count > 0)
            .collect();
        // The dial was answered; the proof is another connection.
        assert_eq!(counts, [("ok", 2), ("refused", 1), ("local", 1)], "{what}");
        // Of two, one that really is not there tells, whichever is dialled first.
        for addrs in [[addr, gone()], [gone(), addr]] {
            let (pool, _) = returned(&addrs.map(|addr| (addr, word)));
            let served = client(&pool, SOON, Times::REAL).0;
            assert_eq!(served, Err(Rejection::Unreachable), "{what}");
        }
    }
}
