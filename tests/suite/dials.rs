//! Dials that hang: what a black-holed or a slow endpoint costs a client, and what it costs the endpoint.

use std::time::{Duration, Instant};

use crate::loops::Island;
use crate::support::net::{expect_refused, tag};
use crate::support::process::descriptors;
use crate::support::{AT_ONCE, Backend, BlackHole, Gateway, Launch, SOON, eventually};

fn gateway_before(hole: &BlackHole, good: &Backend, flags: &[&str]) -> Gateway {
    Launch::before(&[hole.address(), good.address()], flags).start()
}

/// How many of `clients`, one after the other, had to wait out most of a head start.
fn delayed(gateway: &Gateway, clients: usize) -> usize {
    let waits = (0..clients).map(|_| tag(gateway.address()).1);
    waits
        .filter(|wait| *wait >= Duration::from_millis(200))
        .count()
}

// REFERENCE 0, "first endpoint swallows SYNs"; D7.
#[test]
fn endpoint_that_swallows_syns_costs_a_client_a_moment() {
    let (hole, good) = (BlackHole::new(), Backend::tagged(b'g'));
    let gateway = gateway_before(&hole, &good, &[]);
    for client in 0..4 {
        let (tag, waited) = tag(gateway.address());
        assert_eq!(tag, b'g');
        // 250 ms of head start for the hole, and slack for two busy cores.
        assert!(waited < AT_ONCE, "client {client} waited {waited:?}");
    }
}

/// Only the first client pays: while the hole's dial is undecided, it is nobody's first choice.
#[test]
fn undecided_endpoint_is_nobodys_first_choice() {
    let (hole, good) = (BlackHole::new(), Backend::tagged(b'g'));
    let gateway = gateway_before(&hole, &good, &["--dial-timeout=30s"]);
    let late = delayed(&gateway, 21);
    // One pays; the others of these few are a busy machine's.
    assert!(late <= 4, "{late} of 21 clients were delayed");
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "nothing is known yet:\n{}",
        gateway.text()
    );
}

#[test]
fn endpoint_that_swallows_syns_is_deactivated_by_its_own_timeout() {
    let (hole, good) = (BlackHole::new(), Backend::tagged(b'g'));
    let gateway = gateway_before(&hole, &good, &["--dial-timeout=1s"]);
    let start = Instant::now();
    // Two clients, so that one of them had the hole as its first choice.
    tag(gateway.address());
    tag(gateway.address());
    let record = gateway.wait_record("deactivated endpoint");
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "deactivated before its dial timed out"
    );
    assert_eq!(record.text("address"), hole.address().to_string());
    assert!(
        record.text("error").contains("tim"),
        "the reason is a timeout: {record:?}"
    );
    // From now on nobody waits for it.
    let late = delayed(&gateway, 20);
    assert!(
        late <= 4,
        "{late} of 20 clients waited for an endpoint known to be dead"
    );
}

/// The endpoint answers, but after the race is lost: it lives, so it stays active and gets its share.
#[test]
fn slow_endpoint_is_not_deactivated_by_losing_a_race() {
    let (hole, good) = (BlackHole::new(), Backend::tagged(b'g'));
    let gateway = gateway_before(&hole, &good, &["--dial-timeout=10s", "--retry-delay=1h"]);
    assert_eq!(
        [tag(gateway.address()).0, tag(gateway.address()).0],
        [b'g', b'g']
    );
    // The dial that lost is still under way; its SYN is sent again within a second or three, and answered.
    let _slow = hole.open(b's');
    eventually(SOON, "the slow endpoint is chosen again", || {
        (tag(gateway.address()).0 == b's').then_some(())
    });
    let tags: Vec<u8> = (0..10).map(|_| tag(gateway.address()).0).collect();
    let share = tags.iter().filter(|&&tag| tag == b's').count();
    assert_eq!(share, 5, "the slow endpoint has its full share");
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "it never failed:\n{}",
        gateway.text()
    );
}

#[test]
fn two_black_holes_cost_two_head_starts() {
    let (one, two, good) = (BlackHole::new(), BlackHole::new(), Backend::tagged(b'g'));
    let gateway = Launch::before(&[one.address(), two.address(), good.address()], &[]).start();
    for client in 0..6 {
        let (_, waited) = tag(gateway.address());
        assert!(
            waited < AT_ONCE + Duration::from_millis(250),
            "client {client} waited {waited:?}"
        );
    }
}

/// The deadline holds for all attempts of one client together.
#[test]
fn client_is_refused_when_the_dial_timeout_has_passed() {
    let (one, two) = (BlackHole::new(), BlackHole::new());
    let gateway = Launch::before(&[one.address(), two.address()], &["--dial-timeout=1s"]).start();
    let start = Instant::now();
    expect_refused(gateway.address());
    let waited = start.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_millis(2500)).contains(&waited),
        "refused after {waited:?}"
    );
}

/// A client that gives up while its dial hangs leaves nothing behind.
#[test]
fn client_that_leaves_during_the_dial_is_forgotten() {
    let hole = BlackHole::new();
    let gateway = Launch::before(&[hole.address()], &["--dial-timeout=1s"]).start();
    let before = descriptors(gateway.pid());
    for _ in 0..10 {
        drop(gateway.connect());
    }
    eventually(SOON, "descriptors are as before", || {
        (descriptors(gateway.pid()) <= before).then_some(())
    });
}

/// Where IPv6 is switched off, connect(2) says what it says when no port is left. That is no lack of this host's,
/// which would pass: the endpoint cannot be reached from here, and nobody waits for it.
#[test]
fn endpoint_of_a_family_that_is_switched_off_is_inactive() {
    let off = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";
    let endpoints = "--endpoints=[2001:db8::1]:2379,[2001:db8::2]:2379";
    let listen = "--listen-addr=127.0.0.1:4000";
    let Some(island) = Island::start(off, &[listen, endpoints, "--retry-delay=1h"]) else {
        return;
    };
    assert_eq!(island.client(), "");
    let record = island.gateway.wait_record("rejected client");
    assert_eq!(record.text("reason"), "unreachable");
    let record = island.gateway.wait_record("deactivated endpoint");
    let error = "dial tcp [2001:db8::1]:2379: connect: network is unreachable";
    assert_eq!(record.text("error"), error);
}
