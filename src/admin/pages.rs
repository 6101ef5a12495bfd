//! What is served under which path, and `/endpoints`.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::http::{Request, Response, Status};
use super::server::Answers;
use super::{Observed, Snapshot, metrics, status};
use crate::config::Settings;
use crate::date::{self, HttpDate, Now, Rfc3339};
use crate::endpoint::pool::view::View;
use crate::log::Json;
use crate::sys::usage;

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
            "/config" => content("text/plain; charset=utf-8", self.settings.table(), ""),
            "/endpoints" => content("application/json", json(&self.observed.snapshot()?), ""),
            "/" => content(
                "text/html; charset=utf-8",
                status::render(&self.observed.snapshot()?),
                status::FIELDS,
            ),
            _ => Response::text(
                Status::NotFound,
                "not found; there are / /config /endpoints /healthz /metrics /readyz",
            ),
        })
    }

    fn bytes(&self, response: &Response, head_only: bool) -> Vec<u8> {
        let now = date::since_1970(SystemTime::now());
        response.bytes(&HttpDate(now), head_only)
    }
}

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

/// One object; a problem a line and an endpoint a line, so that it can be read and compared as it is.
fn json(snapshot: &Snapshot) -> String {
    let reason = snapshot.not_ready();
    let endpoints = snapshot.endpoints.iter();
    let endpoints: Vec<String> = endpoints.map(|view| endpoint(view, snapshot.now)).collect();
    let problems = snapshot.problems.iter();
    let problems: Vec<String> = problems
        .map(|problem| format!("\n{}", Json(problem)))
        .collect();
    format!(
        "{{\"ready\":{},\"reason\":{},\"draining\":{},\"draining_processes\":{},\"draining_connections\":{},\
         \"problems\":[{}],\"endpoints\":[\n{}\n]}}\n",
        reason.is_none(),
        optional(reason),
        snapshot.draining,
        snapshot.reloads.draining_processes,
        snapshot.reloads.draining_connections,
        problems.join(","),
        endpoints.join(",\n")
    )
}

fn endpoint(view: &View, now: Now) -> String {
    let (endpoint, ledger) = (&view.endpoint, &view.ledger);
    let time = |then: Instant| Rfc3339(now.date_of(then)).to_string();
    let expiry = ledger.not_after().and_then(|at| u64::try_from(at).ok());
    let expiry = expiry.map(|at| Rfc3339(std::time::Duration::from_secs(at)).to_string());
    let mut dials = String::new();
    for (result, count) in ledger.dials() {
        let comma = if dials.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(dials, "{comma}{}:{count}", Json(result));
    }
    format!(
        "{{\"address\":{},\"endpoint\":{},\"source\":{},\"priority\":{},\"weight\":{},\"drain\":{},\
         \"name\":{},\"state\":{},\"active\":{},\"since\":{},\"last_answer_at\":{},\"last_error\":{},\"last_error_at\":{},\
         \"certificate_expiry\":{},\"connections_open\":{},\"connections_total\":{},\
         \"bytes_to_endpoint\":{},\"bytes_to_client\":{},\"dials\":{{{dials}}}}}",
        Json(&endpoint.addr.to_string()),
        Json(&endpoint.name),
        Json(endpoint.source.name()),
        endpoint.priority,
        endpoint.weight,
        endpoint.drains,
        optional(endpoint.identity.clone()),
        Json(view.status.name()),
        view.status.is_active(),
        Json(&time(view.since)),
        optional(ledger.last_answer().map(time)),
        optional(view.last_error.as_ref().map(|(_, error)| error.clone())),
        optional(view.last_error.as_ref().map(|(at, _)| time(*at))),
        optional(expiry),
        ledger.open(),
        ledger.connections.get(),
        ledger.to_endpoint.get(),
        ledger.to_client.get(),
    )
}

fn optional(text: Option<String>) -> String {
    text.map_or_else(|| "null".to_owned(), |text| Json(&text).to_string())
}
