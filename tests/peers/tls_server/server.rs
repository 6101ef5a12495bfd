//! The server: answers a ClientHello with the flight of its version, each message of which an edit may change.

use super::certificates::{leaf, sign};
use super::messages::{extension, handshake, length16, length24, record, records};
use crate::tls::codes::{ContentType, HandshakeType};
use crate::tls::group::{Group, KeyShare};
use crate::tls::msgs::prefixed;
use crate::tls::schedule::{Secrets, Transcript};
use crate::tls::{Version, suite, tls13};
use crate::wire::Reader;

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
            version: Version::TLS13,
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
            Version::TLS12 => self.flight12(&client),
            _ => match self.plan.retry {
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
        let suite = suite::TLS13[self.plan.suite].code;
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
        let message = server_hello(&RANDOM, &client.session_id, suite.code, |out| {
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
            out.extend(keys.seal(inner).unwrap());
        }
        for fragment in flight.chunks(self.plan.fragment.min(16_384)) {
            let inner = [fragment, &[ContentType::HANDSHAKE.0]].concat();
            out.extend(keys.seal(inner).unwrap());
        }
        self.secrets = Some((secrets, transcript));
        out
    }

    fn flight12(&mut self, client: &Hello) -> Vec<u8> {
        let suite = suite::TLS12[self.plan.suite].code;
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
