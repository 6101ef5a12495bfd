//! What discovery has trouble with. Status, page and metrics show a problem for as long as it lasts; the log
//! has one line when it begins or changes, and one when it is over.
//!
//! Each step of discovery hands in all problems that it has now; the registry logs the difference. That
//! an endpoint is down, or is not authenticated, is shown with the endpoint instead.
//!
//! Names and errors come from other hosts and from files, so the number of problems and their length are
//! bounded here. The code that shows them escapes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::log;
use crate::stats::Counter;
use crate::sync::lock;

/// The most problems that are shown one by one: more usually have one cause.
const MAX_PROBLEMS: usize = 32;
/// The most characters of one: a name of 253, and an error that repeats it.
const MAX_PROBLEM: usize = 800;

/// What a problem is about, in the order in which problems are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A refresh panicked.
    Panic,
    /// Memory for a refresh.
    Memory,
    /// The call that waits for the next step.
    Wait,
    EndpointsFile,
    Authorities,
    /// `--endpoints` serve because nothing else may.
    Fallback,
    /// SRV records, by the index of the service.
    Service(usize),
    /// Members that may not serve, because they do not use TLS.
    Insecure,
    /// The addresses of a name.
    Host(String),
    /// More SRV records than are used.
    Targets,
    /// More endpoints than are used.
    Endpoints,
    /// An endpoint that is this gateway.
    Loop(SocketAddr),
}

impl Subject {
    /// Whether it is about the last refresh, rather than about files or the wait for the next.
    pub(super) fn is_of_refresh(&self) -> bool {
        !matches!(self, Self::Wait | Self::EndpointsFile | Self::Authorities)
    }

    pub(super) fn is_of_files(&self) -> bool {
        matches!(self, Self::EndpointsFile | Self::Authorities)
    }

    /// Whether it is logged again when an operator asks for a refresh.
    fn is_repeated(&self) -> bool {
        self.is_of_files() || matches!(self, Self::Loop(_))
    }
}

/// A line of the log: the message and its fields.
pub(super) type Line = (&'static str, Vec<(&'static str, log::Value)>);

/// Trouble with one subject: the line that is logged, and what is shown.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) subject: Subject,
    pub(super) message: &'static str,
    pub(super) fields: Vec<(&'static str, log::Value)>,
    /// The line is logged again when this changes.
    pub(super) detail: String,
    pub(super) shown: Vec<String>,
}

impl Problem {
    fn log(&self) {
        let log = match self.subject {
            Subject::Panic | Subject::Wait | Subject::EndpointsFile | Subject::Authorities => {
                log::error
            }
            _ => log::warn,
        };
        log("discovery", self.message, &self.fields);
    }

    /// The usual line for its end.
    pub(super) fn over(&self) -> Line {
        (
            "problem is over",
            vec![("problem", self.shown.clone().into())],
        )
    }
}

/// What is shown of the problems with these subjects.
pub(super) fn texts(problems: &[Problem], is_wanted: fn(&Subject) -> bool) -> Vec<String> {
    let wanted = problems.iter().filter(|one| is_wanted(&one.subject));
    wanted.flat_map(|one| one.shown.iter().cloned()).collect()
}

/// All problems that there are.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<Subject, Problem>);

impl Problems {
    /// Takes the problems that there are `now`: of those known, the ones that `is_theirs` selects are over if they
    /// are not among them. Logs what is new, what has changed or what an operator has `asked` for. `recovery` gives
    /// the line for the end of a problem, if there is to be one.
    pub(super) fn update(
        &mut self,
        is_theirs: impl Fn(&Subject) -> bool,
        now: Vec<Problem>,
        asked: bool,
        recovery: impl Fn(&Problem) -> Option<Line>,
    ) {
        let keyed = now.into_iter().map(|one| (one.subject.clone(), one));
        let now = BTreeMap::from_iter(keyed);
        for (subject, problem) in &now {
            let known = self.0.get(subject);
            let is_known = known.is_some_and(|known| known.detail == problem.detail);
            if !is_known || asked && subject.is_repeated() {
                problem.log();
            }
        }
        self.0.retain(|subject, problem| {
            let is_over = is_theirs(subject) && !now.contains_key(subject);
            if is_over && let Some((message, fields)) = recovery(problem) {
                log::info("discovery", message, &fields);
            }
            !is_over
        });
        self.0.extend(now);
    }

    /// What is shown of all of them.
    pub(super) fn texts(&self) -> Vec<String> {
        let all = self.0.values();
        all.flat_map(|one| one.shown.iter().cloned()).collect()
    }
}

/// How refreshes went so far, and the problems that there are, for other threads.
#[derive(Debug, Default)]
pub(crate) struct Refreshes {
    complete: Counter,
    incomplete: Counter,
    /// When the last complete one ended.
    last_complete: Mutex<Option<Instant>>,
    problems: Mutex<Vec<String>>,
    /// An operator has requested one, and its result is to be logged.
    asked: AtomicBool,
}

impl Refreshes {
    /// Has the outcome of the next refresh logged. To be called before the thread is woken.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Whether an operator has requested one since the last call.
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

    /// Replaces what is shown.
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

    /// What there is trouble with now; empty if all is well.
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
