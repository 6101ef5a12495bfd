//! What comes first after a silence, which is passed on before there is a thread.

use super::faults::{EAGAIN, ECONNRESET, ENOBUFS, ENOMEM, ends, plan};
use super::*;
use crate::proxy::calls::tests::What;

/// It is sent once, in one piece or in two, and what it cannot do is left to who serves the session then.
#[test]
fn the_first_bytes_after_a_silence_are_passed_on_exactly_once() {
    // (what is to go wrong, whether it is sent at once, what the session ends of)
    let closed = Cause::Closed(Party::Client);
    let cases = [
        (None, true, closed),
        (Some((Call::Peek, What::AtMost(3))), true, closed),
        (Some((Call::Read, What::AtMost(1))), true, closed),
        (Some((Call::Read, What::Error(EAGAIN))), true, closed),
        (Some((Call::Peek, What::Error(ENOMEM))), false, closed),
        // Told once, and no more to who reads next: the other direction's end may be passed on meanwhile.
        (
            Some((Call::Peek, What::Error(ECONNRESET))),
            false,
            Cause::Failed(Party::Client),
        ),
        (Some((Call::Send, What::Error(ENOBUFS))), false, Cause::Host),
        // What was sent and cannot be taken away would be sent once more.
        (Some((Call::Read, What::Error(ENOMEM))), true, Cause::Host),
    ];
    for (fault, at_once, cause) in cases {
        let (mut client, relay, mut endpoint) = joined();
        if let Some((call, what)) = fault {
            let sides = [&relay.client, &relay.endpoint];
            sides.into_iter().for_each(|side| plan(side, call, 0, what));
        }
        client.write_all(b"hello").unwrap();
        wait_for(PollFd::readable(relay.client.socket.as_fd()));
        relay.pass_first(Direction::ToEndpoint);
        assert_eq!(relay.passed().0 > 0, at_once, "{fault:?}");
        let session = serve(&relay, &pipes(0));
        if cause == closed {
            let mut got = [0; 5];
            endpoint.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"hello", "{fault:?}");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(endpoint.read(&mut [0]).unwrap(), 0);
            endpoint.shutdown(Shutdown::Write).unwrap();
        }
        ends(session);
        assert_eq!(relay.cause(), cause, "{fault:?}");
        let whole = at_once || cause == closed;
        assert_eq!(relay.passed().0, if whole { 5 } else { 0 }, "{fault:?}");
    }
}

/// The endpoint has ended its direction, and the client resets: to look what has come takes the kernel's word for it away.
#[test]
fn a_reset_after_a_silence_is_not_an_end_of_stream() {
    let (mut client, relay, mut endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    endpoint.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let unread = What::Delay(Duration::from_millis(300));
    plan(&relay.client, Call::Poll, 0, unread);
    // It is seen to, and polls late.
    client.write_all(b"?").unwrap();
    endpoint.read_exact(&mut [0]).unwrap();
    reset(client);
    wait_for(PollFd::hung_up(relay.client.socket.as_fd()));
    relay.pass_first(Direction::ToEndpoint);
    ends(session);
    assert_eq!(relay.cause(), Cause::Failed(Party::Client));
    wait_for(PollFd::hung_up(endpoint.as_fd()));
}

#[test]
fn no_first_bytes_are_passed_on_without_room_or_after_an_end() {
    // No room.
    let (mut client, relay, endpoint) = joined_with(10_000);
    let sent = content(300_000);
    let filled = relay
        .flow(Direction::ToEndpoint)
        .offer(&sent)
        .unwrap()
        .len();
    assert!(filled > 0);
    client.write_all(b"?").unwrap();
    wait_for(PollFd::readable(relay.client.socket.as_fd()));
    let before = relay.passed();
    relay.pass_first(Direction::ToEndpoint);
    assert_eq!(relay.passed(), before);
    drop(endpoint);
    // An end, and bytes for who has ended.
    let (client, relay, mut endpoint) = joined();
    client.shutdown(Shutdown::Write).unwrap();
    wait_for(PollFd::peer_closed(relay.client.socket.as_fd()));
    relay.pass_first(Direction::ToEndpoint);
    let session = serve(&relay, &pipes(0));
    assert_eq!(endpoint.read(&mut [0]).unwrap(), 0);
    // A failure.
    relay.abort(Cause::Removed);
    ends(session);
    let (mut client, relay, _endpoint) = joined();
    client.write_all(b"?").unwrap();
    wait_for(PollFd::readable(relay.client.socket.as_fd()));
    relay.record(Cause::Failed(Party::Endpoint).into());
    relay.pass_first(Direction::ToEndpoint);
    assert_eq!(relay.passed(), (0, 0));
}

parked! {
    the_first_bytes_after_a_silence_are_passed_on_exactly_once
    a_reset_after_a_silence_is_not_an_end_of_stream
    no_first_bytes_are_passed_on_without_room_or_after_an_end
}
