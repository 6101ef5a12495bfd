//! Replies recorded on loopback from NSD 4.6.1, Unbound 1.17.1 and dnsmasq 2.90, byte for byte, to
//! queries that the resolver composed with the id [`ID`].

use super::super::message::{Message, Query, Question, parse_reply};
use super::super::name::DecodeError;
use super::super::name::Name;
use super::super::record::{Data, Frame, Record, Type};
use crate::wire::Reader;

/// The id of all recorded queries.
pub(super) const ID: u16 = 0x1234;

/// One recorded reply.
pub(super) struct Fixture {
    /// Which server sent it, and what is special about it.
    pub(super) what: &'static str,
    /// The question.
    pub(super) owner: &'static str,
    pub(super) qtype: Type,
    /// Whether the query offered EDNS.
    pub(super) edns: bool,
    hex: &'static str,
    /// What it says: RCODE or `truncated`, `aa` if authoritative, `ra` if recursive, then a line
    /// for each record of the answer section and, after `--`, of the authority section.
    pub(super) says: &'static str,
}

impl Fixture {
    /// The reply.
    pub(super) fn bytes(&self) -> Vec<u8> {
        bytes(self.hex)
    }

    /// The question.
    pub(super) fn question(&self) -> Question {
        Question {
            name: Name::from_text(self.owner).unwrap().0,
            qtype: self.qtype,
        }
    }

    /// The query it answers.
    pub(super) fn query<'a>(&self, question: &'a Question) -> Query<'a> {
        Query {
            id: ID,
            question,
            edns: self.edns,
        }
    }
}

/// Octets from hexadecimal digits; white space is ignored.
pub(in super::super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// A reply in the form of [`Fixture::says`].
pub(in super::super) fn says(message: &Message) -> String {
    if message.truncated {
        return "truncated".to_owned();
    }
    let mut text = message.rcode.to_string();
    if message.authoritative {
        text.push_str(" aa");
    }
    if message.recursion_available {
        text.push_str(" ra");
    }
    for record in &message.answers {
        text.push_str(&line(record));
    }
    if !message.authorities.is_empty() {
        text.push_str("\n--");
    }
    for record in &message.authorities {
        text.push_str(&line(record));
    }
    text
}

fn line(record: &Record) -> String {
    let Record { owner, ttl, data } = record;
    match data {
        Data::A(ip) => format!("\n{owner} {ttl} A {ip}"),
        Data::Aaaa(ip) => format!("\n{owner} {ttl} AAAA {ip}"),
        Data::Srv(srv) => format!(
            "\n{owner} {ttl} SRV {} {} {} {}",
            srv.priority, srv.weight, srv.port, srv.target
        ),
        Data::Cname(target) => format!("\n{owner} {ttl} CNAME {target}"),
        Data::Soa { minimum } => format!("\n{owner} {ttl} SOA {minimum}"),
    }
}

const HEADER: usize = 12;

#[test]
fn recorded_replies() {
    for fixture in FIXTURES {
        let question = fixture.question();
        let reply = parse_reply(&fixture.bytes(), &fixture.query(&question));
        let says = reply.map(|reply| reply.map(|reply| says(&reply)));
        assert_eq!(says, Some(Ok(fixture.says.to_owned())), "{}", fixture.what);
    }
}

/// Each truncation: not a reply while the question is incomplete, then malformed while the authority
/// section is incomplete, unless it is a failure, of which only the code is used. Octets cut off after
/// that, or added, change nothing.
#[test]
fn truncation_sweep() {
    for fixture in FIXTURES {
        let (bytes, question) = (fixture.bytes(), fixture.question());
        let query = fixture.query(&question);
        let question_end = HEADER + question.name.as_wire().len() + 4;
        let mut needed = Reader::new(&bytes).at(question_end).unwrap();
        for _ in 0..bytes[7] + bytes[9] {
            assert!(Frame::parse(&mut needed).is_ok());
        }
        let parse =
            |bytes: &[u8]| parse_reply(bytes, &query).map(|reply| reply.map(|reply| says(&reply)));
        // The TC bit is read before everything else.
        let from_header = fixture.says == "truncated" || !matches!(bytes[3] & 0x0f, 0 | 3);
        let whole = Ok(fixture.says.to_owned());
        for length in 0..bytes.len() {
            let is_reply = length >= question_end;
            let expected = is_reply.then(|| match from_header || length >= needed.position() {
                true => whole.clone(),
                false => Err(DecodeError::TRUNCATED),
            });
            assert_eq!(
                parse(&bytes[..length]),
                expected,
                "{} cut to {length}",
                fixture.what
            );
        }
        for more in 1..40 {
            let longer = [&bytes[..], &vec![0; more]].concat();
            assert_eq!(parse(&longer), Some(whole.clone()), "{}", fixture.what);
        }
    }
}

/// Every bit of every octet inverted, and octets with a meaning in names: never a panic, and never
/// accepted if the id, the direction, the operation or the question was changed.
#[test]
fn single_octet_sweep() {
    for fixture in FIXTURES {
        let (mut bytes, question) = (fixture.bytes(), fixture.question());
        let query = fixture.query(&question);
        let name_end = HEADER + question.name.as_wire().len();
        for position in 0..bytes.len() {
            let original = bytes[position];
            let flips = (0..8).map(|bit| original ^ (1 << bit));
            for value in flips.chain([0x00, 0x01, 0x3f, 0x40, 0xc0, 0xff]) {
                bytes[position] = value;
                let accepted = parse_reply(&bytes, &query).is_some();
                let same = value == original;
                let expected = match position {
                    0 | 1 => Some(same),
                    2 => Some((value ^ original) & 0xf8 == 0),
                    // Without a question only an error is a reply.
                    5 => (value != 0).then_some(same),
                    4 => Some(same),
                    _ if position < HEADER => None,
                    _ if position < name_end => Some(value.eq_ignore_ascii_case(&original)),
                    _ if position < name_end + 4 => Some(same),
                    _ => Some(true),
                };
                if let Some(expected) = expected {
                    let what = fixture.what;
                    assert_eq!(accepted, expected, "{what}: {value:#x} at {position}");
                }
            }
            bytes[position] = original;
        }
    }
}

pub(super) const FIXTURES: &[Fixture] = &[
    Fixture {
        what: "nsd: compressed owners, targets not; NS and addresses along",
        owner: "_etcd-client._tcp.etcd.test",
        qtype: Type::SRV,
        edns: true,
        hex: "1234850000010003000100050c5f657463642d636c69656e74045f74637004657463640474657374 \
              0000210001c00c002100010000007800140000003c094b026d310465746364047465737400c00c00 \
              2100010000007800140000001e094b026d320465746364047465737400c00c002100010000007800 \
              14000a0000094c026d330465746364047465737400c01e000200010000012c0005026e73c01e026d \
              31c01e000100010000012c0004c0000201026d32c01e000100010000012c0004c0000202c0990001 \
              00010000012c0004c0000235c0b1001c00010000012c001020010db8000000000000000000000002 \
              00002904d0000000000000",
        says: "0 aa\n\
               _etcd-client._tcp.etcd.test. 120 SRV 0 60 2379 m1.etcd.test.\n\
               _etcd-client._tcp.etcd.test. 120 SRV 0 30 2379 m2.etcd.test.\n\
               _etcd-client._tcp.etcd.test. 120 SRV 10 0 2380 m3.etcd.test.",
    },
    Fixture {
        what: "nsd: an alias and its address",
        owner: "m3.etcd.test",
        qtype: Type::A,
        edns: true,
        hex: "123485000001000200010002026d33046574636404746573740000010001c00c000500010000001e \
              000805616c696173c00fc02a000100010000012c0004c0000203c00f000200010000012c0005026e \
              73c00fc04e000100010000012c0004c000023500002904d0000000000000",
        says: "0 aa\n\
               m3.etcd.test. 30 CNAME alias.etcd.test.\n\
               alias.etcd.test. 300 A 192.0.2.3",
    },
    Fixture {
        what: "nsd: an alias to a name without such data",
        owner: "m3.etcd.test",
        qtype: Type::AAAA,
        edns: true,
        hex: "123485000001000100010001026d330465746364047465737400001c0001c00c000500010000001e \
              000805616c696173c00fc00f000600010000003c0026026e73c00f0a686f73746d6173746572c00f \
              0000000100000e1000000258000151800000003c00002904d0000000000000",
        says: "0 aa\n\
               m3.etcd.test. 30 CNAME alias.etcd.test.\n\
               --\n\
               etcd.test. 60 SOA 60",
    },
    Fixture {
        what: "nsd: NXDOMAIN with SOA",
        owner: "nope.etcd.test",
        qtype: Type::A,
        edns: false,
        hex: "123485030001000000010000046e6f7065046574636404746573740000010001c011000600010000 \
              003c0026026e73c0110a686f73746d6173746572c0110000000100000e1000000258000151800000 \
              003c",
        says: "3 aa\n\
               --\n\
               etcd.test. 60 SOA 60",
    },
    Fixture {
        what: "nsd: the service is decidedly absent",
        owner: "absent.etcd.test",
        qtype: Type::SRV,
        edns: true,
        hex: "12348500000100010001000206616273656e74046574636404746573740000210001c00c00210001 \
              0000012c000700000000000000c013000200010000012c0005026e73c013c041000100010000012c \
              0004c000023500002904d0000000000000",
        says: "0 aa\n\
               absent.etcd.test. 300 SRV 0 0 0 .",
    },
    Fixture {
        what: "nsd: an alias that leaves the zone",
        owner: "out.etcd.test",
        qtype: Type::A,
        edns: false,
        hex: "123485000001000100000000036f7574046574636404746573740000010001c00c00050001000001 \
              2c001103777777076578616d706c65036f726700",
        says: "0 aa\n\
               out.etcd.test. 300 CNAME www.example.org.",
    },
    Fixture {
        what: "nsd: a referral: lame for a stub resolver",
        owner: "x.sub.etcd.test",
        qtype: Type::A,
        edns: true,
        hex: "123481000001000000010002017803737562046574636404746573740000010001c00e0002000100 \
              00012c0005026e73c00ec02d000100010000012c0004c000026300002904d0000000000000",
        says: "0",
    },
    Fixture {
        what: "nsd: REFUSED",
        owner: "elsewhere.test",
        qtype: Type::A,
        edns: true,
        hex: "12348105000100000000000109656c736577686572650474657374000001000100002904d0000000 \
              000006000f00020014",
        says: "5",
    },
    Fixture {
        what: "nsd: truncated",
        owner: "_big._tcp.etcd.test",
        qtype: Type::SRV,
        edns: true,
        hex: "123487000001000000000001045f626967045f746370046574636404746573740000210001000029 \
              04d0000000000000",
        says: "truncated",
    },
    Fixture {
        what: "unbound: recursion",
        owner: "_etcd-client._tcp.etcd.test",
        qtype: Type::SRV,
        edns: true,
        hex: "1234818000010003000000010c5f657463642d636c69656e74045f74637004657463640474657374 \
              0000210001c00c002100010000007800140000003c094b026d310465746364047465737400c00c00 \
              2100010000007800140000001e094b026d320465746364047465737400c00c002100010000007800 \
              14000a0000094c026d33046574636404746573740000002904d0000000000000",
        says: "0 ra\n\
               _etcd-client._tcp.etcd.test. 120 SRV 0 60 2379 m1.etcd.test.\n\
               _etcd-client._tcp.etcd.test. 120 SRV 0 30 2379 m2.etcd.test.\n\
               _etcd-client._tcp.etcd.test. 120 SRV 10 0 2380 m3.etcd.test.",
    },
    Fixture {
        what: "unbound: no data, with SOA",
        owner: "m1.etcd.test",
        qtype: Type::AAAA,
        edns: true,
        hex: "123481800001000000010001026d310465746364047465737400001c0001c00f000600010000003c \
              0026026e73c00f0a686f73746d6173746572c00f0000000100000e1000000258000151800000003c \
              00002904d0000000000000",
        says: "0 ra\n\
               --\n\
               etcd.test. 60 SOA 60",
    },
    Fixture {
        what: "unbound: REFUSED",
        owner: "refused.example",
        qtype: Type::A,
        edns: true,
        hex: "1234858500010000000000010772656675736564076578616d706c65000001000100002904d00000 \
              00000000",
        says: "5 aa ra",
    },
    Fixture {
        what: "dnsmasq: additional addresses",
        owner: "_etcd-client._tcp.dm.test",
        qtype: Type::SRV,
        edns: true,
        hex: "1234858000010002000000040c5f657463642d636c69656e74045f74637002646d04746573740000 \
              210001c00c002100010000002d001200000014094b026d3202646d047465737400c00c0021000100 \
              00002d00120000000a094b026d3102646d047465737400c05b000100010000002d0004c0000201c0 \
              5b001c00010000002d001020010db8000000000000000000000001c03d000100010000002d0004c0 \
              00020200002904d0000000000000",
        says: "0 aa ra\n\
               _etcd-client._tcp.dm.test. 45 SRV 0 20 2379 m2.dm.test.\n\
               _etcd-client._tcp.dm.test. 45 SRV 0 10 2379 m1.dm.test.",
    },
    Fixture {
        what: "dnsmasq: an IPv6 address",
        owner: "m1.dm.test",
        qtype: Type::AAAA,
        edns: false,
        hex: "123485800001000100000000026d3102646d047465737400001c0001c00c001c00010000002d0010 \
              20010db8000000000000000000000001",
        says: "0 aa ra\n\
               m1.dm.test. 45 AAAA 2001:db8::1",
    },
    Fixture {
        what: "dnsmasq: no data, without SOA",
        owner: "m2.dm.test",
        qtype: Type::AAAA,
        edns: true,
        hex: "123481800001000000000001026d3202646d047465737400001c000100002904d0000000000000",
        says: "0 ra",
    },
    Fixture {
        what: "dnsmasq: an alias alone, without SOA",
        owner: "m3.dm.test",
        qtype: Type::SRV,
        edns: true,
        hex: "123485800001000100000001026d3302646d04746573740000210001c00c000500010000002d000c \
              026d3102646d04746573740000002904d0000000000000",
        says: "0 aa ra\n\
               m3.dm.test. 45 CNAME m1.dm.test.",
    },
    Fixture {
        what: "dnsmasq: REFUSED, with an EDNS option",
        owner: "elsewhere.example",
        qtype: Type::A,
        edns: true,
        hex: "12348185000100000000000109656c73657768657265076578616d706c65000001000100002904d0 \
              000000000006000f0002000e",
        says: "5 ra",
    },
];
