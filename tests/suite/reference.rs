//! REFERENCE section 0: each thing that was done to `etcd gateway`, done to this program.
//!
//! Rows whose test belongs to a subject stand there, marked `REFERENCE 0`:
//! half-close both ways in `halves`, resets in `resets`, swallowed SYNs in `dials`, the endpoint that was down for
//! a moment in `failover`, SIGTERM in `shutdown`, self loops in `loops`, round robin in `balance`, memory in
//! `pressure`. Descriptors at the reference's own scale, and its refusals of bad flags, stand here.

use crate::support::gateway::assert_bad_flag;
use crate::support::net::{expect_echo, tag, try_tag};
use crate::support::{Backend, Gateway, Launch, SOON};

// "RLIMIT_NOFILE 64 and 60 clients": there the process exits and every connection is cut. D6.
#[test]
fn sixty_clients_under_sixty_four_descriptors_end_nothing() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Launch::before(&[endpoint.address()], &[])
        .wrapped(&["prlimit", "--nofile=64:64"])
        .start();
    let outcomes: Vec<_> = (0..60).map(|_| try_tag(gateway.address())).collect();
    gateway.assert_running();
    let open: Vec<_> = outcomes
        .into_iter()
        .flatten()
        .map(|(_, client)| client)
        .collect();
    assert!(open.len() >= 8, "only {} of 60 clients served", open.len());
    for client in &open {
        expect_echo(client, 1);
    }
}

// "or 20,000 and 3,332 idle clients (6 descriptors each)": a fiftieth of it, the same six a client.
#[test]
fn descriptors_for_sixty_six_clients_of_the_reference_serve_more_here() {
    let endpoint = Backend::tagged(b't');
    let gateway = Launch::before(&[endpoint.address()], &[])
        .wrapped(&["prlimit", "--nofile=400:400"])
        .start();
    let open: Vec<_> = (0..67)
        .map(|_| try_tag(gateway.address()).expect("served"))
        .collect();
    for (_, client) in &open {
        expect_echo(client, 1);
    }
}

// "message on stdout, nothing on stderr, exit 1". D21.
#[test]
fn missing_port_is_refused_on_stderr_and_proposes_one() {
    assert_bad_flag(
        &["start", "--endpoints=127.0.0.1"],
        &["--endpoints", "127.0.0.1:2379"],
    );
}

// D21.
#[test]
fn empty_list_is_refused_on_stderr() {
    assert_bad_flag(&["start", "--endpoints="], &["--endpoints"]);
}

// D21.
#[test]
fn nonsense_to_listen_on_is_refused_on_stderr() {
    assert_bad_flag(
        &["start", "--listen-addr=nonsense"],
        &["--listen-addr", "nonsense", "nonsense:23790"],
    );
}

// "starts and serves nothing". D14.
#[test]
fn port_that_is_not_a_port_is_refused() {
    assert_bad_flag(
        &["start", "--endpoints=127.0.0.1:99999"],
        &["--endpoints", "127.0.0.1:99999", "65535"],
    );
    assert_bad_flag(
        &["start", "--endpoints=127.0.0.1:abc"],
        &["--endpoints", "127.0.0.1:abc"],
    );
}

// The reference's words, on stderr, with the remedy it lacks. D13 is its neighbour in `cli_values`.
#[test]
fn duration_without_a_unit_is_refused_in_the_references_words() {
    let words = [
        "--retry-delay",
        "\"123\"",
        "time: missing unit in duration \"123\"",
        "1m30s",
    ];
    assert_bad_flag(&["start", "--retry-delay=123"], &words);
    assert_bad_flag(&["start", "--retry-delay", "123"], &words);
}

/// The claim of the README's first line: an existing unit file's arguments work unchanged.
#[test]
fn flags_of_a_documented_command_line_start_it() {
    let [a, b, c] = [b'a', b'b', b'c'].map(Backend::tagged);
    let endpoints = [&a, &b, &c]
        .map(|endpoint| endpoint.address().to_string())
        .join(",");
    let gateway = Launch::exactly(&[
        "gateway",
        "start",
        "--listen-addr=127.0.0.1:0",
        "--endpoints",
        &endpoints,
    ])
    .start();
    tag(gateway.address());
    let ready = gateway.wait_record("ready to proxy client requests");
    assert_eq!(ready.texts("endpoints").join(","), endpoints);
}

/// Nothing of a normal life goes to stdout.
#[test]
fn running_gateway_writes_nothing_to_stdout() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Gateway::before(&[&endpoint], &[]);
    tag(gateway.address());
    gateway.signal("TERM");
    gateway.wait_exit(SOON);
    assert_eq!(gateway.stdout(), "");
}
