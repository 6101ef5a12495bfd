//! Servers that take their time, over real sockets: the stream's deadline ends the wait, and
//! the error says what was waited for.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::pki::Deadline;
use crate::peers::tls_server::{self, Plan, flight};
use crate::tls::codes::HandshakeType;
use crate::tls::{Error, Version};

/// How long the client waits in all.
const PATIENCE: Duration = Duration::from_millis(400);

/// Runs a client against a server that sends `bytes`, one by one at that interval, and keeps
/// the connection open until the client closes it.
fn slow(bytes: &[u8], interval: Duration) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for byte in bytes {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(interval);
            }
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let start = Instant::now();
        let mut stream = Deadline::connect(&address, PATIENCE);
        let failure = tls_server::client(&mut stream).unwrap_err();
        let took = start.elapsed();
        assert!(took >= PATIENCE, "{took:?}");
        // generous, since the machine may be busy; without a deadline it would take forever
        assert!(took < PATIENCE * 20, "{took:?}");
        failure.error
    })
}

#[test]
fn a_silent_server() {
    let awaiting = HandshakeType::SERVER_HELLO;
    assert_eq!(slow(&[], Duration::ZERO), Error::TimedOut { awaiting });
}

#[test]
fn the_error_says_what_was_expected() {
    /// Sends its bytes, then nothing until the deadline.
    struct Silent(VecDeque<u8>);
    impl Read for Silent {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                read => read,
            }
        }
    }
    impl Write for Silent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cases = [
        (Version::TLS13, HandshakeType::ENCRYPTED_EXTENSIONS),
        (Version::TLS12, HandshakeType::SERVER_HELLO_DONE),
    ];
    for (version, awaiting) in cases {
        let mut flight = flight(Plan {
            version,
            fragment: 4,
            ..Plan::default()
        });
        flight.pop();
        if version == Version::TLS13 {
            // up to the first byte of the first protected record
            flight.truncate(flight.windows(3).position(|w| w == [23, 3, 3]).unwrap() + 1);
        }
        let failure = tls_server::client(&mut Silent(flight.into())).unwrap_err();
        assert_eq!(failure.error, Error::TimedOut { awaiting });
    }
}

#[test]
fn a_server_of_one_byte_at_a_time() {
    let awaiting = HandshakeType::SERVER_HELLO;
    // a byte well within any timeout of a single read, and the whole far beyond the deadline
    let error = slow(&flight(Plan::default()), PATIENCE / 10);
    assert_eq!(error, Error::TimedOut { awaiting });
}
