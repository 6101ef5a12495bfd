//! What clients and upstream say to each other, so that a proxy that loses, mixes or repeats bytes cannot look fast.
//!
//! A connection begins with a header that says what it is for. Requests of an echo are of one size, each begins with a
//! header whose sequence number is of its own, and comes back as it is. Bulk bytes are blocks that begin with their
//! number, and a mark after the last one: no end of a stream is needed, which not every proxy forwards alone.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// Bytes of a header; no request is shorter.
pub const HEADER: usize = 24;

/// What bulk is sent and read in at a time.
pub const BLOCK: usize = 256 * 1024;

/// Longest request: bounds what the upstream holds for a connection.
const MAX_REQUEST: u32 = 64 * 1024;

/// What follows the last block; no block has this number.
const MARK: [u8; 8] = [0xff; 8];

const MAGIC: [u8; 4] = *b"GWBM";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Requests of this many bytes come back, served by the thread that serves all such connections.
    Echo(u32),
    /// The same, served by a thread of its own.
    EchoAlone(u32),
    /// The client sends blocks and the mark, and is told how many bytes have arrived.
    Sink,
    /// The upstream sends blocks for this many milliseconds, then the mark.
    Source(u32),
}

impl Mode {
    /// The header that opens a connection, or a request.
    pub fn header(self, connection: u32, sequence: u64) -> [u8; HEADER] {
        let (mode, argument) = match self {
            Mode::Echo(size) => (0_u32, size),
            Mode::EchoAlone(size) => (1, size),
            Mode::Sink => (2, 0),
            Mode::Source(milliseconds) => (3, milliseconds),
        };
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&mode.to_le_bytes());
        header[8..12].copy_from_slice(&argument.to_le_bytes());
        header[12..16].copy_from_slice(&connection.to_le_bytes());
        header[16..].copy_from_slice(&sequence.to_le_bytes());
        header
    }

    /// What a header asks for.
    pub fn parse(header: &[u8; HEADER]) -> io::Result<Mode> {
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let argument = word(8);
        let fits = (HEADER as u32..=MAX_REQUEST).contains(&argument);
        match word(4) {
            0 if fits => Ok(Mode::Echo(argument)),
            1 if fits => Ok(Mode::EchoAlone(argument)),
            2 => Ok(Mode::Sink),
            3 => Ok(Mode::Source(argument)),
            _ => Err(broken("the header of a connection arrived changed")),
        }
        .and_then(|mode| match header[..4] == MAGIC {
            true => Ok(mode),
            false => Err(broken("the header of a connection arrived changed")),
        })
    }
}

/// A client's request, of which only the sequence number changes, and the check of what comes back.
pub struct Request {
    bytes: Vec<u8>,
    sequence: u64,
}

impl Request {
    pub fn new(mode: Mode, connection: u32) -> Request {
        let size = match mode {
            Mode::Echo(size) | Mode::EchoAlone(size) => size as usize,
            Mode::Sink | Mode::Source(_) => HEADER,
        };
        let mut bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        bytes[..HEADER].copy_from_slice(&mode.header(connection, 0));
        Request { bytes, sequence: 0 }
    }

    /// The bytes of the next request.
    pub fn next(&mut self) -> &[u8] {
        self.sequence += 1;
        self.bytes[HEADER - 8..HEADER].copy_from_slice(&self.sequence.to_le_bytes());
        &self.bytes
    }

    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether `response` is that of the last request.
    pub fn check(&self, response: &[u8]) -> io::Result<()> {
        match response == self.bytes {
            true => Ok(()),
            false => Err(broken("a response is not that of its request")),
        }
    }

    /// One exchange on a blocking connection; `response` is memory for it.
    pub fn exchange(&mut self, mut stream: &TcpStream, response: &mut [u8]) -> io::Result<()> {
        stream.write_all(self.next())?;
        let response = &mut response[..self.size()];
        stream.read_exact(response)?;
        self.check(response)
    }
}

/// Sends blocks until `go_on` says no, then the mark; returns the bytes of all. `go_on` is told of each block.
pub fn send_blocks(
    mut stream: &TcpStream,
    mut go_on: impl FnMut(usize) -> bool,
) -> io::Result<u64> {
    let mut block: Vec<u8> = (0..BLOCK).map(|i| (i % 251) as u8).collect();
    let mut number = 0_u64;
    loop {
        block[..8].copy_from_slice(&number.to_le_bytes());
        stream.write_all(&block)?;
        number += 1;
        if !go_on(BLOCK) {
            stream.write_all(&MARK)?;
            return Ok(number * BLOCK as u64 + MARK.len() as u64);
        }
    }
}

/// Reads blocks up to the mark, `already` being what was read of them; returns the bytes of all. `count` is told of each
/// piece.
pub fn receive_blocks(
    mut stream: &TcpStream,
    already: &[u8],
    mut count: impl FnMut(usize),
) -> io::Result<u64> {
    let mut buffer = vec![0; BLOCK];
    let mut check = BlockCheck::default();
    check.feed(already)?;
    while !check.ended() {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err(broken("a bulk stream ended before its last block"));
        }
        check.feed(&buffer[..n])?;
        count(n);
    }
    Ok(check.offset)
}

/// Learns from the upstream that all bytes have arrived there.
pub fn confirm_sent(mut stream: &TcpStream, sent: u64) -> io::Result<()> {
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    match u64::from_le_bytes(count) == sent {
        true => Ok(()),
        false => Err(broken("bytes were lost on the way up")),
    }
}

/// Follows a stream of blocks in pieces of any length.
#[derive(Default)]
struct BlockCheck {
    offset: u64,
    tail: [u8; 8],
}

impl BlockCheck {
    /// Checks the number of each block whose first eight bytes are whole in this piece.
    fn feed(&mut self, piece: &[u8]) -> io::Result<()> {
        let block = BLOCK as u64;
        let mut at = (block - self.offset % block) % block;
        while let Some(number) = usize::try_from(at)
            .ok()
            .and_then(|at| piece.get(at..)?.first_chunk::<8>())
        {
            let expected = (self.offset + at) / block;
            if *number != expected.to_le_bytes() && *number != MARK {
                return Err(broken("bulk bytes arrived out of order"));
            }
            at += block;
        }
        let kept = piece.len().min(8);
        self.tail.rotate_left(kept);
        self.tail[8 - kept..].copy_from_slice(&piece[piece.len() - kept..]);
        self.offset += piece.len() as u64;
        Ok(())
    }

    /// Whether the mark has come, where the number of one more block would stand.
    fn ended(&self) -> bool {
        self.offset % BLOCK as u64 == MARK.len() as u64 && self.tail == MARK
    }
}

pub fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_parsed_as_it_was_made() {
        for mode in [
            Mode::Echo(128),
            Mode::EchoAlone(1024),
            Mode::Sink,
            Mode::Source(900),
        ] {
            assert_eq!(Mode::parse(&mode.header(7, 9)).unwrap(), mode);
        }
        let mut changed = Mode::Sink.header(0, 0);
        changed[0] ^= 1;
        assert!(Mode::parse(&changed).is_err());
        assert!(Mode::parse(&Mode::Echo(3).header(0, 0)).is_err());
    }

    #[test]
    fn each_request_is_another_and_only_its_own_response_is_taken() {
        let mut request = Request::new(Mode::Echo(128), 1);
        let first = request.next().to_vec();
        assert!(request.check(&first).is_ok());
        request.next();
        assert!(request.check(&first).is_err());
    }

    #[test]
    fn blocks_are_followed_in_pieces_of_any_length() {
        let mut stream = vec![0; 3 * BLOCK];
        for (number, block) in stream.chunks_mut(BLOCK).enumerate() {
            block[..8].copy_from_slice(&(number as u64).to_le_bytes());
        }
        let total = stream.len() as u64;
        stream.extend(MARK);
        for piece in [1, 1000, BLOCK - 1, BLOCK, BLOCK + 9] {
            let mut check = BlockCheck::default();
            for bytes in stream.chunks(piece) {
                assert!(!check.ended());
                check.feed(bytes).unwrap();
            }
            assert_eq!(check.offset, total + 8);
            assert!(check.ended());
        }
        stream.drain(..1);
        assert!(BlockCheck::default().feed(&stream).is_err());
    }
}
