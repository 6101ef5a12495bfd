//! What certificates say, read without one around it: distinguished names, alternative names,
//! name constraints and dates; and the text of the name that is wanted.

use super::{Target, harmless};
use crate::wire::Reader;
use crate::wire::der::tag;
use crate::x509::constraints::NameConstraints;
use crate::x509::dn::DistinguishedName;
use crate::x509::name::{Form, GeneralName};
use crate::x509::{Budget, ServerName, UnixTime};

pub(super) const TARGET: Target = Target {
    name: "x509-names",
    seeds,
    run,
    max_input: 512,
};

fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        wanted(text);
    }
    // Constraints, then a subject, then alternative names; each may be missing.
    let mut reader = Reader::new(input);
    if let Ok(time) = UnixTime::parse(&mut reader.clone()) {
        let text = time.to_string();
        assert!(text.len() == 20 && text.ends_with('Z'), "{text}");
    }
    let constraints = NameConstraints::parse(&mut reader.clone()).inspect(|_| {
        let _ = NameConstraints::parse(&mut reader);
    });
    let subject = DistinguishedName::parse(&mut reader.clone()).inspect(|_| {
        let _ = DistinguishedName::parse(&mut reader);
    });
    let mut names = Vec::new();
    while let Ok(name) = GeneralName::parse(&mut reader) {
        harmless(&name.to_string());
        names.push(name);
    }
    let Ok(subject) = subject else {
        return;
    };
    harmless(&subject.to_string());
    assert_eq!(
        subject.is_within(subject, true, &mut Budget::new()),
        Ok(true)
    );
    if let Ok(constraints) = constraints {
        let checked = constraints.check(subject, &names, subject, &mut Budget::new());
        if let Err(error) = checked {
            harmless(&error.to_string());
        }
    }
}

/// A name that is wanted is proved by a certificate that presents it.
fn wanted(text: &str) {
    match ServerName::parse(text) {
        Ok(ServerName::Dns(name)) => {
            assert!(ServerName::Dns(name.clone()).is_matched_by(&GeneralName::Dns(&name)));
            assert!(name.len() <= 253 && !name.ends_with('.'));
            let other = GeneralName::Other(Form::URI, name.as_bytes());
            assert!(!ServerName::Dns(name.clone()).is_matched_by(&other));
        }
        Ok(ServerName::Ip(address)) => assert_eq!(address, address.to_canonical()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let tlv = |tag: u8, contents: &[u8]| [&[tag, contents.len() as u8], contents].concat();
    let attribute = |kind: &[u8], string: u8, value: &str| {
        let pair = [tlv(tag::OID, kind), tlv(string, value.as_bytes())].concat();
        tlv(0x31, &tlv(tag::SEQUENCE, &pair))
    };
    // commonName as UTF8String, organizationName as PrintableString, emailAddress as IA5String
    let email = super::bytes("2a864886f70d010901");
    let subject = [
        attribute(&[0x55, 4, 3], 12, "Jos\u{e9} \"x\", y"),
        attribute(&[0x55, 4, 10], 19, "Acme  Inc"),
        attribute(&email, 22, "a@b.example"),
    ];
    let subject = tlv(tag::SEQUENCE, &subject.concat());
    let bases = [
        tlv(0x82, b".b.example"),
        tlv(0x87, &[10, 0, 0, 0, 255, 0, 0, 0]),
        tlv(0xa4, &subject),
        tlv(0x86, b".example"),
    ];
    let trees = bases.map(|base| tlv(tag::SEQUENCE, &base)).concat();
    let constraints = |side: u8| tlv(tag::SEQUENCE, &tlv(side, &trees));
    let names = [
        tlv(0x82, b"*.b.example"),
        tlv(0x87, &[10, 1, 2, 3]),
        tlv(0xa4, &subject),
        tlv(0x86, b"https://a.example"),
        tlv(0x81, b"a@b.example"),
    ]
    .concat();
    vec![
        [&constraints(0xa0)[..], &subject, &names].concat(),
        [&constraints(0xa1)[..], &subject, &names].concat(),
        [&subject[..], &names].concat(),
        tlv(tag::UTC_TIME, b"491231235959Z"),
        tlv(tag::GENERALIZED_TIME, b"20500229000000Z"),
        b"etcd-1.example.com.".to_vec(),
        b"::ffff:10.0.0.1".to_vec(),
        b"*.example".to_vec(),
    ]
}
