//! Tests of the monitor: what it does at which time, and that it never ends.

mod probes;

use super::*;
use crate::config::Policy;
use crate::dial::BlackHole;
use crate::endpoint::pool::view::View;
use crate::endpoint::state::EndpointState;
use crate::endpoint::stats::EndpointStats;
use crate::endpoint::watched::Phase;
use crate::endpoint::{Authenticate, Endpoint, Proof, Source};
use crate::sys::syscall;
use std::io::Error;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

const RETRY: Duration = Duration::from_secs(60);
/// How long an endpoint is left alone that has failed once.
const FIRST: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Patience = Patience {
    dial: HOUR,
    answer: HOUR,
};
const INSTANT: Duration = Duration::from_nanos(1);

fn pool(addrs: &[SocketAddr], authenticator: Option<Arc<dyn Authenticate>>) -> Arc<Pool> {
    let identity = authenticator.as_ref().map(|_| "etcd.example".to_owned());
    let authenticates = authenticator.is_some();
    let pool = Pool::new(Policy::RoundRobin, RETRY, authenticator).unwrap();
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
    if !authenticates {
        addrs
            .iter()
            .for_each(|addr| pool.succeeded(*addr, Instant::now()));
    }
    pool.monitor_waker().clear();
    Arc::new(pool)
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// An address without a listener.
fn gone() -> SocketAddr {
    listener().1
}

fn view(pool: &Pool, addr: SocketAddr) -> View {
    let mut views = pool.views().into_iter();
    views.find(|view| view.endpoint.addr == addr).unwrap()
}

/// How many dials ended in which way.
fn dials(stats: &EndpointStats) -> Vec<(&'static str, u64)> {
    stats.dials.read().filter(|(_, count)| *count > 0).collect()
}

fn fail(pool: &Pool, addr: SocketAddr) {
    let refused = dial::ErrorKind::Connect(Error::from_raw_os_error(111)).at(addr);
    pool.failed(addr, Instant::now(), &refused);
}

/// Whether the monitor's thread would be woken.
fn is_called(pool: &Pool) -> bool {
    let mut fds = [PollFd::readable(pool.monitor_waker().fd())];
    syscall::wait(&mut fds, Some(Duration::ZERO)).unwrap();
    fds[0].is_ready()
}

/// All that a monitor's work needs, but for the pool.
struct Fixture {
    monitor: Monitor,
    guard: LoopGuard,
}

impl Fixture {
    fn new(loop_verdict: Duration) -> Self {
        let monitor = Monitor::new(Times {
            loop_verdict,
            ..Times::REAL
        });
        let guard = LoopGuard::default();
        Self { monitor, guard }
    }

    fn watch<'a>(&'a self, pool: &'a Arc<Pool>) -> Watch<'a> {
        Watch::new(&self.monitor, pool, &self.guard, PATIENCE)
    }

    fn start(&self, addr: SocketAddr) -> Abandoned {
        (Attempt::start(addr, HOUR, &self.guard).unwrap(), None)
    }
}

/// How many dials, probes and trials are under way.
impl Watch<'_> {
    fn count(&self, is: fn(&Phase) -> bool) -> usize {
        let states = self.watched.iter().map(|(watched, _)| &watched.phase);
        states.filter(|state| is(state)).count()
    }

    fn dials(&self) -> usize {
        self.count(|state| matches!(state, Phase::Dialling(_, None)))
    }

    fn probes(&self) -> usize {
        self.count(|state| matches!(state, Phase::Dialling(_, Some(_)) | Phase::Probing { .. }))
    }

    fn trials(&self) -> usize {
        self.count(|state| matches!(state, Phase::Keeping { .. }))
    }
}

/// Works as the thread does until something is so.
fn work(watch: &mut Watch<'_>, what: &str, so: impl Fn(&Watch<'_>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so(watch) {
        let now = Instant::now();
        assert!(now < deadline, "{what}");
        watch.step(now);
        watch.wait(Some(now + Duration::from_millis(5))).unwrap();
    }
}

#[test]
fn an_abandoned_dial_is_answered() {
    let (_listener, addr) = listener();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[addr], None));
    let mut watch = fixture.watch(&pool);
    assert_eq!(watch.step(Instant::now()), None, "there is nothing to do");
    pool.slow(addr);
    fixture.monitor.adopt(vec![fixture.start(addr)], &pool);
    work(&mut watch, "the dial is answered", |_| {
        view(&pool, addr).state == EndpointState::Active
    });
    let stats = view(&pool, addr).stats;
    assert_eq!(dials(&stats), [("ok", 1)]);
    assert_eq!(stats.dial_time.read().count, 1);
    assert_eq!(watch.step(Instant::now()), None, "it is not kept");
}

#[test]
fn an_abandoned_dial_fails_at_its_deadline() {
    let hole = BlackHole::new();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[hole.addr], None));
    let mut watch = fixture.watch(&pool);
    // Before the endpoint is due again.
    let attempt = Attempt::start(hole.addr, FIRST / 2, &fixture.guard).unwrap();
    let deadline = attempt.deadline;
    pool.slow(hole.addr);
    fixture.monitor.adopt(vec![(attempt, None)], &pool);
    assert_eq!(watch.step(deadline - INSTANT), Some(deadline));
    assert_eq!(view(&pool, hole.addr).state, EndpointState::Slow);
    watch.step(deadline);
    let view = view(&pool, hole.addr);
    assert_eq!(view.state, EndpointState::Inactive);
    assert_eq!(dials(&view.stats), [("timeout", 1)]);
    assert!(watch.dials() == 0);
}

#[test]
fn only_abandoned_dials_wake_the_monitor() {
    let hole = BlackHole::new();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[hole.addr], None));
    fixture.monitor.adopt(Vec::new(), &pool);
    assert!(!is_called(&pool));
    fixture.monitor.adopt(vec![fixture.start(hole.addr)], &pool);
    assert!(is_called(&pool));
    // The wait ends by it; an hour is longer than a test may take.
    let watch = fixture.watch(&pool);
    watch.wait(Some(Instant::now() + HOUR)).unwrap();
}

#[test]
fn of_several_dials_of_one_endpoint_the_first_is_watched() {
    let [one, other] = [(); 2].map(|()| BlackHole::new());
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[one.addr, other.addr], None));
    let mut watch = fixture.watch(&pool);
    let attempts = [one.addr, one.addr, other.addr].map(|addr| fixture.start(addr));
    let first = attempts[0].0.deadline;
    fixture.monitor.adopt(attempts.into(), &pool);
    watch.step(Instant::now());
    fixture.monitor.adopt(vec![fixture.start(one.addr)], &pool);
    assert_eq!(watch.step(Instant::now()), Some(first));
    let watched: Vec<_> = watch.watched.iter().map(|(dial, _)| dial.addr).collect();
    assert_eq!(watched, [one.addr, other.addr]);
}

#[test]
fn an_endpoint_that_is_due_is_dialled_once_until_it_has_an_outcome() {
    let hole = BlackHole::new();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[hole.addr], None));
    let mut watch = fixture.watch(&pool);
    let before = Instant::now();
    fail(&pool, hole.addr);
    let due = watch.step(Instant::now()).unwrap();
    assert!(due >= before + FIRST * 9 / 10 && due <= Instant::now() + FIRST);
    assert_eq!(watch.step(due - INSTANT), Some(due));
    assert!(watch.dials() == 0, "not before its time");
    let next = watch.step(due).unwrap();
    assert_eq!(watch.dials(), 1);
    assert!(next >= due + FIRST * 2 * 9 / 10 && next <= due + FIRST * 2);
    // Its time comes again while that dial is under way.
    watch.step(next);
    assert_eq!(watch.dials(), 1);
    assert_eq!(dials(&view(&pool, hole.addr).stats), [("refused", 1)]);
}

#[test]
fn an_endpoint_that_is_back_is_active_and_one_that_is_gone_is_not() {
    let ((_listener, back), gone) = (listener(), gone());
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[back, gone], None));
    let mut watch = fixture.watch(&pool);
    for addr in [back, gone] {
        fail(&pool, addr);
    }
    watch.step(Instant::now() + RETRY);
    work(&mut watch, "both dials have an outcome", |watch| {
        watch.dials() == 0
    });
    let [back, gone] = [back, gone].map(|addr| view(&pool, addr));
    assert_eq!(back.state, EndpointState::Active);
    assert_eq!(dials(&back.stats), [("ok", 1), ("refused", 1)]);
    let changes = |view: &View, to| view.stats.transitions.read().find(|(name, _)| *name == to);
    // The first answer counts, too.
    assert_eq!(changes(&back, "active"), Some(("active", 2)));
    assert_eq!(gone.state, EndpointState::Inactive);
    assert_eq!(dials(&gone.stats), [("refused", 2)]);
    let inactive = changes(&gone, "inactive");
    assert_eq!(inactive, Some(("inactive", 1)), "it was inactive already");
}

#[test]
fn an_endpoint_that_was_this_gateway_must_keep_a_connection() {
    let verdict = Duration::from_millis(500);
    // (whether the other side hangs up, state at the end)
    for (hangs_up, state) in [
        (false, EndpointState::Active),
        (true, EndpointState::ThisGateway),
    ] {
        let (listener, addr) = listener();
        let (fixture, pool) = (Fixture::new(verdict), pool(&[addr], None));
        let mut watch = fixture.watch(&pool);
        pool.failed(addr, Instant::now(), &dial::ErrorKind::Loop.at(addr));
        pool.monitor_waker().clear();
        let later = Instant::now() + RETRY;
        watch.step(later);
        let (accepted, _) = listener.accept().unwrap();
        watch.wait(Some(Instant::now() + HOUR)).unwrap();
        let end = later + verdict;
        assert_eq!(watch.step(later), Some(end));
        assert_eq!((watch.dials(), watch.trials()), (0, 1));
        assert_eq!(watch.step(end - INSTANT), Some(end));
        assert_eq!(view(&pool, addr).state, EndpointState::ThisGateway);
        if hangs_up {
            drop(accepted);
            watch.wait(Some(Instant::now() + HOUR)).unwrap();
        }
        watch.step(end);
        assert_eq!(view(&pool, addr).state, state, "hangs up: {hangs_up}");
        assert!(watch.trials() == 0);
    }
}

#[test]
fn an_endpoint_on_trial_is_not_dialled_meanwhile() {
    let (_listener, addr) = listener();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[addr], None));
    let mut watch = fixture.watch(&pool);
    pool.failed(addr, Instant::now(), &dial::ErrorKind::Loop.at(addr));
    watch.step(Instant::now() + RETRY);
    work(&mut watch, "its trial begins", |watch| watch.trials() == 1);
    fixture.monitor.adopt(vec![fixture.start(addr)], &pool);
    watch.step(Instant::now() + 2 * RETRY);
    assert_eq!((watch.dials(), watch.trials()), (0, 1));
}

/// Reports when it is asked, and answers when the test says so.
#[derive(Debug)]
struct Held {
    asked: Sender<Duration>,
    answers: Mutex<Receiver<Result<Proof, dial::Error>>>,
    count: AtomicUsize,
}

impl Authenticate for Held {
    fn authenticate(
        &self,
        _: &Endpoint,
        timeout: Duration,
        _: &Slot,
    ) -> Result<Proof, dial::Error> {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.asked.send(timeout).unwrap();
        lock(&self.answers).recv().unwrap()
    }
}

#[test]
fn only_authentication_makes_an_endpoint_with_identity_active() {
    let (_listener, addr) = listener();
    let ((asked, asks), (answer, answers)) = (channel(), channel());
    let answers = Mutex::new(answers);
    let count = AtomicUsize::new(0);
    let authenticator = Arc::new(Held {
        asked,
        answers,
        count,
    });
    let (fixture, pool) = (
        Fixture::new(HOUR),
        pool(&[addr], Some(authenticator.clone())),
    );
    let mut watch = fixture.watch(&pool);
    // At once, for a new one is due when it comes.
    watch.step(Instant::now());
    let patience = Duration::from_secs(10);
    let asked = asks.recv_timeout(patience).unwrap();
    assert_eq!(asked, HOUR, "as long as a dial may take");
    // A dial that is answered proves nothing, and it is not asked again while it is being asked.
    fixture.monitor.adopt(vec![fixture.start(addr)], &pool);
    work(&mut watch, "the dial is answered", |_| {
        dials(&view(&pool, addr).stats) == [("ok", 1)]
    });
    watch.step(Instant::now() + RETRY);
    assert_eq!(view(&pool, addr).state, EndpointState::Untried);
    let rejected = dial::ErrorKind::Rejected("expired".to_owned()).at(addr);
    answer.send(Err(rejected)).unwrap();
    work(&mut watch, "the rejection is reported", |_| {
        view(&pool, addr).last_error.is_some()
    });
    let stats = view(&pool, addr).stats;
    assert_eq!(dials(&stats), [("ok", 1), ("unauthenticated", 1)]);
    assert_eq!(authenticator.count.load(Ordering::SeqCst), 1);
    // Asked again when it is due again.
    work(&mut watch, "the place is given back", |watch| {
        lock(&watch.monitor.authenticating).is_empty()
    });
    watch.step(Instant::now() + 2 * RETRY);
    asks.recv_timeout(patience).unwrap();
    answer.send(Ok(Proof { not_after: Some(7) })).unwrap();
    work(&mut watch, "the proof counts", |_| {
        view(&pool, addr).state == EndpointState::Active
    });
    assert_eq!(stats.not_after(), Some(7));
    assert!(watch.dials() == 0 && authenticator.count.load(Ordering::SeqCst) == 2);
}

/// For the pool it is inactive for a minute.
#[test]
fn an_abandoned_dial_that_is_answered_starts_authentication_at_once() {
    let (_listener, addr) = listener();
    let ((asked, asks), (answer, answers)) = (channel(), channel());
    let authenticator = Arc::new(Held {
        asked,
        answers: Mutex::new(answers),
        count: AtomicUsize::new(0),
    });
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[addr], Some(authenticator)));
    let mut watch = fixture.watch(&pool);
    (0..7).for_each(|_| fail(&pool, addr));
    fixture.monitor.adopt(vec![fixture.start(addr)], &pool);
    answer.send(Ok(Proof { not_after: None })).unwrap();
    work(&mut watch, "the proof counts", |_| {
        view(&pool, addr).state == EndpointState::Active
    });
    assert_eq!(asks.try_iter().count(), 1);
}

/// Panics when it is asked for the first time.
#[derive(Debug, Default)]
struct Shaky(AtomicBool);

impl Authenticate for Shaky {
    fn authenticate(&self, _: &Endpoint, _: Duration, _: &Slot) -> Result<Proof, dial::Error> {
        if !self.0.swap(true, Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("as this test wants"));
        }
        Ok(Proof { not_after: None })
    }
}

#[test]
fn authentication_is_repeated_after_a_panic() {
    let addr = gone();
    let (fixture, pool) = (
        Fixture::new(HOUR),
        pool(&[addr], Some(Arc::<Shaky>::default())),
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while pool.census().active == 0 {
        assert!(Instant::now() < deadline, "it is not dialled any more");
        if let Admission::Authenticate(proving) = pool.connected(addr, Instant::now(), HOUR) {
            let slot = pool.slots().for_client().unwrap();
            fixture.monitor.authenticate(&pool, proving, HOUR, slot);
        }
        std::thread::yield_now();
    }
}

#[test]
fn the_monitor_never_ends_and_sleeps_without_work() {
    let (_listener, addr) = listener();
    let (fixture, pool) = (Arc::new(Fixture::new(HOUR)), pool(&[addr], None));
    let eventually = |what: &str, so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    };
    let (own, endpoints) = (Arc::clone(&fixture), Arc::clone(&pool));
    // Not joined: its work has no end.
    std::thread::spawn(move || own.monitor.run(&endpoints, &own.guard, PATIENCE));
    for round in 1..=3 {
        fixture.monitor.adopt(vec![fixture.start(addr)], &pool);
        eventually("the dial has its outcome", &|| {
            dials(&view(&pool, addr).stats) == [("ok", round)]
        });
        eventually("the monitor has woken", &|| !is_called(&pool));
    }
}
