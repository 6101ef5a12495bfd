//! The client's (and, for hand-driven endpoints, the server's) end of a connection: deadlines on every call,
//! content that is checked byte for byte, and which of two ways a stream ended.
//!
//! Content comes from a seeded generator and is compared with that generator on arrival. That is stronger than
//! a digest (any loss, duplication or reordering shows, with the offset of the first wrong byte) and needs no
//! hash to be written or trusted.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::SOON;

/// Connects with a deadline and puts one on every later read and write.
#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
}

pub(crate) fn try_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, SOON)?;
    with_deadlines(&stream);
    Ok(stream)
}

pub(crate) fn with_deadlines(stream: &TcpStream) {
    stream
        .set_read_timeout(Some(SOON))
        .expect("set a read timeout");
    stream
        .set_write_timeout(Some(SOON))
        .expect("set a write timeout");
    stream.set_nodelay(true).expect("set TCP_NODELAY");
}

/// An endless stream of bytes that `seed` determines (xorshift64*).
pub(crate) struct Content {
    state: u64,
    /// What is left of the last word.
    rest: Vec<u8>,
}

pub(crate) fn content(seed: u64) -> Content {
    // The multiplication spreads small seeds; a state of zero would stay zero.
    let state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let rest = Vec::new();
    Content { state, rest }
}

impl Content {
    fn word(&mut self) -> [u8; 8] {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    }
}

impl Read for Content {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let from_rest = self.rest.len().min(out.len());
        let (head, body) = out.split_at_mut(from_rest);
        head.copy_from_slice(&self.rest[..from_rest]);
        self.rest.drain(..from_rest);
        // By words, for tests move hundreds of megabytes in a debug build.
        let mut words = body.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.word());
        }
        let tail = words.into_remainder();
        if !tail.is_empty() {
            let last = self.word();
            let (now, later) = last.split_at(tail.len());
            tail.copy_from_slice(now);
            self.rest = later.to_vec();
        }
        Ok(out.len())
    }
}

/// Writes the first `length` bytes of `seed`'s content.
#[track_caller]
pub(crate) fn send(mut stream: &TcpStream, seed: u64, length: u64) {
    let mut source = content(seed);
    let mut chunk = vec![0; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        source
            .read_exact(&mut chunk[..part])
            .expect("the generator does not end");
        stream
            .write_all(&chunk[..part])
            .unwrap_or_else(|error| panic!("send, {left} of {length} bytes left: {error}"));
        left -= part as u64;
    }
}

/// Reads `length` bytes and compares them with `seed`'s content.
#[track_caller]
pub(crate) fn expect(mut stream: &TcpStream, seed: u64, length: u64) {
    let mut source = content(seed);
    let mut done = 0;
    let mut got = vec![0; 64 * 1024];
    let mut wanted = got.clone();
    while done < length {
        let part = usize::try_from(length - done).map_or(got.len(), |left| left.min(got.len()));
        let count = match stream.read(&mut got[..part]) {
            Ok(0) => panic!("clean end of stream after {done} of {length} bytes"),
            Ok(count) => count,
            // As in `end_of`.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => panic!("after {done} of {length} bytes: {error}"),
        };
        source
            .read_exact(&mut wanted[..count])
            .expect("the generator does not end");
        if got[..count] != wanted[..count] {
            let offset = (0..count)
                .find(|&at| got[at] != wanted[at])
                .unwrap_or(count);
            panic!("byte {} of {length} is wrong", done + offset as u64);
        }
        done += count as u64;
    }
}

/// How a stream ended, as its reader sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// A FIN: the peer says that this is all.
    Clean,
    /// ECONNRESET: the peer says that something may be missing.
    Reset,
}

/// Reads what is left and tells how the stream ended.
#[track_caller]
pub(crate) fn end_of(mut stream: &TcpStream) -> (Vec<u8>, End) {
    let mut rest = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (rest, End::Clean),
            Ok(count) => rest.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return (rest, End::Reset);
            }
            // signal(7): a read with a timeout is interrupted when the machine stops a process and lets it go on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("neither end nor reset after {} bytes: {error}", rest.len()),
        }
    }
}

/// The stream carries nothing more and ends in this way.
#[track_caller]
pub(crate) fn expect_end(stream: &TcpStream, wanted: End) {
    let (rest, end) = end_of(stream);
    assert_eq!((rest.len(), end), (0, wanted), "bytes left, kind of end");
}

/// Ends what this side sends; the other direction stays open.
#[track_caller]
pub(crate) fn end_writing(stream: &TcpStream) {
    let ended = stream.shutdown(Shutdown::Write);
    ended.expect("shut down the write side");
}

/// Closes the connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("set SO_LINGER to 0");
}

/// Sends a few bytes and reads their echo: the connection works in both directions now.
#[track_caller]
pub(crate) fn expect_echo(stream: &TcpStream, seed: u64) {
    send(stream, seed, 100);
    expect(stream, seed, 100);
}

/// Connects and reads the byte by which a tagged endpoint makes itself known; the reset of a rejected client is
/// an error.
pub(crate) fn try_tag(address: SocketAddr) -> io::Result<(u8, TcpStream)> {
    let mut stream = try_connect(address)?;
    let mut tag = [0];
    stream.read_exact(&mut tag)?;
    Ok((tag[0], stream))
}

/// As `try_tag`, where a failure fails the test; also says how long connecting and hearing took.
#[track_caller]
pub(crate) fn tag(address: SocketAddr) -> (u8, Duration) {
    let start = Instant::now();
    let (tag, _) = try_tag(address)
        .unwrap_or_else(|error| panic!("client of {address} was not served: {error}"));
    (tag, start.elapsed())
}

/// Connects and expects to be refused the way the gateway refuses: accepted, then reset.
#[track_caller]
pub(crate) fn expect_refused(address: SocketAddr) {
    // A reset that comes before connect returns is the same refusal.
    match try_connect(address) {
        Ok(stream) => expect_end(&stream, End::Reset),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
}
