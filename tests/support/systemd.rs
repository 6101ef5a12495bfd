//! The real systemd with one service, in namespaces of its own: process ids, mounts, a control group.
//!
//! It is the first process there, as in a container, and runs one unit: the one that the program prints, with a drop-in
//! that says which program it is, its flags and where its log goes. It shares the network with the tests. It sees the
//! file system read-only, so that nothing of the host is changed by it. Whatever ends the tests ends it too: a
//! shell waits for the end of its input, and cleans up.

use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::gateway::binary;
use super::json::Json;
use super::process::{have, is_root, tool, tool_text};
use super::{SOON, TempDir, eventually, host_offers};

/// Outside of the namespaces: makes the control group, and removes it when its input ends.
const OUTER: &str = r#"
mount -t cgroup2 cgroup2 "$0/cgroup" || exit 1
own=$0/cgroup/etcd-gateway-suite-$$
mkdir "$own" && echo $$ >"$own/cgroup.procs" || exit 1
unshare --cgroup --pid --fork --kill-child --mount --mount-proc --ipc --uts sh -c "$1" "$0" </dev/null &
child=$!
echo $$ >"$0/cgroup/cgroup.procs"
read -r _
kill -KILL $child
wait $child 2>/dev/null
tries=0
until find "$own" -depth -type d -exec rmdir {} + 2>/dev/null || [ $tries = 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
"#;
/// Inside: hides what it must not touch.
const INNER: &str = r#"
set -e
umount "$0/cgroup"
mount -t tmpfs tmpfs /run
mkdir /run/suite
mount --bind "$0" /run/suite
mount -o remount,ro,bind /
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i container=lxc PATH="$PATH" SYSTEMD_LOG_TARGET=null SYSTEMD_UNIT_PATH=/run/suite/units \
    /lib/systemd/systemd --system --unit=etcd-gateway.service
"#;
const UNIT: &str = "etcd-gateway.service";
/// The program, as systemd sees it.
const PROGRAM: &str = "/run/suite/etcd-gateway";

pub(crate) struct Systemd {
    shell: Child,
    /// As the host counts.
    pid: String,
    dir: TempDir,
}

impl Systemd {
    /// Runs `etcd-gateway start` with these flags, as the unit of `etcd-gateway generate unit` and these lines of its
    /// `[Service]` say, and waits until it serves; nothing where the host does not offer that.
    #[track_caller]
    pub(crate) fn start(flags: &[&str], lines: &str) -> Option<Systemd> {
        Systemd::start_with(flags, lines, None)
    }

    /// The same, with the socket unit that the program prints listening at this address.
    #[track_caller]
    pub(crate) fn start_with(
        flags: &[&str],
        lines: &str,
        listening: Option<SocketAddr>,
    ) -> Option<Systemd> {
        let offered = is_root()
            && Path::new("/lib/systemd/systemd").exists()
            && have("systemctl")
            && have("nsenter");
        if !host_offers(offered, "systemd, and root's rights") {
            return None;
        }
        let dir = TempDir::new();
        let open = Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("open the directory to all");
        for part in [
            "cgroup",
            "units",
            "units/etcd-gateway.service.d",
            "units/etcd-gateway.socket.d",
        ] {
            std::fs::create_dir(dir.path().join(part)).expect("create a directory");
        }
        let program = dir.path().join("etcd-gateway");
        install(&binary(), &program);
        let print = |what: &str| tool_text(utf8(&program), &["generate", what]);
        let unit = print("unit").replace(utf8(&program), PROGRAM);
        dir.file(&format!("units/{UNIT}"), &unit);
        dir.file("units/etcd-gateway.socket", &print("socket"));
        let also = match listening {
            None => "",
            Some(_) => "Requires=etcd-gateway.socket\nAfter=etcd-gateway.socket\n",
        };
        dir.file(
            "units/etcd-gateway.service.d/suite.conf",
            &format!(
                "[Unit]\nDefaultDependencies=no\nWants=\nAfter=\n{also}[Service]\nExecStart=\n\
                 ExecStart={PROGRAM} start {}\nStandardError=append:/run/suite/log\n{lines}\n",
                flags.join(" ")
            ),
        );
        if let Some(address) = listening {
            dir.file(
                "units/etcd-gateway.socket.d/suite.conf",
                &format!(
                    "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=\nListenStream={address}\n"
                ),
            );
        }
        let site = dir.path().to_str().expect("a temporary path in UTF-8");
        let shell = Command::new("unshare")
            .args(["--mount", "sh", "-c", OUTER, site, INNER])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.path().join("setup")).expect("create a file"))
            .spawn()
            .expect("run unshare");
        let mut systemd = Systemd {
            shell,
            pid: String::new(),
            dir,
        };
        let runs = systemd.find();
        let said = std::fs::read_to_string(systemd.dir.path().join("setup")).unwrap_or_default();
        if !host_offers(runs, &format!("namespaces that systemd runs in: {said}")) {
            return None;
        }
        eventually(SOON, "the unit is active", || {
            let text = systemd.show("ActiveState");
            assert_ne!(text, "failed", "{}", systemd.log());
            (text == "active").then_some(())
        });
        Some(systemd)
    }

    /// Waits for systemd itself; false if the namespaces cannot be made.
    fn find(&mut self) -> bool {
        let shell = self.shell.id().to_string();
        eventually(SOON, "systemd runs, or cannot", || {
            if self.shell.try_wait().expect("wait for the shell").is_some() {
                return Some(false);
            }
            // The shell's child is unshare, whose child is systemd once it has executed it.
            let child = |parent: &str| {
                let output = tool("pgrep", &["-P", parent]);
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.lines().next().map(str::to_owned)
            };
            let pid = child(&child(&shell)?)?;
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            self.pid = pid;
            (name.trim_end() == "systemd").then_some(true)
        })
    }

    /// Runs a command beside systemd.
    fn run(&self, command: &[&str]) -> Output {
        let enter = ["-t", &self.pid, "-m", "-p", "-C"];
        tool("nsenter", &[&enter[..], command].concat())
    }

    /// `systemctl` with this, which must succeed.
    #[track_caller]
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let output = self.run(&[&["systemctl"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "systemctl {args:?}: {said}\n{}",
            self.log()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim_end().to_owned()
    }

    /// `systemctl reload`, which must fail.
    #[track_caller]
    pub(crate) fn cannot_reload(&self) {
        let output = self.run(&["systemctl", "reload", UNIT]);
        assert!(!output.status.success(), "{output:?}\n{}", self.log());
    }

    /// A property of the unit; empty while systemd does not answer yet.
    pub(crate) fn show(&self, property: &str) -> String {
        let output = self.run(&["systemctl", "show", UNIT, "--value", "-p", property]);
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    /// The process that systemd holds to be the main one, as it counts.
    #[track_caller]
    pub(crate) fn main_pid(&self) -> u32 {
        self.show("MainPID").parse().expect("a process")
    }

    /// Sends a signal to one process, by the number that systemd has for it.
    #[track_caller]
    pub(crate) fn kill(&self, signal: &str, pid: u32) {
        let output = self.run(&["kill", &format!("-{signal}"), &pid.to_string()]);
        assert!(output.status.success(), "kill -{signal} {pid}: {output:?}");
    }

    /// The processes of the service, as systemd counts.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let path = format!("/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs");
        let output = self.run(&["cat", &path]);
        let text = String::from_utf8_lossy(&output.stdout);
        let mut processes: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        processes.sort_unstable();
        processes
    }

    /// What a file of /proc/PID says of a process that systemd counts so.
    pub(crate) fn proc(&self, pid: u32, file: &str) -> String {
        let output = self.run(&["cat", &format!("/proc/{pid}/{file}")]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The log of the service so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The records so far with this message.
    pub(crate) fn records(&self, msg: &str) -> Vec<Json> {
        let log = self.log();
        let records = log.lines().filter_map(|line| Json::parse(line).ok());
        records.filter(|record| record.text("msg") == msg).collect()
    }

    /// Replaces the program by a copy of it, as an upgrade does.
    pub(crate) fn upgrade(&self) {
        self.replace(&binary());
    }

    /// Replaces the program by a script.
    pub(crate) fn replace_by_script(&self, lines: &str) {
        let script = self.dir.file("script", &format!("#!/bin/sh\n{lines}\n"));
        self.replace(Path::new(&script));
    }

    /// Replaces the program.
    fn replace(&self, from: &Path) {
        let new = self.dir.path().join("new");
        install(from, &new);
        std::fs::rename(&new, self.dir.path().join("etcd-gateway")).expect("replace the program");
    }
}

/// Copies a program. Another process writes the copy: see `Program` of the tests of reloads.
fn install(from: &Path, to: &Path) {
    tool_text("install", &["-m", "755", utf8(from), utf8(to)]);
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if let Some(mut input) = self.shell.stdin.take() {
            let _ = input.write_all(b"\n");
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(15);
        while std::time::Instant::now() < deadline {
            if !matches!(self.shell.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        if std::thread::panicking() {
            println!("log of the service:\n{}", self.log());
        }
    }
}
