//! What `check` found, as a table for people and as JSON for programs.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::columns;
use crate::config::{Output, Url};
use crate::discovery::auth::Certified;
use crate::discovery::{Discovered, INSECURE};
use crate::endpoint::Endpoint;
use crate::log::{Json, JsonList, shortened};
use crate::x509::UnixTime;

/// What is printed, and the outcome.
pub(crate) struct Report {
    pub(crate) text: String,
    /// Whether a start would have an endpoint to use.
    pub(crate) would_serve: bool,
}

/// What was found of one endpoint.
pub(super) struct Row {
    pub(super) endpoint: Endpoint,
    pub(super) source: &'static str,
    pub(super) dial: Option<Duration>,
    pub(super) tls: Option<String>,
    pub(super) certified: Option<Certified>,
    /// What it answered to the health check, if it was asked: 200, or why not.
    pub(super) health: Option<Result<(), String>>,
    /// Why it would not be used.
    pub(super) reason: Option<String>,
}

/// All that was found.
pub(super) struct Findings {
    pub(super) rows: Vec<Row>,
    pub(super) found: Discovered,
    /// Where metrics would be served.
    pub(super) metrics: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) now: UnixTime,
}

/// A head, and the cell of a row below it, if the row has one.
type Column = (&'static str, fn(&Row, UnixTime) -> Option<String>);

const COLUMNS: [Column; 11] = [
    ("ADDRESS", |row, _| Some(row.endpoint.addr.to_string())),
    ("NAME", |row, _| Some(row.endpoint.name.clone())),
    ("SOURCE", |row, _| Some(row.source.to_owned())),
    ("PRIO/WEIGHT", |row, _| {
        let (priority, weight) = (row.endpoint.priority, row.endpoint.weight);
        Some(format!("{priority}/{weight}"))
    }),
    ("DIAL", |row, _| {
        let milliseconds = row.dial?.as_secs_f64() * 1e3;
        Some(format!("{milliseconds:.1} ms"))
    }),
    ("TLS", |row, _| row.tls.clone()),
    ("SUBJECT", |row, _| {
        Some(row.certified.as_ref()?.subject.clone())
    }),
    ("SANS", |row, _| {
        Some(row.certified.as_ref()?.sans.join(","))
    }),
    ("EXPIRES", |row, now| {
        let days = days_left(row.certified.as_ref()?, now);
        Some(format!("{days} d"))
    }),
    ("HEALTH", |row, _| {
        let passes = row.health.as_ref()?.is_ok();
        Some(if passes { "passes" } else { "fails" }.to_owned())
    }),
    ("VERDICT", |row, _| {
        let drains = row.endpoint.drains && row.reason.is_none();
        let drains = if drains { ", draining" } else { "" };
        Some(format!("{}{drains}", row.verdict()))
    }),
];

/// Columns that may be shortened: the JSON has them whole.
const SHORTENED: [&str; 3] = ["NAME", "SUBJECT", "SANS"];
/// How wide a table should be at most, with TLS, and without.
const WIDTHS: (usize, usize) = (160, 100);
/// How many characters such a column is shortened to, one after the other, until the table is narrow enough.
const ROOMS: [usize; 6] = [usize::MAX, 48, 40, 32, 24, 16];

/// The rows below their heads. A column that is empty, or the same for every endpoint, is omitted.
fn aligned(rows: &[Row], now: UnixTime) -> String {
    let cells = |(head, cell): &Column| {
        let cells = rows
            .iter()
            .map(|row| cell(row, now).unwrap_or("-".to_owned()));
        (*head, cells.collect::<Vec<String>>())
    };
    let is_wanted = |(head, cells): &(&str, Vec<String>)| match *head {
        "NAME" => rows
            .iter()
            .any(|row| row.endpoint.name != row.endpoint.addr.to_string()),
        "PRIO/WEIGHT" => cells.iter().any(|cell| Some(cell) != cells.first()),
        _ => cells.iter().any(|cell| cell != "-"),
    };
    let columns: Vec<_> = COLUMNS.iter().map(cells).filter(is_wanted).collect();
    let widest = match columns.iter().any(|(head, _)| *head == "TLS") {
        true => WIDTHS.0,
        false => WIDTHS.1,
    };
    let mut text = String::new();
    for room in ROOMS {
        let cell = |head: &str, cell: &String| match cell.chars().count() > room {
            true if SHORTENED.contains(&head) => shortened(cell.clone(), room - 1),
            _ => cell.clone(),
        };
        let heads = columns.iter().map(|(head, _)| (*head).to_owned());
        let mut lines: Vec<Vec<String>> = vec![heads.collect()];
        lines.extend((0..rows.len()).map(|row| {
            let cells = columns.iter();
            let cells = cells.filter_map(|(head, cells)| Some(cell(head, cells.get(row)?)));
            cells.collect()
        }));
        text = columns::aligned(&lines);
        if text.lines().all(|line| line.chars().count() <= widest) {
            break;
        }
    }
    text
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

    fn json(&self, now: UnixTime) -> String {
        let endpoint = &self.endpoint;
        let certificate = self.certified.as_ref().map(|certified| {
            object(&[
                ("subject", quoted(&certified.subject)),
                ("issuer", quoted(&certified.issuer)),
                ("sans", JsonList(&certified.sans).to_string()),
                ("not_before", quoted(certified.not_before)),
                ("not_after", quoted(certified.not_after)),
                ("days_left", days_left(certified, now).to_string()),
            ])
        });
        let health = self.health.as_ref().map(|health| {
            let answer = health.as_ref().map_or_else(String::as_str, |()| "200 OK");
            object(&[
                ("ok", health.is_ok().to_string()),
                ("answer", quoted(answer)),
            ])
        });
        object(&[
            ("address", quoted(endpoint.addr)),
            ("name", quoted(&endpoint.name)),
            ("source", quoted(self.source)),
            ("priority", endpoint.priority.to_string()),
            ("weight", endpoint.weight.to_string()),
            ("drain", endpoint.drains.to_string()),
            (
                "server_name",
                or_null(endpoint.identity.as_ref().map(quoted)),
            ),
            (
                "dial_seconds",
                or_null(self.dial.map(|dial| dial.as_secs_f64())),
            ),
            ("tls", or_null(self.tls.as_ref().map(quoted))),
            ("certificate", or_null(certificate)),
            ("health", or_null(health)),
            ("verdict", quoted(self.verdict())),
            ("reason", or_null(self.reason.as_ref().map(quoted))),
        ])
    }
}

impl Findings {
    /// Whether a start would have an endpoint to use.
    pub(super) fn would_serve(&self) -> bool {
        self.rows.iter().any(|row| row.reason.is_none())
    }

    /// Warns of a health check that is more likely wrong than that all members are unhealthy. It has no effect on which members
    /// are used then.
    pub(super) fn doubt_health_check(&mut self, url: Option<&Url>) {
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

    pub(super) fn report(self, output: Output) -> Report {
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
        let mut text = match self.rows.is_empty() {
            true => String::new(),
            false => aligned(&self.rows, self.now),
        };
        // Writing to a String cannot fail.
        let mut write = |name: &str, value: &dyn Display| {
            let _ = writeln!(text, "{name}: {value}");
        };
        for row in &self.rows {
            let addr = row.endpoint.addr;
            if let Some(reason) = &row.reason {
                write(row.verdict(), &format!("{addr}: {reason}"));
            }
            if let Some(Err(answer)) = &row.health {
                write("health", &format!("{addr}: {answer}"));
            }
        }
        for target in &self.found.insecure {
            write("refused", &format!("{target}: {INSECURE}"));
        }
        for name in &self.found.unresolved {
            write("unresolved", name);
        }
        if let Some(metrics) = &self.metrics {
            write("metrics", &format!("http://{metrics}/"));
        }
        for warning in &self.warnings {
            write("warning", warning);
        }
        text + &self.summary() + "\n"
    }

    fn json(&self) -> String {
        let rows: Vec<String> = self.rows.iter().map(|row| row.json(self.now)).collect();
        let found = &self.found;
        object(&[
            ("would_serve", self.would_serve().to_string()),
            ("summary", quoted(self.summary())),
            ("nothing", or_null(found.nothing.as_ref().map(quoted))),
            ("metrics", or_null(self.metrics.as_ref().map(quoted))),
            ("endpoints", format!("[{}]", rows.join(","))),
            ("insecure", JsonList(&found.insecure).to_string()),
            ("unresolved", JsonList(&found.unresolved).to_string()),
            ("warnings", JsonList(&self.warnings).to_string()),
        ]) + "\n"
    }
}

/// A JSON object of values that are JSON already.
fn object(members: &[(&str, String)]) -> String {
    let members = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn quoted(text: impl Display) -> String {
    Json(&text.to_string()).to_string()
}

fn or_null(json: Option<impl Display>) -> String {
    json.map_or("null".to_owned(), |json| json.to_string())
}

#[cfg(test)]
mod tests;
