//! Half-close: the end of one direction is passed on and the other direction stays open.

use crate::support::net::{end_writing, expect_echo};
use crate::support::process::{descriptors, threads};
use crate::support::{Backend, End, Gateway, Launch, SOON, eventually, expect, expect_end, send};

/// One byte, one buffer, and far more than all socket buffers on the way.
const SIZES: [u64; 3] = [1, 64 * 1024, 8 * 1024 * 1024];

// REFERENCE 0, row 1; D10.
#[test]
fn answer_after_the_clients_end_arrives_whole() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    for size in SIZES {
        let client = gateway.connect();
        send(&client, 1, 100);
        end_writing(&client);
        let server = accepted.next();
        expect(&server, 1, 100);
        expect_end(&server, End::Clean);
        std::thread::scope(|scope| {
            scope.spawn(move || send(&server, 2, size));
            expect(&client, 2, size);
        });
        expect_end(&client, End::Clean);
    }
}

// REFERENCE 0, row 2; D10.
#[test]
fn bytes_of_the_client_after_the_servers_end_arrive_whole() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    for size in SIZES {
        let client = gateway.connect();
        let server = accepted.next();
        send(&server, 3, 100);
        end_writing(&server);
        expect(&client, 3, 100);
        expect_end(&client, End::Clean);
        std::thread::scope(|scope| {
            let client = &client;
            scope.spawn(move || {
                send(client, 4, size);
                end_writing(client);
            });
            expect(&server, 4, size);
            expect_end(&server, End::Clean);
        });
    }
}

#[test]
fn end_without_a_single_byte_is_passed_on() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    end_writing(&client);
    let server = accepted.next();
    expect_end(&server, End::Clean);
    drop(server);
    expect_end(&client, End::Clean);
}

#[test]
fn half_closed_connection_serves_until_the_other_half_ends() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    end_writing(&client);
    let server = accepted.next();
    expect_end(&server, End::Clean);
    // Many small answers, each awaited: nothing on the way may take the first for the last.
    for seed in 0..100 {
        send(&server, seed, 10);
        expect(&client, seed, 10);
    }
    drop(server);
    expect_end(&client, End::Clean);
}

#[test]
fn ends_from_both_sides_at_once_are_clean() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    for round in 0..50 {
        let client = gateway.connect();
        let server = accepted.next();
        std::thread::scope(|scope| {
            for end in [&client, &server] {
                scope.spawn(move || {
                    send(end, round, 1000);
                    end_writing(end);
                    expect(end, round, 1000);
                    expect_end(end, End::Clean);
                });
            }
        });
    }
}

#[test]
fn finished_connections_leave_nothing_behind() {
    let endpoint = Backend::echo();
    let gateway = Launch::before(&[endpoint.address()], &[])
        .times("worker_patience=100")
        .start();
    let one = |seed| {
        let client = gateway.connect();
        expect_echo(&client, seed);
        end_writing(&client);
        expect_end(&client, End::Clean);
    };
    let state = || {
        let pid = gateway.pid();
        (descriptors(pid), threads(pid))
    };
    let before = state();
    (0..50).for_each(one);
    eventually(SOON, "descriptors and threads are as before", || {
        (state() <= before).then_some(())
    });
}
