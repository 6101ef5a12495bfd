//! The resolver with servers in this process that answer, fail and lie as a test wants.

mod edns;
mod exchange;
pub(crate) mod fake;
pub(super) mod fixtures;
mod lookup;
mod malformed;
mod message;
mod times;
mod truncated;

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::exchange::Random;
use super::record::Srv;
use super::resolv_conf::Environment;
use super::{Class, Error, Resolved, Resolver, ResolverConfig};
use fake::{A, Act, Asked, Net, TempFile};

/// More than enough time for a lookup that succeeds.
const AMPLE: Duration = Duration::from_secs(10);
/// Less than the 5 s that a resolver waits for a server by default, and enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);
/// For lookups that must reach the deadline.
const LITTLE: Duration = Duration::from_millis(300);

fn entropy(octets: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(octets)
}

/// A resolver and the files it watches.
struct Bench {
    resolver: Resolver,
    net: Net,
    _files: [TempFile; 2],
}

impl Bench {
    /// A resolver of all servers of `net`; `conf` is the rest of resolv.conf.
    fn new(net: Net, conf: &str) -> Self {
        Self::with_hosts(net, conf, "")
    }

    fn with_hosts(net: Net, conf: &str, hosts: &str) -> Self {
        let mut text = format!("{conf}\n");
        for server in &net.servers {
            text.push_str(&format!("nameserver {}\n", server.ip));
        }
        let files = [TempFile::new(&text), TempFile::new(hosts)];
        let sources = ResolverConfig {
            resolv_conf: files[0].path.clone(),
            hosts: files[1].path.clone(),
            environment: Environment {
                port: net.port,
                res_options: String::new(),
                local_domain: None,
                host_name: String::new(),
                interface_index: |name| (name == "lo").then_some(1),
            },
            check_interval: Duration::from_secs(5),
            edns_memory: Duration::from_secs(600),
        };
        let resolver = Resolver::new(sources, entropy);
        Self {
            resolver,
            net,
            _files: files,
        }
    }

    fn with_random(self, random: Random) -> Self {
        let mut bench = self;
        bench.resolver.servers.random = random;
        bench
    }

    fn with_edns_memory(self, edns_memory: Duration) -> Self {
        let mut bench = self;
        bench.resolver.servers.edns_memory = edns_memory;
        bench
    }

    fn host_within(&self, name: &str, time: Duration) -> Result<Vec<String>, Class> {
        let found = self.resolver.lookup_host(name, Instant::now() + time);
        found
            .map(|found| found.data.iter().map(IpAddr::to_string).collect())
            .map_err(|error| error.class)
    }

    fn host(&self, name: &str) -> Result<Vec<String>, Class> {
        self.host_within(name, AMPLE)
    }

    fn srv(&self, name: &str) -> Result<Resolved<Srv>, Error> {
        self.resolver.lookup_srv(name, Instant::now() + AMPLE)
    }

    fn log(&self, server: usize) -> Vec<String> {
        self.net.servers[server].log()
    }
}

fn ips(texts: &[&str]) -> Result<Vec<String>, Class> {
    Ok(texts.iter().map(|text| (*text).to_owned()).collect())
}

/// Answers A with 192.0.2.1 and AAAA with nothing.
fn good(asked: &Asked) -> Vec<Act> {
    match asked.qtype {
        A => asked.reply().a(&asked.name, 60, "192.0.2.1").send(),
        _ => asked.reply().soa(".", 60, 60).send(),
    }
}
