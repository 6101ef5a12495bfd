//! Health, readiness, drain, and the flag itself.

use super::{Samples, admin_of, endpoints, get, observed};
use crate::support::gateway::{READY, assert_bad_flag};
use crate::support::json::Json;
use crate::support::net::{expect_echo, expect_refused, try_tag};
use crate::support::ports::free_port;
use crate::support::{Backend, Launch, SOON, TempDir, eventually};

#[test]
fn readiness_follows_the_endpoints_and_health_does_not() {
    let mut member = Backend::dead();
    let (gateway, admin) = observed(&[member.address()], &["--retry-delay=20ms"]);
    expect_refused(gateway.address());
    let reply = eventually(SOON, "it is not ready", || {
        Some(get(admin, "/readyz")).filter(|reply| reply.status == 503)
    });
    assert!(
        reply
            .content
            .starts_with("none of 1 endpoints is active, dial tcp "),
        "{reply:?}"
    );
    assert!(reply.content.ends_with("connection refused\n"), "{reply:?}");
    assert_eq!(get(admin, "/healthz").content, "ok\n");
    let (whole, _) = endpoints(admin);
    assert_eq!(whole.get("ready"), Some(&Json::Bool(false)));
    assert_eq!(
        format!("{}\n", whole.text("reason")),
        get(admin, "/readyz").content
    );
    member.up_tagged(b't');
    eventually(SOON, "it is ready again", || {
        (get(admin, "/readyz").status == 200).then_some(())
    });
}

/// It says so for as long as connections are open, and ends with them.
#[test]
fn a_drain_is_shown_until_its_end() {
    let member = Backend::tagged(b't');
    let (mut gateway, admin) = observed(&[member.address()], &["--drain-timeout=1h"]);
    let (_, client) = try_tag(gateway.address()).expect("a client is served");
    assert_eq!(get(admin, "/readyz").content, "ok\n");
    assert_eq!(Samples::of(admin).get("draining"), 0.0);
    gateway.signal("TERM");
    gateway.wait_record("received signal, draining");
    let reply = get(admin, "/readyz");
    assert_eq!(reply.status, 503);
    assert!(reply.content.starts_with("draining"), "{reply:?}");
    assert_eq!(get(admin, "/healthz").status, 200);
    assert_eq!(Samples::of(admin).get("draining"), 1.0);
    assert!(super::page(admin).content.contains(">draining<"));
    expect_echo(&client, 1);
    drop(client);
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
}

#[test]
fn without_the_flag_nothing_is_served() {
    let member = Backend::tagged(b't');
    let gateway = Launch::before(&[member.address()], &[]).start();
    assert!(gateway.records("serving metrics").is_empty());
    let tasks = format!("/proc/{}/task", gateway.pid());
    let threads = std::fs::read_dir(tasks).expect("list the threads");
    for thread in threads.flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        assert_ne!(name.trim(), "admin");
    }
}

/// All of it is known before anything is bound, and is the operator's to correct.
#[test]
fn an_address_of_something_else_is_refused() {
    let port = free_port();
    for (listen, metrics) in [
        ("127.0.0.1", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("127.0.0.1", ""),
        ("[::]", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
    ] {
        let listen = format!("--listen-addr={listen}:{port}");
        let metrics = format!("--metrics-addr={metrics}:{port}");
        for command in ["start", "check"] {
            let words = [metrics.as_str(), listen.as_str(), "another port"];
            let endpoints = "--endpoints=192.0.2.1:2379";
            assert_bad_flag(&[command, endpoints, &listen, &metrics], &words);
        }
    }
    // One that is an endpoint would be asked for data of the cluster.
    let metrics = format!("--metrics-addr=127.0.0.1:{port}");
    let endpoints = format!("--endpoints=127.0.0.1:{port}");
    let listen = "--listen-addr=127.0.0.1:0";
    let words = ["--endpoints: ", "of --metrics-addr"];
    assert_bad_flag(&["start", listen, &metrics, &endpoints], &words);
    for value in [
        "https://127.0.0.1:1",
        "127.0.0.1",
        "a:b",
        "127.0.0.1:1/metrics",
    ] {
        let flag = format!("--metrics-addr={value}");
        assert_bad_flag(&["start", &flag], &["--metrics-addr"]);
    }
}

/// The cap leaves out what a scraper needs, so that clients cannot take it.
#[test]
fn descriptors_for_metrics_are_kept_from_clients() {
    let member = Backend::tagged(b't');
    let cap = |flags: &[&str]| {
        let launch = Launch::before(&[member.address()], flags);
        let gateway = launch.wrapped(&["prlimit", "--nofile=400:400"]).start();
        let ready = gateway.wait_record(READY);
        assert_eq!(ready.text("bounded_by"), "RLIMIT_NOFILE", "{ready:?}");
        ready.number("max_connections")
    };
    let (without, with) = (cap(&[]), cap(&["--metrics-addr=127.0.0.1:0"]));
    // Two per client; 16 connections, the listener and some more are for the metrics.
    assert!(
        with <= without - 9.0,
        "{with} with metrics, {without} without"
    );
}

/// One that appears later is left out, as one that is a listener for clients is.
#[test]
fn the_address_of_the_metrics_does_not_become_an_endpoint() {
    let member = Backend::tagged(b't');
    let dir = TempDir::new();
    let first = format!("{}\n", member.address());
    let path = dir.file("members", &first);
    let flag = format!("--endpoints-file={path}");
    let gateway = Launch::start_with(&[&flag, "--metrics-addr=127.0.0.1:0"]).start();
    let admin = admin_of(&gateway);
    dir.file("members", &format!("{first}{admin}\n"));
    gateway.signal("HUP");
    let record = gateway.wait_record("endpoint is this gateway itself; ignored");
    assert_eq!(record.text("address"), admin.to_string());
    assert_eq!(endpoints(admin).1.len(), 1);
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
    let taken = Backend::tagged(b't');
    let metrics = format!("--metrics-addr={}", taken.address());
    let outcome = Launch::start_with(&[&metrics]).run();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let line = outcome.stderr.lines().last().unwrap_or_default();
    assert!(
        line.contains(&format!("{metrics}: cannot listen")),
        "{line}"
    );
    assert!(line.contains("choose another port"), "{line}");
}

/// As a URL too, as `etcd grpc-proxy` wants it; and on a wildcard, with a warning.
#[test]
fn an_address_that_others_can_reach_is_warned_about() {
    let member = Backend::tagged(b't');
    let (local, _) = observed(&[member.address()], &[]);
    assert!(!local.text().contains("--metrics-addr"), "{}", local.text());
    let open = Launch::before(&[member.address()], &["--metrics-addr=http://0.0.0.0:0/"]).start();
    let warning = open.wait_line("can be reached from other hosts");
    assert!(warning.contains("\"level\":\"warn\""), "{warning}");
    let port = admin_of(&open).port();
    assert_eq!(get(([127, 0, 0, 1], port).into(), "/healthz").status, 200);
    // A check warns as well, and says where it would be.
    let endpoints = format!("--endpoints={}", member.address());
    let outcome =
        Launch::exactly(&["check", &endpoints, "--metrics-addr=:9", "--output=json"]).run();
    let json = Json::parse(&outcome.stdout).expect("valid JSON");
    assert!(json.text("metrics").ends_with(":9"), "{outcome:?}");
    assert!(
        json.texts("warnings")[0].contains("--metrics-addr=:9"),
        "{outcome:?}"
    );
    let outcome = Launch::exactly(&["check", &endpoints, "--metrics-addr=127.0.0.1:9"]).run();
    assert!(
        outcome.stdout.contains("\nmetrics: http://127.0.0.1:9/\n"),
        "{outcome:?}"
    );
}

/// Configured by name and not resolvable: there is no endpoint at all.
#[test]
fn no_endpoint_is_a_reason_too() {
    let gateway = Launch::start_with(&[
        "--endpoints=nothing.invalid:2379",
        "--metrics-addr=127.0.0.1:0",
    ])
    .start();
    let admin = admin_of(&gateway);
    let reply = get(admin, "/readyz");
    assert_eq!(reply.status, 503);
    assert!(
        reply.content.starts_with("no endpoint is known"),
        "{reply:?}"
    );
    let samples = Samples::of(admin);
    assert_eq!(samples.get("discovery_endpoints"), 0.0);
    let last = samples.get("discovery_last_success_timestamp_seconds");
    assert_eq!(last, 0.0, "there never was one");
}
