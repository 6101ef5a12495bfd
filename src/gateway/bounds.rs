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

/// How many clients this process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// What the host bears of all processes of the service together.
    pub(super) host: usize,
    /// How many there may be beside what is here now.
    now: usize,
    /// And beside nothing else.
    alone: usize,
}

impl Room {
    /// How many there may be beside processes that drain, which have so many.
    pub(super) fn beside(&self, draining: u64) -> usize {
        let draining = usize::try_from(draining).unwrap_or(usize::MAX);
        self.alone.saturating_sub(draining).max(self.now)
    }
}

/// The cap, and what sets it. More than the host bears could end the whole process, so the cap is
/// lowered. It is not an error: a unit file may move to a smaller host.
///
/// What the process `before` takes of a limit that is shared will be free again: what it was told that the host bears counts then.
pub(super) fn max_connections(
    wanted: Option<usize>,
    capacity: &Capacity,
    before: Option<usize>,
) -> (Room, &'static str) {
    let before = before.filter(|_| capacity.is_shared);
    let host = before.map_or(capacity.connections, |before| {
        before.max(capacity.connections)
    });
    let wanted = wanted.unwrap_or(usize::MAX);
    let room = Room {
        host,
        now: wanted.min(capacity.connections),
        alone: wanted.min(host),
    };
    if wanted <= capacity.connections {
        return (room, "--max-connections");
    }
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
    (room, capacity.bounded_by)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_cap_is_kept_as_far_as_the_host_bears_it() {
        for (wanted, used, by) in [
            (None, 100, "the host"),
            (Some(1), 1, "--max-connections"),
            (Some(99), 99, "--max-connections"),
            (Some(100), 100, "--max-connections"),
            (Some(101), 100, "the host"),
            (Some(usize::MAX), 100, "the host"),
        ] {
            let (room, found) = max_connections(wanted, &capacity(true), None);
            assert_eq!((room.beside(0), found), (used, by), "{wanted:?}");
            assert_eq!(room.beside(50), used, "nobody drains yet");
            assert_eq!(room.host, 100);
        }
    }

    #[test]
    fn what_processes_that_drain_leave_is_used_bit_by_bit() {
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
            let (room, _) = max_connections(wanted, &capacity(is_shared), Some(before));
            let case = format!("{wanted:?} {is_shared} {before} {draining}");
            assert_eq!(room.beside(draining), expected, "{case}");
        }
    }
}
