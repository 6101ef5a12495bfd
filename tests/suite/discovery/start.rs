//! Which names are asked for, what their answers mean, and what is said when they give nothing.

use std::net::SocketAddr;

use super::{PLAIN, discover, launch, members, publish, shares, srv};
use crate::support::dns::{FakeDns, Fault, NXDOMAIN, REFUSED, SERVFAIL};
use crate::support::gateway::Outcome;
use crate::support::isolated::{Site, isolated};
use crate::support::{Backend, Launch};

/// Exit status 1 and one line on stderr that holds all of `wanted`.
#[track_caller]
fn expect_refusal(outcome: &Outcome, wanted: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let lines: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|line| !line.starts_with('{'))
        .collect();
    let [line] = lines[..] else {
        panic!("one line beside the log: {outcome:?}")
    };
    for text in wanted {
        assert!(line.contains(text), "says {text:?}: {line}");
    }
}

#[test]
fn both_services_are_asked_and_merged() {
    isolated(both_services_are_asked_and_merged, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        let tls = srv("_etcd-client-ssl._tcp.x.test", &[1]);
        publish(&dns, &format!("{tls}{}", srv(PLAIN, &[2])));
        assert_eq!(shares(&discover("x.test", &[]), 10), [5, 5]);
    });
}

// D19: a member that is published twice, or under two names, gets one share.
#[test]
fn member_published_twice_gets_one_share() {
    isolated(member_published_twice_gets_one_share, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        let tls = srv("_etcd-client-ssl._tcp.x.test", &[1, 2]);
        let plain = srv(PLAIN, &[1, 1]);
        let alias = format!("{PLAIN} SRV 0 0 2379 alias.test\nalias.test A 127.1.0.1\n");
        publish(&dns, &format!("{tls}{plain}{alias}"));
        assert_eq!(shares(&discover("x.test", &[]), 10), [5, 5]);
    });
}

#[test]
fn service_name_is_part_of_both_owners() {
    isolated(service_name_is_part_of_both_owners, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 3] = members();
        let blue = srv("_etcd-client-blue._tcp.x.test", &[1]);
        let blue_tls = srv("_etcd-client-ssl-blue._tcp.x.test", &[2]);
        publish(&dns, &format!("{blue}{blue_tls}{}", srv(PLAIN, &[3])));
        let gateway = discover("x.test", &["--discovery-srv-name=blue"]);
        assert_eq!(shares(&gateway, 10), [5, 5, 0]);
    });
}

/// Case does not matter in names, and the records' own spelling need not be the asker's.
#[test]
fn domain_in_any_case_and_with_a_final_dot() {
    isolated(domain_in_any_case_and_with_a_final_dot, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 1] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        assert_eq!(shares(&discover("X.Test.", &[]), 2), [2]);
    });
}

/// The port of the headless services of common Kubernetes charts is not called `etcd-client`.
#[test]
fn value_that_begins_with_an_underscore_is_asked_verbatim() {
    isolated(
        value_that_begins_with_an_underscore_is_asked_verbatim,
        |_| {
            let dns = FakeDns::start("127.0.0.1");
            let _members: [Backend; 1] = members();
            let owner = "_client._tcp.etcd-headless.default.svc.cluster.local";
            publish(&dns, &srv(owner, &[1]));
            assert_eq!(shares(&discover(owner, &[]), 2), [2]);
            assert_eq!(dns.asked(&format!("_etcd-client._tcp.{owner}")), 0);
        },
    );
}

/// What a pod finds in its /etc/resolv.conf.
fn as_in_a_pod(site: &Site) {
    site.resolv_conf(
        "search default.svc.cluster.local svc.cluster.local cluster.local\n\
         nameserver 127.0.0.1\noptions ndots:5 timeout:1 attempts:1 trust-ad\n",
    );
}

#[test]
fn search_list_completes_the_domain() {
    isolated(search_list_completes_the_domain, |site| {
        as_in_a_pod(site);
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        let first = srv("_etcd-client._tcp.my-etcd.default.svc.cluster.local", &[1]);
        let second = srv("_client._tcp.headless.other.svc.cluster.local", &[2]);
        publish(&dns, &format!("{first}{second}"));
        assert_eq!(shares(&discover("my-etcd", &[]), 2), [2]);
        // Not in the first domain of the list but in the second.
        let gateway = discover("_client._tcp.headless.other", &[]);
        assert_eq!(shares(&gateway, 2), [0, 2]);
    });
}

/// Five dots are not fewer than ndots: the name as it stands comes first. A final dot ends the search before it
/// begins.
#[test]
fn ndots_and_the_final_dot_decide_on_the_search_list() {
    isolated(ndots_and_the_final_dot_decide_on_the_search_list, |site| {
        as_in_a_pod(site);
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        let long = "_client._tcp.etcd.a.b.test";
        let trap = srv(&format!("{long}.default.svc.cluster.local"), &[2]);
        publish(&dns, &format!("{}{trap}", srv(long, &[1])));
        assert_eq!(shares(&discover(long, &[]), 2), [2]);
        let outcome = launch("my-etcd.", &[]).run();
        expect_refusal(&outcome, &["_etcd-client._tcp.my-etcd.", "NXDOMAIN"]);
        let searched = "_etcd-client._tcp.my-etcd.default.svc.cluster.local";
        assert_eq!(
            dns.asked(searched),
            0,
            "a final dot means the name as it stands"
        );
    });
}

/// glibc's variables have the last word over the file.
#[test]
fn environment_completes_the_domain_too() {
    isolated(environment_completes_the_domain_too, |site| {
        site.resolv_conf("search wrong.test\nnameserver 127.0.0.1\noptions timeout:30\n");
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 1] = members();
        publish(&dns, &srv("_etcd-client._tcp.my-etcd.right.test", &[1]));
        let gateway = launch("my-etcd", &[])
            .env("LOCALDOMAIN", "right.test")
            .env("RES_OPTIONS", "timeout:1 attempts:1 ndots:9")
            .start();
        assert_eq!(shares(&gateway, 2), [2]);
        assert_eq!(dns.asked("_etcd-client._tcp.my-etcd.wrong.test"), 0);
    });
}

#[test]
fn name_server_by_ipv6_and_by_default() {
    isolated(name_server_by_ipv6_and_by_default, |site| {
        let _members: [Backend; 2] = members();
        let (v4, v6) = (FakeDns::start("127.0.0.1"), FakeDns::start("::1"));
        publish(&v4, &srv(PLAIN, &[1]));
        publish(&v6, &srv(PLAIN, &[2]));
        for (text, expected) in [
            ("", [2, 0]),
            ("nameserver ::1", [0, 2]),
            ("nameserver ::1%lo", [0, 2]),
        ] {
            site.resolv_conf(&format!("{text}\noptions timeout:1 attempts:1\n"));
            assert_eq!(shares(&discover("x.test", &[]), 2), expected, "{text:?}");
        }
    });
}

/// What `localhost` is, no server is asked, or it could redirect to itself what is meant for this machine.
#[test]
fn localhost_as_target_never_leaves_the_machine() {
    isolated(localhost_as_target_never_leaves_the_machine, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _trap: [Backend; 1] = members();
        let mut local =
            Backend::dead_at(SocketAddr::from(([127, 0, 0, 1], 2379))).expect("bind 2379");
        local.up_tagged(b'2');
        dns.publish(&format!(
            "{PLAIN} SRV 0 0 2379 localhost\nlocalhost A 127.1.0.1"
        ));
        assert_eq!(shares(&discover("x.test", &[]), 4), [0, 4]);
        assert_eq!(dns.asked("localhost"), 0);
    });
}

/// RFC 2782: a target of "." says that there is decidedly no such service.
#[test]
fn root_as_target_means_no_service() {
    isolated(root_as_target_means_no_service, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 1] = members();
        publish(&dns, &format!("{PLAIN} SRV 0 0 0 ."));
        let outcome = launch("x.test", &[]).run();
        expect_refusal(&outcome, &[PLAIN, "not available"]);
        // It says so for one service only.
        let tls = srv("_etcd-client-ssl._tcp.x.test", &[1]);
        publish(&dns, &format!("{PLAIN} SRV 0 0 0 .\n{tls}"));
        assert_eq!(shares(&discover("x.test", &[]), 2), [2]);
    });
}

/// Every way to learn nothing has its own words; the names asked and a remedy are always among them.
#[test]
fn nothing_found_names_owners_classes_and_remedy() {
    const CASES: &[(Fault, &[&str])] = &[
        (Fault::Rcode(NXDOMAIN), &["NXDOMAIN", "publish"]),
        (Fault::Empty, &["NODATA", "publish"]),
        (Fault::Rcode(SERVFAIL), &["SERVFAIL", "/etc/resolv.conf"]),
        (Fault::Rcode(REFUSED), &["REFUSED", "/etc/resolv.conf"]),
        (Fault::Truncated, &["truncated", "/etc/resolv.conf"]),
        (Fault::Silent, &["no reply in time", "/etc/resolv.conf"]),
    ];
    isolated(nothing_found_names_owners_classes_and_remedy, |_| {
        let dns = FakeDns::start("127.0.0.1");
        for (fault, words) in CASES {
            dns.fail("x.test", *fault);
            let outcome = launch("x.test", &[]).run();
            let owners = [PLAIN, "_etcd-client-ssl._tcp.x.test", "127.0.0.1:53"];
            expect_refusal(&outcome, &[&owners[..], words].concat());
            dns.mend();
        }
    });
}

#[test]
fn records_without_addresses_are_nothing() {
    isolated(records_without_addresses_are_nothing, |_| {
        let dns = FakeDns::start("127.0.0.1");
        publish(&dns, &format!("{PLAIN} SRV 0 0 2379 nowhere.test"));
        let outcome = launch("x.test", &[]).run();
        expect_refusal(&outcome, &[PLAIN, "address"]);
    });
}

#[test]
fn no_server_at_all_is_nothing() {
    isolated(no_server_at_all_is_nothing, |_| {
        let outcome = launch("x.test", &[]).run();
        expect_refusal(&outcome, &[PLAIN, "onnection refused", "127.0.0.1:53"]);
    });
}

// D2: discovery that gives nothing ends the start; the default endpoint is not what the operator asked for.
#[test]
fn nothing_found_does_not_fall_back_to_the_default() {
    isolated(nothing_found_does_not_fall_back_to_the_default, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let trap = Backend::dead_at(SocketAddr::from(([127, 0, 0, 1], 2379)));
        let mut trap = trap.expect("bind the default endpoint");
        trap.up_tagged(b'!');
        for records in [String::new(), srv(PLAIN, &[1])] {
            publish(&dns, &records);
            let outcome = Launch::start_with(&["--discovery-srv=x.test"]).run();
            assert!(outcome.code.is_some_and(|code| code != 0), "{outcome:?}");
        }
        assert_eq!(launch("absent.test", &[]).run().code, Some(1));
        assert_eq!(trap.accepted(), 0);
    });
}

// D2: the example of etcd's own documentation.
#[test]
fn plain_records_alone_need_consent_and_the_message_says_how() {
    isolated(
        plain_records_alone_need_consent_and_the_message_says_how,
        |_| {
            let dns = FakeDns::start("127.0.0.1");
            let members: [Backend; 1] = members();
            publish(&dns, &srv(PLAIN, &[1]));
            let outcome = Launch::start_with(&["--discovery-srv=x.test"]).run();
            expect_refusal(&outcome, &["_etcd-client-ssl", "--insecure-discovery"]);
            assert_eq!(
                members[0].accepted(),
                0,
                "nobody is dialled before it is trusted"
            );
        },
    );
}

// D18: a flag that can have no effect is named.
#[test]
fn flags_without_discovery_are_named() {
    isolated(flags_without_discovery_are_named, |_| {
        let members: [Backend; 1] = members();
        for flag in ["--insecure-discovery", "--discovery-srv-name=blue"] {
            let gateway = Launch::before(&[members[0].address()], &[flag]).start();
            let name = flag.split('=').next().unwrap_or(flag);
            gateway.wait_line(&format!("{name} has no effect"));
        }
    });
}

/// The gateway finds itself in the records: to start would be to serve nobody.
#[test]
fn records_that_name_the_gateway_are_refused() {
    isolated(records_that_name_the_gateway_are_refused, |_| {
        let dns = FakeDns::start("127.0.0.1");
        publish(&dns, &srv(PLAIN, &[1]));
        for listen in ["127.1.0.1:2379", ":2379"] {
            let outcome = launch("x.test", &[&format!("--listen-addr={listen}")]).run();
            assert!(outcome.code.is_some_and(|code| code != 0), "{outcome:?}");
            let wanted = "should not resolve to the gateway listen addr";
            assert!(outcome.stderr.contains(wanted), "{outcome:?}");
        }
    });
}
