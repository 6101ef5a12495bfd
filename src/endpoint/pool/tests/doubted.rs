//! When connections to a doubted endpoint would be better off elsewhere.

use super::*;
use crate::endpoint::pool::doubted::Doubted;

/// The doubted endpoints, and whether another is better.
fn doubted(pool: &Pool, active_for: Duration) -> Vec<(u16, bool)> {
    let seen = |doubted: Doubted| (doubted.addr.port(), doubted.another_is_better);
    pool.doubted(active_for).into_iter().map(seen).collect()
}

fn silent(pool: &Pool, port: u16) {
    pool.probed(addr(port), None);
}

/// Which endpoints are to be probed by now.
fn probes(pool: &Pool) -> Vec<u16> {
    let tasks = std::iter::from_fn(|| pool.next_task(Instant::now()));
    tasks
        .map(|task| match task {
            Task::Probe(addr) => addr.port(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn another_is_better_if_it_has_answered_since() {
    type Witness = fn(&Pool);
    let witnesses: [(&str, Witness, bool); 5] = [
        (
            "a dial",
            |pool| pool.succeeded(addr(2), Instant::now()),
            false,
        ),
        (
            "a client",
            |pool| pool.first_answer(addr(2), Instant::now()),
            true,
        ),
        (
            "a probe",
            |pool| pool.probed(addr(2), Some(Instant::now())),
            true,
        ),
        (
            "a health check",
            |pool| pool.checked(addr(2), Checked::Passed, false, None),
            true,
        ),
        (
            "one that failed",
            |pool| pool.checked(addr(2), Checked::Failed, false, Some(String::new())),
            false,
        ),
    ];
    for (what, witness, better) in witnesses {
        let pool = pool(&[1, 2]);
        witness(&pool);
        silent(&pool, 1);
        let zero = Duration::ZERO;
        assert_eq!(doubted(&pool, zero), [(1, false)], "{what} came before");
        witness(&pool);
        assert_eq!(doubted(&pool, zero), [(1, better)], "{what}");
        let long = Duration::from_secs(3600);
        assert_eq!(doubted(&pool, long), [(1, false)], "{what}, not so long");
    }
}

/// All have stopped, and only one has a client: the others are active for all that is known.
#[test]
fn if_none_has_answered_since_one_is_probed() {
    let pool = pool(&[1, 2, 3]);
    silent(&pool, 1);
    is_called(pool.monitor_waker());
    assert_eq!(doubted(&pool, Duration::ZERO), [(1, false)]);
    assert!(is_called(pool.monitor_waker()));
    assert_eq!(probes(&pool), [2], "one at a time");
    silent(&pool, 2);
    doubted(&pool, Duration::ZERO);
    assert_eq!(probes(&pool), [3]);
    silent(&pool, 3);
    let all = [(1, false), (2, false), (3, false)];
    assert_eq!(doubted(&pool, Duration::ZERO), all);
    assert_eq!(probes(&pool), []);
    pool.probed(addr(3), Some(Instant::now()));
    let better = [(1, true), (2, true)];
    assert_eq!(doubted(&pool, Duration::ZERO), better);
}

#[test]
fn a_slow_dial_does_not_restart_the_time_that_an_endpoint_serves() {
    let pool = pool(&[1, 2]);
    let started = Instant::now();
    silent(&pool, 1);
    pool.first_answer(addr(2), Instant::now());
    while started.elapsed() < Duration::from_millis(20) {
        std::thread::yield_now();
    }
    for slow in [true, false] {
        if slow {
            pool.slow(addr(2));
        } else {
            answered(&pool, 2, Duration::ZERO);
        }
        let better = !slow;
        let now = doubted(&pool, Duration::from_millis(20));
        assert_eq!(now, [(1, better)], "slow: {slow}");
    }
    pool.failed(addr(2), Instant::now(), &refused(2));
    pool.succeeded(addr(2), Instant::now());
    pool.first_answer(addr(2), Instant::now());
    assert_eq!(doubted(&pool, Duration::from_secs(3600)), [(1, false)]);
}

#[test]
fn no_other_is_better_than_one_that_answers_again() {
    let pool = pool(&[1, 2]);
    // Silent for the third time, it has to answer more than once.
    for _ in 0..2 {
        silent(&pool, 1);
        pool.probed(addr(1), Some(Instant::now()));
    }
    silent(&pool, 1);
    pool.first_answer(addr(2), Instant::now());
    assert_eq!(doubted(&pool, Duration::ZERO), [(1, true)]);
    pool.probed(addr(1), Some(Instant::now()));
    assert_eq!(doubted(&pool, Duration::ZERO), [(1, false)]);
    silent(&pool, 1);
    assert_eq!(doubted(&pool, Duration::ZERO), [(1, true)]);
}

/// Many that cannot be reached may be due for minutes where slots are few.
#[test]
fn a_suspicion_is_followed_before_all_others_are_asked() {
    let pool = pool(&[2]);
    // New ones are due since they came.
    pool.replace([1, 2, 3].map(endpoint).into());
    assert!(pool.suspect(addr(2), Instant::now()));
    let now = Instant::now();
    assert!(matches!(pool.next_task(now), Some(Task::Probe(own)) if own == addr(2)));
    let (rest, next) = due(&pool, now);
    assert_eq!(rest, [addr(1), addr(3)], "each once, in turn");
    assert!(next.is_some_and(|next| next > now), "none before its time");
}

#[test]
fn one_is_silent_since_a_client_began_to_wait_for_it() {
    let pool = pool(&[1, 2]);
    let since = Instant::now();
    std::thread::yield_now();
    assert!(pool.suspect(addr(1), since));
    pool.probed(addr(1), None);
    let [doubted] = pool.doubted(Duration::ZERO)[..] else {
        panic!("one is doubted");
    };
    assert_eq!((doubted.addr, doubted.since), (addr(1), since));
}
