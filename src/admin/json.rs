//! The two answers in JSON: `/endpoints` and `/connections`. Each is one object with an endpoint, a connection or a
//! problem per line, so that it can be read and compared as it is.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

use super::snapshot::{Connection, Snapshot};
use crate::date::{Now, Rfc3339};
use crate::endpoint::pool::view::View;
use crate::log::{Json, JsonList};

/// The gateway and its endpoints.
pub(super) fn endpoints(snapshot: &Snapshot) -> String {
    let (reason, clients, reloads) = (snapshot.not_ready(), &snapshot.clients, &snapshot.reloads);
    let (now, problems) = (snapshot.now, snapshot.problems.iter());
    let mut discovery = Object::new().numbers(snapshot.discovery.refreshes.iter().copied());
    discovery = discovery.date("last_success", now, snapshot.discovery.last_success);
    let views = snapshot.endpoints.iter();
    let all = Object::new()
        .value("ready", reason.is_none())
        .optional("reason", reason)
        .value("draining", snapshot.draining)
        .text("version", snapshot.version)
        .text("host", &snapshot.host)
        .value("pid", snapshot.pid)
        .date("started", now, Some(snapshot.started))
        .value("listen", JsonList(&snapshot.listen))
        .value("connections", clients.active)
        .value("max_connections", clients.max)
        .value("accepted", clients.accepted)
        .counts("rejected", clients.rejected.iter().copied())
        .counts("ended", clients.ended.iter().copied())
        .counts(
            "reloads",
            [("success", reloads.succeeded), ("failure", reloads.failed)],
        )
        .value("draining_processes", reloads.draining_processes)
        .value("draining_connections", reloads.draining_connections)
        .value("discovery", discovery.end())
        .value("log_lines_dropped", snapshot.log_lines_dropped)
        .value(
            "access_log_lines_dropped",
            snapshot.access_log_lines_dropped,
        )
        .lines(
            "problems",
            problems.map(|problem| Json(problem).to_string()),
        )
        .lines("endpoints", views.map(|view| endpoint(view, now)));
    format!("{}\n", all.end())
}

fn endpoint(view: &View, now: Now) -> String {
    let (endpoint, stats, failed) = (&view.endpoint, &view.stats, view.last_error.as_ref());
    let expiry = stats.not_after().and_then(|at| u64::try_from(at).ok());
    let expiry = expiry.map(|at| Rfc3339(Duration::from_secs(at)));
    Object::new()
        .text("address", endpoint.addr)
        .text("name", &endpoint.name)
        .text("source", endpoint.source.name())
        .value("priority", endpoint.priority)
        .value("weight", endpoint.weight)
        .value("drain", endpoint.drains)
        .optional("server_name", endpoint.identity.as_ref())
        .text("state", view.state.name())
        .value("active", view.state.is_active())
        .date("since", now, Some(view.since))
        .date("last_answer_at", now, stats.last_answer())
        .optional("last_error", failed.map(|(_, error)| error))
        .date("last_error_at", now, failed.map(|(at, _)| *at))
        .optional("certificate_expiry", expiry)
        .value("connections_open", stats.open())
        .value("connections_total", stats.connections.get())
        .value("bytes_to_endpoint", stats.to_endpoint.get())
        .value("bytes_to_client", stats.to_client.get())
        .counts("dials", stats.dials.read())
        .end()
}

/// Open connections; `complete` if these are all that were asked for.
pub(super) fn connections(snapshot: &Snapshot, shown: &[Connection], complete: bool) -> String {
    let views = snapshot.endpoints.iter();
    let names = views.map(|view| (view.endpoint.addr, view.endpoint.name.as_str()));
    let names: BTreeMap<_, _> = names.collect();
    let connection = |connection: &Connection| {
        let name = connection.endpoint.and_then(|addr| names.get(&addr));
        let idle = connection.idle.map(|idle| idle.as_secs_f64().to_string());
        Object::new()
            .text("client", connection.client)
            .text("listen", connection.listen)
            .optional("address", connection.endpoint)
            .optional("name", name)
            .date("since", snapshot.now, Some(connection.since))
            .value("bytes_to_endpoint", connection.to_endpoint)
            .value("bytes_to_client", connection.to_client)
            .value("idle_seconds", idle.as_deref().unwrap_or("null"))
            .end()
    };
    let reloads = &snapshot.reloads;
    let all = Object::new()
        .value("connections_open", snapshot.clients.active)
        .value("connections_shown", shown.len())
        .value("complete", complete)
        .value("draining_processes", reloads.draining_processes)
        .value("draining_connections", reloads.draining_connections)
        .lines("connections", shown.iter().map(connection));
    format!("{}\n", all.end())
}

/// A JSON object, member by member.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    /// A member whose value is JSON as it is displayed.
    fn value(mut self, name: &str, value: impl Display) -> Self {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{comma}\"{name}\":{value}");
        self
    }

    fn text(self, name: &str, text: impl Display) -> Self {
        self.value(name, Json(&text.to_string()))
    }

    fn optional(self, name: &str, text: Option<impl Display>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self.value(name, "null"),
        }
    }

    fn date(self, name: &str, now: Now, event: Option<Instant>) -> Self {
        self.optional(name, event.map(|event| Rfc3339(now.date_of(event))))
    }

    /// Several members with numbers.
    fn numbers<'a>(self, numbers: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let numbers = numbers.into_iter();
        numbers.fold(self, |object, (name, number)| object.value(name, number))
    }

    /// A member that is an object of numbers.
    fn counts<'a>(self, name: &str, counts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        self.value(name, Self::new().numbers(counts).end())
    }

    /// A member that is a list of JSON values, one per line.
    fn lines(self, name: &str, items: impl Iterator<Item = String>) -> Self {
        let items: Vec<String> = items.collect();
        match items.is_empty() {
            true => self.value(name, "[]"),
            false => self.value(name, format_args!("[\n{}\n]", items.join(",\n"))),
        }
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
