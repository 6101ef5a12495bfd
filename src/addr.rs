//! Addresses as an operator writes them: `host:port`, `[v6]:port`, `:port`, and as URLs where those are allowed.
//!
//! This is the only place that strips a scheme. Nothing is resolved: only the form of a
//! host name is checked. A subset of what Go's `net.SplitHostPort` accepts is accepted: the reference reads ports with
//! `Sscanf`, so that it accepts `h:70000`, `h:2379x` and `h:etcd-client` and then serves nothing.
//!
//! Invariants: a port is in range for its use; only `parse_listen` and `parse_metrics` return
//! `Host::Wildcard`; printing a value and parsing the text again gives the same value. Governed by
//! RFC 3986 section 3.2.2 (brackets), RFC 4007 section 11 (zones), RFC 1123 section 2.1
//! and RFC 2181 section 11 (names; `_` occurs in practice, so it is allowed).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The port an etcd member serves clients on (IANA: `etcd-client`).
pub(crate) const ENDPOINT_PORT: u16 = 2379;
/// The default port of the reference.
pub(crate) const LISTEN_PORT: u16 = 23790;
/// The port that is proposed for metrics: the next one.
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
    pub(crate) host: Host,
    /// 1 to 65535; 0 only on an address to listen on, where it means any free port.
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
    /// A name to resolve, in lower case. A final dot is kept: it disables the search list.
    Name(String),
}

/// The scheme that an endpoint was written with; it has no effect on what the gateway does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Why a text is not an address. A `proposal` is the address that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddrError {
    Empty,
    /// Whitespace, at an end or inside.
    Blank,
    /// A scheme other than `http` and `https`.
    UnknownScheme,
    /// Any scheme on an address to listen on.
    SchemeOnListen,
    /// A scheme other than `http` on an address to serve metrics on.
    SchemeOnMetrics,
    /// Any scheme before a domain.
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
        proposal: String,
    },
    MissingPort {
        proposal: String,
    },
    /// The port contains a character that is not a digit: a sign, a service name, anything.
    PortNotDecimal,
    /// The port is below the lowest that is allowed here, or too high.
    PortOutOfRange {
        lowest: u16,
    },
    /// An IPv6 address without brackets.
    Unbracketed {
        proposal: String,
    },
    /// More than one colon, and not an IPv6 address.
    TooManyColons,
    /// `[` without `]`.
    UnclosedBracket,
    /// Something other than a colon after `]`.
    AfterBracket,
    /// The text in brackets is not an IPv6 address.
    NotIp6,
    /// The part after `%` is not the name of an interface.
    BadZone,
    /// Numbers and dots, but not an IPv4 address. Some resolvers read such a text as an
    /// address all the same (`010.0.0.1` as 8.0.0.1), so it is never used as a name.
    NotIp4,
    /// A character that host names do not contain.
    NameCharacter(char),
    /// Two dots in a row, or one at the beginning.
    EmptyLabel,
    /// More than 63 characters between dots.
    LabelTooLong,
    /// More than 253 characters.
    NameTooLong,
}

/// What an address is for: the lowest port, the wildcard and the proposals depend on it.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Endpoint,
    Listen,
    Metrics,
}

/// Reads an endpoint: `host:port`, with or without `http://` or `https://` in any case.
/// After a scheme one `/` may follow the port, because URLs are often written so.
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
    // What a URL may contain besides host and port; none of these is part of an address.
    let url_part = text.chars().find_map(|c| match c {
        '@' => Some(AddrError::User),
        '/' => Some(AddrError::Path),
        '?' => Some(AddrError::Query),
        '#' => Some(AddrError::Fragment),
        _ => None,
    });
    if let Some(part) = url_part {
        return Err(part);
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
        // Metrics are for this host alone, unless the operator says otherwise.
        Use::Endpoint | Use::Metrics => Host::Ip(Ipv4Addr::LOCALHOST.into()),
        Use::Listen => Host::Wildcard,
    };
    AddrError::MissingHost {
        proposal: HostPort { host, port }.to_string(),
    }
}

/// `text`, equal to `head:tail`, has several colons and no brackets. `::1:2379` is itself an
/// IPv6 address: four digits or more at the end are probably meant as a port.
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

/// Whether inet_aton(3), and so getaddrinfo(3), may read `label` as a part of an IPv4 address.
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
        let text = match self {
            Self::MissingHost { proposal } => return write!(f, "has no host; write {proposal}"),
            Self::MissingPort { proposal } => return write!(f, "has no port; write {proposal}"),
            Self::PortOutOfRange { lowest } => {
                return write!(f, "the port must be within {lowest}-65535");
            }
            Self::Unbracketed { proposal } => {
                return write!(f, "an IPv6 address needs brackets; write {proposal}");
            }
            Self::NameCharacter(c) => {
                let allowed = "letters, digits, '-', '_' and '.' only";
                return write!(f, "a host name cannot contain {c:?} ({allowed})");
            }
            Self::LabelTooLong => {
                return write!(f, "the host name has a label longer than {LABEL_MAX}");
            }
            Self::NameTooLong => return write!(f, "the host name is longer than {NAME_MAX}"),
            Self::Empty => "an address is missing; write host:port",
            Self::Blank => "contains whitespace; remove it",
            Self::UnknownScheme => "the scheme must be http:// or https://; write host:port",
            Self::SchemeOnDomain => "has a scheme; write the domain alone",
            Self::AddressAsDomain => {
                "is an address; write a domain, or give addresses to --endpoints"
            }
            Self::SchemeOnListen => "an address to listen on has no scheme; write host:port",
            Self::SchemeOnMetrics => {
                "metrics are served over plain HTTP; write host:port or http://host:port"
            }
            Self::User => "a user has no meaning here; write host:port",
            Self::Path => "a path has no meaning here; write host:port",
            Self::Query => "a query has no meaning here; write host:port",
            Self::Fragment => "a fragment has no meaning here; write host:port",
            Self::PortNotDecimal => "the port must be a decimal number (no sign, no service name)",
            Self::TooManyColons => "has too many colons; write host:port",
            Self::UnclosedBracket => "has no closing bracket; write [address]:port",
            Self::AfterBracket => "only :port may follow the bracket; write [address]:port",
            Self::NotIp6 => "only an IPv6 address may be in brackets",
            Self::BadZone => "the zone after % must be the name of an interface",
            Self::NotIp4 => "is not an IPv4 address of four numbers 0-255",
            Self::EmptyLabel => "the host name has an empty label (an extra dot)",
        };
        f.write_str(text)
    }
}

impl std::error::Error for AddrError {}

#[cfg(test)]
mod tests;
