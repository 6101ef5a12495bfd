//! Records in, messages or errors out; and what is sent.

use std::io::{self, Cursor};

use super::*;
use crate::crypto::aead::AeadAlgorithm;

/// A stream that returns its bytes and stores what is written.
struct Pipe {
    incoming: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Pipe {
    fn new(bytes: &[u8]) -> Self {
        Self {
            incoming: Cursor::new(bytes.to_vec()),
            written: Vec::new(),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message, or why there is none.
type Outcome = Result<Vec<u8>, Error>;

const AWAITING: HandshakeType = HandshakeType::FINISHED;

/// A message as good as any.
const MESSAGE: &[u8] = &[20, 0, 0, 3, 7, 8, 9];

fn record(content: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[content, 3, 3], &length[..], payload].concat()
}

/// Keys of one direction, always the same.
fn keys() -> Protection {
    let aead = Aead::new(AeadAlgorithm::ChaCha20Poly1305, &[3; 32]).unwrap();
    Protection::new(aead, [4; 12])
}

/// A protected record with this TLSInnerPlaintext, the first under [`keys`].
fn sealed(inner: &[u8]) -> Vec<u8> {
    keys().seal(inner.to_vec()).unwrap()
}

/// The first message in `bytes`.
fn first(version: Option<Version>, bytes: &[u8]) -> Outcome {
    let mut pipe = Pipe::new(bytes);
    let mut records = RecordLayer::new(&mut pipe);
    records.version = version;
    records.message(AWAITING).map(|m| m.bytes().to_vec())
}

/// The first message in `bytes` under [`keys`].
fn first_protected(bytes: &[u8]) -> Outcome {
    let mut pipe = Pipe::new(bytes);
    let mut records = RecordLayer::new(&mut pipe);
    records.set_version(Version::TLS13);
    records.open_with(keys()).unwrap();
    records.message(AWAITING).map(|m| m.bytes().to_vec())
}

#[test]
fn messages_arrive_however_they_are_cut() {
    let two = [MESSAGE, &[14, 0, 0, 0]].concat();
    for size in 1..=two.len() {
        let bytes: Vec<u8> = two.chunks(size).flat_map(|c| record(22, c)).collect();
        let mut pipe = Pipe::new(&bytes);
        let mut records = RecordLayer::new(&mut pipe);
        let message = records.message(AWAITING).unwrap();
        assert_eq!(message.kind(), HandshakeType::FINISHED);
        assert_eq!(message.bytes(), MESSAGE);
        let message = records.message(AWAITING).unwrap();
        assert_eq!(message.kind(), HandshakeType::SERVER_HELLO_DONE);
        assert_eq!(records.expect_boundary(), Ok(()));
        let closed = Error::Closed {
            reset: false,
            answered: true,
            awaiting: AWAITING,
        };
        assert_eq!(records.message(AWAITING), Err(closed));
    }
}

/// So a server cannot have its payload waited for, up to the deadline, and pass for a slow one.
#[test]
fn a_record_of_no_known_type_is_refused_by_its_header() {
    for version in [None, Some(Version::TLS12), Some(Version::TLS13)] {
        for code in [0, 19, 24, 255] {
            let bytes = [&record(22, &MESSAGE[..2])[..], &[code, 3, 3, 0, 9]].concat();
            let misplaced = Error::unexpected("record of a type that has no place here");
            assert_eq!(first(version, &bytes), Err(misplaced), "{version:?} {code}");
        }
    }
}

#[test]
fn records_without_effect() {
    let message = record(22, MESSAGE);
    let alert = |code| Error::Alert {
        alert: Description(code),
        awaiting: AWAITING,
    };
    let bad_alert = Error::misbehaved(
        Description::DECODE_ERROR,
        "alert record does not hold one alert",
    );
    let change = record(20, &[1]);
    let warning = record(21, &[1, 112]);
    let canceled = record(21, &[1, 90]);
    let (half, rest) = MESSAGE.split_at(5);
    let interleaved = |between: &[u8]| {
        let [half, rest] = [record(22, half), record(22, rest)];
        [half, between.to_vec(), rest].concat()
    };
    let before = |bytes: &[u8], count| [bytes.repeat(count), message.clone()].concat();
    let passes = Ok(MESSAGE.to_vec());
    let cases: &[(&str, Option<Version>, Vec<u8>, Outcome)] = &[
        (
            "change_cipher_spec",
            None,
            before(&change, 1),
            passes.clone(),
        ),
        (
            "two",
            Some(Version::TLS13),
            before(&change, 2),
            passes.clone(),
        ),
        (
            "in TLS 1.2",
            Some(Version::TLS12),
            before(&change, 1),
            Err(Error::unexpected("change_cipher_spec out of place")),
        ),
        (
            "of value 2",
            None,
            before(&record(20, &[2]), 1),
            Err(Error::unexpected("change_cipher_spec out of place")),
        ),
        (
            "of two bytes",
            None,
            before(&record(20, &[1, 1]), 1),
            Err(Error::unexpected("change_cipher_spec out of place")),
        ),
        (
            "empty",
            None,
            before(&record(20, &[]), 1),
            Err(Error::unexpected("change_cipher_spec out of place")),
        ),
        (
            "amid a message",
            Some(Version::TLS13),
            interleaved(&change),
            Err(Error::unexpected("record within a handshake message")),
        ),
        (
            "as many as may be",
            None,
            before(&change, 16),
            passes.clone(),
        ),
        (
            "one more",
            None,
            before(&change, 17),
            Err(Error::unexpected(
                "too many records or messages without effect",
            )),
        ),
        ("warning", None, before(&warning, 16), passes.clone()),
        (
            "one too many",
            None,
            before(&warning, 17),
            Err(Error::unexpected(
                "too many records or messages without effect",
            )),
        ),
        (
            "both",
            None,
            before(&[change.clone(), warning.clone()].concat(), 9),
            Err(Error::unexpected(
                "too many records or messages without effect",
            )),
        ),
        (
            "warning in TLS 1.2",
            Some(Version::TLS12),
            before(&warning, 1),
            passes.clone(),
        ),
        (
            "warning in TLS 1.3",
            Some(Version::TLS13),
            before(&warning, 1),
            Err(alert(112)),
        ),
        (
            "warning amid a message",
            Some(Version::TLS12),
            interleaved(&warning),
            Err(Error::unexpected("record within a handshake message")),
        ),
        (
            "user_canceled in TLS 1.3",
            Some(Version::TLS13),
            before(&canceled, 1),
            passes.clone(),
        ),
        (
            "user_canceled, fatal, in TLS 1.3",
            Some(Version::TLS13),
            before(&record(21, &[2, 90]), 1),
            passes.clone(),
        ),
        (
            "user_canceled, fatal, in TLS 1.2",
            Some(Version::TLS12),
            before(&record(21, &[2, 90]), 1),
            Err(alert(90)),
        ),
        (
            "close_notify",
            Some(Version::TLS12),
            before(&record(21, &[1, 0]), 1),
            Err(alert(0)),
        ),
        (
            "fatal amid a message",
            None,
            interleaved(&record(21, &[2, 80])),
            Err(alert(80)),
        ),
        (
            "half an alert",
            None,
            record(21, &[2]),
            Err(bad_alert.clone()),
        ),
        (
            "two alerts",
            None,
            record(21, &[1, 90, 1, 0]),
            Err(bad_alert.clone()),
        ),
        ("no alert", None, record(21, &[]), Err(bad_alert.clone())),
        (
            "HelloRequest in TLS 1.2",
            Some(Version::TLS12),
            before(&record(22, &[0; 4]), 1),
            passes.clone(),
        ),
        (
            "as many as may be, in one record",
            Some(Version::TLS12),
            record(22, &[&[0; 16 * 4], MESSAGE].concat()),
            passes.clone(),
        ),
        (
            "one more in it",
            Some(Version::TLS12),
            record(22, &[&[0; 17 * 4], MESSAGE].concat()),
            Err(Error::unexpected(
                "too many records or messages without effect",
            )),
        ),
        (
            "HelloRequest in TLS 1.3",
            Some(Version::TLS13),
            before(&record(22, &[0; 4]), 1),
            Ok(vec![0; 4]),
        ),
        (
            "HelloRequest before the version is known",
            None,
            before(&record(22, &[0; 4]), 1),
            Ok(vec![0; 4]),
        ),
        (
            "HelloRequest with content",
            Some(Version::TLS12),
            before(&record(22, &[0, 0, 0, 1, 0]), 1),
            Ok(vec![0, 0, 0, 1, 0]),
        ),
    ];
    for (name, version, bytes, expected) in cases {
        assert_eq!(first(*version, bytes), *expected, "{name}");
    }
}

#[test]
fn limits() {
    let longest = [&[2, 0, 0x40, 0][..], &[0; 16_384]].concat();
    let (head, tail) = longest.split_at(MAX_PLAINTEXT);
    let two = [record(22, head), record(22, tail)].concat();
    assert_eq!(first(None, &two), Ok(longest));
    let long = record(22, &[0; MAX_PLAINTEXT + 1]);
    assert_eq!(
        first(None, &long),
        Err(Error::misbehaved(
            Description::RECORD_OVERFLOW,
            "record is too long"
        ))
    );
    let too_long = Error::illegal("handshake message is too long");
    assert_eq!(first(None, &record(22, &[2, 0, 0x40, 1])), Err(too_long));
    let too_long = Error::illegal("handshake message is too long");
    assert_eq!(first(None, &record(22, &[11, 1, 0, 1])), Err(too_long));
    // one byte per record
    let most: Vec<_> = [&[20, 0, 0, 252][..], &[7; 252]].concat();
    let cut = |bytes: &[u8]| bytes.chunks(1).flat_map(|c| record(22, c)).collect();
    let bytes: Vec<_> = cut(&most);
    assert_eq!(first(None, &bytes), Ok(most.clone()));
    let bytes: Vec<_> = [cut(&most[..251]), record(22, &[]), cut(&most[251..])].concat();
    assert_eq!(
        first(None, &bytes),
        Err(Error::unexpected("empty handshake record"))
    );
    let bytes: Vec<_> = [record(20, &[1]), cut(&most)].concat();
    assert_eq!(
        first(None, &bytes),
        Err(Error::unexpected("too many records"))
    );
    // 16 full records, and a byte
    let message = [&[20, 0, 0x3f, 0xfc][..], &[7; 16_380]].concat();
    let bytes = [record(22, &message).repeat(16), record(22, &[20])].concat();
    let mut pipe = Pipe::new(&bytes);
    let mut records = RecordLayer::new(&mut pipe);
    for _ in 0..16 {
        assert_eq!(records.message(AWAITING).unwrap().bytes(), message);
    }
    assert_eq!(
        records.message(AWAITING),
        Err(Error::unexpected("too many bytes in records"))
    );
    assert_eq!(
        first(None, &record(22, &[])),
        Err(Error::unexpected("empty handshake record"))
    );
}

#[test]
fn bytes_that_are_not_a_record() {
    let not_tls = |http| Err(Error::NotTls { http });
    assert_eq!(first(None, b"HTTP/1.0 400 Bad Request\r\n"), not_tls(true));
    assert_eq!(first(None, b"220 mail.example ESMTP\r\n"), not_tls(false));
    assert_eq!(first(None, &[22, 2, 0, 0, 1, 0]), not_tls(false));
    // only in the first record is the version checked
    let [half, rest] = [&MESSAGE[..4], &MESSAGE[4..]].map(|part| record(22, part));
    let mut odd = [half.clone(), rest].concat();
    odd[half.len() + 1] = 0x7f;
    assert_eq!(first(None, &odd), Ok(MESSAGE.to_vec()));
    odd[half.len()] = 24;
    assert_eq!(
        first(None, &odd),
        Err(Error::unexpected("record of a type that has no place here"))
    );
}

#[test]
fn protection() {
    let unexpected = || Err(Error::unexpected("record of a type that has no place here"));
    let unprotected = || Err(Error::unexpected("record is not protected"));
    let inner = |padding: usize| [MESSAGE, &[22], &vec![0; padding]].concat();
    let fit = 16_385 - MESSAGE.len() - 1;
    let passes = Ok(MESSAGE.to_vec());
    let change = record(20, &[1]);
    let mut changed = sealed(&inner(0));
    changed[9] ^= 1;
    let mut header = sealed(&inner(0));
    header[2] = 4;
    let cases: &[(&str, Vec<u8>, Outcome)] = &[
        ("good", sealed(&inner(0)), passes.clone()),
        ("padded", sealed(&inner(100)), passes.clone()),
        ("as long as may be", sealed(&inner(fit)), passes.clone()),
        (
            "too long inside",
            sealed(&inner(fit + 1)),
            Err(Error::misbehaved(
                Description::RECORD_OVERFLOW,
                "record is too long",
            )),
        ),
        (
            "too long outside",
            vec![23, 3, 3, 0x41, 1],
            Err(Error::misbehaved(
                Description::RECORD_OVERFLOW,
                "record is too long",
            )),
        ),
        (
            "changed",
            changed,
            Err(Error::misbehaved(
                Description::BAD_RECORD_MAC,
                "record does not decrypt: it was changed on the way",
            )),
        ),
        (
            "changed header",
            header,
            Err(Error::misbehaved(
                Description::BAD_RECORD_MAC,
                "record does not decrypt: it was changed on the way",
            )),
        ),
        (
            "shorter than a tag",
            record(23, &[0; 15]),
            Err(Error::misbehaved(
                Description::BAD_RECORD_MAC,
                "record does not decrypt: it was changed on the way",
            )),
        ),
        (
            "padding alone",
            sealed(&[0; 9]),
            Err(Error::unexpected("record has no content type")),
        ),
        (
            "nothing",
            sealed(&[]),
            Err(Error::unexpected("record has no content type")),
        ),
        (
            "empty handshake",
            sealed(&[22]),
            Err(Error::unexpected("empty handshake record")),
        ),
        (
            "empty handshake, padded",
            sealed(&[22, 0]),
            Err(Error::unexpected("empty handshake record")),
        ),
        (
            "unknown type",
            sealed(&[1, 24]),
            Err(Error::unexpected("record of a type that has no place here")),
        ),
        ("data", sealed(&[1, 23]), unexpected()),
        ("change_cipher_spec", sealed(&[1, 20]), unexpected()),
        (
            "change_cipher_spec in the clear",
            [change, sealed(&inner(0))].concat(),
            passes,
        ),
        ("handshake in the clear", record(22, MESSAGE), unprotected()),
        ("alert in the clear", record(21, &[2, 40]), unprotected()),
        (
            "alert",
            sealed(&[2, 40, 21]),
            Err(Error::Alert {
                alert: Description(40),
                awaiting: AWAITING,
            }),
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(first_protected(bytes), *expected, "{name}");
    }
    // the same record again is not the next one
    let twice = sealed(&[1, 2, 3, 22]).repeat(2);
    assert_eq!(
        first_protected(&twice),
        Err(Error::misbehaved(
            Description::BAD_RECORD_MAC,
            "record does not decrypt: it was changed on the way"
        ))
    );
}

#[test]
fn keys_change_between_records_only() {
    let bytes = record(22, &[MESSAGE, &[14]].concat());
    let mut pipe = Pipe::new(&bytes);
    let mut records = RecordLayer::new(&mut pipe);
    records.message(AWAITING).unwrap();
    let error = records.open_with(keys());
    assert_eq!(
        error,
        Err(Error::unexpected("data after the last handshake message"))
    );
}

#[test]
fn sent_records() {
    let mut pipe = Pipe::new(&[]);
    let mut records = RecordLayer::new(&mut pipe);
    records.send_hello(&[1, 0, 0, 0]).unwrap();
    records.send_change_cipher_spec().unwrap();
    records.send_change_cipher_spec().unwrap();
    let long = vec![5; MAX_PLAINTEXT + 2];
    records.send(ContentType::HANDSHAKE, &long).unwrap();
    records.seal_with(keys());
    records.send(ContentType::HANDSHAKE, MESSAGE).unwrap();
    records.send_alerts(&[Description::CLOSE_NOTIFY]);
    let mut expected = vec![22, 3, 1, 0, 4, 1, 0, 0, 0];
    // the middlebox record but once
    expected.extend(record(20, &[1]));
    expected.extend(record(22, &long[..MAX_PLAINTEXT]));
    expected.extend(record(22, &[5, 5]));
    assert!(pipe.written.starts_with(&expected));
    let mut rest = Pipe::new(&pipe.written[expected.len()..]);
    let mut records = RecordLayer::new(&mut rest);
    records.open_with(keys()).unwrap();
    assert_eq!(records.message(AWAITING).unwrap().bytes(), MESSAGE);
    let closed = Error::Alert {
        alert: Description::CLOSE_NOTIFY,
        awaiting: AWAITING,
    };
    assert_eq!(records.message(AWAITING), Err(closed));
}
