//! The format of a log line: JSON for programs, text for people.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::date::{self, Rfc3339};

/// How important an event is; one below the chosen level is not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Every session and every failed check.
    Debug,
    /// Start, stop, and improvements.
    #[default]
    Info,
    /// An operator should look at this.
    Warn,
    /// The gateway cannot work.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Its priority in the journal (sd-daemon(3)).
    pub(crate) fn priority(self) -> &'static str {
        match self {
            Self::Debug => "<7>",
            Self::Info => "<6>",
            Self::Warn => "<4>",
            Self::Error => "<3>",
        }
    }
}

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object per line.
    Json,
    /// `TIME LEVEL caller: message key=value …`
    Text,
}

/// The format of a line, and whether the journal reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    /// Each line begins with its priority, which the journal removes (sd-daemon(3)).
    pub(crate) has_priority: bool,
}

impl Layout {
    /// One line, with its end.
    pub(crate) fn line(
        self,
        now: SystemTime,
        level: Level,
        caller: &str,
        message: &str,
        fields: Fields<'_>,
    ) -> String {
        let (time, name) = (Rfc3339(date::since_1970(now)), level.name());
        let priority = match self.has_priority {
            true => level.priority(),
            false => "",
        };
        match self.format {
            Format::Json => {
                let (caller, message, fields) = (Json(caller), Json(message), JsonFields(fields));
                format!(
                    "{priority}{{\"level\":\"{name}\",\"ts\":\"{time}\",\"caller\":{caller},\
                     \"msg\":{message}{fields}}}\n"
                )
            }
            Format::Text => {
                let (level, fields) = (name.to_ascii_uppercase(), Pairs(fields));
                format!("{priority}{time} {level:5} {caller}: {message}{fields}\n")
            }
        }
    }
}

/// The value of a field.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Any text; escaped when written.
    Text(String),
    /// An address; it is formatted only if the line is written.
    Address(SocketAddr),
    Number(u64),
    /// Written in seconds. The field's name ends in `_seconds`, except for names of etcd's gateway.
    Span(Duration),
    List(Vec<String>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<SocketAddr> for Value {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for Value {
    fn from(span: Duration) -> Self {
        Self::Span(span)
    }
}

impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

/// The fields of an event: names and values.
pub(crate) type Fields<'a> = &'a [(&'a str, Value)];

/// Fields as members of a JSON object, each after a comma.
struct JsonFields<'a>(Fields<'a>);

impl fmt::Display for JsonFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| {
            let value: &dyn fmt::Display = match value {
                Value::Text(text) => &Json(text),
                Value::Address(address) => &format_args!("\"{}\"", *address),
                Value::Number(number) => number,
                Value::Span(span) => &span.as_secs_f64(),
                Value::List(list) => &JsonList(list),
            };
            write!(f, ",{}:{value}", Json(name))
        })
    }
}

/// Fields as text, each after a space.
pub(crate) struct Pairs<'a>(pub(crate) Fields<'a>);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.0 {
            match value {
                Value::Text(text) => write!(f, " {name}={}", Word(text)),
                Value::Address(address) => write!(f, " {name}={}", Word(&address.to_string())),
                Value::Number(number) => write!(f, " {name}={number}"),
                Value::Span(span) => {
                    let unit = if name.ends_with("_seconds") { "" } else { "s" };
                    write!(f, " {name}={}{unit}", span.as_secs_f64())
                }
                Value::List(list) => {
                    let items: Vec<_> = list.iter().map(|item| Word(item).to_string()).collect();
                    write!(f, " {name}=[{}]", items.join(","))
                }
            }?;
        }
        Ok(())
    }
}

/// The most characters of an error that are kept and logged: it may contain names from another host's
/// certificate.
pub(crate) const MAX_ERROR: usize = 500;

/// Cuts a text to at most this many characters.
pub(crate) fn shortened(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A JSON string, RFC 8259 section 7.
pub(crate) struct Json<'a>(pub(crate) &'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                // DEL and the C1 controls are valid in JSON, but act on a terminal.
                _ if character.is_control() => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

/// A JSON array of strings.
pub(crate) struct JsonList<'a>(pub(crate) &'a [String]);

impl fmt::Display for JsonList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (index, item) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            Json(item).fmt(f)?;
        }
        f.write_char(']')
    }
}

/// A text as it is, or quoted if it has spaces, quotes or control characters, or is empty.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=' | ',');
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::new(1_795_378_280, 610_611_200);

    fn line(
        format: Format,
        level: Level,
        caller: &str,
        message: &str,
        fields: Fields<'_>,
    ) -> String {
        let layout = Layout {
            format,
            has_priority: false,
        };
        layout.line(SystemTime::UNIX_EPOCH + NOW, level, caller, message, fields)
    }

    #[test]
    fn json_has_the_keys_of_the_gateway_of_etcd() {
        let line = line(
            Format::Json,
            Level::Warn,
            "pool",
            "deactivated endpoint",
            &[
                ("address", "127.0.0.1:1".into()),
                ("listen", SocketAddr::from(([0; 16], 2)).into()),
                ("interval", Duration::from_millis(1500).into()),
                ("tries", 3usize.into()),
                ("list", vec!["a".to_owned(), "b\"".to_owned()].into()),
                ("error", "a\nb\u{1b}[0m\u{7f}\\".into()),
            ],
        );
        assert_eq!(
            line,
            "{\"level\":\"warn\",\"ts\":\"2026-11-22T20:11:20.610611Z\",\"caller\":\"pool\",\
             \"msg\":\"deactivated endpoint\",\"address\":\"127.0.0.1:1\",\"listen\":\"[::]:2\",\"interval\":1.5,\
             \"tries\":3,\"list\":[\"a\",\"b\\\"\"],\
             \"error\":\"a\\nb\\u001b[0m\\u007f\\\\\"}\n"
        );
    }

    #[test]
    fn text_is_one_line_whatever_the_value() {
        let line = line(
            Format::Text,
            Level::Info,
            "gateway",
            "ready",
            &[
                ("a", "plain:1".into()),
                ("b", "two words\n".into()),
                ("c", "".into()),
                ("d", Duration::from_secs(60).into()),
                ("d_seconds", Duration::from_millis(1500).into()),
                ("e", vec!["x".to_owned(), "y z".to_owned()].into()),
            ],
        );
        assert_eq!(
            line,
            "2026-11-22T20:11:20.610611Z INFO  gateway: ready a=plain:1 b=\"two words\\n\" c=\"\" d=60s d_seconds=1.5 e=[x,\"y z\"]\n"
        );
    }
}
