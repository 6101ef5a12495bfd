//! A handshake up to the first protected record: the input is all that the server sends, records
//! and what is in them. What follows ServerHello has targets of its own, `tls12_messages`,
//! `tls13_messages` and `tls_sealed`.
//!
//! The client's randomness is always the same, so the seeds are good hellos. Most time goes into
//! its key share: the seeds ask for no second one on a curve, which takes twenty times as long.

use super::Target;
use super::tls_server::{Plan, extension, fix_extensions, flight, run_bytes};
use crate::tls::Version;
use crate::tls::group::Group;

pub(super) const TARGET: Target = Target {
    name: "tls-records",
    seeds,
    run,
    max_input: 1024,
};

fn run(input: &[u8]) {
    let failure = run_bytes(input).expect_err("nobody has the keys");
    super::harmless(&failure.error.to_string());
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for fragment in [usize::MAX, 60] {
        for version in [Version::TLS12, Version::TLS13] {
            for retry in [None, Some(Group::Secp256r1)] {
                seeds.push(flight(Plan {
                    version,
                    retry,
                    fragment,
                    edit: &hello_alone,
                    ..Plan::default()
                }));
            }
        }
    }
    // a warning, an alert, a change of cipher
    seeds.push(vec![21, 3, 3, 0, 2, 1, 112, 21, 3, 3, 0, 2, 2, 40]);
    seeds.push(vec![20, 3, 3, 0, 1, 1]);
    seeds
}

/// A retry asks for a cookie instead of another group; nothing follows the hello.
fn hello_alone(name: &str, message: &mut Vec<u8>) {
    match name {
        "ServerHello" => {}
        "HelloRetryRequest" => {
            // behind the session id: suite and compression
            let extensions = 4 + 2 + 32 + 1 + 32 + 3;
            message.truncate(extensions + 2);
            extension(message, 43, &[3, 4]);
            extension(message, 44, &[0, 2, b'i', b'd']);
            fix_extensions(message, extensions);
        }
        _ => message.clear(),
    }
}
