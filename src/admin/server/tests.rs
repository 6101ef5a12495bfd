//! Tests of the server of the admin address: its clients, their bounds and their ends.

use super::*;
use crate::sys::memory;
use std::net::SocketAddr;

const SOON: Duration = Duration::from_secs(10);

/// So long that no test lives to see its end.
const LONG: Duration = Duration::from_secs(3600);

/// Answers every request with so many octets.
fn octets(count: usize) -> impl Fn(Request<'_>) -> io::Result<Response> {
    move |_| {
        let text = memory::zeroed(count)?;
        Ok(Response::text(Status::OK, &"a".repeat(text.len())))
    }
}

/// What stands behind the head of an answer.
fn content(mut answer: Vec<u8>) -> Vec<u8> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    answer.drain(..head.map_or(0, |head| head + 4));
    answer
}

/// A server that runs until the tests end.
fn serve(count: usize, times: Times) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    super::super::prepare(SockRef::from(&listener)).unwrap();
    let stop = Waker::new().unwrap();
    std::thread::spawn(move || run(&listener, &stop, &octets(count), &times));
    addr
}

fn patient() -> Times {
    Times {
        admin_request: LONG,
        admin_answer: LONG,
        admin_linger: LONG,
        admin_pause: Duration::from_millis(1),
        ..Times::REAL
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// How a connection ends, after what.
fn end(mut stream: &TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got);
    (content(got), end.map(drop).map_err(|error| error.kind()))
}

#[test]
fn where_there_is_no_memory_for_an_answer_the_connection_closes() {
    let addr = serve(usize::MAX, patient());
    for _ in 0..2 {
        let mut client = connect(addr);
        client.write_all(REQUEST).unwrap();
        assert_eq!(end(&client), (Vec::new(), Ok(())));
    }
}

/// The time is that of the whole request; only a client that has begun one gets an answer. One that has more time does
/// not keep the server from that.
#[test]
fn a_request_has_its_time_and_no_more() {
    let times = Times {
        admin_request: Duration::from_millis(400),
        ..patient()
    };
    let addr = serve(1, times);
    let mut answered = connect(addr);
    answered.write_all(REQUEST).unwrap();
    assert_eq!(end(&answered), (b"a\n".to_vec(), Ok(())));
    let began = Instant::now();
    let (silent, mut slow) = (connect(addr), connect(addr));
    slow.write_all(b"GET /").unwrap();
    assert_eq!(end(&silent), (Vec::new(), Ok(())));
    assert!(began.elapsed() >= times.admin_request);
    let late = b"the request took too long\n".to_vec();
    assert_eq!(end(&slow), (late, Ok(())));
}

/// More than all buffers on the way hold.
const MUCH: usize = 8_000_000;

#[test]
fn an_answer_that_is_not_read_in_time_is_discarded() {
    let times = Times {
        admin_answer: Duration::from_millis(100),
        ..patient()
    };
    let addr = serve(MUCH, times);
    let began = Instant::now();
    let mut unread = connect(addr);
    unread.write_all(REQUEST).unwrap();
    // Reset by the server, though nothing was read meanwhile.
    let deadline = began + SOON;
    while unread.take_error().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the answer is kept");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(began.elapsed() >= times.admin_answer);
}

#[test]
fn a_reader_has_the_whole_answer_in_whatever_pieces_it_takes_it() {
    let addr = serve(MUCH, patient());
    let mut reader = connect(addr);
    reader.write_all(REQUEST).unwrap();
    let mut answer: Vec<u8> = Vec::new();
    let mut piece = [0; 10_000];
    loop {
        match reader.read(&mut piece).unwrap() {
            0 => break,
            count => answer.extend(&piece[..count]),
        }
    }
    let mut answer = content(answer);
    assert_eq!(answer.len(), MUCH + 1);
    assert_eq!(answer.pop(), Some(b'\n'));
    assert!(answer.iter().all(|octet| *octet == b'a'));
}

/// Larger answers wait in this process, which lets them go with the connection.
#[test]
fn the_kernel_holds_little_of_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    super::super::prepare(SockRef::from(&listener)).unwrap();
    let _client = connect(listener.local_addr().unwrap());
    let accepted = loop {
        match listener.accept() {
            Ok((accepted, _)) => break accepted,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    // Linux doubles what is asked for (socket(7)).
    let size = SockRef::from(&accepted).send_buffer_size().unwrap();
    assert_eq!(size, 2 * SEND_BUFFER);
}

/// Where accept(2) fails: a socket that does not listen.
#[test]
fn after_a_failure_to_accept_it_pauses() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let (listener, pages) = (TcpListener::from(socket), octets(1));
    let times = Times {
        admin_pause: LONG,
        ..patient()
    };
    let stop = Waker::new().unwrap();
    let mut server = Server::new(&listener, &stop, &pages, &times);
    let began = Instant::now();
    server.round();
    let paused = server.accept_from - began;
    assert!((LONG..LONG + SOON).contains(&paused), "{paused:?}");
    // It does not look at the listener meanwhile.
    server.accept_from = Instant::now() + Duration::from_millis(20);
    let ready = server.wait().unwrap();
    assert!(!ready[0] && Instant::now() >= server.accept_from);
    assert!(server.wait().unwrap()[0]);
    assert_eq!(server.complaints.admit(Instant::now() + SOON), Some(0));
    server.complain("cannot accept", &ErrorKind::Other.into());
    assert_eq!(server.complaints.admit(Instant::now() + 2 * SOON), Some(1));
}

#[test]
fn each_phase_has_a_time_of_its_own() {
    let hours = |count: u32| count * LONG;
    let times = Times {
        admin_request: hours(1),
        admin_answer: hours(2),
        admin_linger: hours(3),
        ..patient()
    };
    for (count, request, phase) in [(1, &b"GET /"[..], 1), (MUCH, REQUEST, 2), (1, REQUEST, 3)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = connect(listener.local_addr().unwrap());
        stream.write_all(request).unwrap();
        let pages = octets(count);
        let stop = Waker::new().unwrap();
        let mut server = Server::new(&listener, &stop, &pages, &times);
        listener.set_nonblocking(true).unwrap();
        let began = Instant::now();
        server.round();
        // Both the connection and the request are there, but the kernel may tell of one after the other.
        while phase > 1 && matches!(server.clients[0].phase, Phase::Reading(_)) {
            server.round();
        }
        let left = server.clients[0].deadline - began;
        assert!(
            (hours(phase)..hours(phase) + SOON).contains(&left),
            "{phase}: {left:?}"
        );
    }
}

/// However many come at once, so many are kept.
#[test]
fn no_more_connections_are_kept_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let (pages, times) = (octets(1), patient());
    let stop = Waker::new().unwrap();
    let mut server = Server::new(&listener, &stop, &pages, &times);
    let _silent: Vec<TcpStream> = (0..3 * MAX_CONNECTIONS).map(|_| connect(addr)).collect();
    for _ in 0..3 {
        server.round();
        assert_eq!(server.clients.len(), MAX_CONNECTIONS);
    }
}

/// After the answer the connection is kept for a time, and for so many octets of what the client still sends.
#[test]
fn what_follows_a_request_is_discarded_within_limits() {
    let addr = serve(1, patient());
    let answered = || {
        let mut stream = connect(addr);
        stream.write_all(REQUEST).unwrap();
        assert_eq!(end(&stream), (b"a\n".to_vec(), Ok(())));
        stream
    };
    let cut = |mut stream: &TcpStream, octets: usize| {
        // A write may fail before all is sent.
        let _ = stream.write_all(&vec![b'a'; octets]);
        let _ = stream.shutdown(Shutdown::Write);
        let deadline = Instant::now() + SOON;
        loop {
            let closed = SockRef::from(stream).peer_addr().is_err();
            if stream.take_error().unwrap().is_some() {
                return true;
            }
            // In order: the server has taken all, and our end.
            if closed {
                return false;
            }
            assert!(Instant::now() < deadline, "the connection is kept");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    assert!(!cut(&answered(), LINGER_OCTETS));
    assert!(cut(&answered(), 10 * LINGER_OCTETS));

    let times = Times {
        admin_linger: Duration::from_millis(100),
        ..patient()
    };
    let addr = serve(1, times);
    let began = Instant::now();
    let mut kept = connect(addr);
    kept.write_all(REQUEST).unwrap();
    assert_eq!(end(&kept), (b"a\n".to_vec(), Ok(())));
    let deadline = began + SOON;
    while kept.write_all(b"a").is_ok() {
        assert!(Instant::now() < deadline, "the connection is kept");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(began.elapsed() >= times.admin_linger);
}

/// A client in this phase, whose time ends then.
fn client<'a>(phase: Phase, ends: Instant, times: &'a Times, at: &TcpListener) -> Client<'a> {
    let stream = TcpStream::connect(at.local_addr().unwrap()).unwrap();
    Client {
        stream,
        phase,
        deadline: ends,
        times,
    }
}

#[test]
fn the_client_least_worth_keeping_is_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (times, now) = (Times::REAL, Instant::now());
    let at = |seconds| now + Duration::from_secs(seconds);
    let lingering = || Phase::Lingering(1);
    let reading = || Phase::Reading(Vec::new());
    let writing = || Phase::Writing {
        answer: Vec::new(),
        sent: 0,
    };
    let mut clients: Vec<Client<'_>> = [
        (writing(), 1),
        (reading(), 5),
        (lingering(), 8),
        (reading(), 4),
        (lingering(), 7),
        (writing(), 2),
    ]
    .into_iter()
    .map(|(phase, ends)| client(phase, at(ends), &times, &listener))
    .collect();
    let mut order = Vec::new();
    while !clients.is_empty() {
        let before: Vec<Instant> = clients.iter().map(|client| client.deadline).collect();
        make_room(&mut clients);
        let left: Vec<Instant> = clients.iter().map(|client| client.deadline).collect();
        let gone = before.into_iter().find(|ends| !left.contains(ends));
        order.push((gone.expect("one is gone") - now).as_secs());
    }
    assert_eq!(order, [7, 8, 4, 5, 1, 2]);
    make_room(&mut clients);
}

/// One connection above the limit closes the oldest silent one, and no other.
#[test]
fn one_client_too_many_replaces_the_oldest() {
    let addr = serve(1, patient());
    let mut silent: Vec<TcpStream> = (0..MAX_CONNECTIONS).map(|_| connect(addr)).collect();
    // Who asks is answered at once; if it were gone as quickly, it would need no place.
    let mut asking = connect(addr);
    asking.write_all(REQUEST).unwrap();
    assert_eq!(end(&asking), (b"a\n".to_vec(), Ok(())));
    let first = silent.remove(0);
    assert_eq!(end(&first), (Vec::new(), Ok(())));
    drop(asking);
    for stream in &mut silent {
        stream.write_all(REQUEST).unwrap();
        assert_eq!(end(stream), (b"a\n".to_vec(), Ok(())));
    }
}
