//! As much of HTTP/1.1 as a read-only server needs: the strict parser of the head of a request, and
//! the bytes of a response.
//!
//! RFC 9112 for the syntax, RFC 9110 for the meaning. What a lenient server accepts is
//! rejected: a bare LF or CR, a folded field, a space before the colon, a control character, two hosts. No
//! request may have a body, and each connection carries one exchange, so there is no framing to
//! disagree about, which attacks on HTTP/1.1 need; what follows the head is never
//! read. Pure: no socket and no clock. A head is at most [`MAX_HEAD`] octets, and a parsed
//! request borrows from it.

#![deny(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use std::fmt::{Display, Write};
use std::net::Ipv6Addr;

/// The longest head of a request: what nginx and Apache take, and ten times what a browser
/// sends.
pub(crate) const MAX_HEAD: usize = 8 * 1024;

/// The most fields of a request; Apache's limit.
const MAX_FIELDS: usize = 100;

/// The status of a response: code and reason phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(&'static str);

impl Status {
    pub(crate) const OK: Self = Self("200 OK");
    pub(crate) const BAD_REQUEST: Self = Self("400 Bad Request");
    pub(crate) const NOT_FOUND: Self = Self("404 Not Found");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self("405 Method Not Allowed");
    pub(crate) const REQUEST_TIMEOUT: Self = Self("408 Request Timeout");
    pub(crate) const CONTENT_TOO_LARGE: Self = Self("413 Content Too Large");
    pub(crate) const URI_TOO_LONG: Self = Self("414 URI Too Long");
    pub(crate) const FIELDS_TOO_LARGE: Self = Self("431 Request Header Fields Too Large");
    pub(crate) const UNAVAILABLE: Self = Self("503 Service Unavailable");
    pub(crate) const VERSION_NOT_SUPPORTED: Self = Self("505 HTTP Version Not Supported");

    pub(crate) fn line(self) -> &'static str {
        self.0
    }
}

/// A request that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) path: &'a str,
    /// What follows the question mark after the path; empty without one.
    pub(crate) query: &'a str,
    /// The Accept field names HTML, as that of browsers does.
    pub(crate) takes_html: bool,
    /// HEAD: the response has no content.
    pub(crate) head_only: bool,
}

/// Reads what has been received so far: a request once its head is complete.
///
/// # Errors
/// What to answer to octets that cannot become a request, whatever follows.
pub(crate) fn parse(received: &[u8]) -> Result<Option<Request<'_>>, Status> {
    head(received)?.map(request).transpose()
}

/// Whether these octets begin a HEAD request: also the response that rejects one has no
/// content (RFC 9110 section 9.3.2).
pub(crate) fn is_head(received: &[u8]) -> bool {
    from_first_line(received).starts_with(b"HEAD ")
}

/// RFC 9112 section 2.2: one empty line before a request is ignored.
fn from_first_line(received: &[u8]) -> &[u8] {
    received.strip_prefix(b"\r\n").unwrap_or(received)
}

/// The head without the empty line that ends it, once it is complete.
fn head(received: &[u8]) -> Result<Option<&str>, Status> {
    let text = from_first_line(received);
    let bounded = text.get(..MAX_HEAD).unwrap_or(text);
    let end = bounded.windows(4).position(|window| window == b"\r\n\r\n");
    let head = end.and_then(|end| bounded.get(..end)).unwrap_or(bounded);
    let ended = end.and_then(|end| bounded.get(..end.saturating_add(4)));
    // The value of a field may have octets above ASCII (obs-text), which have no meaning here.
    let is_text = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | 0x20..=0x7e | 0x80..=0xff);
    if !head.iter().all(is_text) || has_bare_end(ended.unwrap_or(bounded)) {
        return Err(Status::BAD_REQUEST);
    }
    if end.is_none() && text.len() >= MAX_HEAD {
        let in_request_line = !bounded.windows(2).any(|window| window == b"\r\n");
        return Err(if in_request_line {
            Status::URI_TOO_LONG
        } else {
            Status::FIELDS_TOO_LARGE
        });
    }
    if end.is_none() {
        return Ok(None);
    }
    // Clients send ASCII only; a value in UTF-8 is accepted.
    std::str::from_utf8(head)
        .map(Some)
        .map_err(|_| Status::BAD_REQUEST)
}

/// Whether there is a CR without an LF or the other way round: whatever follows, that does not become a request.
fn has_bare_end(text: &[u8]) -> bool {
    let is_bare =
        |pair: &[u8]| matches!(pair, [before, after] if (*before == b'\r') != (*after == b'\n'));
    text.starts_with(b"\n") || text.windows(2).any(is_bare)
}

/// Request line and fields.
fn request(head: &str) -> Result<Request<'_>, Status> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Status::BAD_REQUEST);
    };
    if !is_token(method) {
        return Err(Status::BAD_REQUEST);
    }
    let has_host_by_rule = match version.strip_prefix("HTTP/").map(str::as_bytes) {
        Some([b'1', b'.', minor]) if minor.is_ascii_digit() => *minor != b'0',
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Status::VERSION_NOT_SUPPORTED);
        }
        _ => return Err(Status::BAD_REQUEST),
    };
    let fields = Fields::read(lines)?;
    // RFC 9112 section 3.2.
    if fields.hosts > 1 || has_host_by_rule && fields.hosts == 0 {
        return Err(Status::BAD_REQUEST);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Status::METHOD_NOT_ALLOWED),
    };
    if fields.has_body {
        return Err(Status::CONTENT_TOO_LARGE);
    }
    let (path, query) = path_and_query(target).ok_or(Status::BAD_REQUEST)?;
    Ok(Request {
        path,
        query,
        takes_html: fields.takes_html,
        head_only,
    })
}

/// The path and the query of a target in origin-form or absolute-form (RFC 9112 section 3.2).
fn path_and_query(target: &str) -> Option<(&str, &str)> {
    if !target.bytes().all(|octet| octet.is_ascii_graphic()) || target.contains('#') {
        return None;
    }
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, origin) = rest.split_at(end);
            // RFC 9110 section 4.2.1: one without a host has to be rejected.
            if !is_authority(authority) || authority.is_empty() || authority.starts_with(':') {
                return None;
            }
            origin
        }
        _ if target.starts_with('/') => target,
        _ => return None,
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    // Only the absolute form can omit the path.
    Some((if path.is_empty() { "/" } else { path }, query))
}

/// What matters here of the fields.
#[derive(Debug, Default)]
struct Fields {
    hosts: usize,
    has_body: bool,
    takes_html: bool,
}

impl Fields {
    fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, Status> {
        let mut fields = Self::default();
        let mut length: Option<&str> = None;
        let mut coded = false;
        for (count, line) in lines.enumerate() {
            if count >= MAX_FIELDS {
                return Err(Status::FIELDS_TOO_LARGE);
            }
            // A folded line begins with a space, so its name is not a token.
            let (name, value) = line.split_once(':').ok_or(Status::BAD_REQUEST)?;
            if !is_token(name) {
                return Err(Status::BAD_REQUEST);
            }
            let value = value.trim_matches([' ', '\t']);
            if name.eq_ignore_ascii_case("host") {
                if !is_authority(value) {
                    return Err(Status::BAD_REQUEST);
                }
                fields.hosts = fields.hosts.saturating_add(1);
            } else if name.eq_ignore_ascii_case("content-length") {
                let digits = !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit());
                if !digits || length.is_some_and(|other| other != value) {
                    return Err(Status::BAD_REQUEST);
                }
                length = Some(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                coded = true;
            } else if name.eq_ignore_ascii_case("accept") {
                fields.takes_html |= value.split(',').any(is_html);
            }
        }
        // RFC 9112 section 6.3: a request with both "ought to be handled as an error".
        if coded && length.is_some() {
            return Err(Status::BAD_REQUEST);
        }
        let long = length.is_some_and(|value| value.bytes().any(|octet| octet != b'0'));
        fields.has_body = coded || long;
        Ok(fields)
    }
}

/// Whether a part of an Accept field names HTML with a weight above 0 (RFC 9110 sections 12.4.2 and 12.5.1).
fn is_html(range: &str) -> bool {
    let mut parts = range.split(';').map(|part| part.trim_matches([' ', '\t']));
    let is_named = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("text/html"));
    let is_zero = |weight: &str| weight.trim_matches(['0', '.']).is_empty();
    let mut weights = parts.filter_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    is_named && !weights.any(is_zero)
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2): the value of a Host field, which may be empty. It must not
/// have a user in it, nor a comma, which joins two fields.
fn is_authority(text: &str) -> bool {
    let (is_host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let Some((literal, port)) = bracketed.split_once(']') else {
            return false;
        };
        (literal.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (is_registered_name(name), port)
    };
    let is_port = |digits: &str| digits.bytes().all(|octet| octet.is_ascii_digit());
    is_host && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// A `reg-name` (RFC 3986 section 3.2.2) without a comma, which an IPv4 address is, too.
fn is_registered_name(text: &str) -> bool {
    let mut parts = text.split('%');
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&octet);
    let is_plain = |part: &str| part.bytes().all(plain);
    let is_escaped = |part: &str| {
        let digits = part.bytes().take(2);
        digits.filter(u8::is_ascii_hexdigit).count() == 2 && is_plain(part)
    };
    parts.next().is_some_and(is_plain) && parts.all(is_escaped)
}

/// A token (RFC 9110 section 5.6.2), as methods and names of fields are.
fn is_token(text: &str) -> bool {
    let in_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    !text.is_empty() && text.bytes().all(in_token)
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: Status,
    pub(crate) content_type: &'static str,
    pub(crate) content: String,
    /// Further fields, each with its line end.
    pub(crate) more: &'static str,
}

impl Response {
    /// The content that was requested.
    pub(crate) fn ok(content_type: &'static str, content: String) -> Self {
        Self {
            status: Status::OK,
            content_type,
            content,
            more: "",
        }
    }

    /// A line of text.
    pub(crate) fn text(status: Status, line: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            content: format!("{line}\n"),
            // RFC 9110 section 15.5.6.
            more: match status {
                Status::METHOD_NOT_ALLOWED => "Allow: GET, HEAD\r\n",
                _ => "",
            },
        }
    }

    /// What is sent at this `date`. Content-Length is that of the content also where only the
    /// head is sent.
    pub(crate) fn bytes(&self, date: &impl Display, head_only: bool) -> Vec<u8> {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "HTTP/1.1 {}\r\nDate: {date}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{}\r\n",
            self.status.line(),
            self.content_type,
            self.content.len(),
            self.more
        );
        if !head_only {
            text.push_str(&self.content);
        }
        text.into_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;
