//! The grammars of flag values.
//!
//! Each function takes the text of a value and returns it typed, or says what is wrong
//! with it and what to write instead; none names the flag, the caller does. An empty text gets here
//! from no source: on the command line it is refused, elsewhere it counts as unset. Lists follow
//! pflag's StringSlice, which reads one record of CSV with Go's `encoding/csv`: items may
//! be quoted, blanks belong to the item. Unlike there, a line end does not cut the list
//! short in silence: it stays in the item, and the address grammar refuses it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::{DurationError, GoDuration};
use super::shown::shown;
use crate::addr::{self, AddrError, HostPort};
use crate::config::{AccessLogTarget, Url, UrlError};

/// Below this a pause is none, and a deadline has passed before it is looked at.
const SHORTEST: GoDuration = GoDuration(1_000_000);
/// Linux gives out at most 2^22 thread ids (`PID_MAX_LIMIT`), and a connection takes two.
const CONNECTIONS_MAX: usize = 1 << 21;

/// What a label of 63 characters (RFC 1035 section 2.3.4) leaves behind `_etcd-client-ssl-`.
const SERVICE_NAME_MAX: usize = 63 - "_etcd-client-ssl-".len();

/// Why a text is no value of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ValueError {
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// Not a boolean of Go's `strconv.ParseBool`.
    NotBoolean,
    /// None of the words of a choice.
    NotAChoice {
        /// The words, separated by commas.
        choices: String,
    },
    /// Neither `auto` nor a decimal number in range.
    NotACount,
    /// No duration in Go's syntax.
    Duration(DurationError),
    /// A duration below zero where zero is the least.
    Negative,
    /// A duration below a millisecond where time must pass.
    TooShort {
        /// What would happen.
        consequence: &'static str,
    },
    /// Not `never`, and no duration either.
    NorNever(Box<ValueError>),
    /// Not a part of a DNS label, or too long for one.
    NotAServiceName,
    /// Nothing behind the `-` of a path.
    NotAPath,
    /// Neither a word for a target of the access log nor a path.
    NotATarget,
    /// Nothing between two commas, or before the first or behind the last.
    EmptyItem,
    /// A quote inside an unquoted item, behind a quoted one, or without its pair.
    StrayQuote,
    /// A list's only item is no address.
    Address(AddrError),
    /// Not a URL that members can be asked at.
    Url(UrlError),
    /// One of a list's items is no address.
    Item {
        /// The item, escaped and cut.
        item: String,
        /// What is wrong with it.
        error: AddrError,
    },
}

/// A boolean, in the spellings of `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ValueError::NotBoolean),
    }
}

/// One of the words in `choices`, which stand beside their meaning.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, ValueError> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|&(_, meaning)| meaning).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|&(word, _)| word).collect();
        ValueError::NotAChoice {
            choices: words.join(", "),
        }
    })
}

/// A number of connections, or `auto`, which is `None`. No leading zero: pflag would read
/// `010` as eight, most people as ten.
pub(super) fn connections(text: &str) -> Result<Option<usize>, ValueError> {
    if text == "auto" {
        return Ok(None);
    }
    let decimal = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(count) if decimal && count <= CONNECTIONS_MAX => Ok(Some(count)),
        _ => Err(ValueError::NotACount),
    }
}

/// A duration of zero or more.
pub(super) fn duration(text: &str) -> Result<Duration, ValueError> {
    let duration = GoDuration::parse(text).map_err(ValueError::Duration)?;
    duration.unsigned().ok_or(ValueError::Negative)
}

/// A duration of a millisecond or more; `consequence` tells why less is refused.
pub(super) fn positive_duration(
    text: &str,
    consequence: &'static str,
) -> Result<Duration, ValueError> {
    let duration = GoDuration::parse(text).map_err(ValueError::Duration)?;
    match duration.unsigned() {
        Some(time) if duration.0 >= SHORTEST.0 => Ok(time),
        _ => Err(ValueError::TooShort { consequence }),
    }
}

/// A duration of zero or more, or `never`, which is `None`.
pub(super) fn duration_or_never(text: &str) -> Result<Option<Duration>, ValueError> {
    match text {
        "never" => Ok(None),
        text => match duration(text) {
            Ok(duration) => Ok(Some(duration)),
            Err(error) => Err(ValueError::NorNever(Box::new(error))),
        },
    }
}

/// The file that `--config-file` names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    /// Whether it may be absent.
    pub(super) optional: bool,
}

/// The path of a settings file, behind a `-` if the file may be absent.
pub(super) fn settings_file(text: &str) -> Result<SettingsFile, ValueError> {
    let optional = text.strip_prefix('-');
    match optional.unwrap_or(text) {
        "" => Err(ValueError::NotAPath),
        path => Ok(SettingsFile {
            path: path.into(),
            optional: optional.is_some(),
        }),
    }
}

/// Where to write the access log; `off` is `None`. A path has a slash, so that a mistyped word is
/// no file.
pub(super) fn access_log(text: &str) -> Result<Option<AccessLogTarget>, ValueError> {
    match text {
        "off" => Ok(None),
        "stderr" => Ok(Some(AccessLogTarget::Stderr)),
        text if text.contains('/') => Ok(Some(AccessLogTarget::File(text.into()))),
        _ => Err(ValueError::NotATarget),
    }
}

/// Where members are asked how they are; `off` is `None`.
pub(super) fn health_check(text: &str) -> Result<Option<Url>, ValueError> {
    match text {
        "off" => Ok(None),
        text => Url::parse(text).map(Some).map_err(ValueError::Url),
    }
}

/// A domain.
pub(super) fn domain(text: &str) -> Result<String, ValueError> {
    addr::parse_domain(text).map_err(ValueError::Address)
}

/// An address to serve metrics on.
pub(super) fn metrics_address(text: &str) -> Result<HostPort, ValueError> {
    addr::parse_metrics(text).map_err(ValueError::Address)
}

/// A name or an address that a certificate can have.
pub(super) fn certificate_name(text: &str) -> Result<String, ValueError> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => domain(text),
    }
}

/// The end of a service's label in DNS.
pub(super) fn service_name(text: &str) -> Result<String, ValueError> {
    let is_label_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if text.len() <= SERVICE_NAME_MAX && text.bytes().all(is_label_byte) {
        Ok(text.to_owned())
    } else {
        Err(ValueError::NotAServiceName)
    }
}

/// A list of addresses, at least one, each read by `parse`.
pub(super) fn addresses<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, AddrError>,
) -> Result<Vec<T>, ValueError> {
    let items = csv_record(text)?;
    let only = items.len() == 1;
    let parse_item = |item: &String| match parse(item) {
        Ok(address) => Ok(address),
        Err(AddrError::Empty) => Err(ValueError::EmptyItem),
        Err(error) if only => Err(ValueError::Address(error)),
        Err(error) => Err(ValueError::Item {
            item: shown(item.as_ref()),
            error,
        }),
    };
    items.iter().map(parse_item).collect()
}

/// The fields of one CSV record, as Go reads them without `LazyQuotes`.
fn csv_record(text: &str) -> Result<Vec<String>, ValueError> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => csv_quoted(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return Err(ValueError::StrayQuote);
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(ValueError::StrayQuote),
        }
    }
}

/// A quoted field, its first quote already taken, and what follows its last; `""` inside
/// stands for one quote.
fn csv_quoted(text: &str) -> Result<(String, &str), ValueError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (head, after) = rest.split_once('"').ok_or(ValueError::StrayQuote)?;
        field.push_str(head);
        match after.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, after)),
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("is not UTF-8 text; write plain ASCII"),
            Self::NotBoolean => f.write_str("write true or false"),
            Self::NotAChoice { choices } => write!(f, "write one of {choices}"),
            Self::NotACount => write!(f, "write auto or a number from 1 to {CONNECTIONS_MAX}"),
            Self::Duration(error) => error.fmt(f),
            Self::Negative => f.write_str("time cannot be negative; write 0s or more"),
            Self::TooShort { consequence } => {
                write!(f, "{consequence}; write {SHORTEST} or more")
            }
            Self::NorNever(error) => write!(f, "{error}, or never"),
            Self::NotAServiceName => write!(
                f,
                "must be letters, digits, - and _, at most {SERVICE_NAME_MAX} of them; write the \
                 part behind _etcd-client-ssl- alone"
            ),
            Self::NotAPath => {
                f.write_str("write a path; a - in front of it means that the file may be absent")
            }
            Self::NotATarget => {
                f.write_str("write off, stderr or a path with a slash, such as ./access.log")
            }
            Self::EmptyItem => {
                f.write_str("an item of the list is empty; remove the comma too many")
            }
            Self::StrayQuote => {
                f.write_str("quotes must enclose a whole item; write host:port without quotes")
            }
            Self::Address(error) => error.fmt(f),
            Self::Url(error) => error.fmt(f),
            Self::Item { item, error } => write!(f, "item {item}: {error}"),
        }
    }
}

impl std::error::Error for ValueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Duration(error) => Some(error),
            Self::NorNever(error) => Some(&**error),
            Self::Url(error) => Some(error),
            Self::Address(error) | Self::Item { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_service_name_ends_the_longest_label() {
        let longest = "x".repeat(63 - "_etcd-client-ssl-".len());
        assert_eq!(service_name(&longest), Ok(longest.clone()));
        let longer = service_name(&format!("{longest}x"));
        assert_eq!(longer, Err(ValueError::NotAServiceName));
    }

    #[test]
    fn booleans() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "tRUE", "on", "2", " true"] {
            assert_eq!(boolean(text), Err(ValueError::NotBoolean), "{text}");
        }
    }

    #[test]
    fn counts() {
        const REFUSED: [&str; 12] = [
            "",
            "0",
            "-1",
            "+1",
            "010",
            "1e3",
            "1_000",
            " 1",
            "Auto",
            "2097153",
            "99999999999999999999999",
            "\u{661}",
        ];
        assert_eq!(connections("auto"), Ok(None));
        assert_eq!(connections("1"), Ok(Some(1)));
        assert_eq!(connections("2097152"), Ok(Some(2_097_152)));
        for text in REFUSED {
            assert_eq!(connections(text), Err(ValueError::NotACount), "{text}");
        }
    }

    #[test]
    fn durations_and_their_least() {
        let short = || Err(ValueError::TooShort { consequence: "c" });
        let least = Ok(Duration::from_millis(1));
        let cases = [
            ("1ms", least.clone(), least),
            ("0s", Ok(Duration::ZERO), short()),
            ("0", Ok(Duration::ZERO), short()),
            ("999us", Ok(Duration::from_micros(999)), short()),
            ("-1s", Err(ValueError::Negative), short()),
            ("-2562047h", Err(ValueError::Negative), short()),
        ];
        for (text, any, positive) in cases {
            assert_eq!(duration(text), any, "{text}");
            assert_eq!(positive_duration(text, "c"), positive, "{text}");
        }
    }

    #[test]
    fn csv_as_go_reads_it() {
        let fields = |fields: &[&str]| Ok(fields.iter().map(|&f| f.to_owned()).collect());
        let stray = || Err(ValueError::StrayQuote);
        let cases: [(&str, Result<Vec<String>, ValueError>); 18] = [
            ("a", fields(&["a"])),
            ("a,b", fields(&["a", "b"])),
            (",", fields(&["", ""])),
            ("a,", fields(&["a", ""])),
            (" a, b ", fields(&[" a", " b "])),
            ("\"a\",\"b\"", fields(&["a", "b"])),
            ("\"a,b\",c", fields(&["a,b", "c"])),
            ("\"a\"\"b\"", fields(&["a\"b"])),
            ("\"\"", fields(&[""])),
            ("\"\"\"\"", fields(&["\""])),
            ("\"a\nb\"", fields(&["a\nb"])),
            // Go would drop what follows the line end.
            ("a\nb", fields(&["a\nb"])),
            ("\"a", stray()),
            ("a\"", stray()),
            ("a\"b\"", stray()),
            ("\"a\"b", stray()),
            ("\"a\" ,b", stray()),
            ("\"", stray()),
        ];
        for (text, expected) in cases {
            assert_eq!(csv_record(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lists() {
        let parse = |text: &str| match text {
            "" => Err(AddrError::Empty),
            "bad" => Err(AddrError::Path),
            other => Ok(other.to_owned()),
        };
        let item = || ValueError::Item {
            item: "\"bad\"".to_owned(),
            error: AddrError::Path,
        };
        let cases = [
            ("a,b", Ok(vec!["a".to_owned(), "b".to_owned()])),
            ("", Err(ValueError::EmptyItem)),
            ("\"\"", Err(ValueError::EmptyItem)),
            ("a,", Err(ValueError::EmptyItem)),
            (",a", Err(ValueError::EmptyItem)),
            ("a,,b", Err(ValueError::EmptyItem)),
            ("bad", Err(ValueError::Address(AddrError::Path))),
            ("a,bad", Err(item())),
            ("\"a", Err(ValueError::StrayQuote)),
        ];
        for (text, expected) in cases {
            assert_eq!(addresses(text, parse), expected, "{text:?}");
        }
    }

    /// All short records over a hostile alphabet: no panic, and a field survives quoting.
    #[test]
    fn csv_sweep() {
        const ALPHABET: [&str; 6] = ["\"", ",", "a", " ", "\n", "\u{e9}"];
        let mut layer = vec![String::new()];
        for _ in 0..6 {
            let longer = |text: &String| ALPHABET.map(|piece| format!("{text}{piece}"));
            layer = layer.iter().flat_map(longer).collect();
            for text in &layer {
                if let Ok(fields) = csv_record(text) {
                    let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
                    let quoted: Vec<String> = fields.iter().map(quote).collect();
                    assert_eq!(csv_record(&quoted.join(",")), Ok(fields), "{text:?}");
                }
            }
        }
    }
}
