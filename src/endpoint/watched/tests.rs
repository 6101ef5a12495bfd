//! Tests of one probe: what it sends, and what follows from what comes back, at times that the tests name.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use socket2::SockRef;

use super::*;
use crate::dial::{BlackHole, DialResult};
use crate::loop_guard::LoopGuard;

const HOUR: Duration = Duration::from_secs(3600);
const ANSWER: Duration = Duration::from_secs(1);

fn start(addr: SocketAddr) -> Watched {
    let attempt = Attempt::start(addr, HOUR, &LoopGuard::default()).unwrap();
    Watched::dial(attempt, Some(ANSWER))
}

/// A probe that is connected at `now`, and the other side of it.
fn asked(now: Instant) -> (Outcome, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = start(listener.local_addr().unwrap());
    let (accepted, _) = listener.accept().unwrap();
    (probe.outcome(now), accepted)
}

fn pending(outcome: Outcome) -> Watched {
    match outcome {
        Outcome::Pending(probe) => probe,
        other => panic!("{other:?}"),
    }
}

/// Waits until something has come.
fn wait(probe: &Watched) {
    let mut fds = [probe.awaited()];
    syscall::wait(&mut fds, Some(HOUR)).unwrap();
}

#[test]
fn a_probe_sends_the_preface_of_http2() {
    let (outcome, mut accepted) = asked(Instant::now());
    let mut question = [0; 33];
    accepted.read_exact(&mut question).unwrap();
    assert_eq!(question.split_at(24).0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // A length of 0, SETTINGS (4), no flag, stream 0.
    assert_eq!(question.split_at(24).1, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
    accepted.set_nonblocking(true).unwrap();
    let more = accepted.read(&mut [0]).unwrap_err();
    assert_eq!(more.kind(), ErrorKind::WouldBlock, "and nothing else");
    drop(outcome);
}

#[test]
fn anything_received_is_an_answer_even_late() {
    type Act = fn(TcpStream) -> Option<TcpStream>;
    let acts: [(&str, Act); 3] = [
        ("one octet", |mut stream| {
            stream.write_all(&[0]).unwrap();
            Some(stream)
        }),
        ("the end", |mut stream| {
            stream.read_exact(&mut [0; 33]).unwrap();
            None
        }),
        ("a reset", |stream| {
            let reset = Some(Duration::ZERO);
            SockRef::from(&stream).set_linger(reset).unwrap();
            None
        }),
    ];
    for (what, act) in acts {
        for late in [Duration::ZERO, HOUR] {
            let now = Instant::now();
            let (outcome, accepted) = asked(now);
            let probe = pending(outcome);
            assert!(!probe.is_ready(), "{what}");
            let kept = act(accepted);
            wait(&probe);
            assert!(probe.is_ready(), "{what}");
            let outcome = probe.outcome(now + late);
            assert!(
                matches!(outcome, Outcome::Answered(_)),
                "{what}: {outcome:?}"
            );
            drop(kept);
        }
    }
}

/// It is gone before it is asked.
#[test]
fn a_connection_that_was_reset_at_once_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = start(listener.local_addr().unwrap());
    let (accepted, _) = listener.accept().unwrap();
    let reset = Some(Duration::ZERO);
    SockRef::from(&accepted).set_linger(reset).unwrap();
    drop(accepted);
    let now = Instant::now();
    match probe.outcome(now) {
        Outcome::Answered(_) => {}
        Outcome::Pending(probe) => {
            assert!(matches!(probe.outcome(now), Outcome::Answered(_)));
        }
        // The kernel reports the reset instead of the connect.
        Outcome::Failed(error) => assert!(!error.is_local(), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn time_for_the_answer_counts_from_the_connect() {
    // As late as it may be.
    let now = Instant::now() + HOUR / 2;
    let (outcome, _accepted) = asked(now);
    let probe = pending(outcome);
    let deadline = now + ANSWER;
    assert_eq!(probe.deadline(), deadline);
    let probe = pending(probe.outcome(deadline - Duration::from_nanos(1)));
    match probe.outcome(deadline) {
        Outcome::Silent(probe) => assert!(!probe.is_ready()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_dial_is_not_silence() {
    let hole = BlackHole::new();
    let probe = start(hole.addr);
    let deadline = probe.deadline();
    assert_eq!(deadline, probe.started + HOUR);
    let probe = pending(probe.outcome(deadline - Duration::from_nanos(1)));
    match probe.outcome(deadline) {
        Outcome::Failed(error) => assert_eq!(error.result(), DialResult::TimedOut),
        other => panic!("{other:?}"),
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = gone.local_addr().unwrap();
    drop(gone);
    let error = match Attempt::start(addr, HOUR, &LoopGuard::default()) {
        Err(error) => error,
        Ok(attempt) => {
            let probe = Watched::dial(attempt, Some(ANSWER));
            wait(&probe);
            match probe.outcome(Instant::now()) {
                Outcome::Failed(error) => error,
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(error.result(), DialResult::Refused, "{error}");
}
