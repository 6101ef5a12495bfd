//! One certificate: RFC 5280, section 4, version 3, in strict DER.
//!
//! Versions 1 and 2 are read as well, for old roots: as an anchor such a certificate may be a
//! CA; elsewhere, without extensions, it is not a CA and does not name a server.
//!
//! [`Certificate::parse`] returns a value whose every part is well-formed and keeps the rules
//! that hold for a certificate by itself; whether it may be used, by whom and when, is
//! decided in `path`. An unknown critical extension is remembered and not refused here, so
//! that a superfluous certificate or root with one does no harm. Everything borrows from
//! the input; the lists (names, constraints) are bounded by its length.
//!
//! Recognized: basicConstraints, keyUsage, extendedKeyUsage, subjectAltName,
//! nameConstraints, and two without effect. certificatePolicies: with no policy asked for
//! (initial-policy-set any-policy, initial-explicit-policy false; section 6.1.1) it cannot
//! change the outcome. policyConstraints can, and is refused when critical, like every other
//! extension. cRLDistributionPoints: revocation is not checked, critical or not, as in Go.
//! Key identifiers only say which issuer to try first ([`Certificate::unlikelihood`]): a
//! malformed one is ignored, and a critical one is an unknown extension.
//!
//! Stricter than Go 1.19: these critical extensions (policyConstraints, policyMappings,
//! inhibitAnyPolicy, which newer Go supports, and key identifiers, of which newer Go refuses some) are
//! refused, because RFC 5280 does not allow ignoring them. So are a negative pathLenConstraint, an empty
//! extendedKeyUsage, extensions of a version before 3, which have no meaning, and a negative
//! serial number, as in newer Go.

use std::collections::BTreeSet;

use super::Error;
use super::constraints::NameConstraints;
use super::dn::DistinguishedName;
use super::error::{InvalidReason, malformed};
use super::name::GeneralName;
use super::time::UnixTime;
use crate::wire::Reader;
use crate::wire::der::{self, Oid, tag};

/// id-ce, 2.5.29: the arc of the extensions of RFC 5280.
const ID_CE: [u8; 2] = [0x55, 0x1d];

/// id-kp-serverAuth, 1.3.6.1.5.5.7.3.1.
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// anyExtendedKeyUsage, 2.5.29.37.0.
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// keyCertSign, in the first octet of the keyUsage (section 4.2.1.3).
pub(super) const KEY_CERT_SIGN: u8 = 0x04;

/// digitalSignature, keyEncipherment and keyAgreement, one of which a TLS server needs. What is used
/// is a signature, for which RFC 8446 asks servers to have digitalSignature; but certificates with
/// keyEncipherment alone are in use with etcd, and Go and OpenSSL accept them.
pub(super) const TLS_SERVER: u8 = 0x80 | 0x20 | 0x08;

/// Alternative names listed in logs and tables: all of an honest server, but a hostile
/// certificate may carry tens of thousands.
const MAX_SANS: usize = 64;

/// A parsed certificate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Certificate<'a> {
    der: &'a [u8],
    pub(super) to_be_signed: &'a [u8],
    /// The AlgorithmIdentifier with its header, the same inside and outside of what is signed.
    pub(super) signature_algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) issuer_name: DistinguishedName<'a>,
    not_before: UnixTime,
    not_after: UnixTime,
    pub(super) subject_name: DistinguishedName<'a>,
    /// The SubjectPublicKeyInfo with its header.
    pub(super) spki: &'a [u8],
    /// Versions 1 and 2 have no extensions to say what the key is for.
    is_v3: bool,
    pub(super) extensions: Extensions<'a>,
}

/// The extensions that have a meaning here.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Extensions<'a> {
    /// The cA of the basicConstraints: without the extension a certificate is not a CA.
    pub(super) ca: bool,
    /// It has a meaning in a CA only (section 4.2.1.9).
    pub(super) path_len: Option<u64>,
    /// The first octet; decipherOnly, alone in the second, is not used.
    key_usage: Option<u8>,
    /// The extendedKeyUsage does not allow serverAuth.
    pub(super) lacks_server_auth: bool,
    pub(super) alternative_names: Vec<GeneralName<'a>>,
    pub(super) name_constraints: Option<NameConstraints<'a>>,
    /// The identifiers of the subject's key and of the issuer's: hints, which may say anything.
    key_identifier: Option<&'a [u8]>,
    authority_key: Option<&'a [u8]>,
    pub(super) unknown_critical: Option<Oid<'a>>,
}

impl<'a> Certificate<'a> {
    /// Reads one certificate, the whole of `der`.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Error> {
        // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
        let (to_be_signed, outer_algorithm, signature) = der::whole(der, |reader| {
            der::nested(reader, tag::SEQUENCE, |reader| {
                let to_be_signed = der::element(reader, tag::SEQUENCE)?;
                let algorithm = der::element(reader, tag::SEQUENCE)?;
                Ok((to_be_signed, algorithm, der::bit_octets(reader)?))
            })
        })
        .map_err(malformed("its structure"))?;

        let tbs = der::single(to_be_signed, tag::SEQUENCE).map_err(malformed("its structure"))?;
        let tbs = &mut Reader::new(tbs);
        // Version ::= INTEGER { v1(0), v2(1), v3(2) }, `[0]` EXPLICIT, v1 by default.
        let version = der::optional(tbs, tag::context_constructed(0))
            .and_then(|version| version.map_or(Ok(0), |version| der::whole(version, der::u64)))
            .map_err(malformed("version"))?;
        let is_v3 = match version {
            0 | 1 => false,
            2 => true,
            _ => return Err(Error::NotConforming("of an unknown version")),
        };
        // Section 4.1.2.2. Nothing here uses the number. Zero and more than 20 octets are accepted, as
        // verifiers "SHOULD be prepared to gracefully handle" the former, and Go and OpenSSL accept
        // both; negative numbers are refused, as in newer Go.
        der::unsigned(tbs).map_err(malformed("serial number"))?;
        let signature_algorithm =
            der::element(tbs, tag::SEQUENCE).map_err(malformed("signature algorithm"))?;
        // Section 4.1.1.2: both "MUST contain the same algorithm identifier"; the outer one is
        // not signed.
        if signature_algorithm != outer_algorithm {
            return Err(Error::NotConforming("two different signature algorithms"));
        }
        // Section 4.1.2.4: "MUST contain a non-empty distinguished name". Without a path it has no
        // effect, and in a path `path` refuses an issuer without a name.
        let issuer_name = DistinguishedName::parse(tbs).map_err(malformed("issuer"))?;
        let (not_before, not_after) = der::nested(tbs, tag::SEQUENCE, |times| {
            Ok((UnixTime::parse(times)?, UnixTime::parse(times)?))
        })
        .map_err(malformed("validity"))?;
        let subject_name = DistinguishedName::parse(tbs).map_err(malformed("subject"))?;
        let spki = der::element(tbs, tag::SEQUENCE).map_err(malformed("public key"))?;
        // issuerUniqueID and subjectUniqueID: section 4.1.2.8 asks to parse and not to use them.
        for number in [1, 2] {
            der::optional(tbs, tag::context(number)).map_err(malformed("unique identifier"))?;
        }
        let extensions = der::optional(tbs, tag::context_constructed(3));
        let extensions = match extensions.map_err(malformed("extensions"))? {
            // Section 4.1.2.9: "This field MUST only appear if the version is 3".
            Some(_) if !is_v3 => {
                return Err(Error::NotConforming("extensions but not of version 3"));
            }
            Some(contents) => Extensions::parse(contents)?,
            None => Extensions::default(),
        };
        let finished = tbs.finish().map_err(der::Error::from);
        finished.map_err(malformed("its signed part"))?;

        Ok(Self {
            der,
            to_be_signed,
            signature_algorithm,
            signature,
            issuer_name,
            not_before,
            not_after,
            subject_name,
            spki,
            is_v3,
            extensions,
        })
    }

    /// The bytes it was read from.
    pub(crate) fn der(&self) -> &'a [u8] {
        self.der
    }

    /// The subject as text, escaped.
    pub(crate) fn subject(&self) -> String {
        self.subject_name.to_string()
    }

    /// The issuer as text, escaped.
    pub(crate) fn issuer(&self) -> String {
        self.issuer_name.to_string()
    }

    /// The entries of the subjectAltName as text, escaped; at most [`MAX_SANS`].
    pub(crate) fn sans(&self) -> Vec<String> {
        self.first_sans(MAX_SANS)
    }

    /// The first entries of the subjectAltName as text, and how many more there are.
    pub(super) fn first_sans(&self, limit: usize) -> Vec<String> {
        let names = &self.extensions.alternative_names;
        let more = names.len().saturating_sub(limit);
        let more = (more > 0).then(|| format!("and {more} more"));
        let first = names.iter().take(limit).map(GeneralName::to_string);
        first.chain(more).collect()
    }

    /// The first second at which it is valid.
    pub(crate) fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// The last second at which it is valid.
    pub(crate) fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Section 6.1: "A certificate is self-issued if the same DN appears in the subject and
    /// issuer fields".
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject_name == self.issuer_name
    }

    /// How unlikely it is by the key identifiers that `issuer` has issued this: 0 if they are the
    /// same, 2 if they differ, 1 if one is missing (section 4.2.1.1; the order is Go's).
    pub(super) fn unlikelihood(&self, issuer: &Self) -> u8 {
        let wanted = self.extensions.authority_key;
        match (wanted, issuer.extensions.key_identifier) {
            (Some(wanted), Some(found)) if wanted == found => 0,
            (Some(_), Some(_)) => 2,
            _ => 1,
        }
    }

    /// Whether it may issue as an anchor. Section 6.1.4 (k): "out-of-band means" may say that a
    /// certificate of version 1 or 2 is a CA; here, that it is an anchor says so.
    pub(super) fn is_ca_as_anchor(&self) -> bool {
        self.extensions.ca || !self.is_v3
    }
}

impl<'a> Extensions<'a> {
    /// Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension
    fn parse(contents: &'a [u8]) -> Result<Self, Error> {
        let list = der::whole(contents, |reader| der::list(reader, extension));
        let mut extensions = Self::default();
        let mut seen = BTreeSet::new();
        for (oid, critical, value) in list.map_err(malformed("extensions"))? {
            // Section 4.2: "MUST NOT include more than one instance of a particular extension".
            if !seen.insert(oid) {
                return Err(Error::NotConforming("an extension twice"));
            }
            extensions.set(oid, critical, value)?;
        }
        Ok(extensions)
    }

    fn set(&mut self, oid: Oid<'a>, critical: bool, value: &'a [u8]) -> Result<(), Error> {
        match oid.contents().strip_prefix(&ID_CE) {
            Some([14]) if !critical => {
                self.key_identifier = der::single(value, tag::OCTET_STRING).ok();
            }
            // AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier `[0]` OPTIONAL, ... }
            Some([35]) if !critical => {
                let found = der::single(value, tag::SEQUENCE).and_then(|contents| {
                    der::optional(&mut Reader::new(contents), tag::context(0))
                });
                self.authority_key = found.ok().flatten();
            }
            Some([15]) => {
                let octets = der::whole(value, der::bits).map_err(malformed("keyUsage"))?;
                self.key_usage = Some(octets.first().copied().unwrap_or_default());
            }
            Some([17]) => {
                self.alternative_names =
                    der::whole(value, |reader| der::list(reader, GeneralName::parse))
                        .map_err(malformed("subjectAltName"))?;
            }
            Some([19]) => {
                (self.ca, self.path_len) =
                    der::whole(value, basic_constraints).map_err(malformed("basicConstraints"))?;
            }
            Some([30]) => {
                let constraints = der::whole(value, NameConstraints::parse);
                self.name_constraints = Some(constraints.map_err(malformed("nameConstraints"))?);
            }
            // See the head of this file. A critical one must at least be a list of
            // DistributionPoint, a SEQUENCE. Go and OpenSSL accept an empty one, too.
            Some([31]) if critical && value != [tag::SEQUENCE, 0] => {
                let point = |reader: &mut Reader<'a>| der::expect(reader, tag::SEQUENCE);
                der::whole(value, |reader| der::list(reader, point))
                    .map_err(malformed("cRLDistributionPoints"))?;
            }
            Some([31 | 32]) => {}
            // ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId. anyExtendedKeyUsage
            // includes serverAuth, as section 4.2.1.12 allows and Go does.
            Some([37]) => {
                let purposes = der::whole(value, |reader| der::list(reader, der::oid))
                    .map_err(malformed("extendedKeyUsage"))?;
                self.lacks_server_auth = !purposes.iter().any(|purpose| {
                    matches!(purpose.contents(), SERVER_AUTH | ANY_EXTENDED_KEY_USAGE)
                });
            }
            _ if critical => {
                self.unknown_critical.get_or_insert(oid);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the keyUsage includes one of these: without the extension it includes every one.
    pub(super) fn allow_key_usage(&self, one_of: u8) -> bool {
        self.key_usage.is_none_or(|usage| usage & one_of != 0)
    }
}

/// Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue }
fn extension<'a>(reader: &mut Reader<'a>) -> Result<(Oid<'a>, bool, &'a [u8]), der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let oid = der::oid(reader)?;
        let critical = der::boolean_default_false(reader)?;
        Ok((oid, critical, der::expect(reader, tag::OCTET_STRING)?))
    })
}

/// BasicConstraints ::= SEQUENCE { cA DEFAULT FALSE, pathLenConstraint OPTIONAL }. The limit is
/// `INTEGER (0..MAX)`; 64 bits are as many as Go reads.
fn basic_constraints(reader: &mut Reader<'_>) -> Result<(bool, Option<u64>), der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let ca = der::boolean_default_false(reader)?;
        let has_limit = !reader.is_empty();
        Ok((ca, has_limit.then(|| der::u64(reader)).transpose()?))
    })
}

#[cfg(test)]
pub(super) mod tests;
impl InvalidReason {
    /// The error that `certificate` is invalid for this reason.
    pub(super) fn of(self, certificate: &Certificate<'_>) -> Error {
        Error::Invalid {
            subject: certificate.subject(),
            reason: self,
        }
    }
}
