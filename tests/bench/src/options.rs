//! The command line.

use std::path::PathBuf;

use crate::load::Load;
use crate::peers::REFERENCE;

pub const USAGE: &str = "\
usage: etcd-gateway-bench [--gateway NAME=PATH]... [option]...

  --gateway NAME=PATH  a build of the gateway; more than one are compared with each other
  --metrics            the first of them once more, with --metrics-addr, asked for its metrics every second
  --rounds N           rounds, 7 if not given
  --loads A,B          only the loads whose names begin so
  --peers A,B          only the peers whose names begin so
  --base NAME          the peer that ratios are to, `reference` if not given
  --quick              one short round: does all of it work?
  --json PATH          where to save the results
  --compare PATH       results of an earlier run: print what has changed since
  --list               the loads, and the peers that are here
";

/// Enough for a median with quartiles.
const ROUNDS: usize = 7;

#[derive(Debug, Default, PartialEq)]
pub struct Options {
    pub gateways: Vec<(String, PathBuf)>,
    pub metrics: bool,
    pub rounds: usize,
    pub loads: Vec<String>,
    pub peers: Vec<String>,
    pub base: String,
    pub quick: bool,
    pub json: Option<PathBuf>,
    pub compare: Option<PathBuf>,
    pub list: bool,
}

impl Options {
    /// An empty value is one that was not given: the Makefile passes its variables as they are.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut arguments = arguments.peekable();
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--quick" => options.quick = true,
                "--metrics" => options.metrics = true,
                "--list" => options.list = true,
                "--gateway" | "--rounds" | "--loads" | "--peers" | "--base" | "--json"
                | "--compare" => {
                    let value = arguments
                        .next()
                        .ok_or_else(|| format!("{flag} needs a value"))?;
                    if !value.is_empty() {
                        options.set(&flag, value)?;
                    }
                }
                _ => return Err(format!("{flag} is not known")),
            }
        }
        if options.base.is_empty() {
            options.base = REFERENCE.to_owned();
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { ROUNDS };
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: String) -> Result<(), String> {
        let list = |value: &str| value.split(',').map(str::to_owned).collect();
        match flag {
            "--gateway" => {
                let (name, path) = value
                    .split_once('=')
                    .ok_or_else(|| format!("--gateway {value}: NAME=PATH is expected"))?;
                self.gateways.push((name.to_owned(), path.into()));
            }
            "--rounds" => {
                self.rounds = match value.parse() {
                    Ok(rounds @ 1..=1000) => rounds,
                    _ => return Err(format!("--rounds {value}: 1 to 1000 is expected")),
                };
            }
            "--loads" => self.loads = list(&value),
            "--peers" => self.peers = list(&value),
            "--base" => self.base = value,
            "--json" => self.json = Some(value.into()),
            "--compare" => self.compare = Some(value.into()),
            _ => {}
        }
        Ok(())
    }

    /// The loads that were asked for; a name that is none is an error, not an empty run.
    pub fn choose(&self, loads: Vec<Load>) -> Result<Vec<Load>, String> {
        chosen(&self.loads, loads, |load| &load.name, "--loads")
    }

    pub fn choose_peers<T>(
        &self,
        peers: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> Result<Vec<T>, String> {
        chosen(&self.peers, peers, name, "--peers")
    }
}

fn chosen<T>(
    wanted: &[String],
    all: Vec<T>,
    name: impl Fn(&T) -> &str,
    flag: &str,
) -> Result<Vec<T>, String> {
    if let Some(none) = wanted.iter().find(|prefix| {
        !all.iter()
            .any(|item| name(item).starts_with(prefix.as_str()))
    }) {
        let names: Vec<&str> = all.iter().map(&name).collect();
        return Err(format!("{flag} {none}: there are {}", names.join(", ")));
    }
    let keep = |item: &T| {
        wanted.is_empty()
            || wanted
                .iter()
                .any(|prefix| name(item).starts_with(prefix.as_str()))
    };
    Ok(all.into_iter().filter(keep).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn options_are_taken_and_empty_ones_are_not() {
        let options = parse(
            "--gateway a=x --gateway b=y --rounds 3 --loads bulk,mixed --json  --quick --metrics",
        )
        .unwrap();
        assert_eq!(options.gateways.len(), 2);
        assert_eq!(options.rounds, 3);
        assert_eq!(options.loads, ["bulk", "mixed"]);
        assert_eq!(options.json, None);
        assert!(options.quick && options.metrics);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "--gateway path",
            "--rounds 0",
            "--rounds many",
            "--loads",
            "--fast",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_name_that_begins_nothing_is_refused() {
        let options = parse("--loads bulk").unwrap();
        let loads = options.choose(crate::load::all()).unwrap();
        assert!(loads.len() > 1 && loads.iter().all(|load| load.name.starts_with("bulk")));
        assert!(
            parse("--loads bluk")
                .unwrap()
                .choose(crate::load::all())
                .is_err()
        );
    }
}
