//! The server behind every gateway, in a process of its own: serves what [`wire`](crate::wire) describes.
//!
//! One thread serves all small exchanges through epoll, which costs least on few processors; bulk, and connections that
//! ask for it, have a thread each, so that neither waits for the other here. It listens on several addresses, one for
//! each gateway: connections that one of them has left in TIME_WAIT take no ports from the others.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, process};

use crate::sys::{self, Epoll, Event};
use crate::wire::{self, HEADER, Mode};

/// The argument that makes this program the upstream.
pub const ARGUMENT: &str = "upstream";

/// How many addresses there are: as many as gateways can be compared.
pub const ADDRESSES: u8 = 16;

/// Nobody may be kept waiting by a full queue of connections.
const BACKLOG: i32 = 4096;

/// The process, from the side of the driver.
pub struct Upstream {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Upstream {
    pub fn start() -> io::Result<Upstream> {
        let mut command = Command::new(env::current_exe()?);
        command
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        sys::end_with_parent(&mut command);
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let addresses = BufReader::new(output)
            .lines()
            .take(usize::from(ADDRESSES))
            .map(|line| line?.parse().map_err(|_| wire::broken("upstream")))
            .collect::<io::Result<Vec<SocketAddr>>>()?;
        Ok(Upstream { child, addresses })
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Without its input it ends.
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

struct Connection {
    stream: TcpStream,
    /// Unknown before the first header.
    size: Option<usize>,
    /// What has arrived of a request that is not whole yet.
    partial: Vec<u8>,
}

/// Serves until the driver closes this process's input.
pub fn serve() -> io::Result<()> {
    let epoll = Epoll::new()?;
    let mut listeners = HashMap::new();
    for host in 1..=ADDRESSES {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 3, host), 0))?;
        sys::set_backlog(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        epoll.add(listener.as_raw_fd(), listener.as_raw_fd() as u64)?;
        println!("{}", listener.local_addr()?);
        listeners.insert(listener.as_raw_fd() as u64, listener);
    }
    thread::spawn(|| {
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        process::exit(0);
    });

    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut events = [Event::default(); 256];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        for event in epoll.wait(&mut events, -1)? {
            let token = event.token();
            if let Some(listener) = listeners.get(&token) {
                let Ok((stream, _)) = listener.accept() else {
                    continue;
                };
                let token = stream.as_raw_fd() as u64;
                epoll.add(stream.as_raw_fd(), token)?;
                connections.insert(token, Connection::new(stream));
                continue;
            }
            let Some(connection) = connections.get_mut(&token) else {
                continue;
            };
            match connection.serve(&mut buffer) {
                Ok(Next::Stay) => {}
                // Closing takes it out of the epoll, too.
                Ok(Next::Close) | Err(_) => drop(connections.remove(&token)),
                Ok(Next::Alone(mode)) => {
                    epoll.remove(connection.stream.as_raw_fd())?;
                    if let Some(connection) = connections.remove(&token) {
                        thread::spawn(move || alone(mode, &connection.stream, connection.partial));
                    }
                }
            }
        }
    }
}

/// What becomes of a connection.
enum Next {
    Stay,
    Close,
    Alone(Mode),
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        stream.set_nodelay(true).ok();
        Connection {
            stream,
            size: None,
            partial: Vec::new(),
        }
    }

    /// Reads once, answers all requests that are whole.
    fn serve(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        let n = (&self.stream).read(buffer)?;
        if n == 0 {
            return Ok(Next::Close);
        }
        if self.partial.is_empty() && self.size == Some(n) {
            (&self.stream).write_all(&buffer[..n])?;
            return Ok(Next::Stay);
        }
        self.partial.extend_from_slice(&buffer[..n]);
        let size = match self.size {
            Some(size) => size,
            None => {
                let Some(header) = self.partial.first_chunk::<HEADER>() else {
                    return Ok(Next::Stay);
                };
                match Mode::parse(header)? {
                    Mode::Echo(size) => *self.size.insert(size as usize),
                    mode => return Ok(Next::Alone(mode)),
                }
            }
        };
        while self.partial.len() >= size {
            (&self.stream).write_all(&self.partial[..size])?;
            self.partial.drain(..size);
        }
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        Ok(Next::Stay)
    }
}

/// Serves one connection on this thread, to its end; `read` is what was read of it, the first header at least.
fn alone(mode: Mode, stream: &TcpStream, read: Vec<u8>) -> io::Result<()> {
    match mode {
        Mode::Echo(size) | Mode::EchoAlone(size) => echo(stream, size as usize, read),
        Mode::Sink => {
            let count = wire::receive_blocks(stream, &read[HEADER..], |_| {})?;
            { stream }.write_all(&count.to_le_bytes())
        }
        Mode::Source(milliseconds) => {
            let end = Instant::now() + Duration::from_millis(u64::from(milliseconds));
            wire::send_blocks(stream, |_| Instant::now() < end)?;
            Ok(())
        }
    }
}

fn echo(mut stream: &TcpStream, size: usize, mut read: Vec<u8>) -> io::Result<()> {
    let mut have = read.len();
    read.resize(size.max(have), 0);
    loop {
        while have < size {
            match stream.read(&mut read[have..])? {
                0 => return Ok(()),
                n => have += n,
            }
        }
        stream.write_all(&read[..size])?;
        have = 0;
    }
}
