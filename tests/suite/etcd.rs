//! In front of a real etcd cluster of three members: the operations of its clients, much data, and the
//! reference's own end-to-end test.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};

use crate::support::cluster::{EtcdCluster, etcdctl, etcdctl_text};
use crate::support::gateway::{READY, called_etcd};
use crate::support::net::content;
use crate::support::{Gateway, Launch, TempDir};

/// One cluster serves all of this test: three members take seconds to elect a leader.
#[test]
fn operations_of_a_client_work_through_the_gateway() {
    let Some(cluster) = EtcdCluster::start() else {
        return;
    };
    let gateway = Launch::before(&cluster.clients(), &[]).start();
    let through = gateway.address();
    put_get_delete(through, &cluster);
    transactions(through);
    leases(through);
    forty_megabytes(through, &cluster);
    references_end_to_end_test(&cluster);
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "no member failed:\n{}",
        gateway.text()
    );
}

/// What is written through the gateway is what every member then holds, and back.
fn put_get_delete(through: SocketAddr, cluster: &EtcdCluster) {
    assert_eq!(
        etcdctl_text(through, &["put", "fruit", "apple"], b""),
        "OK\n"
    );
    for member in cluster.clients() {
        assert_eq!(
            etcdctl_text(member, &["get", "fruit", "--print-value-only"], b""),
            "apple\n"
        );
    }
    etcdctl_text(cluster.clients()[1], &["put", "fruit", "pear"], b"");
    // Each call is a connection of its own: three calls reach three members.
    for _ in 0..3 {
        assert_eq!(
            etcdctl_text(through, &["get", "fruit"], b""),
            "fruit\npear\n"
        );
    }
    assert_eq!(etcdctl_text(through, &["del", "fruit"], b""), "1\n");
    assert_eq!(etcdctl_text(through, &["get", "fruit"], b""), "");
}

fn transactions(through: SocketAddr) {
    etcdctl_text(through, &["put", "balance", "10"], b"");
    let txn = b"value(\"balance\") = \"10\"\n\nput balance 20\nput log paid\n\nget balance\n\n";
    assert!(etcdctl_text(through, &["txn"], txn).starts_with("SUCCESS"));
    assert!(etcdctl_text(through, &["txn"], txn).starts_with("FAILURE"));
    assert_eq!(
        etcdctl_text(through, &["get", "balance", "--print-value-only"], b""),
        "20\n"
    );
}

fn leases(through: SocketAddr) {
    // `lease 694d… granted with TTL(60s)`
    let granted = etcdctl_text(through, &["lease", "grant", "60"], b"");
    let id = granted
        .split(' ')
        .nth(1)
        .expect("an id in the second word")
        .to_owned();
    etcdctl_text(through, &["put", "--lease", &id, "session", "alive"], b"");
    assert!(
        etcdctl_text(through, &["lease", "keep-alive", "--once", &id], b"").contains("keepalived")
    );
    assert!(
        etcdctl_text(through, &["lease", "timetolive", "--keys", &id], b"").contains("session")
    );
    etcdctl_text(through, &["lease", "revoke", &id], b"");
    assert_eq!(
        etcdctl_text(through, &["get", "session"], b""),
        "",
        "the key goes with its lease"
    );
}

/// Forty values of a megabyte (an etcd request may have 1.5), written and read through the gateway, the reading
/// in one stream; compared as a whole, which no digest can better.
fn forty_megabytes(through: SocketAddr, cluster: &EtcdCluster) {
    let values: Vec<String> = (0..40).map(megabyte_of_text).collect();
    for (index, value) in values.iter().enumerate() {
        let stored = etcdctl_text(
            through,
            &["put", &format!("bulk/{index:02}")],
            value.as_bytes(),
        );
        assert_eq!(stored, "OK\n", "value {index}");
    }
    let wanted: String = values.iter().map(|value| format!("{value}\n")).collect();
    for address in [through, cluster.clients()[0]] {
        let got = etcdctl_text(
            address,
            &["get", "--prefix", "bulk/", "--print-value-only"],
            b"",
        );
        assert_eq!(got.len(), wanted.len(), "bytes through {address}");
        assert!(got == wanted, "content through {address}");
    }
}

/// Random letters: etcdctl ends values with a line feed and takes them as text.
fn megabyte_of_text(seed: u64) -> String {
    let mut bytes = vec![0; 1024 * 1024];
    content(seed)
        .read_exact(&mut bytes)
        .expect("the generator does not end");
    bytes
        .iter()
        .map(|byte| char::from(b'A' + byte % 26))
        .collect()
}

/// tests/e2e/gateway_test.go of etcd: flags before `start`, wait for the line, one put through 127.0.0.1:23790.
/// The one fixed port of this suite, for it is the default that is tested; if somebody has it, another.
fn references_end_to_end_test(cluster: &EtcdCluster) {
    let dir = TempDir::new();
    let etcd = called_etcd(&dir);
    let endpoints = format!("--endpoints={}", cluster.endpoints());
    let default_is_free = TcpListener::bind("127.0.0.1:23790").is_ok();
    let mut args = vec!["gateway", &endpoints, "start"];
    if !default_is_free {
        args.push("--listen-addr=127.0.0.1:0");
    }
    let gateway: Gateway = Launch::exactly(&args).program(etcd).start();
    gateway.wait_line(READY);
    if default_is_free {
        assert_eq!(gateway.address(), SocketAddr::from(([127, 0, 0, 1], 23790)));
    }
    let put = etcdctl(gateway.address(), &["put", "foo", "bar"], b"");
    assert_eq!(
        String::from_utf8_lossy(&put.stdout),
        "OK\n",
        "{}",
        String::from_utf8_lossy(&put.stderr)
    );
}
