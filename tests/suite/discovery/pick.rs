//! Priorities and weights of SRV records (RFC 2782), as clients meet them.

use super::{PLAIN, discover, members, publish, served_by, shares, wait_served_by};
use crate::support::Backend;
use crate::support::dns::FakeDns;
use crate::support::isolated::isolated;

/// Records of members 1, 2, … with these priorities and weights.
fn weighted(owner: &str, members: &[(u16, u16)]) -> String {
    members
        .iter()
        .zip(1..)
        .map(|((priority, weight), number)| {
            format!("{owner} SRV {priority} {weight} 2379 m{number}.test\n")
        })
        .collect()
}

// D3: shares are those of the weights, and nobody is starved.
#[test]
fn shares_are_those_of_the_weights() {
    // (weights, clients, exact shares); {1, 1, 1} starves the last under the reference, {2, 1} too, and 33 three
    // times is what CoreDNS publishes for three pods.
    const CASES: &[([u16; 3], usize, [usize; 3])] = &[
        ([60, 30, 10], 300, [180, 90, 30]),
        ([60, 30, 10], 55, [33, 16, 6]),
        ([1, 1, 1], 100, [33, 33, 33]),
        ([33, 33, 33], 100, [33, 33, 33]),
        ([0, 0, 0], 100, [33, 33, 33]),
        ([2, 1, 3], 60, [20, 10, 30]),
        ([65535, 1, 65535], 80, [40, 0, 40]),
    ];
    isolated(shares_are_those_of_the_weights, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 3] = members();
        for (weights, clients, exact) in CASES {
            publish(&dns, &weighted(PLAIN, &weights.map(|weight| (0, weight))));
            let shares: [usize; 3] = shares(&discover("x.test", &[]), *clients);
            let near = shares
                .iter()
                .zip(exact)
                .all(|(share, exact)| share.abs_diff(*exact) <= 1);
            assert!(
                near,
                "{weights:?}, {clients} clients: {shares:?}, exactly {exact:?}"
            );
        }
    });
}

// D3: the reference gives everything to the first of two members of weight 1, which is what Consul publishes.
#[test]
fn two_members_of_weight_one_share_evenly() {
    isolated(two_members_of_weight_one_share_evenly, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &weighted(PLAIN, &[(1, 1), (1, 1)]));
        assert_eq!(shares(&discover("x.test", &[]), 100), [50, 50]);
    });
}

#[test]
fn weight_zero_beside_others_is_rare_but_not_starved() {
    isolated(weight_zero_beside_others_is_rare_but_not_starved, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &weighted(PLAIN, &[(0, 0), (0, 1)]));
        let [zero, _]: [usize; 2] = shares(&discover("x.test", &[]), 500);
        assert!((1..=25).contains(&zero), "{zero} of 500");
    });
}

/// A refresh that changes nothing changes no share either, or members with a small one would never be picked where
/// clients are fewer than refreshes.
#[test]
fn shares_hold_across_refreshes() {
    isolated(shares_hold_across_refreshes, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 2] = members();
        publish(&dns, &weighted(PLAIN, &[(0, 2), (0, 1)]));
        let gateway = discover("x.test", &[]);
        let mut served = served_by(&gateway, 1);
        // The first refresh is in effect when the second one asks.
        for _ in 0..2 {
            let before = dns.asked(PLAIN);
            gateway.signal("HUP");
            dns.wait_asked(PLAIN, before);
        }
        served += &served_by(&gateway, 1);
        assert_eq!(served, "12");
    });
}

// D4: the reference spreads over all priorities where weights are 0, as in the guide's own records.
#[test]
fn only_the_lowest_priority_is_used() {
    isolated(only_the_lowest_priority_is_used, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let _members: [Backend; 3] = members();
        for weight in [0, 1, 100] {
            publish(
                &dns,
                &weighted(PLAIN, &[(2, weight), (1, weight), (3, weight)]),
            );
            assert_eq!(shares(&discover("x.test", &[]), 30), [0, 30, 0]);
        }
    });
}

// D4: a class is left when its last member fails, and taken up again when one is back.
#[test]
fn next_priority_serves_while_the_lowest_is_down() {
    isolated(next_priority_serves_while_the_lowest_is_down, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let mut members: [Backend; 4] = members();
        publish(
            &dns,
            &weighted(PLAIN, &[(10, 0), (10, 0), (20, 0), (20, 0)]),
        );
        let gateway = discover("x.test", &["--retry-delay=100ms"]);
        assert_eq!(shares(&gateway, 10), [5, 5, 0, 0]);
        members[0].down();
        assert_eq!(shares(&gateway, 10), [0, 10, 0, 0]);
        members[1].down();
        assert_eq!(shares(&gateway, 10), [0, 0, 5, 5]);
        members[1].up_tagged(b'2');
        wait_served_by(&gateway, 2);
        assert_eq!(shares(&gateway, 10), [0, 10, 0, 0]);
        members[0].up_tagged(b'1');
        wait_served_by(&gateway, 1);
        assert_eq!(shares(&gateway, 10), [5, 5, 0, 0]);
    });
}

/// A member that is down gives its share to the others in proportion to theirs.
#[test]
fn weights_hold_among_those_that_are_left() {
    isolated(weights_hold_among_those_that_are_left, |_| {
        let dns = FakeDns::start("127.0.0.1");
        let mut members: [Backend; 3] = members();
        publish(&dns, &weighted(PLAIN, &[(0, 60), (0, 30), (0, 10)]));
        let gateway = discover("x.test", &[]);
        members[0].down();
        // The client that finds it down may be counted for either.
        served_by(&gateway, 1);
        let [first, second, third]: [usize; 3] = shares(&gateway, 100);
        assert_eq!(first, 0);
        assert!(
            second.abs_diff(75) <= 1 && third.abs_diff(25) <= 1,
            "{second}, {third}"
        );
    });
}
