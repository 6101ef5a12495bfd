//! The states of TLS 1.2 behind ServerHello: the input is handshake messages, put into records;
//! its first octet says how many of a good flight precede them.
//!
//! As in `tls13_messages` the certificate is trusted as it is and its key is fast.

use std::sync::LazyLock;

use super::Target;
use super::tls_server::{Conversation, handshake, length24, record};
use super::tls13_messages::{CONFIG, LEAF, SENT};
use crate::tls::codes::HandshakeType;
use crate::tls::msgs::{Message, ServerHello};
use crate::tls::record::RecordLayer;
use crate::tls::tls12;
use crate::tls::{Error, Verified, Version};

pub(super) const TARGET: Target = Target {
    name: "tls12-messages",
    seeds,
    run,
    max_input: 2048,
};

/// Certificate, ServerKeyExchange and ServerHelloDone that pass.
static FLIGHT: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let leaf = [&length24(&LEAF), &LEAF[..]].concat();
    let signature = super::bytes(
        "08070040
         ab37fbf5e51d1cefd7752c98534221819c276fdf7dc6a514873e441dbebf7ab508aec62a71418b4c45b8
         4ce95db11614a45f7673512be8a948c9bd73bc5b9009",
    );
    [
        handshake(HandshakeType::CERTIFICATE, &[&length24(&leaf), &leaf]),
        handshake(
            HandshakeType::SERVER_KEY_EXCHANGE,
            &[&[3, 0, 29, 32], &[9; 32], &signature],
        ),
        handshake(HandshakeType::SERVER_HELLO_DONE, &[]),
    ]
});

/// ECDHE-ECDSA with AES-128-GCM.
static SERVER_HELLO: LazyLock<Message> = LazyLock::new(|| {
    let body: [&[u8]; 3] = [&[3, 3], &[2; 32], &[0, 0xc0, 0x2b, 0]];
    let mut buffer = handshake(HandshakeType::SERVER_HELLO, &body);
    Message::split_off(&mut buffer).unwrap().unwrap()
});

fn run(input: &[u8]) {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let before = &FLIGHT[..usize::from(first % 3)];
    match follow(&[before.concat(), input.to_vec()].concat()) {
        Ok(verified) => {
            assert_eq!(verified.version, Version::TLS12);
            assert_eq!(verified.chain.first(), Some(&*LEAF));
        }
        Err(error) => super::harmless(&error.to_string()),
    }
}

fn follow(messages: &[u8]) -> Result<Verified, Error> {
    let server = ServerHello::parse(&SERVER_HELLO).unwrap();
    let records = messages.chunks(16_384);
    let mut bytes: Vec<u8> = records.flat_map(|part| record(22, part)).collect();
    let mut stream = Conversation::new(|_: &[u8]| std::mem::take(&mut bytes));
    let mut records = RecordLayer::new(&mut stream);
    tls12::run(
        &mut records,
        &CONFIG,
        [1; 32],
        &SENT,
        &server,
        &mut Vec::new(),
    )
}

fn seeds() -> Vec<Vec<u8>> {
    assert!(follow(&FLIGHT.concat()).is_ok());
    let from = |first: usize| [&[first as u8], &FLIGHT[first..].concat()[..]].concat();
    let mut seeds = Vec::from_iter((0..3).map(from));
    let request = super::bytes("01 40 0004 0403 0807 0000");
    let request = handshake(HandshakeType::CERTIFICATE_REQUEST, &[&request]);
    seeds.push([&[2], &request[..], &FLIGHT[2]].concat());
    seeds
}
