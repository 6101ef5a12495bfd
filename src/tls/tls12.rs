//! TLS 1.2 with ECDHE, up to ServerHelloDone (RFC 5246 section 7.4, RFC 8422 section 5).
//!
//! No key exchange is needed to authenticate. In ServerKeyExchange the server signs, with the
//! key of its certificate, both random values and its ephemeral key (RFC 8422 section 5.4).
//! Ours is fresh, so the signature was made now, for this handshake, by whoever holds that
//! key: this is all that TLS 1.2 ever offers as proof of possession. The Finished messages
//! would add that nobody changed the rest of the handshake, which is to say that the version,
//! the cipher suite and the extensions were not tampered with; these protect data, and no
//! data is ever sent over this connection. The one choice that bears on the signature itself
//! is its scheme: it is limited here to what was offered, and none of those is weak. So our
//! ClientKeyExchange never follows, and nothing of TLS 1.2's key derivation or record
//! protection exists in this program.
//!
//! ServerKeyExchange is the last message with a state. What comes after it, CertificateRequest
//! and ServerHelloDone, is not signed and says nothing that is used. [`run`] reads it all the
//! same, to close after the server's flight and not into it, and holds it to the order of the
//! standard, so that a server which ends early or sends more is still refused.

use std::io::{Read, Write};

use super::codes::{Description, ExtensionType, HandshakeType};
use super::error::Error;
use super::group::Group;
use super::msgs::{Message, ServerHello, ServerKeyExchange, parse_certificate12};
use super::record::RecordLayer;
use super::suite::{self, Signer, Suite12};
use super::{Config, Verified, Version};
use crate::x509::Certificate;
use crate::x509::sig::{self, SignatureScheme};

/// Longest session id, in bytes (RFC 5246 section 7.4.1.2).
const MAX_SESSION_ID: usize = 32;

/// curve_type named_curve (RFC 8422 section 5.4).
const NAMED_CURVE: u8 = 3;

/// What every state carries.
struct Handshake<'c> {
    config: &'c Config<'c>,
    suite: Suite12,
    /// Of the client and of the server.
    randoms: [[u8; 32]; 2],
}

/// RFC 5746 section 3.4 names this alert for it.
const RENEGOTIATION: Error = Error::misbehaved(
    Description::HANDSHAKE_FAILURE,
    "renegotiation_info is not that of a first handshake",
);

/// ServerHello is handled.
pub(crate) struct ExpectCertificate<'c>(Handshake<'c>);

impl<'c> ExpectCertificate<'c> {
    /// The state after a TLS 1.2 ServerHello (RFC 5246 section 7.4.1.3), which is checked.
    pub(crate) fn new(
        config: &'c Config<'c>,
        random: [u8; 32],
        sent: &[ExtensionType],
        server: &ServerHello<'_>,
    ) -> Result<Self, Error> {
        let kind = HandshakeType::SERVER_HELLO;
        let allowed = [
            ExtensionType::SERVER_NAME,
            // of TLS 1.3 and without a meaning here; F5's load balancers send it, and OpenSSL,
            // GnuTLS and Go ignore it
            ExtensionType::SUPPORTED_GROUPS,
            ExtensionType::EC_POINT_FORMATS,
            ExtensionType::ALPN,
            ExtensionType::EXTENDED_MASTER_SECRET,
            ExtensionType::RENEGOTIATION_INFO,
        ];
        let extensions = &server.extensions;
        extensions.check(kind, &allowed, sent)?;
        extensions.check_empty(ExtensionType::SERVER_NAME)?;
        extensions.check_empty(ExtensionType::EXTENDED_MASTER_SECRET)?;
        extensions.check_alpn(config.alpn)?;
        // RFC 5746 section 3.4: empty in a first handshake
        let renegotiated = extensions.read(ExtensionType::RENEGOTIATION_INFO, |reader| {
            Ok(reader.sub8()?.rest())
        })?;
        if renegotiated.is_some_and(|connection| !connection.is_empty()) {
            return Err(RENEGOTIATION);
        }
        // RFC 8422 section 5.1.2: a list without uncompressed is an error
        let formats = extensions.read(ExtensionType::EC_POINT_FORMATS, |reader| {
            Ok(reader.sub8()?.rest())
        })?;
        if formats.is_some_and(|formats| !formats.contains(&0)) {
            return Err(Error::illegal("ec_point_formats lacks uncompressed"));
        }
        // One that is ours would resume a session, and there is none: ours was made up for the
        // sake of middleboxes. Some servers send it back all the same and then make a whole
        // handshake, as Go and OpenSSL let them. Nothing depends on it: a server that continues without
        // a Certificate is refused for that.
        if server.session_id.len() > MAX_SESSION_ID {
            return Err(Error::illegal("session id is too long"));
        }
        server.check_compression()?;
        let code = server.cipher_suite;
        let suite = suite::find12(code).ok_or_else(|| Error::not_offered("cipher suite", code))?;
        Ok(Self(Handshake {
            config,
            suite,
            randoms: [random, server.random],
        }))
    }

    /// RFC 5246 section 7.4.2: reads the chain into `presented` and verifies it.
    pub(crate) fn handle(
        self,
        message: &Message,
        presented: &mut Vec<Vec<u8>>,
    ) -> Result<ExpectServerKeyExchange<'c>, Error> {
        let chain = parse_certificate12(message)?;
        self.0.config.verify(&chain, presented)?;
        Ok(ExpectServerKeyExchange(self.0))
    }
}

/// Certificate is handled, the chain verified.
pub(crate) struct ExpectServerKeyExchange<'c>(Handshake<'c>);

impl ExpectServerKeyExchange<'_> {
    /// RFC 8422 section 5.4: the ephemeral key, signed with the key of `leaf`. With that the
    /// server is authenticated.
    pub(crate) fn handle(self, message: &Message, leaf: &[u8]) -> Result<&'static str, Error> {
        let Handshake { suite, randoms, .. } = self.0;
        let exchange = ServerKeyExchange::parse(message)?;
        if exchange.curve_type != NAMED_CURVE {
            return Err(Error::not_offered("curve type", exchange.curve_type));
        }
        let code = exchange.named_curve;
        let group = Group::find(code).ok_or_else(|| Error::not_offered("group", code))?;
        // Whether it is a point of the curve matters to no one: no secret is derived from it.
        group
            .check_shape(exchange.public)
            .map_err(Error::bad_key_share)?;
        let scheme = exchange.signed.scheme()?;
        if signer(scheme) != suite.signer {
            return Err(Error::illegal("signature scheme does not fit the suite"));
        }
        let leaf = Certificate::parse(leaf).map_err(Error::Certificate)?;
        let content = [randoms.as_flattened(), exchange.params];
        sig::verify_tls12(scheme, &leaf, &content, exchange.signed.signature)
            .map_err(Error::Signature)?;
        Ok(suite.name)
    }
}

/// The kind of suite that a scheme belongs to (RFC 8422 section 2 and 5.10).
fn signer(scheme: SignatureScheme) -> Signer {
    match scheme {
        SignatureScheme::EcdsaP256Sha256
        | SignatureScheme::EcdsaP384Sha384
        | SignatureScheme::EcdsaP521Sha512
        | SignatureScheme::Ed25519 => Signer::Ecdsa,
        _ => Signer::Rsa,
    }
}

/// The states in order, over a connection. `presented` is set to the chain once there is one.
pub(crate) fn run<S: Read + Write>(
    records: &mut RecordLayer<'_, S>,
    state: ExpectCertificate<'_>,
    presented: &mut Vec<Vec<u8>>,
) -> Result<Verified, Error> {
    records.set_version(Version::TLS12);
    let state = state.handle(&records.message(HandshakeType::CERTIFICATE)?, presented)?;
    let leaf = presented.first().map_or(&[][..], Vec::as_slice);
    let suite = state.handle(&records.message(HandshakeType::SERVER_KEY_EXCHANGE)?, leaf)?;
    // RFC 5246 sections 7.4.4 and 7.4.5; what a CertificateRequest asks for gets no answer
    let kind = HandshakeType::SERVER_HELLO_DONE;
    let mut message = records.message(kind)?;
    if message.kind() == HandshakeType::CERTIFICATE_REQUEST {
        message = records.message(kind)?;
    }
    message.read(kind, |_| Ok(()))?;
    records.expect_boundary()?;
    // RFC 5246 section 7.2.2: how a handshake is given up
    records.send_alerts(&[Description::USER_CANCELED, Description::CLOSE_NOTIFY]);
    Ok(Verified {
        version: Version::TLS12,
        suite,
        chain: std::mem::take(presented),
    })
}
