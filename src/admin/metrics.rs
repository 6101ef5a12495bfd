//! `/metrics`: the text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Each family once, with HELP and TYPE, its samples together. Names follow the conventions that
//! `promtool check metrics` knows: base units, `_total` for what only grows. Every label has a
//! closed set of values, but for endpoints, of which there are at most 1024 and those that have
//! left with connections still open. No label tells a client.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::Snapshot;
use crate::endpoint::pool::view::View;
use crate::endpoint::status::Status;
use crate::stats::Distribution;
use crate::sys::usage::Usage;

/// What a scraper has to know of the content.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

/// All families.
pub(super) fn render(snapshot: &Snapshot, usage: &Usage) -> String {
    let mut text = Text::default();
    gateway(&mut text, snapshot);
    endpoints(&mut text, snapshot);
    discovery(&mut text, snapshot);
    process(&mut text, snapshot, usage);
    text.written
}

fn gateway(text: &mut Text, snapshot: &Snapshot) {
    let clients = &snapshot.clients;
    text.family(
        "build_info",
        GAUGE,
        "Always 1; the label tells the version.",
    );
    text.sample("", &[("version", snapshot.version)], 1);
    text.single(
        "draining",
        GAUGE,
        "1 once the gateway is ending, 0 before.",
        u8::from(snapshot.draining),
    );
    let reloads = &snapshot.reloads;
    text.family(
        "reloads_total",
        COUNTER,
        "Reloads of the service, by result.",
    );
    text.sample("", &[("result", "success")], reloads.succeeded);
    text.sample("", &[("result", "failure")], reloads.failed);
    text.single(
        "draining_processes",
        GAUGE,
        "Processes that served before a reload and have connections left.",
        reloads.draining_processes,
    );
    text.single(
        "draining_connections",
        GAUGE,
        "Connections of these, which no other metric counts.",
        reloads.draining_connections,
    );
    text.single(
        "connections_total",
        COUNTER,
        "Clients accepted, those rejected afterwards included.",
        clients.accepted,
    );
    text.single(
        "connections_active",
        GAUGE,
        "Clients that have a connection now.",
        clients.active,
    );
    text.single(
        "max_connections",
        GAUGE,
        "Clients that may have a connection at a time.",
        clients.max,
    );
    text.by(
        "connections_rejected_total",
        "Clients accepted and then reset, by reason.",
        "reason",
        &clients.rejected,
    );
    text.by(
        "accept_errors_total",
        "Failures to accept a client, by error.",
        "errno",
        &clients.accept_errors,
    );
    text.by(
        "connections_ended_total",
        "Connections that have ended and were not rejected, by cause.",
        "cause",
        &clients.ended,
    );
    text.family(
        "connection_duration_seconds",
        HISTOGRAM,
        "How long connections of clients lasted, of those that have ended and were not rejected.",
    );
    text.distribution(&[], &clients.durations);
    text.single(
        "redispatches_total",
        COUNTER,
        "Dials begun because an earlier one for the same client failed or was slow.",
        clients.redispatches,
    );
    text.by(
        "threads_lost_total",
        "Times that a thread ended which the gateway cannot do without, and was started again.",
        "thread",
        &snapshot.threads_lost,
    );
    text.single(
        "log_lines_dropped_total",
        COUNTER,
        "Log lines that were lost because nobody read stderr in time.",
        snapshot.log_lines_dropped,
    );
    text.single(
        "access_log_lines_dropped_total",
        COUNTER,
        "Lines of the access log that were lost because they could not be written in time.",
        snapshot.access_log_lines_dropped,
    );
}

fn endpoints(text: &mut Text, snapshot: &Snapshot) {
    let all: Vec<(String, &View)> = snapshot
        .endpoints
        .iter()
        .map(|view| (view.endpoint.addr.to_string(), view))
        .collect();
    // What has left the set is not down: nobody waits for it, and no alert shall.
    let members = || {
        all.iter()
            .filter(|(_, view)| view.status != Status::Removed)
    };
    let mut is = |name, help, read: fn(&View) -> bool| {
        text.family(name, GAUGE, help);
        for (addr, view) in members() {
            text.sample("", &[("address", addr)], u8::from(read(view)));
        }
    };
    is(
        "endpoint_up",
        "1 if the endpoint is active, slow or draining, 0 if not; of those in the set.",
        |view| view.status.is_active(),
    );
    is(
        "endpoint_healthy",
        "0 if the endpoint is silent or unhealthy, 1 if not; of those in the set.",
        |view| !view.status.is_doubted(),
    );
    is(
        "endpoint_draining",
        "1 if the endpoint is to get no new client while others serve, whatever its state; of those in the set.",
        |view| view.endpoint.drains,
    );
    text.family(
        "endpoint_state",
        GAUGE,
        "Always 1; the label tells the state that the endpoint is in.",
    );
    for (addr, view) in &all {
        let labels = [("address", addr.as_str()), ("state", view.status.name())];
        text.sample("", &labels, 1);
    }
    text.family(
        "endpoint_last_answer_timestamp_seconds",
        GAUGE,
        "When the endpoint last answered a dial, a proof, a probe, a health check or a new client; 0 if never.",
    );
    for (addr, view) in members() {
        let last = view
            .ledger
            .last_answer()
            .map_or(Duration::ZERO, |at| snapshot.now.date_of(at));
        text.sample("", &[("address", addr)], Seconds(last));
    }
    let mut each = |name, kind, help, read: fn(&View) -> u64| {
        text.family(name, kind, help);
        for (addr, view) in &all {
            text.sample("", &[("address", addr)], read(view));
        }
    };
    each(
        "endpoint_connections_active",
        GAUGE,
        "Clients that are connected to the endpoint.",
        |view| view.ledger.open(),
    );
    each(
        "endpoint_connections_total",
        COUNTER,
        "Clients that were connected to the endpoint.",
        |view| view.ledger.connections.get(),
    );
    each(
        "endpoint_unanswered_total",
        COUNTER,
        "Clients that waited for the first answer of the endpoint for longer than --answer-timeout.",
        |view| view.ledger.unanswered.get(),
    );
    let mut by = |name, help, label, read: fn(&View) -> Vec<(&'static str, u64)>| {
        text.family(name, COUNTER, help);
        for (addr, view) in &all {
            for (value, count) in read(view) {
                text.sample("", &[("address", addr), (label, value)], count);
            }
        }
    };
    by(
        "endpoint_probes_total",
        "Times that the endpoint was asked because a client had waited, or it was silent, by result.",
        "result",
        |view| view.ledger.probes().collect(),
    );
    by(
        "endpoint_health_checks_total",
        "Health checks of the endpoint, by result.",
        "result",
        |view| view.ledger.checks().collect(),
    );
    by(
        "endpoint_bytes_total",
        "Bytes passed on, by endpoint and direction; those of open connections included.",
        "direction",
        |view| {
            let (to_endpoint, to_client) = (&view.ledger.to_endpoint, &view.ledger.to_client);
            let bytes = [("to_endpoint", to_endpoint), ("to_client", to_client)];
            bytes.map(|(name, lane)| (name, lane.get())).into()
        },
    );
    by(
        "endpoint_dials_total",
        "Attempts to connect to the endpoint, those to authenticate it included, by result.",
        "result",
        |view| view.ledger.dials().collect(),
    );
    by(
        "endpoint_transitions_total",
        "Changes of the endpoint's state, by the state that it changed to.",
        "to",
        |view| view.ledger.transitions().collect(),
    );
    text.family(
        "endpoint_info",
        GAUGE,
        "Always 1; the labels tell what named the endpoint, and how.",
    );
    for (addr, view) in &all {
        let (name, source) = (&view.endpoint.name, view.endpoint.source.name());
        let labels = [
            ("address", addr.as_str()),
            ("name", name),
            ("source", source),
        ];
        text.sample("", &labels, 1);
    }
    text.family(
        "endpoint_dial_duration_seconds",
        HISTOGRAM,
        "How long the endpoint took to answer a dial, of those that it answered.",
    );
    for (addr, view) in &all {
        text.distribution(&[("address", addr)], &view.ledger.dial_time.read());
    }
    text.family(
        "endpoint_downtime_seconds_total",
        COUNTER,
        "How long the endpoint was not up while in the set, the present spell included.",
    );
    for (addr, view) in &all {
        let downtime = view.ledger.downtime(snapshot.now.instant());
        text.sample("", &[("address", addr)], Seconds(downtime));
    }
    text.family(
        "endpoint_certificate_expiry_timestamp_seconds",
        GAUGE,
        "When the certificate expires by which the endpoint last proved itself; of those in the set.",
    );
    for (addr, view) in members() {
        if let Some(not_after) = view.ledger.not_after() {
            text.sample("", &[("address", addr)], not_after);
        }
    }
}

fn discovery(text: &mut Text, snapshot: &Snapshot) {
    text.single(
        "discovery_endpoints",
        GAUGE,
        "Endpoints that are known now.",
        snapshot.census().0,
    );
    text.by(
        "discovery_refreshes_total",
        "Times that endpoints were looked for, by result.",
        "result",
        &snapshot.discovery.refreshes,
    );
    text.family(
        "discovery_last_success_timestamp_seconds",
        GAUGE,
        "When everything about endpoints that was asked for was last answered; 0 if it never was.",
    );
    let last = snapshot.discovery.last_success;
    let last = last.map_or(Duration::ZERO, |at| snapshot.now.date_of(at));
    text.sample("", &[], Seconds(last));
    text.single(
        "discovery_problems",
        GAUGE,
        "What there is trouble with now, as in /endpoints.",
        snapshot.problems.len(),
    );
}

/// The names and words that every client library of Prometheus has.
fn process(text: &mut Text, snapshot: &Snapshot, usage: &Usage) {
    let mut whole = |name, help, value: Option<u64>| {
        if let Some(value) = value {
            text.family(name, GAUGE, help);
            text.sample("", &[], value);
        }
    };
    whole(
        "process_open_fds",
        "Number of open file descriptors.",
        usage.open_descriptors,
    );
    whole(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        usage.max_descriptors,
    );
    whole(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        usage.resident_memory,
    );
    whole(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        usage.virtual_memory,
    );
    whole(
        "process_threads",
        "Number of OS threads in the process.",
        usage.threads,
    );
    if let Some(time) = usage.processor_time {
        text.single(
            "process_cpu_seconds_total",
            COUNTER,
            "Total user and system CPU time spent in seconds.",
            Seconds(time),
        );
    }
    text.single(
        "process_start_time_seconds",
        GAUGE,
        "Start time of the process since unix epoch in seconds.",
        Seconds(snapshot.now.date_of(snapshot.started)),
    );
}

/// A span in seconds, exactly, without an exponent and without trailing zeros.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.subsec_micros();
        match micros {
            0 => write!(f, "{}", self.0.as_secs()),
            _ => {
                let fraction = format!("{micros:06}");
                write!(f, "{}.{}", self.0.as_secs(), fraction.trim_end_matches('0'))
            }
        }
    }
}

/// The exposition as far as it is written.
#[derive(Default)]
struct Text {
    written: String,
    /// The family that samples belong to.
    family: String,
}

impl Text {
    /// Begins a family. What is not of the process is of this program.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.family = if name.starts_with("process_") {
            name.to_owned()
        } else {
            format!("etcd_gateway_{name}")
        };
        // Writing to a String cannot fail.
        let _ = write!(
            self.written,
            "# HELP {} {help}\n# TYPE {} {kind}\n",
            self.family, self.family
        );
    }

    /// A sample of the family; `suffix` belongs to the name.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.written, "{}{suffix}", self.family);
        for (index, (name, label)) in labels.iter().enumerate() {
            let opening = if index == 0 { '{' } else { ',' };
            let _ = write!(self.written, "{opening}{name}=\"{}\"", Label(label));
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.written, "{closing} {value}");
    }

    /// A family of one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample("", &[], value);
    }

    /// A family of counters with one label.
    fn by(&mut self, name: &str, help: &str, label: &str, counts: &[(&str, u64)]) {
        self.family(name, COUNTER, help);
        for (value, count) in counts {
            self.sample("", &[(label, value)], count);
        }
    }

    fn distribution(&mut self, labels: &[(&str, &str)], distribution: &Distribution) {
        let mut bucket = |bound: &str, count| {
            let labels = [labels, &[("le", bound)]].concat();
            self.sample("_bucket", &labels, count);
        };
        for (bound, count) in &distribution.buckets {
            bucket(&Seconds(*bound).to_string(), *count);
        }
        bucket("+Inf", distribution.count);
        self.sample("_sum", labels, Seconds(distribution.sum));
        self.sample("_count", labels, distribution.count);
    }
}

/// The value of a label: backslash, quote and line feed are escaped, and nothing else.
struct Label<'a>(&'a str);

impl Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out() {
        let mut text = Text::default();
        text.family("x", GAUGE, "y");
        text.sample("", &[("a", "q\"b\\n\n} 1\u{e9}"), ("b", "")], 2);
        assert_eq!(
            text.written,
            "# HELP etcd_gateway_x y\n# TYPE etcd_gateway_x gauge\n\
             etcd_gateway_x{a=\"q\\\"b\\\\n\\n} 1\u{e9}\",b=\"\"} 2\n"
        );
    }

    #[test]
    fn seconds_are_exact() {
        for (nanos, text) in [
            (0, "0"),
            (1_000, "0.000001"),
            (250_000, "0.00025"),
            (2_500_000_000, "2.5"),
            (86_400_000_000_000, "86400"),
        ] {
            assert_eq!(Seconds(Duration::from_nanos(nanos)).to_string(), text);
        }
    }

    #[test]
    fn a_histogram_ends_with_all() {
        let mut text = Text::default();
        let distribution = Distribution {
            buckets: vec![(Duration::from_millis(1), 2), (Duration::from_secs(1), 3)],
            count: 5,
            sum: Duration::from_millis(7_250),
        };
        text.family("x", HISTOGRAM, "y");
        text.distribution(&[("a", "b")], &distribution);
        let samples: Vec<&str> = text.written.lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                "etcd_gateway_x_bucket{a=\"b\",le=\"0.001\"} 2",
                "etcd_gateway_x_bucket{a=\"b\",le=\"1\"} 3",
                "etcd_gateway_x_bucket{a=\"b\",le=\"+Inf\"} 5",
                "etcd_gateway_x_sum{a=\"b\"} 7.25",
                "etcd_gateway_x_count{a=\"b\"} 5",
            ]
        );
    }
}
