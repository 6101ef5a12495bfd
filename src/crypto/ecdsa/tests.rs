//! Tests of `ecdsa`: known answers of RFC 6979 and signatures with rare properties, then what a
//! verifier must refuse: integers out of range and every encoding that is not DER.

use super::*;
use crate::crypto::from_hex;
use crate::crypto::weierstrass::Point;
use crate::wire::der::tag;

/// An integer in DER from bytes that may have leading zeros.
fn der_integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut contents = bytes[zeros..].to_vec();
    if contents.first().is_none_or(|byte| *byte >= 0x80) {
        contents.insert(0, 0);
    }
    [&[tag::INTEGER, contents.len() as u8], &contents[..]].concat()
}

fn der_sequence(contents: &[u8]) -> Vec<u8> {
    let length = contents.len() as u8;
    let header = if length < 0x80 {
        vec![tag::SEQUENCE, length]
    } else {
        vec![tag::SEQUENCE, 0x81, length]
    };
    [header, contents.to_vec()].concat()
}

fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    der_sequence(&[der_integer(r), der_integer(s)].concat())
}

const PUBLIC_256: &str = "04\
    60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6\
    7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
const PUBLIC_384: &str = "04\
    ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64\
    def8f0ea9055866064a254515480bc13\
    8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1\
    288b231c3ae0d4fe7344fd2533264720";
const PUBLIC_521: &str = "04\
    01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd\
    371123d46e45db6b5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f50\
    23a4\
    00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a\
    28a0db25741b5b34a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfd\
    fcf5";

fn public_of(curve: Curve) -> Vec<u8> {
    from_hex(match curve {
        Curve::P256 => PUBLIC_256,
        Curve::P384 => PUBLIC_384,
        Curve::P521 => PUBLIC_521,
    })
}

/// RFC 6979, appendices A.2.5 to A.2.7: (curve, hash, message, r || s).
#[rustfmt::skip]
const KNOWN: &[(Curve, Hash, &str, &str)] = &[
    (Curve::P256, Hash::Sha256, "sample",
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"),
    (Curve::P256, Hash::Sha384, "sample",
        "0eafea039b20e9b42309fb1d89e213057cbf973dc0cfc8f129edddc800ef7719\
         4861f0491e6998b9455193e34e7b0d284ddd7149a74b95b9261f13abde940954"),
    (Curve::P256, Hash::Sha512, "sample",
        "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00\
         2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe"),
    (Curve::P256, Hash::Sha256, "test",
        "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367\
         019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"),
    (Curve::P256, Hash::Sha384, "test",
        "83910e8b48bb0c74244ebdf7f07a1c5413d61472bd941ef3920e623fbccebeb6\
         8ddbec54cf8cd5874883841d712142a56a8d0f218f5003cb0296b6b509619f2c"),
    (Curve::P256, Hash::Sha512, "test",
        "461d93f31b6540894788fd206c07cfa0cc35f46fa3c91816fff1040ad1581a04\
         39af9f15de0db8d97e72719c74820d304ce5226e32dedae67519e840d1194e55"),
    (Curve::P384, Hash::Sha256, "sample",
        "21b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e354b63a21d3daa33\
         bde1e888e63355d92fa2b3c36d8fb2cd\
         f3aa443fb107745bf4bd77cb3891674632068a10ca67e3d45db2266fa7d1feeb\
         efdc63eccd1ac42ec0cb8668a4fa0ab0"),
    (Curve::P384, Hash::Sha384, "sample",
        "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
         81a648152e44acf96e36dd1e80fabe46\
         99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
         a329c145786e679e7b82c71a38628ac8"),
    (Curve::P384, Hash::Sha512, "sample",
        "ed0959d5880ab2d869ae7f6c2915c6d60f96507f9cb3e047c0046861da4a799c\
         fe30f35cc900056d7c99cd7882433709\
         512c8cceee3890a84058ce1e22dbc2198f42323ce8aca9135329f03c068e5112\
         dc7cc3ef3446defceb01a45c2667fdd5"),
    (Curve::P384, Hash::Sha256, "test",
        "6d6defac9ab64dabafe36c6bf510352a4cc27001263638e5b16d9bb51d451559\
         f918eedaf2293be5b475cc8f0188636b\
         2d46f3becbcc523d5f1a1256bf0c9b024d879ba9e838144c8ba6baeb4b53b47d\
         51ab373f9845c0514eefb14024787265"),
    (Curve::P384, Hash::Sha384, "test",
        "8203b63d3c853e8d77227fb377bcf7b7b772e97892a80f36ab775d509d7a5feb\
         0542a7f0812998da8f1dd3ca3cf023db\
         ddd0760448d42d8a43af45af836fce4de8be06b485e9b61b827c2f13173923e0\
         6a739f040649a667bf3b828246baa5a5"),
    (Curve::P384, Hash::Sha512, "test",
        "a0d5d090c9980faf3c2ce57b7ae951d31977dd11c775d314af55f76c676447d0\
         6fb6495cd21b4b6e340fc236584fb277\
         976984e59b4c77b0e8e4460dca3d9f20e07b9bb1f63beefaf576f6b2e8b22463\
         4a2092cd3792e0159ad9cee37659c736"),
    (Curve::P521, Hash::Sha256, "sample",
        "01511bb4d675114fe266fc4372b87682baecc01d3cc62cf2303c92b352601265\
         9d16876e25c7c1e57648f23b73564d67f61c6f14d527d54972810421e7d87589\
         e1a7\
         004a171143a83163d6df460aaf61522695f207a58b95c0644d87e52aa1a34791\
         6e4f7a72930b1bc06dbe22ce3f58264afd23704cbb63b29b931f7de6c9d949a7\
         ecfc"),
    (Curve::P521, Hash::Sha384, "sample",
        "01ea842a0e17d2de4f92c15315c63ddf72685c18195c2bb95e572b9c5136ca4b\
         4b576ad712a52be9730627d16054ba40cc0b8d3ff035b12ae75168397f5d50c6\
         7451\
         01f21a3cee066e1961025fb048bd5fe2b7924d0cd797babe0a83b66f1e35eeaf\
         5fde143fa85dc394a7dee766523393784484bdf3e00114a1c857cde1aa203db6\
         5d61"),
    (Curve::P521, Hash::Sha512, "sample",
        "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f\
         174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e3\
         77fa\
         00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af\
         282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4\
         a67a"),
    (Curve::P521, Hash::Sha256, "test",
        "000e871c4a14f993c6c7369501900c4bc1e9c7b0b4ba44e04868b30b41d80710\
         42eb28c4c250411d0ce08cd197e4188ea4876f279f90b3d8d74a3c76e6f1e465\
         6aa8\
         00cd52dbaa33b063c3a6cd8058a1fb0a46a4754b034fcc644766ca14da8ca5ca\
         9fde00e88c1ad60ccba759025299079d7a427ec3cc5b619bfbc828e7769bcd69\
         4e86"),
    (Curve::P521, Hash::Sha384, "test",
        "014bee21a18b6d8b3c93fab08d43e739707953244fdbe924fa926d76669e7ac8\
         c89df62ed8975c2d8397a65a49dcc09f6b0ac62272741924d479354d74ff6075\
         578c\
         0133330865c067a0eaf72362a65e2d7bc4e461e8c8995c3b6226a21bd1aa78f0\
         ed94fe536a0dca35534f0cd1510c41525d163fe9d74d134881e35141ed5e8e95\
         b979"),
    (Curve::P521, Hash::Sha512, "test",
        "013e99020abf5cee7525d16b69b229652ab6bdf2affcaef38773b4b7d08725f1\
         0cdb93482fdcc54edcee91eca4166b2a7c6265ef0ce2bd7051b7cef945babd47\
         ee6d\
         01fbd0013c674aa79cb39849527916ce301c66ea7ce8b80682786ad60f98f7e7\
         8a19ca69eff5c57400e3b3a0ad66ce0978214d13baf4e9ac60752f7b155e2de4\
         dce3"),
];

#[test]
fn rfc_6979() {
    for (curve, hash, message, pair) in KNOWN {
        let pair = from_hex(pair);
        let (r, s) = pair.split_at(pair.len() / 2);
        let signature = der_signature(r, s);
        let public = public_of(*curve);
        let result = |public: &[u8], message: &str| {
            verify(*curve, *hash, public, &[message.as_bytes()], &signature)
        };
        assert_eq!(
            result(&public, message),
            Ok(()),
            "{curve:?} {hash:?} {message}"
        );
        // In parts; of another message; with r and s exchanged; with another hash.
        let (head, tail) = message.as_bytes().split_at(2);
        let in_parts = verify(*curve, *hash, &public, &[head, &[], tail], &signature);
        assert_eq!(in_parts, Ok(()), "{curve:?} {hash:?} {message}");
        assert_eq!(result(&public, "tess"), Err(Error::BadSignature));
        let exchanged = der_signature(s, r);
        for other in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let refused = if other == *hash {
                &exchanged
            } else {
                &signature
            };
            let result = verify(*curve, other, &public, &[message.as_bytes()], refused);
            assert_eq!(
                result,
                Err(Error::BadSignature),
                "{curve:?} {hash:?} as {other:?}"
            );
        }
        // For a key that is not a point of this curve.
        for other in [Curve::P256, Curve::P384, Curve::P521] {
            let expected = if other == *curve {
                Ok(())
            } else {
                Err(Error::BadPoint)
            };
            assert_eq!(
                result(&public_of(other), message),
                expected,
                "{curve:?} {other:?}"
            );
        }
    }
}

/// Signatures whose point R has an x-coordinate of n or more, so that r = x - n; no random
/// signature is of this kind. r and s are single digits.
#[test]
fn x_coordinate_above_the_order() {
    const CASES: &[(Curve, u8, u8, &str)] = &[
        (
            Curve::P256,
            3,
            2,
            "04ad24a73ab66d957bc8e23af0c38598308c8534383e3c9bcd4d6d929e426ad1\
             cee227729e91261f3c49e3467780fe13c33091b47c656170200f5e7f88e014d7\
             0c",
        ),
        (
            Curve::P384,
            2,
            2,
            "04d476418c123f6856be24a67da4dd962807ca4b5a02538a1e315e599ef85c5b\
             493e4fcb0adf5154909cb3fd532e46361ba5d0ddfdafc45b61677657324231d1\
             b2c384be0f0cc1278fbe0438ea56282a4105e851a4a74379e7487aab9edc7a03\
             5b",
        ),
        (
            Curve::P521,
            1,
            2,
            "04017a37fb408cd79544fd5e63b89058a5c2d58758ad43f3b51e8c18ca15cc30\
             5c9b7f59856133be3933fecb8fe963c7e83efeb4f3871d030e4eb807a217e5d5\
             d3dcf0012c312af903950535ba398a2cc7b0a990079fd19e23afa6d9760ea845\
             c3148276590694ab071f77b90e12eef2fb9d9bb62e2c3f4d15e601e8a6d79b14\
             df0d45f2c1",
        ),
    ];
    for (curve, r, s, public) in CASES {
        let result = |r: u8| {
            let signature = der_signature(&[r], &[*s]);
            verify(
                *curve,
                Hash::Sha512,
                &from_hex(public),
                &[b"a message"],
                &signature,
            )
        };
        assert_eq!(result(*r), Ok(()), "{curve:?}");
        assert_eq!(result(*r + 1), Err(Error::BadSignature), "{curve:?}");
    }
}

fn bytes_of<const L: usize>(number: &Uint<L>) -> Vec<u8> {
    number.to_be_bytes(8 * L).expect("it fits")
}

fn encode<const L: usize>(group: &Group<L>, point: &Point<L>, length: usize) -> Vec<u8> {
    let (x, y) = group.affine(point).expect("not infinity");
    let tail = |number| bytes_of(&number).split_off(8 * L - length);
    [vec![0x04], tail(x), tail(y)].concat()
}

/// Keys that drive the sum u G + v Q through its special cases: Q = G and Q = -G, and the key
/// for which it is infinity, which step 6 must refuse.
fn special_keys<const L: usize>(curve: Curve, parameters: &Parameters<L>, length: usize) {
    let message: &[&[u8]] = &[b"a message"];
    let group = Group::new(parameters).expect("odd");
    let n = &group.order;
    let number = |text| n.to_residue(&Uint::from_be_bytes(&from_hex(text)).expect("it fits"));
    let hashed = digest(Hash::Sha256, message);
    let e = n.to_residue(&Uint::from_be_bytes(hashed.as_ref()).expect("it fits"));
    let zero = n.sub(&e, &e);

    // Signed with k = 5: r = x(5 G), s = (e + r d) / 5 (FIPS 186-5, section 6.4.1).
    let k = number("05");
    let (x, _) = group
        .affine(&group.multiply(&n.to_uint(&k), &group.generator))
        .expect("not infinity");
    let r = n.to_residue(&x);
    for d in [n.one, n.sub(&zero, &n.one), number("02"), number("05")] {
        let public = group.multiply(&n.to_uint(&d), &group.generator);
        let s = n.mul(&n.invert_prime(&k), &n.add(&e, &n.mul(&r, &d)));
        let signature = der_signature(&bytes_of(&n.to_uint(&r)), &bytes_of(&n.to_uint(&s)));
        let public = encode(&group, &public, length);
        let result = verify(curve, Hash::Sha256, &public, message, &signature);
        assert_eq!(result, Ok(()), "{curve:?} {d:?}");
    }

    // With d = -e / r the sum is (e + r d) / s G = infinity for every s.
    let d = n.sub(&zero, &n.mul(&e, &n.invert_prime(&r)));
    let public = group.multiply(&n.to_uint(&d), &group.generator);
    let public = encode(&group, &public, length);
    for s in [n.one, r, k] {
        let signature = der_signature(&bytes_of(&n.to_uint(&r)), &bytes_of(&n.to_uint(&s)));
        let result = verify(curve, Hash::Sha256, &public, message, &signature);
        assert_eq!(result, Err(Error::BadSignature), "{curve:?} {s:?}");
    }
}

#[test]
fn special_cases_of_the_sum() {
    special_keys(Curve::P256, &P256, 32);
    special_keys(Curve::P384, &P384, 48);
    special_keys(Curve::P521, &P521, 66);
}

/// A good signature, as the start of bad ones: (curve, hash, message, r, s).
fn good(curve: Curve) -> (Hash, &'static [u8], Vec<u8>, Vec<u8>) {
    let (_, hash, message, pair) = KNOWN
        .iter()
        .find(|(of, ..)| *of == curve)
        .expect("a row for each curve");
    let mut r = from_hex(pair);
    let s = r.split_off(r.len() / 2);
    (*hash, message.as_bytes(), r, s)
}

fn order_of(curve: Curve) -> Vec<u8> {
    match curve {
        Curve::P256 => bytes_of(&Group::new(&P256).expect("odd").order.value),
        Curve::P384 => bytes_of(&Group::new(&P384).expect("odd").order.value),
        Curve::P521 => bytes_of(&Group::new(&P521).expect("odd").order.value),
    }
}

/// `bytes + number`, in one byte more.
fn plus(bytes: &[u8], number: &[u8]) -> Vec<u8> {
    let mut sum = [&[0], bytes].concat();
    let mut carry = 0;
    let mut addend = number.iter().rev();
    for byte in sum.iter_mut().rev() {
        let wide = u16::from(*byte) + u16::from(*addend.next().unwrap_or(&0)) + carry;
        *byte = wide as u8;
        carry = wide >> 8;
    }
    sum
}

#[test]
fn integers_out_of_range() {
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let (hash, message, r, s) = good(curve);
        let n = order_of(curve);
        let result = |r: &[u8], s: &[u8]| {
            verify(
                curve,
                hash,
                &public_of(curve),
                &[message],
                &der_signature(r, s),
            )
        };
        assert_eq!(result(&r, &s), Ok(()));
        // Congruent to a good value modulo n, to zero, or just large.
        let longer = vec![0x7f; 100 - r.len()];
        let bad = [vec![0], n.clone(), plus(&n, &[1]), plus(&n, &n), longer];
        for bad in &bad {
            assert_eq!(
                result(bad, &s),
                Err(Error::BadSignature),
                "{curve:?} r = {bad:?}"
            );
            assert_eq!(
                result(&r, bad),
                Err(Error::BadSignature),
                "{curve:?} s = {bad:?}"
            );
            assert_eq!(
                result(bad, bad),
                Err(Error::BadSignature),
                "{curve:?} {bad:?}"
            );
        }
        assert_eq!(
            result(&plus(&n, &r), &s),
            Err(Error::BadSignature),
            "{curve:?} n + r"
        );
        assert_eq!(
            result(&r, &plus(&n, &s)),
            Err(Error::BadSignature),
            "{curve:?} n + s"
        );
    }
}

/// Changes a good signature of `curve` in its encoding, then every `stride`-th bit of it.
fn encodings_that_are_not_der(curve: Curve, stride: usize) {
    let (hash, message, r, s) = good(curve);
    let result = |signature: &[u8]| verify(curve, hash, &public_of(curve), &[message], signature);
    let (r, s) = (der_integer(&r), der_integer(&s));
    let contents = [&r[..], &s].concat();
    let good = der_sequence(&contents);
    assert_eq!(result(&good), Ok(()));

    let length = contents.len() as u8;
    let padded = |integer: &[u8]| [&[tag::INTEGER, integer[1] + 1, 0], &integer[2..]].concat();
    let long = |integer: &[u8]| [&[tag::INTEGER, 0x81, integer[1]], &integer[2..]].concat();
    // Without the zero ahead of its top bit, or with that bit set, it is negative.
    let negative = |integer: &[u8]| match integer {
        [tag, length, 0, rest @ ..] => [&[*tag, length - 1], rest].concat(),
        [tag, length, first, rest @ ..] => [&[*tag, *length, first | 0x80], rest].concat(),
        _ => unreachable!("an integer has contents"),
    };
    let with = |header: &[u8], contents: &[u8]| [header, contents].concat();
    let cases: &[(&str, Vec<u8>)] = &[
        ("empty", vec![]),
        ("a tag alone", vec![tag::SEQUENCE]),
        ("an empty sequence", der_sequence(&[])),
        ("r alone", der_sequence(&r)),
        (
            "three integers",
            der_sequence(&[&contents[..], &[tag::INTEGER, 1, 1]].concat()),
        ),
        ("trailing zero", with(&good, &[0])),
        ("trailing NULL", with(&good, &[5, 0])),
        (
            "zero at the end of the sequence",
            der_sequence(&with(&contents, &[0])),
        ),
        (
            "two bytes of length",
            with(&[tag::SEQUENCE, 0x82, 0, length], &contents),
        ),
        (
            "four bytes of length",
            with(&[tag::SEQUENCE, 0x84, 0, 0, 0, length], &contents),
        ),
        (
            "the longest length",
            with(
                &[tag::SEQUENCE, 0x88, 255, 255, 255, 255, 255, 255, 255, 255],
                &contents,
            ),
        ),
        (
            "indefinite length",
            [&[tag::SEQUENCE, 0x80], &contents[..], &[0, 0]].concat(),
        ),
        ("reserved length", with(&[tag::SEQUENCE, 0xff], &contents)),
        ("a set", with(&[0x31], &good[1..])),
        ("not constructed", with(&[0x10], &good[1..])),
        ("high tag", with(&[0x3f, 0x10], &good[1..])),
        (
            "r is a bit string",
            der_sequence(&[&[3], &r[1..], &s].concat()),
        ),
        (
            "r is an octet string",
            der_sequence(&[&[4], &r[1..], &s].concat()),
        ),
        (
            "r is empty",
            der_sequence(&[&[tag::INTEGER, 0], &s[..]].concat()),
        ),
        (
            "s is empty",
            der_sequence(&[&r[..], &[tag::INTEGER, 0]].concat()),
        ),
        ("r padded", der_sequence(&[&padded(&r)[..], &s].concat())),
        ("s padded", der_sequence(&[&r[..], &padded(&s)].concat())),
        (
            "long length of r",
            der_sequence(&[&long(&r)[..], &s].concat()),
        ),
        (
            "long length of s",
            der_sequence(&[&r[..], &long(&s)].concat()),
        ),
        (
            "r negative",
            der_sequence(&[&negative(&r)[..], &s].concat()),
        ),
        (
            "s negative",
            der_sequence(&[&r[..], &negative(&s)].concat()),
        ),
        (
            "zero in two bytes",
            der_sequence(&[&[tag::INTEGER, 2, 0, 0], &s[..]].concat()),
        ),
        ("raw", [&r[2..], &s[2..]].concat()),
    ];
    for (name, signature) in cases {
        assert_eq!(
            result(signature),
            Err(Error::BadSignature),
            "{curve:?} {name}"
        );
    }
    if length < 0x80 {
        let long = with(&[tag::SEQUENCE, 0x81, length], &contents);
        assert_eq!(
            result(&long),
            Err(Error::BadSignature),
            "{curve:?} long length"
        );
    }
    for end in 0..good.len() {
        assert_eq!(
            result(&good[..end]),
            Err(Error::BadSignature),
            "{curve:?} {end}"
        );
    }
    for bit in (0..8 * good.len()).step_by(stride) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            result(&bad),
            Err(Error::BadSignature),
            "{curve:?} bit {bit}"
        );
    }
}

#[test]
fn encodings_p256() {
    encodings_that_are_not_der(Curve::P256, 1);
}

// The larger curves take longer; strides that are odd reach every bit of a byte.

#[test]
fn encodings_p384() {
    encodings_that_are_not_der(Curve::P384, 3);
}

#[test]
fn encodings_p521() {
    encodings_that_are_not_der(Curve::P521, 7);
}
