//! One direction of a session: how its bytes are read and written.
//!
//! Messages go through a buffer that is as small as they are. More goes through a
//! larger buffer, and bulk that lasts is moved inside the kernel, through a pipe
//! (splice(2)). Both are returned when bulk ends, so that an idle connection
//! holds neither. All three move the same bytes in the same order, and what a pipe still
//! holds is sent before anything is read again.

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::end::{End, Next, POLL_FAILED_PAUSE, Watched};
use super::pair::{Direction, Directions, Relay, Side};
use crate::proxy::cause::{Cause, Failure, is_of_the_connection};
use crate::proxy::pipes::{self, Pipe, Pipes};
use crate::stats::Counter;
use crate::sys::syscall::PollFd;

/// Bytes of a message; a larger one takes several reads. Most messages of etcd's
/// clients are far smaller. With a buffer of this size an idle worker's stack is two pages.
const MESSAGE: usize = 2 * 1024;

/// What a message is read into.
pub(super) type Buffer = [u8; MESSAGE];

/// Bytes read at a time where messages are larger: the cost of a call is small compared to
/// that of copying.
const LARGE: usize = 64 * 1024;

/// So many bytes without a small read between them are worth a pipe.
const BULK: usize = 256 * 1024;

/// After this many small reads in a row, bulk is over.
const CALM: u32 = 16;

/// After this time without bytes, bulk is over.
const LULL: Duration = Duration::from_millis(500);

/// How long a write of bulk waits for room before the sender is checked, too.
const ROOM_PATIENCE: Duration = Duration::from_millis(100);

/// Pause where a socket has room, but the kernel has no memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(5);

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

    /// Passes on what comes first after a silence, as far as there is room for it at once: to start a thread takes
    /// longer. Never waits. To be called while no thread serves the direction;
    /// the rest, ends and failures included, is for the thread that serves it next.
    pub(crate) fn pass_first(&self, direction: Direction) {
        let (from, to) = self.sides(direction);
        // After the end of a direction nothing more is sent, and after a failure no new bytes.
        if to.is_finished() || self.failure().is_some() {
            return;
        }
        let mut buffer: Buffer = [0; _];
        let there = match from.socket.peek(&mut buffer) {
            Ok(there) => there,
            // The kernel reports a failure once: the next read would find an end of stream, and might take it for that
            // of a connection that has ended in both directions.
            Err(error) if is_of_the_connection(&error) => {
                return self.abort(Failure::of(from.party, error));
            }
            Err(_) => return,
        };
        let first = buffer.get(..there).unwrap_or_default();
        if first.is_empty() {
            return;
        }
        let mut sent = match to.socket.send(first) {
            Ok(sent) => sent,
            // A dead connection reports it again.
            Err(_) if matches!(to.socket.is_connected(), Ok(false)) => return,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => return self.abort(Failure::of(to.party, error)),
        };
        self.flow(direction).count(sent);
        while sent > 0 {
            // They are there, and no other thread reads. Unread, they would be sent a second time.
            match from.socket.read(buffer.get_mut(..sent).unwrap_or_default()) {
                Ok(0) => return self.abort(Cause::Failed(from.party)),
                Ok(count) => sent = sent.saturating_sub(count),
                // The socket's timeout was over before the kernel returned them.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return self.abort(Failure::of(from.party, error)),
            }
        }
    }

    /// Serves one direction until the session is over for it, or until it is silent, which is returned. What is
    /// `pending` in the buffer is sent first. No two threads do this for one direction.
    pub(super) fn serve_one(
        &self,
        direction: Direction,
        pipes: &Pipes,
        buffer: &mut Buffer,
        pending: Range<usize>,
    ) -> Option<Directions> {
        let (from, to) = self.sides(direction);
        let silent = Some(Directions::One(direction));
        if !to.is_finished() {
            let Err(end) = self.flow(direction).copy(pipes, buffer, pending) else {
                return silent;
            };
            if self.on_end(end, from, to) != Next::Watch {
                return None;
            }
        }
        silent.filter(|_| self.watch(from, to) == Watched::Silence)
    }
}

/// One direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow<'a> {
    pub(super) relay: &'a Relay,
    pub(super) from: &'a Side,
    pub(super) to: &'a Side,
    /// Count the bytes sent to `to`: for its endpoint and for this session.
    passed: [&'a Counter; 2],
}

impl Flow<'_> {
    /// Reads and writes until the direction ends, or nothing has come for long.
    fn copy(self, pipes: &Pipes, buffer: &mut Buffer, pending: Range<usize>) -> Result<(), End> {
        self.send(buffer.get(pending).unwrap_or_default())?;
        // No other thread reads from there. If this fails, the thread waits for as long as it takes.
        let _ = self.limit_reads(self.relay.busy_silence);
        loop {
            let bytes = self.read(buffer)?;
            if bytes.is_empty() {
                return Ok(());
            }
            self.send(bytes)?;
            if bytes.len() == MESSAGE {
                self.copy_bulk(pipes)?;
            }
        }
    }

    /// Limits how long a read waits from now on.
    fn limit_reads(&self, time: Option<Duration>) -> io::Result<()> {
        self.from.socket.set_read_timeout(time)
    }

    /// Reads what has come; empty only after the socket's timeout.
    pub(super) fn read<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], End> {
        match self.from.socket.read(buffer) {
            Ok(0) => Err(End::Eof),
            // A read returns no more than the buffer holds.
            Ok(count) => Ok(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(&[]),
            Err(error) => Err(Failure::of(self.from.party, error).into()),
        }
    }

    fn sender_failed(&self) -> End {
        Cause::Failed(self.from.party).into()
    }

    fn count(&self, bytes: usize) {
        self.passed
            .iter()
            .for_each(|counter| counter.add(bytes as u64));
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

    /// Sends as much as there is room for; returns the rest.
    pub(super) fn offer<'b>(&self, mut bytes: &'b [u8]) -> Result<&'b [u8], End> {
        while !bytes.is_empty() {
            match self.to.socket.send(bytes) {
                Ok(count) => {
                    self.count(count);
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::of(self.to.party, error).into()),
            }
        }
        Ok(bytes)
    }

    /// Moves bulk until only little comes.
    #[inline(never)]
    fn copy_bulk(&self, pipes: &Pipes) -> Result<(), End> {
        // Without a timeout, the buffer would be kept through a silence: then nothing is treated as bulk.
        let lull = LULL.min(self.relay.silence);
        if self.limit_reads(Some(lull)).is_err() {
            return Ok(());
        }
        let pipe = match pipes.buffer(LARGE) {
            Some(buffer) => self.copy_large(pipes, buffer)?,
            // A pipe takes no memory of this process. Without one, bulk goes the way of messages.
            None => pipes.take(Instant::now()),
        };
        if let Some(pipe) = pipe {
            self.splice(pipes, pipe)?;
        }
        // If the short timeout stays, that is a shorter silence.
        let _ = self.limit_reads(self.relay.busy_silence);
        Ok(())
    }

    /// Copies until little comes, or so much that it is worth a pipe.
    fn copy_large(&self, pipes: &Pipes, mut buffer: pipes::Buffer) -> Result<Option<Pipe>, End> {
        let (mut run, mut calm) = (0, 0);
        while calm < CALM {
            let bytes = self.read(&mut buffer.bytes)?;
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
                if let Some(pipe) = pipes.take(Instant::now()) {
                    return Ok(Some(pipe));
                }
            }
        }
        Ok(None)
    }

    /// Moves bytes inside the kernel until little comes.
    fn splice(&self, pipes: &Pipes, pipe: Pipe) -> Result<(), End> {
        // This limits only splice(2): all other writes to that socket do not wait at all. Without it, a write
        // would not look at the sender.
        let limited = self.to.socket.set_write_timeout(Some(ROOM_PATIENCE));
        let (mut calm, mut moved, mut outcome) = (0, false, Ok(()));
        while limited.is_ok() && calm < CALM {
            let count = self.fill(pipes, &pipe).unwrap_or_else(|end| {
                outcome = Err(end);
                0
            });
            // A pipe that cannot be emptied is closed, not put back.
            if count == 0 || !self.drain(pipes, &pipe, count)? {
                break;
            }
            moved = true;
            // The kernel needs as long for a pipe as for many messages: those of other
            // sessions, whose threads wait for a processor, come first.
            std::thread::yield_now();
            calm = if count <= MESSAGE { calm + 1 } else { 0 };
        }
        pipes.put_back(pipe, moved, Instant::now());
        outcome
    }

    /// Fills an empty pipe with what has come. Zero: nothing came for long, or the host does not splice now, or
    /// the stream has ended; the next read finds out which. splice(2) also returns zero for data that it cannot
    /// move (urgent data, a page it has no memory for) if the sender's FIN is in the queue
    /// after it.
    fn fill(&self, pipes: &Pipes, pipe: &Pipe) -> Result<usize, End> {
        match self.from.socket.splice_into(&pipe.writer, pipe.size) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            // The kernel reports a failure of the connection only once.
            Err(error) if is_of_the_connection(&error) => Err(self.sender_failed()),
            Err(error) => {
                pipes.refused(&error, Instant::now());
                Ok(0)
            }
            filled => Ok(filled.unwrap_or_default()),
        }
    }

    /// Sends the `count` bytes that a pipe holds. False: they had to be copied.
    fn drain(&self, pipes: &Pipes, pipe: &Pipe, mut count: usize) -> Result<bool, End> {
        let mut waits = 0;
        while count > 0 {
            match self.to.socket.splice_from(&pipe.reader, count) {
                Ok(0) => return Err(empty_pipe()),
                Ok(moved) => {
                    self.count(moved);
                    count = count.saturating_sub(moved);
                    waits = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_for_room(&mut waits)?;
                }
                Err(error) if is_of_the_connection(&error) => {
                    return Err(Cause::Failed(self.to.party).into());
                }
                Err(error) => {
                    pipes.refused(&error, Instant::now());
                    self.drain_by_copy(pipe, count)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The same where the kernel moves bytes into a pipe, but not out of it.
    #[inline(never)]
    fn drain_by_copy(&self, pipe: &Pipe, mut count: usize) -> Result<(), End> {
        let mut buffer: Buffer = [0; MESSAGE];
        while count > 0 {
            match self.to.socket.read_pipe(&pipe.reader, &mut buffer) {
                Ok(0) => return Err(empty_pipe()),
                Ok(got) => {
                    count = count.saturating_sub(got);
                    self.send(buffer.get(..got).unwrap_or_default())?;
                }
                Err(error) => return Err(Failure::of_this_host(error).into()),
            }
        }
        Ok(())
    }

    /// Waits until `to` takes more, or until the sender's connection fails: no thread reads
    /// from that while this direction waits here, and its peer may be dead. `waits`
    /// counts the waits since anything was sent.
    fn wait_for_room(&self, waits: &mut u32) -> Result<(), End> {
        // poll has just reported room, and the send found none: the kernel is short of memory,
        // which poll does not show.
        if *waits > 0 {
            std::thread::sleep(SHORTAGE_PAUSE);
        }
        *waits += 1;
        let [from, to] = [self.from, self.to].map(|side| side.socket.as_fd());
        let mut watched = PollFd::hung_up(from);
        loop {
            let mut fds = [PollFd::writable(to), watched];
            if self.to.socket.wait(&mut fds, None).is_err() {
                // The next send finds out.
                std::thread::sleep(POLL_FAILED_PAUSE);
                return Ok(());
            }
            let [room, sender] = &fds;
            if sender.has_error() || sender.is_ready() && !self.relay.is_fin(self.from)? {
                return Err(self.sender_failed());
            }
            if room.is_ready() {
                return Ok(());
            }
            watched = if sender.is_ready() {
                // Both directions of the sender have ended in order; that stays so.
                PollFd::nothing(from)
            } else {
                PollFd::hung_up(from)
            };
        }
    }
}

/// A pipe is empty that must hold bytes.
fn empty_pipe() -> End {
    Failure::of_this_host(io::Error::other("a pipe holds less than was put into it")).into()
}
