//! Fresh clients: a process and so a connection per request, at a steady rate, whatever becomes of those before.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::access::Access;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    EtcdctlPut,
    EtcdctlGet,
    /// A serializable read, which a member answers without the others.
    EtcdctlStale,
    CurlPut,
    CurlGet,
    /// A call on a connection that was there before.
    Channel,
}

/// `{"key":"curl","value":"v"}`, in base64 as etcd wants it.
const PUT: &str = r#"{"key":"Y3VybA==","value":"dg=="}"#;
const GET: &str = r#"{"key":"Y3VybA=="}"#;
/// How long curl waits.
const CURL_SECONDS: u32 = 15;

impl Call {
    pub(super) fn name(self) -> &'static str {
        match self {
            Call::EtcdctlPut => "etcdctl put",
            Call::EtcdctlGet => "etcdctl get",
            Call::EtcdctlStale => "etcdctl get -s",
            Call::CurlPut => "curl put",
            Call::CurlGet => "curl range",
            Call::Channel => "open channel",
        }
    }

    /// A client that fails before this was not left to its own time-out.
    pub(super) fn patience(self) -> Duration {
        match self {
            Call::CurlPut | Call::CurlGet => Duration::from_secs(CURL_SECONDS.into()),
            _ => Duration::from_secs(5),
        }
    }

    fn command(self, access: &Access, address: &str) -> Command {
        match self {
            Call::EtcdctlPut => access.etcdctl(address, &["put", "fresh", "value"]),
            Call::EtcdctlGet => access.etcdctl(address, &["get", "fresh"]),
            Call::EtcdctlStale => access.etcdctl(address, &["get", "fresh", "--consistency=s"]),
            Call::CurlPut => access.curl(address, "/v3/kv/put", PUT, CURL_SECONDS),
            Call::CurlGet => access.curl(address, "/v3/kv/range", GET, CURL_SECONDS),
            Call::Channel => unreachable!("a channel is not a process"),
        }
    }

    fn make(self, access: &Access, address: &str) -> Result<(), String> {
        let output = self.command(access, address).output();
        let output = output.map_err(|error| error.to_string())?;
        let (said, code) = (
            String::from_utf8_lossy(&output.stderr).into_owned(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        let curl = matches!(self, Call::CurlPut | Call::CurlGet);
        match output.status.success() && (!curl || code == "200") {
            true => Ok(()),
            false if curl => Err(format!("HTTP {code} {}", said.trim())),
            // Lines before the last one are the client's log of its attempts.
            false => Err(said.lines().last().unwrap_or_default().to_owned()),
        }
    }
}

/// One request; times count from the rig's clock.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Which load it belongs to: a gateway, or the members themselves.
    pub(super) front: &'static str,
    pub(super) call: Call,
    /// Which of several channels.
    pub(super) lane: usize,
    pub(super) begun: Duration,
    pub(super) took: Duration,
    pub(super) error: Option<String>,
    /// It failed while clients of the members themselves did, too: there was no leader, or the host was busy.
    pub(super) excused: bool,
}

impl Request {
    pub(super) fn ended(&self) -> Duration {
        self.begun + self.took
    }
}

/// Where all requests are noted.
#[derive(Clone)]
pub(super) struct Notes {
    clock: Instant,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Notes {
    pub(super) fn new(clock: Instant) -> Notes {
        Notes {
            clock,
            requests: Arc::default(),
        }
    }

    /// Makes a request and notes how it went.
    pub(super) fn make<E: ToString>(
        &self,
        (front, call, lane): (&'static str, Call, usize),
        request: impl FnOnce() -> Result<(), E>,
    ) {
        let begun = Instant::now();
        let outcome = request();
        let request = Request {
            front,
            call,
            lane,
            begun: begun.duration_since(self.clock),
            took: begun.elapsed(),
            error: outcome.err().map(|error| error.to_string()),
            excused: false,
        };
        let mut requests = self.requests.lock().expect("no panic with the lock");
        requests.push(request);
    }

    pub(super) fn all(&self) -> Vec<Request> {
        let requests = self.requests.lock().expect("no panic with the lock");
        requests.clone()
    }
}

/// One stream of fresh clients.
pub(super) struct Stream {
    pub(super) front: &'static str,
    pub(super) call: Call,
    pub(super) address: String,
    pub(super) every: Duration,
    /// Until the first, so that streams do not go in step.
    pub(super) offset: Duration,
}

/// Streams that run until they are told to stop.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    drivers: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(access: &Access, notes: &Notes, streams: Vec<Stream>) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let drive = |stream: Stream| {
            let (access, notes) = (access.clone(), notes.clone());
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || drive(&stream, &access, &notes, &stop))
        };
        let drivers = streams.into_iter().map(drive).collect();
        Load { stop, drivers }
    }

    /// Begins no request any more; those that run are waited for, and each ends by its own time-out at the latest.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for driver in self.drivers {
            driver.join().expect("a load does not panic");
        }
    }
}

fn drive(stream: &Stream, access: &Access, notes: &Notes, stop: &AtomicBool) {
    let mut next = Instant::now() + stream.offset;
    std::thread::scope(|scope| {
        while !stop.load(Ordering::SeqCst) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            // A host that was busy does not make up for what it has missed.
            next = (next + stream.every).max(Instant::now());
            let what = (stream.front, stream.call, 0);
            scope.spawn(move || {
                notes.make(what, || stream.call.make(access, &stream.address));
            });
        }
    });
}
