//! Has endpoints prove who they are, side by side.

use std::time::{Duration, Instant};

use super::side_by_side;
use crate::endpoint::pool::Pool;
use crate::endpoint::{Endpoint, Gate, Proof};

/// Has endpoints prove who they are, side by side: those that have, and why the others have
/// not.
pub(super) fn prove(
    endpoints: &[Endpoint],
    gate: Option<&dyn Gate>,
    timeout: Duration,
) -> (Vec<(Endpoint, Proof)>, Vec<String>) {
    let asked: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|endpoint| endpoint.identity.is_some())
        .collect();
    let Some(gate) = gate else {
        return (Vec::new(), Vec::new());
    };
    let outcomes = side_by_side(&asked, |endpoint| gate.admit(endpoint, timeout));
    let (mut proven, mut refused) = (Vec::new(), Vec::new());
    for (endpoint, outcome) in asked.into_iter().zip(outcomes) {
        match outcome {
            Ok(proof) => proven.push((endpoint.clone(), proof)),
            Err(error) => refused.push(error.to_string()),
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
    let outcomes = side_by_side(&serving, |endpoint| gate.admit(endpoint, timeout));
    for (endpoint, outcome) in serving.iter().zip(outcomes) {
        match outcome {
            Ok(proof) => pool.reaffirmed(endpoint.addr, proof),
            Err(error) => pool.failed(endpoint.addr, started, &error),
        }
    }
}
