//! Handshake messages: their structure on the wire (RFC 8446 section 4, RFC 5246 section 7.4,
//! RFC 8422 section 5.4), read from and written to bytes.
//!
//! Reading checks only the structure: lengths add up, no byte is left over. Which values are allowed
//! at that point of a handshake is checked by the states (`negotiate`, `tls13`, `tls12`).
//! Everything read borrows from the message.

use std::collections::BTreeSet;

use super::codes::{ExtensionType, HandshakeType};
use super::error::Error;
use crate::crypto;
use crate::wire::{self, Reader};
use crate::x509::SignatureScheme;

/// Most bytes of a Certificate message. Chains are 2 to 10 kB; with four certificates signed
/// by RSA-8192 they stay below 16 kB.
const MAX_CERTIFICATE: u32 = 65_536;

/// Most bytes of a CertificateRequest, which may name every authority that a server trusts:
/// about 100 bytes each.
const MAX_CERTIFICATE_REQUEST: u32 = 65_536;

/// Most bytes of any other message. The longest is a HelloRetryRequest with a cookie, some
/// hundreds of bytes.
const MAX_MESSAGE: u32 = 16_384;

/// Most bytes of a message of that type.
fn limit(kind: HandshakeType) -> u32 {
    match kind {
        HandshakeType::CERTIFICATE => MAX_CERTIFICATE,
        HandshakeType::CERTIFICATE_REQUEST => MAX_CERTIFICATE_REQUEST,
        _ => MAX_MESSAGE,
    }
}

/// One whole handshake message, header included, as transcripts hash it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    kind: HandshakeType,
    bytes: Vec<u8>,
}

impl Message {
    /// Takes the first message off `buffer`; `None` if it is not complete. A message that
    /// claims more than its type's limit is refused on its header.
    pub(crate) fn split_off(buffer: &mut Vec<u8>) -> Result<Option<Self>, Error> {
        let mut reader = Reader::new(buffer);
        let mut body = reader.clone();
        let (Ok(kind), Ok(length)) = (reader.u8(), reader.u24()) else {
            return Ok(None);
        };
        let kind = HandshakeType(kind);
        if length > limit(kind) {
            return Err(Error::illegal("handshake message is too long"));
        }
        if body.u8().is_err() || body.sub24().is_err() {
            return Ok(None);
        }
        let rest = buffer.split_off(body.position());
        let bytes = std::mem::replace(buffer, rest);
        Ok(Some(Self { kind, bytes }))
    }

    pub(crate) fn kind(&self) -> HandshakeType {
        self.kind
    }

    /// Header and body.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the body, all of it, as a message of type `kind`.
    pub(crate) fn read<'m, T>(
        &'m self,
        kind: HandshakeType,
        parse: impl FnOnce(&mut Reader<'m>) -> Result<T, wire::Error>,
    ) -> Result<T, Error> {
        if self.kind != kind {
            return Err(Error::out_of_order(self.kind, kind));
        }
        let body = |reader: &mut Reader<'m>| {
            reader.array::<4>()?;
            parse(reader)
        };
        whole(&self.bytes, body).map_err(|error| Error::malformed(kind, error))
    }
}

/// Reads `bytes`, all of them.
fn whole<'a, T>(
    bytes: &'a [u8],
    parse: impl FnOnce(&mut Reader<'a>) -> Result<T, wire::Error>,
) -> Result<T, wire::Error> {
    let mut reader = Reader::new(bytes);
    let value = parse(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// The extensions of one message, in order.
#[derive(Debug, Default)]
pub(crate) struct Extensions<'a>(Vec<(ExtensionType, &'a [u8])>);

impl<'a> Extensions<'a> {
    /// Reads a list behind a two-byte length.
    pub(crate) fn parse(reader: &mut Reader<'a>) -> Result<Self, wire::Error> {
        let mut list = reader.sub16()?;
        let mut extensions = Vec::new();
        while !list.is_empty() {
            extensions.push((ExtensionType(list.u16()?), list.sub16()?.rest()));
        }
        Ok(Self(extensions))
    }

    /// Refuses duplicates, what was `sent` in the ClientHello and is not `allowed` in this
    /// message, and what was not sent (RFC 8446 section 4.2). A CertificateRequest answers
    /// nothing, so unknown extensions in it are ignored (section 4.3.2).
    pub(crate) fn check(
        &self,
        message: HandshakeType,
        allowed: &[ExtensionType],
        sent: &[ExtensionType],
    ) -> Result<(), Error> {
        let answers = message != HandshakeType::CERTIFICATE_REQUEST;
        let mut seen = BTreeSet::new();
        for &(extension, _) in &self.0 {
            match sent.contains(&extension) {
                false if answers => return Err(Error::unsolicited(extension, message)),
                true if !allowed.contains(&extension) => {
                    return Err(Error::misplaced(extension, message));
                }
                _ if !seen.insert(extension) => return Err(Error::duplicate(extension, message)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the content, all of it, of the extension of that type, if there is one.
    pub(crate) fn read<T>(
        &self,
        extension: ExtensionType,
        parse: impl FnOnce(&mut Reader<'a>) -> Result<T, wire::Error>,
    ) -> Result<Option<T>, Error> {
        let Some((_, content)) = self.0.iter().find(|(kind, _)| *kind == extension) else {
            return Ok(None);
        };
        whole(content, parse)
            .map(Some)
            .map_err(|error| Error::malformed_extension(extension, error))
    }

    /// Checks that the extension of that type, if there is one, has no content.
    pub(crate) fn check_empty(&self, extension: ExtensionType) -> Result<(), Error> {
        self.read(extension, |_| Ok(())).map(|_| ())
    }

    /// Checks that the extension of that type, if there is one, holds a list of at least one
    /// two-byte number. True if there is one.
    pub(crate) fn check_list16(&self, extension: ExtensionType) -> Result<bool, Error> {
        let list = self.read(extension, |reader| {
            let mut list = reader.sub16()?;
            list.u16()?;
            while !list.is_empty() {
                list.u16()?;
            }
            Ok(())
        });
        Ok(list?.is_some())
    }

    /// Checks the server's choice of protocol, if it made one: exactly one, and one of
    /// `offered` (RFC 7301 section 3.1).
    pub(crate) fn check_alpn(&self, offered: &[&[u8]]) -> Result<(), Error> {
        let chosen = self.read(ExtensionType::ALPN, |reader| {
            let mut list = reader.sub16()?;
            let protocol = list.sub8()?.rest();
            list.finish()?;
            Ok(protocol)
        })?;
        match chosen {
            Some(protocol) if !offered.contains(&protocol) => {
                Err(Error::illegal("protocol chosen by ALPN was not offered"))
            }
            _ => Ok(()),
        }
    }
}

/// ServerHello, of either version, and HelloRetryRequest, which has the same form.
#[derive(Debug)]
pub(crate) struct ServerHello<'a> {
    pub(crate) legacy_version: u16,
    pub(crate) random: [u8; 32],
    pub(crate) session_id: &'a [u8],
    pub(crate) cipher_suite: u16,
    pub(crate) compression_method: u8,
    pub(crate) extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    /// RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3.
    pub(crate) fn parse(message: &'a Message) -> Result<Self, Error> {
        message.read(HandshakeType::SERVER_HELLO, |reader| {
            Ok(Self {
                legacy_version: reader.u16()?,
                random: reader.array()?,
                session_id: reader.sub8()?.rest(),
                cipher_suite: reader.u16()?,
                compression_method: reader.u8()?,
                // in TLS 1.2 the whole block may be absent
                extensions: if reader.is_empty() {
                    Extensions::default()
                } else {
                    Extensions::parse(reader)?
                },
            })
        })
    }

    /// Only the method null was offered (RFC 8446 section 4.1.3).
    pub(crate) fn check_compression(&self) -> Result<(), Error> {
        match self.compression_method {
            0 => Ok(()),
            method => Err(Error::not_offered("compression method", method)),
        }
    }
}

/// Reads a TLS 1.3 Certificate (RFC 8446 section 4.4.2): the chain as sent, leaf first, which may
/// have any length; `x509` checks it. Extensions of its entries would answer status_request and
/// signed_certificate_timestamp, which are not sent, so every one is refused.
pub(crate) fn parse_certificate13<'a>(
    message: &'a Message,
    sent: &[ExtensionType],
) -> Result<Vec<&'a [u8]>, Error> {
    let kind = HandshakeType::CERTIFICATE;
    let mut chain = Vec::new();
    let mut extensions = Vec::new();
    let context = message.read(kind, |reader| {
        let context = reader.sub8()?.rest();
        let mut list = reader.sub24()?;
        while !list.is_empty() {
            chain.push(list.sub24()?.rest());
            extensions.push(Extensions::parse(&mut list)?);
        }
        Ok(context)
    })?;
    check_context(context)?;
    for extensions in extensions {
        extensions.check(kind, &[], sent)?;
    }
    Ok(chain)
}

/// Checks the certificate_request_context, which is used only after a handshake (RFC 8446 sections
/// 4.3.2 and 4.4.2).
pub(crate) fn check_context(context: &[u8]) -> Result<(), Error> {
    match context {
        [] => Ok(()),
        _ => Err(Error::illegal("certificate_request_context is not empty")),
    }
}

/// Reads a TLS 1.2 Certificate (RFC 5246 section 7.4.2): the chain as sent, leaf first.
pub(crate) fn parse_certificate12(message: &Message) -> Result<Vec<&[u8]>, Error> {
    let kind = HandshakeType::CERTIFICATE;
    message.read(kind, |reader| {
        let mut list = reader.sub24()?;
        let mut chain = Vec::new();
        while !list.is_empty() {
            chain.push(list.sub24()?.rest());
        }
        Ok(chain)
    })
}

/// Reads the code of a signature scheme and the signature: the end of CertificateVerify (RFC 8446
/// section 4.4.3) and of ServerKeyExchange (RFC 5246 section 4.7).
pub(crate) fn parse_signed<'a>(reader: &mut Reader<'a>) -> Result<(u16, &'a [u8]), wire::Error> {
    Ok((reader.u16()?, reader.sub16()?.rest()))
}

/// The signature scheme of that code, which must be one that was offered.
pub(crate) fn offered_scheme(code: u16) -> Result<SignatureScheme, Error> {
    SignatureScheme::from_code(code).ok_or_else(|| Error::not_offered("signature scheme", code))
}

/// ServerKeyExchange of ECDHE (RFC 8422 section 5.4).
#[derive(Debug)]
pub(crate) struct ServerKeyExchange<'a> {
    /// The ServerECDHParams as sent, which are signed.
    pub(crate) params: &'a [u8],
    pub(crate) curve_type: u8,
    pub(crate) named_curve: u16,
    pub(crate) public: &'a [u8],
    pub(crate) scheme: u16,
    pub(crate) signature: &'a [u8],
}

impl<'a> ServerKeyExchange<'a> {
    /// If the curve type is not named_curve, the other fields have no meaning; the state refuses the
    /// message before it uses them.
    pub(crate) fn parse(message: &'a Message) -> Result<Self, Error> {
        let kind = HandshakeType::SERVER_KEY_EXCHANGE;
        message.read(kind, |reader| {
            let (mut start, before) = (reader.clone(), reader.position());
            let curve_type = reader.u8()?;
            let named_curve = reader.u16()?;
            let public = reader.sub8()?.rest();
            let params = start.take(reader.position().saturating_sub(before))?;
            let (scheme, signature) = parse_signed(reader)?;
            Ok(Self {
                params,
                curve_type,
                named_curve,
                public,
                scheme,
                signature,
            })
        })
    }
}

/// `content` behind its length in `N` bytes.
pub(crate) fn prefixed<const N: usize>(content: &[u8]) -> Result<Vec<u8>, Error> {
    let length = u64::try_from(content.len()).map_err(|_| crypto::Error::BadLength)?;
    match length.to_be_bytes().split_last_chunk::<N>() {
        Some((high, low)) if high.iter().all(|byte| *byte == 0) => Ok([low, content].concat()),
        _ => Err(crypto::Error::BadLength.into()),
    }
}

/// A whole handshake message.
pub(crate) fn compose(kind: HandshakeType, body: &[u8]) -> Result<Vec<u8>, Error> {
    Ok([&[kind.0], &prefixed::<3>(body)?[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first message in `bytes`, which hold nothing else.
    fn message(bytes: &[u8]) -> Message {
        let mut buffer = bytes.to_vec();
        let message = Message::split_off(&mut buffer).unwrap().unwrap();
        assert!(buffer.is_empty());
        message
    }

    fn malformed(message: HandshakeType, error: wire::Error) -> Error {
        Error::malformed(message, error)
    }

    #[test]
    fn a_message_is_split_off_once_it_is_whole() {
        let bytes = [20, 0, 0, 2, 5, 6, 14, 0, 0, 0];
        for length in 0..6 {
            let mut buffer = bytes[..length].to_vec();
            assert_eq!(Message::split_off(&mut buffer), Ok(None));
            assert_eq!(buffer, bytes[..length]);
        }
        let mut buffer = bytes.to_vec();
        let first = Message::split_off(&mut buffer).unwrap().unwrap();
        assert_eq!(
            (first.kind(), first.bytes()),
            (HandshakeType::FINISHED, &bytes[..6])
        );
        assert_eq!(buffer, bytes[6..]);
    }

    #[test]
    fn every_truncation_of_a_message_is_refused() {
        let extensions = [0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 23];
        let body: [&[u8]; 6] = [
            &[3, 3],
            &[7; 32],
            &prefixed::<1>(&[8; 32]).unwrap(),
            &[0x13, 1],
            &[0],
            &prefixed::<2>(&extensions).unwrap(),
        ];
        let hello = compose(HandshakeType::SERVER_HELLO, &body.concat()).unwrap();
        let whole = message(&hello);
        let parsed = ServerHello::parse(&whole).unwrap();
        assert_eq!(parsed.session_id, [8; 32]);
        let version = parsed
            .extensions
            .read(ExtensionType::SUPPORTED_VERSIONS, |reader| reader.u16());
        assert_eq!(version, Ok(Some(0x0304)));
        // without the extensions it is a hello of TLS 1.2
        let without = hello.len() - extensions.len() - 2;
        for length in 4..hello.len() {
            let mut cut = hello[..length].to_vec();
            cut[3] = u8::try_from(length - 4).unwrap();
            let cut = message(&cut);
            assert_eq!(ServerHello::parse(&cut).is_ok(), length == without);
        }
    }

    #[test]
    fn certificates() {
        let kind = HandshakeType::CERTIFICATE;
        let parse = |body: &[u8]| {
            let message = message(&compose(kind, body).unwrap());
            let sent = [ExtensionType::KEY_SHARE];
            let chain = parse_certificate13(&message, &sent)?;
            Ok(chain.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        let two = [0, 0, 0, 13, 0, 0, 2, 1, 2, 0, 0, 0, 0, 1, 3, 0, 0];
        assert_eq!(parse(&two), Ok(vec![vec![1, 2], vec![3]]));
        assert_eq!(parse(&[0, 0, 0, 0]), Ok(vec![]));
        assert_eq!(
            parse(&[1, 9, 0, 0, 0]),
            Err(Error::illegal("certificate_request_context is not empty"))
        );
        let trailing = malformed(kind, wire::Error::Trailing);
        assert_eq!(parse(&[0, 0, 0, 0, 0]), Err(trailing));
        let truncated = malformed(kind, wire::Error::Truncated);
        assert_eq!(parse(&[0, 0, 0, 4, 0, 0, 1, 1]), Err(truncated));
        let extension = ExtensionType(5);
        assert_eq!(
            parse(&[0, 0, 0, 10, 0, 0, 1, 1, 0, 4, 0, 5, 0, 0]),
            Err(Error::unsolicited(extension, kind))
        );
        let extension = ExtensionType::KEY_SHARE;
        assert_eq!(
            parse(&[0, 0, 0, 10, 0, 0, 1, 1, 0, 4, 0, 51, 0, 0]),
            Err(Error::misplaced(extension, kind))
        );

        let bytes = [11, 0, 0, 11, 0, 0, 8, 0, 0, 2, 1, 2, 0, 0, 0];
        assert_eq!(
            parse_certificate12(&message(&bytes)),
            Ok(vec![&[1, 2][..], &[]])
        );
        let other = message(&[12, 0, 0, 0]);
        let unexpected = Error::out_of_order(HandshakeType::SERVER_KEY_EXCHANGE, kind);
        assert_eq!(parse_certificate12(&other), Err(unexpected));
    }

    #[test]
    fn the_signed_part_of_a_key_exchange() {
        let bytes = [12, 0, 0, 13, 3, 0, 29, 2, 8, 9, 4, 3, 0, 3, 5, 6, 7];
        let message = message(&bytes);
        let exchange = ServerKeyExchange::parse(&message).unwrap();
        assert_eq!(exchange.params, &bytes[4..10]);
        assert_eq!((exchange.curve_type, exchange.named_curve), (3, 29));
        assert_eq!(exchange.public, [8, 9]);
        assert_eq!(exchange.scheme, 0x0403);
        assert_eq!(exchange.signature, [5, 6, 7]);
    }

    #[test]
    fn duplicates_are_found_among_many_extensions() {
        // 64 KiB of extensions without content: 16,383 of them, all different but two
        let mut body = vec![0xff, 0xfc];
        for kind in (0..16_382u16).chain([3]) {
            body.extend(kind.to_be_bytes());
            body.extend([0, 0]);
        }
        let kind = HandshakeType::CERTIFICATE_REQUEST;
        let extensions = Extensions::parse(&mut Reader::new(&body)).unwrap();
        let extension = ExtensionType(3);
        assert_eq!(
            extensions.check(kind, &[], &[]),
            Err(Error::duplicate(extension, kind))
        );
    }

    #[test]
    fn lengths_that_do_not_fit_are_errors() {
        let longest = prefixed::<1>(&[7; 255]).unwrap();
        assert_eq!((longest[0], longest.len()), (255, 256));
        let too_long = Err(Error::Internal(crypto::Error::BadLength));
        assert_eq!(prefixed::<1>(&[7; 256]), too_long);
        assert_eq!(prefixed::<2>(&[7; 65_536]), too_long);
    }
}
