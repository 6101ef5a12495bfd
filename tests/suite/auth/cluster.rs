//! A real etcd cluster (Go's TLS), discovered through a real name server; its clients speak TLS with it through the
//! gateway, which sees nothing of that.

use super::{REFUSED, address, said, wait_refused, wait_said};
use crate::support::front::{Face, Front, TlsServer};
use crate::support::isolated::{Site, isolated};
use crate::support::nameservers::{NameServer, have};
use crate::support::pki::{Pki, Request};
use crate::support::tls_cluster::{self, STRICT, TlsCluster};
use crate::support::{Gateway, Launch};

/// The members' names: the domain for the gateway, the address of the gateway for clients.
const NAMES: &str = "DNS:x.test,IP:127.0.0.1,IP:127.1.0.1,IP:127.1.0.2,IP:127.1.0.3";

/// dnsmasq with these members in the service of x.test that speaks TLS.
fn published(site: &Site, numbers: &[u8]) -> NameServer {
    let record = |number: &u8| {
        format!(
            "srv-host=_etcd-client-ssl._tcp.x.test,m{number}.test,2379,0,0\nhost-record=m{number}.test,{}\n",
            address(*number).ip()
        )
    };
    let lines: String = numbers.iter().map(record).collect();
    NameServer::dnsmasq(site, &format!("{lines}local=/test/\n"))
}

/// Writes and reads, each by a connection of its own, often enough to meet every member.
#[track_caller]
fn expect_served(cluster: &TlsCluster, gateway: &Gateway) {
    let through = gateway.address().to_string();
    for round in 0..4 {
        let value = round.to_string();
        for (args, wanted) in [
            (["put", "key", value.as_str()], "OK\n".to_owned()),
            (["get", "key", "--print-value-only"], format!("{value}\n")),
        ] {
            let output = cluster.etcdctl(&through, &args);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "etcdctl {args:?}: {said}");
            assert_eq!(String::from_utf8_lossy(&output.stdout), wanted);
        }
    }
}

/// Members that need no certificate of their clients have nothing to complain of.
#[track_caller]
fn expect_quiet(cluster: &TlsCluster) {
    for index in (0..3).filter(|index| *index != STRICT) {
        let log = cluster.log(index);
        let complaint = log.lines().find(|line| {
            [
                "TLS handshake",
                "tls:",
                "rejected connection",
                "handshake error",
            ]
            .iter()
            .any(|word| line.contains(word))
        });
        assert_eq!(complaint, None, "member {index}");
    }
}

#[test]
fn cluster_with_tls_and_an_impostor_in_dns() {
    isolated(cluster_with_tls_and_an_impostor_in_dns, |site| {
        if !have(&["dnsmasq"]) {
            return;
        }
        let Some(pki) = Pki::below(site.path("")) else {
            return;
        };
        let (root, other) = (pki.root("true CA"), pki.root("false CA"));
        let Some(cluster) = TlsCluster::start(&pki, &root, NAMES) else {
            return;
        };
        let dnsmasq = published(site, &[1, 3]);
        let flags = ["--discovery-srv=x.test", "--retry-delay=200ms"];
        let ca = ["--trusted-ca-file", &root.certificate];
        let flags = [&flags[..], &ca[..]].concat();
        let gateway = Launch::start_with(&flags).start();
        expect_served(&cluster, &gateway);
        // Another member and an impostor, of whom the impostor alone would be noticed by no client without TLS.
        let shown = pki.issue(&other, &Request::server(NAMES));
        let impostor = Face::Tls(TlsServer::start(&pki, &shown, &[]));
        let impostor = Front::at(address(4), 4, impostor);
        drop(dnsmasq);
        let _dnsmasq = published(site, &[1, 2, 3, 4]);
        gateway.signal("HUP");
        let record = wait_refused(&gateway, address(4));
        assert_eq!(record.text("issuer"), "CN=false CA,O=suite", "{record:?}");
        wait_said(&gateway, "activated", address(2), 0);
        expect_served(&cluster, &gateway);
        // Clients reach the gateway by its address, so that only its own hello asks for x.test.
        let visits = impostor.visits();
        let asks = |first: &Vec<u8>| first.windows(6).any(|part| part == b"x.test");
        assert!(
            !visits.is_empty() && visits.iter().all(asks),
            "a client met the impostor"
        );
        for number in 1..=3 {
            assert_eq!(
                said(&gateway, REFUSED, address(number)),
                0,
                "{}",
                gateway.text()
            );
        }
        assert!(
            gateway.records("deactivated endpoint").is_empty(),
            "{}",
            gateway.text()
        );
        let outcome = Launch::exactly(&[&["check"], flags.as_slice()].concat()).run();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(
            outcome.stdout.matches("authenticated").count(),
            3,
            "{outcome:?}"
        );
        assert_eq!(outcome.stdout.matches("refused:").count(), 1, "{outcome:?}");
        for index in 0..3 {
            assert!(
                outcome.stdout.contains(&tls_cluster::address(index)),
                "{outcome:?}"
            );
        }
        expect_quiet(&cluster);
        // TLS is between the client and the member: who does not trust the member's authority is not served.
        let through = gateway.address().to_string();
        let distrusting = cluster.etcdctl_trusting(&other, &through, &["get", "key"]);
        assert!(!distrusting.status.success(), "{distrusting:?}");
        // A port for TLS does not answer a health check: that is logged, and no member becomes unusable by it.
        let health = ["check", "--health-check=http:///health"];
        let outcome = Launch::exactly(&[&health, flags.as_slice()].concat()).run();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        for (words, count) in [
            ("speaks TLS", 3),
            ("authenticated", 3),
            ("warning: every member fails --health-check", 1),
        ] {
            assert_eq!(outcome.stdout.matches(words).count(), count, "{outcome:?}");
        }
    });
}
