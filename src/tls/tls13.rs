//! TLS 1.3 from EncryptedExtensions to the server's Finished (RFC 8446 section 4.3 and 4.4).
//!
//! Each state takes exactly the message it is named after and returns the next; [`run`] has them in
//! the order of RFC 8446 appendix A.1. The server is authenticated once [`ExpectFinished`] has
//! passed, and not before: only Finished proves that both ends saw the same handshake.

use std::io::{Read, Write};

use super::codes::{ContentType, Description, ExtensionType, HandshakeType};
use super::error::Error;
use super::msgs::{
    Extensions, Message, check_context, compose, offered_scheme, parse_certificate13, parse_signed,
};
use super::record::RecordLayer;
use super::schedule::{Secrets, Transcript};
use super::{Config, Verified, Version};
use crate::crypto::ct;
use crate::crypto::sha2::Digest;
use crate::x509::{Certificate, sig};

/// The data of every state.
pub(crate) struct Handshake<'c> {
    pub(crate) config: &'c Config<'c>,
    /// The extensions of the last ClientHello.
    pub(crate) sent: Vec<ExtensionType>,
    /// Ends with the last message handled.
    pub(crate) transcript: Transcript,
    pub(crate) secrets: Secrets,
}

/// ServerHello is handled; from here on the server's records are protected.
pub(crate) struct ExpectEncryptedExtensions<'c>(pub(crate) Handshake<'c>);

impl<'c> ExpectEncryptedExtensions<'c> {
    /// RFC 8446 section 4.3.1.
    pub(crate) fn handle(mut self, message: &Message) -> Result<ExpectCertificate<'c>, Error> {
        let kind = HandshakeType::ENCRYPTED_EXTENSIONS;
        let extensions = message.read(kind, Extensions::parse)?;
        let allowed = [
            ExtensionType::SERVER_NAME,
            ExtensionType::SUPPORTED_GROUPS,
            ExtensionType::ALPN,
        ];
        extensions.check(kind, &allowed, &self.0.sent)?;
        extensions.check_empty(ExtensionType::SERVER_NAME)?;
        // advice for a later connection (section 4.2.7), which there never is
        extensions.check_list16(ExtensionType::SUPPORTED_GROUPS)?;
        extensions.check_alpn(self.0.config.alpn)?;
        self.0.transcript.add(message.bytes());
        Ok(ExpectCertificate(self.0))
    }
}

/// EncryptedExtensions is handled, and CertificateRequest if there was one.
pub(crate) struct ExpectCertificate<'c>(Handshake<'c>);

impl<'c> ExpectCertificate<'c> {
    /// RFC 8446 section 4.3.2.
    pub(crate) fn handle_request(mut self, message: &Message) -> Result<Self, Error> {
        let kind = HandshakeType::CERTIFICATE_REQUEST;
        let (context, extensions) = message.read(kind, |reader| {
            Ok((reader.sub8()?.rest(), Extensions::parse(reader)?))
        })?;
        check_context(context)?;
        let schemes = ExtensionType::SIGNATURE_ALGORITHMS;
        let certificate_schemes = ExtensionType::SIGNATURE_ALGORITHMS_CERT;
        extensions.check(kind, &[schemes, certificate_schemes], &self.0.sent)?;
        extensions.check_list16(certificate_schemes)?;
        if !extensions.check_list16(schemes)? {
            return Err(Error::missing(schemes, kind));
        }
        self.0.transcript.add(message.bytes());
        Ok(self)
    }

    /// RFC 8446 section 4.4.2: copies the chain to `presented` and verifies it, before the key in
    /// it is used.
    pub(crate) fn handle(
        mut self,
        message: &Message,
        presented: &mut Vec<Vec<u8>>,
    ) -> Result<ExpectCertificateVerify<'c>, Error> {
        let chain = parse_certificate13(message, &self.0.sent)?;
        self.0.config.verify(&chain, presented)?;
        self.0.transcript.add(message.bytes());
        Ok(ExpectCertificateVerify(self.0))
    }
}

/// Certificate is handled, the chain verified.
pub(crate) struct ExpectCertificateVerify<'c>(Handshake<'c>);

impl<'c> ExpectCertificateVerify<'c> {
    /// RFC 8446 section 4.4.3: the signature over the handshake so far, by the key of `leaf`.
    pub(crate) fn handle(
        mut self,
        message: &Message,
        leaf: &[u8],
    ) -> Result<ExpectFinished<'c>, Error> {
        let kind = HandshakeType::CERTIFICATE_VERIFY;
        let (scheme, signature) = message.read(kind, parse_signed)?;
        let scheme = offered_scheme(scheme)?;
        let leaf = Certificate::parse(leaf).map_err(Error::Certificate)?;
        let transcript = self.0.transcript.current();
        let content = signed_content(&transcript);
        sig::verify_tls13(scheme, &leaf, &content, signature).map_err(Error::Signature)?;
        self.0.transcript.add(message.bytes());
        Ok(ExpectFinished(self.0))
    }
}

/// What a server's CertificateVerify signs (RFC 8446 section 4.4.3). Because of the prefix no
/// signature of TLS 1.2 or of a client is valid here.
pub(crate) fn signed_content(transcript: &Digest) -> [&[u8]; 3] {
    [
        &[0x20; 64],
        b"TLS 1.3, server CertificateVerify\0",
        transcript.as_ref(),
    ]
}

/// CertificateVerify is handled.
pub(crate) struct ExpectFinished<'c>(Handshake<'c>);

impl<'c> ExpectFinished<'c> {
    /// RFC 8446 section 4.4.4.
    pub(crate) fn handle(mut self, message: &Message) -> Result<Handshake<'c>, Error> {
        let verify_data = message.read(HandshakeType::FINISHED, |reader| Ok(reader.rest()))?;
        let transcript = &mut self.0.transcript;
        let expected = self.0.secrets.server.verify_data(&transcript.current())?;
        if !ct::eq(verify_data, expected.as_ref()) {
            let what = "Finished does not verify: the handshake was tampered with";
            return Err(Error::misbehaved(Description::DECRYPT_ERROR, what));
        }
        transcript.add(message.bytes());
        Ok(self.0)
    }
}

impl Handshake<'_> {
    /// Once the server is authenticated: completes the handshake and closes, so that a server
    /// which asks for no certificate sees an ordinary connection that carried no data.
    /// `requested`: the server has sent a CertificateRequest.
    fn close<S: Read + Write>(
        self,
        records: &mut RecordLayer<'_, S>,
        requested: bool,
    ) -> Result<(), Error> {
        let (secrets, mut transcript) = (self.secrets, self.transcript);
        let application = secrets.client_application(&transcript.current())?;
        records.send_change_cipher_spec()?;
        if requested {
            // RFC 8446 section 4.4.2: a client without a certificate sends an empty list. A
            // server that requires one refuses now, but it is authenticated already.
            let certificate = compose(HandshakeType::CERTIFICATE, &[0; 4])?;
            transcript.add(&certificate);
            records.send(ContentType::HANDSHAKE, &certificate)?;
        }
        let verify_data = secrets.client.verify_data(&transcript.current())?;
        let finished = compose(HandshakeType::FINISHED, verify_data.as_ref())?;
        records.send(ContentType::HANDSHAKE, &finished)?;
        records.seal_with(application.protection()?);
        records.send_alerts(&[Description::CLOSE_NOTIFY]);
        Ok(())
    }
}

/// The states in order, over a connection. `presented` is set to the server's certificates once it
/// has sent them.
pub(crate) fn run<S: Read + Write>(
    records: &mut RecordLayer<'_, S>,
    state: ExpectEncryptedExtensions<'_>,
    presented: &mut Vec<Vec<u8>>,
) -> Result<Verified, Error> {
    let secrets = &state.0.secrets;
    let suite = secrets.suite.name;
    records.set_version(Version::TLS13);
    records.open_with(secrets.server.protection()?)?;
    records.seal_with(secrets.client.protection()?);
    let mut state = state.handle(&records.message(HandshakeType::ENCRYPTED_EXTENSIONS)?)?;
    let mut message = records.message(HandshakeType::CERTIFICATE)?;
    let requested = message.kind() == HandshakeType::CERTIFICATE_REQUEST;
    if requested {
        state = state.handle_request(&message)?;
        message = records.message(HandshakeType::CERTIFICATE)?;
    }
    let state = state.handle(&message, presented)?;
    let leaf = presented.first().map_or(&[][..], Vec::as_slice);
    let state = state.handle(&records.message(HandshakeType::CERTIFICATE_VERIFY)?, leaf)?;
    let handshake = state.handle(&records.message(HandshakeType::FINISHED)?)?;
    records.expect_boundary()?;
    // The server is authenticated: whether it still reads does not matter any more.
    let _ = handshake.close(records, requested);
    Ok(Verified {
        version: Version::TLS13,
        suite,
        chain: std::mem::take(presented),
    })
}
