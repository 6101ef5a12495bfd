//! Observes a process through /proc and changes it with the host's tools (`kill`, `prlimit`), without unsafe code.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs a tool to its end.
#[track_caller]
pub(crate) fn tool(name: &str, args: &[&str]) -> Output {
    Command::new(name)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a tool that must succeed and returns its standard output.
#[track_caller]
pub(crate) fn tool_text(name: &str, args: &[&str]) -> String {
    let output = tool(name, args);
    assert!(
        output.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("output in UTF-8")
}

/// True when the tool can be found.
pub(crate) fn have(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(name).exists())
}

/// True when the command succeeds: a tool that is there may still lack the right.
pub(crate) fn can(name: &str, args: &[&str]) -> bool {
    Command::new(name)
        .args(args)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// True when this process is root in its user namespace.
pub(crate) fn is_root() -> bool {
    status_field("self", "Uid:").split_whitespace().nth(1) == Some("0")
}

/// Sends a signal, named as `kill` names it.
#[track_caller]
pub(crate) fn signal(pid: u32, name: &str) {
    tool_text("kill", &[&format!("-{name}"), &pid.to_string()]);
}

/// Changes a limit of a running process: `prlimit --nofile=8:1024`. As the process's own user, for root in a
/// container may lack the capability to do that to others.
#[track_caller]
pub(crate) fn set_limit(pid: u32, limit: &str) {
    let (uid, pid) = (
        owner(Path::new(&format!("/proc/{pid}"))).expect("the process runs"),
        pid.to_string(),
    );
    let prlimit = ["prlimit", "--pid", &pid, limit];
    if owner(Path::new("/proc/self")) == Some(uid) {
        tool_text(prlimit[0], &prlimit[1..]);
    } else {
        tool_text(
            "setpriv",
            &[
                &["--reuid", &uid.to_string(), "--clear-groups"],
                prlimit.as_slice(),
            ]
            .concat(),
        );
    }
}

fn status_field(pid: &str, name: &str) -> String {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("read /proc/PID/status");
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("the field is in /proc/PID/status")
        .trim()
        .to_owned()
}

/// Resident memory in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let text = status_field(&pid.to_string(), "VmRSS:");
    text.trim_end_matches(" kB")
        .parse()
        .expect("VmRSS is a number of kB")
}

/// Bytes of a figure of /proc/PID/status: `VmData:`, `VmSize:`.
pub(crate) fn virtual_memory(pid: u32, name: &str) -> u64 {
    let text = status_field(&pid.to_string(), name);
    let kib: u64 = text
        .trim_end_matches(" kB")
        .parse()
        .expect("a number of kB");
    kib * 1024
}

/// How often the threads of a process have gone to sleep so far.
pub(crate) fn sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("list /proc/PID/task");
    let counts = tasks.flatten().filter_map(|task| {
        // One that ends meanwhile has no status.
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    });
    counts.sum()
}

/// Waits until the threads of a process have slept for a while; returns how often they have gone to sleep.
#[track_caller]
pub(crate) fn wait_asleep(pid: u32) -> u64 {
    let mut last = sleeps(pid);
    super::eventually(super::SOON, "all threads sleep", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sleeps(pid);
        (std::mem::replace(&mut last, now) == now).then_some(now)
    })
}

/// Number of threads.
pub(crate) fn threads(pid: u32) -> usize {
    status_field(&pid.to_string(), "Threads:")
        .parse()
        .expect("Threads is a number")
}

/// Number of open descriptors.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("list /proc/PID/fd")
        .count()
}

/// User and system time spent so far.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("read /proc/PID/stat");
    // The name in parentheses may hold blanks; utime and stime are fields 14 and 15, the state is field 3.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("a stat line")
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    // USER_HZ is 100 on every Linux that Rust runs on.
    Duration::from_millis(ticks * 10)
}

/// Soft and hard limit on open files, as /proc/PID/limits words them.
pub(crate) fn file_limits(pid: u32) -> (String, String) {
    let limits =
        std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("read /proc/PID/limits");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("a line on open files");
    let mut words = line.split_whitespace().map(str::to_owned);
    (
        words.next().expect("soft limit"),
        words.next().expect("hard limit"),
    )
}

/// A user id that owns no process and that no other call of this process returns, for tests of limits that
/// count per user.
pub(crate) fn unused_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let fresh =
        || 61_000 + std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 1000;
    let owners: Vec<u32> = std::fs::read_dir("/proc")
        .expect("list /proc")
        .flatten()
        .filter_map(|entry| owner(&entry.path()))
        .collect();
    (0..1000)
        .map(|_| fresh())
        .find(|uid| !owners.contains(uid))
        .expect("an unused user id")
}

fn owner(path: &Path) -> Option<u32> {
    path.metadata().ok().map(|facts| facts.uid())
}
