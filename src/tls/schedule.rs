//! The key schedule of TLS 1.3: RFC 8446 section 7, and the transcript hash, section 4.4.1.
//!
//! Only what a client without resumption needs: no PSK, no early data, no exporter, no
//! resumption secret, and of the application secrets only ours, for the closing alert.

use super::codes::HandshakeType;
use super::error::Error;
use super::msgs::{compose, prefixed};
use super::record::Protection;
use super::suite::Suite13;
use crate::crypto;
use crate::crypto::aead::Aead;
use crate::crypto::hkdf;
use crate::crypto::hmac::hmac;
use crate::crypto::sha2::{Digest, Hash, Hasher, digest};

/// The running hash over the handshake messages.
pub(crate) struct Transcript(Hasher);

impl Transcript {
    /// An empty transcript.
    pub(crate) fn new(hash: Hash) -> Self {
        Self(Hasher::new(hash))
    }

    /// The transcript after a HelloRetryRequest: the first ClientHello is replaced by the
    /// synthetic message_hash message, which holds its hash.
    pub(crate) fn after_retry(hash: Hash, first_hello: &[u8], retry: &[u8]) -> Result<Self, Error> {
        let hello = digest(hash, &[first_hello]);
        let mut transcript = Self::new(hash);
        transcript.add(&compose(HandshakeType::MESSAGE_HASH, hello.as_ref())?);
        transcript.add(retry);
        Ok(transcript)
    }

    /// Appends a message, header included.
    pub(crate) fn add(&mut self, message: &[u8]) {
        self.0.update(message);
    }

    /// The hash of all messages so far.
    pub(crate) fn current(&self) -> Digest {
        self.0.clone().finish()
    }
}

/// HKDF-Expand-Label (section 7.1): fills `out`.
pub(crate) fn expand_label(
    hash: Hash,
    secret: &[u8],
    label: &[u8],
    context: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    let length = u16::try_from(out.len()).map_err(|_| crypto::Error::BadLength)?;
    let info: [&[u8]; 3] = [
        &length.to_be_bytes(),
        &prefixed::<1>(&[b"tls13 ", label].concat())?,
        &prefixed::<1>(context)?,
    ];
    Ok(hkdf::expand(hash, secret, &info, out)?)
}

/// Derive-Secret (section 7.1), the transcript already hashed.
pub(crate) fn derive_secret(
    hash: Hash,
    secret: &[u8],
    label: &[u8],
    transcript: &Digest,
) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; hash.output_len()];
    expand_label(hash, secret, label, transcript.as_ref(), &mut out)?;
    Ok(out)
}

/// The traffic secret of one direction.
#[cfg_attr(fuzzing, derive(Clone))]
pub(crate) struct TrafficSecret {
    suite: Suite13,
    secret: Vec<u8>,
}

impl TrafficSecret {
    /// Record protection under this secret (section 7.3).
    pub(crate) fn protection(&self) -> Result<Protection, Error> {
        let mut key = vec![0; self.suite.aead.key_len()];
        let mut iv = [0; 12];
        expand_label(self.suite.hash, &self.secret, b"key", &[], &mut key)?;
        expand_label(self.suite.hash, &self.secret, b"iv", &[], &mut iv)?;
        Ok(Protection::new(Aead::new(self.suite.aead, &key)?, iv))
    }

    /// verify_data of the Finished that this side sends after `transcript` (section 4.4.4).
    pub(crate) fn verify_data(&self, transcript: &Digest) -> Result<Digest, Error> {
        let hash = self.suite.hash;
        let mut finished_key = vec![0; hash.output_len()];
        expand_label(hash, &self.secret, b"finished", &[], &mut finished_key)?;
        Ok(hmac(hash, &finished_key, &[transcript.as_ref()]))
    }
}

/// The secrets of a handshake from the ServerHello on.
#[cfg_attr(fuzzing, derive(Clone))]
pub(crate) struct Secrets {
    /// Protects what we send up to our Finished.
    pub(crate) client: TrafficSecret,
    /// Protects what the server sends up to its Finished.
    pub(crate) server: TrafficSecret,
    pub(crate) suite: Suite13,
    master: Vec<u8>,
}

impl Secrets {
    /// Runs the schedule from the start through the shared secret of the key exchange;
    /// `transcript` ends with the ServerHello.
    pub(crate) fn new(suite: Suite13, shared: &[u8], transcript: &Digest) -> Result<Self, Error> {
        let hash = suite.hash;
        let zeros = vec![0; hash.output_len()];
        let nothing = digest(hash, &[]);
        let early = hkdf::extract(hash, &[], &zeros);
        let salt = derive_secret(hash, early.as_ref(), b"derived", &nothing)?;
        let handshake = hkdf::extract(hash, &salt, shared);
        let traffic = |label: &[u8]| {
            derive_secret(hash, handshake.as_ref(), label, transcript)
                .map(|secret| TrafficSecret { suite, secret })
        };
        let salt = derive_secret(hash, handshake.as_ref(), b"derived", &nothing)?;
        Ok(Self {
            client: traffic(b"c hs traffic")?,
            server: traffic(b"s hs traffic")?,
            suite,
            master: hkdf::extract(hash, &salt, &zeros).as_ref().to_vec(),
        })
    }

    /// Protects what we send after our Finished; `transcript` ends with the server's.
    pub(crate) fn client_application(&self, transcript: &Digest) -> Result<TrafficSecret, Error> {
        Ok(TrafficSecret {
            suite: self.suite,
            secret: derive_secret(self.suite.hash, &self.master, b"c ap traffic", transcript)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;
    use crate::tls::codes::ContentType;
    use crate::tls::suite;

    /// RFC 8448 section 3: the two steps that are the same in every handshake with SHA-256.
    #[test]
    fn the_start_of_every_schedule() {
        let hash = Hash::Sha256;
        let early = hkdf::extract(hash, &[], &[0; 32]);
        let known = "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a";
        assert_eq!(early.as_ref(), from_hex(known));
        let derived = derive_secret(hash, early.as_ref(), b"derived", &digest(hash, &[]));
        let known = "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba";
        assert_eq!(derived, Ok(from_hex(known)));
    }

    #[test]
    fn each_direction_has_its_keys() {
        let hellos = Transcript::new(Hash::Sha256).current();
        let suite = suite::find13(0x1301).unwrap();
        let secrets = Secrets::new(suite, &[9; 32], &hellos).unwrap();
        let sealed = |traffic: &TrafficSecret| {
            let mut keys = traffic.protection().unwrap();
            keys.seal(vec![1, 0, ContentType::ALERT.0]).unwrap()
        };
        let record = sealed(&secrets.server);
        assert_ne!(record, sealed(&secrets.client));
        assert_ne!(
            record,
            sealed(&secrets.client_application(&hellos).unwrap())
        );
        let (header, payload) = record.split_first_chunk().unwrap();
        let mut keys = secrets.server.protection().unwrap();
        let opened = keys.open(*header, payload.to_vec());
        assert_eq!(opened, Ok((ContentType::ALERT, vec![1, 0])));
    }

    #[test]
    fn the_first_hello_of_two_is_hashed_by_itself() {
        for suite in suite::TLS13 {
            let transcript = Transcript::after_retry(suite.hash, b"hello", b"retry").unwrap();
            let hello = digest(suite.hash, &[b"hello"]);
            let header = [254, 0, 0, hello.as_ref().len() as u8];
            let expected = digest(suite.hash, &[&header, hello.as_ref(), b"retry"]);
            assert_eq!(transcript.current(), expected);
        }
    }

    #[test]
    fn labels_that_do_not_fit_are_errors() {
        let mut out = [0; 32];
        for (label, context) in [([0; 250].as_slice(), [].as_slice()), (&[], &[0; 256])] {
            let expanded = expand_label(Hash::Sha256, &[1; 32], label, context, &mut out);
            assert_eq!(expanded, Err(Error::Internal(crypto::Error::BadLength)));
        }
    }
}
