//! The listener of `--metrics-addr`, from the start to the end.
//!
//! A gateway that drains serves its metrics to the end, so that it can be observed. If another one is started meanwhile, the
//! address is in use. Clients should not wait for that: the new one serves them, and takes the address as soon as it is free.
//! If another program has the address, the start fails.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::error::{Error, refused};
use super::listeners::{open_metrics, serves};
use crate::admin::{self, Observed};
use crate::config::Settings;
use crate::deadline::DeadlineStream;
use crate::log;
use crate::sync::lock;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;
use crate::times::Times;

/// How long a gateway that has the address may take to say that it drains.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most bytes of its answer that are read.
const LONGEST: usize = 1024;

/// Where metrics are served.
#[derive(Debug)]
pub(super) struct Metrics {
    /// The address of the flag.
    wanted: SocketAddr,
    state: Mutex<State>,
    stop: Waker,
}

#[derive(Debug)]
enum State {
    /// A gateway that drains has the address.
    Awaited,
    Open(Arc<TcpListener>),
    /// Only another process has the listener: one that stayed open here would still accept connections when that process closes
    /// its own, and no thread would answer them.
    HandedOver,
}

impl Metrics {
    /// Opens the listener, or takes the one that was `handed` over; waits for it later if a gateway that drains has the address.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub(super) fn open(wanted: SocketAddr, handed: Option<TcpListener>) -> Result<Self, Error> {
        let opened = match handed.filter(|socket| serves(socket, wanted)) {
            Some(socket) => Ok(socket),
            None => open_metrics(wanted),
        };
        let state = match opened {
            Ok(listener) => State::Open(Arc::new(listener)),
            Err(error) if error.is_address_in_use() && drains(wanted) => State::Awaited,
            Err(error) => return Err(error),
        };
        Ok(Self {
            wanted,
            state: Mutex::new(state),
            stop: Waker::new().map_err(refused("cannot serve metrics"))?,
        })
    }

    /// The listener, while this process has it.
    pub(super) fn listener(&self) -> Option<Arc<TcpListener>> {
        match &*lock(&self.state) {
            State::Open(listener) => Some(Arc::clone(listener)),
            State::Awaited | State::HandedOver => None,
        }
    }

    /// Where it listens, or will listen.
    pub(super) fn addr(&self) -> SocketAddr {
        let bound = self
            .listener()
            .and_then(|listener| listener.local_addr().ok());
        bound.unwrap_or(self.wanted)
    }

    pub(super) fn problem(&self) -> Option<String> {
        matches!(*lock(&self.state), State::Awaited).then(|| {
            format!(
                "metrics are not served at {} yet: a gateway that drains still has the address",
                self.wanted
            )
        })
    }

    /// Ends [`Self::serve`], because another process serves metrics.
    pub(super) fn stop(&self) {
        *lock(&self.state) = State::HandedOver;
        self.stop.wake();
    }

    /// Serves until it is stopped; the work of a thread.
    pub(super) fn serve(&self, observed: &dyn Observed, settings: &Settings, times: &Times) {
        if let Some(listener) = self.wait(times) {
            admin::serve(&listener, &self.stop, observed, settings, times);
        }
    }

    /// Waits until this process has the address; none if it is stopped before.
    fn wait(&self, times: &Times) -> Option<Arc<TcpListener>> {
        let mut is_waiting = false;
        loop {
            if let Some(listener) = self.listener() {
                log::info(
                    "gateway",
                    "serving metrics",
                    &[("address", self.addr().into())],
                );
                return Some(listener);
            }
            if !is_waiting {
                is_waiting = true;
                log::warn(
                    "gateway",
                    "metrics are not served yet; a gateway that drains has the address",
                    &[("address", self.wanted.into())],
                );
            }
            let mut fds = [PollFd::readable(self.stop.fd())];
            let waited = syscall::wait(&mut fds, Some(times.admin_pause));
            if waited.is_err() {
                std::thread::sleep(times.admin_pause);
            }
            if fds.iter().any(PollFd::is_ready) {
                return None;
            }
            if let Ok(listener) = open_metrics(self.wanted) {
                let mut state = lock(&self.state);
                if matches!(*state, State::Awaited) {
                    *state = State::Open(Arc::new(listener));
                }
            }
        }
    }
}

/// Whether a gateway serves its metrics at an address, and drains.
fn drains(addr: SocketAddr) -> bool {
    let ask = || -> io::Result<Vec<u8>> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        let mut timed = DeadlineStream::new(&stream, Instant::now() + PATIENCE);
        write!(timed, "GET /readyz HTTP/1.1\r\nHost: {addr}\r\n\r\n")?;
        let mut answer = Vec::new();
        // What came before a failure counts.
        let _ = timed.take(LONGEST as u64).read_to_end(&mut answer);
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    String::from_utf8_lossy(&answer).contains(&format!("\r\n\r\n{}", admin::DRAINING))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers one connection.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut octet = [0];
                client.read_exact(&mut octet).unwrap();
                request.extend(octet);
            }
            assert!(request.starts_with(b"GET /readyz HTTP/1.1\r\nHost: "));
            client.write_all(answer.as_bytes()).unwrap();
        });
        addr
    }

    #[test]
    fn an_address_is_only_waited_for_if_a_gateway_drains_there() {
        for (answer, expected) in [
            (
                "HTTP/1.1 503 X\r\nA: b\r\n\r\ndraining: no new client is accepted\n",
                true,
            ),
            (
                "HTTP/1.1 503 X\r\nA: b\r\n\r\nno endpoint has answered yet\n",
                false,
            ),
            ("HTTP/1.1 200 OK\r\n\r\nok\n", false),
            ("", false),
        ] {
            let addr = server(answer);
            let opened = Metrics::open(addr, None);
            assert_eq!(opened.is_ok(), expected, "{answer}");
            if let Ok(metrics) = opened {
                assert!(metrics.problem().is_some() && metrics.listener().is_none());
                assert_eq!(metrics.addr(), addr);
            }
        }
    }

    #[test]
    fn an_address_that_becomes_free_is_taken() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = Metrics {
            wanted: other.local_addr().unwrap(),
            state: Mutex::new(State::Awaited),
            stop: Waker::new().unwrap(),
        };
        let times = Times {
            admin_pause: Duration::from_millis(1),
            ..Times::REAL
        };
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| metrics.wait(&times));
            assert!(metrics.problem().is_some());
            drop(other);
            assert!(waiting.join().unwrap().is_some());
        });
        assert_eq!(metrics.problem(), None);
        let stopped = Metrics {
            wanted: metrics.addr(),
            state: Mutex::new(State::Awaited),
            stop: Waker::new().unwrap(),
        };
        stopped.stop();
        assert!(stopped.wait(&times).is_none());
    }
}
