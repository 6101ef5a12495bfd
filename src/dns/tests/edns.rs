//! Servers and firewalls that drop queries with EDNS: this is found out once, not by each lookup.

use std::time::{Duration, Instant};

use super::fake::{Act, Asked, Net, script};
use super::{Bench, PATIENCE, good, ips};
use crate::dns::Class;
use crate::dns::message;

const WITH: &str = "s.example. 33";
const WITHOUT: &str = "s.example. 33 plain";

fn answer(asked: &Asked) -> Vec<Act> {
    let reply = asked.reply();
    reply.srv(&asked.name, 9, [0, 0, 1], "t.example").send()
}

/// Drops queries with EDNS.
fn drops(asked: &Asked) -> Vec<Act> {
    match asked.edns {
        true => Vec::new(),
        false => answer(asked),
    }
}

/// Makes so many lookups of one service, which all succeed; returns the queries of each.
fn asked_by(bench: &Bench, lookups: usize) -> Vec<Vec<String>> {
    let lookup = |_| {
        let before = bench.log(0).len();
        assert_eq!(bench.srv("s.example").unwrap().data.len(), 1);
        bench.log(0).split_off(before)
    };
    (0..lookups).map(lookup).collect()
}

#[test]
fn silence_about_edns_is_remembered() {
    for (options, silences) in [
        ("timeout:1", 1),
        ("timeout:1 attempts:1", 1),
        ("timeout:1 attempts:3", 2),
    ] {
        let bench = Bench::new(Net::new(vec![script(drops)]), &format!("options {options}"));
        let first = [vec![WITH; silences], vec![WITHOUT]].concat();
        let start = Instant::now();
        assert_eq!(asked_by(&bench, 1), [first], "{options}");
        assert!(start.elapsed() >= Duration::from_millis(400), "{options}");
        let start = Instant::now();
        assert_eq!(asked_by(&bench, 3), [[WITHOUT]; 3], "{options}");
        assert!(start.elapsed() < Duration::from_millis(400), "{options}");
    }
}

/// The two questions for a host count as one experience.
#[test]
fn silence_about_edns_is_remembered_of_hosts() {
    let net = Net::new(vec![script(|asked| match asked.edns {
        true => Vec::new(),
        false => good(asked),
    })]);
    let bench = Bench::new(net, "options timeout:1");
    for _ in 0..2 {
        assert_eq!(bench.host("a.example"), ips(&["192.0.2.1"]));
    }
    let (a, aaaa) = ("a.example. 1", "a.example. 28");
    let (plain, plain6) = ("a.example. 1 plain", "a.example. 28 plain");
    assert_eq!(bench.log(0), [a, aaaa, plain, plain6, plain, plain6]);
}

#[test]
fn silence_about_edns_is_forgotten_in_time() {
    let bench = Bench::new(Net::new(vec![script(drops)]), "options timeout:1");
    let bench = bench.with_edns_memory(Duration::ZERO);
    assert_eq!(asked_by(&bench, 2), [[WITH, WITHOUT]; 2]);
}

/// A datagram can be lost: one loss does not mean that a server which answered before drops EDNS.
#[test]
fn a_server_that_has_answered_with_edns_is_asked_with_it_again() {
    let net = Net::new(vec![script(|asked| match asked.before {
        1 | 4 | 6 => Vec::new(),
        _ => answer(asked),
    })]);
    let bench = Bench::new(net, "options timeout:1");
    let expected: [&[&str]; 6] = [
        &[WITH],
        &[WITH, WITHOUT],
        &[WITH],
        // Twice in a row.
        &[WITH, WITHOUT],
        &[WITH, WITHOUT],
        &[WITHOUT],
    ];
    assert_eq!(asked_by(&bench, 6), expected);
}

/// EDNS is remembered per server.
#[test]
fn other_servers_are_asked_with_edns() {
    let net = Net::new(vec![script(drops), script(answer)]);
    let bench = Bench::new(net, "options timeout:1 attempts:1");
    asked_by(&bench, 2);
    assert_eq!(bench.log(0), [WITH, WITHOUT, WITHOUT]);
    assert_eq!(bench.log(1), [""; 0]);
    let failing = Net::new(vec![script(drops), script(answer)]);
    let bench = Bench::new(failing, "options timeout:1 rotate");
    for _ in 0..4 {
        assert!(bench.srv("s.example").is_ok());
    }
    assert!(bench.log(1).iter().all(|asked| asked == WITH));
}

/// A single attempt has one half with EDNS and one without, and no more time than configured.
#[test]
fn a_single_attempt_takes_no_longer_than_its_time_out() {
    let net = Net::new(vec![script(|_| Vec::new())]);
    let bench = Bench::new(net, "options timeout:1 attempts:1");
    let start = Instant::now();
    let error = bench.srv("s.example").unwrap_err();
    let elapsed = start.elapsed();
    assert_eq!(error.class, Class::Timeout);
    assert!(
        elapsed >= Duration::from_millis(990) && elapsed < PATIENCE,
        "{elapsed:?}"
    );
    assert_eq!(bench.log(0), [WITH, WITHOUT]);
    // After any reply the server is not asked again.
    let net = Net::new(vec![script(|asked| asked.reply().rcode(2).send())]);
    let bench = Bench::new(net, "options timeout:1 attempts:1");
    assert_eq!(
        bench.srv("s.example").unwrap_err().class,
        Class::Rcode(message::SERVFAIL)
    );
    assert_eq!(bench.log(0), [WITH]);
}

/// A server that is known to answer with EDNS is not asked without: it has all the time.
#[test]
fn a_single_attempt_at_a_server_that_supports_edns_has_all_the_time() {
    let net = Net::new(vec![script(|asked| match asked.before {
        1 | 2 => Vec::new(),
        _ => answer(asked),
    })]);
    let bench = Bench::new(net, "options timeout:1 attempts:1");
    assert!(bench.srv("s.example").is_ok());
    assert_eq!(bench.srv("s.example").unwrap_err().class, Class::Timeout);
    assert_eq!(
        asked_by(&bench, 1),
        [[WITH, WITHOUT]],
        "it is not known any more"
    );
    assert_eq!(bench.log(0), [WITH, WITH, WITH, WITHOUT]);
}
