//! Maps paths to answers.

use std::io;
use std::net::SocketAddr;

use super::http::{Request, Response, Status};
use super::snapshot::Observed;
use super::{html, json, metrics};
use crate::config::Settings;
use crate::sys::usage;

/// The most connections in one answer: some 300 KiB.
pub(crate) const MAX_SHOWN: usize = 1000;

/// Answers a request from the state of the gateway, and under `/config` with these settings.
///
/// # Errors
/// If there is no memory for the answer.
pub(super) fn answer(
    request: Request<'_>,
    gateway: &dyn Observed,
    settings: &Settings,
) -> io::Result<Response> {
    Ok(match request.path {
        "/healthz" => {
            // Every lock that a session needs can be taken.
            drop(gateway.snapshot()?);
            health(gateway.try_session().err())
        }
        "/readyz" => {
            let not_ready = gateway.snapshot()?.not_ready();
            health(not_ready.or_else(|| gateway.try_session().err()))
        }
        "/metrics" => {
            let metrics = metrics::render(&gateway.snapshot()?, &usage::usage());
            Response::ok(metrics::CONTENT_TYPE, metrics)
        }
        "/config" => Response::ok(TEXT, settings.table()),
        "/endpoints" => Response::ok(JSON, json::endpoints(&gateway.snapshot()?)),
        "/connections" => match filter(request.query) {
            Ok((endpoint, limit)) => {
                let snapshot = gateway.snapshot()?;
                let (shown, complete) = gateway.connections(endpoint, limit)?;
                Response::ok(JSON, json::connections(&snapshot, &shown, complete))
            }
            Err(reason) => Response::text(Status::BAD_REQUEST, &reason),
        },
        "/" if request.takes_html => {
            let reloads = !parameters(request.query).any(|pair| pair == ("reload", "0"));
            let page = html::render(&gateway.snapshot()?, reloads);
            Response {
                more: html::FIELDS,
                ..Response::ok("text/html; charset=utf-8", page)
            }
        }
        "/" => Response {
            more: "Vary: Accept\r\n",
            ..Response::ok(TEXT, gateway.snapshot()?.text())
        },
        _ => Response::text(
            Status::NOT_FOUND,
            "not found; there are / /config /connections /endpoints /healthz /metrics /readyz",
        ),
    })
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// "ok", or why not.
fn health(reason: Option<String>) -> Response {
    match reason {
        None => Response::text(Status::OK, "ok"),
        Some(reason) => Response::text(Status::UNAVAILABLE, &reason.replace('\n', " ")),
    }
}

/// The parts of a query; one without a value has an empty one.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Parses the query of `/connections`: an endpoint, and how many connections at most. An unknown parameter is an error: an
/// answer about all connections would be mistaken for one about some.
fn filter(query: &str) -> Result<(Option<SocketAddr>, usize), String> {
    let (mut endpoint, mut most) = (None, MAX_SHOWN);
    for (name, value) in parameters(query) {
        match (name, value.parse(), value.parse()) {
            ("address", Ok(addr), _) => endpoint = Some(addr),
            ("limit", _, Ok(limit)) => most = MAX_SHOWN.min(limit),
            _ => {
                return Err(format!(
                    "cannot use {name:?}; use address=IP:PORT of an endpoint, limit=NUMBER up to {MAX_SHOWN}"
                ));
            }
        }
    }
    Ok((endpoint, most))
}
