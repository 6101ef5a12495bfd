//! What is given for each flag, and by which source: the command line, the environment or the settings file.
//!
//! The sources are asked in this order, and the first that gives a flag wins: what a later one says of it is a warning
//! and not looked at. Only within the command line a flag may be given again: lists add up, else the last counts.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use super::error::{Error, shown};
use super::flags::{FLAGS, Flag, Options, Takes};
use crate::config::{Origin, Setting, Settings};

/// What the sources have given so far.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) options: Options,
    /// What is odd, one line each.
    pub(super) warnings: Vec<String>,
    uses: BTreeMap<&'static str, Use>,
}

/// The uses of one flag.
struct Use {
    /// As text; a list is one list, whatever it was given in.
    value: String,
    origin: Origin,
    count: usize,
}

impl Sources {
    /// Takes a value for a flag, unless an earlier source has given one.
    pub(super) fn take(
        &mut self,
        flag: &'static Flag,
        origin: Origin,
        value: &OsStr,
    ) -> Result<(), Error> {
        if let Some(earlier) = self.uses.get(flag.name)
            && earlier.origin != origin
        {
            let winner = match earlier.origin {
                Origin::Environment => "the environment sets it".to_owned(),
                _ => format!("--{} is given", flag.name),
            };
            let warning = format!("{} has no effect: {winner}", origin.gives(flag));
            self.warnings.push(warning);
            return Ok(());
        }
        let not_utf8 = || Error::from("is not UTF-8 text; write plain ASCII");
        let text = value.to_str().ok_or_else(not_utf8);
        let text = text.and_then(|text| (flag.apply)(text, &mut self.options).map(|()| text));
        let text = text.map_err(|error| {
            let (value, name) = (shown(value), origin.gives(flag));
            format!("invalid value {value} for {name}: {error}")
        })?;
        let used = self.uses.entry(flag.name).or_insert_with(|| Use {
            value: String::new(),
            origin,
            count: 0,
        });
        match flag.takes {
            Takes::List(_) if used.count > 0 => {
                used.value.push(',');
                used.value.push_str(text);
            }
            _ => text.clone_into(&mut used.value),
        }
        used.count += 1;
        Ok(())
    }

    /// Whether a source has given this flag.
    pub(super) fn is_given(&self, flag: &str) -> bool {
        self.uses.contains_key(flag)
    }

    /// What a source has given for this flag; empty if none has.
    pub(super) fn text(&self, flag: &str) -> &str {
        self.uses.get(flag).map_or("", |used| &used.value)
    }

    /// Warns of flags of which only the last use counts.
    pub(super) fn warn_of_repeated(&mut self) {
        let single = FLAGS
            .iter()
            .filter(|f| !matches!(f.takes, Takes::Switch | Takes::List(_)));
        let repeated =
            single.filter(|flag| self.uses.get(flag.name).is_some_and(|used| used.count > 1));
        let warning = |flag: &Flag| {
            let name = flag.name;
            format!("--{name} is given more than once; the last counts")
        };
        self.warnings.extend(repeated.map(warning));
    }

    /// All settings, with the defaults of what is not given.
    pub(super) fn settings(&self) -> Settings {
        let named_elsewhere = self.is_given("endpoints-file") || self.is_given("discovery-srv");
        let setting = |flag: &Flag| {
            let used = self.uses.get(flag.name);
            let default = match flag.name {
                // The default endpoint is not used beside another source of members.
                "endpoints" if named_elsewhere => "",
                _ => flag.default_value(),
            };
            Some(Setting {
                variable: flag.variable()?,
                value: used.map_or(default, |used| &used.value).to_owned(),
                origin: used.map_or(Origin::Default, |used| used.origin.clone()),
                in_file: flag.in_file(),
            })
        };
        Settings(FLAGS.iter().filter_map(setting).collect())
    }
}

impl Origin {
    /// How a source names a flag that it gives.
    fn gives(&self, flag: &Flag) -> String {
        let variable = || flag.variable().unwrap_or_default();
        match self {
            Self::CommandLine | Self::Default => format!("--{}", flag.name),
            Self::Environment => variable(),
            Self::File { .. } => format!("{} ({self})", variable()),
        }
    }
}
