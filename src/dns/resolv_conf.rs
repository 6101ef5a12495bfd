//! The resolver's configuration: resolv.conf(5) and what the environment adds to it.
//!
//! Text and [`Environment`] in, values out. Every text is accepted: unknown keywords, options and
//! addresses are skipped, numbers are limited to their range. Where resolv.conf(5) leaves a choice this
//! does what the C library does; if the file names no server, what Go's resolver does, which etcd's
//! gateway uses.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::name::Name;

/// Octets read of the file.
const MAX_FILE: u64 = 64 << 10;
/// Servers used, further ones are ignored (MAXNS of resolv.conf(5)).
const MAX_SERVERS: usize = 3;
/// Search domains used. resolv.conf(5) has no limit any more; Kubernetes writes up to 32.
const MAX_SEARCH: usize = 32;
/// Limits of the numeric options (resolv.conf(5)).
const MAX_NDOTS: usize = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: u32 = 5;

/// The configuration that is not in the file.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// The port of all servers: 53, except in tests.
    pub(crate) port: u16,
    /// `RES_OPTIONS`: options that follow those of the file.
    pub(crate) res_options: String,
    /// `LOCALDOMAIN`: replaces the search list, even by an empty one.
    pub(crate) local_domain: Option<String>,
    /// The name of this machine: the part after its first dot is the search list if nothing else sets
    /// one.
    pub(crate) host_name: String,
    /// The index of a network interface, for addresses like `fe80::1%eth0`.
    pub(crate) interface_index: fn(&str) -> Option<u32>,
}

impl Environment {
    /// That of this process, on Linux.
    pub(crate) fn of_process() -> Self {
        Self {
            port: 53,
            res_options: env::var("RES_OPTIONS").unwrap_or_default(),
            local_domain: env::var("LOCALDOMAIN").ok(),
            host_name: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
            interface_index,
        }
    }
}

/// The index of an interface by name, without the foreign function `if_nametoindex`.
pub(crate) fn interface_index(interface: &str) -> Option<u32> {
    if interface.contains('/') || interface.starts_with('.') {
        return None;
    }
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok()?;
    text.trim_end().parse().ok()
}

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// In the order in which they are asked; never empty.
    pub(crate) servers: Vec<SocketAddr>,
    /// Domains to append to a name that is not absolute.
    pub(crate) search: Vec<Name>,
    /// A name with this many dots is tried as it is before the search list.
    pub(crate) ndots: usize,
    /// How long to wait for one server.
    pub(crate) timeout: Duration,
    /// How often to go through the servers, at least once.
    pub(crate) attempts: u32,
    /// Start with another server each time.
    pub(crate) rotate: bool,
    /// TCP from the start.
    pub(crate) use_vc: bool,
    /// Do not ask for IPv6 addresses.
    pub(crate) no_aaaa: bool,
}

impl ResolvConf {
    /// Reads the beginning of the file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(file: &mut dyn Read, environment: &Environment) -> io::Result<Self> {
        let mut octets = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut octets)?;
        Ok(Self::parse(&String::from_utf8_lossy(&octets), environment))
    }

    /// Reads the text of a resolv.conf.
    pub(crate) fn parse(text: &str, environment: &Environment) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            search: Vec::new(),
            // The defaults of resolv.conf(5).
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            use_vc: false,
            no_aaaa: false,
        };
        let mut search = None;
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut fields = line.split_ascii_whitespace();
            match fields.next() {
                Some("nameserver") => {
                    let server = fields
                        .next()
                        .and_then(|text| parse_server(text, environment));
                    if conf.servers.len() < MAX_SERVERS {
                        conf.servers.extend(server);
                    }
                }
                // Of several `search` and `domain` lines the last one counts.
                Some("search") => search = Some(parse_search(fields)),
                Some("domain") => search = Some(parse_search(fields.take(1))),
                Some("options") => fields.for_each(|option| conf.set_option(option)),
                _ => {}
            }
        }
        for option in environment.res_options.split_ascii_whitespace() {
            conf.set_option(option);
        }
        conf.search = match (&environment.local_domain, search) {
            (Some(text), _) => parse_search(text.split_ascii_whitespace()),
            (None, Some(search)) => search,
            (None, None) => {
                let host_name = environment.host_name.trim_end().split_once('.');
                parse_search(host_name.map(|(_, domain)| domain).into_iter())
            }
        };
        if conf.servers.is_empty() {
            let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            conf.servers = local.map(|ip| SocketAddr::new(ip, environment.port)).into();
        }
        conf
    }

    /// The names to ask for `name`, in order: along the search list unless it is absolute.
    pub(crate) fn candidates(&self, name: &Name, absolute: bool) -> Vec<Name> {
        if absolute {
            return vec![name.clone()];
        }
        // There is one dot less than labels.
        let enough_dots = name.labels().count() > self.ndots;
        let mut candidates: Vec<Name> = self
            .search
            .iter()
            .filter_map(|domain| name.join(domain).ok()) // too long: cannot exist
            .collect();
        let position = if enough_dots { 0 } else { candidates.len() };
        candidates.insert(position, name.clone());
        candidates
    }

    fn set_option(&mut self, option: &str) {
        match option.split_once(':').unwrap_or((option, "")) {
            ("ndots", number) => {
                self.ndots = number
                    .parse()
                    .map_or(self.ndots, |n: usize| n.min(MAX_NDOTS));
            }
            ("timeout", number) => {
                self.timeout = number.parse().map_or(self.timeout, |n: u64| {
                    Duration::from_secs(n.clamp(1, MAX_TIMEOUT))
                });
            }
            ("attempts", number) => {
                self.attempts = number
                    .parse()
                    .map_or(self.attempts, |n: u32| n.clamp(1, MAX_ATTEMPTS));
            }
            ("rotate", "") => self.rotate = true,
            ("use-vc", "") => self.use_vc = true,
            ("no-aaaa", "") => self.no_aaaa = true,
            _ => {}
        }
    }
}

/// The address of a server; an IPv6 scope is a number or the name of an interface.
fn parse_server(text: &str, environment: &Environment) -> Option<SocketAddr> {
    let Some((address, scope)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, environment.port));
    };
    let scope = match scope.parse() {
        Ok(index) => index,
        Err(_) => (environment.interface_index)(scope)?,
    };
    Some(SocketAddrV6::new(address.parse().ok()?, environment.port, 0, scope).into())
}

/// The root is ignored, since a name is always tried as it is; so is `localhost`, since names below it
/// must not be asked for in DNS.
fn parse_search<'a>(fields: impl Iterator<Item = &'a str>) -> Vec<Name> {
    fields
        .filter_map(|domain| Name::from_text(domain).ok())
        .map(|(domain, _)| domain)
        .filter(|domain| !domain.is_root() && !domain.is_localhost())
        .take(MAX_SEARCH)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            port: 53,
            res_options: String::new(),
            local_domain: None,
            host_name: "host\n".to_owned(),
            interface_index: |name| (name == "eth0").then_some(7),
        }
    }

    fn parse(text: &str) -> ResolvConf {
        ResolvConf::parse(text, &environment())
    }

    fn names(texts: &[&str]) -> Vec<Name> {
        let name = |text: &&str| Name::from_text(text).unwrap().0;
        texts.iter().map(name).collect()
    }

    #[test]
    fn without_settings() {
        for text in [
            "",
            "\n",
            "# nameserver 10.0.0.1",
            ";search a",
            "nameserver",
            "nameserver x",
        ] {
            let expected = ResolvConf {
                servers: vec!["127.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()],
                search: vec![],
                ndots: 1,
                timeout: Duration::from_secs(5),
                attempts: 2,
                rotate: false,
                use_vc: false,
                no_aaaa: false,
            };
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn servers() {
        let cases: &[(&str, &[&str])] = &[
            (
                "nameserver 10.0.0.1\nnameserver 2001:db8::1",
                &["10.0.0.1:53", "[2001:db8::1]:53"],
            ),
            (
                "nameserver\t10.0.0.1 # first\r\n  nameserver 10.0.0.2",
                &["10.0.0.1:53", "10.0.0.2:53"],
            ),
            ("nameserver fe80::1%3", &["[fe80::1%3]:53"]),
            ("nameserver fe80::1%eth0", &["[fe80::1%7]:53"]),
            ("nameserver fe80::1%gone\nnameserver ::1", &["[::1]:53"]),
            (
                "nameserver 10.0.0.1%3\nnameserver 010.0.0.1\nnameserver ::1",
                &["[::1]:53"],
            ),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
                &["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"],
            ),
        ];
        for (text, expected) in cases {
            let expected: Vec<SocketAddr> = expected.iter().map(|s| s.parse().unwrap()).collect();
            assert_eq!(parse(text).servers, expected, "{text}");
        }
    }

    #[test]
    fn search_lists() {
        let forty: Vec<String> = (0..40).map(|n| format!("d{n}.example")).collect();
        let cases: &[(&str, &[&str])] = &[
            ("search a.example b.example", &["a.example", "b.example"]),
            ("domain a.example b.example", &["a.example"]),
            ("search a\ndomain b", &["b"]),
            ("domain b\nsearch a", &["a"]),
            ("search a\nsearch", &[]),
            ("search . a. b..c", &["a"]),
            ("search localhost a x.LocalHost.", &["a"]),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).search, names(expected), "{text}");
        }
        assert_eq!(
            parse(&format!("search {}", forty.join(" "))).search.len(),
            MAX_SEARCH
        );
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let mut environment = environment();
        environment.host_name = "node.lan.example\n".to_owned();
        environment.res_options = "ndots:4 rotate".to_owned();
        let search =
            |text: &str, environment: &Environment| ResolvConf::parse(text, environment).search;
        assert_eq!(search("", &environment), names(&["lan.example"]));
        assert_eq!(search("search a", &environment), names(&["a"]));
        assert_eq!(search("search", &environment), []);
        environment.local_domain = Some("x y".to_owned());
        assert_eq!(search("search a", &environment), names(&["x", "y"]));
        environment.local_domain = Some(String::new());
        assert_eq!(search("search a", &environment), []);

        let conf = ResolvConf::parse("options ndots:2 attempts:3", &environment);
        assert_eq!((conf.ndots, conf.attempts, conf.rotate), (4, 3, true));
    }

    #[test]
    fn options() {
        let cases = [
            ("", (1, 5, 2, false, false)),
            (
                "ndots:5 timeout:1 attempts:4 rotate use-vc",
                (5, 1, 4, true, true),
            ),
            ("ndots:0", (0, 5, 2, false, false)),
            ("ndots:99 timeout:99 attempts:99", (15, 30, 5, false, false)),
            ("timeout:0 attempts:0", (1, 1, 1, false, false)),
            (
                "ndots: timeout:x attempts:-1 ndots",
                (1, 5, 2, false, false),
            ),
            ("timeout:99999999999999999999", (1, 5, 2, false, false)),
            (
                "edns0 trust-ad no-reload single-request inet6 rotate:1",
                (1, 5, 2, false, false),
            ),
        ];
        for (options, expected) in cases {
            let conf = parse(&format!("options {options}"));
            let ResolvConf {
                ndots,
                timeout,
                attempts,
                rotate,
                use_vc,
                ..
            } = conf;
            assert_eq!(
                (ndots, timeout.as_secs(), attempts, rotate, use_vc),
                expected,
                "{options}"
            );
        }
        let conf = parse("options ndots:2\noptions rotate");
        assert!(conf.rotate && conf.ndots == 2, "lines add up");
    }

    #[test]
    fn candidates() {
        let conf = parse("search ns.svc svc\noptions ndots:2");
        let long = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "x".repeat(60));
        let cases: &[(&str, &[&str])] = &[
            ("a", &["a.ns.svc", "a.svc", "a"]),
            ("a.b", &["a.b.ns.svc", "a.b.svc", "a.b"]),
            ("a.b.c", &["a.b.c", "a.b.c.ns.svc", "a.b.c.svc"]),
            ("a.", &["a"]),
            (&long, &[&long]),
        ];
        for (text, expected) in cases {
            let (name, absolute) = Name::from_text(text).unwrap();
            assert_eq!(conf.candidates(&name, absolute), names(expected), "{text}");
        }
        let (name, absolute) = Name::from_text("a").unwrap();
        let eager = parse("search x\noptions ndots:0").candidates(&name, absolute);
        assert_eq!(eager, names(&["a", "a.x"]));
    }

    #[test]
    fn interfaces_of_this_machine() {
        if fs::exists("/sys/class/net/lo").unwrap_or(false) {
            assert_eq!(interface_index("lo"), Some(1));
        } else {
            eprintln!("SKIPPED: /sys is not mounted");
        }
        for name in ["", ".", "..", "../net/lo", "no such interface"] {
            assert_eq!(interface_index(name), None, "{name}");
        }
    }
}
