//! Real name servers: what they send is not what this suite's own server would send.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::problems::wait_problems;
use super::{PLAIN, address, discover, launch, members, refreshed, shares};
use crate::admin::admin_of;
use crate::support::gateway::binary;
use crate::support::isolated::{Site, isolated};
use crate::support::nameservers::{NameServer, have};
use crate::support::net::tag;
use crate::support::process::{self, can, tool_text};
use crate::support::{Backend, Gateway, Launch, host_offers};

/// Records of all kinds that lead to members 1 to 5, and some that lead nowhere.
const ALL_KINDS: &str = "
_etcd-client._tcp SRV 0 0 2379 M1
_etcd-client._tcp SRV 0 0 2379 both
_etcd-client._tcp SRV 0 0 2379 alias
_etcd-client-ssl._tcp SRV 0 0 2379 v6
_etcd-client._tcp SRV 0 0 2379 text
_etcd-client._tcp SRV 1 0 2379 later
_etcd-client._tcp TXT \"about these records\"
m1 A 127.1.0.1
m1 TXT \"about this host\"
both A 127.1.0.2
both A 127.1.0.3
alias CNAME b.alias
b.alias CNAME c.alias
c.alias A 127.1.0.4
v6 AAAA ::1
text TXT \"no address\"
later A 127.1.0.6
";

/// The members of `ALL_KINDS` share evenly, whoever serves the zone.
fn expect_all_kinds() {
    let _members: [Backend; 4] = members();
    let mut v6 = Backend::dead_at(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 2379)))
        .expect("bind a member's address");
    v6.up_tagged(b'5');
    let gateway = discover("x.test", &[]);
    assert_eq!(shares(&gateway, 20), [4; 5]);
    let record = gateway.wait_record("cannot resolve endpoint, will try again");
    assert!(record.text("error").contains("text.x.test"), "{record:?}");
}

#[test]
fn nsd_with_records_of_all_kinds() {
    isolated(nsd_with_records_of_all_kinds, |site| {
        if have(&["nsd"]) {
            let _nsd = NameServer::nsd(site, "127.0.0.1", "x.test", ALL_KINDS);
            expect_all_kinds();
        }
    });
}

#[test]
fn unbound_in_front_of_nsd_with_records_of_all_kinds() {
    isolated(unbound_in_front_of_nsd_with_records_of_all_kinds, |site| {
        if have(&["nsd", "unbound"]) {
            let _nsd = NameServer::nsd(site, "127.0.0.2", "x.test", ALL_KINDS);
            let _unbound = NameServer::unbound(site, "x.test", "127.0.0.2");
            expect_all_kinds();
        }
    });
}

/// It does not repeat the question: that is an answer nevertheless, and not silence.
#[test]
fn unbound_that_refuses() {
    isolated(unbound_that_refuses, |site| {
        if have(&["unbound"]) {
            let _unbound = NameServer::unbound_refusing(site);
            let outcome = launch("x.test", &[]).run();
            assert_eq!(outcome.code, Some(1), "{outcome:?}");
            assert!(outcome.stderr.contains("REFUSED"), "{outcome:?}");
        }
    });
}

#[test]
fn dnsmasq_with_aliases_and_both_families() {
    isolated(dnsmasq_with_aliases_and_both_families, |site| {
        if !have(&["dnsmasq"]) {
            return;
        }
        let _members: [Backend; 2] = members();
        let owner = "_client._tcp.headless.x.test";
        let lines = format!(
            "srv-host={owner},one.x.test,2379,0,0\nsrv-host={owner},alias.x.test,2379,0,0\n\
             host-record=one.x.test,127.1.0.1\ncname=alias.x.test,two.x.test\n\
             host-record=two.x.test,127.1.0.2\nlocal=/test/\n"
        );
        let _dnsmasq = NameServer::dnsmasq(site, &lines);
        assert_eq!(shares(&discover(owner, &[]), 10), [5, 5]);
    });
}

/// A cluster moves from `_etcd-client` to `_etcd-client-ssl`: the old members leave once the new ones are there. When all
/// records are gone the last ones stay, and what comes back is followed.
#[test]
fn a_move_from_plain_to_tls_names_ends() {
    const TLS: &str = "_etcd-client-ssl._tcp.x.test";
    isolated(a_move_from_plain_to_tls_names_ends, |site| {
        if !have(&["nsd"]) {
            return;
        }
        let _members: [Backend; 3] = members();
        let mut server = None;
        let mut publish = |records: &[(&str, u8)]| {
            let record =
                |(owner, number): &(&str, u8)| format!("{owner}. SRV 0 0 2379 m{number}\n");
            let addresses = (1..=3).map(|number| format!("m{number} A {}\n", address(number).ip()));
            let zone: String = records.iter().map(record).chain(addresses).collect();
            // One port: the old server ends first.
            server = None;
            server = Some(NameServer::nsd(site, "127.0.0.1", "x.test", &zone));
        };
        publish(&[(PLAIN, 1), (PLAIN, 2)]);
        let gateway = discover("x.test", &["--metrics-addr=127.0.0.1:0"]);
        let admin = admin_of(&gateway);
        assert_eq!(shares(&gateway, 10), [5, 5]);
        publish(&[(PLAIN, 1), (PLAIN, 2), (TLS, 3)]);
        refreshed(&gateway, &[3], &[]);
        publish(&[(TLS, 3)]);
        refreshed(&gateway, &[], &[1, 2]);
        wait_problems(&gateway, admin, &[]);
        let gone = "SRV records no longer exist, using those of the other service";
        let gone = gateway.wait_record(gone);
        assert_eq!((gone.text("name"), gone.number("records")), (PLAIN, 2.0));
        assert!(gone.text("error").contains("NXDOMAIN"), "{gone:?}");
        assert_eq!(shares(&gateway, 4), [0, 0, 4]);

        publish(&[]);
        gateway.signal("HUP");
        let kept: &[&str] = &[TLS, "NXDOMAIN", "records that stay in use: 1"];
        wait_problems(&gateway, admin, &[kept]);
        assert_eq!(shares(&gateway, 4), [0, 0, 4]);
        publish(&[(PLAIN, 2), (TLS, 3)]);
        refreshed(&gateway, &[2], &[]);
        wait_problems(&gateway, admin, &[]);
        assert_eq!(shares(&gateway, 4), [0, 2, 2]);
    });
}

/// Every address of port 2379, each of which makes itself known by its last octet.
fn everybody() -> Backend {
    let mut all = Backend::dead_at(SocketAddr::from(([0, 0, 0, 0], 2379))).expect("bind port 2379");
    all.up_with(|mut stream: &TcpStream| {
        let local = stream.local_addr().expect("a connected socket");
        if let SocketAddr::V4(local) = local {
            let _ = stream.write_all(&local.ip().octets()[3..]);
        }
    });
    all
}

/// As many clients meet as many members, each once.
#[track_caller]
fn expect_each_once(gateway: &Gateway, count: u8) {
    let served: BTreeSet<u8> = (0..count).map(|_| tag(gateway.address()).0).collect();
    let all: BTreeSet<u8> = (1..=count).collect();
    assert_eq!(served, all);
}

/// 200 records need 6 kB at least, five times what a datagram may have.
#[test]
fn two_hundred_records_come_over_tcp() {
    isolated(two_hundred_records_come_over_tcp, |site| {
        if !have(&["nsd"]) {
            return;
        }
        let records: String = (1..=200)
            .map(|n| format!("_etcd-client._tcp SRV 0 0 2379 m{n}\nm{n} A 127.2.0.{n}\n"))
            .collect();
        let _nsd = NameServer::nsd(site, "127.0.0.1", "x.test", &records);
        let _all = everybody();
        expect_each_once(&discover("x.test", &[]), 200);
    });
}

/// Each name of 63 is an alias of an alias, which a recursive server and its authority resolve.
#[test]
fn sixty_three_targets_behind_aliases() {
    isolated(sixty_three_targets_behind_aliases, |site| {
        if !have(&["nsd", "unbound"]) {
            return;
        }
        let records: String = (1..=63)
            .map(|n| {
                format!(
                    "_etcd-client._tcp SRV 0 0 2379 a{n}\na{n} CNAME b{n}\nb{n} CNAME c{n}\nc{n} A 127.2.0.{n}\n"
                )
            })
            .collect();
        let _nsd = NameServer::nsd(site, "127.0.0.2", "x.test", &records);
        let _unbound = NameServer::unbound(site, "x.test", "127.0.0.2");
        let _all = everybody();
        expect_each_once(&discover("x.test", &[]), 63);
    });
}

/// What the C library's resolver would open before it asks; a static binary can have none of it.
const NAME_SERVICE: [&str; 6] = [
    "nsswitch.conf",
    "libnss",
    "nscd",
    "gai.conf",
    "host.conf",
    "/etc/services",
];

/// Names in every place where the command line takes one, resolved without the C library.
#[test]
fn the_name_service_of_the_c_library_is_never_used() {
    isolated(
        the_name_service_of_the_c_library_is_never_used,
        |site: &Site| {
            let traced = host_offers(can("strace", &["-f", "true"]), "strace");
            if !traced || !have(&["dnsmasq"]) {
                return;
            }
            let _members: [Backend; 1] = members();
            let lines = "srv-host=_etcd-client._tcp.x.test,m1.x.test,2379\nhost-record=m1.x.test,127.1.0.1\n";
            let _dnsmasq = NameServer::dnsmasq(site, lines);
            let trace = site.path("trace");
            // As a grandchild (-D), so that it ends with the gateway and not the other way round.
            let strace = [
                "strace",
                "-D",
                "-f",
                "-o",
                &trace,
                "-e",
                "trace=open,openat,connect",
            ];
            let member = format!("--endpoints=m1.x.test:{}", address(1).port());
            for launch in [
                launch("x.test", &["--listen-addr=localhost:0"]),
                Launch::start_with(&[&member]),
            ] {
                let gateway = launch.wrapped(&strace).start();
                assert_eq!(shares(&gateway, 2), [2]);
                drop(gateway);
                let text = std::fs::read_to_string(&trace).expect("read the trace");
                for wanted in ["/etc/resolv.conf", "/etc/hosts", "htons(53)"] {
                    assert!(text.contains(wanted), "the trace shows {wanted}:\n{text}");
                }
                for name in NAME_SERVICE {
                    assert!(!text.contains(name), "{name}:\n{text}");
                }
            }
        },
    );
}

/// Not even by a path that the trace above did not take.
#[test]
fn binary_does_not_import_getaddrinfo() {
    if host_offers(process::have("nm"), "nm") {
        let binary = binary();
        let path = binary.to_str().expect("a path in UTF-8");
        let imports = tool_text("nm", &["--dynamic", "--undefined-only", path]);
        for function in ["getaddrinfo", "gethostbyname", "res_init"] {
            assert!(!imports.contains(function), "{function} in {imports}");
        }
    }
}
