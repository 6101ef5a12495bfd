//! Lookups that give half of an answer, none, or one of another name take nothing away from clients.

use super::*;

#[test]
fn records_of_another_name_of_the_search_list_do_not_replace_known_ones_in_doubt() {
    let source = Members::in_dns("_etcd._tcp", "", None, Vec::new());
    let search = "search a.example b.example\noptions ndots:5";
    let mut bench = Bench::with(source, TIMES, search, entropy);
    let (a, b) = ("_etcd._tcp.a.example", "_etcd._tcp.b.example");
    bench.publish(&format!("{a} SRV 0 0 1 m1.test.\n{b} SRV 0 0 1 m2.test."));
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
    heard();
    bench.fail(a, SERVFAIL);
    for _ in 0..3 {
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1"]);
    }
    let lines = heard();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(count(&lines, "SRV lookup failed"), 1, "{lines:?}");
    assert_eq!(count(&lines, "records_kept=1"), 1, "{lines:?}");
    assert_eq!(bench.counts(), (1, 3));
    // It is certain that the first name has none any more: then those of the other name count.
    bench.mend();
    bench.publish(&format!("{b} SRV 0 0 1 m2.test."));
    bench.refresh();
    assert_eq!(bench.endpoints(), ["2"]);
    // Doubt about the first name does not stop changes of the second.
    bench.fail(a, SERVFAIL);
    bench.publish(&format!("{b} SRV 0 0 1 m3.test."));
    bench.refresh();
    assert_eq!(bench.endpoints(), ["3"]);
}

#[test]
fn addresses_of_another_name_of_the_search_list_do_not_replace_known_ones_in_doubt() {
    let search = "search a.example b.example\noptions ndots:5";
    let source = Members::listed(list(&["m:1"]));
    let mut bench = Bench::with(source, TIMES, search, entropy);
    bench.publish("m.a.example A 127.1.0.1\nm.b.example A 127.1.0.2");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
    heard();
    bench.fail("m.a.example", SERVFAIL);
    for _ in 0..3 {
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1"]);
    }
    let lines = heard();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(count(&lines, "cannot resolve endpoint"), 1, "{lines:?}");
    assert_eq!(bench.counts(), (1, 3));
    bench.mend();
    bench.publish("m.b.example A 127.1.0.2");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["2"]);
    bench.fail("m.a.example", SERVFAIL);
    bench.publish("m.b.example A 127.1.0.3");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["3"]);
}

#[test]
fn unanswered_lookups_change_nothing() {
    for rcode in [SERVFAIL, 1, 5] {
        let mut bench = Bench::new(srv());
        bench.members(&[1], &[2, 3]);
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "2", "3"]);
        bench.fail(PLAIN, rcode);
        bench.members(&[1], &[3]);
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "2", "3"], "{rcode}");
        assert_eq!(bench.counts(), (1, 1));
    }
    for rcode in [SERVFAIL, NXDOMAIN, 1, 5] {
        let mut bench = Bench::new(srv());
        bench.members(&[1], &[2, 3]);
        bench.refresh();
        bench.fail("m1.test", rcode);
        bench.members(&[1], &[3]);
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "3"], "{rcode}");
        assert_eq!(bench.counts(), (1, 1));
    }
}

#[test]
fn old_addresses_of_an_unanswered_family_stay() {
    let mut bench = Bench::new(Members::listed(list(&["m:1"])));
    bench.publish("m A 127.1.0.1\nm AAAA ::2");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1", "[::2]"]);
    bench.publish("m A 127.1.0.3\nm AAAA ::4");
    bench.fail_type("m", AAAA, SERVFAIL);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["3", "[::2]"]);
    assert_eq!(bench.counts(), (1, 1));
    bench.mend();
    bench.fail_type("m", A, SERVFAIL);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["[::4]", "3"]);
    // A family without addresses is an answer.
    bench.mend();
    bench.publish("m A 127.1.0.3");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["3"]);
}

/// A name that was never answered may be that of a member that serves under another name.
#[test]
fn while_a_new_name_is_unanswered_no_endpoint_is_removed() {
    let cases = [
        (SERVFAIL, &["1", "2"] as &[_]),
        (NXDOMAIN, &["1"]),
        (5, &["1", "2"]),
    ];
    for (rcode, expected) in cases {
        let mut bench = Bench::new(srv());
        bench.members(&[], &[1, 2]);
        bench.refresh();
        bench.publish(&format!(
            "{PLAIN} SRV 0 0 1 m1.test\n{PLAIN} SRV 0 0 1 new.test\nnew.test A 127.1.0.2"
        ));
        bench.fail("new.test", rcode);
        bench.refresh();
        assert_eq!(bench.endpoints(), expected, "{rcode}");
        bench.mend();
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1", "2"]);
    }
}

#[test]
fn an_address_in_both_notations_is_one_endpoint() {
    let mut bench = Bench::new(Members::listed(list(&["m:1", "[::ffff:127.1.0.1]:1"])));
    bench.publish("m A 127.1.0.1\nm AAAA ::ffff:127.1.0.1");
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
    // So is a loop.
    bench.publish("m AAAA ::ffff:127.9.9.9\nm A 127.1.0.2");
    bench.listeners.push("127.9.9.9:1".parse().unwrap());
    bench.refresh();
    assert_eq!(bench.endpoints(), ["2", "1"]);
}

#[test]
fn lowest_priorities_serve_when_there_are_too_many_records() {
    let mut bench = Bench::new(srv());
    let publish = |bench: &Bench, records: u16| {
        // The later ones have the lower priorities.
        let line = |port: u16| format!("{PLAIN} SRV {} 0 {port} m1.test\n", 300 - port);
        bench.publish(&(1..=records).map(line).collect::<String>());
    };
    for (records, used) in [(255, 255), (256, 256), (257, 256), (280, 256)] {
        publish(&bench, records);
        bench.refresh();
        let endpoints = bench.pool.endpoints();
        assert_eq!(endpoints.len(), used, "{records}");
        let first = records + 1 - u16::try_from(used).unwrap();
        let expected: Vec<u16> = (first..=records).rev().collect();
        let ports: Vec<u16> = endpoints.iter().map(|e| e.addr.port()).collect();
        assert_eq!(ports, expected, "those of the lowest priority serve");
        assert_eq!(bench.problems().is_empty(), records <= 256, "{records}");
    }
}

#[test]
fn the_number_of_addresses_is_bounded() {
    let mut bench = Bench::new(Members::listed(list(&["many.test:1", "127.1.0.1:1"])));
    for (addresses, used) in [(1022, 1023), (1023, 1024), (1024, 1024), (1400, 1024)] {
        let line = |number: u16| {
            let [high, low] = number.to_be_bytes();
            format!("many.test A 127.2.{high}.{low}\n")
        };
        bench.publish(&(0..addresses).map(line).collect::<String>());
        bench.refresh();
        assert_eq!(bench.pool.endpoints().len(), used);
        let expected: &[String] = match addresses {
            1022 | 1023 => &[],
            _ => &[format!(
                "{} endpoints are found, of which 1024 are used",
                addresses + 1
            )],
        };
        assert_eq!(bench.problems(), expected);
    }
}

#[test]
fn addresses_under_two_names_are_endpoints_once_and_leave_room_for_others() {
    let source = Members::listed(list(&["many.test:1", "again.test:1", "127.1.0.1:1"]));
    let mut bench = Bench::new(source);
    let line = |n: u16| {
        let address = format!("127.2.{}.{}", n / 256, n % 256);
        format!("many.test A {address}\nagain.test A {address}\n")
    };
    bench.publish(&(0..1000).map(line).collect::<String>());
    bench.refresh();
    let endpoints = bench.endpoints();
    assert_eq!(endpoints.len(), 1001);
    assert_eq!(endpoints[1000], "1");
    assert_eq!(bench.problems(), [""; 0]);
}

#[test]
fn more_given_endpoints_than_are_used_are_a_problem_while_they_serve() {
    let mut bench = Bench::new(srv_or(&["many.test:1"]));
    let line = |n: u16| format!("many.test A 127.2.{}.{}\n", n / 256, n % 256);
    bench.publish(&(0..1025).map(line).collect::<String>());
    bench.refresh();
    assert_eq!(bench.pool.endpoints().len(), 1024);
    let surplus = "1025 endpoints are found, of which 1024 are used".to_owned();
    assert!(bench.problems().contains(&surplus));
    bench.members(&[1], &[]);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
    assert!(!bench.problems().contains(&surplus));
}

#[test]
fn a_silent_service_leaves_time_for_names() {
    let mut bench = Bench::new(srv_or(&["m9.test:1"]));
    bench.publish("");
    for owner in [TLS, PLAIN] {
        bench.fail(owner, SILENCE);
    }
    let Discovery {
        members, resolver, ..
    } = &mut bench.discovery;
    let (endpoints, outcome) = members.look_up(resolver, Duration::from_secs(1));
    assert_eq!((endpoints.len(), outcome.complete), (0, false));
    assert_eq!(bench.discovery.fallback().len(), 1);
}

/// While a name is unanswered, old endpoints stay, but their number is bounded.
#[test]
fn endpoints_kept_in_doubt_are_bounded() {
    let source = Members::listed(list(&["many.test:1", "lost.test:1"]));
    let mut bench = Bench::new(source);
    bench.fail("lost.test", SERVFAIL);
    for network in 2..5 {
        let line = |number: u16| {
            let [high, low] = number.to_be_bytes();
            format!("many.test A 127.{network}.{high}.{low}\n")
        };
        bench.publish(&(0..1000).map(line).collect::<String>());
        bench.refresh();
        let endpoints = bench.pool.endpoints();
        let prefix = format!("127.{network}.");
        let new = endpoints.iter().map(|e| e.addr.to_string());
        let new = new.filter(|addr| addr.starts_with(&prefix)).count();
        let kept = if network == 2 { 0 } else { 24 };
        assert_eq!((new, endpoints.len() - new), (1000, kept));
    }
    // There is room for all old ones that are not found any more.
    let line = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let network = if number < 990 { 4 } else { 5 };
        format!("many.test A 127.{network}.{high}.{low}\n")
    };
    bench.publish(&(0..1000).map(line).collect::<String>());
    bench.refresh();
    let gone = "127.4.3.231".to_owned();
    assert!(
        bench.endpoints().contains(&gone),
        "the last of the old ones"
    );
}

#[test]
fn which_records_name_members() {
    let both = format!("{TLS} SRV 0 0 1 m1.test\n{PLAIN} SRV 0 0 1 m1.test\n");
    let cases: [(String, &[&str], &[&str]); 6] = [
        (format!("{PLAIN} SRV 0 0 1 m1.test"), &["1"], &[]),
        (
            format!("{both}{PLAIN} SRV 0 0 1 m2.test"),
            &["1", "2"],
            &["1"],
        ),
        // A name is the same in any case.
        (
            format!("{TLS} SRV 0 0 1 m1.test\n{PLAIN} SRV 0 0 1 M1.test"),
            &["1"],
            &["1"],
        ),
        // Another port is another member.
        (
            format!("{TLS} SRV 0 0 2 m1.test\n{PLAIN} SRV 0 0 1 m1.test"),
            &["1", "1:2"],
            &["1:2"],
        ),
        // Neither port 0 nor the root name is a member.
        (
            format!("{TLS} SRV 0 0 0 m1.test\n{TLS} SRV 0 0 1 .\n{TLS} SRV 0 0 1 m3.test"),
            &["3"],
            &["3"],
        ),
        (
            format!("{TLS} SRV 2 0 1 m1.test\n{TLS} SRV 1 0 1 m2.test\n{PLAIN} SRV 0 0 1 M3.test"),
            &["3", "2", "1"],
            &["2", "1"],
        ),
    ];
    for (records, insecure, secure) in cases {
        for (source, expected) in [(srv(), insecure), (authenticated(&[]), secure)] {
            let mut bench = Bench::new(source);
            bench.publish(&records);
            bench.refresh();
            let mut found = bench.endpoints();
            let mut expected = expected.to_vec();
            // Members of equal priority are in the order of their hosts, which is not under test.
            if !records.contains("SRV 2") {
                found.sort();
                expected.sort_unstable();
            }
            assert_eq!(found, expected, "{records}");
            let wanted = bench.gate.as_ref().map(|_| "x.test");
            for endpoint in bench.pool.endpoints() {
                assert_eq!(endpoint.identity.as_deref(), wanted);
                assert_eq!(endpoint.name, endpoint.name.to_ascii_lowercase());
                assert!(
                    endpoint
                        .name
                        .ends_with(&format!(":{}", endpoint.addr.port()))
                );
            }
        }
    }
}

#[test]
fn last_good_records_stay_even_if_endpoints_were_given() {
    let mut bench = Bench::new(srv_or(&["127.1.0.9:1"]));
    bench.members(&[], &[1]);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
    for rcode in [NXDOMAIN, SERVFAIL] {
        bench.fail(PLAIN, rcode);
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1"]);
        bench.mend();
        // Nor is the list used if the records decline the service.
        bench.publish(&format!("{PLAIN} SRV 0 0 0 ."));
        bench.refresh();
        assert_eq!(bench.endpoints(), ["1"]);
        bench.members(&[], &[1]);
        bench.refresh();
    }
}
