//! A dial for callers that do nothing else meanwhile.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Attempt, Dialled, Error, ErrorKind, Outcome, wait};
use crate::loop_guard::LoopGuard;

/// Connects to one address, and waits for it at most for `timeout`.
pub(crate) fn connect(
    addr: SocketAddr,
    timeout: Duration,
    guard: &LoopGuard,
) -> Result<Dialled, Error> {
    let mut attempt = Attempt::start(addr, timeout, guard)?;
    loop {
        match attempt.outcome(Instant::now()) {
            Outcome::Connected(dialled) => return Ok(dialled),
            Outcome::Pending(pending) => attempt = pending,
            Outcome::Failed(error) => return Err(error),
        }
        let until = Some(attempt.deadline);
        wait(std::iter::once(&attempt), None, until)
            .map_err(|error| ErrorKind::Local("poll", error).at(addr))?;
    }
}
