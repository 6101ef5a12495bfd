use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn what_a_signal_asks_for_depends_on_how_far_the_process_is() {
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
        (&[Status], Starting, TellThatItStarts),
        (&[Status], Serving, TellStatus),
        (&[Status], stopping(0), TellStatus),
        (&[Spare], Starting, TellWhatToUse),
        (&[Spare], Serving, TellWhatToUse),
        (&[Spare], stopping(1000), TellWhatToUse),
        (&[Terminate, Interrupt], Starting, EndBeforeTheStart),
        (&[Terminate, Interrupt], Serving, Drain),
        // The same request once more, until the echo is over.
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
fn a_watchdog_hears_twice_in_its_time_and_never_less_often_than_a_status_is_told() {
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

/// A thread that sleeps in accept(2) of a socket that others use too may never wake.
#[test]
fn a_thread_that_does_not_end_is_left_behind() {
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
