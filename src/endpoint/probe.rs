//! One small question to an endpoint that may have stopped: is there anybody?
//!
//! A connection says nothing: the kernel makes it, also for a process that is stopped. So it is followed by what
//! a client of etcd begins with, the preface of HTTP/2 and an empty SETTINGS frame (RFC 9113 section 3.4), and
//! whatever comes back will do: SETTINGS from an etcd, an alert or the end of the connection from one that
//! speaks TLS. Nothing of it is read. The time for the answer counts from the connect, so that a long way costs
//! it one round trip and not two.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::dial::{self, Attempt, Dialled, Error, ErrorKind};
use crate::loop_guard::LoopGuard;
use crate::sys::syscall::{self, PollFd};

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A dial, or a proof.
    pub(crate) dial: Duration,
    /// The answer to a probe, once it is connected.
    pub(crate) answer: Duration,
}

/// The preface, and a SETTINGS frame of length 0.
const QUESTION: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A probe under way.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) addr: SocketAddr,
    pub(crate) started: Instant,
    /// How long the answer may take.
    patience: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Dialling(Attempt),
    Asked {
        dialled: Dialled,
        asked: Instant,
        deadline: Instant,
    },
}

/// What has become of a probe.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing is known yet.
    Pending(Probe),
    /// Something has come, after this time.
    Answered(Instant),
    /// Nothing has come in time; it may still come.
    Silent(Probe),
    /// There is no connection.
    Failed(Error),
}

impl Probe {
    /// Begins to connect to `addr`.
    ///
    /// # Errors
    /// If that cannot be begun.
    pub(crate) fn start(
        addr: SocketAddr,
        patience: Patience,
        guard: &LoopGuard,
    ) -> Result<Self, Error> {
        let attempt = Attempt::start(addr, patience.dial, guard)?;
        Ok(Self {
            addr,
            started: attempt.started,
            patience: patience.answer,
            state: State::Dialling(attempt),
        })
    }

    /// When it has an outcome at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.state {
            State::Dialling(attempt) => attempt.deadline,
            State::Asked { deadline, .. } => *deadline,
        }
    }

    /// What is waited for.
    pub(crate) fn awaited(&self) -> PollFd<'_> {
        match &self.state {
            State::Dialling(attempt) => attempt.awaited(),
            State::Asked { dialled, .. } => PollFd::readable(dialled.stream.as_fd()),
        }
    }

    /// Whether something has come, if only the end of the connection; also if that cannot be found out.
    pub(crate) fn has_something(&self) -> bool {
        let mut fds = [self.awaited()];
        syscall::wait(&mut fds, Some(Duration::ZERO)).is_err() || fds.iter().any(PollFd::is_ready)
    }

    /// What has become of it by `now`.
    pub(crate) fn outcome(self, now: Instant) -> Outcome {
        let Self {
            addr,
            started,
            patience,
            state,
        } = self;
        let probe = |state| Self {
            addr,
            started,
            patience,
            state,
        };
        match state {
            State::Dialling(attempt) => match attempt.outcome(now) {
                dial::Outcome::Pending(attempt) => {
                    Outcome::Pending(probe(State::Dialling(attempt)))
                }
                dial::Outcome::Failed(error) => Outcome::Failed(error),
                dial::Outcome::Connected(dialled) => match ask(&dialled) {
                    // It has reset the connection already.
                    Err(error) if is_of_the_peer(&error) => Outcome::Answered(started),
                    Err(error) => Outcome::Failed(ErrorKind::Local("send", error).at(addr)),
                    Ok(()) => {
                        let deadline = now + patience;
                        Outcome::Pending(probe(State::Asked {
                            dialled,
                            asked: now,
                            deadline,
                        }))
                    }
                },
            },
            State::Asked {
                dialled,
                asked,
                deadline,
            } => {
                let probe = probe(State::Asked {
                    dialled,
                    asked,
                    deadline,
                });
                match probe.has_something() {
                    true => Outcome::Answered(asked),
                    false if now < deadline => Outcome::Pending(probe),
                    false => Outcome::Silent(probe),
                }
            }
        }
    }
}

/// Sends the question. A new connection has room for it.
fn ask(dialled: &Dialled) -> std::io::Result<()> {
    dialled.stream.set_nonblocking(true)?;
    (&dialled.stream).write_all(QUESTION)
}

fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

#[cfg(test)]
mod tests;
