//! What a server can make a handshake cost: bytes, records and, measured by hand, time.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::peers::tls_server::{
    Conversation, Edit, Plan, Server, certificate, certificate_with, client, client_of, flight,
    handshake, is_ca, leaf_of, length24, tlv,
};
use crate::tls::codes::HandshakeType;
use crate::tls::group::Group;
use crate::tls::{Error, Failure, Verified};
use crate::x509;

/// A stream that counts what is read of it.
struct Counted<S> {
    stream: S,
    bytes: usize,
}

impl<S: Read> Read for Counted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.bytes += count;
        Ok(count)
    }
}

impl<S: Write> Write for Counted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Runs a client against a server with that plan: the result, and how many bytes it read.
fn run(plan: Plan<'_>) -> (Result<Verified, Failure>, usize) {
    let mut server = Server::new(plan);
    let mut stream = Counted {
        stream: Conversation::new(|sent: &[u8]| server.answer(sent)),
        bytes: 0,
    };
    let result = client(&mut stream);
    (result, stream.bytes)
}

/// Most bytes that are read: 256 KiB in records, and 256 headers.
const MOST: usize = 262_144 + 256 * 5;

#[test]
fn padding_and_records_have_a_limit() {
    let many = |fragment| Plan {
        fragment,
        ..Plan::default()
    };
    let padded = |padded| Plan {
        padded,
        ..Plan::default()
    };
    let cases = [
        ("records of 4 bytes", many(4), None),
        (
            "records of 2 bytes",
            many(2),
            Some(Error::unexpected("too many records")),
        ),
        (
            "records of 1 byte",
            many(1),
            Some(Error::unexpected("too many records")),
        ),
        ("15 padded records", padded(15), None),
        (
            "16 padded records",
            padded(16),
            Some(Error::unexpected("too many bytes in records")),
        ),
        (
            "padding alone",
            padded(999),
            Some(Error::unexpected("too many bytes in records")),
        ),
    ];
    for (name, plan, error) in cases {
        let (result, bytes) = run(plan);
        assert_eq!(result.err().map(|failure| failure.error), error, "{name}");
        assert!(bytes <= MOST, "{name}: {bytes}");
    }
}

/// The longest chain that may be, 64 KiB, and half as much of names in a request for a
/// certificate, in records of 512 bytes, which are the smallest that OpenSSL can be told to
/// make: the chain is refused for what it is.
#[test]
fn the_longest_messages_fit() {
    let entry = [&[0, 0xff, 0xf7][..], &[0x30; 0xfff7], &[0, 0]].concat();
    let chain = [&[0][..], &length24(&entry), &entry].concat();
    // an extension that is not looked at, behind signature_algorithms
    let mut request = vec![0, 0x80, 0, 0, 13, 0, 4, 0, 2, 4, 3, 0xfa, 0xfa, 0x7f, 0xf4];
    request.resize(0x8003, 0);
    let edit: Edit<'_> = &|name, message| {
        if name == "Certificate" {
            *message = handshake(HandshakeType::CERTIFICATE_REQUEST, &[&request]);
            message.extend(handshake(HandshakeType::CERTIFICATE, &[&chain]));
        }
    };
    let plan = Plan {
        fragment: 512,
        edit,
        ..Plan::default()
    };
    let (result, bytes) = run(plan);
    let failure = result.unwrap_err();
    assert!(
        matches!(failure.error, Error::Certificate(_)),
        "{}",
        failure.error
    );
    assert_eq!(failure.presented.len(), 1);
    assert!(bytes > 65_536 + 32_768, "{bytes}");
}

/// The contents of a SubjectPublicKeyInfo of RSA with 8192 bits, of which nobody knows the
/// private key: what a signature costs does not depend on it.
fn rsa_8192() -> Vec<u8> {
    let modulus = tlv(2, &[&[0], &[0xc5; 1024]]);
    let key = tlv(0x30, &[&modulus, &tlv(2, &[&[1, 0, 1]])]);
    let rsa_encryption = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    let algorithm = tlv(0x30, &[&tlv(6, &[&rsa_encryption]), &[5, 0]]);
    [algorithm, tlv(3, &[&[0], &key])].concat()
}

/// A CA whose signature, by a key as above, is not a good one.
fn forged(issuer: &str, subject: &str) -> Vec<u8> {
    let sha256_with_rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    let algorithm = [tlv(6, &[&sha256_with_rsa]), vec![5, 0]].concat();
    let names = [issuer, subject];
    certificate_with(names, &is_ca(), &rsa_8192(), &algorithm, |_| {
        vec![0x77; 1024]
    })
}

/// All that a server sends which does its worst: it asks for the dearest group, pads that many
/// records to the full, and sends a chain that leads to [`authority`] in a hundred ways, all
/// over one forged signature.
fn worst(padded: usize) -> Vec<u8> {
    let entry =
        |certificate: Vec<u8>| [&length24(&certificate), &certificate[..], &[0, 0]].concat();
    let mut list = entry(leaf_of("issuer"));
    list.extend(entry(forged("authority", "top")));
    list.extend(entry(certificate("top", "issuer", &is_ca())).repeat(100));
    let edit: Edit<'_> = &|name, message| {
        if name == "Certificate" {
            let parts: [&[u8]; 3] = [&[0], &length24(&list), &list];
            *message = handshake(HandshakeType::CERTIFICATE, &parts);
        }
    };
    flight(Plan {
        suite: 1,
        retry: Some(Group::Secp521r1),
        edit,
        padded,
        ..Plan::default()
    })
}

/// Runs a client that trusts an authority of RSA-8192 and is sent `bytes`.
fn examine(mut bytes: Vec<u8>) -> Error {
    let mut stream = Conversation::new(|_: &[u8]| std::mem::take(&mut bytes));
    let verified = client_of(forged("authority", "authority"), &mut stream);
    verified.unwrap_err().error
}

#[test]
fn the_worst_chain_is_given_up() {
    let error = examine(worst(0));
    let exhausted = matches!(
        error,
        Error::Certificate(x509::Error::BudgetExhausted { .. })
    );
    assert!(exhausted, "{error}");
}

/// `cargo test --release --lib time_of_the_worst -- --ignored --nocapture`
#[test]
#[ignore = "prints the CPU time of the dearest handshake, to be read by hand"]
fn time_of_the_worst() {
    for padded in [0, 13, 999] {
        let bytes = worst(padded);
        let before = cpu_time();
        let error = examine(bytes);
        let took = cpu_time() - before;
        println!("{padded} padded records: {took:?} ({error})");
    }
}

/// The CPU time that this thread has taken (proc_pid_schedstat).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
