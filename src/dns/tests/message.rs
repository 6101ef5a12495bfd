//! Queries byte for byte, replies of all kinds, and bytes that are not a reply.

#![allow(clippy::panic)]

use super::fixtures::{bytes, says};
use crate::dns::message::*;
use crate::dns::name::DecodeError;
use crate::dns::name::Name;
use crate::dns::record::Type;

fn question(name: &str, qtype: Type) -> Question {
    Question {
        name: Name::from_text(name).unwrap().0,
        qtype,
    }
}

/// The figures of RFC 1035 section 4.1 (header, question) and RFC 6891 section 6.1.2 (OPT).
#[test]
fn queries_byte_for_byte() {
    let question = question("_sip._tcp.Example.com", Type::SRV);
    let query = |edns| {
        Query {
            id: 0xbeef,
            question: &question,
            edns,
        }
        .compose()
    };
    let plain = "beef 0100 0001 0000 0000 0000
                 04 5f736970 04 5f746370 07 4578616d706c65 03 636f6d 00 0021 0001";
    assert_eq!(query(false), bytes(plain));
    let edns =
        plain.replacen("0000 0000 0000", "0000 0000 0001", 1) + "00 0029 04d0 00 00 0000 0000";
    assert_eq!(query(true), bytes(&edns));
}

/// The SRV records of RFC 2782's example zone, encoded as in RFC 1035 section 4.1.
#[test]
fn reply_with_the_records_of_rfc_2782() {
    let question = question("_foobar._tcp.example.com", Type::SRV);
    let query = Query {
        id: 7,
        question: &question,
        edns: true,
    };
    let reply = bytes(
        "0007 8580 0001 0004 0000 0002
         07 5f666f6f626172 04 5f746370 07 6578616d706c65 03 636f6d 00 0021 0001
         c00c 0021 0001 00000e10 0020 0000 0001 0009
             0c 6f6c642d736c6f772d626f78 07 6578616d706c65 03 636f6d 00
         c00c 0021 0001 00000e10 0015 0000 0003 0009
             0c 6e65772d666173742d626f78 c019
         c00c 0021 0001 00000e10 001d 0001 0000 0009
             09 73797361646d696e73 07 6578616d706c65 03 636f6d 00
         c00c 0021 0001 ffffffff 0007 0001 0000 0009 00
         c019 0001 0001 00000e10 0004 ac1e4f0a
         00 0029 1000 00 00 8000 0004 000a 0000",
    );
    let Some(Ok(reply)) = parse_reply(&reply, &query) else {
        panic!("{:?}", parse_reply(&reply, &query));
    };
    assert_eq!(
        says(&reply),
        "0 aa ra\n\
         _foobar._tcp.example.com. 3600 SRV 0 1 9 old-slow-box.example.com.\n\
         _foobar._tcp.example.com. 3600 SRV 0 3 9 new-fast-box.example.com.\n\
         _foobar._tcp.example.com. 3600 SRV 1 0 9 sysadmins.example.com.\n\
         _foobar._tcp.example.com. 0 SRV 1 0 9 ."
    );
}

#[test]
fn bytes_that_are_not_a_reply() {
    let question = question("a.example", Type::A);
    let query = Query {
        id: 7,
        question: &question,
        edns: true,
    };
    const QUESTION: &str = "01 61 07 6578616d706c65 00 0001 0001";
    let cases = [
        ("empty", String::new()),
        (
            "a header cut short",
            "0007 8180 0001 0000 0000 00".to_owned(),
        ),
        (
            "wrong id",
            format!("0008 8180 0001 0000 0000 0000 {QUESTION}"),
        ),
        (
            "our own query",
            format!("0007 0100 0001 0000 0000 0000 {QUESTION}"),
        ),
        (
            "a status reply",
            format!("0007 9180 0001 0000 0000 0000 {QUESTION}"),
        ),
        (
            "two questions",
            format!("0007 8180 0002 0000 0000 0000 {QUESTION} {QUESTION}"),
        ),
        (
            "no question, NOERROR",
            "0007 8180 0000 0000 0000 0000".to_owned(),
        ),
        (
            "no question, NXDOMAIN",
            "0007 8183 0000 0000 0000 0000".to_owned(),
        ),
        (
            "another name",
            "0007 8180 0001 0000 0000 0000 01 62 07 6578616d706c65 00 0001 0001".to_owned(),
        ),
        (
            "another type",
            "0007 8180 0001 0000 0000 0000 01 61 07 6578616d706c65 00 001c 0001".to_owned(),
        ),
        (
            "another class",
            "0007 8180 0001 0000 0000 0000 01 61 07 6578616d706c65 00 0001 0003".to_owned(),
        ),
        (
            "a question that points to itself",
            "0007 8180 0001 0000 0000 0000 c00c 0001 0001".to_owned(),
        ),
    ];
    for (what, hex) in cases {
        assert_eq!(parse_reply(&bytes(&hex), &query), None, "{what}");
    }
}

#[test]
fn replies_that_are_broken_or_odd() {
    let question = question("a.example", Type::A);
    let query = Query {
        id: 7,
        question: &question,
        edns: true,
    };
    let reply = |flags: &str, counts: &str, records: &str| {
        let hex =
            format!("0007 {flags} 0001 {counts} 01 61 07 6578616d706c65 00 0001 0001 {records}");
        parse_reply(&bytes(&hex), &query).map(|reply| reply.map(|reply| says(&reply)))
    };
    let malformed = |error| Some(Err(error));
    let fine = |text: &str| Some(Ok(text.to_owned()));
    let opt = "00 0029 0200 00000000 0000";
    let badvers = "00 0029 0200 01000000 0000";
    let good = "c00c 0001 0001 00000009 0004 c0000201";
    let cases = [
        (
            "A of 3 octets",
            "8180",
            "0001 0000 0000",
            "c00c 0001 0001 00000009 0003 c00002".to_owned(),
            malformed(DecodeError::TRUNCATED),
        ),
        (
            "A of 5 octets",
            "8180",
            "0001 0000 0000",
            "c00c 0001 0001 00000009 0005 c0000201 00".to_owned(),
            malformed(DecodeError::RDATA_LENGTH),
        ),
        (
            "A of 3 octets, more after it",
            "8180",
            "0002 0000 0000",
            "c00c 0001 0001 00000009 0003 c00002 c00c 0001 0001 00000009 0004 c0000201".to_owned(),
            malformed(DecodeError::RDATA_LENGTH),
        ),
        (
            "CNAME shorter than its data",
            "8180",
            "0001 0000 0000",
            "c00c 0005 0001 00000009 0004 01 62 00 00".to_owned(),
            malformed(DecodeError::RDATA_LENGTH),
        ),
        (
            "an octet behind the last record",
            "8180",
            "0001 0000 0000",
            "c00c 0005 0001 00000009 0003 01 62 00 00".to_owned(),
            fine("0 ra\na.example. 9 CNAME b."),
        ),
        (
            "CNAME that reads on into what follows",
            "8180",
            "0002 0000 0000",
            "c00c 0005 0001 00000009 0001 01 62 00 0005 0001 00000009 0001 00".to_owned(),
            malformed(DecodeError::RDATA_LENGTH),
        ),
        (
            "CNAME that points forward",
            "8180",
            "0001 0000 0000",
            "c00c 0005 0001 00000009 0002 c0ff".to_owned(),
            malformed(DecodeError::POINTER),
        ),
        (
            "owner that loops",
            "8180",
            "0001 0000 0000",
            "c01b 0001 0001 00000009 0004 c0000201".to_owned(),
            malformed(DecodeError::POINTER),
        ),
        (
            "SRV with a compressed target",
            "8180",
            "0001 0000 0000",
            "c00c 0021 0001 00000009 0008 0001 0002 0003 c00e".to_owned(),
            fine("0 ra\na.example. 9 SRV 1 2 3 example."),
        ),
        (
            "data of another class is not read",
            "8180",
            "0001 0000 0000",
            "c00c 0001 0003 00000009 0003 c00002".to_owned(),
            fine("0 ra"),
        ),
        (
            "data of an unknown type neither",
            "8180",
            "0001 0000 0000",
            "c00c fff0 0001 00000009 0003 c00002".to_owned(),
            fine("0 ra"),
        ),
        (
            "a count beyond the records",
            "8180",
            "ffff 0000 0000",
            "c00c 0001 0001 00000009 0004 c0000201".to_owned(),
            malformed(DecodeError::TRUNCATED),
        ),
        (
            "two OPT, of which the first counts",
            "8180",
            "0001 0000 0002",
            format!("{good} {badvers} {opt}"),
            fine("16 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "two OPT, of which the second does not",
            "8180",
            "0001 0000 0002",
            format!("{good} {opt} {badvers}"),
            fine("0 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "OPT not at the root",
            "8180",
            "0001 0000 0001",
            format!("{good} {}", badvers.replacen("00", "c00c", 1)),
            fine("0 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "OPT behind a record that cannot be read",
            "8180",
            "0001 0000 0002",
            format!("{good} 40 {badvers}"),
            fine("0 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "OPT beyond the count",
            "8180",
            "0001 0000 0000",
            format!("{good} {badvers}"),
            fine("0 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "upper bits of a failure, which no OPT makes a success",
            "8182",
            "0000 0000 0001",
            badvers.to_owned(),
            fine("18 ra"),
        ),
        (
            "OPT among the answers",
            "8180",
            "0002 0000 0001",
            format!("{opt} {good} {opt}"),
            fine("0 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "OPT in the authority section",
            "8180",
            "0001 0001 0000",
            format!("{good} {badvers}"),
            fine("0 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "OPT among the answers, one of which it displaces",
            "8180",
            "0001 0000 0001",
            format!("{opt} {good}"),
            malformed(DecodeError::DISPLACED),
        ),
        (
            "OPT among the answers, one of which is in the authority section",
            "8180",
            "0001 0001 0000",
            format!("{opt} {good}"),
            malformed(DecodeError::DISPLACED),
        ),
        (
            "OPT among the answers, one of which is beyond all counts",
            "8180",
            "0001 0000 0000",
            format!("{opt} {good}"),
            malformed(DecodeError::DISPLACED),
        ),
        (
            "a count of answers that is too low",
            "8180",
            "0001 0000 0000",
            format!("{good} {good}"),
            malformed(DecodeError::DISPLACED),
        ),
        (
            "the same where another section counts it",
            "8180",
            "0001 0000 0001",
            format!("{good} {good} {opt}"),
            malformed(DecodeError::DISPLACED),
        ),
        (
            "an alias whose address is beyond the count",
            "8180",
            "0001 0000 0000",
            "c00c 0005 0001 00000009 0002 c00e c00e 0001 0001 00000009 0004 c0000201".to_owned(),
            malformed(DecodeError::DISPLACED),
        ),
        (
            "an address of another name beyond the count",
            "8180",
            "0001 0000 0000",
            format!("{good} c00e 0001 0001 00000009 0004 c0000202"),
            fine("0 ra\na.example. 9 A 192.0.2.1"),
        ),
        (
            "an error in the authority section",
            "8180",
            "0001 0001 0000",
            format!("{good} c00c 0006 0001 00000009 0002 0000"),
            malformed(DecodeError::TRUNCATED),
        ),
        (
            "FORMERR with the counts of the query, but without its OPT",
            "8181",
            "0000 0000 0001",
            String::new(),
            fine("1 ra"),
        ),
        (
            "REFUSED with octets left over",
            "8185",
            "0000 0000 0000",
            opt.to_owned(),
            fine("5 ra"),
        ),
        (
            "NXDOMAIN with octets left over",
            "8183",
            "0000 0000 0000",
            opt.to_owned(),
            fine("3 ra"),
        ),
        (
            "BADVERS",
            "8180",
            "0000 0000 0001",
            badvers.to_owned(),
            fine("16 ra"),
        ),
        (
            "truncated",
            "8380",
            "0005 0000 0000",
            "ffff".to_owned(),
            fine("truncated"),
        ),
    ];
    for (what, flags, counts, records, expected) in cases {
        assert_eq!(reply(flags, counts, &records), expected, "{what}");
    }
    let header =
        |flags: &str| parse_reply(&bytes(&format!("0007 {flags} 0000 0000 0000 0000")), &query);
    for rcode in [NOERROR, NXDOMAIN] {
        assert_eq!(header(&format!("818{rcode}")), None, "RCODE {rcode}");
    }
    for rcode in [FORMERR, SERVFAIL, NOTIMP, REFUSED] {
        let reply = header(&format!("818{rcode}"));
        let Some(Ok(message)) = reply else {
            panic!("RCODE {rcode} without a question: {reply:?}");
        };
        assert_eq!(message.rcode, rcode);
    }
}
