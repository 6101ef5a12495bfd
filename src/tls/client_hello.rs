//! ClientHello: one hello that offers TLS 1.3 and TLS 1.2 (RFC 8446 section 4.1.2).
//!
//! | extension | why |
//! |---|---|
//! | server_name | the name to be verified; never an address (RFC 6066 section 3) |
//! | ec_point_formats | TLS 1.2 servers of Go before 1.21 do no ECDHE without it |
//! | supported_groups, key_share | the key exchange: [`super::group`] |
//! | signature_algorithms, signature_algorithms_cert | [`SignatureScheme::ALL`]: what `x509` verifies |
//! | application_layer_protocol_negotiation | as configured: servers may insist on theirs |
//! | extended_master_secret | TLS 1.2 servers may insist (RFC 7627 section 5.3) |
//! | supported_versions | 1.3 and 1.2 |
//! | cookie | the one of a HelloRetryRequest |
//!
//! The renegotiation SCSV (RFC 5746 section 3.4) means an empty renegotiation_info, and
//! the session id is a random one for the sake of middleboxes (RFC 8446 appendix D.4). No PSK,
//! ticket, early data, compression or status request is offered, so no server may answer one.

use super::Version;
use super::codes::{ExtensionType, HandshakeType};
use super::error::Error;
use super::group::{GROUPS, Group, KeyShare};
use super::msgs::{compose, prefixed};
use super::suite;
use crate::x509::SignatureScheme;

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 section 3.3).
const RENEGOTIATION_SCSV: u16 = 0x00ff;

/// supported_versions, in order of preference.
const VERSIONS: [Version; 2] = [Version::TLS13, Version::TLS12];

/// The fields that are the same in both hellos of a handshake with a HelloRetryRequest (RFC 8446
/// section 4.1.2).
pub(crate) struct ClientHello<'c> {
    pub(crate) random: [u8; 32],
    pub(crate) session_id: [u8; 32],
    /// The host name, if it is not an address.
    pub(crate) server_name: Option<&'c str>,
    pub(crate) alpn: &'c [&'c [u8]],
}

/// A composed hello.
pub(crate) struct Sent {
    /// The handshake message, header included.
    pub(crate) bytes: Vec<u8>,
    /// The extensions in it: those that a server may answer.
    pub(crate) extensions: Vec<ExtensionType>,
}

impl ClientHello<'_> {
    /// The message with this one key share, and the cookie if there is one.
    pub(crate) fn compose(&self, share: &KeyShare, cookie: Option<&[u8]>) -> Result<Sent, Error> {
        let tls13 = suite::TLS13.into_iter().map(|suite| suite.code);
        let tls12 = suite::TLS12.into_iter().map(|suite| suite.code);
        let suites = codes(tls13.chain(tls12).chain([RENEGOTIATION_SCSV]));
        let (extensions, bytes) = self.extensions(share, cookie)?;
        let legacy_version = codes([Version::TLS12.0]);
        let body: [&[u8]; 6] = [
            &legacy_version,
            &self.random,
            &prefixed::<1>(&self.session_id)?,
            &prefixed::<2>(&suites)?,
            &[1, 0], // legacy_compression_methods: null alone
            &prefixed::<2>(&bytes)?,
        ];
        Ok(Sent {
            bytes: compose(HandshakeType::CLIENT_HELLO, &body.concat())?,
            extensions,
        })
    }

    /// The types of the extensions, and their bytes.
    fn extensions(
        &self,
        share: &KeyShare,
        cookie: Option<&[u8]>,
    ) -> Result<(Vec<ExtensionType>, Vec<u8>), Error> {
        // the SCSV counts as the extension (RFC 5746 section 3.4)
        let mut sent = vec![ExtensionType::RENEGOTIATION_INFO];
        let mut out = Vec::new();
        let mut extension = |kind: ExtensionType, content: &[u8]| {
            sent.push(kind);
            out.extend(kind.0.to_be_bytes());
            out.extend(prefixed::<2>(content)?);
            Ok::<_, Error>(())
        };
        if let Some(name) = self.server_name {
            // name_type host_name
            let name = [&[0], &prefixed::<2>(name.as_bytes())?[..]].concat();
            extension(ExtensionType::SERVER_NAME, &prefixed::<2>(&name)?)?;
        }
        // uncompressed alone (RFC 8422 section 5.1.2)
        extension(ExtensionType::EC_POINT_FORMATS, &[1, 0])?;
        let groups = prefixed::<2>(&codes(GROUPS.map(Group::code)))?;
        extension(ExtensionType::SUPPORTED_GROUPS, &groups)?;
        // the same list twice, so that servers choose their certificates by it
        let schemes = prefixed::<2>(&codes(SignatureScheme::ALL.map(SignatureScheme::code)))?;
        extension(ExtensionType::SIGNATURE_ALGORITHMS, &schemes)?;
        extension(ExtensionType::SIGNATURE_ALGORITHMS_CERT, &schemes)?;
        if !self.alpn.is_empty() {
            let protocols = self.alpn.iter().map(|protocol| prefixed::<1>(protocol));
            let protocols = protocols.collect::<Result<Vec<_>, _>>()?.concat();
            extension(ExtensionType::ALPN, &prefixed::<2>(&protocols)?)?;
        }
        extension(ExtensionType::EXTENDED_MASTER_SECRET, &[])?;
        let versions = prefixed::<1>(&codes(VERSIONS.map(|version| version.0)))?;
        extension(ExtensionType::SUPPORTED_VERSIONS, &versions)?;
        let share = [
            codes([share.group().code()]),
            prefixed::<2>(share.public())?,
        ]
        .concat();
        extension(ExtensionType::KEY_SHARE, &prefixed::<2>(&share)?)?;
        if let Some(cookie) = cookie {
            extension(ExtensionType::COOKIE, &prefixed::<2>(cookie)?)?;
        }
        Ok((sent, out))
    }
}

/// Numbers of two bytes.
fn codes(numbers: impl IntoIterator<Item = u16>) -> Vec<u8> {
    numbers.into_iter().flat_map(u16::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto;

    fn hello<'c>(server_name: Option<&'c str>, alpn: &'c [&'c [u8]]) -> ClientHello<'c> {
        ClientHello {
            random: [0x11; 32],
            session_id: [0x22; 32],
            server_name,
            alpn,
        }
    }

    #[test]
    fn the_bytes_of_a_hello() {
        let share = KeyShare::generate(Group::X25519, &mut |out| {
            out.fill(1);
            Ok(())
        })
        .unwrap();
        let sent = hello(Some("a.example"), &[b"h2"])
            .compose(&share, None)
            .unwrap();
        let schemes: &[u8] = &[
            0, 26, 4, 3, 8, 7, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 8, 9, 8, 10, 8, 11, 4, 1, 5, 1, 6, 1,
        ];
        let expected: &[&[u8]] = &[
            &[1, 0, 1, 3, 3, 3],
            &[0x11; 32],
            &[32],
            &[0x22; 32],
            &[
                0, 20, 0x13, 1, 0x13, 2, 0x13, 3, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c,
            ],
            &[0xc0, 0x30, 0xcc, 0xa9, 0xcc, 0xa8, 0, 0xff],
            &[1, 0],
            &[0, 166],
            &[0, 0, 0, 14, 0, 12, 0, 0, 9],
            b"a.example",
            &[0, 11, 0, 2, 1, 0],
            &[0, 10, 0, 10, 0, 8, 0, 0x1d, 0, 0x17, 0, 0x18, 0, 0x19],
            &[0, 13, 0, 28],
            schemes,
            &[0, 50, 0, 28],
            schemes,
            &[0, 16, 0, 5, 0, 3, 2],
            b"h2",
            &[0, 23, 0, 0],
            &[0, 43, 0, 5, 4, 3, 4, 3, 3],
            &[0, 51, 0, 38, 0, 36, 0, 0x1d, 0, 32],
            share.public(),
        ];
        assert_eq!(sent.bytes, expected.concat());
    }

    #[test]
    fn no_server_name_for_an_address_and_no_alpn_without_protocols() {
        let share = KeyShare::generate(Group::X25519, &mut |out| {
            out.fill(1);
            Ok(())
        })
        .unwrap();
        let absent = [ExtensionType::SERVER_NAME, ExtensionType::ALPN];
        let sent = hello(None, &[]).compose(&share, None).unwrap();
        assert!(absent.iter().all(|kind| !sent.extensions.contains(kind)));
        let sent = hello(Some("a"), &[b"x"]).compose(&share, None).unwrap();
        assert!(absent.iter().all(|kind| sent.extensions.contains(kind)));
    }

    #[test]
    fn a_cookie_is_sent_back() {
        let share = KeyShare::generate(Group::X25519, &mut |out| {
            out.fill(1);
            Ok(())
        })
        .unwrap();
        let sent = hello(None, &[]).compose(&share, Some(&[5, 6])).unwrap();
        assert!(sent.bytes.ends_with(&[0, 44, 0, 4, 0, 2, 5, 6]));
        assert!(sent.extensions.contains(&ExtensionType::COOKIE));
    }

    #[test]
    fn a_protocol_name_that_is_too_long_is_an_error() {
        let share = KeyShare::generate(Group::X25519, &mut |out| {
            out.fill(1);
            Ok(())
        })
        .unwrap();
        let long = [b'x'; 256];
        let sent = hello(None, &[&long]).compose(&share, None);
        assert_eq!(sent.err(), Some(Error::Internal(crypto::Error::BadLength)));
    }

    #[test]
    fn the_offer_in_words_is_the_offer() {
        let list = |parts: &[String]| {
            let mut seen: Vec<&str> = Vec::new();
            for part in parts {
                if !seen.contains(&part.as_str()) {
                    seen.push(part);
                }
            }
            seen.join(", ")
        };
        let cipher = |name: &str| {
            let (_, name) = name.split_once("TLS_").unwrap();
            let name = name
                .strip_prefix("ECDHE_")
                .map_or(name, |name| name.split_once("_WITH_").unwrap().1);
            name.rsplit_once("_SHA").unwrap().0.to_owned()
        };
        let ciphers = suite::TLS13.map(|suite| cipher(suite.name));
        for suite in suite::TLS12 {
            assert!(suite.name.starts_with("TLS_ECDHE_"), "{}", suite.name);
            assert!(ciphers.contains(&cipher(suite.name)), "{}", suite.name);
        }
        let groups = GROUPS.map(|group| format!("{group:?}"));
        let groups = groups.map(|name| match name.strip_prefix("Secp") {
            Some(curve) => format!("P-{}", curve.trim_end_matches("r1")),
            None => name,
        });
        let keys = SignatureScheme::ALL.map(|scheme| {
            let name = scheme.to_string().to_uppercase();
            name.split('_').next().unwrap().to_owned()
        });
        let (versions, ciphers) = (list(&VERSIONS.map(|v| v.to_string())), list(&ciphers));
        let (groups, keys) = (list(&groups), list(&keys));
        assert_eq!(
            crate::tls::error::OFFER,
            format!("{versions}, ECDHE with {ciphers}, groups {groups}, keys {keys}")
        );
    }
}
