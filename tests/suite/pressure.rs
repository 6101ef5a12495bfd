//! Much data, slow readers, many connections: every byte arrives, and memory stays bounded.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use crate::support::net::{content, end_writing, expect_echo};
use crate::support::{Backend, End, Gateway, SOON, expect, expect_end, process, send};

const MIB: u64 = 1024 * 1024;

#[test]
fn forty_megabytes_each_way_at_once_arrive_byte_for_byte() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    std::thread::scope(|scope| {
        for (from, to, seed) in [(&client, &server, 1), (&server, &client, 2)] {
            scope.spawn(move || {
                send(from, seed, 40 * MIB);
                end_writing(from);
            });
            scope.spawn(move || {
                expect(to, seed, 40 * MIB);
                expect_end(to, End::Clean);
            });
        }
    });
}

/// A reader that does not read stops the writer; the gateway holds its one buffer and nothing more.
#[test]
fn reader_that_does_not_read_blocks_the_writer_and_costs_no_memory() {
    /// More than the socket buffers of both connections together can take.
    const FLOOD: u64 = 512 * MIB;
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let mut server = accepted.next();
    let before = process::resident_kib(gateway.pid());

    server
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("set a write timeout");
    let mut source = content(1);
    let mut chunk = vec![0; 64 * 1024];
    let mut unsent = 0..0;
    let mut sent = 0;
    while sent < FLOOD {
        source
            .read_exact(&mut chunk)
            .expect("the generator does not end");
        unsent = 0..chunk.len();
        while !unsent.is_empty() {
            match server.write(&chunk[unsent.clone()]) {
                Ok(count) => unsent.start += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        sent += (chunk.len() - unsent.len()) as u64;
        if !unsent.is_empty() {
            break;
        }
    }
    assert!(
        !unsent.is_empty(),
        "{sent} bytes went in and nobody read them"
    );
    let grown = process::resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < 4096, "the gateway grew by {grown} KiB");

    // The window opens again: everything is there, in order.
    server
        .set_write_timeout(Some(SOON))
        .expect("set a write timeout");
    let rest = chunk[unsent].to_vec();
    let total = sent + rest.len() as u64;
    std::thread::scope(|scope| {
        scope.spawn(move || server.write_all(&rest).expect("the writer goes on"));
        expect(&client, 1, total);
    });
    expect_end(&client, End::Clean);
}

/// A peer with a closed window is not dead: TCP_USER_TIMEOUT, if it is ever set, must not end the connection.
#[test]
fn reader_that_pauses_for_seconds_reads_everything() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    std::thread::scope(|scope| {
        scope.spawn(move || send(&server, 1, 100 * MIB));
        // Not a wait for something to happen: the pause is the fault.
        std::thread::sleep(Duration::from_secs(2));
        expect(&client, 1, 100 * MIB);
    });
    expect_end(&client, End::Clean);
}

#[test]
fn bytes_that_trickle_arrive_one_by_one() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    // Each byte is awaited before the next is sent: nothing on the way may wait for more.
    for seed in 0..200 {
        send(&client, seed, 1);
        expect(&server, seed, 1);
        send(&server, seed, 1);
        expect(&client, seed, 1);
    }
}

#[test]
fn two_hundred_connections_at_once_are_byte_exact() {
    let endpoint = Backend::echo();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let clients: Vec<_> = (0..200).map(|seed| (seed, gateway.connect())).collect();
    // All are open before the first byte moves.
    for (seed, client) in &clients {
        expect_echo(client, *seed);
    }
    std::thread::scope(|scope| {
        for lane in clients.chunks(20) {
            scope.spawn(move || {
                for (seed, client) in lane {
                    send(client, 1000 + seed, 50_000);
                }
                for (seed, client) in lane {
                    expect(client, 1000 + seed, 50_000);
                    end_writing(client);
                    expect_end(client, End::Clean);
                }
            });
        }
    });
    assert_eq!(endpoint.accepted(), 200, "one dial for each client");
}

// REFERENCE 0, last row: 20 kB per connection for the whole system. What a process can be held to is its own
// part, which excludes the kernel's sockets: two threads with a touched stack and a buffer each.
#[test]
fn idle_connections_cost_little_memory() {
    const CLIENTS: u64 = 200;
    let endpoint = Backend::echo();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let first = gateway.connect();
    expect_echo(&first, 0);
    let before = process::resident_kib(gateway.pid());
    let clients: Vec<_> = (0..CLIENTS).map(|_| gateway.connect()).collect();
    for client in &clients {
        expect_echo(client, 1);
    }
    let each = process::resident_kib(gateway.pid()).saturating_sub(before) / CLIENTS;
    assert!(
        each <= 64,
        "{each} KiB of resident memory for each connection"
    );
}
