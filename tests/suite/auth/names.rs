//! Which name a member has to prove: the domain that was asked, its own for those that were configured, or the one
//! that the operator gives.

use super::{Stage, address, expect_failed, shares};
use crate::support::Launch;
use crate::support::front::{Face, Front, TlsServer};
use crate::support::gateway::assert_bad_flag;
use crate::support::isolated::isolated;
use crate::support::pki::Request;

/// What is published, which flags, which names the member's certificate has, and what is missing if anything.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static str,
    Option<&'static str>,
);

const DISCOVERED: &[Case] = &[
    (
        "_etcd-client-ssl._tcp.x.test",
        &["--discovery-srv=x.test"],
        "DNS:y.test,DNS:x.test",
        None,
    ),
    (
        "_etcd-client-ssl._tcp.x.test",
        &["--discovery-srv=X.Test."],
        "DNS:x.TEST",
        None,
    ),
    // A wildcard is one label, the leftmost, and whole (RFC 9525 section 6.3).
    (
        "_etcd-client-ssl._tcp.a.x.test",
        &["--discovery-srv=a.x.test"],
        "DNS:*.x.test",
        None,
    ),
    (
        "_etcd-client-ssl._tcp.x.test",
        &["--discovery-srv=x.test"],
        "DNS:*.x.test",
        Some("not for x.test"),
    ),
    (
        "_etcd-client-ssl._tcp.b.a.x.test",
        &["--discovery-srv=b.a.x.test"],
        "DNS:*.x.test",
        Some("not for b.a.x.test"),
    ),
    (
        "_etcd-client-ssl._tcp.abc.x.test",
        &["--discovery-srv=abc.x.test"],
        "DNS:a*.x.test",
        Some("not for abc.x.test"),
    ),
    // The suffix of a service is not part of the domain.
    (
        "_etcd-client-ssl-blue._tcp.x.test",
        &["--discovery-srv=x.test", "--discovery-srv-name=blue"],
        "DNS:x.test",
        None,
    ),
    // Of a name that is asked as it stands, what follows service and protocol.
    (
        "_client._tcp.etcd.default.svc.cluster.local",
        &["--discovery-srv=_client._tcp.etcd.default.svc.cluster.local"],
        "DNS:etcd.default.svc.cluster.local",
        None,
    ),
    (
        "_client._tcp.etcd.default.svc.cluster.local",
        &["--discovery-srv=_client._tcp.etcd.default.svc.cluster.local"],
        "DNS:default.svc.cluster.local",
        Some("not for etcd.default.svc.cluster.local"),
    ),
    // The operator's word replaces all of that, in both directions.
    (
        "_etcd-client-ssl._tcp.x.test",
        &[
            "--discovery-srv=x.test",
            "--discovery-server-name=etcd.Internal",
        ],
        "DNS:etcd.internal",
        None,
    ),
    (
        "_etcd-client-ssl._tcp.x.test",
        &[
            "--discovery-srv=x.test",
            "--discovery-server-name=etcd.internal",
        ],
        "DNS:x.test",
        Some("not for etcd.internal"),
    ),
    (
        "_etcd-client-ssl._tcp.x.test",
        &[
            "--discovery-srv=x.test",
            "--discovery-server-name=127.1.0.1",
        ],
        "IP:127.1.0.1",
        None,
    ),
    // An address is not a name, even where somebody has written it as one.
    (
        "_etcd-client-ssl._tcp.x.test",
        &[
            "--discovery-srv=x.test",
            "--discovery-server-name=127.1.0.1",
        ],
        "DNS:127.1.0.1",
        Some("not for 127.1.0.1"),
    ),
];

#[test]
fn discovered_members_prove_the_domain() {
    isolated(discovered_members_prove_the_domain, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let member = stage.member(1);
        for (owner, flags, names, missing) in DISCOVERED {
            let shown = stage.pki.issue(&stage.root, &Request::server(names));
            member.show(Face::Tls(TlsServer::start(&stage.pki, &shown, &[])));
            stage.publish_under(owner, &[1]);
            let ca = ["--trusted-ca-file", &stage.root.certificate];
            let all = [&["check"], *flags, &ca[..]].concat();
            let outcome = Launch::exactly(&all).run();
            let case = format!("{flags:?}, {names}: {outcome:?}");
            assert_eq!(outcome.code, Some(i32::from(missing.is_some())), "{case}");
            let wanted = missing.unwrap_or("authenticated");
            assert!(outcome.stdout.contains(wanted), "{case}");
        }
    });
}

/// The reference verifies none of those that are configured. Here each proves what it is called by.
#[test]
fn configured_members_prove_their_own_names() {
    isolated(configured_members_prove_their_own_names, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        site.hosts("127.1.0.1 m1.test\n127.1.0.2 m2.test\n127.0.0.1 localhost\n");
        let issued = |names| {
            let shown = stage.pki.issue(&stage.root, &Request::server(names));
            Face::Tls(TlsServer::start(&stage.pki, &shown, &[]))
        };
        let by_name = Front::at(address(1), 1, issued("DNS:m1.test"));
        let other_name = Front::at(address(2), 2, issued("DNS:m1.test"));
        let by_ip = Front::at(address(3), 3, issued("IP:127.1.0.3,DNS:m1.test"));
        let other_ip = Front::at(address(4), 4, issued("IP:127.1.0.3,DNS:127.1.0.4"));
        let loopback = "[::1]:2379".parse().expect("an address");
        let by_ipv6 = Front::at(loopback, 5, issued("IP:::1"));
        let endpoints = "--endpoints=m1.test:2379,https://m2.test:2379,127.1.0.3:2379,127.1.0.4:2379,[::1]:2379";
        let ca = ["--trusted-ca-file", &stage.root.certificate];
        let flags = [&[endpoints, "--verify-endpoints"], &ca[..]].concat();
        let gateway = Launch::start_with(&flags).start();
        assert_eq!(shares(&gateway, 9), [3, 0, 3, 0, 3]);
        for (front, name) in [(&other_name, "m2.test"), (&other_ip, "127.1.0.4")] {
            let record = super::wait_refused(&gateway, front.address());
            assert_eq!(record.text("server_name"), name, "{record:?}");
            assert!(
                record.text("error").contains(&format!("not for {name}")),
                "{record:?}"
            );
            assert_eq!(front.clients(), 0);
        }
        drop(gateway);
        // Without the flag nothing is asked of them, as ever.
        let before = [&by_name, &by_ip, &by_ipv6].map(|front| front.visits().len());
        let gateway = Launch::start_with(&[endpoints]).start();
        assert_eq!(shares(&gateway, 10), [2, 2, 2, 2, 2]);
        let after = [&by_name, &by_ip, &by_ipv6].map(|front| front.visits().len());
        assert_eq!(after, before.map(|visits| visits + 2));
        // One name for all.
        let named = [flags.as_slice(), &["--discovery-server-name=m1.test"]].concat();
        let gateway = Launch::start_with(&named).start();
        assert_eq!(shares(&gateway, 6), [2, 2, 2]);
    });
}

/// Names that no certificate can have are the command line's fault.
#[test]
fn names_that_cannot_be_proven_are_refused() {
    let verify = ["start", "--verify-endpoints", "--endpoints=127.0.0.1:1"];
    for name in ["300.1.1.1", "a b", "-x.test", "*.x.test"] {
        let flag = format!("--discovery-server-name={name}");
        assert_bad_flag(
            &[&verify[..], &[&flag]].concat(),
            &["--discovery-server-name"],
        );
    }
}

/// A start without any member that passes is none for a configured list either.
#[test]
fn configured_members_that_do_not_pass_end_the_start() {
    isolated(configured_members_that_do_not_pass_end_the_start, |site| {
        let Some(stage) = Stage::set(site) else {
            return;
        };
        let member = stage.member(1);
        let ca = ["--trusted-ca-file", &stage.root.certificate];
        let flags = ["--endpoints=127.1.0.1:2379", "--verify-endpoints"];
        let outcome = Launch::start_with(&[&flags[..], &ca[..]].concat()).run();
        expect_failed(&outcome, &["127.1.0.1:2379", "not for 127.1.0.1"]);
        assert_eq!(member.clients(), 0);
    });
}
