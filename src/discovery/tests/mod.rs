//! Discovery with a name server in this process and a real pool. The test makes each step, so that
//! nothing is waited for. What each module holds:
//!
//! - `times`: when the next refresh comes
//! - `removed`: which endpoints count as removed, and when
//! - `doubt`: half of an answer, none, or one of another name
//! - `files`: files for tests
//! - `moves`: members move from one service of a domain to the other
//! - `parts`: answers that are truncated
//! - `reports`: what is logged and shown, and how often
//! - `start`: what a start and `check` find
//! - `panics`: a defect fails one refresh
//! - `authorities`: members are authenticated again when their authorities change

mod authorities;
mod doubt;
pub(super) mod files;
mod moves;
mod panics;
mod parts;
mod removed;
mod reports;
mod start;
mod times;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::*;
use crate::addr::parse_endpoint;
use crate::config::Policy;
use crate::dial;
use crate::dns::ResolverConfig;
use crate::dns::resolv_conf::Environment;
use crate::dns::tests::fake::{A, AAAA, Act, Asked, Net, SRV, TempFile, script};
use crate::endpoint::Proof;
use crate::endpoint::slots::Slot;
use crate::log::tests::heard;
use crate::sync::lock;

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const SILENCE: u8 = 255;
/// The services of x.test.
const TLS: &str = "_etcd-client-ssl._tcp.x.test";
const PLAIN: &str = "_etcd-client._tcp.x.test";

/// Nothing is due by itself, and requests are due at once.
const TIMES: Times = Times {
    refresh_pause: Duration::ZERO,
    resolver_look: Duration::from_secs(3600),
    file_look: Duration::from_secs(3600),
    audit: Duration::from_secs(3600),
    ..Times::REAL
};

/// The data of the name server.
#[derive(Debug, Default)]
struct Zone {
    /// Lines `OWNER TYPE DATA`.
    records: Vec<(String, u16, String)>,
    ttl: u32,
    /// That of SRV records, if it differs.
    srv_ttl: Option<u32>,
    /// The negative TTL, if answers have one.
    minimum: Option<u32>,
    /// RCODEs for names, or for one type of a name; [`SILENCE`] means that there is no answer.
    faults: HashMap<(String, Option<u16>), u8>,
    /// How many records of names come over TCP, with the TC bit.
    cuts: HashMap<String, usize>,
    /// How often each name was asked for, any type.
    asked: HashMap<String, usize>,
}

impl Zone {
    fn answer(&mut self, asked: &Asked) -> Vec<Act> {
        let name = asked.name.trim_end_matches('.').to_ascii_lowercase();
        *self.asked.entry(name.clone()).or_default() += 1;
        let fault = [Some(asked.qtype), None].map(|qtype| self.faults.get(&(name.clone(), qtype)));
        let reply = asked.reply();
        if let Some(rcode) = fault.into_iter().flatten().next() {
            if *rcode == SILENCE {
                return Vec::new();
            }
            return reply.rcode(*rcode).send();
        }
        let own: Vec<_> = self.records.iter().filter(|(of, ..)| *of == name).collect();
        let mut reply = reply;
        let mut found = false;
        let cut = self.cuts.get(&name).copied();
        if cut.is_some() {
            reply = reply.truncated();
        }
        let most = cut.map_or(usize::MAX, |cut| if asked.tcp { cut } else { 0 });
        let of_type = own.iter().filter(|(_, rtype, _)| *rtype == asked.qtype);
        for (_, _, data) in of_type.take(most) {
            found = true;
            reply = match asked.qtype {
                A => reply.a(&asked.name, self.ttl, data),
                AAAA => reply.aaaa(&asked.name, self.ttl, data),
                _ => {
                    let mut words = data.split(' ');
                    let fields = [(); 3].map(|()| words.next().unwrap().parse().unwrap());
                    let ttl = self.srv_ttl.unwrap_or(self.ttl);
                    reply.srv(&asked.name, ttl, fields, words.next().unwrap())
                }
            };
        }
        if own.is_empty() {
            reply = reply.rcode(NXDOMAIN);
        }
        if !asked.tcp && reply.bytes.len() > 1232 {
            return asked.reply().truncated().send();
        }
        match self.minimum {
            Some(minimum) if !found => reply.soa(".", 3600, minimum).send(),
            _ => reply.send(),
        }
    }
}

/// A name server, discovery that asks it, and the pool that it updates.
struct Bench {
    discovery: Discovery,
    pool: Pool,
    gate: Option<Arc<FakeGate>>,
    timeout: Duration,
    listeners: Vec<SocketAddr>,
    removed: RefCell<Vec<String>>,
    zone: Arc<Mutex<Zone>>,
    hosts: TempFile,
    _resolv_conf: TempFile,
    _net: Net,
}

/// A gate that admits all endpoints but impostors. Each certificate expires later than the last one.
#[derive(Debug, Default)]
struct FakeGate {
    impostors: Mutex<HashSet<String>>,
    /// Members at which it panics.
    defects: Mutex<HashSet<String>>,
    asked: Mutex<Vec<String>>,
}

impl Authenticate for FakeGate {
    fn authenticate(
        &self,
        endpoint: &Endpoint,
        _: Duration,
        _: &Slot,
    ) -> Result<Proof, dial::Error> {
        lock(&self.asked).push(endpoint.name.clone());
        let is_defect = lock(&self.defects).contains(&endpoint.name);
        assert!(!is_defect, "a defect");
        if lock(&self.impostors).contains(&endpoint.name) {
            return Err(dial::ErrorKind::Rejected("an impostor".into()).at(endpoint.addr));
        }
        let asked = lock(&self.asked).len();
        Ok(Proof {
            not_after: i64::try_from(asked).ok(),
        })
    }
}

impl Bench {
    fn new(members: Members) -> Self {
        Self::with(members, TIMES, "", entropy)
    }

    fn with(
        members: Members,
        times: Times,
        conf: &str,
        random: fn(&mut [u8]) -> io::Result<()>,
    ) -> Self {
        let zone = Arc::new(Mutex::new(Zone {
            ttl: 300,
            ..Zone::default()
        }));
        let shared = Arc::clone(&zone);
        let net = Net::new(vec![script(move |asked| lock(&shared).answer(asked))]);
        let conf = format!("nameserver 127.0.0.1\noptions attempts:1\n{conf}\n");
        let (resolv_conf, hosts) = (TempFile::new(&conf), TempFile::new(""));
        let sources = ResolverConfig {
            resolv_conf: resolv_conf.path.clone(),
            hosts: hosts.path.clone(),
            environment: Environment {
                port: net.port,
                res_options: String::new(),
                local_domain: None,
                host_name: String::new(),
                interface_index: |_| None,
            },
            check_interval: times.resolver_look,
            edns_memory: times.edns_memory,
        };
        let gate = members.authenticates().then(Arc::<FakeGate>::default);
        let shared = gate.clone().map(|gate| gate as Arc<dyn Authenticate>);
        let retry = Duration::from_secs(60);
        Self {
            discovery: Discovery::new(members, None, Resolver::new(sources, random), times),
            pool: Pool::new(Policy::RoundRobin, retry, shared).unwrap(),
            gate,
            timeout: Duration::from_secs(5),
            listeners: vec!["127.9.9.9:9".parse().unwrap()],
            removed: RefCell::default(),
            zone,
            hosts,
            _resolv_conf: resolv_conf,
            _net: net,
        }
    }

    /// Replaces all records: lines `OWNER TYPE DATA`. Members m1 to m9 have addresses.
    fn publish(&self, records: &str) {
        let mut all: Vec<_> = records.lines().map(str::to_owned).collect();
        all.extend((1..=9).map(|member| format!("m{member}.test A 127.1.0.{member}")));
        let record = |line: &String| {
            let mut words = line.splitn(3, ' ');
            let owner = words.next().unwrap().to_owned();
            let rtype = match words.next().unwrap() {
                "A" => A,
                "AAAA" => AAAA,
                "SRV" => SRV,
                other => panic!("{other}"),
            };
            (owner, rtype, words.next().unwrap().to_owned())
        };
        self.zone().records = all.iter().map(record).collect();
    }

    /// Publishes these members of the services.
    fn members(&self, tls: &[u8], plain: &[u8]) {
        let lines = [(TLS, tls), (PLAIN, plain)].map(|(owner, members)| {
            let line = |member| format!("{owner} SRV 0 0 1 m{member}.test\n");
            members.iter().map(line).collect::<String>()
        });
        self.publish(&lines.concat());
    }

    fn zone(&self) -> impl std::ops::DerefMut<Target = Zone> {
        lock(&self.zone)
    }

    fn fail(&self, name: &str, rcode: u8) {
        self.zone().faults.insert((name.to_owned(), None), rcode);
    }

    fn fail_type(&self, name: &str, qtype: u16, rcode: u8) {
        let key = (name.to_owned(), Some(qtype));
        self.zone().faults.insert(key, rcode);
    }

    fn cut(&self, name: &str, records: usize) {
        self.zone().cuts.insert(name.to_owned(), records);
    }

    fn mend(&self) {
        self.zone().cuts.clear();
        self.zone().faults.clear();
    }

    fn asked(&self, name: &str) -> usize {
        self.zone().asked.get(name).copied().unwrap_or(0)
    }

    /// One step after a wait that ended so.
    fn step(&mut self, woken: io::Result<bool>) {
        let gate = self.gate.clone();
        let removed = |addrs: Vec<SocketAddr>| {
            let texts = addrs.iter().map(ToString::to_string);
            self.removed.borrow_mut().extend(texts);
        };
        let downstream = Downstream {
            pool: &self.pool,
            gate: gate.as_deref().map(|gate| gate as &dyn Authenticate),
            timeout: self.timeout,
            listeners: &self.listeners,
            on_removed: &removed,
        };
        self.discovery.step(woken, &downstream);
    }

    /// A refresh whose time has come.
    fn refresh(&mut self) {
        self.discovery.schedule.request(Instant::now());
        self.step(Ok(false));
    }

    /// A refresh that an operator has asked for.
    fn ask(&mut self) {
        self.step(Ok(true));
    }

    /// The time until something is due.
    fn pause(&self) -> Duration {
        self.discovery.schedule.until().unwrap() - Instant::now()
    }

    /// A start; its endpoints serve from then on.
    fn start(&mut self) -> Result<(), String> {
        let gate = self.gate.clone();
        let gate = gate.as_deref().map(|gate| gate as &dyn Authenticate);
        let start = self.discovery.start(gate, Duration::from_secs(5));
        let start = start.map_err(|error| error.to_string())?;
        self.pool.replace(start.endpoints);
        for (endpoint, proof) in start.proven {
            self.pool
                .set_authenticated(&endpoint, Instant::now(), proof);
        }
        Ok(())
    }

    /// The addresses in the pool, without `127.1.0.` and `:1`.
    fn endpoints(&self) -> Vec<String> {
        let endpoints = self.pool.endpoints();
        endpoints.iter().map(|e| short(e.addr)).collect()
    }

    /// The same of those that clients are forwarded to.
    fn active(&self) -> Vec<String> {
        let picks = (0..20).filter_map(|_| self.pool.pick(&[]));
        let mut active: Vec<_> = picks.map(|(addr, _)| short(addr)).collect();
        active.sort();
        active.dedup();
        active
    }

    fn problems(&self) -> Vec<String> {
        self.discovery.refreshes.problems()
    }

    /// How many refreshes were complete, and how many were not.
    fn counts(&self) -> (u64, u64) {
        let counts = self.discovery.refreshes.counts();
        (counts[0].1, counts[1].1)
    }
}

fn short(addr: SocketAddr) -> String {
    let text = addr.to_string();
    let text = text.strip_prefix("127.1.0.").unwrap_or(&text);
    text.strip_suffix(":1").unwrap_or(text).to_owned()
}

fn entropy(octets: &mut [u8]) -> io::Result<()> {
    random::fill(octets)
}

/// The list of `--endpoints`.
fn list(endpoints: &[&str]) -> Vec<Member> {
    proving(&Identity::None, endpoints)
}

/// The same with members that have to prove who they are.
fn proving(identity: &Identity, endpoints: &[&str]) -> Vec<Member> {
    let parse = |text: &&str| parse_endpoint(text).unwrap().0;
    let endpoints = endpoints.iter().map(parse);
    endpoints.map(|at| Member::given(&at, identity)).collect()
}

/// The services of x.test, members taken as they are.
fn srv() -> Members {
    Members::in_dns("x.test", "", None, Vec::new())
}

/// The same with a fallback.
fn srv_or(endpoints: &[&str]) -> Members {
    Members::in_dns("x.test", "", None, list(endpoints))
}

/// The same with members that have to be authenticated.
fn authenticated(fallback: &[&str]) -> Members {
    Members::in_dns("x.test", "", Some("x.test".to_owned()), list(fallback))
}

/// How many of the lines contain this.
fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}
