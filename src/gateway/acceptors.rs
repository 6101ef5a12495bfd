//! The threads that accept clients, and the one that serves metrics.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::metrics::Metrics;
use crate::proxy::listener::Listener;

/// The threads, each with its listener.
#[derive(Default)]
pub(super) struct Acceptors {
    pub(super) clients: Vec<(Arc<Listener>, JoinHandle<()>)>,
    pub(super) metrics: Option<(Arc<Metrics>, JoinHandle<()>)>,
}

impl Acceptors {
    /// Stops accepting clients, and waits until each client that was accepted is counted, at most until `deadline`; for `pause` see
    /// [`join`]. If listeners are `handed_over`, they stay open in another process, which serves metrics then; otherwise this
    /// process serves them to its end. Returns the thread that still answers those who have asked for metrics before.
    pub(super) fn stop(
        self,
        handed_over: bool,
        deadline: Instant,
        mut pause: impl FnMut() -> bool,
    ) -> Option<JoinHandle<()>> {
        for (listener, _) in &self.clients {
            if handed_over {
                listener.stop();
            } else {
                listener.close();
            }
        }
        let metrics = self.metrics.filter(|_| handed_over);
        if let Some((metrics, _)) = &metrics {
            metrics.stop();
        }
        for (_, thread) in self.clients {
            join(thread, deadline, &mut pause);
        }
        metrics.map(|(_, thread)| thread)
    }
}

/// Waits for a thread to end, as long as each `pause` returns true. One that pauses after an error, or whose client says nothing,
/// may take longer than until `deadline`, and is not waited for.
pub(super) fn join(thread: JoinHandle<()>, deadline: Instant, mut pause: impl FnMut() -> bool) {
    while !thread.is_finished() && Instant::now() < deadline && pause() {}
    if thread.is_finished() {
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// A thread that blocks in accept(2) of a socket that other processes use too may never wake.
    #[test]
    fn the_drain_does_not_wait_for_ever_for_a_thread_that_blocks() {
        let (hold, held) = channel::<()>();
        let stuck = std::thread::spawn(move || {
            let _ = held.recv();
        });
        let pause = || {
            std::thread::sleep(MS(1));
            true
        };
        join(stuck, Instant::now() + MS(20), pause);
        drop(hold);
        let (ended, ends) = channel();
        let quick = std::thread::spawn(move || ended.send(()).unwrap());
        join(quick, Instant::now() + MS(10_000), pause);
        assert_eq!(ends.try_recv(), Ok(()), "it was not waited for");
    }
}
