//! Addresses as an operator writes them: `host:port`, `[v6]:port`, `:port`, and their URL form where there is one.
//!
//! This is the one place that strips a scheme. It resolves nothing and knows no flag: a
//! host name is checked for its form only. What is accepted is a subset of what Go's
//! `net.SplitHostPort` accepts, because the reference reads ports with `Sscanf` and so
//! lets `h:70000`, `h:2379x` and `h:etcd-client` through to serve nothing.
//!
//! Invariants: a port is in range for its use; `Host::Wildcard` comes from `parse_listen`
//! and `parse_metrics` alone; printing a value and parsing the text again gives the same value. Governed by
//! RFC 3986 section 3.2.2 (brackets), RFC 4007 section 11 (zones), RFC 1123 section 2.1
//! and RFC 2181 section 11 (names; `_` occurs in practice, so it is allowed).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The port an etcd member serves clients on (IANA: `etcd-client`).
pub(crate) const ENDPOINT_PORT: u16 = 2379;
/// The port the reference listens on unless told otherwise.
pub(crate) const LISTEN_PORT: u16 = 23790;
/// The port that is proposed to serve metrics on: the next one.
const METRICS_PORT: u16 = 23791;

/// A name is at most this many characters without its final dot (RFC 1035 section 2.3.4:
/// 255 octets on the wire, less the first length and the root).
const NAME_MAX: usize = 253;
/// A label is at most this many characters (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;
/// An interface name is at most this many bytes (Linux `IFNAMSIZ` less its zero byte).
const ZONE_MAX: usize = 15;

/// A host and a TCP port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    /// Where.
    pub(crate) host: Host,
    /// 1 to 65535; 0 only on an address to listen on, meaning any free port.
    pub(crate) port: u16,
}

/// The host part of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// `:port`, every local address of both families; on addresses to listen on only.
    Wildcard,
    /// A literal address.
    Ip(IpAddr),
    /// A literal IPv6 address and the zone (an interface's name or number) that it is valid in.
    Ip6Zone(Ipv6Addr, String),
    /// A name to resolve, in lower case; a final dot is kept, it turns the search list off.
    Name(String),
}

/// The scheme that stood in front of an endpoint; it has no effect on what the gateway does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddrError {
    /// Nothing was written.
    Empty,
    /// A blank, a tab or a line end, at an end or inside.
    Blank,
    /// A scheme other than `http` and `https`.
    UnknownScheme,
    /// Any scheme on an address to listen on.
    SchemeOnListen,
    /// A scheme other than `http` on an address to serve metrics on.
    SchemeOnMetrics,
    /// Any scheme in front of a domain.
    SchemeOnDomain,
    /// A literal address where a domain is needed.
    AddressAsDomain,
    /// `user@` before the host.
    User,
    /// `/…` after the port.
    Path,
    /// `?…` after the port.
    Query,
    /// `#…` after the port.
    Fragment,
    /// A port without a host, where a host is needed, or a number without its colon.
    MissingHost {
        /// The address that was probably meant.
        proposal: String,
    },
    /// A host without a port.
    MissingPort {
        /// The address that was probably meant.
        proposal: String,
    },
    /// The port has a character that is no digit: a sign, a service name, rubbish.
    PortNotDecimal,
    /// The port does not fit.
    PortOutOfRange {
        /// The lowest port allowed here.
        lowest: u16,
    },
    /// An IPv6 address outside of brackets.
    Unbracketed {
        /// The address that was probably meant.
        proposal: String,
    },
    /// More than one colon, and no IPv6 address.
    TooManyColons,
    /// `[` without `]`.
    UnclosedBracket,
    /// Something other than a colon behind `]`.
    AfterBracket,
    /// What stands in brackets is no IPv6 address.
    NotIp6,
    /// The part behind `%` is no interface's name.
    BadZone,
    /// Numbers and dots, but no IPv4 address. Some resolvers read such a text as an
    /// address all the same (`010.0.0.1` as 8.0.0.1), so it is never taken for a name.
    NotIp4,
    /// A character that no host name has.
    NameCharacter(char),
    /// Two dots in a row, or one in front.
    EmptyLabel,
    /// More than 63 characters between dots.
    LabelTooLong,
    /// More than 253 characters.
    NameTooLong,
}

/// What an address is for; it decides on the lowest port, the wildcard and the proposals.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Endpoint,
    Listen,
    Metrics,
}

/// Reads an endpoint: `host:port`, with or without `http://` or `https://` in any case.
/// Behind a scheme one `/` may follow the port, as URLs are often written so.
pub(crate) fn parse_endpoint(text: &str) -> Result<(HostPort, Option<Scheme>), AddrError> {
    let (scheme, rest) = match text.split_once("://") {
        None => (None, text),
        Some((name, rest)) if name.eq_ignore_ascii_case("http") => (Some(Scheme::Http), rest),
        Some((name, rest)) if name.eq_ignore_ascii_case("https") => (Some(Scheme::Https), rest),
        Some(_) => return Err(AddrError::UnknownScheme),
    };
    let authority = match scheme {
        Some(_) => rest.strip_suffix('/').unwrap_or(rest),
        None => rest,
    };
    Ok((parse(authority, Use::Endpoint)?, scheme))
}

/// Reads an address to listen on: `host:port`, `[v6]:port` or `:port`; port 0 is any free one.
pub(crate) fn parse_listen(text: &str) -> Result<HostPort, AddrError> {
    if text.contains("://") {
        return Err(AddrError::SchemeOnListen);
    }
    parse(text, Use::Listen)
}

/// Reads an address to serve metrics on: like one to listen on, or the `http://` URL that
/// `etcd grpc-proxy` wants.
pub(crate) fn parse_metrics(text: &str) -> Result<HostPort, AddrError> {
    let authority = match text.split_once("://") {
        None => text,
        Some((name, rest)) if name.eq_ignore_ascii_case("http") => {
            rest.strip_suffix('/').unwrap_or(rest)
        }
        Some(_) => return Err(AddrError::SchemeOnMetrics),
    };
    parse(authority, Use::Metrics)
}

/// Reads a domain: a host name, in lower case.
pub(crate) fn parse_domain(text: &str) -> Result<String, AddrError> {
    if text.contains("://") {
        return Err(AddrError::SchemeOnDomain);
    }
    match parse_ip4_or_name(text)? {
        Host::Name(name) => Ok(name),
        _ => Err(AddrError::AddressAsDomain),
    }
}

fn parse(text: &str, usage: Use) -> Result<HostPort, AddrError> {
    if text.is_empty() {
        return Err(AddrError::Empty);
    }
    if text.contains(char::is_whitespace) {
        return Err(AddrError::Blank);
    }
    // What a URL may have besides host and port; none of these is part of an address.
    let url_part = text.find(['@', '/', '?', '#']);
    match url_part.and_then(|at| text.get(at..)?.chars().next()) {
        Some('@') => return Err(AddrError::User),
        Some('/') => return Err(AddrError::Path),
        Some('?') => return Err(AddrError::Query),
        Some('#') => return Err(AddrError::Fragment),
        _ => {}
    }
    let (host, port_text) = if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, after) = bracketed
            .split_once(']')
            .ok_or(AddrError::UnclosedBracket)?;
        if !after.is_empty() && !after.starts_with(':') {
            return Err(AddrError::AfterBracket);
        }
        (parse_ip6(inside)?, after.strip_prefix(':'))
    } else {
        match text.rsplit_once(':') {
            Some((head, tail)) if head.contains(':') => {
                return Err(unbracketed(text, head, tail, usage));
            }
            Some(("", port)) => (Host::Wildcard, Some(port)),
            Some((host, port)) => (parse_ip4_or_name(host)?, Some(port)),
            None => {
                // `2379` alone: the port was meant.
                if let Ok(port) = parse_port(text, usage) {
                    return Err(missing_host(port, usage));
                }
                (parse_ip4_or_name(text)?, None)
            }
        }
    };
    let port = match port_text {
        None | Some("") => {
            let port = default_port(usage);
            return Err(if host == Host::Wildcard {
                missing_host(port, usage)
            } else {
                let proposal = HostPort { host, port }.to_string();
                AddrError::MissingPort { proposal }
            });
        }
        Some(digits) => parse_port(digits, usage)?,
    };
    if host == Host::Wildcard && usage == Use::Endpoint {
        return Err(missing_host(port, usage));
    }
    Ok(HostPort { host, port })
}

fn default_port(usage: Use) -> u16 {
    match usage {
        Use::Endpoint => ENDPOINT_PORT,
        Use::Listen => LISTEN_PORT,
        Use::Metrics => METRICS_PORT,
    }
}

fn missing_host(port: u16, usage: Use) -> AddrError {
    let host = match usage {
        // Of metrics nobody else needs to know, unless that is said.
        Use::Endpoint | Use::Metrics => Host::Ip(Ipv4Addr::LOCALHOST.into()),
        Use::Listen => Host::Wildcard,
    };
    AddrError::MissingHost {
        proposal: HostPort { host, port }.to_string(),
    }
}

/// `text`, equal to `head:tail`, has several colons and no brackets. `::1:2379` is itself an
/// IPv6 address: four digits or more at the end are taken for the port that was meant.
fn unbracketed(text: &str, head: &str, tail: &str, usage: Use) -> AddrError {
    let whole = parse_ip6(text);
    let meant = match (parse_ip6(head), parse_port(tail, usage), whole) {
        (Ok(host), Ok(port), Err(_)) => HostPort { host, port },
        (Ok(host), Ok(port), Ok(_)) if tail.len() >= 4 => HostPort { host, port },
        (_, _, Ok(host)) => HostPort {
            host,
            port: default_port(usage),
        },
        _ => return AddrError::TooManyColons,
    };
    AddrError::Unbracketed {
        proposal: meant.to_string(),
    }
}

fn parse_ip6(text: &str) -> Result<Host, AddrError> {
    let (literal, zone) = match text.split_once('%') {
        Some((literal, zone)) => (literal, Some(zone)),
        None => (text, None),
    };
    let ip: Ipv6Addr = literal.parse().map_err(|_| AddrError::NotIp6)?;
    let Some(zone) = zone else {
        // IPv4 written as IPv6 (RFC 4291 section 2.5.5.2) is IPv4.
        return Ok(Host::Ip(IpAddr::V6(ip).to_canonical()));
    };
    let is_zone_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if zone.is_empty() || zone.len() > ZONE_MAX || !zone.bytes().all(is_zone_byte) {
        return Err(AddrError::BadZone);
    }
    Ok(Host::Ip6Zone(ip, zone.to_owned()))
}

fn parse_ip4_or_name(text: &str) -> Result<Host, AddrError> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(bad) = text.chars().find(|&c| !is_name_char(c)) {
        return Err(AddrError::NameCharacter(bad));
    }
    let relative = text.strip_suffix('.').unwrap_or(text);
    if relative.len() > NAME_MAX {
        return Err(AddrError::NameTooLong);
    }
    for label in relative.split('.') {
        if label.is_empty() {
            return Err(AddrError::EmptyLabel);
        }
        if label.len() > LABEL_MAX {
            return Err(AddrError::LabelTooLong);
        }
    }
    if relative.split('.').all(is_inet_aton_number) {
        return Err(AddrError::NotIp4);
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

/// Whether inet_aton(3), and so getaddrinfo(3), may take `label` for a part of an IPv4 address.
fn is_inet_aton_number(label: &str) -> bool {
    match label.strip_prefix("0x").or(label.strip_prefix("0X")) {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn parse_port(text: &str, usage: Use) -> Result<u16, AddrError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AddrError::PortNotDecimal);
    }
    let lowest = match usage {
        Use::Endpoint => 1,
        Use::Listen | Use::Metrics => 0,
    };
    match text.parse() {
        Ok(port) if port >= lowest => Ok(port),
        _ => Err(AddrError::PortOutOfRange { lowest }),
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Wildcard => write!(f, ":{port}"),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{port}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
            Host::Ip6Zone(ip, zone) => write!(f, "[{ip}%{zone}]:{port}"),
            Host::Name(name) => write!(f, "{name}:{port}"),
        }
    }
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an address is missing; write host:port"),
            Self::Blank => f.write_str("has a blank in it; write it without blanks"),
            Self::UnknownScheme => {
                f.write_str("only http:// and https:// may stand in front; write host:port")
            }
            Self::SchemeOnDomain => f.write_str("has a scheme in front; write the domain alone"),
            Self::AddressAsDomain => {
                f.write_str("is an address; write a domain, or give addresses to --endpoints")
            }
            Self::SchemeOnListen => {
                f.write_str("an address to listen on has no scheme; write host:port")
            }
            Self::SchemeOnMetrics => f.write_str(
                "metrics are served over plain HTTP; write host:port or http://host:port",
            ),
            Self::User => f.write_str("a user has no meaning here; write host:port"),
            Self::Path => f.write_str("a path has no meaning here; write host:port"),
            Self::Query => f.write_str("a query has no meaning here; write host:port"),
            Self::Fragment => f.write_str("a fragment has no meaning here; write host:port"),
            Self::MissingHost { proposal } => write!(f, "has no host; write {proposal}"),
            Self::MissingPort { proposal } => write!(f, "has no port; write {proposal}"),
            Self::PortNotDecimal => {
                f.write_str("the port must be a decimal number (no sign, no service name)")
            }
            Self::PortOutOfRange { lowest } => {
                write!(f, "the port must be within {lowest}-65535")
            }
            Self::Unbracketed { proposal } => {
                write!(f, "an IPv6 address needs brackets; write {proposal}")
            }
            Self::TooManyColons => f.write_str("has too many colons; write host:port"),
            Self::UnclosedBracket => f.write_str("has no closing bracket; write [address]:port"),
            Self::AfterBracket => {
                f.write_str("only :port may follow the bracket; write [address]:port")
            }
            Self::NotIp6 => f.write_str("only an IPv6 address may stand in brackets"),
            Self::BadZone => f.write_str("the zone after % must be the name of an interface"),
            Self::NotIp4 => f.write_str("is not an IPv4 address of four numbers 0-255"),
            Self::NameCharacter(c) => write!(
                f,
                "a host name cannot have {c:?} in it (letters, digits, '-', '_' and '.' only)"
            ),
            Self::EmptyLabel => f.write_str("the host name has a dot too many"),
            Self::LabelTooLong => {
                write!(f, "the host name has a label longer than {LABEL_MAX}")
            }
            Self::NameTooLong => write!(f, "the host name is longer than {NAME_MAX}"),
        }
    }
}

impl std::error::Error for AddrError {}

#[cfg(test)]
mod tests;
