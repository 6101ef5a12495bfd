//! One direction of a session in a thread of its own.
//!
//! Messages go through a buffer as small as they are. What is larger goes through a
//! larger one, and what goes on for long is moved inside the kernel, through a pipe
//! (splice(2)). Both are given back when bulk ends, so that a connection that is idle
//! holds neither. Each way moves the same bytes in the same order, and what a pipe still
//! holds is sent before anything is read again.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;

use super::{Direction, Relay, Side, finish, watch};
use crate::proxy::cause::Cause;
use crate::proxy::pipes::{Pipe, Pipes};
use crate::stats::Counter;
use crate::sys::syscall::{self, PollFd, errno};

/// Bytes of a message; one that is larger takes several reads. Most messages of etcd's
/// clients are far smaller. With a buffer of this size an idle worker's stack is two pages.
const MESSAGE: usize = 2 * 1024;

/// What a message is read into.
pub(crate) type Buffer = [u8; MESSAGE];

/// Bytes read at a time where messages are larger: makes the cost of a call small beside
/// that of copying.
const LARGE: usize = 64 * 1024;

/// Bytes without a small read between them that are worth a pipe.
const BULK: usize = 256 * 1024;

/// So many small reads in a row, and bulk is over.
const CALM: u32 = 16;

/// Nothing for so long, and bulk is over.
const LULL: Duration = Duration::from_millis(500);

/// How long a write of bulk waits for room before it looks after the sender, too.
const ROOM_PATIENCE: Duration = Duration::from_millis(100);

/// A write that does not wait (send(2)); the same number on all of Linux.
const MSG_DONTWAIT: i32 = 0x40;

/// Pause where the kernel has no memory for what a socket has room for.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(5);

/// Pause where poll(2) itself fails, for want of kernel memory.
pub(super) const POLL_FAILED_PAUSE: Duration = Duration::from_millis(100);

/// How one direction's copying came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The sender has ended its direction; all it sent was passed on.
    Eof,
    /// The sender's connection failed.
    ReadFailed,
    /// The receiver's connection failed.
    WriteFailed,
}

/// What a wait for room ended with.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// It is worth trying again.
    Maybe,
    /// The connection that the bytes came from has failed.
    SenderFailed,
}

impl Relay {
    /// One direction of it.
    pub(super) fn flow(&self, direction: Direction) -> Flow<'_> {
        let (from, to) = self.sides(direction);
        let passed: [&Counter; 2] = match direction {
            Direction::ToEndpoint => [&self.account.to_endpoint, &self.to_endpoint],
            Direction::ToClient => [&self.account.to_client, &self.to_client],
        };
        Flow {
            relay: self,
            from,
            to,
            passed,
        }
    }

    /// Copies one direction until the session is over for it, what is `pending` in the
    /// buffer first. Called once for each direction, from two threads.
    pub(crate) fn run(
        &self,
        direction: Direction,
        pipes: &Pipes,
        buffer: &mut Buffer,
        pending: Range<usize>,
    ) {
        let (from, to) = self.sides(direction);
        if to.is_finished() {
            return watch(self, from, to);
        }
        let flow = self.flow(direction);
        let Err(end) = flow.copy(pipes, buffer, pending);
        self.end(end, from, to);
    }

    fn end(&self, end: End, from: &Side, to: &Side) {
        match self.conclude(end, from, to) {
            Ok(()) => watch(self, from, to),
            // The other direction reads from that connection: it passes on what came
            // before the failure, then finds the failure itself.
            Err(End::WriteFailed) => self.fail(Cause::Failed(to.party)),
            Err(End::Eof | End::ReadFailed) => self.abort(Cause::Failed(from.party)),
        }
    }

    /// Passes an end of stream on, if it is one. Otherwise: whose connection has failed. The
    /// receiver's may have, unnoticed, before there was an end to pass on.
    pub(super) fn conclude(&self, end: End, from: &Side, to: &Side) -> Result<(), End> {
        match end {
            End::Eof => {
                let connected = from.is_connected();
                if !self.ended_cleanly(from, connected) {
                    return Err(End::ReadFailed);
                }
                // Before the receiver hears of it: its own end may follow at once.
                let _ = self.closed.set(from.party);
                if !finish(to) {
                    return Err(End::WriteFailed);
                }
                if from.is_finished() {
                    self.settle(to);
                    if connected {
                        self.settle(from);
                    }
                }
                Ok(())
            }
            End::ReadFailed | End::WriteFailed => Err(end),
        }
    }
}

/// One direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow<'a> {
    pub(super) relay: &'a Relay,
    pub(super) from: &'a Side,
    pub(super) to: &'a Side,
    /// Count what `to` was given: for its endpoint and for this session.
    passed: [&'a Counter; 2],
}

impl Flow<'_> {
    /// Reads and writes until one of the two ends.
    fn copy(
        self,
        pipes: &Pipes,
        buffer: &mut Buffer,
        pending: Range<usize>,
    ) -> Result<Infallible, End> {
        self.send(buffer.get(pending).unwrap_or_default())?;
        loop {
            let bytes = self.read(buffer)?;
            self.send(bytes)?;
            if bytes.len() == MESSAGE {
                self.copy_bulk(pipes)?;
            }
        }
    }

    /// What has come; nothing only if it did not within the socket's timeout.
    pub(super) fn read<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], End> {
        loop {
            match (&*self.from.stream).read(buffer) {
                Ok(0) => return Err(End::Eof),
                Ok(_) if self.is_aborted() => return Err(End::ReadFailed),
                // A read returns no more than the buffer holds.
                Ok(count) => return Ok(buffer.get(..count).unwrap_or_default()),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return Ok(&[]),
                    _ => return Err(End::ReadFailed),
                },
            }
        }
    }

    fn count(&self, bytes: usize) {
        self.passed
            .iter()
            .for_each(|counter| counter.add(bytes as u64));
    }

    fn is_aborted(&self) -> bool {
        self.relay.aborted.load(Ordering::SeqCst)
    }

    fn send(&self, mut bytes: &[u8]) -> Result<(), End> {
        let mut waits = 0;
        loop {
            let rest = self.offer(bytes)?;
            if rest.is_empty() {
                return Ok(());
            }
            if rest.len() < bytes.len() {
                waits = 0;
            }
            bytes = rest;
            self.wait_for_room(&mut waits)?;
        }
    }

    /// Sends what there is room for; returns the rest.
    pub(super) fn offer<'b>(&self, mut bytes: &'b [u8]) -> Result<&'b [u8], End> {
        let socket = SockRef::from(&*self.to.stream);
        while !bytes.is_empty() {
            match socket.send_with_flags(bytes, MSG_DONTWAIT) {
                Ok(count) => {
                    self.count(count);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => break,
                    _ => return Err(End::WriteFailed),
                },
            }
        }
        Ok(bytes)
    }

    /// Moves what is more than messages until it becomes little again.
    #[inline(never)]
    fn copy_bulk(&self, pipes: &Pipes) -> Result<(), End> {
        // Nobody else reads from there. Without it, the buffer is kept through a silence.
        let _ = self.from.stream.set_read_timeout(Some(LULL));
        let outcome = match self.copy_large(pipes) {
            Ok(Some(pipe)) => self.splice(pipes, pipe),
            Ok(None) => Ok(()),
            Err(end) => Err(end),
        };
        let _ = self.from.stream.set_read_timeout(None);
        outcome
    }

    /// Copies until little comes, or so much that it is worth a pipe.
    fn copy_large(&self, pipes: &Pipes) -> Result<Option<Pipe>, End> {
        let mut buffer = vec![0; LARGE];
        let (mut run, mut calm) = (0, 0);
        while calm < CALM {
            let bytes = self.read(&mut buffer)?;
            if bytes.is_empty() {
                break;
            }
            self.send(bytes)?;
            if bytes.len() <= MESSAGE {
                (run, calm) = (0, calm + 1);
                continue;
            }
            (run, calm) = (run + bytes.len(), 0);
            if run >= BULK {
                run = 0;
                if let Some(pipe) = pipes.take() {
                    return Ok(Some(pipe));
                }
            }
        }
        Ok(None)
    }

    /// Moves bytes inside the kernel until little comes.
    fn splice(&self, pipes: &Pipes, pipe: Pipe) -> Result<(), End> {
        // Bounds only this: all other writes to that socket do not wait at all.
        let _ = self.to.stream.set_write_timeout(Some(ROOM_PATIENCE));
        let mut calm = 0;
        while calm < CALM && pipes.are_of_use() && !self.is_aborted() {
            match self.fill(pipes, &pipe) {
                Ok(0) => break,
                // A pipe that could not be emptied is closed, not put back.
                Ok(count) => {
                    self.drain(pipes, &pipe, count)?;
                    // The kernel takes as long for a pipe as for many messages: those of other
                    // sessions, whose threads wait for a processor, come first.
                    std::thread::yield_now();
                    calm = if count <= MESSAGE { calm + 1 } else { 0 };
                }
                Err(end) => {
                    pipes.put_back(pipe);
                    return Err(end);
                }
            }
        }
        pipes.put_back(pipe);
        Ok(())
    }

    /// Fills an empty pipe with what has come. Zero: nothing for long, or no splicing here, or
    /// the end; which of them, a read tells. splice(2) returns zero also for what it cannot
    /// take (urgent data, a page it has no memory for) once the sender's FIN is in the queue
    /// behind it.
    fn fill(&self, pipes: &Pipes, pipe: &Pipe) -> Result<usize, End> {
        loop {
            let (from, to) = (self.from.stream.as_fd(), pipe.writer.as_fd());
            match syscall::move_bytes(from, to, pipe.size) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if is_refusal(&error) => {
                    pipes.refuse();
                    return Ok(0);
                }
                Err(_) => return Err(End::ReadFailed),
            }
        }
    }

    /// Sends the `count` bytes that a pipe holds.
    fn drain(&self, pipes: &Pipes, pipe: &Pipe, mut count: usize) -> Result<(), End> {
        let mut waits = 0;
        while count > 0 {
            let (from, to) = (pipe.reader.as_fd(), self.to.stream.as_fd());
            match syscall::move_bytes(from, to, count) {
                Ok(0) => return Err(End::WriteFailed),
                Ok(moved) => {
                    self.count(moved);
                    count = count.saturating_sub(moved);
                    waits = 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_for_room(&mut waits)?;
                }
                Err(error) if is_refusal(&error) => {
                    pipes.refuse();
                    return self.drain_by_copy(pipe, count);
                }
                Err(_) => return Err(End::WriteFailed),
            }
        }
        Ok(())
    }

    /// The same where the kernel takes bytes into a pipe, but not out of it.
    fn drain_by_copy(&self, pipe: &Pipe, mut count: usize) -> Result<(), End> {
        let mut buffer = vec![0; LARGE];
        while count > 0 {
            match (&pipe.reader).read(&mut buffer) {
                Ok(0) => return Err(End::ReadFailed),
                Ok(got) => {
                    count = count.saturating_sub(got);
                    self.send(buffer.get(..got).unwrap_or_default())?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::ReadFailed),
            }
        }
        Ok(())
    }

    /// Waits until `to` takes more, or until the sender's connection fails: nobody reads
    /// from that while this direction waits here, and its peer may be long gone. `waits`
    /// counts how often that was done since anything was sent.
    fn wait_for_room(&self, waits: &mut u32) -> Result<(), End> {
        // There was room a moment ago, and there is none: the kernel is short of memory,
        // which poll does not tell.
        if *waits > 0 {
            std::thread::sleep(SHORTAGE_PAUSE);
        }
        *waits += 1;
        match self.room() {
            Room::Maybe if !self.is_aborted() => Ok(()),
            Room::Maybe | Room::SenderFailed => Err(End::ReadFailed),
        }
    }

    fn room(&self) -> Room {
        let (from, to) = (self.from.stream.as_fd(), self.to.stream.as_fd());
        let mut fds = [PollFd::writable(to), PollFd::hung_up(from)];
        loop {
            // Without poll a blocking write would do as well, but for the above.
            if syscall::wait(&mut fds, None).is_err() {
                std::thread::sleep(POLL_FAILED_PAUSE);
                return Room::Maybe;
            }
            let [room, sender] = &fds;
            if sender.has_error()
                || sender.is_ready()
                    && !self
                        .relay
                        .ended_cleanly(self.from, self.from.is_connected())
            {
                return Room::SenderFailed;
            }
            if room.is_ready() {
                return Room::Maybe;
            }
            if sender.is_ready() {
                // Both directions of the sender have ended as they should; that stays so.
                fds[1] = PollFd::nothing(from);
            }
        }
    }
}

/// Whether an error says that there is no splice(2) here, or not between such
/// descriptors, or that a filter of system calls or a security module forbids it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(errno::EPERM | errno::EACCES | errno::EINVAL | errno::ENOSYS)
    )
}
