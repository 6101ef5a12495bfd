//! Bounds-checked reading of binary formats in network byte order.
//!
//! Every parser of untrusted bytes (DNS, DER, TLS) reads through [`Reader`]: each
//! access returns a `Result`, none can panic, none allocates. A nested structure is
//! opened with one of the `sub` functions and closed with [`Reader::finish`], so that
//! trailing bytes are an error and never ignored by accident.
#![deny(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub(crate) mod der;

use std::fmt;

/// Why bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// The input ends before the field does.
    Truncated,
    /// Bytes are left over where the structure has ended.
    Trailing,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ends too early",
            Self::Trailing => "has bytes left over",
        })
    }
}

impl std::error::Error for Error {}

/// A cursor over borrowed bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A cursor at the first byte of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            whole: bytes,
            rest: bytes,
        }
    }

    /// A cursor over the same bytes, `offset` from the start of what `new` was given
    /// (a DNS compression pointer).
    pub(crate) fn at(&self, offset: usize) -> Result<Self, Error> {
        Ok(Self {
            whole: self.whole,
            rest: self.whole.get(offset..).ok_or(Error::Truncated)?,
        })
    }

    pub(crate) fn position(&self) -> usize {
        self.whole.len().saturating_sub(self.rest.len())
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, tail) = self.rest.split_at_checked(count).ok_or(Error::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// The next `N` bytes, by value.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes, big-endian.
    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Three bytes, big-endian.
    pub(crate) fn u24(&mut self) -> Result<u32, Error> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, big-endian.
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A structure of exactly `count` bytes, whose positions start at 0.
    pub(crate) fn sub(&mut self, count: usize) -> Result<Self, Error> {
        self.take(count).map(Self::new)
    }

    /// A structure behind a one-byte length.
    pub(crate) fn sub8(&mut self) -> Result<Self, Error> {
        let count = self.u8()?;
        self.sub(usize::from(count))
    }

    /// A structure behind a two-byte length.
    pub(crate) fn sub16(&mut self) -> Result<Self, Error> {
        let count = self.u16()?;
        self.sub(usize::from(count))
    }

    /// A structure behind a three-byte length.
    pub(crate) fn sub24(&mut self) -> Result<Self, Error> {
        let count = self.u24()?;
        self.sub(usize::try_from(count).map_err(|_| Error::Truncated)?)
    }

    /// The bytes that are left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the structure: an error if a byte is left.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::Trailing)
        }
    }
}
