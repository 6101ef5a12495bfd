//! Many waits at the same time, each in a thread, and not more of them than is good.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::sync::lock;

/// Lookups, or dials, that run at the same time.
const SIDE_BY_SIDE: usize = 16;

/// Does the same for all `items`, up to [`SIDE_BY_SIDE`] at a time; results in order. The
/// caller works too, so that all is done even where no thread can be had.
pub(crate) fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
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
        for _ in 1..items.len().min(SIDE_BY_SIDE) {
            let thread = std::thread::Builder::new().name("resolve".to_owned());
            // One less is slower, no more.
            let _ = thread.spawn_scoped(scope, worker);
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
