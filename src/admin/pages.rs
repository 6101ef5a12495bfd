//! What is served under which path.

use std::io;
use std::net::SocketAddr;

use super::http::{Request, Response, Status};
use super::{Observed, html, json, metrics};
use crate::config::Settings;
use crate::sys::usage;

/// The most connections that one answer tells of: some 300 KiB.
pub(crate) const MAX_SHOWN: usize = 1000;

/// Answers a request from what a gateway shows of itself, and under `/config` with these settings.
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
            // The gateway serves: every lock that a session needs could be taken.
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
        "/connections" => match Filter::read(request.query) {
            Ok(filter) => {
                let snapshot = gateway.snapshot()?;
                let (shown, complete) = gateway.connections(filter.endpoint, filter.limit)?;
                Response::ok(JSON, json::connections(&snapshot, &shown, complete))
            }
            Err(reason) => Response::text(Status::BadRequest, &reason),
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
            Status::NotFound,
            "not found; there are / /config /connections /endpoints /healthz /metrics /readyz",
        ),
    })
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// "ok", or why not.
fn health(reason: Option<String>) -> Response {
    match reason {
        None => Response::text(Status::Ok, "ok"),
        Some(reason) => Response::text(Status::Unavailable, &reason.replace('\n', " ")),
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
