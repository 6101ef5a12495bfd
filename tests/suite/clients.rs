//! What README's section "Clients" says of clients that every host has, etcdctl and curl, in front of a real cluster:
//! which commands need the members' addresses, and which clients leave the gateway or do not come back.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::admin::{endpoints, observed};
use crate::support::child_command;
use crate::support::cluster::{EtcdCluster, etcdctl, etcdctl_text};
use crate::support::process::have;
use crate::support::{SOON, TempDir, eventually, host_offers};

/// One cluster serves all of this test. The last part kills a member.
#[test]
fn what_clients_do_behind_the_gateway() {
    if !host_offers(have("curl"), "curl") {
        return;
    }
    let Some(mut cluster) = EtcdCluster::start() else {
        return;
    };
    let (gateway, admin) = observed(&cluster.clients(), &[]);
    let through = gateway.address();
    one_member_answers_under_the_gateways_address(through, &cluster);
    flag_cluster_leaves_the_gateway(through, &cluster);
    leader_is_moved_with_the_members_addresses_only(through, &cluster);
    membership_and_alarms_are_the_same_through_the_gateway(through, &cluster);
    watch_of_curl_ends_with_its_member(through, admin, &mut cluster);
}

/// Commands about one member reach any, and print the gateway's address in its place.
fn one_member_answers_under_the_gateways_address(through: SocketAddr, cluster: &EtcdCluster) {
    let status = || etcdctl_text(through, &["endpoint", "status"], b"");
    let id = |line: &str| line.split(", ").nth(1).expect("an id").to_owned();
    let first = status();
    assert_eq!(first.lines().count(), 1, "{first}");
    assert!(first.starts_with(&format!("{through}, ")), "{first}");
    eventually(SOON, "another member answers", || {
        (id(&status()) != id(&first)).then_some(())
    });
    let lines = etcdctl_text(through, &["endpoint", "hashkv"], b"");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert_eq!(
        etcdctl_text(through, &["defrag"], b""),
        format!("Finished defragmenting etcd member[{through}]\n")
    );
    // etcdctl says this on either stream, depending on its version.
    let health = etcdctl(through, &["endpoint", "health"], b"");
    let said = [health.stdout, health.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.starts_with(&format!("{through} is healthy")) && said.lines().count() == 1,
        "{said}"
    );
    // A snapshot is of one member, whichever, and may be taken through the gateway; etcdctl refuses several addresses.
    let dir = TempDir::new();
    let path = dir.path().join("snapshot");
    let path = path.to_str().expect("a path in UTF-8");
    etcdctl_text(through, &["snapshot", "save", path], b"");
    assert!(std::fs::metadata(path).expect("the snapshot").len() > 0);
    let all = format!("--endpoints={}", cluster.endpoints());
    let refused = etcdctl(through, &[&all, "snapshot", "save", path], b"");
    assert!(!refused.status.success(), "several addresses are accepted");
}

/// With `--cluster` etcdctl asks the gateway for the members, and then them, by the addresses that they advertise.
fn flag_cluster_leaves_the_gateway(through: SocketAddr, cluster: &EtcdCluster) {
    let mut members: Vec<String> = (cluster.clients().iter())
        .map(|member| format!("http://{member}"))
        .collect();
    members.sort();
    for command in ["status", "hashkv"] {
        let lines = etcdctl_text(through, &["endpoint", command, "--cluster"], b"");
        let mut asked: Vec<&str> = (lines.lines())
            .filter_map(|line| line.split(", ").next())
            .collect();
        asked.sort_unstable();
        assert_eq!(asked, members, "endpoint {command}");
    }
    let lines = etcdctl_text(through, &["defrag", "--cluster"], b"");
    for member in &members {
        let said = format!("Finished defragmenting etcd member[{member}]\n");
        assert!(lines.contains(&said), "{lines}");
    }
}

/// etcdctl looks for the leader among the endpoints over one connection and moves it over another. Through the gateway
/// these are connections to two members, because endpoints are taken in turn and nobody else connects.
fn leader_is_moved_with_the_members_addresses_only(through: SocketAddr, cluster: &EtcdCluster) {
    let leader = cluster.leader();
    let target = (leader + 1) % 3;
    let status = etcdctl_text(cluster.clients()[target], &["endpoint", "status"], b"");
    let id = status.split(", ").nth(1).expect("an id");
    for attempt in 0..4 {
        let moved = etcdctl(through, &["move-leader", id], b"");
        let said = String::from_utf8_lossy(&moved.stderr);
        assert!(!moved.status.success(), "attempt {attempt} moved it");
        assert!(
            said.contains("no leader endpoint given") || said.contains("not leader"),
            "attempt {attempt}: {said}"
        );
    }
    // A busy host may have had the cluster elect another meanwhile.
    let all = format!("--endpoints={}", cluster.endpoints());
    eventually(SOON, "the leader is moved", || {
        let moved = etcdctl(through, &[&all, "move-leader", id], b"");
        (moved.status.success() || cluster.leader() == target).then_some(())
    });
    assert_eq!(cluster.leader(), target);
}

/// What concerns the cluster as a whole is the same whichever member answers.
fn membership_and_alarms_are_the_same_through_the_gateway(
    through: SocketAddr,
    cluster: &EtcdCluster,
) {
    for command in [["member", "list"], ["alarm", "list"]] {
        let direct = etcdctl_text(cluster.clients()[0], &command, b"");
        assert_eq!(etcdctl_text(through, &command, b""), direct, "{command:?}");
    }
}

/// A watch over HTTP is one response: it ends with its member, and nothing begins it again, though others serve.
fn watch_of_curl_ends_with_its_member(
    through: SocketAddr,
    admin: SocketAddr,
    cluster: &mut EtcdCluster,
) {
    let mut watch = Curl::watch(through);
    let mut line = String::new();
    let mut lines = BufReader::new(watch.0.stdout.take().expect("stdout is piped"));
    lines.read_line(&mut line).expect("read from curl");
    assert!(line.contains("\"created\":true"), "{line}");
    let watched = eventually(SOON, "the watch alone is open", || {
        let open: Vec<f64> = (endpoints(admin).1.iter())
            .map(|endpoint| endpoint.number("connections_open"))
            .collect();
        (open.iter().sum::<f64>() == 1.0)
            .then(|| open.iter().position(|open| *open == 1.0))
            .flatten()
    });
    cluster.kill(watched);
    let ended = watch.0.wait().expect("wait for curl");
    // 18 or 56: the response ended too early, or was reset.
    assert!(matches!(ended.code(), Some(18 | 56)), "{ended}");
    // The next request is answered: with a linearizable read once there is a leader, which the other two elect.
    eventually(SOON, "a read through the gateway", || {
        let read = etcdctl(through, &["get", "key"], b"");
        read.status.success().then_some(())
    });
}

struct Curl(Child);

impl Curl {
    /// Watches the key `key`, as the JSON gateway of etcd has it: keys are in base64.
    fn watch(through: SocketAddr) -> Curl {
        let mut command: Command = child_command("curl");
        let child = command
            .args([
                "--silent",
                "--no-buffer",
                "--data",
                r#"{"create_request":{"key":"a2V5"}}"#,
            ])
            .arg(format!("http://{through}/v3/watch"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run curl");
        Curl(child)
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
