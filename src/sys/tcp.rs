//! What the kernel reports about one TCP connection: TCP_INFO of tcp(7), as far as it is used here.
//!
//! `struct tcp_info` of linux/tcp.h grows at its end: each kernel writes the fields that it has and returns
//! how much that was. Only these fields are read, each by its place; all of them stand before or
//! directly behind the first 64-bit fields, which begin at a multiple of eight, so that the places
//! are the same on every processor. The kernel's numbers are in the order of octets of the processor.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::syscall;

/// Numbers of linux/tcp.h.
const TCP_INFO: i32 = 11;
const TCP_RTO_MAX_MS: i32 = 44;

/// Where the fields are, in octets.
const RETRANSMITS: usize = 2;
const PROBES: usize = 3;
const UNACKED: usize = 24;
const LAST_DATA_RECV: usize = 52;
const LAST_ACK_RECV: usize = 56;
/// Since Linux 4.6.
const NOTSENT_BYTES: usize = 144;
/// All that is read.
const LENGTH: usize = NOTSENT_BYTES + 4;

/// The state of a connection in the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// How often the oldest unacknowledged segment was sent again because nothing was heard of it in time.
    pub(crate) retransmits: u8,
    /// Probes, of keepalive or of a shut window, since the peer was last heard.
    pub(crate) probes: u8,
    /// Segments that were sent and are not acknowledged.
    pub(crate) unacked: u32,
    /// Octets that wait to be sent; zero if the kernel does not say.
    pub(crate) not_sent: u32,
    /// How long nothing was heard of the peer, neither data nor an acknowledgement. Each of the two alone may
    /// be old: the kernel takes no note of an acknowledgement that comes with data and says nothing new.
    pub(crate) unheard: Duration,
    /// How long ago the last data came of the peer, or the connection was made.
    pub(crate) without_data: Duration,
}

impl Facts {
    /// The present state of this connection in the kernel.
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        let length = syscall::tcp_option(socket, TCP_INFO, &mut bytes)?;
        let written = bytes.get(..length).unwrap_or(&bytes);
        Self::read(written).ok_or_else(|| io::Error::other("TCP_INFO is too short"))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let milliseconds = |at| Some(Duration::from_millis(u32_at(bytes, at)?.into()));
        Some(Self {
            retransmits: *bytes.get(RETRANSMITS)?,
            probes: *bytes.get(PROBES)?,
            unacked: u32_at(bytes, UNACKED)?,
            not_sent: u32_at(bytes, NOTSENT_BYTES).unwrap_or(0),
            unheard: milliseconds(LAST_DATA_RECV)?.min(milliseconds(LAST_ACK_RECV)?),
            without_data: milliseconds(LAST_DATA_RECV)?,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let octets = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*octets))
}

/// Has the kernel wait no longer than this before it sends again, or asks again whether a window is
/// still shut; by default that grows to two minutes. Since Linux 6.15.
pub(crate) fn set_longest_wait(socket: BorrowedFd<'_>, wait: Duration) -> io::Result<()> {
    let milliseconds = i32::try_from(wait.as_millis()).map_err(io::Error::other)?;
    syscall::set_tcp_option(socket, TCP_RTO_MAX_MS, milliseconds)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    /// As a kernel of the latest layout writes it: the value of each octet is its position.
    fn numbered() -> [u8; 280] {
        std::array::from_fn(|place| place as u8)
    }

    fn number(at: u8) -> u32 {
        u32::from_ne_bytes([at, at + 1, at + 2, at + 3])
    }

    #[test]
    fn fields_are_read_from_their_places() {
        let read = Facts::read(&numbered()).unwrap();
        assert_eq!((read.retransmits, read.probes), (2, 3));
        assert_eq!((read.unacked, read.not_sent), (number(24), number(144)));
        let heard = number(52).min(number(56));
        assert_eq!(read.unheard, Duration::from_millis(heard.into()));
        for (data, ack) in [(7, 9), (9, 7)] {
            let mut bytes = numbered();
            bytes[52..56].copy_from_slice(&u32::to_ne_bytes(data));
            bytes[56..60].copy_from_slice(&u32::to_ne_bytes(ack));
            let read = Facts::read(&bytes).unwrap();
            assert_eq!(read.unheard, Duration::from_millis(7));
            assert_eq!(read.without_data, Duration::from_millis(data.into()));
        }
    }

    #[test]
    fn older_kernels_write_less() {
        let whole = Facts::read(&numbered()).unwrap();
        let without = Facts {
            not_sent: 0,
            ..whole
        };
        for length in 0..=numbered().len() {
            let expected = match length {
                ..60 => None,
                60..148 => Some(without),
                _ => Some(whole),
            };
            assert_eq!(Facts::read(&numbered()[..length]), expected, "{length}");
        }
    }

    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// The places, against the kernel itself: what a reader leaves unread waits here.
    #[test]
    fn the_kernel_tells_of_a_reader_that_does_not_read() {
        let (mut near, mut far) = connection();
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        let idle = Facts::of(near.as_fd()).unwrap();
        assert!(idle.unheard < Duration::from_secs(60), "{idle:?}");
        assert_eq!((idle.not_sent, idle.retransmits), (0, 0));
        near.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = near.write(&[0; 65_536]) {
            sent += count;
        }
        let waiting = Facts::of(near.as_fd()).unwrap();
        assert!(waiting.not_sent > 0, "{waiting:?}");
        assert!(u64::from(waiting.not_sent) < sent as u64 + 1, "{waiting:?}");
        let pipe = std::os::unix::net::UnixStream::pair().unwrap().0;
        assert!(Facts::of(pipe.as_fd()).is_err());
    }

    #[test]
    fn the_longest_wait_is_set_where_the_kernel_has_it() {
        let (near, _far) = connection();
        let mut value = [0; 4];
        if syscall::tcp_option(near.as_fd(), TCP_RTO_MAX_MS, &mut value).is_err() {
            let refused = set_longest_wait(near.as_fd(), Duration::from_secs(40));
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(92), "ENOPROTOOPT");
            return;
        }
        set_longest_wait(near.as_fd(), Duration::from_secs(40)).unwrap();
        let length = syscall::tcp_option(near.as_fd(), TCP_RTO_MAX_MS, &mut value).unwrap();
        assert_eq!((length, i32::from_ne_bytes(value)), (4, 40_000));
        assert!(set_longest_wait(near.as_fd(), Duration::MAX).is_err());
    }
}
