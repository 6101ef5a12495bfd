//! Authenticates many endpoints, in parallel: all at start, those that serve every few minutes, and all again when
//! the authorities have changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::parallel::parallel_map;
use crate::endpoint::pool::Pool;
use crate::endpoint::slots::Slots;
use crate::endpoint::{Authenticate, Endpoint, Proof};

/// Authenticates the endpoints of a start. Returns those that have proven who they are, and why the others have
/// not. Once one has, and `timeout` is over, no more are asked: a start cannot wait for the rest.
pub(super) fn authenticate_all(
    endpoints: &[Endpoint],
    gate: Option<&dyn Authenticate>,
    timeout: Duration,
) -> (Vec<(Endpoint, Proof)>, Vec<String>) {
    // Nothing else runs that takes slots.
    let slots = Slots::default();
    let (mut proven, mut refused) = (Vec::new(), Vec::new());
    let Some(gate) = gate else {
        return (proven, refused);
    };
    let endpoints = endpoints.iter();
    let asked: Vec<&Endpoint> = endpoints.filter(|one| one.identity.is_some()).collect();
    let (began, is_any_proven) = (Instant::now(), AtomicBool::new(false));
    let outcomes = parallel_map(&asked, |endpoint| {
        let slot = slots.wait_for_background();
        if is_any_proven.load(Ordering::Relaxed) && began.elapsed() >= timeout {
            return None;
        }
        let outcome = gate.authenticate(endpoint, timeout, &slot);
        is_any_proven.fetch_or(outcome.is_ok(), Ordering::Relaxed);
        Some(outcome)
    });
    for (endpoint, outcome) in asked.into_iter().zip(outcomes) {
        match outcome {
            Some(Ok(proof)) => proven.push((endpoint.clone(), proof)),
            Some(Err(error)) => refused.push(error.to_string()),
            None => {}
        }
    }
    (proven, refused)
}

/// Authenticates the endpoints that serve again: a certificate may have expired, another host may have an address.
pub(super) fn reauthenticate_serving(
    pool: &Pool,
    gate: Option<&dyn Authenticate>,
    timeout: Duration,
) {
    reauthenticate(pool, gate, timeout, pool.authenticated(), Vec::new());
}

/// Authenticates all endpoints by authorities that are new: those that were refused before may pass.
pub(super) fn reauthenticate_all(pool: &Pool, gate: Option<&dyn Authenticate>, timeout: Duration) {
    let serving = pool.authenticated();
    let mut others = pool.endpoints();
    others.retain(|other| other.identity.is_some() && !serving.contains(other));
    reauthenticate(pool, gate, timeout, serving, others);
}

/// Authenticates endpoints that serve, and then `others`; each outcome goes to the pool at once. When
/// `timeout` is over, no more of the others are asked: they may be many that do not answer, and the monitor asks
/// each of them when its retry is due.
fn reauthenticate(
    pool: &Pool,
    gate: Option<&dyn Authenticate>,
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
        match gate.authenticate(endpoint, timeout, &slot) {
            Ok(proof) if *serves => pool.set_reauthenticated(endpoint.addr, proof),
            Ok(proof) => {
                pool.set_authenticated(endpoint, started, proof);
            }
            Err(error) => pool.failed(endpoint.addr, started, &error),
        }
    });
}
