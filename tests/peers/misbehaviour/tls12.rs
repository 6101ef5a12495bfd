//! TLS 1.2, and versions below.

use super::{EXTENSIONS_12, SERVER_HELLO, add_extension, case, check, echo_session_id, tls12};
use crate::crypto;
use crate::peers::tls_server::{RANDOM, RETRY_RANDOM, fix_length, handshake, length16, sign};
use crate::tls::Error;
use crate::tls::codes::{ExtensionType, HandshakeType};
use crate::wire;
use crate::x509::{self, sig::SignatureScheme};

#[test]
fn bad_servers_of_tls_1_2() {
    let unexpected = |got, awaiting| Error::UnexpectedMessage { got, awaiting };
    let hello = |kind: u16, content: &'static [u8]| {
        move |name: &str, message: &mut Vec<u8>| {
            if name == "ServerHello" {
                message.truncate(EXTENSIONS_12 + 2);
                add_extension(message, EXTENSIONS_12, kind, content);
            }
        }
    };
    let suite = |code: [u8; 2]| {
        move |name: &str, message: &mut Vec<u8>| {
            if name == "ServerHello" {
                message[39..41].copy_from_slice(&code);
            }
        }
    };
    let random_end = |end: &'static [u8; 8]| {
        move |name: &str, message: &mut Vec<u8>| {
            if name == "ServerHello" {
                message[30..38].copy_from_slice(end);
            }
        }
    };
    let malformed = |extension, error| Error::MalformedExtension { extension, error };
    let rsa = SignatureScheme::RsaPssRsaeSha256;
    let ecdsa = SignatureScheme::EcdsaP256Sha256;
    let signature = Error::Signature(x509::Error::BadHandshakeSignature {
        scheme: ecdsa,
        cause: crypto::Error::BadSignature,
    });
    check(
        tls12,
        &[
            case(
                "TLS 1.2 instead of 1.3",
                &random_end(b"DOWNGRD\x01"),
                Error::Downgrade,
            ),
            case(
                "TLS 1.1 instead of 1.2",
                &random_end(b"DOWNGRD\x00"),
                Error::Downgrade,
            ),
            case(
                "the random value of a HelloRetryRequest",
                on!("ServerHello", |m| m[6..38].copy_from_slice(&RETRY_RANDOM)),
                Error::MissingExtension {
                    message: SERVER_HELLO,
                    extension: ExtensionType::SUPPORTED_VERSIONS,
                },
            ),
            case(
                "TLS 1.1",
                on!("ServerHello", |m| m[5] = 2),
                Error::UnsupportedVersion(0x0302),
            ),
            case(
                "SSL 3.0",
                on!("ServerHello", |m| m[5] = 0),
                Error::UnsupportedVersion(0x0300),
            ),
            case(
                "a suite of TLS 1.3",
                &suite([0x13, 1]),
                Error::SuiteNotOffered(0x1301),
            ),
            case("CBC", &suite([0xc0, 0x09]), Error::SuiteNotOffered(0xc009)),
            case(
                "static RSA",
                &suite([0, 0x9c]),
                Error::SuiteNotOffered(0x009c),
            ),
            case(
                "the SCSV",
                &suite([0, 0xff]),
                Error::SuiteNotOffered(0x00ff),
            ),
            case(
                "a suite for RSA and a signature of ECDSA",
                &suite([0xc0, 0x2f]),
                Error::SchemeMismatch(ecdsa),
            ),
            case(
                "compression",
                on!("ServerHello", |m| m[41] = 1),
                Error::Compression(1),
            ),
            case(
                "resumption of what never was",
                &|name, m| match name {
                    "ServerHello" => echo_session_id(m),
                    _ => m.clear(),
                },
                Error::Closed {
                    awaiting: "Certificate",
                },
            ),
            case(
                "the algorithms of signatures",
                &hello(13, &[0, 2, 4, 3]),
                Error::MisplacedExtension {
                    message: SERVER_HELLO,
                    extension: ExtensionType::SIGNATURE_ALGORITHMS,
                },
            ),
            case(
                "groups twice",
                on!("ServerHello", |m| {
                    add_extension(m, EXTENSIONS_12, 10, &[0, 2, 0, 23]);
                    add_extension(m, EXTENSIONS_12, 10, &[0, 2, 0, 23]);
                }),
                Error::DuplicateExtension {
                    message: SERVER_HELLO,
                    extension: ExtensionType::SUPPORTED_GROUPS,
                },
            ),
            case(
                "a session id of 33 bytes",
                on!("ServerHello", |m| {
                    m[38] = 33;
                    m.splice(39..39, [9; 33]);
                    fix_length(m);
                }),
                Error::BadSessionId,
            ),
            case(
                "a ticket",
                &hello(35, &[]),
                Error::UnsolicitedExtension {
                    message: SERVER_HELLO,
                    extension: ExtensionType(35),
                },
            ),
            case(
                "a key share of TLS 1.3",
                &hello(51, &[]),
                Error::MisplacedExtension {
                    message: SERVER_HELLO,
                    extension: ExtensionType::KEY_SHARE,
                },
            ),
            case(
                "a renegotiation",
                &hello(0xff01, &[1, 1]),
                Error::Renegotiation,
            ),
            case(
                "an extended master secret with content",
                &hello(23, &[0]),
                malformed(ExtensionType::EXTENDED_MASTER_SECRET, wire::Error::Trailing),
            ),
            case(
                "compressed points alone",
                &hello(11, &[1, 1]),
                Error::PointFormats,
            ),
            case(
                "a protocol that was not offered",
                &hello(16, &[0, 3, 2, b'h', b'3']),
                Error::BadAlpn,
            ),
            case(
                "no Certificate",
                on!("Certificate", Vec::clear),
                unexpected(HandshakeType::SERVER_KEY_EXCHANGE, "Certificate"),
            ),
            case(
                "an empty chain",
                on!("Certificate", |m| *m = vec![11, 0, 0, 3, 0, 0, 0]),
                Error::Certificate(x509::Error::NoCertificate),
            ),
            case(
                "no ServerKeyExchange",
                on!("ServerKeyExchange", Vec::clear),
                unexpected(HandshakeType::SERVER_HELLO_DONE, "ServerKeyExchange"),
            ),
            case(
                "an OCSP response",
                on!("Certificate", |m| m.extend([22, 0, 0, 1, 1])),
                unexpected(HandshakeType(22), "ServerKeyExchange"),
            ),
            case(
                "a curve of its own",
                on!("ServerKeyExchange", |m| m[4] = 1),
                Error::ExplicitCurve(1),
            ),
            case(
                "a group that was not offered",
                on!("ServerKeyExchange", |m| m[6] = 0x1e),
                Error::GroupNotOffered(0x1e),
            ),
            case(
                "a public value of another group",
                on!("ServerKeyExchange", |m| m[6] = 0x17),
                Error::BadKeyShare(crypto::Error::BadLength),
            ),
            case(
                "an ephemeral key that was not signed",
                on!("ServerKeyExchange", |m| m[8] ^= 1),
                signature.clone(),
            ),
            case(
                "a signature that was made before",
                on!("ServerKeyExchange", |m| {
                    let params = m[4..40].to_vec();
                    let signature = sign(&[&[0; 32], &RANDOM, &params]);
                    let parts: [&[u8]; 4] = [&params, &[4, 3], &length16(&signature), &signature];
                    *m = handshake(HandshakeType::SERVER_KEY_EXCHANGE, &parts);
                }),
                signature.clone(),
            ),
            case(
                "another random value than was signed",
                on!("ServerHello", |m| m[6] ^= 1),
                signature,
            ),
            case(
                "ECDSA with SHA-1",
                on!("ServerKeyExchange", |m| m[40] = 2),
                Error::SchemeNotOffered(0x0203),
            ),
            case(
                "RSA",
                on!("ServerKeyExchange", |m| m[40..42].copy_from_slice(&[8, 4])),
                Error::SchemeMismatch(rsa),
            ),
            case(
                "requests to negotiate without end",
                on!("Certificate", |m| {
                    m.splice(..0, [0; 17 * 4]);
                }),
                Error::TooManyIgnored,
            ),
            case(
                "a request to negotiate with content",
                on!("Certificate", |m| {
                    m.splice(..0, [0, 0, 0, 1, 0]);
                }),
                unexpected(HandshakeType::HELLO_REQUEST, "Certificate"),
            ),
            case(
                "two requests for a certificate",
                on!("ServerHelloDone", |m| {
                    m.splice(..0, [13, 0, 0, 0, 13, 0, 0, 0]);
                }),
                unexpected(HandshakeType::CERTIFICATE_REQUEST, "ServerHelloDone"),
            ),
            case(
                "a ServerHelloDone with content",
                on!("ServerHelloDone", |m| *m = vec![14, 0, 0, 1, 0]),
                Error::Malformed {
                    message: HandshakeType::SERVER_HELLO_DONE,
                    error: wire::Error::Trailing,
                },
            ),
            case(
                "no ServerHelloDone",
                on!("ServerHelloDone", Vec::clear),
                Error::Closed {
                    awaiting: "CertificateRequest or ServerHelloDone",
                },
            ),
            case(
                "a message after ServerHelloDone",
                on!("ServerHelloDone", |m| m.extend([14, 0, 0, 0])),
                Error::DataAfter("ServerHelloDone"),
            ),
        ],
    );
}
