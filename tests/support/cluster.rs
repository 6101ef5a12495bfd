//! A real etcd cluster of three members, of the host's `etcd`, on free ports of loopback.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::{TempDir, child_command, eventually, host_offers, ports, process};

/// Three members that elect a leader on a busy machine.
const ELECTED: Duration = Duration::from_secs(40);

pub(crate) struct EtcdCluster {
    members: Vec<Member>,
    initial_cluster: String,
    dir: TempDir,
}

struct Member {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    process: Option<Child>,
}

impl EtcdCluster {
    /// A healthy cluster; nothing where the host has no etcd.
    pub(crate) fn start() -> Option<EtcdCluster> {
        if !host_offers(
            process::have("etcd") && process::have("etcdctl"),
            "etcd and etcdctl",
        ) {
            return None;
        }
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let members: Vec<Member> = ["a", "b", "c"]
            .iter()
            .map(|&name| Member {
                name: name.to_owned(),
                client: local(ports::free_port()),
                peer: local(ports::free_port()),
                process: None,
            })
            .collect();
        let peers: Vec<String> = members
            .iter()
            .map(|member| format!("{}=http://{}", member.name, member.peer))
            .collect();
        // In memory where possible: this etcd cannot be told not to sync its log, and the disk is not under test.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            &std::env::temp_dir()
        };
        let mut cluster = EtcdCluster {
            members,
            initial_cluster: peers.join(","),
            dir: TempDir::below(parent),
        };
        cluster.start_all();
        Some(cluster)
    }

    pub(crate) fn clients(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// The endpoints as a flag's value.
    pub(crate) fn endpoints(&self) -> String {
        let clients: Vec<String> = self.clients().iter().map(SocketAddr::to_string).collect();
        clients.join(",")
    }

    /// `kill -9`; returns when the process is gone and its port refuses.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].process.take() {
            process.kill().expect("kill a member");
            process.wait().expect("reap a member");
        }
    }

    /// Starts a killed member again, from its data, and waits until the cluster is whole.
    pub(crate) fn restart(&mut self, index: usize) {
        self.spawn(index);
        self.wait_healthy();
    }

    /// Starts the members that do not run, and waits until all serve.
    pub(crate) fn start_all(&mut self) {
        for index in 0..self.members.len() {
            if self.members[index].process.is_none() {
                self.spawn(index);
            }
        }
        self.wait_healthy();
    }

    /// Which member leads.
    pub(crate) fn leader(&self) -> usize {
        eventually(ELECTED, "the cluster has a leader", || {
            (0..self.members.len())
                .find(|&index| self.members[index].process.is_some() && self.leads(index))
        })
    }

    /// A member's status names itself and its leader: `…, 8e9e05c52164694d, 3.4.23, 20 kB, true, …`.
    fn leads(&self, index: usize) -> bool {
        let status = etcdctl(
            self.members[index].client,
            &["endpoint", "status", "--write-out=simple"],
            b"",
        );
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        status.status.success() && text.split(", ").nth(4) == Some("true")
    }

    fn wait_healthy(&self) {
        eventually(ELECTED, "all members are healthy", || {
            let health = Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args([
                    "endpoint",
                    "health",
                    "--command-timeout=2s",
                    "--endpoints",
                    &self.endpoints(),
                ])
                .output()
                .expect("run etcdctl");
            health.status.success().then_some(())
        });
    }

    fn spawn(&mut self, index: usize) {
        let member = &mut self.members[index];
        let path = |kind: &str| self.dir.path().join(format!("{}.{kind}", member.name));
        let log = File::options()
            .create(true)
            .append(true)
            .open(path("log"))
            .expect("open the member's log");
        let (client, peer) = (
            format!("http://{}", member.client),
            format!("http://{}", member.peer),
        );
        let flags = [
            ("--name", member.name.as_str()),
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &self.initial_cluster),
            ("--initial-cluster-state", "new"),
            ("--logger", "zap"),
            ("--log-outputs", "stderr"),
        ];
        let mut command = child_command("etcd");
        command
            .args(flags.iter().flat_map(|(flag, value)| [flag, value]))
            .arg("--data-dir")
            .arg(path("data"));
        member.process = Some(run_member(&mut command, log));
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for index in 0..self.members.len() {
            self.kill(index);
        }
    }
}

/// `etcdctl` against one address, with time for an election, given `input` on stdin.
pub(crate) fn etcdctl(address: SocketAddr, args: &[&str], input: &[u8]) -> Output {
    let mut child = etcdctl_command(address, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run etcdctl");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // etcdctl may end without reading; its status tells.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("wait for etcdctl")
}

/// The command alone, for callers that let it run.
pub(crate) fn etcdctl_command(address: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .args([
            "--dial-timeout=10s",
            "--command-timeout=30s",
            "--endpoints",
            &address.to_string(),
        ])
        .args(args);
    command
}

/// Runs etcdctl, which must succeed, and returns what it printed.
#[track_caller]
pub(crate) fn etcdctl_text(address: SocketAddr, args: &[&str], input: &[u8]) -> String {
    let output = etcdctl(address, args, input);
    assert!(
        output.status.success(),
        "etcdctl {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("output in UTF-8")
}

/// Runs a member of a cluster. The members share the machine with the tests.
pub(crate) fn run_member(command: &mut Command, log: File) -> Child {
    command
        .env("GOMAXPROCS", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("run etcd")
}
