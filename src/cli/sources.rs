//! The values of the flags, and where each came from: the command line, the environment or the settings file.
//!
//! The sources are read in this order, and the first that sets a flag wins: a value from a later one is ignored, with a
//! warning. Only on the command line may a flag be given again: lists add up, otherwise the last value counts.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use super::error::{Error, shown};
use super::flags::{FLAGS, Flag, Options, Takes};
use crate::config::{Origin, Setting, Settings};

/// What the sources have set so far.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) options: Options,
    /// One line each.
    pub(super) warnings: Vec<String>,
    values: BTreeMap<&'static str, Value>,
}

/// The value of one flag.
struct Value {
    /// As text; the lists of several uses are joined.
    value: String,
    origin: Origin,
}

impl Sources {
    /// Takes a value for a flag, unless an earlier source has given one.
    pub(super) fn take(
        &mut self,
        flag: &'static Flag,
        origin: Origin,
        value: &OsStr,
    ) -> Result<(), Error> {
        if let Some(earlier) = self.values.get(flag.name)
            && earlier.origin != origin
        {
            let winner = match earlier.origin {
                Origin::Environment => "the environment sets it".to_owned(),
                _ => format!("--{} is given", flag.name),
            };
            let warning = format!("{} has no effect: {winner}", origin.name_of(flag));
            self.warnings.push(warning);
            return Ok(());
        }
        let not_utf8 = || Error::from("is not UTF-8 text; write plain ASCII");
        let text = value.to_str().ok_or_else(not_utf8);
        let text = text.and_then(|text| (flag.apply)(text, &mut self.options).map(|()| text));
        let text = text.map_err(|error| {
            let (value, name) = (shown(value), origin.name_of(flag));
            format!("invalid value {value} for {name}: {error}")
        })?;
        let Some(earlier) = self.values.get_mut(flag.name) else {
            let value = text.to_owned();
            self.values.insert(flag.name, Value { value, origin });
            return Ok(());
        };
        match flag.takes {
            Takes::List(_) => {
                earlier.value.push(',');
                earlier.value.push_str(text);
            }
            _ => text.clone_into(&mut earlier.value),
        }
        let warning = format!("--{} is given more than once; the last counts", flag.name);
        let counts_once = !matches!(flag.takes, Takes::Switch | Takes::List(_));
        if counts_once && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
        Ok(())
    }

    /// Whether a source has given this flag.
    pub(super) fn is_given(&self, flag: &str) -> bool {
        self.values.contains_key(flag)
    }

    /// The value that a source has given for this flag; empty if none has.
    pub(super) fn text(&self, flag: &str) -> &str {
        self.values.get(flag).map_or("", |used| &used.value)
    }

    /// All settings, with defaults for those that no source sets.
    pub(super) fn settings(&self) -> Settings {
        let named_elsewhere = self.is_given("endpoints-file") || self.is_given("discovery-srv");
        let setting = |flag: &Flag| {
            let used = self.values.get(flag.name);
            let default = match flag.name {
                // The default endpoint is not used if the members have another source.
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
    /// The name under which a source sets a flag.
    fn name_of(&self, flag: &Flag) -> String {
        let variable = || flag.variable().unwrap_or_default();
        match self {
            Self::CommandLine | Self::Default => format!("--{}", flag.name),
            Self::Environment => variable(),
            Self::File { .. } => format!("{} ({self})", variable()),
        }
    }
}
