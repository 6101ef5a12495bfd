//! The threads of sessions. A worker that has done its work is kept for the next for a while:
//! handing work to a waiting thread costs a fraction of starting one.

use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::log;
use crate::sync::lock;
use crate::sys::{OsErrorText, memory, syscall};

/// A worker's stack. Its deepest calls format a log line; the larger copy buffer is on
/// the heap.
pub(crate) const STACK: usize = 64 * 1024;

/// How many idle workers are kept at most: enough for a burst of short connections, and little
/// memory (about 20 kB each, most of it the kernel's).
const KEPT: usize = 128;

/// After this many workers have ended, their memory is given back to the host.
const MANY: usize = 64;

/// What a worker is to do.
type Work = Box<dyn FnOnce() + Send>;

/// The idle workers. The last that became idle works first, so that those
/// that are not needed end.
#[derive(Debug)]
pub(crate) struct Workers {
    /// How long an idle worker is kept.
    patience: Duration,
    idle: Mutex<Vec<Arc<WorkerSlot>>>,
    ended: Mutex<Ended>,
    /// For lines about threads that cannot be started.
    log: log::Limit,
}

/// Workers that have ended: the C library keeps their stacks and what they freed.
#[derive(Debug)]
struct Ended {
    /// How many have ended since their memory was given back.
    count: usize,
    /// When that was.
    given_back: Instant,
}

/// Where an idle worker gets its work.
#[derive(Default)]
struct WorkerSlot {
    work: Mutex<Option<Work>>,
    filled: Condvar,
}

impl std::fmt::Debug for WorkerSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WorkerSlot")
    }
}

impl Workers {
    /// No worker yet; an idle one is kept for `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            idle: Mutex::default(),
            ended: Mutex::new(Ended {
                count: 0,
                given_back: Instant::now(),
            }),
            log: log::Limit::new(),
        }
    }

    /// Has `work` done in a thread of its own.
    ///
    /// # Errors
    /// If none is idle and the host has no thread left; the work is dropped then.
    pub(crate) fn run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let work: Work = Box::new(work);
        let idle = lock(&self.idle).pop();
        if let Some(slot) = idle {
            *lock(&slot.work) = Some(work);
            slot.filled.notify_one();
            return Ok(());
        }
        let workers = Arc::clone(self);
        let started = syscall::start_thread(STACK, move || workers.serve(work));
        started.inspect_err(|error| self.report(error))
    }

    /// Whether this many threads could be started for sessions now: those that are not idle are started, all at once, and
    /// do nothing. They have ended when this returns.
    ///
    /// # Errors
    /// That of the host, if they could not.
    pub(crate) fn check(&self, count: usize) -> io::Result<()> {
        let count = count.saturating_sub(lock(&self.idle).len());
        let (running, over) = channel::<()>();
        let all = Arc::<OnceLock<()>>::default();
        let started = (0..count).try_for_each(|_| {
            let (all, running) = (Arc::clone(&all), running.clone());
            syscall::start_thread(STACK, move || {
                all.wait();
                drop(running);
            })
        });
        let _ = all.set(());
        drop(running);
        // Nothing is sent: it ends with the last of them.
        let _ = over.recv();
        started.inspect_err(|error| self.report(error))
    }

    /// Logs why a thread cannot be started, at most once per second.
    fn report(&self, error: &io::Error) {
        if let Some(suppressed) = self.log.admit(Instant::now()) {
            let error = OsErrorText(error).to_string();
            let fields = [("error", error.into()), ("suppressed", suppressed.into())];
            log::warn("workers", "cannot start a thread", &fields);
        }
    }

    /// A worker's life.
    fn serve(&self, first: Work) {
        if let Err(error) = syscall::schedule_as_batch() {
            let error = OsErrorText(&error).to_string();
            let message = "cannot choose SCHED_BATCH";
            log::debug("workers", message, &[("error", error.into())]);
        }
        let slot = Arc::new(WorkerSlot::default());
        let mut next = Some(first);
        while let Some(work) = next {
            work();
            next = self.next(&slot);
        }
    }

    /// Waits for more to do. `None`: there are enough idle workers, or there was nothing to do for long.
    fn next(&self, slot: &Arc<WorkerSlot>) -> Option<Work> {
        {
            let mut idle = lock(&self.idle);
            if idle.len() >= KEPT {
                lock(&self.ended).count += 1;
                return None;
            }
            idle.push(Arc::clone(slot));
        }
        let mut work = lock(&slot.work);
        loop {
            if let Some(work) = work.take() {
                return Some(work);
            }
            let waited = slot.filled.wait_timeout(work, self.patience);
            let (back, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            work = back;
            // A worker that is not idle any more is about to get work.
            if waited.timed_out() && work.is_none() && self.leave(slot) {
                self.give_back(Instant::now());
                return None;
            }
        }
    }

    /// Removes an idle worker; false if it is not idle any more.
    fn leave(&self, slot: &Arc<WorkerSlot>) -> bool {
        let mut idle = lock(&self.idle);
        let place = idle.iter().position(|other| Arc::ptr_eq(other, slot));
        place.map(|place| idle.remove(place)).is_some()
    }

    /// Called by a worker that ends because it was idle for long: a burst is over with the first such worker, and
    /// with the last. If many have ended since, their memory is given back.
    #[inline(never)]
    fn give_back(&self, now: Instant) {
        let is_last = lock(&self.idle).is_empty();
        let mut ended = lock(&self.ended);
        ended.count += 1;
        let is_first = now.saturating_duration_since(ended.given_back) >= self.patience;
        if ended.count >= MANY && (is_first || is_last) {
            *ended = Ended {
                count: 0,
                given_back: now,
            };
            drop(ended);
            memory::give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    const HOUR: Duration = Duration::from_secs(3600);

    fn eventually(workers: &Arc<Workers>, so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !so() {
            let living = Arc::strong_count(workers) - 1;
            assert!(Instant::now() < deadline, "{living} living, {workers:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until as many workers live, each of which has a handle, and all of them are idle.
    fn settle(workers: &Arc<Workers>, count: usize) {
        eventually(workers, || {
            Arc::strong_count(workers) == count + 1 && lock(&workers.idle).len() == count
        });
    }

    /// Has as many workers as given do something side by side.
    fn burst(workers: &Arc<Workers>, count: usize) {
        let barrier = Arc::new(Barrier::new(count));
        for _ in 0..count {
            let barrier = Arc::clone(&barrier);
            workers.run(move || _ = barrier.wait()).unwrap();
        }
    }

    /// The thread that does a piece of work.
    fn thread(workers: &Arc<Workers>) -> std::thread::ThreadId {
        let (sender, threads) = channel();
        let work = move || sender.send(std::thread::current().id()).unwrap();
        workers.run(work).unwrap();
        threads.recv().unwrap()
    }

    #[test]
    fn an_idle_worker_gets_the_next_work() {
        let workers = Arc::new(Workers::new(HOUR));
        let first = thread(&workers);
        for _ in 0..3 {
            settle(&workers, 1);
            assert_eq!(thread(&workers), first);
        }
    }

    /// Those that are not kept end: what is left when all is done is as many, and no more live.
    #[test]
    fn idle_workers_are_limited() {
        let workers = Arc::new(Workers::new(HOUR));
        burst(&workers, KEPT + 5);
        settle(&workers, KEPT);
        burst(&workers, KEPT);
        settle(&workers, KEPT);
    }

    #[test]
    fn an_idle_worker_ends_after_its_patience() {
        let patience = Duration::from_millis(400);
        let (workers, begun) = (Arc::new(Workers::new(patience)), Instant::now());
        burst(&workers, 3);
        settle(&workers, 3);
        settle(&workers, 0);
        let waited = begun.elapsed();
        assert!(waited >= patience && waited < 10 * patience, "{waited:?}");
    }

    /// A worker whose patience ends while it is about to be given work waits for it; also if the work
    /// is there when it wakes.
    #[test]
    fn work_that_comes_as_an_idle_worker_ends_is_done() {
        let patience = Duration::from_millis(50);
        for is_there in [false, true] {
            let workers = Arc::new(Workers::new(patience));
            let slot = loop {
                thread(&workers);
                eventually(&workers, || !lock(&workers.idle).is_empty());
                if let Some(slot) = lock(&workers.idle).pop() {
                    break slot;
                }
            };
            // The time that passes is what is tested.
            let held = is_there.then(|| lock(&slot.work));
            std::thread::sleep(3 * patience);
            let (sender, done) = channel();
            let work: Work = Box::new(move || sender.send(()).unwrap());
            *held.unwrap_or_else(|| lock(&slot.work)) = Some(work);
            slot.filled.notify_one();
            assert!(
                done.recv_timeout(Duration::from_secs(10)).is_ok(),
                "{is_there}"
            );
        }
    }

    #[test]
    fn the_last_idle_worker_works_first() {
        let workers = Arc::new(Workers::new(HOUR));
        burst(&workers, 2);
        settle(&workers, 2);
        // Whichever has worked last comes last again; the other grows old.
        let first = thread(&workers);
        for _ in 0..3 {
            settle(&workers, 2);
            assert_eq!(thread(&workers), first);
        }
    }

    #[test]
    fn a_panic_ends_only_its_worker() {
        let workers = Arc::new(Workers::new(HOUR));
        let (sender, done) = channel::<()>();
        workers
            .run(move || {
                let _dropped_as_the_panic_unwinds = sender;
                std::panic::resume_unwind(Box::new("as this test wants"));
            })
            .unwrap();
        assert!(done.recv().is_err());
        settle(&workers, 0);
        workers.run(|| ()).unwrap();
        settle(&workers, 1);
    }
}
