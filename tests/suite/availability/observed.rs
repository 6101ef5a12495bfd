//! What a gateway says of its endpoints while an experiment runs, and how busy the host was.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::json::Json;

/// How often `/endpoints` is read.
const EVERY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(5);

/// What `/endpoints` said of one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) at: Duration,
    pub(super) state: String,
    pub(super) open: f64,
    pub(super) total: f64,
}

/// All that was seen, by endpoint.
pub(super) type Sights = BTreeMap<String, Vec<Sight>>;

/// Reads a path of the admin listener; nothing if that fails, for a busy host may.
pub(super) fn fetch(admin: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (_, content) = text.split_once("\r\n\r\n")?;
    Some(content.to_owned())
}

/// The sum of all samples of a metric whose labels contain all these; nothing where it has none.
pub(super) fn metric(admin: SocketAddr, name: &str, labels: &[&str]) -> Option<f64> {
    let text = fetch(admin, "/metrics")?;
    let values = text.lines().filter_map(|line| {
        let (sample, value) = line.rsplit_once(' ')?;
        let rest = sample.strip_prefix(name)?;
        let ours = (rest.is_empty() || rest.starts_with('{'))
            && labels.iter().all(|label| rest.contains(label));
        ours.then(|| value.parse::<f64>().ok())?
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// What `/endpoints` says now: each endpoint with what is known of it.
pub(super) fn look(admin: SocketAddr, at: Duration) -> Option<Vec<(String, Sight)>> {
    let json = Json::parse(&fetch(admin, "/endpoints")?).ok()?;
    let Some(Json::List(list)) = json.get("endpoints") else {
        return None;
    };
    let sight = |endpoint: &Json| {
        let sight = Sight {
            at,
            state: endpoint.text("state").to_owned(),
            open: endpoint.number("connections_open"),
            total: endpoint.number("connections_total"),
        };
        (endpoint.text("address").to_owned(), sight)
    };
    Some(list.iter().map(sight).collect())
}

/// A thread that looks again and again.
pub(super) struct Watcher {
    stop: Arc<AtomicBool>,
    sights: Arc<Mutex<Sights>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(admin: SocketAddr, clock: Instant) -> Watcher {
        let (stop, sights) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Sights::new())),
        );
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&sights));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let seen = look(admin, clock.elapsed()).unwrap_or_default();
                {
                    let mut noted = noted.lock().expect("no panic with the lock");
                    for (endpoint, sight) in seen {
                        noted.entry(endpoint).or_default().push(sight);
                    }
                }
                std::thread::sleep(EVERY);
            }
        });
        Watcher {
            stop,
            sights,
            thread: Some(thread),
        }
    }

    pub(super) fn sights(&self) -> Sights {
        self.sights.lock().expect("no panic with the lock").clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The states of an endpoint, each with the moment it was first seen in.
pub(super) fn states(sights: &Sights, endpoint: &str) -> Vec<(Duration, String)> {
    let mut states: Vec<(Duration, String)> = Vec::new();
    for sight in sights.get(endpoint).into_iter().flatten() {
        if states.last().is_none_or(|(_, state)| *state != sight.state) {
            states.push((sight.at, sight.state.clone()));
        }
    }
    states
}

/// Clients that were given to an endpoint between two moments, as far as was seen.
pub(super) fn given(sights: &Sights, endpoint: &str, from: Duration, to: Duration) -> f64 {
    let seen = sights.get(endpoint).map_or(&[][..], Vec::as_slice);
    let last = |until: Duration| {
        let before = seen.iter().rev().find(|sight| sight.at <= until);
        before
            .or(seen.first())
            .map_or(f64::NAN, |sight| sight.total)
    };
    last(to) - last(from)
}

/// How late a thread is that wants to run every 20 ms: what the host, not the gateway, adds to all figures.
pub(super) struct Pulse {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Duration>>,
}

impl Pulse {
    pub(super) fn start() -> Pulse {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (step, mut worst) = (Duration::from_millis(20), Duration::ZERO);
            while !stopped.load(Ordering::SeqCst) {
                let before = Instant::now();
                std::thread::sleep(step);
                worst = worst.max(before.elapsed().saturating_sub(step));
            }
            worst
        });
        Pulse {
            stop,
            thread: Some(thread),
        }
    }

    /// The worst delay.
    pub(super) fn stop(mut self) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("stopped once");
        thread.join().expect("the pulse does not panic")
    }
}
