//! `etcd-gateway check`: what a start with these flags would find, without starting.
//!
//! Resolves, dials, authenticates and asks for health like a start, and prints one row per
//! endpoint. Nothing is listened on, so that it can be run beside a gateway that is in service, and
//! nothing is logged. A start would serve if at least one endpoint is ready to be used; one that
//! fails the health check is, as a second choice.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::error::Error;
use super::listeners;
use super::plan::{Plan, plan, refuse_loops};
use super::process::{NOT_CONTAINED, contain};
use crate::access::{LogFile, Target};
use crate::columns;
use crate::config::{Config, Output, Url};
use crate::dial::blocking;
use crate::discovery::auth::{self, Authenticator, Certified};
use crate::discovery::{Discovered, INSECURE, parallel_map};
use crate::endpoint::Endpoint;
use crate::health;
use crate::log::{Json, JsonList};
use crate::loop_guard::LoopGuard;
use crate::times::Times;
use crate::x509::UnixTime;

/// What was found.
pub(crate) struct Report {
    /// To be printed.
    pub(crate) text: String,
    /// Whether a start would have an endpoint to use.
    pub(crate) would_serve: bool,
}

/// What was found of one endpoint.
struct Row {
    endpoint: Endpoint,
    source: &'static str,
    dial: Option<Duration>,
    tls: Option<String>,
    certified: Option<Certified>,
    /// What it answered to the health check, if it was asked: 200, or why not.
    health: Option<Result<(), String>>,
    /// Why it would not be used.
    reason: Option<String>,
}

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
    for place in &listen {
        warnings.extend(listeners::rehearse("listen-addr", place)?);
    }
    if let Some(place) = &metrics {
        warnings.extend(listeners::rehearse("metrics-addr", place)?);
    }
    let mut found = discovery.find();
    warnings.append(&mut found.surplus);
    refuse_loops(&found.endpoints, &listen, metrics.as_ref())?;
    let look = |fallback, endpoints: &[Endpoint]| {
        parallel_map(endpoints, |endpoint| {
            let mut row = examine(
                endpoint,
                fallback,
                authenticator.as_deref(),
                &guard,
                config.dial_timeout,
            );
            row.health = config.health_check.as_ref().map(|url| {
                let addr = url.target(endpoint.addr);
                let asked = health::ask(addr, url, times.health_timeout, &guard);
                asked.map_err(|failure| failure.reason())
            });
            row
        })
    };
    let mut findings = Findings {
        rows: look(false, &found.endpoints),
        found,
        metrics: metrics.map(|place| place.addr.to_string()),
        warnings,
        now: auth::now(),
    };
    if !findings.would_serve() {
        findings.rows.extend(look(true, &discovery.fallback()));
    }
    findings.doubt_health_check(config.health_check.as_ref());
    Ok(findings.report(output))
}

fn examine(
    endpoint: &Endpoint,
    fallback: bool,
    authenticator: Option<&Authenticator>,
    guard: &LoopGuard,
    timeout: Duration,
) -> Row {
    let mut row = Row {
        endpoint: endpoint.clone(),
        source: if fallback {
            "fallback"
        } else {
            endpoint.source.name()
        },
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
            match blocking::connect(endpoint.addr, timeout, guard) {
                Ok(_) => row.dial = Some(started.elapsed()),
                Err(error) => row.reason = Some(error.to_string()),
            }
        }
    }
    row
}

/// Whole days until a certificate expires; below zero once it has.
fn days_left(certified: &Certified, now: UnixTime) -> i64 {
    const DAY: i64 = 24 * 60 * 60;
    certified.not_after.0.saturating_sub(now.0).div_euclid(DAY)
}

impl Row {
    fn verdict(&self) -> &'static str {
        match (&self.reason, self.endpoint.identity.is_some()) {
            (None, true) => "authenticated",
            (None, false) => "reachable",
            (Some(_), _) if self.dial.is_some() => "refused",
            (Some(_), _) => "unreachable",
        }
    }

    fn health_answer(&self) -> Option<&str> {
        let health = self.health.as_ref()?;
        Some(health.as_ref().map_or_else(String::as_str, |()| "200 OK"))
    }

    fn cells(&self, now: UnixTime) -> Vec<String> {
        let absent = || "-".to_owned();
        let certified = self.certified.as_ref();
        let drains = if self.endpoint.drains {
            ", draining"
        } else {
            ""
        };
        vec![
            self.endpoint.addr.to_string(),
            self.endpoint.name.clone(),
            self.source.to_owned(),
            format!("{}/{}", self.endpoint.priority, self.endpoint.weight),
            self.dial
                .map_or_else(absent, |dial| format!("{:.1} ms", dial.as_secs_f64() * 1e3)),
            self.tls.clone().unwrap_or_else(absent),
            certified.map_or_else(absent, |certified| certified.subject.clone()),
            certified.map_or_else(absent, |certified| certified.sans.join(",")),
            certified.map_or_else(absent, |certified| {
                format!("{} d", days_left(certified, now))
            }),
            match &self.health {
                None => absent(),
                Some(Ok(())) => "passes".to_owned(),
                Some(Err(_)) => "fails".to_owned(),
            },
            match &self.reason {
                Some(_) => self.verdict().to_owned(),
                None => format!("{}{drains}", self.verdict()),
            },
        ]
    }
}

const HEADS: [&str; 11] = [
    "ADDRESS",
    "NAME",
    "SOURCE",
    "PRIO/WEIGHT",
    "DIAL",
    "TLS",
    "SUBJECT",
    "SANS",
    "EXPIRES",
    "HEALTH",
    "VERDICT",
];
/// Columns that may be shortened: the JSON has them whole.
const SHORTENED: [&str; 3] = ["NAME", "SUBJECT", "SANS"];
/// The widest that a table should be, with TLS, and without.
const WIDTHS: (usize, usize) = (160, 100);

/// Aligns the rows below their heads. A column that is empty, or the same for every endpoint, is omitted.
fn aligned(rows: Vec<Vec<String>>) -> String {
    let mut lines = vec![HEADS.map(str::to_owned).to_vec()];
    lines.extend(rows);
    let tells = |column: usize, head: &str| {
        let mut cells = lines.iter().skip(1).filter_map(|line| line.get(column));
        match head {
            "NAME" => lines
                .iter()
                .skip(1)
                .any(|line| line.first() != line.get(column)),
            "PRIO/WEIGHT" => {
                let first = cells.next();
                cells.any(|cell| Some(cell) != first)
            }
            _ => cells.any(|cell| cell != "-"),
        }
    };
    let kept: Vec<usize> = (0..HEADS.len())
        .filter(|&column| HEADS.get(column).is_some_and(|head| tells(column, head)))
        .collect();
    let has = |name: &str| kept.iter().any(|&column| HEADS.get(column) == Some(&name));
    let most = if has("TLS") { WIDTHS.0 } else { WIDTHS.1 };
    // No room is too little for 16 of each.
    let mut text = String::new();
    for room in [usize::MAX, 48, 40, 32, 24, 16] {
        let line = |line: &Vec<String>| -> Vec<String> {
            let cells = kept.iter().filter_map(|&column| {
                let cell = line.get(column)?;
                let may_be_cut = HEADS
                    .get(column)
                    .is_some_and(|head| SHORTENED.contains(head));
                let fits = !may_be_cut || cell.chars().count() <= room;
                let cut = || {
                    cell.chars()
                        .take(room.saturating_sub(1))
                        .chain(['\u{2026}'])
                        .collect()
                };
                Some(if fits { cell.clone() } else { cut() })
            });
            cells.collect()
        };
        text = columns::aligned(&lines.iter().map(line).collect::<Vec<_>>());
        if text.lines().all(|line| line.chars().count() <= most) {
            break;
        }
    }
    text
}

/// All that was found.
struct Findings {
    rows: Vec<Row>,
    found: Discovered,
    /// Where metrics would be served.
    metrics: Option<String>,
    warnings: Vec<String>,
    now: UnixTime,
}

impl Findings {
    /// Whether a start would have an endpoint to use.
    fn would_serve(&self) -> bool {
        self.rows.iter().any(|row| row.reason.is_none())
    }

    /// Warns of a health check that is more likely wrong than all members are ill. Which members are
    /// used does not depend on it then.
    fn doubt_health_check(&mut self, url: Option<&Url>) {
        let fails = |row: &Row| matches!(row.health, Some(Err(_)));
        if let Some(url) = url
            && self.would_serve()
            && self.rows.iter().all(fails)
        {
            self.warnings.push(format!(
                "every member fails --health-check={url}: see that URL, port and path are right; \
                 while all fail, all are used"
            ));
        }
    }

    fn report(self, output: Output) -> Report {
        let text = match output {
            Output::Table => self.table(),
            Output::Json => self.json(),
        };
        Report {
            text,
            would_serve: self.would_serve(),
        }
    }

    /// Whether a start would serve, how well, and what to do.
    fn summary(&self) -> String {
        let total = self.rows.len();
        let usable = self.rows.iter().filter(|row| row.reason.is_none()).count();
        let all_found = self.found.insecure.is_empty() && self.found.unresolved.is_empty();
        match (usable, &self.found.nothing) {
            (0, Some(nothing)) => format!("start would not serve: {nothing}"),
            (0, None) => format!(
                "start would not serve: none of {total} endpoints can be used, for the reasons above"
            ),
            (_, _) if usable == total && all_found => {
                format!("start would serve: {usable} of {total} endpoints can be used")
            }
            _ => format!(
                "start would serve: {usable} of {total} endpoints can be used; correct what is named above"
            ),
        }
    }

    fn table(&self) -> String {
        let rows = self.rows.iter().map(|row| row.cells(self.now));
        let mut text = match self.rows.is_empty() {
            true => String::new(),
            false => aligned(rows.collect()),
        };
        for row in &self.rows {
            let addr = row.endpoint.addr;
            if let Some(reason) = &row.reason {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}: {addr}: {reason}", row.verdict());
            }
            if let Some(Err(answer)) = &row.health {
                let _ = writeln!(text, "health: {addr}: {answer}");
            }
        }
        for target in &self.found.insecure {
            let _ = writeln!(text, "refused: {target}: {INSECURE}");
        }
        for name in &self.found.unresolved {
            let _ = writeln!(text, "unresolved: {name}");
        }
        if let Some(metrics) = &self.metrics {
            let _ = writeln!(text, "metrics: http://{metrics}/");
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        let _ = writeln!(text, "{}", self.summary());
        text
    }

    fn json(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(|row| row.json(self.now)).collect();
        format!(
            "{{\"would_serve\":{},\"summary\":{},\"nothing\":{},\"metrics\":{},\"endpoints\":[{}],\"insecure\":{},\"unresolved\":{},\"warnings\":{}}}\n",
            self.would_serve(),
            Json(&self.summary()),
            optional(self.found.nothing.as_deref()),
            optional(self.metrics.as_deref()),
            rows.join(","),
            JsonList(&self.found.insecure),
            JsonList(&self.found.unresolved),
            JsonList(&self.warnings)
        )
    }
}

impl Row {
    fn json(&self, now: UnixTime) -> String {
        let certificate = self.certified.as_ref().map_or_else(
            || "null".to_owned(),
            |certified| {
                format!(
                    "{{\"subject\":{},\"issuer\":{},\"sans\":{},\"not_before\":{},\"not_after\":{},\"days_left\":{}}}",
                    Json(&certified.subject),
                    Json(&certified.issuer),
                    JsonList(&certified.sans),
                    Json(&certified.not_before.to_string()),
                    Json(&certified.not_after.to_string()),
                    days_left(certified, now)
                )
            },
        );
        let health = self.health_answer().map_or_else(
            || "null".to_owned(),
            |answer| {
                let ok = matches!(self.health, Some(Ok(())));
                format!("{{\"ok\":{ok},\"answer\":{}}}", Json(answer))
            },
        );
        let dial = self
            .dial
            .map_or_else(|| "null".to_owned(), |dial| dial.as_secs_f64().to_string());
        format!(
            "{{\"address\":{},\"name\":{},\"source\":{},\"priority\":{},\"weight\":{},\"drain\":{},\"server_name\":{},\
             \"dial_seconds\":{dial},\"tls\":{},\"certificate\":{certificate},\"health\":{health},\"verdict\":{},\"reason\":{}}}",
            Json(&self.endpoint.addr.to_string()),
            Json(&self.endpoint.name),
            Json(self.source),
            self.endpoint.priority,
            self.endpoint.weight,
            self.endpoint.drains,
            optional(self.endpoint.identity.as_deref()),
            optional(self.tls.as_deref()),
            Json(self.verdict()),
            optional(self.reason.as_deref()),
        )
    }
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), |text| Json(text).to_string())
}

#[cfg(test)]
mod tests;
