//! Requests and responses of a fixed size: on each connection the next request follows the response.
//!
//! Up to two connections have a blocking thread each, here and in the upstream, which is what adds least to the latency
//! that is measured; more of them share one thread and an epoll, which is what costs least CPU.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Instant;

use super::{
    Latencies, ROOM, STUCK, Sample, Timing, Window, connect, describe, joined, nanoseconds, said,
};
use crate::peers::Running;
use crate::sys::{Epoll, Event};
use crate::wire::{Mode, Request, broken};

/// Up to this many connections have a thread each.
const ALONE: u32 = 2;

pub fn run(
    timing: Timing,
    running: &Running,
    size: u32,
    connections: u32,
) -> Result<Sample, String> {
    let (window, address) = (Window::default(), running.address);
    thread::scope(|scope| {
        let window = &window;
        let threads: Vec<_> = match connections {
            0..=ALONE => (0..connections)
                .map(|i| scope.spawn(move || alone(address, size, i, window)))
                .collect(),
            _ => vec![scope.spawn(move || together(address, size, connections, window))],
        };
        let measured = window.run(timing, running);
        let mut latencies = Latencies::new();
        for thread in threads {
            latencies.append(&mut joined(thread)?);
        }
        let count = latencies.len() as f64;
        let mut sample = describe(&mut latencies, measured.seconds);
        sample.extend(measured.cpu_each(count, 1e6));
        Ok(sample)
    })
}

/// One connection on this thread.
pub(super) fn alone(
    address: SocketAddr,
    size: u32,
    id: u32,
    window: &Window,
) -> Result<Latencies, String> {
    let stream = connect(address)?;
    let mut request = Request::new(Mode::EchoAlone(size), id);
    let mut response = vec![0; request.size()];
    let mut latencies = Latencies::with_capacity(ROOM);
    while !window.done() {
        let start = Instant::now();
        request
            .exchange(&stream, &mut response)
            .map_err(said("exchange"))?;
        if window.measuring() {
            latencies.push(nanoseconds(start.elapsed()));
        }
    }
    Ok(latencies)
}

struct Client {
    stream: std::net::TcpStream,
    request: Request,
    response: Vec<u8>,
    /// How much of the response is there.
    have: usize,
    sent: Instant,
}

/// Many connections on this thread.
fn together(
    address: SocketAddr,
    size: u32,
    connections: u32,
    window: &Window,
) -> Result<Latencies, String> {
    let epoll = Epoll::new().map_err(said("epoll"))?;
    let mut clients = Vec::new();
    for id in 0..connections {
        let stream = connect(address)?;
        epoll
            .add(stream.as_raw_fd(), u64::from(id))
            .map_err(said("epoll"))?;
        let request = Request::new(Mode::Echo(size), id);
        clients.push(Client {
            stream,
            response: vec![0; request.size()],
            request,
            have: 0,
            sent: Instant::now(),
        });
    }
    for client in &mut clients {
        client.send().map_err(said("request"))?;
    }
    let mut latencies = Latencies::with_capacity(ROOM);
    let mut events = vec![Event::default(); connections as usize];
    let patience = i32::try_from(STUCK.as_millis()).unwrap_or(i32::MAX);
    while !window.done() {
        let ready = epoll.wait(&mut events, patience).map_err(said("epoll"))?;
        if ready.is_empty() {
            return Err(format!("no response within {STUCK:?}"));
        }
        for event in ready {
            let client = &mut clients[event.token() as usize];
            if !client.receive().map_err(said("response"))? {
                continue;
            }
            if window.measuring() {
                latencies.push(nanoseconds(client.sent.elapsed()));
            }
            client.send().map_err(said("request"))?;
        }
    }
    Ok(latencies)
}

impl Client {
    fn send(&mut self) -> std::io::Result<()> {
        self.sent = Instant::now();
        self.have = 0;
        (&self.stream).write_all(self.request.next())
    }

    /// Reads what is there; whether the response is whole.
    fn receive(&mut self) -> std::io::Result<bool> {
        match (&self.stream).read(&mut self.response[self.have..])? {
            0 => return Err(broken("the connection was closed")),
            n => self.have += n,
        }
        if self.have < self.response.len() {
            return Ok(false);
        }
        self.request.check(&self.response)?;
        Ok(true)
    }
}
