//! TLS 1.2 with ECDHE, up to ServerHelloDone (RFC 5246 section 7.4, RFC 8422 section 5).
//!
//! No key exchange is needed to authenticate. In ServerKeyExchange the server signs, with the
//! key of its certificate, both random values and its ephemeral key (RFC 8422 section 5.4).
//! Ours is fresh, so the signature was made now, for this handshake, with that key: TLS 1.2 has no
//! other proof of possession. The Finished messages would also prove that nothing changed in the rest of
//! the handshake, that is, the version, the cipher suite and the extensions; these protect data, and
//! no data is ever sent over this connection. Only one choice matters for the signature, its scheme:
//! it must be one that was offered, and none of those is weak. So no ClientKeyExchange is sent, and
//! this program has neither the key derivation nor the record protection of TLS 1.2.
//!
//! What follows ServerKeyExchange, CertificateRequest and ServerHelloDone, is not signed and its
//! content is not used. [`run`] still reads it, to close after the server's flight and not in the
//! middle of it, and checks its order, so that a server which ends early or sends more is refused.

use std::io::{Read, Write};

use super::codes::{Description, ExtensionType, HandshakeType};
use super::error::Error;
use super::group::Group;
use super::msgs::{Message, ServerHello, ServerKeyExchange, offered_scheme, parse_certificate12};
use super::record::RecordLayer;
use super::suite::{self, Signer, Suite12};
use super::{Config, Verified, Version};
use crate::x509::Certificate;
use crate::x509::{SignatureScheme, sig};

/// Longest session id, in bytes (RFC 5246 section 7.4.1.2).
const MAX_SESSION_ID: usize = 32;

/// curve_type named_curve (RFC 8422 section 5.4).
const NAMED_CURVE: u8 = 3;

/// The handshake from the ServerHello on, to a ClientHello with that `random` value and the
/// extensions `sent`. `presented` is set to the server's certificates once it has sent them.
pub(crate) fn run<S: Read + Write>(
    records: &mut RecordLayer<'_, S>,
    config: &Config<'_>,
    random: [u8; 32],
    sent: &[ExtensionType],
    server: &ServerHello<'_>,
    presented: &mut Vec<Vec<u8>>,
) -> Result<Verified, Error> {
    records.set_version(Version::TLS12);
    let suite = check_hello(config, sent, server)?;
    // RFC 5246 section 7.4.2
    let message = records.message(HandshakeType::CERTIFICATE)?;
    let chain = parse_certificate12(&message)?;
    config.verify(&chain, presented)?;
    let leaf = chain.first().copied().unwrap_or_default();
    let message = records.message(HandshakeType::SERVER_KEY_EXCHANGE)?;
    check_key_exchange(&message, leaf, suite.signer, [random, server.random])?;
    // RFC 5246 sections 7.4.4 and 7.4.5; a CertificateRequest is not answered
    let kind = HandshakeType::SERVER_HELLO_DONE;
    let mut message = records.message(kind)?;
    if message.kind() == HandshakeType::CERTIFICATE_REQUEST {
        message = records.message(kind)?;
    }
    message.read(kind, |_| Ok(()))?;
    records.expect_boundary()?;
    // RFC 5246 section 7.2.2: how a client cancels a handshake
    records.send_alerts(&[Description::USER_CANCELED, Description::CLOSE_NOTIFY]);
    Ok(Verified {
        version: Version::TLS12,
        suite: suite.name,
        chain: std::mem::take(presented),
    })
}

/// RFC 5246 section 7.4.1.3.
fn check_hello(
    config: &Config<'_>,
    sent: &[ExtensionType],
    server: &ServerHello<'_>,
) -> Result<Suite12, Error> {
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
    extensions.check(HandshakeType::SERVER_HELLO, &allowed, sent)?;
    extensions.check_empty(ExtensionType::SERVER_NAME)?;
    extensions.check_empty(ExtensionType::EXTENDED_MASTER_SECRET)?;
    extensions.check_alpn(config.alpn)?;
    // RFC 5746 section 3.4: empty in a first handshake, and which alert if it is not
    let renegotiated = extensions.read(ExtensionType::RENEGOTIATION_INFO, |reader| {
        Ok(reader.sub8()?.rest())
    })?;
    if renegotiated.is_some_and(|connection| !connection.is_empty()) {
        let what = "renegotiation_info is not that of a first handshake";
        return Err(Error::misbehaved(Description::HANDSHAKE_FAILURE, what));
    }
    // RFC 8422 section 5.1.2: a list without uncompressed is an error
    let formats = extensions.read(ExtensionType::EC_POINT_FORMATS, |reader| {
        Ok(reader.sub8()?.rest())
    })?;
    if formats.is_some_and(|formats| !formats.contains(&0)) {
        return Err(Error::illegal("ec_point_formats lacks uncompressed"));
    }
    // Our own would resume a session, but there is none: ours is random, for the sake of
    // middleboxes. Some servers send it back and still make a full handshake, which Go and OpenSSL
    // accept. Nothing depends on it: a server that continues without a Certificate is refused for
    // that.
    if server.session_id.len() > MAX_SESSION_ID {
        return Err(Error::illegal("session id is too long"));
    }
    server.check_compression()?;
    let code = server.cipher_suite;
    suite::find12(code).ok_or_else(|| Error::not_offered("cipher suite", code))
}

/// RFC 8422 section 5.4: the ephemeral key, signed with the key of `leaf`, together with the random
/// values of client and server. With that the server is authenticated.
fn check_key_exchange(
    message: &Message,
    leaf: &[u8],
    signer: Signer,
    randoms: [[u8; 32]; 2],
) -> Result<(), Error> {
    let exchange = ServerKeyExchange::parse(message)?;
    if exchange.curve_type != NAMED_CURVE {
        return Err(Error::not_offered("curve type", exchange.curve_type));
    }
    let code = exchange.named_curve;
    let group = Group::find(code).ok_or_else(|| Error::not_offered("group", code))?;
    // Whether it is a point of the curve does not matter: no secret is derived from it.
    group
        .check_shape(exchange.public)
        .map_err(Error::bad_key_share)?;
    let scheme = offered_scheme(exchange.scheme)?;
    if signer_of(scheme) != signer {
        return Err(Error::illegal("signature scheme does not fit the suite"));
    }
    let leaf = Certificate::parse(leaf).map_err(Error::Certificate)?;
    let content = [randoms.as_flattened(), exchange.params];
    sig::verify_tls12(scheme, &leaf, &content, exchange.signature).map_err(Error::Signature)
}

/// The kind of suite that a scheme belongs to (RFC 8422 section 2 and 5.10).
fn signer_of(scheme: SignatureScheme) -> Signer {
    match scheme.is_rsa() {
        true => Signer::Rsa,
        false => Signer::Ecdsa,
    }
}
