//! The units of systemd. The service starts the program that prints it.
//!
//! The words of `ExecStart=` are read by systemd.service(5), "COMMAND LINES", and systemd.unit(5), "SPECIFIERS".

use std::path::Path;

const SERVICE: &str = include_str!("../../deploy/etcd-gateway.service");
/// The socket that may go with it.
pub(super) const SOCKET: &str = include_str!("../../deploy/etcd-gateway.socket");
/// The placeholder for the path of the program.
const PROGRAM: &str = "@BINDIR@/etcd-gateway";
/// Where `make install` puts the program; used if the path of this one is unknown (no /proc).
const USUAL: &str = "/usr/local/bin/etcd-gateway";
/// The kernel appends this to the path of a program whose file was replaced (proc(5), `/proc/pid/exe`).
const REPLACED: &str = " (deleted)";

/// The service, which starts this program.
pub(super) fn service() -> String {
    let program = std::env::current_exe().ok();
    service_of(program.as_deref().and_then(Path::to_str).unwrap_or(USUAL))
}

fn service_of(program: &str) -> String {
    let program = program.strip_suffix(REPLACED).unwrap_or(program);
    SERVICE.replace(PROGRAM, &escaped(program))
}

/// A path within the double quotes of the unit: a specifier begins with `%`, an escape with a backslash. A `$` is literal:
/// systemd does not expand variables in the path of the program.
fn escaped(path: &str) -> String {
    let path = path.replace('%', "%%").replace('\\', "\\\\");
    path.replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_starts_this_program() {
        let own = std::env::current_exe().unwrap();
        let expected = format!("\nExecStart=\"{}\" start --config-file=-", own.display());
        assert!(service().contains(&expected), "{expected}");
        assert!(!service().contains(PROGRAM));
    }

    #[test]
    fn paths_are_quoted_as_systemd_reads_them() {
        const CASES: &[(&str, &str)] = &[
            ("/usr/bin/gw", "/usr/bin/gw"),
            ("/usr/bin/gw (deleted)", "/usr/bin/gw"),
            ("/a b", "/a b"),
            ("/50%", "/50%%"),
            (r#"/a\b"c$d"#, r#"/a\\b\"c$d"#),
        ];
        for (path, expected) in CASES {
            let line = format!("ExecStart=\"{expected}\" start --");
            assert!(service_of(path).contains(&line), "{path}");
        }
    }
}
