//! The end of a service of several processes, and starts beside one that ends.

use std::os::unix::net::UnixStream;

use super::upgrade::Program;
use super::*;
use crate::admin::wait_sample;
use crate::support::net::{expect_echo, expect_end};
use crate::support::process::signal;
use crate::support::supervisor::Plan;
use crate::support::supervisor::{Kind, RELOADED};
use crate::support::{Backend, End, Launch, ports};

/// A service with a client in each of its processes.
fn three_processes(endpoint: &Backend, flags: &[&str], times: &str) -> (Service, Vec<TcpStream>) {
    let launch = Launch::before(&[endpoint.address()], flags).times(times);
    let service = Service::start(launch);
    let mut clients = vec![client(service.address())];
    for _ in 0..2 {
        service.reload();
        clients.push(client(service.address()));
    }
    assert_eq!(service.family.gateways().len(), 3);
    (service, clients)
}

/// Whichever process gets the signal: an operator may choose the wrong one.
#[test]
fn signal_to_end_ends_all_processes() {
    let endpoint = Backend::tagged(b't');
    for (name, to_first) in [("TERM", true), ("TERM", false), ("INT", true)] {
        let (mut service, clients) = three_processes(&endpoint, &["--drain-timeout=300ms"], "");
        let told = if to_first {
            service.pid()
        } else {
            service.serving()
        };
        let start = Instant::now();
        signal(told, name);
        for client in &clients {
            expect_end(client, End::Reset);
        }
        assert_eq!(
            service.wait_exit(SOON).code(),
            Some(0),
            "{name}, {to_first}"
        );
        assert!(
            start.elapsed() >= Duration::from_millis(300),
            "{name}, {to_first}"
        );
        service.family.wait_gone(SOON);
    }
}

#[test]
fn all_processes_end_when_their_clients_do() {
    let endpoint = Backend::tagged(b't');
    let (mut service, clients) = three_processes(&endpoint, &["--drain-timeout=1h"], "");
    service.signal("TERM");
    assert_closes(service.address());
    for (seed, client) in clients.iter().enumerate() {
        expect_echo(client, seed as u64);
    }
    // The last client is that of the oldest process, then that of the youngest.
    for client in clients {
        service.assert_running();
        drop(client);
    }
    assert_eq!(service.wait_exit(SOON).code(), Some(0));
    service.family.wait_gone(SOON);
}

#[test]
fn second_signal_ends_all_processes_at_once() {
    let endpoint = Backend::tagged(b't');
    let flags = ["--drain-timeout=1h"];
    let (mut service, clients) = three_processes(&endpoint, &flags, "signal_echo=0");
    service.signal("TERM");
    service.wait_record("received signal, draining");
    service.signal("TERM");
    for client in &clients {
        expect_end(client, End::Reset);
    }
    assert_eq!(service.wait_exit(SOON).code(), Some(1));
    service.family.wait_gone(SOON);
}

#[test]
fn signal_to_end_abandons_a_reload() {
    let endpoint = Backend::tagged(b't');
    let program = Program::new();
    let flags = ["--drain-timeout=1h"];
    let launch = Launch::before(&[endpoint.address()], &flags).program(program.path());
    let mut service = Service::start(launch);
    let held = client(service.address());
    program.replace_with("#!/bin/sh\nexec sleep 1000\n");
    service.signal("USR2");
    eventually(SOON, "the new process is started", || {
        (service.family.all().len() > 1).then_some(())
    });
    service.signal("TERM");
    eventually(SOON, "the new process is gone", || {
        (service.family.all() == [service.pid()]).then_some(())
    });
    expect_echo(&held, 1);
    drop(held);
    assert_eq!(service.wait_exit(SOON).code(), Some(0));
    assert_eq!(service.count(RELOADED), 0);
    service.family.wait_gone(SOON);
}

/// Stopped and started by hand, without waiting in between: clients are served at once. The old one can be looked at as long as it
/// drains, then the new one.
#[test]
fn start_by_hand_beside_one_that_drains_serves() {
    let endpoint = Backend::tagged(b't');
    let [address, metrics] = [0; 2].map(|_| SocketAddr::from(([127, 0, 0, 1], ports::free_port())));
    let [listen, observe] = [("listen", address), ("metrics", metrics)]
        .map(|(name, address)| format!("--{name}-addr={address}"));
    let flags = [listen.as_str(), &observe, "--drain-timeout=1h"];
    let mut old = Service::before(&[endpoint.address()], &flags);
    // The one that serves then is not the first.
    old.reload();
    let held = client(address);
    old.signal("TERM");
    old.wait_record("received signal, draining");
    let new = Service::before(&[endpoint.address()], &flags);
    let other = client(address);
    wait_sample(metrics, "draining", 1.0);
    expect_echo(&held, 1);
    drop(held);
    assert_eq!(old.wait_exit(SOON).code(), Some(0));
    eventually(SOON, "the new one serves metrics", || {
        let answer = http(metrics, "/metrics").ok()?;
        answer.contains("etcd_gateway_draining 0\n").then_some(())
    });
    // The new one reloads as any other, with and without a listener for metrics.
    new.reload();
    expect_echo(&other, 2);
}

/// The same where it reloads before it has the address for metrics: that is then taken by its successor.
#[test]
fn reload_while_the_address_for_metrics_is_taken_by_one_that_drains() {
    let endpoint = Backend::tagged(b't');
    let [address, metrics] = [0; 2].map(|_| SocketAddr::from(([127, 0, 0, 1], ports::free_port())));
    let [listen, observe] = [("listen", address), ("metrics", metrics)]
        .map(|(name, address)| format!("--{name}-addr={address}"));
    let flags = [listen.as_str(), &observe, "--drain-timeout=1h"];
    let mut old = Service::before(&[endpoint.address()], &flags);
    let held = client(address);
    old.signal("TERM");
    old.wait_record("received signal, draining");
    let new = Service::before(&[endpoint.address()], &flags);
    let clients = Clients::of(address);
    for _ in 0..2 {
        new.reload();
    }
    drop(held);
    assert_eq!(old.wait_exit(SOON).code(), Some(0));
    eventually(SOON, "the new one serves metrics", || {
        let answer = http(metrics, "/metrics").ok()?;
        answer.contains("etcd_gateway_draining 0\n").then_some(())
    });
    new.reload();
    wait_sample(metrics, "reloads_total{result=\"success\"}", 3.0);
    clients.all_were_served(10);
}

/// `kill -9` of the one that serves is a crash of the service: nobody goes on half, and who restarts it sees it.
#[test]
fn killed_process_ends_the_service_with_its_status() {
    let endpoint = Backend::tagged(b't');
    for (name, wanted) in [("KILL", 137), ("ABRT", 134)] {
        let (mut service, clients) = three_processes(&endpoint, &["--drain-timeout=1h"], "");
        signal(service.serving(), name);
        for client in &clients {
            expect_end(client, End::Reset);
        }
        let status = service.wait_exit(SOON);
        assert_eq!(status.code(), Some(wanted), "{name}: {status}");
        service.family.wait_gone(SOON);
    }
}

/// The same where the one that watches is killed: whoever restarts it must find the addresses free.
#[test]
fn killed_watcher_ends_the_service() {
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &["--drain-timeout=100ms"]);
    let mut service = Service::start(launch);
    let address = service.address();
    service.reload();
    let held = client(address);
    service.signal("KILL");
    service.wait_exit(SOON);
    service.family.wait_gone(SOON);
    drop(held);
}

/// Set by hand, or left over in a shell that the gateway was once started from.
#[test]
fn forged_handover_is_refused() {
    let endpoint = Backend::tagged(b't');
    let endpoints = format!("--endpoints={}", endpoint.address());
    let own = std::process::id();
    for (value, redirect) in [
        (format!("1:serve:{own}:9"), ""),
        (format!("1:serve:{own}:9"), "9</dev/null"),
        (format!("1:serve:{own}:0"), ""),
        (format!("1:serve:{own}:9,9"), "9</dev/null"),
        (format!("1:start:{own}:9"), "9</dev/null"),
        (format!("1:watch:{own}:9"), "9</dev/null"),
        (format!("1:watch:{own}:0"), ""),
        (format!("2:serve:{own}:9"), "9</dev/null"),
        ("1:serve:999999999:9".to_owned(), ""),
        ("1:serve:1:99999999999999999999".to_owned(), ""),
        ("1:serve:-1:-1".to_owned(), ""),
        ("1:serve:1".to_owned(), ""),
        ("nonsense".to_owned(), ""),
    ] {
        let script = format!("exec \"$@\" {redirect}");
        let launch = Launch::start_with(&[&endpoints]).wrapped(&["sh", "-c", &script, "sh"]);
        let outcome = launch.env("GATEWAY_HANDOVER", &value).run();
        assert_eq!(outcome.code, Some(2), "{value:?} {redirect}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{value:?}: {outcome:?}");
        assert!(
            outcome.stderr.contains("GATEWAY_HANDOVER"),
            "{value:?}: {outcome:?}"
        );
    }
}

/// A socket pair of somebody else is believed only if it is of the process that it is said to be of, and says something.
#[test]
fn handover_of_a_stranger_is_refused() {
    let endpoint = Backend::tagged(b't');
    let endpoints = format!("--endpoints={}", endpoint.address());
    let own = std::process::id();
    let cases = [
        ("serve", 1, true),
        ("serve", 1, false),
        ("serve", own, true),
        ("serve", own, false),
        ("start", 1, true),
        ("watch", 1, true),
    ];
    for (what, pid, stays) in cases {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let ours = stays.then_some(ours);
        // Descriptor 3, and not announced as one to listen with.
        let launch = Launch::start_with(&[&endpoints])
            .env("LISTEN_FDS", "0")
            .passing(theirs);
        let outcome = launch
            .env("GATEWAY_HANDOVER", &format!("1:{what}:{pid}:3"))
            .run();
        assert_eq!(outcome.code, Some(2), "{what} {pid} {stays}: {outcome:?}");
        assert!(
            outcome.stderr.contains("GATEWAY_HANDOVER"),
            "{what} {pid} {stays}: {outcome:?}"
        );
        drop(ours);
    }
}

/// A signal that comes before anything is ready ends what has started so far, as without a reload.
#[test]
fn signal_to_end_under_a_service_manager_reaches_all() {
    let endpoint = Backend::tagged(b't');
    let plan = Plan::before(&endpoint, &["--drain-timeout=300ms"]);
    let Some(mut service) = plan.under(Kind::Manager) else {
        return;
    };
    let held = client(service.address());
    service.reload();
    let other = client(service.address());
    service.signal("TERM");
    for client in [&held, &other] {
        expect_end(client, End::Reset);
    }
    assert_eq!(service.wait_exit(SOON).code(), Some(0));
    let events = service.events();
    let unclean = events
        .iter()
        .filter(|event| event.what == "ended" && event.text != "0");
    assert_eq!(unclean.count(), 0, "{events:?}");
}
