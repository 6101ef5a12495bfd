//! In front of a real etcd cluster that loses members: streams to the other members stay open, new connections never fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::cluster::{EtcdCluster, etcdctl, etcdctl_command, etcdctl_text};
use crate::support::net::expect_refused;
use crate::support::process::{have, tool_text};
use crate::support::{Gateway, Launch, SOON, connect, eventually, host_offers};

/// `etcdctl watch` as a process, its lines as they come.
pub(crate) struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    pub(crate) fn start(through: SocketAddr, key: &str) -> Watch {
        let mut child = etcdctl_command(through, &["watch", key])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run etcdctl watch");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Watch { child, lines }
    }

    /// An event is three lines: PUT, key, value.
    #[track_caller]
    pub(crate) fn expect_put(&self, key: &str, value: &str) {
        for wanted in ["PUT", key, value] {
            let line = self
                .lines
                .recv_timeout(SOON)
                .unwrap_or_else(|_| panic!("no event for {key} {value}"));
            assert_eq!(line, wanted);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// To which member the gateway holds a connection, and through which local address.
fn connection_to_a_member(gateway: &Gateway, members: &[SocketAddr]) -> Option<(usize, String)> {
    let sockets = tool_text("ss", &["-tnpH", "state", "established"]);
    let owner = format!("pid={},", gateway.pid());
    sockets
        .lines()
        .filter(|line| line.contains(&owner))
        .find_map(|line| {
            // Without the state column: queues, local and peer address.
            let mut columns = line.split_whitespace().skip(2);
            let (local, peer) = (columns.next()?, columns.next()?);
            let member = members
                .iter()
                .position(|member| member.to_string() == peer)?;
            Some((member, local.to_owned()))
        })
}

#[test]
fn watch_stays_open_across_another_members_death() {
    if !host_offers(have("ss"), "ss") {
        return;
    }
    let Some(mut cluster) = EtcdCluster::start() else {
        return;
    };
    let gateway = Launch::before(&cluster.clients(), &["--retry-delay=500ms"]).start();
    let watch = Watch::start(gateway.address(), "news");
    let members = cluster.clients();
    let (watched, local) = eventually(SOON, "the watch is connected", || {
        connection_to_a_member(&gateway, &members)
    });
    // The watch is registered when it reports; until then a put may come too early for it.
    let writer = members[watched];
    eventually(SOON, "the watch reports", || {
        etcdctl_text(writer, &["put", "news", "start"], b"");
        watch.lines.recv_timeout(Duration::from_millis(500)).ok()
    });
    while watch.lines.recv_timeout(Duration::from_millis(500)).is_ok() {}

    // Not the leader either, or etcd would refuse writes until it has another.
    let leader = cluster.leader();
    let victim = (0..3)
        .find(|&index| index != watched && index != leader)
        .expect("three members");
    cluster.kill(victim);
    etcdctl_text(gateway.address(), &["put", "news", "one is dead"], b"");
    watch.expect_put("news", "one is dead");
    cluster.restart(victim);
    etcdctl_text(gateway.address(), &["put", "news", "all are back"], b"");
    watch.expect_put("news", "all are back");
    // The same connection throughout: etcdctl would have hidden a new one.
    let now = tool_text("ss", &["-tnH", "state", "established"]);
    assert!(
        now.contains(&format!(" {local} ")),
        "the watch lost its connection {local}"
    );
}

/// One write after another, each by a process and so a connection of its own.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    writes: Arc<Mutex<Vec<PutRecord>>>,
    thread: JoinHandle<()>,
}

pub(crate) struct PutRecord {
    began: Instant,
    ended: Instant,
    pub(crate) error: Option<String>,
}

impl Writer {
    pub(crate) fn start(through: SocketAddr) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let writes = Arc::new(Mutex::new(Vec::new()));
        let (stopped, done) = (Arc::clone(&stop), Arc::clone(&writes));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let began = Instant::now();
                let output = etcdctl(through, &["put", "steady", "stream"], b"");
                let error = (!output.status.success())
                    .then(|| String::from_utf8_lossy(&output.stderr).into_owned());
                done.lock()
                    .expect("no panic with the lock")
                    .push(PutRecord {
                        began,
                        ended: Instant::now(),
                        error,
                    });
            }
        });
        Writer {
            stop,
            writes,
            thread,
        }
    }

    /// Waits until `count` writes began and ended after now.
    pub(crate) fn wait_for(&self, count: usize) {
        let now = Instant::now();
        eventually(4 * SOON, "the stream of writes goes on", || {
            let writes = self.writes.lock().expect("no panic with the lock");
            (writes.iter().filter(|write| write.began > now).count() >= count).then_some(())
        });
    }

    pub(crate) fn finish(self) -> Vec<PutRecord> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the writer does not panic");
        std::mem::take(&mut *self.writes.lock().expect("no panic with the lock"))
    }
}

/// A follower is killed and restarted, twice, under a steady stream of writes. A write that was on its way
/// through the member when it died is etcd's loss; every write that began later has a new connection, and none
/// of these may fail.
#[test]
fn follower_killed_and_restarted_fails_no_new_connection() {
    let Some(mut cluster) = EtcdCluster::start() else {
        return;
    };
    let gateway = Launch::before(&cluster.clients(), &["--retry-delay=500ms"]).start();
    let follower = (cluster.leader() + 1) % 3;
    let writer = Writer::start(gateway.address());
    let mut kills = Vec::new();
    for _ in 0..2 {
        writer.wait_for(3);
        let before = Instant::now();
        cluster.kill(follower);
        kills.push(before..Instant::now());
        writer.wait_for(8);
        cluster.restart(follower);
        writer.wait_for(4);
    }
    let writes = writer.finish();
    let in_flight = |write: &PutRecord| {
        kills
            .iter()
            .any(|kill| write.began <= kill.end && write.ended >= kill.start)
    };
    for (index, write) in writes.iter().enumerate() {
        let error = write.error.as_deref().filter(|_| !in_flight(write));
        assert_eq!(
            error,
            None,
            "write {index} of {}:\n{}",
            writes.len(),
            gateway.text()
        );
    }
    assert!(writes.len() >= 30, "{} writes", writes.len());
}

/// `/version` needs no quorum: what is seen is whether a living member answers on a new connection.
pub(crate) fn asks_a_member(through: SocketAddr) -> bool {
    let mut client = connect(through);
    let mut answer = String::new();
    let asked = client.write_all(b"GET /version HTTP/1.0\r\nHost: etcd\r\n\r\n");
    asked
        .and_then(|()| client.read_to_string(&mut answer))
        .is_ok()
        && answer.contains("etcdserver")
}

/// The leader is killed: etcd elects for a second or so and may refuse writes, but every new connection reaches
/// a member that lives.
#[test]
fn killed_leader_fails_no_new_connection() {
    let Some(mut cluster) = EtcdCluster::start() else {
        return;
    };
    let gateway = Launch::before(&cluster.clients(), &["--retry-delay=500ms"]).start();
    for _ in 0..6 {
        assert!(asks_a_member(gateway.address()));
    }
    let leader = cluster.leader();
    cluster.kill(leader);
    for client in 0..60 {
        assert!(
            asks_a_member(gateway.address()),
            "client {client} after the leader's death:\n{}",
            gateway.text()
        );
    }
    gateway.wait_record("deactivated endpoint");
    // Writes go on with the next leader, and the old one is taken back. Until it is elected, etcd fails writes.
    eventually(4 * SOON, "a write after the election", || {
        etcdctl(gateway.address(), &["put", "after", "election"], b"")
            .status
            .success()
            .then_some(())
    });
    cluster.restart(leader);
    gateway.wait_record("activated");
}

// D8 with real members: all of them restart, and the first client after that is served.
#[test]
fn whole_cluster_restarted_serves_the_first_client() {
    let Some(mut cluster) = EtcdCluster::start() else {
        return;
    };
    let gateway = Launch::before(&cluster.clients(), &["--retry-delay=1h"]).start();
    etcdctl_text(gateway.address(), &["put", "kept", "through it all"], b"");
    for member in 0..3 {
        cluster.kill(member);
    }
    for _ in 0..3 {
        expect_refused(gateway.address());
    }
    cluster.start_all();
    assert_eq!(
        etcdctl_text(
            gateway.address(),
            &["get", "kept", "--print-value-only"],
            b""
        ),
        "through it all\n"
    );
}
