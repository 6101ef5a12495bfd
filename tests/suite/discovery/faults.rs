//! Name servers fail: after a good start nothing may be lost by it, at a start the operator's fallback serves.

use std::net::UdpSocket;

use super::{
    PLAIN, changes, discover, launch, members, publish, refreshed, shares, srv, texts, wait_change,
};
use crate::support::dns::{FORMERR, FakeDns, Fault, NXDOMAIN, REFUSED, SERVFAIL};
use crate::support::isolated::{RESOLV_CONF, isolated};
use crate::support::json::Json;
use crate::support::{Backend, Gateway, Launch, SOON, eventually};

const FALLING_BACK: &str = "SRV records give no endpoint; using --endpoints until they do";
const FAILED: &str = "SRV lookup failed, will try again";

/// All faults at once, each of them met by a gateway of its own: what was known stays, the failure is named, and
/// recovery is picked up.
#[test]
fn failing_answers_keep_the_last_good_set() {
    const CASES: &[(&str, Fault, &str)] = &[
        ("nx.test", Fault::Rcode(NXDOMAIN), "NXDOMAIN"),
        ("servfail.test", Fault::Rcode(SERVFAIL), "SERVFAIL"),
        ("refused.test", Fault::Rcode(REFUSED), "REFUSED"),
        ("formerr.test", Fault::Rcode(FORMERR), "FORMERR"),
        ("empty.test", Fault::Empty, "NODATA"),
        ("truncated.test", Fault::Truncated, "truncated"),
        ("silent.test", Fault::Silent, "no reply in time"),
    ];
    isolated(failing_answers_keep_the_last_good_set, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        let all_have = |member: u8| {
            let records = CASES
                .iter()
                .map(|(domain, ..)| srv(&format!("_etcd-client._tcp.{domain}"), &[member]));
            publish(&dns, &records.collect::<String>());
        };
        all_have(1);
        let gateways: Vec<Gateway> = CASES
            .iter()
            .map(|(domain, ..)| discover(domain, &[]))
            .collect();
        for ((domain, fault, _), gateway) in CASES.iter().zip(&gateways) {
            dns.fail(domain, *fault);
            gateway.signal("HUP");
        }
        for ((domain, _, class), gateway) in CASES.iter().zip(&gateways) {
            let owner = format!("_etcd-client._tcp.{domain}");
            let record = gateway.wait_record_where(FAILED, |record| {
                let error = record.text("error");
                error.contains(&owner) && error.contains(class)
            });
            assert_eq!(record.text("level"), "warn");
            assert_eq!(shares(gateway, 2), [2], "{domain}");
        }
        // Recovery; that it is the first change shows that the fault was none.
        all_have(2);
        dns.mend();
        for ((domain, ..), gateway) in CASES.iter().zip(&gateways) {
            refreshed(gateway, &[2], &[1]);
            let expected = [(texts(&[2]), texts(&[1]))];
            assert_eq!(changes(gateway), expected, "{domain}");
            assert_eq!(shares(gateway, 2), [0, 2], "{domain}");
        }
    });
}

/// The records are there, the addresses of some targets are not, for whatever reason.
#[test]
fn failing_lookup_of_a_target_keeps_its_address() {
    isolated(failing_lookup_of_a_target_keeps_its_address, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 5] = members();
        publish(&dns, &srv(PLAIN, &[1, 2, 3, 4]));
        let gateway = discover("x.test", &[]);
        dns.fail("m2.test", Fault::Rcode(NXDOMAIN));
        dns.fail("m3.test", Fault::Rcode(SERVFAIL));
        dns.fail("m4.test", Fault::Empty);
        publish(&dns, &srv(PLAIN, &[1, 2, 3, 4, 5]));
        refreshed(&gateway, &[5], &[]);
        for name in ["m2.test", "m3.test", "m4.test"] {
            gateway.wait_record_where("cannot resolve endpoint, will try again", |record| {
                record.text("error").contains(name)
            });
        }
        assert_eq!(shares(&gateway, 10), [2; 5]);
    });
}

/// One of the two services fails: the other goes on to be followed, and what the first had said stays.
#[test]
fn failure_of_one_service_keeps_its_members_and_follows_the_other() {
    isolated(
        failure_of_one_service_keeps_its_members_and_follows_the_other,
        |_| {
            let dns = FakeDns::start("127.0.0.1");
            let _members: [Backend; 3] = members();
            let tls = srv("_etcd-client-ssl._tcp.x.test", &[1]);
            publish(&dns, &format!("{tls}{}", srv(PLAIN, &[2])));
            let gateway = discover("x.test", &[]);
            dns.fail("_etcd-client-ssl._tcp.x.test", Fault::Rcode(SERVFAIL));
            publish(&dns, &format!("{tls}{}", srv(PLAIN, &[3])));
            refreshed(&gateway, &[3], &[2]);
            assert_eq!(shares(&gateway, 10), [5, 0, 5]);
        },
    );
}

/// Explicit endpoints serve, with a warning that says why, until records appear. From then on these are the last good
/// set, and cannot be undone.
#[test]
fn explicit_endpoints_serve_until_records_appear() {
    const CASES: &[(&str, Fault, &str)] = &[
        ("nx.test", Fault::Rcode(NXDOMAIN), "NXDOMAIN"),
        ("servfail.test", Fault::Rcode(SERVFAIL), "SERVFAIL"),
        ("silent.test", Fault::Silent, "no reply in time"),
    ];
    isolated(explicit_endpoints_serve_until_records_appear, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        let owner = |domain: &str| format!("_etcd-client._tcp.{domain}");
        let records: String = CASES
            .iter()
            .map(|(domain, ..)| srv(&owner(domain), &[1]))
            .collect();
        publish(&dns, &records);
        let fail = || {
            CASES
                .iter()
                .for_each(|(domain, fault, _)| dns.fail(domain, *fault))
        };
        fail();
        let starting = CASES.iter().map(|(domain, _, class)| {
            let gateway = discover(domain, &["--endpoints=127.1.0.2:2379"]);
            let warning = gateway.wait_record(FALLING_BACK);
            assert_eq!(warning.text("level"), "warn");
            assert!(warning.text("reason").contains(class), "{warning:?}");
            assert_eq!(shares(&gateway, 4), [0, 4]);
            gateway
        });
        let gateways: Vec<Gateway> = starting.collect();
        dns.mend();
        for gateway in &gateways {
            gateway.signal("HUP");
        }
        for gateway in &gateways {
            wait_change(gateway, &[1], &[2]);
            assert_eq!(shares(gateway, 4), [4]);
        }
        fail();
        let seen: Vec<usize> = gateways
            .iter()
            .map(|gateway| gateway.lines().len())
            .collect();
        for gateway in &gateways {
            gateway.signal("HUP");
        }
        for ((gateway, seen), (domain, ..)) in gateways.iter().zip(seen).zip(CASES) {
            let failed = |line: &String| line.contains(FAILED) && line.contains(&owner(domain));
            eventually(SOON, "the failure is logged", || {
                gateway.lines().iter().skip(seen).any(failed).then_some(())
            });
            assert_eq!(shares(gateway, 4), [4]);
        }
        // A refresh has happened when the next one brings a change.
        publish(&dns, &records.replace("m1.test", "m2.test"));
        dns.mend();
        for gateway in &gateways {
            refreshed(gateway, &[2], &[1]);
            assert_eq!(changes(gateway).len(), 2, "{}", gateway.text());
        }
    });
}

/// Records that are there at the start leave no place for the fallback.
#[test]
fn explicit_endpoints_are_not_mixed_with_records() {
    isolated(explicit_endpoints_are_not_mixed_with_records, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        let gateway = discover("x.test", &["--endpoints=127.1.0.2:2379"]);
        assert_eq!(shares(&gateway, 4), [4]);
        assert!(
            gateway.records(FALLING_BACK).is_empty(),
            "{}",
            gateway.text()
        );
    });
}

/// Discovery goes on in the background by itself: nobody sends a signal.
#[test]
fn recovery_at_a_start_with_fallback_needs_no_signal() {
    isolated(recovery_at_a_start_with_fallback_needs_no_signal, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        dns.fail("x.test", Fault::Rcode(SERVFAIL));
        let launch = launch("x.test", &["--endpoints=127.1.0.2:2379"]);
        let gateway = launch.times("refresh_min=200").start();
        dns.mend();
        wait_change(&gateway, &[1], &[2]);
    });
}

/// The first server of resolv.conf is dead in silence, the second answers.
#[test]
fn second_name_server_answers_for_the_first() {
    isolated(second_name_server_answers_for_the_first, |site| {
        let _silent = UdpSocket::bind("127.0.0.9:53").expect("bind port 53");
        site.resolv_conf(&format!("nameserver 127.0.0.9\n{RESOLV_CONF}"));
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 1] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        assert_eq!(shares(&discover("x.test", &[]), 2), [2]);
    });
}

/// The same for a server that answers with a failure, and for one that refuses the port.
#[test]
fn second_name_server_answers_where_the_first_fails() {
    isolated(second_name_server_answers_where_the_first_fails, |site| {
        let dns = FakeDns::start("127.0.0.1");
        let failing = FakeDns::start("127.0.0.8");
        let _members: [Backend; 1] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        for fault in [
            Fault::Rcode(SERVFAIL),
            Fault::Rcode(REFUSED),
            Fault::Truncated,
        ] {
            failing.fail("test", fault);
            site.resolv_conf(&format!("nameserver 127.0.0.8\n{RESOLV_CONF}"));
            assert_eq!(shares(&discover("x.test", &[]), 2), [2], "{fault:?}");
        }
        site.resolv_conf(&format!("nameserver 127.0.0.7\n{RESOLV_CONF}"));
        assert_eq!(shares(&discover("x.test", &[]), 2), [2], "port refused");
    });
}

/// An answer from a server that was not asked counts for nothing, however right it looks.
#[test]
fn answer_from_elsewhere_is_ignored() {
    isolated(answer_from_elsewhere_is_ignored, |_| {
        let asked = UdpSocket::bind("127.0.0.1:53").expect("bind port 53");
        let other = UdpSocket::bind("127.0.0.2:53").expect("bind port 53");
        let spoofer = std::thread::spawn(move || {
            let mut query = [0; 512];
            let mut clients = 0;
            // Two services, one attempt each, with EDNS and without.
            while clients < 4 {
                let (length, client) = asked.recv_from(&mut query).expect("a query");
                query[2] |= 0x80;
                // The kernel may have no such socket any more; the gateway's answer is what counts.
                let _ = other.send_to(&query[..length], client);
                clients += 1;
            }
        });
        let outcome = launch("x.test", &[]).run();
        spoofer.join().expect("the spoofer saw all queries");
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains("no reply in time"), "{outcome:?}");
        assert!(outcome.stderr.contains("127.0.0.1:53"));
    });
}

/// Names and records that lead to more endpoints than a cluster can have: how many there are and how many are used is
/// logged, once a change.
#[test]
fn what_is_beyond_the_limits_is_logged() {
    isolated(what_is_beyond_the_limits_is_logged, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let publish_many = |count: u16| {
            let records = (1..=count).map(|port| format!("{PLAIN} SRV 0 0 {port} m1.test\n"));
            let addresses = (0..count * 5).map(|number| {
                let [high, low] = number.to_be_bytes();
                format!("many.test A 127.2.{high}.{low}\n")
            });
            publish(&dns, &records.chain(addresses).collect::<String>());
        };
        publish_many(250);
        let gateways = [
            Launch::start_with(&["--endpoints=many.test:2379"]).start(),
            discover("x.test", &[]),
        ];
        let owners = ["many.test", PLAIN];
        let logged = |gateway: &Gateway| -> Vec<String> {
            let all = ["endpoints", "SRV records"]
                .map(|what| gateway.records(&format!("too many {what}; ignoring the rest")));
            let numbers = |line: &Json| {
                let [found, used] = ["found", "used"].map(|field| line.number(field));
                format!("{used} of {found}")
            };
            all.iter().flatten().map(numbers).collect()
        };
        let refresh = |count: u16, is_new: bool| {
            let before = gateways.each_ref().map(|gateway| logged(gateway).len());
            publish_many(count);
            for ((gateway, owner), before) in gateways.iter().zip(owners).zip(before) {
                let asked = dns.asked(owner);
                gateway.signal("HUP");
                dns.wait_asked(owner, asked);
                eventually(SOON, "the new number is logged", || {
                    (!is_new || logged(gateway).len() > before).then_some(())
                });
            }
        };
        refresh(300, true);
        refresh(300, false);
        refresh(280, true);
        publish_many(1);
        for gateway in &gateways {
            gateway.signal("HUP");
            gateway.wait_record_where("endpoints changed", |record| {
                record.texts("removed").len() > 200
            });
        }
        refresh(280, true);
        let problems = [
            "1400 endpoints are found, of which 1024",
            "280 members are named, of which 256",
        ];
        for (gateway, problem) in gateways.iter().zip(problems) {
            gateway.signal("USR1");
            let told = gateway.wait_record("status of a problem");
            assert!(told.text("problem").contains(problem), "{told:?}");
        }
        let check = ["check", "--discovery-srv=x.test", "--insecure-discovery"];
        let outcome = Launch::exactly(&check).run();
        let warning = format!("\nwarning: {PLAIN}: {}", problems[1]);
        assert!(outcome.stdout.contains(&warning), "{outcome:?}");
        let expected = ["1024 of 1500", "1024 of 1400", "1024 of 1400"];
        assert_eq!(
            logged(&gateways[0]),
            [&["1024 of 1250"], &expected[..]].concat()
        );
        assert_eq!(
            logged(&gateways[1]),
            ["256 of 300", "256 of 280", "256 of 280"]
        );
    });
}

/// While a name that never had an address is not answered for, nothing is taken away; nor does the set grow without
/// end where other names have other addresses each time.
#[test]
fn endpoints_kept_in_doubt_are_not_more_than_the_limit() {
    isolated(endpoints_kept_in_doubt_are_not_more_than_the_limit, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let publish_at = |network: u8| {
            let addresses = (0..1000_u16).map(|number| {
                let [high, low] = number.to_be_bytes();
                format!("many.test A 127.{network}.{high}.{low}\n")
            });
            publish(&dns, &addresses.collect::<String>());
        };
        publish_at(2);
        dns.fail("lost.test", Fault::Rcode(SERVFAIL));
        let gateway = Launch::start_with(&["--endpoints=many.test:2379,lost.test:2379"]).start();
        publish_at(3);
        gateway.signal("HUP");
        let change = gateway.wait_record("endpoints changed");
        let [added, removed] = ["added", "removed"].map(|field| change.texts(field).len());
        assert_eq!((added, removed), (1000, 1000 - 24));
    });
}
