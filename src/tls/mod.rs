//! A TLS client that verifies a server and then hangs up: TLS 1.3 (RFC 8446) and TLS 1.2
//! (RFC 5246, 8422, 7627) with ECDHE. It never carries data.
//!
//! # Threat model
//!
//! **What is verified.** That the server at this address holds, now, the private key of a
//! certificate which chains to a trusted authority and is for the expected name: `x509` verifies the
//! chain, the name and the dates before the key in it is used; then the server's signature over our
//! fresh random value is verified with that key, in TLS 1.3 the Finished message too. There is no
//! partial result.
//!
//! **When.** Before an endpoint found by discovery carries its first client, and again as
//! often as discovery asks. The result is about that moment only.
//!
//! **What an attacker on the path, or in the DNS, cannot do**: pass without the key of a
//! certificate for the name, by a recorded handshake (our random value is new each time), by
//! making the two ends agree on something weaker (TLS 1.3 signs all of the handshake, in
//! TLS 1.2 the downgrade sentinels are checked, and nothing weak is offered), delay this client
//! beyond the deadline of the stream, or fill the memory (every message, record and count has a
//! limit).
//!
//! **What such an attacker can do**: prevent the verification, so that the endpoint is not
//! used. Pass it by relaying it, byte for byte, to a true server within reach, and then receive
//! the connections of clients: the verified connection is not one of those that carry data, which
//! this gateway cannot decrypt. The verification finds wrong, stale and misdirected endpoints; the
//! data itself is protected only by the TLS between the clients and the cluster. It can also see
//! the name (server_name is not encrypted), that a gateway verifies this server, and in TLS 1.2 the
//! certificate.
//!
//! **Secrets.** There is one, the ephemeral key of the key exchange, with what is derived from
//! it. It hides the server's certificate from observers and protects no data. An attacker with this
//! key could read the certificate, but not impersonate the server, because that takes a signature.
//! It is still handled in constant time: X25519 and the other key agreements, HKDF, AES-GCM,
//! ChaCha20-Poly1305 and the comparison of Finished and of tags neither branch nor index by
//! secrets. It is not wiped from memory, which safe Rust cannot promise. Everything else is public:
//! certificates, signatures, the keys to verify them with. So the parsers and the verification of
//! signatures may take variable time.
//!
//! **Randomness** and the present time are parameters. If the random source were predictable, a
//! recorded handshake could be replayed to this client.
//!
//! # Stricter than Go
//!
//! What Go's crypto/tls accepts from a server and this client refuses, and why. (The files of `x509`
//! state where it is stricter.)
//!
//! | refused | reason |
//! |---|---|
//! | in TLS 1.2: static RSA, CBC, RC4, 3DES, SHA-1 | weak; with static RSA there is no signature to verify |
//! | X25519MLKEM768 alone | no secrecy is needed here; every server of Go accepts another group too |
//! | an extension that was not sent, is in the wrong message or is there twice | RFC 8446 section 4.2 and OpenSSL refuse it; supported_groups in TLS 1.2 is accepted, as by others |
//! | OCSP responses and SCTs | they are not asked for, because they would not be used |
//! | more than 256 records or 256 KiB, a Certificate above 64 KiB, another message above 16 KiB | CPU and memory ([`record`], [`msgs`]) |
//! | in TLS 1.2, a warning within a handshake message | TLS 1.3 forbids it (RFC 8446 section 5.1), and no server does it |
//! | handshake data after ServerHelloDone | no server sends it |
//! | a session id of TLS 1.2 of more than 32 bytes | RFC 5246 section 7.4.1.2 |
//!
//! # Files
//!
//! `authenticate` runs [`negotiate`] (the hellos), which continues with [`tls13`] (states, each of
//! which takes one message and returns the next) or [`tls12`] (one function). Below them: [`msgs`] and
//! [`client_hello`] (messages on the wire), [`record`], [`schedule`] (keys), [`suite`] and [`group`]
//! (what is offered), [`codes`], [`config`], [`error`].
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub(crate) mod client_hello;
pub(crate) mod codes;
mod config;
pub(crate) mod error;
pub(crate) mod group;
pub(crate) mod msgs;
pub(crate) mod negotiate;
pub(crate) mod record;
pub(crate) mod schedule;
pub(crate) mod suite;
pub(crate) mod tls12;
pub(crate) mod tls13;

use std::io::{Read, Write};

pub(crate) use codes::Version;
pub(crate) use config::{Config, Random, Verified};
pub(crate) use error::Error;

use record::RecordLayer;

/// A server that did not pass.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// The certificates as sent, if the server sent any; they are not verified.
    pub(crate) presented: Vec<Vec<u8>>,
}

/// Authenticates the server at the other end of `stream`, which has a deadline of its own.
///
/// A failure is sent to the server as an alert; a success ends with close_notify. Closing the
/// stream itself is up to the caller.
pub(crate) fn authenticate<S: Read + Write>(
    stream: &mut S,
    config: &Config<'_>,
    random: &mut Random<'_>,
) -> Result<Verified, Failure> {
    let mut records = RecordLayer::new(stream);
    let mut presented = Vec::new();
    negotiate::run(&mut records, config, random, &mut presented).map_err(|error| {
        if let Some(alert) = error.alert() {
            records.send_alerts(&[alert]);
        }
        Failure { error, presented }
    })
}
