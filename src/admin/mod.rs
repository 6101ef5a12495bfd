//! What an operator can ask a running gateway, over HTTP, read-only: `--metrics-addr`.
//!
//! `http` reads requests, `server` keeps clients in bounds, `pages` answers. All answers are told from
//! one `snapshot`, which words the text; `metrics` and `status`, the page, word the other large ones. There
//! is no file behind a path, nothing can be changed, and what is told holds no secret: addresses, names and counts.
//!
//! It runs in one thread of its own and stands apart from the proxy: its connections are not
//! under `--max-connections`, which keeps descriptors for it, and count in no metric. It
//! knows nothing of the gateway but a [`Snapshot`] and open [`Connection`]s, which are taken under the locks that
//! sessions take and let go before a byte is sent.

mod html;
pub(crate) mod http;
mod json;
mod metrics;
mod pages;
mod server;
mod snapshot;

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::SockRef;

use crate::config::Settings;
use crate::sys::usage;
use crate::sys::waker::Waker;
use crate::times::Times;
pub(crate) use snapshot::{Clients, Connection, DRAINING, Discovery, Reloads, Snapshot};

/// The most descriptors that this module has open: listener, connections, one more that is
/// accepted before another makes room, and a file of /proc.
pub(crate) const DESCRIPTORS: usize = 2 + server::MAX_CONNECTIONS + usage::DESCRIPTORS;

/// A gateway that can be looked at.
pub(crate) trait Observed: Send + Sync {
    /// What is to be seen now. Takes the locks that every session takes, so that an answer
    /// proves that clients can be served.
    ///
    /// # Errors
    /// If there is no memory to tell it.
    fn snapshot(&self) -> io::Result<Snapshot>;

    /// The open connections of this process, to this endpoint or to all: so many of them, fewer where there is little memory, those
    /// that are open for the longest time first. False beside them if there are more.
    ///
    /// # Errors
    /// If there is no memory to tell them.
    fn connections(
        &self,
        endpoint: Option<SocketAddr>,
        limit: usize,
    ) -> io::Result<(Vec<Connection>, bool)>;

    /// Whether a client could be given a thread now: one is asked for, as a client does.
    ///
    /// # Errors
    /// Why not, in words.
    fn try_session(&self) -> Result<(), String>;
}

/// Sets what a listener needs to be [served](serve).
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn prepare(listener: SockRef<'_>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // Accepted sockets inherit it (tcp(7)).
    listener.set_send_buffer_size(server::SEND_BUFFER)
}

/// Serves a listener that is [prepared](prepare), and under `/config` these settings, until it is to `stop`; the work of a
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
