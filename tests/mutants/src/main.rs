//! Would the tests notice? Changes the product in one place at a time, and runs the tests until one fails.
//!
//! The changes stand in `tests/mutants/*.txt` ([`entries`]), by hand, each with what a user would see of it. All of
//! them go into one copy of the product, each behind a condition ([`apply`]), which is built once ([`tree`]). An
//! environment variable chooses one for a run of a test ([`run`]). Only tests that reach a change are run with it, each in
//! a process of its own, unit tests first, the quickest first.
//!
//! `make mutants` runs it; `make check` has it look whether every entry still fits the code (`check`).

mod apply;
mod entries;
mod report;
mod run;
mod tree;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use entries::Entry;
use report::Report;
use run::{Runner, Verdict};

const USAGE: &str = "\
usage: etcd-gateway-mutants [check | list | run] [option]...

  --only A,B    only these modules or ids of changes
  --tests PART  only tests whose names contain this, where it is known which ones matter
  --jobs N      tests at a time, 8 if not given
";

#[derive(Debug, PartialEq)]
struct Options {
    command: String,
    only: Vec<String>,
    tests: String,
    jobs: usize,
}

impl Options {
    /// An empty value is one that was not given: the Makefile passes its variables as they are.
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
        let command = arguments.next().unwrap_or("run".to_owned());
        let (only, tests) = (Vec::new(), String::new());
        let mut options = Options {
            command,
            only,
            tests,
            jobs: 8,
        };
        while let Some(flag) = arguments.next() {
            let value = arguments.next()?;
            match flag.as_str() {
                "--only" if !value.is_empty() => {
                    options.only = value.split(',').map(str::to_owned).collect();
                }
                "--tests" => options.tests = value,
                "--jobs" if !value.is_empty() => options.jobs = value.parse().ok()?,
                "--only" | "--jobs" => {}
                _ => return None,
            }
        }
        ["check", "list", "run"]
            .contains(&options.command.as_str())
            .then_some(options)
    }

    fn wants(&self, entry: &Entry) -> bool {
        let named = |name: &String| {
            let part = entry.module().strip_prefix(name.as_str());
            entry.id == *name || part.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.only.is_empty() || self.only.iter().any(named)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mutants: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    // Of the checkout in which it runs, which need not be the one in which it was built.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run it with `cargo run`")?;
    let here = Path::new(&here);
    let top = here
        .join("../..")
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let mut entries = entries::read(here).map_err(|wrong| wrong.join("\n"))?;
    let changed = tree::change(&top, &mut entries).map_err(|wrong| wrong.join("\n"))?;
    let wanted = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| options.wants(entry));
    let wanted: Vec<(usize, &Entry)> = wanted.collect();
    if wanted.is_empty() {
        return Err(format!("no entry is of {}", options.only.join(" or ")));
    }
    match options.command.as_str() {
        "check" => {
            println!("mutants: {} entries fit the code", entries.len());
            return Ok(true);
        }
        "list" => {
            for (_, entry) in &wanted {
                println!("{}", report::describe(entry));
            }
            return Ok(true);
        }
        _ => {}
    }

    println!("building the product with {} changes", entries.len());
    let built = tree::build(&top, &here.join("target/tree"), &entries, &changed)?;
    println!("running the tests without a change");
    let mut runner = Runner::new(built, options.jobs, run::vectors(&top), &options.tests)?;
    println!("{} tests", runner.count());
    for name in runner.useless() {
        println!("  ignored, since it fails without a change: {name}");
    }
    let mut report = Report::default();
    let counted = wanted
        .iter()
        .filter(|(_, entry)| !entry.equivalent())
        .count();
    for (number, entry) in wanted {
        if entry.equivalent() {
            report.add(entry, None);
            continue;
        }
        let start = Instant::now();
        let verdict = runner.judge(number, &entry.id);
        let said = match &verdict {
            Verdict::Noticed { suite, by, hangs } => format!(
                "noticed by {by} ({}{})",
                if *suite { "suite" } else { "unit" },
                if *hangs { ", which hangs" } else { "" }
            ),
            Verdict::Survives { tests } => format!("SURVIVES {tests} tests"),
            Verdict::NotReached => "SURVIVES, no test reaches it".to_owned(),
        };
        report.add(entry, Some(verdict));
        let (done, took) = (report.counted(), start.elapsed().as_secs_f32());
        println!("[{done}/{counted}] {} {said} in {took:.1} s", entry.id);
    }
    println!("\n{report}");
    Ok(report.enough(options.only.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Options> {
        Options::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn options() {
        let options = parsed("run --only dns,sys-01 --jobs 3 --tests a::b").unwrap();
        let expected = Options {
            command: "run".to_owned(),
            only: vec!["dns".to_owned(), "sys-01".to_owned()],
            tests: "a::b".to_owned(),
            jobs: 3,
        };
        assert_eq!(options, expected);
        assert_eq!(parsed("run --only  --jobs "), parsed("run"));
        for wrong in ["fly", "run --jobs x", "run --only", "run --fast 1"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn modules_and_ids_choose_entries() {
        let options = parsed("run --only proxy,sys-01").unwrap();
        let wants = |id: &str, file: &str| {
            let (id, file) = (id.to_owned(), file.to_owned());
            options.wants(&Entry {
                id,
                file,
                ..Entry::default()
            })
        };
        assert!(wants("proxy-01", "src/proxy/mod.rs"));
        assert!(wants("relay-01", "src/proxy/relay/mod.rs"));
        assert!(wants("sys-01", "src/sys/mod.rs"));
        assert!(!wants("sys-02", "src/sys/mod.rs"));
    }
}
