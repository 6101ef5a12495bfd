//! Authenticates one endpoint: a separate connection, a TLS handshake, the chain and the name verified, and the
//! connection closed. It never carries bytes of a client.
//!
//! The address verified is the address dialled. All of it has one deadline.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::member::MAX_ENDPOINTS;
use super::roots::TrustedSet;
use crate::deadline::DeadlineStream;
use crate::dial;
use crate::endpoint::slots::Slot;
use crate::endpoint::{Authenticate, Endpoint, Proof};
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::sync::lock;
use crate::sys::memory;
use crate::sys::random;
use crate::tls;
use crate::x509::{self, Anchors, Certificate, InvalidReason, ServerName, UnixTime};

/// What etcd speaks, so that a server that insists on a protocol finds it.
const ALPN: &[&[u8]] = &[b"h2"];

/// Bytes of memory that it may take to authenticate one endpoint: the longest chain of certificates, several times.
const MEMORY: usize = 1024 * 1024;

/// Authenticates endpoints, each by the authorities that are trusted when it is asked.
#[derive(Debug)]
pub(crate) struct Authenticator {
    trusted: TrustedSet,
    guard: LoopGuard,
    /// Why each endpoint that failed did so: a change of it is logged.
    reasons: Mutex<HashMap<SocketAddr, String>>,
}

/// What the certificate of a server says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Certified {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) sans: Vec<String>,
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

/// What one authentication found.
#[derive(Debug)]
pub(crate) struct Examination {
    /// How long the connect took, if it came to that.
    pub(crate) dial: Option<Duration>,
    /// Version and cipher suite, if all was proven.
    pub(crate) outcome: Result<(tls::Version, &'static str), dial::Error>,
    /// The server's certificate, also if it was refused. It proves nothing then.
    pub(crate) certified: Option<Certified>,
    /// Why it failed, without the time at which it did: another reason is logged again.
    key: String,
}

impl Authenticator {
    pub(crate) fn new(trusted: TrustedSet, guard: LoopGuard) -> Self {
        Self {
            trusted,
            guard,
            reasons: Mutex::default(),
        }
    }

    /// Connects to an endpoint and has it prove that it is `identity`. If the authorities have been replaced
    /// meanwhile, it is asked once more: the outcome by the old ones is no longer valid.
    pub(crate) fn examine(
        &self,
        endpoint: &Endpoint,
        identity: &str,
        timeout: Duration,
    ) -> Examination {
        let anchors = self.trusted.now();
        let by = |anchors: &Anchors| {
            let examination = self.examine_by(anchors, endpoint.addr, identity, timeout);
            examination.unwrap_or_else(Examination::failed)
        };
        let examination = by(&anchors);
        let latest = self.trusted.now();
        if Arc::ptr_eq(&anchors, &latest) {
            return examination;
        }
        by(&latest)
    }

    /// # Errors
    /// If no handshake has begun.
    fn examine_by(
        &self,
        anchors: &Anchors,
        addr: SocketAddr,
        identity: &str,
        timeout: Duration,
    ) -> Result<Examination, dial::Error> {
        let name = ServerName::parse(identity).map_err(|error| {
            let reason = format!("{identity:?}: {error}");
            dial::ErrorKind::Rejected(reason).at(addr)
        })?;
        memory::room(MEMORY).map_err(|error| dial::ErrorKind::Local("memory", error).at(addr))?;
        let started = Instant::now();
        let dialled = dial::connect(addr, timeout, &self.guard)?;
        let dial = Some(started.elapsed());
        let mut stream = RecordingStream {
            stream: DeadlineStream::new(&dialled.stream, started + timeout),
            local_error: None,
        };
        let config = tls::Config {
            anchors,
            name: &name,
            now: now(),
            alpn: ALPN,
        };
        let mut random_error = None;
        let mut entropy = |bytes: &mut [u8]| {
            let drawn = random::fill(bytes);
            drawn.map_err(|error| record(error, &mut random_error))
        };
        Ok(
            match tls::authenticate(&mut stream, &config, &mut entropy) {
                Ok(verified) => Examination {
                    dial,
                    outcome: Ok((verified.version, verified.suite)),
                    certified: certified(&verified.chain),
                    key: String::new(),
                },
                Err(failure) => {
                    let local_error = stream.local_error.or(random_error);
                    Examination {
                        dial,
                        certified: certified(&failure.presented),
                        ..Examination::refused(addr, &failure.error, local_error)
                    }
                }
            },
        )
    }

    /// Whether the last authentication of the endpoint did not fail for the same reason.
    fn is_news(&self, addr: SocketAddr, examination: &Examination) -> bool {
        let mut reasons = lock(&self.reasons);
        if examination.outcome.is_ok() {
            reasons.remove(&addr);
            return true;
        }
        // To log a reason twice costs a line; names in DNS could fill the memory.
        if reasons.len() > MAX_ENDPOINTS {
            reasons.clear();
        }
        let before = reasons.insert(addr, examination.key.clone());
        before.as_ref() != Some(&examination.key)
    }

    /// Logs what an authentication found, if it is news.
    fn report(&self, endpoint: &Endpoint, identity: &str, examination: &Examination) {
        if !self.is_news(endpoint.addr, examination) {
            return;
        }
        let mut fields: Vec<(&str, log::Value)> = vec![
            ("address", endpoint.addr.into()),
            ("name", endpoint.name.as_str().into()),
            ("server_name", identity.into()),
        ];
        if let Some(certified) = &examination.certified {
            fields.extend([
                ("subject", certified.subject.as_str().into()),
                ("issuer", certified.issuer.as_str().into()),
                ("sans", certified.sans.clone().into()),
                ("not_before", certified.not_before.to_string().into()),
                ("not_after", certified.not_after.to_string().into()),
            ]);
        }
        match &examination.outcome {
            Ok((version, suite)) => {
                fields.push(("tls", format!("{version} {suite}").into()));
                log::debug("auth", "endpoint authenticated", &fields);
            }
            Err(error) => {
                fields.push(("error", error.to_string().into()));
                let message = if error.is_local() {
                    "cannot authenticate endpoint, will try again"
                } else {
                    "endpoint failed authentication; not sending it connections"
                };
                log::warn("auth", message, &fields);
            }
        }
    }
}

impl Examination {
    fn failed(error: dial::Error) -> Self {
        Self {
            dial: None,
            key: error.to_string(),
            outcome: Err(error),
            certified: None,
        }
    }

    /// A handshake has failed, perhaps by an error of this host.
    fn refused(addr: SocketAddr, error: &tls::Error, local_error: Option<io::Error>) -> Self {
        let mut examination = Self::failed(blame(addr, error, local_error));
        if let tls::Error::Certificate(error) = error {
            let mut error = error.clone();
            forget_time(&mut error);
            examination.key = error.to_string();
        }
        examination
    }
}

/// Removes the current time from an error: an expired certificate is not expired for another reason a
/// minute later.
fn forget_time(error: &mut x509::Error) {
    match error {
        x509::Error::Presented { error, .. } => forget_time(error),
        x509::Error::Invalid {
            reason: InvalidReason::Expired { now, .. } | InvalidReason::NotYetValid { now, .. },
            ..
        } => *now = UnixTime(0),
        _ => {}
    }
}

impl Authenticate for Authenticator {
    fn authenticate(
        &self,
        endpoint: &Endpoint,
        timeout: Duration,
        _slot: &Slot,
    ) -> Result<Proof, dial::Error> {
        let Some(identity) = &endpoint.identity else {
            return Ok(Proof { not_after: None });
        };
        let examination = self.examine(endpoint, identity, timeout);
        self.report(endpoint, identity, &examination);
        let not_after = examination.certified.map(|certified| certified.not_after.0);
        examination.outcome.map(|_| Proof { not_after })
    }
}

/// The error of an authentication that ended by `error`, perhaps because of a `local_error` of this host.
fn blame(addr: SocketAddr, error: &tls::Error, local_error: Option<io::Error>) -> dial::Error {
    match local_error {
        // What the server sent before is wrong, even if the alert could not be sent.
        _ if !error.is_transport() => dial::ErrorKind::Rejected(error.to_string()).at(addr),
        Some(local_error) => dial::ErrorKind::Local("authenticate", local_error).at(addr),
        None => dial::ErrorKind::Unproven(error.to_string()).at(addr),
    }
}

/// Records an error; returns one of the same kind.
fn record(error: io::Error, place: &mut Option<io::Error>) -> io::Error {
    let kind = error.kind();
    *place = Some(error);
    kind.into()
}

fn certified(chain: &[Vec<u8>]) -> Option<Certified> {
    let leaf = Certificate::parse(chain.first()?).ok()?;
    Some(Certified {
        subject: leaf.subject(),
        issuer: leaf.issuer(),
        sans: leaf.sans(),
        not_before: leaf.not_before(),
        not_after: leaf.not_after(),
    })
}

/// The present time.
pub(crate) fn now() -> UnixTime {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

/// A stream that records errors of this host: those of TLS have nothing but the kind.
struct RecordingStream<S> {
    stream: S,
    local_error: Option<io::Error>,
}

impl<S> RecordingStream<S> {
    fn record<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| match dial::is_exhaustion(&error) {
            true => record(error, &mut self.local_error),
            false => error,
        })
    }
}

impl<S: Read> Read for RecordingStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        self.record(read)
    }
}

impl<S: Write> Write for RecordingStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes);
        self.record(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests;
