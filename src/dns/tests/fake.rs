//! DNS servers for tests: in this process, on loopback, each with a script that decides what to send
//! for a query. They can also do everything that a server must not do.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, fs, process};

use super::super::name::Name;
use crate::wire::Reader;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

/// A query as a server sees it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) bytes: Vec<u8>,
    /// The name in text form, the type, and how the query was sent.
    pub(crate) name: String,
    pub(crate) qtype: u16,
    pub(crate) edns: bool,
    pub(crate) tcp: bool,
    /// Where it came from.
    pub(crate) client: SocketAddr,
    /// How many queries this server had before.
    pub(crate) before: usize,
}

impl Asked {
    fn parse(bytes: &[u8], tcp: bool, client: SocketAddr, before: usize) -> Self {
        let mut reader = Reader::new(bytes).at(12).unwrap();
        let name = Name::parse(&mut reader).unwrap().to_string();
        let qtype = reader.u16().unwrap();
        let edns = bytes[11] == 1;
        Self {
            bytes: bytes.to_vec(),
            name,
            qtype,
            edns,
            tcp,
            client,
            before,
        }
    }

    /// Begins a reply with the same id and question, NOERROR, recursion available.
    pub(crate) fn reply(&self) -> Answer {
        let question = 12 + Name::from_text(&self.name).unwrap().0.as_wire().len() + 4;
        let mut bytes = self.bytes[..question].to_vec();
        bytes[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
        Answer { bytes }
    }
}

/// A reply that is being composed.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn rcode(mut self, rcode: u8) -> Self {
        self.bytes[3] |= rcode;
        self
    }

    pub(crate) fn truncated(mut self) -> Self {
        self.bytes[2] |= 0x02;
        self
    }

    /// A record in section 0 (answer), 1 (authority) or 2 (additional); sections in order.
    pub(crate) fn record(
        mut self,
        section: usize,
        owner: &str,
        rtype: u16,
        ttl: u32,
        data: &[u8],
    ) -> Self {
        let count = &mut self.bytes[6 + 2 * section..][..2];
        let more = u16::from_be_bytes([count[0], count[1]]) + 1;
        count.copy_from_slice(&more.to_be_bytes());
        self.bytes.extend_from_slice(&wire(owner));
        for word in [rtype, 1] {
            self.bytes.extend_from_slice(&word.to_be_bytes());
        }
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.bytes
            .extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        self.bytes.extend_from_slice(data);
        self
    }

    pub(crate) fn a(self, owner: &str, ttl: u32, ip: &str) -> Self {
        let ip: Ipv4Addr = ip.parse().unwrap();
        self.record(0, owner, A, ttl, &ip.octets())
    }

    pub(crate) fn aaaa(self, owner: &str, ttl: u32, ip: &str) -> Self {
        let ip: Ipv6Addr = ip.parse().unwrap();
        self.record(0, owner, AAAA, ttl, &ip.octets())
    }

    pub(crate) fn cname(self, owner: &str, ttl: u32, target: &str) -> Self {
        self.record(0, owner, CNAME, ttl, &wire(target))
    }

    pub(crate) fn srv(self, owner: &str, ttl: u32, fields: [u16; 3], target: &str) -> Self {
        let mut data: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_be_bytes())
            .collect();
        data.extend(wire(target));
        self.record(0, owner, SRV, ttl, &data)
    }

    pub(crate) fn soa(self, owner: &str, ttl: u32, minimum: u32) -> Self {
        let mut data = vec![0; 2 + 16];
        data.extend(minimum.to_be_bytes());
        self.record(1, owner, SOA, ttl, &data)
    }

    /// Sends it in the regular way.
    pub(crate) fn send(self) -> Vec<Act> {
        vec![Act::Send(self.bytes)]
    }
}

fn wire(name: &str) -> Vec<u8> {
    Name::from_text(name).unwrap().0.as_wire().to_vec()
}

/// What a server does after a query.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends a message, over TCP with its length.
    Send(Vec<u8>),
    /// Sends a datagram to another client.
    SendTo(SocketAddr, Vec<u8>),
    /// Sends a datagram from another socket.
    Spoof(Vec<u8>),
    /// Writes octets to a TCP connection, with a pause after each.
    Trickle(Vec<u8>, Duration),
}

type Script = Box<dyn Fn(&Asked) -> Vec<Act> + Send + Sync>;

/// Servers on 127.0.0.1, 127.0.0.2 … that share one port; stopped when dropped.
pub(crate) struct Net {
    pub(crate) port: u16,
    pub(crate) servers: Vec<Server>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What one server has seen.
pub(crate) struct Server {
    pub(crate) ip: IpAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    count: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

impl Server {
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Names, types and transports of all queries in their order.
    pub(crate) fn log(&self) -> Vec<String> {
        let line = |asked: &Asked| {
            let way = if asked.tcp { " tcp" } else { "" };
            let edns = if asked.edns { "" } else { " plain" };
            format!("{} {}{way}{edns}", asked.name, asked.qtype)
        };
        self.asked().iter().map(line).collect()
    }
}

/// How a script is listed.
pub(crate) fn script(act: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Script {
    Box::new(act)
}

impl Net {
    /// Servers for UDP and TCP.
    pub(crate) fn new(scripts: Vec<Script>) -> Self {
        Self::start(addresses(scripts.len()), scripts, true)
    }

    /// One server at an address of its own.
    pub(crate) fn at(ip: IpAddr, script: Script) -> Self {
        Self::start(vec![ip], vec![script], true)
    }

    /// Servers that do not listen for TCP.
    pub(crate) fn without_tcp(scripts: Vec<Script>) -> Self {
        Self::start(addresses(scripts.len()), scripts, false)
    }

    fn start(ips: Vec<IpAddr>, scripts: Vec<Script>, with_tcp: bool) -> Self {
        let (port, sockets) = bind(&ips);
        let stop = Arc::new(AtomicBool::new(false));
        let (mut servers, mut threads) = (Vec::new(), Vec::new());
        for ((ip, script), (udp, tcp)) in ips.into_iter().zip(scripts).zip(sockets) {
            let shared = Arc::new(Shared {
                script,
                count: AtomicUsize::new(0),
                asked: Mutex::default(),
            });
            servers.push(Server {
                ip,
                shared: Arc::clone(&shared),
            });
            if with_tcp {
                let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
                threads.push(thread::spawn(move || serve_tcp(&tcp, &shared, &stop)));
            }
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || serve_udp(&udp, &shared, &stop)));
        }
        Self {
            port,
            servers,
            stop,
            threads,
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the threads.
        for server in &self.servers {
            let any: IpAddr = match server.ip {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let waker = UdpSocket::bind((any, 0)).unwrap();
            let _ = waker.send_to(&[], (server.ip, self.port));
            let _ = TcpStream::connect((server.ip, self.port));
        }
        for thread in self.threads.drain(..) {
            let outcome = thread.join();
            assert!(outcome.is_ok() || thread::panicking(), "a server panicked");
        }
    }
}

/// 127.0.0.1 and the following.
fn addresses(count: usize) -> Vec<IpAddr> {
    let address = |n| Ipv4Addr::new(127, 0, 0, n).into();
    (1..).map(address).take(count).collect()
}

/// A port that is free for UDP and TCP on all addresses.
fn bind(ips: &[IpAddr]) -> (u16, Vec<(UdpSocket, TcpListener)>) {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let bind = |ip: &IpAddr| {
            Some((
                UdpSocket::bind((*ip, port)).ok()?,
                TcpListener::bind((*ip, port)).ok()?,
            ))
        };
        if let Some(sockets) = ips.iter().map(bind).collect() {
            return (port, sockets);
        }
    }
}

fn handle(bytes: &[u8], tcp: bool, client: SocketAddr, shared: &Shared) -> Vec<Act> {
    let before = shared.count.fetch_add(1, Ordering::SeqCst);
    let asked = Asked::parse(bytes, tcp, client, before);
    shared.asked.lock().unwrap().push(asked.clone());
    (shared.script)(&asked)
}

fn serve_udp(socket: &UdpSocket, shared: &Shared, stop: &AtomicBool) {
    let mut buffer = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).unwrap();
        if stop.load(Ordering::SeqCst) {
            return;
        }
        for act in handle(&buffer[..length], false, client, shared) {
            match act {
                Act::Send(bytes) => drop(socket.send_to(&bytes, client)),
                Act::SendTo(client, bytes) => drop(socket.send_to(&bytes, client)),
                Act::Spoof(bytes) => {
                    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
                    other.send_to(&bytes, client).unwrap();
                }
                Act::Trickle(..) => unreachable!("TCP only"),
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Shared, stop: &AtomicBool) {
    loop {
        let (mut stream, client) = listener.accept().unwrap();
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query).unwrap();
        for act in handle(&query, true, client, shared) {
            // The client may have closed the connection, which is not an error here.
            let sent = match act {
                Act::Send(bytes) => {
                    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length, &bytes[..]].concat())
                }
                Act::Trickle(bytes, pause) => bytes.iter().try_for_each(|octet| {
                    thread::sleep(pause);
                    stream.write_all(&[*octet])
                }),
                Act::SendTo(..) | Act::Spoof(_) => unreachable!("UDP only"),
            };
            if sent.is_err() {
                break;
            }
        }
    }
}

/// A server that has a zone, given as records, and follows aliases within it.
pub(crate) fn zone(records: &[(&str, u16, &str)]) -> Script {
    let mut zone: HashMap<(String, u16), Vec<String>> = HashMap::new();
    for (owner, rtype, data) in records {
        zone.entry((format!("{owner}."), *rtype))
            .or_default()
            .push((*data).to_owned());
    }
    Box::new(move |asked| {
        let mut reply = asked.reply();
        let mut owner = asked.name.clone();
        while let Some(targets) = zone.get(&(owner.clone(), CNAME)) {
            reply = reply.cname(&owner, 300, &targets[0]);
            owner = format!("{}.", targets[0]);
        }
        if !zone.keys().any(|(name, _)| *name == owner) {
            return reply.rcode(3).soa(".", 60, 60).send();
        }
        let Some(found) = zone.get(&(owner.clone(), asked.qtype)) else {
            return reply.soa(".", 60, 60).send();
        };
        for data in found {
            reply = match asked.qtype {
                A => reply.a(&owner, 300, data),
                AAAA => reply.aaaa(&owner, 300, data),
                _ => {
                    let mut fields = data.split(' ');
                    let numbers = [(); 3].map(|()| fields.next().unwrap().parse().unwrap());
                    reply.srv(&owner, 300, numbers, fields.next().unwrap())
                }
            };
        }
        if !asked.tcp && reply.bytes.len() > if asked.edns { 1232 } else { 512 } {
            return asked.reply().truncated().send();
        }
        reply.send()
    })
}

/// A file that is removed when dropped.
pub(crate) struct TempFile {
    pub(crate) path: PathBuf,
}

impl TempFile {
    pub(crate) fn new(text: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("etcd-gateway-dns-{}-{count}", process::id());
        let file = Self {
            path: env::temp_dir().join(name),
        };
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
