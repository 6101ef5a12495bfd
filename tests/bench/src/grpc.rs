//! A client of etcd's KV service: unary gRPC calls over HTTP/2 without TLS, one at a time on a connection.
//!
//! The headers of responses are not decoded: a call that fails has no message, which is all that must be known here. The
//! server's settings and pings are answered, its window is given back.

use std::io::{Read, Write};
use std::net::TcpStream;

#[path = "../../support/grpc_frames.rs"]
mod frames;

use crate::wire::broken;
use frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, headers, message, put_frame,
};

/// SETTINGS_MAX_FRAME_SIZE as it is without a setting: nothing longer may come.
const MAX_FRAME: usize = 16_384;

/// The window is given back when this much of its 65,535 bytes is used.
const WINDOW_USED: u32 = 16_384;

pub struct Client {
    stream: TcpStream,
    /// Of the next call.
    id: u32,
    out: Vec<u8>,
    frame: Vec<u8>,
    message: Vec<u8>,
    /// Bytes of DATA that the server has not been told of.
    used: u32,
}

/// The frame that was read last; its payload is in `Client::frame`.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Client {
    /// Begins HTTP/2 on a connection.
    pub fn new(mut stream: TcpStream) -> std::io::Result<Client> {
        let mut out = PREFACE.to_vec();
        put_frame(&mut out, SETTINGS, 0, 0, &[]);
        stream.write_all(&out)?;
        Ok(Client {
            stream,
            id: 1,
            out,
            frame: Vec::new(),
            message: Vec::new(),
            used: 0,
        })
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        let request = [field(1, key), field(2, value)].concat();
        self.call("/etcdserverpb.KV/Put", &request)?;
        Ok(())
    }

    /// Reads a key; an error if it does not have `value`.
    pub fn range(&mut self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        let response = self.call("/etcdserverpb.KV/Range", &field(1, key))?;
        // KeyValue.value is field 5; that it ends the response is not promised.
        let wanted = field(5, value);
        match response.windows(wanted.len()).any(|part| part == wanted) {
            true => Ok(()),
            false => Err(broken("etcd answers with another value")),
        }
    }

    /// Sends a request and returns the response, both in protobuf.
    fn call(&mut self, path: &str, request: &[u8]) -> std::io::Result<&[u8]> {
        let id = self.id;
        self.id += 2;
        self.out.clear();
        put_frame(&mut self.out, HEADERS, END_HEADERS, id, &headers(path));
        put_frame(&mut self.out, DATA, END_STREAM, id, &message(request));
        self.stream.write_all(&self.out)?;
        self.message.clear();
        loop {
            let frame = self.read_frame()?;
            let ours = frame.stream == id;
            match frame.kind {
                DATA => {
                    self.used += u32::try_from(self.frame.len()).unwrap_or(u32::MAX);
                    self.message.extend_from_slice(&self.frame);
                }
                SETTINGS if frame.flags & ACK == 0 => self.answer(SETTINGS, ACK, &[])?,
                PING if frame.flags & ACK == 0 => {
                    let payload = self.frame.clone();
                    self.answer(PING, ACK, &payload)?;
                }
                RST_STREAM | GOAWAY => return Err(broken("etcd gave up the call")),
                _ => {}
            }
            if ours && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                break;
            }
        }
        if self.used >= WINDOW_USED {
            self.answer(WINDOW_UPDATE, 0, &self.used.to_be_bytes())?;
            self.used = 0;
        }
        match self.message.split_first_chunk::<5>() {
            Some(([0, length @ ..], rest))
                if u32::from_be_bytes(*length) as usize == rest.len() =>
            {
                Ok(rest)
            }
            Some(_) => Err(broken("a response is cut or compressed")),
            None => Err(broken("etcd refused the call")),
        }
    }

    fn read_frame(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if length > MAX_FRAME {
            return Err(broken("not HTTP/2: a frame is too long"));
        }
        self.frame.resize(length, 0);
        self.stream.read_exact(&mut self.frame)?;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        Ok(Frame {
            kind,
            flags,
            stream,
        })
    }

    /// A frame of the connection as a whole.
    fn answer(&mut self, kind: u8, flags: u8, payload: &[u8]) -> std::io::Result<()> {
        self.out.clear();
        put_frame(&mut self.out, kind, flags, 0, payload);
        self.stream.write_all(&self.out)
    }
}
