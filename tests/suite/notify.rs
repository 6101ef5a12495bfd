//! sd_notify: the messages to the service manager, that there are none without one, and that a manager that does not read them
//! delays no signal. D21.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::net::{expect_echo, expect_refused, tag, try_tag};
use crate::support::supervisor::Service;
use crate::support::{Backend, Gateway, Launch, SOON, TempDir};

/// The service manager's end.
struct Manager(UnixDatagram);

impl Manager {
    fn at(address: &SocketAddr) -> Manager {
        let socket = UnixDatagram::bind_addr(address).expect("bind the notification socket");
        socket
            .set_read_timeout(Some(SOON))
            .expect("set a read timeout");
        Manager(socket)
    }

    /// Waits for a datagram with a line that starts so; returns the whole datagram.
    #[track_caller]
    fn wait(&self, start: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let datagram = self.next();
            if datagram.lines().any(|line| line.starts_with(start)) {
                return datagram;
            }
            assert!(Instant::now() < deadline, "no {start}");
        }
    }

    /// Fills the queue, so that nothing else can be sent until it is read.
    fn fill(&self) {
        let address = self.0.local_addr().expect("the address of the manager");
        let sender = UnixDatagram::unbound().expect("a socket");
        sender
            .set_nonblocking(true)
            .expect("a socket without waits");
        while sender.send_to_addr(b"FILL=1", &address).is_ok() {}
    }

    #[track_caller]
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).expect("a notification");
        String::from_utf8(buffer[..count].to_vec()).expect("a notification in UTF-8")
    }
}

fn launch(endpoint: &Backend, socket: &str) -> Launch {
    Launch::before(&[endpoint.address()], &["--drain-timeout=1h"]).env("NOTIFY_SOCKET", socket)
}

#[test]
fn readiness_status_and_stopping_are_sent() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).expect("a path"));
    let endpoint = Backend::tagged(b't');
    let mut gateway = launch(&endpoint, path.to_str().expect("a path in UTF-8")).start();
    manager.wait("READY=1");
    // Ready means bound.
    let (_, client) = try_tag(gateway.address()).expect("served");
    gateway.signal("TERM");
    manager.wait("STOPPING=1");
    drop(client);
    assert!(gateway.wait_exit(SOON).success());
}

#[test]
fn status_is_one_line_for_people() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).expect("a path"));
    let endpoint = Backend::tagged(b't');
    let _gateway = launch(&endpoint, path.to_str().expect("a path in UTF-8")).start();
    let datagram = manager.wait("STATUS=");
    let status = datagram
        .lines()
        .find_map(|line| line.strip_prefix("STATUS="))
        .expect("waited for");
    assert!(status.len() > 5, "{status:?}");
    for line in datagram.lines() {
        assert!(
            line.split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase())),
            "{datagram:?}"
        );
    }
}

#[test]
fn status_follows_what_happens() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).expect("a path"));
    let (endpoint, mut dead) = (Backend::tagged(b't'), Backend::tagged(b'd'));
    let flags = [
        "--drain-timeout=1h",
        "--max-connections=2",
        "--retry-delay=1h",
    ];
    let mut gateway = Launch::before(&[endpoint.address(), dead.address()], &flags)
        .env("NOTIFY_SOCKET", path.to_str().expect("a path in UTF-8"))
        .times("status_interval=20")
        .start();
    let told = |text: &str| manager.wait(&format!("STATUS={text}"));
    manager.wait("READY=1");
    told("2 of 2 endpoints active, 0 connections open, 0 clients rejected");
    dead.down();
    let clients = [0, 1].map(|_| try_tag(gateway.address()).expect("served"));
    told("1 of 2 endpoints active, 2 connections open, 0 clients rejected");
    expect_refused(gateway.address());
    let status = told("1 of 2 endpoints active, 2 connections open, 1 clients rejected");
    assert!(
        !status.contains("WATCHDOG"),
        "nobody asked for it: {status:?}"
    );
    let [one, other] = clients;
    drop(one);
    told("1 of 2 endpoints active, 1 connections open, 1 clients rejected");
    gateway.signal("TERM");
    let stopping = manager.wait("STOPPING=1");
    assert_eq!(
        stopping,
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=3610000000\nSTATUS=draining, 1 connections open"
    );
    told("draining, 1 of 2 endpoints active, 1 connections open, 1 clients rejected");
    drop(other);
    assert!(gateway.wait_exit(SOON).success());
}

/// `systemctl status` is where many look first.
#[test]
fn status_has_the_number_of_problems() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).expect("a path"));
    let endpoint = Backend::tagged(b't');
    let good = endpoint.address();
    for (flags, end) in [
        (format!("--endpoints={good}"), "0 clients rejected"),
        // No lookup is needed to know that this host has no such interface.
        (
            format!("--endpoints={good},[fe80::1%nowhere]:1"),
            "0 clients rejected, 1 problem",
        ),
    ] {
        let launch = Launch::start_with(&[&flags]);
        let path = path.to_str().expect("a path in UTF-8");
        let _gateway = launch.env("NOTIFY_SOCKET", path).start();
        let datagram = manager.wait("READY=1");
        assert!(datagram.ends_with(end), "{datagram:?}");
    }
}

/// Containers hand the socket in as an abstract name, written with an @.
#[test]
fn abstract_socket_is_understood() {
    let name = format!("etcd-gateway-suite-{}", std::process::id());
    let manager = Manager::at(&SocketAddr::from_abstract_name(&name).expect("a name"));
    let endpoint = Backend::tagged(b't');
    let _gateway = launch(&endpoint, &format!("@{name}")).start();
    manager.wait("READY=1");
}

#[test]
fn watchdog_is_fed_at_least_twice_in_its_time_when_asked() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).expect("a path"));
    let endpoint = Backend::tagged(b't');
    let _gateway = launch(&endpoint, path.to_str().expect("a path in UTF-8"))
        .env("WATCHDOG_USEC", "1000000")
        .start();
    manager.wait("WATCHDOG=1");
    let start = Instant::now();
    for _ in 0..4 {
        manager.wait("WATCHDOG=1");
    }
    // Four times half the interval; systemd would kill after one whole interval of silence.
    assert!(
        start.elapsed() < Duration::from_millis(3500),
        "four signs of life took {:?}",
        start.elapsed()
    );
}

/// WATCHDOG_PID names another process: the variables were inherited, not meant for us.
#[test]
fn watchdog_of_another_process_is_not_fed() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).expect("a path"));
    let endpoint = Backend::tagged(b't');
    let launch = launch(&endpoint, path.to_str().expect("a path in UTF-8"));
    let _gateway = launch
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1")
        .start();
    manager.wait("READY=1");
    manager
        .0
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("set a read timeout");
    let mut buffer = [0; 4096];
    while let Ok(count) = manager.0.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        assert!(!text.contains("WATCHDOG=1"), "{text:?}");
    }
}

#[test]
fn nothing_is_logged_about_it_without_a_service_manager() {
    let endpoint = Backend::tagged(b't');
    let mut gateway = Gateway::before(&[&endpoint], &["--log-level=debug"]);
    tag(gateway.address());
    gateway.signal("TERM");
    gateway.wait_exit(SOON);
    for word in ["notif", "NOTIFY", "init daemon", "watchdog", "systemd"] {
        assert!(
            !gateway.text().contains(word),
            "{word}:\n{}",
            gateway.text()
        );
    }
}

/// A manager that is not there does not keep the gateway from serving; it is logged once.
#[test]
fn socket_that_does_not_exist_ends_nothing() {
    let endpoint = Backend::tagged(b't');
    let gateway = launch(&endpoint, "/nonexistent/notify").start();
    assert_eq!(tag(gateway.address()).0, b't');
    let told = gateway.wait_record("cannot notify the service manager that clients are served");
    assert_eq!(told.text("error"), "no such file or directory");
}

/// A manager at `path` that does not read, and a gateway that waits to notify it that another process serves.
#[track_caller]
fn reload_unread(endpoint: &Backend, path: &Path) -> (Manager, Service) {
    let manager = Manager::at(&SocketAddr::from_pathname(path).expect("a path"));
    let launch = launch(endpoint, path.to_str().expect("a path in UTF-8"));
    // However soon the second signal comes, it is not an echo of the first.
    let service = Service::start(launch.times("signal_echo=0"));
    manager.wait("READY=1");
    manager.fill();
    service.signal("USR2");
    service.wait_record_where("another process serves", |record| {
        record.get("predecessor").is_some()
    });
    (manager, service)
}

#[test]
fn second_signal_ends_it_at_once_while_the_manager_does_not_read() {
    let dir = TempDir::new();
    let endpoint = Backend::tagged(b't');
    let (_manager, mut service) = reload_unread(&endpoint, &dir.path().join("notify"));
    service.signal("TERM");
    std::thread::sleep(Duration::from_millis(50));
    service.signal("TERM");
    assert_eq!(service.wait_exit(SOON / 2).code(), Some(1));
    service.wait_record("received second signal, exiting at once");
}

/// It may have been sent before the manager learned which process serves, so it is meant for the service.
#[test]
fn signal_while_the_manager_does_not_read_ends_the_service() {
    let dir = TempDir::new();
    let endpoint = Backend::tagged(b't');
    let (manager, mut service) = reload_unread(&endpoint, &dir.path().join("notify"));
    // The process that serves may not have reported that it does.
    std::thread::sleep(Duration::from_millis(500));
    service.signal("TERM");
    std::thread::sleep(Duration::from_millis(500));
    manager.wait("MAINPID=");
    service.wait_record_where("the process that serves ends, too", |record| {
        record.text("signal") == "passed on"
    });
    assert_eq!(service.wait_exit(SOON).code(), Some(0));
}

#[test]
fn two_signals_at_once_are_one_request_while_the_manager_does_not_read() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = Manager::at(&SocketAddr::from_pathname(&path).expect("a path"));
    let endpoint = Backend::tagged(b't');
    let launch = launch(&endpoint, path.to_str().expect("a path in UTF-8"));
    let mut gateway = launch.times("signal_echo=600").start();
    let (_, client) = try_tag(gateway.address()).expect("served");
    manager.wait("READY=1");
    manager.fill();
    gateway.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    gateway.signal("INT");
    gateway.wait_record("received signal, draining");
    expect_echo(&client, 1);
    drop(client);
    assert_eq!(gateway.wait_exit(SOON).code(), Some(0));
}
