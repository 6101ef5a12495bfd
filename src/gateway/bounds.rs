//! How many clients this gateway may have: what it takes of the host for itself, by its settings, and the cap.

use super::handover;
use crate::admin;
use crate::config::Config;
use crate::log;
use crate::proxy;
use crate::sys::limits::{Capacity, Needs};
use crate::sys::notify::Notifier;

/// What a gateway with these settings will take of this host beside its connections, once its listeners, the
/// access log and the pool are open; it may have `limit` descriptors.
pub(super) fn needs(
    config: &Config,
    limit: u64,
    resolves: bool,
    authenticates: bool,
    listeners: usize,
    has_zones: bool,
    notifier: &Notifier,
) -> Needs {
    let count = |wanted: bool| u64::from(wanted);
    let [health, metrics, access_log] = [
        config.health_check.is_some(),
        config.metrics_addr.is_some(),
        config.access_log.is_some(),
    ];
    // The main thread, `signal` and `log`.
    let running = 3 + count(access_log);
    // `sessions`, `parked`, `monitor` and `discovery`.
    let mut threads = running + 4;
    threads += count(health) + count(has_zones) + count(notifier.is_enabled());
    // Each accepts into a descriptor that the kernel sets aside before there is a client (accept(2)).
    let mut descriptors = listeners as u64;
    threads += listeners as u64;
    // The epoll of `parked`, a file that is being read, such as /etc/hosts, and the access log, which is opened again
    // before the old file is closed.
    descriptors += 2 + count(access_log);
    // A reload; where there are few, it may fail while all clients are there that may be.
    descriptors += handover::DESCRIPTORS.min(limit / 32);
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

/// The cap, and what sets it. More than the host bears could end the whole process, so the cap is
/// lowered. It is not an error: a unit file may move to a smaller host.
pub(super) fn max_connections(wanted: Option<usize>, capacity: &Capacity) -> (usize, &'static str) {
    let Some(wanted) = wanted else {
        return (capacity.connections, capacity.bounded_by);
    };
    if wanted <= capacity.connections {
        return (wanted, "--max-connections");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_kept_as_far_as_the_host_bears_it() {
        let capacity = Capacity {
            slots: 16,
            connections: 100,
            bounded_by: "RLIMIT_NOFILE",
            pipes: 10,
            buffers: 10,
            lookups: 16,
        };
        for (wanted, used, by) in [
            (None, 100, "RLIMIT_NOFILE"),
            (Some(1), 1, "--max-connections"),
            (Some(99), 99, "--max-connections"),
            (Some(100), 100, "--max-connections"),
            (Some(101), 100, "RLIMIT_NOFILE"),
            (Some(usize::MAX), 100, "RLIMIT_NOFILE"),
        ] {
            assert_eq!(max_connections(wanted, &capacity), (used, by), "{wanted:?}");
        }
    }
}
