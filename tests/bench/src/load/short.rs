//! Short connections, as of a client program that is started for one command: connect, one exchange, close.
//!
//! The client closes first and orderly, as such programs do; no reset hides the cost of closing. What that leaves in
//! TIME_WAIT takes a port for a second, so clients come from several addresses, and each gateway has an endpoint
//! address of its own: nobody runs out of ports, or searches long for one, through another's connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Instant;

use super::{
    Latencies, ROOM, STUCK, Sample, Timing, Window, connect_from, describe, joined, nanoseconds,
    said,
};
use crate::peers::Running;
use crate::sys::{Epoll, Event};
use crate::wire::{Mode, Request, broken};

/// How many connections there are at a time.
const CLIENTS: u32 = 16;

/// How many addresses clients come from.
const SOURCES: u8 = 8;

const SIZE: usize = 128;

pub fn run(timing: Timing, running: &Running) -> Result<Sample, String> {
    let window = Window::default();
    let address = running.address;
    thread::scope(|scope| {
        let clients = scope.spawn(|| clients(address, &window));
        let measured = window.run(timing, running);
        let mut latencies = joined(clients)?;
        let count = latencies.len() as f64;
        let mut sample = describe(&mut latencies, measured.seconds);
        sample.retain(|(name, _)| *name != "p99.9");
        sample.extend(measured.cpu_each(count, 1e6));
        Ok(sample)
    })
}

struct Client {
    stream: TcpStream,
    start: Instant,
    have: usize,
    response: [u8; SIZE],
}

fn clients(address: SocketAddr, window: &Window) -> Result<Latencies, String> {
    let epoll = Epoll::new().map_err(said("epoll"))?;
    let mut requests: Vec<Request> = (0..CLIENTS)
        .map(|id| Request::new(Mode::Echo(SIZE as u32), id))
        .collect();
    let mut clients = Vec::new();
    for (id, request) in requests.iter_mut().enumerate() {
        clients.push(Client::start(address, id, request, &epoll).map_err(said("connect"))?);
    }
    let mut latencies = Latencies::with_capacity(ROOM);
    let mut events = [Event::default(); CLIENTS as usize];
    let patience = i32::try_from(STUCK.as_millis()).unwrap_or(i32::MAX);
    while !window.done() {
        let ready = epoll.wait(&mut events, patience).map_err(said("epoll"))?;
        if ready.is_empty() {
            return Err(format!("no response within {STUCK:?}"));
        }
        for event in ready {
            let id = event.token() as usize;
            let (client, request) = (&mut clients[id], &mut requests[id]);
            match (&client.stream).read(&mut client.response[client.have..]) {
                Ok(0) => return Err(said("response")(broken("the connection was closed"))),
                Ok(n) => client.have += n,
                Err(error) => return Err(said("response")(error)),
            }
            if client.have < SIZE {
                continue;
            }
            request.check(&client.response).map_err(said("response"))?;
            if window.measuring() {
                latencies.push(nanoseconds(client.start.elapsed()));
            }
            // Dropping the old one closes it.
            clients[id] = Client::start(address, id, request, &epoll).map_err(said("connect"))?;
        }
    }
    Ok(latencies)
}

impl Client {
    /// Connects and sends the request.
    fn start(
        address: SocketAddr,
        id: usize,
        request: &mut Request,
        epoll: &Epoll,
    ) -> std::io::Result<Client> {
        let start = Instant::now();
        // On loopback this returns when the listener's queue has the connection: it does not wait for the gateway.
        let stream = connect_from(id as u8 % SOURCES, address, None)?;
        (&stream).write_all(request.next())?;
        epoll.add(stream.as_raw_fd(), id as u64)?;
        Ok(Client {
            stream,
            start,
            have: 0,
            response: [0; SIZE],
        })
    }
}
