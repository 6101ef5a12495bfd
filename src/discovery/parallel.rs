//! Does work that waits (lookups, dials, authentications) for many items in parallel, in a bounded number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::sync::lock;
use crate::sys::memory;

/// How many items are worked on at the same time: fewer if the process has fewer threads to spare.
static MAX_THREADS: AtomicUsize = AtomicUsize::new(16);

/// From now on no more than `most` items are worked on at the same time.
pub(crate) fn limit_parallel(most: usize) {
    MAX_THREADS.fetch_min(most, Ordering::Relaxed);
}

/// Does `work` for all `items`, as many at a time as the [limit](limit_parallel) allows; results in order. The
/// caller works too, so that all is done even if no thread can be started.
///
/// # Panics
/// If the work panics for an item, once all other items are done.
pub(crate) fn parallel_map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = items.len().min(MAX_THREADS.load(Ordering::Relaxed));
    with_threads(threads, items, work)
}

/// The same in this number of threads, of which the caller's is one.
fn with_threads<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            let result = work(item);
            lock(&results).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let thread = std::thread::Builder::new().name("resolve".to_owned());
            // With one less it only takes longer.
            if memory::room_for_thread().is_ok() {
                let _ = thread.spawn_scoped(scope, worker);
            }
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    #[test]
    fn results_are_in_the_order_of_items_however_many_threads_there_are() {
        let items: Vec<usize> = (0..100).collect();
        let expected: Vec<usize> = (0..100).map(|item| item * 2).collect();
        for threads in [0, 1, 2, 16] {
            let done = AtomicUsize::new(0);
            let results = with_threads(threads, &items, |item| {
                // If there is another thread, the first item is the last one done.
                while threads > 1 && *item == 0 && done.load(Ordering::SeqCst) < 99 {
                    std::thread::yield_now();
                }
                done.fetch_add(1, Ordering::SeqCst);
                item * 2
            });
            assert_eq!(results, expected, "{threads} threads");
            assert_eq!(done.load(Ordering::SeqCst), 100, "each once");
        }
        assert_eq!(parallel_map(&[0; 0], |item| *item), [0; 0]);
    }

    /// Each waits for all others, which ends only if all are at work at the same time.
    #[test]
    fn items_are_worked_on_at_the_same_time_but_not_too_many() {
        let barrier = Barrier::new(16);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        parallel_map(&[(); 64], |()| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait();
            now.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(most.load(Ordering::SeqCst), 16);
    }

    #[test]
    fn a_panic_reaches_the_caller_when_all_others_are_done() {
        for bad in [0, 7, 99] {
            let done = AtomicUsize::new(0);
            let items: Vec<usize> = (0..100).collect();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                parallel_map(&items, |item| {
                    assert_ne!(*item, bad, "a defect");
                    done.fetch_add(1, Ordering::SeqCst)
                })
            }));
            assert!(outcome.is_err());
            assert_eq!(done.load(Ordering::SeqCst), 99);
        }
    }
}
