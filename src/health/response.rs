//! The parser of answers to a health check: as much of HTTP/1.x as shows whether the member is healthy (RFC 9112).
//!
//! Status 200 is healthy, anything else is not, whatever the content says. Only those fields matter
//! that say where the answer ends, and where a redirect would lead. The parser is liberal
//! where strictness has no use: bare line feeds, no reason phrase, no Content-Length before a
//! close, unknown or odd fields, and interim answers (1xx), which a client skips by RFC 9110 section
//! 15.2; but not 101, because no other protocol was requested. An answer that ends before its
//! Content-Length is a failure; whether a chunked one is complete is not checked. Head and content
//! together are read up to [`MAX_RESPONSE`] octets; what follows is not waited for.
//!
//! Pure: no socket and no clock. Only short printable excerpts of the octets are kept.

#![deny(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::fmt;

use crate::wire::Reader;

/// The most that is read of an answer; the longest one of etcd has some hundred octets.
pub(crate) const MAX_RESPONSE: usize = 8 * 1024;

/// The longest excerpt of an answer, in characters: enough for all checks of /readyz.
const EXCERPT_MAX: usize = 240;

/// The length of the header of an HTTP/2 frame; fewer octets do not show which protocol they are of.
const RECOGNIZABLE: usize = 9;

/// What has been received, if it is not a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of an answer.
    Incomplete,
    /// All of an answer, with status 200.
    Healthy,
}

/// Why an answer does not show that the member is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ended before the first octet.
    Empty,
    /// A record of TLS.
    Tls,
    /// A frame of HTTP/2.
    Http2,
    /// An unknown protocol; an excerpt.
    NotHttp(String),
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version(String),
    /// A malformed status line.
    StatusLine(String),
    /// More than [`MAX_RESPONSE`] octets without content.
    HeadTooLong,
    /// A Content-Length that is not one number.
    Length,
    /// The connection ended within the answer.
    EndsEarly,
    /// Status 3xx, and its Location.
    Redirect { status: String, location: String },
    /// Any other status except 200, and the beginning of the content.
    Status { status: String, content: String },
}

impl Fault {
    /// Whether there was an answer, and not only an end.
    pub(super) fn is_answer(&self) -> bool {
        !matches!(self, Self::Empty | Self::EndsEarly)
    }
}

/// Reads what has been received so far; `ended` says that nothing will follow.
///
/// # Errors
/// Why it does not show that the member is healthy. More octets can then only change an excerpt.
pub(crate) fn parse(received: &[u8], ended: bool) -> Result<Parsed, Fault> {
    let received = received.get(..MAX_RESPONSE).unwrap_or(received);
    let is_full = received.len() == MAX_RESPONSE;
    if !begins_like_http(received) {
        if received.len() < RECOGNIZABLE && !ended {
            return Ok(Parsed::Incomplete);
        }
        return Err(foreign(received));
    }
    let mut reader = Reader::new(received);
    let Some(head) = Head::read(&mut reader)? else {
        return match ended {
            _ if is_full => Err(Fault::HeadTooLong),
            true if received.is_empty() => Err(Fault::Empty),
            true => Err(Fault::EndsEarly),
            false => Ok(Parsed::Incomplete),
        };
    };
    let content = reader.rest();
    let length = head.content_length();
    let is_whole = matches!(length, Length::Octets(length) if content.len() >= length);
    if !is_whole && !is_full && !ended && length != Length::Malformed {
        return Ok(Parsed::Incomplete);
    }
    if head.code != 200 {
        return Err(head.refusal(content));
    }
    match length {
        Length::Malformed => Err(Fault::Length),
        Length::Octets(_) if !is_whole && !is_full => Err(Fault::EndsEarly),
        _ => Ok(Parsed::Healthy),
    }
}

/// Whether these octets, as far as they go, are the beginning of an answer.
fn begins_like_http(received: &[u8]) -> bool {
    received.iter().zip(b"HTTP/").all(|(octet, h)| octet == h)
}

/// Which other protocol was used.
fn foreign(received: &[u8]) -> Fault {
    match received {
        // A record with an alert or a handshake, of any version (RFC 8446 section 5.1).
        [0x15 | 0x16, 3, ..] => Fault::Tls,
        // SETTINGS or GOAWAY of the connection (RFC 9113 section 4.1).
        [_, _, _, 4 | 7, _, 0, 0, 0, 0, ..] => Fault::Http2,
        _ => Fault::NotHttp(excerpt(received)),
    }
}

/// Where the content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Octets(usize),
    /// With the connection.
    Open,
    Malformed,
}

/// Status line and fields.
#[derive(Debug)]
struct Head<'a> {
    code: u16,
    /// The status and the reason phrase, as an excerpt.
    status: String,
    length: Length,
    is_coded: bool,
    location: &'a [u8],
}

impl<'a> Head<'a> {
    /// The head of the answer, after those of interim ones; `None` if it is not complete.
    fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Fault> {
        loop {
            let Some(first) = line(reader) else {
                return Ok(None);
            };
            let mut head = Self::of_status_line(first)?;
            loop {
                match line(reader) {
                    None => return Ok(None),
                    Some(b"") => break,
                    Some(field) => head.note(field),
                }
            }
            if !(100..200).contains(&head.code) || head.code == 101 {
                return Ok(Some(head));
            }
        }
    }

    fn of_status_line(line: &[u8]) -> Result<Self, Fault> {
        let mut words = line.splitn(2, |octet| *octet == b' ');
        let version = words.next().unwrap_or_default();
        match version.strip_prefix(b"HTTP/") {
            Some(b"1.0" | b"1.1") => {}
            Some(_) => return Err(Fault::Version(excerpt(version))),
            None => return Err(Fault::NotHttp(excerpt(line))),
        }
        let status = words.next().unwrap_or_default();
        let code = Self::code(status).ok_or_else(|| Fault::StatusLine(excerpt(line)))?;
        Ok(Self {
            code,
            status: excerpt(status),
            length: Length::Open,
            is_coded: false,
            location: b"",
        })
    }

    /// Three digits, followed by nothing or a space.
    fn code(status: &[u8]) -> Option<u16> {
        let mut reader = Reader::new(status);
        let digits = reader.array::<3>().ok()?;
        if !reader.is_empty() && reader.u8() != Ok(b' ') {
            return None;
        }
        let decimal = digits.iter().all(u8::is_ascii_digit);
        let code = std::str::from_utf8(&digits).ok()?.parse().ok()?;
        (decimal && code >= 100).then_some(code)
    }

    /// Reads a field. One that is malformed or unknown is ignored.
    fn note(&mut self, field: &'a [u8]) {
        let mut parts = field.splitn(2, |octet| *octet == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return;
        };
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = length(value);
            // RFC 9110 section 8.6: equal lengths count as one.
            self.length = match self.length {
                Length::Open => length,
                before if before == length => length,
                _ => Length::Malformed,
            };
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_coded = true;
        } else if name.eq_ignore_ascii_case(b"location") {
            self.location = value;
        }
    }

    /// RFC 9112 section 6.3.
    fn content_length(&self) -> Length {
        match self.code {
            204 | 304 => Length::Octets(0),
            _ if self.is_coded => Length::Open,
            _ => self.length,
        }
    }

    /// The failure that an answer with this head and another status than 200 is.
    fn refusal(self, content: &[u8]) -> Fault {
        let status = self.status;
        if (300..400).contains(&self.code) && !self.location.is_empty() {
            let location = excerpt(self.location);
            return Fault::Redirect { status, location };
        }
        let mut reader = Reader::new(content);
        if self.is_coded {
            // The length of the first chunk.
            let _ = line(&mut reader);
        }
        let content = match self.length {
            Length::Octets(length) if !self.is_coded => content.get(..length).unwrap_or(content),
            _ => reader.rest(),
        };
        let content = excerpt(content);
        Fault::Status { status, content }
    }
}

/// The value of a Content-Length.
fn length(value: &[u8]) -> Length {
    let decimal = value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().map(str::parse::<u64>);
    match number {
        // A length that 32 bits cannot hold is more than will be read.
        Some(Ok(number)) if decimal => Length::Octets(number.try_into().unwrap_or(usize::MAX)),
        _ => Length::Malformed,
    }
}

/// The next complete line, without its end. RFC 9112 section 2.2: a bare LF ends one, too.
fn line<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = reader.clone().rest().iter().position(|o| *o == b'\n')?;
    let line = reader.take(length).ok()?;
    reader.u8().ok()?;
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Octets of a peer as one short line that cannot act on a terminal: successive white space is one
/// space, what is not printable ASCII is a question mark.
fn excerpt(octets: &[u8]) -> String {
    let mut text = String::new();
    for octet in octets.trim_ascii() {
        if text.len() >= EXCERPT_MAX {
            text.push_str("...");
            break;
        }
        match octet {
            b' ' | b'\t' | b'\r' | b'\n' if text.ends_with(' ') => {}
            b' ' | b'\t' | b'\r' | b'\n' => text.push(' '),
            octet if octet.is_ascii_graphic() => text.push(char::from(*octet)),
            _ => text.push('?'),
        }
    }
    text
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMEDY: &str = "ask a port that serves plain HTTP";
        match self {
            Self::Empty => write!(
                f,
                "closed without an answer, as by one that speaks TLS; {REMEDY}"
            ),
            Self::Tls => write!(f, "it speaks TLS; {REMEDY}"),
            Self::Http2 => write!(f, "it speaks HTTP/2 only; {REMEDY}"),
            Self::NotHttp(text) => write!(f, "the answer is not HTTP: {text}"),
            Self::Version(version) => {
                write!(f, "answers in {version}, not in HTTP/1.0 or HTTP/1.1")
            }
            Self::StatusLine(line) => write!(f, "the status line is malformed: {line}"),
            Self::HeadTooLong => write!(f, "the head is longer than {MAX_RESPONSE} octets"),
            Self::Length => f.write_str("200, but the Content-Length is malformed"),
            Self::EndsEarly => f.write_str("closed before the end of the answer"),
            Self::Redirect { status, location } => {
                write!(
                    f,
                    "{status}: redirects are not followed, this one to {location}"
                )
            }
            Self::Status { status, content } if content.is_empty() => f.write_str(status),
            Self::Status { status, content } => write!(f, "{status}: {content}"),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;
