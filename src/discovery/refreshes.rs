//! How the search for endpoints goes: what others may see of it while its thread is at work.
//!
//! Counts of refreshes, and the problems that there are now, each in words that name the record,
//! the host or the file. Names and errors come from elsewhere, so their number and length are
//! bounded here; who shows them escapes them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::log;
use crate::stats::Counter;
use crate::sync::lock;

/// The most problems that are told one by one: more usually have one cause.
const MAX_PROBLEMS: usize = 32;
/// The most characters of one: a name of 253, and an error that repeats it.
const MAX_PROBLEM: usize = 800;

/// How refreshes went so far, and what they have trouble with.
#[derive(Debug, Default)]
pub(crate) struct Refreshes {
    complete: Counter,
    incomplete: Counter,
    /// When the last that was complete ended.
    last_complete: Mutex<Option<Instant>>,
    problems: Mutex<Vec<String>>,
    /// An operator has asked for one, and is to be told how it went.
    asked: AtomicBool,
}

impl Refreshes {
    /// Has the outcome of the next refresh logged. To be called before the thread is woken.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Whether an operator has asked since the last call.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.swap(false, Ordering::SeqCst)
    }

    pub(super) fn add(&self, complete: bool) {
        if !complete {
            return self.incomplete.add(1);
        }
        self.complete.add(1);
        *lock(&self.last_complete) = Some(Instant::now());
    }

    /// Replaces what there is trouble with.
    pub(super) fn set_problems(&self, mut problems: Vec<String>) {
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        let shown = problems.into_iter();
        let shown = shown.map(|problem| log::shortened(problem, MAX_PROBLEM));
        let mut problems: Vec<_> = shown.collect();
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        *lock(&self.problems) = problems;
    }

    /// How many there were, by result: whether all that was asked for was answered.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let (complete, incomplete) = (self.complete.get(), self.incomplete.get());
        vec![("ok", complete), ("failed", incomplete)]
    }

    /// When the last complete one ended.
    pub(crate) fn last_success(&self) -> Option<Instant> {
        *lock(&self.last_complete)
    }

    /// What there is trouble with now; none if all is well.
    pub(crate) fn problems(&self) -> Vec<String> {
        lock(&self.problems).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_bounded_in_number_and_length() {
        let refreshes = Refreshes::default();
        assert!(refreshes.problems().is_empty());
        let long = "é".repeat(MAX_PROBLEM + 1);
        refreshes.set_problems(vec![long; 1024]);
        let problems = refreshes.problems();
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert_eq!(problems.last().unwrap(), "and 992 more");
        let shortened = format!("{}…", "é".repeat(MAX_PROBLEM));
        assert!(problems.iter().rev().skip(1).all(|text| *text == shortened));
        let few = vec!["é".repeat(MAX_PROBLEM); MAX_PROBLEMS];
        refreshes.set_problems(few.clone());
        assert_eq!(refreshes.problems(), few);
        refreshes.set_problems(Vec::new());
        assert!(refreshes.problems().is_empty());
    }
}
