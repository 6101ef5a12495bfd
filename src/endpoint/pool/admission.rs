//! What follows from a connection to an endpoint: it may carry a client, or has to be authenticated first.
//!
//! Whoever has connected calls [`Pool::connected`]. An authentication needs an
//! [`AuthenticationTask`], which only the pool makes.

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
    /// It has to be authenticated, over another connection.
    Authenticate(AuthenticationTask),
    /// It was this gateway. It is another endpoint now if it keeps the connection ([`Pool::succeeded`]).
    Trial,
    /// It may not carry clients.
    Rejected(dial::Error),
}

/// An endpoint that is to be authenticated.
#[derive(Debug)]
pub(crate) struct AuthenticationTask {
    endpoint: Endpoint,
}

impl AuthenticationTask {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.endpoint.addr
    }
}

/// A removed endpoint has no identity that it could prove.
fn unknown(addr: SocketAddr) -> dial::Error {
    dial::ErrorKind::Rejected("it is not an endpoint any more".to_owned()).at(addr)
}

impl Pool {
    /// Reports that a dial begun at `started` was answered after `took`; returns what that means. Where endpoints
    /// are authenticated, one that was removed meanwhile is rejected.
    pub(crate) fn connected(
        &self,
        addr: SocketAddr,
        started: Instant,
        took: Duration,
    ) -> Admission {
        let mut admission = match self.parameters.authenticates {
            true => Admission::Rejected(unknown(addr)),
            false => Admission::Ready,
        };
        self.change(addr, |member, now| {
            member.answered(took);
            admission = if member.needs_proof() {
                Admission::Authenticate(AuthenticationTask::of(&member.endpoint))
            } else if member.is_this_gateway() {
                Admission::Trial
            } else {
                member.succeeded(started, now);
                Admission::Ready
            };
        });
        admission
    }

    /// Reports that a dial begun at `started` has succeeded. An endpoint that
    /// is authenticated does not become active by that, nor one that was found to be this gateway since.
    pub(crate) fn succeeded(&self, addr: SocketAddr, started: Instant) {
        self.change(addr, |member, now| member.succeeded(started, now));
    }

    /// Authenticates an endpoint, and makes it active if that succeeds.
    ///
    /// # Errors
    /// Why it may not carry clients.
    pub(crate) fn authenticate(
        &self,
        task: &AuthenticationTask,
        timeout: Duration,
        slot: &Slot,
    ) -> Result<(), dial::Error> {
        let Some(authenticator) = &self.authenticator else {
            return Ok(());
        };
        let (endpoint, began) = (&task.endpoint, Instant::now());
        let proof = authenticator.authenticate(endpoint, timeout, slot)?;
        if self.set_authenticated(endpoint, began, proof) {
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

    /// Makes an endpoint active whose authentication `began` then and has succeeded.
    /// False if it is another one now, or was rejected or found to be this gateway meanwhile.
    pub(crate) fn set_authenticated(
        &self,
        endpoint: &Endpoint,
        began: Instant,
        proof: Proof,
    ) -> bool {
        let mut is_active = false;
        self.change(endpoint.addr, |member, now| {
            member.reauthenticated(now, proof);
            member.authenticated(endpoint, began, now);
            is_active = member.is_active();
        });
        is_active
    }

    /// Counts an authentication that has succeeded, and when its certificate expires.
    pub(crate) fn set_reauthenticated(&self, addr: SocketAddr, proof: Proof) {
        self.change(addr, |member, now| member.reauthenticated(now, proof));
    }
}
