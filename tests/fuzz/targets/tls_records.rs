//! The whole of a handshake: the input is all that the server sends, records and what is in
//! them. Without the keys of TLS 1.3 nothing behind its ServerHello can be reached, see
//! `tls_messages` for that.
//!
//! The client's randomness is always the same, so the seeds are good handshakes, and whatever
//! passes must be signed by the server of the tests.

use super::Target;
use super::tls_server::{Plan, flight, leaf, run_bytes};
use crate::tls::{Failure, Group, Verified, Version};

pub(super) const TARGET: Target = Target {
    name: "tls-records",
    seeds,
    run,
    max_input: 4096,
};

fn run(input: &[u8]) {
    check(run_bytes(input));
}

/// Whatever was sent, only the server of the tests can have passed.
pub(super) fn check(result: Result<Verified, Failure>) {
    match result {
        Ok(verified) => assert_eq!(verified.chain.first(), Some(&leaf())),
        Err(failure) => {
            let text = failure.error.to_string();
            assert!(!text.contains(char::is_control), "{text}");
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for fragment in [usize::MAX, 60] {
        for retry in [None, Some(Group::Secp256r1), Some(Group::Secp521r1)] {
            seeds.push(flight(Plan {
                retry,
                fragment,
                ..Plan::default()
            }));
        }
        seeds.push(flight(Plan {
            version: Version::Tls12,
            fragment,
            ..Plan::default()
        }));
    }
    // a warning, an alert, a change of cipher
    seeds.push(vec![21, 3, 3, 0, 2, 1, 112, 21, 3, 3, 0, 2, 2, 40]);
    seeds.push(vec![20, 3, 3, 0, 1, 1]);
    seeds
}
