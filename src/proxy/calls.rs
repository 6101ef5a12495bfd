//! Every system call that a session makes on its sockets and pipes. They stand in one place so that a
//! test can have each of them fail, be interrupted, transfer less than asked, or take its time
//! ([`Seam`]); of that nothing is in a build that is not a test.

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

    /// Zero is the end of the stream; `WouldBlock`, that nothing came within the timeout.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            let length = self.seam.due(Call::Read, buffer.len())?;
            (&*self.stream).read(buffer.get_mut(..length).unwrap_or_default())
        })
    }

    /// What a [`Socket::read`] would find now; `WouldBlock`, that it would wait.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            let length = self.seam.due(Call::Peek, buffer.len())?;
            syscall::peek(self.as_fd(), buffer.get_mut(..length).unwrap_or_default())
        })
    }

    /// `WouldBlock`: there is no room.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| {
            let length = self.seam.due(Call::Send, bytes.len())?;
            let bytes = bytes.get(..length).unwrap_or_default();
            SockRef::from(&*self.stream).send_with_flags(bytes, MSG_DONTWAIT)
        })
    }

    /// Moves bytes from here into a pipe. Zero and errors are as of [`Socket::read`].
    pub(crate) fn splice_into(&self, pipe: &PipeWriter, length: usize) -> io::Result<usize> {
        uninterrupted(|| {
            let length = self.seam.due(Call::SpliceIn, length)?;
            syscall::move_bytes(self.as_fd(), pipe.as_fd(), length)
        })
    }

    /// Moves bytes out of a pipe to here. `WouldBlock`: there was no room within the timeout.
    pub(crate) fn splice_from(&self, pipe: &PipeReader, length: usize) -> io::Result<usize> {
        uninterrupted(|| {
            let length = self.seam.due(Call::SpliceOut, length)?;
            syscall::move_bytes(pipe.as_fd(), self.as_fd(), length)
        })
    }

    /// Reads from a pipe what did not go by [`Socket::splice_from`].
    pub(crate) fn read_pipe(&self, mut pipe: &PipeReader, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| {
            let length = self.seam.due(Call::ReadPipe, buffer.len())?;
            pipe.read(buffer.get_mut(..length).unwrap_or_default())
        })
    }

    /// Sleeps until one of the descriptors is ready, or that long. It may return before, with none.
    pub(crate) fn wait(&self, fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
        uninterrupted(|| self.seam.due(Call::Poll, 0))?;
        syscall::wait(fds, timeout)
    }

    /// Neither reset nor ended in both directions, the peer having confirmed our end.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        let name = uninterrupted(|| {
            self.seam.due(Call::PeerName, 0)?;
            self.stream.peer_addr()
        });
        match name {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the end of its last handle resets the connection (SO_LINGER at zero, socket(7)). What
    /// is on its way to the peer is lost then; otherwise it arrives all the same.
    pub(crate) fn reset_on_close(&self, reset: bool) -> io::Result<()> {
        uninterrupted(|| {
            self.seam.due(Call::Linger, 0)?;
            SockRef::from(&*self.stream).set_linger(reset.then_some(Duration::ZERO))
        })
    }

    /// Bounds how long a read of it waits.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        uninterrupted(|| {
            self.seam.due(Call::Timeout, 0)?;
            self.stream.set_read_timeout(timeout)
        })
    }

    /// Bounds how long [`Socket::splice_from`] waits for room.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        uninterrupted(|| {
            self.seam.due(Call::Timeout, 0)?;
            self.stream.set_write_timeout(timeout)
        })
    }

    /// Sends our FIN, after all that was sent.
    pub(crate) fn end_writes(&self) -> io::Result<()> {
        uninterrupted(|| {
            self.seam.due(Call::EndWrites, 0)?;
            self.stream.shutdown(Shutdown::Write)
        })
    }

    /// Has reads end that wait for something, without a word to the peer.
    pub(crate) fn end_reads(&self) -> io::Result<()> {
        uninterrupted(|| {
            self.seam.due(Call::EndReads, 0)?;
            self.stream.shutdown(Shutdown::Read)
        })
    }

    /// What the kernel knows of the connection.
    pub(crate) fn facts(&self) -> io::Result<Facts> {
        uninterrupted(|| {
            self.seam.due(Call::Facts, 0)?;
            Facts::of(self.as_fd())
        })
    }

    /// Has the kernel ask a peer that does not answer at least this often, where it can.
    pub(crate) fn set_longest_wait(&self, wait: Duration) -> io::Result<()> {
        uninterrupted(|| tcp::set_longest_wait(self.as_fd(), wait))
    }

    /// Resets the connection, whoever else uses it; see [`syscall::disconnect`].
    pub(crate) fn disconnect(&self) -> io::Result<()> {
        uninterrupted(|| {
            self.seam.due(Call::Disconnect, 0)?;
            syscall::disconnect(self.as_fd())
        })
    }
}

/// A pipe, and how many bytes it holds: `size`, or less where a user's pipes hold too much already
/// (pipe(7)).
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

/// The outcome of a call that is made again for as long as signals interrupt it.
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
