//! Values of flags: what is refused and how, what is accepted with a warning.

use std::net::TcpListener;

use crate::support::gateway::assert_bad_flag;
use crate::support::net::tag;
use crate::support::{Backend, Gateway, Launch, ports};

// D14: `h:etcd-client` was port 0, `h:70000` was 0, `h:2379x` was 2379.
#[test]
fn endpoints_that_are_not_addresses_are_refused() {
    let cases = [
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:70000",
        "127.0.0.1:2379x",
        "127.0.0.1:+2379",
        "127.0.0.1:-1",
        "127.0.0.1:etcd-client",
        "127.0.0.1:",
        ":2379",
        "127.0.0.1:23:79",
        "::1:2379",
        "[::1]",
        "[::1:2379",
        "[::1]2379",
        "256.0.0.1:2379",
        "1.2.3:2379",
        "bad_host!:2379",
        " 127.0.0.1:2379",
        "127.0.0.1:2379 ",
        "-:2379x",
        "http://127.0.0.1:2379/v3",
        "https://user@127.0.0.1:2379",
        "http://127.0.0.1:2379?x=1",
        "ftp://127.0.0.1:2379",
        "https://",
    ];
    for value in cases {
        assert_bad_flag(
            &["start", &format!("--endpoints={value}")],
            &["--endpoints", value.trim()],
        );
        let second = format!("--endpoints=127.0.0.1:2379,{value}");
        assert_bad_flag(&["start", &second], &["--endpoints"]);
    }
    for empty in [
        "--endpoints=,",
        "--endpoints=127.0.0.1:2379,",
        "--endpoints=,127.0.0.1:2379",
        "--listen-addr=",
    ] {
        assert_bad_flag(
            &["start", empty],
            &[empty.split('=').next().expect("a name")],
        );
    }
}

#[test]
fn missing_port_proposes_the_usual_one() {
    for (value, proposal) in [
        ("etcd-0.example", "etcd-0.example:2379"),
        ("[::1]", "[::1]:2379"),
        ("::1", "[::1]:2379"),
        ("https://etcd-0.example", "etcd-0.example:2379"),
    ] {
        assert_bad_flag(
            &["start", &format!("--endpoints={value}")],
            &["--endpoints", proposal],
        );
    }
}

#[test]
fn listeners_that_are_not_addresses_are_refused() {
    for value in [
        "127.0.0.1",
        "nonsense",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "::1:23790",
        "http://127.0.0.1:1",
        "1.2.3:1",
    ] {
        assert_bad_flag(
            &["start", &format!("--listen-addr={value}")],
            &["--listen-addr", value],
        );
    }
}

// D13: 0 meant five minutes in silence, a negative delay was a busy loop.
#[test]
fn durations_that_make_no_sense_are_refused() {
    for value in [
        "0",
        "0s",
        "-1s",
        "-0.5h",
        "1",
        "1.5",
        "s",
        "1x",
        "1m0",
        "",
        "1 s",
        "9999999999h",
        "1e3s",
        "NaN",
    ] {
        for flag in ["--retry-delay", "--dial-timeout"] {
            assert_bad_flag(&["start", &format!("{flag}={value}")], &[flag]);
        }
    }
    for value in ["-1s", "10", ""] {
        assert_bad_flag(
            &["start", &format!("--drain-timeout={value}")],
            &["--drain-timeout"],
        );
    }
}

#[test]
fn counts_and_choices_that_make_no_sense_are_refused() {
    for value in ["0", "-1", "ten", "", "1.5", "99999999999999999999"] {
        assert_bad_flag(
            &["start", &format!("--max-connections={value}")],
            &["--max-connections"],
        );
    }
    assert_bad_flag(
        &["start", "--log-level=loud"],
        &["--log-level", "loud", "debug", "info", "warn", "error"],
    );
    assert_bad_flag(
        &["start", "--log-format=xml"],
        &["--log-format", "xml", "json", "text"],
    );
}

/// Nothing is bound before every value is known to be good.
#[test]
fn first_bad_flag_stops_it_before_it_binds() {
    let port = ports::free_port();
    let listen = format!("--listen-addr=127.0.0.1:{port}");
    // The port stays bindable throughout: the gateway never had it.
    let outcome = Launch::exactly(&["start", &listen, "--retry-delay=123"]).run();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    // With the port taken, the flag is still what is complained about.
    assert_bad_flag(&["start", &listen, "--retry-delay=123"], &["--retry-delay"]);
    drop(taken);
}

#[test]
fn durations_as_go_writes_them_are_accepted() {
    let endpoint = Backend::tagged(b't');
    for value in [
        "1m0s",
        "1m30s",
        "1.5s",
        "100ms",
        ".5s",
        "1h",
        "+5s",
        "500000us",
        "500000µs",
        "1e0",
    ] {
        let flag = format!("--retry-delay={value}");
        if value == "1e0" {
            // Go knows no exponents.
            assert_bad_flag(&["start", &flag], &["--retry-delay"]);
            continue;
        }
        let gateway = Gateway::before(&[&endpoint], &[&flag]);
        assert_eq!(tag(gateway.address()).0, b't', "{value}");
    }
}

/// Accepted as the reference does, with a word on what it does not mean.
#[test]
fn url_forms_are_stripped_with_one_warning() {
    let (a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let list = format!(
        "--endpoints=https://{},HTTP://{}/",
        a.address(),
        b.address()
    );
    let gateway = Launch::start_with(&[&list]).start();
    let mut tags = [tag(gateway.address()).0, tag(gateway.address()).0];
    tags.sort_unstable();
    assert_eq!(tags, *b"ab");
    let warnings = gateway
        .lines()
        .iter()
        .filter(|line| line.contains("TLS"))
        .count();
    assert_eq!(
        warnings,
        1,
        "one warning for the whole list:\n{}",
        gateway.text()
    );
    let ready = gateway.wait_record("ready to proxy client requests");
    assert_eq!(
        ready.texts("endpoints"),
        [a.address().to_string(), b.address().to_string()]
    );
}

/// A flag given twice: the last one counts, as the reference's parser has it.
#[test]
fn last_of_a_repeated_single_value_counts() {
    let endpoint = Backend::tagged(b't');
    let gateway = Gateway::before(&[&endpoint], &["--log-level=error", "--log-level=info"]);
    assert_eq!(tag(gateway.address()).0, b't');
}

// D18: flags without effect are not passed over in silence. Those of discovery without
// discovery are warned about (unit tests of cli); what is not there is refused.
#[test]
fn flags_of_features_that_are_not_there_are_refused() {
    assert_bad_flag(
        &["start", "--endpoints=127.0.0.1:2379", "--bogus"],
        &["--bogus"],
    );
}
