//! Bytes of handshake messages and of records, and their lengths after an edit.

use crate::tls::codes::HandshakeType;
use crate::tls::msgs::compose;
use crate::wire::Reader;

/// A handshake message of these parts.
pub(crate) fn handshake(kind: HandshakeType, parts: &[&[u8]]) -> Vec<u8> {
    compose(kind, &parts.concat()).unwrap()
}

/// Appends an extension.
pub(crate) fn extension(out: &mut Vec<u8>, kind: u16, content: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend(length16(content));
    out.extend(content);
}

/// A plaintext record.
pub(crate) fn record(content: u8, payload: &[u8]) -> Vec<u8> {
    [&[content, 3, 3], &length16(payload)[..], payload].concat()
}

/// The records in `bytes`: content type and payload of each.
pub(crate) fn records(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut records = Vec::new();
    while !reader.is_empty() {
        let content = reader.u8().unwrap();
        reader.u16().unwrap();
        records.push((content, reader.sub16().unwrap().rest().to_vec()));
    }
    records
}

/// The length of `bytes` in two bytes.
pub(crate) fn length16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap().to_be_bytes()
}

/// The length of `bytes` in three bytes.
pub(crate) fn length24(bytes: &[u8]) -> [u8; 3] {
    let [0, a, b, c] = u32::try_from(bytes.len()).unwrap().to_be_bytes() else {
        panic!("too long");
    };
    [a, b, c]
}

/// Sets the length in the header of a handshake message, after an edit.
pub(crate) fn fix_length(message: &mut [u8]) {
    let length = length24(&message[4..]);
    message[1..4].copy_from_slice(&length);
}

/// Sets the length of a hello's extensions, which begin at `at`, and of the message.
pub(crate) fn fix_extensions(message: &mut [u8], at: usize) {
    let length = length16(&message[at + 2..]);
    message[at..at + 2].copy_from_slice(&length);
    fix_length(message);
}
