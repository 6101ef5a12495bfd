//! How long clients wait when the first of two endpoints is dead. They come one after the other to a gateway that was
//! just started, so that each peer meets the dead endpoint in its own way: on its first client, on some, or never.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Rig, Sample, Subject, connect, said};
use crate::sys;
use crate::wire::{Mode, Request};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Death {
    /// Nothing listens there.
    Refused,
    /// SYNs are dropped there.
    BlackHole,
}

/// Clients of one run.
pub const CLIENTS: u32 = 6;

/// After this a client is counted as never served.
pub const CAP: Duration = Duration::from_secs(30);
const CAP_QUICK: Duration = Duration::from_secs(3);

/// How long a connection attempt is watched to see that its SYN was dropped.
const SILENCE: Duration = Duration::from_millis(150);

pub fn run(rig: &Rig, subject: &Subject, death: Death) -> Result<Sample, String> {
    let listener = TcpListener::bind("127.0.3.100:0").map_err(said("dead endpoint"))?;
    let dead = listener.local_addr().map_err(said("dead endpoint"))?;
    // Dropped, it refuses; kept with a full queue, it swallows.
    let _hole = match death {
        Death::Refused => {
            drop(listener);
            None
        }
        Death::BlackHole => Some(BlackHole::new(listener, dead)?),
    };
    let gateway = subject.peer.start(&[dead, subject.endpoint], &rig.dir)?;
    let cap = if rig.quick { CAP_QUICK } else { CAP };
    let mut times = Vec::new();
    for id in 0..CLIENTS {
        let start = Instant::now();
        let served = serve(gateway.address, id, cap);
        let time = if served { start.elapsed() } else { cap };
        times.push(time.as_secs_f64() * 1e3);
        // It may take the cap for every second client: one says enough.
        if time >= cap {
            break;
        }
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    Ok(vec![("first", times[0]), ("worst", worst)])
}

/// Whether a client is served, by its first connection or, when that is closed on it, by another.
fn serve(address: SocketAddr, id: u32, cap: Duration) -> bool {
    let deadline = Instant::now() + cap;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let mut response = [0; 128];
        let served = connect(address).is_ok_and(|stream| {
            stream.set_read_timeout(Some(left)).is_ok()
                && Request::new(Mode::Echo(128), id)
                    .exchange(&stream, &mut response)
                    .is_ok()
        });
        if served {
            return true;
        }
        // As a client that tries again would.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A listener whose queue is full: the kernel drops every further SYN in silence.
struct BlackHole {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    fn new(listener: TcpListener, address: SocketAddr) -> Result<BlackHole, String> {
        sys::set_backlog(&listener, 0).map_err(said("black hole"))?;
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, SILENCE) {
            queued.push(stream);
            if queued.len() > 16 {
                return Err("this kernel does not drop SYNs at a full queue".to_owned());
            }
        }
        Ok(BlackHole {
            _listener: listener,
            _queued: queued,
        })
    }
}
