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
    for version in [Version::Tls13, Version::Tls12] {
        let flight = flight(plan(version));
        assert!(run_bytes(&flight).is_ok());
        for length in 0..flight.len() {
            let failure = run_bytes(&flight[..length]).unwrap_err();
            let closed = matches!(failure.error, Error::Closed { .. });
            assert!(closed, "{version} {length}: {}", failure.error);
        }
    }
}

/// Changes every byte in two ways. What passes all the same is only where the standard says
/// that nothing is to be looked at: legacy_record_version of unprotected records (RFC 8446
/// section 5.1), given by its places.
fn every_changed_byte(version: Version, harmless: &[usize]) {
    let flight = flight(plan(version));
    for at in 0..flight.len() {
        for change in [0x01, 0xff] {
            let mut flight = flight.clone();
            flight[at] ^= change;
            match run_bytes(&flight) {
                Ok(verified) => {
                    assert!(harmless.contains(&at), "{version} {at} {change}");
                    assert_eq!((verified.version, verified.chain), (version, vec![leaf()]));
                }
                Err(_) => assert!(!harmless.contains(&at), "{version} {at} {change}"),
            }
        }
    }
}

#[test]
fn every_changed_byte_of_tls_1_3_is_refused_or_harmless() {
    let hello = 5 + 4 + 118;
    every_changed_byte(Version::Tls13, &[2, hello + 1, hello + 2]);
}

#[test]
fn every_changed_byte_of_tls_1_2_is_refused_or_harmless() {
    every_changed_byte(Version::Tls12, &[2]);
}
