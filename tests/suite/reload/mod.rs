//! SIGUSR2: a new process takes over, and no client is refused, reset or kept waiting. What each module holds:
//!
//! - `traffic`: reloads in front of a real cluster, one after the other and several at once
//! - `failed`: reloads that fail, after which everything is as before
//! - `upgrade`: the program that is started is the one at the path then
//! - `addresses`: listeners that are kept, closed and opened
//! - `end`: signals that end it, before, while and after it reloads; starts by hand beside it
//! - `draining`: how many processes may drain, for how long, and where that is shown
//! - `traces`: what a process that came of many reloads has and has not
//! - `supervisors`: who started it sees one process that lives as long as the service does
//! - `notified`: messages to a service manager, by which process, in which order
//! - `unit`: the unit that the program prints, under the real systemd

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::net::{self, try_connect};
use crate::support::supervisor::Service;
use crate::support::{SOON, eventually};

mod addresses;
mod draining;
mod end;
mod failed;
mod notified;
mod supervisors;
mod traces;
mod traffic;
mod unit;
mod upgrade;

/// What a client may wait: a SYN that is dropped is sent again after a second. A machine that runs many tests stalls that long at
/// times, so that one or two may wait longer, but not one at each reload, and none for what nobody does.
const PROMPT: Duration = Duration::from_millis(950);
const STALLED: usize = 2;
const STALL: Duration = Duration::from_secs(5);

/// Clients that come one after the other for as long as it lives, each asking one thing.
struct Clients {
    /// How many have to be asked for before it ends: all there are, until somebody says otherwise.
    enough: Arc<AtomicUsize>,
    thread: JoinHandle<Report>,
}

/// How clients fared.
#[derive(Debug, Default)]
struct Report {
    served: usize,
    slowest: Duration,
    /// How many waited longer than `PROMPT`.
    slow: usize,
    failed: Vec<String>,
}

impl Clients {
    fn asking(ask: impl Fn() -> io::Result<()> + Send + 'static) -> Clients {
        let enough = Arc::new(AtomicUsize::new(usize::MAX));
        let until = Arc::clone(&enough);
        let thread = std::thread::spawn(move || {
            let mut report = Report::default();
            while report.served + report.failed.len() < until.load(Ordering::SeqCst) {
                let start = Instant::now();
                match ask() {
                    Ok(()) => report.served += 1,
                    Err(error) => {
                        let after = start.elapsed();
                        report.failed.push(format!("after {after:?}: {error}"));
                    }
                }
                let waited = start.elapsed();
                report.slowest = report.slowest.max(waited);
                report.slow += usize::from(waited > PROMPT);
                // Many tests run at once, and none is about load.
                std::thread::sleep(Duration::from_millis(5));
            }
            report
        });
        Clients { enough, thread }
    }

    /// Of an endpoint that says `t` and echoes.
    fn of(address: SocketAddr) -> Clients {
        Clients::asking(move || greet(address).map(drop))
    }

    /// Of HTTP, who must be answered with 200.
    fn of_http(address: SocketAddr, path: &'static str) -> Clients {
        Clients::asking(move || {
            let answer = http(address, path)?;
            match answer.starts_with("HTTP/1.1 200 ") {
                true => Ok(()),
                false => Err(io::Error::other(answer)),
            }
        })
    }

    /// All were served at once.
    #[track_caller]
    fn all_were_served(self, at_least: usize) {
        let report = self.none_failed(at_least);
        let prompt = report.slow <= STALLED && report.slowest < STALL;
        assert!(prompt, "{report:?}");
    }

    /// All were served, however long that took.
    #[track_caller]
    fn none_failed(self, at_least: usize) -> Report {
        // A reload may be quicker than they are.
        self.enough.store(at_least, Ordering::SeqCst);
        let report = self.thread.join().expect("clients do not panic");
        assert!(report.failed.is_empty(), "{report:?}");
        report
    }
}

/// A client that is served by an endpoint that says `t`, and has its echo.
fn greet(address: SocketAddr) -> io::Result<TcpStream> {
    let (tag, mut stream) = net::try_tag(address)?;
    let mut echo = [0];
    stream.write_all(b"e")?;
    stream.read_exact(&mut echo)?;
    match (tag, echo) {
        (b't', [b'e']) => Ok(stream),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

/// One that stays.
#[track_caller]
fn client(address: SocketAddr) -> TcpStream {
    greet(address).unwrap_or_else(|error| panic!("a client of {address}: {error}"))
}

fn http(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = try_connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Nobody listens at this address any more.
#[track_caller]
fn assert_closes(address: SocketAddr) {
    eventually(SOON, &format!("{address} is closed"), || {
        let error = TcpStream::connect_timeout(&address, SOON).err()?;
        (error.kind() == io::ErrorKind::ConnectionRefused).then_some(())
    });
}

/// Waits until no process of the service is left but these.
#[track_caller]
fn wait_for_only(service: &Service, wanted: &[u32]) {
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let what = format!("only {wanted:?} are left");
    eventually(SOON, &what, || {
        (service.family.gateways() == wanted).then_some(())
    });
}
