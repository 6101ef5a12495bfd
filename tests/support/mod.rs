//! What the tests share: the gateway as a process, fakes for the endpoints behind it, a real etcd cluster, and ways to observe
//! them.
//!
//! The rules that keep the suite parallel and deterministic stand in `tests/README.md`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub(crate) mod backend;
pub(crate) mod black_hole;
pub(crate) mod child_command;
pub(crate) mod cluster;
pub(crate) mod dns;
pub(crate) mod family;
pub(crate) mod fault;
pub(crate) mod front;
pub(crate) mod gateway;
pub(crate) mod grpc_frames;
pub(crate) mod isolated;
pub(crate) mod json;
mod json_members;
mod kept_keys;
pub(crate) mod memory_group;
pub(crate) mod names;
pub(crate) mod nameservers;
pub(crate) mod net;
pub(crate) mod pki;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod sources;
pub(crate) mod supervisor;
pub(crate) mod systemd;
pub(crate) mod tls_cluster;

pub(crate) use backend::Backend;
pub(crate) use black_hole::BlackHole;
pub(crate) use child_command::child_command;
pub(crate) use gateway::{Gateway, Launch};
pub(crate) use net::{End, connect, end_of, expect, expect_end, reset, send};

/// Deadline on what should happen at once. Long, because the suite may share two cores with a build; no test
/// that passes ever waits for it.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// What a client may wait at most where the gateway must answer without delay: far below every delay that a
/// fault would add (a SYN retransmission is 1 s, the default retry delay 60 s).
pub(crate) const AT_ONCE: Duration = Duration::from_millis(700);

/// Asks `probe` until it answers; panics with `what` when `within` has passed.
pub(crate) fn eventually<T>(
    within: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// True when the host offers `what`. Where it does not, the test is a failure in CI and a loud skip elsewhere.
pub(crate) fn host_offers(offered: bool, what: &str) -> bool {
    if !offered {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci.is_empty()),
            "CI must offer {what}"
        );
        skipped(what);
    }
    offered
}

/// Says that a test, or a part of it, is skipped for want of `what`.
pub(crate) fn skipped(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not eprintln: the test runner swallows that for tests that pass.
    let _ = writeln!(
        std::io::stderr(),
        "\nSKIPPED {test}: this host does not offer {what}\n"
    );
}

/// What a make target has built, by its path below the target directory; nothing where it is missing or older than
/// what it is made of.
pub(crate) fn up_to_date(built: &Path) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let path = root.join(target).join(built);
    let time = path.metadata().and_then(|facts| facts.modified()).ok()?;
    let sources = ["Cargo.toml", "Cargo.lock", "src"];
    let newest = sources.map(|source| modified(&root.join(source)));
    newest.iter().all(|source| time >= *source).then_some(path)
}

/// When the file, or the newest below the directory, was written.
fn modified(path: &Path) -> SystemTime {
    let facts = path.metadata().expect("a source");
    if !facts.is_dir() {
        return facts.modified().expect("the time of a source");
    }
    let entries = std::fs::read_dir(path).expect("list a directory of sources");
    let times = entries.map(|entry| modified(&entry.expect("an entry").path()));
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A directory that lives as long as the value.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// A fresh directory below `parent`, readable by every user (some tests drop privileges).
    pub(crate) fn below(parent: &Path) -> TempDir {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        // The process id alone is not unique: some tests run in a namespace that counts its own.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let path = parent.join(format!(
            "etcd-gateway-suite-{}-{}-{serial}",
            std::process::id(),
            now.unwrap_or_default().as_nanos()
        ));
        std::fs::create_dir(&path).expect("create a temporary directory");
        TempDir(path)
    }

    pub(crate) fn new() -> TempDir {
        TempDir::below(&std::env::temp_dir())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into the directory and returns its path as text.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("write a temporary file");
        path.to_str().expect("a temporary path in UTF-8").to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
