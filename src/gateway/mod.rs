//! Composition of the running gateway: limits, endpoints, listeners, threads; `service`
//! has its end. Every other module is given what it needs from here.
//!
//! Threads: the main thread starts and ends; `signal` waits for signals; `log` writes lines, and
//! `access-log`, if asked for, those of connections; `accept`, one per listener; `monitor`;
//! `discovery`, with `resolve` for its lookups; `sessions`, which looks after them; `health`, if
//! asked for, with `check` for each question; `admin`, if metrics
//! are; `status`, if a service manager listens; `zones`, if a listener is on one link alone; one or two per session. `threads` starts those that
//! the gateway cannot do without, and what becomes of one that ends stands there. None is joined but
//! `accept`, when draining: the end of the process ends the others, which hold nothing that has to
//! be put in order.

mod bounds;
pub(crate) mod check;
mod error;
mod listeners;
mod observer;
mod service;
mod status;
mod threads;
mod zones;

use std::fmt;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use crate::access::{AccessLog, LogFile, Target};
use crate::admin::{self, Observed};
use crate::config::Config;
use crate::date::Now;
use crate::discovery::auth::Authenticator;
use crate::discovery::{self, Discovery, Identity, Source, roots};
use crate::dns::resolv_conf::interface_index;
use crate::dns::{Resolver, Sources};
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::endpoint::probe::Patience;
use crate::endpoint::{Endpoint, Gate};
use crate::health::watch::Checks;
use crate::log;
use crate::loop_guard::{self, LoopGuard};
use crate::proxy::listener::Listener;
use crate::proxy::watch::{self, Rounds};
use crate::proxy::{Bounds, Proxy};
use crate::sys::Plain;
use crate::sys::activation::{self, Inherited};
use crate::sys::limits;
use crate::sys::memory;
use crate::sys::notify::Notifier;
use crate::sys::random;
use crate::sys::syscall;
use crate::times::Times;
use crate::x509::ServerName;

use bounds::{max_connections, needs};
pub(crate) use error::Error;
use error::Step;
use listeners::Place;
use service::Signals;
use status::Served;
use threads::{Thread, Threads};
use zones::Zones;

/// Said where the kernel refuses: it never does, unless a sandbox makes it.
const NOT_CONTAINED: &str = "cannot set no_new_privs, going on without";

/// Serves until a signal ends it.
///
/// # Errors
/// If it cannot start; once clients are served, only a fault of the program is an error.
pub(crate) fn run(config: &Config, warnings: Vec<String>) -> Result<(), Error> {
    memory::configure();
    // Before the first thread, which would take the signals otherwise.
    syscall::block_signals().map_err(refused("cannot block signals"))?;
    // Before anything is opened, which could take the numbers of what was passed.
    let passed = activation::sockets(std::process::id(), |name| std::env::var_os(name))
        .map_err(Error::Activation)?;
    let privileges = syscall::forbid_new_privileges();
    random::check().map_err(refused("no entropy"))?;
    let notifier =
        Notifier::from_environment(|name| std::env::var_os(name)).map_err(Error::Notify)?;
    let descriptors = limits::raise_descriptors();
    let times = Times::of_this_process();
    let threads = Threads::new(times);
    log::choose(config.log_level, log_format(config));
    threads::log_panics();
    let log = threads.start(Thread::Log, || log::write_lines());
    log.map_err(Error::thread)?;
    for warning in warnings {
        log::warn("cli", &warning, &[]);
    }
    if let Err(error) = privileges {
        log::warn(
            "gateway",
            NOT_CONTAINED,
            &[("error", Plain(&error).to_string().into())],
        );
    }
    if let Err(error) = &descriptors.1 {
        log::warn(
            "gateway",
            "cannot raise RLIMIT_NOFILE, going on with the soft limit",
            &[("error", Plain(error).to_string().into())],
        );
    }
    let signals = Signals::watch(times).map_err(Error::thread)?;
    let result = threads::attempt(|| {
        serve(
            config,
            &notifier,
            &threads,
            &signals,
            descriptors.0,
            passed,
            times,
        )
    });
    log::flush(times.flush_patience);
    result.unwrap_or_else(|panic| Err(Error::Panicked(panic)))
}

/// The host refuses a step of the start that has no remedy of its own.
fn refused(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::host(what, Step::Other, error)
}

/// Opens the access log, if one is wanted, and starts its writer. The form of lines is the log's
/// where they stand beside it; a file is for programs, unless text is asked for.
fn access_log(config: &Config, threads: &Arc<Threads>) -> Result<Option<Arc<AccessLog>>, Error> {
    let (mut file, format) = match &config.access_log {
        None => return Ok(None),
        Some(Target::Stderr) => (None, log_format(config)),
        Some(Target::File(path)) => {
            let file = LogFile::open(path).map_err(|error| Error::access_log(path, error))?;
            (Some(file), config.log_format.unwrap_or(log::Format::Json))
        }
    };
    let log = Arc::new(AccessLog::new(format));
    let own = Arc::clone(&log);
    let writer = threads.start(Thread::AccessLog, move || own.write(file.as_mut()));
    writer.map_err(Error::thread)?;
    Ok(Some(log))
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
    threads: &Arc<Threads>,
    signals: &Signals,
    descriptors: u64,
    passed: Vec<Inherited>,
    times: Times,
) -> Result<(), Error> {
    let since = Instant::now();
    let clock = Mutex::new(Now::new(since, SystemTime::now()));
    let Plan {
        listen,
        metrics,
        resolves,
        mut discovery,
        authenticator,
        guard,
        warnings,
    } = plan(config, &passed, times)?;
    for warning in warnings {
        log::warn("gateway", &warning, &[]);
    }
    let access = access_log(config, threads)?;
    // The search for endpoints may take long, and whoever moves files does not ask how far it is.
    if let Some(access) = &access {
        signals.reopen(access);
    }
    let gate = authenticator.map(|authenticator| authenticator as Arc<dyn Gate>);
    let start = discovery
        .start(gate.as_deref(), config.dial_timeout)
        .map_err(Error::Discovery)?;
    refuse_loops(&start.endpoints, &listen, metrics.as_ref())?;

    let listen_from = if passed.is_empty() {
        "--listen-addr"
    } else {
        "LISTEN_FDS"
    };
    let zones = Zones::default();
    let is_own = passed.is_empty();
    let listeners = listeners::open(&listen, passed)?;
    let listeners: Vec<Arc<Listener>> = listeners.into_iter().map(Arc::new).collect();
    let bound: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
    for (named, listener) in config.listen_addrs.iter().zip(&listeners) {
        if is_own {
            zones.add(
                named,
                listener.addr,
                Arc::clone(listener) as _,
                listeners::open_own,
            );
        }
    }
    let mut metrics_addr = None;
    let metrics = match metrics {
        Some(place) => {
            let listener = Arc::new(listeners::open_metrics(place.addr)?);
            let addr = listener.local_addr();
            let addr = addr.map_err(refused("cannot serve metrics"))?;
            metrics_addr = Some(addr);
            if let Some(named) = &config.metrics_addr {
                zones.add(
                    named,
                    addr,
                    Arc::clone(&listener) as _,
                    listeners::open_metrics,
                );
            }
            Some(listener)
        }
        None => None,
    };
    let refreshes = discovery.refreshes();

    let pool = Pool::new(config.policy, config.retry_delay, gate.clone())
        .map_err(refused("cannot wake threads"))?;
    // What is open by now is counted; what is not is in these.
    let needs = needs(
        config,
        resolves,
        gate.is_some(),
        listeners.len(),
        !zones.is_empty(),
        notifier,
    );
    let capacity = limits::capacity(descriptors, &needs).map_err(Error::Descriptors)?;
    let (max_connections, bounded_by) = max_connections(config.max_connections, &capacity);
    discovery::limit(capacity.lookups);
    let pool = Arc::new(pool.tuned(capacity.slots, times));
    let names: Vec<String> = start
        .endpoints
        .iter()
        .map(|endpoint| endpoint.addr.to_string())
        .collect();
    pool.replace(start.endpoints);
    for (endpoint, proof) in &start.proven {
        pool.proven(endpoint, Instant::now(), *proof);
    }
    let monitor = Arc::new(Monitor::new(times));
    let proxy = Arc::new(Proxy::new(
        pool,
        monitor,
        guard,
        Bounds {
            dial_timeout: config.dial_timeout,
            max_connections,
            max_pipes: capacity.pipes,
            max_buffers: capacity.buffers,
            watch: watch::Settings {
                answer_timeout: config.answer_timeout,
                close_removed: config.close_removed,
                close_unhealthy: config.close_unhealthy,
            },
            times,
        },
        access,
    ));
    let served = Arc::new(Served {
        proxy: Arc::clone(&proxy),
        refreshes,
        threads: Arc::clone(threads),
        listen: bound.clone(),
        zones,
        since,
        clock,
    });

    // Every thread is started before one of them begins its work: a start that fails serves no client.
    let (shared, mut rounds) = (Arc::clone(&proxy), Rounds::default());
    let work = move || watch::run(&shared, &mut rounds);
    threads
        .prepare(Thread::Sessions, work)
        .map_err(Error::thread)?;
    let shared = Arc::clone(&proxy);
    threads
        .prepare(Thread::Parked, move || shared.wait_for_silent())
        .map_err(Error::thread)?;
    // What is served for metrics is not an endpoint either.
    let own: Vec<SocketAddr> = bound.iter().copied().chain(metrics_addr).collect();
    prepare_background(config, threads, &proxy, discovery, gate, own, times)
        .map_err(Error::thread)?;
    if let Some(listener) = metrics {
        let observed = Arc::clone(&served) as Arc<dyn Observed>;
        let work = move || admin::serve(&listener, &observed, &times);
        threads
            .prepare(Thread::Admin, work)
            .map_err(Error::thread)?;
    }
    let mut accepting = Vec::new();
    for listener in listeners {
        let (shared, served) = (Arc::clone(&listener), Arc::clone(&served));
        let work = move || served.proxy.accept(&shared, served.threads.closing());
        let thread = threads
            .prepare(Thread::Accept, work)
            .map_err(Error::thread)?;
        accepting.push((listener, thread));
    }
    if !served.zones.is_empty() {
        let shared = Arc::clone(&served);
        let work = move || {
            let closing = shared.threads.closing();
            shared.zones.run(times.zone_look, closing, interface_index);
        };
        threads
            .prepare(Thread::Zones, work)
            .map_err(Error::thread)?;
    }
    service::prepare_reports(notifier, &served, times).map_err(Error::thread)?;
    // Those of one client, too: a host that gives none, for the size of its stack, say, would refuse all.
    proxy.check_workers(2).map_err(Error::session)?;

    // Whoever reads that it is ready may send the next signal at once.
    signals.serve(&served);
    threads.complete();
    if let Some(addr) = metrics_addr {
        log::info("gateway", "serving metrics", &[("address", addr.into())]);
    }
    log::info(
        "gateway",
        "ready to proxy client requests",
        &[
            ("endpoints", names.into()),
            ("listen", texts(&bound).into()),
            ("listen-from", listen_from.into()),
            ("max-connections", max_connections.into()),
            ("bounded-by", bounded_by.into()),
        ],
    );
    service::tell_ready(notifier, &served);
    let signal = signals.wait_for_the_end();
    threads.close();
    service::drain(
        signals,
        signal,
        config.drain_timeout,
        notifier,
        &proxy,
        accepting,
        &times,
    );
    Ok(())
}

/// What a start, or a check of one, begins with: nothing is bound or dialled yet.
pub(super) struct Plan {
    pub(super) listen: Vec<Place>,
    /// Where to serve metrics.
    pub(super) metrics: Option<Place>,
    /// Whether members may have names.
    pub(super) resolves: bool,
    pub(super) discovery: Discovery,
    pub(super) authenticator: Option<Arc<Authenticator>>,
    pub(super) guard: LoopGuard,
    /// What is odd, but no reason not to start.
    pub(super) warnings: Vec<String>,
}

/// Works out from the settings what can be worked out on this host alone, but for names.
pub(super) fn plan(config: &Config, passed: &[Inherited], times: Times) -> Result<Plan, Error> {
    let resolver = Resolver::new(Sources::of_system(times.resolver_look), random::fill);
    let passed = passed
        .iter()
        .map(|socket| loop_guard::canonical(socket.addr));
    let passed: Vec<SocketAddr> = passed.collect();
    let listen = listeners::places(config, &passed, &resolver)?;
    let mut warnings = Vec::new();
    let metrics = listeners::metrics_place(config, &listen, &resolver)?;
    if let Some(Place { addr, shown }) = &metrics
        && !addr.ip().is_loopback()
    {
        warnings.push(format!(
            "--metrics-addr={shown} can be reached from other hosts, and asks nobody for a password: \
             whoever reaches it reads addresses and states of the cluster"
        ));
    }
    let source = source(config, &mut warnings)?;
    let guard = LoopGuard::default();
    let authenticator = if source.authenticates() {
        let file = config.trusted_ca_file.as_deref();
        let roots = roots::load(file, |name| std::env::var_os(name)).map_err(Error::Roots)?;
        let passed_over = |error| format!("certificate of an authority is passed over: {error}");
        warnings.extend(roots.passed_over.into_iter().map(passed_over));
        Some(Arc::new(Authenticator::new(roots.anchors, guard.clone())))
    } else {
        None
    };
    Ok(Plan {
        listen,
        metrics,
        resolves: source.resolves(),
        discovery: Discovery::new(source, resolver, times),
        authenticator,
        guard,
        warnings,
    })
}

/// Where the members are to be found, and what they have to prove.
fn source(config: &Config, warnings: &mut Vec<String>) -> Result<Source, Error> {
    let valid = |name: String| match ServerName::parse(&name) {
        Ok(_) => Ok(name),
        Err(error) => Err(Error::ServerName(name, error)),
    };
    let named = config
        .server_name
        .clone()
        .map(|name| name.trim_end_matches('.').to_owned());
    let listed = match (config.verify_endpoints, &named) {
        (false, _) => Identity::None,
        (true, None) => Identity::Own,
        (true, Some(name)) => Identity::Named(valid(name.clone())?),
    };
    if let Some(path) = &config.endpoints_file {
        let (source, odd) = Source::file(path, listed).map_err(Error::EndpointsFile)?;
        warnings.extend(odd);
        return Ok(source);
    }
    let list = discovery::given(&config.endpoints, &listed);
    let Some(srv) = &config.discovery else {
        return Ok(Source::List(list));
    };
    let identity = if srv.insecure {
        None
    } else {
        Some(valid(
            named.unwrap_or_else(|| discovery::identity_of(&srv.domain)),
        )?)
    };
    let fallback = if config.endpoints_given {
        list
    } else {
        Vec::new()
    };
    Ok(Source::srv(&srv.domain, &srv.name, identity, fallback))
}

/// Prepares the threads that keep the endpoints in order.
fn prepare_background(
    config: &Config,
    threads: &Arc<Threads>,
    proxy: &Arc<Proxy>,
    mut discovery: Discovery,
    gate: Option<Arc<dyn Gate>>,
    own: Vec<SocketAddr>,
    times: Times,
) -> io::Result<()> {
    let (shared, timeout) = (Arc::clone(proxy), config.dial_timeout);
    let patience = Patience {
        dial: timeout,
        answer: config.answer_timeout,
    };
    threads.prepare(Thread::Monitor, move || {
        shared.monitor.run(&shared.pool, &shared.guard, patience)
    })?;

    if let Some(url) = config.health_check.clone() {
        let (pool, guard) = (Arc::clone(&proxy.pool), proxy.guard.clone());
        let checks = Checks::new(pool, url, guard, times);
        threads.prepare(Thread::Health, move || checks.run())?;
    }

    let shared = Arc::clone(proxy);
    threads.prepare(Thread::Discovery, move || {
        discovery.run(&shared.pool, gate.as_deref(), timeout, &own, |addrs| {
            shared.removed(addrs)
        })
    })?;
    Ok(())
}

/// Refuses an endpoint that is one of the addresses to listen on.
pub(super) fn refuse_loops(
    endpoints: &[Endpoint],
    listen: &[Place],
    metrics: Option<&Place>,
) -> Result<(), Error> {
    let clients = listen.iter().map(|place| (place, ""));
    let metrics = metrics.map(|place| (place, " of --metrics-addr"));
    let places: Vec<(&Place, &str)> = clients.chain(metrics).collect();
    for endpoint in endpoints {
        let own = |(place, _): &&(&Place, &str)| loop_guard::serves(&[place.addr], endpoint.addr);
        if let Some((place, which)) = places.iter().find(own) {
            return Err(Error::Loop {
                source: endpoint.source,
                endpoint: endpoint.name.clone(),
                addr: endpoint.addr,
                listen: format!("{}{which}", place.shown),
            });
        }
    }
    Ok(())
}

fn texts(items: &[impl fmt::Display]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
