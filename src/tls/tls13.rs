//! TLS 1.3 from EncryptedExtensions to the server's Finished (RFC 8446 section 4.3 and 4.4).
//!
//! Each state takes exactly the message it is named after and yields the next; [`run`] is
//! their order, to be read next to RFC 8446 appendix A.1. The server is authenticated when
//! [`ExpectFinished`] has passed, and not before: only then is it known that the two ends saw
//! the same handshake.

use std::io::{Read, Write};

use super::alert::{Description, Level};
use super::codes::{ContentType, ExtensionType, HandshakeType};
use super::error::Error;
use super::group::Group;
use super::msgs::{DigitallySigned, Extensions, Message, compose, parse_certificate13, prefixed};
use super::record::RecordLayer;
use super::schedule::{Secrets, Transcript};
use super::suite::Suite13;
use super::{CLOSE, Config, Verified, Version};
use crate::crypto::ct;
use crate::crypto::sha2::Digest;
use crate::x509::sig::{self, SignatureScheme};
use crate::x509::{self, Certificate};

/// What every state carries.
pub(crate) struct Handshake<'c> {
    pub(crate) config: &'c Config<'c>,
    /// The extensions of the last ClientHello.
    pub(crate) sent: Vec<ExtensionType>,
    pub(crate) suite: Suite13,
    pub(crate) group: Group,
    /// Ends with the last message handled.
    pub(crate) transcript: Transcript,
    pub(crate) secrets: Secrets,
}

/// ServerHello is handled; from here on the server's records are protected.
pub(crate) struct ExpectEncryptedExtensions<'c>(Handshake<'c>);

impl<'c> ExpectEncryptedExtensions<'c> {
    /// The state after a ServerHello.
    pub(crate) fn new(handshake: Handshake<'c>) -> Self {
        Self(handshake)
    }

    /// RFC 8446 section 4.3.1.
    pub(crate) fn handle(
        mut self,
        message: &Message,
    ) -> Result<ExpectCertificateOrRequest<'c>, Error> {
        let kind = HandshakeType::ENCRYPTED_EXTENSIONS;
        let extensions = message.read(kind, ENCRYPTED_EXTENSIONS, Extensions::parse)?;
        let allowed = [
            ExtensionType::SERVER_NAME,
            ExtensionType::SUPPORTED_GROUPS,
            ExtensionType::ALPN,
        ];
        extensions.check(kind, &allowed, &self.0.sent)?;
        extensions.check_empty(ExtensionType::SERVER_NAME)?;
        // advice for a next connection (section 4.2.7), of which there is none
        extensions.check_list16(ExtensionType::SUPPORTED_GROUPS)?;
        extensions.check_alpn(self.0.config.alpn)?;
        self.0.transcript.add(message.bytes());
        Ok(ExpectCertificateOrRequest(self.0))
    }
}

/// EncryptedExtensions is handled.
pub(crate) struct ExpectCertificateOrRequest<'c>(Handshake<'c>);

/// Which of the two it was.
pub(crate) enum CertificateOrRequest<'c> {
    Request(ExpectCertificate<'c>),
    Certificate(ExpectCertificateVerify<'c>),
}

impl<'c> ExpectCertificateOrRequest<'c> {
    /// RFC 8446 section 4.3.2, or 4.4.2.
    pub(crate) fn handle(
        mut self,
        message: &Message,
        presented: &mut Vec<Vec<u8>>,
    ) -> Result<CertificateOrRequest<'c>, Error> {
        let kind = HandshakeType::CERTIFICATE_REQUEST;
        if message.kind() != kind {
            return certificate(self.0, false, message, CERTIFICATE_OR_REQUEST, presented)
                .map(CertificateOrRequest::Certificate);
        }
        let (context, extensions) = message.read(kind, CERTIFICATE_OR_REQUEST, |reader| {
            Ok((reader.sub8()?.rest(), Extensions::parse(reader)?))
        })?;
        if !context.is_empty() {
            return Err(Error::RequestContext);
        }
        // these are not answers: what is unknown is ignored (section 4.3.2)
        let [schemes, certificate_schemes] = [
            ExtensionType::SIGNATURE_ALGORITHMS,
            ExtensionType::SIGNATURE_ALGORITHMS_CERT,
        ];
        extensions.check_places(kind, &[schemes, certificate_schemes], &self.0.sent)?;
        extensions.check_unique(kind)?;
        extensions.check_list16(certificate_schemes)?;
        if !extensions.check_list16(schemes)? {
            return Err(Error::MissingExtension {
                message: kind,
                extension: schemes,
            });
        }
        self.0.transcript.add(message.bytes());
        Ok(CertificateOrRequest::Request(ExpectCertificate(self.0)))
    }
}

/// CertificateRequest is handled.
pub(crate) struct ExpectCertificate<'c>(Handshake<'c>);

impl<'c> ExpectCertificate<'c> {
    /// RFC 8446 section 4.4.2.
    pub(crate) fn handle(
        self,
        message: &Message,
        presented: &mut Vec<Vec<u8>>,
    ) -> Result<ExpectCertificateVerify<'c>, Error> {
        certificate(self.0, true, message, CERTIFICATE, presented)
    }
}

/// Reads the chain into `presented` and verifies it, before anything is believed that is
/// signed with the key in it.
fn certificate<'c>(
    mut handshake: Handshake<'c>,
    requested: bool,
    message: &Message,
    awaiting: &'static str,
    presented: &mut Vec<Vec<u8>>,
) -> Result<ExpectCertificateVerify<'c>, Error> {
    let chain = parse_certificate13(message, awaiting, &handshake.sent)?;
    *presented = chain.iter().map(|der| der.to_vec()).collect();
    let config = handshake.config;
    x509::verify(&chain, config.anchors, config.name, config.now).map_err(Error::Certificate)?;
    handshake.transcript.add(message.bytes());
    Ok(ExpectCertificateVerify {
        handshake,
        requested,
    })
}

/// Certificate is handled, the chain verified.
pub(crate) struct ExpectCertificateVerify<'c> {
    handshake: Handshake<'c>,
    requested: bool,
}

impl<'c> ExpectCertificateVerify<'c> {
    /// RFC 8446 section 4.4.3: the signature over the handshake so far, by the key of `leaf`.
    pub(crate) fn handle(
        self,
        message: &Message,
        leaf: &[u8],
    ) -> Result<ExpectFinished<'c>, Error> {
        let Self {
            mut handshake,
            requested,
        } = self;
        let kind = HandshakeType::CERTIFICATE_VERIFY;
        let signed = message.read(kind, CERTIFICATE_VERIFY, DigitallySigned::parse)?;
        let scheme = SignatureScheme::from_code(signed.scheme)
            .ok_or(Error::SchemeNotOffered(signed.scheme))?;
        let leaf = Certificate::parse(leaf).map_err(Error::Certificate)?;
        let transcript = handshake.transcript.current();
        let content = signed_content(&transcript);
        sig::verify_tls13(scheme, &leaf, &content, signed.signature).map_err(Error::Signature)?;
        handshake.transcript.add(message.bytes());
        Ok(ExpectFinished {
            handshake,
            requested,
        })
    }
}

/// What a server's CertificateVerify signs (RFC 8446 section 4.4.3): the prefix keeps a
/// signature of TLS 1.2 or by a client from being taken for one.
pub(crate) fn signed_content(transcript: &Digest) -> [&[u8]; 3] {
    [
        &[0x20; 64],
        b"TLS 1.3, server CertificateVerify\0",
        transcript.as_ref(),
    ]
}

/// CertificateVerify is handled.
pub(crate) struct ExpectFinished<'c> {
    handshake: Handshake<'c>,
    requested: bool,
}

impl<'c> ExpectFinished<'c> {
    /// RFC 8446 section 4.4.4.
    pub(crate) fn handle(self, message: &Message) -> Result<Authenticated<'c>, Error> {
        let Self {
            mut handshake,
            requested,
        } = self;
        let kind = HandshakeType::FINISHED;
        let verify_data = message.read(kind, FINISHED, |reader| Ok(reader.rest()))?;
        let expected = handshake
            .secrets
            .server
            .verify_data(&handshake.transcript.current())?;
        if !ct::eq(verify_data, expected.as_ref()) {
            return Err(Error::BadFinished);
        }
        handshake.transcript.add(message.bytes());
        Ok(Authenticated {
            handshake,
            requested,
        })
    }
}

/// Everything passed; what is left is to part on good terms.
pub(crate) struct Authenticated<'c> {
    handshake: Handshake<'c>,
    requested: bool,
}

impl Authenticated<'_> {
    /// Completes the handshake and closes, so that a server which asks for no certificate
    /// sees an ordinary connection that carried nothing.
    fn close<S: Read + Write>(self, records: &mut RecordLayer<'_, S>) -> Result<(), Error> {
        let Handshake {
            mut transcript,
            secrets,
            ..
        } = self.handshake;
        let application = secrets.client_application(&transcript.current())?;
        records.send_change_cipher_spec()?;
        if self.requested {
            // RFC 8446 section 4.4.2: a client without a certificate sends an empty list. A
            // server that insists refuses now, but it has proven itself.
            let certificate = compose(HandshakeType::CERTIFICATE, |out| {
                prefixed::<1>(out, |_| Ok(()))?;
                prefixed::<3>(out, |_| Ok(()))
            })?;
            transcript.add(&certificate);
            records.send(ContentType::Handshake, &certificate)?;
        }
        let verify_data = secrets.client.verify_data(&transcript.current())?;
        let finished = compose(HandshakeType::FINISHED, |out| {
            out.extend(verify_data.as_ref());
            Ok(())
        })?;
        records.send(ContentType::Handshake, &finished)?;
        records.seal_with(application.protection()?);
        records.send_alert(Level::Warning, Description::CLOSE_NOTIFY)?;
        records.flush(CLOSE)
    }
}

const ENCRYPTED_EXTENSIONS: &str = "EncryptedExtensions";
const CERTIFICATE_OR_REQUEST: &str = "CertificateRequest or Certificate";
const CERTIFICATE: &str = "Certificate";
const CERTIFICATE_VERIFY: &str = "CertificateVerify";
const FINISHED: &str = "Finished";

/// The states in order, over a connection. `presented` is set to the chain once there is one.
pub(crate) fn run<S: Read + Write>(
    records: &mut RecordLayer<'_, S>,
    state: ExpectEncryptedExtensions<'_>,
    presented: &mut Vec<Vec<u8>>,
) -> Result<Verified, Error> {
    let suite = state.0.suite.suite;
    let group = state.0.group;
    records.set_version(Version::Tls13);
    records.open_with(state.0.secrets.server.protection()?, "ServerHello")?;
    records.seal_with(state.0.secrets.client.protection()?);
    let state = state.handle(&records.message(ENCRYPTED_EXTENSIONS)?)?;
    let state = match state.handle(&records.message(CERTIFICATE_OR_REQUEST)?, presented)? {
        CertificateOrRequest::Request(state) => {
            state.handle(&records.message(CERTIFICATE)?, presented)?
        }
        CertificateOrRequest::Certificate(state) => state,
    };
    let leaf = presented.first().map_or(&[][..], Vec::as_slice);
    let state = state.handle(&records.message(CERTIFICATE_VERIFY)?, leaf)?;
    let authenticated = state.handle(&records.message(FINISHED)?)?;
    records.expect_boundary(FINISHED)?;
    // The server is authenticated: that it may be gone already, or not read on, is no longer
    // of importance.
    let _ = authenticated.close(records);
    Ok(Verified {
        version: Version::Tls13,
        suite,
        group,
        chain: std::mem::take(presented),
    })
}
