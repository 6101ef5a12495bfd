//! One authentication: what it asks, what it logs, and whose failure it is.

use super::*;
use crate::endpoint::Source;
use crate::endpoint::slots::Slots;
use crate::log::tests::heard;
use std::net::TcpListener;

fn authenticator() -> Authenticator {
    let nobody = TrustedSet::new(Anchors::from_der(Vec::new()).unwrap());
    Authenticator::new(nobody, LoopGuard::default())
}

fn admit(endpoint: &Endpoint, timeout: Duration) -> Result<Proof, dial::Error> {
    let slot = Slots::default().for_client().unwrap();
    authenticator().authenticate(endpoint, timeout, &slot)
}

fn endpoint(addr: SocketAddr, identity: Option<&str>) -> Endpoint {
    Endpoint {
        addr,
        name: "m.test:1".to_owned(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: identity.map(str::to_owned),
        source: Source::Srv,
    }
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// What an authentication found that ended so.
fn refused(reason: &str) -> Examination {
    Examination::failed(dial::ErrorKind::Rejected(reason.to_owned()).at(addr(1)))
}

/// The certificate, or that of its issuer, had expired for so long.
fn expired(seconds: i64, by_issuer: bool) -> Examination {
    let reason = InvalidReason::Expired {
        now: UnixTime(seconds),
        not_after: UnixTime(0),
    };
    let mut error = x509::Error::Invalid {
        subject: "CN=x".to_owned(),
        reason,
    };
    if by_issuer {
        let (position, own) = (2, Box::new(error));
        error = x509::Error::Presented {
            position,
            error: own,
        };
    }
    Examination::refused(addr(1), &tls::Error::Certificate(error), None)
}

#[test]
fn why_an_endpoint_fails_is_logged_when_it_changes() {
    let authenticator = authenticator();
    let lines = |port: u16, reason: &str| {
        heard();
        for _ in 0..3 {
            let endpoint = endpoint(addr(port), Some("x.test"));
            authenticator.report(&endpoint, "x.test", &refused(reason));
        }
        let lines = heard();
        let is_refusal = |line: &String| {
            line.starts_with(
                "WARN  auth: endpoint failed authentication; not sending it connections",
            ) && line.contains(reason)
        };
        assert!(lines.iter().all(is_refusal), "{lines:?}");
        lines.len()
    };
    assert_eq!(lines(1, "one reason"), 1);
    assert_eq!(lines(1, "one reason"), 0);
    assert_eq!(lines(2, "one reason"), 1, "of another endpoint");
    assert_eq!(lines(1, "another reason"), 1);
    // What time it is makes no difference.
    for (seconds, by_issuer, logged) in [(1, false, 1), (2, false, 0), (3, true, 1), (4, true, 0)] {
        let endpoint = endpoint(addr(1), Some("x.test"));
        authenticator.report(&endpoint, "x.test", &expired(seconds, by_issuer));
        let lines = heard();
        assert_eq!(lines.len(), logged, "{seconds}: {lines:?}");
        let now = UnixTime(seconds).to_string();
        assert!(lines.iter().all(|line| line.contains(&now)), "{lines:?}");
    }
    // A success in between does.
    let success = Examination {
        outcome: Ok((tls::Version::TLS13, "TLS_AES_128_GCM_SHA256")),
        ..refused("")
    };
    authenticator.report(&endpoint(addr(1), None), "x.test", &success);
    let lines_heard = heard();
    assert_eq!(lines_heard.len(), 1, "{lines_heard:?}");
    assert!(lines_heard[0].starts_with("DEBUG auth: endpoint authenticated"));
    authenticator.report(&endpoint(addr(1), None), "x.test", &expired(5, true));
    assert_eq!(heard().len(), 1);
}

#[test]
fn a_failure_of_this_host_is_not_logged_as_one_of_the_endpoint() {
    let authenticator = authenticator();
    let error = io::Error::from_raw_os_error(12);
    let examination =
        Examination::failed(dial::ErrorKind::Local("authenticate", error).at(addr(1)));
    heard();
    authenticator.report(&endpoint(addr(1), None), "x.test", &examination);
    let lines = heard();
    let words = "WARN  auth: cannot authenticate endpoint, will try again";
    assert!(lines.len() == 1 && lines[0].starts_with(words), "{lines:?}");
}

#[test]
fn reasons_of_endpoints_that_come_and_go_do_not_fill_the_memory() {
    let authenticator = authenticator();
    for port in 1..=3 * 1024 {
        let endpoint = endpoint(addr(port), Some("x.test"));
        authenticator.report(&endpoint, "x.test", &refused("a reason"));
        let reasons = lock(&authenticator.reasons).len();
        match usize::from(port) {
            few if few <= MAX_ENDPOINTS => assert_eq!(reasons, few),
            _ => assert!(reasons <= MAX_ENDPOINTS + 1, "{reasons}"),
        }
    }
}

#[test]
fn an_endpoint_without_an_identity_is_not_asked() {
    let listener = TcpListener::bind(addr(0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let timeout = Duration::from_secs(5);
    let proof = admit(&endpoint(addr, None), timeout);
    assert_eq!(proof.unwrap(), Proof { not_after: None });
    let bad = admit(&endpoint(addr, Some("not a name")), timeout);
    assert!(bad.unwrap_err().is_rejected());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "no connection was made");
}

/// What authorities say that are trusted no more holds no longer.
#[test]
fn an_endpoint_is_asked_again_if_other_authorities_are_trusted_meanwhile() {
    let nobody = || Anchors::from_der(Vec::new()).unwrap();
    for (changes, asked) in [(0, 1), (1, 2)] {
        let listener = TcpListener::bind(addr(0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let trusted = TrustedSet::new(nobody());
        let authenticator = Authenticator::new(trusted.clone(), LoopGuard::default());
        let server = std::thread::spawn(move || {
            for number in 1.. {
                let (mut stream, _) = listener.accept().unwrap();
                if number <= changes {
                    trusted.replace(nobody());
                }
                // The test says so when it is over; a hello of TLS begins otherwise.
                let mut first = [0];
                stream.read_exact(&mut first).unwrap();
                if first == *b"." {
                    return number - 1;
                }
            }
            0
        });
        let slot = Slots::default().for_client().unwrap();
        let endpoint = endpoint(addr, Some("x.test"));
        let admitted = authenticator.authenticate(&endpoint, Duration::from_secs(5), &slot);
        assert!(admitted.unwrap_err().is_unauthenticated());
        let mut over = std::net::TcpStream::connect(addr).unwrap();
        over.write_all(b".").unwrap();
        assert_eq!(server.join().unwrap(), asked, "{changes} changes");
    }
}

/// By servers that answer an octet at a time, that close, and that speak no TLS.
#[test]
fn an_authentication_ends_by_its_deadline_and_says_whether_it_may_come_back() {
    let listener = TcpListener::bind(addr(0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut slow, _) = listener.accept().unwrap();
        // A record of a handshake, of the largest size that there may be.
        let mut octets = [0x16, 3, 3, 0x40, 0]
            .into_iter()
            .chain(std::iter::repeat(0));
        while slow.write_all(&[octets.next().unwrap()]).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(listener.accept().unwrap());
        let (mut plain, _) = listener.accept().unwrap();
        plain
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        let _ = plain.read_to_end(&mut Vec::new());
    });
    let member = endpoint(addr, Some("x.test"));
    let started = Instant::now();
    let timeout = Duration::from_millis(300);
    let error = admit(&member, timeout).unwrap_err();
    let took = started.elapsed();
    assert!(took >= timeout && took < Duration::from_secs(4), "{took:?}");
    assert!(
        error.is_unauthenticated() && !error.is_rejected(),
        "{error}"
    );
    for (is_rejected, what) in [(false, "one that closes"), (true, "one without TLS")] {
        let error = admit(&member, Duration::from_secs(20));
        assert_eq!(error.unwrap_err().is_rejected(), is_rejected, "{what}");
    }
    server.join().unwrap();
}

#[test]
fn an_error_of_this_host_is_not_a_failure_of_the_endpoint() {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let broken = || tls::Error::Closed {
        reset: false,
        answered: true,
        awaiting: tls::codes::HandshakeType::SERVER_HELLO,
    };
    let plaintext = || tls::Error::NotTls { http: true };
    let out_of_memory = || Some(io::Error::from_raw_os_error(12));
    let rejected = "authenticate 127.0.0.1:1: ".to_owned() + &plaintext().to_string();
    let silent = "authenticate 127.0.0.1:1: ".to_owned() + &broken().to_string();
    let cases = [
        // (error of TLS, error of this host, local, rejected, words)
        (broken(), None, false, false, &*silent),
        (
            broken(),
            out_of_memory(),
            true,
            false,
            "dial tcp 127.0.0.1:1: authenticate: cannot allocate memory",
        ),
        (
            tls::Error::RandomSource,
            out_of_memory(),
            true,
            false,
            "dial tcp 127.0.0.1:1: authenticate: cannot allocate memory",
        ),
        (plaintext(), None, false, true, &*rejected),
        (plaintext(), out_of_memory(), false, true, &*rejected),
    ];
    for (error, failed, local, rejected, words) in cases {
        let error = blame(addr, &error, failed);
        assert_eq!(
            (error.is_local(), error.is_rejected()),
            (local, rejected),
            "{error}"
        );
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn a_stream_records_errors_of_this_host() {
    // (error number, kept)
    for (number, kept) in [
        (12, true),
        (105, true),
        (23, true),
        (104, false),
        (11, false),
        (110, false),
    ] {
        let mut stream = RecordingStream {
            stream: io::empty(),
            local_error: None,
        };
        let error = io::Error::from_raw_os_error(number);
        let kind = error.kind();
        assert_eq!(stream.record::<()>(Err(error)).unwrap_err().kind(), kind);
        let number = Some(number).filter(|_| kept);
        assert_eq!(
            stream.local_error.and_then(|error| error.raw_os_error()),
            number
        );
    }
}
