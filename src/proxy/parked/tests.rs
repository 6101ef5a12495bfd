//! What is parked is woken by what it waits for, once, and by nothing else.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;
use crate::proxy::cause::{Cause, Party};
use crate::proxy::relay::Direction::{ToClient, ToEndpoint};
use crate::proxy::relay::Directions::{Both, One};
use crate::proxy::relay::tests::{SOON, joined, reset, wait_for};
use crate::sys::memory::tests::refuse;

/// A session without a thread.
#[derive(Debug)]
struct Quiet {
    id: u64,
    relay: Arc<Relay>,
}

impl Park for Quiet {
    fn id(&self) -> u64 {
        self.id
    }

    fn relay(&self) -> Option<&Relay> {
        Some(&self.relay)
    }
}

/// Its client, its endpoint, and a session between them.
fn quiet(id: u64) -> (TcpStream, TcpStream, Arc<Quiet>) {
    let (client, relay, endpoint) = joined();
    (client, endpoint, Arc::new(Quiet { id, relay }))
}

fn parked() -> Arc<Parked<Quiet>> {
    Arc::new(Parked::new(Duration::from_millis(1)))
}

/// What is woken, where the first `refusals` get no thread.
fn woken(parked: &Arc<Parked<Quiet>>, refusals: u32) -> Receiver<(u64, Directions)> {
    let (told, woken) = channel();
    let parked = Arc::clone(parked);
    thread::spawn(move || {
        let left = Cell::new(refusals);
        parked.run(|session, directions| {
            if left.get() > 0 {
                left.set(left.get() - 1);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            parked.forget(&session, directions);
            let _ = told.send((session.id, directions));
            Ok(())
        });
    });
    woken
}

fn next(woken: &Receiver<(u64, Directions)>) -> (u64, Directions) {
    woken.recv_timeout(SOON).expect("it is woken")
}

/// Whichever direction has something; the other one is not waited for any more then.
#[test]
fn the_directions_that_are_parked_are_woken_together() {
    let parked = parked();
    let woken = woken(&parked, 0);
    let cases = [
        (&[Both][..], Both),
        (&[One(ToEndpoint), One(ToClient)], Both),
        (&[One(ToEndpoint)], One(ToEndpoint)),
        (&[One(ToClient)], One(ToClient)),
    ];
    for (halves, all) in cases {
        for direction in all.iter() {
            let (mut client, mut endpoint, session) = quiet(7);
            for half in halves {
                parked.park(&session, *half).unwrap();
            }
            let from = match direction {
                ToEndpoint => &mut client,
                ToClient => &mut endpoint,
            };
            from.write_all(b"!").unwrap();
            assert_eq!(next(&woken), (7, all), "{halves:?}");
            assert!(lock(&parked.sessions).is_empty());
        }
    }
    assert!(woken.try_recv().is_err(), "it is woken once");
}

/// All that may happen to a silent connection, and what it has to do with it is done by a thread.
#[test]
fn ends_and_failures_wake() {
    let parked = parked();
    let woken = woken(&parked, 0);
    for (id, by_reset) in [(1, false), (2, true)] {
        let (client, endpoint, session) = quiet(id);
        parked.park(&session, Both).unwrap();
        if by_reset {
            (&endpoint).write_all(b"last words").unwrap();
            session.relay.record(Cause::Failed(Party::Endpoint).into());
            reset(endpoint);
        } else {
            client.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(next(&woken), (id, Both));
    }
}

/// The end of the process, say, or of a host: many at once, which threads could not be had for.
#[test]
fn a_session_that_was_reset_is_dropped_without_a_thread() {
    let parked = parked();
    let woken = woken(&parked, 0);
    for by_peer in [false, true] {
        let (client, endpoint, session) = quiet(1);
        parked.park(&session, Both).unwrap();
        let outside = Arc::downgrade(&session);
        if by_peer {
            drop(session);
            reset(client);
        } else {
            session.relay.abort(Cause::Removed);
            drop(session);
            wait_for(PollFd::hung_up(client.as_fd()));
        }
        wait_for(PollFd::hung_up(endpoint.as_fd()));
        // The next that is woken comes after it.
        let (client, _endpoint, session) = quiet(2);
        parked.park(&session, Both).unwrap();
        (&client).write_all(b"!").unwrap();
        assert_eq!(next(&woken), (2, Both));
        assert!(outside.upgrade().is_none());
    }
}

#[test]
fn a_session_that_gets_no_thread_is_tried_again() {
    let parked = parked();
    let woken = woken(&parked, 3);
    let (client, mut endpoint, session) = quiet(1);
    parked.park(&session, Both).unwrap();
    // What a message needs no thread for is done without.
    (&client).write_all(b"!").unwrap();
    endpoint.read_exact(&mut [0]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&woken), (1, Both));
}

/// Whoever serves the other direction would go on with half a session.
#[test]
fn a_panic_ends_the_session() {
    let parked = parked();
    let (mut client, _endpoint, session) = quiet(1);
    parked.park(&session, One(ToEndpoint)).unwrap();
    client.write_all(b"!").unwrap();
    let waiting = thread::spawn(move || {
        parked.run(|_, _| std::panic::resume_unwind(Box::new("as this test wants")));
    });
    assert!(waiting.join().is_err());
    assert_eq!(session.relay.cause(), Cause::Internal);
    assert!(session.relay.is_aborted());
}

/// The thread that waited has ended with the events that it had read.
#[test]
fn unhandled_events_are_reported_again() {
    let parked = parked();
    let (client, _endpoint, session) = quiet(1);
    parked.park(&session, Both).unwrap();
    (&client).write_all(b"!").unwrap();
    let epoll = parked.epoll.as_ref().unwrap();
    assert_eq!(epoll.wait().unwrap().count(), 1);
    let woken = woken(&parked, 0);
    assert_eq!(next(&woken), (1, Both));
}

/// An event may come with a key of no session, or of a direction that is served.
#[test]
fn keys_of_unparked_directions_are_ignored() {
    let parked = parked();
    let (_client, _endpoint, session) = quiet(5);
    parked.park(&session, One(ToClient)).unwrap();
    for key in [key(5, ToEndpoint), key(6, ToClient), u64::MAX] {
        assert!(parked.take(key).is_none());
    }
    assert!(parked.take(key(5, ToClient)).is_some());
}

#[test]
fn a_direction_that_cannot_be_parked_stays_with_the_caller() {
    let (_client, _endpoint, session) = quiet(1);
    let parked = Parked {
        epoll: None,
        ..Parked::new(Duration::ZERO)
    };
    assert!(parked.park(&session, Both).is_err());
    // For want of memory: what is left of that is for others.
    let parked = self::parked();
    let refused = refuse();
    let error = parked.park(&session, Both).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(12));
    drop(refused);
    // The second direction cannot be: the first is not waited for either.
    parked.park(&session, One(ToClient)).unwrap();
    assert!(parked.park(&session, Both).is_err());
    let epoll = parked.epoll.as_ref().unwrap();
    let first = session.relay.awaited(ToEndpoint);
    assert!(epoll.arm(&first, 0).is_err());
}
