//! The processes of a gateway that reloads: each starts the next one, and ends with its last client.
//!
//! They are found by an environment variable that is unique to each start in each test, and the one that serves by its
//! listening socket; the gateway is not asked. All are killed when the value is dropped.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::{Launch, SOON, eventually, process};

/// Whose value tells the processes of one family.
const MARK: &str = "SUITE_FAMILY";

/// All processes that come of one start.
pub(crate) struct Family {
    mark: String,
}

impl Family {
    pub(crate) fn new() -> Family {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        older();
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        Family {
            mark: format!("{}-{now}-{serial}", std::process::id()),
        }
    }

    /// One of this family.
    pub(crate) fn launch(&self, launch: Launch) -> Launch {
        launch.env(MARK, &self.mark)
    }

    /// All that run, the supervisor among them.
    pub(crate) fn all(&self) -> Vec<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        let marked = |pid: &u32| {
            if stat(*pid).is_none_or(|stat| older().contains(&(*pid, stat.started))) {
                return false;
            }
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == wanted.as_bytes())
        };
        pids().into_iter().filter(marked).collect()
    }

    /// Those that execute a gateway, in whatever state, lowest first.
    pub(crate) fn gateways(&self) -> Vec<u32> {
        let gateway = |pid: &u32| name(*pid).is_some_and(|name| name.starts_with("etcd-gateway"));
        self.all().into_iter().filter(gateway).collect()
    }

    /// Processes that have ended and that one of the family ought to have waited for.
    pub(crate) fn zombies(&self) -> Vec<u32> {
        let all = self.all();
        let zombie = |pid: &u32| {
            stat(*pid).is_some_and(|stat| stat.state == 'Z' && all.contains(&stat.parent))
        };
        pids().into_iter().filter(zombie).collect()
    }

    /// Those that listen at this address.
    pub(crate) fn listening(&self, address: SocketAddr) -> Vec<u32> {
        let sockets = listeners(address.port());
        let holds = |pid: &u32| {
            let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
                return false;
            };
            let targets = entries
                .flatten()
                .filter_map(|entry| entry.path().read_link().ok());
            targets.into_iter().any(|target| sockets.contains(&target))
        };
        self.gateways().into_iter().filter(holds).collect()
    }

    /// The one process that listens at this address, once it is one.
    #[track_caller]
    pub(crate) fn serving(&self, address: SocketAddr) -> u32 {
        eventually(SOON, "one process listens", || {
            match self.listening(address)[..] {
                [pid] => Some(pid),
                _ => None,
            }
        })
    }

    /// Kills all of it.
    pub(crate) fn kill(&self) {
        // One may start another meanwhile.
        for _ in 0..100 {
            let all = self.all();
            if all.is_empty() {
                return;
            }
            for pid in all {
                process::tool("kill", &["-KILL", &pid.to_string()]);
            }
        }
    }

    /// Waits until nothing of it runs.
    #[track_caller]
    pub(crate) fn wait_gone(&self, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let left = self.gateways();
            if left.is_empty() {
                return;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "not gone within {within:?}: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Processes that were there before the first family, which none of them is of; they are most of all processes. With the
/// time of their start: a later process may have the number of one of them.
fn older() -> &'static BTreeSet<(u32, u64)> {
    static OLDER: OnceLock<BTreeSet<(u32, u64)>> = OnceLock::new();
    OLDER.get_or_init(|| {
        let started = |pid| Some((pid, stat(pid)?.started));
        pids().into_iter().filter_map(started).collect()
    })
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("list /proc").flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// What ps(1) calls a process.
pub(crate) fn name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The state and the parent of a process, and when it was started, in ticks since the host was (proc(5)).
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: u32,
    started: u64,
}

pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit(')').next()?.split_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        // Field 22 of all.
        started: fields.nth(17)?.parse().ok()?,
    })
}

/// The sockets that listen at a port, as /proc/PID/fd words them.
fn listeners(port: u16) -> BTreeSet<PathBuf> {
    const LISTEN: &str = "0A";
    let mut sockets = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = File::open(table).expect("open a table of sockets");
        for line in BufReader::new(table).lines().skip(1).map_while(Result::ok) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // Those that listen come first, and others are many.
            if fields[3] != LISTEN {
                break;
            }
            let (_, own) = fields[1].rsplit_once(':').expect("an address and a port");
            if u16::from_str_radix(own, 16) == Ok(port) {
                sockets.insert(PathBuf::from(format!("socket:[{}]", fields[9])));
            }
        }
    }
    sockets
}
