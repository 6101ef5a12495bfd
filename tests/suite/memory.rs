//! Memory: an allocation that the host refuses costs one client, one refresh or one answer; memory that is free again goes back
//! to the host; and a gateway with nothing to do sleeps.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::admin::{admin_of, endpoints};
use crate::status::ask;
use crate::support::net::{expect_echo, try_tag};
use crate::support::process::{
    resident_kib, set_limit, sleeps, threads, virtual_memory, wait_asleep,
};
use crate::support::{
    Backend, End, Gateway, Launch, SOON, TempDir, eventually, expect, expect_end, send,
};

/// A client that may be served or reset; nothing else, and not for ever.
fn is_served(gateway: &Gateway) -> bool {
    try_tag(gateway.address()).is_ok()
}

fn list(first: &Backend, more: usize) -> String {
    let others = (0..more).map(|number| format!("127.0.1.{}:1\n", number + 1));
    let first = format!("{}\n", first.address());
    std::iter::once(first).chain(others).collect()
}

/// Whatever the limit leaves: all that is open lives and carries bytes, bulk included, clients are served or reset,
/// the file, the status and the metrics are served or not; and without the limit all is as before.
#[test]
fn memory_taken_away_ends_nothing_that_is_open() {
    const KIB: u64 = 1024;
    std::thread::scope(|scope| {
        for limit in ["data", "as"] {
            for room in [0, 4 * KIB, 200 * KIB, 600 * KIB, 1200 * KIB] {
                scope.spawn(move || take_memory_away(limit, room));
            }
        }
    });
}

fn take_memory_away(limit: &str, room: u64) {
    let case = format!("{limit} + {room}");
    let endpoint = Backend::tagged(b't');
    let dir = TempDir::new();
    let file = dir.file("members", &list(&endpoint, 0));
    let flags = [
        &format!("--endpoints-file={file}"),
        "--metrics-addr=127.0.0.1:0",
        "--access-log=stderr",
    ];
    let launch = Launch::start_with(&flags).visiting(&[endpoint.address()]);
    let mut gateway = launch
        .times("file_look=50,file_look_again=20,refresh_pause=10")
        .start();
    let admin = admin_of(&gateway);
    let client = |_| try_tag(gateway.address()).expect("served").1;
    let clients: Vec<TcpStream> = (0..40).map(client).collect();

    let name = if limit == "data" {
        "VmData:"
    } else {
        "VmSize:"
    };
    let all = virtual_memory(gateway.pid(), name) + room;
    set_limit(gateway.pid(), &format!("--{limit}={all}:unlimited"));
    std::thread::scope(|scope| {
        for (seed, client) in (0..).zip(&clients[..20]) {
            scope.spawn(move || send(client, seed, 300_000));
            scope.spawn(move || expect(client, seed, 300_000));
        }
    });
    clients.iter().for_each(|client| expect_echo(client, 1));
    let served = (0..100).filter(|_| is_served(&gateway)).count();
    assert!(
        served == 100 || !gateway.records("rejected client").is_empty(),
        "{case}"
    );

    dir.file("members", &list(&endpoint, 250));
    gateway.signal("HUP");
    gateway.signal("USR1");
    for path in ["/metrics", "/endpoints", "/connections", "/"] {
        // It is answered, or closed.
        if let Ok(mut asking) = TcpStream::connect(admin) {
            let _ = write!(
                asking,
                "GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n"
            );
            let _ = asking.read_to_end(&mut Vec::new());
        }
    }
    clients.iter().for_each(|client| expect_echo(client, 2));
    gateway.assert_running();

    set_limit(gateway.pid(), &format!("--{limit}=unlimited:unlimited"));
    gateway.signal("HUP");
    eventually(SOON, "the whole list is in use", || {
        let (_, members) = endpoints(admin);
        (members.len() == 251).then_some(())
    });
    assert!(is_served(&gateway), "{case}");
    ask(&gateway);
    clients.iter().for_each(|client| expect_echo(client, 3));
    let lost = gateway.records("thread ended, starting it again");
    let panicked = gateway.records("thread of one connection or lookup panicked");
    assert!(
        lost.is_empty() && panicked.is_empty(),
        "{case}: {}",
        gateway.text()
    );
}

/// The stacks of workers and what they freed go back to the host when the burst is over.
#[test]
fn resident_memory_comes_back_after_bursts() {
    const CLIENTS: usize = 1500;
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &[]);
    let gateway = launch.times("worker_patience=300").start();
    let burst = || {
        let client = |_| try_tag(gateway.address()).expect("served").1;
        let clients: Vec<TcpStream> = (0..CLIENTS).map(client).collect();
        let top = resident_kib(gateway.pid());
        drop(clients);
        top
    };
    assert!(is_served(&gateway));
    let idle = || (threads(gateway.pid()) < 10).then_some(());
    eventually(SOON, "the first worker ends", idle);
    let before = resident_kib(gateway.pid());
    let space = || virtual_memory(gateway.pid(), "VmSize:");
    let space_before = space();
    for number in 0..3 {
        let top = burst();
        assert!(
            top > before + 8 * 1024,
            "burst {number} took from {before} to {top} KiB"
        );
        eventually(SOON, "all workers have ended", idle);
        eventually(SOON, "what they used is given back", || {
            (resident_kib(gateway.pid()) < before + 3 * 1024).then_some(())
        });
        // Nor is the one stack kept that has driven out all others.
        eventually(SOON, "address space is given back", || {
            (space() < space_before + (20 << 20)).then_some(())
        });
    }
}

/// They are looked up some at a time, for want of memory for a list of them.
#[test]
fn of_any_number_of_sessions_each_is_reset_at_the_end() {
    const CLIENTS: usize = 600;
    let endpoint = Backend::tagged(b't');
    let flags = ["--access-log=stderr", "--drain-timeout=1s"];
    let mut gateway = Gateway::before(&[&endpoint], &flags);
    let client = |_| try_tag(gateway.address()).expect("served").1;
    let clients: Vec<TcpStream> = (0..CLIENTS).map(client).collect();
    gateway.signal("TERM");
    gateway.wait_exit(SOON);
    for client in &clients {
        expect_end(client, End::Reset);
    }
    let ended = gateway.records("connection ended");
    let causes = ended
        .iter()
        .filter(|record| record.text("cause") == "stopped");
    assert_eq!(causes.count(), CLIENTS);
}

/// Every interval is so short that whoever keeps one is woken dozens of times.
const MINUTES_IN_SECONDS: &str = "worker_patience=20,peer_look=20,answer_look=5,session_look=5,resolver_look=20,\
    file_look=20,refresh_min=20,refresh_max=40,refresh_backoff=40,refresh_pause=5,audit=40,status_interval=20";

/// Ten minutes are two seconds here.
#[test]
fn a_gateway_with_nothing_to_do_does_not_wake() {
    const SETTINGS: [&[&str]; 3] = [
        &[],
        &[
            "--metrics-addr=127.0.0.1:0",
            "--access-log=stderr",
            "--close-unhealthy=1s",
            "--close-removed=1s",
        ],
        &["--answer-timeout=0s"],
    ];
    let check = |flags: &[&str]| {
        let endpoint = Backend::tagged(b't');
        let launch = Launch::before(&[endpoint.address()], flags);
        let gateway = launch.times(MINUTES_IN_SECONDS).start();
        let (_, client) = try_tag(gateway.address()).expect("served");
        expect_echo(&client, 1);
        drop(client);
        let before = wait_asleep(gateway.pid());
        // The time that passes is what is tested.
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(sleeps(gateway.pid()), before, "{flags:?}");
        // It is asleep, not dead.
        let (_, client) = try_tag(gateway.address()).expect("served");
        expect_echo(&client, 2);
    };
    std::thread::scope(|scope| {
        for flags in SETTINGS {
            scope.spawn(move || check(flags));
        }
    });
}

/// Clients that say nothing, or nothing more, cost the looks at their peers and nothing else.
#[test]
fn idle_clients_wake_a_gateway_no_more_often_than_their_peers_are_looked_at() {
    let endpoint = Backend::echo();
    let launch = Launch::before(&[endpoint.address()], &[]);
    let times = "worker_patience=20,peer_look=250,answer_look=5,session_look=5,resolver_look=20,refresh_min=20";
    let gateway = launch.times(times).start();
    let clients: Vec<TcpStream> = (0..20).map(|_| gateway.connect()).collect();
    clients[10..]
        .iter()
        .for_each(|client| expect_echo(client, 1));
    // A session is young for 5 s, and looked at often.
    std::thread::sleep(Duration::from_secs(6));
    let before = sleeps(gateway.pid());
    std::thread::sleep(Duration::from_secs(1));
    let woken = sleeps(gateway.pid()) - before;
    assert!((1..=8).contains(&woken), "{woken} times");
}
