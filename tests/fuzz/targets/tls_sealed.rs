//! Records under the keys of TLS 1.3. Of the input the first octet chooses the algorithm; then come
//! records, each a length and the octets to be sealed, content, type and padding.

use super::Target;
use super::tls_server::{Conversation, record};
use crate::crypto::aead::{Aead, AeadAlgorithm};
use crate::tls::Version;
use crate::tls::codes::HandshakeType;
use crate::tls::record::{Protection, RecordLayer};
use crate::wire::Reader;

pub(super) const TARGET: Target = Target {
    name: "tls-sealed",
    seeds,
    run,
    max_input: 1024,
};

const ALGORITHMS: [AeadAlgorithm; 3] = [
    AeadAlgorithm::ChaCha20Poly1305,
    AeadAlgorithm::Aes128Gcm,
    AeadAlgorithm::Aes256Gcm,
];

fn run(input: &[u8]) {
    let mut reader = Reader::new(input);
    let Ok(first) = reader.u8() else {
        return;
    };
    let algorithm = ALGORITHMS[usize::from(first) % 3];
    let aead = || Aead::new(algorithm, &[7; 32][..algorithm.key_len()]).unwrap();
    let sealing = aead();
    let mut bytes = Vec::new();
    let mut number = 0u64;
    while let Ok(length) = reader.u8() {
        let inner = match reader.take(length.into()) {
            Ok(inner) => inner,
            Err(_) => reader.rest(),
        };
        // The greatest length stands for a record that is not sealed.
        if length == u8::MAX {
            let (kind, rest) = inner.split_first().unwrap_or((&20, &[1]));
            bytes.extend(record(*kind, rest));
            continue;
        }
        let mut payload = inner.to_vec();
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        let [high, low] = (payload.len() as u16 + 16).to_be_bytes();
        let header = [23, 3, 3, high, low];
        sealing.seal(&nonce, &header, &mut payload);
        bytes.extend([&header[..], &payload].concat());
        number += 1;
    }
    let total = bytes.len();
    let mut stream = Conversation::new(|_: &[u8]| std::mem::take(&mut bytes));
    let mut records = RecordLayer::new(&mut stream);
    records.set_version(Version::TLS13);
    records.open_with(Protection::new(aead(), [0; 12])).unwrap();
    let mut opened = 0;
    let error = loop {
        match records.message(HandshakeType::FINISHED) {
            Ok(message) => opened += message.bytes().len(),
            Err(error) => break error,
        }
    };
    assert!(opened <= total);
    super::harmless(&error.to_string());
}

fn seeds() -> Vec<Vec<u8>> {
    [
        // Messages, whole, in pieces and with padding; a change of cipher between.
        "00 07 080000020000 16 ff 05 14000000 16 08 14000000 160000",
        "01 03 080016 05 0002000016 04 080000 16 04 020000 16",
        // An alert, a warning; application data; nothing, and padding alone.
        "00 03 0100 15",
        "02 03 015a 15 03 0228 15",
        "00 02 0017 01 16 00 03 000000",
    ]
    .map(super::bytes)
    .to_vec()
}
