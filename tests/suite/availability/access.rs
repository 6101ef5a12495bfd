//! How clients reach a cluster: the programs, and over TLS the certificate that they show.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::pki::Certified;
use crate::support::{host_offers, process};

/// Which etcd the members are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Etcd {
    /// The host's own, on the PATH: Debian 12 has 3.4.23.
    Host,
    /// 3.5.1, which `make deps` fetches: the newest that a package registry has.
    V351,
    /// The one in the directory that `AVAILABILITY_ETCD` names.
    Named,
}

impl Etcd {
    /// `etcd` and `etcdctl`; nothing where they are absent.
    pub(super) fn programs(self) -> Option<(PathBuf, PathBuf)> {
        let directory = match self {
            Etcd::Host => {
                let offered = process::have("etcd") && process::have("etcdctl");
                return host_offers(offered, "etcd and etcdctl")
                    .then(|| ("etcd".into(), "etcdctl".into()));
            }
            Etcd::V351 => Path::new(env!("CARGO_TARGET_TMPDIR"))
                .parent()?
                .join("etcd-3.5.1"),
            Etcd::Named => std::env::var_os("AVAILABILITY_ETCD")?.into(),
        };
        let pair = (directory.join("etcd"), directory.join("etcdctl"));
        let offered = pair.0.is_file() && pair.1.is_file();
        host_offers(offered, "etcd 3.5.1 in the target directory (make deps)").then_some(pair)
    }
}

/// What a client needs to know, whichever member or gateway it talks to.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) etcdctl: PathBuf,
    /// The root's certificate, and the client's own.
    pub(super) tls: Option<(String, Certified)>,
}

impl Access {
    /// `etcdctl` with its own defaults: 2 s to dial, 5 s per command.
    pub(super) fn etcdctl(&self, endpoints: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.etcdctl);
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", endpoints]);
        if let Some((root, client)) = &self.tls {
            command.args(["--cacert", root, "--cert", &client.certificate]);
            command.args(["--key", &client.key]);
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// `curl` that posts JSON and prints the status code of the answer.
    pub(super) fn curl(&self, address: &str, path: &str, json: &str, seconds: u32) -> Command {
        let mut command = Command::new("curl");
        command.args(["-s", "-S", "-o", "/dev/null", "-w", "%{http_code}"]);
        command.args(["-m", &seconds.to_string(), "-d", json]);
        let scheme = match &self.tls {
            Some((root, client)) => {
                command.args(["--cacert", root, "--cert", &client.certificate]);
                command.args(["--key", &client.key]);
                "https"
            }
            None => "http",
        };
        command.arg(format!("{scheme}://{address}{path}"));
        command.stdin(Stdio::null());
        command
    }

    /// A pipe through TLS to an address, for clients that this test writes itself.
    pub(super) fn tls_pipe(&self, address: &str, protocol: &str) -> Option<Command> {
        let (root, client) = self.tls.as_ref()?;
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-connect", address, "-alpn", protocol]);
        command.args(["-CAfile", root, "-cert", &client.certificate]);
        command.args(["-key", &client.key]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Some(command)
    }
}
