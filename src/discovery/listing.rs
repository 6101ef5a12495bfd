//! What an endpoints file says: text in, members out.
//!
//! One endpoint a line, written as for `--endpoints`; `weight=N` and `priority=N` may follow,
//! and mean what they mean in an SRV record (RFC 2782), but that a weight left out is 1, so
//! that `weight=2` beside it is twice as much. So may `drain`, which takes the member out for
//! maintenance: it gets no new connection while others serve. Blank lines are skipped, and so is what follows
//! a `#` at the start of a line or behind a blank. A line may end in CR LF.
//!
//! Pure. The bytes are untrusted: lines and their number are bounded, and one that is not
//! understood refuses all, because half a list is worse than the last good one. A text without
//! any endpoint is refused too: it is what a write that was cut short leaves behind.

use std::collections::HashSet;
use std::fmt;

use super::member::Member;
use crate::addr::{AddrError, parse_endpoint};
use crate::endpoint::Source;

/// The most endpoints that are listed: far above any cluster, and as many as are ever used.
const MAX_MEMBERS: usize = 1024;
/// The most octets of a line: a name of 253 characters with all that may follow it, and room
/// for a comment.
const MAX_LINE: usize = 1024;
/// The most octets of a file: the most endpoints, each on the longest line.
pub(crate) const MAX_TEXT: usize = MAX_MEMBERS * MAX_LINE;

/// The most characters of a word that a message repeats.
const SHOWN: usize = 64;

/// The share of an endpoint whose weight is left out.
const DEFAULT_WEIGHT: u16 = 1;

/// The members of a file: at least one, no two at the same host and port. What they have to prove
/// is not for the file to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) members: Vec<Member>,
    /// What is odd, but no reason to refuse it: of each kind the first, with its line.
    pub(crate) odd: Vec<(usize, Oddity)>,
}

/// What is odd about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// The endpoint stands further up already.
    Repeated,
    /// `http://` or `https://` stands in front of it.
    Scheme,
    /// It has the word `drain`, and so have all others.
    AllDrain,
}

/// Why a text is no listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// Counted from 1; none if it is about the whole.
    pub(crate) line: Option<usize>,
    pub(crate) cause: Cause,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No line has an endpoint.
    NoEndpoint,
    /// The line is longer than any that makes sense.
    LineTooLong,
    /// The line has bytes that are no text.
    NotUtf8,
    /// The first word is no endpoint.
    Endpoint { word: String, error: AddrError },
    /// The first word is several, with commas.
    Comma,
    /// A further word is none that may follow.
    UnknownOption { word: String },
    /// An option stands twice.
    RepeatedOption { name: &'static str },
    /// The word `drain` has a value.
    DrainValue { word: String },
    /// An option's value is no number of 16 bits.
    NotANumber { name: &'static str, value: String },
    /// There are more endpoints than may be.
    TooMany,
}

/// Reads the text of an endpoints file.
///
/// # Errors
/// If a line is not understood, or none has an endpoint.
pub(crate) fn parse(text: &[u8]) -> Result<Listing, Error> {
    let mut members: Vec<Member> = Vec::new();
    let mut odd: Vec<(usize, Oddity)> = Vec::new();
    let mut known = HashSet::new();
    let mut last = 0;
    for (index, octets) in text.split(|octet| *octet == b'\n').enumerate() {
        let number = index.saturating_add(1);
        let failed = |cause| Error {
            line: Some(number),
            cause,
        };
        let mut note = |oddity| {
            if odd.iter().all(|(_, noted)| *noted != oddity) {
                odd.push((number, oddity));
            }
        };
        let Some((member, has_scheme)) = line(octets).map_err(failed)? else {
            continue;
        };
        if has_scheme {
            note(Oddity::Scheme);
        }
        if !known.insert(member.at.clone()) {
            note(Oddity::Repeated);
        } else if members.len() == MAX_MEMBERS {
            return Err(failed(Cause::TooMany));
        } else {
            members.push(member);
            last = number;
        }
    }
    if members.is_empty() {
        return Err(Error {
            line: None,
            cause: Cause::NoEndpoint,
        });
    }
    if members.iter().all(|member| member.drains) {
        odd.push((last, Oddity::AllDrain));
    }
    Ok(Listing { members, odd })
}

/// The member of one line, and whether it has a scheme; none if the line is blank or a comment.
fn line(octets: &[u8]) -> Result<Option<(Member, bool)>, Cause> {
    if octets.len() > MAX_LINE {
        return Err(Cause::LineTooLong);
    }
    let text = std::str::from_utf8(octets).map_err(|_| Cause::NotUtf8)?;
    let mut words = text
        .split_ascii_whitespace()
        .take_while(|word| !word.starts_with('#'));
    let Some(first) = words.next() else {
        return Ok(None);
    };
    if first.contains(',') {
        return Err(Cause::Comma);
    }
    let (at, scheme) = parse_endpoint(first).map_err(|error| Cause::Endpoint {
        word: shown(first),
        error,
    })?;
    let (mut priority, mut weight, mut drains) = (None, None, false);
    for word in words {
        let (name, option, value) = match word.split_once('=') {
            Some(("weight", value)) => ("weight", &mut weight, value),
            Some(("priority", value)) => ("priority", &mut priority, value),
            Some(("drain", _)) => return Err(Cause::DrainValue { word: shown(word) }),
            None if word == "drain" => {
                if std::mem::replace(&mut drains, true) {
                    return Err(Cause::RepeatedOption { name: "drain" });
                }
                continue;
            }
            _ => return Err(Cause::UnknownOption { word: shown(word) }),
        };
        if option.is_some() {
            return Err(Cause::RepeatedOption { name });
        }
        let invalid = || Cause::NotANumber {
            name,
            value: shown(value),
        };
        *option = Some(number(value).ok_or_else(invalid)?);
    }
    let member = Member {
        at,
        priority: priority.unwrap_or(0),
        weight: weight.unwrap_or(DEFAULT_WEIGHT),
        drains,
        identity: None,
        source: Source::File,
    };
    Ok(Some((member, scheme.is_some())))
}

/// Digits alone: a sign or a blank is not a number here.
fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// A word as a message may have it: quoted, escaped and cut.
fn shown(word: &str) -> String {
    let head: String = word.chars().take(SHOWN).collect();
    format!("{head:?}")
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("has no endpoint in it; write host:port, one a line"),
            Self::LineTooLong => write!(
                f,
                "the line is longer than {MAX_LINE} bytes; write one endpoint a line"
            ),
            Self::NotUtf8 => f.write_str("the line is not UTF-8 text; write plain ASCII"),
            Self::Endpoint { word, error } => write!(f, "invalid endpoint {word}: {error}"),
            Self::Comma => {
                f.write_str("a line has one endpoint; write what follows the comma on the next")
            }
            Self::UnknownOption { word } => write!(
                f,
                "unknown option {word}; only weight=N, priority=N and drain may follow an endpoint"
            ),
            Self::DrainValue { word } => write!(
                f,
                "{word} has a value; write the word drain alone, or remove it to use the endpoint"
            ),
            Self::RepeatedOption { name } => {
                write!(f, "{name} is given more than once; write it once")
            }
            Self::NotANumber { name, value } => {
                write!(
                    f,
                    "invalid {name} {value}; write a number from 0 to {}",
                    u16::MAX
                )
            }
            Self::TooMany => write!(
                f,
                "there are more than {MAX_MEMBERS} endpoints; remove some"
            ),
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repeated => {
                "the endpoint is given more than once; duplicates are merged, the first counts"
            }
            Self::Scheme => {
                "http:// and https:// in front of endpoints have no effect: the gateway passes TLS \
                 through and does not terminate it"
            }
            Self::AllDrain => {
                "every endpoint has the word drain: all are used as if none had it; remove it where \
                 the member may be used"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(at: &str, priority: u16, weight: u16) -> Member {
        Member {
            at: parse_endpoint(at).unwrap().0,
            priority,
            weight,
            drains: false,
            identity: None,
            source: Source::File,
        }
    }

    #[test]
    fn what_is_read() {
        type Members = &'static [(&'static str, u16, u16)];
        type Odd = &'static [(usize, Oddity)];
        let cases: &[(&[u8], Members, Odd)] = &[
            (b"a:1", &[("a:1", 0, 1)], &[]),
            (
                b"# members\n\n \t\r\na:1\r\n  [::1]:2 # b\n10.0.0.1:3\t#c\n",
                &[("a:1", 0, 1), ("[::1]:2", 0, 1), ("10.0.0.1:3", 0, 1)],
                &[],
            ),
            (
                b"a:1 weight=0 priority=65535\nb:1   priority=3\tweight=65535 # x=1\nc:1 #weight=9",
                &[("a:1", 65535, 0), ("b:1", 3, 65535), ("c:1", 0, 1)],
                &[],
            ),
            // The scheme is stripped, a name is the same in any case, the first of equals counts.
            (
                b"https://A:1/ weight=5\na:1\n\nhttp://b:1\nA:1",
                &[("a:1", 0, 5), ("b:1", 0, 1)],
                &[(1, Oddity::Scheme), (2, Oddity::Repeated)],
            ),
        ];
        for (text, members, odd) in cases {
            let expected = Listing {
                members: members.iter().map(|(a, p, w)| listed(a, *p, *w)).collect(),
                odd: odd.to_vec(),
            };
            let case = String::from_utf8_lossy(text);
            assert_eq!(parse(text), Ok(expected), "{case}");
        }
    }

    #[test]
    fn the_word_drain() {
        // (text, which drain, what is odd)
        type Odd = &'static [(usize, Oddity)];
        let cases: &[(&str, &[bool], Odd)] = &[
            ("a:1 drain\nb:1", &[true, false], &[]),
            (
                "a:1 weight=2 drain priority=1 # drain\nb:1 # drain\n",
                &[true, false],
                &[],
            ),
            // The first of equals counts, whatever the others say.
            (
                "a:1\na:1 drain\nb:1",
                &[false, false],
                &[(2, Oddity::Repeated)],
            ),
            (
                "a:1 drain\nb:1 drain\n\n",
                &[true, true],
                &[(2, Oddity::AllDrain)],
            ),
            ("\na:1 drain", &[true], &[(2, Oddity::AllDrain)]),
        ];
        for (text, drains, odd) in cases {
            let listing = parse(text.as_bytes()).unwrap();
            let found: Vec<bool> = listing.members.iter().map(|m| m.drains).collect();
            assert_eq!((&*found, &*listing.odd), (*drains, *odd), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let endpoint = |word: &str, error| Cause::Endpoint {
            word: word.to_owned(),
            error,
        };
        let option = |word: &str| Cause::UnknownOption {
            word: word.to_owned(),
        };
        let number = |name, value: &str| Cause::NotANumber {
            name,
            value: value.to_owned(),
        };
        let long = [b"a:1 #".as_slice(), &[b'x'; MAX_LINE]].concat();
        let cases: Vec<(&[u8], Option<usize>, Cause)> = vec![
            (b"", None, Cause::NoEndpoint),
            (b"\n#a:1\n \n", None, Cause::NoEndpoint),
            (
                b"a:1\nb\n",
                Some(2),
                endpoint(
                    "\"b\"",
                    AddrError::MissingPort {
                        proposal: "b:2379".to_owned(),
                    },
                ),
            ),
            (
                b"a:0",
                Some(1),
                endpoint("\"a:0\"", AddrError::PortOutOfRange { lowest: 1 }),
            ),
            // No comment: a blank is missing.
            (
                b"a:1#b",
                Some(1),
                endpoint("\"a:1#b\"", AddrError::Fragment),
            ),
            (b"a:1,b:1", Some(1), Cause::Comma),
            (b"\n\na:1 b:1", Some(3), option("\"b:1\"")),
            (b"a:1 Weight=1", Some(1), option("\"Weight=1\"")),
            (b"a:1 weight = 1", Some(1), option("\"weight\"")),
            (b"a:1 \x1b[2J\x00", Some(1), option("\"\\u{1b}[2J\\0\"")),
            (
                b"a:1 weight=1 weight=1",
                Some(1),
                Cause::RepeatedOption { name: "weight" },
            ),
            (
                b"a:1 drain weight=1 drain",
                Some(1),
                Cause::RepeatedOption { name: "drain" },
            ),
            (
                b"a:1 drain=yes",
                Some(1),
                Cause::DrainValue {
                    word: "\"drain=yes\"".to_owned(),
                },
            ),
            (b"a:1 Drain", Some(1), option("\"Drain\"")),
            (
                b"drain a:1",
                Some(1),
                Cause::Endpoint {
                    word: "\"drain\"".to_owned(),
                    error: AddrError::MissingPort {
                        proposal: "drain:2379".to_owned(),
                    },
                },
            ),
            (b"a:1 weight=", Some(1), number("weight", "\"\"")),
            (b"a:1 weight=-1", Some(1), number("weight", "\"-1\"")),
            (b"a:1 priority=+1", Some(1), number("priority", "\"+1\"")),
            (
                b"a:1 priority=65536",
                Some(1),
                number("priority", "\"65536\""),
            ),
            (
                b"a:1 weight=99999999999999999999",
                Some(1),
                number("weight", "\"99999999999999999999\""),
            ),
            (b"a:1\n\xffb:1", Some(2), Cause::NotUtf8),
            (&long, Some(1), Cause::LineTooLong),
            // What a file system leaves behind after a crash.
            (
                b"\0\0\0\0",
                Some(1),
                endpoint("\"\\0\\0\\0\\0\"", AddrError::NameCharacter('\0')),
            ),
        ];
        for (text, line, cause) in cases {
            let case = String::from_utf8_lossy(text);
            let message = cause.to_string();
            assert!(
                !message.contains(char::is_control) && message.len() < 200,
                "{message}"
            );
            assert_eq!(parse(text), Err(Error { line, cause }), "{case}");
        }
    }

    #[test]
    fn as_many_as_may_be_and_no_more() {
        let text = |count: usize| -> String { (0..count).map(|i| format!("m{i}:1\n")).collect() };
        let most = text(MAX_MEMBERS);
        assert_eq!(parse(most.as_bytes()).unwrap().members.len(), MAX_MEMBERS);
        // Those that stand there already are not more.
        let twice = most.repeat(2);
        assert_eq!(parse(twice.as_bytes()).unwrap().members.len(), MAX_MEMBERS);
        let refused = parse(text(MAX_MEMBERS + 1).as_bytes()).unwrap_err();
        assert_eq!(
            (refused.line, refused.cause),
            (Some(MAX_MEMBERS + 1), Cause::TooMany)
        );
    }
}
