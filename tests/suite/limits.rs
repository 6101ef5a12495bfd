//! The host's limits: descriptors and processes run out, before the start and while it runs; the process lives,
//! every open connection lives, service resumes. D6.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::gateway::{READY, binary};
use crate::support::net::{expect_echo, expect_refused, tag, try_connect, try_tag};
use crate::support::process::{
    self, file_limits, is_root, set_limit, threads, tool_text, unused_uid,
};
use crate::support::{Backend, Gateway, Launch, SOON, TempDir, eventually, host_offers};

/// Clients that were served, out of `count` that tried one after the other.
fn open(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count)
        .filter_map(|_| try_tag(address).ok())
        .map(|(_, client)| client)
        .collect()
}

/// Every one of them carries bytes both ways.
#[track_caller]
fn assert_alive(clients: &[TcpStream]) {
    for (seed, client) in (0..).zip(clients) {
        expect_echo(client, seed);
    }
}

#[test]
fn soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let endpoint = Backend::tagged(b't');
    let gateway = Launch::before(&[endpoint.address()], &[])
        .wrapped(&["prlimit", "--nofile=256:1024"])
        .start();
    assert_eq!(
        file_limits(gateway.pid()),
        ("1024".to_owned(), "1024".to_owned())
    );
}

#[test]
fn clients_beyond_the_descriptors_are_refused_and_room_is_used_again() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Launch::before(&[endpoint.address()], &[])
        .wrapped(&["prlimit", "--nofile=64:64"])
        .start();
    let clients = open(gateway.address(), 70);
    assert!(
        (8..64).contains(&clients.len()),
        "{} clients served",
        clients.len()
    );
    gateway.assert_running();
    assert_alive(&clients);
    let record = gateway.wait_record("rejected client");
    assert_ne!(record.text("reason"), "", "{record:?}");
    // A shortage of this host is not blamed on the endpoint. D8.
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "{}",
        gateway.text()
    );
    let many = clients.len();
    drop(clients);
    let again = eventually(SOON, "as many are served again", || {
        let clients = open(gateway.address(), many);
        (clients.len() == many).then_some(clients)
    });
    assert_alive(&again);
}

/// A cap that the host cannot bear does not make the host bear it.
#[test]
fn cap_above_the_descriptors_ends_nothing() {
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &["--max-connections=10000"]);
    let mut gateway = launch.wrapped(&["prlimit", "--nofile=64:64"]).start();
    let clients = open(gateway.address(), 70);
    assert!(
        (8..64).contains(&clients.len()),
        "{} clients served",
        clients.len()
    );
    gateway.assert_running();
    assert_alive(&clients);
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "{}",
        gateway.text()
    );
    drop(clients);
    eventually(SOON, "a client is served again", || {
        try_tag(gateway.address()).ok()
    });
}

/// Descriptors taken away while it runs: accept fails (EMFILE). No spinning, and it resumes when they return.
#[test]
fn descriptors_taken_away_cost_no_connection_and_no_cpu() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Gateway::before(&[&endpoint], &[]);
    let clients = open(gateway.address(), 5);
    assert_eq!(clients.len(), 5);
    let (_, hard) = file_limits(gateway.pid());

    // Open descriptors stay; the next one would have a number above the limit.
    set_limit(gateway.pid(), &format!("--nofile=8:{hard}"));
    // One may be accepted (the kernel reserves the descriptor before it waits) and is refused then; the others
    // wait in the listener's queue.
    let waiting: Vec<TcpStream> = (0..5)
        .filter_map(|_| try_connect(gateway.address()).ok())
        .collect();
    gateway.wait_line("accept");
    assert_alive(&clients);
    let (before, start) = (process::cpu_time(gateway.pid()), Instant::now());
    // The measuring window.
    std::thread::sleep(Duration::from_secs(1));
    let (spent, passed) = (process::cpu_time(gateway.pid()) - before, start.elapsed());
    assert!(
        spent.as_secs_f64() < 0.1 * passed.as_secs_f64(),
        "{spent:?} of processor time in {passed:?}"
    );
    let lines = gateway.lines().len();
    assert!(lines < 30, "{lines} lines of log:\n{}", gateway.text());
    assert_alive(&clients);

    set_limit(gateway.pid(), &format!("--nofile={hard}:{hard}"));
    eventually(SOON, "new clients are served", || {
        try_tag(gateway.address()).ok()
    });
    // Who was left waiting is served now, or was told so by a reset; nobody is left hanging.
    for mut client in waiting {
        let mut first = [0];
        match client.read(&mut first) {
            Ok(count) => assert_eq!((count, first), (1, *b"t")),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }
    assert_alive(&clients);
    gateway.assert_running();
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "{}",
        gateway.text()
    );
}

/// The gateway under a user id of its own, whose number of processes (threads) is limited; root only, as root
/// itself is exempt from that limit.
fn limited_user(flags: &[&str], endpoint: &Backend, nproc: &str) -> Option<(Launch, TempDir)> {
    let offered = is_root() && process::have("setpriv") && process::have("prlimit");
    if !host_offers(offered, "root, setpriv and prlimit") {
        return None;
    }
    // A copy, for the build's directory may be closed to other users. Not by ourselves: a child that another test
    // starts meanwhile would inherit the open file, and running it would fail with "text file busy".
    let dir = TempDir::new();
    let copy = dir.path().join("etcd-gateway");
    let paths =
        [binary(), copy.clone()].map(|path| path.to_str().expect("a path in UTF-8").to_owned());
    tool_text("cp", &[&paths[0], &paths[1]]);
    for path in [dir.path(), &copy] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))
            .expect("open the copy to all");
    }
    let uid = unused_uid().to_string();
    let setpriv = [
        "setpriv",
        "--reuid",
        &uid,
        "--clear-groups",
        "prlimit",
        nproc,
    ];
    Some((
        Launch::before(&[endpoint.address()], flags)
            .program(copy)
            .wrapped(&setpriv),
        dir,
    ))
}

#[test]
fn without_a_thread_the_start_names_the_limit() {
    let endpoint = Backend::tagged(b't');
    let Some((launch, _dir)) = limited_user(&[], &endpoint, "--nproc=1:1") else {
        return;
    };
    let outcome = launch.run();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let said = outcome.stderr.lines().last().unwrap_or_default();
    assert!(said.contains("cannot start a thread: "), "{said}");
    assert!(
        said.contains("raise the limit on processes of this user (RLIMIT_NPROC"),
        "{said}"
    );
}

/// What a start with few descriptors, or few threads, promises is what it serves, each connection with both its
/// threads, and one more is rejected with that reason. Otherwise the start names the limit. Returns the promise.
#[track_caller]
fn keeps_its_promise(launch: Launch, words: &str, case: &str) -> Option<usize> {
    let mut gateway = launch.start_to_be();
    let began = eventually(SOON, "it serves or ends", || {
        let ready = gateway.records(READY).pop().map(Some);
        ready.or_else(|| gateway.ended().map(|_| None))
    });
    let Some(ready) = began else {
        assert_eq!(gateway.wait_exit(SOON).code(), Some(1), "{case}");
        gateway.wait_line(words);
        return None;
    };
    let address = ready.texts("listen")[0].parse().expect("an address");
    let promised = ready.number("max_connections") as usize;
    let clients = open(address, promised);
    assert_eq!(clients.len(), promised, "{case}:\n{}", gateway.text());
    for _ in 0..40 {
        assert_alive(&clients);
    }
    for _ in 0..2 {
        expect_refused(address);
    }
    let refused = gateway.wait_record("rejected client");
    assert_eq!(
        (refused.text("reason"), refused.number("connections")),
        ("max_connections", promised as f64),
        "{case}"
    );
    assert!(gateway.records("cannot accept").is_empty(), "{case}");
    assert_alive(&clients);
    Some(promised)
}

#[test]
fn as_many_clients_as_descriptors_promise_are_served() {
    let endpoint = Backend::tagged(b't');
    let metrics = "--metrics-addr=127.0.0.1:0";
    let limits = (4..=32).chain((36..=64).step_by(7));
    for (limit, flags) in limits.map(|limit| (limit, &[][..])).chain([
        (40, &[metrics, "--access-log=/dev/null"][..]),
        (64, &[metrics, "--access-log=/dev/null"][..]),
    ]) {
        let nofile = format!("--nofile={limit}:{limit}");
        let launch = Launch::before(&[endpoint.address()], flags).wrapped(&["prlimit", &nofile]);
        let words = "raise the limit on open files";
        let promised = keeps_its_promise(launch, words, &nofile);
        // Eight are open, three are its own, and one is for dials of its own; of many more some are spared.
        if flags.is_empty() && promised.is_some() {
            assert!(promised >= Some((limit - 12) / 3), "{limit}: {promised:?}");
        }
        assert!(promised.is_some() || limit < 25, "{limit}");
    }
}

/// Descriptors that it inherits are not there for clients.
#[test]
fn descriptors_that_are_inherited_are_not_promised() {
    const INHERIT: &str =
        "for ((i = 10; i < 150; i++)); do eval \"exec $i</dev/null\"; done; exec \"$@\"";
    if !host_offers(process::have("bash"), "bash") {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &[]);
    let wrapper = ["prlimit", "--nofile=200:200", "bash", "-c", INHERIT, "bash"];
    let promised = keeps_its_promise(launch.wrapped(&wrapper), "", "140 inherited");
    assert!((8..25).contains(&promised.unwrap_or(0)), "{promised:?}");
}

#[test]
fn as_many_clients_as_processes_promise_are_served() {
    let endpoint = Backend::tagged(b't');
    for limit in 6..=16 {
        let nproc = format!("--nproc={limit}:{limit}");
        let Some((launch, _dir)) = limited_user(&[], &endpoint, &nproc) else {
            return;
        };
        let words = "raise the limit on processes of this user (RLIMIT_NPROC";
        let promised = keeps_its_promise(launch, words, &nproc);
        // It has eight of its own: main, log, signal, sessions, parked, monitor, discovery, accept.
        let expected = (limit >= 10).then(|| (limit - 8) / 2);
        assert_eq!(promised, expected, "{nproc}");
    }
}

#[test]
fn processes_that_are_few_from_the_start_bound_the_connections() {
    let endpoint = Backend::tagged(b't');
    let Some((launch, _dir)) = limited_user(&[], &endpoint, "--nproc=60:60") else {
        return;
    };
    let mut gateway = launch.start();
    let clients = open(gateway.address(), 70);
    assert!(
        (8..60).contains(&clients.len()),
        "{} clients served",
        clients.len()
    );
    gateway.assert_running();
    assert_alive(&clients);
    gateway.wait_record("rejected client");
    let many = clients.len();
    drop(clients);
    eventually(SOON, "as many are served again", || {
        (open(gateway.address(), many).len() == many).then_some(())
    });
}

#[test]
fn processes_taken_away_cost_only_the_new_client() {
    let endpoint = Backend::tagged(b't');
    let Some((launch, _dir)) = limited_user(&[], &endpoint, "--nproc=200:200") else {
        return;
    };
    let mut gateway = launch.start();
    let clients = open(gateway.address(), 10);
    assert_eq!(clients.len(), 10);
    set_limit(
        gateway.pid(),
        &format!("--nproc={}:200", threads(gateway.pid())),
    );
    for _ in 0..10 {
        expect_refused(gateway.address());
    }
    gateway.assert_running();
    assert_alive(&clients);
    let record = gateway.wait_record("rejected client");
    assert_eq!(record.text("reason"), "no_thread");
    let failures = gateway.records("cannot start a thread");
    let error = failures
        .first()
        .map(|record| record.text("error").to_owned());
    assert_eq!(error.as_deref(), Some("resource temporarily unavailable"));
    assert!(failures.len() < 10, "a line for each:\n{}", gateway.text());
    set_limit(gateway.pid(), "--nproc=200:200");
    assert_eq!(tag(gateway.address()).0, b't');
    assert!(
        gateway.records("deactivated endpoint").is_empty(),
        "{}",
        gateway.text()
    );
}
