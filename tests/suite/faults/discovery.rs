//! Names, files and proofs that cannot be had for a moment.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::rig::log_faults;
use crate::admin::{Samples, admin_of};
use crate::support::dns::FakeDns;
use crate::support::fault::{Faults, Rule, fails};
use crate::support::front::{Face, Front, TlsServer, ask};
use crate::support::isolated::isolated;
use crate::support::net::tag;
use crate::support::pki::{Pki, Request};
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually};

fn member(number: u8) -> Backend {
    let address = SocketAddr::from(([127, 1, 0, number], 2379));
    let mut member = Backend::dead_at(address).expect("bind a member's address");
    member.up_tagged(b'0' + number);
    member
}

const RECORDS: &str = "_etcd-client._tcp.x.test SRV 0 0 2379 m1.test\n\
    _etcd-client._tcp.x.test SRV 0 0 2379 m2.test\nm1.test A 127.1.0.1\nm2.test A 127.1.0.2\n";

fn refreshes(samples: &Samples) -> f64 {
    let of = |result| samples.get(&format!("discovery_refreshes_total{{result=\"{result}\"}}"));
    of("ok") + of("failed")
}

/// Asks for a refresh and waits for its end.
#[track_caller]
fn refresh(gateway: &Gateway, admin: SocketAddr) {
    let before = refreshes(&Samples::of(admin));
    gateway.signal("HUP");
    eventually(SOON, "a refresh ends", || {
        (refreshes(&Samples::of(admin)) > before).then_some(())
    });
}

/// What a query needs fails, and the members that were found stay in use. In the end all is as if nothing had been.
#[test]
fn query_that_cannot_be_made_is_made_again_later() {
    isolated(query_that_cannot_be_made_is_made_again_later, |_| {
        let Some(mut faults) = Faults::new() else {
            return;
        };
        let dns = FakeDns::start("127.0.0.1");
        let _members = [member(1), member(2)];
        dns.publish(RECORDS);
        let flags = [
            "--discovery-srv=x.test",
            "--insecure-discovery",
            "--metrics-addr=127.0.0.1:0",
        ];
        let launch = Launch::start_with(&flags).times("refresh_pause=10");
        let gateway = faults.launch(launch).start();
        let admin = admin_of(&gateway);
        let cases = [
            fails("getrandom", "EAGAIN").with(0).times(1),
            fails("getrandom", "EAGAIN").with(0),
            fails("socket", "EMFILE").on("udp"),
            fails("socket", "EACCES").on("udp"),
            fails("connect", "ENOBUFS").on("udp"),
            fails("connect", "EAGAIN").on("udp"),
            fails("connect", "ENETUNREACH").on("udp"),
            fails("setsockopt", "ENOMEM").on("udp"),
            fails("send", "EPERM").on("udp"),
            fails("send", "ENOBUFS").on("udp"),
            fails("recvfrom", "ENOMEM").on("udp"),
            fails("recvfrom", "EINTR").on("udp").times(40),
            fails("pthread_create", "EAGAIN").of("discovery"),
        ];
        for rule in cases {
            let lines = gateway.lines().len();
            let t0 = Instant::now();
            let rules = faults.set(&[rule]);
            for _ in 0..2 {
                refresh(&gateway, admin);
            }
            let case = format!("{rule:?}:\n{}", gateway.lines()[lines..].join("\n"));
            assert!(faults.hits(rules)[0] > 0, "never hit: {case}");
            faults.clear();
            println!("TIME {rule:?} {:?}", t0.elapsed());
            assert_eq!(Samples::of(admin).get("discovery_endpoints"), 2.0, "{case}");
            refresh(&gateway, admin);
            let samples = Samples::of(admin);
            assert_eq!(samples.get("discovery_problems"), 0.0, "{case}");
            let served = [(); 2].map(|()| tag(gateway.address()).0);
            assert!(served.contains(&b'1') && served.contains(&b'2'), "{case}");
            let wrong = log_faults(&gateway.lines()[lines..]);
            assert!(wrong.is_empty(), "{wrong:#?} {case}");
        }
    });
}

/// Signals come by the dozen, and looks at a file fail: the log says so now and then.
#[test]
fn files_that_come_and_go_are_not_logged_each_time() {
    let endpoint = Backend::tagged(b't');
    let dir = TempDir::new();
    let file = dir.file("members", &format!("{}\n", endpoint.address()));
    let [members, access] = [
        format!("--endpoints-file={file}"),
        format!("--access-log={}", dir.path().join("access.log").display()),
    ];
    let cases: [(&str, &[Rule]); 2] = [
        (
            "neither can be opened",
            &[
                fails("open", "EIO").on("members"),
                fails("open", "EACCES").on("access.log").chance(500),
            ],
        ),
        (
            "the one cannot be looked at, the other not be written",
            &[
                fails("stat", "ESTALE").on("members").chance(500),
                fails("write", "EIO")
                    .on("file")
                    .of("access-log")
                    .chance(300),
                fails("write", "ENOSPC")
                    .on("file")
                    .of("access-log")
                    .chance(300),
            ],
        ),
    ];
    for (case, rules) in cases {
        let Some(mut faults) = Faults::new() else {
            return;
        };
        let launch = Launch::start_with(&[&members, &access, "--metrics-addr=127.0.0.1:0"]);
        let gateway = faults.launch(launch).start();
        let admin = admin_of(&gateway);
        let set = faults.set(rules);
        let begin = Instant::now();
        // Longer than the second that messages are counted in.
        while begin.elapsed() < Duration::from_millis(1200) || faults.hits(set.clone()).contains(&0)
        {
            assert!(
                begin.elapsed() < SOON,
                "{case}: {:?} hits",
                faults.hits(set)
            );
            gateway.signal("HUP");
            tag(gateway.address());
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = gateway.text();
        faults.clear();
        gateway.signal("HUP");
        let samples = eventually(SOON, "all is well again", || {
            tag(gateway.address());
            let samples = Samples::of(admin);
            (samples.get("discovery_problems") == 0.0).then_some(samples)
        });
        assert_eq!(samples.get("discovery_endpoints"), 1.0, "{case}: {text}");
        let lines: Vec<String> = gateway.lines();
        // What answers a signal comes with each.
        let answers = [
            "received SIGHUP",
            "refreshed endpoints",
            "reopened access log",
            "cannot reopen access log",
        ];
        let others: Vec<String> = lines
            .into_iter()
            .filter(|line| !answers.iter().any(|answer| line.contains(answer)))
            .collect();
        let wrong = log_faults(&others);
        assert!(wrong.is_empty(), "{case}: {wrong:#?}");
        assert!(
            !text.contains("endpoints file has changed"),
            "{case}: it has not: {text}"
        );
    }
}

/// A proof that this host has spoilt is not one that the endpoint has failed.
#[test]
fn authentication_that_this_host_cannot_do_is_not_blamed_on_the_endpoint() {
    let Some(mut faults) = Faults::new() else {
        return;
    };
    let dir = TempDir::new();
    let Some(pki) = Pki::below(dir.path()) else {
        return;
    };
    let root = pki.root("true CA");
    let shown = pki.issue(&root, &Request::server("IP:127.0.0.1"));
    let mut front = Front::anywhere(1, Face::Tls(TlsServer::start(&pki, &shown, &[])));
    let flags = [
        "--verify-endpoints",
        "--trusted-ca-file",
        &root.certificate,
        "--metrics-addr=127.0.0.1:0",
        "--retry-delay=100ms",
    ];
    let launch = Launch::before(&[front.address()], &flags);
    let gateway = faults.launch(launch).start();
    let admin = admin_of(&gateway);
    let cases = [
        fails("recv", "ENOMEM").of("prove").times(2),
        fails("recv", "ENOBUFS").of("prove").times(2),
        fails("send", "ENOBUFS").of("prove").times(2),
        fails("setsockopt", "ENOMEM").of("prove").times(2),
        fails("getrandom", "EAGAIN").of("prove").times(2),
        fails("pthread_create", "EAGAIN").of("monitor").times(2),
    ];
    for rule in cases {
        front.down();
        assert!(ask(gateway.address()).is_err(), "it is down");
        let lines = gateway.lines().len();
        let rules = faults.set(&[rule]);
        front.up();
        eventually(SOON, "it is active again", || {
            let up = format!("endpoint_up{{address=\"{}\"}}", front.address());
            (Samples::of(admin).get(&up) == 1.0).then_some(())
        });
        let text = gateway.lines()[lines..].join("\n");
        let case = format!("{rule:?}:\n{text}");
        assert_eq!(faults.hits(rules), [2], "{case}");
        assert_eq!(ask(gateway.address()).expect("served"), 1, "{case}");
        assert!(!text.contains("not authenticated"), "{case}");
        let wrong = log_faults(&gateway.lines()[lines..]);
        assert!(wrong.is_empty(), "{wrong:#?} {case}");
    }
    let name = format!(
        "endpoint_dials_total{{address=\"{}\",result=\"unauthenticated\"}}",
        front.address()
    );
    assert_eq!(Samples::of(admin).get(&name), 0.0, "{}", gateway.text());
}
