//! For how long an answer is valid, and how a deadline is shared.

use std::time::{Duration, Instant};

use super::fake::{A, Net, script};
use super::{AMPLE, Bench};
use crate::dns::servers::{half_way, share};

/// An answer is valid for the shortest TTL of all records that lead to it.
#[test]
fn the_shortest_ttl_of_aliases_across_replies_counts() {
    for (ttls, shortest) in [
        ([10, 20, 30], 10),
        ([20, 10, 30], 10),
        ([20, 30, 10], 10),
        ([200_000; 3], 86_400),
    ] {
        let net = Net::new(vec![script(move |asked| {
            let (reply, [a, b, c]) = (asked.reply(), ttls);
            match (asked.name.as_str(), asked.qtype) {
                ("a.test.", _) => reply.cname("a.test", a, "b.test").send(),
                ("b.test.", _) => reply.cname("b.test", b, "c.test").send(),
                (_, A) => reply.a("c.test", c, "192.0.2.3").send(),
                _ => reply.soa("test", c, c).send(),
            }
        })]);
        let bench = Bench::new(net, "");
        let until = Instant::now() + AMPLE;
        let found = bench.resolver.lookup_host("a.test", until).unwrap();
        assert_eq!(found.ttl, Duration::from_secs(shortest), "{ttls:?}");
        let [a, b, c] = ttls;
        let nothing = bench.resolver.lookup_srv("a.test", until).unwrap_err();
        assert_eq!(nothing.negative_ttl, Some(a.min(b).min(c)), "{ttls:?}");
    }
}

#[test]
fn the_shorter_ttl_of_both_address_families_counts() {
    for (a, aaaa, shorter) in [(50, 60, 50), (60, 50, 50), (90_000, 90_000, 86_400)] {
        let net = Net::new(vec![script(move |asked| match asked.qtype {
            A => asked.reply().a(&asked.name, a, "192.0.2.1").send(),
            _ => asked.reply().aaaa(&asked.name, aaaa, "2001:db8::1").send(),
        })]);
        let bench = Bench::new(net, "");
        let found = bench.resolver.lookup_host("a.test", Instant::now() + AMPLE);
        assert_eq!(found.unwrap().ttl, Duration::from_secs(shorter));
    }
}

#[test]
fn a_deadline_is_shared_by_the_servers_of_a_round_and_the_rounds_after_it() {
    // (milliseconds left, servers after this one, rounds after this one, timeout, share)
    let cases = [
        (10_000, 0, 0, 5_000, 5_000),
        (5_001, 0, 0, 5_000, 5_000),
        (4_999, 0, 0, 5_000, 4_999),
        (10_000, 1, 0, 5_000, 5_000),
        (9_000, 1, 0, 5_000, 4_500),
        (9_000, 2, 0, 5_000, 3_000),
        // All further rounds have one share together.
        (9_000, 0, 1, 5_000, 4_500),
        (9_000, 0, 4, 5_000, 4_500),
        (9_000, 2, 1, 5_000, 2_250),
        (9_000, 2, 4, 2_000, 2_000),
        (0, 2, 1, 5_000, 0),
    ];
    for (left, after, rounds, timeout, expected) in cases {
        let [left, timeout, expected] = [left, timeout, expected].map(Duration::from_millis);
        let share = share(left, after, rounds, timeout);
        assert_eq!(share, expected, "{left:?} {after} {rounds}");
    }
}

#[test]
fn a_name_of_the_search_list_has_half_of_the_time_that_is_left() {
    let now = Instant::now();
    for (left, half) in [(0, 0), (1, 1), (2, 2), (3_000, 3_000)] {
        let deadline = now + 2 * Duration::from_micros(left);
        assert_eq!(half_way(now, deadline), now + Duration::from_micros(half));
    }
    let past = now - Duration::from_secs(1);
    assert_eq!(half_way(now, past), now, "nothing is left");
}
