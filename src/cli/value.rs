//! The grammars of flag values.
//!
//! Each function takes the text of a value and returns it typed, or says what is wrong with it and what to write
//! instead; the caller adds the name of the flag. No source passes an empty text: on the command line it is refused,
//! elsewhere it counts as unset. In a list items may stand in double quotes, as pflag's StringSlice allows, and blanks
//! belong to the item, so that the grammar of addresses refuses them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::error::{Error, shown};
use crate::addr::{self, AddrError};
use crate::config::{AccessLogTarget, Url};

/// A shorter pause has no effect, and a shorter deadline has passed before it is looked at.
const SHORTEST: Duration = Duration::from_millis(1);
/// Linux gives out at most 2^22 thread ids (`PID_MAX_LIMIT`), and a connection takes two.
const CONNECTIONS_MAX: usize = 1 << 21;
/// A label of 63 characters (RFC 1035 section 2.3.4) minus `_etcd-client-ssl-`.
const SERVICE_NAME_MAX: usize = 63 - "_etcd-client-ssl-".len();

/// A boolean, in the spellings of Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, Error> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

/// The value of one of the words in `choices`.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Error> {
    let found = choices.iter().find(|(word, _)| *word == text);
    found.map(|&(_, meaning)| meaning).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|&(word, _)| word).collect();
        format!("write one of {}", words.join(", ")).into()
    })
}

/// A number of connections, or `auto`, which is `None`. No leading zero: pflag would read
/// `010` as eight, most people as ten.
pub(super) fn connections(text: &str) -> Result<Option<usize>, Error> {
    if text == "auto" {
        return Ok(None);
    }
    let decimal = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(count) if decimal && count <= CONNECTIONS_MAX => Ok(Some(count)),
        _ => Err(format!("write auto or a number from 1 to {CONNECTIONS_MAX}").into()),
    }
}

/// A duration of zero or more.
pub(super) fn duration(text: &str) -> Result<Duration, Error> {
    let negative = || "time cannot be negative; write 0s or more".into();
    duration::parse(text)?.ok_or_else(negative)
}

/// A duration of a millisecond or more; `consequence` says why less is refused.
pub(super) fn positive_duration(text: &str, consequence: &str) -> Result<Duration, Error> {
    let long_enough = |time: &Duration| *time >= SHORTEST;
    let too_short = || format!("{consequence}; write {SHORTEST:?} or more").into();
    duration::parse(text)?
        .filter(long_enough)
        .ok_or_else(too_short)
}

/// A duration of zero or more, or `never`, which is `None`.
pub(super) fn duration_or_never(text: &str) -> Result<Option<Duration>, Error> {
    match text {
        "never" => Ok(None),
        text => match duration(text) {
            Ok(time) => Ok(Some(time)),
            Err(error) => Err(format!("{error}, or never").into()),
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
pub(super) fn settings_file(text: &str) -> Result<SettingsFile, Error> {
    let optional = text.strip_prefix('-');
    match optional.unwrap_or(text) {
        "" => Err("write a path; a - in front of it means that the file may be absent".into()),
        path => Ok(SettingsFile {
            path: path.into(),
            optional: optional.is_some(),
        }),
    }
}

/// Where to write the access log; `off` is `None`. A path has a slash, so that a mistyped word is not taken for a file.
pub(super) fn access_log(text: &str) -> Result<Option<AccessLogTarget>, Error> {
    match text {
        "off" => Ok(None),
        "stderr" => Ok(Some(AccessLogTarget::Stderr)),
        text if text.contains('/') => Ok(Some(AccessLogTarget::File(text.into()))),
        _ => Err("write off, stderr or a path with a slash, such as ./access.log".into()),
    }
}

/// The URL of health checks; `off` is `None`.
pub(super) fn health_check(text: &str) -> Result<Option<Url>, Error> {
    match text {
        "off" => Ok(None),
        text => match Url::parse(text) {
            Ok(url) => Ok(Some(url)),
            Err(error) => Err(error.to_string().into()),
        },
    }
}

/// A name or an address that a certificate can have.
pub(super) fn certificate_name(text: &str) -> Result<String, Error> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Ok(addr::parse_domain(text)?),
    }
}

/// The end of a service's label in DNS.
pub(super) fn service_name(text: &str) -> Result<String, Error> {
    let is_label_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if text.len() <= SERVICE_NAME_MAX && text.bytes().all(is_label_byte) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be letters, digits, - and _, at most {SERVICE_NAME_MAX} of them; write the part \
         behind _etcd-client-ssl- alone"
    )
    .into())
}

/// A list of addresses, at least one, each read by `parse`. Addresses contain neither quotes nor commas.
pub(super) fn addresses<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, AddrError>,
) -> Result<Vec<T>, Error> {
    let parse_item = |item: &str| match parse(unquoted(item)?) {
        Ok(address) => Ok(address),
        Err(AddrError::Empty) => Err("an item of the list is empty; remove the extra comma".into()),
        Err(error) if item == text => Err(error.into()),
        Err(error) => Err(format!("item {}: {error}", shown(item.as_ref())).into()),
    };
    text.split(',').map(parse_item).collect()
}

fn unquoted(item: &str) -> Result<&str, Error> {
    let inner = item
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner.unwrap_or(item) {
        item if item.contains('"') => {
            Err("quotes must enclose a whole item; write host:port without quotes".into())
        }
        item => Ok(item),
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
        assert!(longer.is_err_and(|error| error.to_string().contains("at most 46 of them")));
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
            assert_eq!(boolean(text), Err("write true or false".into()), "{text}");
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
        let expected = Err("write auto or a number from 1 to 2097152".into());
        for text in REFUSED {
            assert_eq!(connections(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_and_their_least() {
        let short = || Err("c; write 1ms or more".into());
        let negative = || Err("time cannot be negative; write 0s or more".into());
        let least = Ok(Duration::from_millis(1));
        let cases = [
            ("1ms", least.clone(), least),
            ("0s", Ok(Duration::ZERO), short()),
            ("0", Ok(Duration::ZERO), short()),
            ("999us", Ok(Duration::from_micros(999)), short()),
            ("-1s", negative(), short()),
            ("-2562047h", negative(), short()),
        ];
        for (text, any, positive) in cases {
            assert_eq!(duration(text), any, "{text}");
            assert_eq!(positive_duration(text, "c"), positive, "{text}");
        }
    }

    #[test]
    fn lists() {
        let parse = |text: &str| match text {
            "" => Err(AddrError::Empty),
            text if text.contains(['b', '\n']) => Err(AddrError::Path),
            other => Ok(other.to_owned()),
        };
        let fields = |fields: &[&str]| Ok(fields.iter().map(|&f| f.to_owned()).collect());
        let empty = || Err("an item of the list is empty; remove the extra comma".into());
        let stray =
            || Err("quotes must enclose a whole item; write host:port without quotes".into());
        let path = |item: &str| Err(format!("{item}{}", AddrError::Path).into());
        let cases: [(&str, Result<Vec<String>, Error>); 24] = [
            ("a", fields(&["a"])),
            ("a,c", fields(&["a", "c"])),
            (" a, c ", fields(&[" a", " c "])),
            ("\"a\",\"c\"", fields(&["a", "c"])),
            ("\"a\",c", fields(&["a", "c"])),
            ("", empty()),
            (",", empty()),
            ("\"\"", empty()),
            ("a,", empty()),
            (",a", empty()),
            ("a,,c", empty()),
            ("b", path("")),
            ("a,b", path("item \"b\": ")),
            // Go would drop what follows the line end.
            ("a\nc", path("")),
            // An item with a quote or a comma in it, which no address has.
            ("\"a\"\"c\"", stray()),
            ("\"a,c\",d", stray()),
            ("\"\"\"\"", stray()),
            ("\"a", stray()),
            ("a\"", stray()),
            ("a\"c\"", stray()),
            ("\"a\"c", stray()),
            ("\"a\" ,c", stray()),
            ("\"", stray()),
            ("a,\"c", stray()),
        ];
        for (text, expected) in cases {
            assert_eq!(addresses(text, parse), expected, "{text:?}");
        }
    }

    /// All short lists over a hostile alphabet: no panic, and what is read survives quoting.
    #[test]
    fn list_sweep() {
        const ALPHABET: [&str; 6] = ["\"", ",", "a", " ", "\n", "\u{e9}"];
        let parse = |text: &str| Ok(text.to_owned());
        let mut layer = vec![String::new()];
        for _ in 0..6 {
            let longer = |text: &String| ALPHABET.map(|piece| format!("{text}{piece}"));
            layer = layer.iter().flat_map(longer).collect();
            for text in &layer {
                if let Ok(items) = addresses(text, parse) {
                    let quoted: Vec<String> = items.iter().map(|i| format!("\"{i}\"")).collect();
                    assert_eq!(addresses(&quoted.join(","), parse), Ok(items), "{text:?}");
                }
            }
        }
    }
}
