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
pub(crate) mod handover;
mod listeners;
mod metrics;
mod plan;
mod reports;
mod service;
mod signals;
mod status;
mod threads;
mod zones;

use std::fmt;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::access::{AccessLog, LogFile, Target};
use crate::config::{Config, Settings};
use crate::date::Now;
use crate::discovery::{self, Discovery};
use crate::dns::resolv_conf::interface_index;
use crate::endpoint::Gate;
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::endpoint::probe::Patience;
use crate::health::watch::Checks;
use crate::log::{self, Layout};
use crate::proxy::listener::Listener;
use crate::proxy::watch::{self, Rounds};
use crate::proxy::{Bounds, Proxy};
use crate::sys::Plain;
use crate::sys::activation::{self, Inherited};
use crate::sys::journal;
use crate::sys::limits;
use crate::sys::memory;
use crate::sys::notify::Notifier;
use crate::sys::program::Program;
use crate::sys::random;
use crate::sys::syscall;
use crate::times::Times;

use bounds::{max_connections, needs};
pub(crate) use error::Error;
use error::Step;
use handover::{Handover, Reloads};
use listeners::Place;
use metrics::Metrics;
use plan::{Plan, refuse_loops};
use service::{Doors, Service};
use signals::Signals;
use status::Served;
use threads::{Thread, Threads};
use zones::Zones;

/// Said where the kernel refuses: it never does, unless a sandbox makes it.
const NOT_CONTAINED: &str = "cannot set no_new_privs; continuing without it";

/// Serves until a signal ends it.
///
/// # Errors
/// If it cannot start; once clients are served, only a fault of the program is an error.
pub(crate) fn run(
    config: &Config,
    warnings: Vec<String>,
    mut handover: Option<Handover>,
) -> Result<ExitCode, Error> {
    memory::configure();
    let program = Program::of_this_process();
    // Before the first thread, which would take the signals otherwise.
    syscall::block_signals().map_err(refused("cannot block signals"))?;
    // Before anything is opened, which could take the numbers of what was passed.
    let passed = match &mut handover {
        Some(handover) => std::mem::take(&mut handover.passed),
        None => activation::sockets(std::process::id(), |name| std::env::var_os(name))
            .map_err(Error::usage)?,
    };
    let privileges = syscall::forbid_new_privileges();
    random::check().map_err(refused("no entropy"))?;
    let notifier =
        Notifier::from_environment(|name| std::env::var_os(name)).map_err(Error::runtime)?;
    let descriptors = limits::raise_descriptors();
    let times = Times::of_this_process();
    let threads = Threads::new(times);
    log::choose(config.log_level, stderr_layout(config));
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
            "cannot raise RLIMIT_NOFILE; continuing with the soft limit",
            &[("error", Plain(error).to_string().into())],
        );
    }
    let signals = Signals::watch(times).map_err(Error::thread)?;
    let process = Process {
        config,
        program: &program,
        notifier: &notifier,
        threads: &threads,
        signals: &signals,
        descriptors: descriptors.0,
        times,
    };
    let result = threads::attempt(|| serve(&process, passed, handover));
    log::flush(times.flush_patience);
    result.unwrap_or_else(|panic| Err(Error::panicked(&panic)))
}

/// The host refuses a step of the start that has no remedy of its own.
fn refused(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::host(what, Step::Other, &error)
}

/// Opens the access log, if one is wanted, and starts its writer. The form of lines is the log's
/// where they stand beside it; a file is for programs, unless text is asked for.
fn access_log(config: &Config, threads: &Arc<Threads>) -> Result<Option<Arc<AccessLog>>, Error> {
    let (mut file, layout) = match &config.access_log {
        None => return Ok(None),
        Some(Target::Stderr) => (None, stderr_layout(config)),
        Some(Target::File(path)) => {
            let file = LogFile::open(path).map_err(|error| Error::access_log(path, &error))?;
            let layout = Layout {
                format: config.log_format.unwrap_or(log::Format::Json),
                has_priority: false,
            };
            (Some(file), layout)
        }
    };
    let log = Arc::new(AccessLog::new(layout));
    let own = Arc::clone(&log);
    let writer = threads.start(Thread::AccessLog, move || own.write(file.as_mut()));
    writer.map_err(Error::thread)?;
    Ok(Some(log))
}

/// Lines on stderr: JSON unless asked otherwise or for a terminal, in the journal too, where others have parsed it.
fn stderr_layout(config: &Config) -> Layout {
    let auto = match io::stderr().is_terminal() {
        true => log::Format::Text,
        false => log::Format::Json,
    };
    Layout {
        format: config.log_format.unwrap_or(auto),
        has_priority: journal::is_stderr(|name| std::env::var_os(name)),
    }
}

/// What all parts of a start are given.
struct Process<'a> {
    config: &'a Config,
    program: &'a Program,
    notifier: &'a Notifier,
    threads: &'a Arc<Threads>,
    signals: &'a Arc<Signals>,
    /// How many descriptors it may have.
    descriptors: u64,
    times: Times,
}

fn serve(
    process: &Process<'_>,
    passed: Vec<Inherited>,
    mut handover: Option<Handover>,
) -> Result<ExitCode, Error> {
    let Process {
        config,
        program,
        notifier,
        threads,
        signals,
        descriptors,
        times,
    } = *process;
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
    } = plan::plan(config, &passed, times)?;
    for warning in warnings {
        log::warn("gateway", &warning, &[]);
    }
    let access = access_log(config, threads)?;
    // The search for endpoints may take long: logrotate may send SIGHUP before it is complete.
    if let Some(access) = &access {
        signals.reopen(access);
    }
    let gate = authenticator.map(|authenticator| authenticator as Arc<dyn Gate>);
    let start = discovery
        .start(gate.as_deref(), config.dial_timeout)
        .map_err(Error::runtime)?;
    refuse_loops(&start.endpoints, &listen, metrics.as_ref())?;

    let listen_from = if passed.is_empty() {
        "--listen-addr"
    } else {
        "LISTEN_FDS"
    };
    let Sockets {
        listeners,
        metrics,
        zones,
    } = open_sockets(config, &listen, metrics.as_ref(), passed, handover.as_mut())?;
    let bound: Vec<SocketAddr> = listeners.iter().map(|listener| listener.addr).collect();
    let refreshes = discovery.refreshes();

    let pool = Pool::new(config.policy, config.retry_delay, gate.clone())
        .map_err(refused("cannot wake threads"))?;
    // What is open by now is counted; what is not is in these.
    let needs = needs(
        config,
        descriptors,
        resolves,
        gate.is_some(),
        listeners.len(),
        !zones.is_empty(),
        notifier,
    );
    let capacity =
        limits::capacity(descriptors, &needs).map_err(|shortage| Error::descriptors(&shortage))?;
    let before = handover.as_ref().map(|handover| handover.host);
    let (room, bounded_by) = max_connections(config.max_connections, &capacity, before);
    // Until it is known how many drain.
    let max_connections = room.beside(u64::MAX);
    discovery::limit_parallel(capacity.lookups);
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
            answer_timeout: config.answer_timeout,
            close_removed: config.close_removed,
            close_unhealthy: config.close_unhealthy,
            times,
        },
        access,
    ));
    let predecessor = handover.as_ref().map(Handover::process);
    let teller = handover.as_ref().map(Handover::teller);
    let variable = |name: &str| std::env::var_os(name);
    let served = Arc::new(Served {
        proxy: Arc::clone(&proxy),
        refreshes,
        threads: Arc::clone(threads),
        listen: bound.clone(),
        zones,
        metrics,
        room,
        reloads: Reloads::new(handover, notifier.is_enabled(), variable),
        since,
        // Where /proc is hidden, it is not told.
        host: std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default(),
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
    let metrics_addr = served.metrics.as_ref().map(|metrics| metrics.addr());
    let own: Vec<SocketAddr> = bound.iter().copied().chain(metrics_addr).collect();
    prepare_background(config, threads, &proxy, discovery, gate, own, times)
        .map_err(Error::thread)?;
    let doors =
        prepare_doors(listeners, &served, &config.settings, times).map_err(Error::thread)?;
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
    reports::prepare(notifier, &served, times).map_err(Error::thread)?;
    // Those of one client, too: a host that gives none, for the size of its stack, say, would refuse all.
    proxy.check_workers(2).map_err(Error::session)?;

    threads.complete();
    if let Some(teller) = teller {
        wait_for_answers(&proxy, &times);
        if !teller.take_over() {
            return Err(Error::runtime(
                "the process that serves does not hand over: it has ended, or has waited too long",
            ));
        }
    }
    // Whoever reads that it is ready may send the next signal at once.
    signals.serve(&served);
    threads.open();
    if names.is_empty() {
        log::warn(
            "gateway",
            "no endpoint is known; rejecting clients until there is one",
            &[],
        );
    }
    let mut fields = vec![
        ("endpoints", names.into()),
        ("listen", texts(&bound).into()),
        ("listen_from", listen_from.into()),
        ("max_connections", max_connections.into()),
        ("bounded_by", bounded_by.into()),
    ];
    fields.extend(predecessor.map(|process| ("predecessor", u64::from(process).into())));
    log::info("gateway", "ready to proxy client requests", &fields);
    match predecessor {
        // That process tells the manager of this one.
        Some(_) => served.reloads.predecessors.serve(),
        None => reports::tell_ready(notifier, &served),
    }
    let service = Service {
        config,
        program,
        notifier,
        signals,
        served,
        doors,
        times,
    };
    Ok(service.run())
}

/// Where this process listens.
struct Sockets {
    listeners: Vec<Arc<Listener>>,
    metrics: Option<Arc<Metrics>>,
    zones: Zones,
}

/// Opens listeners, or takes those that were passed or handed over.
fn open_sockets(
    config: &Config,
    listen: &[Place],
    metrics: Option<&Place>,
    passed: Vec<Inherited>,
    handover: Option<&mut Handover>,
) -> Result<Sockets, Error> {
    let zones = Zones::default();
    let is_own = passed.is_empty();
    let (handed, handed_metrics) = handover.map(Handover::take_listeners).unwrap_or_default();
    let listeners = listeners::open(listen, passed, handed)?;
    let listeners: Vec<Arc<Listener>> = listeners.into_iter().map(Arc::new).collect();
    for (named, listener) in config.listen_addrs.iter().zip(&listeners) {
        if is_own {
            let socket = Arc::clone(listener) as _;
            zones.add(named, listener.addr, socket, listeners::open_own);
        }
    }
    let metrics = metrics.map(|place| Metrics::open(place.addr, handed_metrics).map(Arc::new));
    let metrics = metrics.transpose()?;
    if let (Some(named), Some(metrics)) = (&config.metrics_addr, &metrics)
        && let Some(listener) = metrics.listener()
    {
        let socket = listener as _;
        zones.add(named, metrics.addr(), socket, listeners::open_metrics);
    }
    Ok(Sockets {
        listeners,
        metrics,
        zones,
    })
}

/// Waits until each endpoint has been tried, but not long: the first clients of a process that takes over are not to find out which
/// is down.
fn wait_for_answers(proxy: &Proxy, times: &Times) {
    let deadline = Instant::now() + times.first_answers;
    while proxy.pool.census().untried > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Prepares the threads that take clients, and those who ask for metrics.
fn prepare_doors(
    listeners: Vec<Arc<Listener>>,
    served: &Arc<Served>,
    settings: &Settings,
    times: Times,
) -> io::Result<Doors> {
    let mut doors = Doors::default();
    if let Some(metrics) = &served.metrics {
        let observed = Arc::clone(served);
        let (own, settings) = (Arc::clone(metrics), settings.clone());
        let work = move || own.serve(&*observed, &settings, &times);
        let thread = served.threads.prepare(Thread::Admin, work)?;
        doors.metrics = Some((Arc::clone(metrics), thread));
    }
    for listener in listeners {
        let (shared, own) = (Arc::clone(&listener), Arc::clone(served));
        let work = move || own.proxy.accept(&shared, own.threads.closing());
        let thread = served.threads.prepare(Thread::Accept, work)?;
        doors.clients.push((listener, thread));
    }
    Ok(doors)
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

fn texts(items: &[impl fmt::Display]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
