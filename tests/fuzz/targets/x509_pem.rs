//! PEM bundles: what is read must be the same when written again.

use super::Target;
use crate::x509::pem::parse_certificates;

pub(super) const TARGET: Target = Target {
    name: "x509-pem",
    seeds,
    run,
    max_input: 1024,
};

fn run(input: &[u8]) {
    let certificates = match parse_certificates(input) {
        Ok(certificates) => certificates,
        Err(error) => {
            let ends = input.iter().filter(|byte| b"\r\n".contains(byte));
            assert!(error.line <= ends.count() + 1);
            return;
        }
    };
    assert!(!certificates.is_empty() && certificates.iter().all(|der| !der.is_empty()));
    let octets: usize = certificates.iter().map(Vec::len).sum();
    assert!(octets <= input.len());
    let written: String = certificates.iter().map(|der| block(der)).collect();
    assert_eq!(parse_certificates(written.as_bytes()), Ok(certificates));
}

fn block(der: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for group in der.chunks(3) {
        let mut octets = [0; 4];
        octets[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(octets);
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) as usize % 64;
            text.push(if at > group.len() {
                '='
            } else {
                ALPHABET[index].into()
            });
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

fn seeds() -> Vec<Vec<u8>> {
    let good =
        "# a root\r\n-----BEGIN CERTIFICATE-----\r\nTWFu\r\nTWE=\r\n-----END CERTIFICATE-----\r\n";
    [
        good.to_owned(),
        format!(
            "\u{feff}{good}-----BEGIN PRIVATE KEY-----\nA: b\n-----END PRIVATE KEY-----\n{good}"
        ),
        block(b"certificate") + &block(b"another"),
    ]
    .map(String::into_bytes)
    .to_vec()
}
