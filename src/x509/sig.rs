//! Signatures: from the AlgorithmIdentifier and SubjectPublicKeyInfo of X.509, or the
//! SignatureScheme of TLS, to the one primitive that verifies them.
//!
//! Supported are ECDSA over P-256, P-384 and P-521, RSA with PKCS #1 v1.5 and with PSS, each
//! with SHA-256, SHA-384 or SHA-512, and Ed25519. RFC 5758 (ECDSA), RFC 4055 (RSA),
//! RFC 8410 (Ed25519), RFC 5480 (EC keys), RFC 8446 section 4.2.3 (schemes). SHA-1, MD5 and
//! MD2 are recognized only to be refused by name.
//!
//! Stricter than Go: RSA keys have 2048 to 8192 bits (SP 800-131A; and for their cost), there is no
//! P-224, and the parameters of an ECDSA algorithm are absent or NULL, where Go does not read them.

use super::Error;
use super::cert::Certificate;
use super::error::{InvalidReason, malformed};
use super::scheme::{Algorithm, SignatureScheme};
use crate::crypto::sha2::Hash::{self, Sha256, Sha384, Sha512};
use crate::crypto::weierstrass::Curve;
use crate::crypto::{self, ecdsa, ed25519, rsa};
use crate::wire::der::{self, tag};

use Algorithm::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};

/// Signature algorithms of certificates without parameters: supported ones, and names of broken ones.
const ALGORITHMS: [(&str, Result<Algorithm, &str>); 11] = [
    ("1.2.840.113549.1.1.2", Err("MD2 and RSA")),
    ("1.2.840.113549.1.1.4", Err("MD5 and RSA")),
    ("1.2.840.113549.1.1.5", Err("SHA-1 and RSA")),
    ("1.2.840.113549.1.1.11", Ok(RsaPkcs1(Sha256))),
    ("1.2.840.113549.1.1.12", Ok(RsaPkcs1(Sha384))),
    ("1.2.840.113549.1.1.13", Ok(RsaPkcs1(Sha512))),
    ("1.2.840.10045.4.1", Err("SHA-1 and ECDSA")),
    ("1.2.840.10045.4.3.2", Ok(Ecdsa(Sha256))),
    ("1.2.840.10045.4.3.3", Ok(Ecdsa(Sha384))),
    ("1.2.840.10045.4.3.4", Ok(Ecdsa(Sha512))),
    (ID_ED25519, Ok(Ed25519)),
];

/// Hashes in the parameters of RSASSA-PSS; `None` is SHA-1.
const HASHES: [(&str, Option<Hash>); 4] = [
    ("2.16.840.1.101.3.4.2.1", Some(Sha256)),
    ("2.16.840.1.101.3.4.2.2", Some(Sha384)),
    ("2.16.840.1.101.3.4.2.3", Some(Sha512)),
    ("1.3.14.3.2.26", None),
];

/// Named curves (RFC 5480, section 2.1.1.1).
const CURVES: [(&str, Curve); 3] = [
    ("1.2.840.10045.3.1.7", Curve::P256),
    ("1.3.132.0.34", Curve::P384),
    ("1.3.132.0.35", Curve::P521),
];

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const ID_MGF1: &str = "1.2.840.113549.1.1.8";
const ID_RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
const ID_EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const ID_ED25519: &str = "1.3.101.112";

/// The DER of NULL.
const NULL: &[u8] = &[0x05, 0x00];

/// The value that a table has for an object identifier.
fn look_up<T: Copy>(table: &[(&str, T)], oid: &str) -> Option<T> {
    let row = table.iter().find(|(known, _)| *known == oid);
    row.map(|(_, value)| *value)
}

impl Algorithm {
    /// The algorithm of the signature on `certificate`.
    fn of(certificate: &Certificate<'_>) -> Result<Self, Error> {
        let (oid, parameters) = algorithm_identifier(certificate.signature_algorithm)
            .map_err(malformed("signature algorithm"))?;
        let algorithm = match look_up(&ALGORITHMS, &oid) {
            None if oid == ID_RSASSA_PSS => match pss_parameters(parameters) {
                Some((Some(hash), salt)) if salt == hash.output_len() => Ok(RsaPss(hash)),
                Some((Some(hash), salt)) => Err(InvalidReason::PssSalt {
                    salt,
                    digest: hash.output_len(),
                }),
                Some((None, _)) => Err(InvalidReason::WeakSignature {
                    algorithm: "SHA-1 and RSA-PSS",
                }),
                None => Err(InvalidReason::UnsupportedSignature { oid }),
            },
            Some(Err(algorithm)) => Err(InvalidReason::WeakSignature { algorithm }),
            Some(Ok(algorithm)) if algorithm.allows(parameters) => Ok(algorithm),
            _ => Err(InvalidReason::UnsupportedSignature { oid }),
        };
        algorithm.map_err(|reason| reason.of(certificate))
    }

    /// RFC 4055, section 5 (RSA): "the parameters MUST be NULL. Implementations MUST accept the
    /// parameters being absent as well as present." RFC 5758, section 3.2 (ECDSA): the encoding
    /// MUST omit them; Java before 16 writes NULL, and Go and OpenSSL accept it. RFC 8410, section 3
    /// (Ed25519): they MUST be absent; Go and OpenSSL refuse NULL, too.
    fn allows(self, parameters: &[u8]) -> bool {
        parameters.is_empty() || parameters == NULL && self != Ed25519
    }
}

/// AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
fn algorithm_identifier(identifier: &[u8]) -> Result<(String, &[u8]), der::Error> {
    der::whole(identifier, |reader| {
        der::nested(reader, tag::SEQUENCE, |reader| {
            Ok((der::oid(reader)?.to_string(), reader.rest()))
        })
    })
}

/// The hash (`None` for SHA-1) and the salt length in RSASSA-PSS-params (RFC 4055, section 3.1):
/// SEQUENCE { hashAlgorithm `[0]` DEFAULT sha1, maskGenAlgorithm `[1]`, saltLength `[2]` DEFAULT 20,
/// trailerField `[3]` DEFAULT 1 }. One hash for message and MGF1 and trailer 1 are required, as in
/// TLS; anything else is `None`. Defaults may be written out.
fn pss_parameters(parameters: &[u8]) -> Option<(Option<Hash>, usize)> {
    let [hash, mask, salt, trailer] = der::whole(parameters, |reader| {
        der::nested(reader, tag::SEQUENCE, |reader| {
            let mut field = |number| der::optional(reader, tag::context_constructed(number));
            Ok::<_, der::Error>([field(0)?, field(1)?, field(2)?, field(3)?])
        })
    })
    .ok()?;
    let number = |field: Option<_>, default| match field {
        Some(contents) => der::whole(contents, der::u64).ok(),
        None => Some(default),
    };
    let (salt, trailer) = (number(salt, 20)?, number(trailer, 1)?);
    let salt = usize::try_from(salt).ok()?;
    let Some(hash) = hash.map_or(Some(None), hash_algorithm)? else {
        return Some((None, salt));
    };
    // The parameters of MGF1 are the AlgorithmIdentifier of a hash.
    let (mask, mask_hash) = algorithm_identifier(mask?).ok()?;
    let fits = mask == ID_MGF1 && hash_algorithm(mask_hash)? == Some(hash) && trailer == 1;
    fits.then_some((Some(hash), salt))
}

/// The hash that an id-RSASSA-PSS key is bound to, if any. RFC 4055, section 3.1: in a key the salt
/// length is the minimum.
fn pss_key_hash(parameters: &[u8]) -> Option<Option<Hash>> {
    if parameters.is_empty() {
        return Some(None);
    }
    let (hash, salt) = pss_parameters(parameters)?;
    hash.filter(|hash| salt <= hash.output_len()).map(Some)
}

/// The hash of an AlgorithmIdentifier, as in [`HASHES`]. RFC 4055, section 2.1: "MUST accept
/// both NULL and absent parameters".
fn hash_algorithm(identifier: &[u8]) -> Option<Option<Hash>> {
    let (oid, parameters) = algorithm_identifier(identifier).ok()?;
    look_up(&HASHES, &oid).filter(|_| matches!(parameters, [] | NULL))
}

/// A subject's public key; points of curves are checked when they are used.
#[derive(Debug, Clone, PartialEq)]
enum PublicKey<'a> {
    /// rsaEncryption: for both RSA algorithms.
    Rsa(rsa::PublicKey),
    /// id-RSASSA-PSS: for PSS only, and with the hash of its parameters if it has any.
    RsaPss(rsa::PublicKey, Option<Hash>),
    Ecdsa(Curve, &'a [u8]),
    Ed25519(&'a [u8]),
}

impl<'a> PublicKey<'a> {
    /// The subject's key in `certificate`.
    fn of(certificate: &Certificate<'a>) -> Result<Self, Error> {
        let (identifier, key) = der::whole(certificate.spki, |reader| {
            der::nested(reader, tag::SEQUENCE, |reader| {
                let identifier = der::element(reader, tag::SEQUENCE)?;
                Ok((identifier, der::bit_octets(reader)?))
            })
        })
        .map_err(malformed("public key"))?;
        let (oid, parameters) =
            algorithm_identifier(identifier).map_err(malformed("public key"))?;
        let unsupported = |oid| InvalidReason::UnsupportedKey { oid }.of(certificate);
        let rsa_key = || {
            let (modulus, exponent) = der::two_unsigned(key).map_err(malformed("public key"))?;
            rsa::PublicKey::new(modulus, exponent).map_err(|_| {
                let bits = bit_len(modulus);
                InvalidReason::RsaKey { bits }.of(certificate)
            })
        };
        match oid.as_str() {
            // RFC 3279, section 2.3.1: "The parameters field MUST have ASN.1 type NULL".
            RSA_ENCRYPTION if parameters == NULL => rsa_key().map(Self::Rsa),
            ID_RSASSA_PSS => {
                let hash = pss_key_hash(parameters).ok_or_else(|| unsupported(oid))?;
                rsa_key().map(|key| Self::RsaPss(key, hash))
            }
            // RFC 5480, section 2.1.1: a named curve; explicit parameters are never accepted.
            ID_EC_PUBLIC_KEY => {
                let Ok(name) = der::whole(parameters, der::oid) else {
                    return Err(unsupported(oid));
                };
                let name = name.to_string();
                let curve = look_up(&CURVES, &name).ok_or_else(|| unsupported(name))?;
                Ok(Self::Ecdsa(curve, key))
            }
            ID_ED25519 if parameters.is_empty() => Ok(Self::Ed25519(key)),
            _ => Err(unsupported(oid)),
        }
    }

    /// The type of the key, as in [`SignatureScheme::ALL`].
    fn key_type(&self) -> &'static str {
        match self {
            Self::Rsa(..) => "RSA",
            Self::RsaPss(..) => "RSA-PSS",
            Self::Ecdsa(Curve::P256, _) => "P-256",
            Self::Ecdsa(Curve::P384, _) => "P-384",
            Self::Ecdsa(Curve::P521, _) => "P-521",
            Self::Ed25519(_) => "Ed25519",
        }
    }

    /// The most that a verification takes, in microseconds, of a message and a signature of these
    /// many octets: a quarter more than was measured with the release profile on a virtual
    /// machine with two shared cores (AMD EPYC). There P-256 took 470, P-384 1,070, P-521 2,670,
    /// Ed25519 290; RSA with the exponent 65537, by the width that its numbers are computed in: 2048
    /// bits 60, 3072 130, 4096 250, 6144 up to 800, 8192 970, and with the longest exponent 2.4 times
    /// that. SHA-256 takes 7 for 1,024 octets.
    fn cost(&self, message: usize, signature: usize) -> usize {
        let key = match self {
            // A signature of another length than the modulus is refused before any of it.
            Self::Rsa(key) | Self::RsaPss(key, _) => {
                let usual: usize = match signature {
                    ..=256 => 80,
                    257..=384 => 170,
                    385..=512 => 320,
                    513..=768 => 1_000,
                    _ => 1_250,
                };
                match key.exponent_bits() {
                    ..=17 => usual,
                    _ => usual.saturating_mul(5) / 2,
                }
            }
            Self::Ecdsa(Curve::P256, _) => 600,
            Self::Ecdsa(Curve::P384, _) => 1_350,
            Self::Ecdsa(Curve::P521, _) => 3_350,
            Self::Ed25519(_) => 370,
        };
        message.div_ceil(128).saturating_add(key)
    }

    /// `None` if the algorithm does not fit the key.
    fn verify(
        &self,
        algorithm: Algorithm,
        message: &[&[u8]],
        signature: &[u8],
    ) -> Option<Result<(), crypto::Error>> {
        Some(match (algorithm, self) {
            (RsaPkcs1(hash), Self::Rsa(key)) => key.verify_pkcs1(hash, message, signature),
            (RsaPss(hash), Self::Rsa(key)) => key.verify_pss(hash, message, signature),
            (RsaPss(hash), Self::RsaPss(key, bound)) if bound.is_none_or(|bound| bound == hash) => {
                key.verify_pss(hash, message, signature)
            }
            (Ecdsa(hash), Self::Ecdsa(curve, point)) => {
                ecdsa::verify(*curve, hash, point, message, signature)
            }
            (Ed25519, Self::Ed25519(key)) => ed25519::verify(key, message, signature),
            _ => return None,
        })
    }
}

/// The bits of a number without leading zero octets.
fn bit_len(magnitude: &[u8]) -> u32 {
    let octets = u32::try_from(magnitude.len()).unwrap_or(u32::MAX);
    let zeros = magnitude.first().map_or(0, |octet| octet.leading_zeros());
    octets.saturating_mul(8).saturating_sub(zeros)
}

/// Whether the certificate's key is of a supported type, and an RSA key of an accepted size.
pub(super) fn check_key(certificate: &Certificate<'_>) -> Result<(), Error> {
    PublicKey::of(certificate).map(|_| ())
}

/// Verifies the signature on `child` with the key of `issuer`, unless `charge` refuses its cost in
/// microseconds.
pub(super) fn verify_certificate(
    child: &Certificate<'_>,
    issuer: &Certificate<'_>,
    charge: impl FnOnce(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let algorithm = Algorithm::of(child)?;
    let key = PublicKey::of(issuer)?;
    charge(key.cost(child.to_be_signed.len(), child.signature.len()))?;
    let issuer = || issuer.subject();
    let reason = match key.verify(algorithm, &[child.to_be_signed], child.signature) {
        Some(Ok(())) => return Ok(()),
        Some(Err(cause)) => InvalidReason::BadSignature {
            issuer: issuer(),
            cause,
        },
        None => InvalidReason::SignatureKeyMismatch { issuer: issuer() },
    };
    Err(reason.of(child))
}

impl SignatureScheme {
    /// Whether TLS 1.3 allows the scheme with this key: the curve is bound to the hash, the
    /// type of RSA key to the scheme, and PKCS #1 is for certificates only.
    fn suits_tls13(self, key: &PublicKey<'_>) -> bool {
        self.key_type == key.key_type() && !matches!(self.algorithm, RsaPkcs1(_))
    }

    /// Whether TLS 1.2 allows the scheme with this key: there an ECDSA code point names the
    /// hash only and PKCS #1 is in use (RFC 8446, section 4.2.3, last paragraphs).
    fn suits_tls12(self, key: &PublicKey<'_>) -> bool {
        matches!((self.algorithm, key), (Ecdsa(_), PublicKey::Ecdsa(..)))
            || self.key_type == key.key_type()
    }

    /// Verifies the signature of a handshake with the key of `certificate`, if the scheme `suits` it.
    fn verify(
        self,
        suits: fn(Self, &PublicKey<'_>) -> bool,
        certificate: &Certificate<'_>,
        message: &[&[u8]],
        signature: &[u8],
    ) -> Result<(), Error> {
        let key = PublicKey::of(certificate)?;
        let verified = match suits(self, &key) {
            true => key.verify(self.algorithm, message, signature),
            false => None,
        };
        let mismatch = Error::SchemeMismatch {
            scheme: self,
            key: key.key_type(),
        };
        verified
            .ok_or(mismatch)?
            .map_err(|cause| Error::BadHandshakeSignature {
                scheme: self,
                cause,
            })
    }
}

/// Verifies the signature of a TLS 1.3 handshake with the key of `certificate`.
pub(crate) fn verify_tls13(
    scheme: SignatureScheme,
    certificate: &Certificate<'_>,
    message: &[&[u8]],
    signature: &[u8],
) -> Result<(), Error> {
    scheme.verify(
        SignatureScheme::suits_tls13,
        certificate,
        message,
        signature,
    )
}

/// Verifies the signature of a TLS 1.2 handshake with the key of `certificate`.
pub(crate) fn verify_tls12(
    scheme: SignatureScheme,
    certificate: &Certificate<'_>,
    message: &[&[u8]],
    signature: &[u8],
) -> Result<(), Error> {
    scheme.verify(
        SignatureScheme::suits_tls12,
        certificate,
        message,
        signature,
    )
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// SHA-256, with and without NULL; MGF1 with it; a salt of 32; the trailer.
    const HASH: &[u8] = b"\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00";
    const HASH_BARE: &[u8] = b"\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    const HASH_384: &[u8] = b"\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02";
    const HASH_SHA1: &[u8] = b"\xa0\x09\x30\x07\x06\x05\x2b\x0e\x03\x02\x1a";
    const MGF1: &[u8] = b"\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0b\x06\
        \x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    /// pkcs-1 9 is not a mask generation function.
    const MGF_OTHER: &[u8] =
        b"\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x09\x30\x0b\
        \x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    const SALT_32: &[u8] = b"\xa2\x03\x02\x01\x20";
    const SALT_33: &[u8] = b"\xa2\x03\x02\x01\x21";
    const SALT_31: &[u8] = b"\xa2\x03\x02\x01\x1f";
    const TRAILER_1: &[u8] = b"\xa3\x03\x02\x01\x01";
    const TRAILER_2: &[u8] = b"\xa3\x03\x02\x01\x02";

    #[test]
    fn pss_parameters_have_one_shape() {
        // The parts, and the hash and the salt read from them.
        type Read = Option<(Option<Hash>, usize)>;
        let sha256 = |salt| Some((Some(Sha256), salt));
        let cases: &[(&[&[u8]], Read)] = &[
            (&[HASH, MGF1, SALT_32], sha256(32)),
            (&[HASH_BARE, MGF1, SALT_32], sha256(32)),
            (&[HASH, MGF1, SALT_32, TRAILER_1], sha256(32)),
            (&[], Some((None, 20))),
            (&[HASH_SHA1], Some((None, 20))),
            (&[MGF1, SALT_32], Some((None, 32))),
            (&[HASH, MGF1, SALT_31], sha256(31)),
            (&[HASH, MGF1, SALT_33], sha256(33)),
            (&[HASH, MGF1], sha256(20)),
            (&[HASH, MGF1, b"\xa2\x03\x02\x01\x14"], sha256(20)),
            (&[HASH, MGF1, b"\xa2\x04\x02\x02\x00\xde"], sha256(222)),
            (&[HASH, MGF1, SALT_32, TRAILER_2], None),
            (&[HASH, MGF1, SALT_31, TRAILER_2], None),
            (&[HASH, MGF1, b"\xa2\x03\x02\x01\xff"], None),
            (&[HASH, SALT_32], None),
            (&[HASH_384, MGF1, SALT_32], None),
            (&[HASH, MGF_OTHER, SALT_32], None),
            (&[MGF1, HASH, SALT_32], None),
            (&[HASH, MGF1, SALT_32, b"\x05\x00"], None),
        ];
        for (parts, expected) in cases {
            let contents = parts.concat();
            let length = u8::try_from(contents.len()).unwrap_or(u8::MAX);
            let parameters = [&[tag::SEQUENCE, length], &contents[..]].concat();
            assert_eq!(pss_parameters(&parameters), *expected, "{parameters:02x?}");
        }
        assert_eq!(pss_parameters(&[]), None);
    }

    #[test]
    fn the_salt_length_of_a_key_is_a_minimum() {
        type Bound = Option<Option<Hash>>;
        let cases: &[(&[&[u8]], Bound)] = &[
            (&[HASH, MGF1], Some(Some(Sha256))), // 20, by default
            (&[HASH, MGF1, SALT_31], Some(Some(Sha256))),
            (&[HASH, MGF1, SALT_32], Some(Some(Sha256))),
            (&[HASH, MGF1, SALT_33], None),
            (&[HASH, MGF1, SALT_31, TRAILER_2], None),
            (&[HASH_SHA1], None),
        ];
        for (parts, expected) in cases {
            let contents = parts.concat();
            let length = u8::try_from(contents.len()).unwrap_or(u8::MAX);
            let parameters = [&[tag::SEQUENCE, length], &contents[..]].concat();
            assert_eq!(pss_key_hash(&parameters), *expected, "{parameters:02x?}");
        }
        assert_eq!(pss_key_hash(&[]), Some(None));
    }
}
