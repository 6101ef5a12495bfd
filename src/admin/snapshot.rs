//! The state of the gateway at one moment, and its two text forms: one line for a service manager, and the facts that
//! answer SIGUSR1, which are also the text under `/`. The page, `/endpoints` and the metrics read the same [`Snapshot`].

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::date::{Now, Rfc3339};
use crate::endpoint::history::Transition;
use crate::endpoint::pool::view::View;
use crate::endpoint::state::EndpointState;
use crate::log::{Fields, Pairs, Value};
use crate::stats::Distribution;

/// How the answer of `/readyz` begins while the gateway ends.
pub(crate) const DRAINING: &str = "draining";

/// A gateway at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: &'static str,
    /// The name of this host; empty if it is not known.
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) now: Now,
    pub(crate) started: Instant,
    /// The gateway is ending, and accepts no more clients.
    pub(crate) draining: bool,
    pub(crate) reloads: Reloads,
    pub(crate) listen: Vec<String>,
    pub(crate) clients: Clients,
    pub(crate) endpoints: Vec<View>,
    /// The last changes of state, the latest first.
    pub(crate) transitions: Vec<Transition>,
    pub(crate) discovery: Discovery,
    /// Present problems, in words.
    pub(crate) problems: Vec<String>,
    /// How often threads have ended that the gateway needs, by name.
    pub(crate) threads_lost: Vec<(&'static str, u64)>,
    pub(crate) log_lines_dropped: u64,
    pub(crate) access_log_lines_dropped: u64,
}

/// Clients and what became of them. The names are values of labels of the metrics.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) accepted: u64,
    pub(crate) active: usize,
    pub(crate) max: usize,
    /// Rejected clients, by reason.
    pub(crate) rejected: Vec<(&'static str, u64)>,
    /// Failures of accept(2), by error.
    pub(crate) accept_errors: Vec<(&'static str, u64)>,
    /// Connections that have ended and were not rejected, by cause.
    pub(crate) ended: Vec<(&'static str, u64)>,
    /// Dials begun because an earlier one for the same client failed or was slow.
    pub(crate) redispatches: u64,
    /// Durations of connections that have ended.
    pub(crate) durations: Distribution,
}

/// Reloads, and the processes that served before them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reloads {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Earlier processes that still have connections.
    pub(crate) draining_processes: usize,
    pub(crate) draining_connections: u64,
}

/// Refreshes of the set of endpoints.
#[derive(Debug)]
pub(crate) struct Discovery {
    /// By result.
    pub(crate) refreshes: Vec<(&'static str, u64)>,
    pub(crate) last_success: Option<Instant>,
}

/// One open connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: SocketAddr,
    /// The address that it was accepted at.
    pub(crate) listen: SocketAddr,
    /// When it was accepted.
    pub(crate) since: Instant,
    /// `None` while the client waits for one.
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) to_endpoint: u64,
    pub(crate) to_client: u64,
    /// How long ago the last bytes of either peer arrived, if the kernel says.
    pub(crate) idle: Option<Duration>,
}

/// The gateway as this module sees it: `gateway`, which implements this, is in a layer above, and tests have another.
pub(crate) trait Observed: Send + Sync {
    /// The present state. Takes the locks that every session takes, so that an answer
    /// proves that clients can be served.
    ///
    /// # Errors
    /// If there is no memory for it.
    fn snapshot(&self) -> io::Result<Snapshot>;

    /// The open connections of this process, to one endpoint or to all, the oldest first; at most `limit`, fewer where there
    /// is little memory. With false if there are more.
    ///
    /// # Errors
    /// If there is no memory for them.
    fn connections(
        &self,
        endpoint: Option<SocketAddr>,
        limit: usize,
    ) -> io::Result<(Vec<Connection>, bool)>;

    /// Tries to get a thread, as for a client.
    ///
    /// # Errors
    /// Why no client could be served now, in words.
    fn try_session(&self) -> Result<(), String>;
}

impl Snapshot {
    /// The endpoints in the set.
    pub(super) fn members(&self) -> impl Iterator<Item = &View> {
        let all = self.endpoints.iter();
        all.filter(|view| view.state != EndpointState::Removed)
    }

    /// How many endpoints are in the set, and how many of them are active.
    pub(super) fn census(&self) -> (usize, usize) {
        let active = self.members().filter(|view| view.state.is_active());
        (self.members().count(), active.count())
    }

    /// Why a new client would not be served.
    pub(super) fn not_ready(&self) -> Option<String> {
        if self.draining {
            return Some(format!("{DRAINING}: no new client is accepted"));
        }
        let any = |of: fn(EndpointState) -> bool| self.members().any(|view| of(view.state));
        // A doubted endpoint is used if there is no better one.
        if any(|status| status.is_active() || status.is_doubted()) {
            return None;
        }
        if any(|status| status == EndpointState::Untried) {
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

    /// A summary in some words, and its class: `good`, `odd` or `bad`.
    pub(super) fn summary(&self) -> (String, &'static str) {
        let (total, active) = self.census();
        if self.draining {
            ("draining".to_owned(), "odd")
        } else if self.not_ready().is_some() {
            ("not ready".to_owned(), "bad")
        } else if active < total {
            let ready = format!("ready, {active} of {total} endpoints active");
            (ready, "odd")
        } else if !self.problems.is_empty() {
            ("ready, with problems".to_owned(), "odd")
        } else {
            ("ready".to_owned(), "good")
        }
    }

    /// How many clients were rejected.
    pub(super) fn rejected(&self) -> u64 {
        self.clients.rejected.iter().map(|(_, count)| count).sum()
    }

    /// One line: the status for a service manager.
    pub(crate) fn line(&self) -> String {
        let (total, active) = self.census();
        let state = if self.draining { "draining, " } else { "" };
        let members = match self.members().filter(|view| view.endpoint.drains).count() {
            0 => String::new(),
            some => format!(", {some} draining"),
        };
        let problems = match self.problems.len() {
            0 => String::new(),
            1 => ", 1 problem".to_owned(),
            more => format!(", {more} problems"),
        };
        let connections = self.reloads.draining_connections;
        let old = match self.reloads.draining_processes {
            0 => String::new(),
            1 => format!(", {connections} in an old process"),
            processes => format!(", {connections} in {processes} old processes"),
        };
        format!(
            "{state}{active} of {total} endpoints active{members}, {} connections open{old}, {} clients rejected{problems}",
            self.clients.active,
            self.rejected()
        )
    }

    /// Text with one fact per line: those that answer SIGUSR1, and the last changes.
    pub(super) fn text(&self) -> String {
        let (version, host, pid) = (self.version, &self.host, self.pid);
        let mut text = format!(
            "etcd-gateway {version}, host {host:?}, pid {pid}: {}\n",
            self.summary().0
        );
        // Writing to a String cannot fail.
        let mut write = |message: &str, fields: Fields<'_>| {
            let _ = writeln!(text, "{message}{}", Pairs(fields));
        };
        self.facts(&mut write);
        for change in &self.transitions {
            let at = Rfc3339(self.now.date_of(change.at));
            let mut fields = vec![
                ("at", at.to_string().into()),
                ("address", change.addr.into()),
                ("name", change.name.clone().into()),
                ("from", change.from.name().into()),
                ("to", change.to.name().into()),
                ("after_seconds", change.lasted.into()),
            ];
            let reason = change.reason.as_ref();
            fields.extend(reason.map(|reason| ("reason", reason.clone().into())));
            write("transition", &fields);
        }
        text
    }

    /// Calls `each` for one fact after the other, with a message and its fields. Problems come before endpoints, because
    /// a log may not have room for all endpoints.
    pub(crate) fn facts(&self, mut each: impl FnMut(&'static str, Fields<'_>)) {
        let (total, active) = self.census();
        let clients = &self.clients;
        let accept_errors: u64 = clients.accept_errors.iter().map(|(_, count)| count).sum();
        let state = if self.draining { DRAINING } else { "serving" };
        let fields = [
            ("state", state.into()),
            ("uptime_seconds", self.seconds(self.started)),
            ("listen", self.listen.clone().into()),
            ("connections", clients.active.into()),
            ("max_connections", clients.max.into()),
            ("draining_processes", self.reloads.draining_processes.into()),
            (
                "draining_connections",
                self.reloads.draining_connections.into(),
            ),
            ("rejected", self.rejected().into()),
            ("accept_errors", accept_errors.into()),
            ("active_endpoints", active.into()),
            ("endpoints", total.into()),
        ];
        each("status", &fields);
        for (reason, count) in clients.rejected.iter().filter(|(_, count)| *count > 0) {
            let fields = [("reason", (*reason).into()), ("count", (*count).into())];
            each("status of rejections", &fields);
        }
        for problem in &self.problems {
            each(
                "status of a problem",
                &[("problem", problem.clone().into())],
            );
        }
        for view in &self.endpoints {
            let endpoint = &view.endpoint;
            let mut fields = vec![
                ("address", endpoint.addr.into()),
                ("name", endpoint.name.clone().into()),
                ("state", view.state.name().into()),
                ("since_seconds", self.seconds(view.since)),
                ("priority", u64::from(endpoint.priority).into()),
                ("weight", u64::from(endpoint.weight).into()),
                ("connections", view.stats.open().into()),
            ];
            if endpoint.drains {
                fields.push(("drain", "yes".into()));
            }
            let error = view.last_error.as_ref();
            fields.extend(error.map(|(_, error)| ("last_error", error.clone().into())));
            each("status of endpoint", &fields);
        }
        let refreshes = self.discovery.refreshes.iter();
        let mut fields: Vec<(&str, Value)> = refreshes
            .map(|(result, count)| (*result, (*count).into()))
            .collect();
        let success = self.discovery.last_success;
        fields.extend(success.map(|success| ("last_success_seconds", self.seconds(success))));
        each("status of discovery", &fields);
    }

    /// How long ago, in whole seconds: it is read by people.
    fn seconds(&self, then: Instant) -> Value {
        Duration::from_secs(self.now.since(then).as_secs()).into()
    }
}
