//! How many clients this gateway may have: what it takes of the host for itself, by its settings, and the limit.

use super::handover;
use super::process::Process;
use crate::admin;
use crate::log;
use crate::proxy;
use crate::sys::limits::{Capacity, Needs};

/// What this gateway will take of the host in addition to its connections, once its listeners, the access log and the pool are open.
pub(super) fn needs(
    process: &Process<'_>,
    resolves: bool,
    authenticates: bool,
    listeners: usize,
    has_zones: bool,
) -> Needs {
    let config = process.config;
    let count = |wanted: bool| u64::from(wanted);
    let [health, metrics, access_log] = [
        config.health_check.is_some(),
        config.metrics_addr.is_some(),
        config.access_log.is_some(),
    ];
    // The main thread, `log`, and `signal`, which ends when clients are served.
    let running = 3 + count(access_log);
    // `sessions`, `parked`, `monitor` and `discovery`.
    let mut threads = running + 4;
    threads += count(health) + count(has_zones) + count(process.notifier.is_enabled());
    // The kernel reserves a descriptor for each thread in accept(2) before there is a client.
    let mut descriptors = listeners as u64;
    threads += listeners as u64;
    // The epoll of `parked`, a file that is being read, such as /etc/hosts, and the access log, which is opened again
    // before the old file is closed.
    descriptors += 2 + count(access_log);
    // A reload; where there are few, it may fail while all clients are there that may be.
    descriptors += handover::DESCRIPTORS.min(process.descriptors / 32);
    if metrics {
        // The listener is open already. The second thread is started for `/healthz`.
        descriptors += admin::DESCRIPTORS as u64 - 1;
        threads += 2;
    }
    Needs {
        descriptors,
        threads,
        running,
        slots_have_threads: authenticates || health,
        resolves,
        stack: proxy::STACK,
    }
}

/// How many clients this process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionLimits {
    /// What the host has room for in all processes of the service together.
    pub(super) host: usize,
    /// How many fit beside all that uses the host now.
    now: usize,
    /// How many fit when no other process of the service is left.
    alone: usize,
    /// What sets the limit: a flag, or a limit of the host.
    pub(super) bounded_by: &'static str,
}

impl ConnectionLimits {
    /// How many may be open while processes that drain have `draining` connections.
    pub(super) fn while_draining(&self, draining: u64) -> usize {
        let draining = usize::try_from(draining).unwrap_or(usize::MAX);
        self.alone.saturating_sub(draining).max(self.now)
    }
}

/// Connections above what the host has room for could end the whole process, so `wanted` is
/// lowered to that. It is not an error: a unit file may move to a smaller host.
///
/// What a predecessor takes of a limit that is shared will be free again: the host's limit as it was `before` counts then.
pub(super) fn max_connections(
    wanted: Option<usize>,
    capacity: &Capacity,
    before: Option<u64>,
) -> ConnectionLimits {
    let before = before.filter(|_| capacity.is_shared);
    let before = before.map_or(0, |before| usize::try_from(before).unwrap_or(usize::MAX));
    let host = capacity.connections.max(before);
    let wanted = wanted.unwrap_or(usize::MAX);
    if host < wanted && wanted < usize::MAX {
        log::warn(
            "gateway",
            "--max-connections exceeds the limits of this host; using a lower value",
            &[
                ("wanted", wanted.into()),
                ("used", host.into()),
                ("bounded_by", capacity.bounded_by.into()),
            ],
        );
    }
    ConnectionLimits {
        host,
        now: wanted.min(capacity.connections),
        alone: wanted.min(host),
        bounded_by: match wanted <= capacity.connections {
            true => "--max-connections",
            false => capacity.bounded_by,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Target;
    use crate::config::Config;
    use crate::gateway::threads::Threads;
    use crate::sys::notify::Notifier;
    use crate::sys::program::Program;
    use crate::times::Times;

    #[test]
    fn each_option_takes_its_threads_and_descriptors() {
        let threads_and_descriptors = |config: &Config, listeners, has_zones| {
            let process = Process {
                config,
                program: Program::of_this_process(),
                notifier: Notifier::default(),
                threads: Threads::new(Times::REAL),
                descriptors: 64,
                times: Times::REAL,
            };
            let needs = needs(&process, false, false, listeners, has_zones);
            (needs.threads, needs.descriptors)
        };
        let plain = Config::default();
        // Three that run, four that look after endpoints and sessions, and one that accepts.
        let (threads, descriptors) = threads_and_descriptors(&plain, 1, false);
        assert_eq!((threads, descriptors), (8, 5));
        assert_eq!(
            threads_and_descriptors(&plain, 3, true),
            (threads + 3, descriptors + 2)
        );
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            threads_and_descriptors(&config, 1, false)
        };
        assert_eq!(
            with(|config| config.access_log = Some(Target::Stderr)),
            (threads + 1, descriptors + 1)
        );
        assert_eq!(
            with(|config| config.metrics_addr = crate::addr::parse_metrics("127.0.0.1:1").ok()),
            (threads + 2, descriptors + admin::DESCRIPTORS as u64 - 1)
        );
    }

    fn capacity(is_shared: bool) -> Capacity {
        Capacity {
            slots: 16,
            connections: 100,
            bounded_by: "the host",
            is_shared,
            pipes: 10,
            buffers: 10,
            lookups: 16,
        }
    }

    #[test]
    fn a_limit_is_kept_as_far_as_the_host_has_room() {
        for (wanted, used, by) in [
            (None, 100, "the host"),
            (Some(1), 1, "--max-connections"),
            (Some(99), 99, "--max-connections"),
            (Some(100), 100, "--max-connections"),
            (Some(101), 100, "the host"),
            (Some(usize::MAX), 100, "the host"),
        ] {
            let limits = max_connections(wanted, &capacity(true), None);
            assert_eq!(
                (limits.while_draining(0), limits.bounded_by),
                (used, by),
                "{wanted:?}"
            );
            assert_eq!(limits.while_draining(50), used, "no process drains yet");
            assert_eq!(limits.host, 100);
        }
    }

    #[test]
    fn room_that_draining_processes_free_is_used() {
        // (wanted, the limit is shared, before, how many drain, how many there may be)
        for (wanted, is_shared, before, draining, expected) in [
            (None, true, 400, 400, 100),
            (None, true, 400, 301, 100),
            (None, true, 400, 299, 101),
            (None, true, 400, 0, 400),
            (None, true, 400, u64::MAX, 100),
            (None, true, 50, 0, 100),
            (None, false, 400, 0, 100),
            (Some(200), true, 400, 0, 200),
            (Some(200), true, 400, 150, 100),
            (Some(60), true, 400, 50, 60),
        ] {
            let limits = max_connections(wanted, &capacity(is_shared), Some(before));
            let case = format!("{wanted:?} {is_shared} {before} {draining}");
            assert_eq!(limits.while_draining(draining), expected, "{case}");
        }
    }
}
