//! The hosts file: addresses that need no server (hosts(5)).
//!
//! A line is an address and its names; `#` begins a comment. Other lines are skipped, as are addresses
//! with a scope, which the rest of the program does not support. Names are compared without case and
//! without a final dot.
//!
//! The file is read line by line, and only names that were asked for are kept: it may have millions.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::stamp;
use crate::sync::lock;

/// Octets read of the file; the largest lists in use have a few million.
const MAX_FILE: u64 = 16 << 20;

/// Octets of a line; what follows is read as another line, which is most likely not valid.
const MAX_LINE: u64 = 64 << 10;

/// The most names that are kept: more than a gateway asks for, but names from DNS may be new each time.
const MAX_NAMES: usize = 4096;

/// A version of the hosts file, with the names that were asked for.
#[derive(Debug)]
pub(crate) struct HostsFile {
    path: PathBuf,
    known: Mutex<BTreeMap<String, Vec<IpAddr>>>,
}

impl HostsFile {
    /// The file at `path`, of which nothing has been read yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Mutex::default(),
        }
    }

    /// The next version of the file: the names that were asked for are looked up in it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn renewed(&self, content: impl Read) -> io::Result<Self> {
        let names: Vec<_> = lock(&self.known).keys().cloned().collect();
        let mut wanted = names.into_iter().map(|name| (name, Vec::new())).collect();
        find(content, &mut wanted)?;
        Ok(Self {
            path: self.path.clone(),
            known: Mutex::new(wanted),
        })
    }

    /// The addresses of `name` in the order of the file; none if it is not listed or the file cannot be read.
    pub(crate) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = key(name);
        if let Some(addresses) = lock(&self.known).get(&name) {
            return addresses.clone();
        }
        let mut wanted = BTreeMap::from([(name, Vec::new())]);
        let found = stamp::open(&self.path)
            .and_then(|file| file.map_or(Ok(()), |file| find(file, &mut wanted)));
        if found.is_err() {
            // The next call tries again.
            return wanted.into_values().flatten().collect();
        }
        let addresses = wanted.values().flatten().copied().collect();
        let mut known = lock(&self.known);
        if known.len() >= MAX_NAMES {
            known.clear();
        }
        known.append(&mut wanted);
        addresses
    }
}

/// Adds the addresses of these names, which are in lower case and without a final dot.
pub(crate) fn find(
    content: impl Read,
    wanted: &mut BTreeMap<String, Vec<IpAddr>>,
) -> io::Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (mut content, mut line) = (BufReader::new(content.take(MAX_FILE)), Vec::new());
    loop {
        line.clear();
        let mut limited = content.by_ref().take(MAX_LINE);
        if limited.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.split('#').next().unwrap_or_default();
        let mut fields = line.split_ascii_whitespace();
        let Some(Ok(address)) = fields.next().map(str::parse) else {
            continue;
        };
        for name in fields {
            if let Some(addresses) = wanted.get_mut(&key(name))
                && !addresses.contains(&address)
            {
                addresses.push(address);
            }
        }
    }
}

fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::fake::TempFile;
    use super::*;

    #[test]
    fn lines_of_all_kinds() {
        let text = b"# 10.0.0.9 commented\n\
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
             \xff # not UTF-8\n\
             10.0.0.5 absolute.";
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
            let mut wanted = BTreeMap::from([(key(name), Vec::new())]);
            find(&text[..], &mut wanted).unwrap();
            assert_eq!(wanted.into_values().next().unwrap(), expected, "{name}");
        }
    }

    /// Names that were asked for are kept, found or not, and looked up in the next version.
    #[test]
    fn only_what_was_asked_for_is_kept() {
        let file = TempFile::new("10.0.0.1 a\n10.0.0.2 b\n10.0.0.3 c\n");
        let hosts = HostsFile::new(file.path.clone());
        let ip = |last| vec![IpAddr::from([10, 0, 0, last])];
        assert_eq!(
            [hosts.addresses("A."), hosts.addresses("x")],
            [ip(1), vec![]]
        );
        file.write("10.0.0.9 a x\n");
        assert_eq!(
            [hosts.addresses("a"), hosts.addresses("x")],
            [ip(1), vec![]]
        );
        let known: Vec<String> = hosts.known.lock().unwrap().keys().cloned().collect();
        assert_eq!(known, ["a", "x"]);
        let renewed = hosts.renewed(&b"10.0.0.4 a b\n"[..]).unwrap();
        file.write("");
        assert_eq!(
            [renewed.addresses("a"), renewed.addresses("x")],
            [ip(4), vec![]]
        );
        let failed = hosts.renewed(std::fs::File::open("/").unwrap());
        assert!(failed.is_err(), "a directory cannot be read");
    }

    #[test]
    fn the_number_of_kept_names_is_limited() {
        let file = TempFile::new("10.0.0.1 a\n");
        let hosts = HostsFile::new(file.path.clone());
        for number in 0..MAX_NAMES + 2 {
            hosts.addresses(&format!("n{number}"));
        }
        assert_eq!(hosts.known.lock().unwrap().len(), 2);
        // A name that cannot be looked up is not remembered as not listed.
        let none = HostsFile::new("/proc/self/mem".into());
        assert!(none.addresses("a").is_empty());
        assert!(none.known.lock().unwrap().is_empty());
    }
}
