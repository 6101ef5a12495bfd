//! TLS 1.2, and versions below.

use super::{EXTENSIONS_12, SERVER_HELLO, add_extension, case, check, echo_session_id, tls12};
use crate::crypto;
use crate::peers::tls_server::{RANDOM, RETRY_RANDOM, fix_length, handshake, length16, sign};
use crate::tls::Error;
use crate::tls::codes::{Description, ExtensionType, HandshakeType};
use crate::wire;
use crate::x509::{self, SignatureScheme};

#[test]
fn bad_servers_of_tls_1_2() {
    let unexpected = |got, awaiting| Error::out_of_order(got, awaiting);
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
    let malformed = |extension, error| Error::malformed_extension(extension, error);
    let ecdsa = SignatureScheme::from_code(0x0403).unwrap();
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
                Error::illegal(
                    "the server supports TLS 1.3 but was made to choose TLS 1.2: the handshake was tampered with",
                ),
            ),
            case(
                "TLS 1.1 instead of 1.2",
                &random_end(b"DOWNGRD\x00"),
                Error::illegal(
                    "the server supports TLS 1.3 but was made to choose TLS 1.2: the handshake was tampered with",
                ),
            ),
            case(
                "the random value of a HelloRetryRequest",
                on!("ServerHello", |m| m[6..38].copy_from_slice(&RETRY_RANDOM)),
                Error::missing(ExtensionType::SUPPORTED_VERSIONS, SERVER_HELLO),
            ),
            case(
                "TLS 1.1",
                on!("ServerHello", |m| m[5] = 2),
                Error::old_version(0x0302),
            ),
            case(
                "SSL 3.0",
                on!("ServerHello", |m| m[5] = 0),
                Error::old_version(0x0300),
            ),
            case(
                "a suite of TLS 1.3",
                &suite([0x13, 1]),
                Error::not_offered("cipher suite", 0x1301u16),
            ),
            case(
                "CBC",
                &suite([0xc0, 0x09]),
                Error::not_offered("cipher suite", 0xc009u16),
            ),
            case(
                "static RSA",
                &suite([0, 0x9c]),
                Error::not_offered("cipher suite", 0x009cu16),
            ),
            case(
                "the SCSV",
                &suite([0, 0xff]),
                Error::not_offered("cipher suite", 0x00ffu16),
            ),
            case(
                "a suite for RSA and a signature of ECDSA",
                &suite([0xc0, 0x2f]),
                Error::illegal("signature scheme does not fit the suite"),
            ),
            case(
                "compression",
                on!("ServerHello", |m| m[41] = 1),
                Error::not_offered("compression method", 1u16),
            ),
            case(
                "resumption of what never was",
                &|name, m| match name {
                    "ServerHello" => echo_session_id(m),
                    _ => m.clear(),
                },
                Error::Closed {
                    reset: false,
                    answered: true,
                    awaiting: HandshakeType::CERTIFICATE,
                },
            ),
            case(
                "the algorithms of signatures",
                &hello(13, &[0, 2, 4, 3]),
                Error::misplaced(ExtensionType::SIGNATURE_ALGORITHMS, SERVER_HELLO),
            ),
            case(
                "groups twice",
                on!("ServerHello", |m| {
                    add_extension(m, EXTENSIONS_12, 10, &[0, 2, 0, 23]);
                    add_extension(m, EXTENSIONS_12, 10, &[0, 2, 0, 23]);
                }),
                Error::duplicate(ExtensionType::SUPPORTED_GROUPS, SERVER_HELLO),
            ),
            case(
                "a session id of 33 bytes",
                on!("ServerHello", |m| {
                    m[38] = 33;
                    m.splice(39..39, [9; 33]);
                    fix_length(m);
                }),
                Error::illegal("session id is too long"),
            ),
            case(
                "a ticket",
                &hello(35, &[]),
                Error::unsolicited(ExtensionType(35), SERVER_HELLO),
            ),
            case(
                "a key share of TLS 1.3",
                &hello(51, &[]),
                Error::misplaced(ExtensionType::KEY_SHARE, SERVER_HELLO),
            ),
            case(
                "a renegotiation",
                &hello(0xff01, &[1, 1]),
                Error::misbehaved(
                    Description::HANDSHAKE_FAILURE,
                    "renegotiation_info is not that of a first handshake",
                ),
            ),
            case(
                "an extended master secret with content",
                &hello(23, &[0]),
                malformed(ExtensionType::EXTENDED_MASTER_SECRET, wire::Error::Trailing),
            ),
            case(
                "compressed points alone",
                &hello(11, &[1, 1]),
                Error::illegal("ec_point_formats lacks uncompressed"),
            ),
            case(
                "a protocol that was not offered",
                &hello(16, &[0, 3, 2, b'h', b'3']),
                Error::illegal("protocol chosen by ALPN was not offered"),
            ),
            case(
                "no Certificate",
                on!("Certificate", Vec::clear),
                unexpected(
                    HandshakeType::SERVER_KEY_EXCHANGE,
                    HandshakeType::CERTIFICATE,
                ),
            ),
            case(
                "an empty chain",
                on!("Certificate", |m| *m = vec![11, 0, 0, 3, 0, 0, 0]),
                Error::Certificate(x509::Error::NoCertificate),
            ),
            case(
                "no ServerKeyExchange",
                on!("ServerKeyExchange", Vec::clear),
                unexpected(
                    HandshakeType::SERVER_HELLO_DONE,
                    HandshakeType::SERVER_KEY_EXCHANGE,
                ),
            ),
            case(
                "an OCSP response",
                on!("Certificate", |m| m.extend([22, 0, 0, 1, 1])),
                unexpected(HandshakeType(22), HandshakeType::SERVER_KEY_EXCHANGE),
            ),
            case(
                "a curve of its own",
                on!("ServerKeyExchange", |m| m[4] = 1),
                Error::not_offered("curve type", 1u16),
            ),
            case(
                "a group that was not offered",
                on!("ServerKeyExchange", |m| m[6] = 0x1e),
                Error::not_offered("group", 0x1eu16),
            ),
            case(
                "a public value of another group",
                on!("ServerKeyExchange", |m| m[6] = 0x17),
                Error::bad_key_share(crypto::Error::BadLength),
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
                Error::not_offered("signature scheme", 0x0203u16),
            ),
            case(
                "RSA",
                on!("ServerKeyExchange", |m| m[40..42].copy_from_slice(&[8, 4])),
                Error::illegal("signature scheme does not fit the suite"),
            ),
            case(
                "requests to negotiate without end",
                on!("Certificate", |m| {
                    m.splice(..0, [0; 17 * 4]);
                }),
                Error::unexpected("too many records or messages without effect"),
            ),
            case(
                "a request to negotiate with content",
                on!("Certificate", |m| {
                    m.splice(..0, [0, 0, 0, 1, 0]);
                }),
                unexpected(HandshakeType::HELLO_REQUEST, HandshakeType::CERTIFICATE),
            ),
            case(
                "two requests for a certificate",
                on!("ServerHelloDone", |m| {
                    m.splice(..0, [13, 0, 0, 0, 13, 0, 0, 0]);
                }),
                unexpected(
                    HandshakeType::CERTIFICATE_REQUEST,
                    HandshakeType::SERVER_HELLO_DONE,
                ),
            ),
            case(
                "a ServerHelloDone with content",
                on!("ServerHelloDone", |m| *m = vec![14, 0, 0, 1, 0]),
                Error::malformed(HandshakeType::SERVER_HELLO_DONE, wire::Error::Trailing),
            ),
            case(
                "no ServerHelloDone",
                on!("ServerHelloDone", Vec::clear),
                Error::Closed {
                    reset: false,
                    answered: true,
                    awaiting: HandshakeType::SERVER_HELLO_DONE,
                },
            ),
            case(
                "a message after ServerHelloDone",
                on!("ServerHelloDone", |m| m.extend([14, 0, 0, 0])),
                Error::unexpected("data after the last handshake message"),
            ),
        ],
    );
}
