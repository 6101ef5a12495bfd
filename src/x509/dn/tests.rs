//! Distinguished names: what is malformed, their text, and when one is within another.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]

use super::*;

/// DER of a value with a short length.
pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    assert!(contents.len() < 128);
    [&[tag, contents.len() as u8], contents].concat()
}

/// One attribute of type 2.5.4.`arc`.
fn one(arc: u8, tag: u8, value: &[u8]) -> Vec<u8> {
    let oid = tlv(tag::OID, &[0x55, 0x04, arc]);
    tlv(tag::SEQUENCE, &[oid, tlv(tag, value)].concat())
}

/// A name of relative names with one attribute each.
pub(crate) fn name(parts: &[(u8, u8, &str)]) -> Vec<u8> {
    let sets = parts
        .iter()
        .map(|(arc, tag, value)| tlv(tag::SET, &one(*arc, *tag, value.as_bytes())));
    tlv(tag::SEQUENCE, &sets.collect::<Vec<_>>().concat())
}

fn parse(bytes: &[u8]) -> Result<DistinguishedName<'_>, der::Error> {
    let mut reader = Reader::new(bytes);
    let name = DistinguishedName::parse(&mut reader)?;
    reader.finish()?;
    Ok(name)
}

const UTF8: u8 = tag::UTF8_STRING;
const PRINTABLE: u8 = tag::PRINTABLE_STRING;

#[test]
fn text_lets_nothing_dangerous_out() {
    type Parts<'a> = &'a [(u8, u8, &'a str)];
    let cases: &[(Parts<'_>, &str)] = &[
        (&[], "(empty name)"),
        (
            &[
                (6, PRINTABLE, "DE"),
                (10, UTF8, "Acme"),
                (3, UTF8, "etcd 1"),
            ],
            "CN=etcd 1,O=Acme,C=DE",
        ),
        (&[(3, UTF8, "a,b=c+d\\")], "CN=a\\,b=c\\+d\\\\"),
        (&[(3, UTF8, "x\n\u{1b}[31m\0")], "CN=x\\0a\\1b[31m\\00"),
        (
            &[(3, UTF8, "M\u{fc}ller \u{202e}gro")],
            "CN=M\\c3\\bcller \\e2\\80\\aegro",
        ),
        // Letters that are not seen or run from right to left.
        (&[(3, UTF8, "\u{3164}")], "CN=\\e3\\85\\a4"),
        (&[(3, UTF8, "\u{5d0}x")], "CN=\\d7\\90x"),
        (&[(3, UTF8, "\u{85}\u{a0}x")], "CN=x"),
        (&[(3, tag::TELETEX_STRING, "\u{7}")], "CN=\\07"),
        (&[(3, tag::BMP_STRING, "\0e\0t\0c\0d")], "CN=etcd"),
        (&[(3, tag::BMP_STRING, "\0e\0")], "CN=#1e006500"),
        (&[(3, tag::BOOLEAN, "1")], "CN=#0131"),
        (&[(99, UTF8, "v")], "2.5.4.99=v"),
    ];
    for (parts, text) in cases {
        assert_eq!(parse(&name(parts)).unwrap().to_string(), *text);
    }
    let long = "y".repeat(100);
    let many = [(3, UTF8, long.as_str()); 1];
    let one_name = name(&many)[2..].to_vec();
    let sets = [&one_name[..]; 40].concat();
    let shown = DistinguishedName(&sets).to_string();
    assert!(
        shown.len() == MAX_TEXT + 3 && shown.ends_with("..."),
        "{shown}"
    );
}

#[test]
fn comparisons_are_charged_by_length() {
    let long = |last: char| "y".repeat(99) + &last.to_string();
    // The values, and how many comparisons of them the budget allows.
    let cases = [
        ("a".to_owned(), "b".to_owned(), 250_000),
        (long('a'), long('b'), 250_000 / 4),
    ];
    for (own, base, allowed) in cases {
        let (own, base) = (name(&[(3, UTF8, &own)]), name(&[(3, UTF8, &base)]));
        let (own, base) = (parse(&own).unwrap(), parse(&base).unwrap());
        let mut budget = Budget::new();
        for _ in 0..allowed {
            assert_eq!(own.is_within(base, false, &mut budget), Ok(false));
        }
        let exhausted = own.is_within(base, false, &mut budget);
        assert!(matches!(exhausted, Err(Error::BudgetExhausted { .. })));
    }
    let relative_name = name(&[(3, UTF8, "a")])[2..].to_vec();
    let many = relative_name.repeat(250_001);
    let exhausted = DistinguishedName(&many).has_email_address(&mut Budget::new());
    assert!(matches!(exhausted, Err(Error::BudgetExhausted { .. })));
}

#[test]
fn malformed_names() {
    let good = name(&[(3, UTF8, "a"), (10, PRINTABLE, "b")]);
    for end in 0..good.len() {
        assert!(parse(&good[..end]).is_err(), "{end}");
    }
    let empty_set = tlv(tag::SEQUENCE, &tlv(tag::SET, &[]));
    assert_eq!(parse(&empty_set), Err(der::Error::Truncated));
    let value_missing = tlv(tag::SEQUENCE, &tlv(tag::OID, &[0x55]));
    let name = tlv(tag::SEQUENCE, &tlv(tag::SET, &value_missing));
    assert_eq!(parse(&name), Err(der::Error::Truncated));
}

#[test]
fn subtrees() {
    // With what decides a doubt as no and as yes.
    const YES: [bool; 2] = [true; 2];
    const NO: [bool; 2] = [false; 2];
    const DOUBT: [bool; 2] = [false, true];
    type Parts<'a> = &'a [(u8, u8, &'a str)];
    let cases: &[(Parts<'_>, Parts<'_>, [bool; 2])] = &[
        (&[(10, UTF8, "Acme"), (3, UTF8, "x")], &[], YES),
        (
            &[(10, UTF8, "Acme"), (3, UTF8, "x")],
            &[(10, UTF8, "Acme")],
            YES,
        ),
        (
            &[(10, UTF8, "Acme")],
            &[(10, UTF8, "Acme"), (3, UTF8, "x")],
            NO,
        ),
        (
            &[(3, UTF8, "x"), (10, UTF8, "Acme")],
            &[(10, UTF8, "Acme")],
            NO,
        ),
        (
            &[(10, PRINTABLE, " ACME \t Inc ")],
            &[(10, UTF8, "acme inc")],
            YES,
        ),
        (&[(10, UTF8, "Acme")], &[(10, UTF8, "Acm")], NO),
        (&[(10, UTF8, "Acme Inc")], &[(10, UTF8, "AcmeInc")], NO),
        (&[(10, UTF8, "\u{fc}")], &[(10, UTF8, "\u{fc}")], YES),
        (&[(10, UTF8, "\u{fc}")], &[(10, UTF8, "u\u{308}")], DOUBT),
        // A fullwidth A folds to an ASCII one under RFC 4518.
        (&[(10, UTF8, "\u{ff21}")], &[(10, UTF8, "A")], DOUBT),
        (&[(10, tag::BMP_STRING, "\0A")], &[(10, UTF8, "A")], DOUBT),
        (&[(11, UTF8, "Acme")], &[(10, UTF8, "Acme")], NO),
        // RFC 4518, section 2.2: controls are dropped, a vertical tab is a blank.
        (&[(10, UTF8, "Ac\u{7f}me")], &[(10, UTF8, "Acme")], DOUBT),
        (&[(10, UTF8, "Acme\u{b}")], &[(10, UTF8, "Acme")], DOUBT),
    ];
    for (own, base, expected) in cases {
        let (own, base) = (name(own), name(base));
        let (own, base) = (parse(&own).unwrap(), parse(&base).unwrap());
        let got = [false, true].map(|doubt| own.is_within(base, doubt, &mut Budget::new()));
        assert_eq!(got, expected.map(Ok), "{own} within {base}");
    }
    // Sets of two: equal, reordered by case, of other sizes.
    let set = |parts: &[(u8, &str)]| {
        let attributes = parts.iter().map(|(arc, v)| one(*arc, UTF8, v.as_bytes()));
        tlv(
            tag::SEQUENCE,
            &tlv(tag::SET, &attributes.collect::<Vec<_>>().concat()),
        )
    };
    let within = |a: &[u8], b: &[u8]| {
        let (a, b) = (parse(a).unwrap(), parse(b).unwrap());
        [false, true].map(|doubt| a.is_within(b, doubt, &mut Budget::new()).unwrap())
    };
    let two = set(&[(3, "a"), (10, "b")]);
    assert_eq!(within(&two, &set(&[(3, "A"), (10, "B")])), YES);
    assert_eq!(within(&two, &set(&[(10, "b"), (3, "a")])), DOUBT);
    assert_eq!(within(&two, &set(&[(3, "a")])), NO);
    assert_eq!(within(&set(&[(3, "a")]), &two), NO);
}

#[test]
fn email_address() {
    let oid = tlv(tag::OID, EMAIL_ADDRESS);
    let value = tlv(tag::IA5_STRING, b"a@b");
    let attribute = tlv(tag::SEQUENCE, &[oid, value].concat());
    let with = tlv(tag::SEQUENCE, &tlv(tag::SET, &attribute));
    assert!(
        parse(&with)
            .unwrap()
            .has_email_address(&mut Budget::new())
            .unwrap()
    );
    assert_eq!(parse(&with).unwrap().to_string(), "emailAddress=a@b");
    assert!(
        !parse(&name(&[(3, UTF8, "a@b")]))
            .unwrap()
            .has_email_address(&mut Budget::new())
            .unwrap()
    );
}
