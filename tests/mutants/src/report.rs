//! The table by module, and the survivors.

use std::collections::BTreeMap;
use std::fmt;

use crate::entries::Entry;
use crate::run::Verdict;

/// No fewer changes than these are to be tried in a whole run.
const COUNTED_MIN: usize = 236;

/// What share of them is to be noticed, in percent.
fn goal(module: &str) -> usize {
    match module {
        "proxy/relay" => 100,
        _ => 90,
    }
}

#[derive(Debug, Default, PartialEq)]
struct Row {
    counted: usize,
    equivalent: usize,
    unit: usize,
    suite: usize,
}

impl Row {
    fn noticed(&self) -> usize {
        self.unit + self.suite
    }

    fn reaches(&self, goal: usize) -> bool {
        self.noticed() * 100 >= self.counted * goal
    }
}

#[derive(Debug, Default)]
pub struct Report {
    modules: BTreeMap<&'static str, Row>,
    survivors: Vec<String>,
}

/// `ID SEVERITY FILE:LINE (where it is listed): what a user would see`.
pub fn describe(entry: &Entry) -> String {
    let Entry {
        id,
        severity,
        file,
        comment,
        listed,
        line,
        ..
    } = entry;
    format!("{id} {severity} {file}:{line} ({listed}):{comment}")
}

impl Report {
    /// Nothing is known of one that is equivalent.
    pub fn add(&mut self, entry: &Entry, verdict: Option<Verdict>) {
        let row = self.modules.entry(entry.module()).or_default();
        row.counted += usize::from(verdict.is_some());
        match verdict {
            None => row.equivalent += 1,
            Some(Verdict::Noticed { suite: false, .. }) => row.unit += 1,
            Some(Verdict::Noticed { suite: true, .. }) => row.suite += 1,
            Some(Verdict::Survives { .. }) => self.survivors.push(describe(entry)),
            Some(Verdict::NotReached) => {
                self.survivors
                    .push(format!("{} (not reached)", describe(entry)));
            }
        }
    }

    pub fn counted(&self) -> usize {
        self.modules.values().map(|row| row.counted).sum()
    }

    /// Whether every module reaches its goal, and a whole run the number of changes.
    pub fn enough(&self, whole: bool) -> bool {
        let good = self
            .modules
            .iter()
            .all(|(module, row)| row.reaches(goal(module)));
        good && (!whole || self.counted() >= COUNTED_MIN)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let head = ["counted", "equivalent", "unit", "suite", "survive", "score"];
        write!(f, "{:<12}", "module")?;
        head.iter().try_for_each(|name| write!(f, "{name:>11}"))?;
        let mut all = Row::default();
        for (module, row) in &self.modules {
            line(f, module, row)?;
            if !row.reaches(goal(module)) {
                write!(f, "  below {} %", goal(module))?;
            }
            all.counted += row.counted;
            all.equivalent += row.equivalent;
            all.unit += row.unit;
            all.suite += row.suite;
        }
        line(f, "all", &all)?;
        writeln!(f)?;
        self.survivors
            .iter()
            .try_for_each(|survivor| write!(f, "\n{survivor}"))
    }
}

fn line(f: &mut fmt::Formatter, name: &str, row: &Row) -> fmt::Result {
    let survive = row.counted - row.noticed();
    let score = row.noticed() * 100 / row.counted.max(1);
    write!(f, "\n{name:<12}{:>11}{:>11}", row.counted, row.equivalent)?;
    write!(
        f,
        "{:>11}{:>11}{survive:>11}{score:>9} %",
        row.unit, row.suite
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(file: &str, noticed: usize, survive: usize) -> Report {
        let mut report = Report::default();
        let file = file.to_owned();
        let entry = Entry {
            file,
            ..Entry::default()
        };
        report.add(&entry, None);
        for count in 0..noticed {
            let by = String::new();
            let suite = count % 2 == 0;
            report.add(
                &entry,
                Some(Verdict::Noticed {
                    suite,
                    by,
                    hangs: false,
                }),
            );
        }
        for _ in 0..survive {
            report.add(&entry, Some(Verdict::Survives { tests: 1 }));
        }
        report
    }

    #[test]
    fn a_module_reaches_its_goal_or_the_run_fails() {
        let cases = [
            ("src/dns/mod.rs", 9, 1, true),
            ("src/dns/mod.rs", 89, 11, false),
            ("src/proxy/mod.rs", 9, 1, true),
            ("src/proxy/relay/mod.rs", 99, 1, false),
            ("src/proxy/relay/mod.rs", 9, 0, true),
        ];
        for (file, noticed, survive, enough) in cases {
            let report = report(file, noticed, survive);
            assert_eq!(report.enough(false), enough, "{report}");
        }
        assert!(report("src/dns/mod.rs", COUNTED_MIN, 0).enough(true));
        assert!(!report("src/dns/mod.rs", COUNTED_MIN - 1, 0).enough(true));
    }

    #[test]
    fn the_table_has_what_was_noticed_by_whom() {
        let text = report("src/dns/mod.rs", 5, 3).to_string();
        let row = text.lines().find(|line| line.starts_with("dns")).unwrap();
        let row: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(row[..8], ["dns", "8", "1", "2", "3", "3", "62", "%"]);
        assert_eq!(text.matches("src/dns/mod.rs:").count(), 3);
    }
}
