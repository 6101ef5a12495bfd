//! Key agreement on P-256, P-384 and P-521 for the key shares of TLS (RFC 8446, sections 4.2.8.2
//! and 7.4.2; SP 800-56A, revision 3, section 5.7.1.2).
//!
//! The private scalar is the only secret here. It protects no data, since the connection is
//! closed once the peer is authenticated; the time is still constant: its
//! bits select values and never instructions or addresses. The caller draws it: random bytes of
//! [`private_len`], big-endian.

use super::Error;
use super::bignum::Uint;
use super::weierstrass::{Curve, Group, P256, P384, P521, Parameters};

/// Length of a private key and of a coordinate, in bytes: that of the order and of the field.
pub(crate) const fn private_len(curve: Curve) -> usize {
    match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
        Curve::P521 => 66,
    }
}

/// The public key of `private`, `0x04 || X || Y`. `BadKey` if the scalar is 0 or not below n, as
/// one in 2^32 random strings is on P-256, one in 2^190 on P-384 and all but one in 2^7 on
/// P-521, whose order has 521 bits: the caller clears the upper seven of 528, and draws again
/// (SP 800-56A, section 5.6.1.2.2).
pub(crate) fn public_key(curve: Curve, private: &[u8]) -> Result<Vec<u8>, Error> {
    let [x, y] = multiply(curve, private, None)?;
    Ok([&[0x04], &x[..], &y].concat())
}

/// The x-coordinate of `private * peer`. `BadPoint` unless the peer's key is a valid
/// uncompressed point.
pub(crate) fn shared_secret(curve: Curve, private: &[u8], peer: &[u8]) -> Result<Vec<u8>, Error> {
    // RFC 8446, section 7.4.2: Z is x alone, in as many bytes as p has, zeros kept.
    let [x, _] = multiply(curve, private, Some(peer))?;
    Ok(x)
}

/// The coordinates of `private` times a point: the encoded one, or the generator if there is none.
fn multiply(curve: Curve, private: &[u8], point: Option<&[u8]>) -> Result<[Vec<u8>; 2], Error> {
    match curve {
        Curve::P256 => multiply_on(&P256, private, point),
        Curve::P384 => multiply_on(&P384, private, point),
        Curve::P521 => multiply_on(&P521, private, point),
    }
}

/// [`multiply`] on one curve.
fn multiply_on<const L: usize>(
    parameters: &Parameters<L>,
    private: &[u8],
    point: Option<&[u8]>,
) -> Result<[Vec<u8>; 2], Error> {
    let group = Group::new(parameters).ok_or(Error::BadKey)?;
    let length = group.coordinate_len();
    if private.len() != length {
        return Err(Error::BadLength);
    }
    let scalar = Uint::from_be_bytes(private)
        .filter(|scalar| group.is_scalar(scalar))
        .ok_or(Error::BadKey)?;
    // RFC 8446, section 4.2.8.2: peers MUST validate each other's public value; the three checks
    // named there are those of `decode`.
    let point = match point {
        Some(encoded) => group.decode(encoded).ok_or(Error::BadPoint)?,
        None => group.generator,
    };
    // SP 800-56A, section 5.6.1.2.2, step 7, and 5.7.1.2, steps 1 and 2: an error at infinity,
    // which a scalar in [1, n-1] and a point of order n exclude.
    let product = group.multiply(&scalar, &point);
    let (x, y) = group.affine(&product).ok_or(Error::BadPoint)?;
    let encode = |number: Uint<L>| number.to_be_bytes(length).ok_or(Error::BadPoint);
    Ok([encode(x)?, encode(y)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// The order of P-256.
    const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    /// Its generator, `0x04 || X || Y`.
    const G: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                     4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

    #[test]
    fn known_answers() {
        // (private key, public key, the peer's, shared secret)
        const P256: &[[&str; 4]] = &[
            // RFC 5903, section 8.1, the initiator, then the responder
            [
                "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
                "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180\
                 5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
                "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63\
                 56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
                "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
            ],
            [
                "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
                "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63\
                 56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
                "04dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180\
                 5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
                "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
            ],
            // NIST CAVP, ECC CDH primitive, P-256, count 0
            [
                "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534",
                "04ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230\
                 28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141",
                "04700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287\
                 db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac",
                "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b",
            ],
            // The smallest private key, which gives back the generator, ...
            [
                "0000000000000000000000000000000000000000000000000000000000000001",
                G,
                G,
                "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
            ],
            // ... and the largest, which gives its negative. The peer's x, so the secret, is 0.
            [
                "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550",
                "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                 b01cbd1c01e58065711814b583f061e9d431cca994cea1313449bf97c840ae0a",
                "040000000000000000000000000000000000000000000000000000000000000000\
                 66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4",
                "0000000000000000000000000000000000000000000000000000000000000000",
            ],
        ];
        // RFC 5903, section 8.2, the initiator, then the responder
        const P384: &[[&str; 4]] = &[
            [
                "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655\
                 e35b538041e649ee3faef896783ab194",
                "04667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6\
                 de3ac808acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65\
                 032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c",
                "04e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d\
                 0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f66\
                 eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c",
                "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4\
                 d603135569b9e9d09cf5d4a270f59746",
            ],
            [
                "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942\
                 e0308312916b8ed2960e4bd55a7448fc",
                "04e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d\
                 0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f66\
                 eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c",
                "04667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6\
                 de3ac808acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65\
                 032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c",
                "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4\
                 d603135569b9e9d09cf5d4a270f59746",
            ],
        ];
        // RFC 5903, section 8.3, likewise
        const P521: &[[&str; 4]] = &[
            [
                "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a0\
                 95aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52",
                "040015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbe\
                 e1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e\
                 017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10ad8\
                 a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
                "0400d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a21\
                 9b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f\
                 015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b8722\
                 0b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
                "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04\
                 d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea",
            ],
            [
                "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e\
                 9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
                "0400d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a21\
                 9b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f\
                 015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b8722\
                 0b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
                "040015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbe\
                 e1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e\
                 017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10ad8\
                 a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
                "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04\
                 d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea",
            ],
        ];
        let curves = [
            (Curve::P256, P256),
            (Curve::P384, P384),
            (Curve::P521, P521),
        ];
        for (curve, cases) in curves {
            for [private, public, peer, shared] in cases {
                let private = from_hex(private);
                assert_eq!(
                    public_key(curve, &private),
                    Ok(from_hex(public)),
                    "{public}"
                );
                let computed = shared_secret(curve, &private, &from_hex(peer));
                assert_eq!(computed, Ok(from_hex(shared)), "{public}");
            }
        }
    }

    #[test]
    fn private_keys_out_of_range() {
        let mut above = from_hex(N);
        above[31] += 1;
        for private in [vec![0; 32], from_hex(N), above, vec![0xff; 32]] {
            let computed = public_key(Curve::P256, &private);
            assert_eq!(computed, Err(Error::BadKey), "{private:?}");
            let computed = shared_secret(Curve::P256, &private, &from_hex(G));
            assert_eq!(computed, Err(Error::BadKey), "{private:?}");
        }
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let length = private_len(curve);
            for (length, error) in [
                (length, Error::BadKey),
                (length - 1, Error::BadLength),
                (length + 1, Error::BadLength),
            ] {
                assert_eq!(public_key(curve, &vec![0xff; length]), Err(error));
            }
        }
    }

    #[test]
    fn peers_that_are_no_points() {
        let good = from_hex(G);
        let mut bad: Vec<Vec<u8>> = (0..8 * good.len())
            .map(|bit| {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            })
            .collect();
        bad.extend((0..good.len()).map(|end| good[..end].to_vec()));
        bad.push([&good[..], &[0]].concat());
        // The other point with x = 0 exists; (0, 0) does not.
        bad.push([&[0x04], &[0; 64][..]].concat());
        for peer in bad {
            let computed = shared_secret(Curve::P256, &[1; 32], &peer);
            assert_eq!(computed, Err(Error::BadPoint), "{peer:?}");
        }
    }
}
