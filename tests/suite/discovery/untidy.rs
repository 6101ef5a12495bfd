//! Name servers that answer, but not as they should: what is good in it is used, and it is quick.

use std::time::{Duration, Instant};

use super::{PLAIN, changes, discover, launch, members, publish, refreshed, shares, srv};
use crate::support::Backend;
use crate::support::dns::{FakeDns, Fault};
use crate::support::isolated::{RESOLV_CONF, isolated};

const PART: &str = "only a part of the records is known, using it";

/// As with the NAT of some virtual machines, for SRV records and for addresses.
#[test]
fn octets_behind_the_answers_cost_no_endpoint() {
    isolated(octets_behind_the_answers_cost_no_endpoint, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1, 2]));
        dns.fail("test", Fault::Untidy);
        let gateway = discover("x.test", &[]);
        assert_eq!(shares(&gateway, 4), [2, 2]);
        let warnings = gateway.lines();
        let warnings = warnings
            .iter()
            .filter(|line| line.contains("will try again"));
        assert_eq!(warnings.count(), 0, "{}", gateway.text());
    });
}

/// The records are more than fit over TCP. A start serves what came; what is known whole stays.
#[test]
fn part_of_an_answer_serves_a_start_and_changes_nothing_later() {
    isolated(
        part_of_an_answer_serves_a_start_and_changes_nothing_later,
        |_| {
            let dns = FakeDns::start("127.0.0.1");
            let _members: [Backend; 3] = members();
            publish(&dns, &srv(PLAIN, &[1, 2, 3]));
            dns.fail(PLAIN, Fault::Part(2));
            let gateway = discover("x.test", &[]);
            assert_eq!(shares(&gateway, 4), [2, 2, 0]);
            let record = gateway.wait_record(PART);
            assert_eq!(record.text("level"), "warn");
            let error = record.text("error");
            for part in [PLAIN, "truncated even over TCP", "127.0.0.1:53"] {
                assert!(error.contains(part), "{error}");
            }
            assert_eq!(record.number("records_used"), 2.0);
            dns.mend();
            refreshed(&gateway, &[3], &[]);
            gateway.wait_record("SRV lookup works again");
            dns.fail(PLAIN, Fault::Part(1));
            gateway.signal("HUP");
            let record = gateway.wait_record("SRV lookup failed, will try again");
            assert_eq!(record.number("records_kept"), 3.0);
            assert_eq!(shares(&gateway, 6), [2, 2, 2]);
            assert_eq!(changes(&gateway).len(), 1, "{}", gateway.text());
        },
    );
}

/// A firewall drops what has EDNS: with one attempt too there is an answer, and waiting for it is over after the first.
#[test]
fn silence_about_edns_costs_the_first_lookup_only() {
    isolated(silence_about_edns_costs_the_first_lookup_only, |site| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        dns.fail("test", Fault::NoEdns);
        site.resolv_conf("nameserver 127.0.0.1\noptions timeout:4 attempts:1\n");
        let start = Instant::now();
        let gateway = discover("x.test", &[]);
        let first = start.elapsed();
        assert!(
            first >= Duration::from_secs(1),
            "half of its time: {first:?}"
        );
        assert_eq!(shares(&gateway, 2), [2, 0]);
        publish(&dns, &srv(PLAIN, &[1, 2]));
        let start = Instant::now();
        refreshed(&gateway, &[2], &[]);
        let later = start.elapsed();
        assert!(later < Duration::from_secs(1), "{later:?} after {first:?}");
    });
}

/// What is remembered of a server is forgotten again, so that it is asked with EDNS.
#[test]
fn silence_about_edns_is_forgotten() {
    isolated(silence_about_edns_is_forgotten, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        dns.fail("test", Fault::NoEdns);
        let launch = launch("x.test", &[]);
        let gateway = launch.times("edns_memory=0,refresh_pause=20").start();
        let before = dns.asked(PLAIN);
        publish(&dns, &srv(PLAIN, &[1, 2]));
        refreshed(&gateway, &[2], &[]);
        assert_eq!(dns.asked(PLAIN), before + 2, "with EDNS, and without");
    });
}

/// Over UDP and over TCP: the next server answers, long before the time of the first is over.
#[test]
fn flood_of_messages_leads_on_to_the_next_server() {
    isolated(flood_of_messages_leads_on_to_the_next_server, |site| {
        let (flooding, dns) = (FakeDns::start("127.0.0.8"), FakeDns::start("127.0.0.1"));
        let _members: [Backend; 1] = members();
        publish(&dns, &srv(PLAIN, &[1]));
        flooding.fail("test", Fault::Flood);
        for options in ["timeout:30", "timeout:30 use-vc"] {
            let conf = format!("nameserver 127.0.0.8\n{RESOLV_CONF}options {options}\n");
            site.resolv_conf(&conf);
            let start = Instant::now();
            assert_eq!(shares(&discover("x.test", &[]), 2), [2], "{options}");
            let elapsed = start.elapsed();
            assert!(elapsed < Duration::from_secs(3), "{options}: {elapsed:?}");
        }
        assert!(flooding.asked(PLAIN) > 0);
    });
}
