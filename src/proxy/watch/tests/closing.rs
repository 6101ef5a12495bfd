//! Sessions whose endpoint is removed, unhealthy or silent.

use super::*;

#[test]
fn an_unanswered_client_is_reset_if_another_endpoint_answers() {
    let fixture = Fixture::new(2, BOUNDS);
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    rounds.step(&fixture.proxy, fixture.news(), now);
    fixture.silence();
    rounds.step(&fixture.proxy, Inbox::default(), now + 5 * SECOND - MS);
    assert!(is_open(&client), "it has the time of a dial");
    // No memory is needed for that.
    let _refused = memory::tests::refuse();
    rounds.step(&fixture.proxy, Inbox::default(), now + 5 * SECOND);
    assert!(is_reset(client));
}

/// All have stopped, and only one of them has a client.
#[test]
fn an_unanswered_client_is_kept_while_no_other_endpoint_is_known_to_answer() {
    let fixture = Fixture::new(2, BOUNDS);
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    rounds.step(&fixture.proxy, fixture.news(), now);
    fixture.proxy.pool.probed(fixture.addrs[0], None);
    let silent = Instant::now();
    eventually("it takes a moment", || silent.elapsed() > 10 * MS);
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_open(&client));
    assert!(fixture.is_asked(), "the other");
    fixture
        .proxy
        .pool
        .probed(fixture.addrs[1], Some(Instant::now()));
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_reset(client));
}

#[test]
fn connections_to_an_unhealthy_endpoint_are_reset_once() {
    let delay = 10 * MS;
    let fixture = Fixture::new(
        2,
        Bounds {
            answer_timeout: Duration::ZERO,
            close_unhealthy: Some(delay),
            ..BOUNDS
        },
    );
    let [sick, other] = [fixture.addrs[0], fixture.addrs[1]];
    let pool = &fixture.proxy.pool;
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    fixture.silence();
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_reset(client));
    assert_eq!(rounds.closed.len(), 1);
    // What happens to the other makes it no new doubt.
    let refused = crate::dial::ErrorKind::Connect(std::io::Error::from_raw_os_error(111)).at(other);
    pool.failed(other, Instant::now(), &refused);
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert_eq!(rounds.closed.len(), 1);
    let (client, _endpoint) = fixture.client(b"x");
    pool.succeeded(other, Instant::now());
    pool.first_answer(other, Instant::now());
    let back = Instant::now();
    eventually("it takes a moment", || back.elapsed() > 2 * delay);
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(is_open(&client), "once for each time");
    pool.probed(sick, Some(Instant::now()));
    rounds.step(&fixture.proxy, Inbox::default(), now + HOUR);
    assert!(rounds.closed.is_empty());
}

/// Members that were unhealthy together are found well one after the other.
#[test]
fn the_first_endpoint_that_recovers_costs_the_others_no_connection() {
    let delay = HOUR;
    let fixture = Fixture::new(
        2,
        Bounds {
            close_unhealthy: Some(delay),
            ..BOUNDS
        },
    );
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    let pool = &fixture.proxy.pool;
    let check = |addr, passed| {
        let (checked, error) = match passed {
            true => (crate::endpoint::stats::Checked::Passed, None),
            false => (
                crate::endpoint::stats::Checked::Failed,
                Some("503".to_owned()),
            ),
        };
        pool.checked(addr, checked, !passed, error);
    };
    fixture.addrs.iter().for_each(|addr| check(*addr, false));
    check(fixture.addrs[1], true);
    let back = Instant::now();
    eventually("it takes a moment", || back.elapsed() > 10 * MS);
    rounds.step(&fixture.proxy, Inbox::default(), now + 2 * delay);
    assert!(is_open(&client) && rounds.closed.is_empty());
}

#[test]
fn connections_to_a_removed_endpoint_are_reset_in_time_unless_it_is_back() {
    let settings = Bounds {
        close_removed: Some(60 * SECOND),
        ..BOUNDS
    };
    for is_back in [false, true] {
        let fixture = Fixture::new(2, settings);
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let (client, _endpoint) = fixture.client(b"x");
        fixture.endpoints(&fixture.addrs[1..]);
        fixture.proxy.removed(vec![fixture.addrs[0]]);
        // News of that kind are heard at once.
        let news = fixture.proxy.notices.wait(None, false);
        rounds.step(&fixture.proxy, news, now);
        if is_back {
            fixture.endpoints(&fixture.addrs);
        }
        rounds.step(&fixture.proxy, Inbox::default(), now + 60 * SECOND - MS);
        assert!(is_open(&client));
        let session = fixture.proxy.sessions.all().last().unwrap();
        rounds.step(&fixture.proxy, Inbox::default(), now + 60 * SECOND);
        match is_back {
            true => assert!(is_open(&client)),
            false => {
                assert_eq!(session.relay().unwrap().cause(), Cause::Removed);
                assert!(is_reset(client));
            }
        }
        assert!(rounds.removed.values().all(Option::is_none));
    }
}

#[test]
fn a_session_reports_that_its_endpoint_was_removed_during_the_dial() {
    let settings = Bounds {
        close_removed: Some(60 * SECOND),
        ..BOUNDS
    };
    let times = Times {
        head_start: MS,
        ..Times::REAL
    };
    let (fixture, hole) = (
        Fixture::new(0, Bounds { times, ..settings }),
        BlackHole::new(),
    );
    fixture.endpoints(&[hole.addr]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    let (accepted, peer) = listener.accept().unwrap();
    session::start(&fixture.proxy, accepted, Arrival::now(peer, addr));
    eventually("it is dialled", || {
        fixture.proxy.pool.views()[0].state == EndpointState::Slow
    });
    fixture.endpoints(&[]);
    hole.listener.set_nonblocking(true).unwrap();
    let mut accepted = Vec::new();
    // The kernel tries again after a second.
    eventually("it tells", || {
        accepted.extend(hole.listener.accept());
        fixture.news().late == [hole.addr]
    });
}

/// Its dial had begun before.
#[test]
fn a_session_connected_to_a_removed_endpoint_is_reset_in_time() {
    let delay = 60 * SECOND;
    let fixture = Fixture::new(
        1,
        Bounds {
            close_removed: Some(delay),
            ..BOUNDS
        },
    );
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    fixture.endpoints(&[]);
    let notices = &fixture.proxy.notices;
    notices.late(fixture.addrs[0]);
    rounds.step(&fixture.proxy, fixture.news(), now);
    rounds.step(&fixture.proxy, Inbox::default(), now + delay);
    assert!(is_open(&client), "its removal was not reported");
    // What was reported long ago is remembered.
    fixture.proxy.removed(vec![fixture.addrs[0]]);
    rounds.step(&fixture.proxy, fixture.news(), now);
    rounds.removed.values_mut().for_each(|due| *due = None);
    notices.late(fixture.addrs[0]);
    rounds.step(&fixture.proxy, fixture.news(), now + delay);
    rounds.step(&fixture.proxy, Inbox::default(), now + 2 * delay - MS);
    assert!(is_open(&client));
    rounds.step(&fixture.proxy, Inbox::default(), now + 2 * delay);
    assert!(is_reset(client));
}

#[test]
fn connections_to_other_endpoints_are_not_reset() {
    let fixture = Fixture::new(
        2,
        Bounds {
            close_removed: Some(60 * SECOND),
            ..BOUNDS
        },
    );
    let (mut rounds, now) = (Rounds::default(), Instant::now());
    let (client, _endpoint) = fixture.client(b"x");
    fixture.endpoints(&fixture.addrs[..1]);
    fixture.proxy.removed(vec![fixture.addrs[1]]);
    rounds.step(&fixture.proxy, fixture.news(), now);
    rounds.step(&fixture.proxy, Inbox::default(), now + 60 * SECOND);
    assert!(is_open(&client) && rounds.removed.values().all(Option::is_none));
}
