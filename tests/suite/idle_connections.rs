//! Connections that are silent have no thread; all else about them is as with a thread.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::admin::{Samples, admin_of};
use crate::support::net::{end_writing, expect_echo};
use crate::support::process::{is_root, set_limit, threads, unused_uid};
use crate::support::{
    Backend, End, Gateway, Launch, SOON, TempDir, connect, eventually, expect, expect_end,
    host_offers, reset, send,
};

/// Of so few, those that have become busy keep their threads.
const FEW: u64 = 33;

/// Connections are parked at once, and workers go at once.
const QUICK: &str = "silence=20,worker_patience=20,wake_pause=20";

/// A gateway before endpoints, and how many threads it has when nothing is connected.
fn launched(endpoints: &[&Backend], flags: &[&str]) -> (Gateway, usize) {
    let addresses: Vec<_> = endpoints
        .iter()
        .map(|endpoint| endpoint.address())
        .collect();
    let gateway = Launch::before(&addresses, flags).times(QUICK).start();
    let idle = eventually(SOON, "no worker is left", || {
        let first = threads(gateway.pid());
        std::thread::sleep(Duration::from_millis(60));
        (threads(gateway.pid()) == first).then_some(first)
    });
    (gateway, idle)
}

/// Waits until only the threads are left that were there before.
fn wait_silent(gateway: &Gateway, idle: usize) {
    eventually(SOON, "all are parked", || {
        (threads(gateway.pid()) <= idle).then_some(())
    });
}

fn clients(gateway: &Gateway, count: u64) -> Vec<TcpStream> {
    let open = |seed| {
        let client = gateway.connect();
        expect_echo(&client, seed);
        client
    };
    (0..count).map(open).collect()
}

#[test]
fn silent_connections_hold_no_thread_and_still_work() {
    let endpoint = Backend::echo();
    let (gateway, idle) = launched(&[&endpoint], &["--metrics-addr=127.0.0.1:0"]);
    let open = clients(&gateway, 300);
    // One that is busy in both directions has two threads.
    let busy = gateway.connect();
    let bulk = |seed| {
        std::thread::scope(|scope| {
            scope.spawn(|| send(&busy, seed, 3_000_000));
            expect(&busy, seed, 3_000_000);
        });
    };
    bulk(1);
    wait_silent(&gateway, idle);
    assert!(idle <= 9, "{idle} threads, the one for metrics among them");
    assert_eq!(
        Samples::of(admin_of(&gateway)).get("connections_active"),
        301.0
    );
    for seed in 0..3 {
        open.iter().for_each(|client| expect_echo(client, seed));
        bulk(seed);
        wait_silent(&gateway, idle);
    }
    // Half of each, and then the other half.
    for client in open.iter().chain([&busy]) {
        end_writing(client);
    }
    for client in open.iter().chain([&busy]) {
        expect_end(client, End::Clean);
    }
}

/// The endpoint goes on after the client has ended its direction, and neither says anything for long; in one thread,
/// and in two.
#[test]
fn a_silent_half_still_carries_bytes() {
    const BULK: u64 = 3_000_000;
    let (endpoint, accepted) = Backend::by_hand();
    let (gateway, idle) = launched(&[&endpoint], &[]);
    let _many: Vec<_> = (0..FEW)
        .map(|_| (gateway.connect(), accepted.next()))
        .collect();
    for length in [1, BULK] {
        let mut client = gateway.connect();
        let mut member = accepted.next();
        std::thread::scope(|scope| {
            scope.spawn(|| send(&client, 1, length));
            scope.spawn(|| expect(&client, 2, length));
            scope.spawn(|| send(&member, 2, length));
            expect(&member, 1, length);
        });
        end_writing(&client);
        assert_eq!(member.read(&mut [0]).expect("an end"), 0);
        for _ in 0..3 {
            wait_silent(&gateway, idle);
            member.write_all(b"!").expect("answer");
            client.read_exact(&mut [0]).expect("an answer");
        }
        wait_silent(&gateway, idle);
        // A reset of the half that nobody reads any more is passed on: who has read the end hears of it when writing.
        reset(client);
        eventually(SOON, "the member hears of the reset", || {
            member.write_all(b"!").err()
        });
    }
}

/// Handing a busy session over and back costs more than its threads do, so it keeps them through short pauses.
#[test]
fn few_that_are_busy_keep_their_threads() {
    let endpoint = Backend::echo();
    let (gateway, idle) = launched(&[&endpoint], &[]);
    let client = gateway.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| send(&client, 1, 3_000_000));
        expect(&client, 1, 3_000_000);
    });
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(threads(gateway.pid()), idle + 2);
    expect_echo(&client, 2);
    let open = clients(&gateway, FEW);
    drop(client);
    wait_silent(&gateway, idle);
    open.iter().for_each(|client| expect_echo(client, 3));
}

#[test]
fn a_reset_of_either_reaches_the_other() {
    let (endpoint, accepted) = Backend::by_hand();
    let (gateway, idle) = launched(&[&endpoint], &[]);
    for of_the_client in [true, false] {
        let client = gateway.connect();
        let member = accepted.next();
        wait_silent(&gateway, idle);
        let (cut, other) = if of_the_client {
            (client, member)
        } else {
            (member, client)
        };
        reset(cut);
        expect_end(&other, End::Reset);
    }
}

#[test]
fn a_drain_waits_for_them_and_then_resets_all() {
    let endpoint = Backend::echo();
    let dir = TempDir::new();
    let log = dir.path().join("access.log");
    let access = format!("--access-log={}", log.display());
    let flags = ["--drain-timeout=500ms", &access];
    let (mut gateway, idle) = launched(&[&endpoint], &flags);
    let open = clients(&gateway, 200);
    wait_silent(&gateway, idle);
    gateway.signal("TERM");
    gateway.wait_line("draining");
    // It is served meanwhile.
    expect_echo(&open[0], 9);
    for client in &open {
        expect_end(client, End::Reset);
    }
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
    let text = std::fs::read_to_string(log).expect("read the access log");
    let stopped = text
        .lines()
        .filter(|line| line.contains("\"cause\":\"stopped\""));
    assert_eq!(stopped.count(), 200, "{text}");
}

#[test]
fn connections_to_an_endpoint_that_is_removed_are_reset() {
    let (old, new) = (Backend::echo(), Backend::echo());
    let dir = TempDir::new();
    let file = dir.file("endpoints", &format!("{}\n", old.address()));
    let flag = format!("--endpoints-file={file}");
    let launch = Launch::start_with(&[&flag, "--close-removed=0s"]).visiting(&[old.address()]);
    let gateway = launch.times(&format!("{QUICK},file_look=20")).start();
    let open = clients(&gateway, 20);
    eventually(SOON, "all are parked", || {
        (threads(gateway.pid()) < 12).then_some(())
    });
    dir.file("endpoints", &format!("{}\n", new.address()));
    for client in &open {
        expect_end(client, End::Reset);
    }
    expect_echo(&gateway.connect(), 1);
}

/// A connection that stirs while the host gives no thread waits for one.
#[test]
fn one_that_becomes_active_without_a_free_thread_is_kept() {
    if !host_offers(is_root(), "root, to be another user") {
        return;
    }
    let endpoint = Backend::echo();
    let uid = unused_uid().to_string();
    let launch = Launch::before(&[endpoint.address()], &[]).times(QUICK);
    let gateway = launch
        .wrapped(&["setpriv", "--reuid", &uid, "--clear-groups"])
        .start();
    let open = clients(&gateway, 20);
    let idle = eventually(SOON, "all are parked", || {
        let count = threads(gateway.pid());
        (count < 12).then_some(count)
    });
    wait_silent(&gateway, idle);
    set_limit(gateway.pid(), "--nproc=1:1000");
    for client in &open {
        send(client, 5, 100);
    }
    gateway.wait_line("cannot start a thread");
    set_limit(gateway.pid(), "--nproc=1000");
    for client in &open {
        expect(client, 5, 100);
        expect_echo(client, 6);
    }
}

/// Where the host has no epoll each keeps its thread, as said.
#[test]
fn without_epoll_each_keeps_its_thread() {
    let traced = crate::support::process::can("strace", &["-f", "-o", "/dev/null", "true"]);
    if !host_offers(traced, "strace with the right to trace") {
        return;
    }
    let endpoint = Backend::echo();
    let strace = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=epoll_create1",
    ];
    let inject = ["-e", "inject=epoll_create1:error=ENOSYS"];
    let launch = Launch::before(&[endpoint.address()], &[]).times(QUICK);
    let gateway = launch.wrapped(&[&strace[..], &inject].concat()).start();
    gateway.wait_line("cannot park silent connections, each keeps its thread");
    let _many = clients(&gateway, FEW);
    let client = connect(gateway.address());
    expect_echo(&client, 1);
    let with_it = threads(gateway.pid());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(threads(gateway.pid()), with_it);
    // Two threads, after some silences: each has its direction alone.
    for seed in 0..4 {
        std::thread::scope(|scope| {
            scope.spawn(|| send(&client, seed, 3_000_000));
            expect(&client, seed, 3_000_000);
        });
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(threads(gateway.pid()) <= with_it + 1);
}
