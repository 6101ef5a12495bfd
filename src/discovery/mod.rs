//! From what the operator configured to the addresses that are dialled, for as long as
//! the gateway runs.
//!
//! A name may have several addresses; each becomes an endpoint of its own. Names are
//! resolved again and again, so that a record that changes is followed; a failure to
//! resolve is a warning and never takes away an address that is known. An address that
//! would lead back to this gateway is left out.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::addr::{Host, HostPort};
use crate::dial::Plain;
use crate::endpoint::Endpoint;
use crate::endpoint::pool::{Change, Pool};
use crate::log;
use crate::loop_guard;
use crate::sync::lock;

/// How often a name is resolved again. The system's resolver does not tell how long an
/// answer is valid; this follows a change soon and costs a resolver next to nothing.
const REFRESH: Duration = Duration::from_secs(10);
/// The first pause after a name could not be resolved; doubled up to [`REFRESH`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A configured endpoint and what it resolved to.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) configured: HostPort,
    /// The addresses of the last successful resolution; empty if there was none yet.
    pub(crate) addrs: Vec<SocketAddr>,
}

/// Resolves every endpoint once, side by side, in at most `patience`. What could not be
/// resolved by then is logged and comes back without an address.
pub(crate) fn resolve_all(endpoints: &[HostPort], patience: Duration) -> Vec<Resolved> {
    let deadline = Instant::now() + patience;
    let (sender, answers) = channel();
    let mut resolved: Vec<Resolved> = Vec::with_capacity(endpoints.len());
    let mut waiting = 0;
    for (index, endpoint) in endpoints.iter().enumerate() {
        let addrs = match endpoint.host {
            Host::Ip(ip) => vec![SocketAddr::new(ip, endpoint.port)],
            _ => {
                let (sender, endpoint) = (sender.clone(), endpoint.clone());
                let started = spawn(move || {
                    // Nobody listens any more if the answer came too late.
                    let _ = sender.send((index, lookup(&endpoint)));
                });
                waiting += usize::from(started.is_ok());
                Vec::new()
            }
        };
        resolved.push(Resolved {
            configured: endpoint.clone(),
            addrs,
        });
    }
    while waiting > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((index, answer)) = answers.recv_timeout(left) else {
            break;
        };
        waiting -= 1;
        if let Some(entry) = resolved.get_mut(index) {
            match answer {
                Ok(addrs) => entry.addrs = addrs,
                Err(error) => warn_unresolved(&entry.configured, &Plain(&error).to_string()),
            }
        }
    }
    if waiting > 0 {
        for entry in resolved.iter().filter(|entry| entry.addrs.is_empty()) {
            warn_unresolved(&entry.configured, "no answer yet");
        }
    }
    resolved
}

fn warn_unresolved(endpoint: &HostPort, error: &str) {
    log::warn(
        "discovery",
        "cannot resolve endpoint, will try again",
        &[
            ("endpoint", endpoint.to_string().into()),
            ("error", error.into()),
        ],
    );
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("resolve".to_owned());
    thread.spawn(work).map(drop)
}

/// The addresses of an endpoint, by the system's resolver, each once.
fn lookup(endpoint: &HostPort) -> io::Result<Vec<SocketAddr>> {
    let port = endpoint.port;
    let mut addrs: Vec<SocketAddr> = match &endpoint.host {
        Host::Wildcard => Vec::new(),
        Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        Host::Ip6Zone(ip, zone) => (format!("{ip}%{zone}").as_str(), port)
            .to_socket_addrs()?
            .collect(),
        Host::Name(name) => (name.as_str(), port).to_socket_addrs()?.collect(),
    };
    addrs.sort_unstable();
    addrs.dedup();
    if addrs.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    Ok(addrs)
}

/// The address to bind for `--listen-addr`: a wildcard takes both families where the
/// host has both, as the reference does; of a name's addresses an IPv4 one is preferred.
pub(crate) fn listen_address(listen: &HostPort) -> io::Result<SocketAddr> {
    let wildcard = match listen.host {
        Host::Wildcard => true,
        Host::Ip(ip) => ip.is_unspecified(),
        _ => false,
    };
    if wildcard {
        let ip = if has_ipv6() {
            IpAddr::from([0; 16])
        } else {
            IpAddr::from([0; 4])
        };
        return Ok(SocketAddr::new(ip, listen.port));
    }
    let addrs = lookup(listen)?;
    let preferred = addrs.iter().find(|addr| addr.is_ipv4()).or(addrs.first());
    preferred
        .copied()
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::]:0").is_ok()
}

/// Keeps a pool in step with what the configured endpoints resolve to.
#[derive(Debug)]
pub(crate) struct Discovery {
    pool: Arc<Pool>,
    listeners: Vec<SocketAddr>,
    known: Mutex<Vec<Resolved>>,
}

impl Discovery {
    /// Fills the pool, and starts a thread for each endpoint that is a name.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(crate) fn start(
        pool: Arc<Pool>,
        listeners: Vec<SocketAddr>,
        known: Vec<Resolved>,
    ) -> io::Result<()> {
        let names: Vec<(usize, HostPort)> = known
            .iter()
            .enumerate()
            .filter(|(_, entry)| !matches!(entry.configured.host, Host::Ip(_)))
            .map(|(index, entry)| (index, entry.configured.clone()))
            .collect();
        let discovery = Arc::new(Self {
            pool,
            listeners,
            known: Mutex::new(known),
        });
        // What was written as an address is no news.
        let change = discovery.publish();
        if !names.is_empty() {
            log_change(change);
        }
        for (index, endpoint) in names {
            let discovery = Arc::clone(&discovery);
            spawn(move || discovery.follow(index, &endpoint))?;
        }
        Ok(())
    }

    /// Resolves one name for ever.
    fn follow(&self, index: usize, endpoint: &HostPort) {
        let mut failures: u32 = match lock(&self.known).get(index) {
            Some(entry) if entry.addrs.is_empty() => 1,
            _ => 0,
        };
        loop {
            let backoff = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(8));
            std::thread::sleep(if failures == 0 {
                REFRESH
            } else {
                backoff.min(REFRESH)
            });
            match lookup(endpoint) {
                Ok(addrs) => {
                    failures = 0;
                    self.update(index, addrs);
                }
                Err(error) => {
                    if failures == 0 {
                        warn_unresolved(endpoint, &Plain(&error).to_string());
                    }
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn update(&self, index: usize, addrs: Vec<SocketAddr>) {
        let changed = lock(&self.known).get_mut(index).is_some_and(|entry| {
            let changed = entry.addrs != addrs;
            entry.addrs = addrs;
            changed
        });
        if changed {
            log_change(self.publish());
        }
    }

    /// Hands the pool the endpoints as they are now known.
    fn publish(&self) -> Change {
        let mut looped = Vec::new();
        let change = {
            let known = lock(&self.known);
            let mut endpoints = Vec::new();
            for entry in known.iter() {
                for addr in &entry.addrs {
                    let endpoint = Endpoint {
                        addr: *addr,
                        name: entry.configured.to_string(),
                    };
                    if loop_guard::serves(&self.listeners, *addr) {
                        looped.push(endpoint);
                    } else {
                        endpoints.push(endpoint);
                    }
                }
            }
            // Under the lock, so that an older state never overtakes a newer one.
            self.pool.replace(endpoints)
        };
        for endpoint in looped {
            log::warn(
                "discovery",
                "endpoint is this gateway itself, left out",
                &[
                    ("address", endpoint.addr.into()),
                    ("endpoint", endpoint.name.into()),
                ],
            );
        }
        change
    }
}

fn log_change(change: Change) {
    if !change.is_empty() {
        log::info(
            "discovery",
            "endpoints changed",
            &[
                ("added", change.added.into()),
                ("removed", change.removed.into()),
            ],
        );
    }
}
