//! One question to one member, on a connection of its own, and the answer.
//!
//! All of it has one deadline. What fails because this host lacks something says nothing about the
//! member, and is told apart.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::response::{self, Fault, Heard, MAX_RESPONSE};
use crate::deadline::DeadlineStream;
use crate::dial::{self, blocking};
use crate::loop_guard::LoopGuard;
use crate::sys::Plain;
use crate::url::Url;

/// Why a member is not known to be well.
#[derive(Debug)]
pub(crate) struct Failure {
    addr: SocketAddr,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// There is no connection.
    Dial(dial::Error),
    /// It broke.
    Broken(io::Error),
    /// The time was up, before or within the answer.
    Late { has_begun: bool },
    /// There is an answer, or an end in its place.
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
    let asked = blocking::connect(addr, timeout, guard)
        .map_err(Cause::Dial)
        .and_then(|dialled| {
            // The guard has to know of the connection for as long as there is one.
            let mut stream = DeadlineStream::new(&dialled.stream, deadline);
            converse(&mut stream, &request(addr, url))
        });
    asked.map_err(|cause| Failure { addr, cause })
}

/// RFC 9112 section 3.2: the host as it is dialled, but without a zone, which has a meaning on this
/// host alone (RFC 6874).
fn request(addr: SocketAddr, url: &Url) -> String {
    let host = SocketAddr::new(addr.ip(), addr.port());
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: etcd-gateway/{}\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n",
        url.path(),
        env!("CARGO_PKG_VERSION")
    )
}

/// Sends the request and reads until it is known what the answer is.
fn converse(stream: &mut (impl Read + Write), request: &str) -> Result<(), Cause> {
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
                // What was said before stands, though it was not said to the end.
                return Err(match response::parse(received, true) {
                    Err(fault) if fault.is_answer() => Cause::Answer(fault),
                    _ => broken(error, filled > 0),
                });
            }
        };
        match response::parse(received, ended) {
            Ok(Heard::Healthy) => return Ok(()),
            Ok(Heard::Incomplete) => {}
            Err(fault) => return Err(Cause::Answer(fault)),
        }
    }
}

/// The timeout of a socket shows as `WouldBlock`.
fn broken(error: io::Error, has_begun: bool) -> Cause {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Cause::Late { has_begun },
        _ => Cause::Broken(error),
    }
}

impl Failure {
    /// The failure without the address that was asked, but for a dial, which names it.
    pub(crate) fn reason(&self) -> String {
        match &self.cause {
            Cause::Dial(error) => error.to_string(),
            Cause::Broken(error) => Plain(error).to_string(),
            Cause::Late { has_begun: false } => "no answer in time".to_owned(),
            Cause::Late { has_begun: true } => "the answer did not end in time".to_owned(),
            Cause::Answer(fault) => fault.to_string(),
        }
    }

    /// Whether the failure is this host's and says nothing about the member.
    pub(crate) fn is_local(&self) -> bool {
        match &self.cause {
            Cause::Dial(error) => error.is_local(),
            Cause::Broken(error) => dial::is_exhaustion(error),
            Cause::Late { .. } | Cause::Answer(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason();
        match &self.cause {
            Cause::Dial(_) => write!(f, "health check: {reason}"),
            _ => write!(f, "health check of {}: {reason}", self.addr),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Dial(error) => Some(error),
            Cause::Broken(error) => Some(error),
            Cause::Answer(fault) => Some(fault),
            Cause::Late { .. } => None,
        }
    }
}

#[cfg(test)]
pub(in crate::health) mod tests;
