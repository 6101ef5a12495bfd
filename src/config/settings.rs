//! The settings in effect and where each came from, as `etcd-gateway config` prints them and `/config` serves them.
//!
//! Values are text, as they were given, and not secret. There are three forms: a table for people, JSON for programs, and
//! a settings file, which `--config-file` reads back as the same settings.

use std::fmt::{self, Display, Write};
use std::path::PathBuf;

use crate::columns;
use crate::log::{Json, JsonList};

/// All settings, in the order of the help.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Settings(pub(crate) Vec<Setting>);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    /// The variable that sets it.
    pub(crate) variable: String,
    /// Empty if it is not set and has no default.
    pub(crate) value: String,
    pub(crate) origin: Origin,
    /// Whether a settings file may have it.
    pub(crate) in_file: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    CommandLine,
    Environment,
    /// A line of a settings file.
    File {
        path: PathBuf,
        line: usize,
    },
    Default,
}

/// The form in which `check` and `config` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Columns for a person.
    Table,
    /// One JSON object.
    Json,
}

/// The form in which `config` prints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// A form that `check` has too.
    Shown(Output),
    /// A settings file.
    Env,
}

impl Settings {
    /// The settings and the warnings about them, in one of the forms.
    pub(crate) fn render(&self, form: Form, warnings: &[String]) -> String {
        match form {
            Form::Shown(Output::Table) => {
                let mut text = self.table();
                for warning in warnings {
                    // Writing to a String cannot fail.
                    let _ = writeln!(text, "warning: {warning}");
                }
                text
            }
            Form::Shown(Output::Json) => self.json(warnings),
            Form::Env => self.env(warnings),
        }
    }

    /// One line per setting, in columns.
    pub(crate) fn table(&self) -> String {
        let rows = self.0.iter().map(|setting| {
            let value = match setting.value.as_str() {
                "" => "-".to_owned(),
                value if value.contains(char::is_control) => format!("{value:?}"),
                value => value.to_owned(),
            };
            vec![setting.variable.clone(), value, setting.origin.to_string()]
        });
        let rows =
            std::iter::once(["NAME", "VALUE", "ORIGIN"].map(str::to_owned).to_vec()).chain(rows);
        columns::aligned(&rows.collect::<Vec<_>>())
    }

    /// One object with one line per setting, so that it can be read and compared as it is.
    fn json(&self, warnings: &[String]) -> String {
        let setting = |setting: &Setting| {
            let (word, place) = match &setting.origin {
                Origin::File { path, line } => {
                    let path = path.to_string_lossy();
                    let place = format!(",\"file\":{},\"line\":{line}", Json(&path));
                    ("file".to_owned(), place)
                }
                origin => (origin.to_string(), String::new()),
            };
            let value = match setting.value.as_str() {
                "" => "null".to_owned(),
                value => Json(value).to_string(),
            };
            let (name, word) = (Json(&setting.variable), Json(&word));
            format!("{{\"name\":{name},\"value\":{value},\"origin\":{word}{place}}}")
        };
        let settings: Vec<String> = self.0.iter().map(setting).collect();
        format!(
            "{{\"settings\":[\n{}\n],\"warnings\":{}}}\n",
            settings.join(",\n"),
            JsonList(warnings)
        )
    }

    /// In the syntax of systemd's `EnvironmentFile=`. A comment there continues after a backslash at the end of its line;
    /// no origin or warning ends in one. Defaults are comments, so that the file does not fix the defaults of this version.
    fn env(&self, warnings: &[String]) -> String {
        let mut text = String::new();
        for warning in warnings {
            let _ = writeln!(text, "# warning: {warning}");
        }
        for setting in self.0.iter().filter(|setting| setting.in_file) {
            let Setting {
                variable, value, ..
            } = setting;
            if setting.origin == Origin::Default {
                let _ = writeln!(text, "#{variable}={value}");
            } else {
                let _ = writeln!(text, "# {}\n{variable}={}", setting.origin, quoted(value));
            }
        }
        text
    }
}

/// In double quotes, if it needs them.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=?&[]".contains(c);
    if value.chars().all(is_plain) {
        return value.to_owned();
    }
    let mut text = String::from('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::File { path, line } => {
                let path = path.to_string_lossy().replace(char::is_control, " ");
                write!(f, "{path}:{line}")
            }
            Self::Default => f.write_str("default"),
        }
    }
}
