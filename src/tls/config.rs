//! What an authentication is given, and what it returns.

use std::io;

use super::codes::Version;
use super::error::Error;
use crate::x509::{self, Anchors, ServerName, UnixTime};

/// What a server has to prove, and when.
pub(crate) struct Config<'a> {
    /// The trusted authorities.
    pub(crate) anchors: &'a Anchors,
    /// The name that the certificate must be for.
    pub(crate) name: &'a ServerName,
    /// The time at which the certificates must be valid.
    pub(crate) now: UnixTime,
    /// The protocols to offer by ALPN, in order of preference; none: no ALPN.
    pub(crate) alpn: &'a [&'a [u8]],
}

/// Fills bytes from the operating system's random source.
pub(crate) type Random<'a> = dyn FnMut(&mut [u8]) -> io::Result<()> + 'a;

/// A server that passed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verified {
    pub(crate) version: Version,
    /// The name of the cipher suite.
    pub(crate) suite: &'static str,
    /// The certificates as sent, leaf first, DER.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Config<'_> {
    /// Copies the chain to `presented`, then verifies it.
    pub(super) fn verify(
        &self,
        chain: &[&[u8]],
        presented: &mut Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        *presented = chain.iter().map(|der| der.to_vec()).collect();
        x509::verify(chain, self.anchors, self.name, self.now).map_err(Error::Certificate)
    }
}
