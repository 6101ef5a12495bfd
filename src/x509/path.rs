//! Path building and validation (RFC 5280, section 6.1; RFC 4158 for the building).
//!
//! From the server's certificate upwards: an issuer is any trust anchor or presented
//! certificate whose subject is the issuer's name, byte for byte. Anchors are tried first.
//! The order in which certificates were presented has no meaning, so misordered, superfluous
//! and cross-signed ones do no harm. Everything that needs no signature is checked on the way
//! up. At an anchor the signatures are verified from the top down, so that none is spent on
//! a path without an anchor and each is verified with a key that is already trusted.
//!
//! Self-issued certificates other than the last do not count for pathLenConstraint and are
//! exempt from name constraints, as section 6.1 says (Go counts and checks them).
//! extendedKeyUsage restricts what is below a CA (Go and webpki; RFC 5280 is silent).
//!
//! Stricter than Go: at most eight intermediate certificates, since each one is work that a peer causes;
//! and a server's keyUsage, if it has one, must allow TLS, also in a certificate that is itself an anchor:
//! one for keyCertSign alone was made to issue others.
//!
//! Of anchors with the same name, those whose key identifier matches are tried first and those whose
//! key identifier differs last; every one is tried.
//!
//! The search is exponential in what a hostile peer presents. A [`Budget`] bounds it, and
//! exhaustion ends it: continuing with the next issuer would be the attack. Signatures are counted by
//! their cost ([`sig::verify_certificate`]), in microseconds of one core of a small virtual
//! machine. What a peer presents may cost 40 ms: any possible path (nine signatures of the most expensive
//! kind, 31 ms), or 66 signatures on P-256. The operator's anchors do not count
//! against it: the first signature tried with each is free, so that a server is found
//! under any of 200 authorities of one name (on P-256, or RSA of up to 4096 bits; 95 on P-384), in any
//! order and without key identifiers. All signatures together may cost 130 ms; the worst chains take 50 to
//! 120 ms there (`tests::budget` prints it), so that a core of half the speed stays below 300 ms, handshake
//! included. A peer without a certificate from an anchor can only cause verifications with the anchors' keys.

use super::Error;
use super::budget::Budget;
use super::cert::{Certificate, KEY_CERT_SIGN, TLS_SERVER};
use super::error::InvalidReason;
use super::name::ServerName;
use super::sig;
use super::time::UnixTime;

/// Most intermediate certificates in a path. Public chains have one or two, bridged ones
/// five; webpki stops at six. This bounds the recursion.
const MAX_INTERMEDIATES: usize = 8;

/// Alternative names listed where none of them is the one wanted.
const MAX_NAMES: usize = 8;

/// Checks of the server's certificate, whatever its path: it is valid now, may
/// serve TLS, has a key that can be used, and names the server.
pub(super) fn check_end_entity(
    certificate: &Certificate<'_>,
    name: &ServerName,
    now: UnixTime,
) -> Result<(), Error> {
    check_any(certificate, now)?;
    // cA is not checked: a server may use a CA's certificate if the keyUsage allows it
    // (as in Go; section 6.1 does not forbid it), and `openssl req -x509` sets cA by default.
    if !certificate.extensions.allow_key_usage(TLS_SERVER) {
        let missing = "digitalSignature";
        return Err(InvalidReason::KeyUsage { missing }.of(certificate));
    }
    sig::check_key(certificate)?;
    let names = &certificate.extensions.alternative_names;
    if names.iter().any(|presented| name.is_matched_by(presented)) {
        return Ok(());
    }
    Err(Error::NameMismatch {
        wanted: name.to_string(),
        presented: certificate.first_sans(MAX_NAMES),
    })
}

/// Checks of every certificate in a path: critical extensions, validity, purpose.
fn check_any(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    if let Some(oid) = certificate.extensions.unknown_critical {
        let oid = oid.to_string();
        return Err(InvalidReason::UnknownCriticalExtension { oid }.of(certificate));
    }
    // Section 4.1.2.5: both ends are inclusive.
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    if now < not_before {
        return Err(InvalidReason::NotYetValid { now, not_before }.of(certificate));
    }
    if now > not_after {
        return Err(InvalidReason::Expired { now, not_after }.of(certificate));
    }
    if certificate.extensions.lacks_server_auth {
        return Err(InvalidReason::ExtendedKeyUsage.of(certificate));
    }
    Ok(())
}

/// Finds a valid path from `end_entity` to one of the `anchors`, over any of `intermediates`.
pub(super) fn build(
    end_entity: &Certificate<'_>,
    intermediates: &[Certificate<'_>],
    anchors: &[Certificate<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let mut search = Search {
        intermediates,
        anchors,
        now,
        tried: vec![false; anchors.len()],
        budget: Budget::new(),
        failure: None,
    };
    if search.climb(&mut vec![end_entity])? {
        return Ok(());
    }
    Err(search.failure.unwrap_or_else(|| unknown_issuer(end_entity)))
}

fn unknown_issuer(certificate: &Certificate<'_>) -> Error {
    let reason = match certificate.is_self_issued() {
        true => InvalidReason::SelfSigned,
        false => InvalidReason::UnknownIssuer {
            issuer: certificate.issuer(),
            same_text: false,
        },
    };
    reason.of(certificate)
}

struct Search<'s, 'a> {
    intermediates: &'s [Certificate<'a>],
    anchors: &'s [Certificate<'a>],
    now: UnixTime,
    /// Which of the anchors have been tried.
    tried: Vec<bool>,
    budget: Budget,
    /// The most telling reason so far.
    failure: Option<Error>,
}

impl<'s, 'a> Search<'s, 'a> {
    /// Tries every issuer of the last certificate of `path`, depth first. Returns whether a valid path
    /// to an anchor was found; an error only if the budget is exhausted.
    fn climb(&mut self, path: &mut Vec<&'s Certificate<'a>>) -> Result<bool, Error> {
        let Some(child) = path.last().copied() else {
            return Ok(false);
        };
        let issuer_name = child.issuer_name;
        let mut has_issuer = false;
        let named = |(_, anchor): &(usize, &Certificate<'_>)| anchor.subject_name == issuer_name;
        let mut anchors: Vec<_> = self.anchors.iter().enumerate().filter(named).collect();
        anchors.sort_by_key(|(_, anchor)| child.unlikelihood(anchor));
        for (index, anchor) in anchors {
            has_issuer = true;
            let tried = self.tried.get_mut(index);
            let is_new = tried.is_some_and(|tried| !std::mem::replace(tried, true));
            if !is_new {
                self.budget.steps.spend(1)?;
            }
            let checked = self.check_issuer(anchor, anchor.is_ca_as_anchor(), path);
            match checked.and_then(|()| self.check_signatures(anchor, is_new, path)) {
                Ok(()) => return Ok(true),
                Err(error) => self.note(error)?,
            }
        }
        for issuer in self.intermediates {
            // An issuer whose key is already in the path under the same name would be a loop
            // (RFC 4158, section 5.2). The end entity has issued nothing: its key may be that of
            // its CA.
            let repeats = |other: &&Certificate<'_>| {
                other.subject_name == issuer_name && other.spki == issuer.spki
            };
            if issuer.subject_name == issuer_name && !path.iter().skip(1).any(repeats) {
                has_issuer = true;
                self.budget.steps.spend(1)?;
                match self.check_issuer(issuer, issuer.extensions.ca, path) {
                    Ok(()) if path.len() > MAX_INTERMEDIATES => self.note(Error::PathTooLong)?,
                    Ok(()) => {
                        path.push(issuer);
                        if self.climb(path)? {
                            return Ok(true);
                        }
                        path.pop();
                    }
                    Err(error) => self.note(error)?,
                }
            }
        }
        if !has_issuer {
            self.note(unknown_issuer(child))?;
        }
        Ok(false)
    }

    /// Keeps the failure of the highest rank; an exhausted budget ends the search.
    fn note(&mut self, error: Error) -> Result<(), Error> {
        if matches!(error, Error::BudgetExhausted { .. }) {
            return Err(error);
        }
        if self
            .failure
            .as_ref()
            .is_none_or(|kept| kept.rank() < error.rank())
        {
            self.failure = Some(error);
        }
        Ok(())
    }

    /// Whether `issuer`, an intermediate or an anchor, may be above `path` (section 6.1.4,
    /// and 6.1.3 (b) and (c) for the names below it).
    fn check_issuer(
        &mut self,
        issuer: &Certificate<'_>,
        is_ca: bool,
        path: &[&Certificate<'_>],
    ) -> Result<(), Error> {
        // (k)
        if !is_ca {
            return Err(InvalidReason::NotCa.of(issuer));
        }
        // Section 4.1.2.6: a CA's subject "MUST be populated with a non-empty distinguished name".
        if issuer.subject_name.is_empty() {
            return Err(Error::NotConforming("CA with an empty subject"));
        }
        // (n)
        if !issuer.extensions.allow_key_usage(KEY_CERT_SIGN) {
            let missing = "keyCertSign";
            return Err(InvalidReason::KeyUsage { missing }.of(issuer));
        }
        check_any(issuer, self.now)?;
        let counted = |(index, certificate): &(usize, &&Certificate<'_>)| {
            *index == 0 || !certificate.is_self_issued()
        };
        // (l) and (m): the end entity is not an intermediate certificate.
        if let Some(limit) = issuer.extensions.path_len {
            let below = path.iter().enumerate().filter(counted).skip(1).count();
            if u64::try_from(below).unwrap_or(u64::MAX) > limit {
                return Err(InvalidReason::PathLenExceeded { limit }.of(issuer));
            }
        }
        // (g), and 6.1.3 (b) and (c)
        if let Some(constraints) = &issuer.extensions.name_constraints {
            for (_, certificate) in path.iter().enumerate().filter(counted) {
                constraints.check(
                    certificate.subject_name,
                    &certificate.extensions.alternative_names,
                    issuer.subject_name,
                    &mut self.budget,
                )?;
            }
        }
        Ok(())
    }

    /// Verifies the signatures from the anchor down (section 6.1.3 (a) (1)).
    fn check_signatures(
        &mut self,
        anchor: &Certificate<'_>,
        mut new_anchor: bool,
        path: &[&Certificate<'_>],
    ) -> Result<(), Error> {
        let mut issuer = anchor;
        for certificate in path.iter().rev() {
            let charge = |cost| self.budget.spend_signature(cost, new_anchor);
            sig::verify_certificate(certificate, issuer, charge)?;
            issuer = certificate;
            new_anchor = false;
        }
        Ok(())
    }
}
