//! Signatures: from the AlgorithmIdentifier and SubjectPublicKeyInfo of X.509, or the
//! SignatureScheme of TLS, to the one primitive that verifies them.
//!
//! Supported are ECDSA over P-256, P-384 and P-521, RSA with PKCS #1 v1.5 and with PSS, each
//! with SHA-256, SHA-384 or SHA-512, and Ed25519. RFC 5758 (ECDSA), RFC 4055 (RSA),
//! RFC 8410 (Ed25519), RFC 5480 (EC keys), RFC 8446 section 4.2.3 (schemes). SHA-1, MD5 and
//! MD2 are known only to be refused by name.
//!
//! Stricter than Go: RSA keys have 2048 to 8192 bits (SP 800-131A; and for their cost), there is no
//! P-224, and an ECDSA algorithm has no parameters or NULL, where Go does not look at them.

use std::fmt;

use super::Error;
use super::cert::Certificate;
use super::error::Flaw;
use crate::crypto::sha2::Hash;
use crate::crypto::weierstrass::Curve;
use crate::crypto::{self, ecdsa, ed25519, rsa};
use crate::wire::Reader;
use crate::wire::der::{self, Oid, tag};

/// How a signature was made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Algorithm {
    RsaPkcs1(Hash),
    /// MGF1 with the same hash, a salt of the hash's length.
    RsaPss(Hash),
    Ecdsa(Hash),
    Ed25519,
}

/// pkcs-1, 1.2.840.113549.1.1.
const PKCS_1: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// ansi-X9-62 signatures, 1.2.840.10045.4.
const ECDSA_SIGNATURES: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// id-ecPublicKey, 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// prime256v1, 1.2.840.10045.3.1.7.
const PRIME256V1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34.
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// secp521r1, 1.3.132.0.35.
const SECP521R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// id-Ed25519, 1.3.101.112.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// id-sha1, 1.3.14.3.2.26.
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// NIST hash algorithms, 2.16.840.1.101.3.4.2.
const NIST_HASHES: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

impl Algorithm {
    /// That of the signature on `certificate`.
    fn of(certificate: &Certificate<'_>) -> Result<Self, Error> {
        let (oid, parameters) =
            algorithm_identifier(certificate.signature_algorithm, "signature algorithm")?;
        let unsupported = || {
            let oid = oid.to_string();
            Flaw::UnsupportedSignature { oid }.of(certificate)
        };
        let weak = |algorithm| Err(Flaw::WeakSignature { algorithm }.of(certificate));
        let pss = || match pss_parameters(parameters) {
            Some((Some(hash), salt)) if salt == hash.output_len() => Ok(Self::RsaPss(hash)),
            Some((Some(hash), salt)) => {
                let digest = hash.output_len();
                Err(Flaw::PssSalt { salt, digest }.of(certificate))
            }
            Some((None, _)) => weak("SHA-1 and RSA-PSS"),
            None => Err(unsupported()),
        };
        let pkcs_1 = oid.contents().strip_prefix(&PKCS_1);
        let ecdsa = oid.contents().strip_prefix(&ECDSA_SIGNATURES);
        let algorithm = match (pkcs_1, ecdsa) {
            (Some([2]), _) => return weak("MD2 and RSA"),
            (Some([4]), _) => return weak("MD5 and RSA"),
            (Some([5]), _) => return weak("SHA-1 and RSA"),
            (Some([10]), _) => return pss(),
            (Some([11]), _) => Self::RsaPkcs1(Hash::Sha256),
            (Some([12]), _) => Self::RsaPkcs1(Hash::Sha384),
            (Some([13]), _) => Self::RsaPkcs1(Hash::Sha512),
            (_, Some([1])) => return weak("SHA-1 and ECDSA"),
            (_, Some([3, 2])) => Self::Ecdsa(Hash::Sha256),
            (_, Some([3, 3])) => Self::Ecdsa(Hash::Sha384),
            (_, Some([3, 4])) => Self::Ecdsa(Hash::Sha512),
            // RFC 8410, section 3: the parameters MUST be absent; Go and OpenSSL refuse NULL, too.
            _ if oid.contents() == ED25519 && parameters.is_empty() => return Ok(Self::Ed25519),
            _ => return Err(unsupported()),
        };
        // RFC 4055, section 5 (RSA): "the parameters MUST be NULL. Implementations MUST accept the
        // parameters being absent as well as present." RFC 5758, section 3.2 (ECDSA): the encoding
        // MUST omit them; Java before 16 writes NULL, which says nothing, and Go and OpenSSL take it.
        match says_nothing(parameters) {
            true => Ok(algorithm),
            false => Err(unsupported()),
        }
    }
}

/// Whether the parameters of an algorithm are absent or NULL.
fn says_nothing(parameters: &[u8]) -> bool {
    matches!(parameters, [] | [0x05, 0x00])
}

/// AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
fn algorithm_identifier<'a>(
    identifier: &'a [u8],
    what: &'static str,
) -> Result<(Oid<'a>, &'a [u8]), Error> {
    der::whole(identifier, |reader| {
        der::nested(reader, tag::SEQUENCE, |reader| {
            Ok((der::oid(reader)?, reader.rest()))
        })
    })
    .map_err(|cause| Error::Malformed { what, cause })
}

/// The hash (`None` for SHA-1) and the salt length in RSASSA-PSS-params (RFC 4055, section 3.1):
/// SEQUENCE { hashAlgorithm `[0]` DEFAULT sha1, maskGenAlgorithm `[1]`, saltLength `[2]` DEFAULT 20,
/// trailerField `[3]` DEFAULT 1 }. One hash for message and MGF1 and trailer 1 are required, as in
/// TLS; anything else yields `None`. Defaults may be written out.
fn pss_parameters(parameters: &[u8]) -> Option<(Option<Hash>, usize)> {
    let [hash, mask, salt, trailer] = der::whole(parameters, |reader| {
        der::nested(reader, tag::SEQUENCE, |reader| {
            let mut field = |number| der::optional(reader, tag::context_constructed(number));
            Ok::<_, der::Error>([field(0)?, field(1)?, field(2)?, field(3)?])
        })
    })
    .ok()?;
    let number = |field: Option<_>, default| match field {
        Some(contents) => der::whole(contents, der::u32).ok(),
        None => Some(default),
    };
    let (salt, trailer) = (number(salt, 20)?, number(trailer, 1)?);
    let salt = usize::try_from(salt).ok()?;
    let Some(hash) = hash.map_or(Some(None), hash_algorithm)? else {
        return Some((None, salt));
    };
    let (mask, of) = algorithm_identifier(mask?, "mask generation").ok()?;
    // id-mgf1 is pkcs-1 8; its parameters are the hash's AlgorithmIdentifier.
    let fits = mask.contents().strip_prefix(&PKCS_1) == Some(&[8])
        && hash_algorithm(of)? == Some(hash)
        && trailer == 1;
    fits.then_some((Some(hash), salt))
}

/// The hash that an id-RSASSA-PSS key is bound to, if any. RFC 4055, section 3.1: in a key the salt
/// length is the minimum.
fn pss_key_hash(parameters: &[u8]) -> Option<Option<Hash>> {
    if parameters.is_empty() {
        return Some(None);
    }
    match pss_parameters(parameters)? {
        (Some(hash), salt) if salt <= hash.output_len() => Some(Some(hash)),
        _ => None,
    }
}

/// The hash of an AlgorithmIdentifier, `None` within for SHA-1. RFC 4055, section 2.1: "MUST accept
/// both NULL and absent parameters".
fn hash_algorithm(identifier: &[u8]) -> Option<Option<Hash>> {
    let (oid, parameters) = algorithm_identifier(identifier, "hash algorithm").ok()?;
    let hash = match oid.contents().strip_prefix(&NIST_HASHES) {
        Some([1]) => Some(Hash::Sha256),
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        _ if oid.contents() == SHA1 => None,
        _ => return None,
    };
    says_nothing(parameters).then_some(hash)
}

/// A subject's public key; those of curves not yet checked by their primitive.
#[derive(Debug, Clone, PartialEq)]
enum PublicKey<'a> {
    /// rsaEncryption: good for both RSA algorithms.
    Rsa(rsa::PublicKey),
    /// id-RSASSA-PSS: good for PSS only, and with the hash of its parameters if it has any.
    RsaPss(rsa::PublicKey, Option<Hash>),
    Ecdsa(Curve, &'a [u8]),
    Ed25519(&'a [u8]),
}

impl<'a> PublicKey<'a> {
    /// The subject's key in `certificate`.
    fn of(certificate: &Certificate<'a>) -> Result<Self, Error> {
        let malformed = |cause| Error::Malformed {
            what: "public key",
            cause,
        };
        let (identifier, key) = der::whole(certificate.spki, |reader| {
            der::nested(reader, tag::SEQUENCE, |reader| {
                let (identifier, _) =
                    der::spanned(reader, |reader| der::expect(reader, tag::SEQUENCE))?;
                Ok((identifier, der::bit_octets(reader)?))
            })
        })
        .map_err(malformed)?;
        let (oid, parameters) = algorithm_identifier(identifier, "public key")?;
        let unsupported = |oid: Oid<'_>| {
            let oid = oid.to_string();
            Flaw::UnsupportedKey { oid }.of(certificate)
        };
        let rsa_key = || {
            let (modulus, exponent) = der::whole(key, rsa_public_key).map_err(malformed)?;
            let bits = bit_len(modulus);
            rsa::PublicKey::new(modulus, exponent)
                .map_err(|_| Flaw::RsaKey { bits }.of(certificate))
        };
        match (oid.contents(), oid.contents().strip_prefix(&PKCS_1)) {
            // RFC 3279, section 2.3.1: "The parameters field MUST have ASN.1 type NULL".
            (_, Some([1])) if parameters == [0x05, 0x00] => rsa_key().map(Self::Rsa),
            (_, Some([10])) => {
                let hash = pss_key_hash(parameters).ok_or_else(|| unsupported(oid))?;
                rsa_key().map(|key| Self::RsaPss(key, hash))
            }
            // RFC 5480, section 2.1.1: a named curve; curves spelt out are never taken.
            (EC_PUBLIC_KEY, _) => {
                let curve = der::whole(parameters, der::oid).map_err(|_| unsupported(oid))?;
                let curve = match curve.contents() {
                    PRIME256V1 => Curve::P256,
                    SECP384R1 => Curve::P384,
                    SECP521R1 => Curve::P521,
                    _ => return Err(unsupported(curve)),
                };
                Ok(Self::Ecdsa(curve, key))
            }
            (ED25519, _) if parameters.is_empty() => Ok(Self::Ed25519(key)),
            _ => Err(unsupported(oid)),
        }
    }

    fn kind(&self) -> &'static str {
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
    /// many octets: a quarter more than what was measured with the release profile on a virtual
    /// machine with two shared cores (AMD EPYC). There P-256 took 470, P-384 1,070, P-521 2,670,
    /// Ed25519 290; RSA with the exponent 65537, by the width that its numbers are computed in: 2048
    /// bits 60, 3072 130, 4096 250, 6144 up to 800, 8192 970, and with the longest exponent 2.4 times
    /// that. SHA-256 takes 7 for 1,024 octets.
    fn cost(&self, message: usize, signature: usize) -> usize {
        let key = match self {
            // Another length than that of the modulus is refused before any of it.
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

    /// `None` if the algorithm does not go with the key.
    fn verify(
        &self,
        algorithm: Algorithm,
        message: &[&[u8]],
        signature: &[u8],
    ) -> Option<Result<(), crypto::Error>> {
        Some(match (algorithm, self) {
            (Algorithm::RsaPkcs1(hash), Self::Rsa(key)) => {
                key.verify_pkcs1(hash, message, signature)
            }
            (Algorithm::RsaPss(hash), Self::Rsa(key)) => key.verify_pss(hash, message, signature),
            (Algorithm::RsaPss(hash), Self::RsaPss(key, bound))
                if bound.is_none_or(|bound| bound == hash) =>
            {
                key.verify_pss(hash, message, signature)
            }
            (Algorithm::Ecdsa(hash), Self::Ecdsa(curve, point)) => {
                ecdsa::verify(*curve, hash, point, message, signature)
            }
            (Algorithm::Ed25519, Self::Ed25519(key)) => ed25519::verify(key, message, signature),
            _ => return None,
        })
    }
}

/// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017, A.1.1)
fn rsa_public_key<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        Ok((der::unsigned(reader)?, der::unsigned(reader)?))
    })
}

/// The bits of a number without leading zero octets.
fn bit_len(magnitude: &[u8]) -> u32 {
    let octets = u32::try_from(magnitude.len()).unwrap_or(u32::MAX);
    let zeros = magnitude.first().map_or(0, |octet| octet.leading_zeros());
    octets.saturating_mul(8).saturating_sub(zeros)
}

/// Whether the certificate's key is of a supported kind, and an RSA key of an accepted size.
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
    let verified = key.verify(algorithm, &[child.to_be_signed], child.signature);
    if verified == Some(Ok(())) {
        return Ok(());
    }
    let issuer = issuer.subject();
    let flaw = match verified {
        Some(Err(cause)) => Flaw::BadSignature { issuer, cause },
        _ => Flaw::SignatureKeyMismatch { issuer },
    };
    Err(flaw.of(child))
}

/// The signature schemes of TLS that are offered and accepted (RFC 8446, section 4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureScheme {
    /// 0x0403; in TLS 1.2 ECDSA with SHA-256 on any curve.
    EcdsaP256Sha256,
    /// 0x0503; in TLS 1.2 ECDSA with SHA-384 on any curve.
    EcdsaP384Sha384,
    /// 0x0603; in TLS 1.2 ECDSA with SHA-512 on any curve.
    EcdsaP521Sha512,
    /// 0x0401; never for a handshake of TLS 1.3.
    RsaPkcs1Sha256,
    /// 0x0501; never for a handshake of TLS 1.3.
    RsaPkcs1Sha384,
    /// 0x0601; never for a handshake of TLS 1.3.
    RsaPkcs1Sha512,
    /// 0x0804
    RsaPssRsaeSha256,
    /// 0x0805
    RsaPssRsaeSha384,
    /// 0x0806
    RsaPssRsaeSha512,
    /// 0x0809
    RsaPssPssSha256,
    /// 0x080a
    RsaPssPssSha384,
    /// 0x080b
    RsaPssPssSha512,
    /// 0x0807
    Ed25519,
}

impl SignatureScheme {
    /// All of them, in the order in which they are offered. P-256 is what nearly all servers have; the
    /// other curves follow by what a verification costs, then RSA, with PSS before PKCS #1, which is
    /// for TLS 1.2 and for certificates.
    pub(crate) const ALL: [Self; 13] = [
        Self::EcdsaP256Sha256,
        Self::Ed25519,
        Self::EcdsaP384Sha384,
        Self::EcdsaP521Sha512,
        Self::RsaPssRsaeSha256,
        Self::RsaPssRsaeSha384,
        Self::RsaPssRsaeSha512,
        Self::RsaPssPssSha256,
        Self::RsaPssPssSha384,
        Self::RsaPssPssSha512,
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
    ];

    /// The scheme of a code point, if it is supported.
    pub(crate) fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.code() == code)
    }

    /// Its code point.
    pub(crate) fn code(self) -> u16 {
        self.definition().0
    }

    /// Code point, IANA name, and what is to be verified.
    fn definition(self) -> (u16, &'static str, Algorithm) {
        use Hash::{Sha256, Sha384, Sha512};
        match self {
            Self::EcdsaP256Sha256 => (0x0403, "ecdsa_secp256r1_sha256", Algorithm::Ecdsa(Sha256)),
            Self::EcdsaP384Sha384 => (0x0503, "ecdsa_secp384r1_sha384", Algorithm::Ecdsa(Sha384)),
            Self::EcdsaP521Sha512 => (0x0603, "ecdsa_secp521r1_sha512", Algorithm::Ecdsa(Sha512)),
            Self::RsaPkcs1Sha256 => (0x0401, "rsa_pkcs1_sha256", Algorithm::RsaPkcs1(Sha256)),
            Self::RsaPkcs1Sha384 => (0x0501, "rsa_pkcs1_sha384", Algorithm::RsaPkcs1(Sha384)),
            Self::RsaPkcs1Sha512 => (0x0601, "rsa_pkcs1_sha512", Algorithm::RsaPkcs1(Sha512)),
            Self::RsaPssRsaeSha256 => (0x0804, "rsa_pss_rsae_sha256", Algorithm::RsaPss(Sha256)),
            Self::RsaPssRsaeSha384 => (0x0805, "rsa_pss_rsae_sha384", Algorithm::RsaPss(Sha384)),
            Self::RsaPssRsaeSha512 => (0x0806, "rsa_pss_rsae_sha512", Algorithm::RsaPss(Sha512)),
            Self::RsaPssPssSha256 => (0x0809, "rsa_pss_pss_sha256", Algorithm::RsaPss(Sha256)),
            Self::RsaPssPssSha384 => (0x080a, "rsa_pss_pss_sha384", Algorithm::RsaPss(Sha384)),
            Self::RsaPssPssSha512 => (0x080b, "rsa_pss_pss_sha512", Algorithm::RsaPss(Sha512)),
            Self::Ed25519 => (0x0807, "ed25519", Algorithm::Ed25519),
        }
    }

    /// Whether TLS 1.3 allows the scheme with this key: the curve is bound to the hash, the
    /// kind of RSA key to the scheme, and PKCS #1 is for certificates only.
    fn suits_tls13(self, key: &PublicKey<'_>) -> bool {
        match (self, key) {
            (Self::EcdsaP256Sha256, PublicKey::Ecdsa(curve, _)) => *curve == Curve::P256,
            (Self::EcdsaP384Sha384, PublicKey::Ecdsa(curve, _)) => *curve == Curve::P384,
            (Self::EcdsaP521Sha512, PublicKey::Ecdsa(curve, _)) => *curve == Curve::P521,
            (Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512, _) => false,
            _ => self.suits_tls12(key),
        }
    }

    /// Whether TLS 1.2 allows the scheme with this key: there an ECDSA code point names the
    /// hash only and PKCS #1 is in use (RFC 8446, section 4.2.3, last paragraphs).
    fn suits_tls12(self, key: &PublicKey<'_>) -> bool {
        let (code, _, algorithm) = self.definition();
        match (algorithm, key) {
            // The rsae schemes are for rsaEncryption, the pss ones for id-RSASSA-PSS.
            (Algorithm::RsaPss(_), PublicKey::Rsa(..)) => code <= 0x0806,
            (Algorithm::RsaPss(_), PublicKey::RsaPss(..)) => code >= 0x0809,
            (Algorithm::RsaPkcs1(_), PublicKey::Rsa(..))
            | (Algorithm::Ecdsa(_), PublicKey::Ecdsa(..))
            | (Algorithm::Ed25519, PublicKey::Ed25519(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for SignatureScheme {
    /// The name in the IANA registry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.definition().1)
    }
}

/// Verifies the signature of a TLS 1.3 handshake with the key of `certificate`.
pub(crate) fn verify_tls13(
    scheme: SignatureScheme,
    certificate: &Certificate<'_>,
    message: &[&[u8]],
    signature: &[u8],
) -> Result<(), Error> {
    let key = PublicKey::of(certificate)?;
    verify_handshake(scheme, scheme.suits_tls13(&key), &key, message, signature)
}

/// Verifies the signature of a TLS 1.2 handshake with the key of `certificate`.
pub(crate) fn verify_tls12(
    scheme: SignatureScheme,
    certificate: &Certificate<'_>,
    message: &[&[u8]],
    signature: &[u8],
) -> Result<(), Error> {
    let key = PublicKey::of(certificate)?;
    verify_handshake(scheme, scheme.suits_tls12(&key), &key, message, signature)
}

fn verify_handshake(
    scheme: SignatureScheme,
    suits: bool,
    key: &PublicKey<'_>,
    message: &[&[u8]],
    signature: &[u8],
) -> Result<(), Error> {
    let (_, _, algorithm) = scheme.definition();
    let verified = suits.then(|| key.verify(algorithm, message, signature));
    match verified.flatten() {
        Some(verified) => verified.map_err(|cause| Error::BadHandshakeSignature { scheme, cause }),
        None => {
            let key = key.kind();
            Err(Error::SchemeMismatch { scheme, key })
        }
    }
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
    /// pkcs-1 9 is no mask generation function.
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
        let sha256 = |salt| Some((Some(Hash::Sha256), salt));
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
            (&[HASH, MGF1], Some(Some(Hash::Sha256))), // 20, by default
            (&[HASH, MGF1, SALT_31], Some(Some(Hash::Sha256))),
            (&[HASH, MGF1, SALT_32], Some(Some(Hash::Sha256))),
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
