//! Socket activation: listeners that a service manager opens, and that outlive the gateway.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::gateway::{Outcome, READY};
use crate::support::net::{expect_echo, tag, try_connect, try_tag};
use crate::support::{
    Backend, Gateway, Launch, SOON, TempDir, eventually, host_offers, ports, process,
};

/// A listener that the test, as a service manager would, holds open.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind port 0");
    let address = listener.local_addr().expect("bound address");
    (listener, address)
}

fn passed(listener: &TcpListener) -> TcpListener {
    listener.try_clone().expect("duplicate a descriptor")
}

/// The same gateway on a listener of its own and on one that is passed, for tests that hold for both.
pub(crate) fn on_each_listener(
    endpoints: &[SocketAddr],
    flags: &[&str],
) -> [(&'static str, Launch); 2] {
    let list: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
    let list = format!("--endpoints={}", list.join(","));
    let args = [&["start", list.as_str()], flags].concat();
    [
        ("own", Launch::before(endpoints, flags)),
        ("passed", Launch::exactly(&args).passing(listener().0)),
    ]
}

fn start_on(listener: &TcpListener, endpoint: &Backend, flags: &[&str]) -> Gateway {
    launch_on(listener, endpoint, flags).start()
}

fn launch_on(listener: &TcpListener, endpoint: &Backend, flags: &[&str]) -> Launch {
    let endpoint = format!("--endpoints={}", endpoint.address());
    let args = [&["start", endpoint.as_str()], flags].concat();
    Launch::exactly(&args).passing(passed(listener))
}

#[test]
fn passed_socket_takes_the_place_of_the_default_address() {
    let (listener, address) = listener();
    let endpoint = Backend::tagged(b't');
    let gateway = start_on(&listener, &endpoint, &[]);
    assert_eq!(gateway.addresses(), [address]);
    let ready = gateway.wait_record(READY);
    assert_eq!(ready.text("listen_from"), "LISTEN_FDS");
    assert_eq!(tag(address).0, b't');
}

/// Accepted sockets are as those of a listener of our own: no O_NONBLOCK, which a relay would trip over.
#[test]
fn sessions_of_a_passed_socket_wait_for_their_clients() {
    let (listener, address) = listener();
    let endpoint = Backend::echo();
    let _gateway = start_on(&listener, &endpoint, &[]);
    let client = try_connect(address).expect("accepted");
    for seed in 0..3 {
        expect_echo(&client, seed);
        // The silence is what is tested: a read of ours that did not wait would end the session.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The variables are inherited by accident everywhere: only those for this very process count.
#[test]
fn variables_for_another_process_are_ignored() {
    let endpoint = Backend::tagged(b't');
    for (pid, count) in [(Some("1"), "1"), (None, "1"), (Some("1"), "nonsense")] {
        let mut launch = Launch::before(&[endpoint.address()], &[]).env("LISTEN_FDS", count);
        if let Some(pid) = pid {
            launch = launch.env("LISTEN_PID", pid);
        }
        let gateway = launch.start();
        assert_eq!(
            gateway.wait_record(READY).text("listen_from"),
            "--listen-addr"
        );
        assert_eq!(tag(gateway.address()).0, b't');
    }
}

#[test]
fn what_cannot_be_served_is_named_with_its_descriptor() {
    let dir = TempDir::new();
    let (held, address) = listener();
    let datagram = UdpSocket::bind("127.0.0.1:0").expect("bind port 0");
    let unix = UnixListener::bind(dir.path().join("socket")).expect("bind a path");
    let file = std::fs::File::open("/dev/null").expect("open /dev/null");
    let connected = TcpStream::connect(address).expect("connect");
    let refused = |descriptor: OwnedFd, count: &str| -> Outcome {
        Launch::exactly(&["start"])
            .env("LISTEN_FDS", count)
            .env("LISTEN_FDNAMES", "first:second")
            .passing(descriptor)
            .run()
    };
    let cases: [(OwnedFd, &str, &[&str]); 7] = [
        (
            datagram.into(),
            "1",
            &["descriptor 3", "\"first\"", "ListenStream="],
        ),
        (unix.into(), "1", &["descriptor 3", "not of IPv4 or IPv6"]),
        (file.into(), "1", &["descriptor 3", "a file"]),
        (connected.into(), "1", &["descriptor 3", "Accept=no"]),
        (
            passed(&held).into(),
            "2",
            &["descriptor 4", "\"second\"", "not open"],
        ),
        (
            passed(&held).into(),
            "many",
            &["LISTEN_FDS=\"many\"", "not a number"],
        ),
        (
            passed(&held).into(),
            "",
            &["LISTEN_FDS=\"\"", "not a number"],
        ),
    ];
    for (descriptor, count, words) in cases {
        let outcome = refused(descriptor, count);
        assert_eq!(outcome.code, Some(2), "{words:?}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{words:?}: {outcome:?}");
        for word in words {
            assert!(outcome.stderr.contains(word), "{word:?}: {outcome:?}");
        }
    }
}

/// The unit's environment file may name the address too; as long as both say the same, nobody is misled.
#[test]
fn listen_addr_must_agree_with_what_is_passed() {
    let (listener, address) = listener();
    let endpoint = Backend::tagged(b't');
    let same = format!("--listen-addr={address}");
    let gateway = start_on(&listener, &endpoint, &[&same]);
    assert_eq!(gateway.addresses(), [address]);
    drop(gateway);

    // Of one family only, where a listener of our own would have both.
    let every = TcpListener::bind("0.0.0.0:0").expect("bind port 0");
    let address_of_every = every.local_addr().expect("bound address");
    let same = format!("--listen-addr={address_of_every}");
    let gateway = start_on(&every, &endpoint, &[&same]);
    assert_eq!(gateway.addresses(), [address_of_every]);
    drop(gateway);

    // IPv4 in the notation of IPv6 is IPv4, in what is passed, too.
    let mapped = TcpListener::bind("[::ffff:127.0.0.1]:0").expect("bind port 0");
    let port = mapped.local_addr().expect("bound address").port();
    let same = format!("--listen-addr=127.0.0.1:{port}");
    let gateway = start_on(&mapped, &endpoint, &[&same]);
    assert_eq!(
        gateway.addresses(),
        [SocketAddr::from(([127, 0, 0, 1], port))]
    );
    assert_eq!(tag(gateway.address()).0, b't');
    drop(gateway);

    let other = format!("127.0.0.1:{}", ports::free_port());
    for flags in [vec![other.clone()], vec![address.to_string(), other]] {
        let flag = format!("--listen-addr={}", flags.join(","));
        let args = ["start", "--endpoints=127.0.0.1:1", &flag];
        let outcome = Launch::exactly(&args).passing(passed(&listener)).run();
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        for word in [flag.as_str(), "LISTEN_FDS", &address.to_string()] {
            assert!(outcome.stderr.contains(word), "{word:?}: {outcome:?}");
        }
    }
}

#[test]
fn endpoint_that_is_the_passed_socket_is_refused() {
    let (listener, address) = listener();
    let endpoints = format!("--endpoints={address}");
    let launch = Launch::exactly(&["start", &endpoints]).passing(passed(&listener));
    let outcome = launch.run();
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("LISTEN_FDS"), "{outcome:?}");
}

/// The descriptors are ours, and nobody's whom we might start.
#[test]
fn passed_sockets_are_closed_on_exec() {
    let (listener, _) = listener();
    let endpoint = Backend::tagged(b't');
    let gateway = start_on(&listener, &endpoint, &[]);
    let info = format!("/proc/{}/fdinfo/3", gateway.pid());
    let info = std::fs::read_to_string(info).expect("descriptor 3 is open");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.expect("flags").trim(), 8).expect("an octal number");
    assert_ne!(flags & 0o200_0000, 0, "O_CLOEXEC in {info}");
}

/// While it drains, clients wait in the queue for the next process; with nobody there they would be refused.
#[test]
fn draining_leaves_the_queue_alone() {
    let (listener, address) = listener();
    let endpoint = Backend::tagged(b't');
    let mut gateway = start_on(&listener, &endpoint, &["--drain-timeout=1h"]);
    let (_, open) = try_tag(address).expect("served");
    gateway.signal("TERM");
    gateway.wait_record("received signal, draining");
    let mut waiting = try_connect(address).expect("the socket listens on");
    expect_echo(&open, 1);
    waiting
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("set a read timeout");
    let early = waiting
        .read(&mut [0])
        .expect_err("not served by a gateway that ends");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock, "{early}");

    let _next = start_on(&listener, &endpoint, &[]);
    waiting
        .set_read_timeout(Some(SOON))
        .expect("set a read timeout");
    let mut tag = [0];
    waiting.read_exact(&mut tag).expect("served by the next");
    assert_eq!(tag, *b"t");
    expect_echo(&open, 2);
    drop(open);
    assert!(gateway.wait_exit(SOON).success());
}

/// Two processes on one socket, as while one replaces the other: each client is served once, and a process that
/// finds that another was quicker goes on.
#[test]
fn two_gateways_share_a_socket() {
    let (listener, address) = listener();
    let (a, b) = (Backend::tagged(b'a'), Backend::tagged(b'b'));
    let mut both = [&a, &b].map(|endpoint| {
        let launch = launch_on(&listener, endpoint, &[]);
        launch.visiting(&[endpoint.address()]).start()
    });
    for _ in 0..100 {
        tag(address);
    }
    assert_eq!(a.accepted() + b.accepted(), 100);
    for gateway in &mut both {
        assert!(
            gateway.records("cannot accept").is_empty(),
            "{}",
            gateway.text()
        );
        gateway.signal("TERM");
        assert!(gateway.wait_exit(SOON).success());
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What socket activation is for: a restart under load costs no client anything.
#[test]
fn no_client_is_refused_across_restarts_under_load() {
    const RESTARTS: usize = 5;
    const CLIENTS: usize = 4;
    /// Served between two restarts at least, so that each process has worked.
    const SERVED: usize = 50;
    let (listener, address) = listener();
    let endpoint = Backend::tagged(b't');
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    // One whole visit: connect, tag, echo of what was sent, the end.
    let visit = || -> std::io::Result<()> {
        let (_, mut stream) = try_tag(address)?;
        stream.write_all(b"hello")?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        assert_eq!(answer, b"hello");
        Ok(())
    };
    // The clients that wait when the last restart is over are its.
    let mut last = None;
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    match visit() {
                        Ok(()) => drop(served.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => failures.lock().expect("no panic").push(error.to_string()),
                    }
                }
            });
        }
        // However this ends, the clients end before the last gateway does.
        let _stop = StopOnDrop(&stop);
        for _ in 0..RESTARTS {
            let mut gateway = start_on(&listener, &endpoint, &[]);
            let before = served.load(Ordering::SeqCst);
            eventually(SOON, "clients are served", || {
                (served.load(Ordering::SeqCst) >= before + SERVED).then_some(())
            });
            gateway.signal("TERM");
            let status = gateway.wait_exit(SOON);
            assert!(status.success(), "{status}:\n{}", gateway.text());
        }
        last = Some(start_on(&listener, &endpoint, &[]));
    });
    drop(last);
    let failures = failures.into_inner().expect("no panic");
    assert!(
        failures.is_empty(),
        "{} of {served:?} failed: {failures:?}",
        failures.len()
    );
}

/// systemd's own tool, two sockets of both families.
#[test]
fn systemd_passes_several_sockets() {
    if !host_offers(
        process::have("systemd-socket-activate"),
        "systemd-socket-activate",
    ) {
        return;
    }
    let endpoint = Backend::tagged(b't');
    let addresses: [SocketAddr; 2] = ["127.0.0.1", "::1"]
        .map(|ip| SocketAddr::new(ip.parse().expect("an address"), ports::free_port()));
    let [first, second] = addresses.map(|address| format!("--listen={address}"));
    let endpoints = format!("--endpoints={}", endpoint.address());
    // It waits for the first client before it starts the program; that client is served too.
    let mut gateway = Launch::exactly(&["start", &endpoints])
        .wrapped(&[
            "systemd-socket-activate",
            "--fdname=four:six",
            &first,
            &second,
        ])
        .start_silent(addresses[0]);
    let ready = gateway.wait_record(READY);
    assert_eq!(
        ready.texts("listen"),
        addresses.map(|address| address.to_string())
    );
    for address in addresses {
        assert_eq!(tag(address).0, b't', "{address}");
    }
    gateway.signal("TERM");
    assert!(gateway.wait_exit(SOON).success());
}
