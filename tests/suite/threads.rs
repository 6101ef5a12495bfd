//! Threads that the gateway needs for as long as it serves: all are started before a client is served, and one that ends
//! is started again. System calls of the real process are made to fail with strace.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::admin::{Samples, admin_of, endpoints, knock, page};
use crate::status::{ask, with_message};
use crate::support::gateway::READY;
use crate::support::json::Json;
use crate::support::net::{expect_echo, try_tag};
use crate::support::process::can;
use crate::support::{Backend, End, Launch, SOON, connect, expect_end, host_offers};

/// Whether calls can be made to fail here.
fn can_inject() -> bool {
    let traced = can("strace", &["-f", "-o", "/dev/null", "true"]);
    host_offers(traced, "strace with the right to trace")
}

/// With the `nth` call of this name in each thread failing. The tracer is the grandchild (-D), so that the child is
/// the gateway itself.
fn failing(launch: Launch, call: &str, error: &str, nth: usize) -> Launch {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:error={error}:when={nth}");
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null"];
    launch.wrapped(&[strace.as_slice(), &["-e", &trace, "-e", &inject]].concat())
}

/// The threads of a start that uses all there are: log, signal, access-log, sessions, parked, monitor, discovery, admin, accept,
/// status, and both of a client's session.
const THREADS: usize = 12;

#[test]
fn a_start_that_lacks_a_thread_serves_no_client_and_is_never_ready() {
    if !can_inject() {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let address = listener.local_addr().expect("bound address");
    let waiting = connect(address);
    let launch = |nth: usize| {
        let name = format!("etcd-gateway-threads-{}-{nth}", std::process::id());
        let socket = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&socket).expect("bind the notification socket");
        let endpoints = format!("--endpoints={}", endpoint.address());
        let flags = [
            "start",
            &endpoints,
            "--metrics-addr=127.0.0.1:0",
            "--access-log=stderr",
            "--close-removed=1s",
        ];
        let launch = Launch::exactly(&flags)
            .env("NOTIFY_SOCKET", &format!("@{name}"))
            .passing(listener.try_clone().expect("duplicate a descriptor"));
        (failing(launch, "clone3", "EAGAIN", nth), manager)
    };
    std::thread::scope(|scope| {
        for nth in 1..=THREADS {
            let (launch, manager) = launch(nth);
            scope.spawn(move || {
                let outcome = launch.run();
                assert_eq!(outcome.code, Some(1), "{nth}: {outcome:?}");
                assert!(!outcome.stderr.contains(READY), "{nth}: {outcome:?}");
                let said = outcome.stderr.lines().last().unwrap_or_default();
                let expected = "etcd-gateway: cannot start a thread: resource temporarily unavailable; raise the limit";
                assert!(said.starts_with(expected), "{nth}: {outcome:?}");
                manager.set_nonblocking(true).expect("look without waiting");
                let told = manager.recv(&mut [0; 4096]);
                assert!(told.is_err(), "{nth}: the manager was told something");
            });
        }
    });
    assert_eq!(endpoint.accepted(), 0, "a client was served");
    // With all of them, the client that has waited meanwhile is served, and the manager told.
    let (launch, manager) = launch(THREADS + 1);
    let _gateway = launch.start();
    let mut told = [0; 64];
    let count = manager.recv(&mut told).expect("a notification");
    assert!(told[..count].starts_with(b"READY=1\n"));
    let mut tag = [0];
    std::io::Read::read_exact(&mut &waiting, &mut tag).expect("served");
    assert_eq!(tag, *b"t");
}

/// Its first sleep fails, at which std panics.
#[test]
fn a_thread_that_panics_is_started_again_and_shown_everywhere() {
    if !can_inject() {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &["--metrics-addr=127.0.0.1:0"]);
    let gateway = failing(launch, "clock_nanosleep", "ENOSYS", 1).start();
    let admin = admin_of(&gateway);
    let (_, client) = try_tag(gateway.address()).expect("served");
    // The thread fails as soon as it rests, which may be before it has answered.
    knock(admin);
    let lost = gateway.wait_record("thread ended, starting it again");
    assert_eq!(lost.text("level"), "error");
    assert_eq!(lost.text("thread"), "admin");
    assert!(lost.text("error").starts_with("panicked at "), "{lost:?}");
    assert_eq!(
        (lost.number("count"), lost.number("pause_seconds")),
        (1.0, 0.1)
    );

    let samples = Samples::of(admin);
    for (thread, count) in [("admin", 1.0), ("accept", 0.0), ("discovery", 0.0)] {
        let name = format!("threads_lost_total{{thread=\"{thread}\"}}");
        assert_eq!(samples.get(&name), count, "{thread}");
    }
    assert_eq!(samples.get("discovery_problems"), 1.0);
    let told = "thread admin has ended, 1 times so far, and is started again: panicked at ";
    let (whole, _) = endpoints(admin);
    assert!(whole.texts("problems")[0].starts_with(told), "{whole:?}");
    assert_eq!(
        whole.get("ready"),
        Some(&Json::Bool(true)),
        "clients are served"
    );
    assert!(page(admin).content.contains(told));
    let status = ask(&gateway);
    let problems = with_message(&status, "status of a problem");
    assert!(problems[0].text("problem").starts_with(told), "{status:?}");
    expect_echo(&client, 1);
    for line in gateway.lines() {
        assert!(Json::parse(&line).is_ok(), "not of the log's form: {line}");
    }
}

/// All signals are blocked, so that only SIGKILL could end it any more.
#[test]
fn a_gateway_that_cannot_wait_for_signals_ends() {
    if !can_inject() {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let launch = Launch::before(&[endpoint.address()], &["--drain-timeout=1h"]);
    let mut gateway = failing(launch, "rt_sigtimedwait", "ENOSYS", 2).start();
    let (_, client) = try_tag(gateway.address()).expect("served");
    gateway.signal("USR1");
    gateway.wait_record("status");
    gateway.signal("USR1");
    assert_eq!(gateway.wait_exit(SOON).code(), Some(1));
    expect_end(&client, End::Reset);
    let failed = gateway.wait_record("cannot wait for signals");
    assert_eq!(failed.text("error"), "function not implemented");
}
