//! Socket options and idle connections: what keeps a silent watch alive and finds a vanished peer.

use std::net::SocketAddr;
use std::time::Duration;

use crate::activation::on_each_listener;
use crate::support::net::expect_echo;
use crate::support::process::{can, have, tool_text};
use crate::support::{Backend, Gateway, Launch, TempDir, eventually, host_offers};
use crate::support::{SOON, connect};

/// The keepalive timer that `ss` shows on the gateway's socket towards `peer`, in seconds.
fn keepalive_timer(pid: u32, local: Option<SocketAddr>, peer: SocketAddr) -> Option<u64> {
    let sockets = tool_text("ss", &["-tnopH", "state", "established"]);
    let owner = format!("pid={pid},");
    let line = sockets.lines().find(|line| {
        let local_fits = local.is_none_or(|local| line.contains(&format!(" {local} ")));
        line.contains(&owner) && local_fits && line.contains(&format!(" {peer} "))
    })?;
    let (_, timer) = line.split_once("timer:(keepalive,")?;
    timer.split_once("sec,")?.0.parse().ok()
}

// Fair credit in REFERENCE 3: keepalive after 15 s on both sides.
#[test]
fn keepalive_is_armed_at_fifteen_seconds_on_both_sides() {
    if !host_offers(have("ss"), "ss") {
        return;
    }
    let endpoint = Backend::echo();
    for (listener, launch) in on_each_listener(&[endpoint.address()], &[]) {
        let gateway = launch.start();
        let client = gateway.connect();
        expect_echo(&client, 1);
        let own = client.local_addr().expect("own address");
        for (side, local, peer) in [
            ("client", Some(gateway.address()), own),
            ("endpoint", None, endpoint.address()),
        ] {
            // Right after traffic the retransmission timer may still be shown instead.
            let what = format!("{listener} listener: a keepalive timer of the {side}");
            let seconds = eventually(SOON, &what, || keepalive_timer(gateway.pid(), local, peer));
            assert!(
                (5..=15).contains(&seconds),
                "{what}: next probe in {seconds} s"
            );
        }
    }
}

/// No tool shows TCP_NODELAY of another process; strace shows it being set.
#[test]
fn options_are_set_on_both_sides() {
    let traced = can("strace", &["-f", "-o", "/dev/null", "true"]);
    if !host_offers(traced, "strace with the right to trace") {
        return;
    }
    let endpoint = Backend::echo();
    for (listener, launch) in on_each_listener(&[endpoint.address()], &[]) {
        assert_options(listener, launch, &endpoint);
    }
}

fn assert_options(listener: &str, launch: Launch, endpoint: &Backend) {
    let dir = TempDir::new();
    let trace = dir.file("trace", "");
    // -D: the tracer is the grandchild, so that the child is the gateway itself.
    let strace = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        &trace,
        "-e",
        "trace=accept,accept4,connect,setsockopt",
    ];
    let gateway = launch.wrapped(&strace).start();
    let client = gateway.connect();
    expect_echo(&client, 1);
    let wanted = [
        "TCP_NODELAY, [1]",
        "SO_KEEPALIVE, [1]",
        "TCP_KEEPIDLE, [15]",
        "TCP_KEEPINTVL, [15]",
    ];
    let what = format!("{listener} listener: options on both sides");
    eventually(SOON, &what, || {
        let text = std::fs::read_to_string(&trace).expect("read the trace");
        let set = |socket: &str, option: &str| {
            let call = format!("setsockopt({socket},");
            text.lines()
                .any(|line| line.contains(&call) && line.contains(option))
        };
        let [listening, accepted] = accept_descriptors(&text)?;
        let dialed = dialed_descriptor(&text, endpoint.address())?;
        // Linux hands these options down from the listening to the accepted socket.
        wanted
            .iter()
            .all(|option| {
                set(&dialed, option) && (set(&listening, option) || set(&accepted, option))
            })
            .then_some(())
    });
}

/// `accept4(3, {sa_family=…}, …) = 7`; with threads its two halves may stand on lines of their own,
/// `accept4(3,  <unfinished ...>` and `<... accept4 resumed>{sa_family=…}, …) = 7`.
fn accept_descriptors(trace: &str) -> Option<[String; 2]> {
    let call = trace.lines().find(|line| line.contains(" accept"))?;
    let listening = call.split_once('(')?.1.split_once(',')?.0;
    let done = |line: &&str| line.contains("accept") && line.contains("sin_port");
    let accepted = trace.lines().find(done)?.rsplit_once("= ")?.1;
    Some([listening, accepted].map(|word| word.trim().to_owned()))
}

/// `connect(8, {sa_family=AF_INET, sin_port=htons(2379), …`.
fn dialed_descriptor(trace: &str, endpoint: SocketAddr) -> Option<String> {
    let port = format!("htons({})", endpoint.port());
    let dial = |line: &&str| line.contains(" connect(") && line.contains(&port);
    let line = trace.lines().find(dial)?;
    Some(line.split_once("connect(")?.1.split_once(',')?.0.to_owned())
}

// D22 asks for bounds; an idle timeout must not be one of them, for etcd watches are silent for days.
#[test]
fn idle_connections_stay() {
    let endpoint = Backend::echo();
    let gateway = Gateway::before(
        &[&endpoint],
        &[
            "--dial-timeout=300ms",
            "--retry-delay=300ms",
            "--drain-timeout=300ms",
        ],
    );
    let silent_from_the_start = connect(gateway.address());
    let silent_later = connect(gateway.address());
    expect_echo(&silent_later, 1);
    // The silence is what is tested: longer than every duration the gateway was given.
    std::thread::sleep(Duration::from_secs(1));
    expect_echo(&silent_from_the_start, 2);
    expect_echo(&silent_later, 3);
}
