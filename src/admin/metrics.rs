//! `/metrics`: the text format of Prometheus, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Each metric is one entry of [`FAMILIES`]: its name, its help, and how its samples are read from a [`Snapshot`]. The
//! name follows the conventions that `promtool check metrics` checks, and so says the type. Every label has
//! a closed set of values, except those of endpoints, of which there are at most 1024 and those that were removed
//! and still have connections. No label names a client.

use std::fmt::{self, Display, Write};
use std::time::{Duration, Instant};

use super::snapshot::Snapshot;
use crate::date::Now;
use crate::endpoint::pool::view::View;
use crate::endpoint::state::EndpointState;
use crate::stats::Distribution;
use crate::sys::usage::Usage;

/// What a scraper has to know of the content.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Samples of one name.
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

impl Family {
    /// The type, which follows from the unit and the suffix that the conventions give a name.
    fn kind(&self) -> &'static str {
        match self.name {
            name if name.ends_with("_total") => "counter",
            name if name.ends_with("_duration_seconds") => "histogram",
            _ => "gauge",
        }
    }
}

/// Where the samples of a family come from.
enum Samples {
    Gateway(fn(&mut Writer, &Snapshot)),
    /// For each endpoint, also for those that were removed and still have connections.
    Endpoint(fn(&mut Writer, &View, Now)),
    /// For each endpoint of the set: a removed one is not down, and no alert may wait for it.
    Member(fn(&mut Writer, &View, Now)),
    /// One value; the family is omitted where the kernel does not provide it.
    Process(fn(&Usage) -> Option<String>),
}

use Samples::{Endpoint, Gateway, Member, Process};

/// All metrics, in the order in which they are written.
const FAMILIES: &[Family] = &[
    Family {
        name: "build_info",
        help: "Always 1; the label is the version.",
        samples: Gateway(|to, gateway| to.by("version", [(gateway.version, 1)])),
    },
    Family {
        name: "draining",
        help: "1 once the gateway is ending, 0 before.",
        samples: Gateway(|to, gateway| to.value(u8::from(gateway.draining))),
    },
    Family {
        name: "reloads_total",
        help: "Reloads of the service, by result.",
        samples: Gateway(|to, gateway| {
            let reloads = &gateway.reloads;
            let results = [("success", reloads.succeeded), ("failure", reloads.failed)];
            to.by("result", results);
        }),
    },
    Family {
        name: "draining_processes",
        help: "Processes that served before a reload and still have connections.",
        samples: Gateway(|to, gateway| to.value(gateway.reloads.draining_processes)),
    },
    Family {
        name: "draining_connections",
        help: "Connections of these processes, which no other metric counts.",
        samples: Gateway(|to, gateway| to.value(gateway.reloads.draining_connections)),
    },
    Family {
        name: "connections_total",
        help: "Clients accepted, including those rejected afterwards.",
        samples: Gateway(|to, gateway| to.value(gateway.clients.accepted)),
    },
    Family {
        name: "connections_active",
        help: "Clients that are connected now.",
        samples: Gateway(|to, gateway| to.value(gateway.clients.active)),
    },
    Family {
        name: "max_connections",
        help: "Clients that may be connected at the same time.",
        samples: Gateway(|to, gateway| to.value(gateway.clients.max)),
    },
    Family {
        name: "connections_rejected_total",
        help: "Clients accepted and then reset, by reason.",
        samples: Gateway(|to, gateway| to.by("reason", gateway.clients.rejected.iter().copied())),
    },
    Family {
        name: "accept_errors_total",
        help: "Failures to accept a client, by error.",
        samples: Gateway(|to, gateway| {
            to.by("errno", gateway.clients.accept_errors.iter().copied())
        }),
    },
    Family {
        name: "connections_ended_total",
        help: "Connections that have ended and were not rejected, by cause.",
        samples: Gateway(|to, gateway| to.by("cause", gateway.clients.ended.iter().copied())),
    },
    Family {
        name: "connection_duration_seconds",
        help: "Duration of client connections that have ended, excluding rejected ones.",
        samples: Gateway(|to, gateway| to.distribution(&gateway.clients.durations)),
    },
    Family {
        name: "redispatches_total",
        help: "Dials begun because an earlier one for the same client failed or was slow.",
        samples: Gateway(|to, gateway| to.value(gateway.clients.redispatches)),
    },
    Family {
        name: "threads_lost_total",
        help: "Times that a thread which the gateway needs has ended and was started again.",
        samples: Gateway(|to, gateway| to.by("thread", gateway.threads_lost.iter().copied())),
    },
    Family {
        name: "log_lines_dropped_total",
        help: "Log lines lost because stderr was not read in time.",
        samples: Gateway(|to, gateway| to.value(gateway.log_lines_dropped)),
    },
    Family {
        name: "access_log_lines_dropped_total",
        help: "Lines of the access log lost because they could not be written in time.",
        samples: Gateway(|to, gateway| to.value(gateway.access_log_lines_dropped)),
    },
    Family {
        name: "endpoint_up",
        help: "1 if the endpoint is active, slow or draining, otherwise 0; only endpoints in the set.",
        samples: Member(|to, view, _| to.value(u8::from(view.state.is_active()))),
    },
    Family {
        name: "endpoint_healthy",
        help: "0 if the endpoint is silent or unhealthy, otherwise 1; only endpoints in the set.",
        samples: Member(|to, view, _| to.value(u8::from(!view.state.is_doubted()))),
    },
    Family {
        name: "endpoint_draining",
        help: "1 if the endpoint is to get no new client while others serve, whatever its state; only endpoints in the set.",
        samples: Member(|to, view, _| to.value(u8::from(view.endpoint.drains))),
    },
    Family {
        name: "endpoint_state",
        help: "Always 1; the label is the state of the endpoint.",
        samples: Endpoint(|to, view, _| to.by("state", [(view.state.name(), 1)])),
    },
    Family {
        name: "endpoint_last_answer_timestamp_seconds",
        help: "When the endpoint last answered a dial, an authentication, a probe, a health check or a new client; 0 if never.",
        samples: Member(|to, view, now| to.date(now, view.stats.last_answer())),
    },
    Family {
        name: "endpoint_connections_active",
        help: "Clients that are connected to the endpoint.",
        samples: Endpoint(|to, view, _| to.value(view.stats.open())),
    },
    Family {
        name: "endpoint_connections_total",
        help: "Clients that were connected to the endpoint.",
        samples: Endpoint(|to, view, _| to.value(view.stats.connections.get())),
    },
    Family {
        name: "endpoint_unanswered_total",
        help: "Clients that waited for the first answer of the endpoint for longer than --answer-timeout.",
        samples: Endpoint(|to, view, _| to.value(view.stats.unanswered.get())),
    },
    Family {
        name: "endpoint_probes_total",
        help: "Probes of the endpoint, sent because a client had waited or the endpoint was silent, by result.",
        samples: Endpoint(|to, view, _| to.by("result", view.stats.probes.read())),
    },
    Family {
        name: "endpoint_health_checks_total",
        help: "Health checks of the endpoint, by result.",
        samples: Endpoint(|to, view, _| to.by("result", view.stats.checks.read())),
    },
    Family {
        name: "endpoint_bytes_total",
        help: "Bytes relayed, by endpoint and direction, including those of open connections.",
        samples: Endpoint(|to, view, _| {
            let (to_endpoint, to_client) = (&view.stats.to_endpoint, &view.stats.to_client);
            let bytes = [("to_endpoint", to_endpoint), ("to_client", to_client)];
            to.by("direction", bytes.map(|(name, lane)| (name, lane.get())));
        }),
    },
    Family {
        name: "endpoint_dials_total",
        help: "Attempts to connect to the endpoint, including those that authenticate it, by result.",
        samples: Endpoint(|to, view, _| to.by("result", view.stats.dials.read())),
    },
    Family {
        name: "endpoint_transitions_total",
        help: "Changes of the endpoint's state, by the new state.",
        samples: Endpoint(|to, view, _| to.by("to", view.stats.transitions.read())),
    },
    Family {
        name: "endpoint_info",
        help: "Always 1; the labels are the name of the endpoint and its source.",
        samples: Endpoint(|to, view, _| {
            let (name, source) = (&view.endpoint.name, view.endpoint.source.name());
            to.sample("", &[("name", name), ("source", source)], 1);
        }),
    },
    Family {
        name: "endpoint_dial_duration_seconds",
        help: "How long the endpoint took to answer a dial; only dials that it answered.",
        samples: Endpoint(|to, view, _| to.distribution(&view.stats.dial_time.read())),
    },
    Family {
        name: "endpoint_downtime_seconds_total",
        help: "How long the endpoint was not up while in the set, including the present downtime.",
        samples: Endpoint(|to, view, now| to.value(Seconds(view.stats.downtime(now.instant())))),
    },
    Family {
        name: "endpoint_certificate_expiry_timestamp_seconds",
        help: "When the certificate expires that last authenticated the endpoint; only endpoints in the set.",
        samples: Member(|to, view, _| {
            if let Some(not_after) = view.stats.not_after() {
                to.value(not_after);
            }
        }),
    },
    Family {
        name: "discovery_endpoints",
        help: "Endpoints in the set.",
        samples: Gateway(|to, gateway| to.value(gateway.census().0)),
    },
    Family {
        name: "discovery_refreshes_total",
        help: "Refreshes of the set of endpoints, by result.",
        samples: Gateway(|to, gateway| {
            to.by("result", gateway.discovery.refreshes.iter().copied())
        }),
    },
    Family {
        name: "discovery_last_success_timestamp_seconds",
        help: "When the last refresh ended in which every query was answered; 0 if there was none.",
        samples: Gateway(|to, gateway| to.date(gateway.now, gateway.discovery.last_success)),
    },
    Family {
        name: "discovery_problems",
        help: "Number of present problems, as in /endpoints.",
        samples: Gateway(|to, gateway| to.value(gateway.problems.len())),
    },
    Family {
        name: "process_open_fds",
        help: "Number of open file descriptors.",
        samples: Process(|usage| usage.open_descriptors.map(|value| value.to_string())),
    },
    Family {
        name: "process_max_fds",
        help: "Maximum number of open file descriptors.",
        samples: Process(|usage| usage.max_descriptors.map(|value| value.to_string())),
    },
    Family {
        name: "process_resident_memory_bytes",
        help: "Resident memory size in bytes.",
        samples: Process(|usage| usage.resident_memory.map(|value| value.to_string())),
    },
    Family {
        name: "process_virtual_memory_bytes",
        help: "Virtual memory size in bytes.",
        samples: Process(|usage| usage.virtual_memory.map(|value| value.to_string())),
    },
    Family {
        name: "process_threads",
        help: "Number of OS threads in the process.",
        samples: Process(|usage| usage.threads.map(|value| value.to_string())),
    },
    Family {
        name: "process_cpu_seconds_total",
        help: "Total user and system CPU time spent in seconds.",
        samples: Process(|usage| usage.processor_time.map(|time| Seconds(time).to_string())),
    },
    Family {
        name: "process_start_time_seconds",
        help: "Start time of the process since unix epoch in seconds.",
        samples: Gateway(|to, gateway| to.date(gateway.now, Some(gateway.started))),
    },
];

/// All metrics as text.
pub(super) fn render(snapshot: &Snapshot, usage: &Usage) -> String {
    let views = snapshot.endpoints.iter();
    let endpoints = views.map(|view| (view.endpoint.addr.to_string(), view));
    let endpoints: Vec<(String, &View)> = endpoints.collect();
    let mut to = Writer::default();
    for family in FAMILIES {
        match family.samples {
            Gateway(write) => {
                to.begin(family);
                write(&mut to, snapshot);
            }
            Endpoint(write) | Member(write) => {
                to.begin(family);
                let in_set_only = matches!(family.samples, Member(_));
                for (address, view) in &endpoints {
                    if !in_set_only || view.state != EndpointState::Removed {
                        to.address.clone_from(address);
                        write(&mut to, view, snapshot.now);
                    }
                }
            }
            Process(read) => {
                if let Some(value) = read(usage) {
                    to.begin(family);
                    to.value(value);
                }
            }
        }
    }
    to.text
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

/// Writes the samples of one family after the other.
#[derive(Default)]
struct Writer {
    text: String,
    /// The name of the family.
    name: String,
    /// The first label of each sample of an endpoint; otherwise empty.
    address: String,
}

impl Writer {
    /// Begins a family. Each name begins with that of this program, but for those of the process.
    fn begin(&mut self, family: &Family) {
        let (name, kind, help) = (family.name, family.kind(), family.help);
        let is_process = name.starts_with("process_");
        let prefix = if is_process { "" } else { "etcd_gateway_" };
        self.name = format!("{prefix}{name}");
        self.address.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            "# HELP {0} {help}\n# TYPE {0} {kind}\n",
            self.name
        );
    }

    /// A sample of the family; `suffix` belongs to the name.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let address = ("address", self.address.as_str());
        let address = (!self.address.is_empty()).then_some(address);
        let _ = write!(self.text, "{}{suffix}", self.name);
        let mut opening = '{';
        for (name, label) in address.iter().chain(labels) {
            let _ = write!(self.text, "{opening}{name}=\"{}\"", Label(label));
            opening = ',';
        }
        let closing = if opening == '{' { "" } else { "}" };
        let _ = writeln!(self.text, "{closing} {value}");
    }

    fn value(&mut self, value: impl Display) {
        self.sample("", &[], value);
    }

    /// One sample for each value of a label.
    fn by<'a>(&mut self, label: &str, counts: impl IntoIterator<Item = (&'a str, u64)>) {
        for (value, count) in counts {
            self.sample("", &[(label, value)], count);
        }
    }

    /// The time of an event, 0 if it never happened.
    fn date(&mut self, now: Now, event: Option<Instant>) {
        self.value(Seconds(
            event.map_or(Duration::ZERO, |event| now.date_of(event)),
        ));
    }

    fn distribution(&mut self, distribution: &Distribution) {
        for (bound, count) in &distribution.buckets {
            let bound = Seconds(*bound).to_string();
            self.sample("_bucket", &[("le", &bound)], count);
        }
        self.sample("_bucket", &[("le", "+Inf")], distribution.count);
        self.sample("_sum", &[], Seconds(distribution.sum));
        self.sample("_count", &[], distribution.count);
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

    fn begun() -> Writer {
        let mut to = Writer::default();
        to.begin(&Family {
            name: "x",
            help: "y",
            samples: Process(|_| None),
        });
        to
    }

    #[test]
    fn labels_are_escaped() {
        let mut to = begun();
        to.sample("", &[("a", "q\"b\\n\n} 1\u{e9}"), ("b", "")], 2);
        assert_eq!(
            to.text,
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
    fn a_histogram_ends_with_the_total() {
        let mut to = begun();
        to.address = "b".to_owned();
        to.distribution(&Distribution {
            buckets: vec![(Duration::from_millis(1), 2), (Duration::from_secs(1), 3)],
            count: 5,
            sum: Duration::from_millis(7_250),
        });
        let samples: Vec<&str> = to.text.lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                "etcd_gateway_x_bucket{address=\"b\",le=\"0.001\"} 2",
                "etcd_gateway_x_bucket{address=\"b\",le=\"1\"} 3",
                "etcd_gateway_x_bucket{address=\"b\",le=\"+Inf\"} 5",
                "etcd_gateway_x_sum{address=\"b\"} 7.25",
                "etcd_gateway_x_count{address=\"b\"} 5",
            ]
        );
    }
}
