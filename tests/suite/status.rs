//! SIGUSR1: the status in the log; and that other signals do not end the process.

use crate::support::json::Json;
use crate::support::net::{expect_refused, try_tag};
use crate::support::{Backend, Gateway, Launch, SOON, eventually};

/// The answer to one SIGUSR1, from its first line to its last.
#[track_caller]
pub(crate) fn ask(gateway: &Gateway) -> Vec<Json> {
    const LAST: &str = "status of discovery";
    let before = gateway.records(LAST).len();
    gateway.signal("USR1");
    eventually(SOON, "the status is logged", || {
        (gateway.records(LAST).len() > before).then_some(())
    });
    let records = gateway.lines().into_iter();
    let mut records: Vec<Json> = records.filter_map(|line| Json::parse(&line).ok()).collect();
    let first = |record: &Json| record.text("msg") == "status";
    let start = records.iter().rposition(first).expect("a first line");
    records.split_off(start)
}

pub(crate) fn with_message<'a>(answer: &'a [Json], message: &str) -> Vec<&'a Json> {
    let wanted = |record: &&Json| record.text("msg") == message;
    answer.iter().filter(wanted).collect()
}

#[test]
fn every_fact_is_a_line() {
    let (up, down) = (Backend::tagged(b't'), Backend::dead());
    let launch = Launch::before(
        &[up.address(), down.address()],
        &["--max-connections=2", "--drain-timeout=1h"],
    );
    let mut gateway = launch.start();
    let _clients = [0, 1].map(|_| try_tag(gateway.address()).expect("served"));
    expect_refused(gateway.address());
    gateway.wait_record("deactivated endpoint");
    gateway.wait_record("rejected client");

    let answer = ask(&gateway);
    let status = &answer[0];
    assert_eq!(status.text("level"), "info");
    assert_eq!(status.text("state"), "serving");
    assert_eq!(status.texts("listen"), [gateway.address().to_string()]);
    for (field, number) in [
        ("connections", 2),
        ("max_connections", 2),
        ("rejected", 1),
        ("accept_errors", 0),
        ("active_endpoints", 1),
        ("endpoints", 2),
    ] {
        assert_eq!(
            status.number(field),
            f64::from(number),
            "{field}: {status:?}"
        );
    }
    assert!(status.number("uptime_seconds") < SOON.as_secs_f64());

    let rejections = with_message(&answer, "status of rejections");
    assert_eq!(rejections.len(), 1, "{answer:?}");
    assert_eq!(rejections[0].text("reason"), "max_connections");
    assert_eq!(rejections[0].number("count"), 1.0);

    let endpoints = with_message(&answer, "status of endpoint");
    let facts: Vec<_> = endpoints
        .iter()
        .map(|record| {
            (
                record.text("address"),
                record.text("state"),
                record.number("connections"),
            )
        })
        .collect();
    let (up, down) = (up.address().to_string(), down.address().to_string());
    assert_eq!(
        facts,
        [(up.as_str(), "active", 2.0), (&down, "inactive", 0.0)]
    );
    assert!(
        endpoints[1].text("last_error").contains("refused"),
        "{answer:?}"
    );
    for record in endpoints {
        assert_eq!(
            (record.number("priority"), record.number("weight")),
            (0.0, 0.0)
        );
        assert!(record.number("since_seconds") < SOON.as_secs_f64());
    }
    let discovery = with_message(&answer, "status of discovery");
    assert_eq!(discovery[0].number("failed"), 0.0);
    assert!(discovery[0].number("last_success_seconds") < SOON.as_secs_f64());

    // While it drains the status says so.
    gateway.signal("TERM");
    gateway.wait_record("received signal, draining");
    assert_eq!(ask(&gateway)[0].text("state"), "draining");
    gateway.assert_running();
}

/// Somebody has asked, so the level does not count.
#[test]
fn it_is_logged_at_every_level() {
    let endpoint = Backend::tagged(b't');
    let port = crate::support::ports::free_port();
    let listen = format!("127.0.0.1:{port}");
    let flags = [&format!("--listen-addr={listen}"), "--log-level=error"];
    let gateway = Launch::before(&[endpoint.address()], &flags)
        .start_silent(listen.parse().expect("an address"));
    // The listener is open a moment before the process serves; a status before that says so.
    eventually(SOON, "the status is logged", || {
        gateway.signal("USR1");
        gateway.records("status of discovery").pop()
    });
}

/// SIGUSR2 would end a process that does not expect it, and so would SIGUSR1.
#[test]
fn other_signals_end_nothing() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Gateway::before(&[&endpoint], &[]);
    for signal in [
        "USR2", "USR1", "PIPE", "HUP", "WINCH", "CHLD", "CONT", "URG",
    ] {
        gateway.signal(signal);
        try_tag(gateway.address()).unwrap_or_else(|error| panic!("after SIG{signal}: {error}"));
    }
    gateway.wait_line("SIGUSR2");
    gateway.assert_running();
}
