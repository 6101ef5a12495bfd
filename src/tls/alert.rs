//! TLS alerts: RFC 8446 section 6 and RFC 5246 section 7.2.
//!
//! Codes and names only. What an alert means at a given moment (ignored, fatal, the end)
//! is decided by the record layer, which knows the version.

use std::fmt;

/// How grave the sender says it is. TLS 1.3 ignores the field (RFC 8446 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// The connection may go on.
    Warning,
    /// The connection ends.
    Fatal,
}

/// An AlertDescription code; any byte, because a server may send any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Description(pub(crate) u8);

impl Description {
    /// The sender sends no more.
    pub(crate) const CLOSE_NOTIFY: Self = Self(0);
    /// Something out of turn.
    pub(crate) const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record does not decrypt.
    pub(crate) const BAD_RECORD_MAC: Self = Self(20);
    /// A record is too long.
    pub(crate) const RECORD_OVERFLOW: Self = Self(22);
    /// Nothing acceptable was offered.
    pub(crate) const HANDSHAKE_FAILURE: Self = Self(40);
    /// A certificate is of no use.
    pub(crate) const BAD_CERTIFICATE: Self = Self(42);
    /// A certificate is not valid now.
    pub(crate) const CERTIFICATE_EXPIRED: Self = Self(45);
    /// A field has a value that it may not have here.
    pub(crate) const ILLEGAL_PARAMETER: Self = Self(47);
    /// The chain ends at nothing trusted.
    pub(crate) const UNKNOWN_CA: Self = Self(48);
    /// A message does not parse.
    pub(crate) const DECODE_ERROR: Self = Self(50);
    /// A signature or Finished does not verify.
    pub(crate) const DECRYPT_ERROR: Self = Self(51);
    /// The version is not supported.
    pub(crate) const PROTOCOL_VERSION: Self = Self(70);
    /// The sender wants more security than was offered.
    pub(crate) const INSUFFICIENT_SECURITY: Self = Self(71);
    /// A failure that the peer has no part in.
    pub(crate) const INTERNAL_ERROR: Self = Self(80);
    /// The handshake is given up, for no fault of the protocol; close_notify follows.
    pub(crate) const USER_CANCELED: Self = Self(90);
    /// An extension is missing that must be there.
    pub(crate) const MISSING_EXTENSION: Self = Self(109);
    /// An extension answers none that was sent.
    pub(crate) const UNSUPPORTED_EXTENSION: Self = Self(110);
    /// No certificate for the server_name.
    pub(crate) const UNRECOGNIZED_NAME: Self = Self(112);
    /// None of the protocols offered by ALPN is spoken.
    pub(crate) const NO_APPLICATION_PROTOCOL: Self = Self(120);

    /// What it is likely to mean in answer to a ClientHello.
    pub(crate) fn refusal(self) -> &'static str {
        match self {
            Self::HANDSHAKE_FAILURE | Self::INSUFFICIENT_SECURITY | Self::ILLEGAL_PARAMETER => {
                ": probably no cipher suite, group or key type in common"
            }
            Self::PROTOCOL_VERSION => ": probably its versions of TLS are all below 1.2",
            Self::UNRECOGNIZED_NAME => ": it has no certificate for the name",
            Self::NO_APPLICATION_PROTOCOL => ": it speaks none of the protocols offered by ALPN",
            _ => "",
        }
    }

    /// The name in the TLS Alerts registry of IANA, where there is one.
    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            52 => "too_many_cids_requested",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            111 => "certificate_unobtainable",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            114 => "bad_certificate_hash_value",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            121 => "ech_required",
            _ => return None,
        })
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "number {}", self.0),
        }
    }
}

/// One alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) level: Level,
    pub(crate) description: Description,
}

impl Alert {
    /// Reads a record's whole content. `None` if that is not exactly one alert: RFC 8446
    /// section 5.1 forbids to split or to join them, and no TLS 1.2 server does either.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        let (level, description) = match content {
            [1, description] => (Level::Warning, *description),
            [2, description] => (Level::Fatal, *description),
            _ => return None,
        };
        Some(Self {
            level,
            description: Description(description),
        })
    }

    /// The two bytes on the wire.
    pub(crate) fn compose(self) -> [u8; 2] {
        let level = match self.level {
            Level::Warning => 1,
            Level::Fatal => 2,
        };
        [level, self.description.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_survives_the_round_trip() {
        for level in [Level::Warning, Level::Fatal] {
            for code in 0..=u8::MAX {
                let alert = Alert {
                    level,
                    description: Description(code),
                };
                assert_eq!(Alert::parse(&alert.compose()), Some(alert));
            }
        }
    }

    #[test]
    fn anything_else_is_no_alert() {
        const CASES: &[(&str, &[u8])] = &[
            ("empty", &[]),
            ("half", &[2]),
            ("two joined", &[1, 0, 2, 40]),
            ("level 0", &[0, 40]),
            ("level 3", &[3, 40]),
        ];
        for (name, bytes) in CASES {
            assert_eq!(Alert::parse(bytes), None, "{name}");
        }
    }

    #[test]
    fn alerts_are_reported_by_name() {
        assert_eq!(
            Description::HANDSHAKE_FAILURE.to_string(),
            "handshake_failure"
        );
        assert_eq!(Description(116).to_string(), "certificate_required");
        assert_eq!(Description(200).to_string(), "number 200");
    }
}
