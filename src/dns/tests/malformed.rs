//! Replies with a good answer section and an error elsewhere: real name servers, and devices in front of
//! them, send these, and Go and the C library accept them.

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Instant;

use super::fake::{A, Act, Asked, Net, script};
use super::{AMPLE, Bench, ips};
use crate::dns::Class;
use crate::dns::name::DecodeError;

const OPT: [u8; 11] = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];

/// The position in a message of the low octets of the counts of answers and additional records.
const ANCOUNT: usize = 7;
const ARCOUNT: usize = 11;

/// A good reply, for SRV with the target's address.
fn whole(asked: &Asked) -> Vec<u8> {
    let reply = asked.reply();
    match asked.qtype {
        A => reply.a(&asked.name, 60, "192.0.2.1").bytes,
        _ => {
            let reply = reply.srv(&asked.name, 60, [0, 0, 2379], "m1.example");
            reply.record(2, "m1.example", A, 60, &[192, 0, 2, 1]).bytes
        }
    }
}

/// Adds to the length of the answer's data, and octets to the data.
fn longer_data(asked: &Asked, more: u8, octets: &[u8]) -> Vec<u8> {
    let reply = asked.reply();
    let data_length = reply.bytes.len() + asked.name.len() + 1 + 9;
    let mut bytes = match asked.qtype {
        A => reply.a(&asked.name, 60, "192.0.2.1").bytes,
        _ => reply.srv(&asked.name, 60, [0, 0, 2379], "m1.example").bytes,
    };
    bytes[data_length] += more;
    bytes.extend(octets);
    bytes
}

/// With an OPT record counted as an answer, before or after the others.
fn opt_in_answer(asked: &Asked, in_front: bool) -> Vec<u8> {
    let mut bytes = whole(asked);
    let question_end = asked.reply().bytes.len();
    let answers_end = match asked.qtype {
        A => bytes.len(),
        _ => bytes.len() - 26,
    };
    bytes[ANCOUNT] += 1;
    let at = if in_front { question_end } else { answers_end };
    bytes.splice(at..at, OPT);
    bytes
}

type Change = fn(&Asked) -> Vec<u8>;

/// The name of each reply, how it differs from a good one, and the error, if it is refused.
const CASES: &[(&str, Change, Option<DecodeError>)] = &[
    ("whole", whole, None),
    (
        "trailing",
        |asked| [whole(asked), vec![0; 2]].concat(),
        None,
    ),
    ("vmware", |asked| [whole(asked), vec![0; 8]].concat(), None),
    (
        "trailing, as long as a record",
        |asked| [whole(asked), vec![0; 22]].concat(),
        None,
    ),
    (
        "arcount-lie",
        |asked| {
            let mut bytes = whole(asked);
            bytes[ARCOUNT] += 1;
            bytes
        },
        None,
    ),
    (
        "badadd",
        |asked| {
            let mut bytes = [whole(asked), OPT[..7].to_vec()].concat();
            bytes[ARCOUNT] += 1;
            bytes
        },
        None,
    ),
    (
        "addbadname",
        |asked| {
            let mut bytes = [whole(asked), vec![0x80, 1, 0], OPT.to_vec()].concat();
            bytes[ARCOUNT] += 2;
            bytes
        },
        None,
    ),
    (
        "optnonroot",
        |asked| {
            let mut bytes = [whole(asked), vec![0xc0, 12], OPT[1..].to_vec()].concat();
            bytes[ARCOUNT] += 1;
            bytes
        },
        None,
    ),
    (
        "opttwice",
        |asked| {
            let mut bytes = [whole(asked), OPT.to_vec(), OPT.to_vec()].concat();
            bytes[ARCOUNT] += 2;
            bytes
        },
        None,
    ),
    ("optinanswer", |asked| opt_in_answer(asked, false), None),
    (
        "optinanswer, in front",
        |asked| opt_in_answer(asked, true),
        None,
    ),
    (
        "rdlen one too long",
        |asked| longer_data(asked, 1, &[]),
        Some(DecodeError::TRUNCATED),
    ),
    (
        "rdlen, srvtrailrd",
        |asked| longer_data(asked, 2, &[0, 0]),
        Some(DecodeError::RDATA_LENGTH),
    ),
    (
        "ancount-lie",
        |asked| {
            let mut bytes = whole(asked);
            bytes[ANCOUNT] += 2;
            bytes
        },
        Some(DecodeError::TRUNCATED),
    ),
    (
        "no answer counted",
        |asked| {
            let mut bytes = whole(asked);
            bytes[ANCOUNT] = 0;
            bytes
        },
        Some(DecodeError::DISPLACED),
    ),
];

#[track_caller]
fn check<T: Debug + PartialEq>(
    what: &str,
    found: Result<T, Class>,
    expected: T,
    error: Option<DecodeError>,
) {
    let expected = error.map_or(Ok(expected), |error| Err(Class::Malformed(error)));
    assert_eq!(found, expected, "{what}");
}

#[test]
fn errors_outside_the_answers_keep_the_answer() {
    for (what, change, error) in CASES {
        for edns in ["", "options use-vc"] {
            let net = Net::new(vec![script(|asked| vec![Act::Send(change(asked))])]);
            let bench = Bench::new(net, &format!("{edns}\noptions no-aaaa attempts:1"));
            let addresses = ips(&["192.0.2.1"]).unwrap();
            check(what, bench.host("a.example"), addresses, *error);
            let found = bench.srv("_s._tcp.example").map_err(|error| error.class);
            let found = found.map(|found| {
                let targets = found.data.iter().map(|srv| srv.target.to_string());
                targets.collect::<Vec<_>>()
            });
            check(what, found, vec!["m1.example.".to_owned()], *error);
        }
    }
}

/// Also for a negative answer.
#[test]
fn errors_outside_the_answers_keep_a_negative_answer_definite() {
    let net = Net::new(vec![script(|asked| match asked.qtype {
        A => vec![Act::Send([whole(asked), vec![0; 8]].concat())],
        _ => {
            let mut bytes = asked.reply().soa("example", 60, 60).bytes;
            bytes[ARCOUNT] = 1;
            vec![Act::Send(bytes)]
        }
    })]);
    let bench = Bench::new(net, "");
    let until = Instant::now() + AMPLE;
    let found = bench.resolver.lookup_host("a.example", until).unwrap();
    assert_eq!(found.data, [IpAddr::from([192, 0, 2, 1])]);
    assert_eq!(found.missing, None);
}
