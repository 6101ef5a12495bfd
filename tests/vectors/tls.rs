//! Recorded TLS 1.3 handshakes: RFC 8448 section 3, and the five of
//! draft-ietf-tls-tls13-vectors, run through the record layer, the parsers and the key schedule.
//!
//! The recorded ClientHello is not ours, and the certificate is RSA-1024, so the states are not
//! driven: what is checked is that out of the recorded private key and bytes come the recorded
//! secrets, keys and Finished messages.

use std::io::{self, Cursor, Read, Write};

use super::Json;
use super::{ran, vectors};
use crate::crypto::hkdf;
use crate::crypto::sha2::{Hash, digest};
use crate::tls::codes::{ContentType, ExtensionType, HandshakeType};
use crate::tls::group::{Group, KeyShare};
use crate::tls::msgs::{Extensions, Message, ServerHello};
use crate::tls::record::RecordLayer;
use crate::tls::schedule::{Secrets, Transcript, derive_secret, expand_label};
use crate::tls::{Version, msgs, suite};

/// What a server sent.
struct Recorded(Cursor<Vec<u8>>);

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One handshake as recorded.
#[derive(Default)]
struct Handshake {
    group: u16,
    private: Vec<u8>,
    client_hello: Vec<u8>,
    /// The first ClientHello and the HelloRetryRequest before, if there were.
    retry: Option<(Vec<u8>, Vec<u8>)>,
    /// All records of the server up to its Finished.
    server: Vec<u8>,
    client_certificate: Vec<u8>,
    client_finished: Vec<u8>,
    /// What the client sent after its Finished: type, content and record of each.
    client_application: Vec<(ContentType, Vec<u8>, Vec<u8>)>,
}

/// Replays a handshake from the server's records to both Finished messages; the messages of
/// the server are returned.
fn replay(handshake: &Handshake) -> Vec<Message> {
    let mut stream = Recorded(Cursor::new(handshake.server.clone()));
    let mut records = RecordLayer::new(&mut stream);
    let suite = suite::find13(0x1301).unwrap();
    let mut transcript = match &handshake.retry {
        None => Transcript::new(suite.hash),
        Some((first, retry)) => {
            let received = records.message(HandshakeType::SERVER_HELLO).unwrap();
            assert_eq!(received.bytes(), retry);
            Transcript::after_retry(suite.hash, first, retry).unwrap()
        }
    };
    transcript.add(&handshake.client_hello);

    let hello = records.message(HandshakeType::SERVER_HELLO).unwrap();
    let server = ServerHello::parse(&hello).unwrap();
    assert_eq!(server.cipher_suite, suite.code);
    let version = server
        .extensions
        .read(ExtensionType::SUPPORTED_VERSIONS, |reader| reader.u16());
    assert_eq!(version, Ok(Some(0x0304)));
    let share = server.extensions.read(ExtensionType::KEY_SHARE, |reader| {
        Ok((reader.u16()?, reader.sub16()?.rest()))
    });
    let (group, public) = share.unwrap().unwrap();
    assert_eq!(group, handshake.group);
    let group = Group::find(group).unwrap();
    let ours = KeyShare::generate(group, &mut |out| {
        out.copy_from_slice(&handshake.private);
        Ok(())
    });
    let shared = ours.unwrap().agree(public).unwrap();
    transcript.add(hello.bytes());
    let secrets = Secrets::new(suite, &shared, &transcript.current()).unwrap();

    records.set_version(Version::TLS13);
    let keys = secrets.server.protection().unwrap();
    records.open_with(keys).unwrap();
    let mut messages = Vec::new();
    loop {
        let message = records.message(HandshakeType::FINISHED).unwrap();
        if message.kind() == HandshakeType::FINISHED {
            let expected = secrets.server.verify_data(&transcript.current()).unwrap();
            assert_eq!(&message.bytes()[4..], expected.as_ref());
            transcript.add(message.bytes());
            break;
        }
        transcript.add(message.bytes());
        messages.push(message);
    }
    records.expect_boundary().unwrap();
    let application = secrets.client_application(&transcript.current());

    transcript.add(&handshake.client_certificate);
    let expected = secrets.client.verify_data(&transcript.current()).unwrap();
    assert_eq!(&handshake.client_finished[4..], expected.as_ref());
    let mut keys = application.unwrap().protection().unwrap();
    for (content, payload, record) in &handshake.client_application {
        let inner = [payload, &[content.0][..]].concat();
        assert_eq!(keys.seal(inner).as_ref(), Ok(record));
    }
    messages
}

#[test]
fn rfc_8448_section_3() {
    let name = "tls13-traces/rfc8448_section3.json";
    let Some(text) = vectors(name) else {
        return;
    };
    let trace = Json::parse(&text).unwrap();
    let field = |name: &str| trace.field(name).hex();

    // the schedule, secret by secret (RFC 8446 section 7.1)
    let hash = Hash::Sha256;
    let check = |secret: &[u8], label: &str, transcript, expected: &str| {
        let derived = derive_secret(hash, secret, label.as_bytes(), transcript).unwrap();
        assert_eq!(derived, field(expected), "{expected}");
    };
    let nothing = digest(hash, &[]);
    let hellos = digest(hash, &[&field("client_hello"), &field("server_hello")]);
    assert_eq!(hellos.as_ref(), field("hash_client_hello_server_hello"));
    let early = hkdf::extract(hash, &[], &[0; 32]);
    assert_eq!(early.as_ref(), field("early_secret"));
    check(early.as_ref(), "derived", &nothing, "derived_for_handshake");
    let secret = hkdf::extract(
        hash,
        &field("derived_for_handshake"),
        &field("ecdhe_shared_secret"),
    );
    assert_eq!(secret.as_ref(), field("handshake_secret"));
    check(
        secret.as_ref(),
        "c hs traffic",
        &hellos,
        "client_handshake_traffic_secret",
    );
    check(
        secret.as_ref(),
        "s hs traffic",
        &hellos,
        "server_handshake_traffic_secret",
    );
    check(secret.as_ref(), "derived", &nothing, "derived_for_master");
    let master = hkdf::extract(hash, &field("derived_for_master"), &[0; 32]);
    assert_eq!(master.as_ref(), field("master_secret"));
    for (secret, label, expected) in [
        (
            "server_handshake_traffic_secret",
            "key",
            "server_handshake_key",
        ),
        (
            "server_handshake_traffic_secret",
            "iv",
            "server_handshake_iv",
        ),
        (
            "server_handshake_traffic_secret",
            "finished",
            "server_finished_key",
        ),
        (
            "client_handshake_traffic_secret",
            "key",
            "client_handshake_key",
        ),
        (
            "client_handshake_traffic_secret",
            "iv",
            "client_handshake_iv",
        ),
        (
            "client_handshake_traffic_secret",
            "finished",
            "client_finished_key",
        ),
    ] {
        let expected = field(expected);
        let mut out = vec![0; expected.len()];
        expand_label(hash, &field(secret), label.as_bytes(), &[], &mut out).unwrap();
        assert_eq!(out, expected, "{label}");
    }

    // the whole of it, from the private key and the records
    let messages = replay(&Handshake {
        group: 0x001d,
        private: field("client_x25519_private"),
        client_hello: field("client_hello"),
        server: [field("server_hello_record"), field("server_flight_record")].concat(),
        client_finished: field("client_finished"),
        ..Handshake::default()
    });
    let bytes: Vec<_> = messages.iter().map(Message::bytes).collect();
    assert_eq!(bytes[0], field("encrypted_extensions"));
    assert_eq!(bytes[1], field("certificate"));
    assert_eq!(bytes[2], field("certificate_verify"));
    let chain = msgs::parse_certificate13(&messages[1], &[]).unwrap();
    assert_eq!(chain, [field("server_certificate_der")]);

    // the client's own flight, byte for byte
    let suite = suite::find13(0x1301).unwrap();
    let secrets = Secrets::new(suite, &field("ecdhe_shared_secret"), &hellos).unwrap();
    let mut keys = secrets.client.protection().unwrap();
    let inner = [&field("client_finished")[..], &[ContentType::HANDSHAKE.0]].concat();
    let sealed = keys.seal(inner);
    assert_eq!(sealed.unwrap(), field("client_finished_record"));
    ran(name, messages.len(), 3);
}

#[test]
fn draft_editors_copy() {
    let name = "tls13-traces/draft_editors_copy.json";
    let Some(text) = vectors(name) else {
        return;
    };
    let file = Json::parse(&text).unwrap();
    let mut handshakes = 0;
    for section in file.field("sections").array() {
        let number = section.field("section").str();
        // resumption: this client knows none
        if number == "4" {
            continue;
        }
        let handshake = read(section);
        let messages = replay(&handshake);
        let extensions = messages[0]
            .read(HandshakeType::ENCRYPTED_EXTENSIONS, Extensions::parse)
            .unwrap();
        // answers to extensions that only the recorded client sends are refused by ours
        let sent = [ExtensionType::SERVER_NAME, ExtensionType::SUPPORTED_GROUPS];
        assert!(extensions.check(HandshakeType(8), &sent, &sent).is_err());
        let requested = messages[1].kind() == HandshakeType::CERTIFICATE_REQUEST;
        assert_eq!(requested, number == "6");
        assert_eq!(messages.len(), if requested { 4 } else { 3 });
        assert_eq!(handshake.retry.is_some(), number == "5");
        handshakes += 1;
    }
    ran(name, handshakes, 4);
}

/// Reads a handshake out of the steps of a section.
fn read(section: &Json) -> Handshake {
    let mut handshake = Handshake::default();
    let mut server_finished = false;
    for step in section.field("steps").array() {
        let actor = step.field("actor").str();
        let what = step.field("step").str();
        let field = |name: &str| {
            let fields = step.field("fields").array();
            let field = fields
                .iter()
                .find(|field| field.field("name").str() == name);
            field.map(|field| field.field("hex").hex())
        };
        match (actor, what) {
            ("client", "create an ephemeral x25519 key pair") => {
                handshake.group = 0x001d;
                handshake.private = field("private key").unwrap();
            }
            ("client", "create an ephemeral P-256 key pair") => {
                handshake.group = 0x0017;
                handshake.private = field("private key").unwrap();
            }
            ("client", "construct a ClientHello handshake message") => {
                let hello = field("ClientHello").unwrap();
                let first = std::mem::replace(&mut handshake.client_hello, hello);
                if let Some((empty, _)) = &mut handshake.retry {
                    *empty = first;
                }
            }
            ("server", "construct a ServerHello handshake message") => {
                let hello = field("ServerHello").unwrap();
                // the random value of a HelloRetryRequest
                if hello[6..10] == [0xcf, 0x21, 0xad, 0x74] {
                    handshake.retry = Some((Vec::new(), hello));
                }
            }
            ("server", "send handshake record" | "send change_cipher_spec record")
                if !server_finished =>
            {
                let record = field("complete record").unwrap();
                // a protected record is the flight that ends with Finished
                server_finished = record[0] == 23;
                handshake.server.extend(record);
            }
            ("client", "construct a Certificate handshake message") => {
                handshake.client_certificate = field("Certificate").unwrap();
            }
            ("client", "construct a CertificateVerify handshake message") => {
                handshake
                    .client_certificate
                    .extend(field("CertificateVerify").unwrap());
            }
            ("client", "construct a Finished handshake message") => {
                handshake.client_finished = field("Finished").unwrap();
            }
            ("client", "send application_data record" | "send alert record") => {
                let content = match what {
                    "send alert record" => ContentType::ALERT,
                    _ => ContentType::APPLICATION_DATA,
                };
                let record = field("complete record").unwrap();
                let payload = field("payload").unwrap();
                handshake
                    .client_application
                    .push((content, payload, record));
            }
            _ => {}
        }
    }
    assert!(!handshake.client_application.is_empty());
    handshake
}
