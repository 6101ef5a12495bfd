//! The process itself: how it is contained, where its log lines go, and what all parts of a start need.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use super::error::{Error, refused};
use super::threads::{Thread, Threads};
use crate::access::{AccessLog, LogFile, Target};
use crate::config::Config;
use crate::log::{Format, Layout};
use crate::sys::notify::Notifier;
use crate::sys::program::Program;
use crate::sys::{OsErrorText, journal, random, syscall};
use crate::times::Times;

/// The kernel never refuses this, but a sandbox may.
pub(super) const NOT_CONTAINED: &str = "cannot set no_new_privs; continuing without it";

/// What all parts of a start need.
pub(super) struct Process<'a> {
    pub(super) config: &'a Config,
    pub(super) program: Program,
    pub(super) notifier: Notifier,
    pub(super) threads: Arc<Threads>,
    /// How many descriptors it may have.
    pub(super) descriptors: u64,
    pub(super) times: Times,
}

/// Gives up the right to get privileges, and checks that the host has entropy, as a start and a check both do first.
/// If the kernel refuses the former, returns the reason, for [`NOT_CONTAINED`].
///
/// # Errors
/// If the host has no entropy.
pub(super) fn contain() -> Result<Option<String>, Error> {
    let privileges = syscall::forbid_new_privileges();
    random::check().map_err(refused("no entropy"))?;
    let error = privileges.err();
    Ok(error.map(|error| OsErrorText(&error).to_string()))
}

/// Lines on stderr: JSON unless text is asked for or stderr is a terminal, in the journal too, where others have parsed it.
pub(super) fn stderr_layout(config: &Config) -> Layout {
    let auto = match io::stderr().is_terminal() {
        true => Format::Text,
        false => Format::Json,
    };
    Layout {
        format: config.log_format.unwrap_or(auto),
        has_priority: journal::is_stderr(|name| std::env::var_os(name)),
    }
}

/// Opens the access log, if one is wanted, and starts its writer. On stderr its lines look like those of the log; in a file, which
/// is for programs, they are JSON unless text is asked for.
pub(super) fn access_log(process: &Process<'_>) -> Result<Option<Arc<AccessLog>>, Error> {
    let config = process.config;
    let (mut file, layout) = match &config.access_log {
        None => return Ok(None),
        Some(Target::Stderr) => (None, stderr_layout(config)),
        Some(Target::File(path)) => {
            let file = LogFile::open(path).map_err(|error| Error::access_log(path, &error))?;
            let layout = Layout {
                format: config.log_format.unwrap_or(Format::Json),
                has_priority: false,
            };
            (Some(file), layout)
        }
    };
    let log = Arc::new(AccessLog::new(layout));
    let own = Arc::clone(&log);
    let work = move || own.write(file.as_mut());
    let writer = process.threads.start(Thread::ACCESS_LOG, work);
    writer.map_err(Error::thread)?;
    Ok(Some(log))
}
