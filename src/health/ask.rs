//! One request to one member, on a connection of its own, and the answer.
//!
//! All of it has one deadline. What fails because this host lacks something says nothing about the
//! member, and is distinguished.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::response::{self, Fault, MAX_RESPONSE, Parsed};
use crate::deadline::DeadlineStream;
use crate::dial;
use crate::loop_guard::LoopGuard;
use crate::sys::OsErrorText;
use crate::url::Url;

/// Why a member is not known to be healthy.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no connection.
    Dial(dial::Error),
    /// The connection failed.
    Broken(io::Error),
    /// The time was over, before or within the answer.
    Late { has_begun: bool },
    /// There was an answer, or an end in its place.
    Answer(Fault),
}

/// Asks for `url` at `addr`; connect, request and answer have `timeout` together.
///
/// # Errors
/// If the answer is not status 200, or not there in time.
pub(crate) fn ask(
    addr: SocketAddr,
    url: &Url,
    timeout: Duration,
    guard: &LoopGuard,
) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    // It lives as long as the stream is used: the loop guard has to have the connection in its list.
    let dialled = dial::connect(addr, timeout, guard).map_err(Failure::Dial)?;
    let mut stream = DeadlineStream::new(&dialled.stream, deadline);
    converse(&mut stream, &request(addr, url))
}

/// RFC 9112 section 3.2: the host as it is dialled, but without a zone, which has a meaning only on this
/// host (RFC 6874).
fn request(addr: SocketAddr, url: &Url) -> String {
    let host = SocketAddr::new(addr.ip(), addr.port());
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: etcd-gateway/{}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        url.path(),
        env!("CARGO_PKG_VERSION")
    )
}

/// Sends the request and reads until the answer is decided.
fn converse(stream: &mut (impl Read + Write), request: &str) -> Result<(), Failure> {
    stream
        .write_all(request.as_bytes())
        .map_err(|error| broken(error, false))?;
    let mut buffer = [0; MAX_RESPONSE];
    let mut filled = 0;
    loop {
        let free = buffer.get_mut(filled..).unwrap_or_default();
        let read = stream.read(free);
        filled += read.as_ref().map_or(0, |count| *count);
        let received = buffer.get(..filled).unwrap_or_default();
        let ended = match read {
            Ok(count) => count == 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => false,
            Err(error) => {
                // What was received before counts, although it is not complete.
                return Err(match response::parse(received, true) {
                    Err(fault) if fault.is_answer() => Failure::Answer(fault),
                    _ => broken(error, filled > 0),
                });
            }
        };
        match response::parse(received, ended) {
            Ok(Parsed::Healthy) => return Ok(()),
            Ok(Parsed::Incomplete) => {}
            Err(fault) => return Err(Failure::Answer(fault)),
        }
    }
}

/// A timeout of a socket is reported as `WouldBlock`.
fn broken(error: io::Error, has_begun: bool) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Late { has_begun },
        _ => Failure::Broken(error),
    }
}

impl Failure {
    /// Whether the failure is this host's and says nothing about the member.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_local(),
            Self::Broken(error) => dial::is_exhaustion(error),
            Self::Late { .. } | Self::Answer(_) => false,
        }
    }
}

/// Without the address that was asked, except in the failure of a dial.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => error.fmt(f),
            Self::Broken(error) => OsErrorText(error).fmt(f),
            Self::Late { has_begun: false } => f.write_str("no answer in time"),
            Self::Late { has_begun: true } => f.write_str("the answer did not end in time"),
            Self::Answer(fault) => fault.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
