//! Clients that stay: `etcdctl watch` and `etcdctl lease keep-alive`, through a gateway.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::access::Access;

/// What a client that stays has seen, by the rig's clock.
#[derive(Debug, Default, Clone)]
pub(super) struct Story {
    /// When something came.
    pub(super) seen: Vec<Duration>,
    /// When the process ended by itself; a watch is then begun again.
    pub(super) ends: Vec<Duration>,
    /// What it said when it ended.
    pub(super) last: String,
}

impl Story {
    /// The longest time without a sign between two moments.
    pub(super) fn silence(&self, from: Duration, to: Duration) -> Duration {
        let inside = self.seen.iter().filter(|&&at| at > from && at < to);
        let marks: Vec<Duration> = [from]
            .into_iter()
            .chain(inside.copied())
            .chain([to])
            .collect();
        let gaps = marks.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        gaps.max().unwrap_or_default()
    }
}

/// A process, and the thread that reads what it says.
pub(super) struct Held {
    shared: Arc<Mutex<Shared>>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    child: Option<Child>,
    stopped: bool,
    story: Story,
}

impl Held {
    /// `etcdctl watch`, begun again when it ends.
    pub(super) fn watch(access: &Access, clock: Instant, gateway: &str, key: &str) -> Held {
        let (access, gateway, key) = (access.clone(), gateway.to_owned(), key.to_owned());
        let command = move || access.etcdctl(&gateway, &["watch", &key]);
        Held::start(clock, "PUT", true, command)
    }

    /// `etcdctl lease keep-alive`; the lease is lost when it ends.
    pub(super) fn lease(access: &Access, clock: Instant, gateway: &str, id: &str) -> Held {
        let (access, gateway, id) = (access.clone(), gateway.to_owned(), id.to_owned());
        let command = move || access.etcdctl(&gateway, &["lease", "keep-alive", &id]);
        Held::start(clock, "keepalived", false, command)
    }

    fn start(
        clock: Instant,
        sign: &'static str,
        again: bool,
        command: impl Fn() -> Command + Send + 'static,
    ) -> Held {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let ours = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            while follow(&ours, clock, sign, command()) && again {
                // A client that fails at once is not begun again without a pause.
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Held {
            shared,
            reader: Some(reader),
        }
    }

    pub(super) fn story(&self) -> Story {
        let shared = self.shared.lock().expect("no panic with the lock");
        shared.story.clone()
    }
}

/// Runs one process to its end; false if that was our doing.
fn follow(shared: &Mutex<Shared>, clock: Instant, sign: &str, mut command: Command) -> bool {
    let lock = || shared.lock().expect("no panic with the lock");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (stdout, mut stderr) = {
        let mut shared = lock();
        if shared.stopped {
            return false;
        }
        let mut child = command.spawn().expect("run etcdctl");
        let pipes = (child.stdout.take(), child.stderr.take());
        shared.child = Some(child);
        (pipes.0.expect("piped"), pipes.1.expect("piped"))
    };
    let mut last = String::new();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if line.contains(sign) {
            lock().story.seen.push(clock.elapsed());
        }
        last = line;
    }
    let mut said = String::new();
    let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
    let mut shared = lock();
    if let Some(mut child) = shared.child.take() {
        let _ = child.wait();
    }
    if !shared.stopped {
        shared.story.ends.push(clock.elapsed());
        shared.story.last = format!("{last} {}", said.trim());
    }
    !shared.stopped
}

impl Drop for Held {
    fn drop(&mut self) {
        {
            let mut shared = self.shared.lock().expect("no panic with the lock");
            shared.stopped = true;
            if let Some(child) = &mut shared.child {
                let _ = child.kill();
            }
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
