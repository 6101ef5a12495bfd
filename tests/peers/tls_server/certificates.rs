//! The certificates of the authority and of the server, put together here.
//!
//! The private key of both is 1 and the nonce of each signature is 1: signing is then one addition modulo the order,
//! and no signing code is needed anywhere.

use std::sync::LazyLock;

use crate::crypto::ecdh;
use crate::crypto::sha2::{Hash, digest};
use crate::crypto::weierstrass::Curve;

/// The name that the server's certificate is for.
pub(crate) const NAME: &str = "etcd.test";

/// The certificate of the authority.
pub(crate) fn anchor() -> Vec<u8> {
    static ANCHOR: LazyLock<Vec<u8>> = LazyLock::new(make_anchor);
    ANCHOR.clone()
}

fn make_anchor() -> Vec<u8> {
    certificate("authority", "authority", &is_ca())
}

/// The extension basicConstraints, critical, of a CA.
pub(crate) fn is_ca() -> Vec<u8> {
    let constraints = [
        tlv(6, &[&[0x55, 0x1d, 0x13]]),
        tlv(1, &[&[0xff]]),
        tlv(4, &[&tlv(0x30, &[&tlv(1, &[&[0xff]])])]),
    ];
    constraints.concat()
}

/// The certificate of the server, issued by [`anchor`].
pub(crate) fn leaf() -> Vec<u8> {
    static LEAF: LazyLock<Vec<u8>> = LazyLock::new(make_leaf);
    LEAF.clone()
}

fn make_leaf() -> Vec<u8> {
    leaf_of("authority")
}

/// A certificate of the server that names that issuer.
pub(crate) fn leaf_of(issuer: &str) -> Vec<u8> {
    // subjectAltName
    let names = tlv(0x30, &[&tlv(0x82, &[NAME.as_bytes()])]);
    let extension = [tlv(6, &[&[0x55, 0x1d, 0x11]]), tlv(4, &[&names])];
    certificate(issuer, "server", &extension.concat())
}

/// A certificate with that key, signed with it, and this one extension.
pub(crate) fn certificate(issuer: &str, subject: &str, extension: &[u8]) -> Vec<u8> {
    // id-ecPublicKey, prime256v1
    let key_type = [
        tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]]),
        tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]]),
    ];
    let key = [
        tlv(0x30, &[&key_type.concat()]),
        tlv(3, &[&[0], generator()]),
    ];
    // ecdsa-with-SHA256
    let algorithm = tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let names = [issuer, subject];
    certificate_with(names, extension, &key.concat(), &algorithm, |tbs| {
        sign(&[tbs])
    })
}

/// A certificate with these names of issuer and subject, one extension, the contents of its
/// SubjectPublicKeyInfo and of its AlgorithmIdentifier, and the signature that `sign` makes.
pub(crate) fn certificate_with(
    names: [&str; 2],
    extension: &[u8],
    key: &[u8],
    algorithm: &[u8],
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let algorithm = tlv(0x30, &[algorithm]);
    let [issuer, subject] = names.map(|text| {
        let attribute = [tlv(6, &[&[0x55, 4, 3]]), tlv(12, &[text.as_bytes()])];
        tlv(0x30, &[&tlv(0x31, &[&tlv(0x30, &[&attribute.concat()])])])
    });
    let validity = [
        tlv(0x17, &[b"200101000000Z"]),
        tlv(0x17, &[b"400101000000Z"]),
    ];
    let tbs = tlv(
        0x30,
        &[
            &tlv(0xa0, &[&tlv(2, &[&[2]])]),
            &tlv(2, &[&[1]]),
            &algorithm,
            &issuer,
            &tlv(0x30, &[&validity.concat()]),
            &subject,
            &tlv(0x30, &[key]),
            &tlv(0xa3, &[&tlv(0x30, &[&tlv(0x30, &[extension])])]),
        ],
    );
    let signature = tlv(3, &[&[0], &sign(&tbs)]);
    tlv(0x30, &[&tbs, &algorithm, &signature])
}

/// A DER element.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ ..0x80 => out.push(short as u8),
        medium @ ..0x100 => out.extend([0x81, medium as u8]),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend(content);
    out
}

/// The public key of the private key 1: the generator of P-256.
fn generator() -> &'static [u8] {
    static GENERATOR: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut one = [0; 32];
        one[31] = 1;
        ecdh::public_key(Curve::P256, &one).unwrap()
    });
    &GENERATOR
}

/// An ECDSA signature on P-256 with SHA-256 by the private key 1 with the nonce 1 (FIPS 186-5
/// section 6.4.1): r is the generator's x, and s = (e + r * 1) / 1 modulo n.
pub(crate) fn sign(message: &[&[u8]]) -> Vec<u8> {
    /// The order of P-256, in halves.
    const N: [u128; 2] = [
        0xffffffff_00000000_ffffffff_ffffffff,
        0xbce6faad_a7179e84_f3b9cac2_fc632551,
    ];
    let halves = |bytes: &[u8]| {
        let (high, low) = bytes.split_at(16);
        [high, low].map(|half| u128::from_be_bytes(half.try_into().unwrap()))
    };
    let r = &generator()[1..33];
    let e = digest(Hash::Sha256, message);
    let subtract_n = |[high, low]: [u128; 2]| {
        let (low, borrow) = low.overflowing_sub(N[1]);
        [high.wrapping_sub(N[0]).wrapping_sub(borrow.into()), low]
    };
    let [e, r_halves] = [e.as_ref(), r].map(halves);
    let e = if e >= N { subtract_n(e) } else { e };
    let (low, carry) = e[1].overflowing_add(r_halves[1]);
    let (high, carry_1) = e[0].overflowing_add(r_halves[0]);
    let (high, carry_2) = high.overflowing_add(carry.into());
    let sum = [high, low];
    let s = if carry_1 || carry_2 || sum >= N {
        subtract_n(sum)
    } else {
        sum
    };
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros..];
        let sign: &[u8] = if bytes[0] & 0x80 != 0 { &[0] } else { &[] };
        tlv(2, &[sign, bytes])
    };
    tlv(
        0x30,
        &[&integer(r), &integer(&s.map(u128::to_be_bytes).concat())],
    )
}
