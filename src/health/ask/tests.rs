//! A member is asked over HTTP: every answer, and every way not to answer, is distinguished.

use super::*;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

const AMPLE: Duration = Duration::from_secs(60);

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// Asks a server on loopback for /x, whose connection is left to `serve`.
fn ask_server(
    timeout: Duration,
    serve: impl FnOnce(TcpStream) + Send + 'static,
) -> (Result<(), Failure>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    let asked = ask(addr, &url("http:///x"), timeout, &LoopGuard::default());
    (asked, server)
}

/// What was asked, up to the empty line.
fn request_of(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        request.extend(octet);
    }
    String::from_utf8(request).unwrap()
}

#[test]
fn status_200_is_healthy() {
    let (asked, server) = ask_server(AMPLE, |mut stream| {
        let addr = stream.local_addr().unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            request_of(&mut stream),
            format!(
                "GET /x HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: etcd-gateway/{version}\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            )
        );
        // An octet at a time, and the connection stays open.
        for octet in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            stream.write_all(&[*octet]).unwrap();
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it hangs up first");
    });
    asked.unwrap();
    server.join().unwrap();
}

#[test]
fn a_zone_is_not_sent() {
    let addr = "[fe80::1%7]:2381".parse().unwrap();
    let request = request(addr, &url("http:///a?b"));
    let head = "GET /a?b HTTP/1.1\r\nHost: [fe80::1]:2381\r\n";
    assert!(request.starts_with(head), "{request}");
}

/// One that is silent, one that trickles an endless head, an endless content, or a status whose
/// content never ends: all have the same time, and what was said counts.
#[test]
fn everything_has_one_deadline() {
    // (what is sent at once, what is repeated, the words)
    let cases: [(&[u8], &[u8], &str); 5] = [
        (b"", b"", "no answer in time"),
        (
            b"HTTP/1.1 200 OK\r\n",
            b"x",
            "the answer did not end in time",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"x",
            "the answer did not end in time",
        ),
        (b"HTTP/1.1 503 No\r\n\r\nnot", b" ", "503 No: not"),
        (b"\x15\x03\x01", b"", "it speaks TLS"),
    ];
    for (head, repeated, words) in cases {
        let started = Instant::now();
        let timeout = Duration::from_millis(200);
        let (asked, server) = ask_server(timeout, move |mut stream| {
            request_of(&mut stream);
            let _ = stream.write_all(head);
            if repeated.is_empty() {
                let _ = stream.read(&mut [0]);
            }
            while !repeated.is_empty() && stream.write_all(repeated).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let took = started.elapsed();
        let failure = asked.unwrap_err();
        assert!(took >= timeout && took < AMPLE / 2, "{failure}: {took:?}");
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(!failure.is_local());
        server.join().unwrap();
    }
}

#[test]
fn a_member_that_does_not_answer_has_failed() {
    type Serve = fn(TcpStream);
    let cases: [(Serve, &str); 5] = [
        (
            |mut stream| {
                request_of(&mut stream);
            },
            "closed without an answer",
        ),
        (
            |mut stream| {
                request_of(&mut stream);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
                let _ = stream.shutdown(Shutdown::Write);
            },
            "closed before the end of the answer",
        ),
        (
            |mut stream| {
                request_of(&mut stream);
                socket2::SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            },
            "onnection reset by peer",
        ),
        (
            |mut stream| {
                request_of(&mut stream);
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
            },
            "404 Not Found: no",
        ),
        (
            |mut stream| {
                request_of(&mut stream);
                let _ = stream.write_all(&[b'x'; 2 * MAX_RESPONSE]);
            },
            "the answer is not HTTP: xxx",
        ),
    ];
    for (serve, words) in cases {
        let (asked, server) = ask_server(AMPLE, serve);
        let failure = asked.unwrap_err();
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(!failure.is_local(), "{failure}");
        server.join().unwrap();
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let asked = ask(addr, &url("http://"), AMPLE, &LoopGuard::default());
    let failure = asked.unwrap_err();
    assert_eq!(
        failure.to_string(),
        format!("dial tcp {addr}: connect: connection refused")
    );
    assert!(!failure.is_local());
}

#[test]
fn a_member_that_cannot_be_reached_has_failed_in_time() {
    let hole = dial::BlackHole::new();
    let timeout = Duration::from_millis(100);
    let asked = ask(hole.addr, &url("http://"), timeout, &LoopGuard::default());
    let failure = asked.unwrap_err();
    assert!(failure.to_string().ends_with("i/o timeout"), "{failure}");
    assert!(!failure.is_local());
}

/// A stream whose reads say these one after the other.
struct Script(Vec<io::Result<&'static [u8]>>);

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let octets = self.0.remove(0)?;
        buffer[..octets.len()].copy_from_slice(octets);
        Ok(octets.len())
    }
}

impl Write for Script {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn failures_are_local_or_the_members() {
    let error = |number| Err(io::Error::from_raw_os_error(number));
    let refusal: &[u8] = b"HTTP/1.1 500 X\r\n\r\n";
    let addr = SocketAddr::from(([10, 0, 0, 1], 1));
    // (what the calls say, whether it is this host's, the words)
    let cases = [
        (vec![error(105)], true, "no buffer space available"),
        (vec![error(12)], true, "cannot allocate memory"),
        (vec![error(104)], false, "connection reset by peer"),
        (vec![error(11)], false, "no answer in time"),
        (
            vec![Ok(b"HTTP".as_slice()), error(11)],
            false,
            "the answer did not end in time",
        ),
        // A signal is not a failure.
        (vec![error(4), Ok(refusal)], false, "500 X"),
        (vec![Ok(refusal), error(104)], false, "500 X"),
        (vec![Ok(refusal), error(105)], false, "500 X"),
        (
            vec![Ok(b"HTTP/1.1 200 OK\r\n\r\n".as_slice()), error(104)],
            false,
            "connection reset by peer",
        ),
    ];
    for (calls, local, words) in cases {
        let failure = converse(&mut Script(calls), "").unwrap_err();
        assert_eq!(failure.to_string(), words);
        assert_eq!(failure.is_local(), local, "{failure}");
    }
    let dial = dial::ErrorKind::Local("getsockname", io::Error::from_raw_os_error(12)).at(addr);
    assert!(Failure::Dial(dial).is_local());
}
