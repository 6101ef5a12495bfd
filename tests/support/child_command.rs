//! Processes that end with the tests that start them, even if those are killed.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::OnceLock;

/// A command that the kernel kills when the thread that starts it ends (`PR_SET_PDEATHSIG`, set by setpriv(1) of
/// util-linux); a plain one where that tool is missing. A run of the tests that is killed leaves no server behind.
pub(crate) fn child_command(program: impl AsRef<OsStr>) -> Command {
    static OFFERED: OnceLock<bool> = OnceLock::new();
    let offered = OFFERED.get_or_init(|| {
        let probe = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .output();
        probe.is_ok_and(|output| output.status.success())
    });
    if !offered {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
