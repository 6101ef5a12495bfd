//! The key exchange groups and our ephemeral half of an exchange (RFC 8446 section 4.2.8).
//!
//! The private key is the only secret of this client. It lives for one handshake and
//! protects nothing that anyone sends: see the threat model in [`super`].

use super::Random;
use super::error::Error;
use crate::crypto::weierstrass::Curve;
use crate::crypto::{self, ecdh, x25519};

/// A named group of the key exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    X25519,
    Secp256r1,
    Secp384r1,
    Secp521r1,
}

/// Offered, in order of preference. The last two are there for TLS 1.2, where a server may use
/// a certificate only if its curve is in this list (RFC 8422 section 5.1); a server may also
/// choose them for the key exchange, in either version.
pub(crate) const GROUPS: [Group; 4] = [
    Group::X25519,
    Group::Secp256r1,
    Group::Secp384r1,
    Group::Secp521r1,
];

/// Length of a private key, a public value and a secret of X25519, in bytes (RFC 7748 section 5).
const X25519_LEN: usize = 32;

/// How often a scalar is drawn. On P-256 a draw is out of range once in 2^32, elsewhere more
/// rarely, so a source that fails this often is not random.
const DRAWS: usize = 4;

impl Group {
    /// The NamedGroup code point, the length of a public value, and the Weierstrass curve; `None`
    /// for X25519.
    fn definition(self) -> (u16, usize, Option<Curve>) {
        match self {
            Self::X25519 => (0x001d, X25519_LEN, None),
            Self::Secp256r1 => (0x0017, 65, Some(Curve::P256)),
            Self::Secp384r1 => (0x0018, 97, Some(Curve::P384)),
            Self::Secp521r1 => (0x0019, 133, Some(Curve::P521)),
        }
    }

    pub(crate) fn code(self) -> u16 {
        self.definition().0
    }

    /// The group of that code, if it was offered.
    pub(crate) fn find(code: u16) -> Option<Self> {
        GROUPS.into_iter().find(|group| group.code() == code)
    }

    /// Checks the shape of a public value: a u-coordinate (RFC 7748 section 5) or an
    /// uncompressed point (RFC 8446 section 4.2.8.2). [`KeyShare::agree`] checks that it is on the
    /// curve.
    pub(crate) fn check_shape(self, public: &[u8]) -> Result<(), crypto::Error> {
        let (_, length, curve) = self.definition();
        if public.len() != length {
            return Err(crypto::Error::BadLength);
        }
        if curve.is_some() && public.first() != Some(&UNCOMPRESSED) {
            return Err(crypto::Error::BadPoint);
        }
        Ok(())
    }
}

/// First byte of an uncompressed point (RFC 8446 section 4.2.8.2).
const UNCOMPRESSED: u8 = 4;

/// An ephemeral key pair.
pub(crate) struct KeyShare {
    group: Group,
    private: Vec<u8>,
    public: Vec<u8>,
}

/// Fills `bytes`.
pub(crate) fn draw(random: &mut Random<'_>, bytes: &mut [u8]) -> Result<(), Error> {
    random(bytes).map_err(|_| Error::RandomSource)
}

impl KeyShare {
    /// Draws a key pair: any 32 bytes for X25519 (RFC 7748), for a curve a number below its order.
    pub(crate) fn generate(group: Group, random: &mut Random<'_>) -> Result<Self, Error> {
        let (_, _, curve) = group.definition();
        let mut private = vec![0; curve.map_or(X25519_LEN, ecdh::private_len)];
        for _ in 0..DRAWS {
            draw(random, &mut private)?;
            // 66 bytes have seven bits more than the order of P-521
            if let (Some(Curve::P521), Some(first)) = (curve, private.first_mut()) {
                *first &= 1;
            }
            let public = match curve {
                None => Ok(x25519::public_key(&array(&private)?).to_vec()),
                Some(curve) => ecdh::public_key(curve, &private),
            };
            if let Ok(public) = public {
                return Ok(Self {
                    group,
                    private,
                    public,
                });
            }
        }
        Err(Error::RandomSource)
    }

    pub(crate) fn group(&self) -> Group {
        self.group
    }

    /// The public value, which is sent.
    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret with the server's public value. An all-zero one is refused
    /// (RFC 8446 section 7.4.2), as is a point that is not on the curve (4.2.8.2).
    pub(crate) fn agree(&self, server: &[u8]) -> Result<Vec<u8>, crypto::Error> {
        match self.group.definition().2 {
            None => {
                let (private, server) = (array(&self.private)?, array(server)?);
                Ok(x25519::shared_secret(&private, &server)?.to_vec())
            }
            Some(curve) => ecdh::shared_secret(curve, &self.private, server),
        }
    }
}

fn array(bytes: &[u8]) -> Result<[u8; X25519_LEN], crypto::Error> {
    bytes.try_into().map_err(|_| crypto::Error::BadLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// A random source that counts up from `start`.
    fn counting(start: u8) -> impl FnMut(&mut [u8]) -> io::Result<()> {
        let mut next = start;
        move |out| {
            for byte in out {
                *byte = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn both_sides_agree() {
        for group in GROUPS {
            let ours = KeyShare::generate(group, &mut counting(1)).unwrap();
            let theirs = KeyShare::generate(group, &mut counting(77)).unwrap();
            assert_eq!(group.check_shape(ours.public()), Ok(()), "{group:?}");
            assert_eq!(ours.agree(theirs.public()), theirs.agree(ours.public()));
            assert!(ours.agree(theirs.public()).is_ok(), "{group:?}");
        }
    }

    #[test]
    fn bad_public_values_are_refused() {
        for group in GROUPS {
            let ours = KeyShare::generate(group, &mut counting(1)).unwrap();
            let short = &ours.public()[1..];
            let long = [ours.public(), &[0]].concat();
            let mut compressed = ours.public().to_vec();
            compressed[0] = 2;
            for bad in [&[][..], &[4], short, &long] {
                assert_eq!(group.check_shape(bad), Err(crypto::Error::BadLength));
                assert!(ours.agree(bad).is_err(), "{group:?} {bad:02x?}");
            }
            if group != Group::X25519 {
                assert_eq!(group.check_shape(&compressed), Err(crypto::Error::BadPoint));
                assert!(ours.agree(&compressed).is_err(), "{group:?}");
                let mut off_curve = ours.public().to_vec();
                *off_curve.last_mut().unwrap() ^= 1;
                assert!(ours.agree(&off_curve).is_err(), "{group:?}");
            }
        }
    }

    #[test]
    fn a_broken_random_source_is_an_error() {
        // the scalar 0 and a scalar above every order
        for group in [Group::Secp256r1, Group::Secp384r1, Group::Secp521r1] {
            for byte in [0x00, 0xff] {
                let share = KeyShare::generate(group, &mut |out| {
                    out.fill(byte);
                    Ok(())
                });
                assert_eq!(share.err(), Some(Error::RandomSource), "{group:?} {byte}");
            }
        }
    }

    /// None of its bytes are used.
    #[test]
    fn a_random_source_that_fails_gives_no_key() {
        for group in GROUPS {
            let share = KeyShare::generate(group, &mut |out| {
                out.fill(1);
                Err(io::ErrorKind::WouldBlock.into())
            });
            assert_eq!(share.err(), Some(Error::RandomSource), "{group:?}");
        }
    }

    #[test]
    fn only_what_was_offered_is_found() {
        for group in GROUPS {
            assert_eq!(Group::find(group.code()), Some(group));
        }
        // x448, ffdhe2048, X25519MLKEM768, arbitrary_explicit_prime_curves
        for code in [0x001e, 0x0100, 0x11ec, 0xff01] {
            assert_eq!(Group::find(code), None);
        }
    }
}
