//! A real cluster, each member on a machine of its own (`network`), and what befalls a member.
//!
//! Heartbeat and election are etcd's defaults. Peers speak plain; clients plain, or TLS with `--client-cert-auth`.
//! Metrics and /health are served plain on port 2381 of each member in both cases.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::time::Duration;

use super::access::{Access, Etcd};
use super::network::{HUB, Wires, host};
use crate::support::cluster::run_member;
use crate::support::isolated::Site;
use crate::support::pki::{Certified, Pki, Request};
use crate::support::process::{signal, tool_text};
use crate::support::{SOON, eventually};

/// Members that elect a leader on a busy machine.
const ELECTED: Duration = Duration::from_secs(40);

/// What the cluster is to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) etcd: Etcd,
    pub(super) tls: bool,
    /// Bytes that the database may have; 0 is etcd's default.
    pub(super) quota: u32,
}

impl Setup {
    pub(super) const PLAIN: Setup = Setup {
        etcd: Etcd::Host,
        tls: false,
        quota: 0,
    };
    pub(super) const MUTUAL: Setup = Setup {
        tls: true,
        ..Setup::PLAIN
    };
    pub(super) const V351: Setup = Setup {
        etcd: Etcd::V351,
        ..Setup::PLAIN
    };

    /// What `AVAILABILITY_SETUP` says, for experiments that have no variants of their own: words with commas between
    /// them, `mtls`, and `3.5.1` or `named`; plain with the host's etcd where it says nothing.
    pub(super) fn chosen() -> Setup {
        let text = std::env::var("AVAILABILITY_SETUP").unwrap_or_default();
        let mut setup = Setup::PLAIN;
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word {
                "plain" => {}
                "mtls" => setup.tls = true,
                "3.5.1" => setup.etcd = Etcd::V351,
                "named" => setup.etcd = Etcd::Named,
                _ => panic!("AVAILABILITY_SETUP: {word:?} is not plain, mtls, 3.5.1 or named"),
            }
        }
        setup
    }
}

pub(super) struct Cluster {
    /// Before the wires: members end first.
    processes: Vec<Option<Child>>,
    pub(super) wires: Wires,
    pub(super) access: Access,
    etcd: PathBuf,
    shown: Option<(String, Certified)>,
    data: PathBuf,
    setup: Setup,
}

/// Where a member serves clients.
pub(super) fn client(index: usize) -> String {
    format!("{}:2379", host(index))
}

fn peer(index: usize) -> String {
    format!("http://{}:2380", host(index))
}

/// A name without the dots that a flag of etcd would take for something else.
fn name(index: usize) -> String {
    format!("m{}", index + 1)
}

impl Cluster {
    /// Three members that serve, of which the second leads; nothing where the host lacks what it takes. There is room
    /// for a fourth.
    pub(super) fn start(site: &Site, setup: Setup) -> Option<Cluster> {
        let (etcd, etcdctl) = setup.etcd.programs()?;
        let wires = Wires::lay(4)?;
        let data = PathBuf::from(site.path("data"));
        std::fs::create_dir(&data).expect("create a directory");
        // In memory, for the disk is not under test, and gone with the test's namespace of mounts.
        let to = data.to_str().expect("a temporary path in UTF-8");
        tool_text("mount", &["-t", "tmpfs", "tmpfs", to]);
        let mut cluster = Cluster {
            processes: Vec::new(),
            wires,
            access: Access { etcdctl, tls: None },
            etcd,
            shown: None,
            data,
            setup,
        };
        if setup.tls {
            cluster.certify(site)?;
        }
        for index in 0..3 {
            let process = cluster.spawn(index, 3, "new");
            cluster.processes.push(Some(process));
        }
        cluster.wait_healthy(&[0, 1, 2]);
        cluster.lead(1);
        Some(cluster)
    }

    fn certify(&mut self, site: &Site) -> Option<()> {
        let pki = Pki::below(&self.data)?;
        let root = pki.root("availability");
        // Members, and what stands in front of them.
        let hosts = (0..4).chain(10..13);
        let hosts: Vec<String> = hosts.map(|index| format!("IP:{}", host(index))).collect();
        let names = format!("IP:{HUB},IP:127.0.0.1,{}", hosts.join(","));
        let mut request = Request::server(&names);
        // etcd shows its certificate to itself, too, as a client's.
        request.extensions = request
            .extensions
            .replace("serverAuth", "serverAuth,clientAuth");
        let shown = pki.issue(&root, &request);
        let client = pki.issue(&root, &request);
        // Clients read the root beside the site's other files, whose path is short in a failure.
        let trusted = site.file("root.pem", &root.pem());
        self.access.tls = Some((trusted.clone(), client));
        self.shown = Some((trusted, shown));
        Some(())
    }

    fn spawn(&self, index: usize, of: usize, state: &str) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(index))
            .expect("open the member's log");
        let scheme = if self.setup.tls { "https" } else { "http" };
        let initial: Vec<String> = (0..of)
            .map(|index| format!("{}={}", name(index), peer(index)))
            .collect();
        let client = format!("{scheme}://{}", client(index));
        let metrics = format!("http://{}:2381", host(index));
        let mut command = self.wires.wrapper(index);
        command
            .arg(&self.etcd)
            .args(["--name", &name(index)])
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer(index)])
            .args(["--initial-advertise-peer-urls", &peer(index)])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--initial-cluster-state", state])
            .args(["--listen-metrics-urls", &metrics])
            .args(["--logger", "zap", "--log-outputs", "stderr"])
            .arg("--data-dir")
            .arg(self.data.join(name(index)));
        if self.setup.quota > 0 {
            command.args(["--quota-backend-bytes", &self.setup.quota.to_string()]);
        }
        if let Some((root, shown)) = &self.shown {
            command.args(["--cert-file", &shown.certificate, "--key-file", &shown.key]);
            command.args(["--client-cert-auth", "--trusted-ca-file", root]);
        }
        run_member(&mut command, log)
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.data.join(format!("{}.log", name(index)))
    }

    /// Lines that a member has logged so far.
    pub(super) fn log_lines(&self, index: usize) -> Vec<String> {
        let text = read(&self.log_path(index));
        text.lines().map(str::to_owned).collect()
    }

    /// Runs `etcdctl` at some members themselves.
    pub(super) fn etcdctl(&self, members: &[usize], args: &[&str]) -> Output {
        let endpoints: Vec<String> = members.iter().map(|&index| client(index)).collect();
        let mut command = self.access.etcdctl(&endpoints.join(","), args);
        command.output().expect("run etcdctl")
    }

    /// The same, which must succeed: what it prints.
    #[track_caller]
    pub(super) fn etcdctl_text(&self, members: &[usize], args: &[&str]) -> String {
        let output = self.etcdctl(members, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {args:?}: {said}");
        String::from_utf8(output.stdout).expect("output in UTF-8")
    }

    pub(super) fn wait_healthy(&self, members: &[usize]) {
        eventually(ELECTED, "the members are healthy", || {
            let health = self.etcdctl(members, &["endpoint", "health"]);
            health.status.success().then_some(())
        });
    }

    /// The id of a member, in hexadecimal, as member `asked` tells it.
    fn id(&self, asked: usize, index: usize) -> String {
        let list = self.etcdctl_text(&[asked], &["member", "list", "--write-out=simple"]);
        let wanted = peer(index);
        let line = list.lines().find(|line| line.contains(&wanted));
        let id = line.and_then(|line| line.split(", ").next());
        id.unwrap_or_else(|| panic!("no {wanted} in {list}"))
            .to_owned()
    }

    /// Makes a member the leader.
    pub(super) fn lead(&self, index: usize) {
        eventually(ELECTED, "the leader is who it should be", || {
            let status = ["endpoint", "status", "--write-out=simple"];
            let leader = (0..3).find(|&member| {
                let output = self.etcdctl(&[member], &status);
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.split(", ").nth(4) == Some("true")
            })?;
            if leader == index {
                return Some(());
            }
            self.etcdctl(&[leader], &["move-leader", &self.id(leader, index)]);
            None
        });
    }

    fn pid(&self, index: usize) -> u32 {
        let process = self.processes[index].as_ref();
        process.expect("the member runs").id()
    }

    pub(super) fn freeze(&self, index: usize) {
        signal(self.pid(index), "STOP");
    }

    pub(super) fn thaw(&self, index: usize) {
        signal(self.pid(index), "CONT");
    }

    pub(super) fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.processes[index].take() {
            process.kill().expect("kill a member");
            process.wait().expect("reap a member");
        }
    }

    /// Starts a killed member again, from its data.
    pub(super) fn restart(&mut self, index: usize) {
        let process = self.spawn(index, 3, "new");
        self.processes[index] = Some(process);
    }

    /// Removes a member from the cluster, by a request to the second member.
    pub(super) fn remove(&self, index: usize) {
        let id = self.id(1, index);
        // Refused until the others have been connected for 5 s.
        eventually(ELECTED, "the member is removed", || {
            let remove = ["member", "remove", &id];
            self.etcdctl(&[1], &remove).status.success().then_some(())
        });
    }

    /// Adds the fourth member as a learner, and waits until it has the data of the others.
    pub(super) fn add_learner(&mut self) {
        let peers = format!("--peer-urls={}", peer(3));
        // Refused until the members have been connected for 5 s.
        eventually(ELECTED, "a learner is added", || {
            let add = ["member", "add", &name(3), "--learner", &peers];
            self.etcdctl(&[1], &add).status.success().then_some(())
        });
        let process = self.spawn(3, 4, "existing");
        self.processes.push(Some(process));
        eventually(ELECTED, "the learner answers", || {
            let status = ["endpoint", "status", "--write-out=simple"];
            let output = self.etcdctl(&[3], &status);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (text.split(", ").nth(5) == Some("true")).then_some(())
        });
    }

    /// Waits until a member's process has ended by itself.
    pub(super) fn wait_gone(&mut self, index: usize) {
        let process = self.processes[index].as_mut().expect("the member runs");
        eventually(SOON, "the member exits", || {
            process.try_wait().expect("wait for etcd")
        });
        self.processes[index] = None;
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("read a member's log")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            // SIGKILL ends a stopped process, too.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            for index in 0..self.processes.len() {
                let lines = self.log_lines(index);
                let last = lines.len().saturating_sub(5);
                println!(
                    "last lines of {}:\n{}",
                    name(index),
                    lines[last..].join("\n")
                );
            }
        }
    }
}
