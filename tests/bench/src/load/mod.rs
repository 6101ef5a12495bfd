//! The loads: their names, what each measures, and how it is run against one peer.

mod bulk;
mod dead;
mod etcd;
mod exchange;
mod idle;
mod mixed;
mod short;
mod start;
mod window;

use std::cell::{Cell, OnceCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

pub use bulk::Direction;
pub use dead::Death;
use etcd::Etcd;
pub use window::{Timing, Window};

use crate::peers::{Peer, Running};
use crate::stats;
use crate::sys;
use crate::upstream::Upstream;

/// One thing that a load measures.
#[derive(Debug, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
    /// Whether more is better.
    pub more: bool,
}

const fn more(name: &'static str, unit: &'static str) -> Metric {
    Metric {
        name,
        unit,
        more: true,
    }
}

const fn less(name: &'static str, unit: &'static str) -> Metric {
    Metric {
        name,
        unit,
        more: false,
    }
}

/// What one run of a load against one peer measured: values by the names of metrics.
pub type Sample = Vec<(&'static str, f64)>;

/// What all runs share.
pub struct Rig {
    pub upstream: Upstream,
    pub timing: Timing,
    /// For files of the peers.
    pub dir: PathBuf,
    /// A look at whether all works, not a measurement.
    pub quick: bool,
    /// What an idle connection costs the host in kB where there is no proxy; measured before the others.
    idle_without_proxy: Cell<f64>,
    /// Started when the first load wants it.
    etcd: OnceCell<Result<Etcd, String>>,
}

impl Rig {
    pub fn new(dir: PathBuf, timing: Timing, quick: bool) -> io::Result<Rig> {
        Ok(Rig {
            upstream: Upstream::start()?,
            timing,
            dir,
            quick,
            idle_without_proxy: Cell::new(0.0),
            etcd: OnceCell::new(),
        })
    }

    fn etcd(&self) -> Result<&Etcd, String> {
        let etcd = self.etcd.get_or_init(|| Etcd::start(&self.dir));
        etcd.as_ref().map_err(String::clone)
    }
}

/// The peer under load.
pub struct Subject<'a> {
    pub peer: &'a Peer,
    pub running: &'a mut Running,
    /// The endpoint that this peer forwards to.
    pub endpoint: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Exchange {
        size: u32,
        connections: u32,
    },
    Bulk {
        connections: u32,
        direction: Direction,
    },
    Mixed,
    Short,
    Idle,
    Start,
    Binary,
    Dead(Death),
    Grpc,
    Etcdctl,
}

pub struct Load {
    pub name: String,
    pub kind: Kind,
}

/// All loads, in the order of the report.
pub fn all() -> Vec<Load> {
    let mut loads = Vec::new();
    let mut add = |name: String, kind: Kind| loads.push(Load { name, kind });
    for size in [128, 1024] {
        for connections in [1, 16, 64, 256] {
            add(
                format!("exchange-{size}-{connections}"),
                Kind::Exchange { size, connections },
            );
        }
    }
    for connections in [1, 8] {
        for (name, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
            add(
                format!("bulk-{connections}-{name}"),
                Kind::Bulk {
                    connections,
                    direction,
                },
            );
        }
    }
    add("mixed".to_owned(), Kind::Mixed);
    add("short".to_owned(), Kind::Short);
    add("idle".to_owned(), Kind::Idle);
    add("start".to_owned(), Kind::Start);
    add("binary".to_owned(), Kind::Binary);
    add("dead-refused".to_owned(), Kind::Dead(Death::Refused));
    add("dead-blackhole".to_owned(), Kind::Dead(Death::BlackHole));
    add("grpc".to_owned(), Kind::Grpc);
    add("etcdctl".to_owned(), Kind::Etcdctl);
    loads
}

impl Kind {
    pub fn metrics(self) -> &'static [Metric] {
        const EXCHANGE: &[Metric] = &[
            more("rate", "1/s"),
            less("p50", "µs"),
            less("p99", "µs"),
            less("p99.9", "µs"),
            less("cpu", "µs each"),
        ];
        const BULK: &[Metric] = &[more("speed", "GB/s"), less("cpu", "s per GB")];
        const MIXED: &[Metric] = &[
            more("rate", "1/s"),
            less("p50", "µs"),
            less("p99", "µs"),
            less("p99.9", "µs"),
            more("bulk", "GB/s"),
        ];
        const SHORT: &[Metric] = &[
            more("rate", "1/s"),
            less("p50", "µs"),
            less("p99", "µs"),
            less("cpu", "µs each"),
        ];
        const IDLE: &[Metric] = &[
            more("opened", "connections"),
            more("alive", "after"),
            less("system", "kB each"),
            less("rss", "kB each"),
        ];
        const TIME: &[Metric] = &[less("time", "ms")];
        const BINARY: &[Metric] = &[less("size", "KiB")];
        const GRPC: &[Metric] = &[
            more("rate", "1/s"),
            less("put p50", "µs"),
            less("put p99", "µs"),
            less("range p50", "µs"),
            less("range p99", "µs"),
            less("cpu", "µs each"),
        ];
        const DEAD: &[Metric] = &[less("first", "ms"), less("worst", "ms")];
        match self {
            Kind::Exchange { .. } => EXCHANGE,
            Kind::Bulk { .. } => BULK,
            Kind::Mixed => MIXED,
            Kind::Short => SHORT,
            Kind::Idle => IDLE,
            Kind::Start | Kind::Etcdctl => TIME,
            Kind::Grpc => GRPC,
            Kind::Binary => BINARY,
            Kind::Dead(_) => DEAD,
        }
    }

    /// What is measured, for the report.
    pub fn about(self) -> String {
        match self {
            Kind::Exchange { size, connections } => format!(
                "requests and responses of {size} B on {connections} connection{}, gateway CPU per exchange",
                if connections == 1 { "" } else { "s" }
            ),
            Kind::Bulk {
                connections,
                direction,
            } => format!(
                "as many bytes as go through, {} on {connections} connection{}, gateway CPU per GB",
                match direction {
                    Direction::Up => "client to endpoint",
                    Direction::Down => "endpoint to client",
                },
                if connections == 1 { "" } else { "s" }
            ),
            Kind::Mixed => {
                "128 B exchanges on 2 connections beside 4 bulk streams, 2 up and 2 down".to_owned()
            }
            Kind::Short => {
                "connect, one exchange of 128 B, close; 16 at a time; gateway CPU per connection"
                    .to_owned()
            }
            Kind::Idle => format!(
                "connections that had one exchange each, under the limit on descriptors: how many were opened, how \
                 many work at the end; memory at {}, that of the whole system less the same without a proxy",
                idle::CHECKPOINT
            ),
            Kind::Start => "from exec to the first accepted connection".to_owned(),
            Kind::Binary => "the program's file".to_owned(),
            Kind::Dead(death) => format!(
                "time to a client's first response when the first of two endpoints {}: the first client, \
                 and the slowest of {}; {} s means never",
                match death {
                    Death::Refused => "refuses connections",
                    Death::BlackHole => "swallows SYNs",
                },
                dead::CLIENTS,
                dead::CAP.as_secs()
            ),
            Kind::Grpc => format!(
                "puts and linearizable ranges over gRPC on {} connections to a real etcd, gateway CPU per call",
                etcd::CLIENTS
            ),
            Kind::Etcdctl => {
                "one etcdctl put or get after the other, to a real etcd: time of a command"
                    .to_owned()
            }
        }
    }

    /// In how many of the rounds the load is run: what takes long or hardly varies, less often.
    pub fn rounds(self, rounds: usize) -> usize {
        match self {
            Kind::Idle | Kind::Etcdctl => rounds.min(3),
            Kind::Binary | Kind::Dead(Death::BlackHole) => 1,
            Kind::Dead(Death::Refused) => rounds.min(3),
            _ => rounds,
        }
    }

    /// The program that the load needs beside the peers.
    pub fn needs(self) -> Option<&'static str> {
        match self {
            Kind::Grpc => Some("etcd"),
            Kind::Etcdctl => Some("etcdctl"),
            _ => None,
        }
    }

    /// Whether the load says anything of no proxy at all.
    pub fn suits_direct(self) -> bool {
        !matches!(self, Kind::Start | Kind::Binary | Kind::Dead(_))
    }

    pub fn run(self, rig: &Rig, subject: &mut Subject) -> Result<Sample, String> {
        match self {
            Kind::Exchange { size, connections } => {
                exchange::run(rig.timing, subject.running, size, connections)
            }
            Kind::Bulk {
                connections,
                direction,
            } => bulk::run(rig.timing, subject.running, connections, direction),
            Kind::Mixed => mixed::run(rig.timing, subject.running),
            Kind::Short => short::run(rig.timing, subject.running),
            Kind::Idle => idle::run(rig, subject),
            Kind::Start => start::run(rig, subject),
            Kind::Binary => {
                let bytes = std::fs::metadata(&subject.peer.program)
                    .map_err(|e| e.to_string())?
                    .len();
                Ok(vec![("size", bytes as f64 / 1024.0)])
            }
            Kind::Dead(death) => dead::run(rig, subject, death),
            Kind::Grpc => etcd::run_grpc(rig, subject),
            Kind::Etcdctl => etcd::run_etcdctl(rig, subject),
        }
        .map_err(|error| match subject.running.death() {
            Some(death) => format!("{error}; the program {death}"),
            None => error,
        })
    }
}

/// Longest silence of a peer that is taken for slowness.
const STUCK: Duration = Duration::from_secs(5);

/// A client's connection on which nothing blocks forever.
fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = connect_from(0, address, Some(STUCK)).map_err(said("connect"))?;
    stream.set_nodelay(true).map_err(said("TCP_NODELAY"))?;
    stream
        .set_read_timeout(Some(STUCK))
        .map_err(said("timeout"))?;
    Ok(stream)
}

/// Clients have addresses that gateways never dial from, as where the endpoints are other hosts.
fn connect_from(
    host: u8,
    address: SocketAddr,
    patience: Option<Duration>,
) -> io::Result<TcpStream> {
    match address {
        SocketAddr::V4(address) => {
            sys::connect_from(Ipv4Addr::new(127, 0, 4, 1 + host), address, patience)
        }
        SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Says which operation an error belongs to.
fn said(operation: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{operation}: {error}")
}

/// Latencies of one thread in nanoseconds, and of several together.
type Latencies = Vec<u32>;

/// Room for all exchanges of a run, so that none of them waits for memory.
const ROOM: usize = 1 << 20;

/// Nanoseconds, capped at four seconds.
fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

/// The rate and the percentiles.
fn describe(latencies: &mut [u32], seconds: f64) -> Sample {
    latencies.sort_unstable();
    let mut sample = vec![("rate", latencies.len() as f64 / seconds)];
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        if let Some(value) = stats::percentile(latencies, share) {
            sample.push((name, f64::from(value) / 1000.0));
        }
    }
    sample
}

/// What a thread returned, or that it panicked.
fn joined<T>(thread: std::thread::ScopedJoinHandle<Result<T, String>>) -> Result<T, String> {
    thread
        .join()
        .unwrap_or_else(|_| Err("a thread of the load panicked".to_owned()))
}
