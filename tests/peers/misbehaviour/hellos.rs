//! ServerHello and HelloRetryRequest of TLS 1.3.

use super::{EXTENSIONS_13, KEY_SHARE, SERVER_HELLO, add_extension, case, check, retrying, tls13};
use crate::crypto;
use crate::peers::tls_server::{RETRY_RANDOM, fix_extensions, fix_length};
use crate::tls::Error;
use crate::tls::codes::{ExtensionType, HandshakeType};
use crate::wire;

/// Where the parts of the good TLS 1.3 ServerHello are.
const SUITE_13: usize = 71;
const SELECTED_VERSION: usize = 80;
const SHARE: usize = 90;

#[test]
fn bad_hellos_of_tls_1_3() {
    let unsolicited = |extension| Error::unsolicited(ExtensionType(extension), SERVER_HELLO);
    check(
        tls13,
        &[
            case(
                "TLS 1.1 as legacy version",
                on!("ServerHello", |m| m[5] = 2),
                Error::old_version(0x0302),
            ),
            case(
                "TLS 1.2 by supported_versions",
                on!("ServerHello", |m| m[SELECTED_VERSION + 1] = 3),
                Error::illegal("supported_versions chooses TLS 1.2, which it may not"),
            ),
            case(
                "a version that was not offered",
                on!("ServerHello", |m| m[SELECTED_VERSION + 1] = 5),
                Error::not_offered("version by supported_versions", 0x0305u16),
            ),
            case(
                "another session id",
                on!("ServerHello", |m| m[40] ^= 1),
                Error::illegal("session id differs from the one sent"),
            ),
            case(
                "no session id",
                on!("ServerHello", |m| {
                    m[38] = 0;
                    m.drain(39..71);
                    fix_length(m);
                }),
                Error::illegal("session id differs from the one sent"),
            ),
            case(
                "CCM, which was not offered",
                on!("ServerHello", |m| m[SUITE_13 + 1] = 4),
                Error::not_offered("cipher suite", 0x1304u16),
            ),
            case(
                "a suite of TLS 1.2",
                on!("ServerHello", |m| m[SUITE_13..SUITE_13 + 2]
                    .copy_from_slice(&[0xc0, 0x2b])),
                Error::not_offered("cipher suite", 0xc02bu16),
            ),
            case(
                "compression",
                on!("ServerHello", |m| m[73] = 1),
                Error::not_offered("compression method", 1u16),
            ),
            case(
                "a group that was offered without a share",
                on!("ServerHello", |m| m[KEY_SHARE + 5] = 0x17),
                Error::not_offered("key share of group", 0x17u16),
            ),
            case(
                "a group that was not offered",
                on!("ServerHello", |m| m[KEY_SHARE + 5] = 0x1e),
                Error::not_offered("key share of group", 0x1eu16),
            ),
            case(
                "a share of zeros",
                on!("ServerHello", |m| m[SHARE..SHARE + 32].fill(0)),
                Error::bad_key_share(crypto::Error::WeakSharedSecret),
            ),
            case(
                "a share of low order",
                on!("ServerHello", |m| {
                    m[SHARE..SHARE + 32].fill(0);
                    m[SHARE] = 1;
                }),
                Error::bad_key_share(crypto::Error::WeakSharedSecret),
            ),
            case(
                "a short share",
                on!("ServerHello", |m| {
                    m.truncate(KEY_SHARE);
                    add_extension(m, EXTENSIONS_13, 51, &[0, 0x1d, 0, 1, 9]);
                }),
                Error::bad_key_share(crypto::Error::BadLength),
            ),
            case(
                "no share",
                on!("ServerHello", |m| {
                    m.truncate(KEY_SHARE);
                    fix_extensions(m, EXTENSIONS_13);
                }),
                Error::missing(ExtensionType::KEY_SHARE, SERVER_HELLO),
            ),
            case(
                "a pre-shared key",
                on!("ServerHello", |m| add_extension(
                    m,
                    EXTENSIONS_13,
                    41,
                    &[0, 0]
                )),
                unsolicited(41),
            ),
            case(
                "a cookie in a ServerHello",
                on!("ServerHello", |m| add_extension(
                    m,
                    EXTENSIONS_13,
                    44,
                    &[0, 1, 1]
                )),
                unsolicited(44),
            ),
            case(
                "ALPN in the clear",
                on!("ServerHello", |m| {
                    add_extension(m, EXTENSIONS_13, 16, &[0, 3, 2, b'h', b'2']);
                }),
                Error::misplaced(ExtensionType::ALPN, SERVER_HELLO),
            ),
            case(
                "supported_versions twice",
                on!("ServerHello", |m| add_extension(
                    m,
                    EXTENSIONS_13,
                    43,
                    &[3, 4]
                )),
                Error::duplicate(ExtensionType::SUPPORTED_VERSIONS, SERVER_HELLO),
            ),
            case(
                "a byte after the extensions",
                on!("ServerHello", |m| {
                    m.push(0);
                    fix_length(m);
                }),
                Error::malformed(SERVER_HELLO, wire::Error::Trailing),
            ),
            case(
                "a byte after a key share",
                on!("ServerHello", |m| {
                    m.push(0);
                    m[KEY_SHARE + 3] += 1;
                    fix_extensions(m, EXTENSIONS_13);
                }),
                Error::malformed_extension(ExtensionType::KEY_SHARE, wire::Error::Trailing),
            ),
            case(
                "another message first",
                on!("ServerHello", |m| m[0] = 11),
                Error::out_of_order(HandshakeType::CERTIFICATE, HandshakeType::SERVER_HELLO),
            ),
            case(
                "a message after ServerHello under no keys",
                on!("ServerHello", |m| m.extend([8, 0, 0, 2, 0, 0])),
                Error::unexpected("data after the last handshake message"),
            ),
        ],
    );
}

#[test]
fn bad_retries() {
    check(
        retrying,
        &[
            case(
                "the group whose share was sent",
                on!("HelloRetryRequest", |m| m[KEY_SHARE + 5] = 0x1d),
                Error::illegal("HelloRetryRequest asks for what was sent"),
            ),
            case(
                "a group that was not offered",
                on!("HelloRetryRequest", |m| m[KEY_SHARE + 5] = 0x1e),
                Error::not_offered("group", 0x1eu16),
            ),
            case(
                "nothing new",
                on!("HelloRetryRequest", |m| {
                    m.truncate(KEY_SHARE);
                    fix_extensions(m, EXTENSIONS_13);
                }),
                Error::illegal("HelloRetryRequest asks for what was sent"),
            ),
            case(
                "an empty cookie",
                on!("HelloRetryRequest", |m| {
                    add_extension(m, EXTENSIONS_13, 44, &[0, 0]);
                }),
                Error::malformed_extension(ExtensionType::COOKIE, wire::Error::Truncated),
            ),
            case(
                "ALPN",
                on!("HelloRetryRequest", |m| {
                    add_extension(m, EXTENSIONS_13, 16, &[0, 3, 2, b'h', b'2']);
                }),
                Error::misplaced(ExtensionType::ALPN, SERVER_HELLO),
            ),
            case(
                "a second one",
                on!("ServerHello", |m| {
                    m[6..38].copy_from_slice(&RETRY_RANDOM);
                }),
                Error::unexpected("second HelloRetryRequest"),
            ),
            case(
                "another suite then",
                on!("ServerHello", |m| m[SUITE_13 + 1] = 3),
                Error::illegal("cipher suite is not HelloRetryRequest's"),
            ),
            case(
                "the first group then",
                on!("ServerHello", |m| m[KEY_SHARE + 5] = 0x1d),
                Error::not_offered("key share of group", 0x1du16),
            ),
            case(
                "a point off the curve",
                on!("ServerHello", |m| *m.last_mut().unwrap() ^= 1),
                Error::bad_key_share(crypto::Error::BadPoint),
            ),
            case(
                "TLS 1.2 then",
                on!("ServerHello", |m| {
                    m.truncate(EXTENSIONS_13);
                    fix_length(m);
                }),
                Error::illegal("TLS 1.2 after a HelloRetryRequest"),
            ),
            case(
                "no version",
                on!("HelloRetryRequest", |m| {
                    m.drain(EXTENSIONS_13 + 2..KEY_SHARE);
                    fix_extensions(m, EXTENSIONS_13);
                }),
                Error::missing(ExtensionType::SUPPORTED_VERSIONS, SERVER_HELLO),
            ),
            case(
                "a message after the retry",
                on!("HelloRetryRequest", |m| m.extend([8, 0, 0, 2, 0, 0])),
                Error::unexpected("data after the last handshake message"),
            ),
        ],
    );
}
