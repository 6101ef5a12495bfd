//! DNS messages: composes a query, parses the reply to it (RFC 1035 section 4, RFC 2782 for SRV,
//! RFC 3596 for AAAA, RFC 6891 for EDNS).
//!
//! Pure: bytes in, values out. [`parse_reply`] first decides whether bytes are a reply to this
//! query at all, from the header and the question alone; only then are records read, and a reply
//! that is ours but broken is an error of the server, not something to ignore.
//!
//! Header, question, answers and authority are read strictly: a flaw in any of them spoils the
//! whole. The additional section yields nothing but the upper bits of the RCODE, so it is read as
//! far as it can be: a record that is cut short, a count that is too high and octets that no count
//! speaks of throw no good answer away, as in Go's resolver and the C library. What no peer looks
//! at and this one does is whether an answer has slipped behind its section ([`is_displaced`]).
//! Of a failure only the code counts, whatever follows.
//!
//! The RCODE is the header's, with the upper bits of the first OPT record of the root in the
//! additional section; other OPT records, and what is behind a record that cannot be read, have no
//! say. Bits are only ever added: a code that is a failure in the header stays one.

use std::collections::HashSet;

use super::error::Flaw;
use super::name::Name;
use super::record::{self, CLASS_IN, Data, Frame, Record, TYPE_CNAME, Type};
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

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The TC bit is set: records are missing, and there are none here if the rest cannot be read.
    pub(crate) truncated: bool,
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

/// Reads a reply to `query`. `None` means that these bytes are not one and should be treated as
/// if they had not come: wrong id, a query, another operation, another question.
///
/// A server that cannot read a query, or will not answer it, may send a header alone, as Unbound
/// does to whom it refuses. That is taken as a reply if it is a failure: it says nothing of any name.
pub(crate) fn parse_reply(bytes: &[u8], query: &Query<'_>) -> Option<Result<Message, Flaw>> {
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
    Some(match parse_sections(&header, query.question, &mut reader) {
        // Of a failure nothing but its code is used. Some servers send the counts of the query
        // along with it and not its records.
        Err(_) if header.is_failure() || header.flags & FLAG_TC != 0 => Ok(header.message()),
        message => message,
    })
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
            truncated: self.flags & FLAG_TC != 0,
            rcode: self.flags & MASK_RCODE,
            authoritative: self.flags & FLAG_AA != 0,
            recursion_available: self.flags & FLAG_RA != 0,
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }
}

/// All that follows the question.
fn parse_sections(
    header: &Header,
    question: &Question,
    reader: &mut Reader<'_>,
) -> Result<Message, Flaw> {
    let (answers, has_opt) = record::parse_section(reader, header.answers)?;
    let behind = reader.clone();
    let (authorities, _) = record::parse_section(reader, header.authorities)?;
    let mut message = Message {
        answers,
        authorities,
        ..header.message()
    };
    let (mut opt, mut counts_fit) = (None, true);
    for _ in 0..header.additionals {
        let Ok(frame) = Frame::parse(reader) else {
            counts_fit = false;
            break;
        };
        if frame.rtype == record::TYPE_OPT && frame.owner.is_root() {
            opt = opt.or(Some(frame.ttl));
        }
    }
    // RFC 6891 section 6.1.3: the first octet of the TTL is the upper part of the RCODE.
    let [upper, ..] = opt.unwrap_or_default().to_be_bytes();
    message.rcode |= u16::from(upper) << 4;
    counts_fit &= reader.is_empty();
    if (has_opt || !counts_fit) && is_displaced(behind, question, &message.answers) {
        return Err(Flaw::Displaced);
    }
    Ok(message)
}

/// Whether an answer is `behind` its section, which is looked for where the counts do not fit the
/// octets, or an OPT record is among the answers: a server that takes the query for its question
/// alone puts its records behind the OPT record of the query, where they are counted as what they are
/// not. What is left would be a part of the answer, or none.
fn is_displaced<'a>(mut behind: Reader<'_>, question: &'a Question, answers: &'a [Record]) -> bool {
    let target = |record: &'a Record| match &record.data {
        Data::Cname(target) => Some(target),
        _ => None,
    };
    let mut owners: HashSet<&Name> = answers.iter().filter_map(target).collect();
    owners.insert(&question.name);
    let kinds = [question.qtype.code(), TYPE_CNAME];
    std::iter::from_fn(|| Frame::parse(&mut behind).ok())
        .any(|frame| kinds.contains(&frame.rtype) && owners.contains(&frame.owner))
}
