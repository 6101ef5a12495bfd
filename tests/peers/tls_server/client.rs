//! The product's client against the server, or against bytes, over a stream in memory.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use super::certificates::{NAME, anchor};
use super::messages::records;
use super::server::{Plan, Server};
use crate::tls::{Config, Failure, Verified, authenticate};
use crate::x509::{Anchors, ServerName, UnixTime};

/// A time at which the certificates are valid: 2025-06-15.
const NOW: UnixTime = UnixTime(1_750_000_000);

/// A stream whose other end is a function from what the client sent to what it gets.
pub(crate) struct Conversation<F> {
    react: F,
    /// What the client sent and the other end has not seen.
    pub(crate) sent: Vec<u8>,
    pending: VecDeque<u8>,
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Conversation<F> {
    pub(crate) fn new(react: F) -> Self {
        Self {
            react,
            sent: Vec::new(),
            pending: VecDeque::new(),
        }
    }
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Read for Conversation<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pending.is_empty() {
            let sent = std::mem::take(&mut self.sent);
            self.pending.extend((self.react)(&sent));
        }
        self.pending.read(buffer)
    }
}

impl<F> Write for Conversation<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The client's random source: 1, 2, 3 and so on.
pub(crate) fn counter() -> impl FnMut(&mut [u8]) -> io::Result<()> {
    let mut next = 0u8;
    move |out| {
        for byte in out {
            next = next.wrapping_add(1);
            *byte = next;
        }
        Ok(())
    }
}

/// Runs a client that trusts [`anchor`] and wants [`NAME`].
pub(crate) fn client<S: Read + Write>(stream: &mut S) -> Result<Verified, Failure> {
    client_of(anchor(), stream)
}

/// Runs a client that trusts that authority and wants [`NAME`].
pub(crate) fn client_of<S: Read + Write>(
    anchor: Vec<u8>,
    stream: &mut S,
) -> Result<Verified, Failure> {
    let anchors = Anchors::from_der(vec![anchor]).unwrap();
    let config = Config {
        anchors: &anchors,
        name: &ServerName::parse(NAME).unwrap(),
        now: NOW,
        alpn: &[b"h2"],
    };
    authenticate(stream, &config, &mut counter())
}

/// Runs a client against a server with that plan.
pub(crate) fn run(plan: Plan<'_>) -> Result<Verified, Failure> {
    let mut server = Server::new(plan);
    client(&mut Conversation::new(|sent: &[u8]| server.answer(sent)))
}

/// The description of the plaintext alert that `sent` ends with, if it does.
pub(crate) fn last_alert(sent: &[u8]) -> Option<u8> {
    match records(sent).pop() {
        Some((21, alert)) => Some(alert[1]),
        _ => None,
    }
}

/// Runs a client that is sent `bytes`, whatever it says.
pub(crate) fn run_bytes(bytes: &[u8]) -> Result<Verified, Failure> {
    let mut bytes = bytes.to_vec();
    client(&mut Conversation::new(|_: &[u8]| {
        std::mem::take(&mut bytes)
    }))
}

/// All that a server with that plan sends.
pub(crate) fn flight(plan: Plan<'_>) -> Vec<u8> {
    let mut server = Server::new(plan);
    let mut flight = Vec::new();
    let mut stream = Conversation::new(|sent: &[u8]| {
        let answer = server.answer(sent);
        flight.extend(&answer);
        answer
    });
    let _ = client(&mut stream);
    drop(stream);
    flight
}
