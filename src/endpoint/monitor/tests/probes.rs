//! Tests of probes as the monitor makes them: one per endpoint, bounded, and none is lost.

use std::io::Write;

use super::*;

const QUICK: Patience = Patience {
    dial: HOUR,
    answer: Duration::from_millis(5),
};

impl Fixture {
    /// As [`Fixture::watch`], with little time for an answer.
    fn quick<'a>(&'a self, pool: &'a Arc<Pool>) -> Watch<'a> {
        Watch::new(&self.monitor, pool, &self.guard, QUICK)
    }
}

fn suspect(pool: &Pool, addr: SocketAddr) {
    assert!(pool.suspect(addr, Instant::now()), "it is to be asked");
}

/// How many probes ended in which way.
fn probes(stats: &EndpointStats) -> Vec<(&'static str, u64)> {
    stats
        .probes
        .read()
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[test]
fn a_suspected_endpoint_that_answers_stays_active() {
    let (listener, addr) = listener();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[addr], None));
    let mut watch = fixture.watch(&pool);
    suspect(&pool, addr);
    assert!(is_called(&pool), "a client waits for it");
    watch.step(Instant::now());
    assert_eq!(watch.probes(), 1);
    let (mut accepted, _) = listener.accept().unwrap();
    accepted.write_all(&[0]).unwrap();
    work(&mut watch, "the answer is read", |watch| {
        watch.probes() == 0
    });
    let view = view(&pool, addr);
    assert_eq!(view.state, EndpointState::Active);
    assert_eq!(probes(&view.stats), [("answered", 1)]);
    assert_eq!(watch.step(Instant::now()), None, "nothing more is asked");
}

#[test]
fn a_late_answer_starts_another_probe_at_once() {
    let (listener, addr) = listener();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[addr], None));
    let mut watch = fixture.quick(&pool);
    suspect(&pool, addr);
    work(&mut watch, "its time is over", |_| {
        view(&pool, addr).state == EndpointState::Silent
    });
    assert_eq!((watch.probes(), watch.overdue.len()), (0, 1));
    pool.monitor_waker().clear();
    let (mut late, _) = listener.accept().unwrap();
    late.write_all(&[0]).unwrap();
    let began = Instant::now();
    watch.wait(Some(began + Duration::from_secs(60))).unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "it is seen");
    let next = watch.step(Instant::now()).unwrap();
    assert_eq!((watch.probes(), watch.overdue.len()), (0, 0));
    assert!(next <= Instant::now());
    watch.step(Instant::now());
    assert_eq!(watch.probes(), 1);
    watch.patience = PATIENCE;
    drop((late, listener));
    work(&mut watch, "the end of that one is an answer", |_| {
        view(&pool, addr).state != EndpointState::Silent
    });
}

/// The answer to a dial says nothing of silence.
#[test]
fn a_suspicion_waits_for_a_dial_of_the_same_endpoint() {
    let hole = BlackHole::new();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[hole.addr], None));
    let mut watch = fixture.watch(&pool);
    fixture.monitor.adopt(vec![fixture.start(hole.addr)], &pool);
    suspect(&pool, hole.addr);
    let now = Instant::now();
    let next = watch.step(now).unwrap();
    assert_eq!((watch.dials(), watch.probes()), (1, 0));
    assert!(next <= now + FIRST, "it is asked for again");
    watch.watched.clear();
    watch.step(next);
    assert_eq!((watch.dials(), watch.probes()), (0, 1));
}

#[test]
fn a_dial_lost_with_its_thread_is_repeated() {
    let hole = BlackHole::new();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[hole.addr], None));
    let mut watch = fixture.watch(&pool);
    pool.slow(hole.addr);
    fixture.monitor.adopt(vec![fixture.start(hole.addr)], &pool);
    watch.step(Instant::now());
    drop(watch);
    let mut watch = fixture.watch(&pool);
    watch.step(Instant::now());
    assert_eq!(watch.dials(), 1, "only the monitor would dial it");
}

/// Other threads wait for slots without a way to take those of probes without an answer.
#[test]
fn silent_endpoints_leave_slots_to_others() {
    let all = [(); 4].map(|()| listener());
    let addrs: Vec<SocketAddr> = all.iter().map(|(_, addr)| *addr).collect();
    let fixture = Fixture::new(HOUR);
    let pool = Arc::into_inner(pool(&addrs, None)).unwrap();
    let pool = Arc::new(pool.tuned(4, Times::REAL));
    let mut watch = fixture.quick(&pool);
    addrs.iter().for_each(|addr| suspect(&pool, *addr));
    work(&mut watch, "all are silent", |watch| {
        let mut all = addrs.iter();
        watch.probes() == 0 && all.all(|addr| view(&pool, *addr).state == EndpointState::Silent)
    });
    assert_eq!(watch.overdue.len(), 2);
    assert!(pool.slots().for_background().is_some());
}

#[test]
fn a_thousand_due_endpoints_are_asked_as_slots_allow() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let numbers = (0..4u8).flat_map(|high| (0..250).map(move |low| (high, low)));
    let addrs: Vec<SocketAddr> = numbers
        .map(|(high, low)| SocketAddr::from(([127, 1, high, low], port)))
        .collect();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&addrs, None));
    let mut watch = fixture.watch(&pool);
    addrs.iter().for_each(|addr| suspect(&pool, *addr));
    let now = Instant::now();
    for _ in 0..3 {
        assert_eq!(watch.step(now), Some(now + SLOT_PAUSE), "it does not spin");
        assert_eq!(watch.probes(), 12);
    }
}

#[test]
fn the_end_of_the_time_for_an_answer_is_waited_for() {
    let (_listener, addr) = listener();
    let (fixture, pool) = (Fixture::new(HOUR), pool(&[addr], None));
    let mut watch = fixture.quick(&pool);
    suspect(&pool, addr);
    loop {
        let now = Instant::now();
        let next = watch.step(now).unwrap();
        assert_eq!(watch.probes(), 1, "it has not been asked before");
        if next <= now + QUICK.answer {
            break;
        }
        watch.wait(Some(now + QUICK.answer)).unwrap();
    }
}

/// A probe without an answer gives its slot to one that may be answered.
#[test]
fn without_a_free_slot_the_oldest_silent_probe_is_dropped() {
    let all = [(); 3].map(|()| listener());
    let [one, two, three] = [0, 1, 2].map(|index: usize| all[index].1);
    let fixture = Fixture::new(HOUR);
    let pool = Arc::into_inner(pool(&[one, two, three], None)).unwrap();
    let pool = Arc::new(pool.tuned(4, Times::REAL));
    let mut watch = fixture.quick(&pool);
    for addr in [one, two] {
        suspect(&pool, addr);
        work(&mut watch, "it is silent", |watch| {
            watch.probes() == 0 && view(&pool, addr).state == EndpointState::Silent
        });
    }
    let _clients = [(); 2].map(|()| pool.slots().for_client().unwrap());
    suspect(&pool, three);
    watch.step(Instant::now());
    let mut asked = watch.watched.iter().map(|(probe, _)| probe.addr);
    assert!(asked.any(|addr| addr == three));
}
