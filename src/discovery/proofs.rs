//! Has endpoints prove who they are, side by side.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::side_by_side;
use crate::endpoint::pool::Pool;
use crate::endpoint::slots::Slots;
use crate::endpoint::{Endpoint, Gate, Proof};

/// Has endpoints prove who they are, side by side: those that have, and why the others have
/// not. Once one has, and `timeout` is over, no more are asked: the rest can wait, a start cannot.
pub(super) fn prove(
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
    let outcomes = side_by_side(&asked, |endpoint| {
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
pub(super) fn audit(pool: &Pool, gate: Option<&dyn Gate>, timeout: Duration) {
    let Some(gate) = gate else { return };
    let started = Instant::now();
    let serving = pool.authenticated();
    let outcomes = side_by_side(&serving, |endpoint| {
        gate.admit(endpoint, timeout, &pool.slots().wait_for_background())
    });
    for (endpoint, outcome) in serving.iter().zip(outcomes) {
        match outcome {
            Ok(proof) => pool.reaffirmed(endpoint.addr, proof),
            Err(error) => pool.failed(endpoint.addr, started, &error),
        }
    }
}
