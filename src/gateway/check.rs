//! `etcd-gateway check`: what a start with these flags would find, without starting.
//!
//! Resolves, dials, authenticates and asks for health like a start; `report` prints what was found. Nothing is listened on, so that it
//! can be run beside a gateway that is in service, and nothing is logged. A start would serve if at least one endpoint is ready to
//! be used; one that fails the health check is, as a second choice.

mod report;

use std::time::{Duration, Instant};

use super::error::Error;
use super::listeners;
use super::plan::{Plan, plan, refuse_loops};
use super::process::{NOT_CONTAINED, contain};
use crate::access::{LogFile, Target};
use crate::config::{Config, Output};
use crate::dial;
use crate::discovery::auth::{self, Authenticator};
use crate::discovery::parallel_map;
use crate::endpoint::Endpoint;
use crate::health;
use crate::loop_guard::LoopGuard;
use crate::times::Times;

pub(crate) use report::Report;
use report::{Findings, Row};

/// Looks at everything that a start would look at.
///
/// # Errors
/// What a start would be refused for before it looks at any endpoint.
pub(crate) fn run(config: &Config, output: Output, warnings: &[String]) -> Result<Report, Error> {
    let not_contained = contain()?;
    let times = Times::of_this_process();
    let Plan {
        listen,
        metrics,
        resolves: _,
        mut discovery,
        authenticator,
        guard,
        warnings: more,
    } = plan(config, &[], times)?;
    if let Some(Target::File(path)) = &config.access_log {
        LogFile::probe(path).map_err(|error| Error::access_log(path, &error))?;
    }
    let mut warnings: Vec<String> = warnings.iter().cloned().chain(more).collect();
    warnings.extend(not_contained.map(|error| format!("{NOT_CONTAINED}: {error}")));
    for addr in &listen {
        warnings.extend(listeners::rehearse("listen-addr", addr)?);
    }
    if let Some(addr) = &metrics {
        warnings.extend(listeners::rehearse("metrics-addr", addr)?);
    }
    let mut found = discovery.find();
    warnings.append(&mut found.surplus);
    refuse_loops(&found.endpoints, &listen, metrics.as_ref())?;
    let examine_all = |fallback, endpoints: &[Endpoint]| {
        parallel_map(endpoints, |endpoint| {
            let authenticator = authenticator.as_deref();
            let mut row = examine(endpoint, authenticator, &guard, config.dial_timeout);
            if fallback {
                row.source = "fallback";
            }
            row.health = config.health_check.as_ref().map(|url| {
                let addr = url.target(endpoint.addr);
                let asked = health::ask(addr, url, times.health_timeout, &guard);
                asked.map_err(|failure| failure.to_string())
            });
            row
        })
    };
    let mut findings = Findings {
        rows: examine_all(false, &found.endpoints),
        found,
        metrics: metrics.map(|metrics| metrics.addr.to_string()),
        warnings,
        now: auth::now(),
    };
    if !findings.would_serve() {
        findings
            .rows
            .extend(examine_all(true, &discovery.fallback()));
    }
    findings.doubt_health_check(config.health_check.as_ref());
    Ok(findings.report(output))
}

fn examine(
    endpoint: &Endpoint,
    authenticator: Option<&Authenticator>,
    guard: &LoopGuard,
    timeout: Duration,
) -> Row {
    let mut row = Row {
        endpoint: endpoint.clone(),
        source: endpoint.source.name(),
        dial: None,
        tls: None,
        certified: None,
        health: None,
        reason: None,
    };
    match (authenticator, &endpoint.identity) {
        (Some(authenticator), Some(identity)) => {
            let examination = authenticator.examine(endpoint, identity, timeout);
            row.dial = examination.dial;
            row.certified = examination.certified;
            match examination.outcome {
                Ok((version, suite)) => row.tls = Some(format!("{version} {suite}")),
                Err(error) => row.reason = Some(error.to_string()),
            }
        }
        _ => {
            let started = Instant::now();
            match dial::connect(endpoint.addr, timeout, guard) {
                Ok(_) => row.dial = Some(started.elapsed()),
                Err(error) => row.reason = Some(error.to_string()),
            }
        }
    }
    row
}
