//! EncryptedExtensions to Finished of TLS 1.3.

use super::{add_extension, case, check, tls13};
use crate::crypto;
use crate::peers::tls_server::{extension, fix_length, handshake, leaf, length16, length24, sign};
use crate::tls::Error;
use crate::tls::codes::{Description, ExtensionType, HandshakeType};
use crate::wire;
use crate::x509::{self, SignatureScheme};

const ENCRYPTED_EXTENSIONS: HandshakeType = HandshakeType::ENCRYPTED_EXTENSIONS;

#[test]
fn bad_encrypted_messages() {
    let unexpected = |got, awaiting| Error::out_of_order(got, awaiting);
    let signature =
        |scheme, cause| Error::Signature(x509::Error::BadHandshakeSignature { scheme, cause });
    let ecdsa = SignatureScheme::from_code(0x0403).unwrap();
    let ee = |kind: u16, content: &'static [u8]| {
        move |name: &str, message: &mut Vec<u8>| {
            if name == "EncryptedExtensions" {
                add_extension(message, 4, kind, content);
            }
        }
    };
    let alpn = |content: &'static [u8]| {
        move |name: &str, message: &mut Vec<u8>| {
            if name == "EncryptedExtensions" {
                *message = vec![8, 0, 0, 0, 0, 0];
                add_extension(message, 4, 16, content);
            }
        }
    };
    let request = |body: &'static [u8], count: usize| {
        move |name: &str, message: &mut Vec<u8>| {
            if name == "Certificate" {
                let request = handshake(HandshakeType::CERTIFICATE_REQUEST, &[body]);
                message.splice(..0, request.repeat(count));
            }
        }
    };
    let insert = |before: &'static str, message: &'static [u8]| {
        move |name: &str, found: &mut Vec<u8>| {
            if name == before {
                found.splice(..0, message.iter().copied());
            }
        }
    };
    check(
        tls13,
        &[
            case(
                "an extension that was not sent",
                &ee(15, &[1]),
                Error::unsolicited(ExtensionType(15), ENCRYPTED_EXTENSIONS),
            ),
            case(
                "early data",
                &ee(42, &[]),
                Error::unsolicited(ExtensionType(42), ENCRYPTED_EXTENSIONS),
            ),
            case(
                "an extension of ServerHello",
                &ee(43, &[3, 4]),
                Error::misplaced(ExtensionType::SUPPORTED_VERSIONS, ENCRYPTED_EXTENSIONS),
            ),
            case(
                "ALPN twice",
                &ee(16, &[0, 3, 2, b'h', b'2']),
                Error::duplicate(ExtensionType::ALPN, ENCRYPTED_EXTENSIONS),
            ),
            case(
                "a server_name with content",
                &ee(0, &[0]),
                Error::malformed_extension(ExtensionType::SERVER_NAME, wire::Error::Trailing),
            ),
            case(
                "groups without a list",
                &ee(10, &[0, 23]),
                Error::malformed_extension(ExtensionType::SUPPORTED_GROUPS, wire::Error::Truncated),
            ),
            case(
                "a protocol that was not offered",
                &alpn(&[0, 3, 2, b'h', b'3']),
                Error::illegal("protocol chosen by ALPN was not offered"),
            ),
            case(
                "two protocols",
                &alpn(&[0, 6, 2, b'h', b'2', 2, b'h', b'2']),
                Error::malformed_extension(ExtensionType::ALPN, wire::Error::Trailing),
            ),
            case(
                "no protocol in ALPN",
                &alpn(&[0, 0]),
                Error::malformed_extension(ExtensionType::ALPN, wire::Error::Truncated),
            ),
            case(
                "no EncryptedExtensions",
                on!("EncryptedExtensions", Vec::clear),
                unexpected(
                    HandshakeType::CERTIFICATE,
                    HandshakeType::ENCRYPTED_EXTENSIONS,
                ),
            ),
            case(
                "a request for a certificate with a context",
                &request(&[1, 7, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3], 1),
                Error::illegal("certificate_request_context is not empty"),
            ),
            case(
                "a request for a certificate without schemes",
                &request(&[0, 0, 0], 1),
                Error::missing(
                    ExtensionType::SIGNATURE_ALGORITHMS,
                    HandshakeType::CERTIFICATE_REQUEST,
                ),
            ),
            case(
                "a request for a certificate with an extension twice",
                &request(&[0, 0, 12, 0, 13, 0, 2, 4, 3, 0, 13, 0, 2, 4, 3], 1),
                Error::duplicate(
                    ExtensionType::SIGNATURE_ALGORITHMS,
                    HandshakeType::CERTIFICATE_REQUEST,
                ),
            ),
            case(
                "a request for a certificate with half a scheme",
                &request(&[0, 0, 9, 0, 13, 0, 5, 0, 3, 4, 3, 5], 1),
                Error::malformed_extension(
                    ExtensionType::SIGNATURE_ALGORITHMS,
                    wire::Error::Truncated,
                ),
            ),
            case(
                "a request for a certificate with no scheme in its list",
                &request(&[0, 0, 6, 0, 13, 0, 2, 0, 0], 1),
                Error::malformed_extension(
                    ExtensionType::SIGNATURE_ALGORITHMS,
                    wire::Error::Truncated,
                ),
            ),
            case(
                "a request for a certificate with a protocol",
                &request(
                    &[
                        0, 0, 17, 0, 13, 0, 4, 0, 2, 4, 3, 0, 16, 0, 5, 0, 3, 2, b'h', b'2',
                    ],
                    1,
                ),
                Error::misplaced(ExtensionType::ALPN, HandshakeType::CERTIFICATE_REQUEST),
            ),
            case(
                "two requests for a certificate",
                &request(&[0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3], 2),
                unexpected(
                    HandshakeType::CERTIFICATE_REQUEST,
                    HandshakeType::CERTIFICATE,
                ),
            ),
            case(
                "no Certificate",
                on!("Certificate", Vec::clear),
                unexpected(
                    HandshakeType::CERTIFICATE_VERIFY,
                    HandshakeType::CERTIFICATE,
                ),
            ),
            case(
                "a Certificate with a context",
                on!("Certificate", |m| {
                    m[4] = 1;
                    m.insert(5, 0);
                    fix_length(m);
                }),
                Error::illegal("certificate_request_context is not empty"),
            ),
            case(
                "an empty chain",
                on!("Certificate", |m| *m = vec![11, 0, 0, 4, 0, 0, 0, 0]),
                Error::Certificate(x509::Error::NoCertificate),
            ),
            case(
                "an OCSP response that was not asked for",
                on!("Certificate", |m| {
                    let mut entry = [&length24(&leaf()), &leaf()[..], &[0, 5]].concat();
                    extension(&mut entry, 5, &[1]);
                    let parts: [&[u8]; 3] = [&[0], &length24(&entry), &entry];
                    *m = handshake(HandshakeType::CERTIFICATE, &parts);
                }),
                Error::unsolicited(ExtensionType(5), HandshakeType::CERTIFICATE),
            ),
            case(
                "ten thousand certificates",
                on!("Certificate", |m| {
                    let list = [0, 0, 1, 0x30, 0, 0].repeat(10_000);
                    let parts: [&[u8]; 3] = [&[0], &length24(&list), &list];
                    *m = handshake(HandshakeType::CERTIFICATE, &parts);
                }),
                Error::Certificate(x509::Error::BudgetExhausted {
                    what: "too many certificates",
                }),
            ),
            case(
                "a Certificate of 64 KiB and a byte",
                on!("Certificate", |m| {
                    *m = handshake(HandshakeType::CERTIFICATE, &[&[0; 65_537]])
                }),
                Error::illegal("handshake message is too long"),
            ),
            case(
                "a compressed Certificate",
                on!("Certificate", |m| m[0] = 25),
                unexpected(HandshakeType(25), HandshakeType::CERTIFICATE),
            ),
            case(
                "no CertificateVerify",
                on!("CertificateVerify", Vec::clear),
                unexpected(HandshakeType::FINISHED, HandshakeType::CERTIFICATE_VERIFY),
            ),
            case(
                "neither CertificateVerify nor Certificate",
                &|name, m| {
                    if name.starts_with("Certificate") {
                        m.clear();
                    }
                },
                unexpected(HandshakeType::FINISHED, HandshakeType::CERTIFICATE),
            ),
            case(
                "a signature changed in its last bit",
                on!("CertificateVerify", |m| *m.last_mut().unwrap() ^= 1),
                signature(ecdsa, crypto::Error::BadSignature),
            ),
            case(
                "the signature of a client",
                on!("CertificateVerify", |m| {
                    let content: [&[u8]; 2] = [&[0x20; 64], b"TLS 1.3, client CertificateVerify\0"];
                    let signature = sign(&content);
                    let parts: [&[u8]; 3] = [&[4, 3], &length16(&signature), &signature];
                    *m = handshake(HandshakeType::CERTIFICATE_VERIFY, &parts);
                }),
                signature(ecdsa, crypto::Error::BadSignature),
            ),
            case(
                "ECDSA with SHA-1",
                on!("CertificateVerify", |m| m[4..6].copy_from_slice(&[2, 3])),
                Error::not_offered("signature scheme", 0x0203u16),
            ),
            case(
                "ECDSA of another curve",
                on!("CertificateVerify", |m| m[4] = 5),
                Error::Signature(x509::Error::SchemeMismatch {
                    scheme: SignatureScheme::from_code(0x0503).unwrap(),
                    key: "P-256",
                }),
            ),
            case(
                "PKCS #1 v1.5",
                on!("CertificateVerify", |m| m[5] = 1),
                Error::Signature(x509::Error::SchemeMismatch {
                    scheme: SignatureScheme::from_code(0x0401).unwrap(),
                    key: "P-256",
                }),
            ),
            case(
                "a changed Finished",
                on!("Finished", |m| *m.last_mut().unwrap() ^= 1),
                Error::misbehaved(
                    Description::DECRYPT_ERROR,
                    "Finished does not verify: the handshake was tampered with",
                ),
            ),
            case(
                "a short Finished",
                on!("Finished", |m| {
                    m.pop();
                    fix_length(m);
                }),
                Error::misbehaved(
                    Description::DECRYPT_ERROR,
                    "Finished does not verify: the handshake was tampered with",
                ),
            ),
            case(
                "an empty Finished",
                on!("Finished", |m| *m = vec![20, 0, 0, 0]),
                Error::misbehaved(
                    Description::DECRYPT_ERROR,
                    "Finished does not verify: the handshake was tampered with",
                ),
            ),
            case(
                "a ticket in the record of Finished",
                on!("Finished", |m| m.extend([4, 0, 0, 1, 0])),
                Error::unexpected("data after the last handshake message"),
            ),
            case(
                "a ticket before Finished",
                &insert("Finished", &[4, 0, 0, 1, 0]),
                unexpected(HandshakeType(4), HandshakeType::FINISHED),
            ),
            case(
                "a key update",
                &insert("Certificate", &[24, 0, 0, 1, 0]),
                unexpected(HandshakeType(24), HandshakeType::CERTIFICATE),
            ),
            case(
                "a request to renegotiate",
                &insert("Finished", &[0, 0, 0, 0]),
                unexpected(HandshakeType(0), HandshakeType::FINISHED),
            ),
        ],
    );
}
