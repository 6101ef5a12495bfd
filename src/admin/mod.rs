//! The read-only HTTP server of `--metrics-addr`: the state of a running gateway.
//!
//! `http` parses requests, `server` limits its clients, `pages` maps paths to answers. Each answer is made from
//! one [`Snapshot`] by a formatter: `snapshot` itself (text), `metrics`, `json` and `html`. There
//! is no file behind a path, nothing can be changed, and answers contain only addresses, names and counts, not secrets.
//!
//! It runs in one thread of its own, apart from the proxy: its connections do not count for
//! `--max-connections`, which leaves descriptors for it, nor in any metric. The snapshot is taken under the locks that
//! sessions take, which are released before a byte is sent.

mod html;
pub(crate) mod http;
mod json;
mod metrics;
mod pages;
mod server;
mod snapshot;

use std::io;
use std::net::TcpListener;

use socket2::SockRef;

use crate::config::Settings;
use crate::sys::usage;
use crate::sys::waker::Waker;
use crate::times::Times;
pub(crate) use snapshot::{Clients, Connection, DRAINING, Discovery, Observed, Reloads, Snapshot};

/// The most descriptors that this module has open: the listener, the connections, one more that is
/// accepted before another is dropped, and a file of /proc.
pub(crate) const DESCRIPTORS: usize = 2 + server::MAX_CONNECTIONS + usage::DESCRIPTORS;

/// Sets what a listener needs to be [served](serve).
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn prepare(listener: SockRef<'_>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // Accepted sockets inherit it (tcp(7)).
    listener.set_send_buffer_size(server::SEND_BUFFER)
}

/// Serves a listener that is [prepared](prepare), and under `/config` these settings, until `stop` is woken; the work of a
/// thread.
pub(crate) fn serve(
    listener: &TcpListener,
    stop: &Waker,
    observed: &dyn Observed,
    settings: &Settings,
    times: &Times,
) {
    let answer = |request: http::Request<'_>| pages::answer(request, observed, settings);
    server::run(listener, stop, &answer, times);
}

#[cfg(test)]
mod tests;
