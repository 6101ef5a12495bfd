//! A real etcd cluster moves to another authority, member by member, while its clients write through the gateway,
//! which is not restarted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{REFUSED, address, wait_refused_for};
use crate::admin::{Samples, admin_of};
use crate::support::isolated::isolated;
use crate::support::pki::{Certified, Pki};
use crate::support::tls_cluster::{self, TlsCluster, certified};
use crate::support::{Gateway, Launch, SOON, eventually};

/// The members' addresses, and the gateway's.
const NAMES: &str = "IP:127.0.0.1,IP:127.1.0.1,IP:127.1.0.2,IP:127.1.0.3";
const WRITERS: usize = 2;

/// A write that was tried, from its beginning to its end.
struct Attempt {
    key: String,
    began: Instant,
    ended: Instant,
    /// What `etcdctl` said if it failed.
    failed: Option<String>,
}

/// Writes one key after the other, each again until it is written, until it is `over`.
fn write(
    cluster: &TlsCluster,
    roots: &Certified,
    gateway: SocketAddr,
    writer: usize,
    over: &AtomicBool,
) -> Vec<Attempt> {
    let (mut attempts, mut number, mut is_written) = (Vec::new(), 0, true);
    while !is_written || !over.load(Ordering::Relaxed) {
        let (key, began) = (format!("key/{writer}/{number}"), Instant::now());
        let args = ["--command-timeout=3s", "put", &key, "value"];
        let output = cluster.etcdctl_trusting(roots, &gateway.to_string(), &args);
        is_written = output.status.success();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        attempts.push(Attempt {
            key,
            began,
            ended: Instant::now(),
            failed: (!is_written).then_some(said),
        });
        number += usize::from(is_written);
    }
    attempts
}

/// A time in which no client can rely on the cluster, whatever it knows of it.
type Outage = (Instant, Instant);

/// Restarts a member with this certificate. The outage is over when somebody who knows all members has written.
#[track_caller]
fn renew(cluster: &TlsCluster, index: usize, shown: &Certified, roots: &Certified) -> Outage {
    let all = [0, 1, 2].map(tls_cluster::address).join(",");
    let own = tls_cluster::address(index);
    let began = Instant::now();
    cluster.stop(index);
    let ended = eventually(SOON, "a client of all members writes", || {
        let output = cluster.etcdctl_trusting(roots, &all, &["put", "known", "value"]);
        output.status.success().then(Instant::now)
    });
    cluster.start_again(index, shown, roots);
    eventually(SOON, "the member is healthy", || {
        let output = cluster.etcdctl_trusting(roots, &own, &["endpoint", "health"]);
        output.status.success().then_some(())
    });
    (began, ended)
}

#[track_caller]
fn wait_changed(gateway: &Gateway, added: f64, removed: f64) {
    gateway.wait_record_where("the authorities change", |record| {
        record.text("msg") == "authorities changed; authenticating all members again"
            && record.number("added") == added
            && record.number("removed") == removed
    });
}

/// Waits until a member has proven itself by a certificate of the new authority, and is used.
#[track_caller]
fn wait_authenticated(gateway: &Gateway, number: u8) {
    let address = address(number).to_string();
    gateway.wait_record_where(&format!("{address} shows a new certificate"), |record| {
        record.text("msg") == "endpoint authenticated"
            && record.text("address") == address
            && record.text("issuer") == "CN=new CA,O=suite"
    });
    let up = format!("endpoint_up{{address=\"{address}\"}}");
    eventually(SOON, &up, || {
        (Samples::of(admin_of(gateway)).get(&up) == 1.0).then_some(())
    });
}

#[test]
fn a_cluster_moves_to_another_authority_and_no_client_notices() {
    isolated(
        a_cluster_moves_to_another_authority_and_no_client_notices,
        |site| {
            let Some(pki) = Pki::below(site.path("")) else {
                return;
            };
            let (old, new) = (pki.root("old CA"), pki.root("new CA"));
            let Some(cluster) = TlsCluster::start(&pki, &old, NAMES) else {
                return;
            };
            let renewed = [(); 3].map(|()| certified(&pki, &new, NAMES));
            let both = Certified {
                certificate: pki.bundle("both.pem", &[&old, &new]),
                ..old.clone()
            };
            let trusted = pki.bundle("trusted.pem", &[&old]);
            let trust = |authorities: &[&Certified]| {
                let prepared = pki.bundle("prepared.pem", authorities);
                std::fs::rename(prepared, &trusted).expect("replace the file of authorities");
            };
            let endpoints = [0, 1, 2].map(tls_cluster::address).join(",");
            let gateway = Launch::start_with(&[
                &format!("--endpoints={endpoints}"),
                "--verify-endpoints",
                "--trusted-ca-file",
                &trusted,
                "--retry-delay=100ms",
                "--log-level=debug",
                "--metrics-addr=127.0.0.1:0",
            ])
            .times("file_look=100,file_look_again=20")
            .start();
            let through = gateway.address();
            let over = AtomicBool::new(false);
            let (attempts, outages) = std::thread::scope(|scope| {
                let (cluster, both, over) = (&cluster, &both, &over);
                let writer =
                    |writer| scope.spawn(move || write(cluster, both, through, writer, over));
                let writers: Vec<_> = (0..WRITERS).map(writer).collect();
                // Also where the test fails: the writers are waited for.
                let _end = End(over);
                trust(&[&old, &new]);
                wait_changed(&gateway, 1.0, 0.0);
                let mut outages = Vec::new();
                for index in [0, 1] {
                    outages.push(renew(cluster, index, &renewed[index], both));
                }
                // Too early: the third has none of the new authority yet.
                trust(&[&new]);
                wait_changed(&gateway, 0.0, 1.0);
                let record = wait_refused_for(&gateway, address(3), "is not known");
                assert_eq!(record.text("issuer"), "CN=old CA,O=suite", "{record:?}");
                outages.push(renew(cluster, 2, &renewed[2], both));
                for number in 1..=3 {
                    wait_authenticated(&gateway, number);
                }
                over.store(true, Ordering::Relaxed);
                let attempts = writers.into_iter().flat_map(|writer| {
                    let attempts = writer.join();
                    attempts.expect("a writer does not panic")
                });
                (attempts.collect::<Vec<_>>(), outages)
            });
            expect_written(&cluster, &both, &attempts, &outages);
            // A dial that failed while a member was away does not mean that its certificate was refused.
            let refused = gateway.records(REFUSED);
            let mut refused = refused
                .iter()
                .filter(|record| record.text("error").contains("is not known"));
            let third = address(3).to_string();
            assert!(
                refused.all(|record| record.text("address") == third),
                "{}",
                gateway.text()
            );
        },
    );
}

/// Ends the writers.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All that was acknowledged is there, and no write has failed but those that were under way in an outage: what a
/// member that stops has not answered is lost to whoever asked it. These have succeeded at the next attempt.
#[track_caller]
fn expect_written(
    cluster: &TlsCluster,
    roots: &Certified,
    attempts: &[Attempt],
    outages: &[Outage],
) {
    let written = attempts.iter().filter(|attempt| attempt.failed.is_none());
    let written = written.count();
    assert!(written > 20 * WRITERS, "{written} writes");
    println!("FIGURES {written} writes of {} attempts", attempts.len());
    for (index, attempt) in attempts.iter().enumerate() {
        let Some(error) = &attempt.failed else {
            continue;
        };
        let key = &attempt.key;
        let meets = |(began, ended): &Outage| attempt.began < *ended && attempt.ended > *began;
        assert!(outages.iter().any(meets), "{key}: {error}");
        let mut later = attempts[index + 1..].iter();
        let next = later.find(|next| next.key == *key);
        let next = next.filter(|next| next.failed.is_none());
        let took = next.map(|next| next.ended - attempt.began);
        assert!(
            took.is_some_and(|took| took < Duration::from_secs(5)),
            "{key}: {error}"
        );
    }
    let all = [0, 1, 2].map(tls_cluster::address).join(",");
    let keys = cluster.etcdctl_trusting(roots, &all, &["get", "--prefix", "key/", "--keys-only"]);
    let keys = String::from_utf8_lossy(&keys.stdout);
    assert_eq!(
        keys.lines().filter(|line| line.starts_with("key/")).count(),
        written
    );
}
