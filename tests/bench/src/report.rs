//! The tables: of each load the medians of all peers and their ratios to one of them, the goals, and the change since
//! an earlier run.

use std::fmt::Write;

use crate::goals;
use crate::load::Metric;
use crate::results::{Earlier, Results};
use crate::stats::Spread;

/// All loads as tables.
pub fn tables(results: &Results) -> String {
    let mut text = String::new();
    for (index, load) in results.loads.iter().enumerate() {
        let metrics = load.kind.metrics();
        let mut rows = vec![vec![load.name.clone()]];
        for metric in metrics {
            rows[0].push(format!("{}, {}", metric.name, metric.unit));
            rows[0].push("ratio".to_owned());
        }
        for (peer, name) in results.peers.iter().enumerate() {
            let mut row = vec![name.clone()];
            for metric in metrics {
                row.push(shown(results.spread(index, peer, metric).map(|s| s.median)));
                row.push(ratio(
                    results,
                    name,
                    results.ratio(index, peer, &results.base, metric),
                ));
            }
            if row[1..].iter().any(|cell| !cell.is_empty()) {
                rows.push(row);
            }
        }
        writeln!(text, "{}\n{}", load.kind.about(), aligned(&rows)).ok();
    }
    text
}

/// The goals of which there is a measurement; nothing if there are none.
pub fn goals(results: &Results, gateways: &[String]) -> String {
    let rows = goals::rows(results, gateways);
    match rows.is_empty() {
        true => String::new(),
        false => format!("goals, by the medians\n{}", aligned(&rows)),
    }
}

/// What has changed since an earlier run: medians, and ratios, which another day on the same host changes less.
pub fn changes(results: &Results, earlier: &Earlier) -> String {
    let mut rows = vec![
        [
            "load",
            "metric",
            "peer",
            "then",
            "now",
            "change",
            "",
            "ratio then",
            "now",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (index, load) in results.loads.iter().enumerate() {
        for metric in load.kind.metrics() {
            for (peer, name) in results.peers.iter().enumerate() {
                let now = results.spread(index, peer, metric).map(|s| s.median);
                let then = earlier.median(&load.name, metric.name, name);
                let (Some(now), Some(then)) = (now, then) else {
                    continue;
                };
                let ratio_now = results.ratio(index, peer, &results.base, metric);
                rows.push(vec![
                    load.name.clone(),
                    format!("{}, {}", metric.name, metric.unit),
                    name.clone(),
                    shown(Some(then)),
                    shown(Some(now)),
                    format!("{:+.1} %", (now / then - 1.0) * 100.0),
                    verdict(metric, now / then).to_owned(),
                    short_ratio(earlier.ratio(&load.name, metric.name, name)),
                    short_ratio(ratio_now.map(|s| s.median)),
                ]);
            }
        }
    }
    aligned(&rows)
}

/// Changes below this are what two runs of the same program differ by.
const NOISE: f64 = 0.05;

fn verdict(metric: &Metric, change: f64) -> &'static str {
    match change - 1.0 {
        change if change.abs() < NOISE => "",
        change if (change > 0.0) == metric.more => "better",
        _ => "worse",
    }
}

/// The ratio and its quartiles.
fn ratio(results: &Results, peer: &str, spread: Option<Spread>) -> String {
    match spread {
        Some(_) if peer == results.base => "1".to_owned(),
        Some(Spread { low, median, high }) if low == high => format!("{median:.2}"),
        Some(Spread { low, median, high }) => format!("{median:.2} ({low:.2}-{high:.2})"),
        None => String::new(),
    }
}

fn short_ratio(ratio: Option<f64>) -> String {
    ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default()
}

/// Three significant digits at least, none after the point that say nothing.
fn shown(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.abs() >= 100.0 => grouped(value),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 || value == 0.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(line, "  {cell:<width$}").ok(),
                _ => write!(line, "  {cell:>width$}").ok(),
            };
        }
        writeln!(text, "{}", line.trim_end()).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_the_digits_that_matter() {
        for (value, expected) in [
            (0.0, "0.00"),
            (0.1234, "0.123"),
            (1.236, "1.24"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234567.0, "1,234,567"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(shown(Some(value)), expected);
        }
        assert_eq!(shown(None), "");
    }

    #[test]
    fn a_change_is_judged_by_what_is_better() {
        let metrics = crate::load::all()[0].kind.metrics();
        let (rate, latency) = (&metrics[0], &metrics[1]);
        assert_eq!(verdict(rate, 1.2), "better");
        assert_eq!(verdict(rate, 0.8), "worse");
        assert_eq!(verdict(latency, 1.2), "worse");
        assert_eq!(verdict(latency, 1.01), "");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".to_owned(), "10".to_owned()],
            vec!["bcd".to_owned(), "µ".to_owned()],
        ];
        assert_eq!(aligned(&rows), "  a    10\n  bcd   µ\n");
    }
}
