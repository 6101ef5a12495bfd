//! Calls that fail although both peers are well: both hear of a reset, and the session is over.

use super::*;
use crate::proxy::calls::tests::{Fault, What};

pub(super) const EAGAIN: i32 = 11;
pub(super) const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
pub(super) const ECONNRESET: i32 = 104;
pub(super) const ENOBUFS: i32 = 105;

pub(super) fn plan(side: &Side, call: Call, after: u32, what: What) {
    side.socket.seam.plan(Fault { call, after, what });
}

/// Has all calls of a kind fail that will be made.
fn plan_always(side: &Side, call: Call, number: i32) {
    for _ in 0..10_000 {
        plan(side, call, 0, What::Error(number));
    }
}

/// The next read or write finds a reset.
fn hears_of_a_reset(mut stream: &TcpStream) {
    let mut bytes = vec![0; 64 * 1024];
    let end = loop {
        match stream.read(&mut bytes) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(end, Some(io::ErrorKind::ConnectionReset));
}

/// Waits until a session's threads have ended, for which no peer does anything.
pub(super) fn ends(session: thread::JoinHandle<()>) {
    let deadline = Instant::now() + SOON;
    while !session.is_finished() {
        assert!(Instant::now() < deadline, "it does not end");
        thread::sleep(Duration::from_millis(1));
    }
    session.join().unwrap();
}

/// Has each direction in a thread of its own: messages come thick and fast.
fn make_busy(mut client: &TcpStream, mut endpoint: &TcpStream) {
    for _ in 0..100 {
        client.write_all(b"?").unwrap();
        endpoint.read_exact(&mut [0]).unwrap();
        endpoint.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}

/// One call fails once, in the only thread or in one of two, the other of which waits in a read.
#[test]
fn a_call_that_fails_on_a_connection_that_is_alive_resets_both() {
    let host = Cause::Host;
    let peers = [Cause::Failed(Party::Client), Cause::Failed(Party::Endpoint)];
    for busy in [false, true] {
        for (call, number, of_the_receiver, cause) in [
            (Call::Read, ENOMEM, false, host),
            (Call::Read, ECONNRESET, false, peers[0]),
            (Call::Send, ENOBUFS, true, host),
            (Call::Send, EACCES, true, host),
            (Call::Send, ECONNRESET, true, peers[1]),
            (Call::EndWrites, ENOBUFS, true, host),
            (Call::PeerName, ENOBUFS, false, host),
        ] {
            let case = format!("{call:?} {number}, busy: {busy}");
            let (mut client, relay, endpoint) = joined();
            let (sides, pipes) = (Arc::clone(&relay), pipes(0));
            let session = serve(&relay, &pipes);
            drop(relay);
            if busy {
                make_busy(&client, &endpoint);
            }
            let side = if of_the_receiver {
                &sides.endpoint
            } else {
                &sides.client
            };
            plan(side, call, 0, What::Error(number));
            if matches!(call, Call::Read | Call::Send) {
                client.write_all(b"?").unwrap();
            } else {
                client.shutdown(Shutdown::Write).unwrap();
            }
            ends(session);
            assert_eq!(sides.cause(), cause, "{case}");
            let error = sides.failure().and_then(|failure| failure.error.as_ref());
            let said = error.and_then(io::Error::raw_os_error);
            assert_eq!(said, (cause == host).then_some(number), "{case}");
            hears_of_a_reset(&client);
            hears_of_a_reset(&endpoint);
        }
    }
}

/// The other thread waits for room, which its peer never makes.
#[test]
fn a_call_that_fails_ends_a_wait_for_room() {
    for max in [0, 1] {
        let (mut client, relay, mut endpoint) = joined();
        let sides = Arc::clone(&relay);
        let session = serve(&relay, &pipes(max));
        drop(relay);
        make_busy(&client, &endpoint);
        let brief = Some(Duration::from_millis(300));
        endpoint.set_write_timeout(brief).unwrap();
        while endpoint.write(&[0; 64 * 1024]).is_ok() {}
        plan(&sides.endpoint, Call::Send, 0, What::Error(ENOBUFS));
        client.write_all(b"?").unwrap();
        ends(session);
        assert_eq!(sides.cause(), Cause::Host, "{max}");
        drop(sides);
        hears_of_a_reset(&endpoint);
        hears_of_a_reset(&client);
    }
}

/// Neither the wake-up nor the first resets work.
#[test]
fn a_reset_that_is_refused_is_tried_again() {
    let (client, relay, endpoint) = joined();
    let sides = Arc::clone(&relay);
    let session = serve(&relay, &pipes(0));
    drop(relay);
    make_busy(&client, &endpoint);
    for (side, refusals) in [(&sides.client, 1), (&sides.endpoint, 10)] {
        plan(side, Call::EndReads, 0, What::Error(EINVAL));
        for _ in 0..refusals {
            plan(side, Call::Disconnect, 0, What::Error(16));
        }
    }
    sides.abort(Cause::Removed);
    sides.reset();
    ends(session);
    assert_eq!(sides.cause(), Cause::Removed);
    hears_of_a_reset(&client);
    hears_of_a_reset(&endpoint);
}

/// As the kernel does while a read waits: the reads are woken, and their threads reset.
#[test]
fn a_reset_that_has_to_wait_for_a_read_follows_it() {
    let (client, relay, endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    make_busy(&client, &endpoint);
    for side in [&relay.client, &relay.endpoint] {
        plan(side, Call::Disconnect, 0, What::Error(16));
    }
    relay.abort(Cause::Removed);
    ends(session);
    assert_eq!(relay.cause(), Cause::Removed);
    hears_of_a_reset(&client);
    hears_of_a_reset(&endpoint);
}

/// No call of ours fails here: a peer that has ended its direction resets, and nothing is written to it.
#[test]
fn a_reset_after_an_end_is_passed_on_without_a_read_or_write() {
    for busy in [false, true] {
        let (client, relay, mut endpoint) = joined();
        let session = serve(&relay, &pipes(0));
        if busy {
            make_busy(&client, &endpoint);
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(endpoint.read(&mut [0]).unwrap(), 0);
        reset(client);
        wait_for(PollFd::hung_up(endpoint.as_fd()));
        ends(session);
        assert_eq!(relay.cause(), Cause::Failed(Party::Client), "{busy}");
    }
}

/// Of two threads that neither read nor write: one watches, the other waits for room.
#[test]
fn an_abort_ends_waits_that_the_end_of_reads_does_not() {
    let (client, relay, mut endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    make_busy(&client, &endpoint);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(endpoint.read(&mut [0]).unwrap(), 0);
    let brief = Some(Duration::from_millis(300));
    endpoint.set_write_timeout(brief).unwrap();
    while endpoint.write(&[0; 64 * 1024]).is_ok() {}
    relay.abort(Cause::Removed);
    ends(session);
    assert_eq!(relay.cause(), Cause::Removed);
    hears_of_a_reset(&client);
    wait_for(PollFd::hung_up(endpoint.as_fd()));
}

/// The kernel reports a reset once: to the thread that writes; the one that watches does
/// not.
#[test]
fn a_reset_that_only_a_write_reports_is_noticed() {
    let (mut client, relay, endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    make_busy(&client, &endpoint);
    let late = What::Delay(Duration::from_millis(300));
    plan(&relay.endpoint, Call::Poll, 0, late);
    endpoint.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    reset(endpoint);
    wait_for(PollFd::hung_up(relay.endpoint.socket.as_fd()));
    client.write_all(b"?").unwrap();
    ends(session);
    assert_eq!(relay.cause(), Cause::Failed(Party::Endpoint));
    drop(relay);
    wait_for(PollFd::hung_up(client.as_fd()));
}

/// One thread cannot wait in two places: what was read and not sent is lost, and both hear of it.
#[test]
fn a_full_receiver_and_no_second_thread_reset_both() {
    let (client, relay, mut endpoint) = joined();
    let own = Arc::clone(&relay);
    let refusing = move || {
        let left = own.serve(Directions::Both, &pipes(0), |direction| {
            assert_eq!(direction, Direction::ToEndpoint);
            Err(io::ErrorKind::WouldBlock.into())
        });
        assert_eq!(left, None);
    };
    let session = thread::spawn(refusing);
    while endpoint.write_all(&[0; 64 * 1024]).is_ok() {}
    ends(session);
    assert_eq!(relay.cause(), Cause::Rejected(Rejection::NoThread));
    wait_for(PollFd::hung_up(endpoint.as_fd()));
    hears_of_a_reset(&client);
}

/// The sender resets, and no thread reads: the one that waits for room finds it.
#[test]
fn a_wait_for_room_ends_as_the_sender_does() {
    for (max, fault) in [(0, false), (1, false), (1, true)] {
        let (mut client, relay, endpoint) = joined();
        let session = serve(&relay, &pipes(max));
        if fault {
            // The bound on how long a write of bulk may wait.
            plan(&relay.endpoint, Call::Timeout, 0, What::Error(ENOMEM));
        }
        let brief = Some(Duration::from_millis(300));
        client.set_write_timeout(brief).unwrap();
        while client.write(&[0; 64 * 1024]).is_ok() {}
        reset(client);
        ends(session);
        assert_eq!(relay.cause(), Cause::Failed(Party::Client), "{max} {fault}");
        hears_of_a_reset(&endpoint);
    }
}

/// The kernel reports the failure of a connection once, also in the middle of bulk.
#[test]
fn a_splice_that_reports_a_failed_connection_ends_it() {
    for (call, of_the_receiver, cause) in [
        (Call::SpliceIn, false, Cause::Failed(Party::Client)),
        (Call::SpliceOut, true, Cause::Failed(Party::Endpoint)),
        (Call::ReadPipe, true, Cause::Host),
    ] {
        let (mut client, relay, mut endpoint) = joined();
        let pipes = pipes(1);
        pipes.refused(&io::Error::from_raw_os_error(EINVAL), Instant::now());
        let session = serve(&relay, &pipes);
        let side = if of_the_receiver {
            &relay.endpoint
        } else {
            &relay.client
        };
        if call == Call::ReadPipe {
            plan(side, Call::SpliceOut, 3, What::Error(EINVAL));
            plan(side, call, 0, What::Error(5));
        } else {
            plan(side, call, 3, What::Error(ECONNRESET));
        }
        let sending = thread::spawn(move || while client.write_all(&[0; 64 * 1024]).is_ok() {});
        let mut bytes = vec![0; 64 * 1024];
        let end = loop {
            match endpoint.read(&mut bytes) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) => break Some(error.kind()),
            }
        };
        assert_eq!(end, Some(io::ErrorKind::ConnectionReset), "{call:?}");
        ends(session);
        sending.join().unwrap();
        assert_eq!(relay.cause(), cause, "{call:?}");
        assert_eq!((pipes.with_bytes(), pipes.left()), (0, 1), "{call:?}");
        if !of_the_receiver {
            // The pipe is empty, and the host has spliced before.
            assert_eq!((pipes.kept(), pipes.refusals()), (1, 0));
        }
    }
}

/// What a cut answer would end with otherwise looks like the whole of it.
#[test]
fn an_end_whose_reset_cannot_be_disarmed_is_a_reset() {
    let (client, relay, endpoint) = joined();
    let sides = Arc::clone(&relay);
    let session = serve(&relay, &pipes(0));
    drop(relay);
    plan(&sides.client, Call::Linger, 0, What::Error(ENOMEM));
    client.shutdown(Shutdown::Write).unwrap();
    endpoint.shutdown(Shutdown::Write).unwrap();
    ends(session);
    assert_eq!(sides.cause(), Cause::Host);
}

/// Through which pipes and for how many bytes splice(2) fails: what it leaves is copied, exactly.
#[test]
fn bulk_is_exact_where_splicing_fails_and_is_tried_again() {
    let sent = content(8 * 1024 * 1024 + 1);
    let cases = [
        (Call::SpliceIn, What::Error(EINVAL)),
        (Call::SpliceIn, What::Error(ENOMEM)),
        (Call::SpliceIn, What::Error(11)),
        (Call::SpliceIn, What::AtMost(1)),
        (Call::SpliceOut, What::Error(EINVAL)),
        (Call::SpliceOut, What::Error(ENOBUFS)),
        (Call::SpliceOut, What::Error(11)),
        (Call::SpliceOut, What::AtMost(2049)),
        (Call::Timeout, What::Error(ENOMEM)),
    ];
    for (call, what) in cases {
        for after in [0, 1, 5] {
            let case = format!("{call:?} {what:?} after {after}");
            let (client, relay, endpoint) = joined();
            let pipes = pipes(1);
            let session = serve(&relay, &pipes);
            for side in [&relay.client, &relay.endpoint] {
                plan(side, call, after, what);
            }
            assert!(through(&client, &endpoint, &sent) == sent, "{case}");
            let sides = [&relay.client, &relay.endpoint];
            let happened = sides.map(|side| side.socket.seam.happened()).concat();
            assert!(!happened.is_empty() || call == Call::Timeout, "{case}");
            // The other way, after a pause.
            thread::sleep(Duration::from_millis(5));
            assert!(through(&endpoint, &client, &sent) == sent, "{case}");
            ends(session);
            assert!(matches!(relay.cause(), Cause::Closed(_)), "{case}");
            let spliced = relay.endpoint.socket.seam.calls(Call::SpliceIn) > 5;
            assert!(
                spliced || call == Call::Timeout,
                "{case}: it is not tried again"
            );
            assert_eq!(pipes.refusals(), 0, "{case}");
            assert_eq!((pipes.with_bytes(), pipes.left()), (0, 1), "{case}");
        }
    }
}

/// poll(2) has no memory for a while: a thread that watches continues, and one that has nothing to
/// watch any more ends.
#[test]
fn failed_polls_cost_only_time() {
    for busy in [false, true] {
        let (mut client, relay, mut endpoint) = joined();
        let session = serve(&relay, &pipes(0));
        if busy {
            make_busy(&client, &endpoint);
        }
        for side in [&relay.client, &relay.endpoint] {
            plan(side, Call::Poll, 0, What::Error(ENOMEM));
            plan(side, Call::Poll, 0, What::Error(ENOMEM));
        }
        client.write_all(b"?").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        endpoint.read_to_string(&mut got).unwrap();
        assert_eq!(got, "?");
        // It resets a direction that has ended: only a thread that still watches finds out.
        reset(client);
        wait_for(PollFd::hung_up(endpoint.as_fd()));
        ends(session);
        assert_eq!(relay.cause(), Cause::Failed(Party::Client), "{busy}");
    }
    let (client, relay, endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    make_busy(&client, &endpoint);
    for side in [&relay.client, &relay.endpoint] {
        plan_always(side, Call::Poll, ENOMEM);
    }
    client.shutdown(Shutdown::Write).unwrap();
    endpoint.shutdown(Shutdown::Write).unwrap();
    ends(session);
    assert!(matches!(relay.cause(), Cause::Closed(_)));
}

/// All that the sender had is here, its end included, and has nowhere to go.
#[test]
fn a_wait_for_room_does_not_spin() {
    for max in [0, 1] {
        let (client, relay, endpoint) = joined_with(10_000);
        let session = serve(&relay, &pipes(max));
        make_busy(&client, &endpoint);
        endpoint.shutdown(Shutdown::Write).unwrap();
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
        // More than is on its way to the endpoint at a time, and no more than fits before that.
        let sent = content(60_000);
        (&client).write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        wait_for(PollFd::hung_up(relay.client.socket.as_fd()));
        let polls = || {
            let sides = [&relay.client, &relay.endpoint];
            let polls = sides.map(|side| side.socket.seam.calls(Call::Poll));
            polls.iter().sum::<u64>()
        };
        let before = polls();
        thread::sleep(Duration::from_millis(200));
        let polls = polls() - before;
        assert!(polls < 10, "{polls} calls of poll while nothing happens");
        let mut got = Vec::new();
        (&endpoint).read_to_end(&mut got).unwrap();
        assert!(got == sent);
        ends(session);
        assert_eq!(relay.cause(), Cause::Closed(Party::Endpoint));
    }
}

/// One refusal is one: the rest of that bulk is copied.
#[test]
fn bulk_that_is_refused_is_copied_from_there_on() {
    let sent = content(4 * 1024 * 1024);
    for (call, of_the_receiver) in [(Call::SpliceIn, false), (Call::SpliceOut, true)] {
        let (client, relay, endpoint) = joined();
        let pipes = Arc::new(Pipes::new(1, usize::MAX, Duration::from_secs(60)));
        let session = serve(&relay, &pipes);
        let side = if of_the_receiver {
            &relay.endpoint
        } else {
            &relay.client
        };
        plan(side, call, 0, What::Error(EINVAL));
        assert!(through(&client, &endpoint, &sent) == sent);
        assert_eq!(
            relay.client.socket.seam.calls(Call::SpliceIn),
            1,
            "{call:?}"
        );
        assert_eq!((pipes.refusals(), pipes.kept()), (1, 0));
        drop((client, endpoint));
        ends(session);
    }
}

/// The state of the receiver is not known then, so it does not count as dead.
#[test]
fn a_failed_call_resets_both_if_the_kernel_does_not_say_what_is_connected() {
    let (mut client, relay, endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    make_busy(&client, &endpoint);
    for call in [Call::Send, Call::PeerName] {
        plan(&relay.endpoint, call, 0, What::Error(ENOBUFS));
    }
    client.write_all(b"?").unwrap();
    ends(session);
    hears_of_a_reset(&client);
    hears_of_a_reset(&endpoint);
}

/// Then no thread is in a read, which the cut would end: the reset itself ends their waits.
#[test]
fn an_abort_ends_a_session_in_which_nobody_reads() {
    let (mut client, relay, mut endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    make_busy(&client, &endpoint);
    for writer in [&mut client, &mut endpoint] {
        let patience = Some(Duration::from_millis(300));
        writer.set_write_timeout(patience).unwrap();
        while writer.write(&[0; 64 * 1024]).is_ok() {}
    }
    relay.abort(Cause::Removed);
    ends(session);
    hears_of_a_reset(&client);
    hears_of_a_reset(&endpoint);
}

/// Nothing is known of either peer where a filter forbids to ask, or there is nothing to say; a peer that
/// lives is not gone, however short the patience.
#[test]
fn live_peers_are_not_dead() {
    let (client, relay, endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    make_busy(&client, &endpoint);
    plan(&relay.client, Call::Facts, 1, What::Error(1));
    plan(&relay.endpoint, Call::Facts, 2, What::Error(38));
    for _ in 0..5 {
        assert_eq!(relay.abort_if_dead(Duration::ZERO), None);
    }
    assert_eq!(relay.client.socket.seam.calls(Call::Facts), 5);
    assert_eq!(relay.endpoint.socket.seam.calls(Call::Facts), 5);
    assert!(relay.failure().is_none());
    drop((client, endpoint));
    ends(session);
    assert_eq!(relay.abort_if_dead(Duration::ZERO), None);
}

/// Nobody has it relayed.
#[test]
fn a_connection_that_cannot_be_reset_on_close_is_not_joined() {
    let (_client, client_side) = connection();
    let (reader, _writer) = io::pipe().unwrap();
    let endpoint = TcpStream::from(std::os::fd::OwnedFd::from(reader));
    let account = pool().pick(&[]).unwrap().1.connected();
    let relay = Relay::new(
        Arc::new(client_side),
        endpoint,
        account,
        Arc::default(),
        HOUR,
        None,
    );
    assert!(relay.is_err());
}

parked! {
    a_call_that_fails_on_a_connection_that_is_alive_resets_both
    a_call_that_fails_ends_a_wait_for_room
    a_reset_that_is_refused_is_tried_again
    a_reset_that_has_to_wait_for_a_read_follows_it
    a_reset_after_an_end_is_passed_on_without_a_read_or_write
    an_abort_ends_waits_that_the_end_of_reads_does_not
    a_reset_that_only_a_write_reports_is_noticed
    a_full_receiver_and_no_second_thread_reset_both
    a_wait_for_room_ends_as_the_sender_does
    a_splice_that_reports_a_failed_connection_ends_it
    an_end_whose_reset_cannot_be_disarmed_is_a_reset
    bulk_is_exact_where_splicing_fails_and_is_tried_again
    failed_polls_cost_only_time
    a_wait_for_room_does_not_spin
    bulk_that_is_refused_is_copied_from_there_on
    a_failed_call_resets_both_if_the_kernel_does_not_say_what_is_connected
    an_abort_ends_a_session_in_which_nobody_reads
    live_peers_are_not_dead
}
