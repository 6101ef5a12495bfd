//! What an operator can ask a running gateway, over HTTP, read-only: `--metrics-addr`.
//!
//! `http` reads requests, `server` keeps clients in bounds, `pages` answers, `metrics` and
//! `status` word the two large answers. There is no file behind a path, nothing can be
//! changed, and what is told holds no secret: addresses, names and counts.
//!
//! It runs in one thread of its own and stands apart from the proxy: its connections are not
//! under `--max-connections`, which keeps descriptors for it, and count in no metric. It
//! knows nothing of the gateway but a [`Snapshot`], which is taken under the locks that
//! sessions take and let go before a byte is sent.

pub(crate) mod http;
mod metrics;
mod pages;
mod server;
mod status;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use socket2::SockRef;

use crate::config::Settings;
use crate::date::Now;
use crate::endpoint::pool::view::View;
use crate::endpoint::status::Status;
use crate::stats::Distribution;
use crate::sys::usage;
use crate::sys::waker::Waker;
use crate::times::Times;

/// The most descriptors that this module has open: listener, connections, one more that is
/// accepted before another makes room, and a file of /proc.
pub(crate) const DESCRIPTORS: usize = 2 + server::MAX_CONNECTIONS + usage::DESCRIPTORS;

/// How `/readyz` begins while a gateway ends.
pub(crate) const DRAINING: &str = "draining";

/// A gateway that can be looked at.
pub(crate) trait Observed: Send + Sync {
    /// What is to be seen now. Takes the locks that every session takes, so that an answer
    /// proves that clients can be served.
    ///
    /// # Errors
    /// If there is no memory to tell it.
    fn snapshot(&self) -> io::Result<Snapshot>;

    /// Whether a client could be given a thread now: one is asked for, as a client does.
    ///
    /// # Errors
    /// Why not, in words.
    fn try_session(&self) -> Result<(), String>;
}

/// A gateway at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: &'static str,
    pub(crate) now: Now,
    pub(crate) started: Instant,
    /// It is ending, and takes no new clients.
    pub(crate) draining: bool,
    pub(crate) reloads: Reloads,
    pub(crate) listen: Vec<String>,
    pub(crate) clients: Clients,
    pub(crate) endpoints: Vec<View>,
    pub(crate) discovery: Discovery,
    /// What there is trouble with now, in words.
    pub(crate) problems: Vec<String>,
    /// How often threads ended that the gateway cannot do without, by name.
    pub(crate) threads_lost: Vec<(&'static str, u64)>,
    pub(crate) log_lines_dropped: u64,
    pub(crate) access_log_lines_dropped: u64,
}

/// Clients and what became of them; names are words for metrics.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) accepted: u64,
    pub(crate) active: usize,
    pub(crate) max: usize,
    /// Those rejected, by reason.
    pub(crate) rejected: Vec<(&'static str, u64)>,
    /// Failures of accept(2), by error.
    pub(crate) accept_errors: Vec<(&'static str, u64)>,
    /// Connections that have ended and were not rejected, by cause.
    pub(crate) ended: Vec<(&'static str, u64)>,
    /// Dials begun because an earlier one for the same client failed or was slow.
    pub(crate) redispatches: u64,
    /// How long connections lasted that have ended.
    pub(crate) durations: Distribution,
}

/// Reloads, and the processes that served before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reloads {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Processes that drain, and their connections.
    pub(crate) draining_processes: usize,
    pub(crate) draining_connections: u64,
}

/// How endpoints were looked for.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// Refreshes, by result.
    pub(crate) refreshes: Vec<(&'static str, u64)>,
    pub(crate) last_success: Option<Instant>,
}

impl Snapshot {
    /// Endpoints that are in the set.
    fn members(&self) -> impl Iterator<Item = &View> {
        let all = self.endpoints.iter();
        all.filter(|view| view.status != Status::Removed)
    }

    /// How many are in the set, and how many of them are active.
    fn census(&self) -> (usize, usize) {
        let active = self.members().filter(|view| view.status.is_active());
        (self.members().count(), active.count())
    }

    /// Why a new client would not be served.
    fn not_ready(&self) -> Option<String> {
        if self.draining {
            return Some(format!("{DRAINING}: no new client is accepted"));
        }
        let any = |of: fn(Status) -> bool| self.members().any(|view| of(view.status));
        // One that is doubted serves if no other does.
        if any(|status| status.is_active() || status.is_doubted()) {
            return None;
        }
        if any(|status| status == Status::Untried) {
            return Some("no endpoint has answered yet".to_owned());
        }
        match self.members().count() {
            0 => Some("no endpoint is known: no name has an address so far".to_owned()),
            total => {
                let first = self.members().find_map(|view| view.last_error.as_ref());
                let error = first.map_or(String::new(), |(_, error)| format!(", {error}"));
                Some(format!("none of {total} endpoints is active{error}"))
            }
        }
    }
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
    observed: &Arc<dyn Observed>,
    settings: &Settings,
    times: &Times,
) {
    let pages = pages::Pages {
        observed: Arc::clone(observed),
        settings: settings.clone(),
    };
    server::run(listener, stop, &pages, times);
}

#[cfg(test)]
mod tests;
