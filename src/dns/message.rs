//! DNS messages: composes a query, parses the reply to it (RFC 1035 section 4, RFC 2782 for SRV,
//! RFC 3596 for AAAA, RFC 6891 for EDNS).
//!
//! Pure: bytes in, values out. [`parse_reply`] first decides, from the header and the question alone,
//! whether bytes are a reply to this query; only then are records read, and a malformed reply to this
//! query is an error of the server, not something to ignore.
//!
//! Header, question, answers and authority are read strictly: an error in one of them makes the whole
//! reply malformed. The additional section is used only for the upper bits of the RCODE, so it is read
//! as far as possible: as in Go's resolver and the C library, an incomplete record, a count that is too
//! high and octets after the last record do not invalidate a good answer. Unlike those this resolver
//! checks whether an answer is behind its section ([`is_displaced`]). In a failure only the code is
//! used.
//!
//! The RCODE is the header's, with the upper bits of the first OPT record of the root in the
//! additional section; other OPT records, and everything behind a record that cannot be read, are
//! ignored. Bits are only added: a code that is a failure in the header stays one.

use std::collections::HashSet;

use super::name::{DecodeError, Name};
use super::record::{self, CLASS_IN, Data, Frame, Record, Type};
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

/// RCODEs (RFC 1035 section 4.1.1).
pub(crate) const NOERROR: u16 = 0;
pub(crate) const FORMERR: u16 = 1;
pub(crate) const SERVFAIL: u16 = 2;
pub(crate) const NXDOMAIN: u16 = 3;
pub(crate) const NOTIMP: u16 = 4;
pub(crate) const REFUSED: u16 = 5;
/// The server supports EDNS, but not version 0 (RFC 6891 section 9).
pub(crate) const BADVERS: u16 = 16;

/// A question of class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) qtype: Type,
}

/// A query as it is sent, kept to recognize the reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    /// Drawn at random for this query.
    pub(crate) id: u16,
    pub(crate) question: &'a Question,
    /// Whether the query has an OPT record.
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
        for word in [self.question.qtype.0, CLASS_IN] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        if self.edns {
            out.push(0); // owner: the root
            // The class is the payload size; the TTL is extended RCODE, version 0 and flags.
            for word in [Type::OPT.0, EDNS_PAYLOAD, 0, 0, 0] {
                out.extend_from_slice(&word.to_be_bytes());
            }
        }
        out
    }
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The TC bit is set: records are missing. If the rest cannot be read, there are none here.
    pub(crate) truncated: bool,
    /// The RCODE with the upper bits that EDNS adds.
    pub(crate) rcode: u16,
    /// The server is authoritative for the zone.
    pub(crate) authoritative: bool,
    /// The server is a recursive one.
    pub(crate) recursion_available: bool,
    /// The answer section, without types that the resolver does not use.
    pub(crate) answers: Vec<Record>,
    /// The authority section, likewise.
    pub(crate) authorities: Vec<Record>,
}

/// Reads a reply to `query`. `None` means that these bytes are not one and must be ignored: wrong id,
/// a query, another operation, another question.
///
/// A server that cannot read a query, or will not answer it, may send only a header, as Unbound does
/// for refused clients. If the code is a failure this counts as a reply: it says nothing about a name.
pub(crate) fn parse_reply(bytes: &[u8], query: &Query<'_>) -> Option<Result<Message, DecodeError>> {
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
            if name != asked.name || qtype != asked.qtype.0 || class != CLASS_IN {
                return None;
            }
        }
        _ => return None,
    }
    Some(match parse_sections(&header, query.question, &mut reader) {
        // Only the code of a failure is used. Some servers send the counts of the query with it, but
        // not its records.
        Err(_) if header.is_failure() || header.flags & FLAG_TC != 0 => Ok(header.message()),
        message => message,
    })
}

/// The header, field by field.
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

    /// Whether it says nothing about the name.
    fn is_failure(&self) -> bool {
        !matches!(self.flags & MASK_RCODE, NOERROR | NXDOMAIN)
    }

    /// A message without records.
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

/// Reads everything after the question.
fn parse_sections(
    header: &Header,
    question: &Question,
    reader: &mut Reader<'_>,
) -> Result<Message, DecodeError> {
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
        if frame.rtype == Type::OPT && frame.owner.is_root() {
            opt = opt.or(Some(frame.ttl));
        }
    }
    // RFC 6891 section 6.1.3: the first octet of the TTL is the upper part of the RCODE.
    let [upper, ..] = opt.unwrap_or_default().to_be_bytes();
    message.rcode |= u16::from(upper) << 4;
    counts_fit &= reader.is_empty();
    if (has_opt || !counts_fit) && is_displaced(behind, question, &message.answers) {
        return Err(DecodeError::DISPLACED);
    }
    Ok(message)
}

/// Whether a record that answers the question is in what follows the answer section. This is checked
/// if the counts do not fit the octets, or if an OPT record is among the answers: there are servers
/// that append their records to the whole query, behind its OPT record, so that they are counted in the
/// wrong sections. The answer section would then be incomplete or empty.
fn is_displaced<'a>(mut behind: Reader<'_>, question: &'a Question, answers: &'a [Record]) -> bool {
    let target = |record: &'a Record| match &record.data {
        Data::Cname(target) => Some(target),
        _ => None,
    };
    let mut owners: HashSet<&Name> = answers.iter().filter_map(target).collect();
    owners.insert(&question.name);
    let kinds = [question.qtype, Type::CNAME];
    std::iter::from_fn(|| Frame::parse(&mut behind).ok())
        .any(|frame| kinds.contains(&frame.rtype) && owners.contains(&frame.owner))
}
