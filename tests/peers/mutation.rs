//! Every truncation and every changed byte of good handshakes, as an attacker on the path can
//! make them: refused, or without effect on what is verified. Never a panic.

use crate::peers::tls_server::{Plan, flight, leaf, run_bytes};
use crate::tls::{Error, Version};

fn plan(version: Version) -> Plan<'static> {
    Plan {
        version,
        ..Plan::default()
    }
}

#[test]
fn every_truncation_is_refused() {
    for version in [Version::TLS13, Version::TLS12] {
        let flight = flight(plan(version));
        assert!(run_bytes(&flight).is_ok());
        for length in 0..flight.len() {
            let failure = run_bytes(&flight[..length]).unwrap_err();
            // a header of five bytes is the least that can be told from no TLS
            let closed = match failure.error {
                Error::Closed {
                    reset: false,
                    answered,
                    ..
                } => answered == (length >= 5),
                _ => false,
            };
            assert!(closed, "{version} {length}: {}", failure.error);
        }
    }
}

/// What is changed of a byte: its lowest bit, or all.
const CHANGES: [u8; 2] = [0x01, 0xff];

/// Changes every byte in two ways. What passes all the same is only where the standard says
/// that nothing is to be looked at, given by its place and the change: legacy_record_version of
/// unprotected records (RFC 8446 section 5.1), and the TLS 1.2 extension that is ignored.
fn every_changed_byte(version: Version, harmless: &[(usize, u8)]) {
    let flight = flight(plan(version));
    for at in 0..flight.len() {
        for change in CHANGES {
            let mut flight = flight.clone();
            flight[at] ^= change;
            match run_bytes(&flight) {
                Ok(verified) => {
                    assert!(harmless.contains(&(at, change)), "{version} {at} {change}");
                    assert_eq!((verified.version, verified.chain), (version, vec![leaf()]));
                }
                Err(_) => assert!(!harmless.contains(&(at, change)), "{version} {at} {change}"),
            }
        }
    }
}

#[test]
fn every_changed_byte_of_tls_1_3_is_refused_or_harmless() {
    let hello = 5 + 4 + 118;
    let versions = [2, hello + 1, hello + 2];
    let harmless = versions.map(|at| CHANGES.map(|change| (at, change)));
    every_changed_byte(Version::TLS13, harmless.as_flattened());
}

#[test]
fn every_changed_byte_of_tls_1_2_is_refused_or_harmless() {
    // ec_point_formats becomes supported_groups
    every_changed_byte(Version::TLS12, &[(2, 0x01), (2, 0xff), (55, 0x01)]);
}
