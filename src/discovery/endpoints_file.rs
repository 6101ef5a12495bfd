//! The file of `--endpoints-file`: text in, members out.
//!
//! One endpoint per line, written as for `--endpoints`; `weight=N` and `priority=N` may follow,
//! and mean what they mean in an SRV record (RFC 2782), except that the default weight is 1, so
//! that `weight=2` beside it is twice as much. So may `drain`, which takes the member out for
//! maintenance: it gets no new connection while others serve. Blank lines are skipped, and so is what
//! follows a `#` at the start of a line or behind a blank. A line may end in CR LF.
//!
//! The bytes are untrusted: lines and their number are bounded, and one that is not understood makes all
//! invalid, because half a list is worse than the last good one. A text without any endpoint is invalid
//! too: it is what an interrupted write leaves behind.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::member::{Identity, MAX_ENDPOINTS, Member, memory_for};
use super::polled::{self, Contents, FileError, Parsed, PolledFiles};
use crate::addr::{AddrError, parse_endpoint};
use crate::endpoint::Source;

/// The most octets of a line: a name of 253 characters with all that may follow it, and room
/// for a comment.
const MAX_LINE: usize = 1024;
/// The most octets of a file: the most endpoints, each on the longest line.
const MAX_TEXT: usize = MAX_ENDPOINTS * MAX_LINE;

/// The most characters of a word that a message repeats.
const MAX_QUOTED: usize = 64;

const DEFAULT_WEIGHT: u16 = 1;

/// A list of endpoints on disk.
#[derive(Debug)]
pub(crate) struct EndpointsFile {
    path: PathBuf,
    /// What the members have to prove.
    identity: Identity,
}

impl EndpointsFile {
    pub(super) fn new(path: &Path, identity: Identity) -> Self {
        Self {
            path: path.into(),
            identity,
        }
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }
}

impl PolledFiles for EndpointsFile {
    type Value = Vec<Member>;

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn read(&self) -> Result<Contents, FileError> {
        let text = polled::read(&self.path, MAX_TEXT, "a file with a list of endpoints")?;
        Ok(vec![text])
    }

    fn memory_for(&self, contents: &Contents) -> usize {
        let octets = contents.iter().flatten();
        memory_for(octets.filter(|octet| **octet == b'\n').count() + 1)
    }

    fn parse(&self, contents: Contents) -> Parsed<Vec<Member>> {
        let path = self.path.display();
        let text = contents.first().map(Vec::as_slice).unwrap_or_default();
        let Listing {
            mut members,
            warnings,
        } = parse(text).map_err(|error| {
            FileError::Content(match error.line {
                Some(line) => format!("{path}:{line}: {}", error.cause),
                None => format!("{path}: {}", error.cause),
            })
        })?;
        for member in &mut members {
            member.identity = self.identity.of(&member.at.host);
        }
        let warnings = warnings.into_iter();
        let warnings = warnings.map(|(line, warning)| format!("{path}:{line}: {warning}"));
        Ok((members, warnings.collect()))
    }
}

/// The members of a file: at least one, no two at the same host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) members: Vec<Member>,
    /// What is odd, but not invalid: of each kind the first, with its line.
    pub(crate) warnings: Vec<(usize, Warning)>,
}

/// What is odd about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warning {
    /// An earlier line has the endpoint already.
    Repeated,
    /// `http://` or `https://` stands in front of it.
    Scheme,
    /// It has the word `drain`, and so have all others.
    AllDrain,
}

/// Why a text is not a list of endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// Counted from 1; `None` if it is about the whole.
    pub(crate) line: Option<usize>,
    pub(crate) cause: LineError,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LineError {
    /// No line has an endpoint.
    NoEndpoint,
    TooLong,
    NotUtf8,
    /// The first word is not an endpoint.
    Endpoint {
        word: String,
        error: AddrError,
    },
    /// The first word is several, with commas.
    Comma,
    UnknownOption {
        word: String,
    },
    RepeatedOption {
        name: &'static str,
    },
    /// The word `drain` has a value.
    DrainValue {
        word: String,
    },
    /// The value of an option is not a number of 16 bits.
    NotANumber {
        name: &'static str,
        value: String,
    },
    TooManyEndpoints,
}

/// Reads the text of an endpoints file.
///
/// # Errors
/// If a line is not understood, or none has an endpoint.
pub(crate) fn parse(text: &[u8]) -> Result<Listing, Error> {
    let mut members: Vec<Member> = Vec::new();
    let mut warnings: Vec<(usize, Warning)> = Vec::new();
    let mut known = HashSet::new();
    let mut last = 0;
    for (index, octets) in text.split(|octet| *octet == b'\n').enumerate() {
        let number = index.saturating_add(1);
        let failed = |cause| Error {
            line: Some(number),
            cause,
        };
        let mut warn = |warning| {
            if warnings.iter().all(|(_, noted)| *noted != warning) {
                warnings.push((number, warning));
            }
        };
        let Some((member, has_scheme)) = parse_line(octets).map_err(failed)? else {
            continue;
        };
        if has_scheme {
            warn(Warning::Scheme);
        }
        if !known.insert(member.at.clone()) {
            warn(Warning::Repeated);
        } else if members.len() == MAX_ENDPOINTS {
            return Err(failed(LineError::TooManyEndpoints));
        } else {
            members.push(member);
            last = number;
        }
    }
    if members.is_empty() {
        return Err(Error {
            line: None,
            cause: LineError::NoEndpoint,
        });
    }
    if members.iter().all(|member| member.drains) {
        warnings.push((last, Warning::AllDrain));
    }
    Ok(Listing { members, warnings })
}

/// The member of one line, and whether it has a scheme; `None` if the line is blank or a comment.
fn parse_line(octets: &[u8]) -> Result<Option<(Member, bool)>, LineError> {
    if octets.len() > MAX_LINE {
        return Err(LineError::TooLong);
    }
    let text = std::str::from_utf8(octets).map_err(|_| LineError::NotUtf8)?;
    let mut words = text
        .split_ascii_whitespace()
        .take_while(|word| !word.starts_with('#'));
    let Some(first) = words.next() else {
        return Ok(None);
    };
    if first.contains(',') {
        return Err(LineError::Comma);
    }
    let (at, scheme) = parse_endpoint(first).map_err(|error| LineError::Endpoint {
        word: quoted(first),
        error,
    })?;
    let (mut priority, mut weight, mut drains) = (None, None, None);
    for word in words {
        let (name, option, value) = match word.split_once('=') {
            Some(("weight", value)) => ("weight", &mut weight, number("weight", value)?),
            Some(("priority", value)) => ("priority", &mut priority, number("priority", value)?),
            Some(("drain", _)) => return Err(LineError::DrainValue { word: quoted(word) }),
            None if word == "drain" => ("drain", &mut drains, 1),
            _ => return Err(LineError::UnknownOption { word: quoted(word) }),
        };
        if option.replace(value).is_some() {
            return Err(LineError::RepeatedOption { name });
        }
    }
    let member = Member {
        at,
        priority: priority.unwrap_or(0),
        weight: weight.unwrap_or(DEFAULT_WEIGHT),
        drains: drains.is_some(),
        identity: None,
        source: Source::File,
    };
    Ok(Some((member, scheme.is_some())))
}

/// The value of an option. Digits alone: a sign or a blank is not a number here.
fn number(name: &'static str, value: &str) -> Result<u16, LineError> {
    let is_decimal = value.bytes().all(|octet| octet.is_ascii_digit());
    let number = value.parse().ok().filter(|_| is_decimal);
    number.ok_or_else(|| LineError::NotANumber {
        name,
        value: quoted(value),
    })
}

/// A word as a message may have it: quoted, escaped and cut.
fn quoted(word: &str) -> String {
    let head: String = word.chars().take(MAX_QUOTED).collect();
    format!("{head:?}")
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("has no endpoints; write host:port, one per line"),
            Self::TooLong => write!(
                f,
                "the line is longer than {MAX_LINE} bytes; write one endpoint per line"
            ),
            Self::NotUtf8 => f.write_str("the line is not UTF-8 text; write plain ASCII"),
            Self::Endpoint { word, error } => write!(f, "invalid endpoint {word}: {error}"),
            Self::Comma => f.write_str(
                "a line has one endpoint; write what follows the comma on the next line",
            ),
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
                let most = u16::MAX;
                write!(f, "invalid {name} {value}; write a number from 0 to {most}")
            }
            Self::TooManyEndpoints => write!(
                f,
                "there are more than {MAX_ENDPOINTS} endpoints; remove some"
            ),
        }
    }
}

impl fmt::Display for Warning {
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
    use super::super::polled::Polled;
    use super::super::tests::files::Site;
    use super::*;
    use std::io;

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
    fn valid_lists() {
        type Members = &'static [(&'static str, u16, u16)];
        type Odd = &'static [(usize, Warning)];
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
                &[(1, Warning::Scheme), (2, Warning::Repeated)],
            ),
        ];
        for (text, members, odd) in cases {
            let expected = Listing {
                members: members.iter().map(|(a, p, w)| listed(a, *p, *w)).collect(),
                warnings: odd.to_vec(),
            };
            let case = String::from_utf8_lossy(text);
            assert_eq!(parse(text), Ok(expected), "{case}");
        }
    }

    #[test]
    fn the_drain_option() {
        // (text, which drain, what is odd)
        type Odd = &'static [(usize, Warning)];
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
                &[(2, Warning::Repeated)],
            ),
            (
                "a:1 drain\nb:1 drain\n\n",
                &[true, true],
                &[(2, Warning::AllDrain)],
            ),
            ("\na:1 drain", &[true], &[(2, Warning::AllDrain)]),
        ];
        for (text, drains, odd) in cases {
            let listing = parse(text.as_bytes()).unwrap();
            let found: Vec<bool> = listing.members.iter().map(|m| m.drains).collect();
            assert_eq!((&*found, &*listing.warnings), (*drains, *odd), "{text}");
        }
    }

    #[test]
    fn invalid_lists() {
        let endpoint = |word: &str, error| LineError::Endpoint {
            word: word.to_owned(),
            error,
        };
        let option = |word: &str| LineError::UnknownOption {
            word: word.to_owned(),
        };
        let number = |name, value: &str| LineError::NotANumber {
            name,
            value: value.to_owned(),
        };
        let long = [b"a:1 #".as_slice(), &[b'x'; MAX_LINE]].concat();
        let cases: Vec<(&[u8], Option<usize>, LineError)> = vec![
            (b"", None, LineError::NoEndpoint),
            (b"\n#a:1\n \n", None, LineError::NoEndpoint),
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
            (b"a:1,b:1", Some(1), LineError::Comma),
            (b"\n\na:1 b:1", Some(3), option("\"b:1\"")),
            (b"a:1 Weight=1", Some(1), option("\"Weight=1\"")),
            (b"a:1 weight = 1", Some(1), option("\"weight\"")),
            (b"a:1 \x1b[2J\x00", Some(1), option("\"\\u{1b}[2J\\0\"")),
            (
                b"a:1 weight=1 weight=1",
                Some(1),
                LineError::RepeatedOption { name: "weight" },
            ),
            (
                b"a:1 drain weight=1 drain",
                Some(1),
                LineError::RepeatedOption { name: "drain" },
            ),
            (
                b"a:1 drain=yes",
                Some(1),
                LineError::DrainValue {
                    word: "\"drain=yes\"".to_owned(),
                },
            ),
            (b"a:1 Drain", Some(1), option("\"Drain\"")),
            (
                b"drain a:1",
                Some(1),
                LineError::Endpoint {
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
            (b"a:1\n\xffb:1", Some(2), LineError::NotUtf8),
            (&long, Some(1), LineError::TooLong),
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
    fn the_number_of_endpoints_is_bounded() {
        let text = |count: usize| -> String { (0..count).map(|i| format!("m{i}:1\n")).collect() };
        let most = text(MAX_ENDPOINTS);
        assert_eq!(parse(most.as_bytes()).unwrap().members.len(), MAX_ENDPOINTS);
        // Those that stand there already are not more.
        let twice = most.repeat(2);
        assert_eq!(
            parse(twice.as_bytes()).unwrap().members.len(),
            MAX_ENDPOINTS
        );
        let refused = parse(text(MAX_ENDPOINTS + 1).as_bytes()).unwrap_err();
        assert_eq!(
            (refused.line, refused.cause),
            (Some(MAX_ENDPOINTS + 1), LineError::TooManyEndpoints)
        );
    }

    #[test]
    fn the_remedy_fits_the_error() {
        for (number, said) in [
            (
                2,
                "no such file or directory; name a file that this user may read",
            ),
            (13, "permission denied; name a file that this user may read"),
            (12, "cannot allocate memory; free memory of this host, or "),
            (23, "too many open files in system; raise fs.file-max"),
            (24, "too many open files; raise the limit on open files"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            let error = FileError::Unreadable("/a".into(), error);
            let expected = format!("/a: cannot be read: {said}");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn errors_of_the_first_read_name_the_file() {
        let site = Site::new("first");
        site.write("bad", "a:1\nb:1 weight=x");
        site.write("empty", "# none\n");
        site.write("large", &"#\n".repeat(MAX_TEXT / 2 + 1));
        let dir = site.0.display();
        let error = |path: &Path| {
            let opened = Polled::open(EndpointsFile::new(path, Identity::None));
            opened.map(|_| ()).unwrap_err().to_string()
        };
        for (name, text) in [
            (
                "bad",
                ":2: invalid weight \"x\"; write a number from 0 to 65535",
            ),
            ("empty", ": has no endpoints; write host:port, one per line"),
            (
                "large",
                ": is larger than 1048576 bytes; name a file with a list of endpoints",
            ),
            (
                "none",
                ": cannot be read: no such file or directory; name a file that this user may read",
            ),
            (
                ".",
                ": is not a regular file; name a file with a list of endpoints",
            ),
        ] {
            assert_eq!(error(&site.path(name)), format!("{dir}/{name}{text}"));
        }
        assert_eq!(
            error(Path::new("/dev/zero")),
            "/dev/zero: is not a regular file; name a file with a list of endpoints"
        );
    }
}
