//! The states of TLS 1.3 behind ServerHello, without records: the input is handshake messages,
//! its first octet says how many of a good flight precede them.
//!
//! What would take long is spared: the secret of the key exchange is given, the server's
//! certificate is a trust anchor itself, and its key an Ed25519 one, which is fast to verify with.

use std::sync::LazyLock;

use super::Target;
use super::tls_server::{handshake, length24};
use crate::tls::codes::{ExtensionType, HandshakeType};
use crate::tls::error::Error;
use crate::tls::msgs::Message;
use crate::tls::schedule::{Secrets, Transcript};
use crate::tls::tls13::{ExpectEncryptedExtensions, Handshake};
use crate::tls::{Config, suite};
use crate::x509::{Anchors, ServerName, UnixTime};

pub(super) const TARGET: Target = Target {
    name: "tls13-messages",
    seeds,
    run,
    max_input: 2048,
};

/// For etcd.test, from December 2026 for 20 years; made by openssl, as are the signatures.
pub(super) static LEAF: LazyLock<Vec<u8>> = LazyLock::new(|| {
    super::bytes(
        "308201073081baa003020102020101300506032b65703011310f300d06035504030c0673657276657230
         1e170d3236313230313032353131355a170d3436313132363032353131355a3011310f300d0603550403
         0c06736572766572302a300506032b6570032100b839613e89fed8d3c5ac93b15076e7c1b9cce433de6e
         fe6bb3eba084ea6ebf88a337303530140603551d11040d300b8209657463642e74657374301d0603551d
         0e04160414e65c6e0eca16d0cb4ffabe8310f6d5278ad6ef8a300506032b6570034100f61a3d885697f6
         aefa332af1d01289df88b62b3ff95a8b441dad4e053b9e861d035eab189ad4a8b83a8d13199063936209
         73833a767d1d6da1a82f0676c3f006",
    )
});

/// A client that trusts [`LEAF`].
pub(super) static CONFIG: LazyLock<Config<'static>> = LazyLock::new(|| Config {
    anchors: Box::leak(Box::new(Anchors::from_der(vec![LEAF.clone()]).unwrap())),
    name: Box::leak(Box::new(ServerName::parse("etcd.test").unwrap())),
    now: UnixTime(1_900_000_000),
    alpn: &[b"h2"],
});

/// What a ClientHello has that a server may answer.
pub(super) const SENT: [ExtensionType; 9] = [
    ExtensionType::RENEGOTIATION_INFO,
    ExtensionType::SERVER_NAME,
    ExtensionType::EC_POINT_FORMATS,
    ExtensionType::SUPPORTED_GROUPS,
    ExtensionType::SIGNATURE_ALGORITHMS,
    ExtensionType::ALPN,
    ExtensionType::EXTENDED_MASTER_SECRET,
    ExtensionType::SUPPORTED_VERSIONS,
    ExtensionType::KEY_SHARE,
];

/// EncryptedExtensions, Certificate, CertificateVerify and Finished that pass.
static FLIGHT: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    let leaf = [&length24(&LEAF), &LEAF[..], &[0, 0]].concat();
    let mut flight = [
        handshake(HandshakeType::ENCRYPTED_EXTENSIONS, &[&[0, 0]]),
        handshake(HandshakeType::CERTIFICATE, &[&[0], &length24(&leaf), &leaf]),
        handshake(HandshakeType::CERTIFICATE_VERIFY, &[&super::bytes(
                "08070040
                 b1cc705950259bf89aca3c94a3fc32ab7b4a7d2c00c4936cb89cca62c481e47c4007d5916d6bb42e70d8
                 b60bea98851f2e519985df443d3364fda4ff6b05a606",
            )]),
        Vec::new(),
    ];
    let mut transcript = hellos();
    flight.iter().for_each(|message| transcript.add(message));
    let verify_data = SECRETS.server.verify_data(&transcript.current()).unwrap();
    flight[3] = handshake(HandshakeType::FINISHED, &[verify_data.as_ref()]);
    flight
});

/// Derived once: that takes longer than most inputs.
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let suite = suite::TLS13[0];
    Secrets::new(suite, &[7; 32], &hellos().current()).unwrap()
});

fn hellos() -> Transcript {
    let mut transcript = Transcript::new(suite::TLS13[0].hash);
    transcript.add(b"hellos");
    transcript
}

fn run(input: &[u8]) {
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let before = &FLIGHT[..usize::from(first % 4)];
    let mut presented = Vec::new();
    match follow([before.concat(), input.to_vec()].concat(), &mut presented) {
        Ok(()) => assert_eq!(presented.first(), Some(&*LEAF)),
        Err(error) => super::harmless(&error.to_string()),
    }
}

/// The states in order; an error too if the messages end before the handshake does.
fn follow(mut messages: Vec<u8>, presented: &mut Vec<Vec<u8>>) -> Result<(), Error> {
    let mut next = || Message::split_off(&mut messages)?.ok_or(Error::unexpected("the end"));
    let state = ExpectEncryptedExtensions(Handshake {
        config: &CONFIG,
        sent: SENT.to_vec(),
        transcript: hellos(),
        secrets: SECRETS.clone(),
    });
    let mut state = state.handle(&next()?)?;
    let mut message = next()?;
    if message.kind() == HandshakeType::CERTIFICATE_REQUEST {
        state = state.handle_request(&message)?;
        message = next()?;
    }
    let state = state.handle(&message, presented)?;
    let leaf = presented.first().cloned().unwrap_or_default();
    let state = state.handle(&next()?, &leaf)?;
    state.handle(&next()?).map(|_| ())
}

fn seeds() -> Vec<Vec<u8>> {
    let from = |first: usize| [&[first as u8], &FLIGHT[first..].concat()[..]].concat();
    let mut seeds = Vec::from_iter((0..4).map(from));
    assert_eq!(follow(FLIGHT.concat(), &mut Vec::new()), Ok(()));
    let extensions = super::bytes("0015 0000 0000 000a 0004 0002 001d 0010 0005 0003 02 6832");
    seeds.push(
        [
            &[0],
            &handshake(HandshakeType::ENCRYPTED_EXTENSIONS, &[&extensions])[..],
        ]
        .concat(),
    );
    let request = super::bytes("00 0012 000d 0004 0002 0403 0032 0006 0004 0403 0807");
    seeds.push(
        [
            &[1],
            &handshake(HandshakeType::CERTIFICATE_REQUEST, &[&request])[..],
            &FLIGHT[1],
        ]
        .concat(),
    );
    seeds
}
