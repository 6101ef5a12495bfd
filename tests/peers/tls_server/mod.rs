//! A TLS server in memory that sends what a test wants: a correct flight, of which an edit may change, drop or add
//! messages before they are hashed, signed and sealed.
//!
//! It is deterministic, so that a client with injected randomness makes the same handshake each time.

mod certificates;
mod client;
mod messages;
mod server;

pub(crate) use certificates::*;
pub(crate) use client::*;
pub(crate) use messages::*;
pub(crate) use server::*;
