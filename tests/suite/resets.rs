//! Resets: a connection that is reset on one side is reset on the other, and never ends cleanly there, which would hide that
//! data was lost.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::net::{content, end_writing, expect_echo};
use crate::support::{
    Backend, End, Gateway, Launch, SOON, end_of, expect, expect_end, reset, send,
};

/// Writes until the peer's window and every buffer on the way are full; returns how much went in.
fn fill(mut stream: &TcpStream, seed: u64) -> u64 {
    // The timeout is how long no byte may have moved for the way to count as full.
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .expect("set a write timeout");
    let mut source = content(seed);
    let mut chunk = vec![0; 64 * 1024];
    let mut sent = 0;
    loop {
        source
            .read_exact(&mut chunk)
            .expect("the generator does not end");
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => {
                    sent += count as u64;
                    rest = &rest[count..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
    }
}

/// What arrived is the beginning of what was sent.
fn assert_prefix(got: &[u8], seed: u64) {
    let mut wanted = vec![0; got.len()];
    content(seed)
        .read_exact(&mut wanted)
        .expect("the generator does not end");
    assert!(
        got == wanted,
        "the {} bytes before the reset are not those that were sent",
        got.len()
    );
}

/// The next writes fail because the peer reset the connection.
fn expect_write_error(mut stream: &TcpStream) {
    stream
        .set_write_timeout(Some(SOON))
        .expect("set a write timeout");
    let error = loop {
        if let Err(error) = stream.write(&[0; 1024]) {
            break error;
        }
    };
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
}

// REFERENCE 0, row 3.
#[test]
fn reset_of_the_server_reaches_the_client() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    send(&server, 1, 1000);
    expect(&client, 1, 1000);
    reset(server);
    expect_end(&client, End::Reset);
}

// REFERENCE 0, row 3, "the same the other way round".
#[test]
fn reset_of_the_client_reaches_the_server() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    send(&client, 1, 1000);
    expect(&server, 1, 1000);
    reset(client);
    expect_end(&server, End::Reset);
}

#[test]
fn reset_right_after_data_is_not_a_clean_end() {
    let (endpoint, accepted) = Backend::by_hand();
    // No reset has the endpoint dialled again.
    let launch = Launch::before(&[endpoint.address()], &[]);
    let gateway = launch.times("ask_again=3600000").start();
    for seed in 0..20 {
        let client = gateway.connect();
        let server = accepted.next();
        let (from, to) = if seed % 2 == 0 {
            (server, client)
        } else {
            (client, server)
        };
        send(&from, seed, 40_000);
        reset(from);
        let (got, end) = end_of(&to);
        assert_prefix(&got, seed);
        assert_eq!(end, End::Reset, "round {seed}, after {} bytes", got.len());
    }
}

#[test]
fn reset_after_the_other_half_ended_is_a_reset() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    end_writing(&client);
    let server = accepted.next();
    expect_end(&server, End::Clean);
    send(&server, 1, 1000);
    expect(&client, 1, 1000);
    reset(server);
    expect_end(&client, End::Reset);
}

/// A server that closes with unread bytes resets, as Linux does: the client must not take that for a clean end.
#[test]
fn close_with_unread_bytes_is_a_reset() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    send(&client, 1, 1000);
    let mut first = [0];
    (&server)
        .read_exact(&mut first)
        .expect("the bytes have arrived");
    drop(server);
    expect_end(&client, End::Reset);
}

#[test]
fn server_hears_the_reset_of_a_client_that_did_not_read() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    fill(&server, 1);
    reset(client);
    expect_write_error(&server);
}

#[test]
fn client_hears_the_reset_of_a_server_that_did_not_read() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    fill(&client, 1);
    reset(server);
    expect_write_error(&client);
}

/// The reset comes while the gateway is blocked on the client, who has not read what came before it.
#[test]
fn slow_reader_sees_a_reset_after_the_servers_reset() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    fill(&server, 1);
    reset(server);
    let (got, end) = end_of(&client);
    assert_prefix(&got, 1);
    assert_eq!(end, End::Reset);
}

#[test]
fn slow_server_sees_a_reset_after_the_clients_reset() {
    let (endpoint, accepted) = Backend::by_hand();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let client = gateway.connect();
    let server = accepted.next();
    fill(&client, 1);
    reset(client);
    let (got, end) = end_of(&server);
    assert_prefix(&got, 1);
    assert_eq!(end, End::Reset);
}

#[test]
fn reset_of_one_connection_leaves_others_alone() {
    let endpoint = Backend::echo();
    let gateway = Gateway::before(&[&endpoint], &[]);
    let stays = gateway.connect();
    expect_echo(&stays, 1);
    for seed in 0..20 {
        let goes = gateway.connect();
        expect_echo(&goes, seed);
        reset(goes);
    }
    expect_echo(&stays, 2);
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "a client's reset is not the endpoint's fault"
    );
}

/// Whatever ends the process, and however little it can do about that: what was on its way is not the whole.
#[test]
fn connections_of_a_gateway_that_is_killed_are_reset() {
    let (endpoint, accepted) = Backend::by_hand();
    let mut gateway = Gateway::before(&[&endpoint], &[]);
    let busy = (gateway.connect(), accepted.next());
    send(&busy.1, 1, 1000);
    expect(&busy.0, 1, 1000);
    let half = (gateway.connect(), accepted.next());
    end_writing(&half.0);
    expect_end(&half.1, End::Clean);
    gateway.signal("KILL");
    gateway.wait_exit(SOON);
    for stream in [&busy.0, &busy.1, &half.0] {
        expect_end(stream, End::Reset);
    }
}
