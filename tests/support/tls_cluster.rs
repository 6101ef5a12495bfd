//! A real etcd cluster of three members that speak TLS to clients, each at port 2379 of an address of its own, on a
//! machine of the test's own (`isolated`). The third insists on certificates of its clients.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::cluster::run_member;
use super::pki::{Certified, Pki, Request};
use super::{child_command, eventually, host_offers, process};

/// Three members that elect a leader on a busy machine.
const ELECTED: Duration = Duration::from_secs(40);
/// The member that insists on certificates.
pub(crate) const STRICT: usize = 2;

pub(crate) struct TlsCluster {
    members: Mutex<Vec<Child>>,
    dir: PathBuf,
    root: Certified,
    client: Certified,
}

/// Where member `index` serves clients.
pub(crate) fn address(index: usize) -> String {
    format!("127.1.0.{}:2379", index + 1)
}

/// A directory for the members' data: in memory where possible, for this etcd cannot be told not to sync its log,
/// and the disk is not under test. Named as the PKI's, because memory is shared by all machines of this suite, while
/// a process id means something on one only.
fn data_dir(pki: &Pki) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return pki.dir().to_owned();
    }
    let dir = memory.join(pki.dir().file_name().expect("a directory with a name"));
    std::fs::create_dir(&dir).expect("create a directory in memory");
    dir
}

/// A server's certificate that is a client's, too: etcd shows its own to itself.
pub(crate) fn certified(pki: &Pki, root: &Certified, names: &str) -> Certified {
    let mut request = Request::server(names);
    request.extensions = request
        .extensions
        .replace("serverAuth", "serverAuth,clientAuth");
    pki.issue(root, &request)
}

impl TlsCluster {
    /// A healthy cluster whose certificates `root` has issued, for `names`; nothing where the host has no etcd.
    pub(crate) fn start(pki: &Pki, root: &Certified, names: &str) -> Option<TlsCluster> {
        if !host_offers(
            process::have("etcd") && process::have("etcdctl"),
            "etcd and etcdctl",
        ) {
            return None;
        }
        let cluster = TlsCluster {
            members: Mutex::default(),
            dir: data_dir(pki),
            root: root.clone(),
            client: certified(pki, root, "DNS:client.test"),
        };
        for index in 0..3 {
            let member = cluster.spawn(index, &certified(pki, root, names), root);
            cluster.members().push(member);
        }
        eventually(ELECTED, "all members are healthy", || {
            let endpoints = [0, 1, 2].map(address).join(",");
            let health = cluster.etcdctl(&endpoints, &["endpoint", "health"]);
            health.status.success().then_some(())
        });
        Some(cluster)
    }

    fn members(&self) -> MutexGuard<'_, Vec<Child>> {
        self.members.lock().expect("nobody panics with the lock")
    }

    /// Ends a member as a service manager does.
    #[track_caller]
    pub(crate) fn stop(&self, index: usize) {
        let member = &mut self.members()[index];
        process::signal(member.id(), "TERM");
        member.wait().expect("wait for a member");
    }

    /// Starts one that was stopped, to show another certificate and to trust clients of these roots.
    pub(crate) fn start_again(&self, index: usize, shown: &Certified, roots: &Certified) {
        let member = self.spawn(index, shown, roots);
        self.members()[index] = member;
    }

    fn spawn(&self, index: usize, shown: &Certified, roots: &Certified) -> Child {
        let log = File::create(self.log_path(index)).expect("create the member's log");
        let peer = |index: usize| format!("http://127.1.0.{}:2380", index + 1);
        let initial = [0, 1, 2].map(|index| format!("m{index}={}", peer(index)));
        let (client, peer) = (format!("https://{}", address(index)), peer(index));
        let mut command = child_command("etcd");
        command
            .args(["--name", &format!("m{index}")])
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &initial.join(",")])
            .args(["--cert-file", &shown.certificate, "--key-file", &shown.key])
            .args(["--logger", "zap", "--log-outputs", "stderr"])
            .arg("--data-dir")
            .arg(self.dir.join(format!("{index}.data")));
        if index == STRICT {
            let ca = ["--trusted-ca-file", &roots.certificate];
            command.arg("--client-cert-auth").args(ca);
        }
        run_member(&mut command, log)
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.dir.join(format!("{index}.log"))
    }

    /// What a member has logged so far.
    pub(crate) fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.log_path(index)).expect("read a member's log")
    }

    /// `etcdctl` that trusts the root and shows a certificate, given these endpoints.
    pub(crate) fn etcdctl(&self, endpoints: &str, args: &[&str]) -> Output {
        self.etcdctl_trusting(&self.root, endpoints, args)
    }

    pub(crate) fn etcdctl_trusting(
        &self,
        root: &Certified,
        endpoints: &str,
        args: &[&str],
    ) -> Output {
        Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--dial-timeout=5s", "--command-timeout=5s"])
            .args(["--endpoints", endpoints, "--cacert", &root.certificate])
            .args([
                "--cert",
                &self.client.certificate,
                "--key",
                &self.client.key,
            ])
            .args(args)
            .output()
            .expect("run etcdctl")
    }
}

impl Drop for TlsCluster {
    fn drop(&mut self) {
        for member in self.members().iter_mut() {
            let _ = member.kill();
            let _ = member.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
