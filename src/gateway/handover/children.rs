//! How child processes have ended, for the first process of a service, which ends with the status of the one that serves.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::sys::syscall;

/// How many ended processes are remembered: more than can drain.
const REMEMBERED: usize = 16;

/// The last child processes that have ended.
#[derive(Debug, Default)]
pub(crate) struct Children(Vec<(u32, ExitStatus)>);

impl Children {
    /// Notes which have ended; to be called at SIGCHLD, but not while a process is being started: that one may be killed by its
    /// number, which may be the number of another process once its end was noted.
    pub(crate) fn reap(&mut self) {
        while let Some(ended) = syscall::ended_child() {
            if self.0.len() == REMEMBERED {
                self.0.remove(0);
            }
            self.0.push(ended);
        }
    }

    /// The exit status of a process that was noted, as a shell has it.
    pub(crate) fn exit_status(&self, process: u32) -> Option<u8> {
        let ended = self.0.iter().rev().find(|(ended, _)| *ended == process);
        ended.map(|(_, status)| exit_status(*status))
    }

    /// The exit status of a process that has ended, or is about to; 1 if it is not known within `patience`.
    pub(crate) fn wait_for(&mut self, process: u32, patience: Duration) -> u8 {
        let deadline = Instant::now() + patience;
        loop {
            self.reap();
            if let Some(status) = self.exit_status(process) {
                return status;
            }
            if Instant::now() >= deadline {
                return 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// 128 and the number of the signal if one ended the process.
fn exit_status(status: ExitStatus) -> u8 {
    let signalled = status.signal().map(|signal| signal.saturating_add(128));
    let code = status.code().or(signalled).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_that_of_a_shell() {
        for (raw, expected) in [
            (0, 0),
            (1 << 8, 1),
            (2 << 8, 2),
            (255 << 8, 255),
            (9, 137),
            (15, 143),
        ] {
            let mut children = Children::default();
            children.0.push((7, ExitStatus::from_raw(raw)));
            assert_eq!(children.exit_status(7), Some(expected), "{raw}");
            assert_eq!(children.exit_status(8), None);
        }
    }
}
