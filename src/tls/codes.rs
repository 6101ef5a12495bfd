//! The types of handshake messages and of extensions: code points and names of the registries
//! of IANA. A code that has no constant here is still one with a name, or a number, in errors.

use std::fmt;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentType {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
}

impl ContentType {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::ChangeCipherSpec => 20,
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::ApplicationData => 23,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            20 => Self::ChangeCipherSpec,
            21 => Self::Alert,
            22 => Self::Handshake,
            23 => Self::ApplicationData,
            _ => return None,
        })
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChangeCipherSpec => "change_cipher_spec",
            Self::Alert => "alert",
            Self::Handshake => "handshake",
            Self::ApplicationData => "application_data",
        })
    }
}

/// A HandshakeType code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandshakeType(pub(crate) u8);

impl HandshakeType {
    /// RFC 5246 section 7.4.1.1.
    pub(crate) const HELLO_REQUEST: Self = Self(0);
    /// RFC 8446 section 4.1.2.
    pub(crate) const CLIENT_HELLO: Self = Self(1);
    /// RFC 8446 section 4.1.3, RFC 5246 section 7.4.1.3.
    pub(crate) const SERVER_HELLO: Self = Self(2);
    /// RFC 8446 section 4.3.1.
    pub(crate) const ENCRYPTED_EXTENSIONS: Self = Self(8);
    /// RFC 8446 section 4.4.2, RFC 5246 section 7.4.2.
    pub(crate) const CERTIFICATE: Self = Self(11);
    /// RFC 8422 section 5.4.
    pub(crate) const SERVER_KEY_EXCHANGE: Self = Self(12);
    /// RFC 8446 section 4.3.2, RFC 5246 section 7.4.4.
    pub(crate) const CERTIFICATE_REQUEST: Self = Self(13);
    /// RFC 5246 section 7.4.5.
    pub(crate) const SERVER_HELLO_DONE: Self = Self(14);
    /// RFC 8446 section 4.4.3.
    pub(crate) const CERTIFICATE_VERIFY: Self = Self(15);
    /// RFC 8446 section 4.4.4.
    pub(crate) const FINISHED: Self = Self(20);
    /// Stands for the first ClientHello in a transcript (RFC 8446 section 4.4.1).
    pub(crate) const MESSAGE_HASH: Self = Self(254);
}

impl fmt::Display for HandshakeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "HelloRequest",
            1 => "ClientHello",
            2 => "ServerHello",
            4 => "NewSessionTicket",
            5 => "EndOfEarlyData",
            8 => "EncryptedExtensions",
            11 => "Certificate",
            12 => "ServerKeyExchange",
            13 => "CertificateRequest",
            14 => "ServerHelloDone",
            15 => "CertificateVerify",
            16 => "ClientKeyExchange",
            20 => "Finished",
            22 => "CertificateStatus",
            24 => "KeyUpdate",
            25 => "CompressedCertificate",
            other => return write!(f, "handshake message of type {other}"),
        })
    }
}

/// An ExtensionType code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExtensionType(pub(crate) u16);

impl ExtensionType {
    /// RFC 6066 section 3.
    pub(crate) const SERVER_NAME: Self = Self(0);
    /// RFC 8446 section 4.2.7, RFC 8422 section 5.1.1.
    pub(crate) const SUPPORTED_GROUPS: Self = Self(10);
    /// RFC 8422 section 5.1.2.
    pub(crate) const EC_POINT_FORMATS: Self = Self(11);
    /// RFC 8446 section 4.2.3.
    pub(crate) const SIGNATURE_ALGORITHMS: Self = Self(13);
    /// RFC 7301 section 3.1.
    pub(crate) const ALPN: Self = Self(16);
    /// RFC 7627 section 5.1.
    pub(crate) const EXTENDED_MASTER_SECRET: Self = Self(23);
    /// RFC 8446 section 4.2.1.
    pub(crate) const SUPPORTED_VERSIONS: Self = Self(43);
    /// RFC 8446 section 4.2.2.
    pub(crate) const COOKIE: Self = Self(44);
    /// RFC 8446 section 4.2.3.
    pub(crate) const SIGNATURE_ALGORITHMS_CERT: Self = Self(50);
    /// RFC 8446 section 4.2.8.
    pub(crate) const KEY_SHARE: Self = Self(51);
    /// RFC 5746 section 3.2.
    pub(crate) const RENEGOTIATION_INFO: Self = Self(0xff01);
}

impl fmt::Display for ExtensionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "server_name",
            1 => "max_fragment_length",
            5 => "status_request",
            10 => "supported_groups",
            11 => "ec_point_formats",
            13 => "signature_algorithms",
            16 => "application_layer_protocol_negotiation",
            18 => "signed_certificate_timestamp",
            22 => "encrypt_then_mac",
            23 => "extended_master_secret",
            28 => "record_size_limit",
            35 => "session_ticket",
            41 => "pre_shared_key",
            42 => "early_data",
            43 => "supported_versions",
            44 => "cookie",
            47 => "certificate_authorities",
            50 => "signature_algorithms_cert",
            51 => "key_share",
            0xff01 => "renegotiation_info",
            other => return write!(f, "number {other}"),
        })
    }
}
