//! What is served under which path, and the two answers in JSON: `/endpoints` and `/connections`.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::http::{Request, Response, Status};
use super::server::Answers;
use super::{Connection, Observed, Snapshot, metrics, status};
use crate::config::Settings;
use crate::date::{self, HttpDate, Now, Rfc3339};
use crate::endpoint::pool::view::View;
use crate::log::{Json, JsonList};
use crate::sys::usage;

/// The most connections that one answer tells of: some 300 KiB.
pub(crate) const MAX_SHOWN: usize = 1000;

/// Answers from what a gateway shows of itself.
pub(super) struct Pages {
    pub(super) observed: Arc<dyn Observed>,
    pub(super) settings: Settings,
}

impl Answers for Pages {
    fn answer(&self, request: Request<'_>) -> io::Result<Response> {
        Ok(match request.path {
            "/healthz" => {
                // The gateway serves: every lock that a session needs could be taken.
                drop(self.observed.snapshot()?);
                health(self.observed.try_session().err())
            }
            "/readyz" => {
                let not_ready = self.observed.snapshot()?.not_ready();
                health(not_ready.or_else(|| self.observed.try_session().err()))
            }
            "/metrics" => content(
                metrics::CONTENT_TYPE,
                metrics::render(&self.observed.snapshot()?, &usage::usage()),
                "",
            ),
            "/config" => content(TEXT, self.settings.table(), ""),
            "/endpoints" => content(JSON, endpoints(&self.observed.snapshot()?), ""),
            "/connections" => match Filter::read(request.query) {
                Ok(filter) => content(JSON, self.connections(filter)?, ""),
                Err(reason) => Response::text(Status::BadRequest, &reason),
            },
            "/" if request.takes_html => {
                let reloads = !parameters(request.query).any(|pair| pair == ("reload", "0"));
                let page = status::render(&self.observed.snapshot()?, reloads);
                content("text/html; charset=utf-8", page, status::FIELDS)
            }
            "/" => content(TEXT, self.observed.snapshot()?.text(), "Vary: Accept\r\n"),
            _ => Response::text(
                Status::NotFound,
                "not found; there are / /config /connections /endpoints /healthz /metrics /readyz",
            ),
        })
    }

    fn bytes(&self, response: &Response, head_only: bool) -> Vec<u8> {
        let now = date::since_1970(SystemTime::now());
        response.bytes(&HttpDate(now), head_only)
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Whether there is nothing against it.
fn health(reason: Option<String>) -> Response {
    match reason {
        None => Response::text(Status::Ok, "ok"),
        Some(reason) => Response::text(Status::Unavailable, &reason.replace('\n', " ")),
    }
}

fn content(content_type: &'static str, content: String, more: &'static str) -> Response {
    Response {
        status: Status::Ok,
        content_type,
        content,
        more,
    }
}

/// The parts of a query; one without a value has an empty one.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Which connections somebody asks for.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    endpoint: Option<SocketAddr>,
    limit: usize,
}

impl Filter {
    /// Reads a query. What is not understood in it is an error: an answer about all would be taken for one about some.
    fn read(query: &str) -> Result<Self, String> {
        let mut filter = Self {
            endpoint: None,
            limit: MAX_SHOWN,
        };
        for (name, value) in parameters(query) {
            match (name, value.parse(), value.parse()) {
                ("address", Ok(endpoint), _) => filter.endpoint = Some(endpoint),
                ("limit", _, Ok(limit)) => filter.limit = MAX_SHOWN.min(limit),
                _ => {
                    return Err(format!(
                        "cannot use {name:?}; use address=IP:PORT of an endpoint, limit=NUMBER up to {MAX_SHOWN}"
                    ));
                }
            }
        }
        Ok(filter)
    }
}

impl Pages {
    /// One object, a connection per line, those that are open for the longest time first.
    fn connections(&self, filter: Filter) -> io::Result<String> {
        let snapshot = self.observed.snapshot()?;
        let views = snapshot.endpoints.iter();
        let names = views.map(|view| (view.endpoint.addr, view.endpoint.name.as_str()));
        let names: BTreeMap<_, _> = names.collect();
        let (shown, complete) = self.observed.connections(filter.endpoint, filter.limit)?;
        let mut text = format!(
            "{{\"connections_open\":{},\"connections_shown\":{},\"complete\":{complete},\
             \"draining_processes\":{},\"draining_connections\":{},\"connections\":[",
            snapshot.clients.active,
            shown.len(),
            snapshot.reloads.draining_processes,
            snapshot.reloads.draining_connections,
        );
        for (index, connection) in shown.iter().enumerate() {
            let name = connection.endpoint.and_then(|addr| names.get(&addr));
            let comma = if index == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}\n{}", open(connection, name, snapshot.now));
        }
        text.push_str("\n]}\n");
        Ok(text)
    }
}

fn open(connection: &Connection, name: Option<&&str>, now: Now) -> String {
    object([
        ("client", quoted(connection.client)),
        ("listen", quoted(connection.listen)),
        ("address", optional(connection.endpoint)),
        ("name", optional(name)),
        ("since", time(now, connection.since)),
        ("bytes_to_endpoint", connection.to_endpoint.to_string()),
        ("bytes_to_client", connection.to_client.to_string()),
        (
            "idle_seconds",
            connection
                .idle
                .map_or_else(null, |idle| idle.as_secs_f64().to_string()),
        ),
    ])
}

/// One object; a problem per line and an endpoint per line, so that it can be read and compared as it is.
fn endpoints(snapshot: &Snapshot) -> String {
    let (reason, clients, reloads) = (snapshot.not_ready(), &snapshot.clients, &snapshot.reloads);
    let now = snapshot.now;
    let lines = |lines: Vec<String>| match lines.as_slice() {
        [] => "[]".to_owned(),
        lines => format!("[\n{}\n]", lines.join(",\n")),
    };
    let views = snapshot.endpoints.iter();
    let problems = snapshot.problems.iter();
    let refreshes = snapshot.discovery.refreshes.iter().copied().map(number);
    let last_success = snapshot.discovery.last_success;
    let last_success = last_success.map_or_else(null, |at| time(now, at));
    let last_success = ("last_success", last_success);
    let all = object([
        ("ready", reason.is_none().to_string()),
        ("reason", optional(reason)),
        ("draining", snapshot.draining.to_string()),
        ("version", quoted(snapshot.version)),
        ("host", quoted(&snapshot.host)),
        ("pid", snapshot.pid.to_string()),
        ("started", time(now, snapshot.started)),
        ("listen", JsonList(&snapshot.listen).to_string()),
        ("connections", clients.active.to_string()),
        ("max_connections", clients.max.to_string()),
        ("accepted", clients.accepted.to_string()),
        ("rejected", counts(clients.rejected.iter().copied())),
        ("ended", counts(clients.ended.iter().copied())),
        (
            "reloads",
            counts([("success", reloads.succeeded), ("failure", reloads.failed)]),
        ),
        ("draining_processes", reloads.draining_processes.to_string()),
        (
            "draining_connections",
            reloads.draining_connections.to_string(),
        ),
        ("discovery", object(refreshes.chain([last_success]))),
        ("log_lines_dropped", snapshot.log_lines_dropped.to_string()),
        (
            "access_log_lines_dropped",
            snapshot.access_log_lines_dropped.to_string(),
        ),
        ("problems", lines(problems.map(quoted).collect())),
        (
            "endpoints",
            lines(views.map(|view| endpoint(view, now)).collect()),
        ),
    ]);
    format!("{all}\n")
}

fn endpoint(view: &View, now: Now) -> String {
    let (endpoint, ledger) = (&view.endpoint, &view.ledger);
    let (answered, failed) = (ledger.last_answer(), view.last_error.as_ref());
    let expiry = ledger.not_after().and_then(|at| u64::try_from(at).ok());
    object([
        ("address", quoted(endpoint.addr)),
        ("name", quoted(&endpoint.name)),
        ("source", quoted(endpoint.source.name())),
        ("priority", endpoint.priority.to_string()),
        ("weight", endpoint.weight.to_string()),
        ("drain", endpoint.drains.to_string()),
        ("server_name", optional(endpoint.identity.as_ref())),
        ("state", quoted(view.status.name())),
        ("active", view.status.is_active().to_string()),
        ("since", time(now, view.since)),
        (
            "last_answer_at",
            answered.map_or_else(null, |at| time(now, at)),
        ),
        ("last_error", optional(failed.map(|(_, error)| error))),
        (
            "last_error_at",
            failed.map_or_else(null, |(at, _)| time(now, *at)),
        ),
        (
            "certificate_expiry",
            optional(expiry.map(|at| Rfc3339(Duration::from_secs(at)))),
        ),
        ("connections_open", ledger.open().to_string()),
        ("connections_total", ledger.connections.get().to_string()),
        ("bytes_to_endpoint", ledger.to_endpoint.get().to_string()),
        ("bytes_to_client", ledger.to_client.get().to_string()),
        ("dials", counts(ledger.dials())),
    ])
}

/// A JSON object of values that are JSON already.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = String::from("{");
    for (name, value) in members {
        let comma = if text.len() == 1 { "" } else { "," };
        let _ = write!(text, "{comma}\"{name}\":{value}");
    }
    text.push('}');
    text
}

fn counts<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    object(counts.into_iter().map(number))
}

fn number((name, count): (&str, u64)) -> (&str, String) {
    (name, count.to_string())
}

fn quoted(text: impl Display) -> String {
    Json(&text.to_string()).to_string()
}

fn time(now: Now, then: Instant) -> String {
    quoted(Rfc3339(now.date_of(then)))
}

fn optional(text: Option<impl Display>) -> String {
    text.map_or_else(null, quoted)
}

fn null() -> String {
    "null".to_owned()
}
