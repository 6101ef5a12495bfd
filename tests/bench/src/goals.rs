//! What this gateway is meant to reach, and whether it did.

use crate::peers::{METRICS, REFERENCE};
use crate::results::Results;

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};

struct Goal {
    /// The peer it is for; without one each build of the gateway.
    of: Option<&'static str>,
    load: &'static str,
    metric: &'static str,
    /// A ratio to this peer; without one the value itself.
    to: Option<&'static str>,
    bound: Bound,
}

const fn ratio(load: &'static str, metric: &'static str, to: &'static str, bound: Bound) -> Goal {
    Goal {
        of: None,
        load,
        metric,
        to: Some(to),
        bound,
    }
}

const fn value(load: &'static str, metric: &'static str, bound: Bound) -> Goal {
    Goal {
        of: None,
        load,
        metric,
        to: None,
        bound,
    }
}

/// What serving metrics may cost: a ratio to the same build without them, which `make bench` names so.
const fn cost(load: &'static str, metric: &'static str, bound: Bound) -> Goal {
    Goal {
        of: Some(METRICS),
        ..ratio(load, metric, "gateway", bound)
    }
}

/// Ratios are those of two processors.
const GOALS: &[Goal] = &[
    ratio("bulk-1-up", "speed", REFERENCE, AtLeast(1.4)),
    ratio("bulk-1-up", "speed", "direct", AtLeast(0.8)),
    ratio("bulk-1-up", "cpu", REFERENCE, AtMost(0.45)),
    ratio("bulk-1-down", "speed", REFERENCE, AtLeast(1.4)),
    ratio("bulk-1-down", "speed", "direct", AtLeast(0.8)),
    ratio("bulk-1-down", "cpu", REFERENCE, AtMost(0.45)),
    ratio("bulk-8-up", "cpu", REFERENCE, AtMost(0.45)),
    ratio("bulk-8-down", "cpu", REFERENCE, AtMost(0.45)),
    ratio("exchange-128-1", "p50", REFERENCE, AtMost(0.7)),
    ratio("exchange-128-1", "p99.9", REFERENCE, AtMost(0.4)),
    ratio("exchange-128-16", "rate", REFERENCE, AtLeast(1.3)),
    ratio("exchange-128-16", "cpu", REFERENCE, AtMost(0.7)),
    ratio("exchange-128-16", "rate", "haproxy", AtLeast(1.0)),
    ratio("exchange-128-16", "rate", "nginx", AtLeast(1.0)),
    ratio("exchange-128-16", "p99.9", REFERENCE, AtMost(0.4)),
    ratio("exchange-1024-64", "rate", REFERENCE, AtLeast(1.25)),
    ratio("exchange-1024-64", "p99.9", REFERENCE, AtMost(0.4)),
    ratio("mixed", "p99", REFERENCE, AtMost(0.25)),
    ratio("mixed", "rate", REFERENCE, AtLeast(2.2)),
    ratio("mixed", "p99", "haproxy", AtMost(0.5)),
    ratio("mixed", "rate", "haproxy", AtLeast(2.0)),
    ratio("mixed", "p99", "nginx", AtMost(0.5)),
    ratio("mixed", "rate", "nginx", AtLeast(2.0)),
    ratio("short", "rate", REFERENCE, AtLeast(1.6)),
    ratio("short", "cpu", REFERENCE, AtMost(0.5)),
    value("idle", "alive", AtLeast(9_900.0)),
    value("idle", "system", AtMost(16.0)),
    value("idle", "rss", AtMost(3.0)),
    value("start", "time", AtMost(5.0)),
    value("binary", "size", AtMost(1536.0)),
    cost("exchange-128-16", "rate", AtLeast(0.98)),
    cost("exchange-128-16", "cpu", AtMost(1.02)),
    cost("bulk-1-up", "speed", AtLeast(0.98)),
    cost("bulk-1-up", "cpu", AtMost(1.02)),
    cost("short", "rate", AtLeast(0.98)),
    cost("short", "cpu", AtMost(1.02)),
];

/// A row for each goal of which there is a measurement: what, for which gateway, the goal, the median, the verdict.
pub fn rows(results: &Results, gateways: &[String]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for goal in GOALS {
        let Some(load) = results.loads.iter().position(|load| load.name == goal.load) else {
            continue;
        };
        let metrics = results.loads[load].kind.metrics();
        let Some(metric) = metrics.iter().find(|metric| metric.name == goal.metric) else {
            continue;
        };
        let names: Vec<&str> = match goal.of {
            Some(name) => vec![name],
            None => gateways.iter().map(String::as_str).collect(),
        };
        for gateway in names {
            let Some(peer) = results.peers.iter().position(|name| name == gateway) else {
                continue;
            };
            let spread = match goal.to {
                Some(to) => results.ratio(load, peer, to, metric),
                None => results.spread(load, peer, metric),
            };
            let Some(median) = spread.map(|spread| spread.median) else {
                continue;
            };
            let (sign, bound, reached) = match goal.bound {
                AtLeast(bound) => ("≥", bound, median >= bound),
                AtMost(bound) => ("≤", bound, median <= bound),
            };
            rows.push(vec![
                format!("{} {}", goal.load, goal.metric),
                gateway.to_owned(),
                goal.to
                    .map_or(metric.unit.to_owned(), |to| format!("× {to}")),
                format!("{sign} {bound}"),
                if median >= 100.0 {
                    format!("{median:.0}")
                } else {
                    format!("{median:.2}")
                },
                if reached { "reached" } else { "missed" }.to_owned(),
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_goal_is_of_something_that_is_measured() {
        let loads = crate::load::all();
        for goal in GOALS {
            let load = loads
                .iter()
                .find(|load| load.name == goal.load)
                .expect(goal.load);
            let metrics = load.kind.metrics();
            assert!(
                metrics.iter().any(|metric| metric.name == goal.metric),
                "{}",
                goal.metric
            );
        }
    }

    #[test]
    fn a_goal_is_reached_or_missed_by_the_median() {
        let loads = crate::load::all();
        let short = loads.iter().position(|load| load.name == "short").unwrap();
        let ours = "ours".to_owned();
        let mut results = Results::new(loads, vec![REFERENCE.to_owned(), ours.clone()], REFERENCE);
        results.record(short, 0, 0, Ok(vec![("rate", 100.0), ("cpu", 10.0)]));
        results.record(short, 1, 0, Ok(vec![("rate", 170.0), ("cpu", 6.0)]));
        let rows = rows(&results, &[ours]);
        let verdicts: Vec<&str> = rows.iter().map(|row| row[5].as_str()).collect();
        assert_eq!(verdicts, ["reached", "missed"]);
    }

    #[test]
    fn what_metrics_cost_is_a_goal_of_the_build_that_serves_them() {
        let loads = crate::load::all();
        let short = loads.iter().position(|load| load.name == "short").unwrap();
        let peers = ["gateway", METRICS].map(str::to_owned).to_vec();
        let mut results = Results::new(loads, peers, REFERENCE);
        results.record(short, 0, 0, Ok(vec![("rate", 100.0), ("cpu", 10.0)]));
        results.record(short, 1, 0, Ok(vec![("rate", 99.0), ("cpu", 10.5)]));
        let rows = rows(&results, &["gateway".to_owned()]);
        let told: Vec<[&str; 2]> = rows.iter().map(|row| [&*row[1], &*row[5]]).collect();
        assert_eq!(told, [[METRICS, "reached"], [METRICS, "missed"]]);
    }
}
