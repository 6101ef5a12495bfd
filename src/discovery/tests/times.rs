//! When the next refresh comes.

use super::*;

pub(super) const S: Duration = Duration::from_secs(1);

/// The pause is this long, less a random tenth and the time that the test takes.
#[track_caller]
pub(super) fn assert_pause(bench: &Bench, longest: Duration) {
    let pause = bench.pause();
    let shortest = longest * 9 / 10 - S / 2;
    assert!(pause <= longest && pause >= shortest, "{pause:?}");
}

#[test]
fn the_shortest_time_to_live_of_an_answer_counts() {
    let mut bench = Bench::new(srv());
    bench.members(&[1, 2], &[]);
    for (ttl, seconds) in [(0, 5), (1, 5), (20, 20), (299, 299), (86_400, 300)] {
        bench.zone().ttl = ttl;
        bench.refresh();
        assert_pause(&bench, seconds * S);
    }
    for (srv_ttl, ttl) in [(20, 30), (30, 20)] {
        bench.zone().srv_ttl = Some(srv_ttl);
        bench.zone().ttl = ttl;
        bench.refresh();
        assert_pause(&bench, 20 * S);
    }
    bench.zone().srv_ttl = None;
    bench.zone().ttl = 200;
    bench.zone().minimum = Some(100);
    bench.refresh();
    // That of the service that does not exist.
    assert_pause(&bench, 100 * S);
}

#[test]
fn a_missing_service_is_looked_up_again_after_its_negative_ttl() {
    let mut bench = Bench::new(srv_or(&["127.1.0.9:1"]));
    bench.members(&[1], &[]);
    bench.refresh();
    for (minimum, seconds) in [(6, 6), (1, 5), (60, 60)] {
        bench.zone().minimum = Some(minimum);
        bench.refresh();
        assert_pause(&bench, seconds * S);
    }
    // A failure says nothing about how long it lasts.
    bench.fail(PLAIN, SERVFAIL);
    bench.zone().minimum = Some(6);
    bench.refresh();
    assert_pause(&bench, 5 * S);
}

#[test]
fn refreshes_that_fail_back_off_until_one_is_complete() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1]);
    bench.refresh();
    assert_pause(&bench, 300 * S);
    bench.fail(PLAIN, SERVFAIL);
    for seconds in [5, 10, 20, 40, 60, 60] {
        bench.refresh();
        assert_pause(&bench, seconds * S);
    }
    assert_eq!(bench.counts(), (1, 6));
    bench.mend();
    bench.refresh();
    assert_pause(&bench, 300 * S);
    bench.fail("m1.test", SERVFAIL);
    bench.refresh();
    assert_pause(&bench, 5 * S);
    assert_eq!(bench.counts(), (2, 7));
}

#[test]
fn gateways_with_the_same_records_do_not_ask_at_the_same_moment() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1]);
    let mut pauses: Vec<Duration> = (0..50)
        .map(|_| {
            bench.refresh();
            assert_pause(&bench, 300 * S);
            bench.pause()
        })
        .collect();
    pauses.sort();
    assert!(pauses[49] - pauses[0] > 10 * S, "{pauses:?}");
    pauses.dedup();
    assert_eq!(pauses.len(), 50);
}

/// Until a request comes: no refresh, no poll of the resolver's files, no authentication.
#[test]
fn literal_addresses_are_not_looked_up_again() {
    let next = |texts: &[&str]| {
        let mut bench = Bench::new(Members::listed(list(texts)));
        bench.step(Ok(false));
        assert_eq!(bench.discovery.refreshes.counts()[0].1, 1);
        bench.discovery.schedule.until()
    };
    assert_eq!(next(&["127.1.0.1:1", "[::1]:1"]), None);
    for others in [
        ["127.1.0.1:1", "localhost:1"],
        ["127.1.0.1:1", "[fe80::1%lo]:1"],
    ] {
        assert!(next(&others).is_some(), "{others:?}");
    }
}

#[test]
fn without_an_active_endpoint_records_are_asked_for_soon() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1, 2]);
    bench.refresh();
    let fail = |bench: &Bench, member: u8| {
        let addr = format!("127.1.0.{member}:1").parse().unwrap();
        let error = dial::ErrorKind::Rejected("down".into()).at(addr);
        bench.pool.failed(addr, Instant::now(), &error);
    };
    fail(&bench, 1);
    bench.refresh();
    assert_pause(&bench, 300 * S);
    fail(&bench, 2);
    bench.refresh();
    assert_pause(&bench, 5 * S);
    // Also after many failed refreshes.
    bench.fail(PLAIN, SERVFAIL);
    for _ in 0..4 {
        bench.refresh();
        assert_pause(&bench, 5 * S);
    }
}

#[test]
fn while_the_fallback_serves_records_are_asked_for_soon() {
    let mut bench = Bench::new(srv_or(&["127.1.0.9:1"]));
    bench.publish("");
    bench.zone().minimum = Some(3600);
    bench.start().unwrap();
    // Files are polled first.
    bench.step(Ok(false));
    assert_pause(&bench, 5 * S);
    for _ in 0..4 {
        bench.refresh();
        assert_pause(&bench, 5 * S);
        assert_eq!(bench.endpoints(), ["9"]);
    }
    bench.members(&[1], &[]);
    bench.refresh();
    assert_eq!(bench.endpoints(), ["1"]);
    // Once more, because the fallback is no longer needed.
    assert_pause(&bench, 5 * S);
    bench.refresh();
    assert_pause(&bench, 300 * S);
}

#[test]
fn names_that_never_had_an_address_are_asked_for_less_and_less_often() {
    let mut bench = Bench::new(Members::listed(list(&["nobody.test:1"])));
    bench.publish("");
    for seconds in [5, 10, 20, 40, 60] {
        bench.refresh();
        assert_pause(&bench, seconds * S);
    }
}

#[test]
fn a_flood_of_requests_asks_once() {
    let times = Times {
        refresh_pause: 3600 * S,
        ..TIMES
    };
    let mut bench = Bench::with(srv(), times, "", entropy);
    bench.members(&[], &[1]);
    bench.step(Ok(false));
    assert_eq!(bench.asked(PLAIN), 1);
    for _ in 0..20 {
        bench.step(Ok(true));
    }
    assert_eq!(bench.asked(PLAIN), 1);
}

#[test]
fn nothing_is_asked_before_its_time() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1]);
    bench.step(Ok(false));
    for _ in 0..5 {
        bench.step(Ok(false));
    }
    assert_eq!(bench.asked(PLAIN), 1);
    bench.step(Ok(true));
    assert_eq!(bench.asked(PLAIN), 2);
    // The request is done.
    bench.step(Ok(false));
    assert_eq!(bench.asked(PLAIN), 2);
}

#[test]
fn a_change_of_the_resolvers_files_is_followed_at_once() {
    let times = Times {
        resolver_look: Duration::ZERO,
        ..TIMES
    };
    let mut bench = Bench::with(Members::listed(list(&["m1.test:1"])), times, "", entropy);
    bench.publish("");
    bench.step(Ok(false));
    assert_eq!(bench.endpoints(), ["1"]);
    let before = bench.asked("m1.test");
    bench.step(Ok(false));
    assert_eq!(bench.asked("m1.test"), before);
    bench.hosts.write("127.1.0.2 m1.test\n");
    bench.step(Ok(false));
    assert_eq!(bench.endpoints(), ["2"]);
    // One refresh for one change.
    let counts = bench.counts();
    bench.step(Ok(false));
    assert_eq!(bench.counts(), counts);
    bench.hosts.write("");
    bench.step(Ok(false));
    assert_eq!(bench.endpoints(), ["1"]);
    assert!(bench.asked("m1.test") > before);
}

#[test]
fn a_change_of_the_endpoints_file_is_used_at_the_second_poll() {
    let file = TempFile::new("127.1.0.1:1");
    let (source, _) = Members::in_file(&file.path, Identity::None).unwrap();
    let times = Times {
        file_look: Duration::ZERO,
        file_look_again: Duration::ZERO,
        ..TIMES
    };
    let mut bench = Bench::with(source, times, "", entropy);
    bench.step(Ok(false));
    assert_eq!(bench.endpoints(), ["1"]);
    file.write("127.1.0.1:1\n127.1.0.2:1");
    bench.step(Ok(false));
    assert_eq!(bench.endpoints(), ["1"]);
    bench.step(Ok(false));
    assert_eq!(bench.endpoints(), ["1", "2"]);
    // A request does not wait for the second poll.
    file.write("127.1.0.3:1 # alone");
    bench.step(Ok(true));
    assert_eq!(bench.endpoints(), ["3"]);
    assert_eq!(*bench.removed.borrow(), ["127.1.0.1:1", "127.1.0.2:1"]);
}

#[test]
fn the_endpoints_file_is_not_polled_before_its_time() {
    let file = TempFile::new("127.1.0.1:1");
    let (source, _) = Members::in_file(&file.path, Identity::None).unwrap();
    let mut bench = Bench::new(source);
    bench.step(Ok(false));
    file.write("127.1.0.2:1 # other");
    for _ in 0..5 {
        bench.step(Ok(false));
    }
    assert_eq!(bench.endpoints(), ["1"]);
}

#[test]
fn members_that_serve_are_authenticated_again_when_it_is_time() {
    for (audit, audited) in [(Duration::ZERO, true), (3600 * S, false)] {
        let times = Times { audit, ..TIMES };
        let mut bench = Bench::with(authenticated(&[]), times, "", entropy);
        bench.members(&[1, 2], &[]);
        bench.start().unwrap();
        assert_eq!(bench.active(), ["1", "2"]);
        let gate = bench.gate.clone().unwrap();
        lock(&gate.impostors).insert("m1.test:1".to_owned());
        let queries = bench.asked(TLS);
        bench.step(Ok(false));
        assert_eq!(bench.asked(TLS), queries, "records have not changed");
        let expected: &[&str] = if audited { &["2"] } else { &["1", "2"] };
        assert_eq!(bench.active(), expected);
        // The last certificate counts.
        let views = bench.pool.views();
        let expires: Vec<_> = views.iter().map(|view| view.stats.not_after()).collect();
        assert_eq!(expires[1] > Some(2), audited, "{expires:?}");
    }
}

#[test]
fn a_change_of_the_set_authenticates_members_again() {
    let mut bench = Bench::new(authenticated(&[]));
    bench.members(&[1, 2], &[]);
    bench.start().unwrap();
    let gate = bench.gate.clone().unwrap();
    let asked = || lock(&gate.asked).drain(..).collect::<Vec<_>>();
    assert_eq!(asked().len(), 2);
    bench.refresh();
    assert_eq!(asked(), [""; 0], "nothing has changed");
    lock(&gate.impostors).insert("m2.test:1".to_owned());
    bench.members(&[2, 3], &[]);
    bench.refresh();
    // The monitor authenticates the new one.
    assert_eq!(asked(), ["m2.test:1"]);
    assert_eq!(bench.endpoints(), ["2", "3"]);
    assert_eq!(bench.active(), [""; 0]);
}

/// The thread never ends.
#[test]
fn a_running_gateway_follows_its_records() {
    let times = Times {
        refresh_min: Duration::from_millis(5),
        refresh_max: Duration::from_millis(10),
        ..TIMES
    };
    let bench = Bench::with(srv(), times, "", entropy);
    bench.members(&[], &[1]);
    let (mut discovery, pool) = (bench.discovery, Arc::new(bench.pool));
    let shared = Arc::clone(&pool);
    let (sender, removed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let removed = |addrs: Vec<SocketAddr>| drop(sender.send(addrs));
        discovery.run(&shared, None, S, &[], removed);
    });
    let wait = |expected: &str| {
        let deadline = Instant::now() + 10 * S;
        let is = |pool: &Pool| {
            let found = pool.endpoints();
            found.len() == 1 && short(found[0].addr) == expected
        };
        while !is(&pool) {
            assert!(Instant::now() < deadline, "{:?}", pool.endpoints());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait("1");
    let publish = |member: u8| {
        let mut zone = lock(&bench.zone);
        for (owner, _, data) in &mut zone.records {
            if owner == PLAIN {
                *data = format!("0 0 1 m{member}.test");
            }
        }
    };
    publish(2);
    wait("2");
    publish(3);
    wait("3");
    let removed: Vec<String> = removed.iter().take(2).flatten().map(short).collect();
    assert_eq!(removed, ["1", "2"]);
}

/// The same if only a request can be the reason.
#[test]
fn a_request_wakes_a_gateway_that_waits() {
    let mut bench = Bench::new(srv());
    bench.members(&[], &[1]);
    bench.step(Ok(false));
    let until = bench.discovery.schedule.until();
    bench.pool.refresh_waker().wake();
    assert!(wait(bench.pool.refresh_waker(), until).unwrap());
    // It is seen once.
    let soon = Instant::now() + Duration::from_millis(1);
    assert!(!wait(bench.pool.refresh_waker(), Some(soon)).unwrap());
    assert!(Instant::now() >= soon);
}
