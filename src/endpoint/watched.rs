//! A connection to an endpoint that the monitor watches: a dial, a probe, or one that shows whether an endpoint is this
//! gateway still.
//!
//! A connection alone does not show that an endpoint serves: the kernel makes it, also for a process that is stopped. So
//! a probe sends what a client of etcd begins with, the preface of HTTP/2 and an empty SETTINGS frame (RFC 9113 section
//! 3.4), and everything that comes back is an answer: SETTINGS from an etcd, an alert or the end of the connection from
//! a server that uses TLS. It is not read. The time for the answer counts from the connect, so that a long round trip
//! counts once and not twice.
//!
//! An endpoint that was this gateway must keep a connection for a while before it counts as another one: the loop
//! guard closes its own when it accepts them.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::dial::{self, Attempt, Dialled, Error, ErrorKind};
use crate::sys::syscall::{self, PollFd};

/// The preface, and a SETTINGS frame of length 0.
const REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[derive(Debug)]
pub(super) struct Watched {
    pub(super) addr: SocketAddr,
    pub(super) started: Instant,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// A dial; that of a probe has a time for the answer.
    Dialling(Attempt, Option<Duration>),
    Probing {
        dialled: Dialled,
        sent: Instant,
        deadline: Instant,
    },
    /// The endpoint has to keep the connection until the end.
    Keeping { dialled: Dialled, end: Instant },
}

/// What has become of a connection.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing is known yet.
    Pending(Watched),
    /// A dial was answered.
    Connected(Dialled),
    /// A dial failed, maybe that of a probe.
    Failed(Error),
    /// A probe that was sent then was answered.
    Answered(Instant),
    /// A probe was not answered in time; the answer may still come.
    Silent(Watched),
    /// The endpoint has kept the connection.
    Kept,
    /// The endpoint has closed the connection.
    Closed,
}

impl Watched {
    /// A dial, or a probe whose answer may take this long.
    pub(super) fn dial(attempt: Attempt, answer: Option<Duration>) -> Self {
        Self {
            addr: attempt.addr,
            started: attempt.started,
            phase: Phase::Dialling(attempt, answer),
        }
    }

    /// A connection whose dial began at `started`, and that has to be kept until the `end`.
    pub(super) fn keep(dialled: Dialled, started: Instant, end: Instant) -> Self {
        Self {
            addr: dialled.endpoint,
            started,
            phase: Phase::Keeping { dialled, end },
        }
    }

    pub(super) fn is_probe(&self) -> bool {
        matches!(
            self.phase,
            Phase::Dialling(_, Some(_)) | Phase::Probing { .. }
        )
    }

    /// When it has an outcome at the latest.
    pub(super) fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Dialling(attempt, _) => attempt.deadline,
            Phase::Probing { deadline: end, .. } | Phase::Keeping { end, .. } => *end,
        }
    }

    /// What is waited for.
    pub(super) fn awaited(&self) -> PollFd<'_> {
        match &self.phase {
            Phase::Dialling(attempt, _) => attempt.awaited(),
            Phase::Probing { dialled, .. } => PollFd::readable(dialled.stream.as_fd()),
            Phase::Keeping { dialled, .. } => PollFd::peer_closed(dialled.stream.as_fd()),
        }
    }

    /// Whether what is waited for has happened; also if that cannot be found out.
    pub(super) fn is_ready(&self) -> bool {
        let mut fds = [self.awaited()];
        syscall::wait(&mut fds, Some(Duration::ZERO)).is_err() || fds.iter().any(PollFd::is_ready)
    }

    /// What has become of it by `now`.
    pub(super) fn outcome(self, now: Instant) -> Outcome {
        match self.phase {
            Phase::Dialling(attempt, answer) => match (attempt.outcome(now), answer) {
                (dial::Outcome::Pending(attempt), answer) => Outcome::Pending(Self {
                    phase: Phase::Dialling(attempt, answer),
                    ..self
                }),
                (dial::Outcome::Failed(error), _) => Outcome::Failed(error),
                (dial::Outcome::Connected(dialled), None) => Outcome::Connected(dialled),
                (dial::Outcome::Connected(dialled), Some(answer)) => match send(&dialled) {
                    Ok(()) => {
                        let (sent, deadline) = (now, now + answer);
                        let phase = Phase::Probing {
                            dialled,
                            sent,
                            deadline,
                        };
                        Outcome::Pending(Self { phase, ..self })
                    }
                    // The endpoint has reset the connection already.
                    Err(error) if is_of_the_peer(&error) => Outcome::Answered(self.started),
                    Err(error) => Outcome::Failed(ErrorKind::Local("send", error).at(self.addr)),
                },
            },
            Phase::Probing { sent, .. } if self.is_ready() => Outcome::Answered(sent),
            Phase::Probing { deadline, .. } if now >= deadline => Outcome::Silent(self),
            Phase::Keeping { .. } if self.is_ready() => Outcome::Closed,
            Phase::Keeping { end, .. } if now >= end => Outcome::Kept,
            Phase::Probing { .. } | Phase::Keeping { .. } => Outcome::Pending(self),
        }
    }
}

/// Sends what a probe says. A new connection has room for it.
fn send(dialled: &Dialled) -> io::Result<()> {
    dialled.stream.set_nonblocking(true)?;
    (&dialled.stream).write_all(REQUEST)
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

#[cfg(test)]
mod tests;
