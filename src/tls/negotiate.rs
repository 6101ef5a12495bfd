//! From ClientHello to the chosen version: ServerHello, HelloRetryRequest, downgrades.
//!
//! RFC 8446 sections 4.1.3, 4.1.4 and 4.2.1. The first hello has a share only for X25519, which
//! every current server accepts; one that requires another group asks for it by a
//! HelloRetryRequest, which costs a round trip.

use std::io::{Read, Write};

use super::client_hello::{ClientHello, Sent};
use super::codes::{ExtensionType, HandshakeType};
use super::error::Error;
use super::group::{Group, KeyShare, draw};
use super::msgs::{Message, ServerHello};
use super::record::RecordLayer;
use super::schedule::{Secrets, Transcript};
use super::suite::{self, Suite13};
use super::{Config, Random, Verified, Version};
use super::{tls12, tls13};
use crate::x509::ServerName;

/// The random value that makes a ServerHello a HelloRetryRequest: SHA-256 of
/// "HelloRetryRequest" (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The end of a server's random value if it supports a higher version than it chooses: TLS 1.3 when
/// it chooses 1.2, or 1.2 when it chooses less (RFC 8446 section 4.1.3).
const DOWNGRADE: [[u8; 8]; 2] = [*b"DOWNGRD\x01", *b"DOWNGRD\x00"];

/// The hellos, then the rest of the version that they settle on. `presented` is set to the
/// server's certificates once it has sent them.
pub(super) fn run<S: Read + Write>(
    records: &mut RecordLayer<'_, S>,
    config: &Config<'_>,
    random: &mut Random<'_>,
    presented: &mut Vec<Vec<u8>>,
) -> Result<Verified, Error> {
    let mut client = Client::new(config, random)?;
    records.send_hello(&client.sent.bytes)?;
    let message = records.message(HandshakeType::SERVER_HELLO)?;
    let server = ServerHello::parse(&message)?;
    if !chooses_tls13(&server)? {
        let (random, sent) = (client.hello.random, &client.sent.extensions);
        return tls12::run(records, config, random, sent, &server, presented);
    }
    if server.random != RETRY_RANDOM {
        let state = client.agree(&message, &server, None)?;
        return tls13::run(records, state, presented);
    }
    let retry = client.retry(&message, &server, random)?;
    records.set_version(Version::TLS13);
    records.expect_boundary()?;
    records.send_change_cipher_spec()?;
    records.send_hello(&client.sent.bytes)?;
    let message = records.message(HandshakeType::SERVER_HELLO)?;
    let server = ServerHello::parse(&message)?;
    if !chooses_tls13(&server)? {
        return Err(Error::illegal("TLS 1.2 after a HelloRetryRequest"));
    }
    if server.random == RETRY_RANDOM {
        return Err(Error::unexpected("second HelloRetryRequest"));
    }
    let state = client.agree(&message, &server, Some(retry))?;
    tls13::run(records, state, presented)
}

/// What the client sent last.
struct Client<'c> {
    config: &'c Config<'c>,
    hello: ClientHello<'c>,
    sent: Sent,
    share: KeyShare,
}

/// What a HelloRetryRequest fixes: the suite, and the transcript, which ends with it.
type Retry = (Suite13, Transcript);

impl<'c> Client<'c> {
    /// Draws the random values and composes the first hello.
    fn new(config: &'c Config<'c>, random: &mut Random<'_>) -> Result<Self, Error> {
        let mut hello = ClientHello {
            random: [0; 32],
            session_id: [0; 32],
            server_name: match config.name {
                ServerName::Dns(name) => Some(name),
                ServerName::Ip(_) => None,
            },
            alpn: config.alpn,
        };
        draw(random, &mut hello.random)?;
        draw(random, &mut hello.session_id)?;
        let share = KeyShare::generate(Group::X25519, random)?;
        Ok(Self {
            config,
            sent: hello.compose(&share, None)?,
            hello,
            share,
        })
    }

    /// Takes a HelloRetryRequest (RFC 8446 section 4.1.4) and composes the second hello; `random` is
    /// for the key of another group.
    fn retry(
        &mut self,
        message: &Message,
        server: &ServerHello<'_>,
        random: &mut Random<'_>,
    ) -> Result<Retry, Error> {
        // the one extension that a server may send unasked (section 4.2)
        self.sent.extensions.push(ExtensionType::COOKIE);
        let allowed = [
            ExtensionType::SUPPORTED_VERSIONS,
            ExtensionType::KEY_SHARE,
            ExtensionType::COOKIE,
        ];
        let suite = self.check_tls13(server, &allowed)?;
        let extensions = &server.extensions;
        let cookie = extensions.read(ExtensionType::COOKIE, |reader| {
            let mut cookie = reader.sub16()?;
            // opaque cookie<1..2^16-1>
            cookie.clone().u8()?;
            Ok(cookie.rest())
        })?;
        match extensions.read(ExtensionType::KEY_SHARE, |reader| reader.u16())? {
            Some(code) => {
                let group = Group::find(code).ok_or_else(|| Error::not_offered("group", code))?;
                if group == self.share.group() {
                    return Err(POINTLESS);
                }
                self.share = KeyShare::generate(group, random)?;
            }
            None if cookie.is_none() => return Err(POINTLESS),
            None => (),
        }
        let transcript = Transcript::after_retry(suite.hash, &self.sent.bytes, message.bytes())?;
        self.sent = self.hello.compose(&self.share, cookie)?;
        Ok((suite, transcript))
    }

    /// The checks that HelloRetryRequest and a TLS 1.3 ServerHello share (RFC 8446 sections
    /// 4.1.3 and 4.1.4).
    fn check_tls13(
        &self,
        server: &ServerHello<'_>,
        allowed: &[ExtensionType],
    ) -> Result<Suite13, Error> {
        let kind = HandshakeType::SERVER_HELLO;
        server
            .extensions
            .check(kind, allowed, &self.sent.extensions)?;
        if server.session_id != self.hello.session_id {
            return Err(Error::illegal("session id differs from the one sent"));
        }
        server.check_compression()?;
        let code = server.cipher_suite;
        suite::find13(code).ok_or_else(|| Error::not_offered("cipher suite", code))
    }

    /// Takes a TLS 1.3 ServerHello, which has to agree with the HelloRetryRequest if there was one,
    /// and agrees on a secret by its key_share (RFC 8446 section 4.2.8).
    fn agree(
        self,
        message: &Message,
        server: &ServerHello<'_>,
        retry: Option<Retry>,
    ) -> Result<tls13::ExpectEncryptedExtensions<'c>, Error> {
        // RFC 8446 section 4.2; no PSK was offered
        let allowed = [ExtensionType::SUPPORTED_VERSIONS, ExtensionType::KEY_SHARE];
        let suite = self.check_tls13(server, &allowed)?;
        let mut transcript = match retry {
            None => Transcript::new(suite.hash),
            Some((chosen, transcript)) if chosen.code == suite.code => transcript,
            Some(_) => return Err(Error::illegal("cipher suite is not HelloRetryRequest's")),
        };
        let share = server.extensions.read(ExtensionType::KEY_SHARE, |reader| {
            Ok((reader.u16()?, reader.sub16()?.rest()))
        })?;
        let (group, public) = share
            .ok_or_else(|| Error::missing(ExtensionType::KEY_SHARE, HandshakeType::SERVER_HELLO))?;
        if group != self.share.group().code() {
            return Err(Error::not_offered("key share of group", group));
        }
        let shared = self.share.agree(public).map_err(Error::bad_key_share)?;
        transcript.add(&self.sent.bytes);
        transcript.add(message.bytes());
        Ok(tls13::ExpectEncryptedExtensions(tls13::Handshake {
            config: self.config,
            sent: self.sent.extensions,
            secrets: Secrets::new(suite, &shared, &transcript.current())?,
            transcript,
        }))
    }
}

/// RFC 8446 section 4.1.4: a HelloRetryRequest must change the ClientHello.
const POINTLESS: Error = Error::illegal("HelloRetryRequest asks for what was sent");

/// Whether the server chose TLS 1.3; otherwise it is TLS 1.2, and not by a downgrade
/// (RFC 8446 sections 4.2.1 and 4.1.3).
fn chooses_tls13(server: &ServerHello<'_>) -> Result<bool, Error> {
    let selected = server
        .extensions
        .read(ExtensionType::SUPPORTED_VERSIONS, |reader| reader.u16())?;
    if server.legacy_version != Version::TLS12.0 {
        return Err(Error::old_version(server.legacy_version));
    }
    match selected.map(Version) {
        Some(Version::TLS13) => Ok(true),
        // it was offered, but must not be chosen by this extension
        Some(Version::TLS12) => Err(Error::illegal(
            "supported_versions chooses TLS 1.2, which it may not",
        )),
        Some(Version(code)) => Err(Error::not_offered("version by supported_versions", code)),
        // section 4.1.3: the random value is checked first; 4.1.4: the version is required
        None if server.random == RETRY_RANDOM => Err(Error::missing(
            ExtensionType::SUPPORTED_VERSIONS,
            HandshakeType::SERVER_HELLO,
        )),
        None if DOWNGRADE.iter().any(|end| server.random.ends_with(end)) => Err(Error::illegal(
            "the server supports TLS 1.3 but was made to choose TLS 1.2: the handshake was tampered with",
        )),
        None => Ok(false),
    }
}
