//! Signals: SIGTERM and SIGINT drain, the deadline resets what is left, a second signal ends the drain. D16.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::activation::on_each_listener;
use crate::status::ask;
use crate::support::net::{end_writing, expect_echo, expect_refused, try_tag};
use crate::support::process::tool_text;
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
    let endpoint = Backend::tagged(b't');
    for (signal, which) in [("TERM", 0), ("INT", 0), ("TERM", 1)] {
        let launches = on_each_listener(&[endpoint.address()], &["--drain-timeout=1h"]);
        let (listener, launch) = launches.into_iter().nth(which).expect("two listeners");
        let mut gateway = launch.start();
        let address = gateway.address();
        let (_, client) = try_tag(address).expect("served");
        gateway.signal(signal);
        // One that was passed is for others to use, and stays open here with those who passed it.
        if listener == "own" {
            assert_listener_closes(address);
        }
        gateway.wait_record("received signal, draining");
        for seed in 0..10 {
            expect_echo(&client, seed);
        }
        gateway.assert_running();
        end_writing(&client);
        expect_end(&client, End::Clean);
        let status = gateway.wait_exit(Duration::from_secs(3));
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        // The listener was closed on purpose.
        assert!(gateway.records("cannot accept").is_empty());
    }
}

#[test]
fn what_is_left_at_the_drain_timeout_is_reset() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let endpoint = Backend::tagged(b't');
    for (listener, launch) in on_each_listener(&[endpoint.address()], &["--drain-timeout=1s"]) {
        let mut gateway = launch.start();
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
            (TIMEOUT..4 * TIMEOUT).contains(&waited),
            "{listener} listener: reset after {waited:?}"
        );
        assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
        let record = gateway.wait_record("drain timeout, resetting connections");
        assert_eq!(record.number("connections"), 3.0);
    }
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
    let endpoint = Backend::tagged(b't');
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let launch = Launch::before(&[endpoint.address()], &["--drain-timeout=1h"]);
        let mut gateway = launch.times("signal_echo=0").start();
        let (_, client) = try_tag(gateway.address()).expect("served");
        gateway.signal(first);
        gateway.wait_record("received signal, draining");
        expect_echo(&client, 1);
        gateway.signal(second);
        assert_eq!(gateway.wait_exit(Duration::from_secs(3)).code(), Some(1));
        expect_end(&client, End::Reset);
        let record = gateway.wait_record("received second signal, exiting at once");
        assert_eq!(record.text("signal"), format!("SIG{second}"));
    }
}

/// Whether signals have come that the process has not taken yet.
fn has_pending_signals(gateway: &Gateway) -> bool {
    let path = format!("/proc/{}/status", gateway.pid());
    let status = std::fs::read_to_string(path).expect("read /proc/PID/status");
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    pending
        .expect("the field is there")
        .trim()
        .chars()
        .any(|digit| digit != '0')
}

/// As a terminal and a supervisor send them.
#[test]
fn two_signals_at_once_are_one_request() {
    let endpoint = Backend::tagged(b't');
    for signals in ["TERM INT", "INT TERM", "TERM TERM"] {
        let launch = Launch::before(&[endpoint.address()], &["--drain-timeout=1h"]);
        // However slow this machine is, the second counts as an echo of the first.
        let mut gateway = launch.times("signal_echo=3600000").start();
        let (_, client) = try_tag(gateway.address()).expect("served");
        let script = format!("for s in {signals}; do kill -$s {}; done", gateway.pid());
        tool_text("sh", &["-c", &script]);
        gateway.wait_record("received signal, draining");
        eventually(SOON, "both are taken", || {
            (!has_pending_signals(&gateway)).then_some(())
        });
        // The thread that answers has dealt with all that came before.
        assert_eq!(ask(&gateway)[0].text("state"), "draining");
        expect_echo(&client, 1);
        drop(client);
        assert_eq!(gateway.wait_exit(SOON).code(), Some(0), "{signals}");
        let second = gateway.records("received second signal, exiting at once");
        assert!(second.is_empty(), "{signals}");
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
