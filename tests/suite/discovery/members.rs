//! A real cluster, discovered through a real name server, whose records change while clients write.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::discover;
use crate::support::cluster::{EtcdCluster, etcdctl, etcdctl_text};
use crate::support::isolated::{Site, isolated};
use crate::support::nameservers::{NameServer, have};
use crate::support::net::try_connect;
use crate::support::process::{can, tool_text};
use crate::support::{Gateway, SOON, eventually, host_offers};

/// The TTL of dnsmasq's answers, which is also the shortest that the gateway goes by, and as much again for a machine
/// that is busy; with the longest pause, which is that of a failure to follow, it would be minutes.
const FOLLOWED: Duration = Duration::from_secs(10);

/// dnsmasq with these members in the plain service of x.test.
fn published(site: &Site, members: &[SocketAddr]) -> NameServer {
    let records = members.iter().map(|member| {
        format!(
            "srv-host=_etcd-client._tcp.x.test,member.x.test,{},0,0\n",
            member.port()
        )
    });
    let lines: String = records.collect();
    NameServer::dnsmasq(
        site,
        &format!("{lines}host-record=member.x.test,127.0.0.1\nlocal=/test/\n"),
    )
}

/// Whether the gateway has a connection to this member.
fn is_connected(gateway: &Gateway, member: SocketAddr) -> bool {
    let found = tool_text(
        "ss",
        &["-Htnp", "state", "established", "dst", &member.to_string()],
    );
    found.contains(&format!("pid={},", gateway.pid()))
}

/// One client that must be served: a new connection, a request, its answer.
fn ask_version(gateway: SocketAddr) -> Result<(), String> {
    let ask = || {
        let mut stream = try_connect(gateway)?;
        stream.write_all(b"GET /version HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    match ask() {
        Ok(answer) if answer.contains("etcdserver") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Clients of both kinds, until told to stop; the number of those that were served.
fn serve_clients(gateway: SocketAddr, stop: &AtomicBool, served: &AtomicUsize) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                ask_version(gateway).expect("every new connection is served");
                served.fetch_add(1, Ordering::SeqCst);
                // Some hundred clients a second are enough, the members need the processor.
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        while !stop.load(Ordering::SeqCst) {
            let put = etcdctl(gateway, &["put", "key", "value"], b"");
            let error = String::from_utf8_lossy(&put.stderr).into_owned();
            assert!(put.status.success(), "every write succeeds: {error}");
            served.fetch_add(1, Ordering::SeqCst);
        }
    });
}

/// Sets the flag when dropped, so that a test that fails does not wait for its clients for ever.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn cluster_behind_dnsmasq_is_followed_while_clients_write() {
    isolated(
        cluster_behind_dnsmasq_is_followed_while_clients_write,
        |site| {
            if !have(&["dnsmasq"]) || !host_offers(can("ss", &["-Htn"]), "ss") {
                return;
            }
            let Some(mut cluster) = EtcdCluster::start() else {
                return;
            };
            // The leader stays, for an election is not under test.
            let leader = cluster.leader();
            let (removed, added) = ((leader + 1) % 3, (leader + 2) % 3);
            let clients = cluster.clients();
            let dnsmasq = published(site, &[clients[leader], clients[removed]]);
            let gateway = discover("x.test", &[]);
            let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                let writers = scope.spawn(|| serve_clients(gateway.address(), &stop, &served));
                let stopping = StopWhenDropped(&stop);
                eventually(SOON, "clients are served", || {
                    (served.load(Ordering::SeqCst) > 20).then_some(())
                });
                // The server is away for a moment while its records change. The gateway has just asked it, and will
                // not ask again for some seconds.
                drop(dnsmasq);
                let _dnsmasq = published(site, &[clients[leader], clients[added]]);
                let changed = Instant::now();
                // Connections that are kept, one of which will be the new member's.
                let mut kept = Vec::new();
                eventually(SOON, "the new member carries traffic", || {
                    kept.push(try_connect(gateway.address()).expect("served"));
                    is_connected(&gateway, clients[added]).then_some(())
                });
                let took = changed.elapsed();
                assert!(took <= FOLLOWED, "followed after {took:?}");
                // Nobody needs the removed member any more.
                cluster.kill(removed);
                let before = served.load(Ordering::SeqCst);
                eventually(SOON, "clients are served without it", || {
                    (served.load(Ordering::SeqCst) > before + 20).then_some(())
                });
                drop(stopping);
                writers.join().expect("every client was served");
            });
            let port = |index: usize| format!("127.0.0.1:{}", clients[index].port());
            let change = gateway.wait_record_where("endpoints changed", |record| {
                !record.texts("removed").is_empty()
            });
            assert_eq!(change.texts("added"), [port(added)]);
            assert_eq!(change.texts("removed"), [port(removed)]);
            assert!(
                gateway.records("rejected client").is_empty(),
                "{}",
                gateway.text()
            );
            let value = etcdctl_text(
                gateway.address(),
                &["get", "key", "--print-value-only"],
                b"",
            );
            assert_eq!(value.trim_end(), "value");
        },
    );
}
