//! The hosts file: addresses that are known without asking anyone (hosts(5)).
//!
//! Pure: text to table. A line is an address and the names that it has; `#` begins a comment.
//! Lines that are not of this form are skipped, as are addresses with a scope, which the rest of
//! the program has no place for. Names are compared without case and without a final dot.

use std::collections::HashMap;
use std::net::IpAddr;

/// The table of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    by_name: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    /// Reads the text of a hosts file.
    pub(crate) fn parse(text: &str) -> Self {
        let mut by_name: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut fields = line.split_ascii_whitespace();
            let Some(Ok(address)) = fields.next().map(str::parse) else {
                continue;
            };
            for name in fields {
                let addresses = by_name.entry(key(name)).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        Self { by_name }
    }

    /// The addresses of `name` in the order of the file, none if it is not listed.
    pub(crate) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.by_name.get(&key(name)).map_or(&[], Vec::as_slice)
    }
}

fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_kinds() {
        let hosts = Hosts::parse(
            "# 10.0.0.9 commented\n\
             127.0.0.1\tlocalhost  # 10.0.0.8 trailing\n\
             ::1 localhost ip6-localhost\r\n\
             \t10.0.0.1 Etcd-1.Example etcd-1\n\
             10.0.0.2 etcd-1 etcd-1\n\
             10.0.0.1 etcd-1\n\
             fe80::1%eth0 scoped\n\
             10.0.0 short\n\
             name-first 10.0.0.3\n\
             10.0.0.4\n\
             \n\
             10.0.0.5 absolute.",
        );
        let cases: &[(&str, &[&str])] = &[
            ("localhost", &["127.0.0.1", "::1"]),
            ("LOCALHOST.", &["127.0.0.1", "::1"]),
            ("ip6-localhost", &["::1"]),
            ("etcd-1.example", &["10.0.0.1"]),
            ("etcd-1", &["10.0.0.1", "10.0.0.2"]),
            ("absolute", &["10.0.0.5"]),
            ("commented", &[]),
            ("trailing", &[]),
            ("scoped", &[]),
            ("short", &[]),
            ("name-first", &[]),
            ("10.0.0.3", &[]),
            ("", &[]),
        ];
        for (name, expected) in cases {
            let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(hosts.addresses(name), expected, "{name}");
        }
    }
}
