//! Tests of signals and of the end of the service.

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_signal_means_what_the_phase_of_the_process_makes_of_it() {
    use Phase::{Serving, Starting, Stopping};
    use Request::*;
    use Signal::{Hangup, Interrupt, Spare, Status, Terminate};
    let echo = MS(10);
    let stopping = |since| Stopping(MS(since));
    for (signals, phase, expected) in [
        (&[Hangup][..], Starting, Nothing),
        (&[Hangup], Serving, Refresh),
        (&[Hangup], stopping(0), Refresh),
        (&[Hangup], stopping(1000), Refresh),
        (&[Status], Starting, AnswerStarting),
        (&[Status], Serving, LogStatus),
        (&[Status], stopping(0), LogStatus),
        (&[Spare], Starting, LogWhatToUse),
        (&[Spare], Serving, LogWhatToUse),
        (&[Spare], stopping(1000), LogWhatToUse),
        (&[Terminate, Interrupt], Starting, EndBeforeTheStart),
        (&[Terminate, Interrupt], Serving, Drain),
        // The same request once more, until the time of an echo is over.
        (&[Terminate, Interrupt], stopping(0), Nothing),
        (&[Terminate, Interrupt], stopping(9), Nothing),
        (&[Terminate, Interrupt], stopping(10), EndAtOnce),
        (&[Terminate, Interrupt], stopping(3_600_000), EndAtOnce),
    ] {
        for signal in signals {
            let found = request(*signal, phase, echo);
            assert_eq!(found, expected, "{signal:?} {phase:?}");
        }
    }
}

#[test]
fn the_watchdog_is_fed_twice_in_its_time_and_at_least_at_the_status_interval() {
    let times = Times {
        status_interval: MS(10_000),
        ..Times::REAL
    };
    for (watchdog, interval) in [
        (None, 10_000),
        (Some(1000), 500),
        (Some(20_000), 10_000),
        (Some(20_002), 10_000),
        (Some(19_998), 9_999),
    ] {
        let found = report_interval(watchdog.map(MS), &times);
        assert_eq!(found, MS(interval), "{watchdog:?}");
    }
}

/// A thread that blocks in accept(2) of a socket that other processes use too may never wake.
#[test]
fn the_drain_does_not_wait_for_ever_for_a_thread_that_blocks() {
    let (hold, held) = channel::<()>();
    let stuck = std::thread::spawn(move || {
        let _ = held.recv();
    });
    join(stuck, MS(20));
    drop(hold);
    let (ended, ends) = channel();
    let quick = std::thread::spawn(move || ended.send(()).unwrap());
    join(quick, MS(10_000));
    assert_eq!(ends.try_recv(), Ok(()), "it was not waited for");
}
