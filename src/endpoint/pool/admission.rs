//! What follows from a connection to an endpoint: it may carry a client, or has to prove first who it is.
//!
//! [`Pool::connected`] is the one call of whoever has connected. A proof can be asked for with a
//! [`Proving`] alone, which that call gives.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Pool;
use crate::dial;
use crate::endpoint::slots::Slot;
use crate::endpoint::{Endpoint, Proof};
use crate::sync::lock;

/// What a connection to an endpoint means.
#[derive(Debug)]
pub(crate) enum Admission {
    /// The endpoint may carry clients.
    Ready,
    /// It has to prove who it is, over another connection.
    Prove(Proving),
    /// It was this gateway: it is another if it keeps the connection ([`Pool::kept`]).
    Keep,
    /// It may not.
    Refused(dial::Error),
}

/// The right to ask an endpoint who it is.
#[derive(Debug)]
pub(crate) struct Proving {
    endpoint: Endpoint,
}

impl Proving {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
        }
    }

    /// Which endpoint it is for.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.endpoint.addr
    }
}

/// Of one that has been removed nobody knows any more what it would have to prove.
fn unknown(addr: SocketAddr) -> dial::Error {
    dial::ErrorKind::Rejected("it is not an endpoint any more".to_owned()).at(addr)
}

impl Pool {
    /// Reports that a dial begun at `started` was answered after so long; what that means. Where endpoints
    /// have to prove who they are, one that was removed meanwhile is rejected.
    pub(crate) fn connected(
        &self,
        addr: SocketAddr,
        started: Instant,
        took: Duration,
    ) -> Admission {
        let mut admission = match self.parameters.authenticates {
            true => Admission::Refused(unknown(addr)),
            false => Admission::Ready,
        };
        self.change(addr, |member, now| {
            member.answered(took);
            admission = if member.needs_proof() {
                Admission::Prove(Proving::of(&member.endpoint))
            } else if member.is_this_gateway() {
                Admission::Keep
            } else {
                member.succeeded(started, now);
                Admission::Ready
            };
        });
        admission
    }

    /// Reports that a connection whose dial began at `started` proves that the endpoint is there. One that
    /// has to prove who it is does not become active by that, nor one that was found to be this gateway since.
    pub(crate) fn kept(&self, addr: SocketAddr, started: Instant) {
        self.change(addr, |member, now| member.succeeded(started, now));
    }

    /// Has an endpoint prove who it is, and makes it active if it does.
    ///
    /// # Errors
    /// Why it may not carry clients.
    pub(crate) fn prove(
        &self,
        proving: &Proving,
        timeout: Duration,
        slot: &Slot,
    ) -> Result<(), dial::Error> {
        let Some(gate) = &self.gate else {
            return Ok(());
        };
        let (endpoint, began) = (&proving.endpoint, Instant::now());
        let proof = gate.admit(endpoint, timeout, slot)?;
        if self.proven(endpoint, began, proof) {
            return Ok(());
        }
        let addr = endpoint.addr;
        let mut set = lock(&self.set);
        let member = set
            .find(addr)
            .filter(|member| member.endpoint.identity == endpoint.identity);
        Err(match member.and_then(|member| member.last_error.as_ref()) {
            Some((_, error)) => {
                dial::ErrorKind::Rejected(format!("rejected meanwhile: {error}")).at(addr)
            }
            None => unknown(addr),
        })
    }

    /// Makes an endpoint active that has proven its identity, in a proof that `began` then.
    /// False if it is another by now, or was rejected or found to be this gateway meanwhile.
    pub(crate) fn proven(&self, endpoint: &Endpoint, began: Instant, proof: Proof) -> bool {
        let mut is_active = false;
        self.change(endpoint.addr, |member, now| {
            member.reauthenticated(now, proof);
            member.authenticated(endpoint, began, now);
            is_active = member.is_active();
        });
        is_active
    }

    /// Counts the dial of a proof, which has succeeded, and keeps when that expires.
    pub(crate) fn reaffirmed(&self, addr: SocketAddr, proof: Proof) {
        self.change(addr, |member, now| member.reauthenticated(now, proof));
    }
}
