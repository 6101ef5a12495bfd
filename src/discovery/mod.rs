//! From what the operator configured to the addresses that are dialled, for as long as
//! the gateway runs.
//!
//! Members come from SRV records or from a list; each address of each member becomes an
//! endpoint. Records and names are asked for again when their time to live is over, when
//! every endpoint is failing, when the resolver's files change and when the operator
//! says so (SIGHUP). Only a good answer changes anything: what cannot be learned anew
//! stays as it was. An address that would lead back to this gateway is left out.
//!
//! One thread does all of this and owns all of its state.

mod hosts;
mod srv;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use crate::addr::{Host, HostPort};
use crate::dns::{Resolver, resolv_conf};
use crate::endpoint::Endpoint;
use crate::endpoint::pool::{Change, Pool};
use crate::log;
use crate::loop_guard;
use crate::sys::random;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;

use hosts::{Freshness, Hosts};
use srv::{Services, Target};

/// No answer is asked for again sooner: a TTL of 0 or 1 must not become a flood.
const MIN_REFRESH: Duration = Duration::from_secs(5);
/// And none later: a TTL of a day must not hide a change for a day.
const MAX_REFRESH: Duration = Duration::from_secs(5 * 60);
/// The longest pause after a refresh that failed; it begins at [`MIN_REFRESH`] and doubles.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// However often it is asked for, a refresh begins this long after the last at the earliest.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// How often the resolver's files are looked at: a little more than its own five seconds, so
/// that no look comes too early and is put off to the next.
const WATCH: Duration = Duration::from_millis(5100);
/// How long lookups may take. With the defaults of resolv.conf(5), 5 s a server, this is
/// time for the third server to answer where the first two are dead.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a start with configured names waits for them: there may be others that
/// serve meanwhile.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// Lookups that run at the same time, each in a thread.
const SIDE_BY_SIDE: usize = 16;

/// Where the members are found.
#[derive(Debug)]
pub(crate) enum Source {
    /// A list on the command line.
    List(Vec<HostPort>),
    /// SRV records, and the list to use as long as there are none.
    Srv {
        services: Services,
        fallback: Option<Vec<HostPort>>,
    },
}

impl Source {
    /// SRV records of a domain, `--discovery-srv` and `--discovery-srv-name`.
    pub(crate) fn srv(domain: &str, name: &str, fallback: Option<Vec<HostPort>>) -> Self {
        Self::Srv {
            services: Services::new(domain, name),
            fallback,
        }
    }
}

/// Discovery gave nothing, and nothing else was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NothingFound(String);

impl fmt::Display for NothingFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no endpoint found: {}", self.0)
    }
}

impl std::error::Error for NothingFound {}

/// Follows the members of one source.
pub(crate) struct Discovery {
    resolver: Resolver,
    source: Source,
    hosts: Hosts,
    /// What the resolver's files were when they were last asked by.
    files: u64,
    /// Refreshes in a row that were not complete.
    failures: u32,
    next: Instant,
    falling_back: bool,
}

impl Discovery {
    pub(crate) fn new(source: Source, resolver: Resolver) -> Self {
        Self {
            files: resolver.changes(),
            resolver,
            source,
            hosts: Hosts::default(),
            failures: 0,
            next: Instant::now(),
            falling_back: false,
        }
    }

    /// The endpoints to start with.
    ///
    /// # Errors
    /// If they are to come from SRV records and there are none. A configured name that
    /// cannot be resolved is logged and tried again.
    pub(crate) fn start(&mut self) -> Result<Vec<Endpoint>, NothingFound> {
        let patience = match self.source {
            Source::List(_) => START_PATIENCE,
            Source::Srv { .. } => PATIENCE,
        };
        let endpoints = self.refresh(patience);
        match &self.source {
            Source::Srv {
                services,
                fallback: None,
            } if endpoints.is_empty() => Err(NothingFound(services.nothing_found())),
            _ => Ok(endpoints),
        }
    }

    /// Keeps `pool` in step for ever. A call of `wake` asks for a refresh; `removed` is
    /// told the addresses that are endpoints no more.
    pub(crate) fn run(
        mut self,
        pool: &Pool,
        wake: &Waker,
        listeners: &[SocketAddr],
        removed: impl Fn(Vec<SocketAddr>),
    ) -> ! {
        let mut last = Instant::now();
        loop {
            let woken = wait(wake, self.next.min(Instant::now() + WATCH));
            let now = Instant::now();
            let files = self.resolver.changes();
            if woken || files != self.files {
                self.next = now.min(self.next).max(last + MIN_PAUSE);
            }
            self.files = files;
            if now < self.next {
                continue;
            }
            last = now;
            let mut endpoints = self.refresh(PATIENCE);
            endpoints.retain(|endpoint| {
                let looped = loop_guard::serves(listeners, endpoint.addr);
                if looped {
                    log::warn(
                        "discovery",
                        "endpoint is this gateway itself, left out",
                        &[
                            ("address", endpoint.addr.into()),
                            ("endpoint", endpoint.name.as_str().into()),
                        ],
                    );
                }
                !looped
            });
            // A good answer is never empty; without one, all that is known stays.
            if endpoints.is_empty() {
                continue;
            }
            let change = pool.replace(endpoints);
            log_change(&change);
            if !change.removed.is_empty() {
                removed(change.removed);
            }
            if pool.census().active == 0 {
                self.next = self.next.min(last + MIN_REFRESH);
            }
        }
    }

    /// Asks for everything again and sets the time of the next refresh.
    fn refresh(&mut self, patience: Duration) -> Vec<Endpoint> {
        let deadline = Instant::now() + patience;
        let mut freshness = Freshness::TIMELESS;
        let targets = match &mut self.source {
            Source::List(list) => Members::List(list),
            Source::Srv { services, fallback } => {
                services.refresh(&self.resolver, deadline, &mut freshness);
                let targets = services.targets();
                match fallback {
                    Some(list) if targets.is_empty() => {
                        if !self.falling_back {
                            log::warn(
                                "discovery",
                                "SRV records give no endpoint, using --endpoints until they do",
                                &[("reason", services.nothing_found().into())],
                            );
                        }
                        self.falling_back = true;
                        Members::List(list)
                    }
                    _ => {
                        self.falling_back = false;
                        Members::Targets(targets)
                    }
                }
            }
        };
        self.hosts
            .refresh(&self.resolver, &targets.names(), deadline, &mut freshness);
        let endpoints = targets.endpoints(&self.hosts);
        self.failures = if freshness.complete {
            0
        } else {
            self.failures.saturating_add(1)
        };
        let backoff = MIN_REFRESH
            .saturating_mul(1 << self.failures.saturating_sub(1).min(8))
            .min(MAX_BACKOFF);
        let ttl = freshness
            .ttl
            .unwrap_or(MAX_REFRESH)
            .clamp(MIN_REFRESH, MAX_REFRESH);
        let delay = match (freshness.complete, self.falling_back) {
            (true, false) => ttl,
            _ => backoff.min(ttl.max(MIN_REFRESH)),
        };
        self.next = Instant::now() + random::jittered(delay);
        endpoints
    }
}

/// The members as they are configured or published.
enum Members<'a> {
    List(&'a [HostPort]),
    Targets(Vec<Target>),
}

impl Members<'_> {
    /// The names to resolve.
    fn names(&self) -> HashSet<String> {
        let name = |endpoint: &HostPort| match &endpoint.host {
            Host::Name(name) => Some(name.clone()),
            _ => None,
        };
        match self {
            Self::List(list) => list.iter().filter_map(name).collect(),
            Self::Targets(targets) => targets.iter().map(|target| target.host.clone()).collect(),
        }
    }

    /// All their addresses, each once: where several name one, the first has it.
    fn endpoints(&self, hosts: &Hosts) -> Vec<Endpoint> {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut add = |addr: SocketAddr, name, priority, weight| {
            // IPv4 written as IPv6 is IPv4, also to the loop guard.
            let addr = match addr.ip().to_canonical() {
                IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
                IpAddr::V6(_) => addr,
            };
            if endpoints.iter().all(|known| known.addr != addr) {
                endpoints.push(Endpoint {
                    addr,
                    name,
                    priority,
                    weight,
                });
            }
        };
        match self {
            Self::List(list) => {
                for endpoint in *list {
                    if let Some(addr) = literal(endpoint) {
                        add(addr, endpoint.to_string(), 0, 0);
                    }
                    if let Host::Name(name) = &endpoint.host {
                        for ip in hosts.addresses(name) {
                            add(
                                SocketAddr::new(*ip, endpoint.port),
                                endpoint.to_string(),
                                0,
                                0,
                            );
                        }
                    }
                }
            }
            Self::Targets(targets) => {
                for target in targets {
                    for ip in hosts.addresses(&target.host) {
                        let addr = SocketAddr::new(*ip, target.port);
                        add(addr, target.to_string(), target.priority, target.weight);
                    }
                }
            }
        }
        endpoints
    }
}

/// The address of a host that is no name.
fn literal(host_port: &HostPort) -> Option<SocketAddr> {
    match &host_port.host {
        Host::Ip(ip) => Some(SocketAddr::new(*ip, host_port.port)),
        Host::Ip6Zone(ip, zone) => {
            let scope = zone
                .parse()
                .ok()
                .or_else(|| resolv_conf::interface_index(zone))?;
            Some(SocketAddrV6::new(*ip, host_port.port, 0, scope).into())
        }
        Host::Name(_) | Host::Wildcard => None,
    }
}

/// The address to bind for `--listen-addr`: a wildcard takes both families where the
/// host has both, as the reference does; of a name's addresses an IPv4 one is preferred.
pub(crate) fn listen_address(listen: &HostPort, resolver: &Resolver) -> io::Result<SocketAddr> {
    let wildcard = match &listen.host {
        Host::Wildcard => true,
        Host::Ip(ip) => ip.is_unspecified(),
        Host::Name(name) => {
            let deadline = Instant::now() + PATIENCE;
            let addresses = resolver
                .lookup_host(name, deadline)
                .map_err(|error| io::Error::other(error.to_string()))?
                .addresses;
            let preferred = addresses
                .iter()
                .find(|ip| ip.is_ipv4())
                .or(addresses.first());
            return preferred
                .map(|ip| SocketAddr::new(*ip, listen.port))
                .ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        Host::Ip6Zone(..) => false,
    };
    if !wildcard {
        return literal(listen)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no interface of that name"));
    }
    let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let ip = if has_ipv6 {
        IpAddr::from([0; 16])
    } else {
        IpAddr::from([0; 4])
    };
    Ok(SocketAddr::new(ip, listen.port))
}

/// Waits for a call or for a time; tells whether it was a call.
fn wait(wake: &Waker, until: Instant) -> bool {
    let mut fds = [PollFd::readable(wake.fd())];
    let timeout = until.saturating_duration_since(Instant::now());
    if let Err(error) = syscall::wait(&mut fds, Some(timeout)) {
        log::error(
            "discovery",
            "cannot poll",
            &[("error", error.to_string().into())],
        );
        std::thread::sleep(MIN_PAUSE);
    }
    wake.clear();
    fds.iter().any(PollFd::is_ready)
}

/// Logs what a new set changed, one line a change.
pub(crate) fn log_change(change: &Change) {
    if !change.is_empty() {
        let texts =
            |addrs: &[SocketAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
        log::info(
            "discovery",
            "endpoints changed",
            &[
                ("added", texts(&change.added).into()),
                ("removed", texts(&change.removed).into()),
            ],
        );
    }
}

/// Does the same for all `items`, up to [`SIDE_BY_SIDE`] at a time; results in order.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let mut results = Vec::with_capacity(items.len());
    for batch in items.chunks(SIDE_BY_SIDE) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = batch
                .iter()
                .map(|item| {
                    let thread = std::thread::Builder::new().name("resolve".to_owned());
                    (item, thread.spawn_scoped(scope, || work(item)))
                })
                .collect();
            for (item, thread) in threads {
                // Without a thread of its own it is done here, later.
                let result = thread.ok().and_then(|thread| thread.join().ok());
                results.push(result.unwrap_or_else(|| work(item)));
            }
        });
    }
    results
}
