//! A name server in this process, which serves what the test publishes and misbehaves on demand.
//!
//! It answers over UDP and TCP on port 53 of one address, so it exists only on a machine of the test's own
//! (`isolated`). Malformed and forged datagrams are the subject of the resolver's own tests, not of this one: here
//! each fault is one that a real server shows, at the moment that the test chooses.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::{SOON, eventually, net};

/// What fits into a datagram that the gateway says it can take.
const MAX_DATAGRAM: usize = 1232;

/// The type of IPv6 addresses.
pub(crate) const AAAA: u16 = 28;

pub(crate) const FORMERR: u8 = 1;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const REFUSED: u8 = 5;

/// How a server fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Nothing but this code.
    Rcode(u8),
    /// This code for questions of this type, the truth for others.
    Only(u16, u8),
    /// NOERROR without records.
    Empty,
    /// Over UDP and over TCP.
    Truncated,
    /// The same, with so many records over TCP.
    Part(usize),
    /// Octets behind the message, and a count of additional records that is too high.
    Untidy,
    /// Silence about what has EDNS.
    NoEdns,
    /// Empty messages, without end, or so it seems.
    Flood,
    /// Not a word.
    Silent,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    faults: HashMap<String, Fault>,
    asked: HashMap<String, usize>,
}

struct Record {
    owner: String,
    rtype: u16,
    ttl: u32,
    data: Vec<u8>,
}

pub(crate) struct FakeDns {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl FakeDns {
    /// Serves an empty zone on port 53 of `ip`.
    pub(crate) fn start(ip: &str) -> FakeDns {
        let address = SocketAddr::new(ip.parse().expect("an address"), 53);
        let (udp, tcp) = (
            UdpSocket::bind(address).expect("bind port 53"),
            TcpListener::bind(address).expect("bind port 53"),
        );
        let (state, stop) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let [over_udp, over_tcp] = [0; 2].map(|_| (Arc::clone(&state), Arc::clone(&stop)));
        let threads = vec![
            std::thread::spawn(move || serve_udp(&udp, &over_udp.0, &over_udp.1)),
            std::thread::spawn(move || serve_tcp(&tcp, &over_tcp.0, &over_tcp.1)),
        ];
        FakeDns {
            address,
            state,
            stop,
            threads,
        }
    }

    /// Replaces everything that is served, at once: lines `OWNER TYPE DATA`, absolute names, a TTL of 300 s unless
    /// a line `$TTL SECONDS` stands before. A name without records does not exist.
    pub(crate) fn publish(&self, zone: &str) {
        let mut ttl = 300;
        let mut records = Vec::new();
        for line in zone.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.strip_prefix("$TTL ") {
                Some(seconds) => ttl = seconds.parse().expect("a number of seconds"),
                None => records.push(Record::parse(line, ttl)),
            }
        }
        self.state().records = records;
    }

    /// From now on, questions for `domain` and the names below it meet this fault.
    pub(crate) fn fail(&self, domain: &str, fault: Fault) {
        self.state().faults.insert(domain.to_owned(), fault);
    }

    /// Ends all faults.
    pub(crate) fn mend(&self) {
        self.state().faults.clear();
    }

    /// How often `owner` was asked for, whatever the type.
    pub(crate) fn asked(&self, owner: &str) -> usize {
        self.state().asked.get(owner).copied().unwrap_or(0)
    }

    /// Waits until `owner` was asked for more than `before` times.
    #[track_caller]
    pub(crate) fn wait_asked(&self, owner: &str, before: usize) {
        eventually(SOON, &format!("{owner} is asked for again"), || {
            (self.asked(owner) > before).then_some(())
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no server thread panics")
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Each wakes one thread from its wait.
        let socket = UdpSocket::bind((self.address.ip(), 0));
        let _ = socket.and_then(|socket| socket.send_to(&[], self.address));
        let _ = TcpStream::connect_timeout(&self.address, SOON);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Record {
    fn parse(line: &str, ttl: u32) -> Record {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| text.parse::<u16>().expect("a number").to_be_bytes();
        let (rtype, data) = match words[1..] {
            ["A", ip] => (
                1,
                ip.parse::<Ipv4Addr>().expect("an address").octets().into(),
            ),
            ["AAAA", ip] => (
                AAAA,
                ip.parse::<Ipv6Addr>().expect("an address").octets().into(),
            ),
            ["CNAME", target] => (5, wire(target)),
            ["SRV", priority, weight, port, target] => {
                let mut data = [priority, weight, port].map(number).concat();
                data.extend(wire(target));
                (33, data)
            }
            _ => panic!("not a record: {line:?}"),
        };
        Record {
            owner: words[0].to_ascii_lowercase(),
            rtype,
            ttl,
            data,
        }
    }

    fn write(&self, reply: &mut Vec<u8>) {
        reply.extend(wire(&self.owner));
        reply.extend(self.rtype.to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(self.ttl.to_be_bytes());
        reply.extend(
            u16::try_from(self.data.len())
                .expect("short data")
                .to_be_bytes(),
        );
        reply.extend(&self.data);
    }
}

/// A name in wire form, uncompressed; `.` is the root.
fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("a label"));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// The name and type in question, and where the question section ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let qtype = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), qtype, at + 4))
}

impl State {
    /// The reply to a query; none from a server that is silent.
    fn reply(&mut self, query: &[u8], limit: usize) -> Option<Vec<u8>> {
        let (name, qtype, end) = question(query)?;
        *self.asked.entry(name.clone()).or_default() += 1;
        let fault = self.faults.iter().find_map(|(domain, fault)| {
            let below = name.strip_suffix(domain.as_str())?;
            (below.is_empty() || below.ends_with('.')).then_some(*fault)
        });
        let (mut rcode, mut answers, mut truncated) = (0, Vec::new(), false);
        match fault {
            Some(Fault::NoEdns) if query[11] == 0 => (rcode, answers) = self.answers(&name, qtype),
            Some(Fault::Silent | Fault::NoEdns) => return None,
            Some(Fault::Flood) => return Some(Vec::new()),
            Some(Fault::Part(most)) => {
                answers = self.answers(&name, qtype).1;
                truncated = limit == MAX_DATAGRAM || answers.len() > most;
                answers.truncate(if limit == MAX_DATAGRAM { 0 } else { most });
            }
            Some(Fault::Rcode(code)) => rcode = code,
            Some(Fault::Truncated) => truncated = true,
            Some(Fault::Empty) => {}
            Some(Fault::Only(of, code)) if of == qtype => rcode = code,
            Some(Fault::Only(..) | Fault::Untidy) | None => {
                (rcode, answers) = self.answers(&name, qtype)
            }
        }
        let mut reply = query.get(..end)?.to_vec();
        for record in &answers {
            record.write(&mut reply);
        }
        let mut count = answers.len();
        if reply.len() > limit {
            truncated = true;
            reply.truncate(end);
            count = 0;
        }
        // Response, recursion desired and available; one question.
        reply[2] = 0x81 | if truncated { 0x02 } else { 0 };
        reply[3] = 0x80 | rcode;
        let count = u16::try_from(count).ok()?.to_be_bytes();
        reply[4..12].copy_from_slice(&[0, 1, count[0], count[1], 0, 0, 0, 0]);
        if fault == Some(Fault::Untidy) {
            reply[11] = 1;
            reply.extend([0; 8]);
        }
        Some(reply)
    }

    /// RCODE and records, along aliases.
    fn answers(&self, name: &str, qtype: u16) -> (u8, Vec<&Record>) {
        let mut answers = Vec::new();
        let mut name = name.to_owned();
        for _ in 0..8 {
            let owned: Vec<&Record> = self
                .records
                .iter()
                .filter(|record| record.owner == name)
                .collect();
            if owned.is_empty() {
                return (NXDOMAIN, answers);
            }
            let alias = owned.iter().find(|record| record.rtype == 5);
            let Some(alias) = alias else {
                answers.extend(owned.into_iter().filter(|record| record.rtype == qtype));
                break;
            };
            answers.push(alias);
            name = question(&[&[0; 12], alias.data.as_slice(), &[0; 4]].concat())
                .expect("a name that was composed here")
                .0;
        }
        (0, answers)
    }
}

/// How often a reply is sent: those that are empty are a flood.
fn repeats(reply: &[u8]) -> usize {
    if reply.is_empty() { 200 } else { 1 }
}

fn serve_udp(socket: &UdpSocket, state: &Mutex<State>, stop: &AtomicBool) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let reply = state
            .lock()
            .expect("no test panics with the lock")
            .reply(&query[..length], MAX_DATAGRAM);
        if let Some(reply) = reply {
            for _ in 0..repeats(&reply) {
                let _ = socket.send_to(&reply, client);
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, state: &Mutex<State>, stop: &AtomicBool) {
    for mut stream in listener.incoming().flatten() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        net::with_deadlines(&stream);
        let mut length = [0; 2];
        let mut query = Vec::new();
        let read = stream.read_exact(&mut length).and_then(|()| {
            query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query)
        });
        let reply = state
            .lock()
            .expect("no test panics with the lock")
            .reply(&query, usize::from(u16::MAX));
        // A server that is silent over UDP closes here; a client that has gone is its own test's matter.
        if let (Ok(()), Some(reply)) = (read, reply) {
            let length = u16::try_from(reply.len()).expect("limited").to_be_bytes();
            let message = [&length, reply.as_slice()].concat();
            let _ = stream.write_all(&message.repeat(repeats(&reply)));
        }
    }
}
