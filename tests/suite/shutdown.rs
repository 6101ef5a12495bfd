//! Signals: SIGTERM and SIGINT drain, the deadline resets, a second signal hurries. D16.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::net::{expect_echo, expect_refused, try_tag};
use crate::support::{
    Backend, BlackHole, End, Gateway, Launch, SOON, end_of, eventually, expect_end,
};

/// New connections are refused by the kernel: the listener is closed, not merely unattended.
#[track_caller]
fn assert_listener_closes(address: SocketAddr) {
    eventually(SOON, "new connections are refused", || {
        let error = TcpStream::connect_timeout(&address, SOON).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
}

#[test]
fn idle_gateway_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let endpoint = Backend::tagged(b't');
        let mut gateway = Gateway::before(&[&endpoint], &["--drain-timeout=1h"]);
        gateway.signal(signal);
        let status = gateway.wait_exit(Duration::from_secs(3));
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert_eq!(
            gateway
                .wait_record("received signal, draining")
                .text("signal")
                .trim_start_matches("SIG"),
            signal
        );
    }
}

// REFERENCE 0, "SIGTERM with an open connection: cut".
#[test]
fn open_connection_works_on_until_it_ends_itself() {
    for signal in ["TERM", "INT"] {
        let endpoint = Backend::tagged(b't');
        let mut gateway = Gateway::before(&[&endpoint], &["--drain-timeout=1h"]);
        let address = gateway.address();
        let (_, client) = try_tag(address).expect("served");
        gateway.signal(signal);
        assert_listener_closes(address);
        for seed in 0..10 {
            expect_echo(&client, seed);
        }
        gateway.assert_running();
        client
            .shutdown(Shutdown::Write)
            .expect("shut down the write side");
        expect_end(&client, End::Clean);
        let status = gateway.wait_exit(Duration::from_secs(3));
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
    }
}

#[test]
fn what_is_left_at_the_drain_timeout_is_reset() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Gateway::before(&[&endpoint], &["--drain-timeout=1s"]);
    let clients: Vec<_> = (0..3)
        .map(|_| try_tag(gateway.address()).expect("served").1)
        .collect();
    let start = Instant::now();
    gateway.signal("TERM");
    for client in &clients {
        expect_end(client, End::Reset);
    }
    let waited = start.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(4)).contains(&waited),
        "reset after {waited:?}"
    );
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
    gateway.wait_record("drain timeout, resetting connections");
}

/// Also where neither side reads: a thread that is blocked in a write must not hold the end up.
#[test]
fn blocked_connection_does_not_outlive_the_drain_timeout() {
    let (endpoint, accepted) = Backend::by_hand();
    let mut gateway = Gateway::before(&[&endpoint], &["--drain-timeout=500ms"]);
    let client = gateway.connect();
    let server = accepted.next();
    server
        .set_write_timeout(Some(Duration::from_millis(300)))
        .expect("set a write timeout");
    while (&server).write(&[0; 65536]).is_ok() {}
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(Duration::from_secs(5)).code(), Some(0));
    let (_, end) = end_of(&client);
    assert_eq!(end, End::Reset);
}

#[test]
fn zero_drain_timeout_resets_at_once() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Gateway::before(&[&endpoint], &["--drain-timeout=0s"]);
    let (_, client) = try_tag(gateway.address()).expect("served");
    gateway.signal("TERM");
    expect_end(&client, End::Reset);
    assert_eq!(gateway.wait_exit(Duration::from_secs(3)).code(), Some(0));
}

#[test]
fn second_signal_ends_it_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let endpoint = Backend::tagged(b't');
        let mut gateway = Gateway::before(&[&endpoint], &["--drain-timeout=1h"]);
        let (_, client) = try_tag(gateway.address()).expect("served");
        gateway.signal(first);
        gateway.wait_record("received signal, draining");
        expect_echo(&client, 1);
        // One that comes within milliseconds of the first counts as the same request.
        let later = Instant::now() + Duration::from_millis(20);
        while Instant::now() < later {
            expect_echo(&client, 1);
        }
        gateway.signal(second);
        gateway.wait_exit(Duration::from_secs(3));
        expect_end(&client, End::Reset);
    }
}

/// A dial that hangs is nothing to wait for beyond the drain's own deadline.
#[test]
fn hanging_dial_does_not_outlive_the_drain_timeout() {
    let hole = BlackHole::new();
    let mut gateway = Launch::before(
        &[hole.address()],
        &["--dial-timeout=1m", "--drain-timeout=500ms"],
    )
    .start();
    let client = gateway.connect();
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(Duration::from_secs(5)).code(), Some(0));
    expect_end(&client, End::Reset);
}

/// A client whose reader is gone is a failed write, not the end of the process.
#[test]
fn sigpipe_is_ignored() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Gateway::before(&[&endpoint], &[]);
    gateway.signal("PIPE");
    let (_, client) = try_tag(gateway.address()).expect("served after SIGPIPE");
    expect_echo(&client, 1);
    gateway.assert_running();
}

/// All listeners close, not the first alone.
#[test]
fn every_listener_closes() {
    let endpoint = Backend::tagged(b't');
    let gateway = Gateway::before(
        &[&endpoint],
        &[
            "--listen-addr=127.0.0.1:0,127.0.0.2:0,[::1]:0",
            "--drain-timeout=1h",
        ],
    );
    let (_, client) = try_tag(gateway.address()).expect("served");
    gateway.signal("TERM");
    for &address in gateway.addresses() {
        assert_listener_closes(address);
    }
    expect_echo(&client, 1);
}

/// Draining while endpoints are down: nothing to wait for either.
#[test]
fn drain_with_dead_endpoints_ends_at_once() {
    let dead = Backend::dead();
    let mut gateway = Gateway::before(&[&dead], &["--drain-timeout=1h", "--retry-delay=100ms"]);
    expect_refused(gateway.address());
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(Duration::from_secs(3)).code(), Some(0));
}
