//! Code points and names of IANA's registries for TLS. A server may send codes that are not listed
//! here: errors show them by their number.

use std::fmt;

/// A type of codes: its constants with their names, then codes that have only a name.
macro_rules! codes {
    (
        $(#[$doc:meta])* $name:ident($number:ty), $unknown:literal;
        $($constant:ident = $code:literal $text:literal,)*;
        $($other:literal $other_text:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) $number);

        impl $name {
            $(pub(crate) const $constant: Self = Self($code);)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self.0 {
                    $($code => $text,)*
                    $($other => $other_text,)*
                    unknown => return write!(f, "{} {unknown}", $unknown),
                })
            }
        }
    };
}

codes! {
    /// What a record holds (RFC 8446 section 5.1).
    ContentType(u8), "record of type";
    CHANGE_CIPHER_SPEC = 20 "change_cipher_spec",
    ALERT = 21 "alert",
    HANDSHAKE = 22 "handshake",
    APPLICATION_DATA = 23 "application_data",;
}

codes! {
    /// ProtocolVersion (RFC 8446 section 4.1.2).
    Version(u16), "version";
    TLS12 = 0x0303 "TLS 1.2",
    TLS13 = 0x0304 "TLS 1.3",;
}

codes! {
    /// AlertDescription (RFC 8446 section 6, RFC 5246 section 7.2): constants for those that are
    /// sent or read here, names also for the others that Go and OpenSSL send.
    Description(u8), "number";
    CLOSE_NOTIFY = 0 "close_notify",
    UNEXPECTED_MESSAGE = 10 "unexpected_message",
    BAD_RECORD_MAC = 20 "bad_record_mac",
    RECORD_OVERFLOW = 22 "record_overflow",
    HANDSHAKE_FAILURE = 40 "handshake_failure",
    BAD_CERTIFICATE = 42 "bad_certificate",
    CERTIFICATE_EXPIRED = 45 "certificate_expired",
    ILLEGAL_PARAMETER = 47 "illegal_parameter",
    UNKNOWN_CA = 48 "unknown_ca",
    DECODE_ERROR = 50 "decode_error",
    DECRYPT_ERROR = 51 "decrypt_error",
    PROTOCOL_VERSION = 70 "protocol_version",
    INSUFFICIENT_SECURITY = 71 "insufficient_security",
    INTERNAL_ERROR = 80 "internal_error",
    USER_CANCELED = 90 "user_canceled",
    MISSING_EXTENSION = 109 "missing_extension",
    UNSUPPORTED_EXTENSION = 110 "unsupported_extension",
    UNRECOGNIZED_NAME = 112 "unrecognized_name",
    NO_APPLICATION_PROTOCOL = 120 "no_application_protocol",;
    43 "unsupported_certificate",
    44 "certificate_revoked",
    46 "certificate_unknown",
    49 "access_denied",
    86 "inappropriate_fallback",
    100 "no_renegotiation",
    116 "certificate_required",
}

codes! {
    /// HandshakeType (RFC 8446 section 4, RFC 5246 section 7.4). MESSAGE_HASH replaces the
    /// first of two ClientHellos in a transcript (RFC 8446 section 4.4.1).
    HandshakeType(u8), "handshake message of type";
    HELLO_REQUEST = 0 "HelloRequest",
    CLIENT_HELLO = 1 "ClientHello",
    SERVER_HELLO = 2 "ServerHello",
    ENCRYPTED_EXTENSIONS = 8 "EncryptedExtensions",
    CERTIFICATE = 11 "Certificate",
    SERVER_KEY_EXCHANGE = 12 "ServerKeyExchange",
    CERTIFICATE_REQUEST = 13 "CertificateRequest",
    SERVER_HELLO_DONE = 14 "ServerHelloDone",
    CERTIFICATE_VERIFY = 15 "CertificateVerify",
    FINISHED = 20 "Finished",
    MESSAGE_HASH = 254 "message_hash",;
    4 "NewSessionTicket",
    22 "CertificateStatus",
    24 "KeyUpdate",
    25 "CompressedCertificate",
}

codes! {
    /// ExtensionType (RFC 8446 section 4.2; RFC 6066, 8422, 7301, 7627 and 5746).
    ExtensionType(u16), "number";
    SERVER_NAME = 0 "server_name",
    SUPPORTED_GROUPS = 10 "supported_groups",
    EC_POINT_FORMATS = 11 "ec_point_formats",
    SIGNATURE_ALGORITHMS = 13 "signature_algorithms",
    ALPN = 16 "application_layer_protocol_negotiation",
    EXTENDED_MASTER_SECRET = 23 "extended_master_secret",
    SUPPORTED_VERSIONS = 43 "supported_versions",
    COOKIE = 44 "cookie",
    SIGNATURE_ALGORITHMS_CERT = 50 "signature_algorithms_cert",
    KEY_SHARE = 51 "key_share",
    RENEGOTIATION_INFO = 0xff01 "renegotiation_info",;
    5 "status_request",
    18 "signed_certificate_timestamp",
    35 "session_ticket",
    41 "pre_shared_key",
    42 "early_data",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_shown_by_name_or_number() {
        let failure = Description::HANDSHAKE_FAILURE;
        assert_eq!(failure.to_string(), "handshake_failure");
        assert_eq!(Description(116).to_string(), "certificate_required");
        assert_eq!(Description(200).to_string(), "number 200");
        let other = HandshakeType(99).to_string();
        assert_eq!(other, "handshake message of type 99");
    }
}
