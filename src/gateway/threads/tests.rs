//! Tests of threads that end and are started again.

use super::*;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, channel};

const SOON: Duration = Duration::from_secs(10);

/// Pauses that no test notices, and a time of proof that no test waits for.
fn quick() -> Times {
    Times {
        thread_pause: Duration::from_millis(1),
        thread_pause_max: Duration::from_millis(4),
        thread_proof: Duration::from_secs(3600),
        ..Times::REAL
    }
}

fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(SOON).expect("it comes in time")
}

/// How often the threads of one name were lost.
fn lost(threads: &Threads, name: &str) -> u64 {
    let lost = threads.lost();
    lost.iter().find(|(own, _)| *own == name).expect(name).1
}

fn finish(thread: JoinHandle<()>) {
    let deadline = Instant::now() + SOON;
    while !thread.is_finished() {
        assert!(Instant::now() < deadline, "the thread does not end");
        std::thread::yield_now();
    }
    thread.join().expect("its panics are caught");
}

#[test]
fn a_thread_that_ends_is_started_again_counted_and_a_problem() {
    let threads = Threads::new(quick());
    let (began, starts) = channel();
    let (done, wait) = channel::<()>();
    let mut count = 0;
    let thread = threads.start(Thread::MONITOR, move || {
        count += 1;
        began.send(count).unwrap();
        match count {
            1 => resume_unwind(Box::new("this is the reason")),
            2 => {}
            3 => resume_unwind(Box::new("an owned reason".to_owned())),
            // It works until the test is over.
            _ => drop(wait.recv()),
        }
    });
    let thread = thread.unwrap();
    assert_eq!([1, 2, 3, 4].map(|_| next(&starts)), [1, 2, 3, 4]);
    assert_eq!(lost(&threads, "monitor"), 3);
    assert_eq!(lost(&threads, "accept"), 0);
    let now = Instant::now();
    let problem = "thread monitor has ended, 3 times so far, and is started again: \
                panicked: an owned reason";
    assert_eq!(threads.problems(now), [problem]);
    // It has proven itself an hour after it was started again.
    let proof = quick().thread_proof;
    assert_eq!(
        threads.problems(now + proof - Duration::from_secs(60)),
        [problem]
    );
    let proven = threads.problems(now + proof + Duration::from_secs(60));
    assert_eq!(proven, [""; 0]);
    assert_eq!(lost(&threads, "monitor"), 3, "the count stays");

    // When the service ends, a thread that has finished its work is not started again.
    threads.close();
    drop(done);
    finish(thread);
    assert_eq!(lost(&threads, "monitor"), 3);
}

#[test]
fn a_thread_that_panics_while_the_service_ends_is_started_again() {
    let threads = Threads::new(quick());
    threads.close();
    let mut panics = 1;
    let thread = threads.start(Thread::ACCEPT, move || {
        if panics > 0 {
            panics -= 1;
            resume_unwind(Box::new("once"));
        }
    });
    finish(thread.unwrap());
    assert_eq!(lost(&threads, "accept"), 1);
}

#[test]
fn a_thread_that_returns_while_the_gateway_serves_is_started_again() {
    let threads = Threads::new(quick());
    let (began, starts) = channel();
    let thread = threads.start(Thread::LOG, move || {
        // It fails when the test is over.
        let _ = began.send(());
    });
    next(&starts);
    next(&starts);
    assert!(lost(&threads, "log") >= 1);
    let problems = threads.problems(Instant::now());
    assert!(problems[0].ends_with(": it has returned"), "{problems:?}");
    threads.close();
    finish(thread.unwrap());
}

#[test]
fn threads_that_are_prepared_begin_when_all_are_started_and_outward_ones_when_the_process_serves() {
    let threads = Threads::new(quick());
    let (began, starts) = channel();
    threads.close();
    let all = [
        Thread::MONITOR,
        Thread::ACCEPT,
        Thread::ADMIN,
        Thread::STATUS,
    ];
    let mut prepared = Vec::from(all.map(|thread| {
        let began = began.clone();
        let work = move || began.send(thread).unwrap();
        threads.prepare(thread, work).unwrap()
    }));
    let at_once = threads.start(Thread::LOG, move || began.send(Thread::LOG).unwrap());
    finish(at_once.unwrap());
    assert_eq!(next(&starts), Thread::LOG);
    assert!(starts.try_recv().is_err(), "one that is prepared has begun");
    threads.complete();
    finish(prepared.remove(0));
    assert_eq!(next(&starts), Thread::MONITOR);
    assert!(
        starts.try_recv().is_err(),
        "one that takes clients has begun"
    );
    threads.open();
    prepared.into_iter().for_each(finish);
    let mut names = [(); 3].map(|()| next(&starts).name);
    names.sort_unstable();
    assert_eq!(names, ["accept", "admin", "status"]);
}

#[test]
fn the_pause_grows_while_a_thread_ends_at_once() {
    const MS: fn(u64) -> Duration = Duration::from_millis;
    let times = Times {
        thread_pause: MS(100),
        thread_pause_max: MS(10_000),
        thread_proof: MS(60_000),
        ..Times::REAL
    };
    for (pause, after, next) in [
        (0, 0, 100),
        // The first end, however late.
        (0, 1_000_000, 100),
        (100, 100, 200),
        (200, 5_000, 400),
        (6_400, 6_400, 10_000),
        (10_000, 10_000, 10_000),
        // After the time of proof it begins anew; the pause is not part of that time.
        (10_000, 60_000, 10_000),
        (10_000, 69_999, 10_000),
        (10_000, 70_000, 100),
    ] {
        let found = next_pause(MS(pause), MS(after), &times);
        assert_eq!(
            found,
            MS(next),
            "{pause} ms of pause, ended after {after} ms"
        );
    }
}

#[test]
fn names_of_threads_differ() {
    let mut names = Thread::ALL.map(|thread| thread.name);
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
}
