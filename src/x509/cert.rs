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
    issuer: DistinguishedName<'a>,
    not_before: UnixTime,
    not_after: UnixTime,
    subject: DistinguishedName<'a>,
    /// The SubjectPublicKeyInfo with its header.
    pub(super) spki: &'a [u8],
    /// Versions 1 and 2 have no extensions to say what the key is for.
    is_v3: bool,
    extensions: Extensions<'a>,
}

/// The extensions that have a meaning here.
#[derive(Debug, Clone, PartialEq, Default)]
struct Extensions<'a> {
    basic_constraints: BasicConstraints,
    key_usage: Option<KeyUsage>,
    /// Whether the extendedKeyUsage, if there is one, allows serverAuth.
    server_auth: Option<bool>,
    alternative_names: Vec<GeneralName<'a>>,
    name_constraints: Option<NameConstraints<'a>>,
    /// What the subject's key is known by, and the issuer's: hints, which may say anything.
    key_identifier: Option<&'a [u8]>,
    authority_key: Option<&'a [u8]>,
    unknown_critical: Option<Oid<'a>>,
}

/// basicConstraints; without the extension a certificate is no CA.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct BasicConstraints {
    ca: bool,
    path_len: Option<u32>,
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

/// Puts the name of the field to a DER error.
fn malformed(what: &'static str) -> impl Fn(der::Error) -> Error {
    move |cause| Error::Malformed { what, cause }
}

impl<'a> Certificate<'a> {
    /// Reads one certificate, the whole of `der`.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Error> {
        // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
        let ((to_be_signed, tbs), outer_algorithm, signature) = der::whole(der, |reader| {
            der::nested(reader, tag::SEQUENCE, |reader| {
                Ok((
                    der::spanned(reader, |reader| der::expect(reader, tag::SEQUENCE))?,
                    der::spanned(reader, |reader| der::expect(reader, tag::SEQUENCE))?.0,
                    der::bit_octets(reader)?,
                ))
            })
        })
        .map_err(malformed("its structure"))?;

        let mut tbs = Reader::new(tbs);
        let is_v3 = is_v3(&mut tbs)?;
        // Section 4.1.2.2. Nothing here uses the number. Zero and more than 20 octets are taken, as
        // verifiers "SHOULD be prepared to gracefully handle" the former, and Go and OpenSSL take
        // both; negative numbers are refused, as in newer Go.
        der::unsigned(&mut tbs).map_err(malformed("serial number"))?;
        let (signature_algorithm, _) =
            der::spanned(&mut tbs, |reader| der::expect(reader, tag::SEQUENCE))
                .map_err(malformed("signature algorithm"))?;
        // Section 4.1.1.2: both "MUST contain the same algorithm identifier"; the outer one is
        // not signed.
        if signature_algorithm != outer_algorithm {
            return Err(Error::NotConforming("two different signature algorithms"));
        }
        // Section 4.1.2.4: "MUST contain a non-empty distinguished name". Without a path it plays no
        // part, and in one `path` refuses an issuer without a name.
        let issuer = DistinguishedName::parse(&mut tbs).map_err(malformed("issuer"))?;
        let (not_before, not_after) = der::nested(&mut tbs, tag::SEQUENCE, |validity| {
            Ok((UnixTime::parse(validity)?, UnixTime::parse(validity)?))
        })
        .map_err(malformed("validity"))?;
        let subject = DistinguishedName::parse(&mut tbs).map_err(malformed("subject"))?;
        let (spki, _) = der::spanned(&mut tbs, |reader| der::expect(reader, tag::SEQUENCE))
            .map_err(malformed("public key"))?;
        // issuerUniqueID and subjectUniqueID: section 4.1.2.8 asks to parse and not to use them.
        for number in [1, 2] {
            der::optional(&mut tbs, tag::context(number))
                .map_err(malformed("unique identifier"))?;
        }
        let extensions = match der::optional(&mut tbs, tag::context_constructed(3))
            .map_err(malformed("extensions"))?
        {
            // Section 4.1.2.9: "This field MUST only appear if the version is 3".
            Some(_) if !is_v3 => {
                return Err(Error::NotConforming("extensions but not of version 3"));
            }
            Some(contents) => Extensions::parse(contents)?,
            None => Extensions::default(),
        };
        tbs.finish()
            .map_err(|error| malformed("its signed part")(error.into()))?;

        Ok(Self {
            der,
            to_be_signed,
            signature_algorithm,
            signature,
            issuer,
            not_before,
            not_after,
            subject,
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
        self.subject.to_string()
    }

    /// The issuer as text, escaped.
    pub(crate) fn issuer(&self) -> String {
        self.issuer.to_string()
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

    pub(super) fn subject_name(&self) -> DistinguishedName<'a> {
        self.subject
    }

    pub(super) fn issuer_name(&self) -> DistinguishedName<'a> {
        self.issuer
    }

    /// Section 6.1: "A certificate is self-issued if the same DN appears in the subject and
    /// issuer fields".
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
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

    pub(super) fn is_ca(&self) -> bool {
        self.extensions.basic_constraints.ca
    }

    /// Whether it may issue as an anchor: section 6.1.4 (k) lets "out-of-band means" tell that a
    /// certificate of version 1 or 2 is a CA, and its place among the anchors is that.
    pub(super) fn is_ca_as_anchor(&self) -> bool {
        self.is_ca() || !self.is_v3
    }

    /// The pathLenConstraint; it means something in a CA only (section 4.2.1.9).
    pub(super) fn path_len(&self) -> Option<u32> {
        self.extensions.basic_constraints.path_len
    }

    pub(super) fn key_usage(&self) -> Option<KeyUsage> {
        self.extensions.key_usage
    }

    /// Whether the certificate may be used for, or above, a TLS server: without the extension
    /// there is no restriction (section 4.2.1.12).
    pub(super) fn allows_server_auth(&self) -> bool {
        self.extensions.server_auth.unwrap_or(true)
    }

    pub(super) fn alternative_names(&self) -> &[GeneralName<'a>] {
        &self.extensions.alternative_names
    }

    pub(super) fn name_constraints(&self) -> Option<&NameConstraints<'a>> {
        self.extensions.name_constraints.as_ref()
    }

    pub(super) fn unknown_critical(&self) -> Option<Oid<'a>> {
        self.extensions.unknown_critical
    }
}

/// Whether this is version 3 and not an older one, which has no extensions.
/// Version ::= INTEGER { v1(0), v2(1), v3(2) }, `[0]` EXPLICIT, v1 by default.
fn is_v3(tbs: &mut Reader<'_>) -> Result<bool, Error> {
    let contents = der::optional(tbs, tag::context_constructed(0)).map_err(malformed("version"))?;
    let version = match contents {
        Some(contents) => der::whole(contents, der::u32).map_err(malformed("version"))?,
        None => 0,
    };
    match version {
        0 | 1 => Ok(false),
        2 => Ok(true),
        _ => Err(Error::NotConforming("of an unknown version")),
    }
}

impl<'a> Extensions<'a> {
    /// Extensions ::= SEQUENCE SIZE (1..MAX) OF Extension
    fn parse(contents: &'a [u8]) -> Result<Self, Error> {
        let mut list = der::whole(contents, |reader| der::expect(reader, tag::SEQUENCE))
            .map(Reader::new)
            .map_err(malformed("extensions"))?;
        let mut extensions = Self::default();
        let mut seen = BTreeSet::new();
        loop {
            // Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue }
            let (oid, critical, value) = der::nested(&mut list, tag::SEQUENCE, |reader| {
                Ok((
                    der::oid(reader)?,
                    der::boolean_default_false(reader)?,
                    der::expect(reader, tag::OCTET_STRING)?,
                ))
            })
            .map_err(malformed("extensions"))?;
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
                let octets = der::whole(value, der::bits).map_err(malformed("keyUsage"))?;
                self.key_usage = Some(KeyUsage(octets.first().copied().unwrap_or_default()));
            }
            Some([17]) => {
                self.alternative_names =
                    der::whole(value, alternative_names).map_err(malformed("subjectAltName"))?;
            }
            Some([19]) => {
                self.basic_constraints =
                    der::whole(value, basic_constraints).map_err(malformed("basicConstraints"))?;
            }
            Some([30]) => {
                let constraints = der::whole(value, NameConstraints::parse);
                self.name_constraints = Some(constraints.map_err(malformed("nameConstraints"))?);
            }
            // See the head of this file. Marked critical it must at least be what it says.
            Some([31]) if critical => {
                let points = der::whole(value, distribution_points);
                points.map_err(malformed("cRLDistributionPoints"))?;
            }
            Some([32]) => {}
            Some([37]) => {
                let allowed = der::whole(value, server_auth);
                self.server_auth = Some(allowed.map_err(malformed("extendedKeyUsage"))?);
            }
            _ if critical => {
                self.unknown_critical.get_or_insert(oid);
            }
            _ => {}
        }
        Ok(())
    }
}

/// BasicConstraints ::= SEQUENCE { cA DEFAULT FALSE, pathLenConstraint OPTIONAL }. The limit is
/// `INTEGER (0..MAX)`; one beyond 32 bits, as far as Go reads it, is above any path's length.
fn basic_constraints(reader: &mut Reader<'_>) -> Result<BasicConstraints, der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let ca = der::boolean_default_false(reader)?;
        let path_len = if reader.is_empty() {
            None
        } else {
            let octets = der::unsigned(reader)?;
            if octets.len() > MAX_PATH_LEN {
                return Err(der::Error::IntegerRange);
            }
            let longer = |limit: u32, octet: &u8| {
                limit.saturating_mul(256).saturating_add(u32::from(*octet))
            };
            Some(octets.iter().fold(0, longer))
        };
        Ok(BasicConstraints { ca, path_len })
    })
}

/// ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId. anyExtendedKeyUsage includes
/// serverAuth, as section 4.2.1.12 allows and Go does.
fn server_auth(reader: &mut Reader<'_>) -> Result<bool, der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let mut allowed = false;
        loop {
            let purpose = der::oid(reader)?;
            allowed |= matches!(purpose.contents(), SERVER_AUTH | ANY_EXTENDED_KEY_USAGE);
            if reader.is_empty() {
                return Ok(allowed);
            }
        }
    })
}

/// CRLDistributionPoints ::= SEQUENCE OF DistributionPoint, a SEQUENCE. Go and OpenSSL take an empty
/// list, too.
fn distribution_points(reader: &mut Reader<'_>) -> Result<(), der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        while !reader.is_empty() {
            der::expect(reader, tag::SEQUENCE)?;
        }
        Ok(())
    })
}

/// GeneralNames ::= SEQUENCE SIZE (1..MAX) OF GeneralName
fn alternative_names<'a>(reader: &mut Reader<'a>) -> Result<Vec<GeneralName<'a>>, der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let mut names = vec![GeneralName::parse(reader)?];
        while !reader.is_empty() {
            names.push(GeneralName::parse(reader)?);
        }
        Ok(names)
    })
}

#[cfg(test)]
pub(super) mod tests;
