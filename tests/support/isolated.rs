//! Tests that need port 53, /etc/resolv.conf and /etc/hosts to themselves.
//!
//! The gateway has no hidden option for another resolver, so the test runs this test binary once more, for this one test, in
//! namespaces of its own (network, mount, process ids).
//! There, all of 127.0.0.0/8 and every port is free, fixed addresses disturb nobody, and when the test ends, in
//! whatever way, the kernel ends everything that it started.

use std::any::type_name;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{can, is_root};
use super::{TempDir, child_command, host_offers};

/// Tells the inner run that it is one, and where its files are.
const SITE: &str = "ETCD_GATEWAY_SUITE_SITE";
/// An inner run that takes longer hangs: the slowest starts a cluster and waits for two TTLs.
const PATIENCE: Duration = Duration::from_secs(120);
/// One server, asked once: tests of dead servers need not wait for the default's 10 s.
pub(crate) const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";
/// The mounts hold on to the files, so that writing to them is enough to change what the gateway sees.
const SCRIPT: &str = "mount --bind \"$0/resolv.conf\" /etc/resolv.conf && \
    mount --bind \"$0/hosts\" /etc/hosts && ip link set lo up && exec \"$@\"";

/// The machine of one test.
pub(crate) struct Site {
    dir: PathBuf,
}

impl Site {
    /// Rewrites /etc/resolv.conf.
    pub(crate) fn resolv_conf(&self, text: &str) {
        self.file("resolv.conf", text);
    }

    /// Rewrites /etc/hosts.
    pub(crate) fn hosts(&self, text: &str) {
        self.file("hosts", text);
    }

    /// Writes a file that lives as long as the test and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write a file of the site");
        path
    }

    /// The path of a file, which need not exist.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.dir.join(name);
        path.to_str().expect("a temporary path in UTF-8").to_owned()
    }
}

/// Runs `body` alone on a machine of its own; nothing where the host lets us make no namespaces. `test` is the
/// calling test function itself, by whose name the inner run finds it.
#[track_caller]
pub(crate) fn isolated<F: Fn()>(test: F, body: impl FnOnce(&Site)) {
    isolated_within(PATIENCE, test, body);
}

/// The same for a test that takes longer. Lines that begin with `FIGURES` are shown also where it passes, to those who
/// run it with `--nocapture`.
#[track_caller]
pub(crate) fn isolated_within<F: Fn()>(patience: Duration, _test: F, body: impl FnOnce(&Site)) {
    if let Some(dir) = std::env::var_os(SITE) {
        return body(&Site { dir: dir.into() });
    }
    let dir = TempDir::new();
    let _janitor = Janitor::of(dir.path());
    dir.file("resolv.conf", RESOLV_CONF);
    dir.file("hosts", "127.0.0.1 localhost\n");
    let site = dir.path().to_str().expect("a temporary path in UTF-8");
    let allowed = can("unshare", &unshare(&["sh", "-c", SCRIPT, site, "true"]));
    if !host_offers(
        allowed,
        "network and mount namespaces (as root or through user namespaces)",
    ) {
        return;
    }
    // `suite::module::test`: the runner does not count the crate.
    let (_, name) = type_name::<F>()
        .split_once("::")
        .expect("a function in a module");
    let path = dir.path().join("output");
    let output = File::create(&path).expect("create a file for the output");
    let binary = std::env::current_exe().expect("the path of this binary");
    let mut command = child_command("unshare");
    command
        .args(unshare(&["sh", "-c", SCRIPT, site]))
        .arg(binary)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .arg("--include-ignored")
        .env(SITE, dir.path())
        .env("PATH", path_of_servers())
        // They would have a say in what the resolver asks.
        .env_remove("RES_OPTIONS")
        .env_remove("LOCALDOMAIN")
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("duplicate a descriptor"))
        .stderr(output);
    let ended = Inner(command.spawn().expect("run unshare")).wait(patience);
    let text = std::fs::read_to_string(&path).expect("read the output");
    let passed = ended == Some(true) && text.contains("test result: ok. 1 passed");
    assert!(
        passed,
        "{name}, alone, {}:\n{text}",
        if ended.is_some() { "failed" } else { "hangs" }
    );
    for line in text.lines().filter(|line| line.starts_with("SKIPPED")) {
        // Not eprintln: the runner swallows that for tests that pass.
        let _ = writeln!(std::io::stderr(), "\n{line}\n");
    }
    for line in text.lines().filter(|line| line.starts_with("FIGURES")) {
        println!("{line}");
    }
}

fn unshare<'a>(command: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["--net", "--mount", "--pid", "--fork"];
    words.extend(["--kill-child", "--mount-proc"]);
    if !is_root() {
        words.push("--map-root-user");
    }
    words.extend(command);
    words
}

/// Name servers live in /usr/sbin, which a user's path may lack.
fn path_of_servers() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

/// Removes a directory also where this process ends without time for that, as at SIGINT: a shell waits for the end of
/// its input.
struct Janitor(Child);

impl Janitor {
    fn of(dir: &Path) -> Janitor {
        let child = Command::new("sh")
            .args(["-c", "trap '' INT HUP TERM; read -r _; rm -rf -- \"$0\""])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Janitor(child.expect("run sh"))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The inner run; ended, with all it started, when dropped.
struct Inner(Child);

impl Inner {
    /// Whether it succeeded; `None` if it does not end.
    fn wait(mut self, patience: Duration) -> Option<bool> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().expect("wait for unshare") {
                return Some(status.success());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
