//! Every system call that a session makes on its sockets and pipes. They are in one place so that a test can
//! make each of them fail, be interrupted, transfer less than asked, or take longer ([`Seam`]). Builds other
//! than tests contain nothing of that.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use crate::sys::syscall::{self, PollFd};
use crate::sys::tcp::{self, Facts};

#[cfg(test)]
pub(crate) use tests::Seam;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Peek,
    Send,
    SpliceIn,
    SpliceOut,
    ReadPipe,
    Poll,
    PeerName,
    Linger,
    Timeout,
    EndWrites,
    EndReads,
    Disconnect,
    Facts,
    OpenPipe,
    SizePipe,
}

/// Where a test interferes.
#[cfg(not(test))]
#[derive(Debug, Default)]
pub(crate) struct Seam {}

#[cfg(not(test))]
impl Seam {
    /// How much of `length` this call may transfer, or its error.
    #[inline]
    fn due(&self, _: Call, length: usize) -> io::Result<usize> {
        Ok(length)
    }
}

/// A write that does not wait (send(2)); the same number on all of Linux.
const MSG_DONTWAIT: i32 = 0x40;

/// One socket of a session.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Arc<TcpStream>,
    pub(crate) seam: Seam,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Socket {
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self {
            stream,
            seam: Seam::default(),
        }
    }

    /// Makes a call that transfers at most `length` bytes, again for as long as signals interrupt it.
    #[inline]
    fn transfer<T>(
        &self,
        kind: Call,
        length: usize,
        mut call: impl FnMut(usize) -> io::Result<T>,
    ) -> io::Result<T> {
        uninterrupted(|| call(self.seam.due(kind, length)?))
    }

    /// Makes a call that transfers no bytes, in the same way.
    #[inline]
    fn call<T>(&self, kind: Call, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.transfer(kind, 0, |_| call())
    }

    /// Zero is the end of the stream; `WouldBlock`: nothing came within the timeout.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer(Call::Read, buffer.len(), |length| {
            (&*self.stream).read(buffer.get_mut(..length).unwrap_or_default())
        })
    }

    /// What a [`Socket::read`] would return now; `WouldBlock`: it would wait.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer(Call::Peek, buffer.len(), |length| {
            syscall::peek(self.as_fd(), buffer.get_mut(..length).unwrap_or_default())
        })
    }

    /// `WouldBlock`: there is no room.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.transfer(Call::Send, bytes.len(), |length| {
            let bytes = bytes.get(..length).unwrap_or_default();
            SockRef::from(&*self.stream).send_with_flags(bytes, MSG_DONTWAIT)
        })
    }

    /// Moves bytes from here into a pipe. Zero and errors mean the same as for [`Socket::read`].
    pub(crate) fn splice_into(&self, pipe: &PipeWriter, length: usize) -> io::Result<usize> {
        self.transfer(Call::SpliceIn, length, |length| {
            syscall::move_bytes(self.as_fd(), pipe.as_fd(), length)
        })
    }

    /// Moves bytes from a pipe to here. `WouldBlock`: there was no room within the timeout.
    pub(crate) fn splice_from(&self, pipe: &PipeReader, length: usize) -> io::Result<usize> {
        self.transfer(Call::SpliceOut, length, |length| {
            syscall::move_bytes(pipe.as_fd(), self.as_fd(), length)
        })
    }

    /// Reads bytes from a pipe that [`Socket::splice_from`] could not move.
    pub(crate) fn read_pipe(&self, mut pipe: &PipeReader, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer(Call::ReadPipe, buffer.len(), |length| {
            pipe.read(buffer.get_mut(..length).unwrap_or_default())
        })
    }

    /// Sleeps until one of the descriptors is ready, at most for `timeout`. It may return earlier, with none ready.
    pub(crate) fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
        self.call(Call::Poll, || Ok(()))?;
        syscall::wait(fds, timeout)
    }

    /// False once it was reset, or has ended in both directions and the peer has acknowledged our FIN.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        match self.call(Call::PeerName, || self.stream.peer_addr()) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether closing its last handle resets the connection (SO_LINGER at zero, socket(7)). Bytes that
    /// are on their way to the peer are lost then; otherwise they still arrive.
    pub(crate) fn reset_on_close(&self, reset: bool) -> io::Result<()> {
        self.call(Call::Linger, || {
            SockRef::from(&*self.stream).set_linger(reset.then_some(Duration::ZERO))
        })
    }

    /// Limits how long a read waits.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.call(Call::Timeout, || self.stream.set_read_timeout(timeout))
    }

    /// Limits how long [`Socket::splice_from`] waits for room.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.call(Call::Timeout, || self.stream.set_write_timeout(timeout))
    }

    /// Sends our FIN, after all that was sent.
    pub(crate) fn end_writes(&self) -> io::Result<()> {
        self.call(Call::EndWrites, || self.stream.shutdown(Shutdown::Write))
    }

    /// Ends reads that wait; nothing is sent to the peer.
    pub(crate) fn end_reads(&self) -> io::Result<()> {
        self.call(Call::EndReads, || self.stream.shutdown(Shutdown::Read))
    }

    /// What the kernel records about the connection.
    pub(crate) fn facts(&self) -> io::Result<Facts> {
        self.call(Call::Facts, || Facts::of(self.as_fd()))
    }

    /// Has the kernel probe a peer that does not answer at least this often, where it can.
    pub(crate) fn set_longest_wait(&self, wait: Duration) -> io::Result<()> {
        uninterrupted(|| tcp::set_longest_wait(self.as_fd(), wait))
    }

    /// Resets the connection, even if other threads use it; see [`syscall::disconnect`].
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        self.call(Call::Disconnect, || syscall::disconnect(self.as_fd()))
    }
}

/// Opens a pipe. The last value is how many bytes it holds: `size`, or less where the user's pipes hold
/// too much already (pipe(7)).
pub(crate) fn open_pipe(seam: &Seam, size: usize) -> io::Result<(PipeReader, PipeWriter, usize)> {
    seam.due(Call::OpenPipe, 0)?;
    let (reader, writer) = io::pipe()?;
    let resized = seam.due(Call::SizePipe, size).and_then(|size| {
        let size = i32::try_from(size).map_err(io::Error::other)?;
        syscall::resize_pipe(writer.as_fd(), size)
    });
    let size = resized.or_else(|_| syscall::pipe_size(writer.as_fd()))?;
    Ok((reader, writer, size))
}

/// Repeats a call for as long as signals interrupt it.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
