//! Endpoints that fail and return: when they are deactivated and activated, and that clients are served as long as any
//! endpoint answers.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::net::{expect_echo, expect_refused, tag, try_tag};
use crate::support::{AT_ONCE, Backend, End, Gateway, SOON, eventually, expect_end, send};

// REFERENCE 0, "only endpoint down for a moment, then up again"; D8.
#[test]
fn first_client_after_the_only_endpoint_returns_is_served() {
    let mut only = Backend::tagged(b'o');
    let gateway = Gateway::before(&[&only], &["--retry-delay=1m"]);
    tag(gateway.address());
    only.down();
    expect_refused(gateway.address());
    let record = gateway.wait_record("deactivated endpoint");
    assert_eq!(record.text("address"), only.address().to_string());
    let left = ["active_endpoints", "endpoints"].map(|key| record.number(key));
    assert_eq!(left, [0.0, 1.0], "{record:?}");
    // As long as a restart of etcd takes: the outage is the fault under test.
    std::thread::sleep(Duration::from_secs(1));
    expect_refused(gateway.address());
    only.up_tagged(b'o');
    let (tag, waited) = tag(gateway.address());
    assert_eq!(tag, b'o');
    assert!(waited < AT_ONCE, "served after {waited:?}");
    let record = gateway.wait_record("activated");
    assert!(record.number("after_seconds") >= 1.0, "{record:?}");
}

// D8: the same for a cluster that restarts as a whole.
#[test]
fn first_client_after_a_whole_cluster_returns_is_served() {
    let [mut a, mut b, mut c] = [b'a', b'b', b'c'].map(Backend::tagged);
    let gateway = Gateway::before(&[&a, &b, &c], &["--retry-delay=1m"]);
    tag(gateway.address());
    for endpoint in [&mut a, &mut b, &mut c] {
        endpoint.down();
    }
    for _ in 0..5 {
        expect_refused(gateway.address());
    }
    // Only one is back: the client's dial finds it, whichever it is.
    b.up_tagged(b'b');
    for _ in 0..5 {
        let (tag, waited) = tag(gateway.address());
        assert_eq!(tag, b'b');
        assert!(waited < AT_ONCE, "served after {waited:?}");
    }
}

#[test]
fn endpoint_that_refuses_costs_no_client_anything() {
    let (dead, good) = (Backend::dead(), Backend::tagged(b'g'));
    // Of two clients one has the dead endpoint as its first choice. A head start waited for in vain would show
    // each time; a moment lost to a busy machine does not.
    let slower_of_two = || {
        let gateway = Gateway::before(&[&dead, &good], &["--retry-delay=1m"]);
        let waits = [(); 2].map(|()| tag(gateway.address()).1);
        gateway.wait_record("deactivated endpoint");
        waits[0].max(waits[1])
    };
    let best = (0..5).map(|_| slower_of_two()).min().expect("five rounds");
    assert!(
        best < Duration::from_millis(200),
        "waited {best:?} for a port that refuses"
    );
}

#[test]
fn inactive_endpoint_is_retried_after_the_retry_delay_and_shares_again() {
    let (mut back, good) = (Backend::dead(), Backend::tagged(b'g'));
    let gateway = Gateway::before(&[&back, &good], &["--retry-delay=500ms"]);
    tag(gateway.address());
    tag(gateway.address());
    gateway.wait_record("deactivated endpoint");
    back.up_tagged(b'b');
    let record = gateway.wait_record("activated");
    assert_eq!(record.text("address"), back.address().to_string());
    let tags: Vec<u8> = (0..10).map(|_| tag(gateway.address()).0).collect();
    assert_eq!(
        tags.iter().filter(|&&tag| tag == b'b').count(),
        5,
        "{tags:?}"
    );
}

#[test]
fn inactive_endpoint_is_left_alone_while_others_serve() {
    let (mut back, good) = (Backend::dead(), Backend::tagged(b'g'));
    let gateway = Gateway::before(&[&back, &good], &["--retry-delay=1h"]);
    tag(gateway.address());
    tag(gateway.address());
    gateway.wait_record("deactivated endpoint");
    back.up_tagged(b'b');
    let tags: Vec<u8> = (0..10).map(|_| tag(gateway.address()).0).collect();
    assert_eq!(tags, [b'g'; 10]);
    assert_eq!(back.accepted(), 0, "not dialed before its time");
}

/// Retries go on: an endpoint that is down for several retry delays is not given up.
#[test]
fn endpoint_that_stays_away_long_is_taken_back() {
    let (mut back, good) = (Backend::dead(), Backend::tagged(b'g'));
    let gateway = Gateway::before(&[&back, &good], &["--retry-delay=20ms"]);
    tag(gateway.address());
    tag(gateway.address());
    gateway.wait_record("deactivated endpoint");
    // About ten failed retries; none of them is a change, so none is logged.
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(
        gateway.records("deactivated endpoint").len(),
        1,
        "{}",
        gateway.text()
    );
    back.up_tagged(b'b');
    gateway.wait_record("activated");
}

// D9: refused with a reset and with a reason in the log, not in silence.
#[test]
fn all_endpoints_dead_is_a_reset_and_a_logged_reason() {
    let dead = [Backend::dead(), Backend::dead(), Backend::dead()];
    let gateway = Gateway::before(&dead.each_ref(), &[]);
    expect_refused(gateway.address());
    let record = gateway.wait_record("rejected client");
    assert_eq!(record.text("reason"), "unreachable");
    assert!(
        record.text("client").starts_with("127.0.0.1:"),
        "names the client: {record:?}"
    );
}

/// A thousand rejected clients are not a thousand lines; a state is logged when it changes.
#[test]
fn refusals_are_logged_at_a_bounded_rate_and_states_once() {
    let dead = [Backend::dead(), Backend::dead()];
    let gateway = Gateway::before(&dead.each_ref(), &["--retry-delay=1m"]);
    let start = Instant::now();
    for _ in 0..300 {
        expect_refused(gateway.address());
    }
    let allowed = 10 + 10 * start.elapsed().as_secs();
    let lines = gateway.records("rejected client").len() as u64;
    assert!(
        (1..=allowed).contains(&lines),
        "{lines} lines for 300 refusals:\n{}",
        gateway.text()
    );
    for (message, count) in [("deactivated endpoint", 2), ("no endpoint is active", 1)] {
        let lines = gateway.records(message).len();
        assert_eq!(lines, count, "{message}: {}", gateway.text());
    }
}

/// What an endpoint does after it accepted is between it and its client.
#[test]
fn endpoint_that_accepts_and_resets_passes_the_reset_on_and_stays_active() {
    let endpoint = Backend::serving(|mut stream| {
        // A word first: a reset that overtakes the handshake is a dial that failed, and rightly counts as one.
        let _ = stream.read(&mut [0]);
        socket2::SockRef::from(stream)
            .set_linger(Some(Duration::ZERO))
            .expect("set SO_LINGER to 0");
    });
    let gateway = Gateway::before(&[&endpoint], &[]);
    for _ in 0..5 {
        let client = gateway.connect();
        send(&client, 1, 1);
        expect_end(&client, End::Reset);
    }
    // A reset has the endpoint dialled again, too, but not each of them.
    eventually(SOON, "every client reached it", || {
        (endpoint.accepted() >= 5).then_some(())
    });
    assert!(endpoint.accepted() <= 7, "{}", endpoint.accepted());
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "{}",
        gateway.text()
    );
}

#[test]
fn open_connections_survive_the_failure_of_other_endpoints() {
    let (mut a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let gateway = Gateway::before(&[&a, &b], &[]);
    let clients: Vec<_> = (0..2)
        .map(|_| try_tag(gateway.address()).expect("served"))
        .collect();
    a.down();
    for _ in 0..4 {
        assert_eq!(tag(gateway.address()).0, b'b');
    }
    let (_, on_b) = clients
        .iter()
        .find(|(tag, _)| *tag == b'b')
        .expect("one of the first two is on b");
    expect_echo(on_b, 1);
}

/// Failures under concurrent clients: nobody is refused while one endpoint lives.
#[test]
fn endpoint_dying_under_load_fails_no_new_client() {
    let (mut a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let gateway = Gateway::before(&[&a, &b], &["--retry-delay=100ms"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut served, mut lost) = (0, 0);
                    while !stop.load(Ordering::SeqCst) {
                        match try_tag(gateway.address()) {
                            Ok(_) => served += 1,
                            Err(_) => lost += 1,
                        }
                    }
                    (served, lost)
                })
            })
            .collect();
        let mut lost_at_most = 0;
        for _ in 0..5 {
            // A connection that the endpoint had in hand when it died is lost with it, at most one a lane.
            lost_at_most += lanes.len();
            a.down();
            let seen = b.accepted();
            eventually(SOON, "the other endpoint serves", || {
                (b.accepted() > seen + 20).then_some(())
            });
            a.up_tagged(b'a');
            let seen = a.accepted();
            eventually(SOON, "the endpoint serves again", || {
                (a.accepted() > seen + 5).then_some(())
            });
        }
        stop.store(true, Ordering::SeqCst);
        let totals = lanes
            .into_iter()
            .map(|lane| lane.join().expect("a lane does not panic"));
        let (served, lost) = totals.fold((0, 0), |(served, lost), lane| {
            (served + lane.0, lost + lane.1)
        });
        assert!(served > 100, "only {served} clients");
        assert!(lost <= lost_at_most, "{lost} of {served} clients lost");
    });
}
