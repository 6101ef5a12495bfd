//! DNS messages: composes a query, parses the reply to it (RFC 1035 section 4, RFC 2782 for SRV,
//! RFC 3596 for AAAA, RFC 6891 for EDNS).
//!
//! Pure: bytes in, values out. [`parse_reply`] first decides whether bytes are a reply to this
//! query at all, from the header and the question alone; only then are records read, and a reply
//! that is ours but broken is an error of the server, not something to ignore. A message is taken
//! whole or not at all: no record is used from one that has a flaw anywhere, and trailing bytes
//! are a flaw. Of a failure only the code counts, whatever follows. What the resolver does not ask
//! for is checked for its frame and dropped. The additional section yields nothing but the EDNS
//! fields.

use super::name::Name;
pub(crate) use super::record::Error;
use super::record::{self, CLASS_IN, Frame, Record, Type};
use crate::wire::{self, Reader};

/// The UDP payload offered with EDNS: what passes without fragments over any IPv6 path (1280
/// octets less IPv6 and UDP headers), the number agreed on for DNS flag day 2020.
const EDNS_PAYLOAD: u16 = 1232;

/// Bits and fields of the second header word (RFC 1035 section 4.1.1).
const FLAG_QR: u16 = 0x8000;
const MASK_OPCODE: u16 = 0x7800;
const FLAG_AA: u16 = 0x0400;
const FLAG_TC: u16 = 0x0200;
const FLAG_RD: u16 = 0x0100;
const FLAG_RA: u16 = 0x0080;
const MASK_RCODE: u16 = 0x000f;

/// RCODE of a complete answer.
pub(crate) const NOERROR: u16 = 0;
/// RCODE of a server that could not read the query.
pub(crate) const FORMERR: u16 = 1;
/// RCODE of a server that has no answer at present.
pub(crate) const SERVFAIL: u16 = 2;
/// RCODE of a name that does not exist.
pub(crate) const NXDOMAIN: u16 = 3;
/// RCODE of a server that does not know this kind of query.
pub(crate) const NOTIMP: u16 = 4;
/// RCODE of a server that does not answer us.
pub(crate) const REFUSED: u16 = 5;
/// Extended RCODE of a server that knows EDNS, but not version 0 (RFC 6891 section 9).
pub(crate) const BADVERS: u16 = 16;

/// A question of class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The owner of the records sought.
    pub(crate) name: Name,
    /// Their type.
    pub(crate) qtype: Type,
}

/// A query as it is sent, kept to know its reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    /// Drawn at random for this query.
    pub(crate) id: u16,
    /// The one question.
    pub(crate) question: &'a Question,
    /// Whether an OPT record goes along.
    pub(crate) edns: bool,
}

impl Query<'_> {
    /// The message, recursion desired.
    pub(crate) fn compose(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [self.id, FLAG_RD, 1, 0, 0, u16::from(self.edns)] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(self.question.name.as_wire());
        for word in [self.question.qtype.code(), CLASS_IN] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        if self.edns {
            out.push(0); // owner: the root
            // The class is the payload size; the TTL is extended RCODE, version 0 and flags.
            for word in [record::TYPE_OPT, EDNS_PAYLOAD, 0, 0, 0] {
                out.extend_from_slice(&word.to_be_bytes());
            }
        }
        out
    }
}

/// A complete reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The RCODE with the upper bits that EDNS adds.
    pub(crate) rcode: u16,
    /// The server has the zone.
    pub(crate) authoritative: bool,
    /// The server asks others for us.
    pub(crate) recursion_available: bool,
    /// Answer section; types that the resolver does not know are left out.
    pub(crate) answers: Vec<Record>,
    /// Authority section, likewise.
    pub(crate) authorities: Vec<Record>,
}

/// What a server replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// All of it.
    Complete(Message),
    /// The TC bit is set: whatever records came along are not looked at (RFC 2181 section 9).
    Truncated,
}

/// Reads a reply to `query`. `None` means that these bytes are not one and should be treated as
/// if they had not come: wrong id, a query, another operation, another question.
///
/// A server that cannot read a query, or will not answer it, may send a header alone, as Unbound
/// does to whom it refuses. That is taken as a reply if it is a failure: it says nothing of any name.
pub(crate) fn parse_reply(bytes: &[u8], query: &Query<'_>) -> Option<Result<Reply, Error>> {
    let mut reader = Reader::new(bytes);
    let header = Header::parse(&mut reader).ok()?;
    if header.id != query.id || header.flags & (FLAG_QR | MASK_OPCODE) != FLAG_QR {
        return None;
    }
    match header.questions {
        0 if header.is_failure() => {}
        1 => {
            let name = Name::parse(&mut reader).ok()?;
            let [qtype, class] = [reader.u16().ok()?, reader.u16().ok()?];
            let asked = query.question;
            if name != asked.name || qtype != asked.qtype.code() || class != CLASS_IN {
                return None;
            }
        }
        _ => return None,
    }
    if header.flags & FLAG_TC != 0 {
        return Some(Ok(Reply::Truncated));
    }
    let message = match parse_sections(&header, &mut reader) {
        // Of a failure nothing but its code is used. Some servers send the counts of the query
        // along with it and not its records, others octets that no count speaks of.
        Err(_) if header.is_failure() => Ok(header.message()),
        message => message,
    };
    Some(message.map(Reply::Complete))
}

/// The header, its words in order.
struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Header {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, wire::Error> {
        Ok(Self {
            id: reader.u16()?,
            flags: reader.u16()?,
            questions: reader.u16()?,
            answers: reader.u16()?,
            authorities: reader.u16()?,
            additionals: reader.u16()?,
        })
    }

    /// Whether it says nothing of the name.
    fn is_failure(&self) -> bool {
        !matches!(self.flags & MASK_RCODE, NOERROR | NXDOMAIN)
    }

    /// What it says by itself.
    fn message(&self) -> Message {
        Message {
            rcode: self.flags & MASK_RCODE,
            authoritative: self.flags & FLAG_AA != 0,
            recursion_available: self.flags & FLAG_RA != 0,
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }
}

/// All that follows the question.
fn parse_sections(header: &Header, reader: &mut Reader<'_>) -> Result<Message, Error> {
    let mut message = Message {
        answers: record::parse_section(reader, header.answers)?,
        authorities: record::parse_section(reader, header.authorities)?,
        ..header.message()
    };
    let mut opt_seen = false;
    for _ in 0..header.additionals {
        let frame = Frame::parse(reader)?;
        if frame.rtype != record::TYPE_OPT {
            continue;
        }
        if opt_seen || !frame.owner.is_root() {
            return Err(Error::BadOpt);
        }
        opt_seen = true;
        // RFC 6891 section 6.1.3: the first octet of the TTL is the upper part of the RCODE.
        let [upper, ..] = frame.ttl.to_be_bytes();
        message.rcode |= u16::from(upper) << 4;
    }
    reader.finish()?;
    Ok(message)
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]
mod tests {
    use super::super::tests::fixtures::{bytes, says};
    use super::*;
    use crate::dns::name;

    fn question(name: &str, qtype: Type) -> Question {
        Question {
            name: Name::from_text(name).unwrap().0,
            qtype,
        }
    }

    /// The figures of RFC 1035 section 4.1 (header, question) and RFC 6891 section 6.1.2 (OPT).
    #[test]
    fn queries_byte_for_byte() {
        let question = question("_sip._tcp.Example.com", Type::Srv);
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

    /// The SRV records of RFC 2782's example zone, as RFC 1035 section 4.1 puts them on the wire.
    #[test]
    fn reply_with_the_records_of_rfc_2782() {
        let question = question("_foobar._tcp.example.com", Type::Srv);
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
    fn bytes_that_are_no_reply() {
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
            let hex = format!(
                "0007 {flags} 0001 {counts} 01 61 07 6578616d706c65 00 0001 0001 {records}"
            );
            parse_reply(&bytes(&hex), &query).map(|reply| reply.map(|reply| says(&reply)))
        };
        let flaw = |error| Some(Err(error));
        let fine = |text: &str| Some(Ok(text.to_owned()));
        let opt = "00 0029 0200 00000000 0000";
        let cases = [
            (
                "A of 3 octets",
                "8180",
                "0001 0000 0000",
                "c00c 0001 0001 00000009 0003 c00002".to_owned(),
                flaw(Error::Wire(wire::Error::Truncated)),
            ),
            (
                "A of 5 octets",
                "8180",
                "0001 0000 0000",
                "c00c 0001 0001 00000009 0005 c0000201 00".to_owned(),
                flaw(Error::RdataLength),
            ),
            (
                "A of 3 octets, more after it",
                "8180",
                "0002 0000 0000",
                "c00c 0001 0001 00000009 0003 c00002 c00c 0001 0001 00000009 0004 c0000201"
                    .to_owned(),
                flaw(Error::RdataLength),
            ),
            (
                "CNAME longer than its data",
                "8180",
                "0001 0000 0000",
                "c00c 0005 0001 00000009 0003 01 62 00 00".to_owned(),
                flaw(Error::Wire(wire::Error::Trailing)),
            ),
            (
                "CNAME that reads on into what follows",
                "8180",
                "0002 0000 0000",
                "c00c 0005 0001 00000009 0001 01 62 00 0005 0001 00000009 0001 00".to_owned(),
                flaw(Error::RdataLength),
            ),
            (
                "CNAME that points forward",
                "8180",
                "0001 0000 0000",
                "c00c 0005 0001 00000009 0002 c0ff".to_owned(),
                flaw(Error::Name(name::Error::BadPointer)),
            ),
            (
                "owner that loops",
                "8180",
                "0001 0000 0000",
                "c01b 0001 0001 00000009 0004 c0000201".to_owned(),
                flaw(Error::Name(name::Error::BadPointer)),
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
                flaw(Error::Wire(wire::Error::Truncated)),
            ),
            (
                "two OPT",
                "8180",
                "0000 0000 0002",
                format!("{opt} {opt}"),
                flaw(Error::BadOpt),
            ),
            (
                "OPT not at the root",
                "8180",
                "0000 0000 0001",
                opt.replacen("00", "c00c", 1),
                flaw(Error::BadOpt),
            ),
            (
                "OPT among the answers, which are behind it",
                "8180",
                "0001 0000 0001",
                format!("{opt} c00c 0001 0001 00000009 0004 c0000201"),
                flaw(Error::BadOpt),
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
                flaw(Error::Wire(wire::Error::Trailing)),
            ),
            (
                "BADVERS",
                "8180",
                "0000 0000 0001",
                "00 0029 0200 01000000 0000".to_owned(),
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
            let Some(Ok(Reply::Complete(message))) = reply else {
                panic!("RCODE {rcode} without a question: {reply:?}");
            };
            assert_eq!(message.rcode, rcode);
        }
    }
}
