//! One certificate: RFC 5280, section 4, version 3, in strict DER.
//!
//! Versions 1 and 2 are read as well, for old roots: as an anchor such a certificate may be a
//! CA, elsewhere, without extensions, it is neither a CA nor names a server.
//!
//! [`Certificate::parse`] yields a value whose every part is well-formed and keeps the rules
//! that hold for a certificate by itself; whether it may be used, by whom and when, is
//! decided in `path`. A critical extension unknown here is remembered and not refused, so
//! that a superfluous certificate or root carrying one does no harm. Everything borrows from
//! the input; the lists (names, constraints) are bounded by its length.
//!
//! Recognized: basicConstraints, keyUsage, extendedKeyUsage, subjectAltName,
//! nameConstraints, and two without effect. certificatePolicies: with no policy asked for
//! (initial-policy-set any-policy, initial-explicit-policy false; section 6.1.1) it cannot
//! change the outcome. What can, policyConstraints, is refused when critical, like
//! everything else. cRLDistributionPoints: revocation is not checked, critical or not, as in Go.
//! Key identifiers say which issuer to try first ([`Certificate::unlikelihood`]) and no more: a
//! malformed one is none, and a critical one is unknown.
//!
//! Stricter than Go 1.19: these critical extensions (policyConstraints, policyMappings,
//! inhibitAnyPolicy, which newer Go knows, and key identifiers, of which newer Go refuses some) are
//! refused, because RFC 5280 lets nobody ignore them; so are a negative pathLenConstraint, an empty
//! extendedKeyUsage and extensions of a version before 3, which have no meaning, and a negative
//! serial number, as in newer Go.

use std::collections::BTreeSet;

use super::Error;
use super::constraints::NameConstraints;
use super::dn::DistinguishedName;
use super::name::GeneralName;
use super::time::UnixTime;
use crate::wire::Reader;
use crate::wire::der::{self, Oid, tag};

/// Longest pathLenConstraint in octets.
const MAX_PATH_LEN: usize = 8;

/// id-ce, 2.5.29: the arc of the extensions of RFC 5280.
const ID_CE: [u8; 2] = [0x55, 0x1d];

/// id-kp-serverAuth, 1.3.6.1.5.5.7.3.1.
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// anyExtendedKeyUsage, 2.5.29.37.0.
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// Alternative names that are shown: logs and tables have all those of a server, but a hostile
/// certificate may carry tens of thousands.
const MAX_SANS_SHOWN: usize = 64;

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
    /// By the basicConstraints: without the extension a certificate is not a CA.
    pub(super) ca: bool,
    /// It means something in a CA only (section 4.2.1.9).
    pub(super) path_len: Option<u32>,
    pub(super) key_usage: Option<KeyUsage>,
    /// Whether the extendedKeyUsage, if there is one, allows serverAuth.
    server_auth: Option<bool>,
    pub(super) alternative_names: Vec<GeneralName<'a>>,
    pub(super) name_constraints: Option<NameConstraints<'a>>,
    /// What the subject's key is known by, and the issuer's: hints, which may say anything.
    key_identifier: Option<&'a [u8]>,
    authority_key: Option<&'a [u8]>,
    pub(super) unknown_critical: Option<Oid<'a>>,
}

/// The first octet of the keyUsage; decipherOnly, alone in the second, is of no interest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct KeyUsage(u8);

impl KeyUsage {
    const DIGITAL_SIGNATURE: u8 = 0x80;
    const KEY_ENCIPHERMENT: u8 = 0x20;
    const KEY_AGREEMENT: u8 = 0x08;
    const KEY_CERT_SIGN: u8 = 0x04;

    /// Whether the key may sign certificates.
    pub(super) fn allows_cert_sign(self) -> bool {
        self.0 & Self::KEY_CERT_SIGN != 0
    }

    /// Whether the key may serve TLS at all. What is used is a signature, for which RFC 8446
    /// asks servers to have digitalSignature; but certificates with keyEncipherment alone
    /// are in use with etcd, Go and OpenSSL take them, and they deceive nobody.
    pub(super) fn allows_tls_server(self) -> bool {
        self.0 & (Self::DIGITAL_SIGNATURE | Self::KEY_ENCIPHERMENT | Self::KEY_AGREEMENT) != 0
    }
}

/// Reads a field; its name is put to a DER error.
fn field<'a, T>(
    reader: &mut Reader<'a>,
    what: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, der::Error>,
) -> Result<T, Error> {
    read(reader).map_err(|cause| Error::Malformed { what, cause })
}

/// A SEQUENCE with its header.
fn sequence<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], der::Error> {
    der::spanned(reader, |reader| der::expect(reader, tag::SEQUENCE)).map(|(octets, _)| octets)
}

impl<'a> Certificate<'a> {
    /// Reads one certificate, the whole of `der`.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Error> {
        // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
        let ((to_be_signed, tbs), outer_algorithm, signature) =
            whole(der, "its structure", |reader| {
                der::nested(reader, tag::SEQUENCE, |reader| {
                    Ok((
                        der::spanned(reader, |reader| der::expect(reader, tag::SEQUENCE))?,
                        sequence(reader)?,
                        der::bit_octets(reader)?,
                    ))
                })
            })?;

        let tbs = &mut Reader::new(tbs);
        let is_v3 = is_v3(tbs)?;
        // Section 4.1.2.2. Nothing here uses the number. Zero and more than 20 octets are taken, as
        // verifiers "SHOULD be prepared to gracefully handle" the former, and Go and OpenSSL take
        // both; negative numbers are refused, as in newer Go.
        field(tbs, "serial number", der::unsigned)?;
        let signature_algorithm = field(tbs, "signature algorithm", sequence)?;
        // Section 4.1.1.2: both "MUST contain the same algorithm identifier"; the outer one is
        // not signed.
        if signature_algorithm != outer_algorithm {
            return Err(Error::NotConforming("two different signature algorithms"));
        }
        // Section 4.1.2.4: "MUST contain a non-empty distinguished name". Without a path it plays no
        // part, and in one `path` refuses an issuer without a name.
        let issuer_name = field(tbs, "issuer", DistinguishedName::parse)?;
        let (not_before, not_after) = field(tbs, "validity", |reader| {
            der::nested(reader, tag::SEQUENCE, |times| {
                Ok((UnixTime::parse(times)?, UnixTime::parse(times)?))
            })
        })?;
        let subject_name = field(tbs, "subject", DistinguishedName::parse)?;
        let spki = field(tbs, "public key", sequence)?;
        // issuerUniqueID and subjectUniqueID: section 4.1.2.8 asks to parse and not to use them.
        for number in [1, 2] {
            let unique = |reader: &mut _| der::optional(reader, tag::context(number));
            field(tbs, "unique identifier", unique)?;
        }
        let list = |reader: &mut _| der::optional(reader, tag::context_constructed(3));
        let extensions = match field(tbs, "extensions", list)? {
            // Section 4.1.2.9: "This field MUST only appear if the version is 3".
            Some(_) if !is_v3 => {
                return Err(Error::NotConforming("extensions but not of version 3"));
            }
            Some(contents) => Extensions::parse(contents)?,
            None => Extensions::default(),
        };
        field(tbs, "its signed part", |reader| Ok(reader.finish()?))?;

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

    /// The entries of the subjectAltName as text, escaped; of those beyond [`MAX_SANS_SHOWN`] how
    /// many they are.
    pub(crate) fn sans(&self) -> Vec<String> {
        let names = &self.extensions.alternative_names;
        let shown = names
            .iter()
            .take(MAX_SANS_SHOWN)
            .map(GeneralName::to_string);
        let more = names.len().saturating_sub(MAX_SANS_SHOWN);
        let more = (more > 0).then(|| format!("and {more} more"));
        shown.chain(more).collect()
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
        match (
            self.extensions.authority_key,
            issuer.extensions.key_identifier,
        ) {
            (Some(wanted), Some(found)) if wanted == found => 0,
            (Some(_), Some(_)) => 2,
            _ => 1,
        }
    }

    /// Whether it may issue as an anchor: section 6.1.4 (k) lets "out-of-band means" tell that a
    /// certificate of version 1 or 2 is a CA, and its place among the anchors is that.
    pub(super) fn is_ca_as_anchor(&self) -> bool {
        self.extensions.ca || !self.is_v3
    }

    /// Whether the certificate may be used for, or above, a TLS server: without the extension
    /// there is no restriction (section 4.2.1.12).
    pub(super) fn allows_server_auth(&self) -> bool {
        self.extensions.server_auth.unwrap_or(true)
    }
}

/// Whether this is version 3 and not an older one, which has no extensions.
/// Version ::= INTEGER { v1(0), v2(1), v3(2) }, `[0]` EXPLICIT, v1 by default.
fn is_v3(tbs: &mut Reader<'_>) -> Result<bool, Error> {
    let version = field(tbs, "version", |reader| {
        let contents = der::optional(reader, tag::context_constructed(0))?;
        contents.map_or(Ok(0), |contents| der::whole(contents, der::u32))
    })?;
    match version {
        0 | 1 => Ok(false),
        2 => Ok(true),
        _ => Err(Error::NotConforming("of an unknown version")),
    }
}

impl<'a> Extensions<'a> {
    /// Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension
    fn parse(contents: &'a [u8]) -> Result<Self, Error> {
        let list = |reader: &mut _| der::expect(reader, tag::SEQUENCE);
        let mut list = whole(contents, "extensions", list).map(Reader::new)?;
        let mut extensions = Self::default();
        let mut seen = BTreeSet::new();
        loop {
            // Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue }
            let (oid, critical, value) = field(&mut list, "extensions", |list| {
                der::nested(list, tag::SEQUENCE, |reader| {
                    Ok((
                        der::oid(reader)?,
                        der::boolean_default_false(reader)?,
                        der::expect(reader, tag::OCTET_STRING)?,
                    ))
                })
            })?;
            // Section 4.2: "MUST NOT include more than one instance of a particular extension".
            if !seen.insert(oid) {
                return Err(Error::NotConforming("an extension twice"));
            }
            extensions.set(oid, critical, value)?;
            if list.is_empty() {
                return Ok(extensions);
            }
        }
    }

    fn set(&mut self, oid: Oid<'a>, critical: bool, value: &'a [u8]) -> Result<(), Error> {
        match oid.contents().strip_prefix(&ID_CE) {
            Some([14]) if !critical => {
                self.key_identifier =
                    der::whole(value, |reader| der::expect(reader, tag::OCTET_STRING)).ok();
            }
            Some([35]) if !critical => {
                // AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier `[0]` OPTIONAL, ... }
                let first = |reader: &mut Reader<'a>| der::optional(reader, tag::context(0));
                let sequence = der::whole(value, |reader| der::expect(reader, tag::SEQUENCE));
                let found = sequence.and_then(|contents| first(&mut Reader::new(contents)));
                self.authority_key = found.ok().flatten();
            }
            Some([15]) => {
                let octets = whole(value, "keyUsage", der::bits)?;
                self.key_usage = Some(KeyUsage(octets.first().copied().unwrap_or_default()));
            }
            Some([17]) => {
                self.alternative_names = whole(value, "subjectAltName", |reader| {
                    der::list(reader, GeneralName::parse)
                })?;
            }
            Some([19]) => {
                (self.ca, self.path_len) = whole(value, "basicConstraints", basic_constraints)?;
            }
            Some([30]) => {
                let constraints = whole(value, "nameConstraints", NameConstraints::parse)?;
                self.name_constraints = Some(constraints);
            }
            // See the head of this file. Marked critical it must at least be what it says: a list of
            // DistributionPoint, a SEQUENCE. Go and OpenSSL take an empty one, too.
            Some([31]) if critical && value != [tag::SEQUENCE, 0] => {
                whole(value, "cRLDistributionPoints", |reader| {
                    der::list(reader, sequence)
                })?;
            }
            Some([31 | 32]) => {}
            // ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId. anyExtendedKeyUsage
            // includes serverAuth, as section 4.2.1.12 allows and Go does.
            Some([37]) => {
                let purposes = whole(value, "extendedKeyUsage", |reader| {
                    der::list(reader, der::oid)
                })?;
                let allows = |purpose: &Oid<'_>| {
                    matches!(purpose.contents(), SERVER_AUTH | ANY_EXTENDED_KEY_USAGE)
                };
                self.server_auth = Some(purposes.iter().any(allows));
            }
            _ if critical => {
                self.unknown_critical.get_or_insert(oid);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads the whole of an extension's value.
fn whole<'a, T>(
    value: &'a [u8],
    what: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, der::Error>,
) -> Result<T, Error> {
    der::whole(value, read).map_err(|cause| Error::Malformed { what, cause })
}

/// BasicConstraints ::= SEQUENCE { cA DEFAULT FALSE, pathLenConstraint OPTIONAL }. The limit is
/// `INTEGER (0..MAX)`; one beyond 32 bits, as far as Go reads it, is above any path's length.
fn basic_constraints(reader: &mut Reader<'_>) -> Result<(bool, Option<u32>), der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let ca = der::boolean_default_false(reader)?;
        if reader.is_empty() {
            return Ok((ca, None));
        }
        let octets = der::unsigned(reader)?;
        if octets.len() > MAX_PATH_LEN {
            return Err(der::Error::IntegerRange);
        }
        let limit = octets.iter().fold(0, |limit: u32, octet| {
            limit.saturating_mul(256).saturating_add((*octet).into())
        });
        Ok((ca, Some(limit)))
    })
}

#[cfg(test)]
pub(super) mod tests;
