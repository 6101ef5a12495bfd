//! DER, walked as deep as it goes: one value has one encoding, so that what is read and written
//! again gives the same octets.

use super::Target;
use crate::wire::Reader;
use crate::wire::der::{self, tag};

pub(super) const TARGET: Target = Target {
    name: "x509-der",
    seeds,
    run,
    max_input: 512,
};

fn run(input: &[u8]) {
    walk(input, 0);
}

fn walk(input: &[u8], depth: usize) {
    let mut reader = Reader::new(input);
    while !reader.is_empty() {
        let mut again = reader.clone();
        let Ok((found, contents)) = der::any(&mut reader) else {
            return;
        };
        let octets = der::element(&mut again.clone(), found).unwrap();
        assert_eq!(octets, encode(found, contents));
        assert_eq!(der::optional(&mut again.clone(), found), Ok(Some(contents)));
        match found {
            tag::INTEGER => {
                if let Ok(magnitude) = der::unsigned(&mut again.clone()) {
                    let sign: &[u8] = if magnitude[0] >= 0x80 { &[0] } else { &[] };
                    assert_eq!([sign, magnitude].concat(), contents);
                }
                if let Ok(number) = der::u64(&mut again) {
                    assert_eq!(
                        der::unsigned(&mut Reader::new(octets))
                            .unwrap()
                            .len()
                            .min(8),
                        {
                            let bytes = 8 - number.leading_zeros() as usize / 8;
                            bytes.max(1)
                        }
                    );
                }
            }
            tag::BIT_STRING => {
                if let Ok(bits) = der::bits(&mut again.clone()) {
                    assert_eq!(bits.len() + 1, contents.len());
                }
                if let Ok(bits) = der::bit_octets(&mut again) {
                    assert_eq!([&[0], bits].concat(), contents);
                }
            }
            tag::OID => {
                if let Ok(oid) = der::oid(&mut again) {
                    assert!(oid.to_string().contains('.'));
                }
            }
            tag::BOOLEAN => drop(der::boolean_default_false(&mut again)),
            _ if found & 0x20 != 0 && depth < 32 => walk(contents, depth + 1),
            _ => {}
        }
    }
}

fn encode(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let zeros = length.iter().take_while(|octet| **octet == 0).count();
    let long = &length[zeros..];
    let head = match contents.len() {
        0..=127 => vec![tag, contents.len() as u8],
        _ => [&[tag, 0x80 | long.len() as u8], long].concat(),
    };
    [&head, contents].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    (super::x509_certificate::TARGET.seeds)()
}
