//! How clients of a cluster that speaks TLS name it when they reach it through the gateway, as README says under
//! "TLS through the gateway": real clients, real members.

use std::process::{Command, Output};

use super::address;
use crate::support::isolated::isolated;
use crate::support::nameservers::have;
use crate::support::pki::Pki;
use crate::support::tls_cluster::{STRICT, TlsCluster};
use crate::support::{Gateway, Launch, SOON, eventually};

/// The name that all members share, and each one's own address: nothing of the host that the gateway is on.
const NAMES: &str = "DNS:etcd.test,IP:127.1.0.1,IP:127.1.0.2,IP:127.1.0.3";

#[track_caller]
fn assert_served(client: &str, output: &Output, gateway: &Gateway) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{client}: {said}\n{}",
        gateway.text()
    );
}

#[test]
fn clients_of_members_that_name_no_gateway() {
    isolated(clients_of_members_that_name_no_gateway, |site| {
        if !have(&["curl"]) {
            return;
        }
        let Some(pki) = Pki::below(site.path("")) else {
            return;
        };
        let root = pki.root("true CA");
        let Some(cluster) = TlsCluster::start(&pki, &root, NAMES) else {
            return;
        };
        // The member that wants client certificates has a test of its own; curl shows none.
        let open = (0..3u8).filter(|index| usize::from(*index) != STRICT);
        let members: Vec<_> = open.map(|index| address(index + 1)).collect();
        let gateway = Launch::before(&members, &[]).start();
        let through = gateway.address();
        let port = through.port();

        // By the gateway's own address the members cannot be told from impostors: the client hangs up, and only they
        // say why (this etcdctl speaks of a deadline).
        let refused = cluster.etcdctl(&format!("https://{through}"), &["get", "key"]);
        assert!(!refused.status.success(), "{refused:?}");
        eventually(SOON, "a member tells of the client that hung up", || {
            let mut logs = [0, 1].map(|index| cluster.log(index)).into_iter();
            logs.any(|log| log.contains("bad certificate"))
                .then_some(())
        });

        // A client that can be told which name to verify.
        let connect = format!("etcd.test:2379:{through}");
        let curl = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--cacert",
                &root.certificate,
            ])
            .args(["--connect-to", &connect, "https://etcd.test:2379/version"])
            .output()
            .expect("run curl");
        assert_served("curl", &curl, &gateway);
        let said = String::from_utf8_lossy(&curl.stdout);
        assert!(said.contains("etcdserver"), "{said}");

        // One that cannot: the name leads to the gateway, on this host.
        site.hosts("127.0.0.1 localhost etcd.test\n");
        let named = format!("https://etcd.test:{port}");
        let put = cluster.etcdctl(&named, &["put", "key", "value"]);
        assert_served("etcdctl put", &put, &gateway);
        let get = cluster.etcdctl(&named, &["get", "key", "--print-value-only"]);
        assert_served("etcdctl get", &get, &gateway);
        assert_eq!(get.stdout, b"value\n");
    });
}
