//! A program under measurement: started, asked what it uses, ended.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// How long a program may take to listen, and to end, before the run is given up, or it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Process, String> {
        let output = File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let errors = output.try_clone().map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        sys::end_with_parent(&mut command);
        let child = command
            .spawn()
            .map_err(|e| format!("{:?}: {e}", command.get_program()))?;
        Ok(Process {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until the program accepts connections at `address`. The pause between two looks is what a start-up time
    /// is exact to.
    pub fn wait_for(&mut self, address: SocketAddr, pause: Duration) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if !self.alive() || Instant::now() > deadline {
                return Err(format!(
                    "does not listen; its last words: {}",
                    self.last_words()
                ));
            }
            thread::sleep(pause);
        }
        Ok(())
    }

    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().rev().find(|line| !line.trim().is_empty());
        line.unwrap_or("none").chars().take(300).collect()
    }

    /// The program and the processes that it has started.
    pub fn pids(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|&pid| parent(pid) == Some(own));
        [own].into_iter().chain(children).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        sys::terminate(self.child.id());
        let deadline = Instant::now() + PATIENCE;
        while self.alive() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// CPU time of processes, together.
pub fn cpu(pids: &[u32]) -> Duration {
    pids.iter().filter_map(|&pid| sys::process_cpu(pid)).sum()
}

/// Resident memory of processes in bytes, together.
pub fn resident(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| field(&format!("/proc/{pid}/status"), "VmRSS:"))
        .sum()
}

/// The memory in bytes that the kernel could still give, its own caches counted as free.
pub fn available_memory() -> io::Result<u64> {
    field("/proc/meminfo", "MemAvailable:").ok_or(io::ErrorKind::NotFound.into())
}

/// A field of a file of /proc that is given in kB.
fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// The second field after the name, which stands in parentheses and may hold anything (proc_pid_stat(5)).
fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time_and_has_a_parent() {
        let own = std::process::id();
        assert!(resident(&[own]) > 100 * 1024);
        assert!(available_memory().unwrap() > 1024 * 1024);
        assert_eq!(parent(own), Some(std::os::unix::process::parent_id()));
        let before = cpu(&[own]);
        let mut x = 1_u64;
        while cpu(&[own]) < before + Duration::from_millis(2) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }

    #[test]
    fn a_process_that_ends_is_reported_with_its_last_words() {
        let log = std::env::temp_dir().join(format!("bench-process-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo sorry; exit 1"]);
        let mut process = Process::start(command, &log).unwrap();
        let nobody = "127.0.0.1:1".parse().unwrap();
        let error = process
            .wait_for(nobody, Duration::from_millis(1))
            .unwrap_err();
        assert!(error.contains("sorry"), "{error}");
        fs::remove_file(log).ok();
    }
}
