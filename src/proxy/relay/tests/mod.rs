//! The ways that bytes take, one against the other: the same bytes, the same ends.

/// The same tests once more, where whatever is silent for two milliseconds is parked.
macro_rules! parked {
    ($($name:ident)*) => {
        mod parked { $(
            #[test]
            fn $name() {
                $crate::proxy::relay::tests::SILENCE.set(std::time::Duration::from_millis(2));
                super::$name();
            }
        )* }
    };
}

mod faults;
mod first;
mod served;
mod storm;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use self::served::Served;
use super::pair::Side;
use super::*;
use crate::config::Policy;
use crate::endpoint::pool::Pool;
use crate::endpoint::{Endpoint, Source};
use crate::proxy::calls::Call;
use crate::proxy::cause::Party;
use crate::sys::memory::tests::refuse;
use crate::sys::syscall::{self, PollFd};

/// Deadline on what should happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// So long that no test comes to it.
const HOUR: Duration = Duration::from_secs(3600);

thread_local! {
    /// After how long what this test joins is parked.
    static SILENCE: Cell<Duration> = const { Cell::new(HOUR) };
}

/// Pipes as a proxy has them.
fn pipes(max: usize) -> Arc<Pipes> {
    Arc::new(Pipes::new(max, usize::MAX, Duration::from_millis(1)))
}

/// Has the end of the last handle of a socket reset it.
fn reset_on_close(stream: &TcpStream) {
    let zero = Some(Duration::ZERO);
    SockRef::from(stream).set_linger(zero).unwrap();
}

/// Two ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
    }
    far.set_read_timeout(None).unwrap();
    (near, far)
}

/// A pool of one endpoint.
fn pool() -> Pool {
    let pool = Pool::new(Policy::RoundRobin, SOON, None).unwrap();
    let addr = ([127, 0, 0, 1], 1).into();
    pool.replace(vec![Endpoint {
        addr,
        name: addr.to_string(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: None,
        source: Source::Endpoints,
    }]);
    pool
}

/// A client, a relay and an endpoint, joined in this order.
pub(crate) fn joined() -> (TcpStream, Arc<Relay>, TcpStream) {
    joined_by(connection())
}

/// The same, with buffers of so many bytes towards the endpoint.
fn joined_with(buffers: usize) -> (TcpStream, Arc<Relay>, TcpStream) {
    joined_by(storm::connection(Some(buffers)))
}

fn joined_by(
    (endpoint, endpoint_side): (TcpStream, TcpStream),
) -> (TcpStream, Arc<Relay>, TcpStream) {
    let (client, client_side) = connection();
    // As its listener has it.
    reset_on_close(&client_side);
    let relay = Relay::new(
        Arc::new(client_side),
        endpoint_side,
        pool().pick(&[]).unwrap().1.connected(),
        Arc::default(),
        SILENCE.get(),
        Some(SILENCE.get()),
    );
    (client, Arc::new(relay.unwrap()), endpoint)
}

/// Serves a relay as a session does. The thread ends when the relay is not served any more.
fn serve(relay: &Arc<Relay>, pipes: &Arc<Pipes>) -> thread::JoinHandle<()> {
    let (told, over) = channel();
    Served::start(Arc::clone(relay), pipes, 0, move |relay, panicked| {
        drop(relay);
        let _ = told.send(panicked);
    });
    thread::spawn(move || assert_eq!(over.recv(), Ok(false), "a thread has panicked"))
}

/// Bytes that differ wherever some are lost, doubled or swapped.
fn content(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// Sends `bytes` from one end and the end of stream after them; returns what arrives.
fn through(mut from: &TcpStream, mut to: &TcpStream, bytes: &[u8]) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(|| {
            from.write_all(bytes).unwrap();
            from.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        to.read_to_end(&mut got).unwrap();
        got
    })
}

#[test]
fn every_path_moves_the_same_bytes() {
    // (pipes there may be, whether splicing is refused, pipes there are afterwards)
    let cases = [(4, false, true), (0, false, false), (4, true, false)];
    let sent = content(12 * 1024 * 1024 + 1);
    for (max, refused, used) in cases {
        let (client, relay, endpoint) = joined();
        let pipes = pipes(max);
        if refused {
            let refusal = io::Error::from_raw_os_error(22);
            pipes.refused(&refusal, Instant::now() + SOON);
        }
        let session = serve(&relay, &pipes);
        assert!(
            through(&client, &endpoint, &sent) == sent,
            "{max} {refused}"
        );
        assert!(
            through(&endpoint, &client, &sent) == sent,
            "{max} {refused}"
        );
        session.join().unwrap();
        assert_eq!(pipes.kept() > 0, used, "{max} {refused}");
        let passed = [&relay.account.to_endpoint, &relay.account.to_client].map(|lane| lane.get());
        assert_eq!(passed, [sent.len() as u64; 2], "{max} {refused}");
    }
}

/// Through pipes, which take no memory of the process, or through the small buffer; also where a pipe has to be emptied
/// by copying.
#[test]
fn bulk_without_memory_for_buffers_arrives_complete() {
    let sent = content(3 * 1024 * 1024 + 1);
    for (max, is_copied) in [(1, false), (0, false), (1, true)] {
        let (client, relay, endpoint) = joined();
        let pipes = pipes(max);
        if is_copied {
            let (call, after) = (Call::SpliceOut, 1);
            let what = crate::proxy::calls::tests::What::Error(22);
            relay
                .endpoint
                .socket
                .seam
                .plan(crate::proxy::calls::tests::Fault { call, after, what });
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let _refused = refuse();
                let helped = |direction| {
                    let (relay, pipes) = (&relay, &pipes);
                    scope.spawn(move || {
                        let _refused = refuse();
                        let own = Directions::One(direction);
                        assert_eq!(relay.serve(own, pipes, |_| Ok(())), None);
                    });
                    Ok(())
                };
                assert_eq!(relay.serve(Directions::Both, &pipes, helped), None);
            });
            assert!(
                through(&client, &endpoint, &sent) == sent,
                "{max} {is_copied}"
            );
            assert!(
                through(&endpoint, &client, &sent) == sent,
                "{max} {is_copied}"
            );
        });
        assert_eq!(pipes.kept() > 0, max > 0, "{max} {is_copied}");
    }
}

#[test]
fn messages_of_every_size_around_the_buffers_arrive_complete() {
    let (client, relay, endpoint) = joined();
    let pipes = pipes(1);
    let session = serve(&relay, &pipes);
    let page = 2048;
    for size in [
        1,
        page - 1,
        page,
        page + 1,
        2 * page,
        64 * 1024,
        64 * 1024 + 1,
        700_000,
    ] {
        let sent = content(size);
        for (mut from, mut to) in [(&client, &endpoint), (&endpoint, &client)] {
            thread::scope(|scope| {
                scope.spawn(|| from.write_all(&sent).unwrap());
                let mut got = vec![0; size];
                to.read_exact(&mut got).unwrap();
                assert!(got == sent, "{size}");
            });
        }
    }
    drop((client, endpoint));
    session.join().unwrap();
}

/// A pipe is two descriptors and its memory: a connection that has fallen silent holds none.
#[test]
fn a_pipe_is_returned_when_bulk_ends() {
    let (mut client, relay, mut endpoint) = joined();
    let pipes = pipes(1);
    let session = serve(&relay, &pipes);
    let sent = content(8 * 1024 * 1024);
    for _ in 0..2 {
        thread::scope(|scope| {
            scope.spawn(|| client.write_all(&sent).unwrap());
            let mut got = vec![0; sent.len()];
            endpoint.read_exact(&mut got).unwrap();
            assert!(got == sent);
        });
        let deadline = Instant::now() + SOON;
        while pipes.kept() == 0 {
            assert!(Instant::now() < deadline, "it was never given back");
            thread::yield_now();
        }
        // The silence did not end it.
        client.write_all(b"?").unwrap();
        endpoint.read_exact(&mut [0]).unwrap();
        endpoint.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    drop((client, endpoint));
    session.join().unwrap();
}

#[test]
fn a_second_thread_is_asked_for_only_when_needed() {
    let pipes = pipes(0);
    // A question, an answer, and both ends: all in this thread.
    let (mut client, relay, mut endpoint) = joined();
    client.write_all(b"question").unwrap();
    endpoint.write_all(b"answer").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    endpoint.shutdown(Shutdown::Write).unwrap();
    let linger = |side: &Side| SockRef::from(&side.socket).linger().unwrap();
    let sides = [&relay.client, &relay.endpoint];
    assert_eq!(sides.map(linger), [Some(Duration::ZERO); 2]);
    assert_eq!(relay.serve_both(&pipes, &mut [0; _]), SingleThread::Over);
    for side in [&relay.client, &relay.endpoint] {
        let harmless = linger(side).is_none() || !side.socket.is_connected().unwrap();
        assert!(harmless, "no matter who closes it now");
    }
    drop(relay);
    let (mut question, mut answer) = (String::new(), String::new());
    endpoint.read_to_string(&mut question).unwrap();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!((&*question, &*answer), ("question", "answer"));

    // A client that reads nothing: what it is to get waits, and the other direction may not.
    let (client, relay, endpoint) = joined();
    let (done, flooded) = channel::<()>();
    let flood = thread::spawn(move || {
        let mut endpoint = endpoint;
        let _ = endpoint.write_all(&content(64 * 1024 * 1024));
        drop(done);
    });
    let mut buffer: Buffer = [0; _];
    let SingleThread::NeedsSecond { direction, pending } = relay.serve_both(&pipes, &mut buffer)
    else {
        panic!("the session is not over");
    };
    assert_eq!(
        (direction, pending.end <= buffer.len()),
        (Direction::ToClient, true)
    );
    drop((client, relay));
    assert!(flooded.recv_timeout(SOON).is_err());
    flood.join().unwrap();
}

/// Resets a connection.
pub(crate) fn reset(stream: TcpStream) {
    reset_on_close(&stream);
    drop(stream);
}

/// Waits until something has come to one of a relay's sockets.
pub(crate) fn wait_for(fd: PollFd<'_>) {
    let mut fds = [fd];
    syscall::wait(&mut fds, Some(SOON)).unwrap();
    assert!(fds[0].is_ready(), "nothing has come");
}

/// What arrives, and whether it ends cleanly.
fn arrivals(mut stream: &TcpStream) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    let clean = stream.read_to_end(&mut got).is_ok();
    (got, clean)
}

/// A server that says why it will not go on, and closes with bytes unread, resets: its word
/// is the client's all the same, also if the client has ended its direction by then.
#[test]
fn bytes_before_a_reset_arrive_though_the_other_direction_has_ended() {
    let pipes = pipes(0);
    for up in [false, true] {
        let (client, relay, endpoint) = joined();
        let (mut speaker, other) = if up {
            (client, endpoint)
        } else {
            (endpoint, client)
        };
        let [speaking, listening] = if up {
            [&relay.client, &relay.endpoint]
        } else {
            [&relay.endpoint, &relay.client]
        };
        speaker.write_all(b"why").unwrap();
        wait_for(PollFd::readable(speaking.socket.as_fd()));
        reset(speaker);
        wait_for(PollFd::hung_up(speaking.socket.as_fd()));
        other.shutdown(Shutdown::Write).unwrap();
        wait_for(PollFd::peer_closed(listening.socket.as_fd()));
        assert_eq!(relay.serve_both(&pipes, &mut [0; _]), SingleThread::Over);
        drop(relay);
        assert_eq!(arrivals(&other), (b"why".to_vec(), false), "{up}");
    }
}

/// Who has failed may still have something to pass on.
#[test]
fn a_session_that_has_failed_is_not_over_before_it_is_aborted() {
    let (client, relay, mut endpoint) = joined();
    assert!(!relay.is_aborted());
    endpoint.write_all(b"why").unwrap();
    reset(endpoint);
    wait_for(PollFd::hung_up(relay.endpoint.socket.as_fd()));
    assert!(!relay.is_aborted());
    let failed = Cause::Failed(Party::Endpoint).into();
    let next = relay.on_end(failed, &relay.client, &relay.endpoint);
    assert_eq!((next, relay.is_aborted()), (end::Next::Rest, false));
    relay.abort(Cause::Removed);
    assert!(relay.is_aborted());
    drop(client);
}

/// splice(2) stops before a byte of urgent data, and at the end of the stream returns the same.
#[test]
fn urgent_data_is_not_an_end_of_stream() {
    let (client, relay, endpoint) = joined();
    let pipes = pipes(1);
    let session = serve(&relay, &pipes);
    let sent = content(24 * 1024 * 1024);
    let (head, tail) = sent.split_at(sent.len() - 1000);
    let got = thread::scope(|scope| {
        let sender = &client;
        scope.spawn(move || {
            let mut writer = sender;
            writer.write_all(head).unwrap();
            SockRef::from(sender).send_out_of_band(b"!").unwrap();
            writer.write_all(tail).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        // Reads only when the end has reached the relay's buffers, as far as they hold it.
        let (mut reader, mut got) = (&endpoint, vec![0; head.len() - 3 * 1024 * 1024]);
        reader.read_exact(&mut got).unwrap();
        thread::sleep(Duration::from_millis(300));
        reader.read_to_end(&mut got).unwrap();
        got
    });
    assert_eq!(got.len(), sent.len());
    assert!(got == sent);
    drop((client, endpoint));
    session.join().unwrap();
}

/// Also without a pause that is long enough to be one; what bulk has set is taken back.
#[test]
fn bulk_begins_after_some_hundred_kilobytes_and_ends_with_small_messages() {
    for max in [0, 1] {
        let (mut client, relay, mut endpoint) = joined();
        let pipes = pipes(max);
        let session = serve(&relay, &pipes);
        let sent = content(1024 * 1024);
        let calls = |call| relay.client.socket.seam.calls(call);
        let begin = Instant::now();
        // How large the reads are, the scheduler has a say in.
        while max > 0 && calls(Call::SpliceIn) == 0 || calls(Call::Timeout) < 2 {
            assert!(begin.elapsed() < SOON, "no bulk");
            thread::scope(|scope| {
                scope.spawn(|| client.write_all(&sent).unwrap());
                let mut got = vec![0; sent.len()];
                endpoint.read_exact(&mut got).unwrap();
                assert!(got == sent);
            });
            // What is bulk begins anew after a small message.
            client.write_all(b"?").unwrap();
            endpoint.read_exact(&mut [0]).unwrap();
        }
        let mut messages = 0;
        // The first is that of silence, and each bulk sets two.
        while pipes.kept() < max || calls(Call::Timeout) % 2 == 0 {
            assert!(messages < 100, "it does not end: {max}");
            messages += 1;
            client.write_all(b"?").unwrap();
            endpoint.read_exact(&mut [0]).unwrap();
        }
        let socket = SockRef::from(&relay.client.socket);
        assert_eq!(socket.read_timeout().unwrap(), Some(HOUR));
        drop((client, endpoint));
        session.join().unwrap();
    }
}

/// Nothing comes any more from one side, which is nothing to wake for.
#[test]
fn a_direction_that_has_ended_uses_no_processor_time() {
    let (mut client, relay, mut endpoint) = joined();
    let session = serve(&relay, &pipes(0));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(endpoint.read(&mut [0]).unwrap(), 0);
    let polls = || relay.client.socket.seam.calls(Call::Poll);
    let before = polls();
    for _ in 0..20 {
        endpoint.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
    let polls = polls() - before;
    assert!(polls < 50, "{polls} polls for 20 messages");
    drop(endpoint);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    session.join().unwrap();
    assert_eq!(relay.cause(), Cause::Closed(Party::Client));
    assert_eq!(relay.passed(), (0, 20));
}

/// A connection that is cut while it is busy: reads that always find bytes do not find out.
#[test]
fn an_abort_ends_a_stream_that_never_pauses() {
    for (max, chunk) in [
        (0, 64 * 1024),
        (4, 64 * 1024),
        (4, 64 * 1024),
        (4, 64 * 1024),
    ] {
        let (client, relay, endpoint) = joined();
        let pipes = pipes(max);
        let session = serve(&relay, &pipes);
        let writer = thread::spawn(move || {
            let (mut endpoint, bytes) = (endpoint, vec![0; chunk]);
            while endpoint.write_all(&bytes).is_ok() {}
        });
        let reader = thread::spawn(move || {
            let (mut client, mut bytes) = (client, vec![0; 256 * 1024]);
            loop {
                match client.read(&mut bytes) {
                    Ok(0) => return true,
                    // Slower than the writer, so that there is always something to be read.
                    Ok(_) => thread::sleep(Duration::from_millis(2)),
                    Err(error) => {
                        assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
                        return false;
                    }
                }
            }
        });
        thread::sleep(Duration::from_millis(700));
        relay.abort(Cause::Removed);
        let cut = Instant::now();
        while !session.is_finished() && cut.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(10));
        }
        let ended = session.is_finished();
        session.join().unwrap();
        drop(relay);
        let clean = reader.join().unwrap();
        writer.join().unwrap();
        assert!(
            ended && !clean,
            "{max} {chunk}: ended {ended}, cleanly {clean}"
        );
    }
}

/// A connection that is cut while its peer does not read: the ends that are read from and
/// those that are written to hear of a reset, and none of them of an end of the stream.
#[test]
fn an_abort_resets_both_whatever_they_wait_for() {
    for (max, up) in [(0, true), (0, false), (4, true), (4, false)] {
        let (client, relay, endpoint) = joined();
        let session = serve(&relay, &pipes(max));
        let (mut writer, reader) = if up {
            (client, endpoint)
        } else {
            (endpoint, client)
        };
        writer
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        while writer.write(&[0; 64 * 1024]).is_ok() {}
        relay.abort(Cause::Removed);
        session.join().unwrap();
        drop(relay);
        let (_, clean) = arrivals(&writer);
        assert!(!clean, "{max} {up}: who wrote heard of an end");
        let (_, clean) = arrivals(&reader);
        assert!(!clean, "{max} {up}: who was to read heard of an end");
    }
}

/// Whichever thread it is, and whatever the other one waits for.
#[test]
fn a_panic_in_one_direction_ends_both_by_a_reset() {
    for direction in [Direction::ToEndpoint, Direction::ToClient] {
        let (mut client, relay, mut endpoint) = joined();
        let pipes = pipes(0);
        let other = {
            let (relay, pipes) = (Arc::clone(&relay), Arc::clone(&pipes));
            thread::spawn(move || {
                let left = relay.serve_one(direction.reverse(), &pipes, &mut [0; _], 0..0);
                assert_eq!(left, None);
            })
        };
        let own = Arc::clone(&relay);
        let panicking = thread::spawn(move || {
            let _work = own.work();
            std::panic::resume_unwind(Box::new("as this test wants"));
        });
        assert!(panicking.join().is_err());
        other.join().unwrap();
        assert_eq!(relay.cause(), Cause::Internal);
        drop(relay);
        for stream in [&mut client, &mut endpoint] {
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}

parked! {
    every_path_moves_the_same_bytes
    messages_of_every_size_around_the_buffers_arrive_complete
    a_pipe_is_returned_when_bulk_ends
    bytes_before_a_reset_arrive_though_the_other_direction_has_ended
    urgent_data_is_not_an_end_of_stream
    a_direction_that_has_ended_uses_no_processor_time
    an_abort_ends_a_stream_that_never_pauses
    an_abort_resets_both_whatever_they_wait_for
}
