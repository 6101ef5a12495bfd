//! Composition of the running gateway: [`run`] prepares the process, [`serve`] builds everything else in the order in which it is
//! needed, and `service` has the work of the main thread from then on, to the end. Every other module gets what it needs from here.
//!
//! Threads: the main thread starts, waits for signals and ends; during the start `signal` waits for them; `log` writes lines, and
//! `access-log`, if asked for, those of connections; `accept`, one per listener; `monitor`; `discovery`, with `resolve` for its
//! lookups; `sessions` and `parked`, which look after sessions; `health`, if asked for, with `check` for each question; `admin`, if
//! metrics are; `status`, if there is a service manager; `zones`, if a listener is on one link alone; one or two per session.
//! `threads` starts those that the gateway cannot do without, and again when they end. None is joined but `signal` and `accept`, and
//! `admin` in a reload: the end of the process ends the others, which hold nothing that has to be put in order.

mod acceptors;
mod bounds;
pub(crate) mod check;
mod error;
pub(crate) mod handover;
mod listeners;
mod metrics;
mod notify;
mod plan;
mod process;
mod runtime;
mod service;
mod signals;
mod threads;
mod zones;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::access::AccessLog;
use crate::config::Config;
use crate::date::Now;
use crate::discovery::{self, Discovery};
use crate::dns::resolv_conf::interface_index;
use crate::endpoint::Authenticate;
use crate::endpoint::monitor::{Monitor, Patience};
use crate::endpoint::pool::Pool;
use crate::health::watch::Checks;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::proxy::listener::Listener;
use crate::proxy::watch::{self, Rounds};
use crate::proxy::{Bounds, Proxy};
use crate::sys::activation::{self, Inherited};
use crate::sys::limits::{self, Capacity};
use crate::sys::notify::Notifier;
use crate::sys::program::Program;
use crate::sys::{OsErrorText, memory, syscall};
use crate::times::Times;

use acceptors::Acceptors;
use error::{Error, refused};
use handover::{Handover, Reloads};
use listeners::{ListenAddr, texts};
use metrics::Metrics;
use plan::{Plan, refuse_loops};
use process::Process;
use runtime::Runtime;
use service::Service;
use signals::StartSignals;
use threads::{Thread, Threads};
use zones::Zones;

/// Serves until a signal ends it. There is no `handover` any more once this process has taken over.
///
/// # Errors
/// If it cannot start; once clients are served, only a fault of the program is an error.
pub(crate) fn run(
    config: &Config,
    warnings: Vec<String>,
    handover: &mut Option<Handover>,
) -> Result<ExitCode, Error> {
    memory::configure();
    let program = Program::of_this_process();
    // Before the first thread, which would take the signals otherwise.
    syscall::block_signals().map_err(refused("cannot block signals"))?;
    // Before anything is opened, which could take the numbers of what was passed.
    let passed = match handover {
        Some(handover) => std::mem::take(&mut handover.passed),
        None => activation::sockets(std::process::id(), |name| std::env::var_os(name))
            .map_err(Error::usage)?,
    };
    let not_contained = process::contain()?;
    let notifier =
        Notifier::from_environment(|name| std::env::var_os(name)).map_err(Error::runtime)?;
    let (descriptors, raised) = limits::raise_descriptors();
    let times = Times::of_this_process();
    let threads = Threads::new(times);
    log::choose(config.log_level, process::stderr_layout(config));
    threads::log_panics();
    let log = threads.start(Thread::LOG, || log::write_lines());
    log.map_err(Error::thread)?;
    for warning in warnings {
        log::warn("cli", &warning, &[]);
    }
    if let Some(error) = not_contained {
        let fields = [("error", error.into())];
        log::warn("gateway", process::NOT_CONTAINED, &fields);
    }
    if let Err(error) = raised {
        let fields = [("error", OsErrorText(&error).to_string().into())];
        let message = "cannot raise RLIMIT_NOFILE; continuing with the soft limit";
        log::warn("gateway", message, &fields);
    }
    let signals = StartSignals::start(times).map_err(Error::thread)?;
    let process = Process {
        config,
        program,
        notifier,
        threads,
        descriptors,
        times,
    };
    let result = threads::attempt(|| serve(&process, signals, passed, handover));
    log::flush(times.flush_patience);
    result.unwrap_or_else(|panic| Err(Error::panicked(&panic)))
}

fn serve(
    process: &Process<'_>,
    signals: StartSignals,
    passed: Vec<Inherited>,
    handover: &mut Option<Handover>,
) -> Result<ExitCode, Error> {
    let (config, times) = (process.config, process.times);
    let started = Instant::now();
    let clock = Mutex::new(Now::new(started, SystemTime::now()));
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
    let access = process::access_log(process)?;
    if let Some(access) = &access {
        signals.reopen(access);
    }
    let gate = authenticator.map(|authenticator| authenticator as Arc<dyn Authenticate>);
    let start = discovery
        .start(gate.as_deref(), config.dial_timeout)
        .map_err(Error::runtime)?;
    refuse_loops(&start.endpoints, &listen, metrics.as_ref())?;

    let listen_from = match passed.is_empty() {
        true => "--listen-addr",
        false => "LISTEN_FDS",
    };
    let sockets = open_sockets(config, &listen, metrics.as_ref(), passed, handover.as_mut())?;
    let bound: Vec<SocketAddr> = sockets.listeners.iter().map(|one| one.addr).collect();
    let pool = Pool::new(config.policy, config.retry_delay, gate.clone())
        .map_err(refused("cannot wake threads"))?;
    // What is open by now is counted; what is not is in these.
    let needs = bounds::needs(
        process,
        resolves,
        gate.is_some(),
        bound.len(),
        !sockets.zones.is_empty(),
    );
    let capacity = limits::capacity(process.descriptors, &needs)
        .map_err(|error| Error::descriptors(&error))?;
    let before = handover.as_ref().map(|handover| handover.state.host_limit);
    let limits = bounds::max_connections(config.max_connections, &capacity, before);
    discovery::limit_parallel(capacity.lookups);

    let names = texts(start.endpoints.iter().map(|endpoint| endpoint.addr));
    let pool = Arc::new(pool.tuned(capacity.slots, times));
    pool.replace(start.endpoints);
    for (endpoint, proof) in &start.proven {
        pool.set_authenticated(endpoint, Instant::now(), *proof);
    }
    // Until it is known how many connections drain elsewhere.
    let max_connections = limits.while_draining(u64::MAX);
    let proxy = new_proxy(process, pool, guard, &capacity, max_connections, access);
    let predecessor = handover.as_ref().map(Handover::process);
    let has_manager = process.notifier.is_enabled();
    let runtime = Arc::new(Runtime {
        proxy: Arc::clone(&proxy),
        refreshes: discovery.refreshes(),
        threads: Arc::clone(&process.threads),
        listen: bound.clone(),
        zones: sockets.zones,
        metrics: sockets.metrics,
        limits,
        reloads: Reloads::new(handover.as_mut(), has_manager, |name| {
            std::env::var_os(name)
        }),
        started,
        // Not known where /proc is hidden.
        host: std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .unwrap_or_default(),
        clock,
    });

    // Every thread is started before one of them begins its work: a start that fails serves no client.
    let acceptors = prepare_threads(process, &runtime, sockets.listeners, discovery, gate)
        .map_err(Error::thread)?;
    // Those of one client, too: a host that gives none, for the size of its stack, say, would refuse all.
    proxy.check_workers(2).map_err(Error::session)?;
    process.threads.complete();
    if let Some(own) = handover {
        wait_for_answers(&proxy, &times);
        if !own.take_over() {
            return Err(Error::runtime(
                "the process that serves does not hand over: it has ended, or has waited too long",
            ));
        }
        *handover = None;
    }
    // Before clients are accepted: an operator who reads that the gateway is ready may send the next signal at once.
    let signals = signals.stop().map_err(refused("cannot wait for signals"))?;
    let mut service = Service::new(process, signals, Arc::clone(&runtime), acceptors);
    process.threads.open();
    if names.is_empty() {
        let message = "no endpoint is known; rejecting clients until there is one";
        log::warn("gateway", message, &[]);
    }
    let mut fields = vec![
        ("endpoints", names.into()),
        ("listen", texts(&bound).into()),
        ("listen_from", listen_from.into()),
        ("max_connections", max_connections.into()),
        ("bounded_by", runtime.limits.bounded_by.into()),
    ];
    fields.extend(predecessor.map(|process| ("predecessor", u64::from(process).into())));
    log::info("gateway", "ready to proxy client requests", &fields);
    match predecessor {
        // That process notifies the manager of this one.
        Some(_) => {
            runtime.reloads.predecessors.announce();
            runtime.reloads.predecessors.limit();
        }
        None => service.notify_ready(),
    }
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
    listen: &[ListenAddr],
    metrics: Option<&ListenAddr>,
    passed: Vec<Inherited>,
    handover: Option<&mut Handover>,
) -> Result<Sockets, Error> {
    let zones = Zones::default();
    let is_own = passed.is_empty();
    let (handed, handed_metrics): (Vec<TcpListener>, _) = handover
        .map(|handover| {
            (
                std::mem::take(&mut handover.listeners),
                handover.metrics.take(),
            )
        })
        .unwrap_or_default();
    let listeners = listeners::open(listen, passed, handed)?;
    let listeners: Vec<Arc<Listener>> = listeners.into_iter().map(Arc::new).collect();
    for (named, listener) in config.listen_addrs.iter().zip(&listeners) {
        if is_own {
            let socket = Arc::clone(listener) as _;
            zones.add(named, listener.addr, socket, listeners::open_own);
        }
    }
    let metrics = metrics.map(|wanted| Metrics::open(wanted.addr, handed_metrics).map(Arc::new));
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

fn new_proxy(
    process: &Process<'_>,
    pool: Arc<Pool>,
    guard: LoopGuard,
    capacity: &Capacity,
    max_connections: usize,
    access: Option<Arc<AccessLog>>,
) -> Arc<Proxy> {
    let (config, times) = (process.config, process.times);
    let bounds = Bounds {
        dial_timeout: config.dial_timeout,
        max_connections,
        max_pipes: capacity.pipes,
        max_buffers: capacity.buffers,
        answer_timeout: config.answer_timeout,
        close_removed: config.close_removed,
        close_unhealthy: config.close_unhealthy,
        times,
    };
    let monitor = Arc::new(Monitor::new(times));
    Arc::new(Proxy::new(pool, monitor, guard, bounds, access))
}

/// Prepares all threads that serve, and returns those that accept.
fn prepare_threads(
    process: &Process<'_>,
    runtime: &Arc<Runtime>,
    listeners: Vec<Arc<Listener>>,
    mut discovery: Discovery,
    gate: Option<Arc<dyn Authenticate>>,
) -> io::Result<Acceptors> {
    let (config, threads, times) = (process.config, &process.threads, process.times);
    let proxy = &runtime.proxy;
    let (own, mut rounds) = (Arc::clone(proxy), Rounds::default());
    threads.prepare(Thread::SESSIONS, move || watch::run(&own, &mut rounds))?;

    let own = Arc::clone(proxy);
    threads.prepare(Thread::PARKED, move || own.wait_for_silent())?;

    let (own, dial_timeout) = (Arc::clone(proxy), config.dial_timeout);
    let patience = Patience {
        dial: dial_timeout,
        answer: config.answer_timeout,
    };
    threads.prepare(Thread::MONITOR, move || {
        own.monitor.run(&own.pool, &own.guard, patience)
    })?;

    if let Some(url) = config.health_check.clone() {
        let (pool, guard) = (Arc::clone(&proxy.pool), proxy.guard.clone());
        let checks = Checks::new(pool, url, guard, times);
        threads.prepare(Thread::HEALTH, move || checks.run())?;
    }

    let own = Arc::clone(proxy);
    // The metrics listener must not be an endpoint either.
    let metrics = runtime.metrics.as_ref().map(|metrics| metrics.addr());
    let listen: Vec<SocketAddr> = runtime.listen.iter().copied().chain(metrics).collect();
    threads.prepare(Thread::DISCOVERY, move || {
        discovery.run(&own.pool, gate.as_deref(), dial_timeout, &listen, |addrs| {
            own.removed(addrs)
        })
    })?;

    let mut acceptors = Acceptors::default();
    if let Some(metrics) = &runtime.metrics {
        let observed = Arc::clone(runtime);
        let (own, settings) = (Arc::clone(metrics), config.settings.clone());
        let work = move || own.serve(&*observed, &settings, &times);
        let thread = threads.prepare(Thread::ADMIN, work)?;
        acceptors.metrics = Some((Arc::clone(metrics), thread));
    }
    for listener in listeners {
        let (own, accepting) = (Arc::clone(runtime), Arc::clone(&listener));
        let work = move || own.proxy.accept(&accepting, own.threads.closing());
        let thread = threads.prepare(Thread::ACCEPT, work)?;
        acceptors.clients.push((listener, thread));
    }

    if !runtime.zones.is_empty() {
        let own = Arc::clone(runtime);
        threads.prepare(Thread::ZONES, move || {
            let closing = own.threads.closing();
            own.zones.run(times.zone_look, closing, interface_index);
        })?;
    }
    notify::prepare(&process.notifier, runtime, times)?;
    Ok(acceptors)
}

/// Waits until each endpoint has been tried, but not long: the first clients of a process that takes over should not find out which
/// is down.
fn wait_for_answers(proxy: &Proxy, times: &Times) {
    let deadline = Instant::now() + times.first_answers;
    while proxy.pool.census().untried > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}
