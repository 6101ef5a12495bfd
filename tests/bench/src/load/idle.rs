//! Idle connections: how many a gateway holds under a limit on descriptors, what each costs, and whether all of them
//! still work.
//!
//! A fresh instance of the gateway is filled, so that nothing is left of other loads in its memory, or of this one
//! for them. Every so many connections one is used at once: the clients never run ahead of the gateway, and the first
//! refusal is seen. Memory is read at a number that every peer can hold; then they are opened up to the limit.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Rig, Sample, Subject, connect, said};
use crate::process;
use crate::wire::{Mode, Request};

/// As many as a gateway that takes two descriptors for each can hold under the limit of 20,000.
const CLIENTS: u32 = 10_000;
const CLIENTS_QUICK: u32 = 500;

/// Where memory is read: the reference, with six descriptors for each, ends at 3,332.
pub const CHECKPOINT: u32 = 3_000;

/// Between two connections that are used at once.
const STRIDE: u32 = 50;

/// How long a gateway that neither serves nor closes connections is waited for, on all of them together; and then on
/// each one more.
const PATIENCE: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(50);

/// For the memory of new connections to be accounted for; and how often it is looked whether that of closed ones, and of
/// their threads, has come back to the system.
const SETTLE: Duration = Duration::from_millis(400);

/// How long connections are silent before memory is read: a proxy may have to wait to find out that they are, and gives
/// back what it then needs no more a little later.
const SILENT: Duration = Duration::from_secs(16);
const SILENT_QUICK: Duration = Duration::from_secs(1);

/// In so long nearly all of it does.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// In kB: an increase that is none.
const STEADY: f64 = 512.0;

const SIZE: u32 = 128;

pub fn run(rig: &Rig, subject: &Subject) -> Result<Sample, String> {
    settle()?;
    let mut gateway = subject.peer.start(&[subject.endpoint], &rig.dir)?;
    let mut clients = Clients(Vec::new());
    thread::sleep(SETTLE);
    let (address, pids) = (gateway.address, gateway.pids());
    let before = Memory::read(&pids)?;
    let wanted = if rig.quick { CLIENTS_QUICK } else { CLIENTS };
    clients.open(address, CHECKPOINT.min(wanted));
    clients.drop_broken();
    thread::sleep(if rig.quick { SILENT_QUICK } else { SILENT });
    let after = Memory::read(&pids)?;
    let count = clients.0.len() as f64;
    if clients.0.is_empty() {
        let death = gateway
            .death()
            .unwrap_or_else(|| "serves nobody".to_owned());
        return Err(format!("the program {death}"));
    }
    let system = (before.available - after.available) / count;
    let mut sample = Vec::new();
    if subject.peer.is_direct() {
        rig.idle_without_proxy.set(system);
        sample.push(("system", system));
    } else {
        sample.push(("system", system - rig.idle_without_proxy.get()));
        sample.push(("rss", (after.resident - before.resident) / count));
    }
    clients.open(address, wanted);
    sample.push(("opened", clients.0.len() as f64));
    clients.drop_broken();
    sample.push(("alive", clients.0.len() as f64));
    drop(clients);
    drop(gateway);
    thread::sleep(SETTLE);
    Ok(sample)
}

/// Waits until the kernel has given back the memory of what has ended: it takes its time over threads and sockets, and
/// what it gives back while another gateway is filled would count for that one.
fn settle() -> Result<(), String> {
    let limit = Instant::now() + SETTLE_LIMIT;
    let mut before = Memory::read(&[])?.available;
    let mut steady = 0;
    while steady < 3 && Instant::now() < limit {
        thread::sleep(SETTLE);
        let now = Memory::read(&[])?.available;
        steady = if now > before + STEADY { 0 } else { steady + 1 };
        before = now;
    }
    Ok(())
}

/// In kB; signed, for differences.
struct Memory {
    available: f64,
    resident: f64,
}

impl Memory {
    fn read(pids: &[u32]) -> Result<Memory, String> {
        let available = process::available_memory().map_err(said("/proc/meminfo"))?;
        Ok(Memory {
            available: available as f64 / 1024.0,
            resident: process::resident(pids) as f64 / 1024.0,
        })
    }
}

struct Clients(Vec<TcpStream>);

impl Clients {
    /// Opens connections until there are `wanted`, or until one is refused.
    fn open(&mut self, address: SocketAddr, wanted: u32) {
        for id in self.0.len() as u32..wanted {
            // What stops the gateway from taking more is its business; how many it took is the result.
            let Ok(stream) = connect(address) else {
                return;
            };
            let checked = id % STRIDE == STRIDE - 1;
            let refused = checked && !works(&stream, PATIENCE);
            self.0.push(stream);
            if refused {
                self.drop_refused();
                return;
            }
        }
    }

    /// Those since the last one that was used may be refused, too.
    fn drop_refused(&mut self) {
        let certain = self.0.len().saturating_sub(STRIDE as usize);
        let mut last = Clients(self.0.split_off(certain));
        last.drop_broken();
        self.0.append(&mut last.0);
    }

    /// One exchange on each; those that are good for it stay.
    fn drop_broken(&mut self) {
        let mut patience = PATIENCE;
        self.0.retain(|stream| {
            let start = Instant::now();
            let works = works(stream, patience.max(MOMENT));
            if !works {
                patience = patience.saturating_sub(start.elapsed());
            }
            works
        });
    }
}

/// One exchange on a connection.
fn works(stream: &TcpStream, patience: Duration) -> bool {
    let mut response = [0; SIZE as usize];
    stream.set_read_timeout(Some(patience)).is_ok()
        && Request::new(Mode::Echo(SIZE), 0)
            .exchange(stream, &mut response)
            .is_ok()
}
