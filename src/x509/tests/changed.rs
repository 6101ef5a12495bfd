//! Certificates that were cut or changed: none is accepted, and none makes the parser panic.

use super::*;

/// Verifies a leaf and what else is sent under one anchor.
fn accepted(chain: &[&[u8]], roots: &Anchors) -> bool {
    let name = ServerName::parse("etcd.example").unwrap();
    verify(chain, roots, &name, NOW).is_ok()
}

#[test]
fn every_truncation_and_every_changed_byte_is_refused() {
    // RSA, because it is the quickest to verify.
    let (leaf, roots) = (fixture("rsa-leaf"), anchors(&["rsa-root"]));
    assert!(accepted(&[&leaf], &roots));
    for position in 0..leaf.len() {
        assert!(!accepted(&[&leaf[..position]], &roots), "cut at {position}");
        let mut changed = leaf.clone();
        changed[position] ^= 0x01;
        assert!(!accepted(&[&changed], &roots), "changed at {position}");
    }
    let (leaf, inter) = (fixture("leaf"), fixture("inter"));
    for position in 0..inter.len() {
        let cut = &inter[..position];
        assert!(
            !accepted(&[&leaf, cut], &anchors(&["root"])),
            "intermediate cut at {position}"
        );
    }
}

#[test]
fn every_changed_bit_of_a_chain_is_refused() {
    let (leaf, inter) = (fixture("leaf"), fixture("inter"));
    let roots = anchors(&["root"]);
    assert!(accepted(&[&leaf, &inter], &roots));
    let changed = |der: &[u8], bit: usize| {
        let mut der = der.to_vec();
        *der.get_mut(bit / 8)? ^= 1 << (bit % 8);
        Some(der)
    };
    for bit in 0..8 * leaf.len().max(inter.len()) {
        if let Some(leaf) = changed(&leaf, bit) {
            assert!(!accepted(&[&leaf, &inter], &roots), "bit {bit} of the leaf");
        }
        if let Some(inter) = changed(&inter, bit) {
            assert!(
                !accepted(&[&leaf, &inter], &roots),
                "bit {bit} of the issuer"
            );
        }
    }
}

#[test]
fn no_changed_bit_makes_the_parser_panic() {
    for name in [
        "nc-permitted",
        "nc-directory",
        "pss512-root",
        "leaf-email",
        "leaf-uri",
    ] {
        let der = fixture(name);
        for position in 0..der.len() {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[position] ^= 1 << bit;
                if let Ok(certificate) = Certificate::parse(&changed) {
                    let _ = sig::check_key(&certificate);
                    let shown = certificate.subject() + &certificate.sans().concat();
                    assert!(!shown.contains(char::is_control), "{name} {position} {bit}");
                }
            }
        }
    }
}
