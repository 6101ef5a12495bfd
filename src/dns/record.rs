//! Resource records of the types that the resolver uses (RFC 1035 section 3, RFC 2782, RFC 3596).
//!
//! Pure. The frame of every record is checked; data is read for class IN and the types below only,
//! and must fill its length exactly.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::name::{DecodeError, Name};
use crate::wire::Reader;

/// Class IN (RFC 1035 section 3.2.4).
pub(super) const CLASS_IN: u16 = 1;
/// A TTL of 2^31 seconds and more means zero (RFC 2181 section 8).
const MAX_TTL: u32 = 0x7fff_ffff;

/// The type of a record or of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type(pub(crate) u16);

impl Type {
    pub(crate) const A: Self = Self(1);
    pub(crate) const CNAME: Self = Self(5);
    pub(crate) const SOA: Self = Self(6);
    pub(crate) const AAAA: Self = Self(28);
    pub(crate) const SRV: Self = Self(33);
    /// The EDNS record (RFC 6891 section 6.1.1).
    pub(crate) const OPT: Self = Self(41);
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::A => f.write_str("A"),
            Self::AAAA => f.write_str("AAAA"),
            Self::SRV => f.write_str("SRV"),
            Self(code) => write!(f, "TYPE{code}"),
        }
    }
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Srv {
    /// The lowest is used first.
    pub(crate) priority: u16,
    /// The share among records of one priority.
    pub(crate) weight: u16,
    pub(crate) port: u16,
    /// The host; the root means that the service is not available.
    pub(crate) target: Name,
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Srv(Srv),
    /// The name that the owner is an alias of.
    Cname(Name),
    /// Only the last field, in seconds: it limits negative answers (RFC 2308).
    Soa {
        minimum: u32,
    },
}

impl Data {
    /// Whether this is data of the type asked for.
    pub(crate) const fn is(&self, qtype: Type) -> bool {
        matches!(
            (self, qtype),
            (Self::A(_), Type::A) | (Self::Aaaa(_), Type::AAAA) | (Self::Srv(_), Type::SRV)
        )
    }
}

/// A record of class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Name,
    /// In seconds.
    pub(crate) ttl: u32,
    pub(crate) data: Data,
}

/// The records of a section that the resolver uses, and whether an OPT record is among the others.
/// Nothing is allocated for the count, which the sender may have made up.
pub(super) fn parse_section(
    reader: &mut Reader<'_>,
    count: u16,
) -> Result<(Vec<Record>, bool), DecodeError> {
    let (mut records, mut has_opt) = (Vec::new(), false);
    for _ in 0..count {
        let frame = Frame::parse(reader)?;
        has_opt |= frame.rtype == Type::OPT;
        if let Some(data) = frame.data()? {
            records.push(Record {
                owner: frame.owner,
                ttl: if frame.ttl > MAX_TTL { 0 } else { frame.ttl },
                data,
            });
        }
    }
    Ok((records, has_opt))
}

/// A record before its data is read.
pub(super) struct Frame<'a> {
    pub(super) owner: Name,
    pub(super) rtype: Type,
    class: u16,
    pub(super) ttl: u32,
    /// Stands at the data and spans the message, since names in it may be compressed.
    rdata: Reader<'a>,
    /// Where the data ends, counted from the start of the message.
    end: usize,
}

impl<'a> Frame<'a> {
    /// Reads the frame and skips the data.
    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let owner = Name::parse(reader)?;
        let rtype = Type(reader.u16()?);
        let class = reader.u16()?;
        let ttl = reader.u32()?;
        let length = reader.u16()?;
        let rdata = reader.clone();
        reader.take(usize::from(length))?;
        Ok(Self {
            owner,
            rtype,
            class,
            ttl,
            rdata,
            end: reader.position(),
        })
    }

    /// The data, which must fill its length exactly; `None` for other types and classes than those
    /// that the resolver uses.
    fn data(&self) -> Result<Option<Data>, DecodeError> {
        if self.class != CLASS_IN {
            return Ok(None);
        }
        let mut reader = self.rdata.clone();
        let data = match self.rtype {
            Type::A => Data::A(reader.array::<4>()?.into()),
            Type::AAAA => Data::Aaaa(reader.array::<16>()?.into()),
            Type::SRV => Data::Srv(Srv {
                priority: reader.u16()?,
                weight: reader.u16()?,
                port: reader.u16()?,
                // RFC 2782 forbids compression here; RFC 3597 section 4 asks to read it anyway.
                target: Name::parse(&mut reader)?,
            }),
            Type::CNAME => Data::Cname(Name::parse(&mut reader)?),
            Type::SOA => {
                let _mname = Name::parse(&mut reader)?;
                let _rname = Name::parse(&mut reader)?;
                let [_serial, _refresh, _retry, _expire] =
                    [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
                Data::Soa {
                    minimum: reader.u32()?,
                }
            }
            _ => return Ok(None),
        };
        if reader.position() == self.end {
            Ok(Some(data))
        } else {
            Err(DecodeError::RDATA_LENGTH)
        }
    }
}
