//! Idle connections: how many a gateway holds under a limit on descriptors, what each costs, and whether all of them
//! still work.
//!
//! A fresh instance of the gateway is filled, so that nothing is left of other loads in its memory, or of this one
//! for them. Every so many connections one is used at once: the clients never run ahead of the gateway, and the first
//! refusal is seen. Then each has one exchange, memory is read, and each has one more.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Rig, Sample, Subject, connect, said};
use crate::process;
use crate::wire::{Mode, Request};

/// As many as a gateway that takes two descriptors for each can hold under the limit of 20,000.
const CLIENTS: u32 = 10_000;
const CLIENTS_QUICK: u32 = 500;

/// Between two connections that are used at once.
const STRIDE: u32 = 50;

/// What has been refused is not counted in silence: a client gives up after this.
const PATIENCE: Duration = Duration::from_secs(2);

/// For the memory of closed connections, and of new ones, to be accounted for.
const SETTLE: Duration = Duration::from_millis(400);

const SIZE: u32 = 128;

pub fn run(rig: &Rig, subject: &Subject) -> Result<Sample, String> {
    let mut gateway = subject.peer.start(&[subject.endpoint], &rig.dir)?;
    let pids = gateway.pids();
    thread::sleep(SETTLE);
    let (available, resident) = memory(&pids)?;
    let wanted = if rig.quick { CLIENTS_QUICK } else { CLIENTS };
    let mut clients = Vec::new();
    for id in 0..wanted {
        // What stops the gateway from taking more is its business; how many it took is the result.
        let Ok(mut client) = Client::new(gateway.address, id) else {
            break;
        };
        let refused = id % STRIDE == 0 && !client.works();
        clients.push(client);
        if refused {
            break;
        }
    }
    clients.retain_mut(Client::works);
    thread::sleep(SETTLE);
    let (available_after, resident_after) = memory(&pids)?;
    clients.retain_mut(Client::works);
    let alive = clients.len() as f64;
    if clients.is_empty() {
        let why = gateway.death().unwrap_or_else(|| "serves none".to_owned());
        return Err(format!("the program {why}"));
    }
    let each = |more: u64, less: u64| (more as f64 - less as f64) / 1024.0 / alive;
    let system = each(available, available_after);
    let mut sample = vec![("alive", alive)];
    if subject.peer.is_direct() {
        rig.idle_without_proxy.set(system);
        sample.push(("system", system));
    } else {
        sample.push(("system", system - rig.idle_without_proxy.get()));
        sample.push(("rss", each(resident_after, resident)));
    }
    drop(clients);
    drop(gateway);
    thread::sleep(SETTLE);
    Ok(sample)
}

fn memory(pids: &[u32]) -> Result<(u64, u64), String> {
    let available = process::available_memory().map_err(said("/proc/meminfo"))?;
    Ok((available, process::resident(pids)))
}

struct Client {
    stream: TcpStream,
    id: u32,
}

impl Client {
    fn new(address: std::net::SocketAddr, id: u32) -> Result<Client, String> {
        let stream = connect(address)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(said("timeout"))?;
        Ok(Client { stream, id })
    }

    /// One exchange, if the connection is still good for it.
    fn works(&mut self) -> bool {
        let mut response = [0; SIZE as usize];
        Request::new(Mode::Echo(SIZE), self.id)
            .exchange(&self.stream, &mut response)
            .is_ok()
    }
}
