//! The URL of `--health-check`, which is requested from each member.
//!
//! The scheme is `http://`. Without a host each member is asked at its own address, without a port
//! at its own port: `http://:2381/readyz` is port 2381 of every member. A host is an address and
//! never a name: a name would have to be resolved before each check, and with a slow DNS server
//! all members would seem unhealthy.
//!
//! The path is sent as it is written: printable ASCII, of a bounded length, so that nothing in it
//! can end a line of the request (RFC 9112 section 3.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// More than any health check of etcd has, and far less than servers refuse as too long.
const LENGTH_MAX: usize = 1024;

/// An `http` URL whose host and port may be those of each endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// `None`: each endpoint's own address.
    host: Option<IpAddr>,
    /// `None`: each endpoint's own port.
    port: Option<u16>,
    /// Begins with a slash.
    path: String,
}

/// Why a text is not such a URL. `Display` says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UrlError {
    /// No `://` in it.
    NoScheme,
    /// `https://` in front.
    Https,
    /// Any other scheme.
    UnknownScheme,
    /// More than [`LENGTH_MAX`] octets.
    TooLong,
    /// A blank, a control character, or one that is not ASCII.
    Character(char),
    /// `user@` before the host.
    User,
    /// `#` and what follows it, which is never sent.
    Fragment,
    /// A host that is not an address.
    Name,
    /// An address that stands for all of a host's, such as 0.0.0.0.
    Wildcard,
    /// The zone of an IPv6 address.
    Zone,
    /// `[` without `]`, or what stands between them is not an IPv6 address.
    NotIp6,
    /// An IPv6 address outside of brackets.
    Unbracketed,
    /// A colon without a port, or one that is not a number from 1 to 65535.
    Port,
}

impl Url {
    /// Parses a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > LENGTH_MAX {
            return Err(UrlError::TooLong);
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(UrlError::Character(bad));
        }
        let rest = match text.split_once("://") {
            None => return Err(UrlError::NoScheme),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(UrlError::Https);
            }
            Some(_) => return Err(UrlError::UnknownScheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = parse_authority(authority)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            host,
            port,
            path: format!("{slash}{path}"),
        })
    }

    /// Where the endpoint at this address is asked.
    pub(crate) fn target(&self, endpoint: SocketAddr) -> SocketAddr {
        let mut target = endpoint;
        if let Some(host) = self.host {
            target = SocketAddr::new(host, endpoint.port());
        }
        if let Some(port) = self.port {
            target.set_port(port);
        }
        target
    }

    /// The path, and the query if there is one.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

fn parse_authority(text: &str) -> Result<(Option<IpAddr>, Option<u16>), UrlError> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']').ok_or(UrlError::NotIp6)?;
        if inside.contains('%') {
            return Err(UrlError::Zone);
        }
        let ip: Ipv6Addr = inside.parse().map_err(|_| UrlError::NotIp6)?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(UrlError::Port),
        };
        (Some(IpAddr::V6(ip)), port)
    } else {
        let (host, port) = match text.split_once(':') {
            // Of `::1` too, what follows the first colon has another one.
            Some((_, port)) if port.contains(':') => return Err(UrlError::Unbracketed),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let ip = match host {
            "" => None,
            "*" => return Err(UrlError::Wildcard),
            host => Some(host.parse::<Ipv4Addr>().map_err(|_| UrlError::Name)?),
        };
        (ip.map(IpAddr::V4), port)
    };
    if host.is_some_and(|ip| ip.to_canonical().is_unspecified()) {
        return Err(UrlError::Wildcard);
    }
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    // `u16::from_str` takes a plus sign.
    let decimal = text.bytes().all(|octet| octet.is_ascii_digit());
    match text.parse() {
        Ok(port) if decimal && port > 0 => Ok(port),
        _ => Err(UrlError::Port),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("http://")?;
        match self.host {
            Some(IpAddr::V4(ip)) => write!(f, "{ip}")?,
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            None => {}
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str(
                "write off, or a URL such as http://:2381/readyz for port 2381 of each member",
            ),
            Self::Https => f.write_str(
                "members are asked over plain http; have etcd serve its health there with \
                 --listen-metrics-urls=http://...:2381, and write http://:2381/readyz",
            ),
            Self::UnknownScheme => f.write_str("only http:// may stand in front"),
            Self::TooLong => write!(f, "is longer than {LENGTH_MAX} octets"),
            Self::Character(c) => write!(
                f,
                "a URL cannot have {c:?} in it; write % and two hexadecimal digits per octet"
            ),
            Self::User => f.write_str("a user is not sent; write http://:2381/readyz"),
            Self::Fragment => f.write_str("what follows # is never sent; remove it"),
            Self::Name => f.write_str(
                "the host must be an IP address, because a name would be resolved for each \
                 check; without a host, as in http://:2381/readyz, each member is asked at its \
                 own address",
            ),
            Self::Wildcard => f.write_str(
                "the host is not one address, and would be this host; without a host, as in \
                 http://:2381/readyz, each member is asked at its own address",
            ),
            Self::Zone => f.write_str(
                "an address with a zone cannot be written here; without a host each member is \
                 asked at its own address and zone",
            ),
            Self::NotIp6 => f.write_str("only an IPv6 address may stand in brackets"),
            Self::Unbracketed => {
                f.write_str("an IPv6 address needs brackets; write http://[address]:port/path")
            }
            Self::Port => f.write_str(
                "the port must be a number from 1 to 65535; without a colon and port each \
                 member is asked at its own port",
            ),
        }
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_the_endpoints_unless_they_are_given() {
        // (URL, as it is printed, of 10.0.0.1:2379, of [fe80::1%3]:2379, path)
        let cases = [
            (
                "http://:2381/readyz",
                "http://:2381/readyz",
                "10.0.0.1:2381",
                "[fe80::1%3]:2381",
                "/readyz",
            ),
            (
                "http:///health",
                "http:///health",
                "10.0.0.1:2379",
                "[fe80::1%3]:2379",
                "/health",
            ),
            (
                "http://10.0.0.9:2381/health?exclude=NOSPACE",
                "http://10.0.0.9:2381/health?exclude=NOSPACE",
                "10.0.0.9:2381",
                "10.0.0.9:2381",
                "/health?exclude=NOSPACE",
            ),
            (
                "HTTP://[fd00:0::1]:02381/x",
                "http://[fd00::1]:2381/x",
                "[fd00::1]:2381",
                "[fd00::1]:2381",
                "/x",
            ),
            (
                "http://10.0.0.9/a",
                "http://10.0.0.9/a",
                "10.0.0.9:2379",
                "10.0.0.9:2379",
                "/a",
            ),
            (
                "http://[::1]",
                "http://[::1]/",
                "[::1]:2379",
                "[::1]:2379",
                "/",
            ),
            // A path is never without its slash, and what looks like a host or a user in it is
            // neither.
            (
                "http://:1?a=b@c://d",
                "http://:1/?a=b@c://d",
                "10.0.0.1:1",
                "[fe80::1%3]:1",
                "/?a=b@c://d",
            ),
            (
                "http://",
                "http:///",
                "10.0.0.1:2379",
                "[fe80::1%3]:2379",
                "/",
            ),
            (
                "http://:65535//a/../%20",
                "http://:65535//a/../%20",
                "10.0.0.1:65535",
                "[fe80::1%3]:65535",
                "//a/../%20",
            ),
        ];
        for (text, printed, ip4, ip6, path) in cases {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.to_string(), printed);
            assert_eq!(Url::parse(printed).as_ref(), Ok(&url), "printed and read");
            let [one, other] = ["10.0.0.1:2379", "[fe80::1%3]:2379"]
                .map(|endpoint| url.target(endpoint.parse().unwrap()).to_string());
            assert_eq!((one.as_str(), other.as_str()), (ip4, ip6), "{text}");
            assert_eq!(url.path(), path, "{text}");
        }
    }

    #[test]
    fn invalid_urls() {
        let longest = format!("http://{}", "/".repeat(LENGTH_MAX - 7));
        assert!(Url::parse(&longest).is_ok());
        let longer = format!("{longest}/");
        let cases = [
            ("", UrlError::NoScheme),
            ("on", UrlError::NoScheme),
            ("/readyz", UrlError::NoScheme),
            (":2381/readyz", UrlError::NoScheme),
            ("10.0.0.1:2381/readyz", UrlError::NoScheme),
            ("http:/readyz", UrlError::NoScheme),
            ("https://:2379/health", UrlError::Https),
            ("HTTPS://", UrlError::Https),
            ("unix:///run/etcd.sock", UrlError::UnknownScheme),
            ("://", UrlError::UnknownScheme),
            (" http://:1/", UrlError::Character(' ')),
            ("http://:1/a b", UrlError::Character(' ')),
            ("http://:1/\r\nHost: x", UrlError::Character('\r')),
            ("http://:1/a\tb", UrlError::Character('\t')),
            ("http://:1/\u{7f}", UrlError::Character('\u{7f}')),
            ("http://:1/\u{fc}", UrlError::Character('\u{fc}')),
            ("http://u:p@10.0.0.1:1/", UrlError::User),
            ("http://@/", UrlError::User),
            ("http://:1/#x", UrlError::Fragment),
            ("http://#", UrlError::Fragment),
            ("http://localhost:2381/", UrlError::Name),
            ("http://etcd-1.example:2381/", UrlError::Name),
            // Nor in another spelling of an address (inet_aton(3)).
            ("http://127.1:2381/", UrlError::Name),
            ("http://010.0.0.1:2381/", UrlError::Name),
            ("http://0x7f000001:2381/", UrlError::Name),
            ("http://0.0.0.0:2381/", UrlError::Wildcard),
            ("http://[::]:2381/", UrlError::Wildcard),
            ("http://[::ffff:0.0.0.0]:2381/", UrlError::Wildcard),
            ("http://*:2381/", UrlError::Wildcard),
            ("http://[fe80::1%25eth0]:2381/", UrlError::Zone),
            ("http://[fe80::1%eth0]/", UrlError::Zone),
            ("http://[::1:2381/", UrlError::NotIp6),
            ("http://[127.0.0.1]:2381/", UrlError::NotIp6),
            ("http://[]/", UrlError::NotIp6),
            ("http://::1:2381/", UrlError::Unbracketed),
            ("http://::/", UrlError::Unbracketed),
            ("http://[::1]2381/", UrlError::Port),
            ("http://:/x", UrlError::Port),
            ("http://:0/x", UrlError::Port),
            ("http://:65536/x", UrlError::Port),
            ("http://:+1/x", UrlError::Port),
            ("http://:http/x", UrlError::Port),
            ("http://10.0.0.1:-1/", UrlError::Port),
            (&longer, UrlError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    /// All short texts over a hostile alphabet: no panic, and what is read is printed as it is.
    #[test]
    fn sweep() {
        const ALPHABET: [&str; 10] = [":", "/", "[", "]", "?", "1", "::1", "%", "@", "\n"];
        let mut layer = vec!["http://".to_owned()];
        for _ in 0..5 {
            let longer = |text: &String| ALPHABET.map(|piece| format!("{text}{piece}"));
            layer = layer.iter().flat_map(longer).collect();
            for text in &layer {
                if let Ok(url) = Url::parse(text) {
                    assert_eq!(Url::parse(&url.to_string()), Ok(url), "{text:?}");
                }
            }
        }
    }
}
