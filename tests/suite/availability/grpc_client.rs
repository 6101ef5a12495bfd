//! A gRPC client that keeps one connection and sends no pings, as Python's and clientv3's do unless told otherwise.
//!
//! The headers of responses are not decoded: a call that fails has no message. Each call has 5 s; one that has no answer by
//! then is cancelled, and the connection stays. Only a connection that breaks is made again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::access::Access;
use super::load::{Call, Notes};
use crate::support::grpc_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, headers, message, put_frame,
};

const DEADLINE: Duration = Duration::from_secs(5);
/// Between two calls.
const PAUSE: Duration = Duration::from_millis(250);

/// Error code of RST_STREAM (section 7).
const CANCEL: u32 = 8;

/// Calls without end on one connection.
pub(super) struct Channel {
    stop: Arc<AtomicBool>,
    caller: Option<JoinHandle<()>>,
}

impl Channel {
    pub(super) fn start(
        access: &Access,
        notes: &Notes,
        front: &'static str,
        lane: usize,
        gateway: &str,
    ) -> Channel {
        let (access, notes) = (access.clone(), notes.clone());
        let (stop, gateway) = (Arc::new(AtomicBool::new(false)), gateway.to_owned());
        let stopped = Arc::clone(&stop);
        let caller = std::thread::spawn(move || {
            let mut connection = None;
            while !stopped.load(Ordering::SeqCst) {
                notes.make((front, Call::Channel, lane), || {
                    let outcome = call(&mut connection, &access, &gateway);
                    if outcome == Err(Failure::Broken) {
                        connection = None;
                    }
                    outcome.map_err(|failure| format!("{failure:?}"))
                });
                std::thread::sleep(PAUSE);
            }
        });
        Channel {
            stop,
            caller: Some(caller),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(caller) = self.caller.take() {
            let _ = caller.join();
        }
    }
}

#[derive(Debug, PartialEq)]
enum Failure {
    /// The connection is of no more use.
    Broken,
    /// No answer in time.
    Late,
    /// The member answered that it cannot.
    Refused,
}

fn call(
    connection: &mut Option<Connection>,
    access: &Access,
    gateway: &str,
) -> Result<(), Failure> {
    let deadline = Instant::now() + DEADLINE;
    let open = match connection {
        Some(open) => open,
        None => {
            let opened = Connection::open(access, gateway).ok_or(Failure::Broken)?;
            connection.insert(opened)
        }
    };
    open.put(deadline)
}

/// A connection whose bytes come through a thread of its own, for a pipe has no time-out.
struct Connection {
    write: Box<dyn Write>,
    incoming: Receiver<Vec<u8>>,
    buffer: Vec<u8>,
    /// Of the next call.
    id: u32,
    settled: bool,
    /// Ends the reading thread when dropped.
    _end: End,
}

enum End {
    Tcp(TcpStream),
    Pipe(Child),
}

impl Drop for End {
    fn drop(&mut self) {
        match self {
            End::Tcp(stream) => {
                let _ = stream.shutdown(Shutdown::Both);
            }
            End::Pipe(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Connection {
    fn open(access: &Access, gateway: &str) -> Option<Connection> {
        let (read, write, end): (Box<dyn Read + Send>, Box<dyn Write>, End);
        if let Some(mut command) = access.tls_pipe(gateway, "h2") {
            let mut child = command.spawn().ok()?;
            read = Box::new(child.stdout.take()?);
            write = Box::new(child.stdin.take()?);
            end = End::Pipe(child);
        } else {
            let stream = TcpStream::connect(gateway).ok()?;
            stream.set_nodelay(true).ok()?;
            read = Box::new(stream.try_clone().ok()?);
            write = Box::new(stream.try_clone().ok()?);
            end = End::Tcp(stream);
        }
        let (sender, incoming) = sync_channel(64);
        std::thread::spawn(move || {
            let (mut read, mut bytes) = (read, [0; 4096]);
            while let Ok(count @ 1..) = read.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut connection = Connection {
            write,
            incoming,
            buffer: Vec::new(),
            id: 1,
            settled: false,
            _end: end,
        };
        let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        connection.send(&hello).ok()?;
        Some(connection)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = self
            .write
            .write_all(bytes)
            .and_then(|()| self.write.flush());
        sent.map_err(|_| Failure::Broken)
    }

    fn put(&mut self, deadline: Instant) -> Result<(), Failure> {
        // A connection counts as made when the server has said what it expects, as with any gRPC client.
        while !self.settled {
            let frame = self.next(deadline)?;
            self.heed(&frame)?;
        }
        let id = self.id;
        self.id += 2;
        let put = [field(1, b"channel"), field(2, b"v")].concat();
        let request = [
            frame(HEADERS, END_HEADERS, id, &headers("/etcdserverpb.KV/Put")),
            frame(DATA, END_STREAM, id, &message(&put)),
        ];
        self.send(&request.concat())?;
        let outcome = self.answer(id, deadline);
        if outcome == Err(Failure::Late) {
            self.send(&frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()))?;
        }
        outcome
    }

    fn answer(&mut self, id: u32, deadline: Instant) -> Result<(), Failure> {
        let mut message = false;
        loop {
            let frame = self.next(deadline)?;
            self.heed(&frame)?;
            if frame.stream != id {
                continue;
            }
            message |= frame.kind == DATA && frame.payload.len() >= 5;
            if frame.kind == RST_STREAM {
                return Err(Failure::Refused);
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return if message {
                    Ok(())
                } else {
                    Err(Failure::Refused)
                };
            }
        }
    }

    /// What concerns the connection as a whole.
    fn heed(&mut self, got: &Frame) -> Result<(), Failure> {
        match got.kind {
            SETTINGS if got.flags & ACK == 0 => {
                self.settled = true;
                self.send(&frame(SETTINGS, ACK, 0, &[]))
            }
            PING if got.flags & ACK == 0 => self.send(&frame(PING, ACK, 0, &got.payload)),
            DATA if !got.payload.is_empty() => {
                let used = u32::try_from(got.payload.len()).unwrap_or(u32::MAX);
                self.send(&frame(WINDOW_UPDATE, 0, 0, &used.to_be_bytes()))
            }
            GOAWAY => Err(Failure::Broken),
            _ => Ok(()),
        }
    }

    fn next(&mut self, deadline: Instant) -> Result<Frame, Failure> {
        loop {
            if let Some((&[l0, l1, l2, kind, flags, s0, s1, s2, s3], rest)) =
                self.buffer.split_first_chunk::<9>()
            {
                let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                if let Some(payload) = rest.get(..length) {
                    let payload = payload.to_vec();
                    self.buffer.drain(..9 + length);
                    let stream = u32::from_be_bytes([s0, s1, s2, s3]);
                    return Ok(Frame {
                        kind,
                        flags,
                        stream,
                        payload,
                    });
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.incoming.recv_timeout(left) {
                Ok(bytes) => self.buffer.extend(bytes),
                Err(RecvTimeoutError::Timeout) => return Err(Failure::Late),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Broken),
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, kind, flags, stream, payload);
    out
}
