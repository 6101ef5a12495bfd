//! A TLS server in memory that sends what a test wants: a correct flight, of which an edit may
//! change, drop or add messages before they are hashed, signed and sealed.
//!
//! It is deterministic, so that a client with injected randomness makes the same handshake
//! each time. Its private key, and its authority's, is 1 and its ECDSA nonce is 1: signing is
//! then one addition modulo the order, and no signing code is needed anywhere.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::LazyLock;

use crate::crypto::ecdh;
use crate::crypto::sha2::{Hash, digest};
use crate::crypto::weierstrass::Curve;
use crate::tls::codes::{ContentType, HandshakeType};
use crate::tls::group::{Group, KeyShare};
use crate::tls::msgs::{compose, prefixed};
use crate::tls::schedule::{Secrets, Transcript};
use crate::tls::{Config, Failure, Verified, Version, authenticate, suite, tls13};
use crate::wire::Reader;
use crate::x509::{Anchors, ServerName, UnixTime};

/// The name that the server's certificate is for.
pub(crate) const NAME: &str = "etcd.test";

/// A time at which the certificates are valid: 2025-06-15.
const NOW: UnixTime = UnixTime(1_750_000_000);

/// The random value that turns a ServerHello into a HelloRetryRequest (RFC 8446 section 4.1.3).
pub(crate) const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The random value of its hellos.
pub(crate) const RANDOM: [u8; 32] = [0x5a; 32];

/// Changes a message, whose name is given; the result may be no message or several.
pub(crate) type Edit<'a> = &'a dyn Fn(&str, &mut Vec<u8>);

/// What the server does.
pub(crate) struct Plan<'a> {
    pub(crate) version: Version,
    /// The cipher suite, by index into those of the version.
    pub(crate) suite: usize,
    /// The group asked for by a HelloRetryRequest.
    pub(crate) retry: Option<Group>,
    pub(crate) edit: Edit<'a>,
    /// Most bytes of content in a record.
    pub(crate) fragment: usize,
    /// How many of the protected bytes come first, one in a record that is padded to the full.
    pub(crate) padded: usize,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            version: Version::Tls13,
            suite: 0,
            retry: None,
            edit: &|_, _| {},
            fragment: usize::MAX,
            padded: 0,
        }
    }
}

/// The server's end of one connection.
pub(crate) struct Server<'a> {
    plan: Plan<'a>,
    /// ClientHello and HelloRetryRequest, if there was one.
    retried: Option<(Vec<u8>, Vec<u8>)>,
    /// The groups of the client's key shares, a share per hello.
    pub(crate) groups: Vec<u16>,
    /// After the flight of TLS 1.3: to open and to check what the client answers.
    pub(crate) secrets: Option<(Secrets, Transcript)>,
}

impl<'a> Server<'a> {
    pub(crate) fn new(plan: Plan<'a>) -> Self {
        Self {
            plan,
            retried: None,
            groups: Vec::new(),
            secrets: None,
        }
    }

    /// The answer to what the client has sent; nothing once the handshake is done.
    pub(crate) fn answer(&mut self, sent: &[u8]) -> Vec<u8> {
        // the hello is the last record of what is sent, a change_cipher_spec may precede it
        let Some((_, hello)) = records(sent)
            .last()
            .cloned()
            .filter(|_| self.secrets.is_none())
        else {
            return Vec::new();
        };
        let client = Hello::parse(&hello);
        self.groups.push(client.group);
        match self.plan.version {
            Version::Tls12 => self.flight12(&client),
            Version::Tls13 => match self.plan.retry {
                Some(group) if self.retried.is_none() => self.retry(hello, &client, group),
                _ => self.flight13(&hello, &client),
            },
        }
    }

    fn edited(&self, name: &str, mut message: Vec<u8>) -> Vec<u8> {
        (self.plan.edit)(name, &mut message);
        message
    }

    /// Plaintext records with these handshake bytes.
    fn plaintext(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for fragment in bytes.chunks(self.plan.fragment.min(16_384)) {
            out.extend(record(22, fragment));
        }
        out
    }

    fn retry(&mut self, hello: Vec<u8>, client: &Hello, group: Group) -> Vec<u8> {
        let suite = suite::TLS13[self.plan.suite].suite.code;
        let retry = server_hello(&RETRY_RANDOM, &client.session_id, suite, |out| {
            extension(out, 43, &[3, 4]);
            extension(out, 51, &group.code().to_be_bytes());
        });
        let retry = self.edited("HelloRetryRequest", retry);
        let out = [self.plaintext(&retry), record(20, &[1])].concat();
        self.retried = Some((hello, retry));
        out
    }

    fn flight13(&mut self, hello: &[u8], client: &Hello) -> Vec<u8> {
        let suite = suite::TLS13[self.plan.suite];
        let mut transcript = match &self.retried {
            None => Transcript::new(suite.hash),
            Some((first, retry)) => Transcript::after_retry(suite.hash, first, retry).unwrap(),
        };
        transcript.add(hello);
        let group = Group::find(client.group).unwrap();
        let share = KeyShare::generate(group, &mut |out| {
            out.fill(7);
            Ok(())
        })
        .unwrap();
        let message = server_hello(&RANDOM, &client.session_id, suite.suite.code, |out| {
            extension(out, 43, &[3, 4]);
            let public = prefixed::<2>(share.public()).unwrap();
            extension(
                out,
                51,
                &[&client.group.to_be_bytes(), &public[..]].concat(),
            );
        });
        let message = self.edited("ServerHello", message);
        transcript.add(&message);
        let mut out = self.plaintext(&message);
        out.extend(record(20, &[1]));

        let shared = share.agree(&client.share).unwrap();
        let secrets = Secrets::new(suite, &shared, &transcript.current()).unwrap();
        let mut flight = Vec::new();
        let mut add = |name, message, transcript: &mut Transcript| {
            let message = self.edited(name, message);
            transcript.add(&message);
            flight.extend(message);
        };
        let alpn = [0, 16, 0, 5, 0, 3, 2, b'h', b'2'];
        let message = handshake(HandshakeType::ENCRYPTED_EXTENSIONS, &[&[0, 9], &alpn]);
        add("EncryptedExtensions", message, &mut transcript);
        let entry = [&length24(&leaf()), &leaf()[..], &[0, 0]].concat();
        let message = handshake(
            HandshakeType::CERTIFICATE,
            &[&[0], &length24(&entry), &entry],
        );
        add("Certificate", message, &mut transcript);
        let signature = sign(&tls13::signed_content(&transcript.current()));
        let message = handshake(
            HandshakeType::CERTIFICATE_VERIFY,
            &[&[4, 3], &length16(&signature), &signature],
        );
        add("CertificateVerify", message, &mut transcript);
        let verify_data = secrets.server.verify_data(&transcript.current()).unwrap();
        let message = handshake(HandshakeType::FINISHED, &[verify_data.as_ref()]);
        add("Finished", message, &mut transcript);

        let mut keys = secrets.server.protection().unwrap();
        let (padded, flight) = flight.split_at(self.plan.padded.min(flight.len()));
        for byte in padded {
            let mut inner = vec![0; 16_385];
            inner[..2].copy_from_slice(&[*byte, 22]);
            out.extend(keys.protect(inner).unwrap());
        }
        for fragment in flight.chunks(self.plan.fragment.min(16_384)) {
            out.extend(keys.seal(ContentType::HANDSHAKE, fragment).unwrap());
        }
        self.secrets = Some((secrets, transcript));
        out
    }

    fn flight12(&mut self, client: &Hello) -> Vec<u8> {
        let suite = suite::TLS12[self.plan.suite].suite.code;
        let message = server_hello(&RANDOM, &[], suite, |out| {
            extension(out, 0xff01, &[0]);
            extension(out, 11, &[1, 0]);
            extension(out, 23, &[]);
            extension(out, 16, &[0, 3, 2, b'h', b'2']);
        });
        let mut flight = self.edited("ServerHello", message);
        let entry = [&length24(&leaf()), &leaf()[..]].concat();
        let message = handshake(HandshakeType::CERTIFICATE, &[&length24(&entry), &entry]);
        flight.extend(self.edited("Certificate", message));
        let share = KeyShare::generate(Group::X25519, &mut |out| {
            out.fill(7);
            Ok(())
        })
        .unwrap();
        let params = [&[3, 0, 29, 32], share.public()].concat();
        let signature = sign(&[&client.random, &RANDOM, &params]);
        let message = handshake(
            HandshakeType::SERVER_KEY_EXCHANGE,
            &[&params, &[4, 3], &length16(&signature), &signature],
        );
        flight.extend(self.edited("ServerKeyExchange", message));
        let message = handshake(HandshakeType::SERVER_HELLO_DONE, &[]);
        flight.extend(self.edited("ServerHelloDone", message));
        self.plaintext(&flight)
    }
}

/// What the server needs of a ClientHello.
struct Hello {
    random: [u8; 32],
    session_id: Vec<u8>,
    group: u16,
    share: Vec<u8>,
}

impl Hello {
    fn parse(message: &[u8]) -> Self {
        let mut reader = Reader::new(message);
        reader.take(6).unwrap();
        let random = reader.array().unwrap();
        let session_id = reader.sub8().unwrap().rest().to_vec();
        reader.sub16().unwrap();
        reader.sub8().unwrap();
        let mut extensions = reader.sub16().unwrap();
        loop {
            let kind = extensions.u16().unwrap();
            let mut content = extensions.sub16().unwrap();
            if kind == 51 {
                let mut entry = content.sub16().unwrap();
                return Self {
                    random,
                    session_id,
                    group: entry.u16().unwrap(),
                    share: entry.sub16().unwrap().rest().to_vec(),
                };
            }
        }
    }
}

fn server_hello(
    random: &[u8; 32],
    session_id: &[u8],
    suite: u16,
    extensions: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut list = Vec::new();
    extensions(&mut list);
    let parts: [&[u8]; 6] = [
        &[3, 3],
        random,
        &prefixed::<1>(session_id).unwrap(),
        &suite.to_be_bytes(),
        &[0],
        &prefixed::<2>(&list).unwrap(),
    ];
    handshake(HandshakeType::SERVER_HELLO, &parts)
}

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

/// A stream whose other end is a function from what the client sent to what it gets.
pub(crate) struct Conversation<F> {
    react: F,
    /// What the client sent and the other end has not seen.
    pub(crate) sent: Vec<u8>,
    pending: VecDeque<u8>,
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Conversation<F> {
    pub(crate) fn new(react: F) -> Self {
        Self {
            react,
            sent: Vec::new(),
            pending: VecDeque::new(),
        }
    }
}

impl<F: FnMut(&[u8]) -> Vec<u8>> Read for Conversation<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pending.is_empty() {
            let sent = std::mem::take(&mut self.sent);
            self.pending.extend((self.react)(&sent));
        }
        self.pending.read(buffer)
    }
}

impl<F> Write for Conversation<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The client's random source: 1, 2, 3 and so on.
pub(crate) fn counter() -> impl FnMut(&mut [u8]) -> io::Result<()> {
    let mut next = 0u8;
    move |out| {
        for byte in out {
            next = next.wrapping_add(1);
            *byte = next;
        }
        Ok(())
    }
}

/// Runs a client that trusts [`anchor`] and wants [`NAME`].
pub(crate) fn client<S: Read + Write>(stream: &mut S) -> Result<Verified, Failure> {
    client_of(anchor(), stream)
}

/// Runs a client that trusts that authority and wants [`NAME`].
pub(crate) fn client_of<S: Read + Write>(
    anchor: Vec<u8>,
    stream: &mut S,
) -> Result<Verified, Failure> {
    let anchors = Anchors::from_der(vec![anchor]).unwrap();
    let config = Config {
        anchors: &anchors,
        name: &ServerName::parse(NAME).unwrap(),
        now: NOW,
        alpn: &[b"h2"],
    };
    authenticate(stream, &config, &mut counter())
}

/// Runs a client against a server with that plan.
pub(crate) fn run(plan: Plan<'_>) -> Result<Verified, Failure> {
    let mut server = Server::new(plan);
    client(&mut Conversation::new(|sent: &[u8]| server.answer(sent)))
}

/// The description of the plaintext alert that `sent` ends with, if it does.
pub(crate) fn last_alert(sent: &[u8]) -> Option<u8> {
    match records(sent).pop() {
        Some((21, alert)) => Some(alert[1]),
        _ => None,
    }
}

/// Runs a client that is sent `bytes`, whatever it says.
pub(crate) fn run_bytes(bytes: &[u8]) -> Result<Verified, Failure> {
    let mut bytes = bytes.to_vec();
    client(&mut Conversation::new(|_: &[u8]| {
        std::mem::take(&mut bytes)
    }))
}

/// All that a server with that plan sends.
pub(crate) fn flight(plan: Plan<'_>) -> Vec<u8> {
    let mut server = Server::new(plan);
    let mut flight = Vec::new();
    let mut stream = Conversation::new(|sent: &[u8]| {
        let answer = server.answer(sent);
        flight.extend(&answer);
        answer
    });
    let _ = client(&mut stream);
    drop(stream);
    flight
}

/// The certificate of the authority.
pub(crate) fn anchor() -> Vec<u8> {
    static ANCHOR: LazyLock<Vec<u8>> = LazyLock::new(make_anchor);
    ANCHOR.clone()
}

fn make_anchor() -> Vec<u8> {
    certificate("authority", "authority", &is_ca())
}

/// The extension basicConstraints, critical, of a CA.
pub(crate) fn is_ca() -> Vec<u8> {
    let constraints = [
        tlv(6, &[&[0x55, 0x1d, 0x13]]),
        tlv(1, &[&[0xff]]),
        tlv(4, &[&tlv(0x30, &[&tlv(1, &[&[0xff]])])]),
    ];
    constraints.concat()
}

/// The certificate of the server, issued by [`anchor`].
pub(crate) fn leaf() -> Vec<u8> {
    static LEAF: LazyLock<Vec<u8>> = LazyLock::new(make_leaf);
    LEAF.clone()
}

fn make_leaf() -> Vec<u8> {
    leaf_of("authority")
}

/// A certificate of the server that names that issuer.
pub(crate) fn leaf_of(issuer: &str) -> Vec<u8> {
    // subjectAltName
    let names = tlv(0x30, &[&tlv(0x82, &[NAME.as_bytes()])]);
    let extension = [tlv(6, &[&[0x55, 0x1d, 0x11]]), tlv(4, &[&names])];
    certificate(issuer, "server", &extension.concat())
}

/// A certificate with that key, signed with it, and this one extension.
pub(crate) fn certificate(issuer: &str, subject: &str, extension: &[u8]) -> Vec<u8> {
    // id-ecPublicKey, prime256v1
    let key_type = [
        tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]]),
        tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]]),
    ];
    let key = [
        tlv(0x30, &[&key_type.concat()]),
        tlv(3, &[&[0], generator()]),
    ];
    // ecdsa-with-SHA256
    let algorithm = tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let names = [issuer, subject];
    certificate_with(names, extension, &key.concat(), &algorithm, |tbs| {
        sign(&[tbs])
    })
}

/// A certificate with these names of issuer and subject, one extension, the contents of its
/// SubjectPublicKeyInfo and of its AlgorithmIdentifier, and the signature that `sign` makes.
pub(crate) fn certificate_with(
    names: [&str; 2],
    extension: &[u8],
    key: &[u8],
    algorithm: &[u8],
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let algorithm = tlv(0x30, &[algorithm]);
    let [issuer, subject] = names.map(|text| {
        let attribute = [tlv(6, &[&[0x55, 4, 3]]), tlv(12, &[text.as_bytes()])];
        tlv(0x30, &[&tlv(0x31, &[&tlv(0x30, &[&attribute.concat()])])])
    });
    let validity = [
        tlv(0x17, &[b"200101000000Z"]),
        tlv(0x17, &[b"400101000000Z"]),
    ];
    let tbs = tlv(
        0x30,
        &[
            &tlv(0xa0, &[&tlv(2, &[&[2]])]),
            &tlv(2, &[&[1]]),
            &algorithm,
            &issuer,
            &tlv(0x30, &[&validity.concat()]),
            &subject,
            &tlv(0x30, &[key]),
            &tlv(0xa3, &[&tlv(0x30, &[&tlv(0x30, &[extension])])]),
        ],
    );
    let signature = tlv(3, &[&[0], &sign(&tbs)]);
    tlv(0x30, &[&tbs, &algorithm, &signature])
}

/// A DER element.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ ..0x80 => out.push(short as u8),
        medium @ ..0x100 => out.extend([0x81, medium as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend(content);
    out
}

/// The public key of the private key 1: the generator of P-256.
fn generator() -> &'static [u8] {
    static GENERATOR: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut one = [0; 32];
        one[31] = 1;
        ecdh::public_key(Curve::P256, &one).unwrap()
    });
    &GENERATOR
}

/// An ECDSA signature on P-256 with SHA-256 by the private key 1 with the nonce 1 (FIPS 186-5
/// section 6.4.1): r is the generator's x, and s = (e + r * 1) / 1 modulo n.
pub(crate) fn sign(message: &[&[u8]]) -> Vec<u8> {
    /// The order of P-256, in halves.
    const N: [u128; 2] = [
        0xffffffff_00000000_ffffffff_ffffffff,
        0xbce6faad_a7179e84_f3b9cac2_fc632551,
    ];
    let halves = |bytes: &[u8]| {
        let (high, low) = bytes.split_at(16);
        [high, low].map(|half| u128::from_be_bytes(half.try_into().unwrap()))
    };
    let r = &generator()[1..33];
    let e = digest(Hash::Sha256, message);
    let subtract_n = |[high, low]: [u128; 2]| {
        let (low, borrow) = low.overflowing_sub(N[1]);
        [high.wrapping_sub(N[0]).wrapping_sub(borrow.into()), low]
    };
    let [e, r_halves] = [e.as_ref(), r].map(halves);
    let e = if e >= N { subtract_n(e) } else { e };
    let (low, carry) = e[1].overflowing_add(r_halves[1]);
    let (high, carry_1) = e[0].overflowing_add(r_halves[0]);
    let (high, carry_2) = high.overflowing_add(carry.into());
    let sum = [high, low];
    let s = if carry_1 || carry_2 || sum >= N {
        subtract_n(sum)
    } else {
        sum
    };
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros..];
        let sign: &[u8] = if bytes[0] & 0x80 != 0 { &[0] } else { &[] };
        tlv(2, &[sign, bytes])
    };
    tlv(
        0x30,
        &[&integer(r), &integer(&s.map(u128::to_be_bytes).concat())],
    )
}
