//! Resource records of the types that the resolver knows (RFC 1035 section 3, RFC 2782, RFC 3596).
//!
//! Pure. Of every record the frame is checked; data is read for class IN and for the types below,
//! must fill its length exactly, and is dropped otherwise.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::Flaw;
use super::name::Name;
use crate::wire::Reader;

/// Class IN (RFC 1035 section 3.2.4).
pub(super) const CLASS_IN: u16 = 1;
/// Types that are read but never asked for.
pub(super) const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;
/// The EDNS record (RFC 6891 section 6.1.1).
pub(super) const TYPE_OPT: u16 = 41;

/// A TTL of 2^31 seconds and more means zero (RFC 2181 section 8).
const MAX_TTL: u32 = 0x7fff_ffff;

/// What the resolver asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Where a service is.
    Srv,
}

impl Type {
    /// Its number.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
        })
    }
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Srv {
    /// The lowest is used first.
    pub(crate) priority: u16,
    /// Share among records of one priority.
    pub(crate) weight: u16,
    /// The service's port.
    pub(crate) port: u16,
    /// The host; the root says that the service is decidedly not available.
    pub(crate) target: Name,
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Where a service is.
    Srv(Srv),
    /// The name that the owner is an alias of.
    Cname(Name),
    /// Start of a zone; only the field that limits negative answers is kept (RFC 2308).
    Soa {
        /// The last field, in seconds.
        minimum: u32,
    },
}

impl Data {
    /// Whether this is data of the type asked for.
    pub(crate) const fn is(&self, qtype: Type) -> bool {
        matches!(
            (self, qtype),
            (Self::A(_), Type::A) | (Self::Aaaa(_), Type::Aaaa) | (Self::Srv(_), Type::Srv)
        )
    }
}

/// A record of class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The name it belongs to.
    pub(crate) owner: Name,
    /// How long it may be kept, in seconds.
    pub(crate) ttl: u32,
    /// What it says.
    pub(crate) data: Data,
}

/// The records of a section that the resolver knows, and whether an OPT record is among the others.
/// The count is the sender's claim: it costs nothing until the bytes are there.
pub(super) fn parse_section(
    reader: &mut Reader<'_>,
    count: u16,
) -> Result<(Vec<Record>, bool), Flaw> {
    let (mut records, mut has_opt) = (Vec::new(), false);
    for _ in 0..count {
        let frame = Frame::parse(reader)?;
        has_opt |= frame.rtype == TYPE_OPT;
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
    pub(super) rtype: u16,
    class: u16,
    pub(super) ttl: u32,
    /// Stands at the data and spans the message, since names in it may be compressed.
    rdata: Reader<'a>,
    /// Where the data ends, counted from the start of the message.
    end: usize,
}

impl<'a> Frame<'a> {
    /// Reads the frame and steps over the data.
    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Flaw> {
        let owner = Name::parse(reader)?;
        let rtype = reader.u16()?;
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

    /// The data; `None` for types and classes that are not ours. It must fill its length exactly.
    fn data(&self) -> Result<Option<Data>, Flaw> {
        if self.class != CLASS_IN {
            return Ok(None);
        }
        let mut reader = self.rdata.clone();
        let data = match self.rtype {
            rtype if rtype == Type::A.code() => Data::A(reader.array::<4>()?.into()),
            rtype if rtype == Type::Aaaa.code() => Data::Aaaa(reader.array::<16>()?.into()),
            rtype if rtype == Type::Srv.code() => Data::Srv(Srv {
                priority: reader.u16()?,
                weight: reader.u16()?,
                port: reader.u16()?,
                // RFC 2782 forbids compression here; RFC 3597 section 4 asks to read it anyway.
                target: Name::parse(&mut reader)?,
            }),
            TYPE_CNAME => Data::Cname(Name::parse(&mut reader)?),
            TYPE_SOA => {
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
            Err(Flaw::RdataLength)
        }
    }
}
