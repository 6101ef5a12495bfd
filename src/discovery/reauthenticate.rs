//! Has endpoints prove who they are, side by side.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::parallel::parallel_map;
use crate::endpoint::pool::Pool;
use crate::endpoint::slots::Slots;
use crate::endpoint::{Endpoint, Gate, Proof};

/// Has endpoints prove who they are, side by side: those that have, and why the others have
/// not. Once one has, and `timeout` is over, no more are asked: the rest can wait, a start cannot.
pub(super) fn authenticate_all(
    endpoints: &[Endpoint],
    gate: Option<&dyn Gate>,
    slots: &Slots,
    timeout: Duration,
) -> (Vec<(Endpoint, Proof)>, Vec<String>) {
    let asked: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|endpoint| endpoint.identity.is_some())
        .collect();
    let Some(gate) = gate else {
        return (Vec::new(), Vec::new());
    };
    let (began, is_any_proven) = (Instant::now(), AtomicBool::new(false));
    let outcomes = parallel_map(&asked, |endpoint| {
        let slot = slots.wait_for_background();
        if is_any_proven.load(Ordering::Relaxed) && began.elapsed() >= timeout {
            return None;
        }
        let outcome = gate.admit(endpoint, timeout, &slot);
        is_any_proven.fetch_or(outcome.is_ok(), Ordering::Relaxed);
        Some(outcome)
    });
    let (mut proven, mut refused) = (Vec::new(), Vec::new());
    for (endpoint, outcome) in asked.into_iter().zip(outcomes) {
        match outcome {
            Some(Ok(proof)) => proven.push((endpoint.clone(), proof)),
            Some(Err(error)) => refused.push(error.to_string()),
            None => {}
        }
    }
    (proven, refused)
}

/// Has the endpoints that serve prove again who they are: a certificate may have expired,
/// an address may have changed hands.
pub(super) fn reauthenticate_serving(pool: &Pool, gate: Option<&dyn Gate>, timeout: Duration) {
    ask(pool, gate, timeout, pool.authenticated(), Vec::new());
}

/// The same where other authorities are trusted now: those that did not pass before may do so.
pub(super) fn reauthenticate_all(pool: &Pool, gate: Option<&dyn Gate>, timeout: Duration) {
    let serving = pool.authenticated();
    let mut others = pool.endpoints();
    others.retain(|other| other.identity.is_some() && !serving.contains(other));
    ask(pool, gate, timeout, serving, others);
}

/// Has endpoints that serve, and then `others`, prove who they are; each outcome is reported at once. When
/// `timeout` is over, no more of the others are asked: they may be many that say nothing, and the monitor asks
/// each of them when its retry is due.
fn ask(
    pool: &Pool,
    gate: Option<&dyn Gate>,
    timeout: Duration,
    serving: Vec<Endpoint>,
    others: Vec<Endpoint>,
) {
    let Some(gate) = gate else { return };
    let began = Instant::now();
    let serving = serving.into_iter().map(|endpoint| (endpoint, true));
    let others = others.into_iter().map(|endpoint| (endpoint, false));
    let all: Vec<(Endpoint, bool)> = serving.chain(others).collect();
    parallel_map(&all, |(endpoint, serves)| {
        let slot = pool.slots().wait_for_background();
        let started = Instant::now();
        if !serves && began.elapsed() >= timeout {
            return;
        }
        match gate.admit(endpoint, timeout, &slot) {
            Ok(proof) if *serves => pool.reaffirmed(endpoint.addr, proof),
            Ok(proof) => {
                pool.proven(endpoint, started, proof);
            }
            Err(error) => pool.failed(endpoint.addr, started, &error),
        }
    });
}
