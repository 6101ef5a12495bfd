//! A chain: the input is certificates, each behind two octets of length, the server's first.
//!
//! Only a server's certificate that was made for the tests can be accepted, since nobody else
//! has the roots' keys.

use std::sync::LazyLock;

use super::Target;
use crate::wire::Reader;
use crate::x509::{Anchors, ServerName, UnixTime, pem, verify};

pub(super) const TARGET: Target = Target {
    name: "x509-chain",
    seeds,
    run,
    max_input: 4096,
};

static MADE: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| pem::parse_certificates(include_bytes!("../../data/x509.pem")).unwrap());

/// The first of them are roots.
static ANCHORS: LazyLock<Anchors> =
    LazyLock::new(|| Anchors::from_der(MADE[..3].to_vec()).unwrap());

/// 2026-06-01
const NOW: UnixTime = UnixTime(1_780_272_000);

fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let mut chain = Vec::new();
    while let Ok(mut certificate) = reader.sub16() {
        chain.push(certificate.rest());
    }
    for name in ["etcd.example", "10.0.0.1"] {
        let name = ServerName::parse(name).unwrap();
        match verify(&chain, &ANCHORS, &name, NOW) {
            Ok(()) => assert!(MADE.iter().any(|made| made == chain[0])),
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let with_length = |der: &Vec<u8>| [&(der.len() as u16).to_be_bytes(), &der[..]].concat();
    let all: Vec<Vec<u8>> = MADE.iter().map(with_length).collect();
    let (inter, leaf) = (&all[3], &all[5]);
    let mut seeds = vec![[&leaf[..], inter].concat(), all[3..9].concat()];
    for other in &all {
        seeds.push([&leaf[..], other].concat());
        seeds.push([&other[..], inter].concat());
    }
    seeds
}
