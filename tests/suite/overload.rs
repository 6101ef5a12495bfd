//! `--max-connections`: clients above it are rejected, logged and counted; no other client notices. D22.

use std::net::TcpStream;

use crate::activation::on_each_listener;
use crate::support::json::Json;
use crate::support::net::{end_writing, expect_echo, expect_refused, try_tag};
use crate::support::{Backend, End, Gateway, SOON, end_of, eventually, reset};

/// A gateway with a cap of ten, full.
fn full() -> (Backend, Gateway, Vec<TcpStream>) {
    let endpoint = Backend::tagged(b't');
    let gateway = Gateway::before(&[&endpoint], &["--max-connections=10"]);
    let clients = (0..10)
        .map(|_| try_tag(gateway.address()).expect("below the cap").1)
        .collect();
    (endpoint, gateway, clients)
}

#[test]
fn eleventh_of_ten_is_reset_with_a_reason_in_the_log() {
    let (endpoint, gateway, clients) = full();
    expect_refused(gateway.address());
    let record = gateway.wait_record("rejected client");
    assert_eq!(record.text("reason"), "max_connections");
    for client in &clients {
        expect_echo(client, 1);
    }
    assert_eq!(
        endpoint.accepted(),
        10,
        "no endpoint was troubled for the eleventh"
    );
}

/// Exactly so many clients, on either kind of listener; one more when one has ended.
#[test]
fn cap_is_exact() {
    let endpoint = Backend::tagged(b't');
    for cap in [1, 2, 5] {
        let flag = format!("--max-connections={cap}");
        for (listener, launch) in on_each_listener(&[endpoint.address()], &[&flag]) {
            let gateway = launch.start();
            let next = || try_tag(gateway.address()).ok().map(|(_, client)| client);
            let mut clients: Vec<TcpStream> = (0..cap)
                .map(|number| next().unwrap_or_else(|| panic!("{listener}: {number} of {cap}")))
                .collect();
            for _ in 0..2 {
                expect_refused(gateway.address());
                let leaves = clients.remove(0);
                end_writing(&leaves);
                assert_eq!(end_of(&leaves), (Vec::new(), End::Clean));
                clients.push(eventually(SOON, "the next is served", next));
            }
            expect_refused(gateway.address());
            for client in &clients {
                expect_echo(client, 1);
            }
        }
    }
}

/// The place is free however its holder left.
#[test]
fn slot_of_a_client_that_left_is_used_again() {
    let (_endpoint, gateway, mut clients) = full();
    expect_refused(gateway.address());
    drop(clients.pop());
    clients.push(
        eventually(SOON, "the next is served", || {
            try_tag(gateway.address()).ok()
        })
        .1,
    );
    expect_refused(gateway.address());
    reset(clients.pop().expect("ten clients"));
    clients.push(
        eventually(SOON, "the next is served", || {
            try_tag(gateway.address()).ok()
        })
        .1,
    );
    expect_refused(gateway.address());
    for client in &clients {
        expect_echo(client, 1);
    }
}

/// A crowd at the door is shed in bounded log lines, and those inside work on.
#[test]
fn crowd_above_the_cap_disturbs_nobody() {
    let (_endpoint, gateway, clients) = full();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    expect_refused(gateway.address());
                }
            });
        }
        for seed in 0..50 {
            for client in &clients {
                expect_echo(client, seed);
            }
        }
    });
    let lines = gateway.records("rejected client").len();
    assert!((1..=30).contains(&lines), "{lines} lines for 400 refusals");
}

/// Places are not leaked: many more clients than the cap, in turn.
#[test]
fn hundreds_in_turn_pass_under_a_small_cap() {
    let endpoint = Backend::tagged(b't');
    let gateway = Gateway::before(&[&endpoint], &["--max-connections=3"]);
    for _ in 0..200 {
        let (_, client) = eventually(SOON, "a client is served", || {
            try_tag(gateway.address()).ok()
        });
        end_writing(&client);
        assert_eq!(end_of(&client), (Vec::new(), End::Clean));
    }
}

/// A client that is refused by every endpoint gives its place back.
#[test]
fn failed_dials_leak_no_slot() {
    let mut endpoint = Backend::dead();
    let gateway = Gateway::before(&[&endpoint], &["--max-connections=3"]);
    for _ in 0..20 {
        expect_refused(gateway.address());
    }
    endpoint.up_tagged(b't');
    let clients: Vec<_> = eventually(SOON, "three are served", || {
        let clients: Vec<_> = (0..3)
            .filter_map(|_| try_tag(gateway.address()).ok())
            .collect();
        (clients.len() == 3).then_some(clients)
    });
    expect_refused(gateway.address());
    drop(clients);
}

/// The ready line says what bounds it.
#[test]
fn cap_is_logged_at_the_start() {
    let endpoint = Backend::tagged(b't');
    let gateway = Gateway::before(&[&endpoint], &["--max-connections=10"]);
    let ready = gateway.wait_record("ready to proxy client requests");
    assert_eq!(
        ready.get("max_connections"),
        Some(&Json::Number(10.0)),
        "{ready:?}"
    );
    assert_ne!(ready.text("bounded_by"), "", "{ready:?}");
}
