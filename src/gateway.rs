//! Composition of the running gateway: limits, endpoints, listeners, threads, signals,
//! drain. Every other module is given what it needs from here.
//!
//! Threads: the main thread waits for signals; `log` writes lines; `accept`, one a
//! listener; `monitor`; `resolve`, one a configured name; `status`, if a service manager
//! listens; two a session. None is joined but `accept`, when draining: the end of the
//! process ends the others, which hold nothing that has to be put in order.

use std::fmt;
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::addr::HostPort;
use crate::config::Config;
use crate::dial::{self, Plain};
use crate::discovery::{self, Discovery, Resolved};
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::log;
use crate::loop_guard::{self, LoopGuard};
use crate::proxy::Proxy;
use crate::sys::limits::{self, Capacity};
use crate::sys::notify::Notifier;
use crate::sys::random;
use crate::sys::syscall::{self, Signal};

/// Clients that wait to be accepted. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How long a start waits for names to be resolved before it goes on with what it has.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the process waits for a slow stderr.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);
/// How often the service manager is told the state, if it does not ask for more.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Why the gateway did not start.
#[derive(Debug)]
pub(crate) enum Error {
    /// Endpoint and listener are the same.
    Loop {
        endpoint: String,
        addr: SocketAddr,
        listen: String,
    },
    /// A listen address has no local address.
    ListenName(HostPort, io::Error),
    /// A listen address cannot be bound.
    Bind(SocketAddr, io::Error),
    /// A step of the start that needs the system's help.
    System(&'static str, io::Error),
    /// The service manager's environment cannot be served.
    Notify(String),
}

impl Error {
    /// Whether what the operator wrote is at fault, rather than the host.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::Loop { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop {
                endpoint,
                addr,
                listen,
            } => write!(
                f,
                "--endpoints: SRV or endpoint ({endpoint}->{addr}) should not resolve to the gateway \
                 listen addr ({listen}): name the etcd members, or listen on another port"
            ),
            Self::ListenName(listen, error) => write!(
                f,
                "--listen-addr={listen}: cannot resolve: {}; use an address of this host",
                Plain(error)
            ),
            Self::Bind(addr, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program listens there: stop it or choose another port"
                    }
                    io::ErrorKind::AddrNotAvailable => "no interface of this host has that address",
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one"
                    }
                    _ => "choose another address",
                };
                write!(
                    f,
                    "--listen-addr={addr}: cannot listen: {}; {remedy}",
                    Plain(error)
                )
            }
            Self::System(step, error) => write!(f, "{step}: {}", Plain(error)),
            Self::Notify(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ListenName(_, error) | Self::Bind(_, error) | Self::System(_, error) => {
                Some(error)
            }
            Self::Loop { .. } | Self::Notify(_) => None,
        }
    }
}

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
    let descriptors = limits::raise_descriptors().map_err(system("cannot raise RLIMIT_NOFILE"))?;
    log::start(config.log_level, log_format(config))
        .map_err(system("cannot start the log thread"))?;
    for warning in warnings {
        log::warn("cli", &warning, &[]);
    }
    let result = serve(config, &notifier, &limits::capacity(descriptors));
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

fn serve(config: &Config, notifier: &Notifier, capacity: &Capacity) -> Result<(), Error> {
    let system = |step| move |error| Error::System(step, error);
    let (max_connections, bounded_by) = max_connections(config.max_connections, capacity);

    let mut listen = Vec::new();
    for wanted in &config.listen_addrs {
        let addr = discovery::listen_address(wanted)
            .map_err(|error| Error::ListenName(wanted.clone(), error))?;
        listen.push((wanted, addr));
    }
    let endpoints = discovery::resolve_all(&config.endpoints, RESOLVE_PATIENCE);
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
    let monitor = Arc::new(Monitor::default());
    let guard = LoopGuard::default();
    Discovery::start(Arc::clone(&pool), bound.clone(), endpoints)
        .map_err(system("cannot start a thread"))?;
    {
        let (monitor, pool, guard, timeout) = (
            Arc::clone(&monitor),
            Arc::clone(&pool),
            guard.clone(),
            config.dial_timeout,
        );
        spawn("monitor", move || monitor.run(&pool, &guard, timeout))
            .map_err(system("cannot start a thread"))?;
    }
    let proxy = Arc::new(Proxy::new(
        pool,
        monitor,
        guard,
        config.dial_timeout,
        max_connections,
    ));
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
            ("endpoints", texts(&config.endpoints).into()),
            ("listen", texts(&bound).into()),
            ("max-connections", max_connections.into()),
            ("bounded-by", bounded_by.into()),
        ],
    );
    notifier.send(&format!("READY=1\nSTATUS={}", status(&proxy)));
    report_status(notifier.clone(), Arc::clone(&proxy)).map_err(system("cannot start a thread"))?;

    let signal = syscall::wait_for_signal().map_err(system("cannot wait for signals"))?;
    closing.store(true, Ordering::SeqCst);
    drain(signal, config.drain_timeout, notifier, &proxy, accepting);
    Ok(())
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

fn refuse_loops(endpoints: &[Resolved], listen: &[(&HostPort, SocketAddr)]) -> Result<(), Error> {
    for endpoint in endpoints {
        for addr in &endpoint.addrs {
            for (wanted, listen) in listen {
                if loop_guard::serves(&[*listen], *addr) {
                    return Err(Error::Loop {
                        endpoint: endpoint.configured.to_string(),
                        addr: *addr,
                        listen: wanted.to_string(),
                    });
                }
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

fn status(proxy: &Proxy) -> String {
    let census = proxy.pool.census();
    format!(
        "{} of {} endpoints active, {} connections open, {} clients refused",
        census.active,
        census.total,
        proxy.sessions.count(),
        proxy.refused()
    )
}

/// Tells the service manager the state again and again, and that we are alive: the
/// locks that every session needs are taken on the way, so a gateway that is stuck on
/// one of them falls silent and is restarted.
fn report_status(notifier: Notifier, proxy: Arc<Proxy>) -> io::Result<()> {
    if !notifier.is_enabled() {
        return Ok(());
    }
    // sd_watchdog_enabled(3) recommends half of the time that was asked for.
    let interval = notifier
        .watchdog
        .map_or(STATUS_INTERVAL, |asked| (asked / 2).min(STATUS_INTERVAL));
    spawn("status", move || {
        loop {
            std::thread::sleep(interval);
            let watchdog = if notifier.watchdog.is_some() {
                "WATCHDOG=1\n"
            } else {
                ""
            };
            notifier.send(&format!("{watchdog}STATUS={}", status(&proxy)));
        }
    })
    .map(drop)
}

/// Stops listening, lets connections end by themselves, then resets what is left. A
/// second signal ends the process at once.
fn drain(
    signal: Signal,
    timeout: Duration,
    notifier: &Notifier,
    proxy: &Arc<Proxy>,
    accepting: Vec<(Arc<TcpListener>, JoinHandle<()>)>,
) {
    let open = proxy.sessions.count();
    notifier.send(&format!(
        "STOPPING=1\nSTATUS=draining, {open} connections open"
    ));
    for (listener, thread) in accepting {
        // Wakes the thread from accept(2), and refuses clients from here on.
        let _ = SockRef::from(&*listener).shutdown(std::net::Shutdown::Both);
        let _ = thread.join();
    }
    log::info(
        "gateway",
        "received signal, draining",
        &[
            ("signal", signal.name().into()),
            ("connections", open.into()),
            ("timeout", timeout.into()),
        ],
    );
    let resetting = Arc::clone(proxy);
    let second = spawn("signal", move || {
        if syscall::wait_for_signal().is_ok() {
            resetting.sessions.reset_all();
            log::warn("gateway", "received second signal, exiting at once", &[]);
            log::flush(FLUSH_PATIENCE);
            std::process::exit(1);
        }
    });
    if let Err(error) = second {
        log::warn(
            "gateway",
            "a second signal will not be heard",
            &[("error", error.to_string().into())],
        );
    }
    let left = proxy.sessions.wait_for_none(Instant::now() + timeout);
    if left > 0 {
        log::warn(
            "gateway",
            "drain timeout, resetting connections",
            &[("connections", left.into())],
        );
        proxy.sessions.reset_all();
    }
    log::info("gateway", "stopped", &[("refused", proxy.refused().into())]);
}
