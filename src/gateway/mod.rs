//! Composition of the running gateway: limits, endpoints, listeners, threads; `service`
//! has its end. Every other module is given what it needs from here.
//!
//! Threads: the main thread starts and ends; `signal` waits for signals; `log` writes lines; `accept`, one a
//! listener; `monitor`; `discovery`, with `resolve` for its lookups; `close-removed`, if
//! asked for; `status`, if a service manager listens; two a session. None is joined but `accept`, when draining: the end of the
//! process ends the others, which hold nothing that has to be put in order.

mod error;
mod service;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::addr::HostPort;
use crate::config::Config;
use crate::dial::{self, Plain};
use crate::discovery::{self, Discovery, Source};
use crate::dns::{Resolver, Sources};
use crate::endpoint::Endpoint;
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::log;
use crate::loop_guard::{self, LoopGuard};
use crate::proxy::Proxy;
use crate::sys::limits::{self, Capacity};
use crate::sys::notify::Notifier;
use crate::sys::random;
use crate::sys::syscall;

pub(crate) use error::Error;
use service::{FLUSH_PATIENCE, Signals};

/// Clients that wait to be accepted. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// Serves until a signal ends it.
///
/// # Errors
/// If it cannot start; once clients are served, nothing is an error any more.
pub(crate) fn run(config: &Config, warnings: Vec<String>) -> Result<(), Error> {
    let system = |step| move |error| Error::System(step, error);
    // Before the first thread, which would take the signals otherwise.
    syscall::block_signals().map_err(system("cannot block signals"))?;
    random::check().map_err(system("no entropy"))?;
    let notifier =
        Notifier::from_environment(|name| std::env::var_os(name)).map_err(Error::Notify)?;
    let descriptors = limits::raise_descriptors();
    log::start(config.log_level, log_format(config))
        .map_err(system("cannot start the log thread"))?;
    for warning in warnings {
        log::warn("cli", &warning, &[]);
    }
    if let Err(error) = &descriptors.1 {
        log::warn(
            "gateway",
            "cannot raise RLIMIT_NOFILE, going on with the soft limit",
            &[("error", Plain(error).to_string().into())],
        );
    }
    let signals = Signals::watch().map_err(system("cannot start a thread"))?;
    let result = serve(
        config,
        &notifier,
        &signals,
        &limits::capacity(descriptors.0),
    );
    log::flush(FLUSH_PATIENCE);
    result
}

fn log_format(config: &Config) -> log::Format {
    config.log_format.unwrap_or_else(|| {
        if io::stderr().is_terminal() {
            log::Format::Text
        } else {
            log::Format::Json
        }
    })
}

fn serve(
    config: &Config,
    notifier: &Notifier,
    signals: &Signals,
    capacity: &Capacity,
) -> Result<(), Error> {
    let system = |step| move |error| Error::System(step, error);
    let (max_connections, bounded_by) = max_connections(config.max_connections, capacity);

    let resolver = Resolver::new(Sources::of_system(), random::fill);
    let mut listen = Vec::new();
    for wanted in &config.listen_addrs {
        let addr = discovery::listen_address(wanted, &resolver)
            .map_err(|error| Error::ListenName(wanted.clone(), error))?;
        listen.push((wanted, addr));
    }
    let mut discovery = Discovery::new(source(config)?, resolver);
    let endpoints = discovery.start().map_err(Error::Discovery)?;
    refuse_loops(&endpoints, &listen)?;

    let mut listeners = Vec::new();
    for (_, addr) in &listen {
        listeners.push(bind(*addr).map_err(|error| Error::Bind(*addr, error))?);
    }
    let bound: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();

    let pool = Arc::new(Pool::new(config.retry_delay).map_err(system("cannot wake threads"))?);
    let names: Vec<String> = endpoints
        .iter()
        .map(|endpoint| endpoint.addr.to_string())
        .collect();
    pool.replace(endpoints);
    let monitor = Arc::new(Monitor::default());
    let guard = LoopGuard::default();
    let proxy = Arc::new(Proxy::new(
        pool,
        monitor,
        guard,
        config.dial_timeout,
        max_connections,
    ));
    start_background(config, &proxy, discovery, &bound).map_err(system("cannot start a thread"))?;
    let closing = Arc::new(AtomicBool::new(false));
    let mut accepting = Vec::new();
    for listener in listeners {
        let listener = Arc::new(listener);
        let thread = {
            let (listener, proxy, closing) = (
                Arc::clone(&listener),
                Arc::clone(&proxy),
                Arc::clone(&closing),
            );
            spawn("accept", move || proxy.accept(&listener, &closing))
                .map_err(system("cannot start a thread"))?
        };
        accepting.push((listener, thread));
    }
    log::info(
        "gateway",
        "ready to proxy client requests",
        &[
            ("endpoints", names.into()),
            ("listen", texts(&bound).into()),
            ("max-connections", max_connections.into()),
            ("bounded-by", bounded_by.into()),
        ],
    );
    service::report(notifier, &proxy, &closing).map_err(system("cannot start a thread"))?;
    let signal = signals.serve_until_one_ends_it(&proxy);
    closing.store(true, Ordering::SeqCst);
    service::drain(signal, config.drain_timeout, notifier, &proxy, accepting);
    Ok(())
}

/// Where the members are to be found.
fn source(config: &Config) -> Result<Source, Error> {
    let Some(srv) = &config.discovery else {
        return Ok(Source::List(config.endpoints.clone()));
    };
    if !srv.insecure {
        return Err(Error::NoAuthentication);
    }
    let fallback = config.endpoints_given.then(|| config.endpoints.clone());
    Ok(Source::srv(&srv.domain, &srv.name, fallback))
}

/// Starts the threads that keep the endpoints in order.
fn start_background(
    config: &Config,
    proxy: &Arc<Proxy>,
    discovery: Discovery,
    listeners: &[SocketAddr],
) -> io::Result<()> {
    let (shared, timeout) = (Arc::clone(proxy), config.dial_timeout);
    spawn("monitor", move || {
        shared.monitor.run(&shared.pool, &shared.guard, timeout)
    })?;

    let (removals, removed) = channel::<(Instant, Vec<SocketAddr>)>();
    if config.close_removed.is_some() {
        let shared = Arc::clone(proxy);
        spawn("close-removed", move || close_removed(&shared, &removed))?;
    }
    let (shared, delay, listeners) = (Arc::clone(proxy), config.close_removed, listeners.to_vec());
    spawn("discovery", move || {
        discovery.run(&shared.pool, shared.pool.distress(), &listeners, |addrs| {
            if let Some(delay) = delay {
                // The other end lives as long as the process.
                let _ = removals.send((Instant::now() + delay, addrs));
            }
        })
    })?;
    Ok(())
}

/// Resets the connections to endpoints that have been removed for as long as was asked
/// for. Whoever comes back meanwhile, and is removed again, has the whole time again.
fn close_removed(proxy: &Proxy, removed: &Receiver<(Instant, Vec<SocketAddr>)>) {
    let mut due: BTreeMap<SocketAddr, Instant> = BTreeMap::new();
    loop {
        let next = due
            .values()
            .min()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let news = match next {
            Some(left) => removed.recv_timeout(left),
            None => removed.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match news {
            Ok((at, addrs)) => due.extend(addrs.into_iter().map(|addr| (addr, at))),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody follows the endpoints any more.
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        let over: Vec<SocketAddr> = due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(addr, _)| *addr)
            .collect();
        for addr in over {
            due.remove(&addr);
            if proxy.pool.contains(addr) {
                continue;
            }
            let count = proxy.sessions.reset_endpoint(addr);
            if count > 0 {
                log::info(
                    "gateway",
                    "reset connections to a removed endpoint",
                    &[("address", addr.into()), ("connections", count.into())],
                );
            }
        }
    }
}

/// The cap, and what sets it. More than the host bears would end the process as a
/// whole one day, so it is cut, not refused: a unit file may move to a smaller host.
fn max_connections(wanted: Option<usize>, capacity: &Capacity) -> (usize, &'static str) {
    match wanted {
        Some(wanted) if wanted > capacity.connections => {
            log::warn(
                "gateway",
                "--max-connections is more than this host bears, using less",
                &[
                    ("wanted", wanted.into()),
                    ("used", capacity.connections.into()),
                    ("bounded-by", capacity.bounded_by.into()),
                ],
            );
            (capacity.connections, capacity.bounded_by)
        }
        Some(wanted) => (wanted, "--max-connections"),
        None => (capacity.connections, capacity.bounded_by),
    }
}

fn refuse_loops(endpoints: &[Endpoint], listen: &[(&HostPort, SocketAddr)]) -> Result<(), Error> {
    for endpoint in endpoints {
        for (wanted, listen) in listen {
            if loop_guard::serves(&[*listen], endpoint.addr) {
                return Err(Error::Loop {
                    endpoint: endpoint.name.clone(),
                    addr: endpoint.addr,
                    listen: wanted.to_string(),
                });
            }
        }
    }
    Ok(())
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // The IPv6 wildcard takes IPv4 clients too, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    dial::prepare(SockRef::from(&socket))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
}

fn texts(items: &[impl fmt::Display]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
