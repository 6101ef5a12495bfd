//! X.509: whether the certificates a server presents prove its name, under given trust
//! anchors, at a given time (RFC 5280, 6125, 9525).
//!
//! Pure: no file, clock, network or randomness. Certificate revocation (CRL, OCSP) is not
//! checked, and no certificate policy is asked for. Where RFC 5280 leaves a choice the
//! behaviour is that of Go's crypto/x509, which etcd and its clients use; each file says where
//! it is stricter.
//!
//! A trust anchor is given as a certificate and is more than a name and a key: the extensions of the
//! certificate are enforced. It must be a CA (one of version 1 or 2, which has no extension to say so,
//! counts as a CA) with keyCertSign (where it has a
//! keyUsage), be valid now, have no unknown critical extension, and its pathLenConstraint,
//! nameConstraints and extendedKeyUsage restrict what is below. Its own signature is not
//! verified: it would add no trust. It need not be self-signed, so an
//! intermediate CA can be an anchor.
//!
//! A server certificate that is itself among the anchors, byte for byte, is accepted without
//! a path, as in Go; its validity, purpose and names are still checked. This is how a
//! single self-signed certificate is trusted, be it a CA or not.
#![deny(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod budget;
pub(crate) mod cert;
pub(crate) mod constraints;
pub(crate) mod dn;
mod error;
pub(crate) mod name;
mod path;
pub(crate) mod pem;
mod scheme;
pub(crate) mod sig;
pub(crate) mod time;

pub(crate) use cert::Certificate;
pub(crate) use error::{Error, InvalidReason};
pub(crate) use name::ServerName;
pub(crate) use time::UnixTime;

use std::collections::HashSet;

pub(crate) use budget::Budget;
pub(crate) use scheme::SignatureScheme;

/// Most certificates a peer may present. A server sends one to five; published tests of
/// hostile chains have a hundred.
const MAX_PRESENTED: usize = 128;

/// The certificates trusted as they are.
#[derive(Debug, Clone)]
pub(crate) struct Anchors(Vec<Anchor>);

/// One of them, with its subject: a verification parses only those, of perhaps hundreds, that may
/// have issued a presented certificate.
#[derive(Debug, Clone)]
struct Anchor {
    der: Vec<u8>,
    subject: Vec<u8>,
    /// The subject as text.
    text: String,
}

impl Anchors {
    /// Takes certificates as anchors; the error says which one, from 0, is malformed. Those that
    /// can never be used (expired, not a CA, an unknown critical extension) are accepted: a
    /// bundle may hold them, and each is checked where it is needed.
    pub(crate) fn from_der(certificates: Vec<Vec<u8>>) -> Result<Self, (usize, Error)> {
        let anchors = certificates.into_iter().enumerate().map(|(index, der)| {
            let certificate = Certificate::parse(&der).map_err(|error| (index, error))?;
            let subject = certificate.subject_name.encoded().to_vec();
            let text = certificate.subject();
            Ok(Anchor { der, subject, text })
        });
        anchors.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of them are not among others.
    pub(crate) fn missing_from(&self, others: &Self) -> usize {
        let others: HashSet<&[u8]> = others.0.iter().map(|other| other.der.as_slice()).collect();
        let missing = self
            .0
            .iter()
            .filter(|own| !others.contains(own.der.as_slice()));
        missing.count()
    }
}

/// Verifies that `chain`, the server's certificate first and the others in any order, proves
/// `name` under `anchors` at `now`.
pub(crate) fn verify(
    chain: &[&[u8]],
    anchors: &Anchors,
    name: &ServerName,
    now: UnixTime,
) -> Result<(), Error> {
    let (first, others) = chain.split_first().ok_or(Error::NoCertificate)?;
    if chain.len() > MAX_PRESENTED {
        let what = "too many certificates";
        return Err(Error::BudgetExhausted { what });
    }
    let end_entity = Certificate::parse(first)?;
    path::check_end_entity(&end_entity, name, now)?;
    if anchors
        .0
        .iter()
        .any(|anchor| anchor.der == end_entity.der())
    {
        return Ok(());
    }
    let mut intermediates = Vec::new();
    let mut unusable = None;
    for (index, der) in others.iter().enumerate() {
        match Certificate::parse(der) {
            Ok(certificate) => intermediates.push(certificate),
            // Harmless if a path is found without it; otherwise perhaps the reason.
            Err(error) => {
                unusable.get_or_insert(Error::Presented {
                    position: index.saturating_add(2),
                    error: Box::new(error),
                });
            }
        }
    }
    let issuers: Vec<_> = std::iter::once(&end_entity)
        .chain(&intermediates)
        .map(|certificate| certificate.issuer_name.encoded())
        .collect();
    let mut roots = Vec::new();
    for anchor in &anchors.0 {
        if issuers.contains(&anchor.subject.as_slice()) {
            roots.push(Certificate::parse(&anchor.der)?);
        }
    }
    let mut error = match path::build(&end_entity, &intermediates, &roots, now) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    // Names are compared by their octets (`dn`). If two differ in their encoding only, the text alone
    // would mislead.
    if let Error::Invalid {
        reason: InvalidReason::UnknownIssuer { issuer, same_text },
        ..
    } = &mut error
    {
        *same_text = anchors.0.iter().any(|anchor| anchor.text == *issuer)
            || intermediates.iter().any(|other| other.subject() == *issuer);
    }
    Err(match unusable {
        Some(unusable) if error.rank() < unusable.rank() => unusable,
        _ => error,
    })
}

#[cfg(test)]
mod tests;
