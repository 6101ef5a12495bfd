//! From ClientHello to the chosen version: ServerHello, HelloRetryRequest, downgrades.
//!
//! RFC 8446 sections 4.1.3, 4.1.4 and 4.2.1. The first hello has a share for X25519 alone,
//! which every current server takes; one that insists on another group asks for it by a
//! HelloRetryRequest, at the price of a round trip.

use super::client_hello::{ClientHello, Sent};
use super::codes::{ExtensionType, HandshakeType};
use super::error::Error;
use super::group::{Group, KeyShare, draw};
use super::msgs::{Message, ServerHello};
use super::schedule::{Secrets, Transcript};
use super::suite::{self, Suite13};
use super::{Config, Random, Version};
use super::{tls12, tls13};
use crate::x509::ServerName;

/// The random value that makes a ServerHello a HelloRetryRequest: SHA-256 of
/// "HelloRetryRequest" (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// How the random value of a server ends that knows a higher version than it chooses: 1.3 but
/// 1.2, 1.2 but less (RFC 8446 section 4.1.3).
const DOWNGRADE: [[u8; 8]; 2] = [*b"DOWNGRD\x01", *b"DOWNGRD\x00"];

/// A ClientHello is sent, or is to be.
pub(crate) struct ExpectServerHello<'c> {
    config: &'c Config<'c>,
    hello: ClientHello<'c>,
    sent: Sent,
    share: KeyShare,
}

/// What a first ServerHello turns out to be.
pub(crate) enum Negotiated<'c> {
    /// A HelloRetryRequest: the second hello is to be sent.
    Retry(ExpectSecondServerHello<'c>),
    Tls13(tls13::ExpectEncryptedExtensions<'c>),
    Tls12(tls12::ExpectCertificate<'c>),
}

impl<'c> ExpectServerHello<'c> {
    /// Draws the random values and composes the first hello.
    pub(crate) fn start(config: &'c Config<'c>, random: &mut Random<'_>) -> Result<Self, Error> {
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

    /// The hello to send.
    pub(crate) fn hello(&self) -> &[u8] {
        &self.sent.bytes
    }

    /// Takes the ServerHello; `random` is for the key of another group.
    pub(crate) fn handle(
        self,
        message: &Message,
        random: &mut Random<'_>,
    ) -> Result<Negotiated<'c>, Error> {
        let server = ServerHello::parse(message)?;
        if !chooses_tls13(&server)? {
            return tls12::ExpectCertificate::new(self.config, &self.hello, &self.sent, &server)
                .map(Negotiated::Tls12);
        }
        if server.random == RETRY_RANDOM {
            return self.retry(message, &server, random).map(Negotiated::Retry);
        }
        let suite = self.check_tls13(&server, SERVER_HELLO_EXTENSIONS)?;
        self.agree(Transcript::new(suite.hash), message, &server, suite)
            .map(Negotiated::Tls13)
    }

    /// HelloRetryRequest (RFC 8446 section 4.1.4).
    fn retry(
        mut self,
        message: &Message,
        server: &ServerHello<'_>,
        random: &mut Random<'_>,
    ) -> Result<ExpectSecondServerHello<'c>, Error> {
        // the one extension that a server may bring up itself (section 4.2)
        self.sent.extensions.push(ExtensionType::COOKIE);
        let suite = self.check_tls13(server, RETRY_EXTENSIONS)?;
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
        let transcript = Transcript::after_retry(suite.hash, self.hello(), message.bytes())?;
        self.sent = self.hello.compose(&self.share, cookie)?;
        Ok(ExpectSecondServerHello {
            second: self,
            suite,
            transcript,
        })
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

    /// Agrees on a secret by the ServerHello's key_share (RFC 8446 section 4.2.8); `transcript`
    /// ends before the last ClientHello.
    fn agree(
        self,
        mut transcript: Transcript,
        message: &Message,
        server: &ServerHello<'_>,
        suite: Suite13,
    ) -> Result<tls13::ExpectEncryptedExtensions<'c>, Error> {
        let share = server.extensions.read(ExtensionType::KEY_SHARE, |reader| {
            Ok((reader.u16()?, reader.sub16()?.rest()))
        })?;
        let (group, public) = share.ok_or_else(|| missing(ExtensionType::KEY_SHARE))?;
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
            requested: false,
        }))
    }
}

/// RFC 8446 section 4.1.4: a HelloRetryRequest has to change the ClientHello.
const POINTLESS: Error = Error::illegal("HelloRetryRequest asks for what was sent");

/// The second ClientHello is to be sent, or is.
pub(crate) struct ExpectSecondServerHello<'c> {
    second: ExpectServerHello<'c>,
    suite: Suite13,
    /// Ends with the HelloRetryRequest.
    transcript: Transcript,
}

impl<'c> ExpectSecondServerHello<'c> {
    /// The hello to send.
    pub(crate) fn hello(&self) -> &[u8] {
        self.second.hello()
    }

    /// Takes the ServerHello, which has to agree with the HelloRetryRequest before.
    pub(crate) fn handle(
        self,
        message: &Message,
    ) -> Result<tls13::ExpectEncryptedExtensions<'c>, Error> {
        let server = ServerHello::parse(message)?;
        if !chooses_tls13(&server)? {
            return Err(Error::illegal("TLS 1.2 after a HelloRetryRequest"));
        }
        if server.random == RETRY_RANDOM {
            return Err(Error::unexpected("second HelloRetryRequest"));
        }
        let suite = self.second.check_tls13(&server, SERVER_HELLO_EXTENSIONS)?;
        if suite.suite != self.suite.suite {
            return Err(Error::illegal("cipher suite is not HelloRetryRequest's"));
        }
        self.second.agree(self.transcript, message, &server, suite)
    }
}

/// Whether the server chose TLS 1.3; otherwise it is TLS 1.2, and not by a downgrade
/// (RFC 8446 sections 4.2.1 and 4.1.3).
fn chooses_tls13(server: &ServerHello<'_>) -> Result<bool, Error> {
    let selected = server
        .extensions
        .read(ExtensionType::SUPPORTED_VERSIONS, |reader| reader.u16())?;
    if server.legacy_version != Version::Tls12.code() {
        return Err(Error::old_version(server.legacy_version));
    }
    match selected {
        Some(code) if code == Version::Tls13.code() => Ok(true),
        // it was offered, but may not be chosen that way
        Some(code) if code == Version::Tls12.code() => Err(Error::illegal(
            "supported_versions chooses TLS 1.2, which it may not",
        )),
        Some(other) => Err(Error::not_offered("version by supported_versions", other)),
        // section 4.1.3: the random value counts first, and 4.1.4: it has to name its version
        None if server.random == RETRY_RANDOM => Err(missing(ExtensionType::SUPPORTED_VERSIONS)),
        None if DOWNGRADE.iter().any(|end| server.random.ends_with(end)) => Err(DOWNGRADED),
        None => Ok(false),
    }
}

const DOWNGRADED: Error = Error::illegal(
    "the server knows TLS 1.3 but was made to choose TLS 1.2: the handshake was tampered with",
);

/// A ServerHello lacks this extension.
fn missing(extension: ExtensionType) -> Error {
    Error::missing(extension, HandshakeType::SERVER_HELLO)
}

/// Extensions of a TLS 1.3 ServerHello (RFC 8446 section 4.2; no PSK was offered).
const SERVER_HELLO_EXTENSIONS: &[ExtensionType] =
    &[ExtensionType::SUPPORTED_VERSIONS, ExtensionType::KEY_SHARE];

/// Extensions of a HelloRetryRequest.
const RETRY_EXTENSIONS: &[ExtensionType] = &[
    ExtensionType::SUPPORTED_VERSIONS,
    ExtensionType::KEY_SHARE,
    ExtensionType::COOKIE,
];
