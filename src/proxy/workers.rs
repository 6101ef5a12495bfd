//! The threads of sessions. One that has done its work is kept for the next for a while:
//! handing work to a thread that waits costs a fraction of starting one.

use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::log;
use crate::sync::lock;
use crate::sys::{Plain, memory, syscall};

/// A worker's stack. Its deepest calls format a log line; the larger copy buffer is on
/// the heap.
pub(crate) const STACK: usize = 64 * 1024;

/// How many are kept at most: enough for a burst of short connections, little enough to
/// be memory nobody notices (about 20 kB each, most of it the kernel's).
const KEPT: usize = 128;

/// So many that have ended leave enough behind to be worth giving back.
const MANY: usize = 64;

/// What a worker is to do.
type Work = Box<dyn FnOnce() + Send>;

/// The workers that wait for work; the last one to have come goes first, so that those
/// there are too many of grow old.
#[derive(Debug)]
pub(crate) struct Workers {
    /// How long one is kept that nobody needs.
    patience: Duration,
    idle: Mutex<Vec<Arc<Desk>>>,
    remains: Mutex<Remains>,
    /// Of lines about threads that cannot be started.
    log: log::Limit,
}

/// What workers that have ended leave behind: the C library keeps their stacks and what they freed.
#[derive(Debug)]
struct Remains {
    /// How many have ended since their memory was given back.
    count: usize,
    /// When that was.
    last: Instant,
}

/// Where one worker is given its work.
#[derive(Default)]
struct Desk {
    work: Mutex<Option<Work>>,
    filled: Condvar,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Workers {
    /// No worker yet; one that nobody needs is kept for `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            idle: Mutex::default(),
            remains: Mutex::new(Remains {
                count: 0,
                last: Instant::now(),
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
        match idle {
            Some(desk) => {
                *lock(&desk.work) = Some(work);
                desk.filled.notify_one();
                Ok(())
            }
            None => {
                let workers = Arc::clone(self);
                let started = syscall::start_thread(STACK, move || workers.serve(work));
                started.inspect_err(|error| self.report(error))
            }
        }
    }

    /// Whether sessions could be given so many threads now: those are started that are not idle, all at once, and do
    /// nothing. They are over when this returns.
    ///
    /// # Errors
    /// What the host says, if it does not give them.
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
        if let Err(error) = &started {
            self.report(error);
        }
        started
    }

    /// Logs why a thread cannot be started, once a second at most.
    fn report(&self, error: &io::Error) {
        if let Some(suppressed) = self.log.admit(Instant::now()) {
            let error = Plain(error).to_string();
            log::warn(
                "workers",
                "cannot start a thread",
                &[("error", error.into()), ("suppressed", suppressed.into())],
            );
        }
    }

    /// A worker's life.
    fn serve(&self, first: Work) {
        if let Err(error) = syscall::schedule_as_batch() {
            log::debug(
                "workers",
                "cannot choose SCHED_BATCH",
                &[("error", Plain(&error).to_string().into())],
            );
        }
        let desk = Arc::new(Desk::default());
        let mut next = Some(first);
        while let Some(work) = next {
            work();
            next = self.next(&desk);
        }
    }

    /// A worker ends that was kept until its `patience` was over. With the first one a burst is over, and
    /// with the last: if many have ended since, their memory is given back.
    #[inline(never)]
    fn ended(&self, now: Instant) {
        let is_last = lock(&self.idle).is_empty();
        let mut remains = lock(&self.remains);
        remains.count += 1;
        let is_first = now.saturating_duration_since(remains.last) >= self.patience;
        if remains.count >= MANY && (is_first || is_last) {
            *remains = Remains {
                count: 0,
                last: now,
            };
            drop(remains);
            memory::give_back();
        }
    }

    /// Waits for more to do. None: there are enough others, or there was nothing for long.
    fn next(&self, desk: &Arc<Desk>) -> Option<Work> {
        {
            let mut idle = lock(&self.idle);
            if idle.len() >= KEPT {
                lock(&self.remains).count += 1;
                return None;
            }
            idle.push(Arc::clone(desk));
        }
        let mut work = lock(&desk.work);
        loop {
            if let Some(work) = work.take() {
                return Some(work);
            }
            let (back, waited) = desk
                .filled
                .wait_timeout(work, self.patience)
                .unwrap_or_else(PoisonError::into_inner);
            work = back;
            // Whoever is not idle any more is about to be given work.
            if waited.timed_out() && work.is_none() && self.leave(desk) {
                self.ended(Instant::now());
                return None;
            }
        }
    }

    /// Takes an idle worker's desk away; false if it is not there.
    fn leave(&self, desk: &Arc<Desk>) -> bool {
        let mut idle = lock(&self.idle);
        let place = idle.iter().position(|other| Arc::ptr_eq(other, desk));
        place.map(|place| idle.remove(place)).is_some()
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
    fn a_worker_that_is_done_gets_the_next_work() {
        let workers = Arc::new(Workers::new(HOUR));
        let first = thread(&workers);
        for _ in 0..3 {
            settle(&workers, 1);
            assert_eq!(thread(&workers), first);
        }
    }

    /// Those that are not kept end: what is left when all is done is as many, and no more live.
    #[test]
    fn no_more_than_so_many_are_kept() {
        let workers = Arc::new(Workers::new(HOUR));
        burst(&workers, KEPT + 5);
        settle(&workers, KEPT);
        burst(&workers, KEPT);
        settle(&workers, KEPT);
    }

    #[test]
    fn a_worker_that_nobody_needs_ends_when_its_patience_does() {
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
    fn work_that_comes_as_the_patience_of_a_worker_ends_is_done() {
        let patience = Duration::from_millis(50);
        for is_there in [false, true] {
            let workers = Arc::new(Workers::new(patience));
            let desk = loop {
                thread(&workers);
                eventually(&workers, || !lock(&workers.idle).is_empty());
                if let Some(desk) = lock(&workers.idle).pop() {
                    break desk;
                }
            };
            // The time that passes is what is tested.
            let held = is_there.then(|| lock(&desk.work));
            std::thread::sleep(3 * patience);
            let (sender, done) = channel();
            let work: Work = Box::new(move || sender.send(()).unwrap());
            *held.unwrap_or_else(|| lock(&desk.work)) = Some(work);
            desk.filled.notify_one();
            assert!(
                done.recv_timeout(Duration::from_secs(10)).is_ok(),
                "{is_there}"
            );
        }
    }

    #[test]
    fn the_last_to_have_come_is_the_first_to_work() {
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
    fn a_panic_ends_one_worker_and_no_other() {
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
