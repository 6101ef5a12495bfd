//! TLS 1.2 with ECDHE, up to ServerHelloDone (RFC 5246 section 7.4, RFC 8422 section 5).
//!
//! No key exchange is needed to authenticate. In ServerKeyExchange the server signs, with the
//! key of its certificate, both random values and its ephemeral key (RFC 8422 section 5.4).
//! Ours is fresh, so the signature was made now, for this handshake, by whoever holds that
//! key: this is all that TLS 1.2 ever offers as proof of possession. The Finished messages
//! would add that nobody changed the rest of the handshake, which is to say that the version,
//! the cipher suite and the extensions were not tampered with; these protect data, and no
//! data is ever sent over this connection. The one choice that bears on the signature itself
//! is its scheme: it is limited here to what was offered, and none of those is weak. So the
//! connection is closed after ServerHelloDone, our ClientKeyExchange never follows, and
//! nothing of TLS 1.2's key derivation or record protection exists in this program.

use std::io::{Read, Write};

use super::alert::{Description, Level};
use super::client_hello::{ClientHello, Sent};
use super::codes::{ExtensionType, HandshakeType};
use super::error::Error;
use super::group::Group;
use super::msgs::{Message, ServerHello, ServerKeyExchange, parse_certificate12};
use super::record::RecordLayer;
use super::suite::{self, Signer, Suite, Suite12};
use super::{CLOSE, Config, Verified, Version};
use crate::x509::sig::{self, SignatureScheme};
use crate::x509::{self, Certificate};

/// Longest session id, in bytes (RFC 5246 section 7.4.1.2).
const MAX_SESSION_ID: usize = 32;

/// curve_type named_curve (RFC 8422 section 5.4).
const NAMED_CURVE: u8 = 3;

/// What every state carries.
struct Handshake<'c> {
    config: &'c Config<'c>,
    suite: Suite12,
    client_random: [u8; 32],
    server_random: [u8; 32],
}

/// ServerHello is handled.
pub(crate) struct ExpectCertificate<'c>(Handshake<'c>);

impl<'c> ExpectCertificate<'c> {
    /// The state after a TLS 1.2 ServerHello (RFC 5246 section 7.4.1.3), which is checked.
    pub(crate) fn new(
        config: &'c Config<'c>,
        hello: &ClientHello<'_>,
        sent: &Sent,
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
        extensions.check(kind, &allowed, &sent.extensions)?;
        extensions.check_empty(ExtensionType::SERVER_NAME)?;
        extensions.check_empty(ExtensionType::EXTENDED_MASTER_SECRET)?;
        extensions.check_alpn(config.alpn)?;
        // RFC 5746 section 3.4: empty in a first handshake
        let renegotiated = extensions.read(ExtensionType::RENEGOTIATION_INFO, |reader| {
            Ok(reader.sub8()?.rest())
        })?;
        if renegotiated.is_some_and(|connection| !connection.is_empty()) {
            return Err(Error::Renegotiation);
        }
        // RFC 8422 section 5.1.2: a list without uncompressed is an error
        let formats = extensions.read(ExtensionType::EC_POINT_FORMATS, |reader| {
            Ok(reader.sub8()?.rest())
        })?;
        if formats.is_some_and(|formats| !formats.contains(&0)) {
            return Err(Error::PointFormats);
        }
        // One that is ours would resume a session, and there is none: ours was made up for the
        // sake of middleboxes. Some servers send it back all the same and then make a whole
        // handshake, as Go and OpenSSL let them. Nothing hangs on it: whoever goes on without
        // a Certificate is refused for that.
        if server.session_id.len() > MAX_SESSION_ID {
            return Err(Error::BadSessionId);
        }
        if server.compression_method != 0 {
            return Err(Error::Compression(server.compression_method));
        }
        let suite = suite::find12(server.cipher_suite)
            .ok_or(Error::SuiteNotOffered(server.cipher_suite))?;
        Ok(Self(Handshake {
            config,
            suite,
            client_random: hello.random,
            server_random: server.random,
        }))
    }

    /// RFC 5246 section 7.4.2: reads the chain into `presented` and verifies it.
    pub(crate) fn handle(
        self,
        message: &Message,
        presented: &mut Vec<Vec<u8>>,
    ) -> Result<ExpectServerKeyExchange<'c>, Error> {
        let chain = parse_certificate12(message)?;
        *presented = chain.iter().map(|der| der.to_vec()).collect();
        let config = self.0.config;
        x509::verify(&chain, config.anchors, config.name, config.now)
            .map_err(Error::Certificate)?;
        Ok(ExpectServerKeyExchange(self.0))
    }
}

/// Certificate is handled, the chain verified.
pub(crate) struct ExpectServerKeyExchange<'c>(Handshake<'c>);

impl ExpectServerKeyExchange<'_> {
    /// RFC 8422 section 5.4: the ephemeral key, signed with the key of `leaf`.
    pub(crate) fn handle(
        self,
        message: &Message,
        leaf: &[u8],
    ) -> Result<ExpectRequestOrDone, Error> {
        let Handshake {
            suite,
            client_random,
            server_random,
            ..
        } = self.0;
        let exchange = ServerKeyExchange::parse(message)?;
        if exchange.curve_type != NAMED_CURVE {
            return Err(Error::ExplicitCurve(exchange.curve_type));
        }
        let group = Group::find(exchange.named_curve)
            .ok_or(Error::GroupNotOffered(exchange.named_curve))?;
        // Whether it is a point of the curve matters to no one: no secret is derived from it.
        group
            .check_shape(exchange.public)
            .map_err(Error::BadKeyShare)?;
        let code = exchange.signed.scheme;
        let scheme = SignatureScheme::from_code(code).ok_or(Error::SchemeNotOffered(code))?;
        if signer(scheme) != suite.signer {
            return Err(Error::SchemeMismatch(scheme));
        }
        let leaf = Certificate::parse(leaf).map_err(Error::Certificate)?;
        let content: [&[u8]; 3] = [&client_random, &server_random, exchange.params];
        sig::verify_tls12(scheme, &leaf, &content, exchange.signed.signature)
            .map_err(Error::Signature)?;
        Ok(ExpectRequestOrDone {
            suite: suite.suite,
            group,
        })
    }
}

/// The kind of suite that a scheme belongs to (RFC 8422 section 2 and 5.10).
fn signer(scheme: SignatureScheme) -> Signer {
    match scheme {
        SignatureScheme::EcdsaP256Sha256
        | SignatureScheme::EcdsaP384Sha384
        | SignatureScheme::EcdsaP521Sha512
        | SignatureScheme::Ed25519 => Signer::Ecdsa,
        SignatureScheme::RsaPkcs1Sha256
        | SignatureScheme::RsaPkcs1Sha384
        | SignatureScheme::RsaPkcs1Sha512
        | SignatureScheme::RsaPssRsaeSha256
        | SignatureScheme::RsaPssRsaeSha384
        | SignatureScheme::RsaPssRsaeSha512
        | SignatureScheme::RsaPssPssSha256
        | SignatureScheme::RsaPssPssSha384
        | SignatureScheme::RsaPssPssSha512 => Signer::Rsa,
    }
}

/// ServerKeyExchange is handled: the server is authenticated. What follows is read so that
/// the connection is not reset with its flight under way.
pub(crate) struct ExpectRequestOrDone {
    suite: Suite,
    group: Group,
}

/// Which of the two it was.
pub(crate) enum RequestOrDone {
    Request(ExpectDone),
    Done(Done),
}

impl ExpectRequestOrDone {
    /// RFC 5246 section 7.4.4, or 7.4.5. What a CertificateRequest asks for is not looked at:
    /// it stays without an answer.
    pub(crate) fn handle(self, message: &Message) -> Result<RequestOrDone, Error> {
        if message.kind() == HandshakeType::CERTIFICATE_REQUEST {
            return Ok(RequestOrDone::Request(ExpectDone(self)));
        }
        done(self, message, REQUEST_OR_DONE).map(RequestOrDone::Done)
    }
}

/// CertificateRequest is handled.
pub(crate) struct ExpectDone(ExpectRequestOrDone);

impl ExpectDone {
    /// RFC 5246 section 7.4.5.
    pub(crate) fn handle(self, message: &Message) -> Result<Done, Error> {
        done(self.0, message, DONE)
    }
}

/// ServerHelloDone is handled.
pub(crate) struct Done {
    suite: Suite,
    group: Group,
}

fn done(
    state: ExpectRequestOrDone,
    message: &Message,
    awaiting: &'static str,
) -> Result<Done, Error> {
    message.read(HandshakeType::SERVER_HELLO_DONE, awaiting, |_| Ok(()))?;
    let ExpectRequestOrDone { suite, group } = state;
    Ok(Done { suite, group })
}

const CERTIFICATE: &str = "Certificate";
const SERVER_KEY_EXCHANGE: &str = "ServerKeyExchange";
const REQUEST_OR_DONE: &str = "CertificateRequest or ServerHelloDone";
const DONE: &str = "ServerHelloDone";

/// The states in order, over a connection. `presented` is set to the chain once there is one.
pub(crate) fn run<S: Read + Write>(
    records: &mut RecordLayer<'_, S>,
    state: ExpectCertificate<'_>,
    presented: &mut Vec<Vec<u8>>,
) -> Result<Verified, Error> {
    records.set_version(Version::Tls12);
    let state = state.handle(&records.message(CERTIFICATE)?, presented)?;
    let leaf = presented.first().map_or(&[][..], Vec::as_slice);
    let state = state.handle(&records.message(SERVER_KEY_EXCHANGE)?, leaf)?;
    let done = match state.handle(&records.message(REQUEST_OR_DONE)?)? {
        RequestOrDone::Request(state) => state.handle(&records.message(DONE)?)?,
        RequestOrDone::Done(done) => done,
    };
    records.expect_boundary(DONE)?;
    // The server is authenticated: that it may be gone already is no longer of importance.
    let _ = close(records);
    Ok(Verified {
        version: Version::Tls12,
        suite: done.suite,
        group: done.group,
        chain: std::mem::take(presented),
    })
}

/// RFC 5246 section 7.2.2: a handshake is given up by user_canceled and close_notify.
fn close<S: Read + Write>(records: &mut RecordLayer<'_, S>) -> Result<(), Error> {
    records.send_alert(Level::Warning, Description::USER_CANCELED)?;
    records.send_alert(Level::Warning, Description::CLOSE_NOTIFY)?;
    records.flush(CLOSE)
}
